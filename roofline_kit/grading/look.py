"""What does one submission do, cell by cell? For an instructor who wonders about a grade; nothing is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..terminal import one_line
from . import sandbox
from .assignment import Assignment
from .grade import begun, opened, result_of
from .grades import REASONS, needs_human
from .handed_in import Entry, entries, student_of
from .platforms import of_canvas
from .runner import Did, Run, execute

LONGEST = 300  # characters of what a student's code says, and of a value


def single(path: Path) -> Entry:
    """A notebook as a submission of its own, with the files beside it; of Canvas's files, those of the same student.

    Raises FileNotFoundError where it is not, and ValueError for a folder.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder, and --cells looks at one notebook, as in {entries(path)[0].path}")
    if path.suffix.lower() == ".zip":
        raise ValueError(f"{path} is a zip file, and --cells looks at one notebook: unpack it first")
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: expected a notebook that was handed in")
    within = [file for file in path.resolve().parent.iterdir() if file.is_file() and not file.is_symlink()]
    beside = [file for file in within if file.suffix.lower() != ".ipynb" and file.name != path.name]
    if of_canvas(path.name):
        beside = [file for file in beside if of_canvas(file.name) and student_of(file) == student_of(path)]
    return Entry(student_of(path), path, tuple(beside))


def looked_at(entry: Entry, assignment: Assignment, unsafe: bool = False) -> list[str]:
    """Lines to read: what each cell did, and what that is worth. Runs it in a sandbox, as the grader does.

    Raises what `grade.begun` and `Session.solved` raise.
    """
    with sandbox.workplace(), opened(entry, begun(assignment, unsafe).solved()) as (given, session, files):
        run = session.run_of(given.answers, files)
        if not given.refused:
            execute(run)
    result = result_of(entry, given, run)
    lines = [f"! {reason}" for reason in needs_human(result)]
    lines += [f"! {way}: another way to read it, which `grade` grades as well" for way in given.readings]
    checks = {check["name"]: check for check in result["checks"]}
    for number, did in enumerate(run.did, start=1):
        lines += _of_cell(f"{number:3}  {did.cell.kind} {did.cell.name}".ljust(32), did, run, checks)
    return [one_line(line) for line in [*lines, f"{result['points']:g} of {result['of']:g} points"]]


def _of_cell(start: str, did: Did, run: Run, checks: dict[str, Any]) -> Iterator[str]:
    """A line on a cell, and one for each value of a check that is not as it should be."""
    ended = f"{REASONS[did.reason]} " if did.reason else ""
    raised = f"raised {did.raised[:LONGEST]}" if did.raised else ""
    if did.cell.kind != "check":
        yield f"{start} {'✗' if ended or raised else '·'} {ended}{raised}".rstrip()
        return
    check = checks[did.cell.name]
    share = check["points"] / check["of"]
    yield f"{start} {'✓' if share == 1 else '✗'} {check['points']:g} of {check['of']:g}: {REASONS[check['reason']]}"
    if raised:
        yield f"{'':32}   {raised}"
    report, expected = run.outcomes[did.cell.name].report, (run.expected or {}).get(did.cell.name, {})
    for name, value in expected.items() if share < 1 and isinstance(report, dict) else ():
        yield f"{'':32}   {name}: {_told(report.get(name))}, and yours {_told(value)}"


def _told(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
