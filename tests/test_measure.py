"""What is measured is what is traced, each point is a file, and nothing that was measured is lost."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import roofline_kit as rk
from roofline_kit.cli import app
from roofline_kit.measuring import commands as cli
from roofline_kit.measuring import estimates, machines, runs
from roofline_kit.measuring.estimates import Estimates
from roofline_kit.measuring.machines import UNKNOWN_CACHE, NumPy, machine_for
from roofline_kit.measuring.points import BATCHES, LAYERS, STEPS, Point, Result, ceiling_points, ceilings, sweep
from roofline_kit.measuring.runs import measure_all, measure_one
from roofline_kit.measuring.stopping import Stopped
from roofline_kit.measuring.store import look_up, matching, read, results, store, table
from roofline_kit.measuring.timing import Measurement, measure

SMALL: dict[str, Any] = {"h": 64, "heads": 2}
MEASURED = Path(__file__).parent.parent / "measurements" / "epyc-2-cores"
POINT = Point("dense", "auto-regressive", batch=2, **SMALL)


def test_a_measurement_is_counted_as_its_trace_is() -> None:
    Q, K, V = (np.random.default_rng(0).random((2, 16, 8), np.float32) for _ in "QKV")
    taken = measure(rk.attention, Q, K, V, repeats=4, seconds=0)
    cost = rk.trace(rk.attention, *rk.tensors("Q K V", (2, 16, 8), "fp32"))
    assert (taken.flops, taken.bytes) == (cost.flops, cost.bytes)
    assert taken.dtype == "fp32" and taken.shapes == ((2, 16, 8),) * 3 and len(taken.seconds) == 4
    assert taken.median == statistics.median(taken.seconds) and taken.rate == taken.flops / taken.median
    roof = rk.Roofline(rk.Accelerator("mine", {"fp32": 10**9}, 10**9, 10**9), "fp32")
    assert taken.predicted(roof) == pytest.approx(roof.time(cost), rel=1e-12)
    assert taken.share(roof) == taken.predicted(roof) / taken.median


def test_a_nap_takes_as_long_as_it_says() -> None:
    def nap(x: Any) -> Any:
        if isinstance(x, np.ndarray):
            time.sleep(0.02)
        return x + x

    taken = measure(nap, np.ones(10, np.float32), repeats=3, seconds=0)
    assert 0.02 <= taken.median < 0.2


def test_calls_take_turns_with_copies_where_the_arrays_fit_into_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NumPy, "cache", 1000)
    seen: list[int] = []

    def f(x: Any) -> Any:
        if isinstance(x, np.ndarray):
            seen.append(id(x))
        return x + x

    measure(f, np.ones(100, np.float32), repeats=40, seconds=0)
    assert len(set(seen)) == 10  # ten times 400 bytes are four times the cache
    assert all(a != b for a, b in pairwise(seen))


@pytest.mark.parametrize(
    ("arrays", "error", "said"),
    [
        (([1, 2],), TypeError, "needs NumPy arrays, or PyTorch tensors"),
        ((np.ones(2, np.float32), 3.0), TypeError, "needs NumPy arrays"),
        ((np.ones(2, np.int32),), ValueError, "one dtype out of float64, float32, float16, bfloat16, not int32"),
        ((np.ones(2), np.ones(2, np.float32)), ValueError, "not float32, float64"),
    ],
)
def test_what_is_no_array_is_refused(arrays: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        measure(lambda *x: x[0] + x[-1], *arrays)


def test_what_only_looks_at_an_array_cannot_be_timed() -> None:
    with pytest.raises(ValueError, match="has no step: views alone take no time"):
        measure(lambda x: x.T, np.ones((2, 2), np.float32))


def test_a_clock_that_goes_backwards_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6, 0, -1))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    with pytest.raises(RuntimeError, match=r"the clock went backwards: a call took -"):
        measure(rk.linear, np.ones((4, 4), np.float32), np.ones((4, 4), np.float32))


def test_a_clock_that_goes_backwards_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not after a thousand calls, which are made where a call takes no time."""
    calls = 0

    def count(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return x + x

    ticks = iter(range(10**6, 0, -1))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    with pytest.raises(RuntimeError, match="the clock went backwards"):
        measure(count, np.ones(4, np.float32))
    assert calls < 10


def test_memory_is_looked_at_before_it_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(NumPy, "memory", 10_000)
    with pytest.raises(MemoryError, match=r"this point needs 0\.0 GB, and 0\.0 GB are free"):
        POINT.measure()
    assert not measure_one(POINT, tmp_path)
    (result,) = results(tmp_path)[0]
    assert result.measurement is None and "are free" in result.left_out
    monkeypatch.undo()
    assert measure_one(POINT, tmp_path)  # with more memory it is measured
    assert results(tmp_path)[0][0].measurement is not None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"layer": "dens"}, "unknown layer 'dens'; did you mean 'dense'"),
        ({"stage": "decode"}, "unknown stage 'decode'"),
        ({"dtype": "half"}, "unknown dtype 'half'"),
        ({"device": "gpu"}, "unknown device 'gpu'.*'cuda'"),
        ({"batch": 0}, "batch is 0; it must be a positive integer"),
        ({"tokens": 1.5}, "tokens is 1.5"),
        ({"heads": 3}, "h = 4096 does not divide into 3 heads"),
    ],
)
def test_a_point_that_cannot_be_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Point(**{"layer": "dense", **given})


