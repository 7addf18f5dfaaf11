"""4 · Heads and the KV cache: query heads that share keys, and a step of decode."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ops import concatenate, softmax, store
from ...sizes import symbols
from ...tensor import Tensor, tensors
from ...transformer import attention
from .question import Build

G, H, N, T, d = symbols("G H N T d")


def grouped(Q: Any, K: Any, V: Any) -> Any:
    """Query heads beside the K and V head that they share; nothing is copied."""
    kv_heads, T, d = K.shape
    beside = Q.reshape(kv_heads, -1, *Q.shape[1:])
    out = attention(beside, K.reshape(kv_heads, 1, T, d), V.reshape(kv_heads, 1, T, d))
    return out.reshape(*Q.shape)


def strided(Q: Any, K: Any, V: Any) -> Any:
    """Head i with K head i modulo their number."""
    beside = Q.reshape(-1, K.shape[0], *Q.shape[1:])
    return attention(beside, K, V).reshape(*Q.shape)


def merged(Q: Any, K: Any, V: Any) -> Any:
    """The output of a group's heads added up."""
    kv_heads, T, d = K.shape
    out = attention(Q.reshape(kv_heads, -1, *Q.shape[1:]), K.reshape(kv_heads, 1, T, d), V.reshape(kv_heads, 1, T, d))
    return out.sum(axis=1)


def plain_grouped(Q: Any, K: Any, V: Any) -> Any:
    """In NumPy, head by head."""
    group = len(Q) // len(K)
    return np.stack([_plain(Q[i], K[i // group], V[i // group]) for i in range(len(Q))])


def _plain(q: Any, k: Any, v: Any) -> Any:
    scores = np.einsum("...id,...jd->...ij", q, k)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.einsum("...ij,...jd->...id", e / e.sum(axis=-1, keepdims=True), v)


def decode(q: Any, k: Any, v: Any, K: Any, V: Any) -> Any:
    """The new token into the cache, and then attention of one query."""
    store(k, into=K)
    store(v, into=V)
    return softmax(q @ K.mT) @ V


def grown(q: Any, k: Any, v: Any, K: Any, V: Any) -> Any:
    """A new cache at each step."""
    K = concatenate((K[:, :-1, :], k), axis=1)
    V = concatenate((V[:, :-1, :], v), axis=1)
    return softmax(q @ K.mT) @ V


def not_stored(q: Any, k: Any, v: Any, K: Any, V: Any) -> Any:
    """The caches as they were."""
    return attention(q, K, V)


def too_late(q: Any, k: Any, v: Any, K: Any, V: Any) -> Any:
    """Into the cache after the query has read it."""
    out = attention(q, K, V)
    store(k, into=K)
    store(v, into=V)
    return out


def plain_decode(q: Any, k: Any, v: Any, K: Any, V: Any) -> Any:
    """In NumPy."""
    K[:, -1:], V[:, -1:] = k, v
    return _plain(q, K, V)


QUESTIONS = {
    "04.groups": Build(
        title="Grouped queries, by reshaping only",
        asks="""*Q* has the shape (*H*, *N*, *d*), *K* and *V* have (*H*/*G*, *T*, *d*): the
first *G* query heads share the first head of *K* and *V*, the next *G* the second. Write their attention, in the
shape of *Q*, without a copy of *K* or *V*. `.shape` is a tuple, `.reshape(...)` is free, one of its sizes may be
-1, and a size of 1 is stretched, as in NumPy. No mask, no scale.""",
        call="grouped_attention(Q, K, V)",
        takes=lambda: (Tensor("Q", (H, N, d)), *tensors("K V", (H / G, T, d))),
        right=grouped,
        plain=plain_grouped,
        draws=(
            {"H": 6, "G": 3, "N": 1, "T": 5, "d": 4},
            {"H": 1, "G": 1, "N": 1, "T": 1, "d": 1},
            {"H": 6, "G": 2, "N": 2, "T": 3, "d": 2},
            {"H": 4, "G": 4, "N": 3, "T": 7, "d": 2},
        ),
        typical={"H": 32, "G": 4, "N": 1, "T": 2048, "d": 128},
        learned="One head of K and V is read for all that share it: a smaller cache, and a faster decode.",
        hint="Each array counts once per step: K and V must not be copied, and no head of theirs be read twice.",
        slips={
            strided: "The groups are mixed: neighbours in Q share a head, so the group comes first in reshape.",
            merged: "The heads of a group must stay apart: reshape the result to the shape of Q.",
        },
    ),
    "04.decode": Build(
        title="A step of decode, with a cache",
        asks="""`q`, `k` and `v` of the new token are (*H*, 1, *d*); the caches *K* and *V* are
(*H*, *T*, *d*), and their last row is free for it. Put the new key and value there, and return the attention of
`q`. `rk.store(x, into=K)` writes the rows of `x` over the last ones of `K` itself, and
returns it. No scale.""",
        call="decode_step(q, k, v, K, V)",
        takes=lambda: (*tensors("q k v", (H, 1, d)), *tensors("K V", (H, T, d))),
        right=decode,
        plain=plain_decode,
        draws=(
            {"H": 2, "T": 5, "d": 4},
            {"H": 1, "T": 1, "d": 1},
            {"H": 3, "T": 2, "d": 2},
            {"H": 1, "T": 7, "d": 3},
        ),
        typical={"H": 32, "T": 2048, "d": 128},
        learned="Two rows are written and the whole cache is read, for one token.",
        hint="Only the new rows are written, the caches are read once, and nothing is copied.",
        slips={
            not_stored: "The new key and value are not in the caches: rk.store puts them there.",
            too_late: "A token attends to itself as well: the new rows must be in the caches before q meets them.",
            grown: "A new cache is made at each step: rk.store writes one row into the old one.",
        },
    ),
}
