"""Where do algorithms stand? Points on the roofline of one accelerator, beside that of another, as sizes change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy

from ..cost import Cost
from ..hardware import Accelerator
from ..models import Model
from ..names import shown, unknown
from ..sizes import symbols
from .formulas import (
    as_formula,
    cost_formulas,
    cost_outputs,
    cost_table,
    differing,
    inputs_of,
    intensity,
    whole_sizes,
)
from .live import Area, Axis, Control, Curve, Explorer, Label, Line, Lookup, Point, Program, View, slider, stops
from .machines import BANDWIDTH, CHIP, NO_PEAK, PEAK, machine_controls, name_of
from .measured import Taken, taken
from .of_models import APART, BRIEF, STAGES, a_model, apart, model_controls, model_programs, parts_of, step_controls

START = sympy.Rational(1, 20)  # FLOPs per byte, where the picture of a roofline begins
OTHER_PEAK, OTHER_BANDWIDTH = symbols("other_peak other_bandwidth")
TAKEN = (
    *CHIP,
    "other_peak",
    "other_bandwidth",
    "accelerator",
    "accelerators",
    "compare",
    "dtype",
    "fused",
    "measured",
    "what",
    "frozen",
)


def explore_roofline(
    what: Any = None, accelerators: Any = ("A10", "A100-40GB"), *, dtype: str = "fp16", fused: bool = False,
    measured: bool | None = None, frozen: Mapping[str, Any] | None = None, **sizes: Any,
) -> Explorer:  # fmt: skip
    """Where algorithms stand on the roofline of one accelerator, beside that of another, as their sizes change.

    what : a `Cost`, whose steps are points too if they are few; {label: Cost}; or a model, by itself or by its name
    ("llama-2-7b" unless said), of which dense layers, self-attention and the whole step are points.
    accelerators : one or two, by name or as `Accelerator`; the second may be "none". dtype : of the peaks, and of what
    is traced in half precision. sizes : the values to begin with: of the costs' symbols, 1024 unless said; or batch,
    context, stage, kv_heads, weights and cache of a model, as `explore_batch` takes them. fused : as there, of a model:
    whether its attention is one step. measured : True or False, as there, of a model: published times of
    self-attention, whose kernels are fused. frozen : {control: value}, to compare with.

    A point stands at its intensity and at FLOPs / predicted time, the time summed over its steps. The bands behind the
    points are their paths as the first slider goes from end to end.

    Raises ValueError for unknown names, TypeError for what is no cost, and FileNotFoundError where `measured` is asked
    for outside of the course's folder.

    >>> from roofline_kit import Tensor, linear, symbols, tensors, trace
    >>> b = symbols("b")
    >>> dense = trace(linear, Tensor("X", (b, 4096)), Tensor("W", (4096, 4096)))
    >>> explore_roofline(dense, "A10", b=64)
    fp16 on A10, b = 64: linear 62.06 FLOPs per byte (memory-bound), at most 37.2 TFLOP/s.
    """
    machines, peaks, cards = _machines(accelerators)
    of = _of_model if what is None or isinstance(what, (str, Model)) else _of_costs
    subject = of(what, sizes, machines, fused, measured)
    said = "; ".join(
        f"{label} {{{part}_intensity}} FLOPs per byte ({{{part}_bound:bound}}), at most {{{part}_performance:FLOP/s}}"
        for part, label in subject.parts.items()
    )
    return Explorer(
        name="explore_roofline", call=[*subject.call, "accelerators=[{accelerator}, {compare}]"],
        controls=subject.controls, views={"": _view(subject)}, sentence=f"{subject.where}: {said}.",
        remarks=subject.seen.remarks, state=subject.start | cards | {"dtype": dtype},
        defaults=subject.defaults | {"dtype": "fp16"}, tables=[*peaks, *subject.seen.tables],
        frozen=frozen, **subject.computed,
    )  # fmt: skip


def _machines(given: Any) -> tuple[list[Control], list[Lookup], dict[str, str]]:
    """The controls for two accelerators and a dtype, the tables of both peaks, and the accelerators to begin with."""
    cards = list(given) if isinstance(given, (list, tuple)) else [given]
    machines = all(isinstance(card, (str, Accelerator)) for card in cards)
    if not machines or not 1 <= len(cards) <= 2 or cards[0] == "none":
        raise ValueError(f"explore_roofline compares one or two accelerators, not {shown(given)}")
    known = [card for card in cards if card != "none"]
    (first, dtypes), peaks = machine_controls(known)
    rates = {name: {"other_bandwidth": of["bandwidth"]} for name, of in first.sets.items()}
    rates = {"none": {"other_bandwidth": 1}, **rates}
    compare = Control("compare", "compare with", ["none", *first.values], "choice", rates)
    other = Lookup("other_peak", ("compare", "dtype"), {"none": {}, **peaks.values})
    names = [*map(name_of, known), "none"]
    return [first, compare, dtypes], [peaks, other], {"accelerator": names[0], "compare": names[1]}


RIDGES = {
    "ridge": PEAK / BANDWIDTH, "other_ridge": OTHER_PEAK / OTHER_BANDWIDTH,
    "start": BANDWIDTH * START, "other_start": OTHER_BANDWIDTH * START, "origin": START,
    "slope": 3 * BANDWIDTH * START, "other_slope": 3 * OTHER_BANDWIDTH * START,
}  # fmt: skip
"""Where the lines of both rooflines begin and bend."""


# --- whose points ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Subject:
    """What stands on the roofline.

    parts : {part: label}. brief : the same for a phone. named : the parts that the title names. where : the beginning
    of the sentence. call : the first arguments. computed : the fields of an `Explorer` that say what is computed and
    shown beside the picture. seen : what was measured.
    """

    parts: Mapping[str, str]
    brief: Mapping[str, str]
    named: Sequence[str]
    where: str
    call: Sequence[str]
    controls: Sequence[Control]
    start: dict[str, Any]
    defaults: dict[str, Any]
    computed: Mapping[str, Any]
    seen: Taken = field(default_factory=Taken)


def _of_model(
    what: Any, sizes: Mapping[str, Any], machines: Sequence[Control], fused: bool, measured: bool | None
) -> _Subject:  # fmt: skip
    """The parts of a step of a model."""
    of = a_model(what)
    defaults: dict[str, Any] = {"batch": 16, "context": 1000, "stage": STAGES[1], "kv_heads": None}
    for name in sizes:
        if name not in (known := [*defaults, *APART]):
            raise ValueError(f"explore_roofline of a model: {unknown('argument', name, known)}")
    widths = apart("explore_roofline", **{name: sizes[name] for name in APART if name in sizes})
    start = defaults | {name: value for name, value in sizes.items() if name not in APART} | widths.start
    shape, shape_start = model_controls(of, start.pop("kv_heads"))
    seen = taken("explore_roofline", measured, of, widths)
    steps = step_controls(start["batch"], start["context"])
    controls = [*steps, *shape, *machines, *widths.controls, *seen.controls]
    inputs = inputs_of(controls, "peak", "other_peak", *seen.inputs)
    how = {"logits": "all", "causal": False, "fused": fused}
    where = "{model}, {stage} stage, {dtype}" + widths.said
    computed = model_programs(of, inputs, how, RIDGES | seen.formulas, widths)
    computed["messages"] += seen.messages
    call = ["{model}", *differing(fused=(fused, False)), *widths.call]
    return _Subject(
        parts=parts_of(of), brief=BRIEF, named=("dense", "attention"), call=call, controls=controls,
        seen=seen, defaults=defaults | {"measured": None}, computed=computed, start=start | shape_start | seen.start,
        where=where + " on {accelerator}, batch {batch:int}, context {context:int}",
    )  # fmt: skip


def _of_costs(
    what: Any, sizes: Mapping[str, Any], machines: Sequence[Control], fused: bool, measured: bool | None
) -> _Subject:  # fmt: skip
    """Costs, or one cost and its steps."""
    if fused or measured is not None:
        name = "fused" if fused else "measured"
        raise ValueError(f"explore_roofline: {name} is for a model, and what is explored here are costs")
    costs = {f"part{i}": pair for i, pair in enumerate(_named_costs(what).items())}
    parts = {part: label for part, (label, _) in costs.items()}
    names = _size_names([cost for _, cost in costs.values()], sizes)
    start = {name: sizes.get(name, 1024) for name in names}
    controls = [*(slider(name, name, stops(1, 65536), start[name]) for name in names), *machines]
    checked, broken = whole_sizes([cost for _, cost in costs.values()])
    made = checked | cost_formulas({part: cost.steps for part, (_, cost) in costs.items()}) | RIDGES
    outputs = cost_outputs(parts, *checked, *RIDGES)
    formulas = [
        as_formula(f"{label}, FLOPs per byte:", intensity(cost), f"{part}_intensity")
        for part, (label, cost) in costs.items()
    ]
    one = isinstance(what, Cost)
    steps = list(parts)[:-1] if one else []
    return _Subject(
        parts=parts, brief={part: parts[part].split()[0] for part in steps},
        named=list(parts)[-1:] if one else list(parts)[:2], call=["cost" if one else "costs"],
        controls=controls, start=start, defaults=dict.fromkeys(names, 1024),
        where="{dtype} on {accelerator}, " + ", ".join(f"{name} = {{{name}:int}}" for name in names),
        computed={
            "programs": {"": Program(inputs_of(controls, "peak", "other_peak"), made, outputs)},
            "messages": [NO_PEAK, *broken], "formulas": {"": formulas}, "table": cost_table(parts),
        },
    )  # fmt: skip


def _named_costs(what: Any) -> dict[str, Cost]:
    """Costs by label: those given, or one with its steps where they are few."""
    if isinstance(what, Cost):
        steps_of = [(name, step) for name, step in zip(what.names(), what.steps, strict=True) if step.flops != 0]
        few = {name: Cost((step,), name) for name, step in steps_of} if 2 <= len(steps_of) <= 4 else {}
        return few | {what.name: what}
    pairs = what.items() if isinstance(what, Mapping) else []
    if not pairs or not all(isinstance(label, str) and isinstance(cost, Cost) for label, cost in pairs):
        raise TypeError(f"explore_roofline needs a Cost, {{label: Cost}} or a model, not {shown(what)}")
    for label, cost in what.items():
        if cost.flops == 0:
            raise ValueError(f"{label!r} computes nothing, so it has no place on a roofline")
    return dict(what)


def _size_names(costs: Sequence[Cost], given: Mapping[str, Any]) -> list[str]:
    """The symbols of the costs, which become sliders. Raises ValueError where one cannot, or none of them is given."""
    names = sorted({str(symbol) for cost in costs for symbol in cost.symbols})
    for name in [*names, *given]:
        if name not in names:
            raise ValueError(f"explore_roofline: {unknown('size', name, names, see='the .symbols of the costs')}")
        if name in TAKEN or not name.isidentifier():
            raise ValueError(f"explore_roofline: a size cannot be called {name!r} here; rename the symbol")
    if not names:
        raise ValueError("explore_roofline needs a cost with open sizes, which become its sliders")
    return names


# --- the picture ----------------------------------------------------------------------------------------


def _view(subject: _Subject) -> View:
    """Both rooflines, the laws of their regions, and the points with their paths as the first slider moves."""
    laws = [
        Label("◀ memory-bound: time = bytes / bandwidth", ("x0", "y1"), 8, 18, fill="memory", brief="◀ memory"),
        Label("compute-bound ▶", ("x1", "y0"), -8, -26, "end", "compute", brief="compute ▶"),
        Label("time = FLOPs / peak", ("x1", "y0"), -8, -9, "end", "compute", brief=""),
    ]
    first, places = subject.controls[0].name, {p: (f"{p}_intensity", f"{p}_performance") for p in subject.parts}
    paths = [Curve(first, x, y, label="", stroke="path", width=12, opacity=0.35) for x, y in places.values()]
    points: list[Any] = [
        Point(x, y, label=subject.parts[p], bound=f"{p}_bound", brief=subject.brief.get(p, ""))
        for p, (x, y) in places.items()
    ]
    points += subject.seen.dots(first, "attention_intensity", "performance")
    bounds = ", ".join(f"{subject.parts[p]} {{{p}_bound:bound}}" for p in subject.named)
    return View(
        f"On {{accelerator}}: {bounds}", Axis("arithmetic intensity [FLOPs per byte]", lo=float(START), hi=20000),
        Axis("attainable performance [FLOP/s]"),
        [
            Area("origin", "memory_region"), Area("ridge", "compute_region"), *paths, _other_roof(), _roof(),
            _ridge(), Line([], "ink", 1, labels=laws), *points,
        ], margin=18,
    )  # fmt: skip


def _roof() -> Line:
    """The two limits of the accelerator, with their names on them, below those of the other where they are lower."""
    peak = Label(
        "{accelerator}  {peak:FLOP/s}", ("x1", "peak"), -4, -8, "end", under="other_peak", brief="{accelerator}"
    )
    slope = (float(3 * START), "slope")
    bandwidth = Label("{bandwidth:B/s}", slope, 0, -11, along=True, under="other_slope", brief="")
    return Line([("origin", "start"), ("ridge", "peak"), ("x1", "peak")], "ink", 3, "none", [peak, bandwidth], False)


def _ridge() -> Line:
    note = Label("ridge {ridge} FLOPs/B", ("ridge", "y0"), -6, -8, "end")
    return Line([("ridge", "y0"), ("ridge", "peak")], "ink", 1.4, "2,4", [note])


def _other_roof() -> Line:
    """The limits of the accelerator to compare with."""
    name = Label(
        "{compare}  {other_peak:FLOP/s}", ("x1", "other_peak"), -4, -8, "end", "faint", under="peak", brief="{compare}"
    )
    points = [("origin", "other_start"), ("other_ridge", "other_peak"), ("x1", "other_peak")]
    return Line(points, "faint", 1.8, "7,4", [name])
