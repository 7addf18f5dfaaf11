"""What happens when I move one thing? Four explorers: pictures with sliders, computed from the traced formulas.

Shown in a notebook each is live, with or without a kernel; `.widget()` makes an ipywidget of it. `live/` says how, and
`CONTRIBUTING.md` why the output is stored the way it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Any

import sympy

from ..cost import Cost, tidy, trace
from ..hardware import Accelerator, accelerator, accelerators
from ..models import Model, model, models
from ..names import choose, unknown
from ..roofline import step_time
from ..sizes import bytes_of, certain, size, symbols
from ..tensor import Step, Tensor, fuse, leaves
from ..transformer import attention, sparse_attention
from .live import Control, Explorer, Program, mathml, slider, steps

CHIP = ("peak", "bandwidth", "memory", "dtype_bytes")
PEAK, BANDWIDTH, MEMORY, WIDTH = symbols(" ".join(CHIP))
STAGES = ("initial", "auto-regressive")
DTYPES = ("fp32", "tf32", "bf16", "fp16", "fp8", "int8")
COLORS = ("memory", "compute", "path", "other", "ink", "faint")


# --- parts that explorers share -----------------------------------------------------------------------


def _machines(given: Any) -> tuple[list[Control], dict[str, Any]]:
    """The controls for an accelerator and a dtype, and the table of the peaks that both together choose.

    given : the accelerators to begin with, by name or as `Accelerator`; all that the kit knows can be chosen.
    """
    cards = {card.name: card for card in [*map(accelerator, accelerators()), *map(accelerator, given)]}
    rates = {name: {"bandwidth": card.bandwidth, "memory": card.memory} for name, card in cards.items()}
    dtypes = [dtype for dtype in DTYPES if any(dtype in card.peaks for card in cards.values())]
    widths = {dtype: {"dtype_bytes": int(bytes_of(dtype))} for dtype in dtypes}
    controls = [
        Control("accelerator", "accelerator", list(cards), "choice", rates),
        Control("dtype", "dtype", dtypes, "choice", widths),
    ]
    peaks = {
        name: {dtype: card.peaks[dtype] for dtype in dtypes if dtype in card.peaks} for name, card in cards.items()
    }
    return controls, {"sets": "peak", "by": ["accelerator", "dtype"], "values": peaks}


NO_PEAK = {"when": "no_peak", "text": "{accelerator} has no {dtype} peak: choose another dtype.", "blocks": True}


def _moved(step: Step) -> sympy.Expr:
    """The bytes of a step traced in half precision, for any bytes per element: dtype scales bytes alone."""
    arrays = (*step.reads, *step.writes)
    return step.count * sympy.Add(*(x.size * WIDTH if x.dtype == "fp16" else x.nbytes for x in arrays))


def _costs(parts: Mapping[str, Sequence[Step]]) -> dict[str, sympy.Expr]:
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
            made |= {f"flops{i}": step.flops, f"bytes{i}": sympy.Max(_moved(step), 1, evaluate=False)}
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


COST_OUTPUTS = ("flops", "bytes", "time", "intensity", "bound", "performance")


def _outputs(parts: Iterable[str], *more: str) -> list[str]:
    return [f"{part}_{what}" for part in parts for what in COST_OUTPUTS] + list(more)


def _whole_sizes(costs: Sequence[Cost]) -> tuple[dict[str, sympy.Expr], list[dict[str, Any]]]:
    """Sizes that may come out fractional, zero or negative: their formulas, and messages for when they do."""
    open_sizes = sorted({n for cost in costs for n in cost.sizes if not certain(n)}, key=str)
    formulas: dict[str, sympy.Expr] = {}
    messages = []
    for i, n in enumerate(open_sizes):
        value = sympy.Symbol(f"size{i}")
        rest = value - sympy.floor(value, evaluate=False)
        formulas |= {f"size{i}": n, f"broken{i}": sympy.Max(rest, 1 - value, evaluate=False)}
        text = f"{n} is {{size{i}:size}} here, and must be a whole number of 1 or more.".replace("*", "·")
        messages.append({"when": f"broken{i}", "text": text, "blocks": True})
    return formulas, messages


def _curve(
    over: str, y: str, label: str, stroke: str, width: float = 3, dash: str = "none", x: str = ""
) -> dict[str, Any]:
    kind = {"kind": "curve", "over": over, "x": x or over, "y": y, "label": label, "stroke": stroke, "width": width}
    return kind | {"dash": dash, "opacity": 1}


def _point(x: str, y: str, fill: str = "ink", label: str = "", bound: str = "") -> dict[str, Any]:
    """bound : the value that colours the point by what binds it, as in all our rooflines."""
    return {"kind": "point", "x": x, "y": y, "fill": fill, "label": label, "bound": bound}


def _words(
    text: str, at: Any, dx: float, dy: float, fill: str, anchor: str = "start", along: bool = False, under: str = "",
    brief: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A label; at : a pair of values or of limits of the axes. along : turned, to lie on its line.

    under : a value; where it is larger than the label's own, the label goes below its line. brief : the words in a
    picture as narrow as a phone.
    """
    label = {"text": text, "at": at, "dx": dx, "dy": dy, "anchor": anchor, "fill": fill, "along": along}
    return label | {"under": under, "brief": text if brief is None else brief}


