"""6 · Native sparse attention: a few global tokens beside a window, and blocks that were chosen."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ops import concatenate, softmax, take
from ...sizes import symbols
from ...tensor import Tensor, tensors
from ...transformer import attention
from .question import Build

d, front, between, window, blocks, block, picks = symbols("d front between window blocks block picks")


def sinks(q: Any, K: Any, V: Any, front: Any, window: Any) -> Any:
    """The scores of both parts, in one softmax."""
    S = concatenate((q @ K[:front].T, q @ K[-window:].T), axis=-1)
    P = softmax(S)
    return P[:, :front] @ V[:front] + P[:, front:] @ V[-window:]


def dense(q: Any, K: Any, V: Any, front: Any, window: Any) -> Any:
    """All tokens."""
    return attention(q, K, V)


def window_alone(q: Any, K: Any, V: Any, front: Any, window: Any) -> Any:
    """Without the global tokens."""
    return attention(q, K[-window:], V[-window:])


def global_alone(q: Any, K: Any, V: Any, front: Any, window: Any) -> Any:
    """Without the window."""
    return attention(q, K[:front], V[:front])


def two_softmaxes(q: Any, K: Any, V: Any, front: Any, window: Any) -> Any:
    """Each part with weights that add up to 1."""
    return attention(q, K[:front], V[:front]) + attention(q, K[-window:], V[-window:])


def from_the_front(q: Any, K: Any, V: Any, front: Any, window: Any) -> Any:
    """A window after the global tokens."""
    return attention(q, K[: front + window], V[: front + window])


def plain_sinks(q: Any, K: Any, V: Any, front: int, window: int) -> Any:
    """In NumPy, with the rows that are seen."""
    seen = [*range(front), *range(len(K) - window, len(K))]
    return _plain(q, K[seen], V[seen])


def _plain(q: Any, k: Any, v: Any) -> Any:
    scores = np.einsum("id,jd->ij", q, k)
    e = np.exp(scores - scores.max(axis=1)[:, None])
    return np.einsum("ij,jd->id", e / e.sum(axis=1)[:, None], v)


def chosen_blocks(q: Any, K: Any, V: Any, chosen: Any, block: Any) -> Any:
    """A block as one row of a table, the rows taken, and these cut into tokens again."""
    width = K.shape[-1]
    k, v = (take(x.reshape(-1, block * width), chosen).reshape(-1, width) for x in (K, V))
    return attention(q, k, v)


def all_blocks(q: Any, K: Any, V: Any, chosen: Any, block: Any) -> Any:
    """All tokens."""
    return attention(q, K, V)


def first_blocks(q: Any, K: Any, V: Any, chosen: Any, block: Any) -> Any:
    """As many blocks, from the front."""
    rows = chosen.shape[0] * block
    return attention(q, K[:rows], V[:rows])


def tokens_for_blocks(q: Any, K: Any, V: Any, chosen: Any, block: Any) -> Any:
    """The numbers of blocks read as those of tokens."""
    return attention(q, take(K, chosen), take(V, chosen))


def only_keys_chosen(q: Any, K: Any, V: Any, chosen: Any, block: Any) -> Any:
    """Values from the front."""
    width, rows = K.shape[-1], chosen.shape[0] * block
    k = take(K.reshape(-1, block * width), chosen).reshape(-1, width)
    return attention(q, k, V[:rows])


def plain_blocks(q: Any, K: Any, V: Any, chosen: Any, block: int) -> Any:
    """In NumPy, with the rows that are seen."""
    seen = [i * block + j for i in chosen for j in range(block)]
    return _plain(q, K[seen], V[seen])


QUESTIONS = {
    "06.sinks": Build(
        title="A window, and a few global tokens",
        asks="""One query `q` (1, *d*) and a cache: *K* and *V* have `front` + `between` +
`window` rows of *d* numbers. It sees the first `front` tokens, which everyone sees, and the last `window`; those
between them are not even read. One softmax over all that it sees. Slices such as `K[:front]` and `K[-window:]` are
free, and `rk.concatenate((a, b), axis=-1)` puts arrays side by side. No scale.""",
        call="window_attention(q, K, V, front, window)",
        takes=lambda: (Tensor("q", (1, d)), *tensors("K V", (front + between + window, d)), front, window),
        right=sinks,
        plain=plain_sinks,
        draws=(
            {"front": 2, "between": 4, "window": 3, "d": 5},
            {"front": 1, "between": 1, "window": 1, "d": 1},
            {"front": 1, "between": 7, "window": 5, "d": 3},
            {"front": 4, "between": 2, "window": 3, "d": 2},
        ),
        typical={"front": 16, "between": 8192, "window": 512, "d": 128},
        learned="Neither operations nor bytes depend on what lies between: a context may be as long as it likes.",
        hint="What lies between must not be read; and put scores side by side, not keys, which are larger.",
        slips={
            dense: "It sees all tokens: what lies between the two parts must not be read.",
            window_alone: "The tokens at the front are missing: K[:front].",
            global_alone: "The nearest tokens are missing: K[-window:].",
            two_softmaxes: "One softmax over both parts: so many weights must add up to 1 together.",
            from_the_front: "The window lies at the end: K[-window:].",
        },
    ),
    "06.blocks": Build(
        title="Blocks that were chosen",
        asks="""*K* and *V* have the shape (`blocks` · `block`, *d*): so many blocks, each of
`block` tokens. `chosen` holds the numbers of some of the blocks. Write the attention of `q` (1, *d*) to these alone.
`rk.take(table, numbers)` is the rows of a table with these numbers, and reads no others; `K.reshape(-1, block * d)`
has one block in each row. No scale.""",
        call="block_attention(q, K, V, chosen, block)",
        takes=lambda: (
            Tensor("q", (1, d)),
            *tensors("K V", (blocks * block, d)),
            Tensor("chosen", picks, "int64"),
            block,
        ),
        right=chosen_blocks,
        plain=plain_blocks,
        draws=(
            {"blocks": 5, "block": 3, "picks": 2, "d": 4},
            {"blocks": 1, "block": 1, "picks": 1, "d": 1},
            {"blocks": 7, "block": 2, "picks": 3, "d": 1},
            {"blocks": 4, "block": 5, "picks": 2, "d": 3},
        ),
        typical={"blocks": 1024, "block": 64, "picks": 16, "d": 128},
        learned="A chosen block is read once and copied once: a kernel that fuses both saves the copy.",
        hint="Only the chosen blocks may be read, each once for K and once for V.",
        slips={
            all_blocks: "It sees all blocks: take the chosen ones first.",
            first_blocks: "These are the first blocks, not the chosen ones.",
            tokens_for_blocks: "chosen numbers blocks, not tokens: make a block one row first.",
            only_keys_chosen: "The values must be of the chosen blocks as well.",
        },
        below={"chosen": "blocks"},
    ),
}
