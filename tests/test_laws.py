"""The laws that every cost and every prediction keeps, whatever the algorithm."""

from __future__ import annotations

import copy
import csv
import dataclasses
import io
import json
import math
import pickle
import re
from typing import Any

import numpy as np
import pytest
import sympy
from algorithms import (
    ALGORITHMS,
    QUANTITIES,
    WIDTHS,
    Algorithm,
    Program,
    any_algorithm,
    as_arrays,
    at,
    each_algorithm,
    few,
    names_in,
    programs,
    sizes_for,
    small_sizes,
    totals,
    traced,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from needed import installed

import roofline_kit as rk
from roofline_kit.cost import tidy
from roofline_kit.tensor import RESOURCES

any_roofline = st.sampled_from(
    [rk.roofline(name, dtype) for name in rk.accelerators() for dtype in rk.accelerator(name).peaks]
)


def fused(algorithm: Algorithm) -> Algorithm:
    function, shapes = algorithm
    return rk.fuse(function), shapes


# --- fusing -----------------------------------------------------------------------------------------


@each_algorithm
def test_fusing_never_changes_flops(algorithm: Algorithm) -> None:
    loose, tight = traced(algorithm), traced(fused(algorithm))
    assert sympy.expand(loose.flops - tight.flops) == 0
    assert sympy.expand(loose.matmul_flops - tight.matmul_flops) == 0


@given(program=programs(), data=st.data())
def test_fusing_any_part_of_a_program_never_changes_flops(program: Program, data: st.DataObject) -> None:
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(program.lines))] * 2)))
    loose, tight = traced(program.algorithm()), traced(program.algorithm(first, last))
    assert sympy.expand(loose.flops - tight.flops) == 0
    assert sympy.expand(loose.matmul_flops - tight.matmul_flops) == 0


@given(program=programs(), sizes=small_sizes, data=st.data())
def test_fusing_any_part_of_a_program_never_adds_bytes(
    program: Program, sizes: dict[str, int], data: st.DataObject
) -> None:
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(program.lines))] * 2)))
    loose, tight = (totals(traced(program.algorithm(*part), sizes)) for part in ((0, 0), (first, last)))
    assert tight["loads"] <= loose["loads"] and tight["stores"] <= loose["stores"]


def test_fusing_never_adds_bytes_where_two_views_of_one_result_are_returned() -> None:
    def both_ways(x: Any) -> Any:
        y = x + 1
        return y, y.T

    x = rk.Tensor("x", rk.symbols("N h"))
    assert rk.trace(rk.fuse(both_ways), x).bytes == rk.trace(both_ways, x).bytes


def test_a_fused_step_stores_a_result_once_that_is_returned_twice() -> None:
    def twice(x: Any) -> Any:
        y = rk.exp(x)
        return y, y

    x = rk.Tensor("x", rk.symbols("N"))
    assert rk.trace(rk.fuse(twice), x).stores == x.nbytes


def test_a_fused_step_may_return_an_array_and_its_parts() -> None:
    def parts(x: Any) -> Any:
        y = rk.exp(x)
        return y, y[1:], y[1:].T, y[:1]

    whole, *cut = rk.fuse(parts)(rk.Tensor("x", (5, 3)))
    assert whole.step.stores == whole.nbytes and all(x.step is whole.step for x in cut)
    assert [rk.exp(x).step.loads for x in (whole, *cut)] == [30, 24, 24, 6]


def test_a_fused_step_may_return_the_same_part_twice() -> None:
    def twice(x: Any) -> Any:
        y = rk.exp(x)
        return y[1:], y[1:]

    x, y = rk.fuse(twice)(rk.Tensor("x", (5, 3)))
    assert x is y and x.step.stores == 24 and (x + y).step.loads == 24


def test_a_fused_step_may_return_a_view_of_masked_scores() -> None:
    Q, K = rk.Tensor("Q", (3, 2)), rk.Tensor("K", (5, 2))
    fused = rk.fuse(lambda Q, K, view: view(rk.matmul(Q, K.T, rk.Causal())))
    transposed, cut = fused(Q, K, lambda S: S.T), fused(Q, K, lambda S: rk.windows(S, 2, 1))
    assert transposed.step.stores == cut.step.stores == 2 * (3 + 4 + 5)
    assert (rk.exp(transposed).step.flops, rk.exp(cut).step.flops) == (12, 2 * 2 * 5)


def test_one_tile_is_the_function_itself_in_a_fused_step_too() -> None:
    x = rk.Tensor("x", (4, 3))
    one = rk.fuse(lambda x: rk.tiled(rk.exp, 4)(x) + 1)(x)
    assert totals(one.step) == totals(rk.fuse(lambda x: rk.exp(x) + 1)(x).step)
    assert rk.fuse(lambda x: rk.tiled(rk.exp, 4)(x))(x).step.stores == 24
    assert rk.tiled(rk.exp, 4)(x).step.flops == 12


def test_a_fused_step_moves_neither_intermediates_nor_inputs_that_it_returns_nor_views() -> None:
    x = rk.Tensor("x", rk.symbols("N h"))
    cost = rk.trace(rk.fuse(lambda x: (rk.exp(rk.exp(x)), x, x.T)), x)
    assert (cost.loads, cost.stores) == (x.nbytes, x.nbytes)


def test_fused_functions_nest_without_changing_the_cost() -> None:
    inputs = rk.tensors("Q K V", rk.symbols("N h"))
    once, nested = rk.fuse(rk.attention), rk.fuse(lambda *inputs: rk.fuse(rk.attention)(*inputs))
    assert totals(rk.trace(nested, *inputs)) == totals(rk.trace(once, *inputs))


