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
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .assignment import KEY, Assignment
from .platforms import CANVAS

MB = 10**6
LARGEST, LONGEST, MOST = 10 * MB, 20_000, 5_000  # bytes of a file, characters of an answer, cells
BRACKETS = 500_000  # of a file; three bytes of JSON can be a hundred of memory


@dataclass(frozen=True)
class Submission:
    """What a student handed in.

    answers : the source of each answer that was found. readings : other ways to read the file, each with a name in
    words and its answers. notes : what a person should look at. refused : why the file could not be read at all.
    """

    answers: dict[str, str] = field(default_factory=dict)
    readings: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refused: str = ""
    digest: str = ""
    size: int = 0
    prose: dict[str, str] = field(default_factory=dict)


def read(path: Path, assignment: Assignment) -> Submission:
    """What a file gives, however odd it is. Raises nothing for what is in the file."""
    if path.is_symlink() or not path.is_file():
        return Submission(refused="there is no notebook: neither links nor pipes nor folders are read")
    if (size := path.stat().st_size) == 0:
        return Submission(refused="it is empty")
    if size > LARGEST:
        return Submission(refused=f"it has {size / MB:.0f} MB, and {LARGEST // MB} are read", size=size)
    data = path.read_bytes()
    found = {"digest": hashlib.sha256(data).hexdigest(), "size": size}
    if (brackets := data.count(b"[") + data.count(b"{")) > BRACKETS:
        refused = f"it has {brackets:,} brackets, and {BRACKETS:,} are read"
        return Submission(refused=refused, **found)  # type: ignore[arg-type]
    try:
        cells = _cells(json.loads(data.decode("utf-8-sig")))
    except UnicodeDecodeError:
        return Submission(refused="it is not UTF-8", **found)  # type: ignore[arg-type]
    except RecursionError:
        return Submission(refused="it is nested too deeply", **found)  # type: ignore[arg-type]
    except ValueError as error:
        return Submission(refused=str(error) if "cell" in str(error) else "it is not JSON", **found)  # type: ignore[arg-type]
    return _matched(cells, assignment, found)


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


@dataclass
class _Cell:
    id: str | None
    kind: Any
    name: str | None
    source: str


def _cells(content: Any) -> list[_Cell]:
    """The cells of a notebook in format 4, or in format 3, where they stood in worksheets."""
    if not isinstance(content, dict):
        raise ValueError("it has no cells: it is no notebook")
    cells = content.get("cells")
    if cells is None and isinstance(content.get("worksheets"), list):
        sheets = [sheet for sheet in content["worksheets"] if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets if isinstance(sheet.get("cells"), list) for cell in sheet["cells"]]
    if not isinstance(cells, list):
        raise ValueError("it has no cells: it is no notebook")
    if len(cells) > MOST:
        raise ValueError(f"it has {len(cells):,} cells, and {MOST:,} are read")
    read = []
    for cell in cells:
        if not isinstance(cell, dict):
            continue
        source = cell.get("source", cell.get("input"))
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        metadata = cell.get("metadata")
        grading = metadata.get(KEY) if isinstance(metadata, dict) else None
        name = grading.get("answer") if isinstance(grading, dict) else None
        named = cell.get("id")
        kept = _Cell(
            named if isinstance(named, str) else None, cell.get("cell_type"), name if isinstance(name, str) else None,
            source if isinstance(source, str) else "",
        )  # fmt: skip
        read.append(kept)
    return read


def _matched(cells: list[_Cell], assignment: Assignment, found: dict[str, Any]) -> Submission:
    answers: dict[str, str] = {}
    prose: dict[str, str] = {}
    choices: dict[str, dict[str, str]] = {}  # by answer, by what makes this reading different
    notes = []
    ids = {answer.cell: name for name, answer in assignment.answers.items()}
    for name, answer in assignment.answers.items():
        # JupyterLab gives a copy a new id and the same metadata, so the id is the better witness.
        by_id = [i for i, cell in enumerate(cells) if cell.id == answer.cell]
        by_name = [i for i, cell in enumerate(cells) if cell.name == name and ids.get(cell.id or "", name) == name]
        places = sorted({*by_id, *by_name})
        places = [i for i in places if cells[i].source.strip()] or places[:1]
        if not places:
            notes.append(f"{name}: its cell is missing")
            continue
        first = next((i for i in by_id if i in places), places[-1])
        ways = {
            f"the cell with the released id, number {first + 1}" if first in by_id else "the last of its cells": first
        }
        ways |= {f"cell {i + 1}": i for i in places if i != first}
        texts = {way: cells[i].source for way, i in ways.items()}
        if len(places) > 1:
            notes.append(f"{name}: there are {len(places)} cells of this answer")
            joined = "\n".join(cells[i].source for i in places)
            if places == list(range(places[0], places[-1] + 1)):  # a cell that was split: its parts stand together
                texts = {"its cells taken together": joined, **texts}
            else:
                texts["its cells taken together"] = joined
        if not answer.prose and cells[first].kind != "code":
            notes.append(f"{name}: its cell is not a code cell any more; it was read as code")
        texts = {way: _clean(name, text, notes) for way, text in texts.items()}
        (prose if answer.prose else answers)[name] = next(iter(texts.values()))
        choices[name] = {way: text for way, text in texts.items() if text != next(iter(texts.values()))}
    readings = {
        f"{name}: {way}": {**answers, name: text}
        for name, ways in choices.items() if not assignment.answers[name].prose for way, text in ways.items()
    }  # fmt: skip
    readings = dict(list(readings.items())[:6])
    return Submission(answers, readings, list(dict.fromkeys(notes)), prose=prose, **found)


def _clean(name: str, text: str, notes: list[str]) -> str:
    """A source that can be sent to a kernel; what a reader could not see in it is noted."""
    if len(text) > LONGEST:
        notes.append(f"{name}: its {len(text):,} characters are too many ({LONGEST:,} are read)")
        return f"raise ValueError('an answer of more than {LONGEST} characters')"
    if any(
        unicodedata.bidirectional(letter) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        for letter in text
    ):
        notes.append(f"{name}: it has characters that change the direction of writing")
    code = re.sub(r"#.*|'[^'\n]*'|\"[^\"\n]*\"", "", text)
    if any(
        unicodedata.normalize("NFKC", letter) != letter or _looks_latin(letter) for letter in code if letter > "\x7f"
    ):
        notes.append(f"{name}: it has letters that look like others")
    return text.encode("utf-8", "replace").decode()


def _looks_latin(letter: str) -> bool:
    return letter.isalpha() and unicodedata.name(letter, "").startswith(("CYRILLIC", "GREEK CAPITAL", "ARMENIAN"))
