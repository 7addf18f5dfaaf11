"""What `roofline-kit check` calls ready, the grader takes as it is: no note, no other reading, no cell that fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attacks import HERE, HONEST, OF, WRONG, answered
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from roofline_kit.grading import assignment, grade, handed_in, selfcheck, submission

GRADED = assignment.read(HERE / "assignment")
STUBS = {name: answer.stub for name, answer in GRADED.answers.items()}
Draw = Callable[[st.SearchStrategy[Any]], Any]
TEXTS = {
    name: st.sampled_from([
        HONEST[name], WRONG[name], STUBS[name], "", f"{HONEST[name]}\n{name}_more = ratio", f"{HONEST[name]} (",
        f"# {HONEST[name]}", f"ratio = 3\n{HONEST[name]}", f"{HONEST[name]}\nх = 1", "raise ValueError", "x" * 20_001,
        f"%matplotlib inline\n{HONEST[name]}", f"{HONEST[name]}\nglobals()['a'] = 1",
    ])
    for name in OF
}  # fmt: skip
ADDED = st.sampled_from(
    [
        *HONEST.values(),
        *STUBS.values(),
        "ratio = 7",
        "scratch = N",
        "1/0",
        "N = 3",
        "def helper(:",
        "%time 1",
        "(" * 500,
    ]
)


def cell(source: str, number: int, **grading: str) -> dict[str, Any]:
    metadata = {"grading": grading} if grading else {}
    kept = {"cell_type": "code", "id": f"new-{number}", "metadata": metadata, "outputs": [], "execution_count": None}
    return {**kept, "source": source}


def other_text(content: Any, draw: Draw) -> None:
    name = draw(st.sampled_from(sorted(OF)))
    for one in content["cells"]:
        if one["metadata"].get("grading", {}).get("answer") == name:
            one["source"] = draw(TEXTS[name])


def add_a_cell(content: Any, draw: Draw) -> None:
    place = draw(st.integers(0, len(content["cells"])))
    content["cells"].insert(place, cell(draw(ADDED), draw(st.integers(0, 99))))


def copy_a_cell(content: Any, draw: Draw) -> None:
    one = draw(st.sampled_from(content["cells"]))
    place = draw(st.integers(0, len(content["cells"])))
    content["cells"].insert(place, {**one, "id": draw(st.sampled_from(["a", one["id"]]))})


def drop_a_cell(content: Any, draw: Draw) -> None:
    if len(content["cells"]) > 1:
        content["cells"].remove(draw(st.sampled_from(content["cells"])))


def change_a_cell(content: Any, draw: Draw) -> None:
    one = draw(st.sampled_from(content["cells"]))
    text = "".join(one["source"])
    key, values = draw(st.sampled_from([
        ("source", ["", text + "\n", text + "\nN = 3", text.splitlines(keepends=True)]),
        ("id", ["", "other", 7, None]), ("metadata", [{}, {"grading": {"answer": "kv"}}]), ("cell_type", ["markdown"]),
    ]))  # fmt: skip
    one[key] = draw(st.sampled_from(values))


def change_the_notebook(content: Any, draw: Draw) -> None:
    content["metadata"]["grading"]["assignment"] = draw(st.sampled_from(["other", GRADED.name]))
    content["nbformat_minor"] = draw(st.sampled_from([2, 5]))


@st.composite
def notebooks(draw: Draw) -> bytes:
    """What can become of a right submission on its way: texts, cells, ids, metadata, a BOM."""
    content = answered(HONEST)
    changes = [other_text, add_a_cell, copy_a_cell, drop_a_cell, change_a_cell, change_the_notebook]
    for change in draw(st.lists(st.sampled_from(changes), max_size=3)):
        change(content, draw)
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + json.dumps(content).encode()


def looked_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, dict[str, str], list[str]]:
    """Whether `check` calls a file ready without running it; and which answers and which cells between it would run."""
    ran: list[Any] = []
    with monkeypatch.context() as without:
        without.setattr(selfcheck, "_run", lambda steps, *_: ran.extend(steps) or [[] for _ in steps])
        try:
            _, good = selfcheck.looked_at(path)
        except assignment.AssignmentError:
            return False, {}, []
    answers = {step.name: step.source for step in ran if step.name}
    return good, answers, [step.source for step in ran if step.role == "frame"]


@given(notebooks())
@settings(max_examples=300)
def test_what_check_calls_ready_the_grader_reads_as_check_does(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "mine.ipynb"
    path.write_bytes(data)
    good, answers, frame = looked_at(path, pytest.MonkeyPatch())
    read = submission.read(path, GRADED)
    if good:
        assert (read.refused, read.notes, read.readings) == ("", [], {})
        assert answers == read.answers
        released = [cell.source for cell in GRADED.to_run() if cell.kind == "frame"]
        assert [source.strip() for source in frame] == [source.strip() for source in released]


def test_a_right_submission_is_called_ready_also_with_a_bom_and_cells_that_were_added(tmp_path: Path) -> None:
    content = answered(HONEST)
    content["cells"].insert(2, cell("scratch = 7", 1))
    for number, begin in enumerate((b"", b"\xef\xbb\xbf")):
        path = tmp_path / f"{number}.ipynb"
        path.write_bytes(begin + json.dumps(content).encode())
        assert looked_at(path, pytest.MonkeyPatch())[:2] == (True, HONEST)


@pytest.fixture(scope="module")
def session(walls: str) -> grade.Session:
    return grade.begun(GRADED).solved()


@given(notebooks())
@settings(max_examples=3)
def test_what_check_calls_ready_the_grader_grades_without_a_note(
    session: grade.Session, tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("ready") / "mine.ipynb"
    path.write_bytes(data)
    assume(looked_at(path, pytest.MonkeyPatch())[0])
    lines, good = selfcheck.looked_at(path)
    if good:
        result = grade.grade(handed_in.Entry("mine", path), session)
        assert (result["refused"], result["notes"], result["readings"], result["errors"]) == ("", [], {}, {}), lines


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"%PDF-1.7", "it is a PDF, and not a notebook"),
        (b"\xff\xfe{", "it is not UTF-8"),
        (b"{", "it is not JSON"),
        (b'{"cells": 7}', "it has no cells"),
        (b'{"cells": [], "metadata": {}}', "or is damaged"),
        (b'{"cells": [], "metadata": {"grading": {"assignment": "a", "answers": [{}]}}}', "or is damaged"),
    ],
)
def test_what_is_no_released_notebook_is_refused_with_what_it_is(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.ipynb").write_bytes(data)
    with pytest.raises(assignment.AssignmentError, match=message):
        selfcheck.looked_at(tmp_path / "mine.ipynb")


def test_a_notebook_whose_answers_are_all_gone_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = answered(HONEST)
    content["cells"] = content["cells"][:1]
    (tmp_path / "mine.ipynb").write_text(json.dumps(content))
    monkeypatch.setattr(selfcheck, "_run", lambda steps, *_: [[] for _ in steps])
    lines, good = selfcheck.looked_at(tmp_path / "mine.ipynb")
    assert not good
    assert lines[0].startswith("! all answer cells of assignment are missing")


def test_a_release_from_before_is_still_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = answered(HONEST)
    del content["metadata"]["grading"]["order"]
    (tmp_path / "mine.ipynb").write_text(json.dumps(content))
    assert looked_at(tmp_path / "mine.ipynb", monkeypatch)[:2] == (True, HONEST)
