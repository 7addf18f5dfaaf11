"""Which files belong to whom? A folder or a zip file as a platform gives it, told apart by student.

Nobody is lost, and nobody stops the others: whoever has no notebook that can be read is an entry with a reason. What a
student wrote becomes a name that can be printed here, once, and is used as that everywhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..terminal import one_line
from .archive import unpacked
from .platforms import CANVAS, METADATA, Person, of_canvas, of_gradescope
from .sandbox import workplace
from .submission import age, is_notebook

DEEPEST, MOST = 6, 500  # folders in one another, and files of one student
SEARCHED = 20  # files of a student that are no notebooks by their names, and that are looked into for one
LONGEST = 120  # bytes of a page's name; a digest and an ending come behind it


@dataclass(frozen=True)
class Entry:
    """A submission as a file.

    student : who it is from. path : the notebook, of several the newest. files : what else was handed in. others : the
    other notebooks, the newest first. refused : why there is nothing to be read, if that is so. person : what a
    platform says of the student.
    """

    student: str
    path: Path
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    others: tuple[Path, ...] = ()
    refused: str = ""
    person: Person = field(default_factory=Person)


@dataclass
class _Pile:
    """What one student handed in. path : the folder, or the first file. troubles : what could not be read, and why."""

    path: Path
    files: list[Path] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


@contextlib.contextmanager
def submissions(path: Path, left: list[str] | None = None) -> Iterator[list[Entry]]:
    """The submissions in a folder, or in a zip file, which is unpacked for as long as this lasts.

    left : gets the names of files that are nobody's.

    Raises FileNotFoundError where there is no notebook, and ValueError for a zip file that is none.
    """
    if path.suffix.lower() == ".zip" and not path.exists():
        raise FileNotFoundError(f"{path} is not there: expected a folder or a zip file of submissions")
    if path.suffix.lower() != ".zip" or path.is_dir():
        yield entries(path, left=left)
        return
    with workplace() as folder:  # which the next run removes, should this one be killed
        yield entries(folder, unpacked(path, folder), str(path), left)


def entries(
    folder: Path, troubles: Mapping[Path, str] | None = None, called: str = "", left: list[str] | None = None
) -> list[Entry]:
    """The submissions in a folder: a folder for each student, the files of Canvas's or Gradescope's zip, or flat files.

    troubles : files that should be in it and could not be put there, with the reason. called : what to call the folder.
    left : gets the names of files that are nobody's.

    Raises FileNotFoundError where there is no notebook. Links are not followed. Of several notebooks of one student,
    the newest in Canvas's sense (the largest id) comes first.
    """
    called = called or str(folder)
    if not folder.is_dir():
        known = {".gz": ": unpack it first", ".tar": ": unpack it first", ".ipynb": ": --cells looks at one file"}
        raise FileNotFoundError(f"{called} is not a folder{known.get(folder.suffix.lower(), '')}")
    top = _top(folder.resolve())
    piles = _piles(top, {folder.resolve() / path: why for path, why in (troubles or {}).items()}, left)
    if not piles:
        zips = [one_line(path.name) for path in sorted(folder.glob("*.zip"))][:3]
        have = f"; to grade {zips[0]}, give that file" if zips else ""
        expected = "expected a folder for each student, files *.ipynb, or a platform's zip file"
        raise FileNotFoundError(f"{called} has no notebook: {expected}{have}")
    return list(_with_people(piles, top))


# --- whose is it? -----------------------------------------------------------------------------------------


def student_of(path: Path) -> str:
    """Whose a flat file is: the student whom Canvas names in front, or who its name is."""
    canvas = of_canvas(path.name)
    return canvas[0] if canvas else Path(re.sub(r"(?is)\.ipynb\b.*", ".ipynb", path.name)).stem


def _piles(top: Path, troubles: Mapping[Path, str], left: list[str] | None) -> dict[str, _Pile]:
    """What each student handed in, by the name that the system has for them. left : gets what is nobody's."""
    piles: dict[str, _Pile] = {}
    folders, files = _inside(top)
    alike = _like_canvas(files)
    for folder in folders:
        pile = piles.setdefault(folder.name, _Pile(folder))
        pile.files += _files(folder, pile.troubles)
    for path in files:
        if path in alike:
            piles.setdefault(path.stem, _Pile(path)).files.append(path)
        elif _is_handed_in(path):
            _add(piles, path, top).files.append(path)
        elif left is not None and path.name != METADATA:
            left.append(one_line(path.name))
    for path, why in troubles.items():
        within = path if path.is_relative_to(top) else top / path.name
        if (within.parent != top or _is_handed_in(within)) and not any(map(_is_hidden, within.relative_to(top).parts)):
            _add(piles, within, top).troubles.append(f"{one_line(path.name)}: {why}")
    return piles


