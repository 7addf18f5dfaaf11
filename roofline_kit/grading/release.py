"""May this assignment be released? Only if it can be solved, cannot be guessed, and does not give itself away."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat

from ..files import write
from . import sandbox
from .assignment import Assignment, AssignmentError, solution
from .grade import Session, begun
from .judge import guessable
from .runner import Run, execute

SMALL = 8  # nodes of a syntax tree: `x = 2 * n` may stand anywhere


def release(assignment: Assignment, folder: Path, unsafe: bool = False) -> Path:
    """Writes the students' notebook into a folder, and returns its path.

    Raises AssignmentError, with all that is wrong, if the instructor's own answers do not get full marks, if the
    release gets points as it is, if a check could be guessed, or if an answer or an expected value stands in the
    release.
    """
    with sandbox.workplace():
        faults = [*_unfair(assignment, unsafe), *given_away(assignment, assignment.release())]
    if faults:
        raise AssignmentError(f"{assignment.name} cannot be released:\n" + "\n".join(f"- {fault}" for fault in faults))
    path = folder / assignment.path.name
    write(path, nbformat.writes(assignment.release()) + "\n")
    return path


def _unfair(assignment: Assignment, unsafe: bool) -> Iterator[str]:
    own = {name: answer.source for name, answer in assignment.answers.items() if not answer.prose}
    reports = []
    for _ in range(2):  # what a check reports must not depend on luck
        session = begun(assignment, unsafe).solved()
        reports.append(session.expected or {})
        run = _ran(session, own)
        for name, check in assignment.checks.items():
            outcome = run.outcomes[name]
            if outcome.share < 1:
                yield f"check {name!r}: your own answers get {outcome.share:.0%} of {check.points} points"
    run = _ran(session, {})
    for name in assignment.checks:
        if run.outcomes[name].share:
            yield f"check {name!r}: it gives points to who answers nothing"
    for name in assignment.checks:
        if all(guessable(value) for report in reports for value in report[name].values()):
            yield f"check {name!r}: its values can be guessed; report numbers at drawn points, too"
    yield from _printed(assignment, _constants(*reports))


def _ran(session: Session, answers: dict[str, str]) -> Run:
    run = session.run_of(answers, session.assignment.files)
    execute(run)
    return run


def _constants(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[float]]:
    """What is expected in every run, by check: numbers that are not drawn, and that nobody would guess."""
    found: dict[str, list[float]] = {}
    for name, report in one.items():
        values = [v for key, value in report.items() if value == other[name].get(key) for v in _flat(value)]
        found[name] = [v for v in values if not guessable(v)]
    return found


def _flat(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in _flat(item)] if isinstance(value, list) else [value]


NUMERAL = re.compile(r"(?<![\w.])\d[\d_,\u202f\u2009]*(?:\.\d+)?(?:[eE][+-]?\d+)?")


def _printed(assignment: Assignment, constants: Mapping[str, list[float]]) -> Iterator[str]:
    """Which expected numbers stand in the release, with all their digits or rounded to four and more."""
    for cell in assignment.release().cells:
        for numeral in NUMERAL.findall(cell.source):
            digits = re.sub(r"[_,\u202f\u2009]", "", numeral)
            value = float(digits)
            precise = len(digits.split("e")[0].replace(".", "").strip("0")) >= 4
            for check, expected in constants.items():
                if precise and any(abs(value - number) <= 5e-5 * abs(number) for number in expected):
                    yield f"check {check!r}: the expected {numeral} stands in cell {cell.id} of the release"


def given_away(assignment: Assignment, released: Any) -> Iterator[str]:
    """Which parts of a solution stand in a release: as code of the same syntax tree, or as text between other words."""
    code = {_shape(node) for cell in released.cells for node in _nodes(cell.source if cell.cell_type == "code" else "")}
    prose = _bare("\n".join(cell.source for cell in released.cells))
    for answer in assignment.answers.values():
        kept = {_shape(node) for node in _nodes(answer.stub)}
        for node in [] if answer.prose else _nodes(solution(answer.source)):
            if not isinstance(node, ast.expr) or sum(1 for _ in ast.walk(node)) < SMALL or _shape(node) in kept:
                continue
            if _shape(node) in code or _bare(ast.unparse(node)) in prose:
                yield f"answer {answer.name!r}: its solution has {ast.unparse(node)!r}, and so has what students get"


def _nodes(source: str) -> Iterator[ast.AST]:
    try:
        yield from ast.walk(ast.parse(source))
    except SyntaxError:  # a magic, or a Markdown cell
        return


def _shape(node: ast.AST) -> str:
    return ast.dump(node)


def _bare(text: str) -> str:
    return re.sub(r"\s|\\,|[`$]", "", text)
