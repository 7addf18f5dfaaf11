"""12 · Smaller caches, fewer bits: a draft that is checked at once, and a piece of a prompt beside users in decode."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...masks import Causal
from ...ops import concatenate, store
from ...sizes import symbols
from ...tensor import Tensor, tensors
from ...transformer import attention
from .question import Build

b, N, T, h = symbols("b N T h")


def draft(X: Any, W_q: Any, W_k: Any, W_v: Any, K: Any, V: Any) -> Any:
    """All new tokens at once, each of which sees the context and those before it."""
    store(X @ W_k, into=K)
    store(X @ W_v, into=V)
    return attention(X @ W_q, K, V, Causal())


def looks_ahead(X: Any, W_q: Any, W_k: Any, W_v: Any, K: Any, V: Any) -> Any:
    """Without a mask."""
    store(X @ W_k, into=K)
    store(X @ W_v, into=V)
    return attention(X @ W_q, K, V)


def not_stored(X: Any, W_q: Any, W_k: Any, W_v: Any, K: Any, V: Any) -> Any:
    """The caches as they were."""
    return attention(X @ W_q, K, V, Causal())


def too_late(X: Any, W_q: Any, W_k: Any, W_v: Any, K: Any, V: Any) -> Any:
    """Into the caches after the queries have read them."""
    out = attention(X @ W_q, K, V, Causal())
    store(X @ W_k, into=K)
    store(X @ W_v, into=V)
    return out


def alone(X: Any, W_q: Any, W_k: Any, W_v: Any, K: Any, V: Any) -> Any:
    """Among the new tokens only."""
    return attention(X @ W_q, store(X @ W_k, into=K)[-X.shape[0] :], store(X @ W_v, into=V)[-X.shape[0] :], Causal())


def copied(X: Any, W_q: Any, W_k: Any, W_v: Any, K: Any, V: Any) -> Any:
    """The caches read and written once more."""
    K, V = store(X @ W_k, into=K), store(X @ W_v, into=V)
    return attention(X @ W_q, concatenate((K[:1], K[1:])), concatenate((V[:1], V[1:])), Causal())


def plain_draft(X: Any, W_q: Any, W_k: Any, W_v: Any, K: Any, V: Any) -> Any:
    """In NumPy, token by token."""
    n, past = len(X), len(K) - len(X)
    K[past:], V[past:] = np.dot(X, W_k), np.dot(X, W_v)
    q = np.dot(X, W_q)
    return np.stack([_one(q[i], K[: past + i + 1], V[: past + i + 1]) for i in range(n)])


def chunk(X: Any, W_q: Any, W_c: Any, A: Any, C: Any, N: Any) -> Any:
    """Projections together, attention apart."""
    q, c, users = X @ W_q, X @ W_c, C.shape[0]
    store(c[:N], into=A)
    store(c[N:].reshape(users, 1, -1), into=C)
    return attention(q[:N], A, A, Causal()), attention(q[N:].reshape(users, 1, -1), C, C)


def chunk_without_past(X: Any, W_q: Any, W_c: Any, A: Any, C: Any, N: Any) -> Any:
    """As if the prompt began here."""
    q, c, users = X @ W_q, X @ W_c, C.shape[0]
    store(c[:N], into=A)
    store(c[N:].reshape(users, 1, -1), into=C)
    return attention(q[:N], c[:N], c[:N], Causal()), attention(q[N:].reshape(users, 1, -1), C, C)


def chunk_looks_ahead(X: Any, W_q: Any, W_c: Any, A: Any, C: Any, N: Any) -> Any:
    """The prompt without a mask."""
    q, c, users = X @ W_q, X @ W_c, C.shape[0]
    store(c[:N], into=A)
    store(c[N:].reshape(users, 1, -1), into=C)
    return attention(q[:N], A, A), attention(q[N:].reshape(users, 1, -1), C, C)


def chunk_not_stored(X: Any, W_q: Any, W_c: Any, A: Any, C: Any, N: Any) -> Any:
    """The caches as they were."""
    q, users = X @ W_q, C.shape[0]
    return attention(q[:N], A, A, Causal()), attention(q[N:].reshape(users, 1, -1), C, C)


def chunk_with_weights_twice(X: Any, W_q: Any, W_c: Any, A: Any, C: Any, N: Any) -> Any:
    """Each group with its own projections."""
    P, D = X[:N], X[N:].reshape(C.shape[0], 1, -1)
    store(P @ W_c, into=A)
    store(D @ W_c, into=C)
    return attention(P @ W_q, A, A, Causal()), attention(D @ W_q, C, C)


def plain_chunk(X: Any, W_q: Any, W_c: Any, A: Any, C: Any, N: int) -> Any:
    """In NumPy, token by token."""
    q, c, past = np.dot(X, W_q), np.dot(X, W_c), len(A) - N
    A[past:], C[:, -1] = c[:N], c[N:]
    prompt = np.stack([_one(q[i], A[: past + i + 1], A[: past + i + 1]) for i in range(N)])
    return prompt, np.stack([_one(q[N + i], C[i], C[i])[None] for i in range(len(C))])


def _one(q: Any, K: Any, V: Any) -> Any:
    e = np.exp(K @ q - (K @ q).max())
    return e / e.sum() @ V


QUESTIONS = {
    "12.draft": Build(
        title="A draft, checked at once",
        asks="""*X* (*N*, *h*) are *N* new tokens of one user: the last one that is sure, and a
