"""What do Canvas and Gradescope call a student, and the student's files? As their own programs write it.

    Canvas       doejane_LATE_4711_81_hw1-1.ipynb    who, late or not, the number of the student, that of the file
                 anon_Ab3xY_81_hw1.ipynb             where grading is anonymous
                 doejane_4711_text.html              what was typed into a box, or an address
    Gradescope   submission_123/hw1.ipynb            and submission_metadata.yml, which says who that is

A number is an id of Canvas's only in such a name, whole: the 3 of a folder `anna_3` is none.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..names import unknown
from ..terminal import one_line

CANVAS = re.compile(
    r"(?:(?:LATE_)?(?P<hidden>anon_[A-Za-z0-9]{5})|(?P<who>[-\w]+?)_(?:LATE_|late_)?(?P<id>\d+))"
    r"_(?P<file>\d+)_(?P<name>.+)",
    re.DOTALL,
)
TYPED = re.compile(r"(?P<who>[-\w]+?)_(?:LATE_)?(?P<id>\d+)_(?:text|link)\.html")
LATE = re.compile(r"(?:[-\w]+?_)?(?:LATE|late)_(?:\d+|anon_[A-Za-z0-9]{5})_")
METADATA = "submission_metadata.yml"


@dataclass(frozen=True)
class Person:
    """Somebody as a platform knows them; "" for what it does not say.

    canvas : Canvas's number. sid, login : the ids that a university gives. late : whether Canvas says so. file : the
    name that a platform gave to what was handed in.
    """

    name: str = ""
    canvas: str = ""
    sid: str = ""
    login: str = ""
    email: str = ""
    section: str = ""
    late: bool = False
    file: str = ""


def of_canvas(name: str) -> tuple[str, Person] | None:
    """The student whom Canvas names in a file's name, and what it says of them; None if it is no name of Canvas's.

    >>> of_canvas("doejane_LATE_4711_81_hw1-1.ipynb")
    ('doejane_4711', Person(..., canvas='4711', ..., late=True, file='doejane_LATE_4711_81_hw1-1.ipynb'))
    >>> of_canvas("anna_3.ipynb"), of_canvas("submission_222")
    (None, None)
    """
    found = CANVAS.fullmatch(name) or TYPED.fullmatch(name)
    if not found:
        return None
    parts, late = found.groupdict(), bool(LATE.match(name))
    if hidden := parts.get("hidden"):
        return hidden, Person(late=late, file=name)
    return f"{parts['who']}_{parts['id']}", Person(canvas=parts["id"], late=late, file=name)


# --- Gradescope -------------------------------------------------------------------------------------------

FOLDER = re.compile(r"""(['"]?)(?P<name>[^'":# ][^'":]*)\1:[ ]*""")
FIELD = re.compile(r"""['"]?:?(?P<name>name|sid|email)['"]?:(?: +(?P<value>.*))?""")
BLANK = " \t\r"


def of_gradescope(text: str) -> dict[str, list[Person]]:
    """Who handed in each folder of Gradescope's export, from its submission_metadata.yml.

    Reads that file and no other YAML: a key in the first column is a folder, and the list below `:submitters:`, two
    columns in, names the people. What stands deeper (results, earlier attempts) is left alone.

    >>> of_gradescope("submission_7:\\n  :submitters:\\n  - :name: Doe, Jane\\n    :sid: '0123'\\n")
    {'submission_7': [Person(name='Doe, Jane', ..., sid='0123', ...)]}
    """
    found: dict[str, list[Person]] = {}
    people: list[Person] = []
    listed = False
    for line in text.split("\n"):
        line = line.rstrip(BLANK)
        within = line.lstrip(" ")
        depth = len(line) - len(within)
        if depth == 0 and (folder := FOLDER.fullmatch(line)):
            people = found.setdefault(folder["name"], [])
            listed = False
        elif depth <= 2 and not within.startswith("- "):
            listed = within.strip("'\"") in (":submitters:", "submitters:")
        elif listed:
            if within.startswith("- "):
                people.append(Person())
                within = within[2:].lstrip(" ")
            if people and (field := FIELD.fullmatch(within)):
                said: dict[str, Any] = {field["name"]: _scalar(field["value"] or "")}
                people[-1] = replace(people[-1], **said)
    return found


