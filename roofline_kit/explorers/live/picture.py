"""What does an explorer look like before anything runs? The marks of its picture, as SVG and as PNG.

`live.js` draws the same marks in the browser, and tests compare the two, mark by mark: what is stored in a notebook is
what the live explorer shows first. A mark is (tag, attributes, text), with the tags of SVG.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from html import escape
from importlib.util import find_spec
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from PIL import Image, ImageColor, ImageDraw, ImageFont

from .views import Area, Bars, Curve, Dots, Label, Line, Mask, Point, Stack, View

Mark = tuple[str, dict[str, Any], str]
Piece = tuple[tuple[float, float], tuple[float, float]]  # of a line, from one point to another
PREFIXES = ("p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E", "Z")
BOLD = {"font-weight": "bold"}


# --- words ----------------------------------------------------------------------------------------


def significant(value: float, digits: int) -> float:
    """`value` rounded to so many digits, halves away from zero, as JavaScript's toPrecision does.

    >>> significant(0.0024449, 3), significant(1024.5, 4)
    (0.00244, 1025.0)
    """
    if value == 0:
        return 0.0
    exact = Decimal(value)
    return float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1), ROUND_HALF_UP))


def formatted(value: Any, kind: str = "") -> str:
    """A value as one reads it beside a slider.

    kind : a unit for SI prefixes, "s" or "FLOP/s"; "int"; "size", which may have come out fractional; "%" of a share;
    "bound" of an intensity over the ridge point; or nothing, for four digits.

    >>> formatted(0.0024449, "s"), formatted(1024.1875), formatted(0.561, "%"), formatted(1e6, "int")
    ('2.44 ms', '1,024', '56 %', '1,000,000')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _number(value, kind) if isinstance(value, (int, float)) else str(value)


def _number(value: float, kind: str) -> str:
    """A number, by its kind: those that are no unit first."""
    if math.isnan(value):
        return "–"
    if kind == "bound":
        return "compute-bound" if value >= 1 else "memory-bound"
    if kind == "%":
        if 0 < value < 1e-3:
            return "< 0.1 %"
        return _grouped(significant(100 * value, 2)) + " %"
    if kind == "int":
        return _grouped(math.floor(value + 0.5)) if abs(value) < 1e15 else _with_prefix(value, "").strip()
    if kind == "size":
        return _grouped(float(Decimal(value).quantize(Decimal("0.0001"), ROUND_HALF_UP)))
    if not kind:
        big = value >= 1e6 or 0 < value < 1e-3
        return _with_prefix(value, "").strip() if big else _grouped(significant(value, 4))
    return _with_prefix(value, kind)


def _with_prefix(value: float, unit: str) -> str:
    """Three digits and a unit with an SI prefix."""
    if not 1e-15 <= value < 1e27:
        return ("0 " if value < 1e-15 else "∞ ") + unit
    short = significant(value, 3)
    third = min(7, max(-4, math.floor(math.log10(short) / 3 + 1e-9)))
    return f"{_grouped(significant(short / 10.0 ** (3 * third), 3))} {PREFIXES[third + 4]}{unit}"


def _grouped(value: float) -> str:
    whole, _, part = repr(abs(float(value))).removesuffix(".0").partition(".")
    return "-" * (value < 0) + f"{int(whole):,}" + (f".{part}" if part else "")


def filled(template: str, at: Mapping[str, Any]) -> str:
    """A sentence with the values put in: {name}, or {name:kind} as `formatted` takes it.

    >>> filled("a step of {batch} takes {time:s}", {"batch": 8, "time": 0.0024449})
    'a step of 8 takes 2.44 ms'
    """
    return re.sub(
        r"\{([^{}:]+)(?::([^{}]+))?\}", lambda m: formatted(at[m[1]], m[2] or "") if m[1] in at else m[0], template
    )


