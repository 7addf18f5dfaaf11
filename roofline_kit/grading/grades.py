"""What does everybody get? The points of the checks, with what a person decided, and days late taken off."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import decisions, people
from .assignment import Assignment
from .decisions import Decision
from .grade import LOST, stored
from .people import Known
from .platforms import Person

REASONS = {
    "": "right",
    "values": "it ran, and not all of its values are right",
    "error": "it ended with an error, or a part of it did",
    "time": "it took too long, also when it ran alone",
    "died": "it ended Python, or used more memory or processes than it may",
    "output": "it wrote or printed more than it may",
    "files": "the files that it is about were not handed in, or are not what they must be",
    "missing": "not answered",
    "lost": "it could not be graded, which says nothing about your answers; it will be graded again",
    "refused": "the file could not be read",
    "new": "this was graded before there was such a check; grade it again",
    "nothing": "nothing was handed in",
    "prose": "to be read by a person",
}
OPEN = {"prose": "prose to be read", "new": REASONS["new"]}  # until a person has decided


@dataclass
class Grade:
    """What a student gets.

    automatic : from the checks. points : with what a person gave, and days late taken off: the sum of all parts.
    added : what a person added to the sum. humans : why a person should look at it. remarks : what is worth knowing,
    and asks for nothing. listed : whether Canvas is told, of whom it is not in doubt who they are.
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
    remarks: list[str] = field(default_factory=list)
    person: Person = field(default_factory=Person)
    listed: bool = True

    @property
    def student(self) -> str:
        """Who it is."""
        return str(self.result["student"])

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The parts that have something to say: of a file that gave no answer, only what a person reads and decides."""
        if {part["reason"] for part in self.parts} - {"refused", "missing", "person", "prose"}:
            return self.parts
        return [part for part in self.parts if part["reason"] in ("person", "prose")]

    @property
    def handed_in(self) -> bool:
        """Whether there is a submission."""
        return bool(self.result["file"]["name"])


@dataclass
class Summary:
    """All grades; the distribution per check; who needs a person.

    remarks : on the whole. identical : students whose files are the same, byte for byte.
    """

    rows: list[Grade]
    checks: list[dict[str, Any]]
    remarks: list[str]
    identical: list[list[Grade]]

    @property
    def humans(self) -> list[str]:
        """The students whose submission a person should look at."""
        return [row.student for row in self.rows if row.humans]

    @property
    def handed_in(self) -> list[Grade]:
        """The grades of those who handed in something."""
        return [row for row in self.rows if row.handed_in]


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


def summary(assignment: Assignment, results: Path) -> Summary:
    """What everybody gets, those in the roster included who handed in nothing.

    Raises ValueError where there are no results, or some are missing or of another version of the assignment; and where
    manual.csv or late.csv say what cannot be meant.
    """
    found, remarks = _results(assignment, results)
    if not found:
        raise ValueError(f"{results} has no results of {assignment.name}; grade submissions first")
    who = people.known(results)
    _all_graded(assignment, found, who)
    _same_version(assignment, found, who)
    absent = who.absent(found)
    found |= {student: _nothing(student, assignment) for student in absent}
    decided = decisions.read(results, assignment, found)
    rows = []
    for student, result in sorted(found.items(), key=lambda item: item[0].casefold()):
        person = absent.get(student) or who.person(student)
        days = decided.days.get(student, person.late * assignment.settings.get("late", {}).get("canvas_late_days", 0))
        row = graded(assignment, result, decided.manual.get(student, []), days)
        row.person = person
        _remark(row, assignment, who, student in absent)
        rows.append(row)
    if who.roster:
        _tell_apart(rows, who)
    return Summary(rows, list(_checks(assignment, rows)), [*remarks, *_on_all(assignment, rows, who)], _identical(rows))


def _results(assignment: Assignment, results: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The results of this assignment by student, and remarks on what else lies there."""
    all_found = stored(results)
    found = {student: result for student, result in all_found.items() if result["assignment"] == assignment.name}
    remarks = [
        f"{student}: its result is of {result['assignment']}, and is left out; grade again to replace it"
        for student, result in all_found.items() if student not in found
    ]  # fmt: skip
    files = [path for path in (results / "results").glob("*.json") if not path.name.startswith(".")]
    if len(files) > len(all_found):
        remarks.append(
            f"{len(files) - len(all_found)} files in {results / 'results'} are no results: "
            "grading again writes those that are missing"
        )
    return found, remarks


