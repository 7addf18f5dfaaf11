"""What happens when I move one thing? Pictures with sliders, computed in the browser from the traced formulas."""