def test_views_cost_nothing() -> None:
    x = rk.Tensor("x", rk.symbols("N h d"))
    cost = rk.trace(lambda x: x.mT.swapaxes(0, 1).reshape(-1).reshape(x.shape), x)
    assert cost.steps == () and set(totals(cost).values()) == {0}


# --- masks and heads ---------------------------------------------------------------------------------

small, shapes_of_attention = st.integers(1, 12), ("N h", "N+M h", "N+M d")
masks = st.builds(rk.Causal, window=st.none() | small) | st.builds(rk.Causal, block=small, stride=small)
masks |= st.builds(rk.Causal, chunk=small)


def sees(mask: rk.Causal, query: int, key: int) -> bool:
    """Whether the token `query` sees a key, from the definition: by the tokens that the key stands for."""
    if mask.chunk is not None and key // mask.chunk != query // mask.chunk:
        return False
    last = key * mask.stride + mask.block - 1
    return last <= query and (mask.window is None or query - last < mask.window)


def test_a_view_of_masked_scores_has_the_elements_that_are_seen() -> None:
    N = rk.symbols("N")
    S = rk.matmul(rk.Tensor("Q", (6, 4)), rk.Tensor("K", (6, 4)).T, rk.Causal())
    of_heads = rk.matmul(rk.Tensor("Q", (8, N, 4)), rk.Tensor("K", (8, N, 4)).mT, rk.Causal())
    assert [rk.exp(x).step.flops for x in (S, S.T, S.T.T, rk.flip(S, 0), S.reshape(-1))] == [21] * 5
    for x in (of_heads, of_heads.mT, of_heads.reshape(2, 4, N, N), of_heads.reshape(2, -1, N, N), of_heads[:8]):
        assert sympy.expand(rk.exp(x).step.flops - 4 * N * (N + 1)) == 0
    assert sympy.expand(rk.exp(of_heads[:2]).step.loads - 2 * N * (N + 1)) == 0


def test_masked_scores_meet_others_that_are_masked_alike() -> None:
    def scores(lead: tuple[int, ...] = ()) -> Any:
        return rk.matmul(rk.Tensor("Q", (*lead, 6, 4)), rk.Tensor("K", (*lead, 6, 4)).mT, rk.Causal())

    one, other, heads = scores(), scores(), scores((2, 3))
    turned = rk.exp(one.T) + other.swapaxes(0, 1), rk.flip(rk.flip(one, 0), 0) + rk.softmax(other).T.T
    assert [x.step.flops for x in (one + other, *turned)] == [21] * 3
    alike = heads + rk.flip(heads, 0).reshape(3, 2, 6, 6).swapaxes(0, 1), heads[:1] + heads[:1].mT.mT, heads + one
    assert [x.step.flops for x in alike] == [21 * 6, 21 * 3, 21 * 6]


def test_a_window_over_masked_scores_sees_zeros_where_there_are_none() -> None:
    S = rk.matmul(rk.Tensor("Q", (4, 2)), rk.Tensor("K", (4, 2)).T, rk.Causal())
    assert (rk.windows(S, 2, 1) @ rk.Tensor("V", (4, 3))).step.flops == 2 * (3 * 2) * 4 * 3


# Of the scores of (A, B) heads. On arrays, views take what exists along: 1 for what is seen, and 0 for what is hidden.
VIEWS = (
    "x.mT", "x.swapaxes(0, 1)", "x.reshape(1, -1, *x.shape[-2:])", "rk.flip(x, 0)", "rk.flip(x, -1)", "rk.flip(x, -2)",
    "x[:, :1]", "x[-1:]",
)  # fmt: skip
USES: dict[str, Any] = {  # the FLOPs of each, and how many elements the result has
    "rk.exp(x)": lambda seen: (seen.sum(), seen.sum()),
    "x * x": lambda seen: (seen.sum(), seen.sum()),
    "rk.exp(x.reshape(-1))": lambda seen: (seen.sum(), seen.sum()),
    "x / column": lambda seen: (seen.sum(), seen.sum()),
    "x @ V": lambda seen: (2 * 3 * seen.sum(), seen[..., 0].size * 3),
    "rk.sum(x)": lambda seen: (seen.sum(), seen[..., 0].size),
    "rk.max(x, axis=0)": lambda seen: (seen.sum(), seen.any(axis=0).sum()),
    "rk.softmax(x)": lambda seen: (3 * seen.sum(), seen.sum()),
    "rk.exp(rk.windows(x, 2, 1))": lambda seen: (rk.windows(seen, 2, 1).size, rk.windows(seen, 2, 1).size),
    "rk.windows(x, 2, 1) @ V": lambda seen: (6 * rk.windows(seen, 2, 1).size, 3 * rk.windows(seen, 2, 1)[..., 0].size),
}  # a window sees zeros where nothing exists


def _written(text: str) -> Any:
    return eval(f"lambda x, column=None, V=None: {text}", {"rk": rk})


