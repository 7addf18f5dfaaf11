"""What does it look like? Rooflines, sweeps and stacked bars in one visual language, drawn with Matplotlib."""
