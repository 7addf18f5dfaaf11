"""The instructor's notebook of an assignment: its answers, its checks, and the release that students get.

A code cell says what it is in its metadata, under "grading":

    {"answer": "gqa_intensity"}                a student's cell of this name replaces it
    {"check": "gqa_intensity", "points": 2}    reports values (see cells.py), and is not released
    {"given": true}                            sets what later answers start from, and is not released
    {"visible": true}                          helps while working; released, and not run by the grader

All other cells are the frame: released, and run by the grader as the instructor wrote them. A check may have a
"tolerance" (relative, 1e-6), a "hint" for the feedback, and "of": the answers that it is about, by default the one of
its own name. A Markdown cell with "answer" and "points" is prose, read and given points by a person.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from ..names import unknown
from .enclosed import enclosed
from .limits import Limits, limits
from .shown import without

KEY = "grading"
BEGIN, END, STUB = "### BEGIN SOLUTION", "### END SOLUTION", "#: "
KINDS = ("answer", "check", "given", "visible")
# What takes long to import, by the package that a frame imports: with the kit, what it imports when it first traces.
SLOW = {"roofline_kit": ("array_api_compat.numpy", "sympy.tensor.tensor"), "matplotlib": ("matplotlib.pyplot",)}


class AssignmentError(ValueError):
    """Something in an assignment is not as it must be; the message says where and what."""


@dataclass(frozen=True)
class Check:
    """A check cell. points : what all of its values together are worth. of : the names of the answers it looks at."""

    name: str
    points: float
    source: str
    of: tuple[str, ...]
    tolerance: float = 1e-6
    hint: str = ""


@dataclass(frozen=True)
class Answer:
    """An answer cell. cell : its id in the release. points : what a person gives for it, if it is prose."""

    name: str
    cell: str
    source: str
    stub: str
    prose: bool = False
    points: float = 0


@dataclass(frozen=True)
class CellToRun:
    """A cell that the grader runs. kind : "frame", "given", "answer" or "check". name : of the answer or check."""

    kind: str
    name: str
    source: str


class Form(Protocol):
    """As much of an assignment as reading a submission needs. A released notebook tells it, too."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def answers(self) -> Mapping[str, Answer]:
        """All answer cells by name, in order."""

    @property
    def frame(self) -> Mapping[str, str]:
        """The cells that stand between answers, by id."""

    @property
    def visible(self) -> Mapping[str, str]:
        """The cells that help while working, by id."""


