"""The parts of the grader, one by one."""

from __future__ import annotations

import errno
import json
import math
import os
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import sympy
from attacks import FULL, HERE, HONEST, answered, cell_of, released
from chance import graders_draw_by_the_seed  # noqa: F401  a fixture for all tests here
from hypothesis import given
from hypothesis import strategies as st

from roofline_kit.files import write
from roofline_kit.grading import (
    assignment,
    cells,
    grade,
    handed_in,
    judge,
    people,
    report,
    runner,
    sandbox,
    submission,
)
from roofline_kit.grading.assignment import AssignmentError

GRADED = assignment.read(HERE / "assignment")
# Its cells have the time of a class's; what attacks get would not do for a figure on a busy machine.
PATIENT = replace(GRADED, settings={**GRADED.settings, "limits": {}})
FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=1e-300) | st.integers(1, 10**400)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


# --- the judge --------------------------------------------------------------------------------------------


@given(FINITE)
def test_a_number_equals_itself_and_not_its_double(number: float) -> None:
    assert judge.agree(number, number, 1e-6)
    assert not judge.agree(2 * number, number, 1e-6)


@given(st.floats(1e-200, 1e200), st.floats(1e-9, 1e-2))
def test_the_tolerance_is_relative(number: float, tolerance: float) -> None:
    assert judge.agree(number * (1 + 0.9 * tolerance), number, tolerance)
    assert not judge.agree(number * (1 + 2.1 * tolerance), number, tolerance)


@given(JSON)
def test_no_value_of_json_ends_the_judge_or_gets_points_by_chance(received: Any) -> None:
    expected = {"a": 8191.5, "b": [1.5, 10**400], "word": "memory"}
    assert judge.share(received, expected, 1e-6) == 0
    assert judge.share({"a": received, "b": received, "word": "memory"}, expected, 1e-6) == 0


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, True, None, "4096", [4096], {"type": "x"}, 10**400])
def test_what_is_no_finite_number_equals_none(odd: Any) -> None:
    assert not judge.agree(odd, 4096.0, 1e-6)
    assert not judge.agree(odd, 1, 1e-6)


def test_a_word_counts_only_beside_right_numbers() -> None:
    expected = {"seconds": 0.12345, "bound": "memory"}
    assert judge.share({"seconds": 0.12345, "bound": " Memory "}, expected, 1e-6) == 1
    assert judge.share({"seconds": 1, "bound": "memory"}, expected, 1e-6) == 0
    assert judge.share({"seconds": 0.12345, "bound": "compute"}, expected, 1e-6) == 0.5


# --- what check cells call --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.float32(0.5), 0.5), (np.int64(7), 7), (np.array([1.5, 2]), [1.5, 2.0]), (sympy.Rational(1, 4), 0.25),
        (sympy.Integer(10) ** 30, 10**30), ((1, 2), [1, 2]), (True, True), (math.nan, {"type": "nan"}),
        (None, {"type": "NoneType"}), (1 + 2j, {"type": "complex"}), (sympy.Symbol("N"), {"type": "Symbol"}),
    ],
)  # fmt: skip
def test_values_are_told_as_json_has_them(value: Any, told: Any) -> None:
    sent = cells.as_json(value)
    assert sent == told and type(sent) is type(told)
    json.dumps(sent, allow_nan=False)


@given(st.integers(1, 10**9), st.integers(0, 10**9), st.text())
def test_draws_stay_in_their_range_and_are_the_same_for_a_seed(low: int, more: int, seed: str) -> None:
    drawn = []
    for _ in range(2):
        cells.begin(seed)
        drawn.append(cells.draw(whole=(low, low + more), real=(float(low), low + more), one=["a", "b"]))
    assert drawn[0] == drawn[1]
    assert low <= drawn[0]["whole"] <= low + more and isinstance(drawn[0]["whole"], int)
    assert isinstance(drawn[0]["real"], float) and drawn[0]["one"] in ("a", "b")


# --- what is taken from a file ----------------------------------------------------------------------------