def _like_canvas(files: Iterable[Path]) -> set[Path]:
    """Files whose names only look like Canvas's, such as cs_101_2026_jane.ipynb: each of them is somebody's own.

    Canvas gives a number to one file alone. Two that have the same are copies of one another, or not from there.
    """
    numbered: dict[str, dict[Path, str]] = defaultdict(dict)
    for path in files:
        if found := CANVAS.fullmatch(path.name):
            numbered[found["file"]][path] = Path(found["name"]).stem
    groups = [group for group in numbered.values() if not _are_copies(group.values())]
    return {path for group in groups for path in group}


def _are_copies(names: Collection[str]) -> bool:
    """Whether all names are one, with what systems add to it: "hw1", "hw1 (1)" and "hw1 - Copy"."""
    shortest = min(names, key=len)
    return all(name.startswith(shortest) for name in names)


def _add(piles: dict[str, _Pile], path: Path, top: Path) -> _Pile:
    """The pile that a file belongs to; a new one if its student has none."""
    first, *deeper = path.relative_to(top).parts
    return piles.setdefault(first if deeper else student_of(path), _Pile(path))


def _is_handed_in(path: Path) -> bool:
    """Whether a flat file is somebody's: a notebook, whatever it is called, or what Canvas gave a student's name."""
    return _unlike(path) < 2 or of_canvas(path.name) is not None or is_notebook(path)


def _unlike(path: Path) -> int:
    """How little a file is a notebook by its name: one that a browser has renamed is 1, one of another kind 2."""
    return 0 if path.suffix.lower() == ".ipynb" else 2 - (".ipynb" in path.name.lower())


def _top(folder: Path) -> Path:
    """The folder in which there is one for each student: a zip file often holds that folder, and nothing else."""
    here = folder
    with contextlib.suppress(OSError):
        while here == folder or not _is_class(here):
            folders, files = _inside(here)
            if len(folders) != 1 or any(map(_tells, files)):
                return folder
            (here,) = folders
        return here
    return folder


def _tells(path: Path) -> bool:
    return path.name == METADATA or _is_handed_in(path)


def _is_class(folder: Path) -> bool:
    """Whether a folder holds the submissions of many: it has names that a platform gave, or folders with notebooks."""
    folders, files = _inside(folder)
    if any(path.name == METADATA or of_canvas(path.name) for path in files):
        return True
    return sum(any(_unlike(path) < 2 for path in _files(inner, [])) for inner in folders) > 1


