"""Never 0 in silence, and never the wrong notebook: what is taken from files that people hand in."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
from attacks import HERE as ATTACKS
from attacks import all_attacks, cell_of
from hypothesis import given
from hypothesis import strategies as st
from test_assignments import ROOT

from roofline_kit.grading import assignment, cells, grade, grades, handed_in, matching, report, source, submission
from roofline_kit.grading.enclosed import enclosed


def without_prose(given: assignment.Assignment) -> assignment.Assignment:
    """An assignment whose answers are all code: text needs a person, whatever else is in a file."""
    kept = nbformat.from_dict(given.notebook)
    kept.cells = [cell for cell in kept.cells if cell.cell_type == "code" or "grading" not in cell.metadata]
    return assignment.Assignment(given.name, given.path, kept, given.settings)


HW1 = without_prose(assignment.read(ROOT / "assignments" / "hw1_walk_through"))
SMALL = assignment.read(ATTACKS / "assignment")
SOLVED = {name: answer.source for name, answer in HW1.answers.items()}
Notebook = dict[str, Any]


def code(text: str, **more: Any) -> Notebook:
    """A cell that was added."""
    cell = {"cell_type": "code", "id": "added", "metadata": {}, "source": text, "outputs": [], "execution_count": 1}
    return {**cell, **more}


@cache
def _release(name: str) -> str:
    return nbformat.writes(assignment.read(ROOT / "assignments" / name).release())


@cache
def _of_hw1() -> str:
    return nbformat.writes(HW1.release())


def of_hw1(**answers: str) -> Notebook:
    """A submission to homework 1; answers that are not given are right."""
    content: Notebook = json.loads(_of_hw1())
    for name, text in {**SOLVED, **answers}.items():
        cell_of(content, name)["source"] = text
    return content


def below_the_stubs() -> Notebook:
    """Each answer in a cell of its own below its stub; the formulas of the first in three cells."""
    content = json.loads(_of_hw1())
    for name, text in SOLVED.items():
        place = content["cells"].index(cell_of(content, name)) + 1
        parts = assignment.solution(text).splitlines() if name == "add" else [text]
        content["cells"][place:place] = [code(part, id=f"{name}-{i}") for i, part in enumerate(parts)]
    return content


def tried_twice() -> Notebook:
    """A first try and a second one below the stub."""
    content = of_hw1(users="even_context = ...")
    tries = [code("even_context = weights / per_token", id="first"), code(SOLVED["users"], id="second")]
    content["cells"] += tries
    return content


def with_a_helper() -> Notebook:
    """An answer that needs what an added cell defines, and it what another one defines."""
    content = of_hw1(users="even_context = ratio(weights, users * per_token)")
    content["cells"].insert(3, code("def ratio(a, b):\n    return a / b"))
    return content


MISSPELT = SOLVED["steps"].replace("scores_flops", "score_flops")
NEEDLESS = SOLVED["machine"].replace("return min(peak,", "return min(peek,")
HANDED_IN: dict[str, dict[str, Any]] = {  # by student, the notebooks, the oldest first
    "misspelt": {"a": of_hw1(steps=MISSPELT, machine=NEEDLESS)},
    "below": {"a": below_the_stubs()},
    "twice": {"a": tried_twice()},
    "helper": {"a": with_a_helper()},
    "torn": {"a": of_hw1(users="even_context = (")},
    "hw2": {"a": json.loads(_release("hw2_seven_billion"))},
    "unsaved": {"a": json.loads(_of_hw1())},
    "beside": {"hw1": of_hw1(), "hw2": json.loads(_release("hw2_seven_billion"))},
    "again": {"hw1": of_hw1(), "blank": json.loads(_of_hw1())},
    "older": {"older": of_hw1(), "newer": of_hw1(add="add_flops = add_bytes = add_intensity = N")},
}


TWICE = {"users: the first of the cells that could be it": 17, "users: the last of the cells that could be it": 18}


@pytest.fixture(scope="module")
def graded(walls: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    """All of them, graded in one run: the folder of results, and the results."""
    here = tmp_path_factory.mktemp("reading")
    for student, notebooks in HANDED_IN.items():
        (here / "in" / student).mkdir(parents=True)
        for age, (name, content) in enumerate(notebooks.items()):
            path = here / "in" / student / f"{name}.ipynb"
            path.write_text(json.dumps(content))
            os.utime(path, (age, age))
    (here / "in" / "text").mkdir()
    (here / "in" / "text" / "hw1.ipynb.txt").write_text(json.dumps(of_hw1()))
    (here / "in" / "essay").mkdir()
    (here / "in" / "essay" / "essay.pdf").write_bytes(b"%PDF-1.7")
    grade.grade_all(HW1, handed_in.entries(here / "in"), here / "out", 2, lambda result, new: None)
    report.write_all(HW1, here / "out")
    return here / "out", grade.stored(here / "out")


@pytest.mark.parametrize(
    ("student", "points", "readings", "told"),
    [
        ("misspelt", 17.25, {}, ""),
        ("below", 18, {}, "13 answers were taken from cells that are not their own: add (cells 11, 12, 13), saxpy"),
        ("twice", 17, TWICE, "users: its answer may be in cells 66, 67, and not in its own"),
        ("helper", 17, {"users: with the added cells": 18}, "users: it needs ratio of cell 4"),
        ("torn", 17, {}, ""),
        ("hw2", 0, {}, "it is a notebook of another assignment, hw2_seven_billion; expected hw1_walk_through"),
        ("unsaved", 0, {}, "nothing in it is answered: it is as it was released, or was not saved"),
        ("text", 18, {}, "hw1.ipynb.txt is a notebook by what is in it, and not by its name (.ipynb)"),
        ("essay", 0, {}, "there is no notebook, only essay.pdf"),
        ("beside", 18, {}, "2 notebooks: hw1.ipynb was taken"),
        ("again", 18, {}, "2 notebooks: hw1.ipynb was taken"),
        ("older", 17.3333, {"the notebook older.ipynb": 18}, "2 notebooks: newer.ipynb was taken"),
    ],
)  # fmt: skip
def test_what_people_hand_in_gets_its_points_or_is_listed_with_the_points_of_each_reading(
    student: str, points: float, readings: dict[str, float], told: str, graded: tuple[Path, Any]
) -> None:
    result = graded[1][student]
    assert (result["points"], result["readings"]) == (points, readings), result
    assert told in f"{result['refused']} {' '.join(result['notes'])}", result
    assert bool(grades.needs_human(result)) == bool(told), result["notes"]


def page(graded: tuple[Path, Any], student: str) -> str:
    """The words of a student's page."""
    text = (graded[0] / "feedback" / f"{student}.html").read_text("utf-8")
    return " ".join(re.sub("<[^>]*>", " ", text.partition("<body>")[2]).split())