def _limit(y: str, text: str) -> dict[str, Any]:
    """A horizontal line with its name on it, at the left."""
    return _line([["x0", y], ["x1", y]], "ink", 1.6, "7,4", [_words(text, ["x0", y], 6, -6, "ink")])


def _line(
    points: Any, stroke: str, width: float, dash: str = "none", labels: Any = (), still: bool = True
) -> dict[str, Any]:
    line = {"kind": "line", "points": points, "stroke": stroke, "width": width, "dash": dash}
    return line | {"labels": list(labels), "still": still}


def _view(title: str, x: Any, y: Any, marks: Sequence[Any], margin: int = 118, **more: Any) -> dict[str, Any]:
    """What is drawn. x, y : (label, unit, lowest, highest, ticks); None where the curves decide."""
    axes = [dict(zip(("label", "unit", "lo", "hi", "ticks"), axis, strict=True)) for axis in (x, y)]
    return {"title": title, "x": axes[0], "y": axes[1], "marks": list(marks), "margin": margin} | more


def _formula(label: str, formula: Any, value: str, kind: str = "") -> dict[str, Any]:
    return {"label": label, "math": mathml(formula), "value": value, "kind": kind}


def _table(parts: Mapping[str, str]) -> dict[str, Any]:
    """The numbers beside the picture: a row for each part."""
    cells = [what.split(":") for what in ("flops:FLOP", "bytes:B", "intensity", "bound:bound", "time:s")]
    rows = [[label, *([f"{part}_{what}", *kind, ""][:2] for what, *kind in cells)] for part, label in parts.items()]
    return {"columns": ["", "FLOPs", "bytes", "FLOPs/B", "bound", "time"], "rows": rows}


# --- models -------------------------------------------------------------------------------------------


SIZES = [f.name for f in fields(Model) if f.type == "Any"]
LOOKS = ("gated", "activation", "norm", "positions", "bias", "tied")


def _alike(one: Model, other: Model) -> bool:
    """Whether two models differ in sizes alone, so that one formula holds for both."""
    present = all((getattr(one, s) is None) == (getattr(other, s) is None) for s in SIZES)
    return present and all(getattr(one, what) == getattr(other, what) for what in LOOKS)


def _of_all(first: Model | None) -> Model:
    """The model in open sizes; without one, plain layers of width h with an MLP of 4·h."""
    if first is None:
        layers, h, heads, kv_heads = symbols("layers h heads kv_heads")
        return Model("layers", layers, h, heads, vocabulary=1, kv_heads=kv_heads, position_rows=1)
    names = {s: symbols(s) for s in SIZES if getattr(first, s) is not None}
    return Model("model", **names, **{what: getattr(first, what) for what in LOOKS})


@cache
def _stage_parts(every: Model, ends: bool, stage: str, logits: str, causal: bool, fused: bool) -> dict[str, list[Step]]:
    """The steps of a stage, sorted: products with weights, attention, and all."""
    b, context = symbols("batch context")
    initial = stage == "initial"
    cost = every.prefill(b, context, logits, causal, fused) if initial else every.decode(b, context, fused)
    whole = [step for step in cost.steps if ends or step.count != 1]

    def weighs(step: Step) -> bool:
        return any(x.root.name.startswith(("W_", "E")) for x in step.reads)

    products = [step for step in whole if step.matmul_flops != 0 or step.operation == "softmax"]
    return {
        "dense": [step for step in products if weighs(step)],
        "attention": [step for step in products if not weighs(step)],
        "whole": whole,
    }


PARTS = {"dense": "dense layers", "attention": "self-attention", "whole": "whole step"}


