"""Traced formulas count what is really executed: they agree with an interpreter, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy
from algorithms import (
    QUANTITIES,
    WIDTHS,
    Algorithm,
    Program,
    as_arrays,
    at,
    each_counted,
    few,
    names_in,
    programs,
    shape_of,
    sizes_for,
    small_sizes,
    totals,
    traced,
)
from hypothesis import given
from hypothesis import strategies as st
from interpreter import interpret

import roofline_kit as rk

one_dtype = st.sampled_from(sorted(WIDTHS))


def executed(algorithm: Algorithm, sizes: dict[str, int], dtypes: Any) -> dict[str, Any]:
    """All that the interpreter counts."""
    function, shapes = algorithm
    widths = [WIDTHS[dtype] for dtype in dtypes]
    counts = interpret(function, *as_arrays(shapes, sizes), dtype_bytes=widths)
    values = [counts.flops, counts.matmul_flops, counts.loads, counts.stores, counts.loads + counts.stores]
    return dict(zip(QUANTITIES, map(sympy.Rational, [*values, counts.accesses]), strict=True))


def dtypes_for(shapes: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    """A dtype for each input; no two of the same width, of which the result could have either."""
    widths = st.sampled_from(["fp64", "fp32", "fp16", "fp8"])
    return one_dtype.map(lambda dtype: [dtype] * len(shapes)) | st.lists(
        widths, min_size=len(shapes), max_size=len(shapes)
    )


def test_the_interpreter_counts_what_one_counts_by_hand() -> None:
    row, column = np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]])
    product = interpret(rk.matmul, row, column)
    assert (product.flops, product.matmul_flops, product.loads, product.stores) == (4, 4, 8, 2)
    assert product.result == [[11.0]]

    same = interpret(lambda x: x * x.mT.mT + x, row)  # x once in each step, and the product in between
    assert (same.flops, same.matmul_flops, same.loads, same.stores, same.accesses) == (4, 0, 4 + 8, 4 + 4, 10)

    fused = interpret(rk.fuse(lambda x: x * x + x), row)  # nothing in between
    assert (fused.flops, fused.loads, fused.stores, fused.accesses) == (4, 4, 4, 4)

    softmax = interpret(rk.softmax, row)  # two exp, two additions, two divisions
    assert (softmax.flops, softmax.loads, softmax.stores) == (6, 4, 4)


@each_counted
@few
@given(data=st.data())
def test_formulas_agree_with_the_interpreter_at_every_size(algorithm: Algorithm, data: st.DataObject) -> None:
    sizes, dtypes = data.draw(sizes_for(algorithm[1])), data.draw(dtypes_for(algorithm[1]))
    assert totals(at(traced(algorithm, dtypes=dtypes), sizes)) == executed(algorithm, sizes, dtypes)


@each_counted
@few
@given(data=st.data())
def test_tracing_at_numbers_agrees_with_the_interpreter(algorithm: Algorithm, data: st.DataObject) -> None:
    sizes, dtypes = data.draw(sizes_for(algorithm[1])), data.draw(dtypes_for(algorithm[1]))
    assert totals(traced(algorithm, sizes, dtypes)) == executed(algorithm, sizes, dtypes)


@pytest.mark.torch
@each_counted
def test_every_algorithm_stays_on_the_device_of_its_arrays(torch: Any, algorithm: Algorithm) -> None:
    """On "meta" nothing has values; as on a GPU, an array that was made on the CPU does not fit."""
    function, shapes = algorithm
    sizes = dict.fromkeys(names_in(shapes), 3)
    out = function(*(torch.empty(shape_of(text, sizes), device="meta") for text in shapes))
    assert all(x.device.type == "meta" for x in (out if isinstance(out, tuple) else (out,)))


@each_counted
@few
@given(data=st.data())
def test_the_interpreter_computes_what_numpy_computes(algorithm: Algorithm, data: st.DataObject) -> None:
    arrays = as_arrays(algorithm[1], data.draw(sizes_for(algorithm[1])))
    computed, expected = interpret(algorithm[0], *arrays).result, algorithm[0](*arrays)
    for one, other in zip(*(x if isinstance(x, tuple) else (x,) for x in (computed, expected)), strict=True):
        assert one.shape == np.shape(other)
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@given(program=programs(), sizes=small_sizes, dtype=one_dtype)
def test_any_program_agrees_with_the_interpreter(program: Program, sizes: dict[str, int], dtype: str) -> None:
    algorithm, dtypes = program.algorithm(), [dtype] * len(program.shapes)
    assert totals(at(traced(algorithm, dtypes=dtypes), sizes)) == executed(algorithm, sizes, dtypes)


@given(program=programs(), sizes=small_sizes, dtype=one_dtype)
def test_any_fused_program_agrees_with_the_interpreter(program: Program, sizes: dict[str, int], dtype: str) -> None:
    algorithm, dtypes = program.algorithm(0, len(program.lines)), [dtype] * len(program.shapes)
    assert totals(at(traced(algorithm, dtypes=dtypes), sizes)) == executed(algorithm, sizes, dtypes)


@given(program=programs(), sizes=small_sizes, data=st.data())
def test_any_program_with_a_fused_part_agrees_with_the_interpreter(
    program: Program, sizes: dict[str, int], data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(program.lines) - 1))
    algorithm = program.algorithm(first, data.draw(st.integers(first + 1, len(program.lines))))
    dtypes = data.draw(dtypes_for(program.shapes))
    assert totals(at(traced(algorithm, dtypes=dtypes), sizes)) == executed(algorithm, sizes, dtypes)


@given(program=programs(), sizes=small_sizes)
def test_the_interpreter_computes_what_numpy_computes_for_any_program(program: Program, sizes: dict[str, int]) -> None:
    function, shapes = program.algorithm()
    arrays = as_arrays(shapes, sizes)
    for one, other in zip(interpret(function, *arrays).result, function(*arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)
