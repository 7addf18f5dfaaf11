"""What does a step of training cost, and what must fit into memory beside it?

Forward and backward are traced, layer by layer; then each parameter is updated once. Everything is for one card.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import Any

import sympy

from .backward import Passes, checkpoint, passes
from .cost import Cost, trace
from .hardware import Accelerator, accelerator
from .names import choose, shown
from .ops import astype, exp, highest, log, lowered, sqrt, sum, take, widened
from .sizes import BITS, bytes_of, check_shape, size
from .tensor import Tensor, fuse, leaves, mean, tensors

STATES = {"sgd": 0, "momentum": 1, "adam": 2}
"""The optimizers, and how many numbers each keeps of a parameter from step to step."""

NOTHING = Cost(())


# --- the algorithms that only training has ----------------------------------------------------------------


@fuse
def cross_entropy(logits: Any, targets: Any) -> Any:
    """The loss of a language model: the mean over tokens of log Σ exp(logits) - the target's logit, as one step.

    logits : (..., n, V). targets : token ids (..., n). Returns a number. That the maximum is taken off first, so that
    nothing overflows, is not counted, as in `softmax`. Raises ValueError for a target that is no token id.

    >>> cross_entropy(Tensor("logits", (10, 100)), Tensor("targets", 10, "int64")).step.flops
    2031
    """
    _check_targets(targets, logits.shape[-1])
    low = lowered(logits, highest(logits, -1))
    of_target = take(low.reshape(*low.shape, 1), targets.reshape(*targets.shape, 1)).reshape(*targets.shape)
    return mean(log(sum(exp(low))) - of_target, axis=None)


def _check_targets(targets: Any, vocabulary: Any) -> None:
    """Raises ValueError for a target that is no token id; with PyTorch, -100 means one that does not count."""
    if not isinstance(targets, Tensor):
        wrong = targets[(targets < 0) | (targets >= vocabulary)]
        if len(wrong):
            known = f"token ids are 0 to {vocabulary - 1}; leave out the tokens that are not to count"
            raise ValueError(f"cross_entropy: there is a target {int(wrong[0])}, and {known}")


@fuse
def adam(
    w: Any, g: Any, m: Any, v: Any, *, rate: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8, decay: float = 0.0, step: int = 1, stored: str = "",
) -> Any:  # fmt: skip
    """One update of AdamW for parameters w with gradients g: new w, and new means m of g and v of g².

    step : from 1 on. stored : a dtype in which w is returned once more, last, for the products of the next step.
    Loshchilov and Hutter, arXiv 1711.05101; Kingma and Ba, arXiv 1412.6980.

    Raises ValueError where the four have not the same shape, for a step below 1, and for betas that are not two numbers
    below 1.

    >>> from roofline_kit import tensors, trace
    >>> trace(adam, *tensors("w g m v", 1000, "fp32")).flops
    15000
    """
    if not step >= 1 or len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"adam: step {step} must be 1 or more, and the two betas {betas} at least 0 and below 1")
    for name, x in (("g", g), ("m", m), ("v", v)):
        check_shape(f"adam: {name}", tuple(x.shape), tuple(w.shape))
    stored_as = (m.dtype, v.dtype)
    g, m, v = (widened(x, w.dtype) for x in (g, m, v))  # all is computed in the dtype of w
    m = m * betas[0] + g * (1 - betas[0])
    v = v * betas[1] + g * g * (1 - betas[1])
    change = m / (1 - betas[0] ** step) / (sqrt(v / (1 - betas[1] ** step)) + eps)
    w = w * (1 - rate * decay) - change * rate
    m, v = (widened(x, dtype) for x, dtype in zip((m, v), stored_as, strict=True))
    return (w, m, v, astype(w, stored)) if stored else (w, m, v)


@fuse
def sgd(w: Any, g: Any, *m: Any, rate: float = 1e-3, momentum: float = 0.9, stored: str = "") -> Any:
    """One update of stochastic gradient descent; with m, the sum of past gradients, with momentum.

    Raises ValueError where they have not the same shape.

    >>> from roofline_kit import tensors, trace
    >>> [trace(sgd, *tensors(names, 1000, "fp32")).flops for names in ("w g", "w g m")]
    [2000, 4000]
    """
    for name, x in (("g", g), *(("m", x) for x in m)):
        check_shape(f"sgd: {name}", tuple(x.shape), tuple(w.shape))
    g, *means = (widened(x, w.dtype) for x in (g, *m))
    means = [x * momentum + g for x in means]
    w = w - (means[0] if m else g) * rate
    m = tuple(widened(x, old.dtype) for x, old in zip(means, m, strict=True))
    return (w, *m, astype(w, stored)) if stored else (w, *m)


# --- a step ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Widths:
    """The dtypes of a training step, each by its name in the kit.

    dtype : of activations and of what is computed. weights, gradients : of these. master : of a copy of the weights,
    which is the one that is updated; "" for none. states : of what the optimizer keeps.
    The defaults are those of mixed precision, 16 bytes a parameter with Adam: Rajbhandari et al., "ZeRO",
    arXiv 1910.02054, section 3.1.

    Raises ValueError for an unknown dtype, for integers but int8 states, and for tf32, in which nothing is stored.
    """

    dtype: str = "bf16"
    weights: str = "bf16"
    gradients: str = "bf16"
    master: str = "fp32"
    states: str = "fp32"

    def __post_init__(self) -> None:
        floating = [name for name in BITS if not name.startswith("int") and name != "tf32"]
        known = {"master": ["", *floating], "states": [*floating, "int8"]}  # 8-bit optimizers: arXiv 2110.02861
        for what, name in vars(self).items():
            chosen = choose("dtype", name, known.get(what, floating), f"training, {what}: ")
            object.__setattr__(self, what, chosen)


@dataclass(frozen=True, repr=False)
class Training(Cost):
    """The Cost of one step of training, and its parts: made by `Model.training`.

    forward, backward, update : their Costs; backward holds what checkpoints compute again. once : FLOPs of matrix
    products, forward and backward, without what is computed again. memory : bytes by what they are for: weights,
    gradients, optimizer, activations. kept : the arrays that are the activations. dtype : of what is computed.
    """

    forward: Cost = field(default_factory=lambda: NOTHING)
    backward: Cost = field(default_factory=lambda: NOTHING)
    update: Cost = field(default_factory=lambda: NOTHING)
    once: sympy.Expr = field(default_factory=lambda: sympy.Integer(0))
    memory: Mapping[str, sympy.Expr] = field(default_factory=dict)
    kept: Kept = field(default_factory=lambda: Kept())
    dtype: str = "bf16"

    def at(self, **values: Any) -> Training:
        """The same step with numbers put in, in its parts and in what is kept as well; see `Cost.at`."""
        sizes = self._sizes((), values)

        def put(cost: Cost) -> Cost:
            return cost.at(**{name: value for name, value in values.items() if name in map(str, cost.symbols)})

        kept = self.kept.at(sizes)
        memory = {what: sympy.sympify(nbytes).xreplace(sizes) for what, nbytes in self.memory.items()}
        forward, backward, update = map(put, (self.forward, self.backward, self.update))
        once = sympy.sympify(self.once).xreplace(sizes)
        steps = super().at(**values).steps
        return Training(steps, self.name, forward, backward, update, once, memory, kept, self.dtype)

    @property
    def memory_bytes(self) -> sympy.Expr:
        """Bytes of all that is kept between forward and backward; not what a step needs for a moment."""
        return sympy.Add(*self.memory.values())

    def utilisation(self, seconds: float, machine: Accelerator | str) -> float:
        """Model FLOPs utilisation (MFU) of a step that took so long: FLOPs that it needed / seconds / dense peak.

        What it needed are the matrix products of the forward and the backward pass, of every score that the trace has
        (all of them, or with causal=True those that are seen), and nothing that was computed again: with that it would
        be the hardware's utilisation (HFU). Chowdhery et al., "PaLM", arXiv 2204.02311, appendix B.

        Raises ValueError where sizes are open, for seconds that are not positive or fewer than the products take at
        the peak, and as `Accelerator.peak` does; TypeError for seconds that are no number.
        """
        if self.symbols:
            raise ValueError(f"{self.name}: {', '.join(map(str, self.symbols))} must be numbers for a utilisation")
        if not isinstance(seconds, Real) or isinstance(seconds, bool):
            raise TypeError(f"{self.name}: the seconds that it took must be a number, not {shown(seconds)}")
        if not 0 < seconds < math.inf:
            raise ValueError(f"{self.name}: it took {seconds} seconds; a time must be positive")
        card = accelerator(machine)
        least = float(self.once / card.peak(self.dtype))
        if seconds < least:
            what = f"{self.name}: it cannot have taken {seconds} seconds on the {card.name}"
            raise ValueError(f"{what}, whose peak in {self.dtype} needs {least:.3g} for the products alone")
        return least / float(seconds)


@dataclass(frozen=True)
class Kept:
    """The arrays that are kept for a backward pass, each with how many there are of it.

    always : what all parts share, the inputs of checkpoints, and what comes before these. until_reached : the others,
    which are gone when the backward pass comes to the checkpoints. working : of each kind of layer that is a
    checkpoint, how many there are, and the arrays of one, which are there while it is computed again.
    """

    always: tuple[tuple[Any, Tensor], ...] = ()
    until_reached: tuple[tuple[Any, Tensor], ...] = ()
    working: tuple[tuple[Any, tuple[Tensor, ...]], ...] = ()

    def at(self, sizes: Mapping[sympy.Symbol, sympy.Expr]) -> Kept:
        """The same arrays with numbers put in."""

        def put(n: Any) -> Any:
            return sympy.sympify(n).xreplace(sizes)

        def put_into(x: Tensor) -> Tensor:
            return Tensor(x.name, tuple(map(put, x.shape)), x.dtype, visible=x.visible and put(x.visible), role=x.role)

        always, rest = (tuple((put(n), put_into(x)) for n, x in kept) for kept in (self.always, self.until_reached))
        return Kept(always, rest, tuple((put(n), tuple(map(put_into, arrays))) for n, arrays in self.working))

    def nbytes(self, width: Callable[[Tensor], sympy.Expr] = lambda x: x.nbytes) -> sympy.Expr:
        """Bytes where they are most: at the end of the forward pass, or at the largest checkpoint. width : of one."""
        always, rest = (
            sympy.Add(*(count * width(x) for count, x in kept)) for kept in (self.always, self.until_reached)
        )
        again = [_if_any(n) * sympy.Add(*map(width, arrays)) for n, arrays in self.working]
        if not again:
            return always + rest
        known = all(x.is_number for x in (rest, *again))  # otherwise SymPy would try for long to find out which is more
        return always + sympy.Max(rest, *again, evaluate=known)


def _if_any(n: Any) -> sympy.Expr:
    """1, or 0 for n = 0, which SymPy thinks that a size cannot be."""
    return sympy.Min(n, 1, evaluate=sympy.sympify(n).is_number)


@dataclass(frozen=True)
class Stage:
    """A part of a model: so many layers of one kind, or what comes before or after them.

    count : how many there are. again : how many of these are checkpoints. f, args, kwargs : the algorithm, and what it
    is called with; args get gradients, and kwargs none.
    """

    count: Any
    f: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    again: Any = 0

    @cached_property
    def plain(self) -> Passes:
        """Its passes, if everything is kept."""
        return passes(self.f, *self.args, **self.kwargs)

    @cached_property
    def checkpointed(self) -> Passes:
        """Its passes, if it is a checkpoint."""
        return passes(checkpoint(self.f), *self.args, **self.kwargs) if self.again != 0 else self.plain

    @property
    def backward(self) -> Cost:
        """All its backward passes."""
        return _some(self.again, self.checkpointed.backward) + _some(self.count - self.again, self.plain.backward)

    @property
    def once(self) -> sympy.Expr:
        """FLOPs of matrix products with nothing computed again, not even on the chip: those of standard attention."""
        how = self.kwargs | {"fused": False}
        both = passes(self.f, *self.args, **how) if self.kwargs.get("fused") else self.plain
        return self.count * (both.forward.matmul_flops + both.backward.matmul_flops)

    def own(self, one: Passes) -> list[Tensor]:
        """What one of them keeps for itself: what all have in common, as rotations, is not."""
        common = {id(x) for x in leaves(self.kwargs)}
        return [x for x in one.saved if id(x) not in common]

    @property
    def working(self) -> tuple[Tensor, ...]:
        """What a checkpoint has while it is computed again, beside its inputs."""
        inputs = {id(x) for x in self.own(self.checkpointed)}
        return tuple(x for x in self.own(self.plain) if id(x) not in inputs)


def training_step(
    name: str, stages: Sequence[Stage], parameters: Any, optimizer: str, widths: Widths, accumulate: Any = 1,
    twice: Sequence[Tensor] = (),
) -> Training:  # fmt: skip
    """A step, from its stages in the order of the forward pass. twice : weights that two stages have a gradient of."""
    times = size(accumulate, f"{name}: accumulate")
    forward = _joined(f"{name}, forward", (times * stage.count * stage.plain.forward for stage in stages))
    passed = _joined("", [*(stage.backward for stage in reversed(stages)), *_after(parameters, widths, twice)])
    added = trace(_added, *tensors("sum gradient", parameters, widths.gradients))
    backward = _joined(f"{name}, backward", [times * passed, _some(times - 1, added)])
    update, of_optimizer = optimizer_step(parameters, optimizer, widths)
    parts, kept = (forward, backward, replace(update, name=f"{name}, update")), _kept(stages)
    memory = {what: parameters * bytes_of(getattr(widths, what)) for what in ("weights", "gradients")}
    memory |= {"optimizer": of_optimizer, "activations": kept.nbytes()}
    once = times * sympy.Add(*(stage.once for stage in stages))
    return Training(_joined("", parts).steps, name, *parts, once, memory, kept, widths.dtype)


def _after(parameters: Any, widths: Widths, twice: Sequence[Tensor]) -> list[Cost]:
    """What follows a backward pass: gradients of the same weights are added up, and written in a dtype of their own."""
    costs = [trace(_added, *tensors("gradient more", w.shape, widths.dtype)) for w in twice]
    if widths.gradients != widths.dtype:
        costs.append(trace(astype, Tensor("gradient", parameters, widths.dtype), widths.gradients))
    return costs


def _kept(stages: Sequence[Stage]) -> Kept:
    """What all stages keep."""
    both = [(stage, one) for stage in stages for one in (stage.plain, stage.checkpointed)]
    together = {id(x): x for stage, one in both for x in one.saved if x not in stage.own(one)}
    always: list[tuple[Any, Tensor]] = [(1, x) for x in together.values()]
    for stage in stages:
        always += [(stage.again, x) for x in stage.own(stage.checkpointed) if stage.again != 0]
    first = next((i for i, stage in enumerate(stages) if stage.again != 0), 0)
    always += [(stage.count, x) for stage in stages[:first] for x in stage.own(stage.plain)]  # gone back through last
    counts = ((stage, stage.count - stage.again) for stage in stages[first:])
    rest = [(count, x) for stage, count in counts if count != 0 for x in stage.own(stage.plain)]
    return Kept(tuple(always), tuple(rest), tuple((one.again, one.working) for one in stages if one.again != 0))


def _joined(name: str, costs: Iterable[Cost]) -> Cost:
    """One cost after the other."""
    return Cost(tuple(step for cost in costs for step in cost.steps), name)


def _some(count: Any, cost: Cost) -> Cost:
    """A cost so many times, which may be none."""
    many = sympy.sympify(count)  # an open one is no size: it may become 0
    return Cost(tuple(step * many for step in cost.steps), cost.name) if many != 0 else NOTHING


def _added(total: Any, gradient: Any) -> Any:
    """Gradients of the same weights, added up."""
    return total + gradient


def optimizer_step(parameters: Any, optimizer: str, widths: Widths) -> tuple[Cost, sympy.Expr]:
    """What it costs to update so many parameters, and the bytes that are kept for it.

    Raises ValueError for an unknown optimizer, and as `size` does.
    """
    optimizer = choose("optimizer", optimizer, STATES)
    size(parameters, "parameters")
    w = Tensor("w", parameters, widths.master or widths.weights)
    g = Tensor("gradient", parameters, widths.gradients)
    states = [Tensor(name, parameters, widths.states) for name in "mv"[: STATES[optimizer]]]
    f = adam if optimizer == "adam" else sgd
    cost = trace(f, w, g, *states, stored=widths.weights if widths.master else "")
    return cost, sympy.Add(*(x.nbytes for x in states), w.nbytes if widths.master else 0)