def _model_programs(
    first: Model | None, inputs: Sequence[str], how: Mapping[str, Any], more: Mapping[str, Any]
) -> dict[str, Any]:
    """The programs of both stages, the messages, and the formulas to show. first : a model, or None for plain layers.

    more : formulas that only one explorer needs.
    """
    every = _of_all(first)
    stages = {stage: _stage_parts(every, first is not None, stage, **how) for stage in STAGES}
    sizes, broken = _whole_sizes([Cost(tuple(parts["whole"]), "step") for parts in stages.values()])
    b, context = symbols("batch context")
    weights = every.parameters
    if first is None:
        weights = every.layers * sympy.Add(*(t.size for t in leaves(every.layer_weights())))
    one_cache = every.kv_cache_bytes(context) / bytes_of("fp16")
    held, one, needed, largest = sympy.symbols("weights cache_of_one needed largest")
    programs, shown = {}, {}
    for stage, parts in stages.items():
        tokens = b * context if stage == "initial" else b
        seconds = {part: sympy.Symbol(f"{part}_time") for part in parts}
        extra = {
            "weights": weights * WIDTH, "cache_of_one": one_cache * WIDTH, "cache": b * one, "needed": held + b * one,
            "largest": sympy.floor((MEMORY - held) / one, evaluate=False), "excess": needed - MEMORY,
            "hopeless": 1 - largest, "memory_share": needed / MEMORY,
            "attention_share": seconds["attention"] / seconds["whole"],
            **{f"{part}_throughput": tokens / time for part, time in seconds.items()}, "ridge": PEAK / BANDWIDTH,
            **more,
        }  # fmt: skip
        programs[stage] = Program(inputs, sizes | _costs(parts) | extra, _outputs(parts, *sizes, *extra))
        shown[stage] = [
            _formula(f"{PARTS[part]}, {what}:", _by_layer(parts[part], figure), f"{part}_{name}", unit)
            for part in ("dense", "attention")
            for what, name, unit, figure in (
                ("FLOPs", "flops", "FLOP", lambda step: step.flops),
                ("bytes", "bytes", "B", _moved),
            )
        ]
        shown[stage].append(_formula("KV cache, bytes:", b * one_cache * WIDTH, "cache", "B"))
    needs = "Does not fit: this needs {needed:B}, {excess:B} more than the {memory:B} of {accelerator}; "
    messages = [
        NO_PEAK, *broken,
        {"when": "hopeless", "text": needs + "not even a batch of 1 fits.", "blocks": False},
        {"when": "excess", "text": needs + "the largest batch that fits is {largest:int}.", "blocks": False},
    ]  # fmt: skip
    return {"programs": programs, "messages": messages, "formulas": shown, "select": ("stage",), "table": _table(PARTS)}


def _by_layer(steps: Sequence[Step], figure: Any) -> sympy.Expr:
    """The sum over steps, with the number of layers in front of what each layer has."""
    counts = dict.fromkeys(step.count for step in steps)
    each = {n: sympy.Add(*(figure(step) / n for step in steps if step.count == n)) for n in counts}
    return sympy.Add(*(n * sympy.expand_mul(terms) for n, terms in each.items()))


def _a_model(given: Model | str | None, h: Any) -> Model | None:
    """The model to explore, with numbers for sizes; None where it is plain layers of width h."""
    if h is not None and given is not None:
        raise ValueError(f"either a model or plain layers of width h, not both: model is {given!r} and h is {h!r}")
    if h is not None:
        return None
    of = given if isinstance(given, Model) else model(given or "llama-2-7b")
    of.layer_weights()  # raises for latent attention, of which only the cache is modelled
    for what in SIZES:
        if not isinstance(getattr(of, what), int | None):
            raise ValueError(f"{of.name}: {what} must be a number here, not {getattr(of, what)}")
    return of


def _shape(of: Model | None, h: Any, heads: Any, kv_heads: Any, layers: Any) -> tuple[list[Control], dict[str, Any]]:
    """The controls for the shape, a model or the sizes of plain layers, and what they stand at."""
    pairs = steps(1, 128, 1)
    if of is None:
        start = {"h": h, "heads": heads, "kv_heads": heads if kv_heads is None else kv_heads, "layers": layers}
        room = {"h": steps(128, 16384, 4), "heads": pairs, "kv_heads": pairs, "layers": steps(1, 128, 4)}
        made = {name: slider(name, name, room[name], at) for name, at in start.items()}
        shared = {n: {"kv_heads": n} for n in made["heads"].values if n in made["kv_heads"].values}
        made["heads"] = replace(made["heads"], moves=shared)  # who wants fewer K and V heads says so afterwards
        return list(made.values()), start
    known = [m for m in map(model, models()) if m.kv_latent is None and _alike(m, of)]
    alike = {m.name: m for m in [*known, of]}
    sets = {
        name: {s: getattr(m, s) for s in SIZES if s != "kv_heads" and getattr(m, s) is not None}
        for name, m in alike.items()
    }
    moves = {name: {"kv_heads": m.kv_heads} for name, m in alike.items()}
    values = sorted({*pairs, *(m.kv_heads for m in alike.values())})
    start = {"model": of.name, "kv_heads": of.kv_heads if kv_heads is None else kv_heads}
    choice = Control("model", "model", list(alike), "choice", sets, moves)
    return [choice, slider("kv_heads", "K and V heads", values, start["kv_heads"])], start


def _inputs(controls: Sequence[Control], *more: str) -> tuple[str, ...]:
    """The names of all numbers that controls put into formulas, and more."""
    names = {c.name: None for c in controls if c.kind == "slider"}
    names |= {name: None for c in controls for sets in c.sets.values() for name in sets}
    return tuple(names | dict.fromkeys(more))


def _call(**given: Any) -> list[str]:
    """The arguments of a call that are not what they are by default; given : name=(value, default)."""
    return [f"{name}={value!r}" for name, (value, default) in given.items() if value != default]


BATCHES, CONTEXTS = steps(1, 512), steps(16, 131072, 4, 50, 1000)
BATCH_TICKS = [2**k for k in range(10)]


