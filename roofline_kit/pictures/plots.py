"""What does it look like? Rooflines in one visual language.

The title states the finding, the limits are labelled on the lines themselves, and points are labelled
directly, so there is no legend to decode. Blue is memory-bound and vermilion is compute-bound
(Okabe and Ito's colours, which colour-blind readers can tell apart), in text as well as in colour, and neither is
anything else: curves of a sweep and parts of a stack have other colours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import cycle
from numbers import Real
from textwrap import fill
from types import MappingProxyType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from ..cost import Cost, Sweep
from ..names import choose, shown
from ..roofline import Roofline, roofline
from ..tensor import Step
from .labels import Placer, si
from .themes import SERIES, THEMES, Theme


def plot_roofline(
    machines: Any, points: Mapping[str, Any] = MappingProxyType({}), *, dtype: str = "fp16",
    title: str = "", theme: str = "light", ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw the roofline of one or several machines, and where costs lie on it.

    machines : a name, an `Accelerator` or a `Roofline`, or several in a list. The first is drawn in
        full (regions, ridge, labels); the others are dashed lines to compare with. Of further limits that the first
        one has, "vector" is a lower roof, and "exp" a wall above each cost that evaluates exponentials.
    points : {label: what}. What can be a `Cost` or a step with numbers in it, an intensity in FLOPs per byte, a
        `Sweep` over one size, which is drawn as a path, or a `Measurement`, which stands at the FLOP/s that it
        achieved. A cost stands at its intensity and at FLOPs / predicted time, where the time is the sum over its
        steps: on the roof for one step, below it where steps of different intensity add up.
    dtype : of the peak, for machines given by name. title : the finding, in a sentence.
    theme : "light" or "dark". ax : Axes to draw in.

    Returns the Axes. Raises ValueError for unknown names, for costs with open sizes, and where there
    are more labels than room.

    >>> from roofline_kit import Tensor, linear, trace
    >>> gemm = trace(linear, Tensor("X", (4096, 4096)), Tensor("W", (4096, 4096)))
    >>> ax = plot_roofline("A10", {"MLP": gemm}, title="The MLP is compute-bound on an A10")
    >>> ax.get_xlabel()
    'arithmetic intensity [FLOPs per byte]'
    """
    given = machines if isinstance(machines, (list, tuple)) else [machines]
    roofs = [m if isinstance(m, Roofline) else roofline(m, dtype) for m in given]
    if not roofs:
        raise ValueError("plot_roofline needs at least one machine")
    _check_labels("plot_roofline", "points {label: cost}", points)
    tracks = {label: _track(label, what, roofs[0]) for label, what in points.items()}
    look, ax = _axes(theme, ax)
    ax.set(xscale="log", yscale="log", facecolor=look.memory_region, **_room(roofs, tracks))
    names = ("arithmetic intensity [FLOPs per byte]", "attainable performance [FLOP/s]")
    placer = _dress(ax, look, names, title, _origin(points))
    for xs, ys in tracks.values():
        for x, y in zip(xs, ys, strict=True):
            placer.points.append(placer.pixels(x, y))
            placer.keep_free(placer.points[-1], 9)
    _draw_roofs(placer, look, roofs)
    _draw_further_limits(placer, look, roofs[0], points)
    for label, what in points.items():
        if isinstance(what, Sweep):
            _draw_path(placer, look, label, what, roofs[0])
    marks = {label: (x[0], y[0]) for label, (x, y) in tracks.items() if not isinstance(points[label], Sweep)}
    _draw_marks(placer, look, marks, roofs[0])
    return ax