guess at those after it. One head of width *h*, no scale. Their keys and values, by *W_k* and *W_v* (*h*, *h*),
belong into the last *N* rows of the caches *K* and *V* (*T*, *h*), which are free for them. Return the attention of
all *N* queries, by *W_q*, each of which sees the context and no token after its own. `rk.Causal()`, the last argument
of `rk.attention`, takes the queries for the last of the context, and `rk.store(x, into=K)` writes over the last
rows.""",
        call="check_draft(X, W_q, W_k, W_v, K, V)",
        takes=lambda: (Tensor("X", (N, h)), *tensors("W_q W_k W_v", (h, h)), *tensors("K V", (T, h))),
        right=draft,
        plain=plain_draft,
        draws=(
            {"N": 2, "T": 5, "h": 4},
            {"N": 1, "T": 1, "h": 1},
            {"N": 3, "T": 7, "h": 2},
            {"N": 4, "T": 4, "h": 3},
        ),
        typical={"N": 5, "T": 4096, "h": 4096},
        learned="The weights and the cache are read once for all of them, as they would be for one token.",
        hint="Three products for all rows, two stores, and one attention: each weight and each cache is read once.",
        slips={
            looks_ahead: "A guess must not see those after it, or it checks itself: where is the mask?",
            not_stored: "The new keys and values are not in the caches: rk.store puts them there.",
            too_late: "A token attends to itself as well: the new rows must be in the caches before the queries come.",
            alone: "The new tokens see one another, and the context not at all: attend to the whole caches.",
            copied: "The caches are copied: attend to them as they are.",
        },
    ),
    "12.chunk": Build(
        title="A piece of a prompt beside decode",
        asks="""The first *N* rows of *X* (*N* + *b*, *h*) are the next piece of a
long prompt, and the others one new token for each of *b* users. As in absorbed latent attention, one vector of a token
is its key and its value: project all rows by *W_q* and by *W_c* (*h*, *h*). The prompt's cache *A* (*T*, *h*) holds
the pieces before, and its last *N* rows are free; in the users' caches *C* (*b*, *T*, *h*) the last row is. Store the
new vectors, those of the users as (*b*, 1, *h*). Return the attention of the piece (*N*, *h*), causal, and that of the
users (*b*, 1, *h*). No scale.""",
        call="chunk_beside_decode(X, W_q, W_c, A, C, N)",
        takes=lambda: (
            Tensor("X", (N + b, h)),
            *tensors("W_q W_c", (h, h)),
            Tensor("A", (T, h)),
            Tensor("C", (b, T, h)),
            N,
        ),
        right=chunk,
        plain=plain_chunk,
        draws=(
            {"N": 2, "b": 3, "T": 5, "h": 4},
            {"N": 1, "b": 1, "T": 1, "h": 1},
            {"N": 3, "b": 2, "T": 7, "h": 2},
            {"N": 4, "b": 1, "T": 4, "h": 3},
        ),
        typical={"N": 512, "b": 64, "T": 4096, "h": 4096},
        learned="Decode waits for weights that the piece needs anyway: its rows ride along, and no prompt stops them.",
        hint="Two products for all rows, two stores, a causal attention for the piece, another one for the users.",
        slips={
            chunk_without_past: "The prompt's earlier pieces are in A, and this one sees them as well.",
            chunk_looks_ahead: "The piece's tokens see those after them: where is the mask?",
            chunk_not_stored: "The new vectors are not in the caches: rk.store puts them there.",
            chunk_with_weights_twice: "Each weight is read twice, once for each group: project all rows at once.",
        },
    ),
}