def explore_batch(
    model: Model | str | None = None, accelerator: Accelerator | str = "A100-40GB", *, batch: int = 32,
    context: int = 1000, stage: str = "auto-regressive", show: str = "latency", h: int | None = None, heads: int = 32,
    kv_heads: int | None = None, layers: int = 32, dtype: str = "fp16", logits: str = "all", causal: bool = False,
    fused: bool = False, frozen: Mapping[str, Any] | None = None,
) -> Explorer:  # fmt: skip
    """What a batch makes faster, and what not: time, throughput, intensity and memory of one step against batch size.

    model : a name or a `Model`, "llama-2-7b" unless said; others of its kind can be chosen then. h : instead of a
    model, plain decoder layers of this width with an MLP of 4·h, and nothing before or after them. heads, layers : how
    many, of plain layers. kv_heads : another number of K and V heads. batch : contexts. context : tokens of each.
    stage : "initial" (prefill) or "auto-regressive" (decode), of which one step is predicted. accelerator, dtype :
    whose dense peak, bandwidth and memory. show : "latency", "throughput", "intensity" or "memory". logits, causal,
    fused : as `Model.prefill` takes them. frozen : {control: value}, a state to compare with.

    The dense layers are all products with weights; self-attention is the products with K and V and the softmax; the
    whole step has the cheap steps too. Predicted times are bounds, as `Roofline.time` says.

    Raises ValueError for unknown names and for numbers outside of a slider's range.

    >>> explore_batch(batch=64)
    llama-2-7b on A100-40GB, fp16, auto-regressive stage, batch 64, context 1,000: a step takes ...
    """
    of = _a_model(model, h)
    shape, start = _shape(of, h, heads, kv_heads, layers)
    machines, peaks = _machines([accelerator])
    views = _batch_views("{model}" if of else "{layers:int} layers of width {h:int}")
    controls = [
        slider("batch", "batch size", BATCHES, batch), slider("context", "context length", CONTEXTS, context),
        Control("stage", "stage", STAGES, "choice"), Control("show", "show", list(views), "choice"), *shape, *machines,
    ]  # fmt: skip
    how = {"logits": choose("logits", logits, ("all", "last")), "causal": causal, "fused": fused}
    name = "{model}" if of else "{layers:int} layers of width {h:int}"
    state = {"batch": batch, "context": context, "stage": stage, "show": show, **start, "dtype": dtype}
    return Explorer(
        name="explore_batch",
        call=[*_call(logits=(logits, "all"), causal=(causal, False), fused=(fused, False)), *([] if of else ["h={h}"])],
        controls=controls,
        views=views,
        sentence=f"{name} on {{accelerator}}, {{dtype}}, {{stage}} stage, batch {{batch:int}}, context {{context:int}}"
        ": a step takes {whole_time:s}, {whole_throughput:int} tokens per second. Dense layers do {dense_intensity} "
        "FLOPs per byte ({dense_bound:bound}), self-attention {attention_intensity} ({attention_bound:bound}). Weights "
        "and KV cache take {needed:B} of {memory:B}.",
        state=state | {"accelerator": _name(accelerator)},
        defaults={
            "batch": 32, "context": 1000, "stage": STAGES[1], "show": "latency", "model": "llama-2-7b", "heads": 32,
            "layers": 32, "dtype": "fp16", "accelerator": "A100-40GB", "kv_heads": None,
        },
        tables=[peaks],
        show="show",
        frozen=frozen,
        **_model_programs(of, _inputs(controls, "peak"), how, {}),
    )  # fmt: skip


def _name(machine: Accelerator | str) -> str:
    return accelerator(machine).name


def _batch_views(name: str) -> dict[str, Any]:
    """What `show` chooses from: one picture for each quantity, all against batch size."""
    title = {
        "latency": ": a step of batch {batch:int} takes {whole_time:s}, {attention_share:%} of it in self-attention",
        "throughput": ": a batch of {batch:int} gets {whole_throughput:int} tokens per second",
        "intensity": ": dense layers {dense_bound:bound}, self-attention {attention_bound:bound}",
        "memory": ": weights and KV cache take {memory_share:%} of the card's memory",
    }
    axis = {
        "latency": ("predicted time of a step", "s", "time"),
        "throughput": ("tokens per second, if each part were alone", "", "throughput"),
        "intensity": ("arithmetic intensity [FLOPs per byte]", "", "intensity"),
    }
    x = ("batch size", "", 1, 512, BATCH_TICKS)
    full = {"kind": "area", "from": "largest", "fill": "compute_region", "label": "does not fit"}
    views = {}
    for show, (label, unit, what) in axis.items():
        marks: list[Any] = [full]
        marks += [_limit("ridge", "ridge point of {accelerator}: {ridge}")] if show == "intensity" else []
        marks += [
            _curve("batch", f"{part}_{what}", PARTS[part], color) for part, color in zip(PARTS, COLORS, strict=False)
        ]
        marks += [_point("batch", f"{part}_{what}", color) for part, color in zip(PARTS, COLORS, strict=False)]
        views[show] = _view(name + " on {accelerator}" + title[show], x, (label, unit, None, None, []), marks)
    held = {"weights": "weights", "cache": "KV cache", "needed": "weights + cache"}
    views["memory"] = _view(
        name + " on {accelerator}" + title["memory"], x, ("memory", "B", None, None, []),
        [
            full, _limit("memory", "memory of {accelerator}: {memory:B}"),
            *(_curve("batch", y, label, color) for (y, label), color in zip(held.items(), COLORS, strict=False)),
            *(_point("batch", y, color) for y, color in zip(held, COLORS, strict=False)),
        ], margin=132,
    )  # fmt: skip
    return views


