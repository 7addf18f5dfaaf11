"""The transformer as array algorithms: each function can be traced, run and timed.

Nothing here knows a formula. The functions say what is computed, in the notation of the lecture, and
`trace` reads off what it costs. A weight is a matrix W, or a pair (W, b) with a bias.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy
from array_api_compat import array_namespace, device

from .names import choose
from .masks import Causal
from .tensor import Tensor, fuse, matmul
from .ops import flip, store, sum, take, top, windows
from .sizes import size
from .ops import gelu, layer_norm, relu, rms_norm, silu, softmax

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"gelu": gelu, "relu": relu, "silu": silu}


def attention(Q: Any, K: Any, V: Any, mask: Causal | None = None) -> Any:
    """The lecture's Algorithm 0, standard attention: every intermediate goes to memory and back.

    Q : (..., N, h), K : (..., T, h), V : (..., T, d); for self-attention of the lecture all have the same
    shape. Returns (..., N, d). mask : which keys a query sees, `Causal()` for those up to its own; None,
    as in the lecture, for all. Scores are not scaled: a scale of 1/√h belongs into Q.

    Raises ValueError where the shapes do not match.

    >>> from roofline_kit import symbols, tensors, trace
    >>> N, h = symbols("N h")
    >>> trace(attention, *tensors("Q K V", (N, h))).intensity
    N*(4*h + 3)/(8*(N + h))
    """
    S = matmul(Q, K.mT, mask)
    P = softmax(S)
    return P @ V


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


def mlp(X: Any, W_up: Any, W_down: Any, W_gate: Any = None, activation: str = "gelu") -> Any:
    """The MLP of a decoder layer: activation(X·W_up)·W_down, or gated: (activation(X·W_gate) * X·W_up)·W_down.

    X : (..., N, h). W_up, W_gate : (h, f). W_down : (f, h). activation : "gelu", "relu" or "silu".
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

    >>> merge_heads(Tensor("X", (32, 10, 128))).shape
    (10, 4096)
    """
    *lead, heads, n, head_dim = X.shape
    return X.swapaxes(-3, -2).reshape(*lead, n, heads * head_dim)


@fuse
def rotary(X: Any, cos: Any, sin: Any) -> Any:
    """Rotary position embedding: each pair of a head's numbers, half a head apart, turned by an angle.

    X : (..., N, head_dim). cos, sin : (N, head_dim), the cosines of a token's angles, twice side by side, and
    the sines, the first time negated. 3 FLOPs per element. Su et al., "RoFormer", arXiv 2104.09864.

    Raises ValueError where head_dim is odd or the shapes do not match.

    >>> rotary(*(Tensor(x, (10, 128)) for x in ("X", "cos", "sin"))).step.flops
    3840
    """
    swapped = flip(X.reshape(*X.shape[:-1], 2, -1), axis=-2).reshape(*X.shape)
    return X * cos + swapped * sin


def multi_head_attention(
    X: Any, W_q: Any, W_k: Any, W_v: Any, W_o: Any, *, heads: Any, kv_heads: Any = None,
    causal: bool | Causal | None = False, fused: bool = False,
    rotation: tuple[Any, Any] | None = None, cache: tuple[Any, Any] | None = None,
) -> Any:  # fmt: skip
    """Self-attention with many heads: one function for MHA, GQA and MQA.

    X : (..., N, h). W_q : (h, heads·head_dim). W_k, W_v : (h, kv_heads·head_dim). W_o : (heads·head_dim, h).
    kv_heads : heads of K and V: `heads` (the default) for multi-head attention (Vaswani et al., arXiv
    1706.03762), 1 for multi-query (Shazeer, 1911.02150), between them for grouped-query (Ainslie et al.,
    2305.13245): each K and V head serves heads/kv_heads query heads and is read once.
    causal : a token sees only those up to itself, or as many as a `Causal` says; the hidden scores are not
    computed. fused : scores stay on chip. rotation : (cos, sin) of `rotary`. cache : K and V of the context
    (..., kv_heads, T, head_dim), whose last N rows X's own K and V are stored into.

    Raises ValueError where heads do not divide the width, or kv_heads the heads.

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
    scale = equal_share(width, heads, f"{width} columns cannot be split into {heads} heads") ** -0.5
    Q = split_heads(queries(X, *weight_and_bias(W_q), scale), heads)
    K = split_heads(linear(X, *weight_and_bias(W_k)), kv_heads)
    V = split_heads(linear(X, *weight_and_bias(W_v)), kv_heads)
    if Q.shape[-1] != K.shape[-1]:
        dims = f"the {kv_heads} K heads have head_dim {K.shape[-1]}, and the {heads} Q heads {Q.shape[-1]}"
        raise ValueError(f"{dims}: W_k must have kv_heads · {Q.shape[-1]} columns")
    if rotation is not None:
        Q, K = rotary(Q, *rotation), rotary(K, *rotation)
    if cache is not None:
        K, V = store(K, into=cache[0]), store(V, into=cache[1])
    mask = Causal() if causal is True else causal or None
    out = (fuse(attention) if fused else attention)(_groups(Q, group), _groups(K, 1), _groups(V, 1), mask)
    return linear(merge_heads(out.reshape(*Q.shape[:-1], out.shape[-1])), *weight_and_bias(W_o))