@settings(max_examples=20)
@given(
    mask=st.builds(rk.Causal, window=st.none() | small) | st.builds(rk.Causal, chunk=small),
    views=st.lists(st.sampled_from(VIEWS), max_size=4),
    use=st.sampled_from(sorted(USES)), sizes=st.tuples(*[st.integers(1, 3)] * 3, st.integers(2, 5)), fuse=st.booleans(),
)  # fmt: skip
def test_views_and_parts_of_masked_scores_are_used_for_what_exists_of_them(
    mask: rk.Causal, views: list[str], use: str, sizes: tuple[int, ...], fuse: bool
) -> None:
    """Traced at numbers, in symbols and compiled, and where a fused step returns the view."""

    def viewed(x: Any) -> Any:
        for text in views:
            x = _written(text)(x)
        return x

    def steps(A: Any, B: Any, h: Any, N: Any) -> rk.Cost:
        look = lambda Q, K: viewed(rk.matmul(Q, K.mT, mask))  # noqa: E731
        x = (rk.fuse(look) if fuse else look)(*rk.tensors("Q K", (A, B, N, h)))
        column, V = rk.Tensor("c", (N, 1)), rk.Tensor("V", (N, 3))
        return rk.trace(_written(use), x, column, V)

    names = dict(zip("ABhN", sizes, strict=True))
    A, B, _, N = sizes
    seen = viewed(np.tile(np.array(mask.seen(N, N)), (A, B, 1, 1)))
    flops, stored = USES[use](seen)
    loaded = seen.sum() + ("column" in use) * N + ("V" in use) * 3 * N
    cost, formula = steps(*sizes), steps(*rk.symbols("A B h N"))
    put, used = at(formula, names), [s.name for s in formula.symbols]
    compiled = formula.compile(*used)(*(names[name] for name in used))
    assert (cost.flops, cost.loads, cost.stores) == (flops, 2 * loaded, 2 * stored)
    assert (put.flops, put.loads, put.stores) == (flops, 2 * loaded, 2 * stored)
    assert (compiled.flops, compiled.bytes) == (flops, 2 * (loaded + stored))


def test_before_its_first_block_is_complete_a_query_sees_nothing() -> None:
    assert rk.Causal(block=3, tokens=1).visible(1, 1) == 0 == sum(map(sum, rk.Causal(block=3, tokens=1).seen(1, 1)))


def test_the_size_of_an_array_is_open_also_where_a_view_of_it_does_not_show_it() -> None:
    N = rk.symbols("N")
    x = rk.Tensor("x", (N, 3))
    for f in (lambda x: rk.exp(rk.windows(x, 2, 2, count=1)), rk.fuse(lambda x: rk.sum(rk.windows(x, 2, 2, count=1)))):
        cost = rk.trace(f, x)
        assert cost.symbols == (N,) and cost.at(N=4).loads == 24
        assert cost.compile("N")([4]).bytes == [float(cost.at(N=4).bytes)]
    cost = rk.trace(rk.store, rk.windows(x, 2, 2, count=1), rk.Tensor("into", (1, 5, 3)))
    assert cost.symbols == (N,) and cost.at(N=4).loads == 24


def test_a_part_of_windows_reads_no_more_than_there_is() -> None:
    x, k = rk.Tensor("x", (12, 5)), rk.symbols("k")
    for windows in (rk.windows(x, 4, 2), rk.windows(x[:], 4, 2)[1:], rk.windows(x, 4, 2)[:k]):
        step = rk.exp(windows[:1]).step
        assert (step.flops, step.loads, step.stores) == (4 * 5, x.nbytes, 2 * 4 * 5)
    assert rk.exp(rk.windows(x[:6], 4, 2)[:1]).step.loads == 2 * 6 * 5
    with pytest.raises(ValueError, match="positive"):
        rk.trace(lambda x: rk.exp(rk.windows(x, 4, 2)[:k]), x).at(k=6)


def test_windows_that_begin_later_are_fewer() -> None:
    x = np.arange(12.0).reshape(12, 1)
    for start in range(8):
        found = rk.windows(x, 4, 2, start=start)
        assert found.shape == rk.windows(rk.Tensor("x", (12, 1)), 4, 2, start=start).shape
        assert (
            found.shape[0] == len(range(start, 12 - 4 + 1, 2)) and (found[-1, :, 0] == found[-1, 0, 0] + range(4)).all()
        )


def test_a_part_with_an_open_end_lies_within_its_array() -> None:
    N, k = rk.symbols("N k")
    x = rk.Tensor("x", N)
    cost = rk.trace(lambda x: rk.exp(x[:k]), x)
    assert cost.at(N=10, k=10).bytes == 40 and cost.compile("N", "k")([10], [10]).bytes == [40.0]
    for part in (cost, rk.trace(lambda x: rk.exp(x[1:][: k - 1]), x)):
        with pytest.raises(ValueError, match="positive"):
            part.at(N=10, k=20)
        with pytest.raises(ValueError, match="positive"):
            part.compile("N", "k")([10], [20])
    with pytest.raises(ValueError, match="N - 2"):
        rk.trace(lambda x: rk.exp(x[:3]), x).at(N=2)


