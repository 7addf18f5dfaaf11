"""Sweeps and gradings go through a real Slurm: one of our own, with Delta's partitions and make-believe GPUs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ports
import pytest
from needed import missing
from sweeps import Nap, take

from roofline_kit.measuring import slurm as cluster
from roofline_kit.measuring.slurm import Settings, service_units, settings, submit

HERE = Path(__file__).parent
ACCOUNT = "bcjw-delta-gpu"


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster that lives as long as the tests; SLURM_CONF leads to it. In CI it must start."""
    if not all(map(shutil.which, ("slurmctld", "slurmdbd", "munged", "mariadbd"))):
        missing("there is no Slurm; `scripts/install_tools.sh` installs what this test needs")
    state = tmp_path_factory.mktemp("slurm")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    environment |= {"MINI_DELTA_PORT_BASE": str(ports.free(30)), "PYTHONPATH": f"{HERE}:{HERE.parent}"}
    command = ["bash", str(HERE / "mini_delta" / "start.sh"), "--state", str(state)]
    stop = ["bash", str(HERE / "mini_delta" / "stop.sh"), "--state", str(state), "--purge"]
    try:
        started = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert started.returncode == 0, started.stdout + started.stderr
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
                patch.delenv(name)
            patch.setenv("SLURM_CONF", str(state / "etc" / "slurm.conf"))
            patch.setenv("PYTHONPATH", environment["PYTHONPATH"])
            yield state
    finally:
        subprocess.run(stop, capture_output=True, timeout=60)


def said(*line: str, fails: bool = False) -> str:
    """What a command says on stdout; on stderr, if it is to fail."""
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert bool(done.returncode) == fails, f"{line}: {done.returncode} {done.stdout} {done.stderr}"
    return done.stderr if fails else done.stdout