def wrapped(text: str, room: int) -> list[str]:
    """Lines of at most `room` letters."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if len(longer) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


# --- marks ----------------------------------------------------------------------------------------


def tenth(x: float) -> float:
    """A coordinate, to a tenth of a pixel: the same on every machine."""
    return math.floor(x * 10 + 0.5) / 10


def _dots(points: Sequence[Sequence[float]]) -> str:
    return " ".join(f"{tenth(x):.10g},{tenth(y):.10g}" for x, y in points)


def _decade(value: float, up: bool) -> int:
    return math.ceil(math.log10(value) - 1e-9) if up else math.floor(math.log10(value) + 1e-9)


def words(x: float, y: float, text: str, fill: str, **more: Any) -> Mark:
    """A mark: some words."""
    known = {"x": tenth(x), "y": tenth(y), "fill": fill, "font-size": 12.5, "text-anchor": "start"}
    return "text", known | more, text


def line(points: Any, stroke: str, width: float, **more: Any) -> Mark:
    """A mark: a line through points."""
    known = {"points": _dots(points), "fill": "none", "stroke": stroke, "stroke-width": tenth(width)}
    return "polyline", known | {name.replace("_", "-"): x for name, x in more.items()}, ""


def heading(view: View | Bars, at: Mapping[str, Any], message: Any, width: float) -> list[Mark]:
    """The title; what does not fit or does not exist takes its place, which has room for two lines."""
    text = message["text"] if message else filled(view.title, at)
    parts = wrapped(text, math.floor((width - 16) / 9))
    color, look = "warning" if message else "ink", {"font-size": 15.0, **BOLD}
    return [words(8, 20 + 19 * i, part, color, **look) for i, part in enumerate(parts)]


class Drawing:
    """Draws one view of an explorer; `marks` is the result. The names and the order are those of `draw` in live.js.

    view : axes and marks, as the explorers make them. now, ghost : {"at": values, "sweeps": {control:
    [values at each of its values]}}, of the present state and of the frozen one. message : {"text", "blocks"}, or None.
    """

    def __init__(self, view: View, now: Any, ghost: Any, message: Any, width: float, height: float) -> None:
        self.view, self.at, self.width, self.marks = view, now["at"], width, list[Mark]()
        self.narrow = width < 480  # a phone
        self.put("rect", x=0, y=0, width=width, height=height, fill="page")
        title = heading(view, self.at, message, width)
        self.marks += title
        if message and message["blocks"]:
            return
        self.top, self.bottom = 34 + 19 * max(2, len(title)) + 14 * self.narrow, height - 42
        self.left, self.right = 62, width - view.margin
        self.axes(now, ghost, height)
        self.ended: list[list[Any]] = []
        self.pointed: list[list[Any]] = []
        self.occupied: list[tuple[float, float, float, float]] = []
        self.roofs: list[Piece] = []  # pieces of lines, and of those that are only dotted
        self.dotted: list[Piece] = []
        self.curves = self.curve_pieces(now["sweeps"])
        for part in (self.lines, self.points):
            for source, frozen in [(ghost, True)] * bool(ghost) + [(now, False)]:
                part(source, frozen)
        self.dots(now["sweeps"])
        self.name_curves()
        self.name_points()

    def put(self, tag: str, text: str = "", **attributes: Any) -> None:
        """A mark of any kind."""
        self.marks.append((tag, {name.replace("_", "-"): x for name, x in attributes.items()}, text))

    def write(self, x: float, y: float, text: str, fill: str, **more: Any) -> None:
        """A mark: some words."""
        self.marks.append(words(x, y, text, fill, **more))

    def line(self, points: Any, stroke: str, width: float, **more: Any) -> None:
        """A mark: a line through points."""
        self.marks.append(line(points, stroke, width, **more))

    def axes(self, now: Any, ghost: Any, height: float) -> None:
        """Limits, shaded areas, grid, ticks, names. The axes hold all that is drawn, the vertical in whole decades."""
        view, left, right, top, bottom = self.view, self.left, self.right, self.top, self.bottom
        self.set_limits(now, ghost)
        areas = self.shade()
        self.grid()
        self.line([(left, top), (left, bottom), (right, bottom)], "faint", 1)
        for label in areas:
            self.write(right - 8, bottom - 10, label, "warning", **{"text-anchor": "end"}, **BOLD)
        small = {"font-size": 12.0}
        self.write(8, top - (26 if self.narrow else 10), filled(view.y.label, self.at), "ink", **small)
        self.write(right, height - 8, filled(view.x.label, self.at), "ink", **small, **{"text-anchor": "end"})

    def set_limits(self, now: Any, ghost: Any) -> None:
        """The axes' limits hold all that is drawn, of the present state and of the frozen one."""
        seen: list[float] = []
        across = [end for end in (self.view.x.lo, self.view.x.hi) if end is not None]
        for source in [ghost, now] if ghost else [now]:
            for mark in self.view.marks:
                if isinstance(mark, (Curve, Dots, Point)):
                    places = [source["at"]] if isinstance(mark, Point) else source["sweeps"][mark.over]
                    seen += [at[mark.y] for at in places]
                    across += [at[mark.x] for at in places]
                if isinstance(mark, Line) and not (source is ghost and mark.still):
                    heights = [source["at"][y] for _, y in mark.points if y in source["at"]]
                    seen += [] if any(map(math.isnan, heights)) else heights
        finite, wide = ([v for v in values if 0 < v < math.inf] for values in (seen, across))
        self.x0, self.x1 = min(wide), max(wide)
        self.e0 = _decade(min(finite), up=False)
        self.e1 = max(self.e0 + 1, _decade(max(finite), up=True))
        self.ends = {"x0": self.x0, "x1": self.x1, "y0": 10.0**self.e0, "y1": 10.0**self.e1}

    def shade(self) -> list[str]:
        """Areas; returns the words of those that have room for them."""
        left, right, top, bottom = self.left, self.right, self.top, self.bottom
        words: list[str] = []
        for mark in self.view.marks:
            if isinstance(mark, Area):
                begin = max(left, min(right, self.X(max(self.x0, self.at[mark.start]))))
                if right - begin > 0.5:
                    size = {"width": tenth(right - begin), "height": tenth(bottom - top)}
                    self.put("rect", "", x=tenth(begin), y=tenth(top), **size, fill=mark.fill)
                if mark.label and right - begin > 90:
                    words.append(mark.label)
        return words

    def grid(self) -> None:
        """Lines at ticks, and what these are."""
        view, left, right, top, bottom = self.view, self.left, self.right, self.top, self.bottom
        step = math.ceil((self.e1 - self.e0) * 22 / (bottom - top))
        for e in range(self.e0, self.e1 + 1, step):
            y = self.Y(10.0**e)
            self.line([(left, y), (right, y)], "grid", 1)
            self.write(left - 7, y + 4, formatted(10.0**e, view.y.unit), "ink", **{"text-anchor": "end"})
        decades = [10.0**e for e in range(_decade(self.x0, up=True), _decade(self.x1, up=False) + 1)]
        ticks = view.x.ticks or decades
        for tick in ticks[:: math.ceil(len(ticks) * 46 / (right - left))]:
            x = self.X(tick)
            self.line([(x, top), (x, bottom)], "grid", 1)
            self.write(x, bottom + 17, formatted(tick, view.x.unit), "ink", **{"text-anchor": "middle"})

    def X(self, v: float) -> float:
        """Pixels of a value on the horizontal axis."""
        return self.left + math.log10(v / self.x0) / math.log10(self.x1 / self.x0) * (self.right - self.left)

    def Y(self, v: float) -> float:
        """Pixels of a value on the vertical axis."""
        return self.bottom - (math.log10(v) - self.e0) / (self.e1 - self.e0) * (self.bottom - self.top)

    def pixels(self, xy: Sequence[Any], at: Mapping[str, Any]) -> tuple[float, float]:
        """Pixels of a pair of numbers, or of names: of limits of the axes, or of values. NaN where there is none."""
        x, y = (self.ends.get(v, at.get(v, math.nan)) if isinstance(v, str) else v for v in xy)
        return (self.X(x), self.Y(y)) if x > 0 and y > 0 else (math.nan, math.nan)

    def lines(self, source: Any, frozen: bool) -> None:
        """Roofs, limits and curves, of the present state or of the frozen one."""
        for mark in self.view.marks:
            if isinstance(mark, Line) and not (frozen and mark.still):
                self.straight(mark, source, frozen)
            if isinstance(mark, Curve):
                self.curve(mark, source, frozen)

    def straight(self, mark: Line, source: Any, frozen: bool) -> None:
        """A line and its labels, where all its points exist."""
        points = [self.pixels(point, source["at"]) for point in mark.points]
        if any(map(math.isnan, sum(points, ()))):
            return
        look = ("faint", 1.2) if frozen else (mark.stroke, mark.width)
        if points:
            self.line(points, *look, stroke_dasharray="2,4" if frozen else mark.dash)
        if not frozen:
            on_line = self.dotted if mark.dash == "2,4" else self.roofs
            on_line += pairwise(points)
            for label in mark.labels:
                self.name_line(label, points)

    def curve(self, mark: Curve, source: Any, frozen: bool) -> None:
        """A curve, where it exists; one that covers another is but named beside it."""
        points = [self.pixels((mark.x, mark.y), at) for at in source["sweeps"][mark.over]]
        points = [point for point in points if not math.isnan(sum(point))]
        path = _dots(points)
        covered = [label for label in self.ended if mark.label and not frozen and label[3] == path]
        if covered:
            self.ended.append([covered[0][0], mark.label, covered[0][2], ""])
        elif points:
            dash, opacity, width = ("2,4", 0.7, 1.5) if frozen else (mark.dash, mark.opacity, mark.width)
            more = {"stroke_dasharray": dash, "stroke_linejoin": "round", "opacity": opacity}
            self.line(points, mark.stroke, width, **more)
            if mark.label and not frozen:
                self.ended.append([points[-1][1] + 4, mark.label, mark.stroke, path])

    def curve_pieces(self, sweeps: Mapping[str, Any]) -> list[Piece]:
        """The curves with a name, as straight pieces."""
        found: list[Piece] = []
        for mark in self.view.marks:
            if isinstance(mark, Curve) and mark.label:
                points = [self.pixels((mark.x, mark.y), at) for at in sweeps[mark.over]]
                found += pairwise(point for point in points if not math.isnan(sum(point)))
        return found

    def name_line(self, label: Label, points: Sequence[tuple[float, float]]) -> None:
        """What stands on a line, turned with it where it is along it."""
        words = label.brief if self.narrow and label.brief is not None else label.text
        (x, y), text = self.pixels(label.at, self.at), filled(words, self.at)
        more = {"text-anchor": label.anchor} | BOLD
        below = label.under and self.at[label.under] > self.at[label.at[1]]
        if label.along:
            (xa, ya), (xb, yb) = points[:2]
            angle, dy = math.atan2(yb - ya, xb - xa), 20 if below else label.dy
            turn = f"rotate({tenth(angle * 180 / math.pi):.10g} {tenth(x):.10g} {tenth(y):.10g})"
            self.occupy_along(x, y, angle, dy - 4, len(text) * 7.6)
            self.write(x, y + dy, text, label.fill, **more, transform=turn)
            return
        places = [(x + label.dx, y + (16 if below else label.dy), label.anchor)]
        if label.moves:
            end = self.right - label.dx
            places += [(places[0][0], y + 16, label.anchor), (end, y + label.dy, "end"), (end, y + 16, "end")]
        w = len(text) * 7.6
        boxes = [(a - {"end": w, "middle": w / 2}.get(anchor, 0), b - 11) for a, b, anchor in places]
        free = [i for i, (a, b) in enumerate(boxes) if not is_crossed(self.curves, a, b, a + w, b + 15)]
        i = next(iter(free), 0)
        self.occupy(*boxes[i], w, 15)
        x, y, more["text-anchor"] = places[i]
        self.write(x, y, text, label.fill, **more)

    def points(self, source: Any, frozen: bool) -> None:
        """Operating points; those that coincide share a label."""
        for mark in self.view.marks:
            if not isinstance(mark, Point):
                continue
            x, y = self.pixels((mark.x, mark.y), source["at"])
            alike = [a for tag, a, _ in self.marks if tag == "circle" and (a["fill"] == "page") == frozen]
            drawn = [(a["cx"], a["cy"]) for a in alike]
            if math.isnan(x) or (not mark.label and (tenth(x), tenth(y)) in drawn):
                continue
            role = mark.fill
            if mark.bound:
                role = "compute" if source["at"][mark.bound] >= 1 else "memory"
            fill, stroke = ("page", role) if frozen else (role, "page")
            r, width = (5.0, 2.0) if frozen else (6.5, 1.5)
            self.put("circle", cx=tenth(x), cy=tenth(y), r=r, fill=fill, stroke=stroke, stroke_width=width)
            if mark.label and not frozen:
                label = (mark.brief if self.narrow else "") or mark.label
                near = [other for other in self.pointed if math.hypot(other[0] - x, other[1] - y) < 9]
                if near:
                    near[0][2].append(label)
                else:
                    self.pointed.append([x, y, [label], role, True])

    def dots(self, sweeps: Mapping[str, Any]) -> None:
        """What was measured, as diamonds; the first one has the label."""
        for mark in self.view.marks:
            if not isinstance(mark, Dots):
                continue
            points = [self.pixels((mark.x, mark.y), at) for at in sweeps[mark.over]]
            there = [point for point in points if not math.isnan(sum(point))]
            for x, y in there:
                self.line([(x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y), (x, y - 5)], mark.stroke, 2)
            if there:
                self.pointed.append([*there[0], [mark.label], mark.stroke, False])

    def occupy(self, x: float, y: float, w: float, h: float) -> None:
        """Keeps labels of points out of a box."""
        self.occupied.append((x, y, x + w, y + h))

    def occupy_along(self, x: float, y: float, angle: float, off: float, w: float) -> None:
        """Keeps labels off words that are turned: a box around them would be mostly empty, so a row of small ones."""
        for k in range(math.ceil(w / 12)):
            along = 12 * k + 6
            cx = x + math.cos(angle) * along - math.sin(angle) * off
            cy = y + math.sin(angle) * along + math.cos(angle) * off
            self.occupy(cx - 8, cy - 8, 16, 16)

    def name_curves(self) -> None:
        """At their ends, pushed apart."""
        self.ended.sort(key=lambda label: label[0])
        for above, below in pairwise(self.ended):
            below[0] = max(below[0], above[0] + 16)
        over = max(0, self.ended[-1][0] - self.bottom) if self.ended else 0
        for y, text, role, _ in self.ended:
            self.write(self.right + 7, y - over, text, role, **BOLD)

    def name_points(self) -> None:
        """Beside their points, where nothing else is; where there is no such place, what was measured has no name."""
        for x, y, *_ in self.pointed:
            self.occupy(x - 7, y - 7, 14, 14)
        around = [
            (9, 18, "start"), (0, 23, "middle"), (11, 4, "start"), (9, 34, "start"), (-9, -9, "end"),
            (0, -13, "middle"), (-11, 4, "end"), (-9, 22, "end"), (9, -12, "start"),
        ]  # fmt: skip
        for far in (50, 66, 82, 98):  # beyond a roof that passes near
            around += [(9, far, "start"), (0, far, "middle"), (-9, far, "end")]
        for x, y, names, role, is_named in self.pointed:
            lines = names if self.narrow else [", ".join(names)]
            w, more = max(map(len, lines)) * 7.6, 15 * (len(lines) - 1)  # the lines that come below the first
            before = {"start": 0, "middle": w / 2, "end": w}
            places = [
                (min(dx, self.width - 2 - x - w + before[anchor]), dy - more * (dy < 0), anchor)  # to stay inside
                for dx, dy, anchor in around
            ]
            boxes = [
                (x + dx - before[anchor], y + dy - 11, x + dx - before[anchor] + w, y + dy + 4 + more)
                for dx, dy, anchor in places
            ]
            # Rather on a dotted line than on a roof, and rather on a roof than on words.
            clear = [i for i, box in enumerate(boxes) if self.is_clear(*box)]
            if not clear and not is_named:
                continue
            beside = [i for i in clear if not is_crossed(self.roofs, *boxes[i])]
            free = [i for i in beside if not is_crossed(self.dotted, *boxes[i])]
            i = next(iter(free or beside or clear or [0]))
            self.occupied.append(boxes[i])
            dx, dy, anchor = places[i]
            for n, text in enumerate(lines):
                self.write(x + dx, y + dy + 15 * n, text, role, **{"text-anchor": anchor}, **BOLD)

    def is_clear(self, a: float, b: float, c: float, d: float) -> bool:
        """Whether a label in the box from (a, b) to (c, d) covers no other, and stays in the picture."""
        inside = a >= self.left and b >= self.top - 8 and d <= self.bottom + 2
        return inside and not any(a < t[2] and t[0] < c and b < t[3] and t[1] < d for t in self.occupied)