def test_half_precision_and_fused_attention_need_pytorch() -> None:
    with pytest.raises(ValueError, match=r"numpy measures unknown dtype 'fp16'.*Known: 'fp32', 'fp64'"):
        replace(POINT, dtype="fp16").measure()
    with pytest.raises(ValueError, match="NumPy has no fused attention"):
        Point("fused attention", batch=1, tokens=4, **SMALL).measure()


def pairs(taken: Measurement) -> list[tuple[int, int]]:
    """FLOPs and bytes of each step."""
    return [(step["compute"], step["memory"]) for step in taken.steps]


@given(layer=st.sampled_from(["dense", "attention", "copy"]), stage=st.sampled_from(["initial", "auto-regressive"]),
       batch=st.integers(1, 5), tokens=st.integers(1, 9), dtype=st.sampled_from(["fp32", "fp64"]))  # fmt: skip
def test_a_point_computes_what_it_counts(layer: str, stage: str, batch: int, tokens: int, dtype: str) -> None:
    point = Point(layer, stage, batch, tokens, dtype=dtype, **SMALL)
    taken = point.measure(repeats=3, seconds=0)
    itemsize = {"fp32": 4, "fp64": 8}[dtype]
    assert taken.shapes == point.shapes
    if layer == "copy":
        assert pairs(taken) == [(0, 2 * 64 * itemsize)]
    elif layer == "dense":
        rows = batch * (tokens if stage == "initial" else 1)
        assert pairs(taken) == [(2 * rows * 64 * 64, itemsize * (2 * rows * 64 + 64 * 64))]
    else:
        rows = tokens if stage == "initial" else 1
        assert pairs(taken)[0][0] == pairs(taken)[-1][0] == 2 * batch * rows * tokens * 64


def test_a_measurement_is_compared_with_whatever_a_roofline_looks_at(tmp_path: Path) -> None:
    point = Point("attention", "initial", batch=2, tokens=7, **SMALL)
    roof = rk.roofline("H100-SXM", "fp32", limits=("matrix", "vector", "exp", "memory"))
    store(tmp_path, Result(point, point.measure(repeats=3, seconds=0), {"device": "x"}))
    taken = read(tmp_path / point.file).measurement
    assert taken is not None and point.cost is not None
    assert taken.predicted(roof) == pytest.approx(roof.time(point.cost), rel=1e-12)


def by_passes(Q: Any, K: Any, V: Any) -> Any:
    S = Q @ K.mT
    E = rk.exp(S - rk.max(S, keepdims=True))
    return (E / rk.sum(E, keepdims=True)) @ V


@pytest.mark.parametrize("stage", ["initial", "auto-regressive"])
@pytest.mark.parametrize(
    ("f", "names"),
    [
        (rk.attention, ["scores", "softmax", "mix"]),
        (by_passes, ["scores", "max", "subtract", "exp", "sum", "divide", "mix"]),
    ],
)
def test_steps_that_are_timed_alone_are_those_of_the_trace(stage: str, f: Any, names: list[str]) -> None:
    points = [Point(name, stage, batch=2, tokens=6, **SMALL) for name in names]
    shapes = Point("attention", stage, batch=2, tokens=6, **SMALL).shapes
    traced = rk.trace(f, *(rk.Tensor(name, shape, "fp32") for name, shape in zip("QKV", shapes, strict=True)))
    alone = [point.measure(repeats=3, seconds=0).steps[0] for point in points]
    assert alone == [step.amounts for step in traced.steps]


def test_steps_one_after_the_other_compute_attention() -> None:
    Q, K, V = (np.random.default_rng(0).random((2, 16, 8), np.float32) for _ in "QKV")
    S = STEPS["scores"](Q, K)
    E = STEPS["exp"](STEPS["subtract"](S, STEPS["max"](S)))
    P = STEPS["divide"](E, STEPS["sum"](E))
    np.testing.assert_allclose(P, STEPS["softmax"](S), rtol=1e-6)
    np.testing.assert_allclose(STEPS["mix"](P, V), rk.attention(Q, K, V), rtol=1e-5)


def test_steps_are_in_a_sweep_where_they_are_asked_for() -> None:
    assert not {point.layer for point in sweep()} & set(STEPS)
    points = sweep(layers=STEPS, tokens=[50], batches=[1, 8])
    assert len(points) == 3 + len(STEPS) * 2 * 2 and {point.layer for point in points[3:]} == set(STEPS)
    with pytest.raises(ValueError, match="unknown layer 'copy'"):
        sweep(layers=["copy"])
    assert set(LAYERS) == {"dense", "attention", "fused attention", "copy", *STEPS}


def test_the_sweep_is_the_lecture_s() -> None:
    points = sweep()
    assert points[:3] == ceiling_points()
    assert [p.batch for p in points[3:] if p.layer == "dense" and p.stage == "auto-regressive"] == list(BATCHES)
    assert {p.tokens for p in points[3:] if p.layer == "attention"} == {50, 1000}
    assert len(set(points)) == len({point.file for point in points}) == len(points) == 3 + 10 + 20 + 40
    assert {p.layer for p in sweep("cuda", "fp16")} == {"dense", "attention", "fused attention", "copy"}


