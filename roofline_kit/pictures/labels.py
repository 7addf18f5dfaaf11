"""Where does a label go? To the nearest free place, with a line to its point where that is not beside it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter


def si(value: float, unit: str) -> str:
    """An amount in engineering units, four digits of it: 125 TFLOP/s."""
    return EngFormatter(unit, sep=" ")(float(f"{value:.4g}"))


class Placer:
    """Puts text into an Axes where nothing else is; boxes are (x0, y0, x1, y1) in pixels."""

    def __init__(self, ax: Axes) -> None:
        self.ax = ax
        self.pt = ax.figure.dpi / 72
        self.box = ax.get_window_extent().extents
        self.points: list[np.ndarray] = []
        self.taken: list[Any] = []
        self.segments: list[np.ndarray] = []

    def pixels(self, x: Any, y: Any) -> np.ndarray:
        """Where data coordinates are on the page."""
        return np.asarray(self.ax.transData.transform((float(x), float(y))))

    def keep_free(self, centre: np.ndarray, radius: float) -> None:
        """Keep a square free, `radius` in points."""
        r = radius * self.pt
        self.taken.append(np.array([*(centre - r), *(centre + r)]))

    def keep_off(self, points: list[tuple[float, float]]) -> None:
        """Keep labels off a line through `points`, in data coordinates."""
        pixels = [self.pixels(*p) for p in points]
        self.segments += [np.array(pair) for pair in pairwise(pixels)]

    def text(self, x: float, y: float, text: str, dx: float = 0, dy: float = 0, **given: Any) -> None:
        """Text at a fixed place, `dx` and `dy` points away from (x, y), on the left where the right is full."""
        style: dict[str, Any] = {"fontsize": 12.5, "ha": "left", "zorder": 8} | given
        made: Any = self.ax.annotate(text, (x, y), (dx, dy), textcoords="offset points", **style)
        if made.get_window_extent().extents[2] > self.box[2] and style["ha"] == "left":
            made.set(ha="right", x=-dx)
        self.taken.append(made.get_window_extent().extents)

    def along(self, x0: float, x1: float, slope: float, text: str, dy: float, **style: Any) -> None:
        """Text along the slanted roof y = slope · x, in the middle of what is seen of it."""
        start, end = self.pixels(x0, x0 * slope), self.pixels(x1, x1 * slope)
        if start[1] < self.box[1]:  # the roof enters from below
            start = start + (end - start) * (self.box[1] - start[1]) / (end[1] - start[1])
        length = np.hypot(*(end - start))
        direction = (end - start) / length
        offset = dy * np.array([-direction[1], direction[0]])
        fixed: dict[str, Any] = {"rotation_mode": "anchor", "ha": "center", "fontsize": 12.5, "zorder": 8}
        made = self.ax.annotate(text, (x1, x1 * slope), tuple(offset), textcoords="offset points", **fixed, **style)
        left, _, right, _ = made.get_window_extent().extents
        made.set_rotation(np.degrees(np.arctan2(direction[1], direction[0])))
        # The middle, or where there is most room between the points on the roof.
        half = (right - left) / 2
        along = np.linspace(half + 14 * self.pt, length - half - 14 * self.pt, 9)[[4, 3, 5, 2, 6, 1, 7, 0, 8]]
        spots = [start + t * direction for t in along]
        middle = max(spots, key=lambda spot: min([np.hypot(*(spot - p)) for p in self.points] + [half + 20 * self.pt]))
        made.xy = tuple(self.ax.transData.inverted().transform(middle))
        # The box around slanted text is mostly empty, so a row of small boxes is kept free instead.
        for t in np.linspace(-half, half, 12):
            self.keep_free(middle + t * direction + 2 * offset * self.pt, 8)

    def label(self, x: float, y: float, text: str, color: str, **style: Any) -> None:
        """A label at the nearest free place, with a leader line to its point where that is not beside it."""
        at = self.pixels(x, y)
        style |= {"color": color, "ha": "center", "va": "center", "fontsize": 12.5, "zorder": 9}
        made = self.ax.annotate(text, (x, y), (0, 0), textcoords="offset points", **style)
        left, low, right, high = made.get_window_extent().extents
        half = np.array([(right - left) / 2 + 6 * self.pt, (high - low) / 2 + 2 * self.pt])
        centre = self._free_place(at, half)
        if centre is None:
            raise ValueError(f"there is no room for the label {text!r}: plot fewer points, or shorten the labels")
        made.set_position(tuple((centre - at) / self.pt))
        self.taken.append(np.array([*(centre - half), *(centre + half)]))
        nearest = np.clip(at, centre - half, centre + half)
        gap = np.hypot(*(at - nearest))
        if gap > 14 * self.pt:
            ends = np.array([nearest, at + (nearest - at) * (9 * self.pt / gap)])
            self.ax.plot(*self.ax.transData.inverted().transform(ends).T, color=color, lw=1.3, zorder=6)
            self.segments.append(ends)

    def _free_place(self, at: np.ndarray, half: np.ndarray) -> np.ndarray | None:
        """Centre of the nearest free place for a label of size 2·half; right and below win ties."""
        x0, y0, x1, y1 = self.box + np.array([*half, *-half])
        columns, rows = np.arange(x0, x1, 3), np.arange(y0, y1, 4)
        grid = np.stack(np.meshgrid(columns, rows), axis=-1)
        free = np.ones((len(rows), len(columns)), dtype=bool)

        def meets(low: np.ndarray, high: np.ndarray) -> Any:
            """The part of the grid whose boxes meet that box."""
            across = (columns - half[0] < high[0]) & (columns + half[0] > low[0])
            return np.ix_((rows - half[1] < high[1]) & (rows + half[1] > low[1]), across)

        for other in self.taken:
            free[meets(other[:2], other[2:])] = False
        for segment in self.segments:
            part = meets(segment.min(axis=0), segment.max(axis=0))
            centres = grid[part].reshape(-1, 2)
            free[part] &= ~crosses(segment, np.hstack([centres - half, centres + half])).reshape(free[part].shape)
        grid = grid[free]
        boxes = np.hstack([grid - half, grid + half])
        near = np.clip(at, boxes[:, :2], boxes[:, 2:])
        cost = np.hypot(*(near - at).T) + 0.02 * (grid - at) @ [-1, 1]
        beside = {round(x) for x, _ in self.points if abs(x - at[0]) > self.pt}
        for x in beside:  # a label above or below another point is in the way of that point's label
            cost += 25 * self.pt * ((boxes[:, 0] - 6 < x) & (x < boxes[:, 2] + 6))
        order = np.argsort(cost, kind="stable")
        others = np.array([box for box in self.taken if not ((box[:2] < at) & (at < box[2:])).all()]).reshape(-1, 4)
        clear = (i for i in order if not crosses(np.array([at, near[i]]), others).any())
        best = next(clear, order[0] if len(order) else None)
        return None if best is None else grid[best]


def crosses(segment: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Which of the boxes a line segment meets, by clipping it to them (Liang and Barsky)."""
    start, move = segment[0], segment[1] - segment[0]
    move = np.where(np.abs(move) < 1e-9, 1e-9, move)
    a, b = (boxes[:, :2] - start) / move, (boxes[:, 2:] - start) / move
    return np.maximum(np.maximum(*np.minimum(a, b).T), 0) <= np.minimum(np.minimum(*np.maximum(a, b).T), 1)
