"""What does a picture show? Axes and marks, the words beside them, and how all that is told to live.js.

A name in a mark is that of a value, which a program computes or a control sets; positions are pairs of numbers and
names, also of the axes' limits: x0, x1, y0, y1. A colour is called by what it stands for, as in `THEMES`. In words,
{name} or {name:kind} stands for a value, as `filled` puts it in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from .controls import Control

Place = Sequence[str | float]


@dataclass(frozen=True)
class Axis:
    """lo, hi : the lowest and highest value; None where the curves decide. ticks : or none, for decades."""

    label: str
    unit: str = ""
    lo: float | None = None
    hi: float | None = None
    ticks: Sequence[int] = ()


@dataclass(frozen=True)
class Curve:
    """The way of the point (x, y) as one control goes from end to end; over : that control."""

    kind: str = field(default="curve", init=False)
    over: str
    x: str
    y: str
    label: str
    stroke: str
    width: float = 3
    dash: str = "none"
    opacity: float = 1


@dataclass(frozen=True)
class Point:
    """bound : the value that colours the point by what binds it, as in all our rooflines.

    brief : the label in a picture as narrow as a phone, the same unless given.
    """

    kind: str = field(default="point", init=False)
    x: str
    y: str
    fill: str = "ink"
    label: str = ""
    bound: str = ""
    brief: str = ""


@dataclass(frozen=True)
class Dots:
    """What was measured: diamonds where there are values, as one control goes from end to end. over : that control."""

    kind: str = field(default="dots", init=False)
    over: str
    x: str
    y: str
    label: str
    stroke: str


@dataclass(frozen=True)
class Label:
    """Words on a line, (dx, dy) pixels beside `at`. along : turned, to lie on the line.

    under : a value; where it is larger than the label's own, the label goes below its line. brief : the words in a
    picture as narrow as a phone, the same unless given. moves : whether the label goes below its line, or to its right
    end, where a curve passes through it.
    """

    text: str
    at: Place
    dx: float
    dy: float
    anchor: str = "start"
    fill: str = "ink"
    along: bool = False
    under: str = ""
    brief: str | None = None
    moves: bool = False

    def __post_init__(self) -> None:
        if self.brief is None:
            object.__setattr__(self, "brief", self.text)


@dataclass(frozen=True)
class Line:
    """A line through points, with labels on it. still : whether it is left out of a frozen state."""

    kind: str = field(default="line", init=False)
    points: Sequence[Place]
    stroke: str
    width: float
    dash: str = "none"
    labels: Sequence[Label] = ()
    still: bool = True


@dataclass(frozen=True)
class Area:
    """All that lies to the right of a value. label : words of a warning, where there is room for them."""

    kind: str = field(default="area", init=False)
    start: str
    fill: str
    label: str = ""


@dataclass(frozen=True)
class Mask:
    """Which tokens each query reads, in a square of so many cells; legend : pairs of a colour and its name."""

    cells: int
    tokens: str
    block: str
    selected: str
    window: str
    title: str
    legend: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class View:
    """What is drawn. margin : pixels to the right of the axes, for the curves' names. mask : drawn beside it."""

    title: str
    x: Axis
    y: Axis
    marks: Sequence[Curve | Point | Dots | Line | Area]
    margin: int = 118
    mask: Mask | None = None


@dataclass(frozen=True)
class Stack:
    """A bar of parts, one after the other, each with its name and value below.

    title : words above it. unit : of its values. parts : (value, label, colour) of each. limit : a value that a line
    marks, with words on it; brief : in a picture as narrow as a phone. beyond : the colour of what is beyond the line,
    where the bar goes there; none unless given.
    """

    title: str
    unit: str
    parts: Sequence[tuple[str, str, str]]
    limit: str
    words: str
    brief: str
    beyond: str = ""


@dataclass(frozen=True)
class Bars:
    """What is drawn instead of axes and marks: stacked bars, one below the other, each with a scale of its own."""

    title: str
    bars: Sequence[Stack]
    marks: Sequence[Any] = field(default=(), init=False)
    mask: None = field(default=None, init=False)


# --- beside the picture -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Message:
    """What is said where the value `when` is above 0 or missing. blocks : whether there is nothing to draw then."""

    when: str
    text: str
    blocks: bool


@dataclass(frozen=True)
class Lookup:
    """A number that follows from others. sets : its name; it sets no_<name> to 1 where the table has none.

    by : the names of what it follows from. values : a table of tables, down to numbers, by these as texts ("true",
    "fp16", "1024"); a number further up holds for all that would come below it.
    """

    sets: str
    by: Sequence[str]
    values: Mapping[str, Any]

    def value(self, at: Mapping[str, Any]) -> float | None:
        """What the table has for these values; None where it has nothing."""
        found: Any = self.values
        for name in self.by:
            if isinstance(found, Mapping):
                found = found.get(str(at[name]).lower() if isinstance(at[name], bool) else str(at[name]))
        return found


@dataclass(frozen=True)
class Table:
    """Numbers beside the picture.

    columns : their names, the first of the rows' labels. rows : a label, and then pairs of a value and how it is
    written, as `filled` takes it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Formula:
    """A formula as MathML, under a label, and the value that it has; kind : as `filled` takes it."""

    label: str
    math: str
    value: str
    kind: str = ""


# --- as live.js reads it ------------------------------------------------------------------------------

IN_JAVASCRIPT = {"start": "from"}  # a field cannot be called so in Python


def told(part: Any) -> dict[str, Any]:
    """A control, a view or a part of one as live.js reads it: its fields by name, without what is not there.

    >>> told(Point("batch", "time"))
    {'kind': 'point', 'x': 'batch', 'y': 'time', 'fill': 'ink', 'label': '', 'bound': '', 'brief': ''}
    """
    if isinstance(part, Control):
        return _told_control(part)
    all_fields = {IN_JAVASCRIPT.get(one.name, one.name): getattr(part, one.name) for one in fields(part)}
    if isinstance(part, (View, Bars)) and part.mask is None:
        del all_fields["mask"]
    return all_fields


def _told_control(control: Control) -> dict[str, Any]:
    """In JSON, the keys are strings."""
    names = ("name", "label", "values", "kind", "texts")
    described: dict[str, Any] = {name: getattr(control, name) for name in names}
    for part in ("sets", "moves"):
        if getattr(control, part):
            described[part] = {str(value): dict(numbers) for value, numbers in getattr(control, part).items()}
    return described
