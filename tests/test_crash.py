"""kill -9 of the grader, at moments that nobody chose: nothing is lost, graded otherwise, or left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from attacks import FULL, HERE, HONEST, OF, WRONG, answered
from chance import seed

KILLS, SECONDS = 20, 60
GRADER = """
import sys, tempfile
from pathlib import Path
from roofline_kit.grading import assignment, grade, handed_in
if __name__ == "__main__":
    here, submissions, results, temporary = map(Path, sys.argv[1:])
    tempfile.tempdir = str(temporary)
    told = lambda result, new: print(result["student"], new, flush=True)
    grade.grade_all(assignment.read(here), handed_in.entries(submissions), results, 2, told)
"""


def inside(temporary: Path) -> list[str]:
    """Processes that have to do with our folder, by what they are."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = process.joinpath("cmdline").read_bytes()
        except OSError:
            continue
        if str(temporary).encode() in command and int(process.name) != os.getpid():
            found.append(command.decode(errors="replace"))
    return found


def test_a_grader_that_is_killed_twenty_times_ends_with_the_same_grades(walls: str, tmp_path: Path) -> None:
    submissions, results, temporary = (tmp_path / name for name in ("submissions", "results", "temporary"))
    program, fair, chance = tmp_path / "grader.py", {}, random.Random(seed())
    program.write_text(GRADER)
    temporary.mkdir()
    for number in range(12):
        wrong = dict(list(WRONG.items())[: number % 5])
        fair[f"student{number:02}"] = float(FULL - sum(OF[name] for name in wrong))
        (submissions / f"student{number:02}").mkdir(parents=True)
        (submissions / f"student{number:02}" / "a.ipynb").write_text(json.dumps(answered({**HONEST, **wrong})))
    command = [sys.executable, str(program), str(HERE / "assignment"), str(submissions), str(results), str(temporary)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    graded: set[str] = set()
    for _ in range(KILLS):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as grader:
            time.sleep(chance.uniform(0.2, 4.0 if len(graded) < 9 else 1.0))
            grader.send_signal(signal.SIGKILL)
            assert grader.stdout is not None
            for line in grader.stdout:
                student, new = line.split()
                assert (new == "False") == (student in graded), "a result that was told is there, and is not made again"
                graded.add(student)
    last = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=True)
    assert {line.split()[0] for line in last.stdout.splitlines() if line.endswith("False")} >= graded
    stored = {path.stem: json.loads(path.read_text())["points"] for path in (results / "results").glob("*.json")}
    assert stored == fair
    assert not list((results / "results").glob(".*"))
    end = time.monotonic() + 60
    while inside(temporary) and time.monotonic() < end:
        time.sleep(0.1)
    assert not inside(temporary)
    assert not list(temporary.iterdir())


def test_a_kill_while_the_walls_are_tried_leaves_nothing(tmp_path: Path) -> None:
    begin = "import os, signal, subprocess\nfrom roofline_kit.grading import sandbox\n"
    killed = "subprocess.run = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\nsandbox._stand('bubblewrap')"
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "TMPDIR": str(tmp_path)}
    for program, code in ((killed, -signal.SIGKILL), ("with sandbox.workplace(): pass", 0)):
        assert subprocess.run([sys.executable, "-c", begin + program], env=environment).returncode == code
        assert bool(list(tmp_path.iterdir())) == (program == killed)