def is_crossed(pieces: Sequence[Piece], a: float, b: float, c: float, d: float) -> bool:
    """Whether one of the straight pieces goes through the box from (a, b) to (c, d): it has corners on both sides."""
    for (x, y), (u, v) in pieces:
        near = max(x, u) > a and min(x, u) < c and max(y, v) > b and min(y, v) < d
        sides = [(p - x) * (v - y) - (q - y) * (u - x) for p in (a, c) for q in (b, d)]
        if near and min(sides) < 0 < max(sides):
            return True
    return False


def mask_marks(mask: Mask, at: Mapping[str, Any], left: float, top: float, side: float) -> list[Mark]:
    """Which tokens (columns) each query (rows) reads, as `drawMask` of live.js."""
    cell = math.floor(side / mask.cells)  # whole pixels, or seams show
    side = cell * mask.cells
    runs = _runs(mask, at)
    base = {"font-size": 12.0, "text-anchor": "start"}
    title = {"x": tenth(left), "y": tenth(top - 10), "fill": "ink"} | base
    box = {"x": tenth(left), "y": tenth(top), "width": tenth(side), "height": tenth(side)}
    marks: list[Mark] = [("text", title, filled(mask.title, at))]
    marks.append(("rect", box | {"fill": "none", "stroke": "faint", "stroke-width": 1.0}, ""))
    for kind, role, opacity in (("far", "third", 0.3), ("selected", "fourth", 1), ("near", "path", 1)):
        d = "".join(
            f"M{tenth(left + j0 * cell):.10g},{tenth(top + i * cell):.10g}h{tenth((j1 - j0) * cell):.10g}"
            f"v{tenth(cell):.10g}h{tenth((j0 - j1) * cell):.10g}z"
            for j0, j1, i in runs[kind]
        )
        marks.append(("path", {"d": d, "fill": role, "opacity": opacity}, ""))
    for i, (role, text) in enumerate(mask.legend):
        place = {"x": tenth(left + side - 6), "y": tenth(top + 16 + 17 * i), "fill": role}
        marks.append(("text", place | base | {"text-anchor": "end"} | BOLD, text))
    return marks


