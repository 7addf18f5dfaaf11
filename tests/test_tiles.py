"""FlashAttention by tiles, forward and back, scalar by scalar on a chip of M elements: it does what `tiled` says.

The chip below shares nothing with the kit. It counts every element that it loads and stores, and holds
no more than M of them at once: tiles of Q, K, V and O, a tile of scores (which the weights overwrite), and
a maximum and a sum for each row. Not counted: the few registers of a loop over scalars.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import sympy
from algorithms import totals
from hypothesis import given
from hypothesis import strategies as st

import roofline_kit as rk


class Chip:
    """Memory of M elements, each of which was counted when it was loaded and stored; and what products compute."""

    def __init__(self, M: int) -> None:
        self.M, self.held, self.loads, self.stores, self.flops = M, 0, 0, 0, 0

    @contextmanager
    def space(self, *shape: int) -> Iterator[np.ndarray]:
        """Room for an array, as long as it is needed."""
        self.held += math.prod(shape)
        if self.held > self.M:
            raise MemoryError(f"{self.held} elements on a chip of {self.M}")
        yield np.zeros(shape)
        self.held -= math.prod(shape)

    def load(self, here: np.ndarray, memory: np.ndarray) -> None:
        for i in np.ndindex(here.shape):
            here[i] = memory[i]
            self.loads += 1

    def store(self, here: np.ndarray, memory: np.ndarray) -> None:
        for i in np.ndindex(here.shape):
            memory[i] = here[i]
            self.stores += 1

    def fill(self, memory: np.ndarray) -> None:
        """Zeros in memory."""
        self.store(np.zeros(memory.shape), memory)

    def product(self, A: np.ndarray, B: np.ndarray, out: np.ndarray) -> None:
        """out + A @ B in the place of out, all of it on the chip."""
        for i, j in np.ndindex(out.shape):
            for a, b in zip(A[i], B[:, j], strict=True):
                out[i, j] += a * b
                self.flops += 2


def attend(
    Q: np.ndarray, K: np.ndarray, V: np.ndarray, S: np.ndarray, out: np.ndarray, most: np.ndarray, total: np.ndarray
) -> None:
    """The online softmax: take one tile of keys and values into a tile of outputs, all of them on the chip."""
    for i in range(len(Q)):
        for j in range(len(K)):
            S[i, j] = sum(q * k for q, k in zip(Q[i], K[j], strict=True))
        largest = max(most[i], *S[i])
        S[i] = [math.exp(s - largest) for s in S[i]]
        shrink = math.exp(most[i] - largest)
        most[i], total[i] = largest, shrink * total[i] + sum(S[i])
        for c in range(V.shape[1]):
            out[i, c] = shrink * out[i, c] + sum(S[i, j] * V[j, c] for j in range(len(K)))


def flash_attention_2(chip: Chip, Q: np.ndarray, K: np.ndarray, V: np.ndarray, rows: int, keys: int) -> np.ndarray:
    """Outer loop: tiles of Q and O. Inner loop: tiles of K and V. Dao, arXiv 2307.08691."""
    (N, h), (S, v) = Q.shape, V.shape
    out = np.full((N, v), math.nan)
    for i in range(0, N, rows):
        with chip.space(rows, h) as q, chip.space(rows, v) as o, chip.space(rows) as most, chip.space(rows) as total:
            chip.load(q, Q[i : i + rows])
            most[:] = -math.inf
            for j in range(0, S, keys):
                n = min(keys, S - j)
                with chip.space(n, h) as k, chip.space(n, v) as values, chip.space(rows, n) as scores:
                    chip.load(k, K[j : j + n])
                    chip.load(values, V[j : j + n])
                    attend(q, k, values, scores, o, most, total)
            o /= total[:, None]
            chip.store(o, out[i : i + rows])
    return out


def flash_attention_1(chip: Chip, Q: np.ndarray, K: np.ndarray, V: np.ndarray, rows: int, keys: int) -> np.ndarray:
    """Outer loop: tiles of K and V. Inner loop: tiles of Q, and of O with its maxima and sums, which come from
    memory and go back each time. Algorithm 1 of Dao et al., arXiv 2205.14135; here O is divided by the
    sums once they are complete, in the last round, and the first round knows without reading that all is 0."""
    (N, h), (S, v) = Q.shape, V.shape
    out, maxima, sums = np.full((N, v), math.nan), np.full(N, math.nan), np.full(N, math.nan)
    for j in range(0, S, keys):
        n = min(keys, S - j)
        with chip.space(n, h) as k, chip.space(n, v) as values:
            chip.load(k, K[j : j + n])
            chip.load(values, V[j : j + n])
            for i in range(0, N, rows):
                m, part = min(rows, N - i), slice(i, i + rows)
                with (
                    chip.space(m, h) as q, chip.space(m, v) as o, chip.space(m) as most, chip.space(m) as total,
                    chip.space(m, n) as scores,
                ):  # fmt: skip
                    chip.load(q, Q[part])
                    most[:] = -math.inf
                    if j > 0:
                        for here, memory in ((o, out), (most, maxima), (total, sums)):
                            chip.load(here, memory[part])
                    attend(q, k, values, scores, o, most, total)
                    if j + keys >= S:
                        o /= total[:, None]
                    for here, memory in ((o, out), (most, maxima), (total, sums)):
                        chip.store(here, memory[part])
    return out


def backward_by_tiles_of_queries(
    chip: Chip, Q: np.ndarray, K: np.ndarray, V: np.ndarray, dO: np.ndarray, rows: int, keys: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the kit derives from `tiled`: outer loop over tiles of Q, and the gradients of K and V grow in memory.

    Nothing but Q, K and V was kept. So that these are read once a tile, the chip holds a tile's weights and their
    gradients for all keys, and K: it takes part in the scores, and again in the gradient of Q.
    """
    (N, h), (S, v) = Q.shape, V.shape
    dQ, dK, dV = (np.full(x.shape, math.nan) for x in (Q, K, V))
    for total in (dK, dV):
        chip.fill(total)
    for i in range(0, N, rows):
        with (
            chip.space(rows, h) as q, chip.space(rows, v) as do, chip.space(rows, S) as P, chip.space(rows, S) as dS,
        ):  # fmt: skip
            chip.load(q, Q[i : i + rows])
            chip.load(do, dO[i : i + rows])
            with chip.space(S, h) as k:
                chip.load(k, K)
                chip.product(q, k.T, P)
                for j in range(0, S, keys):
                    with chip.space(min(keys, S - j), v) as values:
                        chip.load(values, V[j : j + keys])
                        chip.product(do, values.T, dS[:, j : j + keys])
                softmax_and_back(P, dS)
                with chip.space(rows, h) as dq:
                    chip.product(dS, k, dq)
                    chip.store(dq, dQ[i : i + rows])
            grow(chip, dV, P, do, keys)
            grow(chip, dK, dS, q, keys)
    return dQ, dK, dV