def until(true: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """Waits for something that the cluster does in its own time."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"{what} did not happen; {said('squeue', '-a')}"
        time.sleep(0.1)
    return found


def begun(folder: Path, name: str) -> list[str]:
    """A line for each time that a nap began."""
    log = folder / f"{name}.log"
    return log.read_text().splitlines() if log.exists() else []


SMALL = {"minutes": 5, "cpus": 1, "memory_gb": 1}


def test_the_lecture_s_line_starts_sixteen_tasks_and_today_s_one(slurm: Path) -> None:
    asked = ["srun", "-A", ACCOUNT, "--time=00:30:00", "--nodes=1"]
    rest = ["--partition=gpuA100x4,gpuA40x4", "--gpus=1", "--mem=32g", "echo", "here"]
    assert said(*asked, "--ntasks-per-node=16", *rest).count("here") == 16
    assert said(*asked, "--ntasks-per-node=1", "--cpus-per-task=16", *rest).count("here") == 1


def test_a_sweep_of_24_points_survives_a_kill_and_a_preemption(slurm: Path, tmp_path: Path) -> None:
    """One task is killed, and handed in again; one is preempted, and Slurm starts it anew."""
    naps = [Nap(f"nap{i:02}", 120 if i in (3, 5) else 0) for i in range(24)]
    quick = [nap for nap in naps if not nap.seconds]
    submit(take, quick, tmp_path, Settings(ACCOUNT, "gpuA100x4", gpus=4, **SMALL))
    killed, preempted = naps[3], naps[5]
    submit(take, [killed], tmp_path, Settings(ACCOUNT, "gpuA40x4", gpus=1, **SMALL))
    # All cores of the node, so that a job of a higher tier has to take this one's.
    greedy = Settings(ACCOUNT, "gpuA100x4-preempt", minutes=5, gpus=1, cpus=64, memory_gb=1)
    until(lambda: all((tmp_path / f"{nap.name}.json").exists() for nap in quick), "22 quick points")
    submit(take, [preempted], tmp_path, greedy)
    until(lambda: begun(tmp_path, killed.name) and begun(tmp_path, preempted.name), "two slow points")

    os.kill(int(begun(tmp_path, killed.name)[0].split()[0]), signal.SIGKILL)
    said("sbatch", "-A", ACCOUNT, "-p", "gpuA100x4", "-t", "5", "-c", "64", "--mem=1G", "--wait", "--output=/dev/null",
         "--wrap", "sleep 1")  # fmt: skip
    state = lambda nap: {row[1]: row[2] for row in cluster.status(tmp_path)}[nap.name]  # noqa: E731
    until(lambda: state(killed) == "FAILED", "the end of the killed")
    assert state(preempted) in ("PENDING", "RUNNING")
    missing = [nap for nap in naps if not (tmp_path / f"{nap.name}.json").exists()]
    assert missing == [killed, preempted]

    (tmp_path / "awake").touch()  # no more naps
    (job,) = [row[0] for row in cluster.status(tmp_path) if row[1] == preempted.name]
    said("scontrol", "update", f"JobId={job}", "StartTime=now")  # Slurm would wait for two minutes
    submit(take, [killed], tmp_path, Settings(ACCOUNT, "gpuA40x4", gpus=1, **SMALL))
    until(lambda: all((tmp_path / f"{nap.name}.json").exists() for nap in naps), "all 24 points")
    times = {nap.name: len(begun(tmp_path, nap.name)) for nap in naps}
    assert times == {nap.name: 2 if nap in (killed, preempted) else 1 for nap in naps}
    until(lambda: {row[2] for row in cluster.status(tmp_path)} <= {"COMPLETED", "FAILED"}, "the end of all jobs")


def test_a_job_hands_in_jobs_whose_sizes_are_not_its_own(slurm: Path, tmp_path: Path) -> None:
    program = tmp_path / "inside.py"
    program.write_text(
        "import os\nfrom pathlib import Path\nfrom sweeps import Nap, take\n"
        "from roofline_kit.measuring.slurm import *\n"
        f"submit(take, [Nap('inner')], Path({str(tmp_path)!r}), Settings({ACCOUNT!r}, 'gpuA40x4', 5, 1, 1, 1))\n"
        "assert 'SLURM_JOB_ID' in os.environ\n"
    )
    out = tmp_path / "out.txt"
    said("sbatch", "-A", ACCOUNT, "-p", "cpu", "-t", "5", "-n", "3", "-c", "2", "--mem=3G", "--wait", f"--output={out}",
         "--wrap", f"{sys.executable} {program}")  # fmt: skip
    until((tmp_path / "inner.json").exists, "the point of the inner job")
    (job,) = json.loads((tmp_path / cluster.JOBS).read_text())
    # The accounts hear of a job in parts, and of its size later than of its end.
    account = ["sacct", "-XnP", "-j", job, "-o", "State,Partition,AllocCPUS,ReqMem"]
    until(lambda: said(*account).split() == ["COMPLETED|gpuA40x4|1|1G"], "the inner job in the accounts")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"account": "nobody"}, "Invalid account .*accounts` lists yours"),
        ({"partition": "gpuA100x44"}, "unknown partition 'gpuA100x44'; did you mean 'gpuA100x4'"),
        ({"minutes": 60 * 24 * 5}, "time limit.*longer than this partition allows"),
        ({"cpus": 4000}, "Slurm refused: .*node"),
        ({"memory_gb": 5000}, "Slurm refused: .*no node of this partition has that much"),
    ],
)
def test_what_slurm_refuses_is_said_in_its_words_and_ours(
    asked: dict[str, Any], reason: str, slurm: Path, tmp_path: Path
) -> None:
    given = Settings(**{"account": ACCOUNT, "partition": "gpuA100x4", **SMALL, **asked})
    with pytest.raises(RuntimeError, match=reason):
        submit(take, [Nap("never")], tmp_path, given)
    assert not (tmp_path / cluster.JOBS).exists()


def test_no_more_gpus_than_asked_for_run_at_a_time(slurm: Path, tmp_path: Path) -> None:
    naps = [Nap(f"n{i}", 60) for i in range(4)]
    submit(take, naps, tmp_path, Settings(ACCOUNT, "gpuA100x4", gpus=2, **SMALL))
    until(lambda: sum(bool(begun(tmp_path, nap.name)) for nap in naps) == 2, "two naps")
    rows = cluster.status(tmp_path)
    assert sorted(row[2] for row in rows) == ["PENDING", "PENDING", "RUNNING", "RUNNING"]
    assert {row[3] for row in rows if row[2] == "PENDING"} == {cluster.REASONS["JobArrayTaskLimit"]}
    (tmp_path / "awake").touch()
    until(lambda: {row[2] for row in cluster.status(tmp_path)} == {"COMPLETED"}, "the end of all")


def test_the_dry_run_is_a_script_that_slurm_takes(slurm: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "roofline_kit", "measure", "--to", str(tmp_path / "m"), "--cluster", "slurm"]
    line += ["--account", ACCOUNT, "--partition", "gpuA40x4", "--minutes", "30", "--memory-gb", "62", "--batches", "1"]
    told = said(*line, "--layers", "dense", "--stages", "initial", "--tokens", "50", "--dry-run")
    text, charge = told.split("\ncharge: ")
    assert charge.strip() == "at most 1 service units"  # four points, half an hour each, at a factor of a half
    assert all(part in text for part in ("--requeue", "--array=0-3%1", f"--account={ACCOUNT}", "--gpus-per-node=1"))
    path = tmp_path / "job.sh"
    path.write_text(text)
    said("sbatch", "--test-only", str(path))
    assert not (tmp_path / "m" / cluster.JOBS).exists()


def test_a_measured_sweep_comes_back_from_the_cluster(slurm: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "roofline_kit"]
    to = ["--to", str(tmp_path), "--cluster", "slurm", "--account", ACCOUNT, "--partition", "cpu", "--gpus", "0"]
    small = ["--layers", "dense", "--stages", "auto-regressive", "--batches", "1,2", "--h", "64", "--heads", "2"]
    # The ceilings are measured here, so that the cluster's array is short and small.
    from roofline_kit.measuring.points import ceiling_points
    from roofline_kit.measuring.store import results

    told = said(*line, "measure", *to, "--cpus", "2", "--memory-gb", "6", "--minutes", "5", *small)
    assert told.startswith("5 tasks handed in") and "at most" in told
    until(lambda: len(results(tmp_path)[0]) == 5, "five results", seconds=180)
    assert {result.point for result in results(tmp_path)[0]} >= set(ceiling_points())
    assert "5 points measured, 0 left out, 0 missing" in said(*line, "collect", "--to", str(tmp_path))
    assert all(result.machine["job"] and result.machine["partition"] == "cpu" for result in results(tmp_path)[0])
    until(lambda: {row[2] for row in cluster.status(tmp_path)} == {"COMPLETED"}, "the end of all")
    assert said(*line, "status", "--to", str(tmp_path)).count("COMPLETED") == 5


def test_settings_come_from_a_file_and_options_win(tmp_path: Path) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text('account = "abcd-delta-gpu"\npartition = "gpuA40x4"\nminutes = 10\n')
    assert settings(path, minutes=20, gpus=None) == Settings("abcd-delta-gpu", "gpuA40x4", 20)
    path.write_text('acount = "abcd"\n')
    with pytest.raises(ValueError, match=r"unknown setting 'acount'; did you mean 'account'"):
        settings(path)
    with pytest.raises(ValueError, match=r"gpus is -1; it must be a whole number, 0 or more"):
        settings(None, gpus=-1)
    for text, said in (("account = 5", "account is 5; it must be a name"), ("account = = 5", "cluster.toml is no TOML"),
                       ("requeue = 1", "requeue is 1; it must be true or false")):  # fmt: skip
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            settings(path)


def test_what_a_job_costs_is_that_of_delta_s_rule() -> None:
    """The lecture's line is a share for half an hour: 0.5 service units on an A100, 0.25 on an A40."""
    assert service_units(Settings(partition="gpuA40x4"), 1) == 0.25
    assert service_units(Settings(partition="gpuA100x4-interactive"), 2) == 2.0
    assert service_units(Settings(partition="gpuA100x4-preempt", cpus=64), 1) == 1.0  # four shares of cores
    assert service_units(Settings(partition="gpuH200x8", minutes=60), 1) == 3.0
    assert service_units(Settings(partition="gpuH200x8-preempt"), 1) is None
    assert service_units(Settings(partition="elsewhere"), 1) is service_units(Settings(), 1) is None


def test_without_slurm_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="Slurm is not installed here"):
        submit(take, [Nap("never")], tmp_path, Settings())


