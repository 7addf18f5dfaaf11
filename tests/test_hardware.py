"""The datasheets are kept as printed, each number once, and dense is never mixed up with sparse."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

import roofline_kit as rk
from roofline_kit.measuring.commands import collected
from roofline_kit.measuring.points import Result, ceiling_points
from roofline_kit.measuring.store import table
from roofline_kit.sizes import BITS

TABLE = tomllib.loads(files("roofline_kit").joinpath("data", "accelerators.toml").read_text("utf-8"))

each_accelerator = pytest.mark.parametrize("name", rk.accelerators())


def test_the_accelerators_of_the_course_are_there() -> None:
    wanted = "A10 A10G A40 A100-40GB A100-80GB-SXM A100-80GB-PCIe H100-SXM H100-PCIe H200 L4 T4 V100-SXM2 V100-PCIe"
    wanted += (
        " GH200 H100-NVL B200 GB200 L40S RTX-PRO-6000 MI250X MI250X-die MI300X MI325X MI355X TPU-v6e TPU7x Gaudi-3"
    )
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


# --- how a number was found, and what others print ------------------------------------------------------


@each_accelerator
def test_every_number_stands_with_how_it_was_found(name: str) -> None:
    machine = rk.accelerator(name)
    shown = re.findall(r"^  (\S+) +\S+(?: \S+)?  \[(\w+)\]$", repr(machine), re.MULTILINE)
    missing = {"cache", "shared", "registers", "link", "node", "watts", "exp"}
    numbers = {number for number, _ in shown}
    assert (
        set(machine.peaks) | {"bandwidth", "memory"}
        <= numbers
        <= set(machine.peaks) | {"bandwidth", "memory"} | missing
    )
    for number, how in shown:
        source = machine.sources.get(number, machine.source)
        assert how in ("read", "quoted") and re.search(rf"https://\S+\.\S+.* {how} 20\d\d-\d\d-\d\d", source)
        assert machine.how(number) == how


@each_accelerator
def test_what_has_a_source_of_its_own_is_a_number_of_the_card(name: str) -> None:
    for number in (*rk.accelerator(name).sources, *(other for other, _, _ in rk.accelerator(name).alternatives)):
        assert re.search(rf"^  {number} ", repr(rk.accelerator(name)), re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "number", "ours", "theirs"),
    [("B200", "bandwidth", "7.7 TB/s", "or 8 TB/s"), ("B200", "fp32", "75 TFLOP/s", "or 80 TFLOP/s"),
     ("GB200", "memory", "186 GB", "or 198.7 GB"), ("Gaudi-3", "bf16", "1835 TFLOP/s", "or 1677 TFLOP/s"),
     ("TPU-v6e", "bandwidth", "1.638 TB/s", "or 1.6 TB/s")],
)  # fmt: skip
def test_where_sources_disagree_both_numbers_are_shown(name: str, number: str, ours: str, theirs: str) -> None:
    lines = [" ".join(line.split()) for line in repr(rk.accelerator(name)).splitlines()]
    at = next(i for i, line in enumerate(lines) if line.startswith(f"{number} {ours} ["))
    following = [line for line in lines[at + 1 : at + 4] if line.startswith("or ")]
    assert any(re.match(rf"{theirs} \[(read|quoted)\] https://", line) for line in following), following


def test_what_others_print_is_not_far_off_and_not_the_same() -> None:
    others = [(name, *other) for name in rk.accelerators() for other in rk.accelerator(name).alternatives]
    assert len(others) >= 8
    for name, number, value, source in others:
        card = rk.accelerator(name)
        ours = card.peaks[number] if number in card.peaks else getattr(card, number)
        assert ours != value and 0.8 < value / ours < 1.25, (name, number)
        assert re.search(r"https://\S+\.\S+.*(read|quoted) 20\d\d-\d\d-\d\d", source)


def test_each_document_is_named_by_some_number() -> None:
    documents = tomllib.loads(files("roofline_kit").joinpath("data", "sources.toml").read_text("utf-8"))
    text = files("roofline_kit").joinpath("data", "accelerators.toml").read_text("utf-8")
    assert all(f'= "{name}"' in text for name in documents)


def test_a_number_that_nobody_prints_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"L40S: unknown number 'band'; did you mean 'bandwidth'\?"):
        rk.accelerator("L40S").how("band")


def test_a_card_of_one_s_own_says_that_its_numbers_are() -> None:
    mine = rk.Accelerator("mine", {"fp32": 4e11}, 4e10, 16e9, link=1e9, cache=32e6)
    assert "link               1 GB/s  [own]" in repr(mine) and mine.how("fp32") == "own"
    assert repr(rk.Roofline(mine, "fp32")) == "Roofline(mine, fp32, limits=('compute', 'memory'))"
    with pytest.raises(ValueError, match="mine: link is 50 bytes/s"):
        rk.Accelerator("mine", {"fp32": 4e11}, 4e10, 16e9, link=50)


@each_accelerator
def test_every_accelerator_is_complete(name: str) -> None:
    machine = rk.accelerator(name)
    assert machine.name == name and machine.title and machine.note
    rates = [machine.bandwidth, machine.memory, *machine.peaks.values(), *machine.sparse.values()]
    assert all(type(rate) is int for rate in rates)
    assert set(machine.peaks) - {"fp16-accumulate"} <= set(BITS)


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


@given(peak=st.integers(10**9, 10**18), bandwidth=st.integers(10**9, 10**15))
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


# --- names that drivers give -------------------------------------------------------------------------

DRIVERS = {
    "NVIDIA A10": "A10",
    "NVIDIA A10G": "A10G",
    "NVIDIA A40": "A40",
    "NVIDIA A100-SXM4-40GB": "A100-40GB",
    "NVIDIA A100-PCIE-40GB": "A100-40GB",
    "NVIDIA A100-SXM4-80GB": "A100-80GB-SXM",
    "NVIDIA A100 80GB PCIe": "A100-80GB-PCIe",
    "NVIDIA H100 80GB HBM3": "H100-SXM",
    "NVIDIA H100 PCIe": "H100-PCIe",
    "NVIDIA H100 NVL": "H100-NVL",
    "NVIDIA H200": "H200",
    "NVIDIA GH200 480GB": "GH200",
    "NVIDIA B200": "B200",
    "NVIDIA GB200": "GB200",
    "NVIDIA L40S": "L40S",
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": "RTX-PRO-6000",
    "NVIDIA L4": "L4",
    "Tesla T4": "T4",
    "Tesla V100-SXM2-16GB": "V100-SXM2",
    "Tesla V100-SXM2-32GB": "V100-SXM2",
    "Tesla V100-PCIE-16GB": "V100-PCIe",
    "Tesla V100-PCIE-32GB": "V100-PCIe",
    "NVIDIA GeForce RTX 4090": "RTX-4090",
    "AMD Instinct MI100": "MI100",
    "gfx908:sramecc+:xnack-": "MI100",
    "AMD Instinct MI250X": "MI250X-die",
    "AMD Instinct MI300X": "MI300X",
    "AMD Instinct MI325X": "MI325X",
    "AMD Instinct MI355X": "MI355X",
    "TPU v5 lite": "TPU-v5e",
    "TPU v6 lite": "TPU-v6e",
    "TPU7x": "TPU7x",
}
NO_DRIVER = {
    "TPU-v5p": 'a driver says "TPU v5", as people do of v5e',
    "MI250X": "programs see one die of the two",
    "Gaudi-3": "we do not know what its driver says",
}


@pytest.mark.parametrize(("driver", "name"), DRIVERS.items())
def test_an_accelerator_answers_to_the_name_that_its_driver_gives_it(driver: str, name: str) -> None:
    assert (
        rk.accelerator(driver).name
        == rk.roofline(driver, "bf16" if "TPU" in driver else "fp16").accelerator.name
        == name
    )


def test_every_gpu_of_the_kit_answers_to_some_driver() -> None:
    assert set(DRIVERS.values()) == set(rk.accelerators()) - set(NO_DRIVER)


def test_two_accelerators_never_answer_to_the_same_name() -> None:
    names = [(plain(spelled), name) for name, row in TABLE.items() for spelled in names_of(name, row)]
    assert len({spelled for spelled, _ in names}) == len(set(names)), sorted(names)
    for spelled, name in names:
        assert rk.accelerator(spelled).name == name


def names_of(name: str, row: dict[str, object]) -> list[str]:
    return [name, *row.get("answers", []), *row.get("variants", {})]  # type: ignore[misc]


def plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isascii() and letter.isalnum())


def test_a_card_that_was_sold_with_less_memory_has_that_memory_and_else_the_same_numbers() -> None:
    small, large = rk.accelerator("Tesla V100-SXM2-16GB"), rk.accelerator("V100-SXM2")
    assert (small.memory, large.memory) == (16 * 10**9, 32 * 10**9)
    assert (small.peaks, small.bandwidth, small.watts) == (large.peaks, large.bandwidth, large.watts)
    assert rk.accelerator("NVIDIA A100-PCIE-40GB").watts == 250 < rk.accelerator("A100-40GB").watts  # type: ignore[operator]


def test_the_480_gb_of_a_gh200_are_its_cpu_s() -> None:
    card = rk.accelerator("NVIDIA GH200 480GB")
    assert (card.memory, card.bandwidth, card.peaks) == (96 * 10**9, 4 * 10**12, rk.accelerator("H200").peaks)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("A100", ["A100-40GB", "A100-80GB-SXM", "A100-80GB-PCIe"]),
        ("NVIDIA A100", ["A100-40GB", "A100-80GB-SXM", "A100-80GB-PCIe"]),
        ("H100", ["H100-SXM", "H100-PCIe", "H100-NVL"]),
        ("NVIDIA H100", ["H100-SXM", "H100-PCIe", "H100-NVL"]),
        ("Tesla V100", ["V100-SXM2", "V100-PCIe"]),
        ("TPU v5", ["TPU-v5e", "TPU-v5p"]),
    ],
)
def test_a_name_that_several_could_mean_goes_on_asking_which(name: str, near: list[str]) -> None:
    with pytest.raises(ValueError) as raised:
        rk.accelerator(name)
    assert f"unknown accelerator {name!r}; did you mean {' or '.join(map(repr, near))}?" in str(raised.value)


@pytest.mark.parametrize(
    "name",
    ["NVIDIA B300", "NVIDIA H200 NVL", "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
     "AMD Instinct MI250", "NVIDIA GeForce RTX 4090 Laptop GPU",
     "Tesla V100S-PCIE-32GB", "NVIDIA GH200 144G HBM3e", "NVIDIA", "GPU", "AMD EPYC 7763, 16 threads"],
)  # fmt: skip
def test_a_name_of_something_else_is_not_taken_for_a_card_that_is_like_it(name: str) -> None:
    with pytest.raises(ValueError, match="unknown accelerator"):
        rk.accelerator(name)


# --- a measured machine and its datasheet --------------------------------------------------------------


def measured(device: str, dtype: str = "fp16") -> list[Result]:
    """Ceilings of half the peak and three quarters of the bandwidth of an A40."""
    results = []
    for point in ceiling_points("cuda", dtype):
        copy = point.layer == "copy"
        moved, flops = (3 * 10**9, 0) if copy else (1, 149_700_000_000_000)
        seconds = 3e9 / (0.75 * 696e9) if copy else 2.0
        taken = rk.Measurement(
            point.layer, device, dtype, point.shapes, (seconds,) * 3, ({"compute": flops, "memory": moved},)
        )
        results.append(Result(point, taken, {"device": device}))
    return results


def test_a_measured_gpu_is_compared_with_its_datasheet_without_being_told_which_it_is() -> None:
    results = measured("NVIDIA A40")
    ceilings = rk.ceilings("cuda", "fp16", measured=results)
    rows = list(table(results, rk.Roofline(ceilings, "fp16")))
    assert [row["share"] for row in rows] == pytest.approx([1, 1, 1])
    assert [row["share_of_datasheet"] for row in rows] == pytest.approx([0.5, 0.5, 0.75])
    taken = results[0].measurement
    assert taken is not None and taken.share(rk.roofline(taken.device, taken.dtype)) == pytest.approx(0.5)


@pytest.mark.parametrize(("device", "dtype"), [("AMD EPYC 7763, 16 threads", "fp32"), ("NVIDIA A40", "fp64")])
def test_without_a_datasheet_or_its_peak_there_is_no_share_of_it(device: str, dtype: str) -> None:
    assert all("share_of_datasheet" not in row for row in table(measured(device, dtype)))


def test_the_command_that_collects_says_how_far_a_gpu_is_from_its_datasheet(tmp_path: Path) -> None:
    for result in measured("NVIDIA A40"):
        held = {"point": result.point.__dict__, "measurement": dataclasses.asdict(result.measurement)}  # type: ignore[call-overload]
        (tmp_path / result.point.file).write_text(json.dumps(held | {"machine": result.machine, "left_out": ""}))
    (tmp_path / "_plan.json").write_text(json.dumps([result.point.__dict__ for result in measured("NVIDIA A40")]))
    lines, good = collected(tmp_path)
    assert good and "50% of the peak and 75% of the bandwidth in the datasheet of the A40" in "\n".join(lines)
    assert "share_of_datasheet" in (tmp_path / "results.csv").read_text().splitlines()[0]


# --- watts and dollars ----------------------------------------------------------------------------------


@each_accelerator
def test_a_price_has_a_source_and_a_date(name: str) -> None:
    card = rk.accelerator(name)
    assert (card.dollars_per_hour is None) == (card.price_source == "")
    assert not card.price_source or re.search(r"https://\S+\.\S+ .*(read|quoted) 20\d\d-\d\d", card.price_source)


def test_joules_and_dollars_of_a_token_are_one_line() -> None:
    card, step = rk.accelerator("A100-40GB"), rk.model("llama-2-7b").decode(batch=8, context=1000)
    seconds = rk.roofline(card).time(step)
    assert card.watts == 400 and card.joules(seconds) == 400 * seconds
    assert card.dollars(3600) == card.dollars_per_hour == 1.99


def test_a_price_of_one_s_own_takes_the_list_s_place() -> None:
    card = dataclasses.replace(rk.accelerator("A40"), dollars_per_hour=36)
    assert card.dollars(100) == 1 and card.peaks == rk.accelerator("A40").peaks


def test_energy_and_money_of_open_sizes_are_formulas() -> None:
    B = rk.symbols("B")
    card = rk.accelerator("A40")
    step = rk.model("llama-2-7b").decode(batch=B, context=1000)
    for ask in (card.joules, card.dollars):
        formula = ask(rk.roofline(card).time(step))
        assert float(formula.subs(B, 4)) == pytest.approx(ask(rk.roofline(card).time(step.at(B=4))))


@pytest.mark.parametrize(
    ("ask", "name", "what"), [("joules", "GH200", "watts"), ("joules", "TPU-v5e", "watts"),
                              ("dollars", "H200", "dollars_per_hour")]
)  # fmt: skip
def test_what_is_not_known_of_a_card_says_how_to_give_it(ask: str, name: str, what: str) -> None:
    with pytest.raises(ValueError) as raised:
        getattr(rk.accelerator(name), ask)(1)
    told = f"{name}: {what} is not known here; give yours by dataclasses.replace(card, {what}=…)"
    assert told in str(raised.value)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_machines_and_rooflines_can_be_copied(way: Any) -> None:
    """Processes beside each other get what they work with as a copy."""
    for name in rk.accelerators():
        card = rk.accelerator(name)
        again = way(card)
        assert again == card and hash(again) == hash(card) and repr(again) == repr(card)
    assert way(rk.roofline("A10")) == rk.roofline("A10")


def test_a_dtype_has_one_rate_however_it_is_spelled() -> None:
    for spelled in ("fp16", "FP16", "fp-16"):
        roof = rk.roofline("A100-40GB", spelled, limits=("vector", "memory"))
        assert roof.rates["vector"] == 78e12 and roof == rk.roofline("A100-40GB", limits=("vector", "memory"))
        assert rk.accelerator("A100-40GB").rates(spelled) == rk.accelerator("A100-40GB").rates()
