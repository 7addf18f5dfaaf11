"""What turns formulas into pictures that one drags: `program` compiles formulas for the browser, `live.js` computes and
draws with them, `picture` draws the same without a browser, `shell` packs both into an output or a widget.

What the four explorers show is said in `roofline_kit/explorers/explorer.py`.
"""

from .controls import Control, slider, steps
from .program import Program
from .shell import Explorer, mathml

__all__ = ["Control", "Explorer", "Program", "mathml", "slider", "steps"]
