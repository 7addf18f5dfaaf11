"""FlashAttention by tiles, scalar by scalar on a chip of M elements: it does what `tiled` says, within the memory.

The chip below shares nothing with the kit. It counts every element that it loads and stores, and holds
no more than M of them at once: tiles of Q, K, V and O, a tile of scores (which the weights overwrite), and
a maximum and a sum for each row. Not counted: the few registers of a loop over scalars.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import sympy
from algorithms import totals
from hypothesis import given
from hypothesis import strategies as st

import roofline_kit as rk


class Chip:
    """Memory of M elements, each of which was counted when it was loaded and stored."""

    def __init__(self, M: int) -> None:
        self.M, self.held, self.loads, self.stores = M, 0, 0, 0

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


def inputs(N: int, S: int, h: int, v: int) -> list[np.ndarray]:
    random = np.random.default_rng(2205)
    return [random.uniform(-1, 1, shape) for shape in ((N, h), (S, h), (S, v))]


def traced(f: object, N: int, S: int, h: int, v: int) -> rk.Cost:
    shapes = {"Q": (N, h), "K": (S, h), "V": (S, v)}
    return rk.trace(f, *(rk.Tensor(name, shape) for name, shape in shapes.items()))  # type: ignore[arg-type]


def room(rows: int, keys: int, h: int, v: int) -> int:
    """All that is on the chip at once."""
    return (rows + keys) * (h + v) + rows * keys + 2 * rows


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


@pytest.mark.parametrize("flash_attention", [flash_attention_1, flash_attention_2])
def test_the_chip_refuses_one_element_too_many(flash_attention: object) -> None:
    arrays, M = inputs(6, 6, 4, 4), room(3, 2, 4, 4)
    flash_attention(Chip(M), *arrays, 3, 2)  # type: ignore[operator]
    with pytest.raises(MemoryError, match=f"{M} elements on a chip of {M - 1}"):
        flash_attention(Chip(M - 1), *arrays, 3, 2)  # type: ignore[operator]


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
