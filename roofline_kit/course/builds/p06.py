"""6 · Native sparse attention: a few global tokens beside a window, and blocks that were chosen."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ops import concatenate, softmax, take
from ...sizes import symbols
from ...tensor import Tensor, tensors
from ...transformer import attention
from .question import Build

d, g, m, w, n, b, c = symbols("d g m w n b c")


def sinks(q: Any, K: Any, V: Any, g: Any, w: Any) -> Any:
    """The scores of both parts, in one softmax."""
    S = concatenate((q @ K[:g].T, q @ K[-w:].T), axis=-1)
    P = softmax(S)
    return P[:, :g] @ V[:g] + P[:, g:] @ V[-w:]


def dense(q: Any, K: Any, V: Any, g: Any, w: Any) -> Any:
    """All tokens."""
    return attention(q, K, V)


def window_alone(q: Any, K: Any, V: Any, g: Any, w: Any) -> Any:
    """Without the global tokens."""
    return attention(q, K[-w:], V[-w:])


def global_alone(q: Any, K: Any, V: Any, g: Any, w: Any) -> Any:
    """Without the window."""
    return attention(q, K[:g], V[:g])


def two_softmaxes(q: Any, K: Any, V: Any, g: Any, w: Any) -> Any:
    """Each part with weights that add up to 1."""
    return attention(q, K[:g], V[:g]) + attention(q, K[-w:], V[-w:])


def from_the_front(q: Any, K: Any, V: Any, g: Any, w: Any) -> Any:
    """A window after the global tokens."""
    return attention(q, K[: g + w], V[: g + w])


def plain_sinks(q: Any, K: Any, V: Any, g: int, w: int) -> Any:
    """In NumPy, with the rows that are seen."""
    seen = [*range(g), *range(len(K) - w, len(K))]
    return _plain(q, K[seen], V[seen])


def _plain(q: Any, k: Any, v: Any) -> Any:
    scores = np.einsum("id,jd->ij", q, k)
    e = np.exp(scores - scores.max(axis=1)[:, None])
    return np.einsum("ij,jd->id", e / e.sum(axis=1)[:, None], v)


def chosen_blocks(q: Any, K: Any, V: Any, chosen: Any, b: Any) -> Any:
    """A block as one row of a table, the rows taken, and these cut into tokens again."""
    width = K.shape[-1]
    k, v = (take(x.reshape(-1, b * width), chosen).reshape(-1, width) for x in (K, V))
    return attention(q, k, v)


def all_blocks(q: Any, K: Any, V: Any, chosen: Any, b: Any) -> Any:
    """All tokens."""
    return attention(q, K, V)


def first_blocks(q: Any, K: Any, V: Any, chosen: Any, b: Any) -> Any:
    """As many blocks, from the front."""
    rows = chosen.shape[0] * b
    return attention(q, K[:rows], V[:rows])


def tokens_for_blocks(q: Any, K: Any, V: Any, chosen: Any, b: Any) -> Any:
    """The numbers of blocks read as those of tokens."""
    return attention(q, take(K, chosen), take(V, chosen))


def only_keys_chosen(q: Any, K: Any, V: Any, chosen: Any, b: Any) -> Any:
    """Values from the front."""
    width, rows = K.shape[-1], chosen.shape[0] * b
    k = take(K.reshape(-1, b * width), chosen).reshape(-1, width)
    return attention(q, k, V[:rows])


def plain_blocks(q: Any, K: Any, V: Any, chosen: Any, b: int) -> Any:
    """In NumPy, with the rows that are seen."""
    seen = [i * b + j for i in chosen for j in range(b)]
    return _plain(q, K[seen], V[seen])


QUESTIONS = {
    "06.sinks": Build(
        title="A window, and a few global tokens",
        asks="""One query *q* (1, *d*) and a cache: *K* and *V* are (*g* + *m* + *w*, *d*).
It sees the first *g* tokens, which everyone sees, and the last *w*; the *m* between them are not even read. One
softmax over all that it sees. Slices such as `K[:g]` and `K[-w:]` are free, and `rk.concatenate((a, b), axis=-1)`
puts arrays side by side. No scale.""",
        call="window_attention(q, K, V, g, w)",
        takes=lambda: (Tensor("q", (1, d)), *tensors("K V", (g + m + w, d)), g, w),
        right=sinks,
        plain=plain_sinks,
        draws=(
            {"g": 2, "m": 4, "w": 3, "d": 5},
            {"g": 1, "m": 1, "w": 1, "d": 1},
            {"g": 1, "m": 7, "w": 5, "d": 3},
            {"g": 4, "m": 2, "w": 3, "d": 2},
        ),
        typical={"g": 16, "m": 8192, "w": 512, "d": 128},
        learned="Neither operations nor bytes depend on m: a context may be as long as it likes.",
        hint="What lies between must not be read; and put scores side by side, not keys, which are larger.",
        slips={
            dense: "It sees all tokens: what lies between the two parts must not be read.",
            window_alone: "The first g tokens are missing.",
            global_alone: "The last w tokens are missing.",
            two_softmaxes: "One softmax over both parts: so many weights must add up to 1 together.",
            from_the_front: "The window lies at the end: K[-w:].",
        },
    ),
    "06.blocks": Build(
        title="Blocks that were chosen",
        asks="""*K* and *V* are (*n*·*b*, *d*), *n* blocks of *b* tokens, and `chosen` holds the
numbers of *c* blocks. Write the attention of *q* (1, *d*) to these blocks alone. `rk.take(table, numbers)` is the
rows of a table with these numbers, and reads no others; a reshape makes a block one row. No scale.""",
        call="block_attention(q, K, V, chosen, b)",
        takes=lambda: (Tensor("q", (1, d)), *tensors("K V", (n * b, d)), Tensor("chosen", c, "int64"), b),
        right=chosen_blocks,
        plain=plain_blocks,
        draws=(
            {"n": 5, "b": 3, "c": 2, "d": 4},
            {"n": 1, "b": 1, "c": 1, "d": 1},
            {"n": 7, "b": 2, "c": 3, "d": 1},
            {"n": 4, "b": 5, "c": 2, "d": 3},
        ),
        typical={"n": 1024, "b": 64, "c": 16, "d": 128},
        learned="A chosen block is read once and copied once: a kernel that fuses both saves the copy.",
        hint="Only the chosen blocks may be read, each once for K and once for V.",
        slips={
            all_blocks: "It sees all blocks: take the chosen ones first.",
            first_blocks: "These are the first blocks, not the chosen ones.",
            tokens_for_blocks: "chosen numbers blocks, not tokens: make a block one row first.",
            only_keys_chosen: "The values must be of the chosen blocks as well.",
        },
        below={"chosen": "n"},
    ),
}
