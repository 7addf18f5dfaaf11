"""Pages and tables of what was graded: one page for each student, one for the instructor, and grades as CSV."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from ..files import write
from . import decisions
from .assignment import Assignment
from .decisions import Decisions
from .grade import stored
from .handed_in import name_of

REASONS = {
    "": "right",
    "values": "it ran, and not all of its values are right",
    "error": "it ended with an error, or a part of it did",
    "time": "it took too long, also when it ran alone",
    "died": "it ended Python, or used more memory or processes than it may",
    "output": "it wrote or printed more than it may",
    "files": "the files that it is about were not handed in, or are not what they must be",
    "missing": "not answered",
    "refused": "the file could not be read",
}


@dataclass
class Grade:
    """What a student gets.

    automatic : from the checks. points : with what a person gave, and days late taken off: the sum of all parts.
    added : what a person added to the sum.
    """

    result: dict[str, Any]
    automatic: float
    points: float
    of: float
    late: float = 0.0
    comments: list[str] = field(default_factory=list)
    parts: list[dict[str, Any]] = field(default_factory=list)
    humans: list[str] = field(default_factory=list)
    added: float = 0.0

    @property
    def student(self) -> str:
        """Who it is."""
        return str(self.result["student"])


@dataclass
class Summary:
    """All grades; the distribution per check; who needs a person."""

    rows: list[Grade]
    checks: list[dict[str, Any]]

    @property
    def humans(self) -> list[str]:
        """The students whose submission a person should look at."""
        return [row.student for row in self.rows if row.humans]


def needs_human(result: Mapping[str, Any], settled: Collection[str] = ()) -> list[str]:
    """Why a person should look at a submission, in words; nothing if nobody has to.

    settled : the checks and answers of which a person has decided; "" is the submission as a whole.
    """
    if "" in settled:
        return []
    why = [("", f"refused: {result['refused']}")] if result["refused"] else []
    why += [(note.partition(": ")[0], note) for note in result["notes"]]
    for name, points in result["readings"].items():
        why.append((name.partition(": ")[0], f"read as {name} it would have {points:g}"))
    for reason in ("died", "output"):
        why += [(check["name"], REASONS[reason]) for check in result["checks"] if check["reason"] == reason]
    return list(dict.fromkeys(text for about, text in why if not set(about.split(", ")) <= set(settled)))


def write_all(assignment: Assignment, results: Path) -> Summary:
    """Writes all pages and tables.

    Raises ValueError where there are no results, or some of another version of the assignment; and where manual.csv or
    late.csv say what cannot be meant. Nothing is written then.
    """
    found = stored(results)
    if not found:
        raise ValueError(f"{results} has no results; grade submissions first")
    _same_version(found, assignment)
    decided = decisions.read(results, assignment, found)
    rows = [_graded(assignment, result, decided) for _, result in sorted(found.items())]
    checks = [
        {
            "name": name, "of": check.points, "shares": (shares := [_share(row.result, name) for row in rows]),
            "right": sum(share == 1 for share in shares), "mean": sum(shares) / len(shares),
            "partly": sum(0 < share < 1 for share in shares),
        }
        for name, check in assignment.checks.items()
    ]  # fmt: skip
    summary = Summary(rows, checks)
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__), autoescape=True, undefined=jinja2.StrictUndefined
    )
    pages.filters["seen"] = visible
    title = assignment.settings.get("title", assignment.name)
    for row in rows:
        text = pages.get_template("feedback.html").render(title=title, grade=row, reasons=REASONS)
        write(results / "feedback" / f"{name_of(row.student)}.html", text)
    steps = 10
    histogram = [0] * steps
    for row in rows:
        histogram[max(0, min(int(row.points / row.of * steps), steps - 1))] += 1
    slowest = sorted(rows, key=lambda row: -row.result["seconds"])[:5]
    text = pages.get_template("index.html").render(
        title=title, summary=summary, histogram=histogram, slowest=slowest, reasons=REASONS, page=name_of,
        edges=[summary.rows[0].of * i / steps for i in range(steps + 1)],
    )  # fmt: skip
    write(results / "index.html", text)
    _grades(results, assignment, rows)
    return summary


def _share(result: Mapping[str, Any], name: str) -> float:
    return next((check["points"] / check["of"] for check in result["checks"] if check["name"] == name), 0.0)


def _same_version(found: Mapping[str, Mapping[str, Any]], assignment: Assignment) -> None:
    """Raises ValueError if a result is not of the assignment as it is now: its points may mean something else."""
    older = [student for student, result in found.items() if result.get("version") != assignment.digest]
    if older:
        names = ", ".join(map(visible, older[:5])) + (" and others" if len(older) > 5 else "")
        raise ValueError(
            f"{len(older)} of {len(found)} results are not of {assignment.name} as it is now ({names}), so nothing was "
            "written: run `roofline-kit grade` again; whose file is no longer among the submissions, delete their "
            "results/NAME.json"
        )


def _graded(assignment: Assignment, result: dict[str, Any], decided: Decisions) -> Grade:
    mine = decided.manual.get(result["student"], [])
    given = {row.check: row for row in mine}
    parts, humans = [], needs_human(result, decisions.settled(mine, assignment))
    for check in result["checks"]:
        parts.append({**check, "told": REASONS[check["reason"]], "comment": ""})
    for answer in result["prose"]:
        about = {"points": 0.0, "reason": "prose", "told": "to be read by a person", "hint": "", "comment": ""}
        parts.append({**answer, **about, "words": []})
        if answer["name"] not in given or given[answer["name"]].points is None:
            humans.append(f"{answer['name']}: prose to be read")
    for part in parts:
        if row := given.get(part["name"]):
            part["comment"] = row.comment
            if row.points is not None:
                part.update(points=row.points, reason="person", told="by a person", hint="", words=[])
    whole = given.get("")
    added = (whole.points or 0.0) if whole else 0.0
    total = sum(part["points"] for part in parts) + added
    days = decided.days.get(result["student"], 0)
    off = decisions.cost(assignment.settings.get("late", {}), days) * max(total, 0.0)
    return Grade(
        result, result["points"], round(total - off, 4), result["of"], round(off, 4),
        [whole.comment] if whole and whole.comment else [], parts, humans, added,
    )  # fmt: skip


def _grades(results: Path, assignment: Assignment, rows: list[Grade]) -> None:
    """grades.csv with everything, and the same in the columns that Canvas and Gradescope take."""
    checks = list(assignment.checks)
    prose = [answer.name for answer in assignment.answers.values() if answer.prose]
    full: list[list[Any]] = [["student", "points", "of", "late", *checks, *prose, "needs a person"]]
    title = f"{assignment.settings.get('title', assignment.name)}"
    canvas: list[list[Any]] = [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", title],
        ["    Points Possible", "", "", "", "", rows[0].of],
    ]
    scope: list[list[Any]] = [["Name", "SID", "Email", "Total Score", "Max Points", "Status"]]
    for row in rows:
        who, _, number = row.student.rpartition("_")
        canvas_id = number if who and number.isdigit() else ""
        parts = {part["name"]: part["points"] for part in row.parts}
        given = [parts[name] for name in (*checks, *prose)]
        full.append([row.student, row.points, row.of, row.late, *given, "; ".join(row.humans)])
        name, login = (who, "") if canvas_id else (row.student, row.student)
        canvas.append([name, canvas_id, "", login, "", row.points])
        email = row.student if "@" in row.student else ""
        scope.append([name, canvas_id or row.student, email, row.points, row.of, "Graded"])
    for file, table in (("grades", full), ("canvas", canvas), ("gradescope", scope)):
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([[_cell(value) for value in line] for line in table])
        write(results / f"{file}.csv", text.getvalue())


def _cell(value: Any) -> Any:
    """A value of a table; a spreadsheet must not take a student's words for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def visible(text: str) -> str:
    """A stranger's text with what cannot be seen made visible.

    >>> visible("a" + chr(0x202E) + "b")
    'a⟨U+202E⟩b'
    """
    hidden = {letter for letter in set(text) - set("\n\t") if unicodedata.category(letter) in ("Cc", "Cf", "Cs")}
    return "".join(f"⟨U+{ord(letter):04X}⟩" if letter in hidden else letter for letter in text)
