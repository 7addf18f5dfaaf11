"""Where do two results differ, and where two costs? Sentences and tables: yours beside what is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from ..cost import Cost, aligned, tidy
from ..tensor import leaves
from .builds.question import Sizes, at

Rows = list[tuple[str, Any, Any]]
"""Names of steps, their FLOPs and bytes, and the wanted ones; None where there is no such step. The total is last."""

TOLERANCE = 1e-4  # of the largest element: in double precision, whatever is wrong is wrong by more
NARROW = 24  # characters of a formula, in a table of six columns
LONG, ROWS, WIDE = 40, 24, 8  # characters of a step's name, rows of a table, elements of a row

# --- results --------------------------------------------------------------------------------------


def difference(yours: Any, wanted: Any) -> str:
    """Where results differ, as a sentence with the worst element; "" where they agree."""
    got, goal = leaves(yours), leaves(wanted)
    if len(got) != len(goal):
        return f"it returns {_count(len(got))}, and must return {_count(len(goal))}."
    for i, (a, b) in enumerate(zip(got, goal, strict=True), start=1):
        if told := difference_of_arrays(a, b, "the result" if len(goal) == 1 else f"result {i} of {len(goal)}"):
            return told
    return ""


def _count(n: int) -> str:
    return "one array" if n == 1 else f"{n} arrays"


def difference_of_arrays(yours: Any, wanted: Any, what: str) -> str:
    """Where two arrays differ; what : how the sentence calls yours."""
    numbers = as_numbers(yours)
    if numbers is None:
        return f"{what} is of type {type(yours).__name__}, and must be an array of numbers."
    yours, wanted = numbers, np.asarray(wanted, float)
    if yours.shape != wanted.shape:
        return f"{what} has the shape {yours.shape}, and must have {wanted.shape}."
    with np.errstate(invalid="ignore"):  # an infinity less itself
        gap = np.where(np.isfinite(yours), np.abs(yours - wanted), np.inf)
    gap[yours == wanted] = 0
    wrong = gap > TOLERANCE * np.abs(wanted[np.isfinite(wanted)]).max(initial=1e-9)
    if not wrong.any():
        return ""
    worst = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
    place = f"[{', '.join(map(str, worst))}]" if worst else ""
    figures = f"{yours[worst]:.4g}, and must be {wanted[worst]:.4g}"
    told = f"{what} is wrong in {wrong.sum()} of {wrong.size} elements. The worst: {place} is {figures}."
    return "\n".join([told, *_row(yours, wanted, worst[:-1])] if yours.ndim and yours.size > 1 else [told])


def as_numbers(x: Any) -> Any:
    """An array of `x` in double precision, or None for what is no array of numbers."""
    if not isinstance(x, (np.ndarray, np.generic, int, float)):
        return None
    try:
        return np.asarray(x, float)
    except (TypeError, ValueError):  # of strings, or of objects
        return None


def _row(yours: Any, wanted: Any, place: tuple[int, ...]) -> list[str]:
    """The row in which an element stands, of both, one below the other; its beginning, where it is long."""
    rows = [(name, x[place]) for name, x in (("yours", yours), ("wanted", wanted))]
    more = ["…"] * (len(rows[0][1]) > WIDE)
    table = [
        [f"{name} [{', '.join([*map(str, place), ':'])}]", *(f"{x:.4g}" for x in row[:WIDE]), *more]
        for name, row in rows
    ]
    return aligned(table, left=1)


# --- costs ----------------------------------------------------------------------------------------


def gaps(yours: Cost, wanted: Cost, sizes: Sizes) -> dict[str, Any]:
    """By how much yours is more, in FLOPs and in bytes, at these sizes."""
    pairs = {"FLOPs": yours.flops - wanted.flops, "bytes": yours.bytes - wanted.bytes}
    return {what: at(gap, sizes) for what, gap in pairs.items()}


def cost_sentence(yours: Cost, wanted: Cost, sizes: Sizes) -> str:
    """How a cost compares with the wanted one, without a full stop."""
    told = [f"{'more' if gap > 0 else 'fewer'} {what}" for what, gap in gaps(yours, wanted, sizes).items() if gap != 0]
    return f"It takes {' and '.join(told)} than wanted" if told else "Its cost is the wanted one"


def rows_of(yours: Cost, wanted: Cost) -> Rows:
    """The steps of both, those of the same cost beside each other and the others in their order, and the totals."""
    mine, theirs = ([(_tidied(s.flops), _tidied(s.bytes)) for s in cost.steps] for cost in (yours, wanted))
    left, same = list(theirs), []
    for figures in mine:
        same.append(figures in left)
        if same[-1]:
            left.remove(figures)
    rows: Rows = []
    for name, figures, found in zip(yours.names(), mine, same, strict=True):
        rows.append((name, figures, figures if found else left.pop(0) if left else None))
    rows += [("", None, figures) for figures in left]
    return [*rows, ("total", (yours.flops, yours.bytes), (wanted.flops, wanted.bytes))]


@cache
def _tidied(formula: Any) -> Any:
    """`tidy`, once for a formula that many steps have."""
    return tidy(formula)


def first_odd(rows: Rows) -> str:
    """Which step is the first that differs."""
    odd = [name for name, mine, other in rows[:-1] if mine and mine != other]
    return f"look at step {odd[0]}" if odd else "a step is missing"


def side_by_side(rows: Rows, sizes: Sizes) -> list[str]:
    """The step table of yours, and beside it the FLOPs and bytes that are wanted; an arrow where they differ."""
    kept = [*rows[:-1][:ROWS], rows[-1]]
    texts, where = written(
        [x for _, mine, other in kept for pair in (mine, other) for x in pair or (None, None)], sizes
    )
    table = [["", "your FLOPs", "your bytes", "wanted FLOPs", "wanted bytes", ""]]
    for i, (name, mine, other) in enumerate(kept):
        short = name if len(name) <= LONG else name[: LONG - 1] + "…"
        table.append([short, *texts[4 * i : 4 * i + 4], "" if mine == other else "←"])
    if len(rows) > len(kept):
        table.insert(-1, [f"… and {len(rows) - len(kept)} more", *[""] * 5])
    return [*aligned(table, left=1), *([f"(with {where})"] if where else [])]


def written(figures: list[Any], sizes: Sizes) -> tuple[list[str], str]:
    """Formulas as text, and ""; or, where one is long, their values at these sizes, and the sizes."""
    texts = ["" if x is None else str(_tidied(x)) for x in figures]
    if all(len(text) <= NARROW for text in texts):
        return texts, ""
    return ["" if x is None else f"{int(at(x, sizes)):,}" for x in figures], named(sizes)


def named(sizes: Mapping[str, float]) -> str:
    """Sizes as one reads them, N = 2, h = 3."""
    return ", ".join(f"{name} = {n}" for name, n in sizes.items())