def _all_graded(assignment: Assignment, found: Mapping[str, Mapping[str, Any]], who: Known) -> None:
    """Raises ValueError where a run was stopped before all had a result of what they handed in last.

    They would have the points of an older file, or seem to have handed in nothing.
    """
    waiting = []
    for student in sorted(who.here or ()):
        own = found[student]["key"] if student in found else None
        if own is None or own not in (LOST, who.keys.get(student, own)):
            waiting.append(student)
    if waiting:
        raise ValueError(
            f"{len(waiting)} who handed in {assignment.name} are not graded yet ({_some(waiting)}), so nothing was "
            "written: run `roofline-kit grade` again"
        )


def _some(names: Sequence[str]) -> str:
    """The first of some names.

    >>> _some("abcdefg")
    'a, b, c, d, e and others'
    """
    return ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")


def _same_version(assignment: Assignment, found: Mapping[str, Mapping[str, Any]], who: Known) -> None:
    """Raises ValueError where results are of an assignment that has changed since, and can be made anew."""
    older = [name for name, result in found.items() if _is_older(result, assignment) and not who.gone(name)]
    if older:
        raise ValueError(
            f"{len(older)} of {len(found)} results are not of {assignment.name} as it is now ({_some(older)}), so "
            "nothing was written: run `roofline-kit grade` again"
        )


def _is_older(result: Mapping[str, Any], assignment: Assignment) -> bool:
    return result.get("version") != assignment.digest


def _nothing(student: str, assignment: Assignment) -> dict[str, Any]:
    """A result of somebody who handed in nothing."""
    prose = [answer for answer in assignment.answers.values() if answer.prose]
    return {
        "student": student, "assignment": assignment.name, "key": "", "file": {"name": "", "sha256": "", "bytes": 0},
        "refused": "", "seen": [], "notes": [], "readings": {}, "points": 0.0, "of": assignment.points, "errors": {},
        "checks": [
            {"name": name, "points": 0.0, "of": check.points, "reason": "nothing", "hint": "", "words": []}
            for name, check in assignment.checks.items()
        ],
        "prose": [{"name": answer.name, "of": answer.points, "text": ""} for answer in prose],
        "answers": {}, "seconds": 0.0,
    }  # fmt: skip


def _remark(row: Grade, assignment: Assignment, who: Known, absent: bool) -> None:
    """Says what is worth knowing of somebody."""
    if absent:
        row.humans, row.remarks = [], ["nothing was handed in"]
        return
    if who.stranger(row.student):
        row.listed = False
        row.humans.append("not in the roster, and so not in canvas.csv")
    if who.gone(row.student):
        row.remarks.append("was not among the submissions of the last run")
        if _is_older(row.result, assignment):
            row.humans.append("graded when the assignment was another, and not handed in since")
    if row.person.late and not row.late:
        row.remarks.append("LATE in Canvas")


def _tell_apart(rows: list[Grade], who: Known) -> None:
    """Lists nobody who would be the same person of the roster as another; of some who are gone, who is still here."""
    same: dict[str, list[Grade]] = defaultdict(list)
    for row in rows:
        same[row.person.canvas if row.listed else ""].append(row)
    for group in (group for canvas, group in same.items() if canvas and len(group) > 1):
        here = [row for row in group if not who.gone(row.student)]
        for row in group if len(here) != 1 else (row for row in group if row not in here):
            others = ", ".join(other.student for other in group if other is not row)
            row.listed = False
            row.humans.append(f"{row.person.name} of the roster, as is {others}, and so not in canvas.csv")