def _runs(mask: Mask, at: Mapping[str, Any]) -> dict[str, list[tuple[int, int, int]]]:
    """Cells of one kind beside each other: for each kind, from which column to which, and in which row."""
    n, tokens = mask.cells, int(at[mask.tokens])
    block, selected, window = (int(at[name]) for name in (mask.block, mask.selected, mask.window))
    runs: dict[str, list[tuple[int, int, int]]] = {"far": [], "selected": [], "near": []}
    for i in range(n):
        t = -(-(i + 1) * tokens // n) - 1
        chosen, kinds = chosen_blocks(t, block, selected), list[str]()
        for j in range(n):
            a, b = j * tokens // n, min(t, -(-(j + 1) * tokens // n) - 1)
            if a > t:
                break
            if b > t - window:
                kinds.append("near")
            else:
                in_chosen = any(c * block <= b and a <= (c + 1) * block - 1 for c in chosen)
                kinds.append("selected" if in_chosen else "far")
        begin = 0
        for kind, cells in groupby(kinds):
            end = begin + len(list(cells))
            runs[kind].append((begin, end, i))
            begin = end
    return runs


def chosen_blocks(t: int, block: int, selected: int) -> list[int]:
    """The blocks that query t reads: its own, the one before it, the first, and others, here evenly spread.

    Which others depends on the data: the ones whose compressed keys get most weight.

    >>> chosen_blocks(t=1023, block=64, selected=6)
    [0, 14, 15, 3, 7, 11]
    """
    own = t // block
    chosen = sorted({0, max(0, own - 1), own})
    between = own - 2
    more = min(selected - len(chosen), max(0, between))
    return chosen + [1 + math.floor((i + 0.5) * between / more) for i in range(more)]


# --- stacked bars: the names are those of `drawBars` in live.js -----------------------------------


def bars_marks(view: Bars, now: Any, ghost: Any, message: Any, width: float, height: float) -> tuple[list[Mark], float]:
    """Stacked bars, each with a title above and names below; and the height, which may have to be more."""
    title = heading(view, now["at"], message, width)
    columns = 2 if width < 480 else max(len(bar.parts) for bar in view.bars)
    rows = max(math.ceil(len(bar.parts) / columns) for bar in view.bars)
    top, around = 22 + 19 * max(2, len(title)), 66 + 36 * rows  # around a bar: what is above and below it
    thick = max(26, min(90, math.floor((height - top) / len(view.bars)) - around))
    height = max(height, top + len(view.bars) * (around + thick))
    marks: list[Mark] = [("rect", {"x": 0, "y": 0, "width": width, "height": height, "fill": "page"}, "")]
    marks += title
    if message and message["blocks"]:
        return marks, height
    for i, bar in enumerate(view.bars):
        y = top + i * (around + thick) + 38
        marks += stack_marks(bar, now["at"], ghost and ghost["at"], y, thick, width, columns)
    return marks, height


def stack_marks(
    bar: Stack, at: Mapping[str, Any], before: Any, y: float, thick: float, width: float, columns: int
) -> list[Mark]:  # fmt: skip
    """One bar whose upper edge is at y; below it, thin and pale, that of the frozen state."""
    left, right = 8.0, width - 8.0
    total, limit = sum(at[value] for value, _, _ in bar.parts), at[bar.limit]
    was = sum(before[value] for value, _, _ in bar.parts) if before else 0
    before = before if 0 < was < math.inf else None  # a frozen state may have no such numbers
    most = max(total, limit, was if before else 0)

    def X(v: float) -> float:
        return left + v / most * (right - left)

    bottom, low = y + thick, y + thick - (12 if before else 0)
    marks = [words(left, y - 26, filled(bar.title, at), "ink", **BOLD)]
    if bar.beyond and total > limit:
        marks.append(box(X(limit), y - 20, right, bottom, bar.beyond))
    rows = [(at, y, low, 1.0)] + ([(before, low + 3, bottom, 0.45)] if before else [])
    for source, above, below, opacity in rows:
        begin = 0.0
        for value, _, color in bar.parts:
            marks.append(box(X(begin), above, X(begin + source[value]), below, color, opacity))
            begin += source[value]
            marks.append(line([(X(begin), above), (X(begin), below)], "page", 1.5))  # so that no two colours touch
    down = [(X(limit), y - 18), (X(limit), bottom + 4)]
    marks += [line(down, "page", 4), line(down, "ink", 1.8, stroke_dasharray="7,4")]  # seen on every colour
    marks.append(limit_name(filled(bar.brief if width < 480 else bar.words, at), X(limit), left, right, y - 8))
    begin = 0.0
    for i, (value, label, color) in enumerate(bar.parts):
        x, under = left + i % columns * (right - left) / columns, bottom + 20 + 36 * (i // columns)
        marks.append(box(x, under, x + 10, under + 10, color))
        if columns == len(bar.parts) and at[value] > 0:
            marks.append(line([(X(begin + at[value] / 2), bottom), (x + 5, under)], color, 1.5))
        begin += at[value]
        marks.append(words(x + 15, under + 10, label, color, **BOLD))
        share = formatted(at[value] / total, "%")
        marks.append(words(x + 15, under + 25, f"{formatted(at[value], bar.unit)}, {share}", "ink"))
    return marks


def box(x: float, y: float, right: float, bottom: float, fill: str, opacity: float = 1.0) -> Mark:
    """A mark: a filled rectangle."""
    size = {"width": max(0.0, tenth(right - x)), "height": tenth(bottom - y)}
    return "rect", {"x": tenth(x), "y": tenth(y)} | size | {"fill": fill, "opacity": opacity}, ""


def limit_name(text: str, x: float, left: float, right: float, y: float) -> Mark:
    """The words on a limit: before it where there is room for them."""
    w = len(text) * 7.6
    if x - 6 - w >= left:
        return words(x - 6, y, text, "ink", **{"text-anchor": "end"}, **BOLD)
    return words(min(x + 6, right - w), y, text, "ink", **BOLD)


def picture(
    view: View | Bars, now: Any, ghost: Any, message: Any, width: int = 720, height: int = 418
) -> tuple[list[Mark], int]:
    """All marks and the height: the chart, and beside it the mask where there is one."""
    if isinstance(view, Bars):
        marks, tall = bars_marks(view, now, ghost, message, width, height)
        return marks, math.ceil(tall)
    if view.mask is None:
        return Drawing(view, now, ghost, message, width, height).marks, height
    part = math.floor(width * 0.6)
    side = min(width - part - 24, height - 64)
    ground: Mark = ("rect", {"x": 0, "y": 0, "width": width, "height": height, "fill": "page"}, "")
    chart = Drawing(view, now, ghost, message, part, height).marks
    blocked = message and message["blocks"]
    beside = [] if blocked else mask_marks(view.mask, now["at"], part + 8, 44, side)
    return [ground, *chart, *beside], height


# --- files ----------------------------------------------------------------------------------------


def svg(marks: Sequence[Mark], width: int, height: int, look: Mapping[str, str]) -> str:
    """The marks as an SVG picture in the colours of a theme."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="DejaVu Sans, Verdana, sans-serif">'
    ]
    for tag, attributes, text in marks:
        pairs = " ".join(f'{name}="{_attribute(x, look)}"' for name, x in attributes.items())
        lines.append(f"<{tag} {pairs}>{escape(text)}</{tag}>" if text else f"<{tag} {pairs}/>")
    return "\n".join([*lines, "</svg>"])


def _attribute(value: Any, look: Mapping[str, str]) -> str:
    return f"{value:.10g}" if isinstance(value, (int, float)) else escape(look.get(value, value))


def png(marks: Sequence[Mark], width: int, height: int, look: Mapping[str, str]) -> bytes:
    """The marks as a PNG, with shapes drawn twice as large and halved, to be smooth.

    Words, which Pillow draws smoothly, come last: nothing of ours lies above them.
    """
    fine = 2
    image = Image.new("RGB", (width * fine, height * fine), look["page"])
    draw = ImageDraw.Draw(image)

    for tag, a, _ in marks:
        _draw_shape(draw, tag, a, fine, look)
    image = image.reduce(2)
    draw = ImageDraw.Draw(image)
    for tag, a, text in marks:
        if tag == "text":
            fill, font = _colour(a, "fill", look), _font("font-weight" in a, round(a["font-size"]))
            anchor = {"start": "ls", "middle": "ms", "end": "rs"}[a["text-anchor"]]
            if "transform" in a:
                _turned(image, a, text, font, anchor, fill)
            else:
                draw.text((a["x"], a["y"]), text, fill, font, anchor)
    out = io.BytesIO()
    out.name = "picture.png"  # Pillow loads one format for a name, and all for "PNG"
    few = image.quantize(64, Image.Quantize.FASTOCTREE)
    few.save(out, compress_level=3)  # a tenth larger than by default, in a quarter of the time
    return out.getvalue()


def _colour(a: Mapping[str, Any], name: str, look: Mapping[str, str]) -> Any:
    """None where there is none; what is translucent is mixed with the page, which is all that lies below it."""
    opaque, share = look.get(a.get(name, "none")), a.get("opacity", 1)
    if not opaque or share == 1:
        return opaque
    above, below = ImageColor.getrgb(opaque), ImageColor.getrgb(look["page"])
    return tuple(round(x * share + y * (1 - share)) for x, y in zip(above, below, strict=True))


def _draw_shape(draw: Any, tag: str, a: Mapping[str, Any], fine: int, look: Mapping[str, str]) -> None:
    """One mark that is no words, `fine` times as large."""
    fill, stroke = (_colour(a, name, look) for name in ("fill", "stroke"))
    width = max(1, round(a["stroke-width"] * fine)) if stroke else 0
    if tag == "rect":
        corners = [float(a["x"]), float(a["y"]), a["x"] + a["width"], a["y"] + a["height"]]
        draw.rectangle([v * fine for v in corners], fill, stroke, width)
    elif tag == "circle":
        draw.circle((a["cx"] * fine, a["cy"] * fine), a["r"] * fine, fill, stroke, width)
    elif tag == "polyline":
        points = [tuple(float(v) * fine for v in xy.split(",")) for xy in a["points"].split()]
        for piece in _dashes(points, a.get("stroke-dasharray", "none"), fine):
            draw.line(piece, stroke, width, joint="curve")
    elif tag == "path":
        for x, y, w, h in re.findall(r"M([\d.]+),([\d.]+)h([\d.]+)v([\d.]+)", a["d"]):
            x, y, w, h = (float(v) * fine for v in (x, y, w, h))
            draw.rectangle([x, y, x + w, y + h], fill)


@cache
def _font(bold: bool, size: int) -> Any:
    """DejaVu Sans, the font of our other pictures, which Matplotlib brings along."""
    found = Path(find_spec("matplotlib").origin).parent / "mpl-data/fonts/ttf"  # type: ignore[union-attr, arg-type]
    return ImageFont.truetype(found / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), size)


def _turned(image: Any, a: Any, text: str, font: Any, anchor: str, fill: Any) -> None:
    """Text turned about the point that its `transform` names."""
    angle, x, y = map(float, re.findall(r"-?[\d.]+", a["transform"]))
    layer = Image.new("L", image.size, 0)
    ImageDraw.Draw(layer).text((a["x"], a["y"]), text, 255, font, anchor)
    layer = layer.rotate(-angle, Image.Resampling.BICUBIC, center=(x, y))
    image.paste(Image.new("RGB", image.size, fill), mask=layer)


def _dashes(points: list[Any], pattern: str, fine: int) -> Iterator[list[Any]]:
    """A line as the pieces of it that are drawn."""
    if pattern == "none":
        yield points
        return
    lengths = [float(x) * fine for x in pattern.split(",")]
    left, on, piece = lengths[0], True, [points[0]]
    for (xa, ya), (xb, yb) in pairwise(points):
        whole = math.hypot(xb - xa, yb - ya)
        done = 0.0
        while whole - done > left:
            done += left
            at = (xa + (xb - xa) * done / whole, ya + (yb - ya) * done / whole)
            if on:
                yield [*piece, at]
            on, piece = not on, [at]
            left = lengths[0] if on else lengths[1]
        left -= whole - done
        piece.append((xb, yb))
    if on and len(piece) > 1:
        yield piece


def data_uri(text: str) -> str:
    """An SVG picture as the address of an image, which also notebooks that are not trusted may show."""
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()