def _groups(X: Any, group: Any) -> Any:
    """(..., heads, N, d) as (..., kv_heads, group, N, d): query heads beside the K and V head that they share."""
    *lead, heads, n, d = X.shape
    return X.reshape(*lead, -1 if group != 1 else heads, group, n, d)


# --- a decoder layer --------------------------------------------------------------------------------


def norm(X: Any, W: Any, eps: float = 1e-5) -> Any:
    """The norm that W is for: RMS norm where it is a weight (h,), layer norm where it is a pair with a bias.

    >>> norm(Tensor("x", (10, 4)), Tensor("w", 4)).step.operation
    'rms_norm'
    """
    return layer_norm(X, *W, eps) if isinstance(W, tuple) else rms_norm(X, W, eps)


def decoder_layer(X: Any, w: Any, *, heads: Any, activation: str = "gelu", eps: float = 1e-5, **attention: Any) -> Any:
    """One layer of a decoder: attention and MLP, each of the normed input and added to it.

    X : (..., N, h). w : the weights by name: attention_norm, query, key, value, output, mlp_norm, up, down,
    and gate for a gated MLP; a norm with a bias is a layer norm. heads, and kv_heads, causal, fused,
    rotation and cache: as `multi_head_attention` takes them.

    >>> from roofline_kit import model, trace
    >>> llama = model("llama-2-7b")
    >>> X = Tensor("X", (1, 1000, llama.hidden))
    >>> trace(decoder_layer, X, llama.layer_weights(), heads=32, activation="silu").matmul_flops
    421134336000
    """
    normed = norm(X, w["attention_norm"], eps)
    X = X + multi_head_attention(normed, w["query"], w["key"], w["value"], w["output"], heads=heads, **attention)
    normed = norm(X, w["mlp_norm"], eps)
    return X + mlp(normed, w["up"], w["down"], w.get("gate"), activation)


# --- native sparse attention ------------------------------------------------------------------------


def compress(X: Any, positions: Any, W_up: Any, W_down: Any, *, stride: Any = 16, partial: bool = False) -> Any:
    """Blocks of tokens summarised by an MLP, one row for each: the compression of native sparse attention.

    X : keys or values (..., T, d). positions : (block, d), added inside of each block. W_up, W_down : of the
    MLP from block·d to d. Blocks begin `stride` tokens apart. partial : also those that end after the
    last token, filled with zeros: T/stride in all, as Table 4 of the paper counts them.

    Yuan et al., "Native Sparse Attention", arXiv 2502.11089, section 3.3.1.

    >>> positions, up, down = Tensor("p", (32, 128)), Tensor("W1", (4096, 256)), Tensor("W2", (256, 128))
    >>> [compress(Tensor("K", (8192, 128)), positions, up, down, partial=p).shape[0] for p in (False, True)]
    [511, 512]
    """
    block = positions.shape[0]
    count = sympy.ceiling(sympy.sympify(X.shape[-2]) / stride) if partial else None
    blocks = windows(X, block, stride, count=count)
    return mlp((blocks + positions).reshape(*blocks.shape[:-2], block * blocks.shape[-1]), W_up, W_down)


