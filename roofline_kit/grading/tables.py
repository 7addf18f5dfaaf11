"""The grades as tables: all of them for you, and one column for Canvas's gradebook.

Canvas's import looks for a student by the number in the column ID, and for the assignment by the number in brackets at
the end of a column's title. Without that number it makes a new assignment.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

from ..names import unknown
from .assignment import Assignment
from .grades import Grade
from .platforms import Roster

Table = list[list[Any]]


def everything(assignment: Assignment, rows: Iterable[Grade]) -> str:
    """grades.csv: a row for each student, with all that is known."""
    names = [name for name in assignment.worth if name not in assignment.dropped]
    table: Table = [["student", "name", "points", "of", "late", *names, "needs a person", "remarks"]]
    for row in rows:
        parts = {part["name"]: part["points"] for part in row.parts}
        each = [parts[name] for name in names]
        said = ["; ".join(row.humans), "; ".join(row.remarks)]
        table.append([row.student, row.person.name, row.points, row.of, row.late, *each, *said])
    return _csv([[_plain(value) for value in line] for line in table])


def for_canvas(assignment: Assignment, rows: Iterable[Grade], roster: Roster | None) -> str:
    """canvas.csv: what Canvas's gradebook imports.

    Raises ValueError where the assignment's column is none of the roster's.
    """
    title, of = column(assignment, roster), _of(assignment)
    table: Table = [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", title],
        ["    Points Possible", "", "", "", "", of],
    ]
    for row in (row for row in rows if row.listed):
        who = row.person
        name = who.name or row.student.removesuffix(f"_{who.canvas}")
        login = who.login or ("" if who.canvas or who.sid else _plain(row.student))
        table.append([_plain(name), who.canvas, who.sid, login, who.section, row.points])
    return _csv(table)


def column(assignment: Assignment, roster: Roster | None) -> str:
    """The title of the assignment's column in Canvas: as its assignment.toml says, or as the roster has it.

    Raises ValueError where the assignment.toml names a column that the roster lacks.
    """
    title = str(assignment.settings.get("title", assignment.name))
    named = assignment.settings.get("canvas", {}).get("column", "")
    columns = list((roster and roster.columns) or ())
    if named and columns and named not in columns:
        raise ValueError(f"{assignment.path.parent / 'assignment.toml'}: [canvas] {unknown('column', named, columns)}")
    same = [known for known in columns if re.fullmatch(rf"{re.escape(title)} \(\d+\)", known)]
    return named or (same[0] if len(same) == 1 else title)


def remarks(assignment: Assignment, roster: Roster | None) -> list[str]:
    """What to know before canvas.csv is imported."""
    title, of = column(assignment, roster), _of(assignment)
    if not re.search(r"\(\d+\)$", title):
        known = [name for name in (roster and roster.columns) or () if re.search(r"\(\d+\)$", name)]
        like = f", as in {known[0]!r}" if known else ""
        return [f"canvas.csv would make a new column {title!r}: [canvas] column names one that there is{like}"]
    worth = ((roster and roster.columns) or {}).get(title, "")
    if worth and worth.replace(",", ".") not in (f"{of:g}", f"{of:.1f}", f"{of:.2f}"):
        return [f"{title} has {worth} points in Canvas, and {of:g} here: the import would change that"]
    return []


def _of(assignment: Assignment) -> float:
    return sum(points for name, points in assignment.worth.items() if name not in assignment.dropped)


def _csv(table: Table) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue()


# How a formula begins, in letters of full width, too. Where numbers have a comma, Excel begins a new cell at each ";".
FORMULA = re.compile(r"(?:^|(?<=;))(?=[\s\ufeff]*[=+\-@＝＋－＠]|[\t\r])")


def _plain(value: Any) -> Any:
    """A value of a table; a spreadsheet must not take a student's words for a formula.

    >>> _plain("=1+1"), _plain("a;=1+1;b"), _plain("a=1"), _plain(-1)
    ("'=1+1", "a;'=1+1;b", 'a=1', -1)
    """
    return FORMULA.sub("'", value) if isinstance(value, str) else value
