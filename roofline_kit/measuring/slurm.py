"""A sweep as a Slurm job array, one task a point, handed in through submitit."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..files import write
from ..names import choose, data, install, unknown

JOBS = "_jobs.json"
# What Slurm says, and what it means for somebody who has never seen it.
REASONS = {
    "QOSGrpBillingMinutes": "the allocation is out of hours",
    "AssocGrpBillingMinutes": "the allocation is out of hours",
    "MaxGRESPerAccount": "the allocation has as many GPUs at work as it may have",
    "QOSMaxGRESPerAccount": "the allocation has as many GPUs at work as it may have",
    "JobArrayTaskLimit": "it waits for its turn: no more GPUs at a time than you asked for",
    "Resources": "it is next, when a node is free",
    "Priority": "others are before it",
    "BeginTime": "it was stopped for somebody else, and starts again in a moment",
}
REFUSALS = {
    "Invalid account": "the account is unknown, or may not use this partition: `accounts` lists yours on Delta",
    "Requested node configuration": "no node of this partition has that much: ask for fewer GPUs, cores or GB",
    "More processors requested": "no node of this partition has that many cores",
    "Requested time limit": "the time is longer than this partition allows",
    "failed to fetch config": "this machine belongs to no cluster: ask on a login node",
    "Unable to contact": "the cluster does not answer: try again later",
    "time limit": "the time is longer than this partition allows",
}


@dataclass(frozen=True)
class Settings:
    """What is asked of Slurm. gpus : at a time; each task takes one, so so many tasks run at once (with 0, one does).

    account, partition : Slurm's own defaults where they are None. minutes : a task may take. cpus, memory_gb : a task.
    requeue : whether a task that was stopped for somebody else starts again.

    Raises ValueError for what is no positive number, and no name.
    """

    account: str | None = None
    partition: str | None = None
    minutes: int = 30
    gpus: int = 1
    cpus: int = 16
    memory_gb: int = 60
    requeue: bool = True

    def __post_init__(self) -> None:
        for name, least in (("minutes", 1), ("gpus", 0), ("cpus", 1), ("memory_gb", 1)):
            if type(value := getattr(self, name)) is not int or value < least:
                raise ValueError(f"{name} is {value!r}; it must be a whole number, {least} or more")
        for name in ("account", "partition"):
            if not isinstance(value := getattr(self, name), str | None):
                raise ValueError(f"{name} is {value!r}; it must be a name")
        if type(self.requeue) is not bool:
            raise ValueError(f"requeue is {self.requeue!r}; it must be true or false")


def settings(path: Path | None = None, **options: Any) -> Settings:
    """Settings from a TOML file (cluster.toml in the working folder, if it is there), and options that win over it.

    Raises ValueError for an unknown key, with the nearest name, and for what is no TOML, and FileNotFoundError for a
    file that is not there.
    """
    given: dict[str, Any] = {}
    if path is not None or Path("cluster.toml").exists():
        try:
            given = tomllib.loads((path or Path("cluster.toml")).read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{path or 'cluster.toml'} is no TOML: {error}") from None
    known = [field.name for field in fields(Settings)]
    for name in given:
        if name not in known:
            raise ValueError(f"{path or 'cluster.toml'}: {unknown('setting', name, known)}")
    return Settings(**(given | {name: value for name, value in options.items() if value is not None}))


def service_units(asked: Settings, tasks: int) -> float | None:
    """The most that an array can cost on Delta, in service units; None for a partition that is not one of Delta's.

    What is reserved counts, not what is used: for each task, max(GPUs, cores / 16, GB / 62.5) · factor · hours.

    >>> service_units(Settings(partition="gpuA100x4", minutes=30), tasks=1)
    0.5
    """
    base, _, kind = (asked.partition or "").partition("-")
    partitions = data("delta.toml")
    known = partitions.get(base, {})
    factors = {"": 1.0, "interactive": 2.0} | ({"preempt": 0.5} if known.get("preempt") else {})
    if base == "share" or not known or kind not in factors:
        return None
    share = partitions["share"]
    reserved = max(min(asked.gpus, 1), asked.cpus / share["cores"], asked.memory_gb / share["GB"])
    return float(reserved * known["factor"] * factors[kind] * asked.minutes / 60 * tasks)


@contextlib.contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Hides from sbatch that this runs in a job itself, as a notebook on a cluster does: it would inherit its sizes."""
    chosen = ("SLURM_CONF", "SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_TIMELIMIT")  # by a person, not by a job
    inherited = [name for name in os.environ if re.match("SLURM_|SBATCH_|SRUN_", name) and name not in chosen]
    kept = {name: os.environ[name] for name in inherited}
    for name in kept:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