def test_a_list_of_jobs_that_is_damaged_is_noticed_before_more_are_handed_in(tmp_path: Path) -> None:
    (tmp_path / cluster.JOBS).write_text("{")
    with pytest.raises(ValueError, match=r"_jobs\.json is damaged"):
        submit(take, [Nap("never")], tmp_path, Settings())
    assert [path.name for path in tmp_path.iterdir()] == [cluster.JOBS]


def test_a_slurm_that_does_not_answer_has_not_forgotten_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / cluster.JOBS).write_text('{"12_0": "a point"}')
    squeue, sacct = tmp_path / "squeue", tmp_path / "sacct"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    sacct.write_text("#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2\nexit 1\n")
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2\nexit 1\n")
    for program in (squeue, sacct):
        program.chmod(0o755)
    line = [sys.executable, "-m", "roofline_kit", "status", "--to", str(tmp_path)]
    assert "Slurm does not answer: slurm_load_jobs error: Unable to contact" in said(*line, fails=True)
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1\n")
    assert "Slurm does not know it any more" in said(*line)


def test_a_slurm_array_grades_as_one_machine_does(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from attacks import HERE as ATTACKS
    from attacks import HONEST, answered

    for i in range(3):
        (tmp_path / "in" / f"s{i}").mkdir(parents=True)
        (tmp_path / "in" / f"s{i}" / "a.ipynb").write_text(json.dumps(answered(HONEST)))
    monkeypatch.setenv("SBATCH_ACCOUNT", "bcjw-delta-cpu")
    monkeypatch.setenv("SBATCH_PARTITION", "cpu")
    line = [sys.executable, "-m", "roofline_kit.grading", "grade", str(ATTACKS / "assignment"), str(tmp_path / "in")]
    said(*line, "--results", str(tmp_path / "out"), "--cluster", "slurm", "--tasks", "2")
    results = [json.loads(path.read_text()) for path in (tmp_path / "out" / "results").glob("*.json")]
    assert [(result["points"], result["of"]) for result in results] == [(10, 10)] * 3
