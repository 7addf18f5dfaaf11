"""Which operations are there, and what does each cost? They trace Tensors and compute with arrays.

Each is one step and documents its FLOPs by an example that runs. What `+`, `*`, `@` and fused steps are stands with the
Tensor, in `tensor.py`; `max` and `sum` are the kit's here, not Python's.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import sympy
from array_api_compat import array_namespace, device

from .masks import Causal
from .names import choose, shown
from .sizes import BITS, LIBRARY_NAMES, as_exact, check_shape, same_size, size
from .tensor import (
    Step,
    Tensor,
    axis_of,
    discrete,
    elementwise,
    fuse,
    mean,
    note_step,
    primitive,
    reduction,
    result_of,
    tracing,
)


def exp(x: Any) -> Any:
    """e to the power of each element; 1 FLOP per element.

    >>> from roofline_kit import symbols
    >>> exp(Tensor("x", symbols("N"))).step.flops
    N
    """
    return elementwise("exp", x)


def log(x: Any) -> Any:
    """Natural logarithm; 1 FLOP per element.

    >>> from roofline_kit import symbols
    >>> log(Tensor("x", symbols("N"))).step.flops
    N
    """
    return elementwise("log", x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent; 1 FLOP per element.

    >>> from roofline_kit import symbols
    >>> tanh(Tensor("x", symbols("N"))).step.flops
    N
    """
    return elementwise("tanh", x)


def sqrt(x: Any) -> Any:
    """Square root; 1 FLOP per element.

    >>> from roofline_kit import symbols
    >>> sqrt(Tensor("x", symbols("N"))).step.flops
    N
    """
    return elementwise("sqrt", x)


def sum(x: Any, axis: int | None = -1, keepdims: bool = False) -> Any:
    """Sum along one axis, or of all elements with axis=None; a sum of n terms is n FLOPs.

    >>> from roofline_kit import symbols
    >>> N, h = symbols("N h")
    >>> sum(Tensor("x", (N, h))).step.flops
    N*h
    """
    return reduction("sum", x, axis, keepdims)


def max(x: Any, axis: int | None = -1, keepdims: bool = False) -> Any:
    """Largest element along one axis, or of all with axis=None; 1 operation per element.

    >>> from roofline_kit import symbols
    >>> N, h = symbols("N h")
    >>> max(Tensor("x", (N, h))).step.flops
    N*h
    """
    return reduction("max", x, axis, keepdims)


@primitive
def flip(x: Any, axis: int) -> Any:
    """The elements in reverse order along one axis, a free view.

    >>> flip(Tensor("x", (2, 3)), axis=0).array
    x: fp16 (2, 3)
    """
    if not tracing("flip", x):
        return array_namespace(x).flip(x, axis=axis)
    from_end, view = axis_of(x, axis) - x.ndim, x.view(x.shape, ".flip")
    return view if from_end < -2 else view.turned(f"flip({from_end})")


@fuse
def concatenate(arrays: Any, axis: int = 0) -> Any:
    """Arrays one after the other along an axis, as one array in memory: they are read and written, 0 FLOPs.

    arrays : in a tuple or list, of shapes that are the same but for that axis. As NumPy's.

    Raises TypeError where they are not in a tuple, ValueError with the shapes where these do not fit.

    >>> from roofline_kit import symbols
    >>> N, h = symbols("N h")
    >>> both = concatenate((Tensor("a", (N, h)), Tensor("b", (1, h))))
    >>> both, both.step.flops, both.step.stores
    (concatenate(a, b): fp16 (N + 1, h), 0, 2*h*(N + 1))
    """
    if not isinstance(arrays, (tuple, list)) or not arrays:
        raise TypeError(f"concatenate takes arrays in a tuple, as in rk.concatenate((a, b)), and not {shown(arrays)}")
    if not tracing("concatenate", *arrays):
        return array_namespace(*arrays).concat(list(arrays), axis=axis)
    parts = [x for x in arrays if isinstance(x, Tensor) and x.visible is None]
    if len(parts) < len(arrays):
        raise TypeError(f"concatenate takes arrays without a mask, and neither numbers nor masked scores: {arrays}")
    at = axis_of(parts[0], axis)
    others = {x.shape[:at] + x.shape[at + 1 :] for x in parts}
    if len(others) > 1 or len({x.ndim for x in parts}) > 1:
        raise ValueError(f"concatenate along axis {axis}: all other sizes must be the same, not those of {parts}")
    total = sympy.Add(*(x.shape[at] for x in parts))
    return result_of("concatenate", tuple(parts), (*parts[0].shape[:at], total, *parts[0].shape[at + 1 :]), 0)