@dataclass(frozen=True)
class Assignment:
    """An assignment, read from its folder by `read`. settings : what its assignment.toml says."""

    name: str
    path: Path
    notebook: Any = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)

    @cached_property
    def answers(self) -> dict[str, Answer]:
        """All answer cells by name, in order."""
        return {
            grading["answer"]: Answer(
                grading["answer"], cell.id, cell.source, stub(cell.source, where), cell.cell_type == "markdown",
                grading.get("points", 0),
            )
            for cell, grading, where in self._cells() if "answer" in grading
        }  # fmt: skip

    @cached_property
    def checks(self) -> dict[str, Check]:
        """All checks by name, in order."""
        return {
            grading["check"]: Check(
                grading["check"], grading["points"], cell.source, tuple(grading.get("of", [grading["check"]])),
                grading.get("tolerance", 1e-6), grading.get("hint", ""),
            )
            for cell, grading, _ in self._cells() if "check" in grading
        }  # fmt: skip

    @cached_property
    def frame(self) -> dict[str, str]:
        """The cells that every submission's answers stand between, by id: what the instructor wrote, checks aside."""
        kinds = {"answer", "check", "visible"}
        return {cell.id: cell.source for cell, grading, _ in self._code() if not kinds & set(grading)}

    @cached_property
    def visible(self) -> dict[str, str]:
        """The cells that help while working, by id."""
        return {cell.id: cell.source for cell, grading, _ in self._code() if "visible" in grading}

    @cached_property
    def limits(self) -> Limits:
        """What a submission may use."""
        return limits(self.settings.get("limits", {}))

    @cached_property
    def without(self) -> tuple[str, ...]:
        """The packages that answers cannot import."""
        return without(self.settings.get("answers", {}).get("without", []))

    @cached_property
    def at_hand(self) -> tuple[str, ...]:
        """The modules that a kernel is born with, as the frame would have each of them import them anew."""
        frame = "\n".join(self.frame.values())
        return tuple(module for package, of in SLOW.items() if f"import {package}" in frame for module in of)

    @property
    def files(self) -> Path | None:
        """The folder with the instructor's own of the files that a submission brings along, if it brings any."""
        return self.path.parent if self.settings.get("submitted") else None

    @property
    def points(self) -> float:
        """What everything right is worth."""
        return sum(self.worth.values())

    @property
    def worth(self) -> dict[str, float]:
        """What each check and each prose answer is worth, in the order of tables and pages."""
        prose = {name: answer.points for name, answer in self.answers.items() if answer.prose}
        return {name: check.points for name, check in self.checks.items()} | prose

    @property
    def dropped(self) -> tuple[str, ...]:
        """The checks and prose answers that count no more, and are shown to nobody."""
        return tuple(self.settings.get("dropped", ()))

    @cached_property
    def digest(self) -> str:
        """Changes with whatever can change what the grader finds out; what is made of that, pages and tables decide."""
        settings = {name: value for name, value in self.settings.items() if name not in ABOUT_PAGES}
        told = [settings, [[cell.cell_type, cell.source, grading] for cell, grading, _ in self._cells()]]
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()

    def _cells(self) -> Iterator[tuple[Any, dict[str, Any], str]]:
        for i, cell in enumerate(self.notebook.cells, start=1):
            yield cell, cell.metadata.get(KEY, {}), f"{self.path.name}: cell {i} (id {cell.id})"

    def _code(self) -> Iterator[tuple[Any, dict[str, Any], str]]:
        return (found for found in self._cells() if found[0].cell_type == "code")

    def to_run(self, answers: Mapping[str, str] | None = None) -> list[CellToRun]:
        """The cells to run, in order, with these answers put in; without any, the instructor's own.

        An answer that is not among them is as it was released: not answered.
        """
        cells = []
        for cell, grading, _ in self._cells():
            if cell.cell_type != "code" or "visible" in grading or not cell.source.strip():
                continue
            kind = next((kind for kind in KINDS if kind in grading), "frame")
            name = str(grading.get(kind, "")) if kind in ("answer", "check") else ""
            source = cell.source
            if kind == "answer" and answers is not None:
                source = answers.get(name, self.answers[name].stub)
            cells.append(CellToRun(kind, name, enclosed(source) if kind == "check" else source))
        return cells

    def release(self) -> Any:
        """The students' notebook: answers are stubs, checks and givens are gone, and so are all outputs."""
        import nbformat

        language = {"name": "python", **self.notebook.metadata.get("language_info", {})}
        language.pop("version", None)  # a student's is another one: see roofline_lab
        released = nbformat.v4.new_notebook(
            metadata={
                "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
                "language_info": language,
                KEY: {
                    "assignment": self.name,
                    "submitted": list(self.settings.get("submitted", ())),
                    "without": list(self.without),
                    "order": [  # of the cells that the grader runs, and what those that are no answers are known by
                        [cell.id, "" if "answer" in grading else fingerprint(cell.source)]
                        for cell, grading, _ in self._code()
                        if not {"check", "given", "visible"} & set(grading) and cell.source.strip()
                    ],
                    "answers": [  # in order; JSON's objects are sorted when a notebook is saved
                        {"name": name, "cell": answer.cell, "stub": answer.stub, "prose": answer.prose}
                        for name, answer in self.answers.items()
                    ],
                },
            }
        )
        for cell, grading, where in self._cells():
            if "check" in grading or "given" in grading:
                continue
            tags = {name: cell.metadata[name] for name in ("tags", "jupyter") if name in cell.metadata}
            kept = nbformat.from_dict({**cell, "metadata": tags})
            if cell.cell_type == "code":
                kept.outputs, kept.execution_count = [], None
            if "answer" in grading:
                kept.source = stub(cell.source, where)
                kept.metadata[KEY] = {"answer": grading["answer"]}
                # JupyterLab then keeps it from being deleted by a slip.
                kept.metadata["deletable"] = False
            elif cell.cell_type == "code":
                kept.metadata[KEY] = {"visible" if "visible" in grading else "frame": True}
            released.cells.append(kept)
        return released


def fingerprint(source: str) -> str:
    """What a released notebook keeps of a cell, so that a student learns whether they changed it."""
    return hashlib.sha256(source.strip().encode("utf-8", "replace")).hexdigest()[:16]


