"""The assignments as instructors use them: released, solved, half solved, not solved, with the expected scores."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import textwrap
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
from chance import graders_draw_by_the_seed  # noqa: F401  a fixture for all tests here

from roofline_kit.grading import assignment, cells, grade, handed_in, judge, release, report
from roofline_kit.grading.source import bound

ROOT = Path(__file__).parent.parent
FOLDERS = sorted(path.parent for path in (ROOT / "assignments").glob("*/assignment.toml"))
OF_ALL = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def cases(folder: Path, kind: str) -> list[dict[str, Any]]:
    """What tests/submissions says of an assignment: names, answers and the points that they must get, of this kind."""
    name = folder.name.split("_")[0]
    found: list[dict[str, Any]] = tomllib.loads((ROOT / "tests" / "submissions" / f"{name}.toml").read_text("utf-8"))[
        kind
    ]
    return found


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
    given, handed = assignment.read(folder), cases(folder, "submission")
    patience = min(case.get("cell", given.limits.cell) for case in handed)  # shorter where one loops
    shorter = {**given.settings["limits"], "cell": patience}
    given = replace(given, settings={**given.settings, "limits": shorter})
    for i, case in enumerate(handed):
        written(given, case, tmp_path / "in" / f"{i:02}")
    entries = handed_in.entries(tmp_path / "in")
    grade.grade_all(given, entries, tmp_path / "out", 2, lambda result, new: None)
    found = grade.stored(tmp_path / "out")
    points = {case["name"]: found[f"{i:02}"]["points"] for i, case in enumerate(handed)}
    assert points == {case["name"]: pytest.approx(case["points"], abs=1e-3) for case in handed}
    summary = report.write_all(given, tmp_path / "out")
    assert len(summary.rows) == len(handed)


def test_the_three_assignments_are_tried_with_at_least_sixty_submissions() -> None:
    assert len(FOLDERS) == 3
    assert sum(len(cases(folder, kind)) for folder in FOLDERS for kind in ("submission", "slip")) >= 60


# --- judged here: no walls, no kernel, the same cells and the same judge ---------------------------------------


def told(
    given: assignment.Assignment, answers: Mapping[str, str] | None, seed: str = "told"
) -> tuple[dict[str, Any], set[str]]:
    """What each check reports of some answers (None: the instructor's), and which answers fail, in this process."""
    names: dict[str, Any] = {"__name__": "__main__"}
    reports: dict[str, Any] = {}
    failed = set()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a kernel goes on
        patch.chdir(given.path.parent)
        for number, cell in enumerate(given.to_run(answers)):
            said: dict[str, Any] = {}
            patch.setattr(cells, "report", lambda said=said, **of: said.update({n: cells._told(n, of[n]) for n in of}))
            cells.begin(f"{seed}/{number}")
            try:
                exec(compile(cell.source, f"<{cell.kind} {cell.name}>", "exec"), names)
            except Exception:
                failed.add(cell.name)
            if cell.kind == "check" and said:
                reports[cell.name] = said
    return reports, failed


@cache
def solved(folder: Path) -> dict[str, Any]:
    """What is right, once for all tests of an assignment."""
    given = assignment.read(folder)
    reports, failed = told(given, None)
    assert not failed and reports.keys() == given.checks.keys()
    return reports


def judged(folder: Path, answers: Mapping[str, str]) -> tuple[dict[str, float], dict[str, str]]:
    """The points of each check for some answers, and why those that are not right are not."""
    given, right = assignment.read(folder), solved(folder)
    reports, failed = told(given, answers)
    shares = {
        name: judge.share(reports.get(name), right[name], check.tolerance) for name, check in given.checks.items()
    }
    points = {name: given.checks[name].points * share for name, share in shares.items()}
    broken = {
        name for name, check in given.checks.items() if failed & {name, *check.of} or judge.failed(reports.get(name))
    }
    return points, {name: "error" if name in broken else "values" for name, share in shares.items() if share < 1}


def own(given: assignment.Assignment, base: str = "full") -> dict[str, str]:
    """The answers of one who has everything right, or of one who has answered nothing."""
    code = {name: answer for name, answer in given.answers.items() if not answer.prose}
    return {name: answer.source if base == "full" else answer.stub for name, answer in code.items()}


@pytest.mark.parametrize(
    ("folder", "case"),
    [(folder, case) for folder in FOLDERS for case in cases(folder, "slip")],
    ids=lambda of: of["name"] if isinstance(of, dict) else of.name,
)
def test_every_slip_costs_what_it_should_and_is_answered_by_the_hint_of_its_own_check(
    folder: Path, case: dict[str, Any]
) -> None:
    given = assignment.read(folder)
    assert case["answers"].keys() <= given.answers.keys()
    points, reasons = judged(folder, {**own(given, case["base"]), **case["answers"]})
    assert sum(points.values()) == pytest.approx(case["points"], abs=1e-3), points
    assert reasons == case.get("reasons", reasons)


@OF_ALL
def test_each_new_answer_has_at_least_three_slips_with_reasons(folder: Path) -> None:
    of = [name for case in cases(folder, "slip") if "reasons" in case for name in case["answers"]]
    assert {name: of.count(name) for name in NEW[folder.name]} == {
        name: max(3, of.count(name)) for name in NEW[folder.name]
    }


NEW = {
    "hw1_walk_through": ("late_attention", "recompute", "proposals"),
    "hw2_seven_billion": ("tokens_per_second", "faster", "serve", "cheapest"),
    "hw3_measure": ("achieved", "predicted", "line", "blocked", "too_fast", "repeats"),
}


def test_what_is_judged_here_is_what_the_grader_finds(walls: str) -> None:
    folder = FOLDERS[0]
    given, (case,) = (
        assignment.read(folder),
        [of for of in cases(folder, "slip") if "divides each weight" in of["name"]],
    )
    answers = {**own(given), **case["answers"]}
    run = grade.begun(given).solved().run_of(answers)
    grade.execute(run)
    points, reasons = judged(folder, answers)
    assert {name: given.checks[name].points * of.share for name, of in run.outcomes.items()} == pytest.approx(points)
    assert {name: of.reason for name, of in run.outcomes.items() if of.share < 1} == reasons


OFF = """
def _off(value):
    if callable(value) and not hasattr(value, "free_symbols"):
        return lambda *args, **more: _off(value(*args, **more))
    if isinstance(value, (list, tuple)):
        return [_off(part) for part in value]
    return 2 * value + 1 if value is not None and not isinstance(value, str) else "wrong"
"""


def spoilt(source: str) -> str:
    """An answer all of whose names have other values, and whose functions return other values."""
    return "\n".join([source, OFF, *(f"{name} = _off({name})" for name in sorted(bound(source)))])


@pytest.mark.parametrize(("folder", "name"), [(f, name) for f in FOLDERS for name in own(assignment.read(f))])
@pytest.mark.parametrize("how", ["wrong", "missing", "failing"])
def test_one_answer_that_is_not_right_loses_its_own_points_and_no_others(folder: Path, name: str, how: str) -> None:
    given = assignment.read(folder)
    source = given.answers[name].source
    bad = {"wrong": spoilt(source), "missing": given.answers[name].stub, "failing": "1 / 0"}[how]
    _, reasons = judged(folder, {**own(given), name: bad})
    about = {check.name for check in given.checks.values() if name in check.of}
    if how == "wrong":  # what it does on its way may be right
        assert reasons and reasons.keys() <= about
    else:
        assert about and reasons.keys() == about


# --- what a person reads -------------------------------------------------------------------------------------

SECTION = re.compile(r"^## (\w+) · (\d+) points?\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| ([\d.]+) \| (.+) \|$", re.MULTILINE)


def rubric(folder: Path) -> dict[str, tuple[float, str]]:
    """The rubric's sections: by the answer that they are about, its points and the text."""
    text = (folder / "rubric.md").read_text("utf-8")
    return {name: (float(points), body) for name, points, body in SECTION.findall(text)}


@OF_ALL
def test_whoever_reads_text_has_a_rubric_with_levels_and_what_a_good_answer_names(folder: Path) -> None:
    given, sections = assignment.read(folder), rubric(folder)
    assert {name: points for name, (points, _) in sections.items()} == {
        name: answer.points for name, answer in given.answers.items() if answer.prose
    }
    for name, (points, body) in sections.items():
        levels = [float(level) for level, _ in ROW.findall(body)]
        assert levels == sorted(levels, reverse=True) and (levels[0], levels[-1]) == (points, 0), name
        assert len(levels) >= 3, f"{name}: all or nothing is no rubric"
        named = body.partition("A good answer names")[2]
        assert named.count("\n* ") >= 3, f"{name}: what is named in a good answer?"


@OF_ALL
def test_a_third_of_the_points_is_for_explaining_finding_errors_and_designing(folder: Path) -> None:
    given, sections = assignment.read(folder), rubric(folder)
    computed = {name for _, body in sections.values() for name in re.findall(r"Computed beside it: `(\w+)`", body)}
    assert computed <= given.checks.keys()
    thinking = sum(points for points, _ in sections.values()) + sum(given.checks[name].points for name in computed)
    assert thinking >= given.points / 3


@OF_ALL
def test_an_assignment_says_how_many_questions_and_points_it_has_and_how_long_it_takes(folder: Path) -> None:
    given = assignment.read(folder)
    text = "\n".join(cell.source for cell in given.notebook.cells if cell.cell_type == "markdown")
    questions = re.findall(r"^## (?:Question )?(\d+) · .*?\(([\d.]+) points?\)$", text, re.MULTILINE)
    assert [int(number) for number, _ in questions] == [*range(1, len(questions) + 1)]
    assert sum(float(points) for _, points in questions) == given.points
    title = given.notebook.cells[0].source
    number = ("Twelve", "Thirteen", "Fourteen")[len(questions) - 12]
    assert re.search(rf"{number} questions, {given.points:g} points, about [\w ]+ hours", title), title


@OF_ALL
def test_points_are_many_spread_out_and_mostly_for_what_is_right_in_general(folder: Path) -> None:
    given = assignment.read(folder)
    assert 12 <= given.points <= 24
    assert len(given.checks) >= 8
    reports = [told(given, None, seed)[0] for seed in ("one", "other")]
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