def windows(x: Any, length: Any, stride: Any, start: Any = 0, count: Any = None) -> Any:
    """Overlapping windows over the rows of x, a free view; where a window sticks out, it sees zeros.

    x : (..., n, m). The result is (..., count, length, m): window i holds the rows from
    start + i·stride on. count : how many; by default all that fit. A step reads all of x, also what no window shows.
    With pairs, as in length=(3, 3), windows over rows and columns: (..., *count, *length), as a convolution sees them.

    Raises ValueError for windows with gaps between them, and where none fits.

    >>> windows(Tensor("x", (12, 5)), length=4, stride=2)
    x.windows: fp16 (5, 4, 5)
    >>> windows(Tensor("x", (12, 5)), length=(3, 3), stride=1)
    x.windows: fp16 (10, 3, 3, 3)
    """
    if len(x.shape) < 2:
        raise ValueError(f"windows are cut out of rows and columns, not of {tuple(x.shape)}; reshape(-1, 1) makes rows")
    if not isinstance(length, tuple):
        return _windows(x, length, stride, start, count, "rows")
    pairs = [value if isinstance(value, tuple) else (value, value) for value in (length, stride, start, count)]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"windows over rows and columns take pairs, not {tuple(p for p in pairs if len(p) != 2)}")
    (a, b), (down, right), (top, left), (rows, columns) = pairs
    by_rows = _windows(x, a, down, top, rows, "rows")
    both = _windows(by_rows.mT, b, right, left, columns, "columns").mT
    return replace(both, name=f"{x.name}.windows") if isinstance(both, Tensor) else both


@primitive
def _windows(x: Any, length: Any, stride: Any, start: Any, count: Any, along: str) -> Any:
    """Windows over the last dimension but one, which is called `along` in errors."""
    n = x.shape[-2]
    long, apart = size(length, "the length of windows"), size(stride, "the stride of windows")
    fit = sympy.floor((n - as_exact(start, "the start of windows") - long) / apart) + 1
    count = size(fit if count is None else count, f"the number of windows of {length} in {n} {along} from {start} on")
    if (long - apart).is_negative:
        raise ValueError(f"windows of length {length} that begin every {stride} {along} leave {along} out")
    if tracing("windows", x):
        shape = (*x.shape[:-2], count, length, x.shape[-1])
        return Tensor(f"{x.name}.windows", shape, x.dtype, x.array)  # of masked scores, the hidden ones are zeros there
    xp = array_namespace(x)
    rows = [start + i * stride + j for i in range(int(count)) for j in range(length)]
    inside = xp.asarray([[0 <= row < n] for row in rows], device=device(x))
    found = xp.take(x, xp.asarray([row if 0 <= row < n else 0 for row in rows], device=device(x)), axis=-2)
    return xp.where(inside, found, xp.zeros_like(found)).reshape(*x.shape[:-2], int(count), length, x.shape[-1])


