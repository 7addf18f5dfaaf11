"""The roofline is a minimum of two limits, and says the same of numbers, arrays and formulas."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import sympy
from algorithms import ALGORITHMS, traced
from hypothesis import given
from hypothesis import strategies as st

import roofline_kit as rk

A10 = rk.roofline("A10")
ATTENTION = rk.trace(rk.attention, *rk.tensors("Q K V", rk.symbols("N h")))
any_roofline = st.sampled_from(
    [rk.roofline(name, dtype) for name in rk.accelerators() for dtype in rk.accelerator(name).peaks]
)


@given(roof=any_roofline, intensities=st.lists(st.floats(0, 1e6), min_size=1))
def test_attainable_performance_is_the_lower_of_the_two_limits(roof: rk.Roofline, intensities: list[float]) -> None:
    lower = [min(float(roof.peak), x * roof.bandwidth) for x in intensities]
    assert roof.attainable(intensities).tolist() == lower
    assert [roof.attainable(x) for x in intensities] == lower


def test_the_two_limits_meet_at_the_ridge() -> None:
    assert A10.attainable(A10.ridge) == pytest.approx(A10.peak, rel=1e-15) and A10.ridge * A10.bandwidth == A10.peak


def test_attainable_performance_takes_exact_numbers_too() -> None:
    assert A10.attainable(sympy.Rational(1, 12)) == A10.attainable(Fraction(1, 12)) == 50e9
    assert A10.attainable(100) == A10.attainable(sympy.Integer(100)) == 60e12
    assert A10.attainable(math.inf) == A10.peak


@given(roof=any_roofline, intensity=st.fractions(0, 10**4))
def test_a_program_is_memory_bound_below_the_ridge_and_compute_bound_from_it_on(
    roof: rk.Roofline, intensity: Fraction
) -> None:
    expected = "compute" if intensity * roof.bandwidth >= roof.peak else "memory"
    assert roof.bound(sympy.Rational(intensity)) == expected


@given(roof=any_roofline)
def test_at_the_ridge_itself_a_program_is_compute_bound(roof: rk.Roofline) -> None:
    assert roof.bound(roof.ridge) == roof.bound(float(roof.ridge)) == "compute"
    assert roof.bound(roof.ridge - sympy.Rational(1, 10**9)) == "memory"


def test_a_square_product_of_625_is_at_the_ridge_of_the_a10_in_every_way_of_asking() -> None:
    square = rk.trace(rk.linear, *rk.tensors("X W", (rk.symbols("N"),) * 2))
    assert square.at(N=625).intensity == A10.ridge == A10.crossing(square, "N") / 3
    assert A10.bound(square.compile("N")([624, 625, 626])).tolist() == ["memory", "compute", "compute"]


def test_what_binds_a_step_is_asked_like_what_binds_the_whole() -> None:
    cost = ATTENTION.at(N=4096, h=4096)
    assert [A10.bound(step) for step in cost.steps] == ["compute", "memory", "compute"]
    assert A10.bound(cost) == "compute"


def test_arrays_of_intensities_have_arrays_of_bounds() -> None:
    assert A10.bound([1, 208.3, 208.4]).tolist() == ["memory", "memory", "compute"]
    assert A10.bound(1.0) == "memory"


def test_the_time_of_a_sequence_is_the_sum_of_the_times_of_its_steps() -> None:
    cost = ATTENTION.at(N=4096, h=4096)
    steps = [max(Fraction(int(s.flops), A10.peak), Fraction(int(s.bytes), A10.bandwidth)) for s in cost.steps]
    assert A10.time(cost) == pytest.approx(float(sum(steps)), rel=1e-15)
    assert [A10.time(step) for step in cost.steps] == pytest.approx([float(s) for s in steps], rel=1e-15)
    assert A10.time(cost + cost) == pytest.approx(2 * A10.time(cost), rel=1e-15)
    assert A10.time(32 * cost) == pytest.approx(32 * A10.time(cost), rel=1e-15)


def test_one_aggregated_intensity_hides_the_step_that_is_memory_bound() -> None:
    cost = ATTENTION.at(N=4096, h=4096)
    assert A10.time(cost, overlap="ideal") < A10.time(cost)


def test_fusing_helps_where_a_step_was_memory_bound() -> None:
    inputs = rk.tensors("Q K V", (4096, 128))
    assert A10.bound(rk.trace(rk.attention, *inputs)) == "memory"
    assert A10.bound(rk.trace(rk.fuse(rk.attention), *inputs)) == "compute"
    assert A10.time(rk.trace(rk.fuse(rk.attention), *inputs)) < A10.time(rk.trace(rk.attention, *inputs)) / 3


@given(h=st.integers(416, 10**5), name=st.sampled_from(["A10", "A40", "A100-40GB", "T4"]))
def test_attention_turns_compute_bound_at_the_crossing(h: int, name: str) -> None:
    roof = rk.roofline(name)
    if (4 * h + 3) <= 8 * roof.ridge:  # the limit for long inputs stays below the ridge
        return
    first = int(sympy.ceiling(roof.crossing(ATTENTION, "N", h=h)))
    assert roof.bound(ATTENTION.at(N=first, h=h)) == "compute"
    assert first == 1 or roof.bound(ATTENTION.at(N=first - 1, h=h)) == "memory"


def test_a_crossing_is_where_intensity_and_ridge_are_equal() -> None:
    layer = traced(ALGORITHMS["linear"])
    crossing = A10.crossing(layer, "N", K=4096, M=4096)
    N = next(s for s in layer.symbols if str(s) == "N")
    others = {s: 4096 for s in layer.symbols if s != N}
    assert sympy.simplify(layer.intensity.subs(others).subs(N, crossing) - A10.ridge) == 0


def test_multi_head_attention_never_reaches_the_ridge_of_the_a10_and_the_error_says_what_it_reaches() -> None:
    with pytest.raises(ValueError, match=r"to 64\.38 for large N, and does not cross the 208\.3 of A10"):
        A10.crossing(ATTENTION, "N", h=128)


def test_a_roofline_is_made_from_a_name_or_an_accelerator_and_takes_fp16_unless_told() -> None:
    assert rk.roofline(rk.accelerator("A10")) == rk.roofline("a10") == rk.roofline("A10", "fp16")
    assert (A10.peak, A10.bandwidth, A10.dtype) == (125 * 10**12, 600 * 10**9, "fp16")
    assert rk.roofline("A10", "fp32").peak < A10.peak