@given(mask=masks, queries=small, more=st.integers(0, 12), apart=st.booleans())
def test_the_number_of_visible_pairs_is_the_number_of_pairs_seen(
    mask: rk.Causal, queries: int, more: int, apart: bool
) -> None:
    """Formulas for one query are those of a context that has a block; `matmul` refuses what comes out below one."""
    tokens = queries + more
    keys = max(1, (tokens - mask.block) // mask.stride + 1) if apart else tokens
    mask = dataclasses.replace(mask, tokens=tokens if apart else None)
    expected = [[sees(mask, query, key) for key in range(keys)] for query in range(more, tokens)]
    assert mask.seen(queries, keys) == expected
    count = sum(map(sum, expected))
    assert mask.visible(queries, keys) == count or (queries == 1 and count == 0 and mask.visible(1, keys) <= 0)
    N, S = rk.symbols("N S")
    formula = dataclasses.replace(mask, tokens=S if apart else None).visible(N, keys if apart else S)
    assert formula.subs({N: queries, S: tokens}) == count


@given(mask=st.builds(rk.Causal, window=st.none() | small), fuse=st.booleans(), sizes=sizes_for(shapes_of_attention))
def test_masks_never_add_flops_or_bytes(mask: rk.Causal, fuse: bool, sizes: dict[str, int]) -> None:
    kernel = rk.fuse(rk.attention) if fuse else rk.attention
    full = totals(traced((kernel, shapes_of_attention), sizes))
    less = totals(traced((lambda *inputs: kernel(*inputs, mask), shapes_of_attention), sizes))
    assert all(less[quantity] <= full[quantity] for quantity in QUANTITIES)
    hidden = sum(not seen for row in mask.seen(sizes["N"], sizes["N"] + sizes["M"]) for seen in row)
    assert full["flops"] - less["flops"] == hidden * (2 * sizes["h"] + 3 + 2 * sizes["d"])


@pytest.mark.parametrize("window", [None, 3])
@given(sizes=sizes_for(("N h", "N d")), fuse=st.booleans())
def test_a_causal_prefill_costs_the_flops_of_its_tokens_one_by_one(
    window: int | None, sizes: dict[str, int], fuse: bool
) -> None:
    mask, kernel = rk.Causal(window), rk.fuse(rk.attention) if fuse else rk.attention
    algorithm = lambda *inputs: kernel(*inputs, mask)  # noqa: E731
    whole = traced((algorithm, ("N h", "N h", "N d")), sizes)
    steps = [traced((algorithm, ("1 h", f"{t} h", f"{t} d")), sizes) for t in range(1, sizes["N"] + 1)]
    assert whole.flops == sum(steps).flops and whole.matmul_flops == sum(steps).matmul_flops


def test_a_causal_prefill_costs_the_flops_of_its_tokens_one_by_one_in_symbols() -> None:
    N, t, h = rk.symbols("N t h")

    def flops(queries: Any, keys: Any) -> Any:
        Q, K = rk.Tensor("Q", (queries, h)), rk.Tensor("K", (keys, h))
        return rk.trace(rk.attention, Q, K, K, rk.Causal()).flops

    assert sympy.expand(sympy.summation(flops(1, t), (t, 1, N)) - flops(N, N)) == 0


def shared(kv_heads: Any, **options: Any) -> rk.Cost:
    """Attention of 8 heads that share kv_heads of keys and values."""
    N, h, d = rk.symbols("N h d")
    X, W_q, W_o = rk.Tensor("X", (N, h)), rk.Tensor("W_q", (h, 8 * d)), rk.Tensor("W_o", (8 * d, h))
    W = rk.Tensor("W", (h, d * (kv_heads or 8)))
    return rk.trace(rk.multi_head_attention, X, W_q, W, W, W_o, heads=8, kv_heads=kv_heads, **options)


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"fused": True}, {"causal": rk.Causal(window=4)}])
def test_sharing_heads_saves_projections_and_bytes_and_no_flops_of_scores(options: dict[str, Any]) -> None:
    N, h, d = rk.symbols("N h d")
    mha = shared(None, **options)
    assert totals(shared(8, **options)) == totals(mha)
    for kv_heads in (1, 2, 4):
        gqa = shared(kv_heads, **options)
        saved = 2 * 2 * N * h * d * (8 - kv_heads)  # two projections to fewer columns, and nothing else
        assert sympy.expand(mha.flops - gqa.flops - saved) == 0
        assert sympy.expand(mha.matmul_flops - gqa.matmul_flops - saved) == 0
        fewer = 8 - kv_heads  # heads of two weights read, two projections written and read again; X is read as before
        assert sympy.expand(mha.bytes - gqa.bytes - 2 * fewer * (2 * h * d + 4 * N * d)) == 0


def test_parts_of_symbolic_sizes_are_read_in_part() -> None:
    N, h, w = rk.symbols("N h w")
    X = rk.Tensor("x", (N, h))
    assert rk.trace(lambda x: rk.exp(x[:, : h / 2]), X).loads == N * h
    assert sympy.expand(rk.trace(lambda x: rk.exp(x[N - w :]), X).loads - 2 * w * h) == 0
    assert rk.trace(lambda x: x[:, : h / 2] + x[:, h / 2 :], X).loads == 2 * N * h
    assert rk.trace(lambda x: x[:1] + x, X).loads == 2 * N * h  # the part is in the whole


# --- sums, sizes and widths -------------------------------------------------------------------------


@each_algorithm
def test_costs_are_sums_over_their_steps(algorithm: Algorithm) -> None:
    cost = traced(algorithm)
    for quantity in QUANTITIES:
        total = sum(getattr(step, quantity) for step in cost.steps)
        assert sympy.expand(getattr(cost, quantity) - total) == 0


@given(one=any_algorithm, other=any_algorithm, times=st.integers(1, 100))
def test_costs_join_and_repeat(one: Algorithm, other: Algorithm, times: int) -> None:
    a, b = traced(one), traced(other)
    for quantity in QUANTITIES:
        x, y = getattr(a, quantity), getattr(b, quantity)
        assert sympy.expand(getattr(a + b, quantity) - x - y) == 0
        assert sympy.expand(getattr(times * a, quantity) - times * x) == 0
        assert sympy.expand(getattr(sum([a, b, a]), quantity) - 2 * x - y) == 0
    assert (times * a).intensity == a.intensity


def test_repeating_a_symbolic_number_of_times_multiplies_everything() -> None:
    L = rk.symbols("L")
    layer = traced(ALGORITHMS["MLP of two layers"])
    model = layer * L
    assert L in model.symbols
    for quantity, total in totals(layer).items():
        assert sympy.expand(getattr(model, quantity) - L * total) == 0


