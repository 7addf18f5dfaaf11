"""What turns formulas into pictures that one drags: `program` compiles formulas for the browser, `live.js` computes and
draws with them, `picture` draws the same without a browser, `shell` packs both into an output or a widget.

What is drawn is said with the words of `views`, in the files of the explorers.
"""

from .controls import Control, slider, stops
from .program import Program
from .shell import Explorer, mathml
from .views import Area, Axis, Bars, Curve, Dots, Formula, Label, Line, Lookup, Mask, Message, Point, Stack, Table, View

__all__ = [
    "Area", "Axis", "Bars", "Control", "Curve", "Dots", "Explorer", "Formula", "Label", "Line", "Lookup", "Mask",
    "Message", "Point", "Program", "Stack", "Table", "View", "mathml", "slider", "stops",
]  # fmt: skip
