"""How is a submission graded inside of Gradescope? By what `bundle` puts into a zip file, where there can be walls.

Gradescope builds a container of the zip file (`setup.sh`), runs `run_autograder` in it for each submission, and shows
the student what that writes into `results.json`: https://gradescope-autograders.readthedocs.io. A container that
forbids user namespaces, as Docker does unless told, has no walls. There nothing runs, and the student is told so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from ..files import write
from . import grade, sandbox
from .assignment import Assignment, read
from .grades import Grade, graded
from .handed_in import of_folder

SETUP = """#!/bin/bash
# Gradescope runs this once, as root, when it builds the image.
set -e
cd "$(dirname "$0")"
apt-get update
apt-get install -y bubblewrap python3 python3-venv
python3 -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 is needed: choose a newer base image")'
python3 -m venv .venv
.venv/bin/pip install -r requirements.txt
echo "$PWD/kit" > "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/kit.pth"
"""
RUN = """#!/bin/bash
# Gradescope runs this for each submission.
cd "$(dirname "$0")"
exec source/.venv/bin/python -P -m roofline_kit.grading autograde source/assignment submission results/results.json
"""
WITHOUT_WALLS = (
    "Your submission was received and was not graded. A grader runs nobody's program without a sandbox, and there can "
    "be none where Gradescope runs this one. The 0 points say nothing about your work: your instructor grades it "
    "elsewhere."
)
FAILED = (
    "Your submission was received and was not graded: the grader itself failed. The 0 points say nothing about your "
    "work. Please tell your instructor."
)


def bundle(assignment: Assignment, path: Path) -> None:
    """Writes the zip file that Gradescope takes as an autograder. It holds the answers: it is not for students."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(path, "w", ZIP_DEFLATED) as made:
        for name, data in _files(assignment):
            info = ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr = (0o755 if name in ("setup.sh", "run_autograder") else 0o644) << 16
            made.writestr(info, data, ZIP_DEFLATED)


def _files(assignment: Assignment) -> Iterator[tuple[str, bytes]]:
    yield "setup.sh", SETUP.encode()
    yield "run_autograder", RUN.encode()
    yield "requirements.txt", "".join(f"{line}\n" for line in _needed()).encode()
    kit = Path(__file__).parents[1]
    for path in sorted(kit.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"kit/{kit.name}/{path.relative_to(kit).as_posix()}", path.read_bytes()
    told = f"Metadata-Version: 2.1\nName: roofline-kit\nVersion: {version('roofline-kit')}\n"
    yield f"kit/roofline_kit-{version('roofline-kit')}.dist-info/METADATA", told.encode()
    for path in sorted(assignment.path.parent.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            yield f"assignment/{path.name}", path.read_bytes()


def _needed() -> list[str]:
    """What the grader needs of others, as pip takes it."""
    parts = [line.partition(";") for line in requires("roofline-kit") or ()]
    return [name.strip() for name, _, marker in parts if not marker or 'extra == "grading"' in marker.replace("'", '"')]


def autograded(folder: Path, submission: Path, results: Path) -> list[str]:
    """Grades one submission, writes what Gradescope shows of it, and returns what an instructor should know.

    Whatever happens, there is a results.json that Gradescope can read, and a student is not left with 0 points and
    without a word.
    """
    try:
        assignment = read(folder)
        with sandbox.workplace():
            session = grade.begun(assignment).solved()
            result = grade.grade(of_folder(submission), session)
        row = graded(assignment, result, (), 0)
        told, lines = _told(row), row.humans
    except sandbox.NoSandbox as error:
        told, lines = _not_graded(WITHOUT_WALLS), [str(error)]
    except Exception as error:
        told, lines = _not_graded(FAILED), [f"{type(error).__name__}: {error}"]
    write(results, json.dumps(told, indent=1))
    return lines


def _not_graded(why: str) -> dict[str, Any]:
    return {"score": 0.0, "output": why, "stdout_visibility": "hidden", "tests": []}


def _told(row: Grade) -> dict[str, Any]:
    """A grade in the words of Gradescope."""
    refused = row.result["refused"]
    prose = [f"{part['name']} ({part['of']:g} points)" for part in row.parts if part["reason"] == "prose"]
    output = f"Your file could not be graded: {refused}." if refused else ""
    output += "".join(f" About your file: {note}." for note in row.result["seen"])
    output += f" Read by a person, and not in this sum: {', '.join(prose)}." if prose else ""
    tests = [_test(part) for part in row.parts if part["reason"] != "prose"]
    return {"score": row.automatic, "output": output.strip(), "stdout_visibility": "hidden", "tests": tests}


def _test(part: Mapping[str, Any]) -> dict[str, Any]:
    hint = "".join(f" {sentence}." for sentence in part["words"])
    hint += f" Hint: {part['hint']}" if part["hint"] else ""
    return {
        "name": part["name"], "score": part["points"], "max_score": part["of"], "output": f"{part['told']}.{hint}",
        "status": "passed" if part["points"] == part["of"] else "failed",
    }  # fmt: skip
