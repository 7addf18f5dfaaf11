"""What does a step of training cost, and what must fit into memory beside it?

Forward and backward are traced, layer by layer; then each parameter is updated once. Everything is for one card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sympy

from .backward import Passes, checkpoint, passes
from .cost import Cost, trace
from .hardware import Accelerator, accelerator
from .names import choose
from .ops import astype, exp, highest, log, sqrt, sum, take, widened
from .sizes import BITS, bytes_of, size
from .tensor import Tensor, fuse, leaves, mean, tensors

STATES = {"sgd": 0, "momentum": 1, "adam": 2}
"""The optimizers, and how many numbers each keeps of a parameter from step to step."""

NOTHING = Cost(())


# --- the algorithms that only training has ----------------------------------------------------------------


@fuse
def cross_entropy(logits: Any, targets: Any) -> Any:
    """The loss of a language model: the mean over tokens of log Σ exp(logits) - the target's logit, as one step.

    logits : (..., n, V). targets : token ids (..., n). Returns a number. The maximum that is taken off first, so that
    nothing overflows, is not counted, as in `softmax`.

    >>> cross_entropy(Tensor("logits", (10, 100)), Tensor("targets", 10, "int64")).step.flops
    3031
    """
    low = logits - highest(logits, -1, None)
    of_target = take(low.reshape(*low.shape, 1), targets.reshape(*targets.shape, 1)).reshape(*targets.shape)
    return mean(log(sum(exp(low))) - of_target, axis=None)


@fuse
def adam(
    w: Any, g: Any, m: Any, v: Any, *, rate: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8, decay: float = 0.0, step: int = 1, stored: str = "",
) -> Any:  # fmt: skip
    """One update of AdamW for parameters w with gradients g: new w, and new means m of g and v of g².

    All in the same shape. step : from 1 on. stored : a dtype in which w is returned once more, last, for the products
    of the next step. Loshchilov and Hutter, arXiv 1711.05101; Kingma and Ba, arXiv 1412.6980.

    >>> from roofline_kit import tensors, trace
    >>> trace(adam, *tensors("w g m v", 1000, "fp32")).flops
    15000
    """
    m = widened(m * betas[0] + g * (1 - betas[0]), m.dtype)
    v = widened(v * betas[1] + g * g * (1 - betas[1]), v.dtype)
    change = m / (1 - betas[0] ** step) / (sqrt(v / (1 - betas[1] ** step)) + eps)
    w = widened(w * (1 - rate * decay) - change * rate, w.dtype)
    return (w, m, v, astype(w, stored)) if stored else (w, m, v)


@fuse
def sgd(w: Any, g: Any, *m: Any, rate: float = 1e-3, momentum: float = 0.9, stored: str = "") -> Any:
    """One update of stochastic gradient descent; with m, the sum of past gradients, with momentum.

    >>> from roofline_kit import tensors, trace
    >>> [trace(sgd, *tensors(names, 1000, "fp32")).flops for names in ("w g", "w g m")]
    [2000, 4000]
    """
    m = tuple(widened(x * momentum + g, x.dtype) for x in m)
    w = widened(w - (m[0] if m else g) * rate, w.dtype)
    return (w, *m, astype(w, stored)) if stored else (w, *m)


# --- a step ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Widths:
    """The dtypes of a training step, each by its name in the kit.

    dtype : of activations and of what is computed. weights, gradients : of these. master : of a copy of the weights,
    which is the one that is updated; "" for none. states : of what the optimizer keeps.
    The defaults are those of mixed precision, 16 bytes a parameter with Adam: Rajbhandari et al., "ZeRO",
    arXiv 1910.02054, section 3.1.
    """

    dtype: str = "bf16"
    weights: str = "bf16"
    gradients: str = "bf16"
    master: str = "fp32"
    states: str = "fp32"

    def __post_init__(self) -> None:
        for what, name in vars(self).items():
            if name or what != "master":
                choose("dtype", name, BITS, f"training, {what}: ")


@dataclass(frozen=True, repr=False)
class Training(Cost):
    """The Cost of one step of training, and its parts: made by `Model.training`.

    forward, backward, update : their Costs; backward holds what checkpoints compute again. once : FLOPs of matrix
    products, forward and backward, without what is computed again. memory : bytes by what they are for: weights,
    gradients, optimizer, activations.
    """

    forward: Cost = field(default_factory=lambda: NOTHING)
    backward: Cost = field(default_factory=lambda: NOTHING)
    update: Cost = field(default_factory=lambda: NOTHING)
    once: sympy.Expr = field(default_factory=lambda: sympy.Integer(0))
    memory: Mapping[str, sympy.Expr] = field(default_factory=dict)

    @property
    def memory_bytes(self) -> sympy.Expr:
        """Bytes of all that is kept between forward and backward; not what a step needs for a moment."""
        return sympy.Add(*self.memory.values())

    def utilisation(self, seconds: float, machine: Accelerator | str, dtype: str = "bf16") -> float:
        """Model FLOPs utilisation (MFU) of a step that took so long: FLOPs that it needed / seconds / peak.

        What it needed are the matrix products of the forward and the backward pass, of every score that the trace has
        (all of them, or with causal=True those that are seen), and nothing that was computed again: with that it would
        be the hardware's utilisation (HFU). Chowdhery et al., "PaLM", arXiv 2204.02311, appendix B.

        Raises ValueError where sizes are open, for seconds that are not positive, and as `Accelerator.peak` does.
        """
        if self.symbols:
            raise ValueError(f"{self.name}: {', '.join(map(str, self.symbols))} must be numbers for a utilisation")
        if not seconds > 0:
            raise ValueError(f"{self.name}: it took {seconds} seconds; a time must be positive")
        return float(self.once / accelerator(machine).peak(dtype)) / seconds


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
        """FLOPs of matrix products, with nothing computed again, not even on the chip: each has two on the way back."""
        return 3 * self.count * self.plain.forward.matmul_flops

    def own(self, one: Passes) -> dict[int, sympy.Expr]:
        """Bytes of what one of them keeps for itself, by array: what all have in common, as rotations, is not."""
        common = {id(x) for x in leaves(self.kwargs)}
        return {id(x): x.nbytes for x in one.saved if id(x) not in common}

    @property
    def activations(self) -> sympy.Expr:
        """Bytes of what all of them keep for themselves."""
        kept, again = (sympy.Add(*self.own(one).values()) for one in (self.plain, self.checkpointed))
        return (self.count - self.again) * kept + self.again * again

    @property
    def working(self) -> sympy.Expr:
        """Bytes of what a checkpoint has when it is computed again, beside its inputs."""
        inputs = self.own(self.checkpointed)
        made = (nbytes for key, nbytes in self.own(self.plain).items() if key not in inputs)
        return sympy.Add(*made) if self.again != 0 else sympy.Integer(0)


def training_step(
    name: str, stages: Sequence[Stage], parameters: Any, optimizer: str, widths: Widths, accumulate: Any = 1,
    twice: Sequence[Tensor] = (),
) -> Training:  # fmt: skip
    """A step, from its stages in the order of the forward pass. twice : weights that two stages have a gradient of."""
    choose("optimizer", optimizer, STATES)
    times = size(accumulate, f"{name}: accumulate")
    forward = _joined(stage.count * stage.plain.forward for stage in stages)
    backward = _joined(stage.backward for stage in reversed(stages))
    for w in twice:
        backward = backward + trace(_added, *tensors("gradient more", w.shape, widths.dtype))
    if widths.gradients != widths.dtype:
        backward = backward + trace(astype, Tensor("gradient", parameters, widths.dtype), widths.gradients)
    added = trace(_added, *tensors("sum gradient", parameters, widths.gradients))
    update, kept = _update(parameters, optimizer, widths)
    parts = (times * forward, times * backward + _some(times - 1, added), update)
    memory = {what: parameters * bytes_of(getattr(widths, what)) for what in ("weights", "gradients")}
    memory |= {"optimizer": kept, "activations": _activations(stages)}
    once = times * sympy.Add(*(stage.once for stage in stages))
    return Training(_joined(parts).steps, name, *parts, once, memory)


def _activations(stages: Sequence[Stage]) -> sympy.Expr:
    """Bytes that are kept for the backward pass: by each part, by all together, and while one is computed again."""
    together = {id(x): x for stage in stages for x in stage.plain.saved if id(x) not in stage.own(stage.plain)}
    most = sympy.Max(*(stage.working for stage in stages))
    return sympy.Add(*(stage.activations for stage in stages), *(x.nbytes for x in together.values()), most)


def _joined(costs: Iterable[Cost]) -> Cost:
    """One cost after the other."""
    return Cost(tuple(step for cost in costs for step in cost.steps))


def _some(count: Any, cost: Cost) -> Cost:
    """A cost so many times, which may be none."""
    return count * cost if count != 0 else NOTHING


def _added(total: Any, gradient: Any) -> Any:
    """Gradients of the same weights, added up."""
    return total + gradient


def _update(parameters: Any, optimizer: str, widths: Widths) -> tuple[Cost, sympy.Expr]:
    """What it costs to update all parameters, and the bytes that are kept for it."""
    w = Tensor("w", parameters, widths.master or widths.weights)
    g = Tensor("gradient", parameters, widths.gradients)
    states = [Tensor(name, parameters, widths.states) for name in "mv"[: STATES[optimizer]]]
    f = adam if optimizer == "adam" else sgd
    cost = trace(f, w, g, *states, stored=widths.weights if widths.master else "")
    return cost, sympy.Add(*(x.nbytes for x in states), w.nbytes if widths.master else 0)