@primitive
def take(x: Any, indices: Any, distinct: Any = None) -> Any:
    """The rows of x at these indices; 0 FLOPs, and each index reads its row.

    x : (..., rows, m). indices : integers (..., more) with the same leading dimensions, or a flat table's
    (more). Returns (..., more, m). An embedding is take(table, token ids).
    distinct : where a row that is asked for twice is read once, how many different ones are asked for: a size, or an
    exact expression that need not be whole, such as an expectation. Arrays have the rows that they have.

    Raises ValueError where the shapes do not fit, and for more distinct rows than there are or are asked for; TypeError
    for indices that are no integers.

    >>> from roofline_kit import symbols
    >>> N, h = symbols("N h")
    >>> take(Tensor("E", (32000, h)), Tensor("tokens", N, "int64")).step.loads
    2*N*h + 8*N
    >>> take(Tensor("E", (32000, h)), Tensor("tokens", 100, "int64"), distinct=80).step.loads
    160*h + 800
    """
    _refuse_masked("take", x)
    lead = x.shape[:-2]
    given = tuple(indices.shape[: len(lead)])
    alike = all(map(same_size, map(sympy.sympify, given), map(sympy.sympify, lead)))
    if len(x.shape) < 2 or len(given) < len(lead) or not alike:
        raise ValueError(f"take: the indices {tuple(indices.shape)} must begin with {lead}, as {tuple(x.shape)} does")
    if tracing("take", x, indices):
        if not indices.dtype.startswith("int"):
            raise TypeError(f"take: the indices {indices} must be integers")
        shape = (*indices.shape, x.shape[-1])
        rows, room = Tensor(f"{x.name}[{indices.name}]", shape, x.dtype, whole=x.root, cut=(indices,)), ()
        if distinct is not None:
            exact, room = _distinct_rows(distinct, x.shape[-2], sympy.Mul(*indices.shape[len(lead) :]))
            rows = replace(rows, shape=x.shape, visible=exact * x.shape[-1])
        return result_of("take", (x, indices), shape, 0, reads=[indices.array, rows], dtype=x.dtype, sizes=room)
    gather = _each_row if distinct is None else _each_row_once
    return gather(x, indices.reshape(*lead, -1, 1)).reshape(*indices.shape, x.shape[-1])


def _refuse_masked(operation: str, *arrays: Any) -> None:
    """Raises TypeError for masked scores, of whose rows only some elements are in memory."""
    for x in arrays:
        if getattr(x, "visible", None) is not None:
            raise TypeError(f"{operation} takes arrays without a mask, and not the masked scores {x}")


def _distinct_rows(distinct: Any, rows: Any, asked: Any) -> tuple[sympy.Expr, tuple[Any, ...]]:
    """`distinct` as an exact number, and what must be positive for it to be right, once open sizes have numbers."""
    exact = as_exact(distinct, "take: distinct")
    whole = exact.is_integer or exact.has(sympy.Float)
    least = size(distinct if whole else sympy.ceiling(exact), "take: distinct")  # an expectation need not be whole
    for most, which in ((rows, "there are"), (asked, "are asked for")):
        if (most - exact).is_negative:
            raise ValueError(f"take: {distinct} distinct rows are more than the {most} that {which}")
    return exact, (least, rows - exact + 1, asked - exact + 1) if whole else (least,)


def _each_row(x: Any, indices: Any) -> Any:
    return array_namespace(x, indices).take_along_axis(x, indices, axis=-2)


@fuse
def _each_row_once(x: Any, indices: Any) -> Any:
    """The same on arrays; a step of its own, so that one who counts what it reads can see that it shares rows."""
    return _each_row(x, indices)


@primitive
def astype(x: Any, dtype: str) -> Any:
    """The elements in another dtype; 0 FLOPs, as loads and stores convert on the way.

    dtype : as the kit calls it. Raises ValueError where arrays have none of that name: no library has int4, say.

    >>> from roofline_kit import fuse, take
    >>> table, ids = Tensor("E", (1000, 128), "int4"), Tensor("tokens", (8,), "int64")
    >>> fuse(lambda table, ids: astype(take(table, ids), "fp16"))(table, ids).step.amounts["memory"]
    2640
    """
    dtype = choose("dtype", dtype, BITS)
    if tracing("astype", x):
        return result_of("astype", (x,), x.shape, 0, dtype=dtype, visible=x.visible)
    xp, title = array_namespace(x), LIBRARY_NAMES.get(dtype, dtype)
    if not hasattr(xp, title):
        raise ValueError(f"astype: arrays of {type(x).__module__.partition('.')[0]} have no dtype {dtype}")
    return xp.astype(x, getattr(xp, title))