def plot_sweep(
    curves: Mapping[str, Any], *, x: str = "", y: str = "arithmetic intensity [FLOPs per byte]",
    limits: Mapping[str, Any] = MappingProxyType({}), points: Mapping[str, Any] = MappingProxyType({}),
    title: str = "", note: str = "", theme: str = "light", ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw how quantities grow with a size, on two logarithmic axes.

    curves : {label: what}, each labelled at its end. What is a pair of arrays (sizes, values), or a `Sweep`
    over one size, of which it is the intensity.
    x, y : names of the axes, with the unit in brackets, as in "time per step [s]".
    limits : {label: value}, dashed horizontal lines, such as a ridge point.
    points : {label: (x, y)} to mark, numbers, or arrays of them, such as measured points beside a predicted curve.
    title : the finding, in a sentence. note : a line under the axes. theme : "light" or "dark". ax : Axes to draw in.

    Returns the Axes. Raises ValueError for values that a logarithmic axis cannot show, naming the curve,
    and where there are more labels than room.

    >>> from roofline_kit import attention, symbols, tensors, trace
    >>> N, h = symbols("N h")
    >>> cost = trace(attention, *tensors("Q K V", (N, h)))
    >>> ax = plot_sweep({"h = 128": cost.compile("N", h=128)([64, 512, 4096])}, limits={"A10's ridge": 208.3})
    >>> ax.get_xlabel()
    'N'
    """
    look, ax = _axes(theme, ax)
    _check_labels("plot_sweep", "curves {label: a Sweep or (sizes, values)}", curves, some=True)
    _check_labels("plot_sweep", "points {label: (x, y)}", points)
    _check_limits(limits)
    tracks = {label: _curve(label, what) for label, what in curves.items()}
    marks = {label: _marks(label, what) for label, what in points.items()}
    xs, ys = (np.concatenate([track[i] for track in (*tracks.values(), *marks.values())]) for i in (0, 1))
    ys = np.array([*ys, *map(float, limits.values())])
    ax.set(xscale="log", yscale="log", facecolor=look.page)
    ax.set(xlim=(xs.min() / 1.15, xs.max() * (xs.max() / xs.min()) ** 0.3), ylim=(ys.min() / 1.8, ys.max() * 1.8))
    placer = _dress(ax, look, (x or _name_of_sizes(curves), y), title, note)
    _end_where_the_data_ends(ax, xs.min(), xs.max())
    for value in limits.values():
        ax.axhline(float(value), color=look.ink, ls="--", lw=1.6, zorder=2)
        placer.keep_off([(xs.min(), float(value)), (ax.get_xlim()[1], float(value))])
    colors = _draw_curves(placer, SERIES[theme], tracks)
    _draw_points(placer, look, marks)
    for label, value in limits.items():
        placer.label(xs.min(), float(value), label, color=look.ink)
    for label, (sizes, values) in tracks.items():
        placer.label(sizes[-1], values[-1], fill(label, 22), color=colors[label], fontweight="bold")
    return ax


def plot_stack(
    bars: Mapping[str, Mapping[str, float]], *, x: str = "time [s]", title: str = "", note: str = "",
    theme: str = "light", ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw what amounts are made of: a bar for each, of its parts one after the other, on one linear axis.

    bars : {label: {part: amount}}, from the top down. A part has one colour in all bars, which up to
        nine parts do not share, and its name where there is room for it; the sum stands at a bar's end.
    x : name of the axis, with the unit in brackets. title : the finding, in a sentence. note : a line under the axis.
    theme : "light" or "dark". ax : Axes to draw in.

    Returns the Axes. Raises ValueError for a part that is negative or no number, naming it.

    >>> ax = plot_stack({"promised": {"load": 1e-3, "add": 2e-3}, "measured": {"load": 2e-3, "add": 4e-3}})
    >>> [round(float(bar.get_width()), 3) for bar in ax.patches]
    [0.001, 0.002, 0.002, 0.004]
    """
    _check_bars(bars)
    look, ax = _axes(theme, ax, height=1.8 + 0.75 * len(bars))
    ax.set(facecolor=look.page, xlim=(0, 1.15 * max(sum(parts.values()) for parts in bars.values())))
    ax.set(ylim=(len(bars) - 0.5, -0.5))
    ax.set_yticks(range(len(bars)), [fill(label, 22) for label in bars])
    _dress(ax, look, (x, ""), title, note, amounts=True)
    names = dict.fromkeys(part for parts in bars.values() for part in parts)
    colors = dict(zip(names, cycle(SERIES[theme]), strict=False))
    for row, parts in enumerate(bars.values()):
        end = 0.0
        for part, amount in parts.items():
            bar = ax.barh(row, amount, 0.72, end, color=colors[part], edgecolor=look.page, lw=1.5)[0]
            _write_inside(ax, bar, part, look.page)
            end += amount
        ax.text(end, row, f"  {si(end, _unit(x))}", color=look.ink, va="center", fontsize=12.5)
    return ax


def _check_labels(who: str, wanted: str, given: Any, some: bool = False) -> None:
    """Raises ValueError for what has no labels. some : for nothing, too."""
    if not isinstance(given, Mapping) or (some and not given):
        raise ValueError(f"{who} needs {wanted}, not {shown(given)}")


def _check_bars(bars: Mapping[str, Mapping[str, float]]) -> None:
    """Raises ValueError for a bar without parts, and for a part that cannot be drawn."""
    _check_labels("plot_stack", "bars {label: {part: amount}}", bars, some=True)
    for label, parts in bars.items():
        _check_labels(f"plot_stack: the bar {label!r}", "parts {part: amount}", parts, some=True)
        for part, amount in parts.items():
            if not isinstance(amount, Real) or not 0 <= amount < np.inf:
                raise ValueError(f"{part!r} of {label!r} must be 0 or more and finite, not {shown(amount)}")


def _write_inside(ax: Axes, bar: Rectangle, name: str, color: str) -> None:
    """A name within a bar: large, small, or small and upright; none where even that has no room."""
    room = bar.get_window_extent()
    middle = bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height() / 2
    for size, rotation in ((12.5, 0), (8.5, 0), (8.5, 90)):
        text = ax.text(*middle, name, color=color, ha="center", va="center", fontweight="bold", fontsize=size)
        text.set_rotation(rotation)
        extent = text.get_window_extent()
        if extent.width < room.width - 4 and extent.height < room.height - 4:
            return
        text.remove()


def _axes(theme: str, ax: Axes | None, height: float = 6) -> tuple[Theme, Axes]:
    """The theme's colours, and Axes in them."""
    look = THEMES[choose("theme", theme, THEMES)]
    return look, ax or plt.subplots(figsize=(10, height), dpi=100, layout="constrained", facecolor=look.page)[1]


def _track(label: str, what: Any, roof: Roofline) -> tuple[Any, Any]:
    """Where a cost stands: its intensity, and its FLOPs over its predicted time. A sweep stands in many places."""
    if isinstance(what, Sweep):
        return _over_one_size(label, what)[1], what.flops / roof.time(what)
    if _is_measured(what):
        return np.array([what.intensity]), np.array([what.rate])
    if isinstance(what, (Cost, Step)):
        roof.bound(what)  # raises, with the names of the sizes, where some are open
        return np.array([float(what.intensity)]), np.array([float(what.flops) / roof.time(what)])
    if not isinstance(what, Real) or not 0 < float(what) < np.inf:
        wanted = "a Cost, a Sweep, a Measurement or a number of FLOPs per byte"
        raise TypeError(f"the point {label!r} must be {wanted}, not {shown(what)}")
    return np.array([float(what)]), np.array([roof.attainable(what)])


def _is_measured(what: Any) -> bool:
    """Whether it is a `Measurement`: something with an intensity, and the FLOP/s that were achieved."""
    return hasattr(what, "intensity") and hasattr(what, "rate")


def _room(roofs: list[Roofline], tracks: Mapping[str, tuple[Any, Any]]) -> dict[str, tuple[float, float]]:
    """The limits of the axes: every point, the ridge and every roof, with room for what is written."""
    ridge = float(roofs[0].ridge)
    xs, ys = (np.concatenate([track[i] for track in tracks.values()] or [[]]) for i in (0, 1))
    x0, x1 = min([*xs, ridge]) / 10, max([*xs, ridge]) * 12
    y0, y1 = 0.8 * min([roofs[0].attainable(x0), *(0.6 * ys)]), 4 * max(r.peak for r in roofs)
    return {"xlim": (x0, x1), "ylim": (y0, y1)}


def _origin(points: Mapping[str, Any]) -> str:
    """The footnote that says what the points are."""
    measured = [what for what in points.values() if _is_measured(what)]
    if not points:
        return ""
    if not measured:
        return "Points: predicted by the roofline, FLOPs over the sum of the steps' times. Not measurements."
    return "Points: measured." if len(measured) == len(points) else "Points: measured, or predicted by the roofline."


def _over_one_size(label: str, sweep: Sweep) -> tuple[Any, Any]:
    """The sizes and intensities of a sweep that can be drawn as a line."""
    if len(sweep.sizes) != 1 or sweep.sizes[0].ndim != 1:
        raise ValueError(f"the sweep {label!r} must go over one size, in a one-dimensional array")
    return sweep.sizes[0], sweep.intensity


def _curve(label: str, what: Any) -> tuple[Any, Any]:
    """The sizes and values of a curve as floats, which logarithmic axes can show."""
    is_sweep = isinstance(what, Sweep)
    sizes, values = _over_one_size(label, what) if is_sweep else _pair(f"the curve {label!r}", "a Sweep or ", what)
    in_range = [np.all((a > 0) & (a < np.inf)) for a in (sizes, values)]
    if sizes.ndim != 1 or sizes.shape != values.shape or not all(in_range) or not sizes.size:
        raise ValueError(f"the curve {label!r} must have positive finite sizes and as many values, not {shown(what)}")
    return sizes.astype(float), values.astype(float)


def _check_limits(limits: Mapping[str, Any]) -> None:
    """Raises ValueError for a line that a logarithmic axis cannot show."""
    _check_labels("plot_sweep", "limits {label: value}", limits)
    for label, value in limits.items():
        if not 0 < float(value) < np.inf:
            raise ValueError(f"{label!r} must be positive and finite on logarithmic axes, not {value!r}")


def _pair(name: str, others: str, what: Any) -> list[Any]:
    """Two arrays of floats. Raises ValueError for anything else. name : begins it. others : what else would do."""
    try:
        x, y = (np.asarray(numbers, dtype=float) for numbers in what)
    except (TypeError, ValueError):
        wanted = f"{others}a pair of numbers or of arrays (x, y)"
        raise ValueError(f"{name} must be {wanted}, not {shown(what)}") from None
    return [x, y]


def _marks(label: str, what: Any) -> tuple[Any, Any]:
    """The places of one point or of several as floats, which logarithmic axes can show."""
    at, values = map(np.atleast_1d, _pair(f"the points {label!r}", "", what))
    if at.ndim != 1 or at.shape != values.shape or not at.size:
        raise ValueError(f"the points {label!r} must have one value for each size, not {shown(what)}")
    if not all(np.all((numbers > 0) & (numbers < np.inf)) for numbers in (at, values)):
        raise ValueError(f"{label!r} must be positive and finite on logarithmic axes, not {shown(what)}")
    return at, values


def _name_of_sizes(curves: Mapping[str, Any]) -> str:
    """The symbol that the first sweep goes over; nothing where there are arrays alone."""
    return next((str(what.compiled.symbols[0]) for what in curves.values() if isinstance(what, Sweep)), "")


def _draw_roofs(placer: Placer, look: Theme, roofs: list[Roofline]) -> None:
    """Regions, roofs and ridge, with what stands on the lines themselves."""
    ax, roof, ridge = placer.ax, roofs[0], float(roofs[0].ridge)
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    ax.axvspan(ridge, x1, color=look.compute_region, lw=0, zorder=0)
    for r in roofs:
        line = [(x0, x0 * r.bandwidth), (float(r.ridge), r.peak), (x1, r.peak)]
        style = {"color": look.ink, "lw": 3, "zorder": 3} if r is roof else {"color": look.faint, "lw": 1.8, "ls": "--"}
        ax.plot(*zip(*line, strict=True), **style)
        placer.keep_off(line)
    ax.plot([ridge, ridge], [y0, roof.peak], ":", color=look.ink, lw=1.4, zorder=2)
    ax.plot([ridge], [roof.peak], "o", color=look.ink, ms=8, zorder=5)
    placer.keep_off([(ridge, y0), (ridge, y1)])

    ink, memory, compute = ({"color": c, "fontweight": "bold"} for c in (look.ink, look.memory, look.compute))
    peak = f"{roof.accelerator.name}  {roof.dtype} peak  {si(roof.peak, 'FLOP/s')}"
    placer.text(x1, roof.peak, peak, -4, 7, ha="right", va="bottom", **ink)
    placer.along(x0, ridge, roof.bandwidth, f"memory  {si(roof.bandwidth, 'B/s')}", 7, va="bottom", **ink)
    for r in roofs[1:]:
        text = f"{r.accelerator.name}  {si(r.peak, 'FLOP/s')}"
        dy, va = (-6, "top") if r.peak <= roof.peak else (6, "bottom")
        placer.text(x1, r.peak, text, -4, dy, ha="right", va=va, color=look.faint)
    placer.text(x0, y1, "◀ memory-bound: time = bytes / bandwidth", 8, -8, va="top", **memory)
    placer.text(x1, y0, "compute-bound ▶\ntime = FLOPs / peak", -8, 8, ha="right", va="bottom", **compute)
    note = f"ridge point = peak / bandwidth\n= {ridge:.4g} FLOPs per byte"
    placer.text(ridge, y0, note, 7, 62, va="bottom", color=look.ink)


def _draw_further_limits(placer: Placer, look: Theme, roof: Roofline, points: Mapping[str, Any]) -> None:
    """A lower roof for what runs outside of matrix units, and walls for exponentials, where the roofline has them."""
    if "vector" in roof.limits:
        rate, x1 = float(roof.rates["vector"]), placer.ax.get_xlim()[1]
        line = [(rate / roof.bandwidth, rate), (x1, rate)]
        placer.ax.plot(*zip(*line, strict=True), color=look.other, lw=1.8, ls="--", zorder=3)
        placer.keep_off(line)
        name = f"outside of matrix units  {si(rate, 'FLOP/s')}"
        placer.text(x1, rate, name, -4, -5, ha="right", va="top", color=look.other)
    if "exp" in roof.limits:
        for x, top in _walls(roof, points).items():
            wall = [(x, top), (x, roof.attainable(x))]
            placer.ax.plot(*zip(*wall, strict=True), color=look.other, lw=5, alpha=0.7, solid_capstyle="butt", zorder=4)
            placer.keep_off(wall)
            placer.label(x, top, f"exponentials: at most {si(top, 'FLOP/s')}", color=look.other)


def _walls(roof: Roofline, points: Mapping[str, Any]) -> dict[float, float]:
    """Where exponentials keep a cost below the roof: its intensity, and the FLOP/s that they allow."""
    walls = {}
    for what in points.values():
        if isinstance(what, (Cost, Step)) and what.amounts["exp"] != 0:
            top = float(roof.rates["exp"] * what.amounts["compute"] / what.amounts["exp"])
            if top < roof.attainable(float(what.intensity)):
                walls[float(what.intensity)] = top
    return walls


def _draw_path(placer: Placer, look: Theme, label: str, sweep: Sweep, roof: Roofline) -> None:
    """A sweep over one size as a path, with a tick at each of its sizes."""
    sizes, name = sweep.sizes[0], sweep.compiled.symbols[0]
    between = np.unique(np.geomspace(sizes.min(), sizes.max(), 400).round())
    smooth = sweep if sweep.compiled.fractions else sweep.compiled(between)  # heads must divide: no sizes in between
    placer.ax.plot(*_track(label, smooth, roof), color=look.path, lw=7, alpha=0.45, zorder=4)
    x, y = _track(label, sweep, roof)
    placer.ax.plot(x, y, "|", color=look.path, ms=13, mew=2, zorder=6)
    texts = [f"{label}\n{name} = {sizes[0]:,.0f}", *(f"{size:,.0f}" for size in sizes[1:])]
    for i in range(len(sizes)) if len(sizes) <= 8 else (0, -1):
        placer.label(x[i], y[i], texts[i], color=look.path, fontweight="bold")


def _draw_marks(placer: Placer, look: Theme, marks: Mapping[str, tuple[Any, Any]], roof: Roofline) -> None:
    """Points {label: (x, y)}, in the colour of what binds them; those that lie on one another share a label."""
    places: dict[Any, list[str]] = {}
    for label, xy in marks.items():
        places.setdefault(tuple(np.round(placer.pixels(*xy) / (6 * placer.pt))), []).append(label)
    texts = [(*marks[labels[0]], fill(", ".join(labels), 20)) for labels in places.values()]
    for (x, y, text), marker in zip(sorted(texts, reverse=True), cycle("osD^vPX*"), strict=False):
        color = look.compute if x >= roof.ridge else look.memory
        placer.ax.plot([x], [y], marker, color=color, ms=12, mec=look.page, mew=1.6, zorder=7)
        placer.label(x, y, text, color=color)


def _end_where_the_data_ends(ax: Axes, first: float, last: float) -> None:
    """The horizontal axis has numbers below what is drawn, and none below the names of the curves."""
    ticks = LogLocator(10, _digits(first, last), numticks=12).tick_values(first, last)
    ax.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if first / 1.15 <= tick <= last * (1 + 1e-9)]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.spines["bottom"].set_bounds(ax.get_xlim()[0], last)