def _on_all(assignment: Assignment, rows: list[Grade], who: Known) -> list[str]:
    """Remarks on the class."""
    remarks = []
    late = sum(row.person.late for row in rows)
    if late and "canvas_late_days" not in assignment.settings.get("late", {}):
        remarks.append(f"{late} are LATE in Canvas, and nothing is taken off: [late] has no canvas_late_days")
    if gone := [row.student for row in rows if row.handed_in and who.gone(row.student)]:
        remarks.append(f"{len(gone)} were not among the submissions of the last run, and are kept: {', '.join(gone)}")
    handed_in = [row for row in rows if row.handed_in]
    strangers, absent = sum(who.stranger(row.student) for row in handed_in), len(rows) - len(handed_in)
    if strangers and absent:
        told = f"{strangers} {'is' if strangers == 1 else 'are'} not in it"
        remarks.append(f"{absent} handed in nothing by the roster, and {told}: they may be the same")
    if assignment.dropped:
        remarks.append(f"dropped, and shown to nobody: {', '.join(assignment.dropped)}")
    return remarks


def _identical(rows: list[Grade]) -> list[list[Grade]]:
    """Students whose files are the same, byte for byte; not those who handed in one file together."""
    same: dict[str, list[Grade]] = defaultdict(list)
    for row in rows:
        if row.result["file"]["sha256"] and row.result["file"]["bytes"]:
            same[row.result["file"]["sha256"]].append(row)
    return [group for group in same.values() if len({row.person.file or row.student for row in group}) > 1]


def _checks(assignment: Assignment, rows: list[Grade]) -> Iterable[dict[str, Any]]:
    """How a check went, among those who handed in something."""
    for name, check in assignment.checks.items():
        if name in assignment.dropped:
            continue
        parts = [part for row in rows if row.handed_in for part in row.parts if part["name"] == name]
        shares = [part["automatic"] / part["of"] for part in parts]
        yield {
            "name": name, "of": check.points, "shares": shares, "right": sum(share == 1 for share in shares),
            "partly": sum(0 < share < 1 for share in shares), "mean": sum(shares) / max(1, len(shares)),
        }  # fmt: skip


def graded(assignment: Assignment, result: dict[str, Any], mine: Collection[Decision], days: float) -> Grade:
    """What a student gets, of a result, a person's decisions, and days late."""
    given = {row.check: row for row in mine}
    parts, humans = _parts(assignment, result), needs_human(result, decisions.settled(mine, assignment))
    for part in parts:
        if row := given.get(part["name"]):
            part["comment"] = row.comment
            if row.points is not None:
                part.update(points=row.points, reason="person", told="by a person", hint="", words=[])
        if part["reason"] in OPEN:
            humans.append(f"{part['name']}: {OPEN[part['reason']]}")
    whole = given.get("", Decision("", None, ""))
    total = sum(part["points"] for part in parts) + (whole.points or 0.0)
    off = decisions.cost(assignment.settings.get("late", {}), days) * max(total, 0.0)
    automatic = round(sum(part["automatic"] for part in parts), 4)
    of = sum(part["of"] for part in parts)
    comments = [whole.comment] if whole.comment else []
    return Grade(
        result, automatic, round(total - off, 4), of, round(off, 4), comments, parts, humans, whole.points or 0.0
    )


def _parts(assignment: Assignment, result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each check and prose answer of the assignment, as it is now, is worth to a student. None is a dropped one.

    A check that is worth more or less than it was when this was graded keeps its share; one that was not there has 0
    points and says so.
    """
    then = {check["name"]: check for check in result["checks"]}
    parts = []
    for name, of in assignment.worth.items():
        if name in assignment.checks:
            old = then.get(name) or {"points": 0.0, "of": of, "reason": "new", "hint": "", "words": []}
            points = old["points"] if old["of"] == of else round(of * old["points"] / old["of"], 4)
        else:
            old, points = {"reason": "prose", "hint": "", "words": []}, 0.0
        parts.append({
            "name": name, "points": points, "of": of, "reason": old["reason"], "hint": old["hint"],
            "words": old["words"], "comment": "",
            "told": REASONS.get(old["reason"], old["reason"]), "automatic": points,
        })  # fmt: skip
    return [part for part in parts if part["name"] not in assignment.dropped]
