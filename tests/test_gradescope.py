"""Gradescope: its container grades what comes in, where it can have walls, and says so clearly where it cannot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from attacks import FULL, HERE, HONEST, answered
from test_grading_commands import command, table
from test_platforms import gradebook

from roofline_kit.grading import autograder
from roofline_kit.grading.sandbox import program

# As in a container that forbids user namespaces: nothing in it can make one.
CONTAINER = [
    "--unshare-user",
    "--disable-userns",
    "--cap-drop",
    "ALL",
    "--dev-bind",
    "/",
    "/",
    "--die-with-parent",
    "--",
]


@pytest.fixture(scope="module")
def gradescope(walls: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Runs the autograder of the attacks' assignment on some files, as Gradescope does; gives its results.json.

    What differs is who installs: setup.sh needs a network, so this environment stands where it would make one.
    """
    base = tmp_path_factory.mktemp("gradescope")
    done = command("autograder", HERE / "assignment", "--to", base, cwd=base)
    assert done.returncode == 0, done.stderr
    here = base / "autograder"
    with zipfile.ZipFile(base / "assignment-gradescope.zip") as made:
        made.extractall(here / "source")
        (here / "source" / "run_autograder").chmod(made.getinfo("run_autograder").external_attr >> 16)
    (here / "source" / ".venv").symlink_to(sys.prefix)
    shutil.copy(here / "source" / "run_autograder", here)

    def run(files: dict[str, str], *container: str) -> dict[str, Any]:
        for name in ("submission", "results"):
            shutil.rmtree(here / name, ignore_errors=True)
            (here / name).mkdir()
        for name, text in files.items():
            (here / "submission" / name).write_text(text)
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        own["PYTHONPATH"] = str(
            here / "source" / "kit"
        )  # the kit that is in the zip file, and not the one of the tests
        subprocess.run([*container, here / "run_autograder"], env=own, cwd=here, check=True, timeout=300)
        found: dict[str, Any] = json.loads((here / "results" / "results.json").read_text())
        return found

    return run


def test_an_export_is_graded_once_for_each_who_handed_in_together(walls: str, tmp_path: Path) -> None:
    members = {"1": ("jane@x.edu",), "2": ("max@x.edu", "o@x.edu"), "3": ("eve@x.edu",)}
    text = "".join(
        f"submission_{number}:\n  :submitters:\n"
        + "".join(f"  - :name: {mail[0].upper()}\n    :sid: 's{mail}'\n    :email: {mail}\n" for mail in mails)
        for number, mails in members.items()
    )
    content = json.dumps(answered(HONEST))
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as made:
        made.writestr("assignment_5_export/submission_metadata.yml", text)
        made.writestr("assignment_5_export/submission_1/hw.ipynb", content + " ")
        made.writestr("assignment_5_export/submission_2/hw.ipynb", content)
    gradebook(tmp_path / "g.csv", [["J", "11", "", "jane", "A", "", ""], ["O", "12", "so@x.edu", "", "A", "", ""]])
    words = ("grade", HERE / "assignment", "export.zip", "--roster", "g.csv", "--results", "out")
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = table(tmp_path / "out" / "grades.csv")
    assert {who: (float(row["points"]), row["name"]) for who, row in rows.items()} == {
        "jane@x.edu": (FULL, "J"), "max@x.edu": (FULL, "M"), "o@x.edu": (FULL, "O"), "eve@x.edu": (0, "E"),
    }  # fmt: skip
    assert "submission_metadata.yml names submission_3" in rows["eve@x.edu"]["needs a person"]
    assert "not in the roster" in rows["max@x.edu"]["needs a person"]
    assert [row["ID"] for row in table(tmp_path / "out" / "canvas.csv").values()] == ["", "11", "12"]
    assert "byte for byte" not in (tmp_path / "out" / "index.html").read_text("utf-8"), "they did it together"


