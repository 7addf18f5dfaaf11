"""5 · Fusion and FlashAttention: the inner loop on one tile, and two parts of a context put together."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ops import concatenate, exp, max, relu, sum
from ...sizes import symbols
from ...tensor import fuse, tensors
from .question import Build

B, T, N, d = symbols("B T N d")


@fuse
def tile(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    """One tile of keys and values taken in."""
    S = q @ k.mT
    m_new = max(concatenate((m, S), axis=-1), keepdims=True)
    P = exp(S - m_new)
    repair = exp(m - m_new)
    return m_new, total * repair + sum(P, keepdims=True), out * repair + P @ v


@fuse
def unrepaired(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    """What was summed up before keeps its old maximum."""
    S = q @ k.mT
    m_new = max(concatenate((m, S), axis=-1), keepdims=True)
    P = exp(S - m_new)
    return m_new, total + sum(P, keepdims=True), out + P @ v


@fuse
def out_unrepaired(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    """Only the sum is repaired."""
    S = q @ k.mT
    m_new = max(concatenate((m, S), axis=-1), keepdims=True)
    P = exp(S - m_new)
    return m_new, total * exp(m - m_new) + sum(P, keepdims=True), out + P @ v


@fuse
def upside_down(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    """The repair the wrong way round."""
    S = q @ k.mT
    m_new = max(concatenate((m, S), axis=-1), keepdims=True)
    P = exp(S - m_new)
    repair = exp(m_new - m)
    return m_new, total * repair + sum(P, keepdims=True), out * repair + P @ v


@fuse
def of_this_tile(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    """The maximum forgets the tiles before."""
    S = q @ k.mT
    m_new = max(S, keepdims=True)
    P = exp(S - m_new)
    repair = exp(m - m_new)
    return m_new, total * repair + sum(P, keepdims=True), out * repair + P @ v


@fuse
def by_difference(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    """The maximum from what it rises by."""
    S = q @ k.mT
    m_new = m + relu(max(S, keepdims=True) - m)
    P = exp(S - m_new)
    repair = exp(m - m_new)
    return m_new, total * repair + sum(P, keepdims=True), out * repair + P @ v


@fuse
def divided(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    """Divided in each round."""
    m_new, total, out = tile(q, k, v, m, total, out)
    return m_new, total, out / total


def unfused(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    """Each line goes to memory and back."""
    S = q @ k.mT
    m_new = max(concatenate((m, S), axis=-1), keepdims=True)
    P = exp(S - m_new)
    repair = exp(m - m_new)
    return m_new, total * repair + sum(P, keepdims=True), out * repair + P @ v


def plain_tile(q: Any, k: Any, v: Any, m: Any, total: Any, out: Any) -> Any:
    """In NumPy, from the weights of all that was seen."""
    scores = np.einsum("id,jd->ij", q, k)
    m_new = np.maximum(m, scores.max(axis=1)[:, None])
    weights, old = np.exp(scores - m_new), np.exp(m - m_new)
    return m_new, old * total + weights.sum(axis=1)[:, None], old * out + np.einsum("ij,jd->id", weights, v)


@fuse
def merge(out1: Any, lse1: Any, out2: Any, lse2: Any) -> Any:
    """The share of each part is the softmax of the two logarithms."""
    m = max(concatenate((lse1, lse2), axis=-1), keepdims=True)
    e1, e2 = exp(lse1 - m), exp(lse2 - m)
    return (out1 * e1 + out2 * e2) / (e1 + e2)


@fuse
def unsafe(out1: Any, lse1: Any, out2: Any, lse2: Any) -> Any:
    """Without the maximum."""
    e1, e2 = exp(lse1), exp(lse2)
    return (out1 * e1 + out2 * e2) / (e1 + e2)


@fuse
def mean_of_both(out1: Any, lse1: Any, out2: Any, lse2: Any) -> Any:
    """As if both had the same weight."""
    return (out1 + out2) / 2


@fuse
def by_logarithms(out1: Any, lse1: Any, out2: Any, lse2: Any) -> Any:
    """The logarithms themselves as weights."""
    return (out1 * lse1 + out2 * lse2) / (lse1 + lse2)


@fuse
def undivided(out1: Any, lse1: Any, out2: Any, lse2: Any) -> Any:
    """Without the sum of the weights."""
    m = max(concatenate((lse1, lse2), axis=-1), keepdims=True)
    return out1 * exp(lse1 - m) + out2 * exp(lse2 - m)


@fuse
def crossed(out1: Any, lse1: Any, out2: Any, lse2: Any) -> Any:
    """Each with the other's weight."""
    return merge(out1, lse2, out2, lse1)