def _draw_curves(placer: Placer, series: Sequence[str], tracks: Mapping[str, tuple[Any, Any]]) -> dict[str, str]:
    """The curves {label: (sizes, values)}, kept free of labels; returns their colours."""
    colors = dict(zip(tracks, cycle(series), strict=False))
    for (label, (sizes, values)), style in zip(tracks.items(), cycle([*5 * ["-"], *4 * ["--"]]), strict=False):
        placer.ax.plot(sizes, values, style, color=colors[label], lw=3, zorder=4)
        spread = np.geomspace(sizes.min(), sizes.max(), 16)[:, None]  # enough to keep labels off it
        coarse = np.unique(np.abs(np.log(sizes / spread)).argmin(axis=1))
        placer.keep_off(list(zip(sizes[coarse], values[coarse], strict=True)))
    return colors


def _draw_points(placer: Placer, look: Theme, marks: Mapping[str, tuple[Any, Any]]) -> None:
    """Points {label: (x, y)}; several of one label have a marker of their own, and the label at the last of them."""
    series = [label for label, (at, _) in marks.items() if len(at) > 1]
    markers = dict(zip(series, cycle("osD^vPX*"), strict=False))
    for label, (at, values) in marks.items():
        marker = markers.get(label, "o")
        placer.ax.plot(at, values, marker, color=look.ink, ms=9, mec=look.page, mew=1.4, zorder=7)
        for place in zip(at, values, strict=True) if label in markers else ():
            placer.keep_free(placer.pixels(*place), 6)
        placer.label(at[-1], values[-1], label, color=look.ink)


