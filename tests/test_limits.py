"""Limits are a list: a step has amounts by resource, a machine has rates, and the largest quotient is the time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy
from algorithms import Algorithm, as_arrays, each_counted, few, sizes_for, traced
from hypothesis import given
from hypothesis import strategies as st
from interpreter import interpret

import roofline_kit as rk
from roofline_kit.tensor import RESOURCES

H100 = rk.accelerator("H100-SXM")
ALL = ("matrix", "vector", "exp", "memory")
N, h = rk.symbols("N h")
ATTENTION = rk.trace(rk.attention, *rk.tensors("Q K V", (N, h)))
FUSED = rk.trace(rk.fuse(rk.attention), *rk.tensors("Q K V", (N, h)))


def seconds(cost: rk.Cost, roof: rk.Roofline) -> sympy.Rational:
    """By hand: step by step, the largest amount / rate."""
    return sum(
        max(sympy.Rational(step.amounts[name]) / roof.rates[name] for name in roof.limits) for step in cost.steps
    )


@each_counted
@few
@given(data=st.data())
def test_special_functions_are_counted_as_an_interpreter_executes_them(algorithm: Algorithm, data: Any) -> None:
    function, shapes = algorithm
    sizes = data.draw(sizes_for(shapes))
    counts = interpret(function, *as_arrays(shapes, sizes))
    assert traced(algorithm, sizes).amounts["exp"] == counts.special


@each_counted
def test_what_is_computed_is_inside_or_outside_of_matrix_products(algorithm: Algorithm) -> None:
    amounts = traced(algorithm).amounts
    assert sympy.expand(amounts["matrix"] + amounts["vector"] - amounts["compute"]) == 0
    assert tuple(amounts) == tuple(RESOURCES)


def test_exponentials_are_seen_inside_of_fused_steps() -> None:
    assert FUSED.amounts["exp"] == ATTENTION.amounts["exp"] == N**2
    layer = rk.trace(rk.fuse(rk.silu), rk.Tensor("x", (N, h)))
    assert (2 * layer + FUSED).amounts["exp"] == 2 * N * h + N**2


@pytest.mark.parametrize("cost", [ATTENTION, FUSED], ids=["in steps", "fused"])
@given(n=st.integers(1, 20000), wide=st.sampled_from([64, 128, 4096]))
def test_the_lectures_pair_is_where_one_begins_and_gives_what_it_always_gave(cost: rk.Cost, n: int, wide: int) -> None:
    roof, numbers = rk.roofline("A10"), cost.at(N=n, h=wide)
    pair = [
        max(step.flops / sympy.Integer(roof.peak), step.bytes / sympy.Integer(roof.bandwidth)) for step in numbers.steps
    ]
    assert roof.limits == ("compute", "memory")
    assert roof.time(numbers) == float(sum(pair)) == rk.roofline("A10", limits=("memory", "compute")).time(numbers)


@given(n=st.integers(1, 20000), limits=st.permutations(ALL), more=st.integers(1, len(ALL)))
def test_a_further_limit_never_makes_anything_faster(n: int, limits: tuple[str, ...], more: int) -> None:
    few_limits, numbers = tuple(limits[:more]), FUSED.at(N=n, h=128)
    one, all_of_them = (rk.roofline("H100-SXM", limits=of) for of in (few_limits, tuple(limits)))
    assert one.time(numbers) <= all_of_them.time(numbers) == float(seconds(numbers, all_of_them))
    assert all_of_them.time(numbers, overlap="ideal") <= all_of_them.time(numbers)


def test_numbers_formulas_and_sweeps_say_the_same_of_every_list_of_limits() -> None:
    lengths = [1, 50, 464, 4096, 100_000]
    for limits in (("compute", "memory"), ALL, ("exp",), ("vector", "memory")):
        roof = rk.roofline("H100-SXM", limits=limits)
        each = [ATTENTION.at(N=n, h=128) for n in lengths]
        sweep, formula = ATTENTION.compile("N", h=128)(lengths), roof.time(ATTENTION)
        assert roof.time(sweep).tolist() == pytest.approx([roof.time(cost) for cost in each], rel=1e-12)
        assert [float(formula.subs({N: n, h: 128})) for n in lengths] == pytest.approx(roof.time(sweep).tolist())
        assert roof.bound(sweep).tolist() == [roof.bound(cost) for cost in each]


def test_what_binds_is_the_name_of_a_resource() -> None:
    roof = rk.roofline("H100-SXM", limits=ALL)
    assert [roof.bound(step) for step in ATTENTION.at(N=16384, h=128).steps] == ["memory", "memory", "memory"]
    assert roof.bound(FUSED.at(N=16384, h=128)) == "matrix"
    assert roof.bound(FUSED.at(N=16384, h=32)) == "exp", "narrow heads do few products for each exponential"
    assert roof.bound(FUSED.at(N=1, h=128)) == "memory"


def test_the_rate_of_exponentials_is_the_one_that_a_paper_prints() -> None:
    """FlashAttention-3 (arXiv 2407.08608), section 2.2: 3.9 TFLOPS of special functions against 989 of products."""
    rate = H100.rates()["exp"]
    assert round(rate / 1e12, 1) == 3.9
    assert round(H100.rates()["matrix"] / rate) == 256


# FLOPs of one clock of one SM's tensor cores in half precision, as the architectures' white papers say.
DENSE = dict.fromkeys(("A10", "A40"), 1024) | dict.fromkeys(("A100-40GB", "A100-80GB-SXM", "A100-80GB-PCIe"), 2048)
DENSE |= dict.fromkeys(("H100-SXM", "H200", "GH200"), 4096) | {"L40S": 1024, "B200": 8192}


@pytest.mark.parametrize("name", DENSE)
def test_the_clock_behind_a_rate_of_exponentials_is_that_behind_the_peak(name: str) -> None:
    card = rk.accelerator(name)
    assert card.rates()["exp"] / 16 * DENSE[name] == pytest.approx(card.peak("fp16"), rel=2e-3)


def test_arithmetic_outside_of_matrix_units_has_a_rate_of_its_own() -> None:
    a100 = rk.accelerator("A100-40GB")
    assert a100.rates("fp16")["vector"] == 4 * a100.rates("fp32")["vector"] == 78 * 10**12
    assert a100.rates("fp8" if "fp8" in a100.peaks else "int8")["vector"] == a100.peak("fp32")
    own = rk.Accelerator("mine", {"fp32": 1e12}, 1e11, 1e10, vector={"fp32": 5e11}, exp=1e10)
    assert own.rates("fp32") == {
        "compute": 10**12, "matrix": 10**12, "vector": 5 * 10**11, "exp": 10**10, "memory": 10**11,
    }  # fmt: skip


def test_a_machine_without_a_rate_says_so_when_a_roofline_asks_for_it() -> None:
    mine = rk.Accelerator("mine", {"fp16": 1e12}, 1e11, 1e10)
    assert rk.roofline(mine).time(FUSED.at(N=64, h=64)) > 0
    for name in ("vector", "exp"):
        with pytest.raises(ValueError, match=f"mine has no rate for '{name}'.*It has compute, matrix, memory"):
            rk.roofline(mine, limits=("matrix", name))
    assert rk.roofline(replace(mine, exp=1e10), limits=("exp",)).time(FUSED.at(N=64, h=64)) == 64**2 / 1e10


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (("matrices", "memory"), "unknown resource 'matrices'; did you mean 'matrix'?"),
        (("link",), "unknown resource 'link'"),
        ((), r"limits are one or more resources, each once, not \(\)"),
        (("memory", "memory"), "each once, not"),
        ((3,), "resource must be given by its name, not as 3"),
    ],
)
def test_limits_that_cannot_be_are_refused_by_name(limits: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rk.roofline("A10", limits=limits)


def test_one_limit_may_be_given_by_itself() -> None:
    assert rk.roofline("A10", limits="memory").limits == ("memory",)  # type: ignore[arg-type]


def test_an_intensity_says_nothing_of_exponentials() -> None:
    with pytest.raises(ValueError, match="an intensity says nothing of matrix, exp: give a Cost"):
        rk.roofline("H100-SXM", limits=("matrix", "exp")).bound(100)


@pytest.mark.parametrize("rate", [-1, 0.5, np.nan, "fast", True])
def test_a_rate_of_exponentials_must_be_a_rate(rate: Any) -> None:
    with pytest.raises(ValueError, match="mine: exp "):
        rk.Accelerator("mine", {"fp16": 1e12}, 1e11, 1e10, exp=rate)


def test_a_picture_shows_the_limits_that_were_asked_for_and_no_others() -> None:
    narrow = {"attention": FUSED.at(N=16384, h=32)}
    plain = rk.plot_roofline("H100-SXM", narrow)
    more = rk.plot_roofline(rk.roofline("H100-SXM", limits=ALL), narrow)

    def said(ax: Any) -> str:
        return " ".join(text.get_text() for text in ax.texts)

    assert "exponentials" not in said(plain) and "outside of matrix units" not in said(plain)
    rate = H100.rates()["exp"] * (4 * 32 + 3) / 1e12  # FLOPs for each exponential of heads of 32
    assert f"exponentials: at most {rate:.1f} TFLOP/s" in said(more) and "outside of matrix units" in said(more)
    wide = rk.plot_roofline(rk.roofline("H100-SXM", limits=ALL), {"attention": FUSED.at(N=16384, h=256)})
    assert "exponentials" not in said(wide), "where products take longer, there is no wall"