@primitive
def widened(x: Any, dtype: Any) -> Any:
    """What is stored narrower than it is computed with, on its way there, where a dtype is the kit's: not of arrays."""
    return astype(x, dtype) if isinstance(dtype, str) else x


@discrete
def top(x: Any, n: Any) -> Any:
    """Indices of the n largest elements along the last axis; as for `max`, 1 operation per element.

    Raises ValueError where there are fewer than n.

    >>> top(Tensor("x", (3, 100)), 16)
    top(x, 16): int64 (3, 16)
    """
    if len(x.shape) < 1:
        raise ValueError("top: a single number has no largest elements")
    if (x.shape[-1] - size(n, "top: the number")).is_negative:
        raise ValueError(f"top: {n} is more than the {x.shape[-1]} elements of a row of {tuple(x.shape)}")
    if not tracing("top", x):
        return array_namespace(x).argsort(x, axis=-1, descending=True, stable=True)[..., :n]
    return result_of("top", (x, n), (*x.shape[:-1], n), x.size, dtype="int64", sizes=(x.shape[-1] - n + 1,))


@primitive
def store(x: Any, into: Any) -> Any:
    """x written over the last rows of the array `into`, which is returned: a KV cache takes a token in.

    x : (..., n, m). into : (..., N, m), which has room for them. It is changed in place.

    >>> cache, k = Tensor("K", (100, 64)), Tensor("k", (1, 64))
    >>> store(k, into=cache) is cache
    True
    """
    same_rows = (*x.shape[:-2], *x.shape[-1:]) == (*into.shape[:-2], *into.shape[-1:]) and len(x.shape) > 1
    if not same_rows or sympy.sympify(into.shape[-2] - x.shape[-2]).is_extended_negative:
        raise ValueError(f"store: {tuple(x.shape)} does not fit into {tuple(into.shape)}")
    _refuse_masked("store", x, into)
    part = into[..., into.shape[-2] - x.shape[-2] :, :]
    if tracing("store", x, into):
        zero, sizes = (
            sympy.Integer(0),
            frozenset((*x.shape, *x.array.shape, *into.shape, into.shape[-2] - x.shape[-2] + 1)),
        )
        note_step(Step("store", (x, part), (x.array,), (part,), zero, zero, sizes))
    else:
        part[...] = x
    return into


@discrete
def highest(x: Any, axis: int, sinks: Any = None) -> Any:
    """The maximum along `axis`, a sink's value included. What is taken off before exp keeps that from overflowing and
    changes no result; the lecture counts neither the pass for it nor the subtraction: 0 FLOPs."""
    if tracing("softmax", x):
        axis = axis_of(x, axis)
        return result_of("max", (x,), (*x.shape[:axis], 1, *x.shape[axis + 1 :]), 0)
    most = max(x, axis, keepdims=True)
    return most if sinks is None else array_namespace(x).maximum(most, sinks)


def lowered(x: Any, most: Any) -> Any:
    """x - `highest`, which is not counted, either."""
    return elementwise("-", x, most, flops=0)


@fuse
def softmax(x: Any, axis: int = -1, sinks: Any = None) -> Any:
    """exp(x) / sum(exp(x)) along one axis, as one step; 3 FLOPs per element [attn-flops-softmax].

    sinks : numbers that broadcast to one for each row, whose exp is added to the sum: a row's weights are less than 1
    together then, and it costs 2 FLOPs more (gpt-oss; Xiao et al., "StreamingLLM", arXiv 2309.17453). None for none.

    Counted, as in the lecture: one exp, one add, one division. Not counted: the maximum that is
    subtracted first for safety.

    >>> from roofline_kit import symbols
    >>> N = symbols("N")
    >>> softmax(Tensor("S", (N, N))).step.flops
    3*N**2
    >>> softmax(Tensor("S", (N, N)), sinks=Tensor("sinks", (1, 1))).step.flops
    3*N**2 + 2*N
    """
    most = highest(x, axis, sinks)
    e = exp(lowered(x, most))
    total = sum(e, axis, keepdims=True)
    if sinks is not None:
        total, rows = total + exp(lowered(sinks, most)), list(x.shape)
        rows[axis] = 1
        check_shape("softmax: a sum for each row, with these sinks,", tuple(total.shape), tuple(rows))
    return e / total