@given(JSON | st.fixed_dictionaries({"cells": JSON | st.lists(JSON)}))
def test_reading_never_raises_whatever_is_in_a_file(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "odd.ipynb"
    path.write_text(json.dumps(content))
    read = submission.read(path, GRADED)
    assert read.refused or read.notes
    assert not read.answers


@given(st.data())
def test_reading_never_raises_whatever_becomes_of_a_cell(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    content = released()
    for cell in content["cells"]:
        for key in data.draw(st.lists(st.sampled_from(["id", "metadata", "source", "cell_type"]), max_size=2)):
            cell[key] = data.draw(JSON)
    path = tmp_path_factory.getbasetemp() / "odd.ipynb"
    path.write_text(json.dumps(content))
    read = submission.read(path, GRADED)
    assert all(isinstance(source, str) for source in read.answers.values())
    json.dumps([read.answers, read.readings, read.notes]).encode()


@given(st.binary(max_size=200))
def test_reading_never_raises_whatever_bytes_there_are(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "odd.ipynb"
    path.write_bytes(data)
    assert submission.read(path, GRADED).refused


# --- the instructor's notebook ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grading", "source", "message"),
    [
        ({"check": "a", "answer": "b"}, "1", "exactly one of answer, check, given, visible"),
        ({"chek": "a"}, "1", "exactly one of"),
        ({"check": "a", "point": 2}, "1", "point"),
        ({"check": "a", "points": 0}, "1", "above 0"),
        ({"check": "a", "points": True}, "1", "above 0"),
        ({"answer": "not a name"}, "1", "identifier"),
        ({"answer": "flops"}, "1", "another answer cell of the name 'flops'"),
        ({"answer": "x", "points": 2}, "1", "points stand in the check"),
        ({"answer": "x"}, "1 +", "invalid syntax"),
        ({"answer": "x"}, "### BEGIN SOLUTION\n1", "without ### END SOLUTION"),
        ({"check": "x", "points": 1}, "1", "answer"),
    ],
)
def test_a_mistake_in_an_assignment_is_named_with_its_place(
    grading: dict[str, Any], source: str, message: str, tmp_path: Path
) -> None:
    notebook = nbformat.read(HERE / "assignment" / "assignment.ipynb", as_version=4)
    cell = nbformat.v4.new_code_cell(source, metadata={"grading": grading})
    cell.id = "mistaken"
    notebook.cells.append(cell)
    folder = tmp_path / "hw"
    folder.mkdir()
    nbformat.write(notebook, folder / "hw.ipynb")
    (folder / "assignment.toml").write_text('title = "x"')
    with pytest.raises(AssignmentError, match=message) as raised:
        assert assignment.read(folder).answers
    assert "hw.ipynb" in str(raised.value)


# --- which files are submissions --------------------------------------------------------------------------


def made(folder: Path, *names: str) -> list[handed_in.Entry]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return handed_in.entries(folder)


def test_a_folder_for_each_student(tmp_path: Path) -> None:
    found = made(
        tmp_path, "ada/a.ipynb", "ada/run.json", "bob/deep/er/b.ipynb", "ada/.hidden.ipynb", "__MACOSX/c.ipynb"
    )
    assert [(entry.student, entry.path.name, len(entry.files)) for entry in found] == [
        ("ada", "a.ipynb", 1),
        ("bob", "b.ipynb", 0),
    ]


def test_the_names_of_canvas(tmp_path: Path) -> None:
    names = [
        "doejane_12_100_hw1.ipynb",
        "doejane_12_103_hw1-1.ipynb",
        "roe_LATE_13_90_hw1.ipynb",
        "roe_LATE_13_91_run.json",
    ]
    jane, roe = made(tmp_path, *names)
    assert (jane.student, jane.path.name) == ("doejane_12", "doejane_12_103_hw1-1.ipynb")
    assert [path.name for path in jane.others] == ["doejane_12_100_hw1.ipynb"]
    assert (roe.student, len(roe.files)) == ("roe_13", 1)


def test_flat_files_and_no_links(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    os.symlink(HERE / "assignment", tmp_path / "in" / "link")
    os.symlink(HERE / "assignment" / "assignment.ipynb", tmp_path / "in" / "link.ipynb")
    assert [entry.student for entry in made(tmp_path / "in", "ada.ipynb", "bob.ipynb")] == ["ada", "bob"]


def test_a_student_without_a_notebook_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "cyd").mkdir()
    found = made(tmp_path, "ada/a.ipynb", "bob/essay.pdf")
    assert {entry.student: entry.refused for entry in found} == {
        "ada": "", "bob": "there is no notebook, only essay.pdf", "cyd": "there is no notebook",
    }  # fmt: skip


def test_capitals_and_a_wrong_kind_of_file_lose_nobody(tmp_path: Path) -> None:
    found = made(tmp_path, "ADA.IPYNB", "bob/B.IPYNB", "cydroe_14_95_hw1.html", "notes.txt")
    assert {entry.student: (entry.path.name, entry.refused) for entry in found} == {
        "ADA": ("ADA.IPYNB", ""), "bob": ("B.IPYNB", ""),
        "cydroe_14": ("cydroe_14_95_hw1.html", "there is no notebook, only cydroe_14_95_hw1.html"),
    }  # fmt: skip


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "ada.ipynb").touch()
    assert submission.read(tmp_path / "ada.ipynb", GRADED).refused == "it is empty"


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), max_size=100), unique=True))
def test_names_of_files_are_safe_and_different(students: list[str]) -> None:
    names = [handed_in.name_of(student) for student in students]
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(students)
    assert all(name and not name.startswith(".") and "/" not in name and len(name.encode()) < 200 for name in names)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.json", "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*a\.json"):
        write(tmp_path / "a.json", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "old")]