# --- files ------------------------------------------------------------------------------------------------


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def _inside(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders and the files in a folder, in order, without links, what is hidden, and what is a Mac's own.

    Raises OSError where the folder cannot be read.
    """
    folders, files = [], []
    with os.scandir(folder) as found:
        for one in found:
            if _is_hidden(one.name) or one.is_symlink():
                continue
            if one.is_dir():
                folders.append(Path(one.path))
            elif one.is_file():
                files.append(Path(one.path))
    return sorted(folders, key=os.fsencode), sorted(files, key=os.fsencode)


def _files(folder: Path, troubles: list[str], deep: int = DEEPEST) -> list[Path]:
    """The files in a folder and in its folders; no deeper, and not more, than anybody hands in.

    troubles : gets what could not be read, and why.
    """
    try:
        folders, files = _inside(folder)
    except OSError as error:
        troubles.append(f"{one_line(folder.name)}: {error.strerror}")
        return []
    if folders and not deep:
        troubles.append(f"folders more than {DEEPEST} deep were not looked at")
        return files
    for inner in folders:
        files += _files(inner, troubles, deep - 1)
    files.sort(key=_unlike)
    if len(files) > MOST:
        troubles.append(f"of {len(files):,} files in {one_line(folder.name)}, {MOST:,} were looked at")
    return files[:MOST]


def of_folder(folder: Path) -> Entry:
    """What one student handed in, where a folder holds nothing else."""
    pile = _Pile(folder)
    pile.files = _files(folder, pile.troubles)
    return _entry(folder.name, pile)


def _entry(student: str, pile: _Pile) -> Entry:
    """What a student handed in with some files."""
    named = [path for path in pile.files if not _unlike(path)]
    found = named or [path for path in sorted(pile.files, key=_unlike)[:SEARCHED] if is_notebook(path)]
    notebooks = sorted(found, key=_age)
    rest = tuple(path for path in pile.files if path not in notebooks)
    if not notebooks:
        return Entry(student, (rest or (pile.path,))[0], refused=_no_notebook(pile))
    newest, *others = reversed(notebooks)
    refused = "" if others or os.access(newest, os.R_OK) else "it cannot be read: Permission denied"
    return Entry(student, newest, rest, tuple(pile.troubles), tuple(others), refused)


def _no_notebook(pile: _Pile) -> str:
    """Why there is no notebook, for the student and for the instructor."""
    if pile.troubles:
        return f"there is no notebook that can be read: {'; '.join(pile.troubles)}"
    only = ", ".join(one_line(path.name) for path in pile.files[:3])
    return f"there is no notebook, only {only}" if only else "there is no notebook"


def _age(path: Path) -> tuple[int, float]:
    try:
        return age(path)
    except OSError:  # in a folder that one may list and not enter
        return (0, 0.0)


def fingerprint(paths: Iterable[Path], largest: int) -> str:
    """What some files are, in one word: their names, and what is in them. Of what nobody reads, its size.

    largest : bytes of a file that is read. One of 20 GB takes no longer than an empty one.
    """
    told = hashlib.sha256()
    for path in sorted(paths):
        told.update(os.fsencode(path.name) + b"\0")
        with contextlib.suppress(OSError):  # of what cannot be looked at, the name
            if path.is_symlink() or not path.is_file():
                continue
            size = path.stat().st_size
            told.update(f"{size} ".encode())
            if size <= largest:
                with path.open("rb") as file:
                    told.update(hashlib.file_digest(file, "sha256").digest())
    return told.hexdigest()


# --- names ------------------------------------------------------------------------------------------------


def _with_people(piles: Mapping[str, _Pile], top: Path) -> Iterator[Entry]:
    """An entry for each student. Where a platform names several people for one submission, each of them has it."""
    people, trouble = _metadata(top)
    known = {name: people.get(name) or [_of_files(name, pile)] for name, pile in piles.items()}
    known |= {name: members for name, members in people.items() if name not in piles}
    each = [(name, person) for name, members in known.items() for person in members]
    shown = _printable([(person.email or person.sid or person.name or name, name) for name, person in each])
    for (name, person), student in zip(each, shown, strict=True):
        pile = piles.get(name) or _Pile(top / name, troubles=[f"{METADATA} names {name}, and there is no such folder"])
        entry = _entry(student, pile)
        file = entry.path.name if of_canvas(entry.path.name) else name if name in people else ""
        notes = (*entry.notes, trouble) if trouble else entry.notes
        said: dict[str, Any] = {
            name: one_line(text) if isinstance(text, str) else text for name, text in asdict(person).items()
        }
        yield replace(entry, notes=notes, person=Person(**said | {"file": one_line(file)}))


def _of_files(student: str, pile: _Pile) -> Person:
    """What Canvas says of a student in the names of files: late, if one of them is."""
    found = [said[1] for path in pile.files or [pile.path] if (said := of_canvas(path.name)) and said[0] == student]
    return replace(found[-1], late=any(person.late for person in found)) if found else Person()


def _metadata(top: Path) -> tuple[dict[str, list[Person]], str]:
    """Who handed in what, by Gradescope's word, or why that could not be read."""
    path = top / METADATA
    if not path.is_file() or path.is_symlink():
        return {}, ""
    try:
        people = of_gradescope(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        return {}, f"{METADATA} cannot be read ({error}), so this has the name of its folder"
    return people, "" if people else f"{METADATA} names nobody, so this has the name of its folder"


def _printable(names: Iterable[tuple[str, str]]) -> list[str]:
    """Names in letters that a terminal, a table and a page can show; no two are the same.

    names : of each student, what to show, and what tells them apart from all others.
    """
    given = list(names)
    shown = [unicodedata.normalize("NFC", one_line(name)) or "(no name)" for name, _ in given]
    often = Counter(shown)
    same = {told for told, (name, _) in zip(shown, given, strict=True) if often[told] > 1}
    return [
        f"{told}~{_digest(name + apart)[:6]}" if told in same and (told != name or apart != name) else told
        for told, (name, apart) in zip(shown, given, strict=True)
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def name_of(student: str) -> str:
    """A file name for a student, whose name may be anything. Letters of all languages stay.

    Where something is changed or left out, or a file system could take it for another (`Ada` and `ada`, `Ä` written in
    one sign or in two), a digest makes it unique.

    >>> name_of("doejane_12345"), name_of("çelik@x.edu"), name_of("../x"), name_of("Ada")
    ('doejane_12345', 'çelik@x.edu', '_x-...', 'Ada-...')
    """
    safe = re.sub(r"[^\w.@-]", "_", student).lstrip(".")
    while len(safe.encode("utf-8", "replace")) > LONGEST:
        safe = safe[:-1]
    if safe and safe == student == unicodedata.normalize("NFC", student.lower()) and safe.casefold() == safe:
        return safe
    return f"{safe}-{_digest(student)[:8]}"
