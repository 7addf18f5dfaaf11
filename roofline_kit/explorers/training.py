"""What does training cost, and does it fit? Memory and time of one step, part by part, for one card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import sympy

from ..cost import Cost
from ..experts import AWAKE
from ..hardware import Accelerator
from ..models import Model
from ..names import choose
from ..roofline import step_time
from ..sizes import bytes_of, symbols
from ..tensor import Tensor
from ..training import STATES, Training, Widths, optimizer_step
from .formulas import as_formula, differing, inputs_of
from .live import Bars, Control, Explorer, Lookup, Program, Stack, Table, slider, stops
from .machines import BANDWIDTH, MEMORY, NO_PEAK, PEAK, WIDTH, machine_controls, name_of
from .of_models import BATCHES, a_model, fits

PHASES = {"forward": "forward", "backward": "backward", "again": "computed again", "update": "update"}
HELD = ("weights", "gradients", "optimizer", "activations")
# Alike where they belong together: what is computed again takes the place of activations. Colours that some readers
# cannot tell apart, "path" and "fourth", are never side by side.
COLORS = {
    "forward": "fourth", "backward": "third", "again": "other", "update": "path",
    "weights": "fourth", "gradients": "third", "activations": "other", "optimizer": "path",
}  # fmt: skip
DTYPES = ("fp32", "bf16", "fp16", "fp8")
COPIES = ("fp32", "none")
CHOSEN = "fp64"  # stands for the dtype that one chooses, in traces: dtype scales bytes alone
BUDGET, DAY = 10**9, 24 * 60 * 60  # tokens; seconds
DEFAULTS = {
    "model": "llama-2-7b", "accelerator": "H200", "batch": 1, "seq": 2048, "checkpoint": 0, "optimizer": "adam",
    "master": "fp32", "dtype": "bf16",
}  # fmt: skip


def explore_training(
    model: Model | str | None = None, accelerator: Accelerator | str = "H200", *, batch: int = 1, seq: int = 2048,
    checkpoint: int | str | None = None, fused: Any = False, optimizer: str = "adam", master: str = "fp32",
    dtype: str = "bf16", gradients: str | None = None, states: str = "fp32",
    causal: bool = False, awake: str = "most", frozen: Mapping[str, Any] | None = None,
) -> Explorer:  # fmt: skip
    """What one step of training needs of a card: memory and time, each a bar of its parts.

    model : a name or a `Model`, "llama-2-7b" unless said. accelerator : whose memory, bandwidth and dense peak.
    batch, seq : contexts, and tokens of each. checkpoint : of how many layers, the first ones, only the input is kept
    and the rest computed again: a number, "all", or None for none. fused : whether attention is one step, whose scores
    stay on chip: False or True, or both in a list, to choose; the first is where it begins. optimizer : "adam",
    "momentum" or "sgd". master : the dtype of the copy of the weights that is updated, "fp32" or "none". dtype : of
    activations, of what is computed, of weights, and of gradients unless these are given one. states : of the
    optimizer's numbers. causal, awake : as `Model.training` takes them. frozen : {control: value}, a state to compare
    with.

    Memory is what is kept between forward and backward. Times are bounds, as `Roofline.time` says; so is the
    utilisation (MFU), which is the time of the model's matrix products at the peak over that of the step.

    Raises ValueError for unknown names and for numbers outside of a slider's range.

    >>> explore_training(checkpoint="all")
    llama-2-7b on H200 in bf16 with adam (copy of the weights: fp32), batch 1 of 2,048 tokens, 32 of 32 layers ...
    """
    of, ways, awake = a_model(model), _ways(fused), str(choose("awake", awake, AWAKE))
    chosen = {"fused": ways[0]} if len(ways) == 2 else {}
    if isinstance(checkpoint, str):
        choose("checkpoint", checkpoint, ("all",), f"{of.name}: ")
        checkpoint = of.layers
    checkpoint = checkpoint or 0
    again, layers = _checkpoints(of, checkpoint)
    machines, peaks = machine_controls([accelerator], DTYPES)
    controls = [
        slider("batch", "batch size", BATCHES, batch), slider("seq", "tokens of each", SEQS, seq), layers,
        *(Control(name, "fused attention", [False, True], "check") for name in chosen),
        Control("model", "model", [of.name], "choice"), *machines,
        Control("optimizer", "optimizer", list(STATES), "choice"),
        Control("master", "copy of the weights", COPIES, "choice"),
    ]  # fmt: skip
    given = Widths(CHOSEN, CHOSEN, gradients or CHOSEN, "", states)
    gradients, states = gradients and given.gradients, given.states
    updates = _updates(gradients, states)
    inputs = inputs_of(controls, "peak", *(table.sets for table in updates))
    made = {}
    for way in ways:
        made[str(way).lower() if chosen else ""] = _made(of, again, _step(of, again, way, causal, awake), gradients)
    apart = {"gradients": (gradients, None), "states": (states, "fp32")}
    call = ["fused=[{fused...}]"] if chosen else differing(fused=(ways[0], False))
    call += differing(**apart, causal=(causal, False), awake=(awake, "most"))
    said = "".join(f", {what} in {given}" for what, (given, usual) in apart.items() if given != usual)
    return Explorer(
        name="explore_training", call=call, controls=controls, views={"": VIEW}, table=TABLE, select=tuple(chosen),
        sentence=SENTENCE.replace("APART", said),
        remarks={"room": "The largest batch that fits is {largest:int}."},
        programs={way: Program(inputs, each, OUTPUTS) for way, each in made.items()},
        formulas={way: _shown(each) for way, each in made.items()},
        messages=[NO_PEAK, *fits()], tables=[peaks, *updates], frozen=frozen, defaults=DEFAULTS,
        state={
            "batch": batch, "seq": seq, "checkpoint": checkpoint, "model": of.name, "dtype": dtype,
            "accelerator": name_of(accelerator), "optimizer": optimizer, **chosen,
            "master": "none" if master == "" else master,
        },
    )  # fmt: skip


def _ways(fused: Any) -> list[bool]:
    """What `fused` asks for. Raises ValueError for anything but False and True, or a list of them."""
    ways = list(fused) if isinstance(fused, (list, tuple)) else [fused]
    if sorted(map(repr, ways)) not in (["False"], ["True"], ["False", "True"]):
        raise ValueError(f"explore_training: fused must be False, True or a list of both, not {fused!r}")
    return ways


SEQS = stops(16, 131072, 4)
SENTENCE = (
    "{model} on {accelerator} in {dtype} with {optimizer} (copy of the weights: {master}APART), batch {batch:int} of "
    "{seq:int} tokens, {checkpoint:int} of {layers:int} layers checkpointed: a step keeps {needed:B} (weights "
    "{weights_held:B}, gradients {gradients_held:B}, optimizer {optimizer_held:B}, activations {activations_held:B}), "
    "of the card's {memory:B}, and takes at least {whole_time:s} (forward {forward_time:s}, backward "
    "{backward_time:s}, computed again {again_time:s}, update {update_time:s}). That is {throughput:int} tokens per "
    "second, a utilisation (MFU) of at most {mfu:%}; a billion tokens take {days} days."
)


# --- the formulas -----------------------------------------------------------------------------------------


def _checkpoints(of: Model, start: Any) -> tuple[tuple[Any, ...], Control]:
    """How many layers of each kind are checkpoints, as symbols; and the slider of how many are in all, which sets them.

    start : where it begins.
    """
    kinds = [kind for _, kind in of.kinds]
    layers = slider("checkpoint", "checkpointed layers", range(of.layers + 1), start)
    if len(kinds) == 1:
        return (symbols("checkpoint"),), layers
    names = [f"checkpoint_{i}" for i in range(1, len(kinds) + 1)]
    turns = [kinds.index(of.like_layer(i)) for i in range(len(of.pattern))]
    each = [turns[i % len(turns)] for i in range(of.layers)]
    counted = {n: {name: each[:n].count(i) for i, name in enumerate(names)} for n in range(of.layers + 1)}
    return symbols(" ".join(names)), replace(layers, sets=counted)


@cache
def _step(of: Model, again: tuple[Any, ...], fused: bool, causal: bool, awake: str) -> Training:
    """A step in open batch and sequence length; its update is another one, by the optimizer that one chooses."""
    b, n = symbols("batch seq")
    return of.training(b, n, "sgd", again, causal=causal, fused=fused, awake=awake, dtype=CHOSEN)


CAST = "gradients_are_cast"  # 1 where they are written in a dtype of their own, once they are there
UPDATE = ("update_flops_each", "update_bytes_each", "update_numbers_each", "optimizer_bytes_each")


@cache
def _updates(gradients: str | None, states: str) -> list[Lookup]:
    """Of the update of one parameter, by optimizer and copy: FLOPs, bytes of the widths that are fixed, numbers of the
    dtype that is chosen, and bytes that the optimizer keeps."""
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in UPDATE}
    for optimizer in STATES:
        for copy in COPIES:
            widths = Widths(CHOSEN, CHOSEN, gradients or CHOSEN, "" if copy == "none" else copy, states)
            cost, kept = optimizer_step(1, optimizer, widths)
            moved = sympy.Add(*(_moved((*step.reads, *step.writes)) for step in cost.steps))
            fixed = moved.xreplace({WIDTH: sympy.Integer(0)})
            for name, value in zip(UPDATE, (cost.flops, fixed, (moved - fixed) / WIDTH, kept), strict=True):
                found[name].setdefault(optimizer, {})[copy] = float(value)
    casts = {dtype: float(gradients not in (None, dtype)) for dtype in DTYPES}
    return [
        *(Lookup(name, ("optimizer", "master"), each) for name, each in found.items()),
        Lookup(CAST, ("dtype",), casts),
    ]


def _moved(arrays: Iterable[Tensor]) -> sympy.Expr:
    """Bytes of arrays, for any dtype that one chooses."""
    return sympy.Add(*(x.size * WIDTH if x.dtype == CHOSEN else x.nbytes for x in arrays))


@dataclass(frozen=True)
class _Steps:
    """Steps of a trace by what they cost, those that cost the same as one.

    counts : {(FLOPs, bytes) of one: how often}.
    """

    counts: dict[tuple[sympy.Expr, sympy.Expr], sympy.Expr]

    @classmethod
    def of(cls, cost: Cost) -> _Steps:
        counts: dict[tuple[sympy.Expr, sympy.Expr], Any] = {}
        for step in cost.steps:
            one = step.flops / step.count, _moved((*step.reads, *step.writes))
            counts[one] = counts.get(one, 0) + step.count
        return cls(counts)

    def parted(self, again: Sequence[sympy.Symbol]) -> tuple[_Steps, _Steps]:
        """The steps that there are without checkpoints, and those that there are more with them."""
        none = {one: count.xreplace(dict.fromkeys(again, sympy.Integer(0))) for one, count in self.counts.items()}
        more = {one: count - none[one] for one, count in self.counts.items()}
        kept = [_Steps({one: n for one, n in each.items() if n != 0}) for each in (none, more)]
        return kept[0], kept[1]


def _made(of: Model, again: tuple[Any, ...], step: Training, gradients: str | None) -> dict[str, sympy.Expr]:
    """All formulas of a program, by name."""
    backward, more = _Steps.of(step.backward).parted(again)
    wide = WIDTH if gradients is None else bytes_of(gradients)
    made = {"cast_bytes": sympy.Symbol(CAST) * of.parameters * (WIDTH + wide)} | _times(
        {"forward": _Steps.of(step.forward), "backward": backward, "again": more}
    )
    parameters = of.parameters
    made["backward_bytes"] += sympy.Symbol("cast_bytes")
    made["backward_time"] += _time(sympy.Integer(0), sympy.Symbol("cast_bytes"))
    flops, fixed, numbers, _ = map(sympy.Symbol, UPDATE)
    made |= {"update_flops": parameters * flops, "update_bytes": parameters * (fixed + numbers * WIDTH)}
    made["update_time"] = _time(sympy.Symbol("update_flops"), sympy.Symbol("update_bytes"))
    for what in ("flops", "bytes", "time"):
        made[f"whole_{what}"] = sympy.Add(*(sympy.Symbol(f"{phase}_{what}") for phase in PHASES))
    whole, (b, n) = sympy.Symbol("whole_time"), symbols("batch seq")
    made |= {f"{phase}_share": sympy.Symbol(f"{phase}_time") / whole for phase in (*PHASES, "whole")}
    made |= {"layers": sympy.Integer(of.layers), "products": step.once, "ideal_time": sympy.Symbol("products") / PEAK}
    made |= {"mfu": sympy.Symbol("ideal_time") / whole, "throughput": b * n / whole}
    made["days"] = BUDGET / sympy.Symbol("throughput") / DAY
    return made | _memory(step, parameters, gradients)


def _time(flops: sympy.Expr, moved: sympy.Expr) -> sympy.Expr:
    return step_time({"compute": flops, "memory": moved}, {"compute": PEAK, "memory": BANDWIDTH}, evaluate=False)


def _times(phases: Mapping[str, _Steps]) -> dict[str, sympy.Expr]:
    """FLOPs, bytes and time of each phase, from those of its steps."""
    numbers: dict[Any, int] = {}
    made: dict[str, sympy.Expr] = {}
    for one in (one for steps in phases.values() for one in steps.counts):
        if one not in numbers:
            numbers[one] = i = len(numbers)
            made |= {f"flops{i}": one[0], f"bytes{i}": one[1]}
            made[f"time{i}"] = _time(*sympy.symbols(f"flops{i} bytes{i}"))
    for phase, steps in phases.items():
        for what in ("flops", "bytes", "time"):
            every = (count * sympy.Symbol(f"{what}{numbers[one]}") for one, count in steps.counts.items())
            made[f"{phase}_{what}"] = sympy.Add(*every)
    return made


def _memory(step: Training, parameters: sympy.Expr, gradients: str | None) -> dict[str, sympy.Expr]:
    """Bytes on the card by what they are for, and the largest batch that fits."""
    b = symbols("batch")
    one, two = sympy.symbols("of_one of_two")
    held = {what: sympy.Symbol(f"{what}_held") for what in HELD}
    activations = step.kept.nbytes(lambda x: _moved((x,)))

    def of(batch: int) -> sympy.Expr:
        """Not put into the sum afterwards: SymPy would try for long to find out which of its parts is the largest."""
        return step.kept.nbytes(lambda x: _moved((x,)).xreplace({b: sympy.Integer(batch)}))

    fixed = held["weights"] + held["gradients"] + held["optimizer"]
    return {
        "weights_held": parameters * WIDTH,
        "gradients_held": parameters * (WIDTH if gradients is None else bytes_of(gradients)),
        "optimizer_held": parameters * sympy.Symbol("optimizer_bytes_each"), "activations_held": activations,
        "needed": sympy.Add(*held.values()),
        "of_one": fixed + of(1), "of_two": fixed + of(2),
        "largest": 1 + sympy.floor((MEMORY - one) / (two - one), evaluate=False),
        "excess": sympy.Symbol("needed") - MEMORY, "hopeless": one - MEMORY,
        "room": sympy.Symbol("largest") + 1 - b, "memory_share": sympy.Symbol("needed") / MEMORY,
    }  # fmt: skip


# --- as one sees them -------------------------------------------------------------------------------------

OUTPUTS = [f"{phase}_{what}" for phase in (*PHASES, "whole") for what in ("flops", "bytes", "share", "time")]
OUTPUTS += [f"{what}_held" for what in HELD]
OUTPUTS += ["layers", "products", "ideal_time", "mfu", "throughput", "days"]
OUTPUTS += ["needed", "largest", "excess", "hopeless", "room", "memory_share"]
ROWS = {**PHASES, "whole": "whole step"}
FIGURES = {"flops": "FLOP", "bytes": "B", "share": "%", "time": "s"}
TABLE = Table(
    ["", "FLOPs", "bytes", "of the step", "time"],
    [[label, *([f"{phase}_{what}", kind] for what, kind in FIGURES.items())] for phase, label in ROWS.items()],
)
VIEW = Bars(
    "A step of batch {batch:int} takes {needed:B} of {memory:B}, and at least {whole_time:s}: {throughput:int} tokens "
    "per second",
    [
        Stack(
            "memory: {needed:B}", "B", [(f"{what}_held", what, COLORS[what]) for what in HELD],
            "memory", "memory of {accelerator}: {memory:B}", "memory {memory:B}", beyond="warning_region",
        ),
        Stack(
            "time: at least {whole_time:s}", "s",
            [(f"{phase}_time", label, COLORS[phase]) for phase, label in PHASES.items()],
            "ideal_time", "matrix products alone, at the peak: {ideal_time:s}, {mfu:%}", "at the peak: {ideal_time:s}",
        ),
    ],
)  # fmt: skip


def _shown(made: Mapping[str, sympy.Expr]) -> list[Any]:
    """The formulas beside the picture."""
    return [
        as_formula("activations, bytes:", made["activations_held"], "activations_held", "B"),
        as_formula("matrix products, FLOPs:", made["products"], "products", "FLOP"),
        as_formula("at the peak they take:", sympy.Symbol("products") / PEAK, "ideal_time", "s"),
    ]
