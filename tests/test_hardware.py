"""The datasheets are kept as printed, each number once, and dense is never mixed up with sparse."""

from __future__ import annotations

import re

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

import roofline_kit as rk
from roofline_kit.tensor import BYTES

each_accelerator = pytest.mark.parametrize("name", rk.accelerators())


def test_the_accelerators_of_the_course_are_there() -> None:
    wanted = "A10 A10G A40 A100-40GB A100-80GB-SXM A100-80GB-PCIe H100-SXM H100-PCIe H200 L4 T4 V100-SXM2 V100-PCIe"
    assert {*wanted.split(), "RTX-4090", "MI100", "TPU-v5e", "TPU-v5p"} <= set(rk.accelerators())


@each_accelerator
def test_the_ridge_is_peak_over_bandwidth_exactly(name: str) -> None:
    machine = rk.accelerator(name)
    for dtype in machine.peaks:
        assert isinstance(machine.ridge(dtype), sympy.Rational)
        assert machine.ridge(dtype) * machine.bandwidth == machine.peak(dtype)


@each_accelerator
def test_the_printed_sparse_peak_is_twice_the_dense_one_to_the_printed_digits(name: str) -> None:
    machine = rk.accelerator(name)
    assert set(machine.sparse) <= set(machine.peaks)
    for dtype, sparse in machine.sparse.items():
        assert sparse / machine.peak(dtype) == pytest.approx(2, rel=1e-3)


@each_accelerator
def test_every_accelerator_says_where_its_numbers_come_from_and_when_they_were_read(name: str) -> None:
    machine = rk.accelerator(name)
    assert re.search(r"https://\S+\.\S+", machine.source)
    assert re.search(r"(read|quoted) 20\d\d-\d\d-\d\d", machine.source)


@each_accelerator
def test_every_accelerator_is_complete(name: str) -> None:
    machine = rk.accelerator(name)
    assert machine.name == name and machine.title and machine.note
    rates = [machine.bandwidth, machine.memory, *machine.peaks.values(), *machine.sparse.values()]
    assert all(type(rate) is int for rate in rates)
    assert set(machine.peaks) - {"fp16-accumulate"} <= set(BYTES)


@each_accelerator
def test_narrower_numbers_are_never_slower(name: str) -> None:
    peaks = rk.accelerator(name).peaks
    order = [dtype for dtype in ("fp64", "fp32", "tf32", "fp16", "fp8") if dtype in peaks]
    assert [peaks[dtype] for dtype in order] == sorted(peaks[dtype] for dtype in order)


@each_accelerator
@pytest.mark.parametrize("spell", [str.lower, str.upper, lambda s: s.replace("-", " "), lambda s: s.replace("-", "")])
def test_capitals_spaces_and_hyphens_do_not_matter_in_a_name(name: str, spell: object) -> None:
    assert rk.accelerator(spell(name)) is rk.accelerator(name)  # type: ignore[operator]


def test_no_two_names_read_alike() -> None:
    assert len({name.replace("-", "").lower() for name in rk.accelerators()}) == len(rk.accelerators())


def test_bf16_has_half_the_rate_of_fp16_on_the_mi100() -> None:
    machine = rk.accelerator("MI100")
    assert machine.peak("fp16") == 2 * machine.peak("bf16")


def test_peaks_are_dense_and_the_lecture_s_a10_is_at_125_teraflops() -> None:
    assert rk.accelerator("A10").peak("fp16") == 125 * 10**12 < rk.accelerator("A10").sparse["fp16"]


@given(peak=st.integers(1, 10**18), bandwidth=st.integers(1, 10**15))
def test_an_own_accelerator_is_as_good_as_a_listed_one(peak: int, bandwidth: int) -> None:
    mine = rk.Accelerator("mine", peaks={"fp32": peak}, bandwidth=bandwidth, memory=16 * 10**9)
    assert rk.roofline(mine, "fp32").ridge == sympy.Rational(peak, bandwidth)
    assert (mine.name, mine.source) == ("mine", "own")


def test_rates_in_scientific_notation_are_exact_and_measured_ones_are_cut_to_whole_numbers() -> None:
    mine = rk.Accelerator("mine", peaks={"fp16": 989.4e12}, bandwidth=3.35e12, memory=80e9)
    assert (mine.peak(), mine.bandwidth, mine.memory) == (9894 * 10**11, 335 * 10**10, 80 * 10**9)
    assert rk.Accelerator("mine", peaks={"fp16": 1e12}, bandwidth=40123456789.7, memory=8e9).bandwidth == 40123456789


def test_a_datasheet_cannot_be_changed_by_accident() -> None:
    peaks = rk.accelerator("A10").peaks
    with pytest.raises(TypeError):
        peaks["fp16"] = peaks["fp16"]  # type: ignore[index]


def test_accelerators_and_rooflines_can_be_keys_of_a_dictionary() -> None:
    assert {rk.roofline("A10"): 1}[rk.roofline("A10")] == 1