# --- rooflines ------------------------------------------------------------------------------------------


def explore_roofline(
    what: Any = None, accelerators: Any = ("A10", "A100-40GB"), *, dtype: str = "fp16",
    frozen: Mapping[str, Any] | None = None, **sizes: Any,
) -> Explorer:  # fmt: skip
    """Where algorithms stand on the roofline of one accelerator, beside that of another, as their sizes change.

    what : a `Cost`, whose steps are points too if they are few; {label: Cost}; or a model, by itself or by its name
    ("llama-2-7b" unless said), of which dense layers, self-attention and the whole step are points.
    accelerators : one or two, by name or as `Accelerator`; the second may be "none". dtype : of the peaks, and of what
    is traced in half precision. sizes : the values to begin with: of the costs' symbols, 1024 unless said; or batch,
    context, stage and kv_heads of a model, as `explore_batch` takes them. frozen : {control: value}, to compare with.

    A point stands at its intensity and at FLOPs / predicted time, the time summed over its steps. The bands behind the
    points are their paths as the first slider goes from end to end.

    Raises ValueError for unknown names, and TypeError for what is no cost.

    >>> from roofline_kit import linear, symbols, tensors, trace
    >>> b = symbols("b")
    >>> dense = trace(linear, Tensor("X", (b, 4096)), Tensor("W", (4096, 4096)))
    >>> explore_roofline(dense, "A10", b=64)
    fp16 on A10, b = 64: linear 62.06 FLOPs per byte (memory-bound), at most 37.2 TFLOP/s.
    """
    cards = [accelerators] if isinstance(accelerators, (str, Accelerator)) else list(accelerators)
    if not 1 <= len(cards) <= 2 or cards[0] == "none":
        raise ValueError(f"explore_roofline compares one or two accelerators, not {accelerators!r}")
    machines, peaks = _machines([card for card in cards if card != "none"])
    first, *rest = (_name(card) for card in cards if card != "none")
    state: dict[str, Any] = {"accelerator": first, "compare": rest[0] if rest else "none", "dtype": dtype}
    known = machines[0].values
    other = {"none": {"other_bandwidth": 1}}
    other |= {name: {"other_bandwidth": rates["bandwidth"]} for name, rates in machines[0].sets.items()}
    compare = Control("compare", "compare with", ["none", *known], "choice", other)
    peaks_too = {"sets": "other_peak", "by": ["compare", "dtype"], "values": {"none": {}, **peaks["values"]}}
    more = {
        "ridge": PEAK / BANDWIDTH, "other_ridge": sympy.Symbol("other_peak") / sympy.Symbol("other_bandwidth"),
        "start": BANDWIDTH * START, "other_start": sympy.Symbol("other_bandwidth") * START, "origin": START,
        "slope": 3 * BANDWIDTH * START, "other_slope": 3 * sympy.Symbol("other_bandwidth") * START,
    }  # fmt: skip
    call = ["{model}"]
    if what is None or isinstance(what, (str, Model)):
        parts = PARTS
        of = _a_model(what, None)
        assert of is not None
        allowed = {"batch": 16, "context": 1000, "stage": STAGES[1], "kv_heads": None}
        for name in sizes:
            if name not in allowed:
                raise ValueError(f"explore_roofline of a model: {unknown('size', name, allowed)}")
        given = allowed | sizes
        shape, start = _shape(of, None, None, given["kv_heads"], None)
        state |= {"batch": given["batch"], "context": given["context"], "stage": given["stage"], **start}
        controls = [
            slider("batch", "batch size", BATCHES, given["batch"]),
            slider("context", "context length", CONTEXTS, given["context"]),
            Control("stage", "stage", STAGES, "choice"), *shape, machines[0], compare, machines[1],
        ]  # fmt: skip
        defaults: dict[str, Any] = {"batch": 16, "context": 1000, "stage": STAGES[1], "kv_heads": None}
        how = {"logits": "all", "causal": False, "fused": False}
        built = _model_programs(of, _inputs(controls, "peak", "other_peak"), how, more)
        where = "{model}, {stage} stage, {dtype} on {accelerator}, batch {batch:int}, context {context:int}"
    else:
        costs = _named_costs(what)
        parts = {f"part{i}": label for i, label in enumerate(costs)}
        names = sorted({str(symbol) for cost in costs.values() for symbol in cost.symbols})
        for name in [*names, *sizes]:
            if name not in names:
                raise ValueError(f"explore_roofline: {unknown('size', name, names, see='the .symbols of the costs')}")
            if name in TAKEN or not name.isidentifier():
                raise ValueError(f"explore_roofline: a size cannot be called {name!r} here; rename the symbol")
        if not names:
            raise ValueError("explore_roofline needs a cost with open sizes, which become its sliders")
        start = {name: sizes.get(name, 1024) for name in names}
        values = steps(1, 65536)
        controls = [slider(name, name, values, start[name]) for name in names]
        controls += [machines[0], compare, machines[1]]
        state |= start
        defaults = dict.fromkeys(names, 1024)
        call = ["cost" if isinstance(what, Cost) else "costs"]
        formulas, broken = _whole_sizes(list(costs.values()))
        traced = dict(zip(parts, (cost.steps for cost in costs.values()), strict=True))
        program = Program(
            _inputs(controls, "peak", "other_peak"), formulas | _costs(traced) | more, _outputs(parts, *formulas, *more)
        )
        shown = [
            formula
            for part, cost in zip(parts, costs.values(), strict=True)
            for formula in (_formula(f"{parts[part]}, FLOPs per byte:", _intensity(cost), f"{part}_intensity"),)
        ]
        built = {
            "programs": {"": program},
            "messages": [NO_PEAK, *broken],
            "formulas": {"": shown},
            "table": _table(parts),
        }
        where = "{dtype} on {accelerator}, " + ", ".join(f"{name} = {{{name}:int}}" for name in names)
    points = list(parts)
    said = "; ".join(
        f"{label} {{{p}_intensity}} FLOPs per byte ({{{p}_bound:bound}}), at most {{{p}_performance:FLOP/s}}"
        for p, label in parts.items()
    )
    region = {"kind": "area", "label": ""}
    laws = [
        _words("◀ memory-bound: time = bytes / bandwidth", ["x0", "y1"], 8, 18, "memory", brief="◀ memory"),
        _words("compute-bound ▶", ["x1", "y0"], -8, -26, "compute", "end", brief="compute ▶"),
        _words("time = FLOPs / peak", ["x1", "y0"], -8, -9, "compute", "end", brief=""),
    ]
    marks = [
        region | {"from": "origin", "fill": "memory_region"}, region | {"from": "ridge", "fill": "compute_region"},
        *(
            _curve(controls[0].name, f"{p}_performance", "", "path", 12, x=f"{p}_intensity") | {"opacity": 0.35}
            for p in points
        ),
        *_roof("other_", "faint", 1.8, "7,4", "{compare}  {other_peak:FLOP/s}"),
        *_roof("", "ink", 3, "none", "{accelerator}  {peak:FLOP/s}"),
        _line([], "ink", 1, labels=laws),
        *(_point(f"{p}_intensity", f"{p}_performance", label=parts[p], bound=f"{p}_bound") for p in points),
    ]  # fmt: skip
    named = points[-1:] if isinstance(what, Cost) else points[:2]
    bounds = ", ".join(f"{parts[p]} {{{p}_bound:bound}}" for p in named)
    view = _view(
        f"On {{accelerator}}: {bounds}", ("arithmetic intensity [FLOPs per byte]", "", float(START), 20000, []),
        ("attainable performance [FLOP/s]", "", None, None, []), marks, margin=18,
    )  # fmt: skip
    return Explorer(
        name="explore_roofline", call=[*call, "accelerators=[{accelerator}, {compare}]"], controls=controls,
        views={"": view}, sentence=f"{where}: {said}.", state=state, defaults=defaults | {"dtype": "fp16"},
        tables=[peaks, peaks_too], frozen=frozen, **built,
    )  # fmt: skip