def test_a_point_is_measured_once_and_a_damaged_file_anew(tmp_path: Path) -> None:
    assert measure_one(POINT, tmp_path)
    path = tmp_path / POINT.file
    first = path.read_bytes()
    assert not measure_one(POINT, tmp_path) and path.read_bytes() == first
    path.write_bytes(first[:100])
    with pytest.raises(ValueError, match=f"{POINT.file} is damaged: JSONDecodeError"):
        read(path)
    assert results(tmp_path)[0] == [] and "is damaged" in results(tmp_path)[1][0]
    assert measure_one(POINT, tmp_path) and read(path).point == POINT
    assert path.with_suffix(".damaged").read_bytes() == first[:100]


@pytest.mark.parametrize("other", [{"heads": 4}, {"device": "cpu"}, {"tokens": 9}])
def test_points_of_one_name_have_files_of_their_own(other: dict[str, Any], tmp_path: Path) -> None:
    """As runs with 2 heads and with 4 have in one folder: neither is taken for the other, and none is lost."""
    points = (POINT, replace(POINT, **other))
    for seconds, point in enumerate(points, 1):
        assert look_up(tmp_path, point) is None
        store(tmp_path, Result(point, made(point, float(seconds), 10, 10), {}))
    for point in points:
        found = look_up(tmp_path, point)
        assert found is not None and found.point == point
        store(tmp_path, found)
    found, damaged = results(tmp_path)
    assert {result.point for result in found} == set(points) and len(found) == 2 and damaged == []


def test_what_is_asked_for_twice_is_measured_once() -> None:
    assert sweep(layers=["dense"], tokens=[50], batches=[8, 8]) == sweep(layers=["dense"], tokens=[50], batches=[8])


@pytest.mark.parametrize("seconds", [[0.0, 1.0], [1.0], [math.nan, 1.0], [-1.0, 2.0], "abc", None])
def test_a_file_with_impossible_seconds_is_damaged(seconds: Any, tmp_path: Path) -> None:
    measure_one(POINT, tmp_path)
    data = json.loads((tmp_path / POINT.file).read_text())
    data["measurement"]["seconds"] = seconds
    (tmp_path / POINT.file).write_text(json.dumps(data))
    with pytest.raises(ValueError, match="is damaged"):
        read(tmp_path / POINT.file)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("point", "batch"), 16),
        (("measurement", "shapes"), [[1, 2]]),
        (("measurement", "dtype"), "fp64"),
        (("measurement", "steps"), []),
        (("measurement", "steps"), [{"compute": 1}]),
        (("measurement", "steps"), [{"compute": "1", "memory": "2"}]),
        (("measurement", "steps"), [{"compute": math.nan, "memory": 2}]),
        (("measurement", "steps"), [{"compute": 1, "memory": 0}]),
        (("machine",), "a laptop"),
    ],
)
def test_a_file_that_was_edited_into_what_cannot_be_is_damaged(keys: Any, value: Any, tmp_path: Path) -> None:
    measure_one(POINT, tmp_path)
    data = json.loads((tmp_path / POINT.file).read_text())
    *outer, last = keys
    inner = data
    for key in outer:
        inner = inner[key]
    inner[last] = value
    (tmp_path / POINT.file).write_text(json.dumps(data))
    found, damaged = results(tmp_path)
    assert found == [] and "is damaged" in damaged[0]


def test_a_file_that_is_nested_too_deep_is_damaged(tmp_path: Path) -> None:
    (tmp_path / POINT.file).write_text("[" * 100_000)
    assert "is damaged" in results(tmp_path)[1][0]


def test_points_of_two_machines_have_each_the_roof_of_its_own(tmp_path: Path) -> None:
    """Two machines measured into one folder, of which only the first has its ceilings there."""
    cli.plan(tmp_path, [*ceiling_points(), POINT])
    for point in ceiling_points():
        store(tmp_path, Result(point, made(point, 1.0, 10**9, 10**9), {"device": "a machine"}))
    store(tmp_path, Result(POINT, replace(made(POINT, 1.0, 10**9, 10**9), device="another"), {"device": "another"}))
    lines, good = cli.collected(tmp_path)
    assert good and any(line.startswith("no share") and line.endswith("on another") for line in lines)
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        shares = {row["machine"]: row["share"] for row in csv.DictReader(file)}
    assert float(shares["a machine"]) > 0 and shares["another"] == ""


