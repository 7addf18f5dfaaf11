"""8 · Batching: tokens of two groups through one matrix, and a step for users in prefill and in decode."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...masks import Causal
from ...models import model
from ...ops import concatenate, store
from ...sizes import symbols
from ...tensor import Tensor, fuse, tensors
from ...transformer import attention
from .question import Build

B, S, h, m, n = symbols("B S h m n")
LLAMA = model("llama-2-7b")


def together(P: Any, D: Any, W: Any) -> Any:
    """One product for all tokens."""
    out = concatenate((P, D)) @ W
    return out[: P.shape[0]], out[P.shape[0] :]


def apart(P: Any, D: Any, W: Any) -> Any:
    """W is read twice."""
    return P @ W, D @ W


def joined(P: Any, D: Any, W: Any) -> Any:
    """Not cut again."""
    return concatenate((P, D)) @ W


def other_way(P: Any, D: Any, W: Any) -> Any:
    """The groups swapped."""
    return fuse(apart)(D, P, W)


def summed(P: Any, D: Any, W: Any) -> Any:
    """The same tokens twice."""
    return fuse(apart)(P, P, W)


def plain_together(P: Any, D: Any, W: Any) -> Any:
    """In NumPy."""
    return np.dot(P, W), np.dot(D, W)


def step(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, n: Any) -> Any:
    """Projections together, attention apart."""
    q, k, v = X @ W_q, X @ W_k, X @ W_v
    prompt = attention(q[:n], k[:n], v[:n], Causal())
    users = K.shape[0]
    store(k[n:].reshape(users, 1, -1), into=K)
    store(v[n:].reshape(users, 1, -1), into=V)
    return prompt, attention(q[n:].reshape(users, 1, -1), K, V)


def looks_ahead(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, n: Any) -> Any:
    """The prompt without a mask."""
    q, k, v = X @ W_q, X @ W_k, X @ W_v
    prompt = attention(q[:n], k[:n], v[:n])
    users = K.shape[0]
    store(k[n:].reshape(users, 1, -1), into=K)
    store(v[n:].reshape(users, 1, -1), into=V)
    return prompt, attention(q[n:].reshape(users, 1, -1), K, V)


def not_stored(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, n: Any) -> Any:
    """The caches as they were."""
    q, k, v = X @ W_q, X @ W_k, X @ W_v
    return attention(q[:n], k[:n], v[:n], Causal()), attention(q[n:].reshape(K.shape[0], 1, -1), K, V)


def weights_twice(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, n: Any) -> Any:
    """Each group with its own projections."""
    P, D = X[:n], X[n:].reshape(K.shape[0], 1, -1)
    prompt = attention(P @ W_q, P @ W_k, P @ W_v, Causal())
    store(D @ W_k, into=K)
    store(D @ W_v, into=V)
    return prompt, attention(D @ W_q, K, V)


def plain_step(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, n: int) -> Any:
    """In NumPy, token by token."""
    q, k, v = (np.dot(X, W) for W in (W_q, W_k, W_v))
    K[:, -1], V[:, -1] = k[n:], v[n:]
    prompt = np.stack([_one(q[i], k[: i + 1], v[: i + 1]) for i in range(n)])
    return prompt, np.stack([_one(q[n + i], K[i], V[i])[None] for i in range(len(K))])


def _one(q: Any, K: Any, V: Any) -> Any:
    e = np.exp(K @ q - (K @ q).max())
    return e / e.sum() @ V


QUESTIONS = {
    "08.together": Build(
        title="Two groups, one matrix",
        asks="""*P* (*n*, *h*) are the tokens of a prompt, *D* (*B*, *h*) one new token for each of *B*
users. Both go through *W* (*h*, *m*). Return both products, `P` first, so that *W* is read once.
`rk.concatenate((a, b))` puts rows below rows, and slices such as `Y[:n]` are free.""",
        call="together(P, D, W)",
        takes=lambda: (Tensor("P", (n, h)), Tensor("D", (B, h)), Tensor("W", (h, m), role="weight")),
        right=together,
        plain=plain_together,
        draws=(
            {"n": 5, "B": 2, "h": 3, "m": 7},
            {"n": 1, "B": 1, "h": 1, "m": 1},
            {"n": 2, "B": 7, "h": 4, "m": 1},
            {"n": 3, "B": 4, "h": 8, "m": 5},
        ),
        typical={"n": 512, "B": 16, "h": LLAMA.hidden, "m": LLAMA.mlp_hidden},
        learned="The tokens of the prompt pay for the weights, and decode rides along: chunked prefill lives on that.",
        hint="One product, for the rows of both groups.",
        slips={
            apart: "W is read twice, once for each group: one product could serve both.",
            joined: "Cut the product again: the prompt's rows first, then the users'.",
            other_way: "The prompt's result comes first.",
            summed: "The second result belongs to D.",
        },
    ),
    "08.step": Build(
        title="A step for two groups of users",
        asks="""The first *n* rows of *X* (*n* + *B*, *h*) are a prompt, and the others one new
token for each of *B* users, whose caches *K* and *V* are (*B*, *S*, *h*) with their last row free. One head of
width *h*, no scale. Project all rows at once by *W_q*, *W_k*, *W_v* (*h*, *h*); the prompt attends to itself,
causally, and each user to their cache, into which `rk.store(x, into=K)` puts the new key, and the value alike.
Return the prompt's result (*n*, *h*) and the users' (*B*, 1, *h*).""",
        call="mixed_step(X, K, V, W_q, W_k, W_v, n)",
        takes=lambda: (Tensor("X", (n + B, h)), *tensors("K V", (B, S, h)), *tensors("W_q W_k W_v", (h, h)), n),
        right=step,
        plain=plain_step,
        draws=(
            {"n": 5, "B": 2, "S": 3, "h": 4},
            {"n": 1, "B": 1, "S": 1, "h": 1},
            {"n": 2, "B": 3, "S": 7, "h": 2},
            {"n": 3, "B": 4, "S": 5, "h": 3},
        ),
        typical={"n": 512, "B": 16, "S": 1024, "h": LLAMA.hidden},
        learned="Projections are shared, caches are not: that is why servers put both groups into one step.",
        hint="Three products for all rows, a causal attention for the prompt, one of single queries for the users.",
        slips={
            looks_ahead: "The prompt's tokens still see those after them: where is the mask?",
            not_stored: "The users' new keys and values are not in their caches: rk.store puts them there.",
            weights_twice: "Each weight is read twice, once for each group: project all rows at once, and cut then.",
        },
    ),
}
