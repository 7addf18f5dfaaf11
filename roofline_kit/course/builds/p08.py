"""8 · Batching: tokens of two groups through one matrix, and a step for users in prefill and in decode."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...configs import model
from ...masks import Causal
from ...ops import concatenate, store
from ...sizes import symbols
from ...tensor import Tensor, fuse, tensors
from ...transformer import attention
from .question import Build

b, N, T, f, h = symbols("b N T f h")
LLAMA = model("llama-2-7b")


def together(A: Any, C: Any, W: Any) -> Any:
    """One product for all tokens."""
    out = concatenate((A, C)) @ W
    return out[: A.shape[0]], out[A.shape[0] :]


def apart(A: Any, C: Any, W: Any) -> Any:
    """W is read twice."""
    return A @ W, C @ W


def joined(A: Any, C: Any, W: Any) -> Any:
    """Not cut again."""
    return concatenate((A, C)) @ W


def other_way(A: Any, C: Any, W: Any) -> Any:
    """The groups swapped."""
    return fuse(apart)(C, A, W)


def summed(A: Any, C: Any, W: Any) -> Any:
    """The same tokens twice."""
    return fuse(apart)(A, A, W)


def plain_together(A: Any, C: Any, W: Any) -> Any:
    """In NumPy."""
    return np.dot(A, W), np.dot(C, W)


def step(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, N: Any) -> Any:
    """Projections together, attention apart."""
    q, k, v = X @ W_q, X @ W_k, X @ W_v
    prompt = attention(q[:N], k[:N], v[:N], Causal())
    users = K.shape[0]
    store(k[N:].reshape(users, 1, -1), into=K)
    store(v[N:].reshape(users, 1, -1), into=V)
    return prompt, attention(q[N:].reshape(users, 1, -1), K, V)


def looks_ahead(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, N: Any) -> Any:
    """The prompt without a mask."""
    q, k, v = X @ W_q, X @ W_k, X @ W_v
    prompt = attention(q[:N], k[:N], v[:N])
    users = K.shape[0]
    store(k[N:].reshape(users, 1, -1), into=K)
    store(v[N:].reshape(users, 1, -1), into=V)
    return prompt, attention(q[N:].reshape(users, 1, -1), K, V)


def not_stored(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, N: Any) -> Any:
    """The caches as they were."""
    q, k, v = X @ W_q, X @ W_k, X @ W_v
    return attention(q[:N], k[:N], v[:N], Causal()), attention(q[N:].reshape(K.shape[0], 1, -1), K, V)


def weights_twice(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, N: Any) -> Any:
    """Each group with its own projections."""
    P, D = X[:N], X[N:].reshape(K.shape[0], 1, -1)
    prompt = attention(P @ W_q, P @ W_k, P @ W_v, Causal())
    store(D @ W_k, into=K)
    store(D @ W_v, into=V)
    return prompt, attention(D @ W_q, K, V)


def plain_step(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, N: int) -> Any:
    """In NumPy, token by token."""
    q, k, v = (np.dot(X, W) for W in (W_q, W_k, W_v))
    K[:, -1], V[:, -1] = k[N:], v[N:]
    prompt = np.stack([_one(q[i], k[: i + 1], v[: i + 1]) for i in range(N)])
    return prompt, np.stack([_one(q[N + i], K[i], V[i])[None] for i in range(len(K))])


def _one(q: Any, K: Any, V: Any) -> Any:
    e = np.exp(K @ q - (K @ q).max())
    return e / e.sum() @ V


QUESTIONS = {
    "08.together": Build(
        title="Two groups, one matrix",
        asks="""*A* (*N*, *h*) are the tokens of a prompt, *C* (*b*, *h*) one new token for each of *b*
users. Both go through *W* (*h*, *f*). Return both products, that of *A* first, so that *W* is read once.
`rk.concatenate((a, b))` puts rows below rows, and slices such as `Y[:N]` are free.""",
        call="together(A, C, W)",
        takes=lambda: (Tensor("A", (N, h)), Tensor("C", (b, h)), Tensor("W", (h, f), role="weight")),
        right=together,
        plain=plain_together,
        draws=(
            {"N": 5, "b": 2, "h": 3, "f": 7},
            {"N": 1, "b": 1, "h": 1, "f": 1},
            {"N": 2, "b": 7, "h": 4, "f": 1},
            {"N": 3, "b": 4, "h": 8, "f": 5},
        ),
        typical={"N": 512, "b": 16, "h": LLAMA.hidden, "f": LLAMA.mlp_hidden},
        learned="The tokens of the prompt pay for the weights, and decode rides along: chunked prefill lives on that.",
        hint="One product, for the rows of both groups.",
        slips={
            apart: "W is read twice, once for each group: one product could serve both.",
            joined: "Cut the product again: the prompt's rows first, then the users'.",
            other_way: "The prompt's result comes first.",
            summed: "The second result belongs to C.",
        },
    ),
    "08.step": Build(
        title="A step for two groups of users",
        asks="""The first *N* rows of *X* (*N* + *b*, *h*) are a prompt, and the others one
new token for each of *b* users, whose caches *K* and *V* are (*b*, *T*, *h*) with their last row free. One head of
width *h*, no scale. Project all rows at once by *W_q*, *W_k*, *W_v* (*h*, *h*); the prompt attends to itself,
causally, and each user to their cache, into which `rk.store(x, into=K)` puts the new keys, as (*b*, 1, *h*), and
the values alike. Return the prompt's result (*N*, *h*) and the users' (*b*, 1, *h*).""",
        call="mixed_step(X, K, V, W_q, W_k, W_v, N)",
        takes=lambda: (Tensor("X", (N + b, h)), *tensors("K V", (b, T, h)), *tensors("W_q W_k W_v", (h, h)), N),
        right=step,
        plain=plain_step,
        draws=(
            {"N": 5, "b": 2, "T": 3, "h": 4},
            {"N": 1, "b": 1, "T": 1, "h": 1},
            {"N": 2, "b": 3, "T": 7, "h": 2},
            {"N": 3, "b": 4, "T": 5, "h": 3},
        ),
        typical={"N": 512, "b": 16, "T": 1024, "h": LLAMA.hidden},
        learned="Projections are shared, caches are not: that is why servers put both groups into one step.",
        hint="Three products for all rows, a causal attention for the prompt, one of single queries for the users.",
        slips={
            looks_ahead: "The prompt's tokens still see those after them: where is the mask?",
            not_stored: "The users' new keys and values are not in their caches: rk.store puts them there.",
            weights_twice: "Each weight is read twice, once for each group: project all rows at once, and cut then.",
        },
    ),
}