def test_a_full_disk_loses_nothing_that_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = replace(POINT, batch=3)
    measure_one(POINT, tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        measure_all([POINT, other], tmp_path)
    assert [result.point for result in results(tmp_path)[0]] == [POINT]
    assert [path.name for path in tmp_path.iterdir()] == [POINT.file]


def test_a_disk_is_looked_at_before_something_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(Point, "measure", lambda _: pytest.fail("measured for nothing"))
    with pytest.raises(OSError, match=r"No space left on device: .*dense-auto-regressive-2-users"):
        measure_one(POINT, tmp_path)


def test_ceilings_that_were_left_out_are_no_ceilings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(NumPy, "memory", 10_000_000)
    assert not measure_one(ceiling_points()[2], tmp_path) and "are free" in results(tmp_path)[0][0].left_out
    with pytest.raises(ValueError, match="which the ceilings are made of"):
        ceilings(measured=results(tmp_path)[0])
    assert measure_one(POINT, tmp_path)


def made(point: Point, seconds: float, flops: int, moved: int) -> Measurement:
    times, steps = (seconds, 2 * seconds, 3 * seconds), ({"compute": flops, "memory": moved},)
    return Measurement(point.layer, "a machine", point.dtype, point.shapes, times, steps)


def test_ceilings_are_the_fastest_repetitions(tmp_path: Path) -> None:
    small, large, copy = ceiling_points()
    taken = {small: made(small, 1.0, 8 * 10**9, 1), large: made(large, 2.0, 10**10, 1)}
    taken[copy] = made(copy, 0.5, 0, 10**9)
    found = [Result(point, measurement, {}) for point, measurement in taken.items()]
    machine = ceilings(measured=found)
    assert (machine.peak("fp32"), machine.bandwidth, machine.name) == (8 * 10**9, 2 * 10**9, "a machine")
    with pytest.raises(ValueError, match=r"have no 'copy of \d+ numbers, fp32'"):
        ceilings(measured=found[:2])


def test_a_call_that_would_take_too_long_is_left_out_by_the_ceilings(tmp_path: Path) -> None:
    for point in ceiling_points():
        amounts = (0, 10**3) if point.layer == "copy" else (10**3, 1)
        data = {"point": point.__dict__, "machine": {}, "left_out": ""}
        data["measurement"] = made(point, 1.0, *amounts).__dict__
        (tmp_path / point.file).write_text(json.dumps(data))
    assert not measure_one(POINT, tmp_path, most_seconds=1)
    assert "more than 1 s is too long" in read(tmp_path / POINT.file).left_out
    assert measure_one(POINT, tmp_path, most_seconds=1e6)


def test_the_table_has_a_row_for_each_point(tmp_path: Path) -> None:
    measure_one(POINT, tmp_path)
    found = results(tmp_path)[0]
    roof = rk.Roofline(rk.Accelerator("mine", {"fp32": 10**9}, 10**9, 10**9), "fp32")
    (row,) = table(found, roof)
    taken = found[0].measurement
    assert taken is not None
    assert (row["flops"], row["seconds"], row["share"]) == (taken.flops, taken.median, taken.share(roof))
    assert matching(found, layer="dense") == [taken] and matching(found, batch=7) == []
    with pytest.raises(ValueError, match=r"unknown property 'batches'; did you mean 'batch'"):
        matching(found, batches=2)


# --- threads ----------------------------------------------------------------------------------------------

OPENBLAS = """
import ctypes, glob, os, numpy
from roofline_kit.measuring.machines import NumPy
(file,) = glob.glob(os.path.join(os.path.dirname(numpy.__file__) + ".libs", "libscipy_openblas64_*.so"))
print(NumPy().threads, ctypes.CDLL(file).scipy_openblas_get_num_threads64_())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the OpenBLAS of NumPy's Linux wheel")
@pytest.mark.parametrize(
    "told", [{}, {"OPENBLAS_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "1"}, {"MKL_NUM_THREADS": "1"}]
)
def test_products_use_as_many_threads_as_the_library_says(told: dict[str, str]) -> None:
    silent = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    said = subprocess.run(
        [sys.executable, "-c", OPENBLAS], env=silent | told, capture_output=True, text=True, check=True
    )
    ours, its = said.stdout.split()
    assert ours == its


@pytest.mark.parametrize("shape", [(7,), (3, 5), (1,)])
def test_the_copy_is_whole_whatever_the_number_of_threads(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NumPy, "threads", 3)
    x = np.random.default_rng(0).random(shape, np.float32)
    into = np.zeros_like(x)
    NumPy().copying(x, into)
    assert (into == x).all()


def test_the_copy_runs_in_as_many_threads_as_a_product_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, meeting = NumPy(), threading.Barrier(3)
    monkeypatch.setattr(NumPy, "threads", 3)

    def copyto(into: Any, x: Any) -> None:
        meeting.wait(timeout=60)  # for the two others; alone, it would be broken

    machine.numpy = SimpleNamespace(copyto=copyto, array_split=np.array_split)
    machine.copying(np.zeros(9), np.zeros(9))


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("dense", "2"),
        ("mix", "2"),
        ("copy", "2"),
        ("exp", "1"),
        ("softmax", "1"),
        ("attention", "2 in products, 1 in passes"),
    ],
)
def test_a_point_knows_how_many_threads_it_may_use(layer: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NumPy, "threads", 2)
    assert replace(POINT, layer=layer).threads(NumPy()) == said


def test_a_file_says_how_many_threads_its_point_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Clockwork(monkeypatch, call=0.1)
    measure_all([POINT, replace(POINT, layer="exp")], tmp_path, say=lambda text: None)
    assert {row["layer"]: row["threads"] for row in table(results(tmp_path)[0])} == {"dense": "2", "exp": "1"}
    machine.threads = machine.passes = 0  # a GPU has none to tell
    measure_all([replace(POINT, batch=4)], tmp_path, say=lambda text: None)
    assert "threads" not in read(tmp_path / replace(POINT, batch=4).file).machine


def test_ceilings_of_different_threads_are_called_so() -> None:
    taken = {point: made(point, 1.0, 10**9, 10**9) for point in ceiling_points()}
    for copy, told in (("2", False), ("1", True), (None, True)):
        found = [Result(point, taken[point], {"threads": "2"}) for point in ceiling_points()[:2]]
        found.append(Result(ceiling_points()[2], taken[ceiling_points()[2]], {"threads": copy} if copy else {}))
        lines = " ".join(cli._roof("numpy", "fp32", found)[1])
        assert ("not of one kind" in lines) == told


# --- runs that are short of time -------------------------------------------------------------------------


class Clockwork:
    """A machine whose calls take as long as it is told, on a clock of its own. Reaching `alarm`, it gets a signal."""

    dtypes = ("fp32",)
    threads, passes = 2, 1
    cache = 0
    memory = 1 << 50

    def __init__(self, patch: pytest.MonkeyPatch, call: float, title: str = "clockwork") -> None:
        self.call_seconds, self.title, self.now, self.calls = call, title, 0.0, 0
        self.alarm = math.inf
        self.about = {"gears": "brass"}
        patch.setattr(time, "monotonic", lambda: self.now)
        patch.setattr(runs, "machine_for", lambda device: self)
        # Arrays are made in no time, and what was not measured yet is estimated right, as twice what is promised.
        roof = rk.Roofline(rk.Accelerator("clockwork", {"fp32": 10**9}, 10**9, 10**9), "fp32")
        patch.setattr(estimates, "glance", lambda machine, dtype: (1e30, roof))
        patch.setattr(estimates, "promised", lambda steps, roof: call / 2)

    def random(self, shape: tuple[int, ...], dtype: str) -> Any:
        return np.broadcast_to(np.float32(0), shape)

    def copy(self, x: Any) -> Any:
        return x

    def copying(self, x: Any, into: Any) -> None:
        raise NotImplementedError

    def working(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def clock(self, run: Any, calls: int) -> float:
        self.calls += calls
        self.now += self.call_seconds * calls
        if self.now >= self.alarm:
            self.alarm = math.inf
            os.kill(os.getpid(), signal.SIGTERM)
        return self.call_seconds


def test_repetitions_of_a_run_that_was_stopped_are_kept_and_the_next_goes_on_with_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Clockwork(monkeypatch, call=12)
    machine.alarm = 36  # one call warms up, and one repetition is there: the signal comes in the second
    with pytest.raises(Stopped):
        measure_all([POINT], tmp_path)
    (result,) = results(tmp_path)[0]
    assert (result.complete, result.partial, result.unfinished) == (False, True, "stopped after 1 of 7 repetitions")
    assert matching([result]) == []
    assert measure_all([POINT], tmp_path) == 1
    (result,) = results(tmp_path)[0]
    assert result.complete and result.measurement and result.measurement.seconds == (12.0,) * 7
    assert machine.calls == 1 + 2 + 1 + 6, "a repetition that is there is not taken again"


def test_a_signal_that_comes_before_the_first_repetition_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    machine = Clockwork(monkeypatch, call=12)
    for done in range(1, 8):
        machine.alarm = machine.now + 1  # while it warms up
        with pytest.raises(Stopped):
            measure_all([POINT], tmp_path)
        (result,) = results(tmp_path)[0]
        assert result.measurement and len(result.measurement.seconds) == done
    assert result.complete and measure_all([POINT], tmp_path) == 0
    assert capfd.readouterr().err.count("stopping as soon as one repetition is kept") == 7


def test_a_second_signal_does_not_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Clockwork(monkeypatch, call=12)
    once = machine.clock

    def twice(run: Any, calls: int) -> float:
        machine.alarm = machine.now
        return once(run, calls)

    monkeypatch.setattr(machine, "clock", twice)
    with pytest.raises(Stopped):
        measure_all([replace(POINT, h=2048)], tmp_path)
    assert machine.calls == 2 and results(tmp_path) == ([], [])


def test_the_handlers_of_signals_are_as_before_when_a_run_has_ended(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    measure_all([POINT], tmp_path)
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_a_run_in_a_thread_hears_no_signals_and_measures(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(measure_all, [POINT], tmp_path).result() == 1


def test_what_does_not_fit_into_the_time_is_not_begun_and_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Clockwork(monkeypatch, call=12)
    cli.plan(tmp_path, [POINT])
    assert measure_all([POINT], tmp_path, seconds=20) == 0 and machine.calls == 0
    (result,) = results(tmp_path)[0]
    assert result.unfinished == "not begun for lack of time: it needs about 24 s at least, and 20 s were left"
    assert not (result.complete or result.partial or result.left_out)
    lines, good = cli.collected(tmp_path)
    assert not good and "0 points measured, 1 not begun, 0 left out, 0 missing" in lines
    assert f"unfinished: {POINT.name}: {result.unfinished}" in lines
    assert result.unfinished in (tmp_path / "results.csv").read_text().replace('"', "")
    assert measure_all([POINT], tmp_path) == 1


def test_a_point_that_was_stopped_and_does_not_fit_either_says_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Clockwork(monkeypatch, call=12)
    measure_all([POINT], tmp_path, seconds=50)
    calls = machine.calls
    for _ in range(2):
        measure_all([POINT], tmp_path, seconds=20)
        (result,) = results(tmp_path)[0]
        assert (
            result.partial
            and machine.calls == calls
            and result.unfinished
            == (
                "stopped after 3 of 7 repetitions; "
                "not begun for lack of time: it needs about 24 s at least, and 20 s were left"
            )
        )


def test_slices_of_a_time_that_holds_a_few_repetitions_end_with_all_points_complete(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A point takes eight calls, and none of the slices is as long."""
    machine = Clockwork(monkeypatch, call=12)
    points = [POINT, replace(POINT, batch=3)]
    for _ in range(6):
        began = machine.now
        measure_all(points, tmp_path, seconds=50)
        assert machine.now - began <= 50
    assert [result.complete for result in results(tmp_path)[0]] == [True, True]


def test_what_was_begun_comes_first_and_what_was_left_out_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Clockwork(monkeypatch, call=12)
    out, new, begun = (replace(POINT, batch=n) for n in (1, 2, 3))
    measure_all([begun], tmp_path, seconds=50)
    measure_all([out], tmp_path, most_seconds=1)
    said: list[str] = []
    assert measure_all([out, new, begun], tmp_path, say=said.append) == 3
    order = [text.split(", about")[0] for text in said if " of 3: " in text]
    assert order == [f"1 of 3: {begun.name}", f"2 of 3: {new.name}", f"3 of 3: {out.name}"]


def test_a_call_that_takes_longer_than_it_was_estimated_is_left_out_when_that_is_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Clockwork(monkeypatch, call=12)
    monkeypatch.setattr(estimates, "promised", lambda steps, roof: 0.1)
    assert measure_all([POINT], tmp_path, most_seconds=5) == 0 and machine.calls == 1
    assert results(tmp_path)[0][0].left_out == "a call took 12 s, and more than 5 s is too long"


def test_repetitions_of_another_machine_are_set_aside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Clockwork(monkeypatch, call=12)
    measure_all([POINT], tmp_path, seconds=50)
    begun = (tmp_path / POINT.file).read_bytes()
    Clockwork(monkeypatch, call=3, title="another clockwork")
    assert measure_all([POINT], tmp_path) == 1
    measurement = results(tmp_path)[0][0].measurement
    assert measurement and set(measurement.seconds) == {3.0} and measurement.device == "another clockwork"
    assert (tmp_path / POINT.file).with_suffix(".elsewhere").read_bytes() == begun


def test_a_run_that_is_killed_loses_no_more_than_its_last_seconds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Clockwork(monkeypatch, call=2)
    kept: list[int] = []
    clock = machine.clock

    def look(run: Any, calls: int) -> float:
        kept.extend(len(result.measurement.seconds) for result in results(tmp_path)[0] if result.measurement)
        return clock(run, calls)

    monkeypatch.setattr(machine, "clock", look)
    measure_all([POINT], tmp_path)
    assert kept == [3, 3, 3, 6]


def test_a_line_a_point_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Clockwork(monkeypatch, call=12)
    said: list[str] = []
    measure_all([POINT, replace(POINT, batch=3)], tmp_path, say=said.append)
    lines = "".join(said).splitlines()
    first, second = POINT.name, replace(POINT, batch=3).name
    assert lines == [  # eight calls a point, of which one warms up
        "2 points to measure, about 3 min",
        f"1 of 2: {first}, about 2 min: 7 repetitions in 2 min; about 2 min remain",
        f"2 of 2: {second}, about 2 min: 7 repetitions in 2 min",
    ]


@pytest.mark.parametrize("seconds", [0, -1, math.nan, "5"])
def test_a_time_that_is_none_is_refused(seconds: Any, tmp_path: Path) -> None:
    wanted = f"is {seconds!r}; it must be a positive number of seconds"
    with pytest.raises(ValueError, match=f"the time for a run {wanted}"):
        measure_all([POINT], tmp_path, seconds=seconds)
    with pytest.raises(ValueError, match=f"the most that a call may take {wanted}"):
        measure_all([POINT], tmp_path, most_seconds=seconds)


def test_a_sweep_is_estimated_by_what_it_has_measured_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared with a sweep that was really measured. By its roofline alone it would take less than half of that."""
    found = {result.point: result for result in results(MEASURED)[0] if result.complete}
    done = [found[point] for point in sweep() if point in found]
    monkeypatch.setattr(estimates, "glance", lambda machine, dtype: (1e9, None))
    known = Estimates(machine_for("numpy"), "numpy", "fp32", done[:3])
    estimated, took = [], []
    for result in done[3:]:
        assert result.measurement
        estimated.append(known.call(result.point))
        took.append(result.measurement.median)
        known.learn(result)
    off = [a / b for a, b in zip(estimated, took, strict=True)]
    assert len(off) == 55 and sum(1 / 2 < ratio < 2 for ratio in off) > 50 and all(1 / 3 < ratio < 3 for ratio in off)
    assert sum(estimated) == pytest.approx(sum(took), rel=0.1)


# --- the command ------------------------------------------------------------------------------------------


def command(*line: str, folder: Path, before: str = "true") -> subprocess.CompletedProcess[str]:
    program = ["bash", "-c", f'{before}; exec "$0" "$@"', sys.executable, "-m", "roofline_kit", *line]
    return subprocess.run(program, cwd=folder, capture_output=True, text=True, timeout=300)


def test_the_command_measures_and_collects_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    ceilings_in(folder)
    small = ["measure", "--to", "m", "--h", "64", "--heads", "2", "--tokens", "8", "--batches", "1,2"]
    done = command(*small, folder=tmp_path)
    assert done.returncode == 0 and "11 points measured, 0 left out, 0 missing" in done.stdout, done.stderr
    rows = (folder / "results.csv").read_text().splitlines()
    assert len(rows) == 12 and rows[0].split(",")[0] == "what" and "share" in rows[0]
    (folder / POINT.file).write_text("{")
    done = command("collect", "--to", "m", folder=tmp_path)
    assert done.returncode == 1 and f"damaged: {POINT.file} is damaged" in done.stdout
    assert "10 points measured, 0 left out, 1 missing" in done.stdout
    assert command(*small, folder=tmp_path).returncode == 0


def ceilings_in(folder: Path) -> None:
    """Ceilings that were not measured, because these take their time."""
    folder.mkdir(exist_ok=True)
    for point in ceiling_points():
        amounts = (0, 10**9) if point.layer == "copy" else (10**12, 1)
        store(folder, Result(point, made(point, 1.0, *amounts), {"device": "x"}))


def interrupted(line: list[str], folder: Path, number: int) -> tuple[int, str]:
    """Runs a command, sends it a signal when it has begun its first point, and returns its exit and what it said."""
    program = [sys.executable, "-m", "roofline_kit", *line]
    with subprocess.Popen(program, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        said = b""
        while (byte := process.stderr.read(1)) and not said.endswith(b"1 of "):
            said += byte
        process.send_signal(number)
        said += byte + process.stderr.read()
    return process.returncode, said.decode()


def test_runs_that_are_interrupted_each_time_end_with_all_points_complete(tmp_path: Path) -> None:
    """By Ctrl-C's signal and by Slurm's in turn, as soon as a point is begun."""
    ceilings_in(folder := tmp_path / "m")
    line = ["measure", "--to", "m", "--h", "256", "--heads", "8", "--tokens", "1000", "--batches", "1"]
    line += ["--layers", "attention", "--stages", "initial"]
    counts = [0]
    for number in cycle((signal.SIGINT, signal.SIGTERM)):
        code, said = interrupted(line, tmp_path, number)
        if code == 0:
            break
        assert code == 128 + number and "stopped; the same command goes on from here" in said, said
        found = [result for result in results(folder)[0] if result.point.layer == "attention"]
        counts.append(sum(len(result.measurement.seconds) for result in found if result.measurement))
        assert counts[-1] > counts[-2], "a run that was interrupted has kept a repetition"
        assert results(folder)[1] == []
    assert len(counts) > 2, "the signals came in time"
    assert "4 points measured, 0 left out, 0 missing" in command("collect", "--to", "m", folder=tmp_path).stdout


def test_the_command_names_what_does_not_fit_into_its_time(tmp_path: Path) -> None:
    ceilings_in(tmp_path / "m")
    line = ["measure", "--to", "m", "--layers", "dense", "--stages", "auto-regressive", "--batches", "1"]
    done = command(*line, "--for", "0.0001", folder=tmp_path)
    name = Point("dense", "auto-regressive", 1).name
    assert done.returncode == 1 and f"1 of 1: {name}, about" in done.stderr
    assert "3 points measured, 1 not begun, 0 left out, 0 missing" in done.stdout
    assert f"unfinished: {name}: not begun for lack of time" in done.stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--batches", "1,x"], "expected whole numbers with commas between"),
        (["--layers", "mlp"], "unknown layer 'mlp'"),
        (["--cluster", "pbs"], "unknown cluster 'pbs'"),
        (
            ["--cluster", "slurm", "--for", "60"],
            "--for is for this machine; the time of a task of Slurm's is --minutes",
        ),
        (["--for", "0"], "the time for a run is 0.0; it must be a positive number of seconds"),
    ],
)
def test_the_command_says_what_is_wrong(
    line: list[str], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["measure", *line])
    assert done.exit_code == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_a_damaged_plan_is_written_anew_by_the_command_that_says_so(tmp_path: Path) -> None:
    (tmp_path / cli.PLAN).write_text("[")
    with pytest.raises(ValueError, match="measure again with the same options to write it anew"):
        cli.plan(tmp_path)
    assert cli.plan(tmp_path, [POINT]) == cli.plan(tmp_path) == [POINT]


def test_a_sweep_of_which_nothing_fits_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(NumPy, "memory", 1)
    cli.plan(tmp_path, [POINT])
    assert measure_all([POINT], tmp_path) == 0
    lines, good = cli.collected(tmp_path)
    assert not good and "0 points measured, 1 left out, 0 missing" in lines


def test_a_disk_that_takes_no_more_ends_the_command_and_not_what_is_there(tmp_path: Path) -> None:
    """The system itself refuses to write more than 2 KiB into a file, and a point needs more."""
    done = command("measure", "--to", "m", "--h", "64", "--heads", "2", "--batches", "1", "--layers", "dense",
                   "--stages", "auto-regressive", folder=tmp_path, before="ulimit -f 2")  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "\nFile too large: m/.dense-initial-1-user-of-2048-tokens-h-2048-fp32.json.room" in done.stderr
    assert [path.name for path in (tmp_path / "m").iterdir()] == [cli.PLAN]


def test_collecting_where_nothing_is_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no sweep: `roofline-kit measure --to"):
        cli.collected(tmp_path)


# --- PyTorch ----------------------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize("layer", ["dense", "attention", "fused attention", "copy"])
def test_pytorch_measures_the_same_points(torch: Any, layer: str) -> None:
    point = Point(layer, "initial", 2, 5, device="cpu", dtype="bf16", **SMALL)
    taken = point.measure(repeats=3, seconds=0)
    assert len(taken.seconds) >= 3 and taken.dtype == "bf16" and taken.bytes > 0
    X = torch.ones(4, 8)
    assert measure(rk.linear, X, X.T, repeats=3, seconds=0).flops == 2 * 4 * 8 * 4


@pytest.mark.torch
def test_fused_attention_computes_what_attention_does(torch: Any) -> None:
    point = Point("fused attention", tokens=6, device="cpu", **SMALL)
    machine = machine_for("cpu")
    arrays = [machine.random(shape, "fp32") for shape in point.shapes]
    torch.testing.assert_close(machine.fused_attention(*arrays), rk.attention(*arrays))


@pytest.mark.torch
def test_a_gpu_that_is_not_there_is_missed_in_words(torch: Any, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        assert measure_one(Point("dense", device="cuda", dtype="fp16", **SMALL), tmp_path)
    else:
        with pytest.raises(ValueError, match="PyTorch finds no GPU here"):
            measure_one(Point("dense", device="cuda", dtype="fp16", **SMALL), tmp_path)


@pytest.mark.torch
def test_fused_attention_is_fused_or_left_out(torch: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PyTorch has no fused kernel for a mask that wants a gradient, and would compute step by step."""
    point = Point("fused attention", tokens=6, device="cpu", **SMALL)
    machine, scaled = machine_for("cpu"), torch.nn.functional.scaled_dot_product_attention

    def unfused(self: Any, Q: Any, K: Any, V: Any) -> Any:
        with torch.enable_grad():
            return scaled(Q, K, V, attn_mask=torch.zeros(6, 6, requires_grad=True))

    monkeypatch.setattr(type(machine), "fused_attention", unfused)
    assert not measure_one(point, tmp_path)
    assert read(tmp_path / point.file).left_out.startswith("PyTorch has no fused attention for this on")


@pytest.mark.torch
def test_pytorch_without_memory_is_a_memory_error(torch: Any) -> None:
    with pytest.raises(MemoryError, match="allocate memory"):
        machine_for("cpu").random((10**7, 10**7), "fp32")


def fake(hip: str | None, name: str, **gpu: Any) -> Any:
    """As much of a PyTorch with a GPU as says which GPU that is. Nothing was measured with ROCm here."""
    cuda = SimpleNamespace(
        is_available=lambda: True, get_device_name=lambda: name, current_device=lambda: 0,
        get_device_properties=lambda _: SimpleNamespace(**gpu),
    )  # fmt: skip
    return SimpleNamespace(__version__="2.8", version=SimpleNamespace(hip=hip, cuda=None if hip else "12.8"), cuda=cuda)


def test_with_rocm_the_versions_are_rocm_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", fake("6.4.1", "", gcnArchName="gfx908:sramecc+"))
    monkeypatch.setattr(machines, "AMD_DRIVER", tmp_path / "version")
    machine = machine_for("cuda")
    assert machine.title == "gfx908:sramecc+" and machine.cache == UNKNOWN_CACHE
    assert machine.about.pop("driver").startswith("amdgpu of Linux ")
    (tmp_path / "version").write_text("6.12.12\n")
    told = {"torch": "2.8", "rocm": "6.4.1", "architecture": "gfx908:sramecc+", "driver": "amdgpu 6.12.12"}
    assert machine.about == told
    monkeypatch.setitem(sys.modules, "torch", fake("6.4.1", "AMD Instinct MI100", L2_cache_size=8 << 20))
    assert (machine_for("cuda").title, machine_for("cuda").cache) == ("AMD Instinct MI100", 8 << 20)


def test_with_cuda_the_versions_are_cuda_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", fake(None, "NVIDIA A40", L2_cache_size=6 << 20))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 570.1\necho 570.1\n")
    program.chmod(0o755)
    assert machine_for("cuda").about == {"torch": "2.8", "cuda": "12.8", "driver": "570.1"}
    program.write_text("#!/bin/sh\necho NVIDIA-SMI has failed\nexit 9\n")
    assert machine_for("cuda").about == {"torch": "2.8", "cuda": "12.8"}