def _scalar(text: str) -> str:
    """A value of YAML on one line: plain, or in quotes of either kind."""
    if text.startswith("'"):
        return text[1:].removesuffix("'").replace("''", "'")
    if text.startswith('"'):
        escaped = re.sub(r"\\x([0-9A-Fa-f]{2})", r"\\u00\1", text)
        try:
            return str(json.loads(escaped))
        except ValueError:
            return text.strip('"')
    plain = text.partition(" #")[0].rstrip(BLANK)
    return "" if plain in ("~", "null", "Null", "NULL") else plain


# --- Canvas's gradebook -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Roster:
    """Those who are in a course, as Canvas's gradebook has them. columns : what each is worth there, by its title."""

    people: tuple[Person, ...] = ()
    columns: dict[str, str] | None = None

    def find(self, student: str, person: Person) -> Person | None:
        """Somebody in the course: by Canvas's number or, where there is none, by an id of the university, or by name.

        A name is that of one person in the course, as "Doe, Jane" or "Jane Doe"; of nobody, where two have it.
        """
        if person.canvas:
            return self._one("canvas", {person.canvas})
        ids = {person.sid, person.email, person.login, student}
        logins = ids | {id.partition("@")[0] for id in ids}
        names = {letters(person.name), letters(student)}
        return self._one("sid", ids) or self._one("login", logins) or self._one("name", names)

    def _one(self, kind: str, ids: Iterable[str]) -> Person | None:
        found = {person for id in ids if id for person in self._index.get((kind, id), ())}
        return found.pop() if len(found) == 1 else None

    @cached_property
    def _index(self) -> dict[tuple[str, str], list[Person]]:
        """All people by each of their ids, and by both orders of their names."""
        index = defaultdict(list)
        for person in self.people:
            last, _, first = person.name.partition(",")
            for kind, id in (
                ("canvas", person.canvas), ("sid", person.sid), ("login", person.login),
                ("name", letters(last + first)), ("name", letters(first + last)),
            ):  # fmt: skip
                index[kind, id].append(person)
        return index


def letters(name: str) -> str:
    """What Canvas makes of a name in the name of a file: its letters and digits, and no capitals.

    >>> letters("O'Neil, Max")
    'oneilmax'
    """
    return re.sub(r"\W", "", name).lower()


def roster(path: Path) -> Roster:
    """Who is in a course, from the file that *Export* in Canvas's gradebook gives.

    Raises ValueError, with the line, where it is not that file, and OSError where it cannot be read.
    """
    try:
        text = path.read_text("utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = ";" if first.count(";") > first.count(",") else ","
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except UnicodeDecodeError:
        raise ValueError(f"{path}: it is not UTF-8; expected the file that Canvas's gradebook exports") from None
    except csv.Error as error:
        raise ValueError(f"{path}: {error}; expected the file that Canvas's gradebook exports") from None
    header = [title.strip() for title in rows[0]] if rows else []
    for title in ("ID", "Section", *(["Student"] if "LastName" not in header else [])):
        if title not in header:
            raise ValueError(f"{path}, line 1: expected Canvas's column {title!r}. {unknown('column', title, header)}")
    titles = header[header.index("Section") + 1 :]
    named = [dict(zip(header, row, strict=False)) for row in rows[1:]]
    worth = next((row for row in named if _name(row) == "Points Possible"), {})
    return Roster(tuple(_people(named)), {title: worth.get(title, "").strip() for title in titles if title})


def _name(row: dict[str, str]) -> str:
    own = row.get("Student", "").strip()
    return own or ", ".join(part for name in ("LastName", "FirstName") if (part := row.get(name, "").strip()))


def _people(rows: Iterable[dict[str, str]]) -> Iterator[Person]:
    """Students, without the rows that are none, and without Canvas's test student."""
    seen = set()
    for row in rows:
        number = row.get("ID", "").strip()
        if not number or number in seen or _name(row) in ("Points Possible", "Student, Test"):
            continue
        seen.add(number)
        sid, login, section = (
            one_line(row.get(title, "")).strip() for title in ("SIS User ID", "SIS Login ID", "Section")
        )
        yield Person(name=one_line(_name(row)), canvas=number, sid=sid, login=login, section=section)
