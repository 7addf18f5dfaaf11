"""What does a batch make faster? Time, throughput, intensity and memory of a model's step against batch size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..experts import AWAKE
from ..hardware import Accelerator
from ..models import Model
from ..names import choose
from ..sizes import size
from .formulas import differing, inputs_of, limit
from .live import Area, Axis, Control, Curve, Explorer, Line, Point, View
from .machines import machine_controls, name_of
from .measured import Taken, taken
from .of_models import STAGES, a_model, apart, layer_controls, model_controls, model_programs, parts_of, step_controls

X = Axis("batch size", lo=1, hi=512, ticks=[2**k for k in range(10)])
COLORS = {"dense": "third", "experts": "fourth", "attention": "other", "whole": "path"}
DEFAULTS = {
    "batch": 32, "context": 1000, "stage": STAGES[1], "show": "latency", "model": "llama-2-7b", "heads": 32,
    "layers": 32, "dtype": "fp16", "accelerator": "A100-40GB", "kv_heads": None, "measured": None,
}  # fmt: skip


def explore_batch(
    model: Model | str | None = None, accelerator: Accelerator | str = "A100-40GB", *, batch: int = 32,
    context: int = 1000, stage: str = "auto-regressive", show: str = "latency", h: int | None = None, heads: int = 32,
    kv_heads: int | None = None, layers: int = 32, dtype: str = "fp16", logits: str = "all", causal: bool = False,
    fused: bool = False, weights: Any = None, cache: Any = None, new: int = 1, awake: str = "most",
    absorbed: bool = False, measured: bool | None = None, frozen: Mapping[str, Any] | None = None,
) -> Explorer:  # fmt: skip
    """What a batch makes faster, and what not: time, throughput, intensity and memory of one step against batch size.

    model : a name or a `Model`, "llama-2-7b" unless said; others of its kind can be chosen then, where its layers are
    plain and all alike. h : instead of a model, plain decoder layers of this width with an MLP of 4·h, and nothing
    before or after them. heads, layers : how many, of plain layers. kv_heads : another number of K and V heads.
    batch : contexts. context : tokens of each. stage : "initial" (prefill) or "auto-regressive" (decode), of which one
    step is predicted. new : tokens at once in a step of the auto-regressive stage. accelerator, dtype : whose dense
    peak, bandwidth and memory. show : "latency", "throughput", "intensity" or "memory". logits, causal, fused : as
    `Model.prefill` takes them. weights, cache : dtypes of their own, where they are not stored in `dtype`; of a list of
    dtypes one can choose, and the first is where it begins. awake, absorbed : of experts and of latent attention, as
    `Model.decode` takes them. measured : True or False, to offer published times of self-attention in decode, shown at
    first or not; they are there for some GPUs and sizes. frozen : {control: value}, a state to compare with.

    The dense layers are all products with weights but those of experts, which are a part of their own; self-attention
    is the products with K and V and the softmax; the whole step has the cheap steps too. Predicted times are bounds, as
    `Roofline.time` says.

    Raises ValueError for unknown names and for numbers outside of a slider's range; FileNotFoundError where `measured`
    is asked for outside of the course's folder.

    >>> explore_batch(batch=64)
    llama-2-7b on A100-40GB, fp16, auto-regressive stage, batch 64, context 1,000: a step takes ...
    >>> explore_batch(weights="int4", cache=["fp8", "fp16"])
    llama-2-7b on A100-40GB, fp16, weights in int4, cache in fp8, auto-regressive stage, batch 32, context 1,000: ...
    """
    if h is not None and model is not None:
        raise ValueError(f"either a model or plain layers of width h, not both: model is {model!r} and h is {h!r}")
    of = a_model(model) if h is None else None
    shape, start = model_controls(of, kv_heads) if of else layer_controls(h, heads, kv_heads, layers)
    machines, peaks = machine_controls([accelerator])
    widths = apart("explore_batch", weights=weights, cache=cache)
    name = "{model}" if of else "{layers:int} layers of width {h:int}"
    seen = taken("explore_batch", measured, of, widths)
    views = _views(name, seen, parts_of(of))
    controls = [
        *step_controls(batch, context),
        Control("show", "show", list(views), "choice"),
        *shape,
        *machines,
        *widths.controls,
        *seen.controls,
    ]
    state = (
        {"batch": batch, "context": context, "stage": stage, "show": show, **start, "dtype": dtype}
        | widths.start
        | seen.start
    )
    size(new, "explore_batch: new")
    today = {"new": (new, 1), "awake": (choose("awake", awake, AWAKE), "most"), "absorbed": (absorbed, False)}
    how = {"logits": choose("logits", logits, ("all", "last")), "causal": causal, "fused": fused}
    how |= {what: value for what, (value, _) in today.items()}
    call = differing(logits=(logits, "all"), causal=(causal, False), fused=(fused, False), **today) + widths.call
    of_experts = _of_experts(of, str(how["awake"]))
    sentence = name + SENTENCE.replace("{dtype}", "{dtype}" + widths.said).replace("EXPERTS", of_experts)
    computed = model_programs(of, inputs_of(controls, "peak", *seen.inputs), how, seen.formulas, widths)
    computed["messages"] += seen.messages
    return Explorer(
        name="explore_batch", call=call if of else [*call, "h={h}"], controls=controls, views=views,
        sentence=sentence, remarks=seen.remarks, state=state | {"accelerator": name_of(accelerator)}, defaults=DEFAULTS,
        tables=[peaks, *seen.tables], show="show", frozen=frozen, **computed,
    )  # fmt: skip


SENTENCE = (
    " on {accelerator}, {dtype}, {stage} stage, batch {batch:int}, context {context:int}: a step takes {whole_time:s}, "
    "{whole_throughput:int} tokens per second. Dense layers do {dense_intensity} FLOPs per byte ({dense_bound:bound}), "
    "EXPERTSself-attention {attention_intensity} ({attention_bound:bound}). Weights and KV cache take {needed:B} of "
    "{memory:B}."
)


def _of_experts(of: Model | None, awake: str) -> str:
    """What the sentence says of experts, where there are some."""
    if "experts" not in parts_of(of):
        return ""
    many = {"most": "as many as can be", "expected": "as many as expected", "fewest": "as few as can be"}[awake]
    return f"experts, {many} awake, {{experts_intensity}} ({{experts_bound:bound}}), "


def _views(name: str, seen: Taken, parts: Mapping[str, str]) -> dict[str, View]:
    """What `show` chooses from: one picture for each quantity, all against batch size. name : of the model, in words.

    seen : what was measured. parts : {part: label}.
    """
    on = name + " on {accelerator}: "
    latency = View(
        on + "a step of batch {batch:int} takes {whole_time:s}, {attention_share:%} of it in self-attention",
        X, Axis("predicted time of a step", "s"),
        [*_marks(_of_parts("time", parts)), *seen.dots("batch", "batch", "time")],
    )  # fmt: skip
    throughput = View(
        on + "a batch of {batch:int} gets {whole_throughput:int} tokens per second",
        X, Axis("tokens per second, if each part were alone"),
        [*_marks(_of_parts("throughput", parts)), *seen.dots("batch", "batch", "throughput")],
    )  # fmt: skip
    intensity = View(
        on + "dense layers {dense_bound:bound}, self-attention {attention_bound:bound}",
        X, Axis("arithmetic intensity [FLOPs per byte]"),
        _marks(_of_parts("intensity", parts), limit("ridge", "ridge point of {accelerator}: {ridge}", "ridge {ridge}")),
    )  # fmt: skip
    held = {
        "weights_held": ("weights", "third"), "cache_held": ("KV cache", "other"),
        "needed": ("weights + cache", "path"),
    }  # fmt: skip
    size = limit("memory", "memory of {accelerator}: {memory:B}", "memory {memory:B}")
    memory = View(
        on + "weights and KV cache take {memory_share:%} of the card's memory",
        X, Axis("memory", "B"), _marks(held, size), margin=132,
    )  # fmt: skip
    return {"latency": latency, "throughput": throughput, "intensity": intensity, "memory": memory}


def _of_parts(what: str, parts: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {f"{part}_{what}": (label, COLORS[part]) for part, label in parts.items()}


def _marks(values: Mapping[str, tuple[str, str]], *limits: Line) -> list[Any]:
    """A curve and a point for each value, by its label and color; where the batch does not fit; and limits."""
    return [
        Area("largest", "warning_region", "does not fit"),
        *limits,
        *(Curve("batch", "batch", y, label, color) for y, (label, color) in values.items()),
        *(Point("batch", y, color) for y, (_, color) in values.items()),
    ]