TAKEN = (*CHIP, "other_peak", "other_bandwidth", "accelerator", "accelerators", "compare", "dtype", "what", "frozen")
START = sympy.Rational(1, 20)  # FLOPs per byte, where the picture of a roofline begins


def _named_costs(what: Any) -> dict[str, Cost]:
    """Costs by label: those given, or one with its steps where they are few."""
    if isinstance(what, Cost):
        steps_of = [(name, step) for name, step in zip(what.names(), what.steps, strict=True) if step.flops != 0]
        few = {name: Cost((step,), name) for name, step in steps_of} if 2 <= len(steps_of) <= 4 else {}
        return few | {what.name: what}
    pairs = what.items() if isinstance(what, Mapping) else []
    if not pairs or not all(isinstance(label, str) and isinstance(cost, Cost) for label, cost in pairs):
        raise TypeError(f"explore_roofline needs a Cost, {{label: Cost}} or a model, not {what!r}")
    for label, cost in what.items():
        if cost.flops == 0:
            raise ValueError(f"{label!r} computes nothing, so it has no place on a roofline")
    return dict(what)


def _intensity(cost: Cost) -> sympy.Expr:
    """As the lecture writes it, with the bytes for any dtype."""
    return tidy(cost.flops) / tidy(sympy.Add(*map(_moved, cost.steps)))