def test_two_who_would_be_one_person_of_the_roster_are_told_apart_by_a_person(walls: str, tmp_path: Path) -> None:
    """In Gradescope, people choose how they are called: a name is no proof."""
    text = "".join(
        f"submission_{number}:\n  :submitters:\n  - :name: Doe, Jane\n    :email: {mail}\n"
        for number, mail in enumerate(("jane@x.edu", "mallory@y.com"))
    )
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as made:
        made.writestr("submission_metadata.yml", text)
        for number in range(2):
            made.writestr(f"submission_{number}/hw.ipynb", json.dumps(answered(HONEST)))
    gradebook(tmp_path / "g.csv", [["Doe, Jane", "11", "", "jane", "A", "", ""], ["O", "12", "", "o", "A", "", ""]])
    words = ("grade", HERE / "assignment", "export.zip", "--roster", "g.csv", "--results", "out")
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = table(tmp_path / "out" / "grades.csv")
    for own, other in (("jane@x.edu", "mallory@y.com"), ("mallory@y.com", "jane@x.edu")):
        assert f"Doe, Jane of the roster, as is {other}, and so not in canvas.csv" in rows[own]["needs a person"]
    assert [row["ID"] for row in table(tmp_path / "out" / "canvas.csv").values()] == ["", "12"]


def well_formed(told: dict[str, Any]) -> None:
    """What Gradescope's documentation asks of results.json."""
    assert isinstance(told["score"], float) and isinstance(told["output"], str)
    assert told["stdout_visibility"] in ("hidden", "after_due_date", "after_published", "visible")
    for test in told["tests"]:
        assert {"name", "score", "max_score", "output", "status"} == test.keys()
        assert 0 <= test["score"] <= test["max_score"] and test["status"] in ("passed", "failed")


def test_a_submission_is_graded_in_the_container_of_gradescope(gradescope: Callable[..., dict[str, Any]]) -> None:
    wrong = answered({**HONEST, "kv": "def kv(tokens, heads):\n    return 3"})
    told = gradescope({"hw.ipynb": json.dumps(wrong)})
    well_formed(told)
    assert told["score"] == FULL - 3 and told["output"] == ""
    by_name = {test["name"]: test for test in told["tests"]}
    assert by_name["flops"]["status"] == "passed" and by_name["flops"]["score"] == 3
    assert by_name["kv"] == {
        "name": "kv", "score": 0.0, "max_score": 3, "status": "failed",
        "output": "it ran, and not all of its values are right. Hint: Two bytes, a key and a value.",
    }  # fmt: skip


def test_without_user_namespaces_nothing_is_graded_and_the_student_is_told_so(
    gradescope: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    hack = f"open({str(tmp_path / 'caught')!r}, 'w')\n"
    content = json.dumps(answered({**HONEST, "flops": hack + HONEST["flops"]}))
    told = gradescope({"hw.ipynb": content}, program("bwrap"), *CONTAINER)
    well_formed(told)
    assert told["output"] == autograder.WITHOUT_WALLS and told["tests"] == []
    assert not (tmp_path / "caught").exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.pdf": "%PDF"}, "there is no notebook, only a.pdf"),
        ({"a.ipynb": "{"}, "it is not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_to_the_student(
    files: dict[str, str], words: str, gradescope: Callable[..., dict[str, Any]]
) -> None:
    told = gradescope(files)
    well_formed(told)
    assert told["score"] == 0 and words in told["output"]


def test_a_grader_that_fails_says_so_and_takes_no_points_in_silence(tmp_path: Path) -> None:
    lines = autograder.autograded(tmp_path / "no assignment", tmp_path, tmp_path / "results.json")
    told = json.loads((tmp_path / "results.json").read_text())
    well_formed(told)
    assert told["output"] == autograder.FAILED and "No such file" in lines[0]


def test_what_the_container_installs_is_what_the_grader_needs(tmp_path: Path) -> None:
    done = command("autograder", HERE / "assignment", "--to", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "assignment-gradescope.zip") as made:
        modes = {name: made.getinfo(name).external_attr >> 16 & 0o111 for name in ("setup.sh", "run_autograder")}
        needed = made.read("requirements.txt").decode().split()
        scripts = [made.read(name) for name in modes]
        names = made.namelist()
    assert all(modes.values())
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, check=True)
    found = {line.partition(">")[0] for line in needed}
    assert {"numpy", "nbval", "ipykernel", "jinja2", "typer"} <= found
    assert not {"jupyterlab", "playwright", "sphinx"} & found
    assert all(version(name) for name in found)
    assert not [name for name in names if "__pycache__" in name or "submissions" in name]