@fuse
def hide(x: Any, mask: Any, value: float) -> Any:
    """Scores or weights on arrays, with a value where a mask hides them; masked Tensors have none there: 0 FLOPs.

    mask : a `Causal`, or an array of bools that is True for what is seen; None hides nothing.

    >>> hide(Tensor("S", (3, 3)), Causal(), 0.0)
    S: fp16 (3, 3)
    """
    if mask is None or isinstance(x, Tensor):
        return x
    xp = array_namespace(x)
    seen = xp.asarray(mask.seen(*x.shape[-2:]), device=device(x)) if isinstance(mask, Causal) else mask
    return xp.where(seen, x, xp.full_like(x, value))


@fuse
def relu(x: Any) -> Any:
    """max(x, 0); 1 FLOP per element.

    >>> from roofline_kit import symbols
    >>> relu(Tensor("x", symbols("N"))).step.flops
    N
    """
    return elementwise("maximum", x, 0 if tracing("relu", x) else array_namespace(x).zeros_like(x))


@fuse
def squared_relu(x: Any) -> Any:
    """relu(x)² as one step; 2 FLOPs per element. So et al., "Primer", arXiv 2109.08668.

    >>> from roofline_kit import symbols
    >>> squared_relu(Tensor("x", symbols("N"))).step.flops
    2*N
    """
    kept = relu(x)
    return kept * kept


@fuse
def silu(x: Any) -> Any:
    """x / (1 + exp(-x)), also called swish, as one step; 4 FLOPs per element.

    >>> from roofline_kit import symbols
    >>> silu(Tensor("x", symbols("N"))).step.flops
    4*N
    """
    return x / (1 + exp(-x))


@fuse
def gelu(x: Any) -> Any:
    """x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))) as one step; 9 FLOPs per element.

    The tanh form of Hendrycks and Gimpel (arXiv 1606.08415), which GPT-2 uses.

    >>> from roofline_kit import symbols
    >>> gelu(Tensor("x", symbols("N"))).step.flops
    9*N
    """
    return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))


@fuse
def layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """(x - mean) / √(variance + eps) · weight + bias over the last axis, as one step.

    x : (..., n). weight, bias : (n,) or None. 7n + 4 FLOPs for each row of n with both of them
    (Ba, Kiros and Hinton, arXiv 1607.06450).

    >>> from roofline_kit import symbols, tensors
    >>> N, h = symbols("N h")
    >>> layer_norm(Tensor("x", (N, h)), *tensors("w b", h)).step.flops.expand()
    7*N*h + 4*N
    """
    x = x - mean(x, keepdims=True)
    return _affine(x / sqrt(mean(x * x, keepdims=True) + eps), weight, bias)


@fuse
def rms_norm(x: Any, weight: Any = None, eps: float = 1e-6) -> Any:
    """x / √(mean(x²) + eps) · weight over the last axis, as one step.

    x : (..., n). weight : (n,) or None. 4n + 3 FLOPs for each row of n with a weight
    (Zhang and Sennrich, arXiv 1910.07467).

    >>> from roofline_kit import symbols
    >>> N, h = symbols("N h")
    >>> rms_norm(Tensor("x", (N, h)), Tensor("w", h)).step.flops.expand()
    4*N*h + 3*N
    """
    return _affine(x / sqrt(mean(x * x, keepdims=True) + eps), weight, None)


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias
