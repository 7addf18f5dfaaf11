"""What is the machine? Its memories and its units as boxes, and which of the arrows between them "bytes" means.

Sizes and rates are those of `accelerators.toml`; a box whose number has no source there is drawn without one.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from ..hardware import Accelerator, accelerator
from ..names import choose
from .labels import si
from .themes import THEMES, Theme


class Box(NamedTuple):
    """A part of the machine: its names, a line each, and where it lies, from its lower left corner."""

    names: str
    x: float
    y: float
    width: float
    height: float


BOXES = {
    "memory": Box("memory", 0, 8, 17, 40),
    "L2": Box("L2 cache", 33, 8, 12, 40),
    "storage": Box("shared memory\nregisters", 51, 8, 18, 40),
    "matrix": Box("matrix units", 75, 36, 26, 12),
    "ordinary": Box("ordinary units", 75, 22, 26, 12),
    "special": Box("special-function units", 75, 8, 26, 12),
}
"""The parts from left to right, in a picture that is 100 wide and 56 high."""

PARTS = ("bytes", *BOXES)
FONT = 13


def plot_machine(
    machine: Accelerator | str, part: str = "bytes", *, small: bool = False, dtype: str = "fp16",
    title: str = "", theme: str = "light", ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw what a machine is made of: where numbers are kept, where they are computed with, and the way between.

    machine : a name or an `Accelerator`. part : what is highlighted. "bytes" is the arrow between memory and chip,
        whose traffic every cost here counts; "memory", "L2" and "storage" (shared memory and registers) keep numbers,
        and "matrix", "ordinary" and "special" units compute.
    small : a flat picture of which the highlighted part alone has its numbers. dtype : of the matrix units' peak, and
        of the ordinary units' where they have one for it.
    title : the finding, in a sentence. theme : "light" or "dark". ax : Axes to draw in.

    Returns the Axes. Raises ValueError for an unknown machine, part, dtype or theme, naming the nearest.

    >>> ax = plot_machine("A10")
    >>> "L2 cache\\n6 MB" in [text.get_text() for text in ax.texts]
    True
    """
    card, look = accelerator(machine), THEMES[choose("theme", theme, THEMES)]
    part = choose("part", part, PARTS)
    numbers = _numbers(card, dtype)
    size = (10, 3) if small else (10, 5.2)
    ax = ax or plt.subplots(figsize=size, dpi=100, layout="constrained", facecolor=look.page)[1]
    ax.set(xlim=(-1, 104), ylim=(0, 58))
    ax.set_axis_off()
    if title:
        ax.set_title(title, color=look.ink, fontsize=15, fontweight="bold", loc="left", pad=10, y=1)
    _draw_chip(ax, look, card.name)
    shown = {part: numbers[part]} if small else numbers
    _draw_arrows(ax, look, part == "bytes", shown.get("bytes", []))
    for name, box in BOXES.items():
        _draw_box(ax, look, box, shown.get(name, []), name == part)
    return ax


def _numbers(card: Accelerator, dtype: str) -> dict[str, list[str]]:
    """What is known of each part, for each of its names; nothing where no source says it."""
    rates = card.rates(dtype)
    vector = dtype if dtype in card.vector else "fp32"
    return {
        "bytes": [si(card.bandwidth, "B/s")],
        "memory": [si(card.memory, "B")],
        "L2": [si(card.cache, "B") if card.cache else ""],
        "storage": [si(size, "B") if size else "" for size in (card.shared, card.registers)],
        "matrix": [f"{si(rates['matrix'], 'FLOP/s')}, {dtype}"],
        "ordinary": [f"{si(rates['vector'], 'FLOP/s')}, {vector}" if "vector" in rates else ""],
        "special": [f"{si(rates['exp'], '')} exp/s" if "exp" in rates else ""],
    }


def _lines(names: str, numbers: list[str]) -> str:
    """Each name with its number under it."""
    pairs = zip_longest(names.split("\n"), numbers)
    return "\n".join(line for pair in pairs for line in pair if line)


def _draw_chip(ax: Axes, look: Theme, name: str) -> None:
    """The chip as a frame around all that is on it; the memory stands outside of it."""
    ax.add_patch(_frame(30, 2, 73, 54, look.memory_region, look.faint))
    ax.text(31.5, 54.4, f"the {name}'s chip", color=look.faint, fontsize=12, va="top")


def _draw_box(ax: Axes, look: Theme, box: Box, numbers: list[str], highlighted: bool) -> None:
    """A part with its name and its numbers; filled with the accent colour if it is the one to look at."""
    ground, ink = (look.memory, look.page) if highlighted else (look.page, look.ink)
    ax.add_patch(_frame(box.x, box.y, box.width, box.height, ground, look.ink))
    middle = box.x + box.width / 2, box.y + box.height / 2
    weight = "bold" if highlighted else "normal"
    ax.text(*middle, _lines(box.names, numbers), color=ink, fontsize=FONT, fontweight=weight, ha="center", va="center",
            linespacing=1.25)  # fmt: skip


def _draw_arrows(ax: Axes, look: Theme, highlighted: bool, bandwidth: list[str]) -> None:
    """The way of the numbers, both ways; the arrow between memory and chip is the wide one."""
    color, weight = (look.memory, "bold") if highlighted else (look.faint, "normal")
    _arrow(ax, 18, 32, 28, color, 7 if highlighted else 3)
    ax.text(23.5, 34, _lines("bytes", bandwidth), color=color, fontsize=FONT, fontweight=weight, ha="center",
            va="bottom", linespacing=1.25)  # fmt: skip
    _arrow(ax, 45.8, 50.2, 28, look.faint, 3)
    for unit in ("matrix", "ordinary", "special"):
        box = BOXES[unit]
        _arrow(ax, 69.8, 74.2, box.y + box.height / 2, look.faint, 3)


def _arrow(ax: Axes, left: float, right: float, y: float, color: str, width: float) -> None:
    """An arrow with two heads, `width` points wide."""
    style = f"<->,head_length={0.12 * width + 0.2},head_width={0.1 * width + 0.15}"
    ax.annotate("", (right, y), (left, y), arrowprops={"arrowstyle": style, "color": color, "lw": width,
                                                       "shrinkA": 0, "shrinkB": 0})  # fmt: skip


def _frame(x: float, y: float, width: float, height: float, ground: str, edge: str) -> FancyBboxPatch:
    """A rectangle with round corners."""
    corners = "round,pad=0,rounding_size=1.2"
    return FancyBboxPatch((x, y), width, height, boxstyle=corners, lw=1.4, facecolor=ground, edgecolor=edge)
