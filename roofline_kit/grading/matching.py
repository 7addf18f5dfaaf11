"""Which cell of a file is which answer? Where that is in doubt, all ways to read it are kept, and a person is told."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from .assignment import Form
from .source import bound, is_python, unbound, used

LONGEST = 20_000  # characters of an answer
ADDED = 100_000  # characters of all cells that were added; to look at one of them can take a second
READINGS = 6  # of a file are graded
FEW = 8  # cells are named by their numbers, and so many names of an answer are told to its student
NAME, NAMES = 40, 400  # letters of a name, and names, among which the one that was meant is looked for


@dataclass(eq=False)
class Cell:
    """A cell of a submission.

    id, name : which cell and which answer it says that it is, if that is text. role : likewise, "frame", "visible" or
    "". number : its place, from 1.
    """

    id: str | None
    kind: Any
    name: str | None
    source: str
    number: int
    role: str = ""


@dataclass
class Matched:
    """What the cells of a file give.

    answers, prose : the source of each answer that was found. readings : other ways to read the file, each with a name
    in words and its answers. notes : what a person should look at. needs : names that answers use and that only added
    cells define, each with the number of the cell.
    """

    answers: dict[str, str] = field(default_factory=dict)
    prose: dict[str, str] = field(default_factory=dict)
    readings: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    needs: dict[str, int] = field(default_factory=dict)


def matched(cells: Sequence[Cell], form: Form) -> Matched:
    """The answers in some cells."""
    found, others = Matched(), dict[str, dict[str, str]]()
    places = {name: _places(cells, form, name) for name in form.answers}
    for name in form.answers:
        if places[name]:
            others[name] = _take_own(found, places[name], form, name)
    gone = [name for name, own in places.items() if not own]
    if len(gone) > 2:
        found.notes.append(f"{len(gone)} of {len(places)} answer cells are missing: {', '.join(gone)}")
    else:
        found.notes += [f"{name}: its cell is missing" for name in gone]
    _look_outside(found, cells, places, form)
    for name, texts in others.items():
        found.readings |= {f"{name}: {way}": {**found.answers, name: text} for way, text in texts.items()}
    if len(found.readings) > READINGS:
        found.notes.append(f"it can be read in {len(found.readings)} more ways, of which {READINGS} are graded")
    found.readings = dict(list(found.readings.items())[:READINGS])
    found.notes = list(dict.fromkeys(found.notes))
    return found


# --- the cells that were released for it ------------------------------------------------------------------


def _places(cells: Iterable[Cell], form: Form, name: str) -> list[Cell]:
    """The cells of an answer, empty ones only if there is no other."""
    ids, own = {answer.cell: name for name, answer in form.answers.items()}, form.answers[name].cell
    # JupyterLab gives a copy a new id and the same metadata, so the id is the better witness.
    places = [cell for cell in cells if cell.id == own or (cell.name == name and ids.get(cell.id or "", name) == name)]
    return [cell for cell in places if cell.source.strip()] or places[:1]


def _take_own(found: Matched, places: list[Cell], form: Form, name: str) -> dict[str, str]:
    """Takes an answer from its cells, notes what is odd, and returns the other ways to read it."""
    prose = form.answers[name].prose
    first = next((cell for cell in places if cell.id == form.answers[name].cell), places[-1])
    if len(places) > 1:
        found.notes.append(f"{name}: there are {len(places)} cells of this answer")
    if not prose and first.kind != "code":
        found.notes.append(f"{name}: its cell is not a code cell any more; it was read as code")
    ways = _ways(places, first, form.answers[name].cell)
    texts = {way: _clean(name, text, found.notes) for way, text in ways.items()}
    taken = next(iter(texts.values()))
    (found.prose if prose else found.answers)[name] = taken
    return {} if prose else {way: text for way, text in texts.items() if text != taken}


def _ways(places: list[Cell], first: Cell, released: str) -> dict[str, str]:
    """Ways to read the cells of an answer, in words, each with its source; the one that is taken comes first."""
    own = f"the cell with the released id, number {first.number}" if first.id == released else "the last of its cells"
    texts = {own: first.source} | {f"cell {cell.number}": cell.source for cell in places if cell is not first}
    if len(places) == 1:
        return texts
    together = {"its cells taken together": "\n".join(cell.source for cell in places)}
    if places[-1].number - places[0].number == len(places) - 1:  # a cell that was split: its parts stand together
        return together | texts
    return texts | together


# --- cells that nobody released for it --------------------------------------------------------------------

Binders = Mapping[str, Sequence[Cell]]  # by name, the cells that bind it, in order


def _look_outside(found: Matched, cells: Sequence[Cell], places: Mapping[str, Sequence[Cell]], form: Form) -> None:
    """Looks for what answers leave open or need in other cells: added ones, and those of other answers.

    A name that one cell alone binds can be meant in one way only, and that cell is taken. Of several, the first and
    the last are graded, and a person decides. What answers need beside that is graded, and not taken: students are
    told that no added cell is run.
    """
    of = {cell.number: name for name, own in places.items() for cell in own}
    released = {source.strip() for source in (*form.frame.values(), *form.visible.values())}
    code = [cell for cell in cells if cell.kind == "code" and cell.source.strip()]
    added = [cell for cell in code if cell.number not in of and cell.source.strip() not in released]
    open_ = {
        name: names for name, answer in form.answers.items()
        if not answer.prose and (names := unbound(found.answers.get(name, ""), answer.stub))
    }  # fmt: skip
    if sum(len(cell.source) for cell in added) > ADDED:
        if open_ or any(missing(source, found.answers, form) for source in found.answers.values()):
            found.notes.append(f"its added cells have more than {ADDED:,} characters, and were not looked at")
        return
    if open_:
        inside = [cell for cell in code if cell.number in of and len(cell.source) <= LONGEST]
        asked = {number: bound(form.answers[name].stub).keys() for number, name in of.items()}
        _take(found, open_, _binders([*added, *inside], asked), form)
    if added:
        _lend(found, _binders(added, {}), form)


def _binders(cells: Iterable[Cell], asked: Mapping[int, Collection[str]]) -> dict[str, list[Cell]]:
    """By name, the cells that bind it though it is not what they were asked for; of cells with one text, the last."""
    found: dict[str, list[Cell]] = {}
    for cell in sorted({cell.source.strip(): cell for cell in cells}.values(), key=lambda cell: cell.number):
        for name in bound(cell.source).keys() - asked.get(cell.number, ()):
            found.setdefault(name, []).append(cell)
    return found


def _take(found: Matched, open_: Mapping[str, Sequence[str]], binders: Binders, form: Form) -> None:
    """Takes what answers leave open from the only cell that has it; where there are several, adds readings.

    So it does where that cell would change what is not open: an answer never has less than by itself.
    """
    taken: dict[str, str] = {}
    readings: dict[str, dict[str, str]] = {"the first": {}, "the last": {}}
    for name, names in open_.items():
        stub = form.answers[name].stub
        own = found.answers.get(name, stub)
        meant = ([cell for cell in binders.get(one, ()) if one not in unbound(cell.source, stub)] for one in names)
        if not (choices := [cells for cells in meant if cells]):
            continue
        numbers = sorted({cell.number for cells in choices for cell in cells})
        first, last = ([cells[i] for cells in choices] for i in (0, -1))
        changed = {one for cell in last for one in bound(cell.source)} & (bound(own).keys() - set(names))
        if first == last and not changed:
            found.answers[name] = _clean(name, _joined(own, first), found.notes)
            taken[name] = _numbers(numbers)
        else:
            readings["the first"][name] = _clean(name, _joined(own, first), found.notes)
            readings["the last"][name] = _clean(name, _joined(own, last), found.notes)
            found.notes.append(f"{name}: its answer may be in {_numbers(numbers)}, and not in its own")
    if len(taken) > 2:
        told = ", ".join(f"{name} ({where})" for name, where in taken.items())
        found.notes.append(f"{len(taken)} answers were taken from cells that are not their own: {told}")
    else:
        found.notes += [
            f"{name}: its answer was taken from {where}, and not from its own" for name, where in taken.items()
        ]
    _add_readings(found, readings)


def _add_readings(found: Matched, readings: Mapping[str, dict[str, str]]) -> None:
    """Adds the ways to read answers from other cells, which are one way if no answer has several cells."""
    same = readings["the first"] == readings["the last"]
    for way, texts in readings.items():
        which = "the cells" if same else f"{way} of the cells"
        if texts:
            found.readings[f"{', '.join(texts)}: {which} that could be it"] = {**found.answers, **texts}


def _numbers(numbers: Sequence[int]) -> str:
    """Cells by their numbers, in words.

    >>> _numbers([4]), _numbers(range(1, 99))
    ('cell 4', 'cells 1, 2, 3, 4, 5, 6, 7, 8 and 90 more')
    """
    if len(numbers) == 1:
        return f"cell {numbers[0]}"
    more = f" and {len(numbers) - FEW} more" if len(numbers) > FEW else ""
    return f"cells {', '.join(map(str, numbers[:FEW]))}{more}"


def _joined(own: str, cells: Iterable[Cell]) -> str:
    """A text with those of some cells, each once, in their order, after it."""
    others = {cell.number: cell.source for cell in cells}
    return "\n".join([own, *(others[number] for number in sorted(others))])


def _lend(found: Matched, binders: Binders, form: Form) -> None:
    """Adds a reading in which answers have before them the added cells that define what they need."""
    lent: dict[str, str] = {}
    for name, source in found.answers.items():
        names = [one for one in missing(source, found.answers, form) if one in binders]
        if names:
            found.needs |= {one: binders[one][-1].number for one in names}
            lent[name] = _clean(name, _joined("", [binders[one][-1] for one in names]) + "\n" + source, found.notes)
            told = " and ".join(f"{one} of cell {binders[one][-1].number}" for one in names[:FEW])
            told += f" and {len(names) - FEW} more" if len(names) > FEW else ""
            found.notes.append(f"{name}: it needs {told}, which was added and is not run")
    if lent:
        found.readings[f"{', '.join(lent)}: with the added cells"] = {**found.answers, **lent}


def missing(source: str, answers: Mapping[str, str], form: Form) -> list[str]:
    """The names that an answer uses and that nothing defines which the grader runs."""
    needed = used(source)
    there = [*form.frame.values(), *(answers.get(name, answer.stub) for name, answer in form.answers.items())]
    for text in there if needed else ():
        names = bound(text).keys()
        needed = set() if "*" in names else needed - names
    return sorted(needed)


def told(name: str, answers: Mapping[str, str], needs: Mapping[str, int], form: Form) -> list[str]:
    """What the text of an answer says, without being run, of why it is not right. Sentences for the student.

    Whatever stands in them stood in the file: an answer can carry nothing into them that it learned while it ran.
    """
    source, stub = answers.get(name, ""), form.answers[name].stub
    if source.strip() in ("", stub.strip()):
        return []
    if not is_python(source):
        return [f"{name} cannot be read as Python"]
    own, sentences = bound(source).keys(), list[str]()
    for one in unbound(source, stub):
        if one in own:
            sentences.append(f"{one} is still open")
        else:
            sentences.append(f"{one} is not defined{_meant(one, own - bound(stub).keys(), '; did you mean it by {}?')}")
    framed = {other for text in form.frame.values() for other in bound(text)}
    for one in missing(source, answers, form)[:FEW]:
        where = f" for the grader, which does not run cell {needs[one]}" if one in needs else ""
        sentences.append(f"{one} is used and is not defined{where or _meant(one, framed | own, '; did you mean {}?')}")
    return sentences


def _meant(name: str, names: Iterable[str], how: str) -> str:
    """A question for the name that is spelled almost as another one is, if there is one.

    To compare a thousand names of strangers with as many would take minutes, and no clock of theirs runs.
    """
    near = get_close_matches(name, sorted(names)[:NAMES], n=1, cutoff=0.75) if len(name) <= NAME else []
    return how.format(near[0]) if near else ""


# --- a text that can be sent to a kernel ------------------------------------------------------------------


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
