"""What does a step of training cost, and what must fit into memory beside it?

Forward and backward are traced, layer by layer; then each parameter is updated once. Everything is for one card.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
    gradients, optimizer, activations. kept : the arrays that are the activations, each with how many there are of it.
    working : for each kind of layer that is computed again, how many are, and the arrays of one, which are there while
    it is; of these the largest kind counts, too.
    """

    forward: Cost = field(default_factory=lambda: NOTHING)
    backward: Cost = field(default_factory=lambda: NOTHING)
    update: Cost = field(default_factory=lambda: NOTHING)
    once: sympy.Expr = field(default_factory=lambda: sympy.Integer(0))
    memory: Mapping[str, sympy.Expr] = field(default_factory=dict)
    kept: tuple[tuple[Any, Tensor], ...] = ()
    working: tuple[tuple[Any, tuple[Tensor, ...]], ...] = ()

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

    def shared(self) -> set[int]:
        """Arrays that all parts of a model have in common, as rotations are."""
        return {id(x) for x in leaves(self.kwargs) if isinstance(x, Tensor)}


def training_step(
    name: str, stages: Sequence[Stage], parameters: Any, optimizer: str, widths: Widths, accumulate: Any
) -> Training:
    """A step, from its stages in the order of the forward pass."""
    choose("optimizer", optimizer, STATES)
    forward, backward, once = NOTHING, NOTHING, 0
    kept: list[tuple[Any, Tensor]] = []
    working: list[tuple[Any, tuple[Tensor, ...]]] = []
    together: dict[int, Tensor] = {}
    for stage in stages:
        rest, again = stage.count - stage.again, stage.again
        one = passes(stage.f, *stage.args, **stage.kwargs)
        two = passes(checkpoint(stage.f), *stage.args, **stage.kwargs) if again != 0 else one
        forward = forward + stage.count * one.forward
        backward = _some(rest, one.backward) + _some(again, two.backward) + backward
        once += stage.count * (one.forward.matmul_flops + one.backward.matmul_flops)
        kept += [(count, x) for count, each in ((rest, one), (again, two)) if count != 0 for x in _own(stage, each)]
        working += [(again, _own(stage, one))] if again != 0 else []
        together |= {id(x): x for x in one.saved if id(x) in stage.shared()}
    kept += [(1, x) for x in together.values()]
    most = sympy.Max(0, *(sympy.Add(*(x.nbytes for x in arrays)) for _, arrays in working))
    activations = sympy.Add(*(count * x.nbytes for count, x in kept)) + most
    update, optimizer_bytes = optimizer_step(parameters, optimizer, widths)
    times = size(accumulate, f"{name}: accumulate")
    added = _some(times - 1, trace(_added, *tensors("sum gradient", parameters, widths.gradients)))
    parts = (times * forward, times * backward + added, update)
    memory = {what: parameters * bytes_of(getattr(widths, what)) for what in ("weights", "gradients")}
    memory |= {"optimizer": optimizer_bytes, "activations": activations}
    steps = tuple(step for part in parts for step in part.steps)
    return Training(steps, name, *parts, times * once, memory, tuple(kept), tuple(working))


def _some(count: Any, cost: Cost) -> Cost:
    """A cost so many times, which may be none."""
    many = sympy.sympify(count)  # an open one is no size: it may become 0
    return Cost(tuple(step * many for step in cost.steps), cost.name) if many != 0 else NOTHING


def _own(stage: Stage, each: Passes) -> tuple[Tensor, ...]:
    """What one layer keeps for itself."""
    shared = stage.shared()
    return tuple(x for x in each.saved if id(x) not in shared)


def _added(total: Any, gradient: Any) -> Any:
    """The gradients of one more part of a batch."""
    return total + gradient


def optimizer_step(parameters: Any, optimizer: str, widths: Widths) -> tuple[Cost, sympy.Expr]:
    """What it costs to update so many parameters, and the bytes that are kept for it."""
    w = Tensor("w", parameters, widths.master or widths.weights)
    g = Tensor("gradient", parameters, widths.gradients)
    states = tensors("m, v"[: 3 * STATES[optimizer] - 2], parameters, widths.states) if STATES[optimizer] else ()
    states = states if isinstance(states, tuple) else (states,)
    stored = widths.weights if widths.master else ""
    cost = trace(adam if optimizer == "adam" else sgd, w, g, *states, stored=stored)
    return cost, sympy.Add(*(x.nbytes for x in states), w.nbytes if widths.master else 0)