def softmax_and_back(P: np.ndarray, dS: np.ndarray) -> None:
    """Rows of scores become weights; the gradients of the weights become those of the scores."""
    for p, ds in zip(P, dS, strict=True):
        p[:] = [math.exp(s - max(p)) for s in p]
        p /= sum(p)
        ds[:] = p * (ds - sum(p * ds))


def grow(chip: Chip, total: np.ndarray, weights: np.ndarray, x: np.ndarray, keys: int) -> None:
    """weights.T @ x, added to what is in memory."""
    for j in range(0, len(total), keys):
        with chip.space(*total[j : j + keys].shape) as part:
            chip.load(part, total[j : j + keys])
            chip.product(weights[:, j : j + keys].T, x, part)
            chip.store(part, total[j : j + keys])


def flash_attention_2_backward(
    chip: Chip, Q: np.ndarray, K: np.ndarray, V: np.ndarray, dO: np.ndarray, rows: int, keys: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outer loop: tiles of K and V, whose gradients stay on chip. Inner loop: tiles of Q, whose gradient grows in
    memory. Algorithm 2 of Dao, arXiv 2307.08691.

    Forward kept the output and L, the logarithm of each row's sum of exponentials: with it, a tile of weights can be
    computed by itself. First comes D, each row's sum of dO·output. (As printed, the algorithm loads the output in the
    inner loop as well, and does not use it.)
    """
    (N, h), (_, v) = Q.shape, V.shape
    dQ, (output, L), D = np.full((N, h), math.nan), kept_by_forward(Q, K, V), np.full(N, math.nan)
    chip.fill(dQ)
    for i in range(N):
        with chip.space(v) as out, chip.space(v) as do, chip.space(1) as d:
            chip.load(out, output[i])
            chip.load(do, dO[i])
            d[:] = sum(out * do)
            chip.store(d, D[i : i + 1])

    def tile(part: slice, m: int, n: int, *of_keys: np.ndarray) -> None:
        with (
            chip.space(m, h) as q, chip.space(m, v) as do, chip.space(m, h) as dq, chip.space(m) as logs,
            chip.space(m) as d, chip.space(m, n) as P, chip.space(m, n) as dS,
        ):  # fmt: skip
            for here, memory in ((q, Q), (do, dO), (dq, dQ), (logs, L), (d, D)):
                chip.load(here, memory[part])
            five_products(chip, q, do, dq, logs, d, P, dS, *of_keys)
            chip.store(dq, dQ[part])

    return dQ, *for_each_tile_of_keys(chip, tile, K, V, N, rows, keys)


def flash_attention_1_backward(
    chip: Chip, Q: np.ndarray, K: np.ndarray, V: np.ndarray, dO: np.ndarray, rows: int, keys: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same loops, which load the output in each round, and compute D anew. Algorithm 4 of Dao et al., arXiv
    2205.14135; of each row it kept a maximum and a sum, for which L, a single number, stands here."""
    (N, h), (_, v) = Q.shape, V.shape
    dQ, (output, L) = np.full((N, h), math.nan), kept_by_forward(Q, K, V)
    chip.fill(dQ)

    def tile(part: slice, m: int, n: int, *of_keys: np.ndarray) -> None:
        with (
            chip.space(m, h) as q, chip.space(m, v) as do, chip.space(m, h) as dq, chip.space(m) as logs,
            chip.space(m) as d, chip.space(m, n) as P, chip.space(m, n) as dS, chip.space(m, v) as out,
        ):  # fmt: skip
            for here, memory in ((q, Q), (do, dO), (dq, dQ), (logs, L), (out, output)):
                chip.load(here, memory[part])
            d[:] = (out * do).sum(axis=1)
            five_products(chip, q, do, dq, logs, d, P, dS, *of_keys)
            chip.store(dq, dQ[part])

    return dQ, *for_each_tile_of_keys(chip, tile, K, V, N, rows, keys)


