"""What is the derivative of each operation? A table: of every operand, the gradient, written in the same operations.

A row has a function for each operand. It takes g, the gradient of the operation's result y, then y and the operands,
as they stand on the tape: `.value` is the array, which may have to be computed for it; `.shape` costs nothing. It gives
the operand's gradient in the shape of y, or of the operand: `sum_to` sums it over what was broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from inspect import unwrap
from typing import Any

import sympy
from array_api_compat import array_namespace, device

from . import ops
from .decoder import scaled_sum
from .experts import expert_product
from .sizes import same_size
from .tensor import (
    Tensor,
    discrete,
    elementwise,
    fuse,
    matmul,
    primitive,
    reduction,
    replace_leaves,
    result_of,
    tracing,
)

# --- operations that only a backward pass needs ---------------------------------------------------------


def sum_to(g: Any, shape: tuple[Any, ...]) -> Any:
    """A gradient, summed over the dimensions along which an operand of this shape was broadcast."""
    masked = isinstance(g, Tensor) and g.visible is not None
    while masked and len(g.shape) > max(len(shape), 2):  # masked scores cannot be reshaped
        g = reduction("sum", g, 0)
    if masked and len(shape) < 2:
        g, masked = _column_sum(g).reshape(g.shape[-1]), False
    if len(g.shape) > len(shape):
        g = reduction("sum", g.reshape(-1, *g.shape[len(g.shape) - len(shape) :]), 0)
    for axis, n in enumerate(shape):
        if n == 1 and g.shape[axis] != 1:
            g = _column_sum(g) if masked and axis == len(shape) - 2 else reduction("sum", g, axis, True)
    return g


def _column_sum(g: Any) -> Any:
    """Of masked scores, the sum of each column over the queries that see it, as of a bias that all queries share."""
    shape = (*g.shape[:-2], 1, g.shape[-1])
    return result_of("sum", (g,), shape, g.size)


@primitive
def broadcast(x: Any, shape: Any, visible: Any = None) -> Any:
    """x in a larger shape, in which it stands many times; a free view."""
    if isinstance(x, Tensor):
        view = x.repeated(tuple(shape))
        return view if visible is None else replace(view, visible=visible)
    return array_namespace(x).broadcast_to(x, tuple(shape))


@primitive
def reshape(x: Any, shape: Any) -> Any:
    """A view."""
    return x.reshape(tuple(shape))


@primitive
def swapaxes(x: Any, a: int, b: int) -> Any:
    """A view."""
    return x.swapaxes(a, b)


@primitive
def transposed(x: Any) -> Any:
    """A view."""
    return x.mT


@primitive
def part(x: Any, index: Any) -> Any:
    """A slice."""
    return x[index]


@primitive
def placed(x: Any, shape: Any, index: Any) -> Any:
    """An array of zeros but for x, which stands at the slices `index`; 0 FLOPs."""
    if isinstance(x, Tensor):
        whole = all(map(same_size, x.shape, map(sympy.sympify, shape)))
        return x if whole else result_of("placed", (x,), shape, 0)
    out = array_namespace(x).zeros(tuple(shape), dtype=x.dtype, device=device(x))
    out[index] = x
    return out


@primitive
def rows_added(x: Any, indices: Any, rows: Any, flops: int = 1) -> Any:
    """The reverse of `take`: rows x (..., n, m) added up at their indices (..., n) of a table (..., rows, m).

    1 FLOP per element of x; 0 where what makes x adds it up, as the groups of a product do.
    """
    if tracing("rows_added", x, indices):
        return result_of("rows_added", (x, indices), (*x.shape[:-2], rows, x.shape[-1]), flops * x.size)
    xp, (*lead, n, m) = array_namespace(x), x.shape
    tables = xp.arange(math.prod(lead), device=device(x))
    places = (tables[:, None] * rows + indices.reshape(len(tables), n) % rows).reshape(-1)  # from the end, if negative
    out = xp.zeros((len(tables) * rows, m), dtype=x.dtype, device=device(x))
    if hasattr(out, "index_add_"):
        out.index_add_(0, places, x.reshape(-1, m))
    else:
        xp.add.at(out, places, x.reshape(-1, m))
    return out.reshape(*lead, rows, m)


@primitive
def windows_added(x: Any, rows: Any, stride: Any, start: Any) -> Any:
    """The reverse of `windows`: x (..., count, length, m) added up over rows (..., rows, m); 1 FLOP per element."""
    *lead, count, length, m = x.shape
    if tracing("windows_added", x):
        return result_of("windows_added", (x,), (*lead, rows, m), x.size)
    xp = array_namespace(x)
    places = [start + i * stride + j for i in range(count) for j in range(length)]
    places = [row if 0 <= row < rows else rows for row in places]  # a last row for what sticks out
    where = xp.broadcast_to(xp.asarray(places, device=device(x)), (*lead, count * length))
    return rows_added(x.reshape(*lead, count * length, m), where, rows + 1)[..., :rows, :]


@discrete
def same(a: Any, b: Any) -> Any:
    """1 where two arrays agree, and 0 elsewhere; 1 FLOP per element."""
    if tracing("same", a, b):
        return elementwise("equal", a, b)
    return array_namespace(a, b).astype(a == b, a.dtype)


# --- derivatives that take several of them, each one step -------------------------------------------------


@fuse
def tanh_backward(g: Any, y: Any) -> Any:
    """y = tanh(x): 1 - y²."""
    return g * (1 - y * y)


@fuse
def sqrt_backward(g: Any, y: Any) -> Any:
    """y = √x: 1/2y."""
    return g / (2 * y)


@fuse
def quotient_backward(g: Any, y: Any, b: Any) -> Any:
    """y = a/b, by b: -y/b."""
    return -(g * y / b)


@fuse
def where_same(g: Any, x: Any, y: Any) -> Any:
    """What was clipped, and so changed, has none."""
    return g * same(x, y)


@fuse
def max_backward(g: Any, x: Any, y: Any, axis: int) -> Any:
    """Equal largest elements share the gradient."""
    largest = same(x, y)
    return g * largest / reduction("sum", largest, axis, True)


@fuse
def relu_backward(g: Any, y: Any) -> Any:
    """From the result alone: 1 where it is positive."""
    return g * elementwise("sign", y)


@fuse
def softmax_backward(g: Any, P: Any, axis: int) -> Any:
    """P·(g - Σ P·g), from the weights P alone: the scores need not be kept. 4 FLOPs per element."""
    return P * (g - reduction("sum", P * g, axis, True))


@fuse
def sinks_backward(g: Any, P: Any, axis: int) -> Any:
    """A sink has the weight 1 - Σ P, which nobody reads: what it gets, all others lose."""
    return -((1 - reduction("sum", P, axis, True)) * reduction("sum", P * g, axis, True))


@fuse
def expert_weights_backward(g: Any, X: Any, chosen: Any, shape: Any) -> Any:
    """Each expert's matrix: its tokens' rows of X times their gradients, added up within the product."""
    E, n, m = shape
    outer = X.reshape(*X.shape[:-1], n, 1) @ g.reshape(*g.shape[:-1], 1, m)
    added = rows_added(outer.reshape(-1, n * m), chosen.reshape(-1), E, 0)
    return added.reshape(E, n, m)


# --- products, sums and parts -----------------------------------------------------------------------------


def _matrices(g: Any, a: Any, b: Any) -> tuple[Any, Any, Any]:
    """The gradient and the operands of a product as matrices, where some are vectors. a, b : shapes."""
    row, column = (1,) if len(a) == 1 else (), (1,) if len(b) == 1 else ()
    lead = g.shape[: len(g.shape) - (len(a) > 1) - (len(b) > 1)]
    return g.reshape((*lead, *(row or a[-2:-1]), *(column or b[-1:]))), (*row, *a), (*b, *column)


def left_factor(g: Any, y: Any, a: Any, b: Any, mask: Any) -> Any:
    """Of a @ b, the gradient of a: g @ bᵀ, and of what a mask hides nothing."""
    g = ops.hide(g, mask.value, 0.0)
    if len(a.shape) == 1 or len(b.shape) == 1:
        g, _, shape = _matrices(g, a.shape, b.shape)
        product = g @ b.value.reshape(*shape).mT
        return sum_to(product, (1,) * (len(a.shape) == 1) + tuple(a.shape)).reshape(tuple(a.shape))
    return _as_seen(g, b.value.mT, a)


def _as_seen(g: Any, b: Any, like: Any) -> Any:
    """g @ b, of which no more is computed than `like`, which may be masked scores, has."""
    if not isinstance(g, Tensor) or like.visible is None:
        return g @ b
    flops = 2 * g.shape[-1] * sympy.Mul(*like.shape[:-2], like.visible)
    return result_of("@", (g, b), like.shape, flops, matmul_flops=flops, visible=like.visible)


def right_factor(g: Any, y: Any, a: Any, b: Any, mask: Any) -> Any:
    """Of a @ b, the gradient of b: aᵀ @ g; one product for all rows that meet the same matrix."""
    g = ops.hide(g, mask.value, 0.0)
    if len(a.shape) == 1 or len(b.shape) == 1:
        g, shape, of_b = _matrices(g, a.shape, b.shape)
        return sum_to(a.value.reshape(*shape).mT @ g, of_b).reshape(tuple(b.shape))
    x = a.value
    if y.visible is not None:  # masked scores stand on the left
        return (g.mT @ x).mT
    if len(b.shape) == 2 and len(a.shape) > 2 and a.visible is None:
        x, g = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
    return x.mT @ g


def summed(g: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Each term of a sum gets its gradient."""
    return broadcast(_with_axis(g, x, axis, keepdims), x.shape, x.visible)