# --- what was measured ------------------------------------------------------------------------------------


def test_the_datasheet_is_that_of_the_processor_that_was_measured() -> None:
    sheet = tomllib.loads((MEASURED / "datasheet.toml").read_text("utf-8"))
    found, damaged = results(MEASURED)
    assert found and not damaged
    for result in found:
        machine = result.machine
        named = [machine[key] for key in ("vendor_id", "cpu family", "model", "stepping")]
        assert named == [sheet["vendor_id"], *(str(sheet[key]) for key in ("family", "model", "stepping"))]
        assert float(machine["bogomips"]) / 2 * 1e6 == pytest.approx(sheet["base_clock"], rel=0.005)
        assert {"avx2", "fma"} <= set(machine["vectors"].split()) and "avx512f" not in machine["vectors"]
        assert machine["device"].endswith(f"{sheet['cores']} threads")
        both = {"dense": "2", "scores": "2", "mix": "2", "attention": "2 in products, 1 in passes"}
        assert machine["threads"] == both.get(result.point.layer, "1")  # the copy as well, then
    assert sheet["flops_per_cycle"] == {"fp32": 2 * 2 * 256 // 32, "fp64": 2 * 2 * 256 // 64}
    measured = ceilings(measured=found)
    assert measured.peak("fp32") < sheet["cores"] * sheet["flops_per_cycle"]["fp32"] * sheet["highest_clock"]
    assert measured.bandwidth < sheet["bandwidth"] == 8 * 8 * 3.2e9


def test_without_pytorch_its_devices_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match="needs PyTorch, which is not installed"):
        replace(POINT, device="cpu").measure()
