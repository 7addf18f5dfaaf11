"""The commands as an instructor and a student type them."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from test_assignments import ROOT
from typer.testing import CliRunner

from roofline_kit.grading import assignment
from roofline_kit.grading.commands import app
from roofline_kit.grading.handed_in import entries

SMALL = ROOT / "tests" / "attacks" / "assignment"
RIGHT = {
    "flops": "flops = N * h * (2 * h) + 7 * N",
    "seconds": "seconds, bound = flops / 1.25e14, 'compute'",
    "kv": "def kv(tokens, heads):\n    return 512 * tokens * heads",
    "parameters": "parameters = 6738415616",
}


def command(*words: Any, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Types `roofline-kit` and these words."""
    line = [sys.executable, "-m", "roofline_kit.grading", *map(str, words)]
    path = {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(
        line, cwd=cwd, env=os.environ | path | environment, capture_output=True, text=True, timeout=300
    )


def handed_in(path: Path, **answers: str) -> Path:
    """A submission with these answers."""
    notebook = assignment.read(SMALL).release()
    for cell in notebook.cells:
        name = cell.metadata.get(assignment.KEY, {}).get("answer")
        cell.source = answers.get(name, cell.source)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def table(path: Path) -> dict[str, dict[str, str]]:
    """A CSV file by its first column."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        return {next(iter(row.values())): row for row in reader}


def digests(folder: Path) -> dict[str, str]:
    """What stands in all files of a folder."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_an_instructor_grades_corrects_and_grades_again(walls: str, tmp_path: Path) -> None:
    submissions = tmp_path / "submissions"
    handed_in(submissions / "ada" / "hw.ipynb", **RIGHT)
    handed_in(submissions / "doebob_LATE_4711_81_hw-1.ipynb", **RIGHT | {"kv": "def kv(tokens, heads):\n    return 3"})
    handed_in(submissions / "eve.ipynb", flops="<b>not python")
    handed_in(submissions / "=SUM(A1).ipynb", **RIGHT)
    before = digests(submissions)
    done = command("grade", SMALL, "submissions", "--results", "out", "--jobs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert digests(submissions) == before
    out = tmp_path / "out"
    grades = table(out / "grades.csv")
    assert {who: float(row["points"]) for who, row in grades.items()} == {
        "ada": 10, "doebob_4711": 7, "eve": 0, "'=SUM(A1)": 10,
    }  # fmt: skip
    canvas = table(out / "canvas.csv")
    assert canvas["doebob"]["ID"] == "4711"
    assert canvas["ada"]["SIS Login ID"] == "ada"
    page = (out / "feedback" / "eve.html").read_text("utf-8")
    assert "&lt;b&gt;not python" in page
    assert "<b>not" not in page
    assert not list((out / "results").glob(".*"))

    first = digests(out / "results")
    (out / "manual.csv").write_text('student,check,points,comment\neve,flops,1.5,"Nearly"\nada,,1,A bonus\n')
    (out / "late.csv").write_text("student,days\ndoebob_4711,0\n")
    again = command("grade", SMALL, "submissions", "--results", "out", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert digests(out / "results") == first, "what has not changed is not graded again"
    grades = table(out / "grades.csv")
    assert float(grades["eve"]["points"]) == 1.5
    assert float(grades["ada"]["points"]) == 11
    assert "Nearly" in (out / "feedback" / "eve.html").read_text("utf-8")

    handed_in(submissions / "eve.ipynb", **RIGHT)
    assert command("grade", SMALL, "submissions", "--results", "out", cwd=tmp_path).returncode == 0
    changed = {path for path, digest in digests(out / "results").items() if first[path] != digest}
    assert [Path(path).name for path in changed] == ["eve.json"]
    assert float(table(out / "grades.csv")["eve"]["points"]) == 8.5, "a person's points survive a new grading"

    (out / "manual.csv").write_text("student,check,points,comment\nevee,flops,1,\n")
    refused = command("report", SMALL, "--results", "out", cwd=tmp_path)
    assert refused.returncode == 1
    assert "did you mean 'eve'" in refused.stderr


def test_wrong_words_are_refused_with_what_would_be_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "assignments", tmp_path / "assignments")
    handed_in(tmp_path / "in" / "jane.ipynb")
    monkeypatch.chdir(tmp_path)
    for words, message in {
        ("grade", "hw7", "."): "unknown assignment 'hw7'",
        ("grade", "hw1", "nowhere"): "nowhere is not a folder",
        ("grade", "hw1", "in", "--cluster", "slrum"): "did you mean 'slurm'",
        ("report", "hw1"): "has no results",
        ("check", "nowhere.ipynb"): "No such file or directory: nowhere.ipynb",
        ("check", "in"): "Is a directory: in",
    }.items():
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 1, words
        assert message in done.stderr
        assert "Traceback" not in done.stderr and "Errno" not in done.stderr


def test_a_student_learns_what_is_missing_and_nothing_more(tmp_path: Path) -> None:
    path = handed_in(tmp_path / "mine.ipynb", **RIGHT | {"parameters": "parameters = ...", "kv": "kv = numpy.zeros(3)"})
    done = command("check", path, cwd=tmp_path)
    assert done.returncode == 1
    assert "✗ parameters: not answered yet" in done.stdout
    assert "✗ kv: NameError" in done.stdout
    assert "✓ flops: found, and it runs" in done.stdout
    handed_in(path, **RIGHT | {"flops": "flops = 1"})
    done = command("check", path, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "Whether they are right is not known here" in done.stdout


def test_a_cluster_grades_as_this_machine_does(walls: str, tmp_path: Path) -> None:
    for who in ("ada", "bob", "cleo"):
        handed_in(tmp_path / "in" / f"{who}.ipynb", **RIGHT)
    stub = tmp_path / "bin" / "sbatch"
    stub.parent.mkdir()
    stub.write_text(SBATCH.format(python=sys.executable))
    stub.chmod(stub.stat().st_mode | stat.S_IEXEC)
    path = f"{stub.parent}{os.pathsep}{os.environ['PATH']}"
    words = ("grade", SMALL, "in", "--results", "out", "--cluster", "slurm", "--tasks", "2")
    done = command(*words, cwd=tmp_path, PATH=path)
    assert done.returncode == 0, done.stderr
    assert {who: float(row["points"]) for who, row in table(tmp_path / "out" / "grades.csv").items()} == dict.fromkeys(
        ("ada", "bob", "cleo"), 10
    )
    assert len(list((tmp_path / "out" / "logs").iterdir())) == 2


# As much of Slurm as a job array needs: it runs the script once for each index, one after the other.
SBATCH = """#!{python}
import os, re, subprocess, sys
script = sys.stdin.read()
first, last = map(int, re.search(r"--array=(\\d+)-(\\d+)", " ".join(sys.argv)).groups())
log = sys.argv[sys.argv.index("--output") + 1]
codes = []
for i in range(first, last + 1):
    with open(log.replace("%a", str(i)), "w") as file:
        given = os.environ | {{"SLURM_ARRAY_TASK_ID": str(i)}}
        codes.append(subprocess.run(["bash"], input=script, text=True, env=given, stdout=file, stderr=file).returncode)
sys.exit(max(codes))
"""


def test_nothing_runs_without_walls_unless_one_says_so(tmp_path: Path) -> None:
    handed_in(tmp_path / "in" / "ada.ipynb", **RIGHT)
    empty = tmp_path / "bin"
    empty.mkdir()
    done = command("grade", SMALL, "in", "--results", "out", cwd=tmp_path, PATH=str(empty))
    assert done.returncode == 1
    assert "apt install bubblewrap" in done.stderr
    assert not list((tmp_path / "out" / "results").iterdir())
    (empty / "env").symlink_to(shutil.which("env") or "/usr/bin/env")
    done = command("grade", SMALL, "in", "--results", "out", "--unsafe", cwd=tmp_path, PATH=str(empty))
    assert done.returncode == 0, done.stderr
    assert float(table(tmp_path / "out" / "grades.csv")["ada"]["points"]) == 10


def test_two_graders_do_not_meet(tmp_path: Path) -> None:
    import fcntl

    handed_in(tmp_path / "in" / "ada.ipynb", **RIGHT)
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = command("grade", SMALL, "in", "--results", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "another grader is at work" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_help_has_examples() -> None:
    for words in ((), ("release",), ("check",), ("grade",), ("report",)):
        done = CliRunner().invoke(app, [*words, "--help"], env={"TERMINAL_WIDTH": "200"})
        assert done.exit_code == 0
        assert not words or f"roofline-kit {words[0]} hw1" in " ".join(done.stdout.split())


def test_the_student_is_the_folder_or_the_name_that_canvas_gives(tmp_path: Path) -> None:
    for name in (
        "a/hw.ipynb",
        "b/hw/hw.ipynb",
        "doe_12_34_hw.ipynb",
        "doe_12_56_hw-1.ipynb",
        "flat.ipynb",
        ".x/y.ipynb",
    ):
        handed_in(tmp_path / name)
    found = {entry.student: entry for entry in entries(tmp_path)}
    assert sorted(found) == ["a", "b", "doe_12", "flat"]
    assert found["doe_12"].path.name == "doe_12_56_hw-1.ipynb"
    assert [path.name for path in found["doe_12"].others] == ["doe_12_34_hw.ipynb"]


def test_a_student_is_told_what_only_the_grader_would_have_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Helpers that the grader does not run, cells that never end, cells that were changed, and a BOM, which is none."""
    from roofline_kit.grading import selfcheck

    monkeypatch.setattr(selfcheck, "PATIENCE", 8)  # the kit is imported in less, on a loaded machine too
    answers = {"kv": "kv = helper", "seconds": "seconds, bound = ratio(1, 2), ''", "parameters": "while True: pass"}
    path = handed_in(tmp_path / "mine.ipynb", **RIGHT | answers)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source += "\nN = 3"
    sources = (
        "import math\ndef helper(): return later",
        "later = 7\nprint('the helper says', helper())",
        "import time\ntime.sleep(600)",
    )
    for i, source in enumerate(sources):
        notebook.cells.insert(i, nbformat.v4.new_code_cell(source, metadata={"grading": {"visible": True}}))
    notebook.cells.insert(3, nbformat.v4.new_code_cell("def ratio(a, b):\n    return a / b"))
    path.write_text("\ufeff" + nbformat.writes(notebook), "utf-8")
    lines, good = selfcheck.looked_at(path)
    assert not good
    for line in (
        "the helper says 7",
        "! cell 3, which is no answer: still at it after 8 s",
        "! cell 5 is not as it was released: the grader runs the released one",
        "! seconds: it needs ratio of cell 4, which was added and is not run",
        "✗ seconds: NameError: ratio is not defined for the grader, which does not run cell 4",
        "✗ kv: NameError: helper is not defined for the grader, which does not run cell 1",
        "✗ parameters: still at it after 8 s",
    ):
        assert line in lines, (line, lines)
    assert capfd.readouterr() == ("", ""), "nothing of the kernel's own"


def test_an_answer_that_ends_python_is_told_so(tmp_path: Path) -> None:
    from roofline_kit.grading import selfcheck

    path = handed_in(tmp_path / "mine.ipynb", **RIGHT | {"seconds": "import os\nos._exit(0)"})
    lines, good = selfcheck.looked_at(path)
    assert not good
    assert "✗ seconds: it ended Python" in lines
    assert "✗ kv: not run, since a cell before it ended Python" in lines