def _executor(folder: Path, asked: Settings) -> Any:
    try:
        import submitit
    except ImportError:
        raise ValueError(f"--cluster slurm needs submitit: {install('cluster')}") from None
    if shutil.which("sbatch") is None:
        raise ValueError("Slurm is not installed here: --cluster slurm is for a cluster's login node, or a job on it")
    executor = submitit.SlurmExecutor(folder.resolve() / "logs", python=sys.executable)
    given: dict[str, Any] = {"partition": asked.partition, "account": asked.account}
    more = {"requeue": True} if asked.requeue else {"no-requeue": True}
    executor.update_parameters(
        time=asked.minutes, cpus_per_task=asked.cpus, mem=f"{asked.memory_gb}GB", job_name="roofline", nodes=1,
        ntasks_per_node=1, array_parallelism=max(asked.gpus, 1), additional_parameters=more,
        **({"gpus_per_node": 1} if asked.gpus else {}), **{name: value for name, value in given.items() if value},
    )  # fmt: skip
    return executor


def script(points: Sequence[Any], folder: Path, asked: Settings) -> str:
    """What sbatch would be given for these points. Raises what `submit` raises before it asks Slurm."""
    executor = _executor(folder, asked)
    from submitit.slurm.slurm import _make_sbatch_string

    where = executor.folder
    command = f"{sys.executable} -u -m submitit.core._submit {where}"
    return str(_make_sbatch_string(command=command, folder=where, map_count=len(points), **executor.parameters))


def submit(take: Callable[..., Any], points: Sequence[Any], folder: Path, asked: Settings) -> list[str]:
    """Hands in an array whose tasks call take(point, folder), and returns their ids.

    Raises ValueError without Slurm or submitit, and RuntimeError with Slurm's reason if it refuses.
    """
    known, executor = _jobs(folder), _executor(folder, asked)  # a damaged list is noticed before something costs
    from submitit.core.utils import FailedJobError

    with outside_of_jobs():
        try:
            jobs = executor.map_array(take, points, [folder.resolve()] * len(points))
        except FailedJobError as error:
            raise RuntimeError(_refusal(str(error), asked)) from None
    known |= {str(job.job_id): point.name for job, point in zip(jobs, points, strict=True)}
    write(folder / JOBS, json.dumps(known, indent=1) + "\n")
    return [str(job.job_id) for job in jobs]


def _refusal(said: str, asked: Settings) -> str:
    lines = [line for line in said.splitlines() if "error" in line.lower()] or [said.strip()]
    reason = lines[-1].removeprefix("sbatch: error: ")
    if any("invalid partition" in line.lower() for line in lines):
        have = _asked(["sinfo", "--noheader", "--format=%R"]).split()
        with contextlib.suppress(ValueError):
            choose("partition", asked.partition, sorted(set(have)))
            return f"Slurm refused: {reason}"
        return f"Slurm refused: {unknown('partition', asked.partition, sorted(set(have)))}"
    told = next((words for key, words in REFUSALS.items() if any(key in line for line in lines)), "")
    return f"Slurm refused: {reason}" + (f" ({told})" if told else "")


def _asked(line: list[str]) -> str:
    """What Slurm answers; nothing where it has forgotten the jobs, or keeps no accounts.

    Raises RuntimeError where it does not answer at all: a job that one cannot see is not one that has ended.
    """
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"Slurm does not answer ({line[0]} took more than 60 s): try again later") from None
    except FileNotFoundError:  # sacct, where there is no accounting
        return ""
    if line[0] == "squeue" and done.returncode and "Invalid job id" not in done.stderr:
        raise RuntimeError(f"Slurm does not answer: {done.stderr.strip()}")
    return done.stdout if done.returncode == 0 else ""


def _jobs(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / JOBS).read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{folder / JOBS} is damaged: {error}") from None


def status(folder: Path) -> list[tuple[str, str, str, str]]:
    """Of each task: its id, its point, its state, and why it waits or ended, in words.

    Raises ValueError where nothing was handed in from this folder and where there is no Slurm, and RuntimeError where
    Slurm does not answer.
    """
    if not (known := _jobs(folder)):
        raise ValueError(f"nothing was handed in to a cluster from {folder}")
    if shutil.which("squeue") is None:
        raise ValueError("Slurm is not installed here: ask on the cluster")
    arrays = ",".join(sorted({job.split("_")[0] for job in known}))
    states = {}
    for line in _asked(["sacct", "-XnP", "-j", arrays, "-o", "JobID,State,ExitCode"]).splitlines():
        job, state, code = line.split("|")
        states[job] = (state.split()[0], "" if code == "0:0" else f"exit code {code}")
    for line in _asked(["squeue", "-hr", "-j", arrays, "-o", "%i|%T|%r"]).splitlines():
        job, state, reason = line.split("|")
        states[job] = (state, REASONS.get(reason, "" if reason == "None" else reason))
    return [
        (job, name, *states.get(job, ("UNKNOWN", "Slurm does not know it any more"))) for job, name in known.items()
    ]
