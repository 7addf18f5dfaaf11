"""Which model, and what does its step cost? What the explorers of batches and of rooflines share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import sympy

from ..configs import model, models
from ..cost import Cost
from ..models import SIZES, Model
from ..names import choose
from ..sizes import BITS, bytes_of, symbols
from ..tensor import Step, leaves
from .formulas import Widths, as_formula, cost_formulas, cost_outputs, cost_table, moved_bytes, whole_sizes
from .live import Control, Formula, Message, Program, slider, stops
from .machines import BANDWIDTH, MEMORY, NO_PEAK, PEAK, WIDTH

STAGES = ("initial", "auto-regressive")
PARTS = {"dense": "dense layers", "attention": "self-attention", "whole": "whole step"}
BRIEF = {"dense": "dense", "experts": "experts", "attention": "attention", "whole": "step"}  # on a phone
FREE = {
    "name",
    "norm_eps",
    "position_offset",
    "rope_theta",
    "rope_scaled",
    "not_run",
    "published",
    "title",
    "source",
    "note",
    "provenance",
}  # no cost
LOOKS = tuple(x.name for x in fields(Model) if x.name not in {*SIZES, *FREE})
ATTENTION = {"attention", "attend", "softmax"}  # sinks, of which it may read some, are weights too
BATCHES, CONTEXTS = stops(1, 512), stops(16, 131072, 4, 50, 1000)


# --- which models -------------------------------------------------------------------------------------


def a_model(given: Model | str | None) -> Model:
    """The model to explore, "llama-2-7b" unless given, with numbers for sizes."""
    of = given if isinstance(given, Model) else model("llama-2-7b" if given is None else given)
    for what in SIZES:
        if not isinstance(getattr(of, what), int | None):
            raise ValueError(f"{of.name}: {what} must be a number here, not {getattr(of, what)}")
    return of


def alone(of: Model) -> bool:
    """Whether a model is of its own kind, so that its formulas have its sizes as numbers in them."""
    return bool(of.pattern) or of.experts is not None or of.kv_latent is not None


def parts_of(of: Model | None) -> dict[str, str]:
    """The parts of a model's step, with their labels: experts are one, where there are some."""
    if of is None or all(kind.experts is None for _, kind in of.kinds):
        return PARTS
    return {"dense": PARTS["dense"], "experts": "experts", **PARTS}


def step_controls(batch: Any, context: Any) -> list[Control]:
    """The controls for the step that is predicted."""
    return [
        slider("batch", "batch size", BATCHES, batch), slider("context", "context length", CONTEXTS, context),
        Control("stage", "stage", STAGES, "choice"),
    ]  # fmt: skip


def model_controls(of: Model, kv_heads: Any) -> tuple[list[Control], dict[str, Any]]:
    """The controls for a model and its K and V heads, and what they stand at.

    Raises ValueError for another number of these, where the model has its sizes as numbers.
    """
    if alone(of):
        if kv_heads is not None:
            raise ValueError(f"{of.name}: kv_heads can be chosen where all layers are plain and alike, not here")
        return [Control("model", "model", [of.name], "choice")], {"model": of.name}
    known = [m for m in map(model, models()) if _alike(m, of)]
    alike = {m.name: m for m in [*known, of]}
    sets = {
        name: {s: getattr(m, s) for s in SIZES if s != "kv_heads" and getattr(m, s) is not None}
        for name, m in alike.items()
    }
    moves = {name: {"kv_heads": m.kv_heads} for name, m in alike.items()}
    values = sorted({*stops(1, 128, 1), *(m.kv_heads for m in alike.values())})
    start = {"model": of.name, "kv_heads": of.kv_heads if kv_heads is None else kv_heads}
    choice = Control("model", "model", list(alike), "choice", sets, moves)
    return [choice, slider("kv_heads", "K and V heads", values, start["kv_heads"])], start


def layer_controls(h: Any, heads: Any, kv_heads: Any, layers: Any) -> tuple[list[Control], dict[str, Any]]:
    """The controls for the sizes of plain layers, and what they stand at."""
    pairs = stops(1, 128, 1)
    start = {"h": h, "heads": heads, "kv_heads": heads if kv_heads is None else kv_heads, "layers": layers}
    room = {"h": stops(128, 16384, 4), "heads": pairs, "kv_heads": pairs, "layers": stops(1, 128, 4)}
    made = {name: slider(name, name, room[name], at) for name, at in start.items()}
    made["heads"] = with_kv_heads(made["heads"], made["kv_heads"])
    return list(made.values()), start


def with_kv_heads(heads: Control, kv_heads: Control) -> Control:
    """A slider of heads that brings that of K and V heads along: who wants fewer of those says so afterwards."""
    return replace(heads, moves={n: {"kv_heads": n} for n in heads.values if n in kv_heads.values})


