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
from .of_models import BATCHES, CONTEXTS, STAGES, Apart

BY = ("stage", "dtype_bytes", "heads", "head_dim", "accelerator", "kv_heads", "context", "batch")
MICROSECONDS = sympy.Symbol("measured_us")


@dataclass(frozen=True)
class Taken:
    """What an explorer shows of published times, by the parts of an `Explorer`: nothing, unless it is asked for."""

    controls: list[Control] = field(default_factory=list)
    inputs: tuple[str, ...] = ()
    tables: list[Lookup] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    formulas: dict[str, sympy.Expr] = field(default_factory=dict)
    start: dict[str, bool] = field(default_factory=dict)
    said: str = ""

    def dots(self, over: str, x: str, what: str) -> list[Dots]:
        """The measured points of self-attention in a picture. what : "time", "throughput" or "performance"."""
        return [Dots(over, x, f"measured_{what}", "measured", "ink")] if self.controls else []


def taken(function: str, wanted: bool | None, of: Model | None, widths: Apart) -> Taken:
    """Published times for an explorer of a model. wanted : whether they are shown at first; None offers none.

    Raises ValueError for what is neither, for plain layers, and for a cache with a width of its own;
    FileNotFoundError outside of the course's folder, where the times are.
    """
    if wanted is None:
        return Taken()
    if not isinstance(wanted, bool):
        raise ValueError(f"{function}: measured must be True or False, not {wanted!r}")
    if of is None or "cache" in widths.of or of.window:
        raise ValueError(
            f"{function}: the measured times are of models that read all of a cache in the dtype of the step, so "
            "measured goes neither with h nor with cache, nor with a model that has a window"
        )
    times, b = _times(), sympy.Symbol("batch")
    attention = sympy.Symbol("layers") * MICROSECONDS / 10**6
    gpus, kv_heads, contexts = (sorted({place[i] for place in times}) for i in range(3))
    message = (
        f"Not measured. There is decode in 16 bits with 32 heads, {', '.join(map(str, kv_heads))} for K and V, of "
        f"{contexts[0]}, {contexts[1]}, … {contexts[-1]:,} tokens, on {', '.join(map(str, gpus))}."
    )
    return Taken(
        [Control("measured", "measured", [False, True], "check")], (MICROSECONDS.name,), _tables(times),
        [Message("no_measured_rows", message, blocks=False)],
        {
            "measured_time": attention, "measured_throughput": b / attention,
            "measured_performance": sympy.Symbol("attention_flops") / attention,
        },
        {"measured": wanted},
        " Measured, self-attention alone: {measured_time:s} (SGLang; NVIDIA aiconfigurator).",
    )  # fmt: skip


Times = dict[tuple[str, int, int, int], float]  # µs of one layer, by GPU, K and V heads, context and batch


@cache
def _times() -> Times:
    """Decode attention by SGLang in bf16, where a batch and a context are stops of the sliders."""
    rows = published("decode", software="SGLang", dtype="bf16", kv_dtype="bf16", heads=32, head_dim=128)
    return {
        (p.device, p.sizes["kv_heads"], p.sizes["context"], p.sizes["batch"]): float(f"{p.median * 1e6:.4g}")
        for p in rows
        if p.sizes["context"] in CONTEXTS and p.sizes["batch"] in BATCHES
    }


def _tables(times: Times) -> list[Lookup]:
    """The time of a state, and of how many batches there are times. What is not asked for has none, and lacks none."""
    each: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    for (gpu, kv_heads, context, batch), time in times.items():
        each.setdefault(gpu, {}).setdefault(str(kv_heads), {}).setdefault(str(context), {})[str(batch)] = time
    for gpu, of_gpu in each.items():
        rows[gpu] = {heads: {context: len(found) for context, found in of.items()} for heads, of in of_gpu.items()}
    return [
        Lookup(MICROSECONDS.name, ("measured", *BY), {"true": _of_kernel(each)}),
        Lookup("measured_rows", ("measured", *BY[:-1]), {"false": 0, "true": _of_kernel(rows)}),
    ]


def _of_kernel(by_gpu: Mapping[str, Any]) -> dict[str, Any]:
    """By stage, bytes of a number, heads and their width, of which there is one kind each."""
    return {STAGES[1]: {"2": {"32": {"128": by_gpu}}}}
