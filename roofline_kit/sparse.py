"""What does native sparse attention cost? Of its context, a token reads summaries, a few blocks, and what is near.

Each branch is one step. Which blocks are read depends on values, so a trace counts how many they are.
"""

from __future__ import annotations

import math
from typing import Any

import sympy
from array_api_compat import array_namespace, device

from .masks import Causal
from .names import flag
from .ops import hide, softmax, sum, take, top, windows
from .sizes import check_shape, size
from .tensor import Tensor, discrete, fuse, matmul
from .transformer import attention, by_kv_head, mlp


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
    count = sympy.ceiling(sympy.sympify(X.shape[-2]) / stride) if flag("partial", partial) else None
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
    check_shape("sparse attention: gates", tuple(gates.shape), (*Q.shape[:-1], 3))
    for x in near or ():
        check_shape("sparse attention: near", tuple(x.shape), (*x.shape[:-2], T, x.shape[-1]))
    blocks = _blocks_to_select(T, block, stride, select_block, selected, window)

    @fuse
    def compressed_branch(Q: Any, K: Any, V: Any) -> Any:
        mask = Causal(block=block, stride=stride, tokens=T)
        P = hide(softmax(matmul(Q, by_kv_head(K, 1).mT, mask)), mask, 0)
        weight = sum(P, axis=-3).mT  # of the whole group, (..., blocks of `block`, N)
        # Equations 9 and 10 of the paper: by stride, and then by selection block.
        strides, ahead = select_block // stride, block // stride - 1
        by_stride = sum(windows(weight, ahead + 1, 1, start=-ahead, count=blocks * strides), axis=-2)
        by_block = sum(windows(by_stride, strides, strides), axis=-2).mT
        return P @ by_kv_head(V, 1), top(_favoured(by_block, T, select_block), selected)

    @fuse
    def selected_branch(Q: Any, K: Any, V: Any, chosen: Any) -> Any:
        k, v = (_chosen_rows(x, chosen, select_block, blocks) for x in (K, V))
        scores = hide(Q.swapaxes(-3, -2) @ k.mT, _past(chosen, T, select_block), -math.inf)
        return (softmax(scores) @ v).swapaxes(-3, -2)

    @fuse
    def window_branch(Q: Any, K: Any, V: Any) -> Any:
        return attention(Q, by_kv_head(K, 1), by_kv_head(V, 1), Causal(window=window))

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


def _chosen_rows(X: Any, chosen: Any, select_block: int, blocks: Any) -> Any:
    """Rows of the chosen blocks of X, (..., T, d): (..., N, selected·select_block, d)."""
    *lead, _, d = X.shape
    by_block = windows(X, select_block, select_block, count=blocks).reshape(*lead, blocks, select_block * d)
    rows = take(by_block, chosen)
    return rows.reshape(*chosen.shape[:-1], chosen.shape[-1] * select_block, d)


@discrete
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


@discrete
def _past(chosen: Any, tokens: Any, select_block: int) -> Any:
    """Which tokens of the chosen blocks do not come after the query; of Tensors, which have no values, None."""
    if isinstance(chosen, Tensor):
        return None
    xp = array_namespace(chosen)
    inside = xp.arange(select_block, device=device(chosen))
    token = (chosen[..., None] * select_block + inside).reshape(*chosen.shape[:-1], 1, -1)
    query = xp.arange(tokens - chosen.shape[-2], tokens, device=device(chosen))[:, None, None]
    return token <= query
