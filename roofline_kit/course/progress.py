"""How far am I? What is answered on which page, kept beside the student's copies; and which try this is.

Two rules keep what is stored in the course's pages the same each time that they are run:

* Tries are counted in the kernel that is asked, and nowhere else, so a page that is run anew begins anew. The same
  answer again is the same try, so a cell that is run twice says the same twice.
* What is answered is kept where copies are, and never beside the pages as the course has them: these know of nobody.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..cost import aligned
from ..files import write
from ..names import data
from .answers import PAGES
from .builds import questions_of
from .lecture import html_table
from .start import course_folder

FILE = "progress.json"
_tried: dict[str, list[str]] = {}  # the kernel's, by question: see above


@dataclass(frozen=True, repr=False)
class Progress:
    """Which questions are answered, checked and built ones, page by page; and a sentence on where that is kept."""

    answered: frozenset[str]
    where: str

    def _cells(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("page", "answered", "still open")]
        for page, computed in PAGES.items():
            asked = [question for question in data("lessons.toml") if question.startswith(page)]
            asked += questions_of(page)
            still = [question for question in asked if question not in self.answered]
            title = (computed.__doc__ or "").partition("\n")[0].rstrip(".")
            rows.append((title, f"{len(asked) - len(still)} of {len(asked)}", ", ".join(still) if still else "✓"))
        return rows

    def __repr__(self) -> str:
        return "\n".join([*aligned(self._cells(), left=3), self.where])

    def _repr_html_(self) -> str:
        return f"{html_table(self._cells())}\n<p>{self.where}</p>"


def progress() -> Progress:
    """What you have answered, page by page. It is kept in `progress.json` beside your copies.

    Beside the course's own pages nothing is kept, and there the table is as it is for everybody at the beginning.

    >>> print(str(progress()).splitlines()[1])
    0 · Start here                    0 of 2    00.ridge, 00.bound
    """
    folder = own_folder()
    if folder is None:
        return Progress(frozenset(), "Nothing is kept here. In a copy of a page, this table is yours.")
    try:
        return Progress(frozenset(_kept(folder)), f"Kept in {folder.name}/{FILE}.")
    except (OSError, ValueError) as error:
        return Progress(frozenset(), _cannot("read", folder, error))


def keep(question: str) -> str:
    """Keeps that a question is answered. Returns a sentence where that is not possible, and else nothing."""
    folder = own_folder()
    try:
        if folder and question not in (kept := _kept(folder)):
            write(folder / FILE, json.dumps(sorted([*kept, question]), indent=1) + "\n")
    except (OSError, ValueError) as error:
        return _cannot("written", folder or Path(), error)
    return ""


def own_folder() -> Path | None:
    """The working folder, where it has copies of pages; None where it has none, or is the course's own."""
    here = Path.cwd()
    if not any(here.glob("[0-9][0-9]_*.ipynb")):
        return None
    try:
        return None if here == course_folder() / "notebooks" else here
    except ValueError:  # the kit alone is installed
        return here


def _kept(folder: Path) -> list[str]:
    """The questions that are answered. Raises ValueError where the file is damaged."""
    path = folder / FILE
    try:
        kept = json.loads(path.read_text("utf-8")) if path.exists() else []
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(kept, list) or not all(isinstance(question, str) for question in kept):
        raise ValueError("it is no list of questions")
    return kept


def _cannot(done: str, folder: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{folder.name}/{FILE} cannot be {done} ({error.strerror}): your progress is not kept."
    return f"{folder.name}/{FILE} is damaged, and your progress is not kept: delete it to begin anew."


def which_try(question: str, reading: str) -> int:
    """How many different answers a question has got in this kernel, up to this one."""
    tried = _tried.setdefault(question, [])
    if reading not in tried:
        tried.append(reading)
    return tried.index(reading) + 1


def forget_tries() -> None:
    """Begins to count anew, as a new kernel does."""
    _tried.clear()