def largest(g: Any, y: Any, x: Any, axis: Any, keepdims: Any) -> Any:
    """The largest element gets the gradient."""
    along = _plain(axis)
    g, most = (_with_axis(value, x, along, keepdims.value) for value in (g, y.value))
    if along is None:
        flat = max_backward(g.reshape(1), x.value.reshape(-1), most.reshape(1), 0)
        return flat.reshape(tuple(x.shape))
    return max_backward(g, x.value, most, along)


def _with_axis(g: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """What was reduced along an axis, with a dimension of 1 in its place."""
    if keepdims:
        return g
    shape = [1] * len(x.shape) if axis is None else list(x.shape)
    for one in () if axis is None else axis if isinstance(axis, tuple) else (axis,):
        shape[one] = 1
    return g.reshape(tuple(shape))


def pieces(g: Any, y: Any, arrays: Any, axis: Any) -> list[Any]:
    """Each of several arrays that were joined gets its part."""
    at, found, start = axis.value % len(g.shape), [], 0
    for x in arrays:
        stop = start + x.shape[at]
        found.append(g[(slice(None),) * at + (slice(start, stop),)])
        start = stop
    return found


def taken(g: Any, y: Any, x: Any, indices: Any, distinct: Any) -> Any:
    """Rows of a table that were taken: the gradient of each is added to its row."""
    lead, places = x.shape[:-2], indices.value
    return rows_added(g.reshape(*lead, -1, g.shape[-1]), places.reshape(*lead, -1), x.shape[-2])


def rows_kept(g: Any, y: Any, x: Any, into: Any) -> Any:
    """Of an array whose last rows were overwritten, the others."""
    left = into.shape[-2] - x.shape[-2]
    rows = (..., slice(0, left), slice(None))
    return g * 0 if left == 0 else placed(g[rows], into.shape, rows)


def _plain(index: Any) -> Any:
    """Slices, as they were before they stood on a tape."""
    return replace_leaves(index, lambda x: x.value)


def _cast(g: Any, x: Any) -> Any:
    """A gradient in the dtype of an array."""
    return ops.astype(g, x.dtype) if isinstance(g, Tensor) else array_namespace(g).astype(g, x.dtype)


DERIVATIVES: dict[Any, tuple[Callable[..., Any] | None, ...]] = {
    "+": (lambda g, y, a, b: g, lambda g, y, a, b: g),
    "-": (lambda g, y, a, b: g, lambda g, y, a, b: -g),
    "*": (lambda g, y, a, b: g * b.value, lambda g, y, a, b: g * a.value),
    "/": (lambda g, y, a, b: g / b.value, lambda g, y, a, b: quotient_backward(g, y.value, b.value)),
    "neg": (lambda g, y, x: -g,),
    "exp": (lambda g, y, x: g * y.value,),
    "log": (lambda g, y, x: g / x.value,),
    "tanh": (lambda g, y, x: tanh_backward(g, y.value),),
    "sqrt": (lambda g, y, x: sqrt_backward(g, y.value),),
    "clip": (lambda g, y, x, low, high: where_same(g, x.value, y.value),),
    "sum": (lambda g, y, x, axis, keepdims: summed(g, y, x, _plain(axis), keepdims.value),),
    "max": (largest,),
    unwrap(ops.relu): (lambda g, y, x: relu_backward(g, y.value),),
    unwrap(ops.softmax): (
        lambda g, y, x, axis, sinks: softmax_backward(g, y.value, axis.value), None,
        lambda g, y, x, axis, sinks: sinks_backward(g, y.value, axis.value),
    ),
    unwrap(scaled_sum): (lambda g, y, X, new, scale: g, lambda g, y, X, new, scale: g * scale.value),
    unwrap(ops.hide): (lambda g, y, x, mask, value: ops.hide(g, mask.value, 0.0),),
    unwrap(matmul): (left_factor, right_factor),
    unwrap(reshape): (lambda g, y, x, shape: g.reshape(tuple(x.shape)),),
    unwrap(swapaxes): (lambda g, y, x, a, b: g.swapaxes(a.value, b.value),),
    unwrap(transposed): (lambda g, y, x: g.mT,),
    unwrap(broadcast): (lambda g, y, x, shape, visible: g,),
    unwrap(part): (lambda g, y, x, index: placed(g, x.shape, _plain(index)),),
    unwrap(placed): (lambda g, y, x, shape, index: g[_plain(index)],),
    unwrap(ops.concatenate): (pieces,),
    unwrap(ops.flip): (lambda g, y, x, axis: ops.flip(g, axis.value),),
    unwrap(ops._windows): (
        lambda g, y, x, length, stride, start, *more: windows_added(g, x.shape[-2], stride.value, start.value),
    ),
    unwrap(ops.take): (taken,),
    unwrap(rows_added): (lambda g, y, x, indices, rows, flops: ops.take(g, indices.value),),
    unwrap(ops.astype): (lambda g, y, x, dtype: None if "int" in str(dtype.value) else _cast(g, x.value),),
    unwrap(ops.widened): (lambda g, y, x, dtype: g,),
    unwrap(ops.store): (
        lambda g, y, x, into: g[..., into.shape[-2] - x.shape[-2] :, :],
        rows_kept,
    ),
    unwrap(expert_product): (
        lambda g, y, X, W, b, chosen, awake: expert_product(g, W.value.mT, None, chosen.value, awake.value),
        lambda g, y, X, W, b, chosen, awake: expert_weights_backward(g, X.value, chosen.value, W.shape),
        lambda g, y, X, W, b, chosen, awake: taken(g, y, b, chosen, awake),
    ),
}  # fmt: skip
"""For each operation, by its name or its function, a function for each operand that can have a gradient."""
