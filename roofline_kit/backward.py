"""What does training cost? The reverse pass of an algorithm, derived from it, and written in the same operations.

Backpropagation, as a tiny autograd has it (Karpathy's micrograd): `f` is called with arrays on a tape, which keeps what
was done to them. Then, from the last operation to the first, the gradient of a result becomes the gradients of its
operands, by the operation's derivative, which stands in the table `DERIVATIVES`. An array on a tape may be anything
that the kit computes with, a Tensor too: so a backward pass can be traced, run and timed like any other algorithm.

A fused step keeps only what it read, and computes the rest once more, on chip; `checkpoint` does so step by step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy
from array_api_compat import array_namespace, device

from .cost import Cost
from .names import check_function
from .tape import Tape, Taped, is_array, is_floating, name_of, title
from .tensor import Tensor, leaves, primitive, record, replace_leaves


def backward(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` and the gradients of its result, as one algorithm: the forward pass, and then its steps in reverse.

    It takes what `f` takes, and `gradient`, that of what comes after with respect to the result, in the result's shape.
    A result that is a single number, a loss, needs none; nor does a trace. It returns the result, and a tuple with the
    gradients of each positional argument, in the same lists and dictionaries; None for what is no array, and for an
    array that the result does not depend on. Keyword arguments, and arrays that `f` finds elsewhere, are constants:
    token ids, say, and frozen weights.

    Raises TypeError for what is no function, for integers among the positional arrays, and for a gradient of another
    kind than the result; ValueError for a result that is no single array, or no number where no gradient is given, for
    a gradient of another shape, for a step without a derivative, and where `store` changed what is still needed.

    >>> from roofline_kit import symbols, trace
    >>> N, K, M = symbols("N K M")
    >>> cost = trace(backward(lambda X, W: X @ W), Tensor("X", (N, K)), Tensor("W", (K, M)))
    >>> cost.names(), cost.flops
    (['① X @ W', '② gradient @ W.T', '③ X.T @ gradient'], 6*K*M*N)
    """
    check_function("backward(f)", f)

    @functools.wraps(f)
    def both(*args: Any, gradient: Any = None, **kwargs: Any) -> Any:
        out, inputs = _forward(f, args, kwargs)
        seed = _seed(f, out.value, gradient)
        return out.value, _reverse(out, seed, inputs, args)

    both.__name__ = f"{title(f)} and backward"
    return both


@dataclass(frozen=True)
class Passes:
    """A forward and a backward pass apart: the Cost of each, and the arrays that are kept from one to the other.

    saved : what the backward pass reads and did not make, but for weights and the gradient that it begins with.

    >>> from roofline_kit import exp, symbols
    >>> passes(exp, Tensor("x", symbols("N"))).saved_bytes
    2*N
    """

    forward: Cost
    backward: Cost
    saved: tuple[Tensor, ...]

    @property
    def saved_bytes(self) -> sympy.Expr:
        """Bytes of the arrays that are kept."""
        return sympy.Add(*(x.nbytes for x in self.saved))


def passes(f: Callable[..., Any], *args: Any, gradient: Tensor | None = None, **kwargs: Any) -> Passes:
    """The forward and the backward pass of `f`, traced; args, kwargs and what it raises are those of `backward`.

    Raises TypeError for arrays that are no Tensors, too.

    >>> from roofline_kit import attention, symbols, tensors
    >>> both = passes(attention, *tensors("Q K V", symbols("N h")))
    >>> [x.name for x in both.saved], both.backward.matmul_flops / both.forward.matmul_flops
    (['V', 'softmax(Q @ K.T)', 'K', 'Q'], 2)
    """
    check_function("passes(f, x)", f)
    if not all(isinstance(x, Tensor) for x in leaves(args) if is_array(x)):
        raise TypeError(
            "passes reads Tensors: describe each array by rk.Tensor(name, its shape); backward takes arrays"
        )
    (out, inputs), steps = record(_forward, f, args, kwargs)
    seed = _seed(f, out.value, gradient)
    _, back = record(_reverse, out, seed, inputs, args)
    made = {id(x) for step in back for x in step.writes} | {id(seed.root)}
    read = {id(x.root): x.root for step in back for x in step.reads}
    saved = tuple(x for key, x in read.items() if key not in made and x.role != "weight")
    return Passes(Cost(tuple(steps), title(f)), Cost(tuple(back), f"{title(f)}, backward"), saved)