def _roof(which: str, stroke: str, width: float, dash: str, text: str) -> list[dict[str, Any]]:
    """The two limits of an accelerator, with their names on them; which : "other_" for the one to compare with."""
    ridge, peak = f"{which}ridge", f"{which}peak"
    other = "peak" if which else "other_peak"
    place, brief = ["x1", peak], text.split("  ")[0]
    labels = [_words(text, place, -4, -8, "faint" if which else "ink", "end", under=other, brief=brief)]
    if not which:
        on_slope = [float(3 * START), "slope"]
        labels.append(_words("{bandwidth:B/s}", on_slope, 0, -11, "ink", along=True, under="other_slope", brief=""))
    lines = [
        _line([["origin", f"{which}start"], [ridge, peak], ["x1", peak]], stroke, width, dash, labels, bool(which))
    ]
    if not which:
        note = _words("ridge {ridge} FLOPs/B", ["ridge", "y0"], -6, -8, "ink", "end")
        lines.append(_line([["ridge", "y0"], ["ridge", "peak"]], "ink", 1.4, "2,4", [note]))
    return lines


# --- attention --------------------------------------------------------------------------------------------


TOKENS = steps(16, 65536)


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
    machines, peaks = _machines([accelerator])
    pairs = steps(1, 128, 1)
    start = {"N": N, "h": h, "heads": heads, "kv_heads": heads if kv_heads is None else kv_heads}
    labels = {"N": "tokens N", "h": "width h", "heads": "heads", "kv_heads": "K and V heads"}
    values = {"N": TOKENS, "h": steps(64, 16384, 4), "heads": pairs, "kv_heads": pairs}
    controls = [slider(name, labels[name], values[name], start[name]) for name in start]
    controls[2] = replace(
        controls[2], moves={n: {"kv_heads": n} for n in controls[2].values if n in controls[3].values}
    )
    controls += [Control("fused", "fused", [False, True], "check"), *machines]
    parts = {"scores": "Q Kᵀ", "softmax": "softmax", "mix": "P V", "whole": "attention"}
    inputs = _inputs(controls, "peak")
    costs = {is_fused: _attention(is_fused) for is_fused in (False, True)}
    sizes, broken = _whole_sizes(list(costs.values()))
    programs, shown = {}, {}
    for is_fused, cost in costs.items():
        steps_of = (
            {"whole": cost.steps}
            if is_fused
            else dict(zip(parts, [*((s,) for s in cost.steps), cost.steps], strict=True))
        )
        none = dict.fromkeys(_outputs(["scores", "softmax", "mix"]), sympy.nan) if is_fused else {}
        made = sizes | none | _costs(steps_of) | {"ridge": PEAK / BANDWIDTH}
        key = str(is_fused).lower()
        programs[key] = Program(inputs, made, _outputs(parts, *sizes, "ridge"))
        by = {"whole": cost} if is_fused else {p: Cost(tuple(of), p) for p, of in steps_of.items()}
        shown[key] = [_formula(f"{parts[p]}, FLOPs per byte:", _intensity(c), f"{p}_intensity") for p, c in by.items()]
    colors = ("memory", "other", "path", "compute")
    marks: list[Any] = [_limit("ridge", "ridge point of {accelerator}: {ridge}")]
    marks += [
        _curve("N", f"{p}_intensity", parts[p], color, 4 if p == "whole" else 2.2)
        for p, color in zip(parts, colors, strict=True)
    ]
    marks += [_point("N", f"{p}_intensity", color) for p, color in zip(parts, colors, strict=True)]
    view = _view(
        "N = {N:int}: attention does {whole_intensity} FLOPs per byte, {whole_bound:bound} on {accelerator}",
        ("tokens N", "int", 16, 65536, [4**k for k in range(2, 9)]),
        ("arithmetic intensity [FLOPs per byte]", "", None, None, []), marks, margin=92,
    )  # fmt: skip
    return Explorer(
        name="explore_attention", call=[], controls=controls, programs=programs, views={"": view},
        sentence="N = {N:int}, h = {h:int}, heads = {heads:int}, kv_heads = {kv_heads:int}, on {accelerator}: "
        "attention does {whole_intensity} FLOPs per byte ({whole_bound:bound}), and takes {whole_time:s} in {dtype}.",
        table=_table(parts), formulas=shown, select=("fused",), messages=[NO_PEAK, *broken], tables=[peaks],
        state=start | {"fused": fused, "accelerator": _name(accelerator), "dtype": dtype}, frozen=frozen,
        defaults={
            "N": 1024, "h": 4096, "heads": 32, "kv_heads": None, "fused": False, "accelerator": "A10", "dtype": "fp16",
        },
    )  # fmt: skip


@cache
def _attention(fused: bool) -> Cost:
    """Attention of all heads, each group of query heads beside the K and V head that they share."""
    N, h, heads, kv_heads = symbols("N h heads kv_heads")
    Q = Tensor("Q", (kv_heads, heads / kv_heads, N, h / heads))
    K, V = (Tensor(name, (kv_heads, 1, N, h / heads)) for name in "KV")
    return trace(fuse(attention) if fused else attention, Q, K, V)


# --- sparse attention -----------------------------------------------------------------------------------