def kept_by_forward(Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The output, and the logarithm of each row's sum of exponentials, which a forward pass left in memory."""
    e = np.exp(Q @ K.T)
    return e @ V / e.sum(axis=1, keepdims=True), np.log(e.sum(axis=1))


def for_each_tile_of_keys(
    chip: Chip, tile: Callable[..., None], K: np.ndarray, V: np.ndarray, N: int, rows: int, keys: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both loops; the gradients of K and V."""
    dK, dV, (S, h), v = np.full(K.shape, math.nan), np.full(V.shape, math.nan), K.shape, V.shape[1]
    for j in range(0, S, keys):
        n, here = min(keys, S - j), slice(j, j + keys)
        with chip.space(n, h) as k, chip.space(n, v) as values, chip.space(n, h) as dk, chip.space(n, v) as dv:
            chip.load(k, K[here])
            chip.load(values, V[here])
            for i in range(0, N, rows):
                tile(slice(i, i + rows), min(rows, N - i), n, k, values, dk, dv)
            chip.store(dk, dK[here])
            chip.store(dv, dV[here])
    return dK, dV


def five_products(
    chip: Chip, q: np.ndarray, do: np.ndarray, dq: np.ndarray, logs: np.ndarray, d: np.ndarray, P: np.ndarray,
    dS: np.ndarray, k: np.ndarray, values: np.ndarray, dk: np.ndarray, dv: np.ndarray,
) -> None:  # fmt: skip
    """What a tile of queries and a tile of keys add to the gradients of both; all of it on the chip."""
    chip.product(q, k.T, P)
    P[:] = np.exp(P - logs[:, None])
    chip.product(P.T, do, dv)
    chip.product(do, values.T, dS)
    dS[:] = P * (dS - d[:, None])
    chip.product(dS, k, dq)
    chip.product(dS.T, q, dk)


def inputs(N: int, S: int, h: int, v: int) -> list[np.ndarray]:
    random = np.random.default_rng(2205)
    return [random.uniform(-1, 1, shape) for shape in ((N, h), (S, h), (S, v))]


def traced(f: object, N: int, S: int, h: int, v: int) -> rk.Cost:
    shapes = {"Q": (N, h), "K": (S, h), "V": (S, v)}
    return rk.trace(f, *(rk.Tensor(name, shape) for name, shape in shapes.items()))  # type: ignore[arg-type]


def passes(f: object, N: int, S: int, h: int, v: int) -> rk.Passes:
    shapes = {"Q": (N, h), "K": (S, h), "V": (S, v)}
    return rk.passes(f, *(rk.Tensor(name, shape) for name, shape in shapes.items()))  # type: ignore[arg-type]


def room(rows: int, keys: int, h: int, v: int) -> int:
    """All that is on the chip at once."""
    return (rows + keys) * (h + v) + rows * keys + 2 * rows


def room_for_gradients(rows: int, keys: int, S: int, h: int, v: int) -> int:
    """The same for the way back by tiles of queries: K and two tiles of scores stay, and the rest comes and goes."""
    tile = rows * (h + v) + 2 * rows * S
    return tile + max(S * h + max(keys * v, rows * h), keys * max(h, v))


def moved_forward_1(N: Any, S: Any, h: Any, v: Any, tiles: Any) -> tuple[Any, Any]:
    """Elements that FlashAttention's first version loads and stores, with so many tiles of keys."""
    return S * (h + v) + tiles * N * h + (tiles - 1) * N * (v + 2), tiles * N * (v + 2)


def moved_backward_1(N: Any, S: Any, h: Any, v: Any, tiles: Any) -> tuple[Any, Any]:
    """The same of its way back: in each round Q, dQ, dO, the output and L, and dQ again."""
    return S * (h + v) + tiles * N * (2 * h + 2 * v + 1), S * (h + v) + (tiles + 1) * N * h


def moved_backward_2(N: Any, S: Any, h: Any, v: Any, tiles: Any) -> tuple[Any, Any]:
    """The same of the second version: in each round Q, dQ, dO, L and D, and dQ again; D is made once."""
    return S * (h + v) + tiles * N * (2 * h + v + 2) + 2 * N * v, S * (h + v) + (tiles + 1) * N * h + N


def room_backward(rows: int, keys: int, h: int, v: int) -> int:
    """All that is on the chip at once, in the way back by tiles of keys."""
    return 2 * keys * (h + v) + rows * (2 * h + v + 2) + 2 * rows * keys


small = st.integers(1, 6)


# --- what is loaded and stored -----------------------------------------------------------------------


@given(tiles=small, rows=small, keys=small, S=small, h=small, v=small)
def test_tiled_attention_loads_and_stores_what_the_chip_does(
    tiles: int, rows: int, keys: int, S: int, h: int, v: int
) -> None:
    N = tiles * rows
    chip, arrays = Chip(room(rows, min(keys, S), h, v)), inputs(N, S, h, v)
    out = flash_attention_2(chip, *arrays, rows, keys)
    by_tiles = rk.tiled(rk.fuse(rk.attention), rows)
    cost = traced(by_tiles, N, S, h, v)
    assert (cost.loads, cost.stores, cost.accesses) == (2 * chip.loads, 2 * chip.stores, chip.loads + chip.stores)
    for expected in (rk.attention(*arrays), by_tiles(*arrays)):
        np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-14)


@given(rows=small, keys=small, N=small, S=small, h=small, v=small)
def test_the_other_order_of_loops_computes_the_same(rows: int, keys: int, N: int, S: int, h: int, v: int) -> None:
    arrays = inputs(N, S, h, v)
    out = flash_attention_1(Chip(room(rows, keys, h, v)), *arrays, rows, keys)
    np.testing.assert_allclose(out, rk.attention(*arrays), rtol=1e-12, atol=1e-14)


@given(tiles=small, rows=small, keys=small, S=small, h=small, v=small)
def test_the_way_back_of_tiled_attention_loads_stores_and_computes_what_the_chip_does(
    tiles: int, rows: int, keys: int, S: int, h: int, v: int
) -> None:
    N = tiles * rows
    arrays, chip = inputs(N, S, h, v), Chip(room_for_gradients(rows, min(keys, S), S, h, v))
    dO = np.random.default_rng(2307).uniform(-1, 1, (N, v))
    found = backward_by_tiles_of_queries(chip, *arrays, dO, rows, keys)
    by_tiles = rk.tiled(rk.fuse(rk.attention), rows)
    back = passes(by_tiles, N, S, h, v).backward
    assert (back.loads, back.stores, back.accesses) == (2 * chip.loads, 2 * chip.stores, chip.loads + chip.stores)
    assert back.matmul_flops == chip.flops == 2 * N * S * (3 * h + 2 * v)  # five products
    for f in (rk.attention, by_tiles):
        _, expected = rk.backward(f)(*arrays, gradient=dO)
        for ours, gradient in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, gradient, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("flash_attention_backward", "moved", "output"),
    [(flash_attention_1_backward, moved_backward_1, True), (flash_attention_2_backward, moved_backward_2, False)],
)
@given(rows=small, keys=small, N=small, S=small, h=small, v=small)
def test_flash_attention_s_way_back_computes_the_same_in_the_other_order_of_loops(
    flash_attention_backward: Any, moved: Any, output: bool, rows: int, keys: int, N: int, S: int, h: int, v: int
) -> None:
    arrays, n, m = inputs(N, S, h, v), min(keys, S), min(rows, N)
    dO = np.random.default_rng(2307).uniform(-1, 1, (N, v))
    chip = Chip(room_backward(m, n, h, v) + m * v * output)
    found = flash_attention_backward(chip, *arrays, dO, rows, keys)
    assert (chip.loads, chip.stores) == moved(N, S, h, v, -(-S // keys))
    assert chip.flops == passes(rk.fuse(rk.attention), N, S, h, v).backward.matmul_flops
    _, expected = rk.backward(rk.attention)(*arrays, gradient=dO)
    for ours, gradient in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, gradient, rtol=1e-11, atol=1e-13)


@given(rows=small, keys=small, N=small, S=small, h=small, v=small)
def test_the_first_flash_attention_moves_what_its_formula_says(
    rows: int, keys: int, N: int, S: int, h: int, v: int
) -> None:
    chip = Chip(room(rows, keys, h, v))
    flash_attention_1(chip, *inputs(N, S, h, v), rows, keys)
    assert (chip.loads, chip.stores) == moved_forward_1(N, S, h, v, -(-S // keys))


def test_the_ways_back_trade_roles_and_ours_moves_half_as_much_again() -> None:
    """A tile of queries reads K, V and their gradients and writes these: 6Nd. A tile of keys reads Q, dO and Q's
    gradient and writes that, with two numbers for each row: 4Nd + 2N."""
    N, d, B = rk.symbols("N d B")
    ours = rk.passes(rk.tiled(rk.fuse(rk.attention), B), *rk.tensors("Q K V", (N, d))).backward.accesses
    theirs = sum(moved_backward_2(N, N, d, d, N / B))
    a_tile = [sympy.expand(sympy.limit(moved * B / N**2, N, sympy.oo)) for moved in (ours, theirs)]
    assert a_tile == [6 * d, 4 * d + 2]
    assert sympy.limit(a_tile[0] / a_tile[1], d, sympy.oo) == sympy.Rational(3, 2)


@pytest.mark.parametrize("flash_attention", [flash_attention_1, flash_attention_2])
def test_the_chip_refuses_one_element_too_many(flash_attention: object) -> None:
    arrays, M = inputs(6, 6, 4, 4), room(3, 2, 4, 4)
    flash_attention(Chip(M), *arrays, 3, 2)  # type: ignore[operator]
    with pytest.raises(MemoryError, match=f"{M} elements on a chip of {M - 1}"):
        flash_attention(Chip(M - 1), *arrays, 3, 2)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("back", "M"),
    [
        (backward_by_tiles_of_queries, room_for_gradients(3, 2, 6, 4, 4)),
        (flash_attention_1_backward, room_backward(3, 2, 4, 4) + 3 * 4),
        (flash_attention_2_backward, room_backward(3, 2, 4, 4)),
    ],
)
def test_the_chip_refuses_one_element_too_many_on_the_way_back(back: Any, M: int) -> None:
    arrays = [*inputs(6, 6, 4, 4), np.ones((6, 4))]
    back(Chip(M), *arrays, 3, 2)
    with pytest.raises(MemoryError, match=f"elements on a chip of {M - 1}"):
        back(Chip(M - 1), *arrays, 3, 2)


# --- Θ(N²d²/M) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "B"), [(4, 4), (8, 4), (8, 8), (12, 6), (12, 12)])
@pytest.mark.parametrize("times", [4, 8])
def test_bytes_are_of_order_n_squared_d_squared_over_m_in_both_orders_of_loops(d: int, B: int, times: int) -> None:
    """For d ≤ M ≤ N·d, as in Theorem 2 of arXiv 2205.14135. Its four tiles of B = M/4d rows leave no room for
    scores: here the tiles of the outer loop have B rows, and those of the inner one as many as fit."""
    N, M = times * B, 4 * B * d
    inner = next(n for n in range(B, 0, -1) if room(B, n, d, d) <= M and room(n, B, d, d) <= M)
    arrays, unit = inputs(N, N, d, d), N**2 * d**2 / M
    second, first = Chip(M), Chip(M)
    flash_attention_2(second, *arrays, B, inner)
    flash_attention_1(first, *arrays, inner, B)
    # 2·(2Nd + 2N²d/B) bytes are 16·(1 + B/N) units, and B is at most N/4.
    assert 16 <= 2 * (second.loads + second.stores) / unit <= 20
    # A round of the other order moves Q once, and O, maxima and sums both ways: 3Nd + 4N, in the first d + 2 a row
    # less. With K and V once, that is 24 + 32/d + 8·(1 - 2/d)·B/N units.
    assert 24 <= 2 * (first.loads + first.stores) / unit <= 26 + 28 / d
    assert first.loads + first.stores > second.loads + second.stores


def test_the_constant_of_tiled_attention_is_16_in_symbols() -> None:
    N, d, B = rk.symbols("N d B")
    cost = rk.trace(rk.tiled(rk.fuse(rk.attention), B), *rk.tensors("Q K V", (N, d)))
    units = sympy.expand(cost.bytes * (4 * B * d) / (N**2 * d**2))
    assert sympy.expand(units - 16 - 16 * B / N) == 0


# --- fused, tiled, standard --------------------------------------------------------------------------


@given(tiles=small, rows=small, S=small, h=small, v=small)
def test_tiles_change_no_flops_and_load_no_less_than_the_ideal(tiles: int, rows: int, S: int, h: int, v: int) -> None:
    shape = (tiles * rows, S, h, v)
    ideal, tiled = traced(rk.fuse(rk.attention), *shape), traced(rk.tiled(rk.fuse(rk.attention), rows), *shape)
    assert tiled.flops == ideal.flops and tiled.matmul_flops == ideal.matmul_flops and tiled.stores == ideal.stores
    assert tiled.loads - ideal.loads == 2 * (tiles - 1) * S * (h + v)  # K and V once more for each further tile
    if tiles == 1:
        assert totals(tiled) == totals(ideal)


@given(tiles=st.integers(1, 40), rows=st.integers(1, 40), S=st.integers(1, 99), h=st.integers(1, 99), v=small)
def test_tiles_move_less_than_standard_attention_exactly_from_a_number_of_rows_on(
    tiles: int, rows: int, S: int, h: int, v: int
) -> None:
    """Both move Q and the output. Standard attention also moves K and V once, and N·S scores four times; tiles
    move K and V N/B times: S·(h + v)·N/B ≤ S·(h + v) + 4NS. (h + v)/4 rows are enough for every N and S."""
    N = tiles * rows
    standard, tiled = traced(rk.attention, N, S, h, v), traced(rk.tiled(rk.fuse(rk.attention), rows), N, S, h, v)
    assert (tiled.bytes <= standard.bytes) == (rows * (h + v + 4 * N) >= N * (h + v))
    if 4 * rows >= h + v:
        assert tiled.bytes < standard.bytes


@given(tiles=small, rows=small, factor=small, S=small, h=small)
def test_larger_tiles_never_move_more(tiles: int, rows: int, factor: int, S: int, h: int) -> None:
    shape = (tiles * rows * factor, S, h, h)
    less, more = (traced(rk.tiled(rk.fuse(rk.attention), n), *shape).bytes for n in (rows * factor, rows))
    assert less <= more and (less == more) == (factor == 1)
