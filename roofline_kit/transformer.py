"""The transformer as array algorithms: each function can be traced, run and timed.

Nothing here knows a formula. The functions say what is computed, in the notation of the lecture, and
`trace` reads off what it costs. A weight is a matrix W, or a pair (W, b) with a bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import sympy

from .masks import Causal, mask_of
from .names import choose, flag
from .ops import concatenate, flip, gelu, hide, layer_norm, relu, rms_norm, silu, softmax, squared_relu, store, tanh
from .sizes import check_shape, same_size, size
from .tensor import fuse, matmul

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "gelu": gelu, "relu": relu, "silu": silu, "squared_relu": squared_relu,
}  # fmt: skip


def attention(
    Q: Any, K: Any, V: Any, mask: Causal | None = None, *, cap: float | None = None, bias: Any = None, sinks: Any = None
) -> Any:
    """The lecture's Algorithm 0, standard attention: every intermediate goes to memory and back.

    Q : (..., N, h), K : (..., T, h), V : (..., T, d); for self-attention of the lecture all have the same
    shape. Returns (..., N, d). mask : which keys a query sees, `Causal()` for those up to its own; None,
    as in the lecture, for all. Scores are not scaled: a scale of 1/√h belongs into Q.

    What some models add to it: cap, which no score exceeds, as `capped` has it (Gemma 2); bias (..., 1, T), added to
    the scores of each query (ALiBi: `alibi`); sinks (..., 1, 1), as `softmax` takes them (gpt-oss).

    Raises ValueError where the shapes do not match.

    >>> from roofline_kit import symbols, tensors, trace
    >>> N, h = symbols("N h")
    >>> trace(attention, *tensors("Q K V", (N, h))).intensity
    N*(4*h + 3)/(8*(N + h))
    """
    S = matmul(Q, K.mT, mask)
    if cap is not None:
        S = hide(capped(S, cap), mask, -math.inf)
    if bias is not None:
        S = _like(S, S + bias)
    P = softmax(S, sinks=sinks)
    return P @ V


def _like(S: Any, scores: Any) -> Any:
    """The scores S with a bias added, which must not make more of them."""
    check_shape("attention: what a bias makes of the scores", tuple(scores.shape), tuple(S.shape))
    return scores


@fuse
def capped(S: Any, cap: float) -> Any:
    """cap·tanh(S/cap): numbers between -cap and cap, and small ones as they are; 3 FLOPs per element.

    "Gemma 2", arXiv 2408.00118, section 2.

    >>> from roofline_kit import Tensor
    >>> capped(Tensor("S", (10, 10)), 50.0).step.flops
    300
    """
    return tanh(S / cap) * cap


def linear(X: Any, W: Any, b: Any = None) -> Any:
    """A linear layer, the GEMM that an MLP is made of: X (..., N, K) times W (K, M) is (..., N, M).

    b : a bias (M,), added in the same step; None for none. Raises ValueError where the sizes differ.

    >>> from roofline_kit import Tensor, symbols, trace
    >>> N, K, M = symbols("N K M")
    >>> trace(linear, Tensor("X", (N, K)), Tensor("W", (K, M))).bytes
    2*K*M + 2*K*N + 2*M*N
    """
    return X @ W if b is None else affine(X, W, b)


@fuse
def affine(X: Any, W: Any, b: Any) -> Any:
    """X·W + b in one step."""
    return X @ W + b


@fuse
def queries(X: Any, W: Any, b: Any, scale: Any) -> Any:
    """The projection to queries, with the scale 1/√head_dim of the scores multiplied in."""
    return linear(X, W, b) * scale


def weight_and_bias(W: Any) -> tuple[Any, Any]:
    """A matrix and its bias, of a pair of both or of the matrix alone, which has None."""
    return W if isinstance(W, tuple) else (W, None)


def norm(X: Any, W: Any, eps: float = 1e-5) -> Any:
    """The norm that W is for: RMS norm where it is a weight (h,), layer norm where it is a pair with a bias.

    >>> from roofline_kit import Tensor
    >>> norm(Tensor("x", (10, 4)), Tensor("w", 4)).step.operation
    'rms_norm'
    """
    return layer_norm(X, *W, eps) if isinstance(W, tuple) else rms_norm(X, W, eps)


def mlp(X: Any, W_up: Any, W_down: Any, W_gate: Any = None, activation: str = "gelu") -> Any:
    """The MLP of a decoder layer: activation(X·W_up)·W_down, or gated: (activation(X·W_gate) * X·W_up)·W_down.

    X : (..., N, h). W_up, W_gate : (h, f). W_down : (f, h). activation : one of `ACTIVATIONS`.
    Shazeer, "GLU variants improve transformer", arXiv 2002.05202, for the gated one.

    Raises ValueError for an unknown activation, and where the shapes do not match.

    >>> from roofline_kit import Tensor, symbols, tensors, trace
    >>> N, h, f = symbols("N h f")
    >>> up, down, gate = Tensor("W1", (h, f)), Tensor("W2", (f, h)), Tensor("W3", (h, f))
    >>> trace(mlp, Tensor("X", (N, h)), up, down, gate, "silu").matmul_flops
    6*N*f*h
    """
    act = ACTIVATIONS[choose("activation", activation, ACTIVATIONS)]
    hidden = act(linear(X, *weight_and_bias(W_up if W_gate is None else W_gate)))
    if W_gate is not None:
        hidden = hidden * linear(X, *weight_and_bias(W_up))
    return linear(hidden, *weight_and_bias(W_down))


# --- many heads -----------------------------------------------------------------------------------


def split_heads(X: Any, heads: Any) -> Any:
    """(..., N, heads·head_dim) as (..., heads, N, head_dim): a view.

    Raises ValueError where the heads do not divide the width.

    >>> from roofline_kit import Tensor
    >>> split_heads(Tensor("X", (10, 4096)), 32).shape
    (32, 10, 128)
    """
    *lead, n, width = X.shape
    head_dim = equal_share(width, heads, f"{width} columns cannot be split into {heads} heads")
    return X.reshape(*lead, n, heads, head_dim).swapaxes(-3, -2)


def equal_share(whole: Any, parts: Any, otherwise: str) -> Any:
    """whole / parts, which must be a whole number where it is one. otherwise : what is said where it is not."""
    each = sympy.sympify(whole) / size(parts, f"{otherwise}: the number")
    if each.is_number and not (each.is_Integer and each.is_positive):
        raise ValueError(f"{otherwise}: {whole} / {parts} is no positive integer")
    return int(each) if each.is_number else each


def merge_heads(X: Any) -> Any:
    """(..., heads, N, head_dim) as (..., N, heads·head_dim): a view.

    >>> from roofline_kit import Tensor
    >>> merge_heads(Tensor("X", (32, 10, 128))).shape
    (10, 4096)
    """
    *lead, heads, n, head_dim = X.shape
    return X.swapaxes(-3, -2).reshape(*lead, n, heads * head_dim)


@fuse
def rotary(X: Any, cos: Any, sin: Any, columns: Any = None) -> Any:
    """Rotary position embedding: each pair of a head's numbers, half a head apart, turned by an angle.

    X : (..., N, head_dim). cos, sin : (N, head_dim), the cosines of a token's angles, twice side by side, and
    the sines, the first time negated. 3 FLOPs per element. Su et al., "RoFormer", arXiv 2104.09864. columns : how many
    numbers of a head turn, the first of them, and as many as cos and sin have (GPT-NeoX, arXiv 2204.06745); None: all.

    Raises ValueError where the columns that turn are odd or more than head_dim, or cos and sin are not of X's rows.

    >>> from roofline_kit import Tensor
    >>> rotary(*(Tensor(x, (10, 128)) for x in ("X", "cos", "sin"))).step.flops
    3840
    """
    wanted = (*X.shape[-2:-1], X.shape[-1] if columns is None else columns)
    equal_share(wanted[-1], 2, f"{wanted[-1]} numbers of a head cannot be turned in pairs")
    for what, table in (("cos", cos), ("sin", sin)):
        check_shape(f"rotary: {what}", tuple(table.shape), wanted)
    if columns is None or same_size(sympy.sympify(columns), sympy.sympify(X.shape[-1])):
        return turned(X, cos, sin)
    return concatenate((turned(X[..., :columns], cos, sin), X[..., columns:]), axis=-1)


def turned(X: Any, cos: Any, sin: Any) -> Any:
    """All of X, (..., N, n), turned."""
    swapped = flip(X.reshape(*X.shape[:-1], 2, -1), axis=-2).reshape(*X.shape)
    return X * cos + swapped * sin


def multi_head_attention(
    X: Any, W_q: Any, W_k: Any, W_v: Any, W_o: Any, *, heads: Any, kv_heads: Any = None,
    causal: bool | Causal | None = False, fused: bool = False,
    rotation: tuple[Any, Any] | None = None, cache: tuple[Any, Any] | None = None,
    rotary_dim: Any = None, scale: Any = None, norms: tuple[Any, Any] = (None, None), unit: bool = False,
    eps: float = 1e-5, cap: float | None = None, bias: Any = None, sinks: Any = None,
) -> Any:  # fmt: skip
    """Self-attention with many heads: one function for MHA, GQA and MQA.

    X : (..., N, h). W_q : (h, heads·head_dim). W_k, W_v : (h, kv_heads·head_dim). W_o : (heads·head_dim, h).
    kv_heads : heads of K and V: `heads` (the default) for multi-head attention (Vaswani et al., arXiv
    1706.03762), 1 for multi-query (Shazeer, 1911.02150), between them for grouped-query (Ainslie et al.,
    2305.13245): each K and V head serves heads/kv_heads query heads and is read once.
    causal : a token sees only those up to itself, or as many as a `Causal` says; the hidden scores are not
    computed. fused : scores stay on chip. rotation : (cos, sin) of `rotary`. cache : K and V of the context
    (..., kv_heads, T, head_dim), whose last N rows X's own K and V are stored into.

    What some models change: rotary_dim : how many numbers of a head turn, all unless given. scale : of the scores,
    1/√head_dim unless given. norms : weights of norms of queries and keys, of each head (head_dim,) as in Qwen3, or
    before heads are split (heads·head_dim,) as in OLMo 2; None for none. unit : queries and keys are brought to one
    length once they are turned (Llama 4). eps : of these norms. cap : as of `attention`. bias (heads, 1, T) and sinks
    (heads, 1, 1): its bias and sinks, of each head.

    Raises ValueError where heads do not divide the width, or kv_heads the heads, and where shapes do not fit.

    >>> from roofline_kit import Tensor, symbols, trace
    >>> N, h = symbols("N h")
    >>> X, W_q, W_k = Tensor("X", (N, h)), Tensor("W_q", (h, h)), Tensor("W_k", (h, h / 4))
    >>> gqa = trace(multi_head_attention, X, W_q, W_k, W_k, W_q, heads=32, kv_heads=8)
    >>> gqa.matmul_flops
    4*N**2*h + 5*N*h**2
    """
    kv_heads = heads if kv_heads is None else kv_heads
    group = equal_share(heads, kv_heads, f"{heads} heads cannot share {kv_heads} kv_heads")
    width = weight_and_bias(W_q)[0].shape[-1]
    head_dim = equal_share(width, heads, f"{width} columns cannot be split into {heads} heads")
    scale = head_dim**-0.5 if scale is None else scale
    late = scale if flag("unit", unit) or norms[0] is not None else None  # a norm takes an earlier scale away again
    Q = queries(X, *weight_and_bias(W_q), scale) if late is None else linear(X, *weight_and_bias(W_q))
    Q = _heads(Q, heads, norms[0], eps, None if unit else late)
    K = _heads(linear(X, *weight_and_bias(W_k)), kv_heads, norms[1], eps)
    V = split_heads(linear(X, *weight_and_bias(W_v)), kv_heads)
    if Q.shape[-1] != K.shape[-1]:
        dims = f"the {kv_heads} K heads have head_dim {K.shape[-1]}, and the {heads} Q heads {Q.shape[-1]}"
        raise ValueError(f"{dims}: W_k must have kv_heads · {Q.shape[-1]} columns")
    if rotation is not None:
        Q, K = rotary(Q, *rotation, rotary_dim), rotary(K, *rotation, rotary_dim)
    if unit:
        Q, K = scaled_norm(Q, None, eps, scale), rms_norm(K, None, eps)
    if cache is not None:
        K, V = store(K, into=cache[0]), store(V, into=cache[1])
    mask = mask_of(causal)
    for what, x, wanted in (("bias", bias, (heads, 1, K.shape[-2])), ("sinks", sinks, (heads, 1, 1))):
        if x is not None:
            check_shape(f"multi_head_attention: {what}", tuple(x.shape), wanted)
    added = {name: None if x is None else by_kv_head(x, group) for name, x in {"bias": bias, "sinks": sinks}.items()}
    attend = fuse(attention) if flag("fused", fused) else attention
    out = attend(by_kv_head(Q, group), by_kv_head(K, 1), by_kv_head(V, 1), mask, cap=cap, **added)
    return linear(merge_heads(out.reshape(*Q.shape[:-1], out.shape[-1])), *weight_and_bias(W_o))


def by_kv_head(X: Any, group: Any) -> Any:
    """(..., heads, N, d) as (..., kv_heads, group, N, d): query heads beside the K and V head that they share."""
    *lead, heads, n, d = X.shape
    return X.reshape(*lead, -1 if group != 1 else heads, group, n, d)


def _heads(X: Any, heads: Any, W: Any, eps: float, scale: Any = None) -> Any:
    """X by heads and normed, if there is a W for it: before it is split where W is as wide as all heads together."""
    if W is None:
        return split_heads(X, heads)
    if weight_and_bias(W)[0].shape[-1] == X.shape[-1] and heads != 1:
        return split_heads(scaled_norm(X, W, eps, scale), heads)
    return scaled_norm(split_heads(X, heads), W, eps, scale)


@fuse
def scaled_norm(X: Any, W: Any, eps: float, scale: Any) -> Any:
    """A norm, and what it gives times a scale, in one step. W : as of `norm`, or None; scale : None for none."""
    normed = norm(X, W, eps)
    return normed if scale is None else normed * scale


@fuse
def alibi(slopes: Any, places: Any) -> Any:
    """What attention with linear biases adds to scores: slopes (heads, 1, 1) times the keys' places (1, 1, T).

    A score's bias is that of its distance, which differs from this by the same number for all keys of a query, and
    softmax does not see that. Press, Smith and Lewis, "Train short, test long", arXiv 2108.12409.

    >>> from roofline_kit import Tensor
    >>> alibi(Tensor("slopes", (32, 1, 1)), Tensor("places", (1, 1, 1000)))
    alibi(slopes, places): fp16 (32, 1, 1000)
    """
    return slopes * places
