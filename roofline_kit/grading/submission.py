"""What is taken from a file that anybody may have written: the sources of its answer cells, and nothing else.

Whatever is odd about a file is noted for the instructor, in words. Where it can be read in more than one way, all
readings are kept: none is lost in silence.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..terminal import one_line
from .assignment import KEY, Form
from .matching import READINGS, Cell, Matched, matched
from .platforms import CANVAS

MB = 10**6
LARGEST, MOST, OTHERS = 10 * MB, 5_000, 5  # bytes of a file, cells, more notebooks of a student
BRACKETS = 500_000  # of a file; three bytes of JSON can be a hundred of memory


@dataclass(frozen=True)
class Submission:
    """What a student handed in.

    answers : the source of each answer that was found. readings : other ways to read the file, each with a name in
    words and its answers. notes : what a person should look at. refused : why the file could not be read at all.
    needs : names that answers use and that only added cells define, each with the number of the cell. name, digest,
    size : of the file.
    """

    answers: dict[str, str] = field(default_factory=dict)
    readings: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refused: str = ""
    name: str = ""
    digest: str = ""
    size: int = 0
    prose: dict[str, str] = field(default_factory=dict)
    needs: dict[str, int] = field(default_factory=dict)
    answered: bool = False


def read(path: Path, form: Form, others: Sequence[Path] = ()) -> Submission:
    """What a file gives, however odd it is. Raises nothing for what is in the file.

    others : more notebooks of the same student, the newest first. One that belongs to this assignment and has answers
    in it is preferred to all that do not, and then the newer one; what the rest gives is kept as other readings.
    """
    found = [_read(one, form) for one in (path, *others[:OTHERS])]
    taken = next((one for one in found if one.answered), next((one for one in found if not one.refused), found[0]))
    if len(found) == 1:
        return taken
    rest = [one for one in found if one.answered and one.answers != taken.answers]
    readings = {f"the notebook {one_line(one.name)}": one.answers for one in rest} | taken.readings
    note = f"{len(others) + 1} notebooks: {one_line(taken.name)} was taken"
    return replace(taken, notes=[note, *taken.notes], readings=dict(list(readings.items())[:READINGS]))


def _read(path: Path, form: Form) -> Submission:
    try:
        return _read_file(path, form)
    except OSError as error:
        return Submission(refused=f"it cannot be read: {error.strerror}", name=path.name)


def _read_file(path: Path, form: Form) -> Submission:
    found: dict[str, Any] = {"name": path.name}
    if path.is_symlink() or not path.is_file():
        return Submission(refused="there is no notebook: neither links nor pipes nor folders are read", **found)
    if (size := path.stat().st_size) == 0:
        return Submission(refused="it is empty", **found)
    if size > LARGEST:
        return Submission(refused=f"it has {size / MB:.0f} MB, and {LARGEST // MB} are read", **found, size=size)
    data = path.read_bytes()
    found |= {"digest": hashlib.sha256(data).hexdigest(), "size": size}
    try:
        content = content_of(data)
        given = matched(cells_of(content), form)
        if path.suffix.lower() != ".ipynb":
            given.notes.insert(0, f"{one_line(path.name)} is a notebook by what is in it, and not by its name (.ipynb)")
        return _of_assignment(given, form, content, found)
    except Unreadable as error:
        return Submission(refused=str(error), **found)


class Unreadable(ValueError):
    """A file is no notebook of the assignment; the message says what it is instead, and begins with "it"."""


KINDS = {  # how a file begins, in small letters, and what that makes it
    b"pk\x03\x04": "a zip file or a document of an office program",
    b"%pdf": "a PDF",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"<?xml": "a web page",
    b"\x1f\x8b": "a compressed file",
    b"\x89png": "a picture",
    b"\xff\xd8\xff": "a picture",
}


def content_of(data: bytes) -> Any:
    """What stands in a file of JSON. Raises Unreadable if it is none."""
    begin = data[:64].lstrip().lower()
    if kind := next((kind for begins, kind in KINDS.items() if begin.startswith(begins)), ""):
        raise Unreadable(f"it is {kind}, and not a notebook (.ipynb)")
    if (brackets := data.count(b"[") + data.count(b"{")) > BRACKETS:
        raise Unreadable(f"it has {brackets:,} brackets, and {BRACKETS:,} are read")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8") from None
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except ValueError:
        raise Unreadable("it is not JSON, as a notebook is") from None


def is_notebook(path: Path) -> bool:
    """Whether a file is a notebook by what is in it: browsers and editors add endings to names, `hw1.ipynb.txt`."""
    try:
        content = content_of(path.read_bytes()) if path.stat().st_size <= LARGEST else {}
        cells_of(content)
    except (OSError, Unreadable):
        return False
    return "nbformat" in content


def _of_assignment(given: Matched, form: Form, content: Any, found: dict[str, Any]) -> Submission:
    """What a notebook gives. Raises Unreadable if it is another one, and says in one sentence if nothing was done."""
    there = [*given.answers, *given.prose]
    other = _assignment(content)
    if other and other != form.name and 2 * len(there) < len(form.answers):
        known = f", {other}" if re.fullmatch(r"[\w.-]{1,60}", other, re.ASCII) else ""
        raise Unreadable(f"it is a notebook of another assignment{known}; expected {form.name}")
    if not there:
        raise Unreadable(f"all answer cells of {form.name} are missing: it is another notebook, or they were deleted")
    texts = {**given.answers, **given.prose}
    done = [name for name in there if texts[name].strip() not in ("", form.answers[name].stub.strip())]
    answered = bool(done or given.readings)
    notes = given.notes
    if not answered:
        notes = ["nothing in it is answered: it is as it was released, or was not saved"]
        notes += [note for note in given.notes if "missing" not in note]
    return Submission(
        given.answers, given.readings, notes, prose=given.prose, needs=given.needs, answered=answered, **found
    )


def _assignment(content: Any) -> str:
    """The assignment that a notebook says it was released for; "" if it says none."""
    metadata = content.get("metadata")
    grading = metadata.get(KEY) if isinstance(metadata, dict) else None
    name = grading.get("assignment") if isinstance(grading, dict) else None
    return name if isinstance(name, str) else ""


@contextlib.contextmanager
def brought(files: Iterable[Path], patterns: Iterable[str]) -> Iterator[Path | None]:
    """A folder with copies of the files that a submission may bring along, and that are not too large.

    patterns : what their names may be, "submitted" in an assignment.toml. None if there are none.
    """
    if not patterns:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(files, key=age):  # of two with one name, the newer
            if belongs(path, patterns) and path.stat().st_size <= LARGEST:
                shutil.copyfile(path, Path(folder, _brought_as(path)), follow_symlinks=False)
        yield Path(folder)


def belongs(path: Path, patterns: Iterable[str]) -> bool:
    """Whether a file is one of those that a submission may bring along."""
    return any(Path(_brought_as(path)).match(pattern) for pattern in patterns)


def _brought_as(path: Path) -> str:
    """The name that a file had with the student. Canvas puts words before it, and a number after it the second time.

    >>> _brought_as(Path("doejane_LATE_12345_67890_sweep-1.json")), _brought_as(Path("sweep.json"))
    ('sweep.json', 'sweep.json')
    """
    canvas = CANVAS.fullmatch(path.name)
    return re.sub(r"-\d+(?=\.\w+$)", "", canvas["name"]) if canvas else path.name


def age(path: Path) -> tuple[int, float]:
    """What is larger for the newer of two files: the number that Canvas gave it, or else when it was written."""
    canvas = CANVAS.fullmatch(path.name)
    return (int(canvas["file"]) if canvas else 0, path.stat().st_mtime)


def cells_of(content: Any) -> list[Cell]:
    """The cells of a notebook in format 4, or in format 3, where they stood in worksheets. Raises Unreadable."""
    if not isinstance(content, dict):
        raise Unreadable("it has no cells: it is no notebook")
    cells = content.get("cells")
    if cells is None and isinstance(content.get("worksheets"), list):
        sheets = [sheet for sheet in content["worksheets"] if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets if isinstance(sheet.get("cells"), list) for cell in sheet["cells"]]
    if not isinstance(cells, list):
        raise Unreadable("it has no cells: it is no notebook")
    if len(cells) > MOST:
        raise Unreadable(f"it has {len(cells):,} cells, and {MOST:,} are read")
    return [_cell(cell, number) for number, cell in enumerate(cells, start=1) if isinstance(cell, dict)]


def _cell(cell: Mapping[str, Any], number: int) -> Cell:
    source = cell.get("source", cell.get("input"))
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    metadata = cell.get("metadata")
    grading = metadata.get(KEY) if isinstance(metadata, dict) else None
    name = grading.get("answer") if isinstance(grading, dict) else None
    role = next((role for role in ("frame", "visible") if isinstance(grading, dict) and role in grading), "")
    named = cell.get("id")
    return Cell(
        named if isinstance(named, str) else None, cell.get("cell_type"), name if isinstance(name, str) else None,
        source if isinstance(source, str) else "", number, role,
    )  # fmt: skip
