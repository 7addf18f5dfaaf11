"""What do heads and fusion make of attention? The intensity of its steps against length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sympy

from ..cost import Cost, trace
from ..hardware import Accelerator
from ..sizes import symbols
from ..tensor import Tensor, fuse
from ..transformer import attention
from .formulas import as_formula, cost_formulas, cost_outputs, cost_table, inputs_of, intensity, limit, whole_sizes
from .live import Axis, Control, Curve, Explorer, Point, Program, View, slider, stops
from .machines import BANDWIDTH, NO_PEAK, PEAK, machine_controls, name_of
from .of_models import with_kv_heads

PARTS = {"scores": "Q Kᵀ", "softmax": "softmax", "mix": "P V", "whole": "attention"}
COLORS = {"scores": "third", "softmax": "other", "mix": "path", "whole": "ink"}
DEFAULTS = {"N": 1024, "h": 4096, "heads": 32, "kv_heads": None, "fused": False, "accelerator": "A10", "dtype": "fp16"}


def explore_attention(
    accelerator: Accelerator | str = "A10", *, N: int = 1024, h: int = 4096, heads: int = 32,
    kv_heads: int | None = None, fused: bool = False, dtype: str = "fp16", frozen: Mapping[str, Any] | None = None,
) -> Explorer:  # fmt: skip
    """The lecture's attention, step by step, and what heads and fusion make of it: intensity against length.

    N : tokens. h : width of all heads together. heads, kv_heads : 1 and 1 is the lecture's attention. fused : all three
    steps as one, whose scores stay on chip. accelerator, dtype : whose ridge point is drawn. frozen : {control: value},
    a state to compare with. No causal mask, and no projections.

    Raises ValueError for unknown names and for numbers outside of a slider's range.

    >>> explore_attention(N=4096, heads=1)
    N = 4,096, h = 4,096, heads = 1, kv_heads = 1, on A10: attention does 1,024 FLOPs per byte (compute-bound), ...
    """
    machines, peaks = machine_controls([accelerator])
    start = {"N": N, "h": h, "heads": heads, "kv_heads": heads if kv_heads is None else kv_heads}
    controls = [*_sliders(start), Control("fused", "fused", [False, True], "check"), *machines]
    costs = {is_fused: _attention(is_fused) for is_fused in (False, True)}
    sizes, broken = whole_sizes(list(costs.values()))
    inputs, programs, formulas = inputs_of(controls, "peak"), {}, {}
    for is_fused, cost in costs.items():
        choice, parts = str(is_fused).lower(), _parts(cost, is_fused)
        programs[choice] = _program(inputs, sizes, parts)
        formulas[choice] = [
            as_formula(f"{PARTS[name]}, FLOPs per byte:", intensity(part), f"{name}_intensity")
            for name, part in parts.items()
        ]
    return Explorer(
        name="explore_attention", call=[], controls=controls, programs=programs, views={"": _view()},
        sentence=SENTENCE, table=cost_table(PARTS), formulas=formulas, select=("fused",), messages=[NO_PEAK, *broken],
        tables=[peaks], state=start | {"fused": fused, "accelerator": name_of(accelerator), "dtype": dtype},
        frozen=frozen, defaults=DEFAULTS,
    )  # fmt: skip


SENTENCE = (
    "N = {N:int}, h = {h:int}, heads = {heads:int}, kv_heads = {kv_heads:int}, on {accelerator}: attention does "
    "{whole_intensity} FLOPs per byte ({whole_bound:bound}), and takes {whole_time:s} in {dtype}."
)


def _sliders(start: Mapping[str, int]) -> list[Control]:
    pairs = stops(1, 128, 1)
    heads = slider("heads", "heads", pairs, start["heads"])
    kv_heads = slider("kv_heads", "K and V heads", pairs, start["kv_heads"])
    return [
        slider("N", "tokens N", stops(16, 65536), start["N"]),
        slider("h", "width h", stops(64, 16384, 4), start["h"]),
        with_kv_heads(heads, kv_heads),
        kv_heads,
    ]


@cache
def _attention(fused: bool) -> Cost:
    """Attention of all heads, each group of query heads beside the K and V head that they share."""
    N, h, heads, kv_heads = symbols("N h heads kv_heads")
    Q = Tensor("Q", (kv_heads, heads / kv_heads, N, h / heads))
    K, V = (Tensor(name, (kv_heads, 1, N, h / heads)) for name in "KV")
    return trace(fuse(attention) if fused else attention, Q, K, V)


def _parts(cost: Cost, fused: bool) -> dict[str, Cost]:
    """The three steps of attention and the whole; fused, there is but one step."""
    if fused:
        return {"whole": cost}
    scores, softmax, mix = (Cost((step,), "step") for step in cost.steps)
    return {"scores": scores, "softmax": softmax, "mix": mix, "whole": cost}


def _program(inputs: Sequence[str], sizes: Mapping[str, sympy.Expr], parts: Mapping[str, Cost]) -> Program:
    """The formulas of the parts; those of parts that do not exist have no value."""
    missing = dict.fromkeys(cost_outputs([part for part in PARTS if part not in parts]), sympy.nan)
    made = cost_formulas({part: cost.steps for part, cost in parts.items()})
    return Program(
        inputs, {**sizes, **missing, **made, "ridge": PEAK / BANDWIDTH}, cost_outputs(PARTS, *sizes, "ridge")
    )


def _view() -> View:
    curves = [
        Curve("N", "N", f"{part}_intensity", PARTS[part], color, 4 if part == "whole" else 2.2)
        for part, color in COLORS.items()
    ]
    points = [Point("N", f"{part}_intensity", color) for part, color in COLORS.items()]
    return View(
        "N = {N:int}: attention does {whole_intensity} FLOPs per byte, {whole_bound:bound} on {accelerator}",
        Axis("tokens N", "int", 16, 65536, [4**k for k in range(2, 9)]), Axis("arithmetic intensity [FLOPs per byte]"),
        [limit("ridge", "ridge point of {accelerator}: {ridge}", "ridge {ridge}"), *curves, *points], margin=92,
    )  # fmt: skip