def test_the_key_changes_with_what_a_grade_depends_on(tmp_path: Path) -> None:
    (entry,) = made(tmp_path, "ada/a.ipynb", "ada/run.json")
    about_runs = replace(GRADED, settings={**GRADED.settings, "submitted": ["*.json"]})
    keys = [grade.key(entry, GRADED), grade.key(entry, about_runs)]
    assert grade.key(entry, assignment.read(HERE / "assignment")) == keys[0]
    entry.files[0].write_text("[]")
    keys.append(grade.key(entry, about_runs))
    assert grade.key(entry, GRADED) == keys[0], "a file that belongs to no submission has no effect"
    entry.path.write_text("[]")
    keys.append(grade.key(entry, GRADED))
    other = assignment.read(HERE / "assignment")
    other.notebook.cells[2].metadata["grading"]["points"] = 4
    keys.append(grade.key(entry, other))
    assert len(set(keys)) == len(keys)


# --- a run of the grader ----------------------------------------------------------------------------------


def split() -> Any:
    content = answered(HONEST)
    first = cell_of(content, "seconds")
    first["source"] = "seconds = flops / 125e12"
    content["cells"].insert(content["cells"].index(first) + 1, {**first, "id": "b", "source": "bound = 'compute'"})
    return content


def other_kernel() -> Any:
    content = answered(HONEST)
    content["metadata"]["kernelspec"] = {"name": "my-env", "display_name": "mine", "language": "python"}
    content["cells"].insert(1, {"cell_type": "code", "id": "x", "metadata": {}, "source": "1/0", "outputs": []})
    return content


HONEST_VARIANTS: dict[str, Any] = {
    "prints": answered({
        **HONEST, "flops": "print('so')\nimport warnings\nwarnings.warn('x')\n" + HONEST["flops"] + "\nflops",
    }),
    "figure": answered({
        **HONEST, "flops": "import matplotlib.pyplot as plt\nplt.figure(figsize=(3, 9)).show()\n" + HONEST["flops"],
    }),
    "numpy": answered({**HONEST, "parameters": "import numpy as np\nparameters = np.float64(6738415616)",
                       "kv": "import numpy as np\ndef kv(tokens, heads):\n    return np.int64(512) * tokens * heads"}),
    "noise": answered({**HONEST, "seconds": "seconds = flops / 125e12 * (1 + 1e-12)\nbound = ' Compute'"}),
    "function": answered({**HONEST, "flops": "def flops(N, h):\n    return 2 * N * h**2 + 7 * N"}),
    "await": answered({**HONEST, "flops": f"import asyncio\nawait asyncio.sleep(0.3)\n{HONEST['flops']}"}),
    "kernel": other_kernel(),
    "split": split(),
}  # fmt: skip


