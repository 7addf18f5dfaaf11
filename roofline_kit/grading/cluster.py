"""Grading as a Slurm job array: each task grades its share of the submissions into the same results."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from ..measuring.slurm import outside_of_jobs
from ..names import unknown
from .assignment import Assignment
from .sandbox import program


def submit(cluster: str, assignment: Assignment, submissions: Path, results: Path, tasks: int, unsafe: bool) -> None:
    """Hands a job array in and waits for its end. What it grades is as if it had been graded here.

    tasks : how many parts the submissions are dealt to. Account, partition and time come from the environment
    (SBATCH_ACCOUNT, SBATCH_PARTITION, SBATCH_TIMELIMIT), which is how sbatch takes them, in a job as well.

    Raises ValueError for another cluster, and RuntimeError with what Slurm said if the array fails.
    """
    if cluster != "slurm":
        raise ValueError(unknown("cluster", cluster, ["slurm"]))
    if not (sbatch := program("sbatch")):
        raise RuntimeError("there is no sbatch here: --cluster slurm is for a login node of a cluster with Slurm")
    folder = results.resolve()
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "roofline_kit.grading", "grade", str(assignment.path.parent)]
    command += [str(submissions.resolve()), "--results", str(folder), "--jobs", "1", *(["--unsafe"] if unsafe else [])]
    script = f'#!/bin/bash\nexec {shlex.join(command)} --part "$SLURM_ARRAY_TASK_ID/{tasks}"\n'
    given = [sbatch, "--wait", f"--array=0-{tasks - 1}", "--ntasks=1", "--cpus-per-task=1", "--mem=6G"]
    given += ["--job-name", f"grade-{assignment.name}", "--output", str(folder / "logs" / "%a.log")]
    with outside_of_jobs():
        done = subprocess.run(given, input=script, capture_output=True, text=True)
    if done.returncode:
        said = [path.read_text("utf-8", "replace")[-500:] for path in sorted((folder / "logs").glob("*.log"))]
        raise RuntimeError(
            f"the job array failed: {done.stderr.strip()} {' '.join(filter(None, said))[-2000:]}".strip()
        )