def _alike(one: Model, other: Model) -> bool:
    """Whether two models differ in sizes alone, so that one formula holds for both."""
    present = all((getattr(one, s) is None) == (getattr(other, s) is None) for s in SIZES)
    return present and all(getattr(one, what) == getattr(other, what) for what in LOOKS)


def _of_all(first: Model | None) -> Model:
    """The model in open sizes; without one, plain layers of width h with an MLP of 4·h."""
    if first is None:
        layers, h, heads, kv_heads = symbols("layers h heads kv_heads")
        return Model("layers", layers, h, heads, vocabulary=1, kv_heads=kv_heads, position_rows=1)
    if alone(first):
        return first
    names = {s: symbols(s) for s in SIZES if getattr(first, s) is not None}
    return replace(first, name="model", **names)


# --- how wide weights and cache are -------------------------------------------------------------------

APART = {"weights": ("weight", "weight_bytes"), "cache": ("cache", "cache_bytes")}
"""Arguments, the role of the arrays that each is about, and the bytes of one of their elements in formulas."""


@dataclass(frozen=True)
class Apart:
    """The widths of weights and cache where they have their own, by the parts of an `Explorer`.

    of : {role: bytes per element}, open in formulas. fixed : the bytes of those that cannot be chosen, exact. said : a
    part of a sentence, after the dtype that is computed in.
    """

    of: dict[str, sympy.Expr]
    fixed: dict[str, sympy.Expr]
    controls: list[Control]
    start: dict[str, str]
    call: list[str]
    said: str


def apart(function: str, **given: Any) -> Apart:
    """What `weights` and `cache` ask for: the name of a dtype; a list of them to choose from, the first to begin with.

    None leaves them as wide as the dtype. Raises ValueError for an unknown dtype, naming the argument of `function`.
    """
    found = Apart({}, {}, [], {}, [], "")
    said = ""
    for name, of in given.items():
        if of is None:
            continue
        role, width = APART[name]
        found.of[role] = symbols(width)
        dtypes = _dtypes(f"{function}, {name}", of)
        if isinstance(of, str):
            found.fixed[width] = bytes_of(dtypes[0])
            found.call.append(f'{name}="{dtypes[0]}"')
            said += f", {name} in {dtypes[0]}"
        else:
            values = [dtype for dtype in BITS if dtype in dtypes]
            sets = {dtype: {width: float(bytes_of(dtype))} for dtype in values}  # exact: parts of 2, 4, 8 …
            found.controls.append(Control(name, f"dtype of {name}", values, "choice", sets))
            found.start[name] = dtypes[0]
            found.call.append(f"{name}=[{{{name}...}}]")
            said += f", {name} in {{{name}}}"
    return replace(found, said=said)


def _dtypes(whose: str, given: Any) -> list[str]:
    """The dtypes that an argument names. Raises ValueError where there is none, and for what is no dtype."""
    if isinstance(given, (list, tuple)) and not given:
        raise ValueError(f"{whose} must be the name of a dtype or a list of them, not {given!r}")
    names = given if isinstance(given, (list, tuple)) else [given]
    return [choose("dtype", name, BITS, f"{whose}: ") for name in names]


# --- what their steps cost ----------------------------------------------------------------------------


def model_programs(
    first: Model | None, inputs: Sequence[str], how: Mapping[str, Any], more: Mapping[str, Any], widths: Apart
) -> dict[str, Any]:
    """The programs of both stages, the messages, and the formulas to show, by the fields of an `Explorer`.

    first : a model, or None for plain layers. how : logits, causal, fused and so on, as `Model.decode` takes them.
    more : formulas that only one explorer needs. widths : of weights and cache.
    """
    every = _of_all(first)
    how = {**how, "weights": "fp16" if "weight" in widths.of else None}
    stages = {stage: _stage_parts(every, first is not None, stage, **how) for stage in STAGES}
    sizes, broken = whole_sizes([Cost(tuple(parts["whole"]), "step") for parts in stages.values()])
    b, context = symbols("batch context")
    cache_width = widths.of.get("cache", WIDTH)
    layers, ends = _layers_and_ends(every)
    held = _held(layers if first is None else layers + ends, widths.of.get("weight"))
    one_cache = every.kv_cache_bytes(context) / bytes_of("fp16")
    cache = as_formula("KV cache, bytes:", b * one_cache * cache_width, "cache_held", "B")
    programs, formulas = {}, {}
    for stage, parts in stages.items():
        tokens = b * context if stage == "initial" else b * how.get("new", 1)
        extra = {
            **_memory_formulas(held, one_cache * cache_width), **_shares(tokens, parts),
            "ridge": PEAK / BANDWIDTH, **more,
        }  # fmt: skip
        made = widths.fixed | sizes | cost_formulas(parts, widths.of) | extra
        programs[stage] = Program(inputs, made, cost_outputs(parts, *sizes, *extra, *widths.fixed))
        formulas[stage] = [*_flops_and_bytes(parts, widths.of), cache]
    return {
        "programs": programs, "messages": [NO_PEAK, *broken, *fits()], "formulas": formulas, "select": ("stage",),
        "table": cost_table(parts_of(first)),
    }  # fmt: skip


