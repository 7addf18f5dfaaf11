"""What students answer where a page asks for an algorithm: right answers in several forms, and wrong ones with words.

As they would stand in a notebook. Wrong ones that the kit knows (the slips in `course/builds/`), and those of every
question (a loop without an end, a forgotten return, …), are tested beside these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import roofline_kit as rk

Answers = dict[str, list[Any]]
RIGHT: dict[str, list[Callable[..., Any]]] = {}
WRONG: dict[str, list[tuple[Callable[..., Any], str]]] = {}

# --- 01 -------------------------------------------------------------------------------------------


def in_two_lines(A: Any, B: Any, x: Any) -> Any:
    y = B @ x
    return A @ y


RIGHT["01.order"] = [
    in_two_lines,
    lambda A, B, x: A @ (B @ x),
    lambda A, B, x: rk.matmul(A, rk.matmul(B, x)),
    rk.fuse(in_two_lines),
    lambda A, B, x: (A @ (B @ x.reshape(-1, 1))).reshape(-1),
]
WRONG["01.order"] = [
    (lambda A, B, x: A @ B @ x, "where would parentheses help"),
    (rk.fuse(lambda A, B, x: A @ B @ x), "must one of them be a matrix"),
    (lambda A, B, x: A @ B, "has the shape (2, 2), and must have (2,)"),
    (lambda A, B, x: A @ x, "wrong in"),
    (lambda A, B, x: (B @ x) @ A, "wrong in 2 of 2 elements"),
    (lambda A, B, x: A * B * x, "must have (2,)"),
    (lambda A, B, x: np.dot(A, np.dot(B, x)), "np.dot cannot compute with"),
    (lambda A, B, x: A.T @ (B @ x), "The worst: ["),
]


@rk.fuse
def powers(x: Any) -> Any:
    total = power = 1.0
    for _ in range(256):
        power = power * x
        total = total + power
    return total


def from_x(x: Any) -> Any:
    y = x + 1
    for _ in range(255):
        y = x * y + 1
    return y


RIGHT["01.series"] = [powers, rk.fuse(from_x), lambda x: rk.fuse(from_x)(x)]
WRONG["01.series"] = [
    (from_x, "how many steps should it be"),
    (lambda x: sum(x**i for i in range(257)), "unsupported operand type(s) for ** or pow()"),
    (lambda x: 1 / (1 - x), "wrong in"),
    (rk.fuse(lambda x: x * x * 256), "wrong in"),
    (lambda x: rk.fuse(lambda y: y * x + 1)(x), "wrong in"),
    (lambda x: np.polyval(np.ones(257), x), "must return Tensors"),
    (lambda x: rk.sum(powers(x)), "has the shape (), and must have (2,)"),
    (rk.fuse(lambda x: 1 / (1 - x)), "wrong in"),
]

# --- 02 -------------------------------------------------------------------------------------------


def by_methods(S: Any) -> Any:
    D = S - S.max(axis=-1, keepdims=True)
    E = rk.exp(D)
    return E / E.sum(axis=-1, keepdims=True)


def transposed(S: Any) -> Any:
    D = S.T - rk.max(S.T, axis=0)
    E = rk.exp(D)
    return (E / rk.sum(E, axis=0)).T


def twice(S: Any) -> Any:
    D = S - rk.max(S, keepdims=True)
    return rk.exp(D) / rk.sum(rk.exp(D), keepdims=True)


def no_keepdims(S: Any) -> Any:
    E = rk.exp(S - rk.max(S))
    return E / rk.sum(E)


def with_numpy(S: Any) -> Any:
    E = np.exp(S - S.max(axis=-1, keepdims=True))
    return E / E.sum(axis=-1, keepdims=True)


def sum_of_scores(S: Any) -> Any:
    E = rk.exp(S - rk.max(S, keepdims=True))
    return E / rk.sum(S, keepdims=True)


RIGHT["02.passes"] = [by_methods, transposed]
WRONG["02.passes"] = [
    (twice, "It takes more FLOPs and more bytes than wanted: look at step ④"),
    (no_keepdims, "cannot be broadcast"),
    (with_numpy, "rk.exp, not np.exp"),
    (sum_of_scores, "that of the exponentials, not of the scores"),
    (lambda S: rk.exp(S) / rk.sum(rk.exp(S), keepdims=True), "[0, 0] is nan"),
    (lambda S: S / rk.sum(S, keepdims=True), "wrong in"),
    (lambda S: [by_methods(row) for row in S], "Python cannot test it, loop over it"),
    (lambda S: by_methods(S).T, "has the shape (5, 2), and must have (2, 5)"),
]
RIGHT["02.once"] = [rk.fuse(by_methods), lambda S: rk.fuse(by_methods)(S), rk.fuse(transposed)]
WRONG["02.once"] = [
    (rk.fuse(twice), "It takes more FLOPs than wanted: look at step ① twice(S)"),
    (by_methods, "Each line is still a pass of its own"),
    (rk.fuse(with_numpy), "rk.exp, not np.exp"),
    (rk.fuse(sum_of_scores), "that of the exponentials, not of the scores"),
    (lambda S: rk.fuse(rk.softmax)(S), "put your own five lines into one step"),
    (
        lambda S: rk.fuse(lambda E: E / E.sum(axis=-1, keepdims=True))(rk.exp(S - rk.max(S, keepdims=True))),
        "more bytes",
    ),
    (lambda S: rk.fuse(by_methods), "is of type function, and must be an array of numbers"),
]

# --- 03 -------------------------------------------------------------------------------------------


def scaled(Q: Any, K: Any, V: Any) -> Any:
    S = rk.matmul(Q, K.mT, rk.Causal())
    return rk.softmax(S * Q.shape[-1] ** -0.5) @ V


def mask_by_hand(Q: Any, K: Any, V: Any) -> Any:
    S = Q @ K.mT + np.triu(np.full((Q.shape[-2], Q.shape[-2]), -np.inf), 1)
    return rk.softmax(S) @ V


RIGHT["03.causal"] = [
    lambda Q, K, V: rk.attention(Q, K, V, rk.Causal()),
    lambda Q, K, V: rk.softmax(rk.matmul(Q, K.swapaxes(-1, -2), mask=rk.Causal())) @ V,
    rk.fuse(lambda Q, K, V: rk.attention(Q, K, V, rk.Causal())),
]
WRONG["03.causal"] = [
    (lambda Q, K, V: rk.softmax(Q @ K.mT) @ V, "Each token still sees those after it"),
    (lambda Q, K, V: rk.softmax(Q @ K.T) @ V, ".mT swaps the last two"),
    (scaled, "Scores are not divided by √d here"),
    (mask_by_hand, "line"),
    (lambda Q, K, V: rk.matmul(rk.softmax(Q @ K.mT), V, rk.Causal()), "wrong"),
    (lambda Q, K, V: rk.attention(Q, K, V, rk.Causal(window=1)), "wrong in"),
    (lambda Q, K, V: rk.attention(Q, K, V, "causal"), "it must be a Causal, or None"),
    (lambda Q, K, V: rk.attention(Q, V, K, rk.Causal()), "wrong in"),
]


def gate_by_lines(X: Any, W_gate: Any, W_up: Any, W_down: Any) -> Any:
    Z = X @ W_gate
    return (Z / (1 + rk.exp(-Z)) * (X @ W_up)) @ W_down


@rk.fuse
def gate(Z: Any, U: Any) -> Any:
    return Z / (1 + rk.exp(-Z)) * U


RIGHT["03.gated"] = [
    lambda X, W_gate, W_up, W_down: (X @ W_up * rk.silu(X @ W_gate)) @ W_down,
    lambda X, W_gate, W_up, W_down: rk.mlp(X, W_up, W_down, W_gate, "silu"),
    lambda X, W_gate, W_up, W_down: gate(X @ W_gate, X @ W_up) @ W_down,
]
WRONG["03.gated"] = [
    (gate_by_lines, "more bytes than wanted: look at step"),
    (lambda X, W_gate, W_up, W_down: rk.silu(X @ W_gate) * (X @ W_up), "must have (3, 4)"),
    (lambda X, W_gate, W_up, W_down: (rk.silu(X @ W_gate) @ (X @ W_up)) @ W_down, "do not match"),
    (lambda X, W_gate, W_up, W_down: rk.mlp(X, W_gate, W_down, W_up, "silu"), "silu belongs to the other half"),
    (lambda X, W_gate, W_up, W_down: rk.mlp(X, W_up, W_down, W_gate), "Llama has silu"),
    (lambda X, W_gate, W_up, W_down: (np.tanh(X @ W_gate) * (X @ W_up)) @ W_down, "not np.exp"),
]

# --- 04 -------------------------------------------------------------------------------------------


def as_more_queries(Q: Any, K: Any, V: Any) -> Any:
    G, _, d = K.shape
    S = Q.reshape(G, -1, d) @ K.mT
    return (rk.softmax(S) @ V).reshape(*Q.shape)


def with_a_group(Q: Any, K: Any, V: Any) -> Any:
    G, S, d = K.shape
    out = rk.softmax(Q.reshape(G, -1, Q.shape[1], d) @ K.reshape(G, 1, S, d).mT) @ V.reshape(G, 1, S, d)
    return out.reshape(*Q.shape)


def copied(Q: Any, K: Any, V: Any) -> Any:
    G, S, d = K.shape
    r = Q.shape[0] // G
    K, V = (rk.concatenate([x.reshape(G, 1, S, d)] * 2, axis=1) for x in (K, V))
    return rk.attention(Q, K.reshape(G * r, S, d), V.reshape(G * r, S, d))


def head_by_head(Q: Any, K: Any, V: Any) -> Any:
    r = Q.shape[0] // K.shape[0]
    return rk.concatenate([rk.attention(Q[i], K[i // r], V[i // r]) for i in range(Q.shape[0])])


def not_back(Q: Any, K: Any, V: Any) -> Any:
    G, S, d = K.shape
    return rk.attention(Q.reshape(G, -1, Q.shape[1], d), K.reshape(G, 1, S, d), V.reshape(G, 1, S, d))


def copied_by_adding(Q: Any, K: Any, V: Any) -> Any:
    G, S, d = K.shape
    beside = Q.reshape(G, -1, Q.shape[1], d)
    K, V = (x.reshape(G, 1, S, d) + 0 * beside[:, :, :1, :] for x in (K, V))
    return rk.attention(beside, K, V).reshape(*Q.shape)


RIGHT["04.groups"] = [as_more_queries, with_a_group, rk.fuse(with_a_group)]
WRONG["04.groups"] = [
    (lambda Q, K, V: rk.attention(Q, K, V), "cannot be broadcast"),
    (lambda Q, K, V: rk.attention(Q, np.repeat(K, 2, axis=0), V), "np.repeat cannot compute with"),
    (copied, "cannot reshape"),
    (copied_by_adding, "K and V must not be copied"),
    (head_by_head, "open size"),
    (not_back, "has the shape (2, 3, 1, 4), and must have (6, 1, 4)"),
    (lambda Q, K, V: rk.attention(Q.reshape(K.shape[0], -1, *Q.shape[1:]), K, V), "cannot be broadcast"),
    (lambda Q, K, V: as_more_queries(Q, V, K), "wrong in"),
]


def in_one_line(q: Any, k: Any, v: Any, K: Any, V: Any) -> Any:
    return rk.attention(q, rk.store(k, into=K), rk.store(v, into=V))


def values_first(q: Any, k: Any, v: Any, K: Any, V: Any) -> Any:
    rk.store(v, into=V)
    rk.store(k, into=K)
    P = rk.fuse(lambda q, K: rk.softmax(q @ K.mT))(q, K)
    return P @ V


def only_keys(q: Any, k: Any, v: Any, K: Any, V: Any) -> Any:
    rk.store(k, into=K)
    return rk.attention(q, K, V)


def too_late(q: Any, k: Any, v: Any, K: Any, V: Any) -> Any:
    out = rk.attention(q, K, V)
    rk.store(k, into=K)
    rk.store(v, into=V)
    return out


def assigned(q: Any, k: Any, v: Any, K: Any, V: Any) -> Any:
    K[:, -1:] = k
    V[:, -1:] = v
    return rk.attention(q, K, V)


def all_three(q: Any, k: Any, v: Any, K: Any, V: Any) -> Any:
    return in_one_line(q, k, v, K, V), K, V


def longer(q: Any, k: Any, v: Any, K: Any, V: Any) -> Any:
    return rk.attention(q, rk.concatenate((K, k), axis=1), rk.concatenate((V, v), axis=1))


RIGHT["04.decode"] = [in_one_line, values_first]
WRONG["04.decode"] = [
    (lambda q, k, v, K, V: rk.attention(q, K, V), "The new key and value are not in the caches"),
    (only_keys, "the argument V must hold something new afterwards: it is wrong in 8 of 40 elements"),
    (too_late, "A token attends to itself as well"),
    (assigned, "does not support item assignment"),
    (all_three, "returns 3 arrays, and must return one array"),
    (longer, "the argument K must hold something new"),
    (lambda q, k, v, K, V: in_one_line(q, v, k, K, V), "the argument K must hold something new"),
    (lambda q, k, v, K, V: rk.attention(q, rk.store(k, K[:, :-1]), V), "line"),
]

# --- 05 -------------------------------------------------------------------------------------------


@rk.fuse
def by_relu(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    S = q @ k.T
    new = m + rk.relu(rk.max(S, keepdims=True) - m)
    P, old = rk.exp(S - new), rk.exp(m - new)
    return new, total * old + rk.sum(P, keepdims=True), out * old + P @ v


def flash_step(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    S = q @ k.T
    new = rk.max(rk.concatenate((m, S), axis=-1), keepdims=True)
    P, old = rk.exp(S - new), rk.exp(m - new)
    return new, old * total + P.sum(axis=-1, keepdims=True), old * out + P @ v


def by_pythons_max(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    S = q @ k.T
    new = max(m, rk.max(S, keepdims=True))
    return new, total, out


def by_numpys_maximum(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    S = q @ k.T
    new = np.maximum(m, S.max(axis=-1, keepdims=True))
    return new, total, out


def flat_sum(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    new, _, out = flash_step(q, k, v, m, total, out)
    return new, total + rk.sum(rk.exp(q @ k.T - new)), out


@rk.fuse
def in_two_maxima(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    S = q @ k.T
    new = rk.max(rk.concatenate((m, rk.max(S, keepdims=True)), axis=-1), keepdims=True)
    P, old = rk.exp(S - new), rk.exp(m - new)
    return new, total * old + rk.sum(P, keepdims=True), out * old + P @ v


RIGHT["05.inner"] = [in_two_maxima, rk.fuse(flash_step), lambda *six: rk.fuse(flash_step)(*six)]
WRONG["05.inner"] = [
    (by_relu, "Before the first tile m is -inf, and -inf + inf is nan"),
    (by_relu, "with B = 3, T = 2, d = 3, m = -inf, total = 0, out = 0, result 1 of 3 is wrong"),
    (flash_step, "put the function into rk.fuse"),
    (by_pythons_max, "'>' not supported between instances"),
    (by_numpys_maximum, "np.maximum cannot compute with"),
    (lambda *six: rk.fuse(flash_step)(*six)[2], "returns one array, and must return 3 arrays"),
    (lambda *six: rk.fuse(flash_step)(*six)[::-1], "result 1 of 3 has the shape (2, 3), and must have (2, 1)"),
    (flat_sum, "result 2 of 3 has the shape (2, 2), and must have (2, 1)"),
    (rk.fuse(lambda q, k, v, m, total, out: (m, total, rk.attention(q, k, v))), "result 1 of 3 is wrong"),
]


@rk.fuse
def by_one_ratio(out1: Any, lse1: Any, out2: Any, lse2: Any) -> Any:
    a = 1 / (1 + rk.exp(lse2 - lse1))
    return out1 * a + out2 * (1 - a)


@rk.fuse
def by_softmax(out1: Any, lse1: Any, out2: Any, lse2: Any) -> Any:
    P = rk.softmax(rk.concatenate((lse1, lse2), axis=-1))
    return out1 * P[:, :1] + out2 * P[:, 1:]


RIGHT["05.merge"] = [by_one_ratio, by_softmax]
WRONG["05.merge"] = [
    (by_softmax.__wrapped__, "rk.fuse"),
    (rk.fuse(lambda out1, lse1, out2, lse2: (out1 + out2) * 0.5), "A half with larger scores weighs more"),
    (rk.fuse(lambda out1, lse1, out2, lse2: out1 + out2), "wrong in"),
    (lambda out1, lse1, out2, lse2: out1 * np.exp(lse1) + out2 * np.exp(lse2), "rk.exp, not np.exp"),
    (lambda out1, lse1, out2, lse2: out1 if lse1 > lse2 else out2, "not supported between instances"),
    (lambda out1, lse1, out2, lse2: rk.concatenate((out1, out2)), "has the shape (4, 5), and must have (2, 5)"),
    (rk.fuse(lambda out1, lse1, out2, lse2: by_one_ratio(out2, lse1, out1, lse2)), "Each half has its own weight"),
]

# --- 06 -------------------------------------------------------------------------------------------


def weights_apart(q: Any, K: Any, V: Any, g: Any, w: Any) -> Any:
    E1, E2 = rk.exp(q @ K[:g].T), rk.exp(q @ K[-w:].T)
    return (E1 @ V[:g] + E2 @ V[-w:]) / (rk.sum(E1, keepdims=True) + rk.sum(E2, keepdims=True))


def scores_beside(q: Any, K: Any, V: Any, g: Any, w: Any) -> Any:
    far, near = q @ K[:g].mT, q @ K[K.shape[0] - w :].mT
    P = rk.softmax(rk.concatenate([far, near], axis=1))
    return P[..., :g] @ V[:g] + P[..., g:] @ V[V.shape[0] - w :]


def keys_beside(q: Any, K: Any, V: Any, g: Any, w: Any) -> Any:
    K, V = (rk.concatenate((x[:g], x[-w:])) for x in (K, V))
    return rk.attention(q, K, V)


def keys_by_number(q: Any, K: Any, V: Any, g: Any, w: Any) -> Any:
    seen = [*range(g), *range(len(K) - w, len(K))]
    return rk.attention(q, K[seen], V[seen])


RIGHT["06.sinks"] = [scores_beside, rk.fuse(scores_beside), weights_apart]
WRONG["06.sinks"] = [
    (keys_beside, "put scores side by side, not keys"),
    (keys_by_number, "open size"),
    (lambda q, K, V, g, w: rk.attention(q, np.concatenate((K[:g], K[-w:])), V), "np.concatenate cannot compute"),
    (lambda q, K, V, g, w: rk.attention(q, K[:w], V[:w]), "wrong in"),
    (lambda q, K, V, g, w: rk.attention(q, K[-w:], V[:w]), "wrong in"),
    (lambda q, K, V, g, w: rk.attention(q, K, V, rk.Causal(window=w)), "wrong in"),
    (lambda q, K, V, g, w: rk.attention(q, K[g : g + w], V[g : g + w]), "wrong in"),
]


def by_words(q: Any, K: Any, V: Any, chosen: Any, b: Any) -> Any:
    d = q.shape[-1]
    k = rk.take(K.reshape(-1, b * d), chosen)
    v = rk.take(V.reshape(-1, b * d), chosen)
    return rk.softmax(q @ k.reshape(-1, d).T) @ v.reshape(-1, d)


def one_by_one(q: Any, K: Any, V: Any, chosen: Any, b: Any) -> Any:
    return rk.attention(q, rk.concatenate([K[i * b : (i + 1) * b] for i in chosen]), V)


RIGHT["06.blocks"] = [by_words, rk.fuse(by_words)]
WRONG["06.blocks"] = [
    (one_by_one, "loop over it"),
    (lambda q, K, V, chosen, b: rk.attention(q, K[chosen], V[chosen]), "line"),
    (lambda q, K, V, chosen, b: by_words(q, K, V, chosen, 1), "chosen numbers blocks, not tokens"),
    (lambda q, K, V, chosen, b: by_words(q, V, K, chosen, b), "wrong in"),
    (lambda q, K, V, chosen, b: by_words(q, K + 0, V + 0, chosen, b), "Only the chosen blocks may be read"),
    (
        lambda q, K, V, chosen, b: rk.attention(q, rk.take(K.reshape(-1, b, q.shape[-1]), chosen), V),
        "take: the indices",
    ),
]

# --- 07 -------------------------------------------------------------------------------------------


def kits_parts(X: Any, w: Any, heads: Any, cos: Any, sin: Any, **how: Any) -> Any:
    names = ("query", "key", "value", "output")
    how = {"causal": True, "rotation": (cos, sin)} | how
    normed = rk.norm(X, w["attention_norm"])
    X = X + rk.multi_head_attention(normed, *(w[name] for name in names), heads=heads, **how)
    normed = rk.norm(X, w["mlp_norm"])
    return X + (rk.silu(normed @ w["gate"]) * (normed @ w["up"])) @ w["down"]


def line_by_line(X: Any, w: Any, heads: Any, cos: Any, sin: Any) -> Any:
    normed = rk.rms_norm(X, w["attention_norm"], 1e-5)
    q, k, v = (normed @ w[name] for name in ("query", "key", "value"))
    q, k, v = (x.reshape(X.shape[0], heads, -1).swapaxes(0, 1) for x in (q, k, v))
    q, k = rk.rotary(q, cos, sin), rk.rotary(k, cos, sin)
    P = rk.softmax(rk.matmul(q / q.shape[-1] ** 0.5, k.mT, rk.Causal()))
    X = X + (P @ v).swapaxes(0, 1).reshape(*X.shape) @ w["output"]
    return X + rk.mlp(rk.rms_norm(X, w["mlp_norm"], 1e-5), w["up"], w["down"], w["gate"], "silu")


def scores_scaled(X: Any, w: Any, heads: Any, cos: Any, sin: Any) -> Any:
    normed = rk.norm(X, w["attention_norm"])
    q, k, v = (rk.split_heads(normed @ w[name], heads) for name in ("query", "key", "value"))
    S = rk.matmul(rk.rotary(q, cos, sin), rk.rotary(k, cos, sin).mT, rk.Causal()) * q.shape[-1] ** -0.5
    X = X + rk.merge_heads(rk.softmax(S) @ v) @ w["output"]
    return X + rk.mlp(rk.norm(X, w["mlp_norm"]), w["up"], w["down"], w["gate"], "silu")


RIGHT["07.layer"] = [kits_parts, line_by_line, lambda *five: kits_parts(*five, fused=True)]
WRONG["07.layer"] = [
    (rk.decoder_layer, "rk.decoder_layer would be the answer"),
    (lambda X, w, heads, cos, sin: rk.decoder_layer(X, w, heads=heads), "rk.decoder_layer would be the answer"),
    (lambda *five: kits_parts(*five, causal=False), "where is the mask"),
    (lambda *five: kits_parts(*five, rotation=None), "The positions are missing"),
    (scores_scaled, "more bytes than wanted"),
    (lambda X, w, heads, cos, sin: kits_parts(X, w, 1, cos, sin), "cos has the shape (N, d), and must have (N, H*d)"),
    (lambda X, w, heads, cos, sin: kits_parts(X, w, heads, sin, cos), "wrong in"),
    (lambda X, w, heads, cos, sin: X @ w["Query"], "KeyError: 'Query'"),
]
RIGHT["07.logits"] = [
    lambda X, weight, W: rk.norm(X[:, -1:, :], weight) @ W,
    rk.fuse(lambda X, weight, W: rk.rms_norm(X[..., -1:, :], weight, 1e-5) @ W),
    lambda X, weight, W: rk.linear(rk.norm(X[:, X.shape[1] - 1 :], weight), W),
]
WRONG["07.logits"] = [
    (lambda X, weight, W: rk.norm(X[:, -1], weight) @ W, "Slices such as [:, -1:] cut it"),
    (lambda X, weight, W: rk.norm(X[-1:], weight) @ W, "has the shape (1, 3, 7), and must have (2, 1, 7)"),
    (lambda X, weight, W: rk.softmax(rk.norm(X[:, -1:], weight) @ W), "wrong in"),
    (lambda X, weight, W: rk.norm(X[:, -1:] @ W, weight), "cannot be broadcast"),
    (lambda X, weight, W: rk.layer_norm(X[:, -1:], weight) @ W, "wrong in"),
    (lambda X, weight, W: W @ rk.norm(X[:, -1:], weight), "do not match"),
]

# --- 08 -------------------------------------------------------------------------------------------


def cut(P: Any, D: Any, W: Any) -> Any:
    n = P.shape[0]
    Y = rk.linear(rk.concatenate([P, D], axis=0), W)
    return Y[:n], Y[n:]


RIGHT["08.together"] = [cut, rk.fuse(lambda P, D, W: (P @ W, D @ W)), rk.fuse(cut)]
WRONG["08.together"] = [
    (lambda P, D, W: (P @ W, D @ W), "W is read twice"),
    (lambda P, D, W: np.concatenate((P, D)) @ W, "np.concatenate cannot compute"),
    (lambda P, D, W: (P + D) @ W, "cannot be broadcast"),
    (lambda P, D, W: cut(P, D, W)[::-1], "must have (5, 7)"),
    (lambda P, D, W: rk.concatenate((P, D), axis=1) @ W, "all other sizes must be the same"),
    (lambda P, D, W: cut(D, P, W), "The prompt's result comes first"),
]


def by_fusion(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, n: Any) -> Any:
    q, k, v = rk.fuse(lambda X, a, b, c: (X @ a, X @ b, X @ c))(X, W_q, W_k, W_v)
    mine = [x[n:].reshape(-1, 1, X.shape[1]) for x in (q, k, v)]
    rk.store(mine[1], into=K)
    rk.store(mine[2], into=V)
    return rk.attention(q[:n], k[:n], v[:n], rk.Causal()), rk.attention(mine[0], K, V)


def line_after_line(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, n: Any) -> Any:
    q, k, v = X @ W_q, X @ W_k, X @ W_v
    S = rk.matmul(q[:n], k[:n].T, rk.Causal())
    prompt = rk.softmax(S) @ v[:n]
    K = rk.store(k[n:].reshape(K.shape[0], 1, K.shape[2]), into=K)
    V = rk.store(v[n:].reshape(K.shape[0], 1, K.shape[2]), into=V)
    P = rk.softmax(q[n:].reshape(K.shape[0], 1, K.shape[2]) @ K.mT)
    return prompt, P @ V


def not_stored(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, n: Any) -> Any:
    q, k, v = X @ W_q, X @ W_k, X @ W_v
    return rk.attention(q[:n], k[:n], v[:n], rk.Causal()), rk.attention(q[n:].reshape(-1, 1, X.shape[1]), K, V)


def all_in_one(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, n: Any) -> Any:
    return rk.attention(X @ W_q, X @ W_k, X @ W_v, rk.Causal())


def flat(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, n: Any) -> Any:
    prompt, users = line_after_line(X, K, V, W_q, W_k, W_v, n)
    return prompt, users.reshape(-1, X.shape[1])


def user_by_user(X: Any, K: Any, V: Any, W_q: Any, W_k: Any, W_v: Any, n: Any) -> Any:
    return [rk.attention(X[n + i :] @ W_q, K[i], V[i]) for i in range(K.shape[0])]


RIGHT["08.step"] = [by_fusion, line_after_line]
WRONG["08.step"] = [
    (not_stored, "The users' new keys and values are not in their caches"),
    (all_in_one, "the argument K must hold something new"),
    (flat, "result 2 of 2 has the shape (2, 4), and must have (2, 1, 4)"),
    (user_by_user, "open size"),
    (lambda *seven: line_after_line(*seven)[::-1], "shape"),
    (lambda X, K, V, a, b, c, n: line_after_line(X, K, V, b, a, c, n), "the argument K must hold something new"),
    (lambda X, K, V, a, b, c, n: line_after_line(X * math.e, K, V, a, b, c, n), "must hold something new"),
]

# --- 11 -------------------------------------------------------------------------------------------


@rk.fuse
def by_number(x: Any, W: Any, chosen: Any) -> Any:
    theirs = rk.take(W.reshape(W.shape[0], -1), chosen).reshape(chosen.shape[0], W.shape[1], W.shape[2])
    return (x.reshape(-1, 1, W.shape[1]) @ theirs).reshape(chosen.shape[0], W.shape[2])


def weights_before_the_last(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    inner = rk.silu(by_number(x, gate, chosen)) * by_number(x, up, chosen) * P.reshape(-1, 1)
    return rk.fuse(lambda y: by_number(y, down, chosen).sum(axis=0))(inner)


def one_step(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    inner = rk.silu(by_number(x, gate, chosen)) * by_number(x, up, chosen)
    return P @ by_number(inner, down, chosen)


def averaged(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    inner = rk.silu(by_number(x, gate, chosen)) * by_number(x, up, chosen)
    return P @ by_number(inner, down, chosen) / P.shape[0]


def too_late(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    return P @ by_number(rk.silu(by_number(x, gate, chosen) * by_number(x, up, chosen)), down, chosen)


def softmax_again(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    return one_step(x, chosen, rk.softmax(P), gate, up, down)


def rows_of_matrices(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    return P @ (rk.silu(x @ rk.take(gate, chosen)) * (x @ rk.take(up, chosen))) @ rk.take(down, chosen)


def by_brackets(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    return P @ ((rk.silu(x @ gate[chosen]) * (x @ up[chosen])) @ down[chosen])


def of_all_without_choice(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    return ((rk.silu(x @ gate) * (x @ up)) @ down).sum(axis=0)


RIGHT["11.token"] = [weights_before_the_last, one_step, rk.fuse(one_step)]
WRONG["11.token"] = [
    (averaged, "wrong in"),
    (too_late, "wrong in"),
    (softmax_again, "wrong in"),
    (rows_of_matrices, "take: the indices"),
    (by_brackets, "in line"),
    (of_all_without_choice, "must have (3,)"),
    (lambda x, chosen, P, gate, up, down: x, "wrong in"),
]

# --- 12 -------------------------------------------------------------------------------------------


def step_by_step(X: Any, W_q: Any, W_k: Any, W_v: Any, K: Any, V: Any) -> Any:
    K, V = rk.store(X @ W_k, into=K), rk.store(X @ W_v, into=V)
    return rk.softmax(rk.matmul(X @ W_q, K.T, rk.Causal())) @ V


def projected_once(X: Any, W_q: Any, W_k: Any, W_v: Any, K: Any, V: Any) -> Any:
    q, k, v = rk.fuse(lambda X, a, b, c: (X @ a, X @ b, X @ c))(X, W_q, W_k, W_v)
    rk.store(k, into=K)
    rk.store(v, into=V)
    return rk.attention(q, K, V, rk.Causal())


def token_by_token(X: Any, W_q: Any, W_k: Any, W_v: Any, K: Any, V: Any) -> Any:
    return [step_by_step(X[i : i + 1], W_q, W_k, W_v, K, V) for i in range(X.shape[0])]


def values_first(X: Any, W_q: Any, W_k: Any, W_v: Any, K: Any, V: Any) -> Any:
    return step_by_step(X, W_q, W_v, W_k, K, V)


RIGHT["12.draft"] = [step_by_step, projected_once]
WRONG["12.draft"] = [
    (token_by_token, "open size"),
    (values_first, "the argument K must hold something new"),
    (lambda X, q, k, v, K, V: step_by_step(X[-1:], q, k, v, K, V), "look at step ① X[-1:] @ W_k"),
    (rk.fuse(step_by_step), "store and tiled are steps of their own"),
    (lambda X, q, k, v, K, V: rk.attention(X @ q, X @ k, X @ v, rk.Causal()), "the argument K must hold something new"),
    (lambda X, q, k, v, K, V: step_by_step(X, q, k, v, K, V)[::-1], "a shape but no values"),
    (lambda X, q, k, v, K, V: step_by_step(X, q.T, k, v, K, V), "wrong in"),
    (lambda X, q, k, v, K, V: step_by_step(X, q, k, v, K, V) / X.shape[1] ** 0.5, "wrong in"),
    (lambda X, q, k, v, K, V: rk.attention(X @ q, rk.concatenate((K, X @ k)), V), "do not match"),
]


def other_cut(X: Any, W_q: Any, W_c: Any, A: Any, C: Any, n: Any) -> Any:
    b, h = C.shape[0], X.shape[1]
    q, c = X @ W_q, X @ W_c
    A, C = rk.store(c[:n], into=A), rk.store(c[n:].reshape(b, 1, h), into=C)
    P = rk.softmax(rk.matmul(q[:n], A.T, rk.Causal()))
    return P @ A, rk.softmax(q[n:].reshape(b, 1, h) @ C.mT) @ C


def both_at_once(X: Any, W_q: Any, W_c: Any, A: Any, C: Any, n: Any) -> Any:
    q, c = rk.fuse(lambda X, a, b: (X @ a, X @ b))(X, W_q, W_c)
    users = [x[n:].reshape(-1, 1, X.shape[1]) for x in (q, c)]
    rk.store(users[1], into=C)
    rk.store(c[:n], into=A)
    fused = rk.fuse(rk.attention)
    return fused(q[:n], A, A, rk.Causal()), fused(users[0], C, C)


def users_flat(X: Any, W_q: Any, W_c: Any, A: Any, C: Any, n: Any) -> Any:
    prompt, users = other_cut(X, W_q, W_c, A, C, n)
    return prompt, users.reshape(-1, X.shape[1])


RIGHT["12.chunk"] = [other_cut, both_at_once]
WRONG["12.chunk"] = [
    (users_flat, "result 2 of 2 has the shape (3, 4), and must have (3, 1, 4)"),
    (lambda *six: other_cut(*six)[::-1], "shape"),
    (lambda *six: other_cut(*six)[0], "it returns one array, and must return 2 arrays"),
    (lambda X, q, c, A, C, n: other_cut(X, c, q, A, C, n), "the argument A must hold something new"),
    (lambda X, q, c, A, C, n: rk.attention(X @ q, X @ c, X @ c, rk.Causal()), "the argument A must hold something new"),
    (lambda X, q, c, A, C, n: other_cut(X * math.e, q, c, A, C, n), "must hold something new"),
    (lambda X, q, c, A, C, n: [rk.attention(X[n + i :] @ q, C[i], C[i]) for i in range(C.shape[0])], "open size"),
]

# --- 13 -------------------------------------------------------------------------------------------


def with_one_relu(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    kept = rk.relu(X @ W1)
    dA = (kept + kept) * (dY @ W2.T)
    return dA @ W1.T, X.T @ dA, (kept * kept).T @ dY


@rk.fuse
def times_slope(A: Any, dB: Any) -> Any:
    return 2 * rk.relu(A) * dB


def with_fused_slope(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    A = rk.linear(X, W1)
    dA = times_slope(A, rk.matmul(dY, W2.T))
    return [rk.matmul(dA, W1.T), rk.matmul(X.T, dA), rk.matmul(rk.squared_relu(A).T, dY)]


def other_way_round(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    A_T = W1.T @ X.T
    dA_T = W2 @ dY.T * rk.relu(A_T) * 2
    return (W1 @ dA_T).T, (dA_T @ X).T, rk.squared_relu(A_T) @ dY


def all_of_the_forward_pass(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    rk.squared_relu(X @ W1) @ W2
    return with_one_relu(X, W1, W2, dY)


def averaged_gradient(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    return tuple(x / X.shape[0] for x in with_one_relu(X, W1, W2, dY))


def by_the_kit(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    return rk.backward(lambda X, W1, W2: rk.squared_relu(X @ W1) @ W2)(X, W1, W2, gradient=dY)[1]


def downhill(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    return tuple(-1 * x for x in with_one_relu(X, W1, W2, dY))


def with_a_comparison(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    A = X @ W1
    dA = dY @ W2.T * 2 * A * (A > 0)
    return dA @ W1.T, X.T @ dA, rk.squared_relu(A).T @ dY


RIGHT["13.mlp"] = [with_one_relu, with_fused_slope, other_way_round]
WRONG["13.mlp"] = [
    (all_of_the_forward_pass, "Who computes Y again has one too many"),
    (averaged_gradient, "wrong in"),
    (downhill, "wrong in"),
    (by_the_kit, "rk.backward would be the answer"),
    (with_a_comparison, "but to be counted it must run on Tensors as well"),
    (lambda *four: with_one_relu(*four)[1:], "it returns 2 arrays, and must return 3"),
    (lambda *four: with_one_relu(*four)[::-1], "shape"),
    (lambda X, W1, W2, dY: with_one_relu(X, W1.T, W2, dY), "do not match"),
    (lambda X, W1, W2, dY: (dY @ W2 @ W1, X.T @ dY, dY), "do not match"),
]