def test_feedback_says_which_name_is_not_defined_and_which_was_meant(graded: tuple[Path, Any]) -> None:
    words = page(graded, "misspelt")
    assert "scores_flops is not defined; did you mean it by score_flops?" in words
    assert "peek is used and is not defined" in words
    assert "users cannot be read as Python" in page(graded, "torn")
    assert "ratio is used and is not defined for the grader, which does not run cell 4" in page(graded, "helper")


@pytest.mark.parametrize(
    ("student", "sentence"),
    [
        ("hw2", "Your file could not be graded: it is a notebook of another assignment, hw2_seven_billion"),
        ("unsaved", "About your file: nothing in it is answered: it is as it was released, or was not saved"),
        ("text", "About your file: hw1.ipynb.txt is a notebook by what is in it, and not by its name (.ipynb)"),
        ("essay", "Your file could not be graded: there is no notebook, only essay.pdf."),
    ],
)
def test_a_wrong_file_is_called_what_it_is_in_one_sentence(
    student: str, sentence: str, graded: tuple[Path, Any]
) -> None:
    words = page(graded, student)
    assert words.count(sentence) == 1
    assert "its cell is missing" not in words and "(there is no cell of this answer)" not in words
    assert "could not be read" not in words and "not answered" not in words and "Hint" not in words
    index = (graded[0] / "index.html").read_text("utf-8")
    assert sentence.partition(": ")[2].split(";")[0].rstrip(".") in index