def stub(source: str, where: str = "") -> str:
    """What a student gets of an answer cell: without its solution, and with the lines that began with "#: ".

    >>> print(stub("# How many?\\n### BEGIN SOLUTION\\nn = 7\\n### END SOLUTION\\n#: n = ..."))
    # How many?
    n = ...
    """
    kept, inside = [], False
    for line in source.splitlines():
        mark = line.strip()
        if mark in (BEGIN, END):
            if inside is (mark == BEGIN):
                raise AssignmentError(f"{where}: {mark} where the other mark was expected")
            inside = not inside
        elif not inside:
            kept.append(re.sub(r"^(\s*)#: ?", r"\1", line))
    if inside:
        raise AssignmentError(f"{where}: {BEGIN} without {END}")
    return "\n".join(kept).strip("\n")


def solution(source: str) -> str:
    """What of an answer cell a student does not get.

    >>> solution("a = 1\\n### BEGIN SOLUTION\\nn = 7\\n### END SOLUTION")
    'n = 7'
    """
    parts = re.findall(rf"{BEGIN}\n(.*?)\n?\s*{END}", source, re.DOTALL)
    return "\n".join(parts)


def read(folder: Path) -> Assignment:
    """The assignment in a folder, which has an assignment.toml and the notebook that it names.

    Raises AssignmentError where something is missing, twice, misspelt or of the wrong kind.
    """
    import nbformat

    try:
        settings = tomllib.loads((folder / "assignment.toml").read_text("utf-8"))
        path = folder / settings.get("notebook", f"{folder.name}.ipynb")
        notebook = nbformat.read(path, as_version=4)
    except (OSError, tomllib.TOMLDecodeError, nbformat.reader.NotJSONError) as error:
        raise AssignmentError(f"{folder}: {error}") from None
    assignment = Assignment(folder.name, path, notebook, settings)
    try:
        _check_settings(settings)
    except ValueError as error:
        raise AssignmentError(f"{folder / 'assignment.toml'}: {error}") from None
    seen: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for cell, grading, where in assignment._cells():
        _check_cell(cell, grading, where, seen)
    if not assignment.checks:
        raise AssignmentError(f"{path}: there is no check cell")
    for check in assignment.checks.values():
        for name in check.of:
            if name not in assignment.answers:
                raise AssignmentError(f"{path}: check {check.name!r}: {unknown('answer', name, assignment.answers)}")
    _check_dropped(assignment)
    return assignment