def _unit(name: str) -> str:
    """The unit in an axis' name that goes with prefixes: 10 ms and 20 GB, but 1,000 tokens."""
    found = re.search(r"\[(s|B|FLOP/s)\]$", name)
    return found[1] if found else ""


def _digits(low: float, high: float) -> tuple[float, ...]:
    """The first digits of the numbers on a logarithmic axis: only powers of ten where there are several of them."""
    if high >= 1000 * low:
        return (1,)
    return (1, 2, 5) if high >= 10 * low else (1, 1.5, 2, 3, 4, 5, 7)


def _dress(ax: Axes, look: Theme, names: tuple[str, str], title: str, note: str, amounts: bool = False) -> Placer:
    """Names of the axes, grid, ticks, title, and a note under the axes; and what then places the labels.

    amounts : the axes are not logarithmic, and the vertical one has names.
    """
    if note:
        ax.annotate(note, (1, 0), (0, -44), xycoords="axes fraction", textcoords="offset points",
                    ha="right", va="top", fontsize=10, color=look.faint)  # fmt: skip
    ax.set_xlabel(names[0], color=look.ink, fontsize=13)
    ax.set_ylabel(names[1], color=look.ink, fontsize=13)
    # Without a y, Matplotlib measures all ticks in each drawing, to see that none is in the title's way.
    ax.set_title(fill(title, 74), color=look.ink, fontsize=15, fontweight="bold", loc="left", pad=12, y=1)
    for axis, name in ((ax.xaxis, names[0]), (ax.yaxis, names[1]))[: 1 if amounts else 2]:
        with_prefix = EngFormatter(_unit(name).replace("FLOP/s", ""), sep=" ")
        in_full = FuncFormatter(lambda value, _: f"{value:,.10g}")
        axis.set_major_formatter(with_prefix if _unit(name) else in_full)
        if not amounts:
            axis.set_major_locator(LogLocator(10, _digits(*axis.get_view_interval()), numticks=12))
            axis.set_minor_formatter(NullFormatter())
    ax.grid(which="major", axis="x" if amounts else "both", color=look.faint, alpha=0.22, lw=0.8)
    ax.tick_params(which="both", color=look.faint, labelcolor=look.ink, labelsize=12)
    ax.tick_params(which="minor", labelbottom=False, labelleft=False)  # empty as they are, they would be measured
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(look.faint)
    figure: Any = ax.figure
    if engine := figure.get_layout_engine():  # labels are placed in pixels, so the axes must have their final size
        engine.execute(figure)
    figure.set_layout_engine("none")
    return Placer(ax)