def checkpoint(f: Callable[..., Any], early_stop: bool = True) -> Callable[..., Any]:
    """`f`, of which a backward pass keeps the inputs only: before its own steps in reverse, it takes them once more.

    early_stop : it takes them up to the last one that is needed, as PyTorch does by default. The last product of most
    layers is not; before a norm, or the weights of experts, it is. False: all of them (PyTorch's reentrant
    checkpoints). Nothing else about `f` changes. Of a fused step, all inputs are taken as needed. Raises TypeError for
    what is no function.

    Chen et al., "Training deep nets with sublinear memory cost", arXiv 1604.06174.

    >>> from roofline_kit import attention, symbols, tensors
    >>> both = passes(checkpoint(attention), *tensors("Q K V", symbols("N h")))
    >>> [x.name for x in both.saved], both.backward.matmul_flops / both.forward.matmul_flops
    (['V', 'Q', 'K'], 5/2)
    """
    check_function("checkpoint(f)", f)

    @functools.wraps(f)
    def again(*args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)

    again.__dict__["again"] = (f, early_stop)
    return primitive(again)


def _forward(f: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Taped, list[Taped]]:
    """The result of `f`, on a tape, and the arrays that are to have a gradient."""
    tape, inputs = Tape(), []

    def watched(x: Any) -> Any:
        if not is_array(x):
            return x
        if not is_floating(x):
            what = f"{name_of(x)} is of {x.dtype}, which has no gradient"
            raise TypeError(f"{what}: give it by keyword, as a constant")
        inputs.append(Taped(tape, x))
        return inputs[-1]

    out = f(*replace_leaves(args, watched), **kwargs)
    if not isinstance(out, Taped):
        what = "several arrays" if isinstance(out, (tuple, list, dict)) else "nothing that depends on its arrays"
        raise ValueError(f"{title(f)} must return one array to have a gradient, and returned {what}")
    return out, inputs


def _reverse(out: Taped, seed: Any, inputs: list[Taped], args: Any) -> Any:
    """The gradients of the inputs, in the place of the arrays that they were."""
    gradients = iter(out.tape.reverse({id(out): seed}, inputs))
    return replace_leaves(args, lambda x: _as_wide(next(gradients), x) if is_array(x) else None)


def _as_wide(g: Any, x: Any) -> Any:
    """A gradient in the dtype of its array; in a trace, in that of what was computed."""
    if g is None or isinstance(g, (Tensor, Taped)) or g.dtype == x.dtype:
        return g
    return array_namespace(g).astype(g, x.dtype)


def _seed(f: Callable[..., Any], y: Any, gradient: Any) -> Any:
    """The gradient that a backward pass begins with: the given one, or 1 for a number."""
    traced = isinstance(_innermost_value(y), Tensor)
    if gradient is not None:
        if not is_array(gradient) or traced != isinstance(_innermost_value(gradient), Tensor):
            kind = "a Tensor" if traced else "an array like the result"
            raise TypeError(f"{title(f)}: the gradient must be {kind}, not {type(gradient).__name__}")
        if not traced and array_namespace(gradient) is not array_namespace(y):
            raise TypeError(
                f"{title(f)}: the gradient is a {type(gradient).__name__}, and the result is of another library"
            )
        if not is_floating(gradient):
            raise TypeError(f"{title(f)}: the gradient is of {gradient.dtype}, which no gradient can be")
        if tuple(gradient.shape) != tuple(y.shape):
            raise ValueError(
                f"{title(f)}: a gradient of {tuple(gradient.shape)} is not of the result's {tuple(y.shape)}"
            )
        return gradient
    if traced:
        return Tensor("gradient", y.shape, y.dtype, visible=y.visible)
    if tuple(y.shape) != ():
        raise ValueError(
            f"{title(f)} returns an array of {tuple(y.shape)}, and only a number has a gradient by itself: return a "
            "loss, such as its sum, or give the array's own as gradient=…, in that shape"
        )
    return array_namespace(y).ones((), dtype=y.dtype, device=device(y))


def _innermost_value(x: Any) -> Any:
    """The array that is on a tape, or on a tape that is on a tape."""
    return _innermost_value(x.value) if isinstance(x, Taped) else x