@each_algorithm
@few
@given(data=st.data())
def test_costs_grow_with_every_size(algorithm: Algorithm, data: st.DataObject) -> None:
    sizes = data.draw(sizes_for(algorithm[1]))
    name = data.draw(st.sampled_from(names_in(algorithm[1])))
    less, more = totals(traced(algorithm, sizes)), totals(traced(algorithm, sizes | {name: sizes[name] + 1}))
    assert all(less[quantity] <= more[quantity] for quantity in QUANTITIES)
    assert less["flops"] < more["flops"] and less["bytes"] < more["bytes"]


@each_algorithm
@few
@given(dtype=st.sampled_from(sorted(WIDTHS)))
def test_the_dtype_scales_bytes_alone(algorithm: Algorithm, dtype: str) -> None:
    half, other = totals(traced(algorithm, dtypes="fp16")), totals(traced(algorithm, dtypes=dtype))
    for quantity in QUANTITIES:
        scale = sympy.Rational(WIDTHS[dtype]) / 2 if quantity in ("loads", "stores", "bytes") else 1
        assert sympy.expand(other[quantity] - scale * half[quantity]) == 0


# --- numbers -----------------------------------------------------------------------------------------


@each_algorithm
@few
@given(data=st.data())
def test_putting_numbers_in_is_the_same_as_tracing_at_numbers(algorithm: Algorithm, data: st.DataObject) -> None:
    sizes = data.draw(sizes_for(algorithm[1], largest=10**6))
    late, early = at(traced(algorithm), sizes), traced(algorithm, sizes)
    # A part is called as it was cut: x[..., M:] stays that, also where M is put in later.
    names = [[re.sub(r"\[\.\.\.[^]]*\]", "[...]", name) for name in cost.names()] for cost in (late, early)]
    assert names[0] == names[1]
    assert [totals(step) for step in late.steps] == [totals(step) for step in early.steps]


@each_algorithm
@few
@given(data=st.data())
def test_numbers_can_be_put_in_one_after_the_other(algorithm: Algorithm, data: st.DataObject) -> None:
    sizes = data.draw(sizes_for(algorithm[1], largest=10**6))
    cost, order = traced(algorithm), data.draw(st.permutations(names_in(algorithm[1])))
    left = list(order)
    for name in order:
        if any(str(symbol) == name for symbol in cost.symbols):
            cost = cost.at(**{name: sizes[name]})
        left.remove(name)
        assert {str(symbol) for symbol in cost.symbols} <= set(left)
    assert [totals(step) for step in cost.steps] == [totals(step) for step in traced(algorithm, sizes).steps]


def test_sizes_that_are_not_given_stay_open() -> None:
    N = rk.symbols("N")
    cost = traced(ALGORITHMS["attention"])
    assert cost.at(h=4096).symbols == (N,) and cost.at(h=4096).flops == N**2 * (4 * 4096 + 3)
    assert cost.at() is cost and cost.at(N=4).at(h=8).flops == cost.at(N=4, h=8).flops
    assert cost.at(h=4096).compile("N")([464]).intensity == cost.compile("N", h=4096)([464]).intensity
    assert rk.roofline("A10").crossing(cost.at(h=4096), "N") == rk.roofline("A10").crossing(cost, "N", h=4096)


@each_algorithm
@few
@given(data=st.data())
def test_numbers_are_exact_and_never_floats(algorithm: Algorithm, data: st.DataObject) -> None:
    sizes = data.draw(sizes_for(algorithm[1], largest=10**9))
    cost = traced(algorithm, dtypes="bf16")
    assert not any(sympy.sympify(x).atoms(sympy.Float) for x in [*totals(cost).values(), cost.intensity])
    numbers = at(cost, sizes)
    whole = (numbers.flops, numbers.matmul_flops, numbers.accesses)
    assert all(isinstance(x, sympy.Integer) for x in whole)
    assert all(isinstance(x, sympy.Rational) for x in [*totals(numbers).values(), numbers.intensity])


@each_algorithm
@few
@given(data=st.data())
def test_a_compiled_cost_equals_the_exact_one(algorithm: Algorithm, data: st.DataObject) -> None:
    """All numbers are below 2⁵³ here, so that floats hold them exactly."""
    cost = traced(algorithm)
    names = [str(s) for s in cost.symbols]
    points = data.draw(st.lists(sizes_for(algorithm[1], largest=300), min_size=1, max_size=4))
    open_names = data.draw(st.lists(st.sampled_from(names), unique=True))
    fixed = {name: points[0][name] for name in names if name not in open_names}
    points = [point | fixed for point in points]
    sweep = cost.compile(*open_names, **fixed)(*([point[name] for point in points] for name in open_names))
    exact = [at(cost, point) for point in (points if open_names else points[:1])]
    assert np.ravel(sweep.flops).tolist() == [float(c.flops) for c in exact]
    assert np.ravel(sweep.bytes).tolist() == [float(c.bytes) for c in exact]
    np.testing.assert_allclose(np.ravel(sweep.intensity), [float(c.intensity) for c in exact], rtol=1e-15)
    for i, amounts in enumerate(sweep.amounts(tuple(RESOURCES))):
        for name, of_step in amounts.items():
            assert np.ravel(of_step).tolist() == [float(c.steps[i].amounts[name]) for c in exact]


@pytest.mark.parametrize("stride", [3, 5, 6, 7, 9, 10, 11])
def test_a_compiled_number_of_windows_is_the_exact_one(stride: int) -> None:
    """It is a floor: as floats, N/3 - 11/3 is less than 1 for some N for which (N - 11)/3 is 1."""
    N, sizes = rk.symbols("N"), list(range(11, 300))
    cost = rk.trace(lambda x: rk.exp(rk.windows(x, 11, stride)), rk.Tensor("x", (N, 2)))
    assert cost.compile("N")(sizes).flops.tolist() == [float(cost.at(N=n).flops) for n in sizes]


