"""What did others measure of a step? Published times of decode attention, for the states that sliders can reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import sympy

from ..measuring import measured as published
from ..models import Model
from .live import Control, Dots, Lookup, Message
from .of_models import BATCHES, CONTEXTS, STAGES, Apart, alone

BY = ("stage", "dtype_bytes", "heads", "head_dim", "accelerator", "kv_heads", "context", "batch")
KINDS = {"measured": ("measured", "ink"), "cached": ("in the cache", "faint")}
"""Times of what came from memory, and of what fits into the cache of its GPU: the label and the colour of each.

The replays of a benchmark find the same keys and values again; the next step of a model does not.
"""
POOR = "A100-80GB-SXM"  # its decode kernel in SGLang is far below what other programs reach there


@dataclass(frozen=True)
class Taken:
    """What an explorer shows of published times, by the parts of an `Explorer`: nothing, unless it is asked for."""

    controls: list[Control] = field(default_factory=list)
    inputs: tuple[str, ...] = ()
    tables: list[Lookup] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    formulas: dict[str, sympy.Expr] = field(default_factory=dict)
    start: dict[str, bool] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    def dots(self, over: str, x: str, what: str) -> list[Dots]:
        """The measured points of self-attention in a picture. what : "time", "throughput" or "performance"."""
        kinds = KINDS.items() if self.controls else ()
        return [Dots(over, x, f"{kind}_{what}", label, color) for kind, (label, color) in kinds]


def taken(function: str, wanted: bool | None, of: Model | None, widths: Apart) -> Taken:
    """Published times for an explorer of a model. wanted : whether they are shown at first; None offers none.

    Raises ValueError for what is neither, for plain layers, and for a cache with a width of its own;
    FileNotFoundError outside of the course's folder, where the times are.
    """
    if wanted is None:
        return Taken()
    if not isinstance(wanted, bool):
        raise ValueError(f"{function}: measured must be True or False, not {wanted!r}")
    if of is None or "cache" in widths.of or of.window or alone(of):
        raise ValueError(
            f"{function}: the measured times are of models that read all of a cache in the dtype of the step, so "
            "measured goes neither with h nor with cache, nor with a model that has windows, experts or latents"
        )
    times = _times()
    every = [place for of in times.values() for place in of]
    gpus, kv_heads, contexts = (sorted({place[i] for place in every}) for i in range(3))
    message = (
        f"Not measured. There is decode in 16 bits with 32 heads, {', '.join(map(str, kv_heads))} for K and V, of "
        f"{contexts[0]}, {contexts[1]}, … {contexts[-1]:,} tokens, on {', '.join(map(str, gpus))}."
    )
    poor = "SGLang's decode kernel is a poor one on this GPU: read the diamonds of the others."
    return Taken(
        [Control("measured", "measured", [False, True], "check")], tuple(f"{kind}_us" for kind in KINDS),
        _tables(times),
        [Message("no_measured_rows", message, blocks=False), Message("poor_kernel", poor, blocks=False)],
        {name: formula for kind in KINDS for name, formula in _formulas(kind).items()}, {"measured": wanted},
        REMARKS,
    )  # fmt: skip


REMARKS = {
    "measured_time": "Measured, self-attention alone: {measured_time:s} (SGLang, fused; NVIDIA aiconfigurator).",
    "cached_time": "Measured, self-attention alone: {cached_time:s}, grey, for the GPU's cache holds all keys and "
    "values here, as it would not in a model (SGLang, fused; NVIDIA aiconfigurator).",
}
"""What is said of a time, where there is one."""


def _formulas(kind: str) -> dict[str, sympy.Expr]:
    """Seconds of all layers, and what follows from them."""
    time = sympy.Symbol("layers") * sympy.Symbol(f"{kind}_us") / 10**6
    return {
        f"{kind}_time": time, f"{kind}_throughput": sympy.Symbol("batch") / time,
        f"{kind}_performance": sympy.Symbol("attention_flops") / time,
    }  # fmt: skip


Times = dict[tuple[str, int, int, int], float]  # µs of one layer, by GPU, K and V heads, context and batch


@cache
def _times() -> dict[str, Times]:
    """Decode attention by SGLang in bf16, by kind, where a batch and a context are stops of the sliders."""
    rows = published("decode", software="SGLang", dtype="bf16", kv_dtype="bf16", heads=32, head_dim=128)
    times: dict[str, Times] = {kind: {} for kind in KINDS}
    for p in rows:
        if p.sizes["context"] in CONTEXTS and p.sizes["batch"] in BATCHES:
            place = p.device, p.sizes["kv_heads"], p.sizes["context"], p.sizes["batch"]
            times["cached" if p.in_cache else "measured"][place] = float(f"{p.median * 1e6:.4g}")
    return times


def _tables(times: Mapping[str, Times]) -> list[Lookup]:
    """The time of a state, of either kind; of how many batches there are times; and whether the kernel is a poor one.

    What is not asked for has none, and lacks none.
    """
    each: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    rows: dict[str, Any] = {}
    for kind, of_kind in times.items():
        for (gpu, kv_heads, context, batch), time in of_kind.items():
            of_heads = each[kind].setdefault(gpu, {}).setdefault(str(kv_heads), {})
            of_heads.setdefault(str(context), {})[str(batch)] = time
            counts = rows.setdefault(gpu, {}).setdefault(str(kv_heads), {})
            counts[str(context)] = counts.get(str(context), 0) + 1
    return [
        *(Lookup(f"{kind}_us", ("measured", *BY), {"true": _of_kernel(each[kind])}) for kind in KINDS),
        Lookup("measured_rows", ("measured", *BY[:-1]), {"false": 0, "true": _of_kernel(rows)}),
        Lookup(
            "poor_kernel", ("measured", "accelerator"), {"false": 0, "true": {gpu: int(gpu == POOR) for gpu in rows}}
        ),
    ]


def _of_kernel(by_gpu: Mapping[str, Any]) -> dict[str, Any]:
    """By stage, bytes of a number, heads and their width, of which there is one kind each."""
    return {STAGES[1]: {"2": {"32": {"128": by_gpu}}}}