def test_honest_variants_get_full_marks_and_a_second_run_grades_only_what_changed(walls: str, tmp_path: Path) -> None:
    for name, content in HONEST_VARIANTS.items():
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "a.ipynb").write_text(json.dumps(content))

    def graded() -> dict[str, tuple[float, bool]]:
        told: dict[str, tuple[float, bool]] = {}
        grade.grade_all(PATIENT, handed_in.entries(tmp_path / "in"), tmp_path / "out", 2,
                        lambda result, new: told.update({result["student"]: (result["points"], new)}))  # fmt: skip
        return told

    assert graded() == dict.fromkeys(HONEST_VARIANTS, (FULL, True))
    assert graded() == dict.fromkeys(HONEST_VARIANTS, (FULL, False))
    (tmp_path / "in" / "noise" / "a.ipynb").write_text(json.dumps(answered({**HONEST, "parameters": "parameters = 1"})))
    (tmp_path / "out" / "results" / "kernel.json").write_text("{ torn")
    assert graded() == {**dict.fromkeys(HONEST_VARIANTS, (FULL, False)), "noise": (8, True), "kernel": (FULL, True)}


FULL_DISK = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("trouble", [FULL_DISK, sandbox.Stopped("died"), sandbox.Stopped("time")], ids=repr)
def test_what_this_machine_could_not_start_is_no_students_fault_and_the_next_run_tries_it_again(
    trouble: Exception, walls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ada.ipynb").write_text(json.dumps(answered(HONEST)))
    (entry,) = handed_in.entries(tmp_path / "in")
    people.keep(tmp_path / "out", [entry], keys={"ada": grade.key(entry, PATIENT)})
    session = grade.begun(PATIENT)
    monkeypatch.setattr(grade, "_session", session, raising=False)

    def kernel(*_: Any) -> None:
        raise trouble

    with monkeypatch.context() as full:
        full.setattr(runner, "Kernel", kernel)
        with pytest.raises((OSError, RuntimeError), match=r"No space left|no kernel starts"):
            session.solved()
        assert grade._grade(entry, 0, False, {}) is None, "there is another attempt"
        lost = grade._grade(entry, 0, True, {})
    assert lost is not None and {check["reason"] for check in lost["checks"]} == {"lost"}
    write(tmp_path / "out" / "results" / "ada.json", json.dumps(lost))
    (row,) = report.write_all(PATIENT, tmp_path / "out").rows
    assert "the grader failed" in row.humans[0]
    page = (tmp_path / "out" / "feedback" / "ada.html").read_text("utf-8")
    assert "could not be graded" in page and "ended Python" not in page and "there is no cell" not in page
    told = []
    grade.grade_all(PATIENT, [entry], tmp_path / "out", 1, lambda result, new: told.append((result["points"], new)))
    assert told == [(FULL, True)]


def test_files_are_not_called_bad_where_the_instructors_own_answers_took_too_long(
    walls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (entry,) = made(tmp_path, "ada/hw.ipynb", "ada/nap.json")
    entry.path.write_text(json.dumps(answered(HONEST)))
    entry.files[0].write_text("9")
    notebook = nbformat.from_dict(GRADED.notebook)
    cell = next(cell for cell in notebook.cells if cell.metadata.get("grading", {}).get("answer") == "flops")
    cell.source = f"import time, json\ntime.sleep(json.load(open('nap.json')))\n{cell.source}"
    told = {"submitted": ["nap.json"], "limits": {"cell": 2}}
    monkeypatch.setattr(
        grade, "_session", grade.begun(replace(GRADED, settings=told, notebook=notebook)), raising=False
    )
    assert grade._grade(entry, 0, False, {}) is None, "there is another attempt, alone"
    lost = grade._grade(entry, 0, True, {})
    assert lost is not None and {check["reason"] for check in lost["checks"]} == {"lost"}
    assert "own answers take too long, at 'flops'" in lost["notes"][-1]