def explore_sparse(
    *, context: int = 8192, selected: int = 16, window: int = 512, block: int = 32, stride: int = 16,
    select_block: int = 64, frozen: Mapping[str, Any] | None = None,
) -> Explorer:  # fmt: skip
    """What a new token reads of its context, with native sparse attention and with full attention.

    context : tokens, the new one included. selected : blocks of select_block tokens that it reads in full. window :
    near tokens. block, stride : of the summaries, one each `stride` tokens. The sizes are those of section 4.1 of Yuan
    et al., "Native Sparse Attention", arXiv 2502.11089, and the count is that of its Table 4. frozen : {control:
    value}, a state to compare with. Which blocks are selected depends on the data: the mask shows them evenly spread.

    Raises ValueError for numbers outside of a slider's range, and as `sparse_attention` does.

    >>> explore_sparse(context=65536)
    Of a context of 65,536, a new token reads 5,632 tokens (4,096 compressed, 1,024 selected, 512 in the window), ...
    """
    S, n = symbols("context selected")
    cost, reads = _sparse(block, stride, select_block)
    sizes, broken = _whole_sizes([cost])
    total, whole = sympy.Symbol("total"), sympy.Add(*reads.values())
    made = sizes | reads | {"total": sympy.Add(*map(sympy.Symbol, reads)), "full": S, "share": total / S}
    made |= {"block": sympy.Integer(select_block), "blocks": sympy.ceiling(S / select_block)}
    made |= {"few": n - sympy.Symbol("blocks")}
    controls = [
        slider("context", "context length", steps(1024, 131072), context),
        slider("selected", "selected blocks", range(3, 65), selected),
        slider("window", "window", steps(64, 4096), window),
    ]  # fmt: skip
    names = {"compressed": "compressed", "chosen": "selected", "near": "window", "total": "sparse", "full": "full"}
    colors = ("memory", "compute", "path", "ink", "other")  # as in the mask, and in the pictures of the page
    marks = [
        _curve(
            "context", y, label, color, 4 if y in ("total", "full") else 2, "none" if y in ("total", "full") else "5,4"
        )
        for (y, label), color in zip(names.items(), colors, strict=True)
    ]
    marks += [_point("context", y, color) for y, color in zip(names, colors, strict=True)]
    mask = {
        "cells": 48, "tokens": "context", "block": "block", "selected": "selected", "window": "window",
        "title": "queries ↓, and the tokens they read →",
        "legend": [["path", "window"], ["compute", "selected"], ["memory", "compressed"]],
    }  # fmt: skip
    view = _view(
        "A new token reads {total:int} tokens where full attention reads {full:int}: {share:%}",
        ("context length [tokens]", "int", 1024, 131072, [2**k for k in range(10, 18)]),
        ("tokens read for a new one", "", None, None, []), marks, margin=98, mask=mask,
    )  # fmt: skip
    state = {"context": context, "selected": selected, "window": window}
    few = "{selected:int} blocks of {block:int} tokens are more than the {context:int} tokens of the context."
    return Explorer(
        name="explore_sparse", controls=controls, views={"": view}, state=state, frozen=frozen,
        call=_call(block=(block, 32), stride=(stride, 16), select_block=(select_block, 64)),
        programs={"": Program(_inputs(controls), made, tuple(made))},
        sentence="Of a context of {context:int}, a new token reads {total:int} tokens ({compressed:int} compressed, "
        "{chosen:int} selected, {near:int} in the window), {share:%} of what full attention reads.",
        table={"columns": ["", "tokens read"], "rows": [[label, [y, "int"]] for y, label in names.items()]},
        formulas={"": [_formula(f"{names[y]}:", f, y, "int") for y, f in {**reads, "total": whole}.items()]},
        messages=[{"when": "few", "text": few, "blocks": True}, *broken],
        defaults={"context": 8192, "selected": 16, "window": 512},
    )  # fmt: skip


@cache
def _sparse(block: int, stride: int, select_block: int) -> tuple[Cost, dict[str, sympy.Expr]]:
    """One decode step of native sparse attention, and how many tokens of the caches each branch reads."""
    S, n, w, d = symbols("context selected window head_dim")
    rows = sympy.ceiling(S / size(stride, "explore_sparse: stride"))
    K, V, K_near, V_near = (Tensor(name, (1, S, d)) for name in ("K", "V", "K_near", "V_near"))
    K_cmp, V_cmp = (Tensor(name, (1, rows, d)) for name in ("K_cmp", "V_cmp"))
    Q, gates = Tensor("Q", (1, 1, 1, d)), Tensor("gates", (1, 1, 1, 3))
    how = {"block": block, "stride": stride, "select_block": select_block, "selected": n, "window": w}
    cost = trace(sparse_attention, Q, K, V, K_cmp, V_cmp, gates, (K_near, V_near), **how)
    token = K.nbytes / S * 2  # of its key and its value
    caches = {"compressed": (K_cmp, V_cmp), "chosen": (K, V), "near": (K_near, V_near)}
    return cost, {name: sympy.cancel(cost.loads_of(*arrays) / token) for name, arrays in caches.items()}
