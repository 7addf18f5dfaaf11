"""What does the browser compute of a cost? The formulas of its parts, and how they are shown beside the picture.

The steps were traced in half precision; the formulas hold for the dtype and the machine that one chooses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sympy

from ..cost import Cost, tidy
from ..roofline import step_time
from ..sizes import certain
from ..tensor import Step
from .live import Control, Formula, Label, Line, Message, Table, mathml
from .machines import BANDWIDTH, PEAK, WIDTH

Widths = Mapping[str, sympy.Expr]  # bytes per element, by the role of an array; those of the dtype unless given


def moved_bytes(step: Step, widths: Widths | None = None) -> sympy.Expr:
    """The bytes of a step traced in half precision, for any bytes per element: dtype scales bytes alone."""
    arrays, apart = (*step.reads, *step.writes), widths or {}
    each = (x.size * apart.get(x.role, WIDTH) if x.dtype == "fp16" else x.nbytes for x in arrays)
    return step.count * sympy.Add(*each)


def intensity(cost: Cost) -> sympy.Expr:
    """FLOPs per byte as the lecture writes them, with the bytes for any dtype."""
    return tidy(cost.flops) / tidy(sympy.Add(*map(moved_bytes, cost.steps)))


def cost_formulas(parts: Mapping[str, Sequence[Step]], widths: Widths | None = None) -> dict[str, sympy.Expr]:
    """For each part its FLOPs, bytes, intensity, time, and where that puts it on the roofline, as a program's formulas.

    A part's time is the sum over its steps, as `Roofline.time` takes it.
    """
    names: dict[int, str] = {}
    made: dict[str, sympy.Expr] = {}
    for step in (step for of in parts.values() for step in of):
        if id(step) not in names:
            names[id(step)] = i = str(len(names))
            flops, moved = sympy.symbols(f"flops{i} bytes{i}")  # that they are positive helps nobody, and takes long
            # At least a byte: at an end of its slider a size may be 0, and the rest of the curve is still right.
            read = moved_bytes(step, widths)
            made |= {f"flops{i}": step.flops, f"bytes{i}": sympy.Max(read, 1, evaluate=False)}
            amounts, rates = {"compute": flops, "memory": moved}, {"compute": PEAK, "memory": BANDWIDTH}
            made[f"time{i}"] = step_time(amounts, rates, evaluate=False)
    for part, of in parts.items():
        for what in ("flops", "bytes", "time"):
            made[f"{part}_{what}"] = sympy.Add(*(sympy.Symbol(what + names[id(step)]) for step in of))
        flops, moved, time = (sympy.Symbol(f"{part}_{what}") for what in ("flops", "bytes", "time"))
        made[f"{part}_intensity"] = flops / moved
        made[f"{part}_bound"] = sympy.Symbol(f"{part}_intensity") * BANDWIDTH / PEAK
        made[f"{part}_performance"] = flops / time
    return made


def cost_outputs(parts: Iterable[str], *more: str) -> list[str]:
    """The names of what `cost_formulas` makes of parts, and more names."""
    figures = ("flops", "bytes", "time", "intensity", "bound", "performance")
    return [f"{part}_{what}" for part in parts for what in figures] + list(more)


def inputs_of(controls: Sequence[Control], *more: str) -> tuple[str, ...]:
    """The names of all numbers that controls put into formulas, and more."""
    names = {c.name: None for c in controls if c.kind == "slider"}
    names |= {name: None for c in controls for sets in c.sets.values() for name in sets}
    return tuple(names | dict.fromkeys(more))


def whole_sizes(costs: Sequence[Cost]) -> tuple[dict[str, sympy.Expr], list[Message]]:
    """Sizes that may come out fractional, zero or negative: their formulas, and messages for when they do."""
    open_sizes = sorted({n for cost in costs for n in cost.sizes if not certain(n)}, key=str)
    formulas: dict[str, sympy.Expr] = {}
    messages = []
    for i, n in enumerate(open_sizes):
        value = sympy.Symbol(f"size{i}")
        rest = value - sympy.floor(value, evaluate=False)
        formulas |= {f"size{i}": n, f"broken{i}": sympy.Max(rest, 1 - value, evaluate=False)}
        text = f"{n} is {{size{i}:size}} here, and must be a whole number of 1 or more.".replace("*", "·")
        messages.append(Message(f"broken{i}", text, blocks=True))
    return formulas, messages


# --- as one reads them --------------------------------------------------------------------------------


def as_formula(label: str, formula: sympy.Expr, value: str, kind: str = "") -> Formula:
    """A formula to show, under a label and with its value."""
    return Formula(label, mathml(formula), value, kind)


COLUMNS = (
    ("FLOPs", "flops", "FLOP"), ("bytes", "bytes", "B"), ("FLOPs/B", "intensity", ""), ("bound", "bound", "bound"),
    ("time", "time", "s"),
)  # fmt: skip
"""Of a table of costs: its name, what of a part stands in it, and how that is written."""


def cost_table(parts: Mapping[str, str]) -> Table:
    """The numbers beside the picture: a row for each part. parts : {part: label}."""
    rows = [[label, *([f"{part}_{what}", kind] for _, what, kind in COLUMNS)] for part, label in parts.items()]
    return Table(["", *(name for name, _, _ in COLUMNS)], rows)


def limit(y: str, text: str, brief: str) -> Line:
    """A horizontal line with its name on it, at the left if there is room; brief : on a phone."""
    return Line([("x0", y), ("x1", y)], "ink", 1.6, "7,4", [Label(text, ("x0", y), 6, -6, brief=brief, moves=True)])


def differing(**given: tuple[Any, Any]) -> list[str]:
    """The arguments of a call that are not what they are by default; given : name=(value, default)."""
    return [f"{name}={value!r}" for name, (value, default) in given.items() if value != default]