@pytest.mark.parametrize(("block", "stride"), [(4, 3), (8, 3), (5, 7), (7, 6)])
def test_a_compiled_mask_of_blocks_sees_what_it_sees(block: int, stride: int) -> None:
    T, sizes = rk.symbols("T"), list(range(block + stride, 150))
    mask, blocks = rk.Causal(block=block, stride=stride, tokens=T), sympy.floor((T - block) / sympy.Integer(stride)) + 1
    cost = rk.trace(lambda Q, K: rk.matmul(Q, K.T, mask), rk.Tensor("Q", (1, 4)), rk.Tensor("K", (blocks, 4)))
    assert cost.compile("T")(sizes).flops.tolist() == [float(cost.at(T=t).flops) for t in sizes]


def test_heads_of_a_compiled_width_are_whole_where_they_are() -> None:
    """h·(1/49) is less than 1 for h = 49, as floats."""
    h = rk.symbols("h")
    cost = rk.trace(lambda X: rk.exp(rk.split_heads(X, 49)), rk.Tensor("X", (5, h)))
    assert cost.compile("h")([49, 98]).flops.tolist() == [245.0, 490.0]
    with pytest.raises(ValueError, match="h/49"):
        cost.compile("h")([50])


@pytest.mark.parametrize("way", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_a_compiled_cost_and_its_sweep_can_be_copied(way: Any) -> None:
    compiled = traced(ALGORITHMS["cross attention"]).compile("N", M=8, h=64, d=64)
    sweep = compiled([1, 2, 3])
    roof = rk.roofline("A10")
    assert roof.time(sweep).tolist() == roof.time(way(sweep)).tolist() == roof.time(way(compiled)([1, 2, 3])).tolist()


def test_a_sweep_broadcasts_its_sizes() -> None:
    sweep = traced(ALGORITHMS["cross attention"]).compile("N", "M", h=64, d=64)
    grid = sweep(np.array([[1], [2]]), np.array([3, 4, 5]))
    assert grid.flops.shape == grid.intensity.shape == grid.amounts()[0]["compute"].shape == (2, 3)
    assert grid.flops[1, 2] == sweep(2, 5).flops


def test_a_sweep_takes_integers_of_any_length() -> None:
    sweep = traced(ALGORITHMS["cross attention"]).compile("N", M=1, h=1, d=1)
    assert sweep([2**70]).flops == [2.0**50 * sweep([2**20]).flops[0]]


def test_a_sweep_does_not_wrap_around_where_integers_would() -> None:
    cost = traced(ALGORITHMS["attention"])
    exact = cost.at(N=10**8, h=10**8).flops
    assert exact > 2**63
    assert cost.compile("N", "h")(10**8, 10**8).flops == pytest.approx(float(exact), rel=1e-15)


_terms = st.tuples(st.fractions(-9, 9, max_denominator=8), st.tuples(*[st.integers(-2, 4)] * 3))


@given(terms=st.lists(_terms, max_size=5), factor=st.lists(_terms, min_size=1, max_size=2))
def test_tidying_never_changes_a_value(terms: Any, factor: Any) -> None:
    def polynomial(terms: Any) -> sympy.Expr:
        powers = (sympy.Mul(*map(sympy.Pow, rk.symbols("N h H"), exponents)) for _, exponents in terms)
        return sympy.Add(*(sympy.Rational(c) * p for (c, _), p in zip(terms, powers, strict=True)))

    expression = polynomial(terms) * polynomial(factor)
    assert sympy.expand(tidy(expression) - expression) == 0


# --- predictions --------------------------------------------------------------------------------------


@given(algorithm=any_algorithm, roof=any_roofline, data=st.data())
def test_no_prediction_beats_the_machine(algorithm: Algorithm, roof: rk.Roofline, data: st.DataObject) -> None:
    cost = traced(algorithm, data.draw(sizes_for(algorithm[1], largest=10**4)))
    ideal, steps = roof.time(cost, overlap="ideal"), roof.time(cost)
    assert ideal >= float(cost.bytes / sympy.Integer(roof.bandwidth))
    assert ideal >= float(cost.flops / sympy.Integer(roof.peak))
    assert steps >= ideal


@given(algorithm=any_algorithm, roof=any_roofline, data=st.data())
def test_the_ideal_time_is_the_one_that_the_attainable_performance_gives(
    algorithm: Algorithm, roof: rk.Roofline, data: st.DataObject
) -> None:
    cost = traced(algorithm, data.draw(sizes_for(algorithm[1], largest=10**4)))
    assert roof.time(cost, overlap="ideal") == pytest.approx(float(cost.flops / roof.attainable(cost.intensity)))


@given(algorithm=any_algorithm, roof=any_roofline, overlap=st.sampled_from(["steps", "ideal"]), data=st.data())
def test_formula_number_and_sweep_predict_the_same_time(
    algorithm: Algorithm, roof: rk.Roofline, overlap: str, data: st.DataObject
) -> None:
    cost, sizes = traced(algorithm), data.draw(sizes_for(algorithm[1], largest=10**4))
    number = roof.time(at(cost, sizes), overlap=overlap)
    formula = roof.time(cost, overlap=overlap).subs({s: sizes[str(s)] for s in cost.symbols})
    sweep = roof.time(cost.compile(*sizes)(*sizes.values()), overlap=overlap)
    assert number == pytest.approx(float(formula), rel=1e-14)
    assert number == pytest.approx(float(sweep), rel=1e-12)


@given(algorithm=any_algorithm, roof=any_roofline, data=st.data())
def test_formula_number_and_sweep_are_bound_by_the_same_limit(
    algorithm: Algorithm, roof: rk.Roofline, data: st.DataObject
) -> None:
    cost, sizes = traced(algorithm), data.draw(sizes_for(algorithm[1], largest=10**4))
    exact = at(cost, sizes)
    expected = "compute" if exact.flops * roof.bandwidth >= exact.bytes * roof.peak else "memory"
    assert expected == roof.bound(exact) == roof.bound(cost.compile(*sizes)(*sizes.values()))


@given(sizes=sizes_for(("N h", "M d")))
def test_attention_on_numpy_is_what_its_definition_says(sizes: dict[str, int]) -> None:
    Q, K, V = as_arrays(("N h", "M h", "M d"), sizes)
    expected = []
    for q in Q:
        weights = [math.exp(sum(q * k)) for k in K]
        expected.append(sum(w * v for w, v in zip(weights, V, strict=True)) / sum(weights))
    np.testing.assert_allclose(rk.attention(Q, K, V), np.array(expected), rtol=1e-12, atol=1e-15)


def test_softmax_on_numpy_does_not_overflow() -> None:
    np.testing.assert_array_equal(rk.softmax(np.array([1e4, 1e4, -1e4])), [0.5, 0.5, 0.0])


def test_an_integer_never_decides_the_dtype_of_a_floating_point_result() -> None:
    x = rk.Tensor("x", 4, "int32") + rk.Tensor("y", 4, "fp16")
    assert x.dtype == "fp16"


def test_heads_inside_of_a_fused_step_are_a_size_like_any_other() -> None:
    N, h, H = rk.symbols("N h H")

    def split(x: Any) -> Any:
        return x.reshape(x.shape[0], H, -1).swapaxes(0, 1)

    def heads(Q: Any, K: Any, V: Any) -> Any:
        return rk.attention(split(Q), split(K), split(V)).swapaxes(0, 1).reshape(*Q.shape)

    cost = rk.trace(rk.fuse(heads), *rk.tensors("Q K V", (N, h)))
    assert set(cost.symbols) == {N, h, H}
    assert cost.at(N=4, h=8, H=2).flops == 4 * 4 * 4 * 8 + 3 * 2 * 4 * 4
    with pytest.raises(ValueError, match=r"h/H"):
        cost.at(N=4, h=8, H=3)
    with pytest.raises(ValueError, match=r"h/H"):
        cost.compile("H", N=4, h=8)([1, 3])


@pytest.mark.parametrize("shape", [lambda n: n - 4, lambda n: n // 4])
def test_a_size_that_comes_out_as_zero_is_refused_everywhere(shape: Any) -> None:
    N = rk.symbols("N")
    cost = rk.trace(rk.exp, rk.Tensor("x", shape(N)))
    for ask in (lambda: cost.at(N=3), lambda: cost.compile("N")([3]).flops):
        with pytest.raises(ValueError, match="positive integer"):
            ask()


def test_a_fractional_number_of_repetitions_is_refused() -> None:
    h, H = rk.symbols("h H")
    cost = (h / H) * rk.trace(rk.exp, rk.Tensor("x", h))
    with pytest.raises(ValueError, match="h/H"):
        cost.at(h=4, H=3)


def test_sizes_are_numbers_to_a_tensor_on_either_side() -> None:
    N = rk.symbols("N")
    x = rk.Tensor("x", N)
    for y in (N * x, x * N, N - x, 1 / N * x, sympy.Integer(4) * x, N**0.5 * x):
        assert y.shape == (N,) and y.step.flops == N and y.step.loads == 2 * N


def test_what_leaves_a_fused_step_by_another_door_is_refused() -> None:
    door: list[Any] = []

    def leak(x: Any) -> Any:
        door.append(rk.exp(x))
        return door[0] + 1

    with pytest.raises(ValueError, match=r"never stored: the fused leak\(x\) must return it"):
        rk.trace(lambda x: rk.fuse(leak)(x) + door[0], rk.Tensor("x", 4))


def test_values_that_are_put_in_are_numbers() -> None:
    N, h = rk.symbols("N h")
    cost = rk.trace(rk.attention, *rk.tensors("Q K V", (N, h)))
    for ask in (lambda: cost.at(N=4, h=N), lambda: cost.compile("N", h=h)):
        with pytest.raises(ValueError, match="must be numbers"):
            ask()


# --- for scripts --------------------------------------------------------------------------------------

COLUMNS = ["name", "operation", "reads", "writes", "count", "flops", "matmul_flops", "loads", "stores", "bytes"]


def chain(length: int) -> rk.Cost:
    def f(x: Any) -> Any:
        for _ in range(length):
            x = rk.exp(x) + x
        return x

    return rk.trace(f, rk.Tensor("x", 4))


@each_algorithm
@few
@given(data=st.data())
def test_rows_are_the_steps_as_plain_numbers(algorithm: Algorithm, data: st.DataObject) -> None:
    cost = traced(algorithm, data.draw(sizes_for(algorithm[1], largest=10**6)))
    rows = cost.rows()
    assert [list(row) for row in rows] == [[*COLUMNS, "intensity"]] * len(cost.steps)
    assert json.loads(json.dumps(rows)) == rows  # nothing in them is a thing of SymPy's or ours
    for quantity in ("flops", "matmul_flops", "loads", "stores", "bytes"):
        assert all(type(row[quantity]) is int for row in rows)
        assert sum(row[quantity] for row in rows) == getattr(cost, quantity)
    assert [row["intensity"] for row in rows] == [float(step.intensity) for step in cost.steps]


@each_algorithm
def test_rows_of_open_sizes_hold_formulas(algorithm: Algorithm) -> None:
    cost = traced(algorithm)
    for row, step in zip(cost.rows(), cost.steps, strict=True):
        assert (row["name"], row["operation"], row["count"]) == (step.name, step.operation, 1)
        assert sympy.expand(row["flops"] - step.flops) == sympy.expand(row["bytes"] - step.bytes) == 0
        assert row["reads"] == [x.name for x in step.reads] and row["writes"] == [x.name for x in step.writes]


def test_rows_are_a_csv_file_in_three_lines() -> None:
    rows = (32 * traced(ALGORITHMS["attention"])).at(h=64).rows()
    writer = csv.DictWriter(file := io.StringIO(), rows[0])
    writer.writeheader()
    writer.writerows(rows)
    first = next(csv.DictReader(io.StringIO(file.getvalue())))
    assert (first["name"], first["count"], first["flops"]) == ("a @ b.T", "32", "4096*N**2")


def test_a_step_that_moves_nothing_is_a_row_without_an_intensity() -> None:
    step = rk.trace(lambda x: rk.exp(x), rk.Tensor("x", 4)).steps[0]
    nothing = dataclasses.replace(step, reads=(), writes=())
    assert rk.Cost((nothing,)).rows()[0]["intensity"] is None


@each_algorithm
def test_steps_can_be_turned_into_dictionaries_field_by_field(algorithm: Algorithm) -> None:
    """As pandas does where it is given a list of data classes."""
    cost = traced(algorithm)
    for step, fields in zip(cost.steps, map(dataclasses.asdict, cost.steps), strict=True):
        assert dataclasses.is_dataclass(step) and fields["flops"] == step.flops
        assert [x["name"] for x in fields["reads"]] == [x.name for x in step.reads]
    assert len(dataclasses.asdict(cost)["steps"]) == len(cost.steps)


def test_pandas_takes_rows_and_steps() -> None:
    pandas = installed("pandas", "pandas")
    cost = traced(ALGORITHMS["attention"]).at(N=64, h=16)
    assert pandas.DataFrame(cost.rows())["bytes"].sum() == cost.bytes
    assert list(pandas.DataFrame(cost.steps)["flops"]) == [step.flops for step in cost.steps]


@pytest.mark.parametrize("way", [copy.deepcopy, lambda cost: pickle.loads(pickle.dumps(cost)), dataclasses.asdict])
def test_a_cost_of_many_steps_can_be_copied_stored_and_taken_apart(way: Any) -> None:
    cost = chain(500)
    again = way(cost)
    if isinstance(again, rk.Cost):
        assert again.names() == cost.names() and again.flops == cost.flops == 4000
    assert cost.steps[7].writes[0].step is cost.steps[7] and len(dataclasses.asdict(cost)["steps"]) == 1000


def test_a_view_and_a_part_know_the_step_that_made_their_array() -> None:
    y = rk.exp(rk.Tensor("x", (4, 6)))
    assert y.step is y.T.step is y.reshape(-1).step is y[1:].step is y[1:].T.step is not None
    assert rk.Tensor("x", 4).step is None


def test_methods_of_a_tensor_are_those_of_numpy_s_arrays() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    for method in ("sum", "max", "mean"):
        for how in ({}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": None, "keepdims": True}):
            traced_one = getattr(rk.Tensor("x", x.shape), method)(**how)
            np.testing.assert_allclose(getattr(rk, method)(x, **({"axis": None} | how)), getattr(x, method)(**how))
            assert traced_one.shape == np.shape(getattr(x, method)(**how))


@given(sizes=sizes_for(("N M",), largest=7), data=st.data())
def test_windows_over_rows_and_columns_are_those_that_one_cuts_by_hand(sizes: dict[str, int], data: Any) -> None:
    (x,) = as_arrays(("N M",), sizes)
    length = tuple(data.draw(st.integers(1, n)) for n in x.shape)
    stride = tuple(data.draw(st.integers(1, n)) for n in length)
    found = rk.windows(x, length, stride)
    (a, b), (down, right) = length, stride
    assert found.shape == tuple(rk.windows(rk.Tensor("x", x.shape), length, stride).shape)
    for i, j in np.ndindex(found.shape[:2]):
        cut = x[i * down : i * down + a, j * right : j * right + b]
        np.testing.assert_array_equal(found[i, j], cut)


def test_windows_over_rows_and_columns_see_zeros_where_they_stick_out() -> None:
    found = rk.windows(np.ones((2, 3)), (3, 3), 1, start=(-1, -1), count=(2, 3))
    assert found.shape == (2, 3, 3, 3) and found[0, 0].tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]


@given(sizes=sizes_for(("N h", "M h")))
def test_concatenate_is_numpy_s(sizes: dict[str, int]) -> None:
    a, b = as_arrays(("N h", "M h"), sizes)
    np.testing.assert_array_equal(rk.concatenate((a, b)), np.concatenate((a, b)))
    np.testing.assert_array_equal(rk.concatenate((a.T, b.T), axis=-1), np.concatenate((a.T, b.T), axis=-1))


def test_concatenating_costs_no_flops_and_moves_every_number_twice() -> None:
    N, M, h = rk.symbols("N M h")
    cost = rk.trace(lambda a, b: rk.concatenate((a, b)), rk.Tensor("a", (N, h)), rk.Tensor("b", (M, h)))
    assert cost.flops == 0 and sympy.expand(cost.loads - 2 * h * (N + M)) == sympy.expand(cost.stores - cost.loads) == 0
    assert len(cost.steps) == 1 and "concatenate(a, b)" in repr(cost)