def sparse_attention(
    Q: Any, K: Any, V: Any, K_cmp: Any, V_cmp: Any, gates: Any, near: tuple[Any, Any] | None = None, *,
    block: int = 32, stride: int = 16, select_block: int = 64, selected: int = 16, window: int = 512,
) -> Any:  # fmt: skip
    """Native sparse attention: compressed, selected and near tokens, each branch one step, mixed by gates.

    Q : (..., kv_heads, group, N, d), the last N tokens of the context. K, V : (..., kv_heads, T, d).
    K_cmp, V_cmp : blocks of `block` tokens, `stride` apart, as `compress` makes them. gates : (..., kv_heads,
    group, N, 3). near : keys and values of the window branch, where it has its own, as in the paper; K and V
    otherwise. Every query reads `selected` blocks of `select_block` tokens: the first, the two nearest,
    and those whose compressed keys get most weight from its group; and the nearest `window` tokens. What
    fewer tokens exist for is read all the same, and masked. Causal; scores are not scaled.

    Yuan et al., "Native Sparse Attention", arXiv 2502.11089; the sizes are those of its section 4.1.

    Raises ValueError for sizes that do not fit one another or the context.

    >>> from roofline_kit import trace
    >>> shapes = {"Q": (4, 16, 1, 128), "K": (4, 8192, 128), "K_cmp": (4, 512, 128), "gates": (4, 16, 1, 3)}
    >>> Q, K, K_cmp, gates = (Tensor(name, shape) for name, shape in shapes.items())
    >>> cost = trace(sparse_attention, Q, K, K, K_cmp, K_cmp, gates)
    >>> [step.operation for step in cost.steps]
    ['compressed_branch', 'selected_branch', 'window_branch', 'mix']
    """
    T, N = K.shape[-2], Q.shape[-2]
    blocks = _blocks_to_select(T, block, stride, select_block, selected, window)

    @fuse
    def compressed_branch(Q: Any, K: Any, V: Any) -> Any:
        mask = Causal(block=block, stride=stride, tokens=T)
        P = _seen(softmax(matmul(Q, _groups(K, 1).mT, mask)), mask)
        weight = sum(P, axis=-3).mT  # of the whole group, (..., blocks of `block`, N)
        # Equations 9 and 10 of the paper: by stride, and then by selection block.
        strides, ahead = select_block // stride, block // stride - 1
        by_stride = sum(windows(weight, ahead + 1, 1, start=-ahead, count=blocks * strides), axis=-2)
        by_block = sum(windows(by_stride, strides, strides), axis=-2).mT
        return P @ _groups(V, 1), top(_favoured(by_block, T, select_block), selected)

    @fuse
    def selected_branch(Q: Any, K: Any, V: Any, chosen: Any) -> Any:
        k, v = (_chosen_rows(x, chosen, select_block, blocks) for x in (K, V))
        scores = _not_after(Q.swapaxes(-3, -2) @ k.mT, chosen, T, select_block)
        return (softmax(scores) @ v).swapaxes(-3, -2)

    @fuse
    def window_branch(Q: Any, K: Any, V: Any) -> Any:
        return attention(Q, _groups(K, 1), _groups(V, 1), Causal(window=window))

    K_near, V_near = (K, V) if near is None else near
    start = T - sympy.Min(T, N + window - 1)
    summary, chosen = compressed_branch(Q, K_cmp, V_cmp)
    details = selected_branch(Q, K, V, chosen)
    return mix(gates, summary, details, window_branch(Q, K_near[..., start:, :], V_near[..., start:, :]))


def _blocks_to_select(tokens: Any, block: int, stride: int, select_block: int, selected: int, window: int) -> Any:
    """How many blocks there are to select from. Raises ValueError for sizes that do not fit together."""
    sizes = {"block": block, "stride": stride, "select_block": select_block, "window": window}
    for what, given in sizes.items():
        size(given, f"sparse attention: {what}")
    for big in (block, select_block):
        if big % stride:
            raise ValueError(f"sparse attention: blocks of {big} tokens are not whole strides of {stride}")
    if (size(selected, "sparse attention: selected") - 3).is_negative:
        raise ValueError(f"sparse attention: selected is {selected}; the first and two near blocks are always read")
    blocks = sympy.ceiling(sympy.sympify(tokens) / select_block)
    if (blocks - selected).is_negative:
        raise ValueError(
            f"sparse attention: {tokens} tokens are {blocks} blocks of {select_block}, fewer than {selected}"
        )
    return blocks


@fuse
def mix(gates: Any, *branches: Any) -> Any:
    """The branches' outputs, each times its gate, added up."""
    first, second, third = (gates[..., i : i + 1] * branch for i, branch in enumerate(branches))
    return first + second + third


@fuse
def _seen(P: Any, mask: Causal) -> Any:
    """Weights on arrays, with 0 where the mask hides them: rows that see nothing had weights of some kind."""
    if isinstance(P, Tensor):
        return P
    xp = array_namespace(P)
    return xp.where(xp.asarray(mask.seen(*P.shape[-2:]), device=device(P)), P, xp.zeros_like(P))


def _chosen_rows(X: Any, chosen: Any, select_block: int, blocks: Any) -> Any:
    """Rows of the chosen blocks of X, (..., T, d): (..., N, selected·select_block, d)."""
    *lead, _, d = X.shape
    by_block = windows(X, select_block, select_block, count=blocks).reshape(*lead, blocks, select_block * d)
    rows = take(by_block, chosen)
    return rows.reshape(*chosen.shape[:-1], chosen.shape[-1] * select_block, d)


def _favoured(weight: Any, tokens: Any, select_block: int) -> Any:
    """Weights of blocks on arrays: first come a query's own block, the one before it and block 0; later ones last."""
    if isinstance(weight, Tensor):
        return weight
    xp = array_namespace(weight)
    n, blocks = weight.shape[-2:]
    own = [(tokens - n + i) // select_block for i in range(n)]
    rank = [[3e4 if j == o else 2e4 if j == o - 1 else 1e4 if j == 0 else -(j > o) for j in range(blocks)] for o in own]
    order = xp.asarray(rank, dtype=weight.dtype, device=device(weight))
    return xp.where(order == 0, weight, order)


def _not_after(scores: Any, chosen: Any, tokens: Any, select_block: int) -> Any:
    """Scores on arrays, -inf where a token of a chosen block comes after the query."""
    if isinstance(scores, Tensor):
        return scores
    xp = array_namespace(scores)
    inside = xp.arange(select_block, device=device(chosen))
    token = (chosen[..., None] * select_block + inside).reshape(*chosen.shape[:-1], 1, -1)
    query = xp.arange(tokens - chosen.shape[-2], tokens, device=device(scores))[:, None, None]
    return xp.where(token <= query, scores, xp.full_like(scores, float("-inf")))
