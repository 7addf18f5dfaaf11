"""The assignments as instructors use them: released, solved, half solved, not solved, with the expected scores."""

from __future__ import annotations

import ast
import json
import textwrap
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from chance import graders_draw_by_the_seed  # noqa: F401  a fixture for all tests here

from roofline_kit.grading import assignment, grade, handed_in, release, report

ROOT = Path(__file__).parent.parent
FOLDERS = sorted(path.parent for path in (ROOT / "assignments").glob("*/assignment.toml"))
OF_ALL = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def submissions(folder: Path) -> list[dict[str, Any]]:
    """What tests/submissions says of an assignment: names, answers and the points that they must get."""
    name = folder.name.split("_")[0]
    return tomllib.loads((ROOT / "tests" / "submissions" / f"{name}.toml").read_text("utf-8"))["submission"]


def written(given: assignment.Assignment, case: dict[str, Any], folder: Path) -> None:
    """A submission as a student's folder: the release with answers filled in, and the files that belong to it."""
    folder.mkdir(parents=True)
    notebook = given.release()
    for cell in notebook.cells:
        name = cell.metadata.get(assignment.KEY, {}).get("answer")
        if name:
            own = given.answers[name].source if case["base"] == "full" else cell.source
            cell.source = case.get("answers", {}).get(name, own)
    nbformat.write(notebook, folder / given.path.name)
    files = {path.name: path.read_text("utf-8") for path in given.path.parent.glob("*.json")}
    for name, text in case.get("files", files if given.settings.get("submitted") else {}).items():
        (folder / name).write_text(text, "utf-8")


@OF_ALL
def test_every_submission_gets_its_points(folder: Path, tmp_path: Path, walls: str) -> None:
    given, cases = assignment.read(folder), submissions(folder)
    shorter = {**given.settings["limits"], "cell": 5}  # for the one that loops
    given = replace(given, settings={**given.settings, "limits": shorter})
    for i, case in enumerate(cases):
        written(given, case, tmp_path / "in" / f"{i:02}")
    entries = handed_in.entries(tmp_path / "in")
    grade.grade_all(given, entries, tmp_path / "out", 2, lambda result, new: None)
    found = grade.stored(tmp_path / "out")
    points = {case["name"]: found[f"{i:02}"]["points"] for i, case in enumerate(cases)}
    assert points == {case["name"]: pytest.approx(case["points"], abs=1e-3) for case in cases}
    summary = report.write_all(given, tmp_path / "out")
    assert len(summary.rows) == len(cases)


def test_the_three_assignments_are_tried_with_at_least_twenty_five_submissions() -> None:
    assert len(FOLDERS) == 3
    assert sum(len(submissions(folder)) for folder in FOLDERS) >= 25


@OF_ALL
def test_points_are_many_spread_out_and_mostly_for_what_is_right_in_general(folder: Path, walls: str) -> None:
    given = assignment.read(folder)
    assert 12 <= given.points <= 20
    assert len(given.checks) >= 8
    reports = [grade.begun(given).solved().expected or {} for _ in range(2)]
    changing = [check.points for name, check in given.checks.items() if reports[0][name] != reports[1][name]]
    assert sum(changing) >= given.points / 2


@OF_ALL
def test_a_release_has_no_answer_and_no_expected_value(folder: Path, tmp_path: Path, walls: str) -> None:
    given = assignment.read(folder)
    path = release.release(given, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    released = nbformat.read(path, as_version=4)
    nbformat.validate(released)
    text = json.dumps(released, ensure_ascii=False)
    for word in ("SOLUTION", "report(", "draw(", '"check"', '"given"', "tolerance", '"hint"'):
        assert word not in text
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in released.cells)
    assert {cell.id for cell in released.cells} <= {cell.id for cell in given.notebook.cells}
    ids = [cell.metadata.get(assignment.KEY, {}).get("answer") for cell in released.cells]
    assert [name for name in ids if name] == list(given.answers)
    code = [cell.source for cell in released.cells if cell.cell_type == "code"]
    lines = {line.strip() for source in code for line in source.splitlines()}
    for answer in given.answers.values():
        if not answer.prose:
            solved = ast.unparse(ast.parse(textwrap.dedent(assignment.solution(answer.source)))).splitlines()
            own = [line.strip() for line in solved if len(line.strip()) > 25 and not line.strip().startswith("def ")]
            assert not lines & set(own), answer.name


@OF_ALL
def test_a_release_runs_from_top_to_bottom_before_anything_is_answered(folder: Path, tmp_path: Path) -> None:
    from nbclient import NotebookClient

    notebook = assignment.read(folder).release()
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where).execute()


@OF_ALL
def test_hints_and_titles_are_there(folder: Path) -> None:
    given = assignment.read(folder)
    assert given.settings["title"]
    assert all(check.hint for check in given.checks.values())


def test_a_leaking_release_is_refused(walls: str, tmp_path: Path) -> None:
    given = assignment.read(ROOT / "tests" / "attacks" / "assignment")
    leaks = {
        "stands in cell": "The model has 6,738,415,616 parameters.",
        "its solution has": "Compute `2 * N * h ** 2 + 7 * N` yourself.",
    }
    for message, text in leaks.items():
        notebook = nbformat.from_dict(given.notebook)
        notebook.cells = [*given.notebook.cells, nbformat.v4.new_markdown_cell(text)]
        leaking = assignment.Assignment(given.name, given.path, notebook, given.settings)
        with pytest.raises(assignment.AssignmentError, match=message):
            release.release(leaking, tmp_path)
    assert not list(tmp_path.iterdir())
