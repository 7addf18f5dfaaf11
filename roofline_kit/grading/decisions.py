"""What has a person decided? Two files in the folder of results, which no grading touches, say it:

manual.csv    student, check, points, comment    points for a check or a prose answer; or, where check is empty,
                                                 points added to the sum; without points, a comment alone
late.csv      student, days                      how many days late; [late] in assignment.toml says what they cost
"""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..names import unknown
from .assignment import Assignment

MANUAL = ("student", "check", "points", "comment")
LATE = ("student", "days")


@dataclass(frozen=True)
class Decision:
    """A row of manual.csv. check : whose points, "" for the sum. points : what it gives or adds; None leaves them."""

    check: str
    points: float | None
    comment: str


@dataclass(frozen=True)
class Decisions:
    """All that a person decided, by student. days : late."""

    manual: Mapping[str, list[Decision]] = field(default_factory=dict)
    days: Mapping[str, float] = field(default_factory=dict)


def read(results: Path, assignment: Assignment, students: Collection[str]) -> Decisions:
    """What stands in the two files of a folder of results. A file that is not there decides nothing.

    Raises ValueError, with file, line and column, where a row cannot be meant.
    """
    return Decisions(_manual(results, assignment, students), _late(results, assignment, students))


def _manual(results: Path, assignment: Assignment, students: Collection[str]) -> dict[str, list[Decision]]:
    most = assignment.worth
    found: dict[str, list[Decision]] = {}
    for row in _rows(results / "manual.csv", MANUAL, students):
        name = row["check"]
        row.must_be_new(row["student"], name)
        if name and name not in most:
            raise row.refused("check", unknown("check", name, most))
        points = row.number("points") if row["points"] or not row["comment"] else None
        if points is not None:
            low, high = (0.0, most[name]) if name else (-assignment.points, assignment.points)
            if not low <= points <= high:
                whose = f"{name} gives" if name else "what is added to the sum is"
                raise row.refused("points", f"{whose} {low:g} to {high:g} points, not {points:g}")
        found.setdefault(row["student"], []).append(Decision(name, points, row["comment"]))
    return found


def _late(results: Path, assignment: Assignment, students: Collection[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in _rows(results / "late.csv", LATE, students):
        row.must_be_new(row["student"])
        days = row.number("days")
        if days < 0:
            raise row.refused("days", f"expected 0 or more, not {days:g}")
        if days and not assignment.settings.get("late"):
            raise row.refused("days", f"what a day costs is not said: {assignment.path.parent.name} has no [late]")
        found[row["student"]] = days
    return found


def settled(rows: Collection[Decision], assignment: Assignment) -> set[str]:
    """The checks, and the answers that they are about, of which a person has decided; and "" if the whole is."""
    done = {row.check for row in rows}
    checks = assignment.checks.values()
    of = {name for check in checks for name in check.of}
    still = {name for check in checks if check.name not in done for name in check.of}
    return done | (of - still) | ({""} if not still else set())


def cost(policy: Mapping[str, Any], days: float) -> float:
    """Which share of the points so many days cost: per_day of them each, after the free ones, all after most_days."""
    days = max(0.0, days - policy.get("free_days", 0))
    return 1.0 if days > policy.get("most_days", math.inf) else min(1.0, days * policy.get("per_day", 0.0))


class _Row(dict[str, str]):
    """A row of a table. file, line : where it stands. seen : what rows before it were about, with their lines."""

    def __init__(self, row: Mapping[str, str], file: str, line: int, seen: dict[tuple[str, ...], int]) -> None:
        super().__init__(row)
        self.file, self.line, self.seen = file, line, seen

    def refused(self, column: str, why: str) -> ValueError:
        """The error that says where and why it cannot be meant."""
        return ValueError(f"{self.file}, line {self.line}, column {column}: {why}")

    def number(self, column: str) -> float:
        """A number that a column must have. Raises ValueError for any other text, nan and inf included."""
        try:
            value = float(self[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.refused(column, f"expected a number such as 1.5, not {self[column]!r}")
        return value

    def must_be_new(self, *about: str) -> None:
        """Raises ValueError if a row before it is about the same."""
        if about in self.seen:
            told = " and ".join(repr(name) for name in about if name)
            raise self.refused("student", f"line {self.seen[about]} is about {told}, too: one row decides")
        self.seen[about] = self.line


def _rows(path: Path, columns: tuple[str, ...], students: Collection[str]) -> Iterator[_Row]:
    """The rows of a file that a person keeps, without those that are empty; none if there is no such file."""
    expected, seen = f"expected the columns {', '.join(columns)}, with commas between", dict[tuple[str, ...], int]()
    lines = _lines(path) if path.exists() else iter(())
    names = [name.strip() for name in next(lines, (1, list(columns)))[1]]
    if sorted(names) != sorted(columns):
        raise ValueError(f"{path.name}, line 1: {expected}, not {', '.join(names)}")
    for line, fields in lines:
        if len(fields) != len(columns):
            how = "words with a comma in them stand in double quotes"
            raise ValueError(f"{path.name}, line {line}: {expected}, and there are {len(fields)}; {how}")
        values = dict(zip(names, fields, strict=True))
        row = _Row({name: values[name].strip() for name in names}, path.name, line, seen)
        row["student"] = values["student"]  # a name may begin or end with a blank
        if row["student"] not in students:
            raise row.refused("student", unknown("student", row["student"], students))
        yield row


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV file that have anything in them, with their numbers."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for fields in reader:
                if any(value.strip() for value in fields):
                    yield reader.line_num, fields
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not UTF-8: save it anew as CSV UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"{path.name}, line {reader.line_num}: it is no CSV: {error}") from None
