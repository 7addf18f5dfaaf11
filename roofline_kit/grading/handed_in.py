"""Which files belong to whom? A folder as a platform gives it, told apart by student."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .submission import CANVAS, age


@dataclass(frozen=True)
class Entry:
    """A submission as a file.

    student : who it is from. path : the notebook, of several the newest. files : what else was handed in. others : the
    other notebooks, the newest first.
    """

    student: str
    path: Path
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    others: tuple[Path, ...] = ()


def entries(folder: Path) -> list[Entry]:
    """The submissions in a folder: a folder for each student, the files of Canvas's zip, or flat files.

    Raises FileNotFoundError where there is no notebook. Links are not followed. Of several notebooks of one student,
    the newest in Canvas's sense (the largest id) comes first.
    """
    if not folder.is_dir():
        known = dict.fromkeys((".zip", ".gz", ".tar"), ": unpack it first") | {".ipynb": ": --cells looks at one file"}
        how = known.get(folder.suffix.lower(), "")
        raise FileNotFoundError(f"{folder} is not a folder{how}")
    folder = folder.resolve()
    made = [_entry(student, paths, folder) for student, paths in _by_student(folder).items()]
    if not (found := [entry for entry in made if entry is not None]):
        raise FileNotFoundError(f"{folder} has no notebook: expected a folder for each student, or files *.ipynb")
    return found


def _by_student(folder: Path) -> dict[str, list[Path]]:
    """All files of each student; of one whose folder has none, the folder: nobody is lost."""
    found: dict[str, list[Path]] = {}
    for path in sorted(_files(folder)):
        below = path.relative_to(folder).parts
        found.setdefault(below[0] if len(below) > 1 else student_of(path), []).append(path)
    for path in folder.iterdir():
        if path.is_dir() and not _skipped(path):
            found.setdefault(path.name, [path])
    return found


def student_of(path: Path) -> str:
    """Whose a flat file is: the student whom Canvas names in front, or who its name is."""
    canvas = CANVAS.match(path.name)
    return f"{canvas['who']}_{canvas['id']}" if canvas else path.stem


def _entry(student: str, paths: list[Path], folder: Path) -> Entry | None:
    """What a student handed in with some files; None for a flat file that is neither a notebook nor Canvas's."""
    notebooks = sorted((path for path in paths if path.suffix.lower() == ".ipynb"), key=age)
    if not notebooks:
        first = paths[0]
        handed_in = first.is_dir() or first.parent != folder or CANVAS.match(first.name)
        return Entry(student, first, (), ("there is no notebook",)) if handed_in else None
    rest = tuple(path for path in paths if path not in notebooks)
    newest, *others = reversed(notebooks)
    return Entry(student, newest, rest, others=tuple(others))


def _skipped(path: Path) -> bool:
    """Whether a path is a link, hidden, or a Mac's own."""
    return path.is_symlink() or path.name.startswith((".", "__MACOSX"))


def _files(folder: Path, deep: int = 6) -> Iterator[Path]:
    """The files in a folder and in its folders, but for hidden ones and links; no deeper than anybody hands in."""
    for path in folder.iterdir():
        if _skipped(path):
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and deep:
            yield from _files(path, deep - 1)


def name_of(student: str) -> str:
    """A file name for a student, whose name may be anything.

    >>> name_of("doejane_12345"), name_of("../x")
    ('doejane_12345', '_x-...')
    """
    safe = re.sub(r"[^A-Za-z0-9._@-]", "_", student)[:80].lstrip(".")
    if safe == student and student:
        return safe
    return f"{safe}-{hashlib.sha256(student.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