def test_whatever_was_drawn_the_page_of_who_tries_to_tell_it_is_the_same(
    walls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feedback has reasons of a few kinds, and words that stood in the file or the assignment before anything ran."""
    attacks = [attack for attack in all_attacks() if attack.kind == "telling"]
    for attack in attacks:
        attack.make(tmp_path / "in" / attack.name)
    pages, errors = [], []
    for seed in ("one", "other"):
        monkeypatch.setattr("roofline_kit.grading.grade.secrets.token_hex", lambda size, seed=seed: seed)
        entries = handed_in.entries(tmp_path / "in")
        grade.grade_all(SMALL, entries, tmp_path / seed, 2, lambda result, new: None)
        report.write_all(SMALL, tmp_path / seed)
        pages.append({path.name: path.read_text("utf-8") for path in (tmp_path / seed / "feedback").iterdir()})
        errors.append({name: result["errors"] for name, result in grade.stored(tmp_path / seed).items()})
    assert len(pages[0]) == len(attacks)
    assert pages[0] == pages[1]
    chosen = "exception_of_python_by_the_bits"
    assert errors[0][chosen] != errors[1][chosen], "an instructor may know, and this shows that it was tried"
    assert set(errors[0]["exception_called_like_a_type"].values()) == {"an exception of its own kind"}


# --- texts, without running them --------------------------------------------------------------------------

DEEP = (
    "(" * 9000, "-" * 9000 + "1", "not " * 4000 + "1", "x" + "()" * 5000, "a" + "+a" * 5000, "[" * 9000, "a.b" * 5000,
    "lambda:" * 2000 + "1", "f'{" * 3000, "a=" * 5000 + "1", "\0", "\ud800", "x = '\\d'", "%%time\nx = 1", "!ls\nx = 1",
    "x?", "return 1", "await x", "nonlocal x", "global x; x = 1", "from os import *", "del x", "x: int", "*a, = b",
    "x = 0x" + "f" * 9000, "x = 0b" + "1" * 18_000, "x = y = " + "-" * 900 + "1",
)  # fmt: skip


@pytest.mark.filterwarnings("error")
@given(st.text(max_size=60) | st.sampled_from(DEEP))
def test_no_text_ends_or_warns_who_reads_it(text: str) -> None:
    for stub in ("x = ...", text):
        assert isinstance(source.bound(text), dict) and isinstance(source.used(text), set)
        assert isinstance(source.unbound(text, stub), list)
    assert isinstance(matching.told("users", {**SOLVED, "users": text}, {}, HW1), list)


@pytest.mark.parametrize(
    ("text", "binds", "needs"),
    [
        ("a, (b, *c) = f(x)", "a b c", "f x"),
        ("for i in range(n):\n    with y as z:\n        t += i", "i z t", "n y"),
        ("if (w := v):\n    import p.q, r as s\nelse:\n    from m import k", "w p s k", "v"),
        ("def f(a, *, b=d):\n    c = a + e\n    return [g for g in c]\nclass K(B):\n    m = n", "f K", "d e B n"),
        ("%matplotlib inline\na = [b for b in c]", "a", "c"),
        ("def f():\n    def g():\n        return h\n    return g", "f", "h"),
        ("a = (", "", ""),
        ("a = await f(b)\nasync for c in g():\n    d = c", "a c d", "b f g"),
        ("a = 0x" + "f" * 9000, "a", ""),
    ],
)
def test_names_of_a_text(text: str, binds: str, needs: str) -> None:
    assert (set(source.bound(text)), source.used(text)) == (set(binds.split()), set(needs.split()))


def test_thousands_of_names_cost_no_minutes_and_few_of_them_are_told() -> None:
    """What is done with a text before and after it runs is on no student's clock: it has to be little."""
    names = ["".join(name) for name in itertools.islice(itertools.permutations("abcdefg"), 2200)]
    answer = "\n".join(["even_context = 1", "=".join(names[:1100]) + "=1", *names[1100:]])
    added = "=".join(f"a{number:x}" for number in range(18_000)) + "=1"
    began = time.monotonic()
    assert len(matching.told("users", {**SOLVED, "users": answer}, {}, HW1)) == matching.FEW
    assert len(matching.told("users", {**SOLVED, "users": "a" * 9000 + "\n" + "a" * 8999 + "b = 1"}, {}, HW1)) == 2
    assert len(source.bound(added)) == 18_000
    assert time.monotonic() - began < 20, "and it was hours"


@pytest.mark.parametrize("alias", ["", " as put"])
@pytest.mark.parametrize("gone", ["", "f", "g", "work", "f g", "f g work"])
def test_each_value_of_a_check_is_worked_out_on_its_own(gone: str, alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn for a value, too, does not depend on whether those before it could be worked out."""
    check = (
        f"""
from roofline_kit.grading.cells import at{alias}, draw, report
pairs = [at(work, **draw(n=(1, 10**9))) for _ in range(2)]
report(
    a=[at(f, **draw(n=(1, 10**9))) for _ in range(3)], b=f(**draw(n=(1, 10**9))), c=at(g, **draw(n=(1, 10**9))),
    d=[pair[1] for pair in pairs], e=(x := draw(n=(1, 10**9))["n"]), **{{"z": draw(n=(1, 10**9))["n"]}},
)""".replace(" at(", " put(" if alias else " at(")
        .replace("[at(", "[put(" if alias else "[at(")
        .replace("=at(", "=put(" if alias else "=at(")
    )
    reports: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: reports.append(data[cells.MIME]))
    answers = {"f": lambda n: n + 0.5, "g": lambda n: 2 * n, "work": lambda n: (n, n + 1)}
    for left_out in ([], gone.split()):
        cells.begin("seed")
        exec(enclosed(check), {name: answer for name, answer in answers.items() if name not in left_out})
    needed = {"a": "f", "b": "f", "c": "g", "d": "work"}
    for name, value in reports[0].items():
        failed = needed.get(name) in gone.split()
        assert ("error" in json.dumps(reports[1][name])) if failed else reports[1][name] == value, name


@pytest.mark.parametrize(
    ("data", "refused"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04rest", "it is a zip file or a document of an office program, and not a notebook (.ipynb)"),
        (b"%PDF-1.7", "it is a PDF, and not a notebook (.ipynb)"),
        (b"\n<!DOCTYPE html>", "it is a web page, and not a notebook (.ipynb)"),
        (b"import math", "it is not JSON, as a notebook is"),
        (b"<<<<<<< HEAD\n{}", "it is not JSON, as a notebook is"),
        (b'{"cells": []}',
         "all answer cells of hw1_walk_through are missing: it is another notebook, or they were deleted"),
        (b'{"cells": [{"cell_type": "code", "source": "1"}], "metadata": {"grading": {"assignment": "<b>\\u001b[2J"}}}',
         "it is a notebook of another assignment; expected hw1_walk_through"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_submission_is_called_what_it_is(data: bytes, refused: str, tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_bytes(data)
    read = submission.read(tmp_path / "a.ipynb", HW1)
    assert (read.refused, read.answers, read.name) == (refused, {}, "a.ipynb")


def read(content: Notebook, folder: Path) -> submission.Submission:
    (folder / "a.ipynb").write_text(json.dumps(content))
    return submission.read(folder / "a.ipynb", HW1)


def test_what_needs_no_person_bothers_none(tmp_path: Path) -> None:
    """Scratch cells, also ones that bind names of answers or of Python, and ones that are long."""
    content = of_hw1()
    scratch = ["flops = 7", "add_flops = 3", "sum = max = 1", "steps = []", "1/0", "x = '" + "x" * 200_000 + "'"]
    for i, text in enumerate(scratch):
        content["cells"].append(code(text, id=f"s{i}"))
        found = read(content, tmp_path)
        assert (found.refused, found.notes, found.readings, found.answers) == ("", [], {}, SOLVED)


def test_a_notebook_that_lost_all_its_metadata_is_read_by_its_names(tmp_path: Path) -> None:
    content = of_hw1()
    content["metadata"] = {}
    for cell in content["cells"]:
        cell["metadata"] = {}
        del cell["id"]
    found = read(content, tmp_path)
    assert found.notes[0].startswith("13 of 13 answer cells are missing: add, saxpy,")
    assert found.notes[1].startswith("13 answers were taken from cells that are not their own: add (cell 10), ")
    assert len(found.notes) == 2
    assert not found.readings and found.answers.keys() == SOLVED.keys()
    assert all(SOLVED[name] in text for name, text in found.answers.items())


def test_all_answers_in_one_cell_are_found_there(tmp_path: Path) -> None:
    content = json.loads(_of_hw1())
    cell_of(content, "add")["source"] = "\n".join(
        assignment.solution(SOLVED[name]) for name in ("add", "saxpy", "users")
    )
    found = read(content, tmp_path)
    assert "even_context = weights" in found.answers["users"] and "saxpy_flops = 2" in found.answers["saxpy"]
    assert [note.partition(":")[0] for note in found.notes] == ["saxpy", "users"]


def test_a_cell_that_would_change_what_an_answer_already_says_is_not_taken_but_read_as_well(tmp_path: Path) -> None:
    own = "add_flops = N\nadd_bytes = 3 * N * itemsize\nadd_intensity = ..."
    content = of_hw1(add=own)
    content["cells"].append(code("add_flops = 7\nadd_intensity = N"))
    found = read(content, tmp_path)
    assert found.answers["add"] == own
    assert list(found.readings) == ["add: the cells that could be it"]
    content["cells"][-1] = code("add_intensity = N")
    found = read(content, tmp_path)
    assert (found.answers["add"], found.readings) == (f"{own}\nadd_intensity = N", {})
    assert found.notes == ["add: its answer was taken from cell 66, and not from its own"]


def test_of_many_names_that_an_answer_needs_a_person_is_told_a_few(tmp_path: Path) -> None:
    names = [f"own{number}" for number in range(100)]
    content = of_hw1(add="\n".join([*names, SOLVED["add"]]))
    content["cells"].append(code("=".join(names) + "=1", id="line"))
    (note,) = read(content, tmp_path).notes
    assert note.endswith(" and 92 more, which was added and is not run") and len(note) < 300


def test_cells_that_were_added_and_are_too_long_to_be_read_are_listed_where_they_could_matter(tmp_path: Path) -> None:
    content = of_hw1(users="even_context = ...")
    content["cells"].append(code(f"even_context = {'1 + ' * 30_000} 1"))
    assert read(content, tmp_path).notes == [
        "its added cells have more than 100,000 characters, and were not looked at"
    ]