def merged_by_lines(out1: Any, lse1: Any, out2: Any, lse2: Any) -> Any:
    """Each line goes to memory and back."""
    m = max(concatenate((lse1, lse2), axis=-1), keepdims=True)
    e1, e2 = exp(lse1 - m), exp(lse2 - m)
    return (out1 * e1 + out2 * e2) / (e1 + e2)


def plain_merge(out1: Any, lse1: Any, out2: Any, lse2: Any) -> Any:
    """In NumPy."""
    both = np.logaddexp(lse1, lse2)
    return out1 * np.exp(lse1 - both) + out2 * np.exp(lse2 - both)


QUESTIONS = {
    "05.inner": Build(
        title="The inner loop of FlashAttention",
        asks="""`q` is (*B*, *d*), and a tile of keys and values, `k` and `v`, is (*T*, *d*). So
far each row has its largest score *m* (*B*, 1), the sum `total` (*B*, 1) of the exponentials of its scores less *m*,
and `out` (*B*, *d*), the values times these exponentials, not divided yet. Before the first tile, *m* is −∞, and
`total` and `out` are 0. Take the tile in, as one step, and return the new `m, total, out`. With the scores `S` =
`q` `k`ᵀ, the new maximum of each row is `rk.max(rk.concatenate((m, S), axis=-1), keepdims=True)`. No scale.""",
        call="flash_step(q, k, v, m, total, out)",
        takes=lambda: (
            tensors("q", (B, d)),
            *tensors("k v", (T, d)),
            *tensors("m total", (B, 1)),
            tensors("out", (B, d)),
        ),
        right=tile,
        plain=plain_tile,
        draws=(
            {"B": 2, "T": 5, "d": 3},
            {"B": 1, "T": 1, "d": 1},
            {"B": 7, "T": 3, "d": 4},
            {"B": 3, "T": 8, "d": 2},
            {"B": 3, "T": 2, "d": 3},
        ),
        last={"m": -np.inf, "total": 0, "out": 0},
        typical={"B": 128, "T": 64, "d": 96},
        learned="That is the kernel's loop: the scores of a tile never leave the chip, and no row waits for its end.",
        hint="Everything belongs into one step, rk.fuse: the scores must not be written.",
        slips={
            unrepaired: "The sums so far belong to the old maximum: multiply total and out by exp(m - m_new).",
            out_unrepaired: "total is repaired, and out is not: it was summed up below the old maximum as well.",
            upside_down: "The repair is upside down: from the old maximum to the new one it is exp(m - m_new).",
            of_this_tile: "The maximum must be that of all tiles so far: m counts as well.",
            by_difference: "Before the first tile m is -inf, and -inf + inf is nan: take the maximum with rk.max.",
            divided: "Divide only once, after the last tile: out is not divided yet.",
            unfused: "Each line still goes to memory and back: put the function into rk.fuse.",
        },
    ),
    "05.merge": Build(
        title="Two halves of a context",
        asks="""A context was cut into two, and each half attended to apart: `out1` and
`out2` are (*N*, *d*), finished, and `lse1` and `lse2` (*N*, 1) are the logarithms of their sums of exponentials
(log-sum-exp). Put them together, as one step (`rk.fuse`): the weight of each half is its sum, over both sums. The
sums themselves overflow; their ratio does not.""",
        call="merge(out1, lse1, out2, lse2)",
        takes=lambda: (
            tensors("out1", (N, d)),
            tensors("lse1", (N, 1)),
            tensors("out2", (N, d)),
            tensors("lse2", (N, 1)),
        ),
        right=merge,
        plain=plain_merge,
        draws=({"N": 2, "d": 5}, {"N": 1, "d": 1}, {"N": 7, "d": 3}, {"N": 5, "d": 4}),
        typical={"N": 4096, "d": 128},
        learned="So attention can be cut along the keys as well: FlashDecoding and ring attention are this line.",
        hint="One step reads both halves and writes the whole: rk.fuse.",
        slips={
            unsafe: "The exponentials overflow: subtract the larger logarithm from both first.",
            mean_of_both: "A half with larger scores weighs more: what do lse1 and lse2 say?",
            by_logarithms: "lse1 and lse2 are logarithms of the weights: rk.exp makes weights of them.",
            undivided: "The two weights must add up to 1.",
            crossed: "Each half has its own weight: out1 belongs to lse1.",
            merged_by_lines: "Each line still goes to memory and back: put the function into rk.fuse.",
        },
        scale=1000.0,
    ),
}
