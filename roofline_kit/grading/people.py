"""Who is in the class, and what do platforms call them? Kept beside the results, so that all pages can be written anew.

students.json    who handed in, in the last run or before it; and the roster, once one was given
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..files import write
from .handed_in import Entry
from .platforms import Person, Roster, letters

FILE = "students.json"


@dataclass(frozen=True)
class Known:
    """What is known of the students.

    people : by student. here : those of the last run; None if there was none. keys : what their grades depend on, as
    `grade.key` tells it; of older runs that was not kept.
    """

    people: dict[str, Person] = field(default_factory=dict)
    here: frozenset[str] | None = None
    roster: Roster | None = None
    keys: dict[str, str] = field(default_factory=dict)

    def person(self, student: str) -> Person:
        """Somebody, with what the roster says of them."""
        own = self.people.get(student, Person())
        listed = self.roster.find(student, own) if self.roster else None
        return replace(listed, late=own.late, file=own.file, email=listed.email or own.email) if listed else own

    def gone(self, student: str) -> bool:
        """Whether somebody has a result and was not among the submissions of the last run."""
        return self.here is not None and student not in self.here

    def stranger(self, student: str) -> bool:
        """Whether there is a roster, and somebody is not in it."""
        return self.roster is not None and not self.roster.find(student, self.people.get(student, Person()))

    def absent(self, students: Iterable[str]) -> dict[str, Person]:
        """Those in the roster who are none of some students, with the names that these would have had."""
        found = {self.person(student).canvas for student in students}
        listed = self.roster.people if self.roster else ()
        by_canvas = any(person.canvas for person in self.people.values())
        return {_called(person, by_canvas): person for person in listed if person.canvas not in found}


def _called(person: Person, by_canvas: bool) -> str:
    """What a student is called who handed in nothing: as in Canvas's files, where there are such, or by their login."""
    return f"{letters(person.name)}_{person.canvas}" if by_canvas or not person.login else person.login


def known(results: Path) -> Known:
    """What is known of the students; nothing where that was not kept, or is damaged."""
    try:
        kept = json.loads((results / FILE).read_text("utf-8"))
        people = {student: Person(**person) for student, person in kept["people"].items()}
        listed = [Person(**person) for person in kept["roster"]]
        roster = Roster(tuple(listed), kept["columns"]) if listed else None
        return Known(people, frozenset(kept["here"]), roster, dict(kept.get("keys", {})))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Known()


def keep(
    results: Path,
    entries: Iterable[Entry] | None = None,
    roster: Roster | None = None,
    keys: Mapping[str, str] | None = None,
) -> None:
    """Keeps who handed in in this run, and the roster if one is given. What was known before stays.

    keys : of each of them, what the grade will depend on.
    """
    old = known(results)
    now = {entry.student: entry.person for entry in entries or ()}
    people, here = {**old.people, **now}, list(now) if entries is not None else sorted(old.here or ())
    listed = roster or old.roster or Roster()
    told: dict[str, Any] = {
        "people": {student: asdict(person) for student, person in people.items()}, "here": here,
        "roster": [asdict(person) for person in listed.people], "columns": listed.columns or {},
        "keys": old.keys if entries is None else dict(keys or {}),
    }  # fmt: skip
    write(results / FILE, json.dumps(told, indent=1))