SETTINGS = {
    "title": str, "notebook": str, "draft": bool, "answers": dict, "limits": dict, "late": dict, "submitted": list,
    "canvas": dict, "dropped": list,
}  # fmt: skip
ABOUT_PAGES = ("title", "draft", "late", "canvas", "dropped")  # without an effect on how a submission is graded
LATE = ("free_days", "per_day", "most_days", "canvas_late_days")


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Raises ValueError if an assignment.toml sets what nobody looks at, or to what it cannot be."""
    for name, value in settings.items():
        if name not in SETTINGS:
            raise ValueError(unknown("setting", name, SETTINGS))
        if not isinstance(value, SETTINGS[name]):
            expected = {str: "a text", bool: "true or false", dict: f"a table, [{name}]", list: "a list of names"}[
                SETTINGS[name]
            ]
            raise ValueError(f"{name} must be {expected}, not {value!r}")
    for pattern in settings.get("submitted", ()):
        if not isinstance(pattern, str) or not pattern:
            raise ValueError(f"submitted must be a list of names such as '*.json', and has {pattern!r}")
    _check_late(settings.get("late", {}))
    _check_answers(settings.get("answers", {}))
    _check_canvas(settings.get("canvas", {}))
    try:
        limits(settings.get("limits", {}))
    except ValueError as error:
        raise ValueError(f"[limits] {error}") from None


def _check_answers(answers: Mapping[str, Any]) -> None:
    for name, value in answers.items():
        if name != "without":
            raise ValueError(unknown("setting of [answers]", name, ["without"]))
        try:
            without(value)
        except ValueError as error:
            raise ValueError(f"[answers] {error}") from None


def _check_late(late: Mapping[str, Any]) -> None:
    for name, value in late.items():
        if name not in LATE:
            raise ValueError(unknown("setting of [late]", name, LATE))
        if not _is_number(value) or not 0 <= value < math.inf:
            raise ValueError(f"[late] {name} must be a number, 0 or more, not {value!r}{_percent(value)}")
    if late.get("per_day", 0) > 1:
        raise ValueError(f"[late] per_day is a share of the points, at most 1, not {late['per_day']!r}; 0.1 is a tenth")
    if late and not {"per_day", "most_days"} & late.keys():
        raise ValueError("[late] has neither per_day nor most_days: what does a day cost?")


def _percent(value: Any) -> str:
    """What was meant by a text such as "10%"."""
    meant = re.fullmatch(r"\s*([\d.]+)\s*%\s*", value) if isinstance(value, str) else None
    return f"; did you mean {float(meant[1]) / 100:g}?" if meant else ""


def _check_canvas(canvas: Mapping[str, Any]) -> None:
    for name, value in canvas.items():
        if name != "column":
            raise ValueError(unknown("setting of [canvas]", name, ["column"]))
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"[canvas] column must be a title such as 'Homework 1 (12345)', not {value!r}")


def _check_dropped(assignment: Assignment) -> None:
    """Raises AssignmentError if what is dropped is not there, or is everything."""
    where = assignment.path.parent / "assignment.toml"
    for name in assignment.dropped:
        if name not in assignment.worth:
            raise AssignmentError(f"{where}: dropped: {unknown('check', name, assignment.worth)}")
    if set(assignment.worth) == set(assignment.dropped):
        raise AssignmentError(f"{where}: dropped names every check, and nothing would be left to grade")


KNOWN = {"answer": {"points"}, "check": {"points", "tolerance", "hint", "of"}, "given": set(), "visible": set()}


def _check_cell(cell: Any, grading: Any, where: str, seen: dict[str, set[str]]) -> None:
    """Raises AssignmentError if a cell's metadata is not what this module's first lines describe."""
    if not grading:
        return
    kinds = [kind for kind in KINDS if kind in grading]
    if len(kinds) != 1:
        raise AssignmentError(f"{where}: expected exactly one of {', '.join(KINDS)} in its metadata, not {grading}")
    (kind,) = kinds
    for name in set(grading) - {kind} - KNOWN[kind]:
        raise AssignmentError(f"{where}: {unknown(f'setting of a {kind} cell', name, KNOWN[kind])}")
    if kind in ("answer", "check"):
        _check_name(kind, grading[kind], where, seen)
    if kind == "check" and not (_is_number(points := grading.get("points")) and points > 0):
        raise AssignmentError(f"{where}: points must be a number above 0, not {points!r}; make it visible instead?")
    if cell.cell_type == "code":
        _check_code(cell.source, kind, grading, where)
    elif kind != "answer" or not grading.get("points"):
        raise AssignmentError(f"{where}: a Markdown cell can only be an answer, with points that a person gives")


def _check_name(kind: str, name: Any, where: str, seen: dict[str, set[str]]) -> None:
    """Raises AssignmentError if an answer or a check has no name of its own. seen : the names before it, by kind."""
    if not isinstance(name, str) or not name.isidentifier():
        raise AssignmentError(f"{where}: its name must be an identifier, not {name!r}")
    if name in seen[kind]:
        raise AssignmentError(f"{where}: there is another {kind} cell of the name {name!r}")
    seen[kind].add(name)


def _check_code(source: str, kind: str, grading: Any, where: str) -> None:
    """Raises AssignmentError if a cell of code is not Python, or is an answer with points."""
    try:
        ast.parse(source)
    except SyntaxError as error:
        raise AssignmentError(f"{where}: {error}") from None
    if kind == "answer" and "points" in grading:
        raise AssignmentError(f"{where}: points stand in the check of an answer, not in the answer")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def find(name: str, root: Path = Path("assignments")) -> Assignment:
    """An assignment by the beginning of its name, "hw1", or by the path of its folder, "./hw1" or "assignments/hw1".

    A name is never the folder of that name that one happens to be beside: among submissions, a student made it.

    Raises AssignmentError with the names that there are.
    """
    if ("/" in name or name == ".") and (Path(name) / "assignment.toml").exists():
        return read(Path(name).resolve())
    known = {path.parent.name: path.parent for path in sorted(root.glob("*/assignment.toml"))}
    found = [folder for known_name, folder in known.items() if known_name.startswith(name)]
    if len(found) != 1:
        raise AssignmentError(f"{unknown('assignment', name, known)} (looked in {root}/)")
    return read(found[0].resolve())