@cache
def _stage_parts(
    every: Model, ends: bool, stage: str, logits: str, causal: bool, fused: bool, weights: str | None,
    new: int = 1, awake: str = "most", absorbed: bool = False,
) -> dict[str, list[Step]]:  # fmt: skip
    """The steps of a stage, sorted: products with weights, experts, attention, and all."""
    b, context = symbols("batch context")
    how: dict[str, Any] = {"fused": fused, "weights": weights, "awake": awake, "absorbed": absorbed, "causal": causal}
    initial = stage == "initial"
    cost = every.prefill(b, context, logits, **how) if initial else every.decode(b, context, new=new, **how)
    whole = [step for step in cost.steps if ends or step.count != 1]

    def kind(step: Step) -> str:
        if step.operation == "expert_product":
            return "experts"
        weighs = any(x.role == "weight" for x in step.reads) and step.operation not in ATTENTION
        return "dense" if weighs else "attention"

    products = [step for step in whole if step.matmul_flops != 0 or step.operation == "softmax"]
    sorted_out = {part: [step for step in products if kind(step) == part] for part in parts_of(every)}
    return sorted_out | {"whole": whole}


def _layers_and_ends(of: Model) -> tuple[list[tuple[Any, Any]], list[tuple[Any, Any]]]:
    """All arrays of weights of the layers, and of the ends, each with the number of times that it is there."""
    layers = [(count, x) for count, kind in of.kinds for x in leaves(kind.layer_weights())]
    return layers, [(1, x) for x in leaves(of.end_weights())]


def _held(weights: Sequence[tuple[Any, Any]], width: sympy.Expr | None) -> sympy.Expr:
    """Bytes of weights: of one width all, or of that of the dtype, but for those that are stored narrower."""
    there = [(count, x) for count, x in weights if x is not None]
    stored = [count * x.nbytes for count, x in there if x.dtype != "fp16" and width is None]
    others = [count * x.size for count, x in there if x.dtype == "fp16" or width is not None]
    return sympy.Add(*others) * (WIDTH if width is None else width) + sympy.Add(*stored)


def _memory_formulas(weights: sympy.Expr, cache_of_one: sympy.Expr) -> dict[str, sympy.Expr]:
    """Bytes on the card, of a batch and of the largest batch that fits."""
    b = symbols("batch")
    held, one, needed, largest = sympy.symbols("weights_held cache_of_one needed largest")
    return {
        "weights_held": weights, "cache_of_one": cache_of_one, "cache_held": b * one, "needed": held + b * one,
        "largest": sympy.floor((MEMORY - held) / one, evaluate=False), "excess": needed - MEMORY,
        "hopeless": 1 - largest, "memory_share": needed / MEMORY,
    }  # fmt: skip


def _shares(tokens: sympy.Expr, parts: Iterable[str]) -> dict[str, sympy.Expr]:
    """The share of attention in the time, and how many tokens a second each part alone would make."""
    seconds = {part: sympy.Symbol(f"{part}_time") for part in parts}
    throughputs = {f"{part}_throughput": tokens / time for part, time in seconds.items()}
    return {"attention_share": seconds["attention"] / seconds["whole"], **throughputs}


def fits() -> list[Message]:
    """What is said where the card is too small."""
    needs = "Does not fit: this needs {needed:B}, {excess:B} more than the {memory:B} of {accelerator}; "
    return [
        Message("hopeless", needs + "not even a batch of 1 fits.", blocks=False),
        Message("excess", needs + "the largest batch that fits is {largest:int}.", blocks=False),
    ]


def _flops_and_bytes(parts: Mapping[str, Sequence[Step]], widths: Widths) -> list[Formula]:
    """The formulas of the dense layers, of experts, and of self-attention, to show."""
    labels, shown = {"experts": "experts", **PARTS}, []
    for part in (part for part in parts if part != "whole"):
        flops = _by_layer(parts[part], {id(step): step.flops for step in parts[part]})
        moved = _by_layer(parts[part], {id(step): moved_bytes(step, widths) for step in parts[part]})
        shown.append(as_formula(f"{labels[part]}, FLOPs:", flops, f"{part}_flops", "FLOP"))
        shown.append(as_formula(f"{labels[part]}, bytes:", moved, f"{part}_bytes", "B"))
    return shown


def _by_layer(steps: Sequence[Step], figures: Mapping[int, sympy.Expr]) -> sympy.Expr:
    """The sum of figures over steps, with the number of layers in front of what each layer has."""
    counts = dict.fromkeys(step.count for step in steps)
    each = {n: sympy.Add(*(figures[id(step)] / n for step in steps if step.count == n)) for n in counts}
    return sympy.Add(*(n * sympy.expand_mul(terms) for n, terms in each.items()))
