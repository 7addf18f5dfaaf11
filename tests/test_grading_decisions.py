"""What a person decides is taken as it is written, or refused with its place: nothing is guessed, nothing is lost."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from attacks import HERE
from test_grading_commands import table

from roofline_kit.grading import assignment, grade, report
from roofline_kit.grading.handed_in import Entry, name_of
from roofline_kit.grading.submission import Submission

POLICY = {"free_days": 1, "per_day": 0.1, "most_days": 5}
PLAIN = assignment.read(HERE / "assignment")
GRADED = replace(PLAIN, settings={**PLAIN.settings, "late": POLICY})
STUDENTS = ("ada", "bob", " eve ")


def of(
    given: assignment.Assignment, student: str, points: dict[str, float], *notes: str, **more: Any
) -> dict[str, Any]:
    """A result of a submission, as `grade` writes it."""
    session = grade.Session(given, "none", "seed")
    result = grade.result_of(Entry(student, Path(f"{student}.ipynb"), notes=notes), Submission(), session.run_of({}))
    for check in result["checks"]:
        check.update(points=points.get(check["name"], 0), reason="" if check["name"] in points else "values")
    return {**result, "points": sum(points.values()), **more}


def stored(folder: Path, *results: dict[str, Any]) -> Path:
    """A folder with these results; without any, with those of three students."""
    for result in results or [of(GRADED, student, {"flops": 3, "kv": 1.5}) for student in STUDENTS]:
        path = folder / "results" / f"{name_of(result['student'])}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result))
    return folder


M, L = "student,check,points,comment\n", "student,days\n"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("manual", M + "ada,kv,99,", "manual.csv, line 2, column points: kv gives 0 to 3 points, not 99"),
        ("manual", M + "ada,kv,-1,", "line 2, column points: kv gives 0 to 3 points, not -1"),
        ("manual", M + "ada,,10.5,", "line 2, column points: what is added to the sum is -10 to 10 points, not 10.5"),
        ("manual", M + "ada,kv,nan,", "line 2, column points: expected a number such as 1.5, not 'nan'"),
        ("manual", M + "ada,kv,-inf,", "line 2, column points: expected a number such as 1.5, not '-inf'"),
        ("manual", M + 'ada,kv,"1,5",', "line 2, column points: expected a number such as 1.5, not '1,5'"),
        ("manual", M + "ada,kv,1/2,", "line 2, column points: expected a number such as 1.5, not '1/2'"),
        ("manual", M + "ada,kv,,", "line 2, column points: expected a number such as 1.5, not ''"),
        ("manual", M + "ada,kv,1,5,", "line 2: expected the columns {columns}, with commas between, and there are 5"),
        ("manual", M + "ada,kv,1", "line 2: expected the columns {columns}, with commas between, and there are 3"),
        ("manual", M + "ada,kb,1,", "line 2, column check: unknown check 'kb'; did you mean 'kv'?"),
        ("manual", M + "ada,flops,1,\nadaa,kv,1,", "line 3, column student: unknown student 'adaa'; did you mean"),
        ("manual", M + "ada,kv,1,\nbob,kv,1,\nada,kv,2,", "line 4, column student: line 2 is about 'ada' and 'kv'"),
        ("manual", M + "ada,,1,\nada,,1,", "line 3, column student: line 2 is about 'ada', too"),
        ("manual", M + 'ada,kv,1,"two\nlines"\nada,kb,1,', "line 4, column check"),
        ("manual", "student,check,point,comment\nada,kv,1,", "line 1: expected the columns {columns}, with"),
        ("manual", "student;check;points;comment\nada;kv;1;", "line 1: expected the columns {columns}, with"),
        ("manual", M + 'ada,kv,1,"open', "manual.csv, line 2: it is no CSV"),
        ("manual", M.encode() + b"ada,kv,1,\xe4", "manual.csv is not UTF-8: save it anew as CSV UTF-8"),
        ("late", L + "ada,-1", "late.csv, line 2, column days: expected 0 or more, not -1"),
        ("late", L + "ada,two", "late.csv, line 2, column days: expected a number such as 1.5, not 'two'"),
        ("late", L + "ada,inf", "late.csv, line 2, column days: expected a number such as 1.5, not 'inf'"),
        ("late", L + "ada,", "late.csv, line 2, column days: expected a number such as 1.5, not ''"),
        ("late", L + "bbo,1", "late.csv, line 2, column student: unknown student 'bbo'; did you mean 'bob'?"),
        ("late", L + "ada,1\nada,1", "late.csv, line 3, column student: line 2 is about 'ada', too"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_meant_is_refused_with_its_place_and_nothing_is_written(
    file: str, text: str | bytes, message: str, tmp_path: Path
) -> None:
    stored(tmp_path)
    (tmp_path / f"{file}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=re.escape(message.format(columns="student, check, points, comment"))):
        report.write_all(GRADED, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{file}.csv", "results"]


def test_days_without_a_price_are_refused(tmp_path: Path) -> None:
    stored(tmp_path, of(PLAIN, "ada", {"flops": 3}))
    (tmp_path / "late.csv").write_text(L + "ada,2\n")
    with pytest.raises(ValueError, match=r"line 2, column days: what a day costs is not said: .* no \[late\]"):
        report.write_all(PLAIN, tmp_path)
    (tmp_path / "late.csv").write_text(L + "ada,0\n")
    assert report.write_all(PLAIN, tmp_path).rows[0].points == 3


@pytest.mark.parametrize(
    ("late", "message"),
    [
        ('per_day = "10%"', r"\[late\] per_day must be a number, 0 or more, not '10%'; did you mean 0.1\?"),
        ("per_day = 10", r"\[late\] per_day is a share of the points, at most 1, not 10; 0.1 is a tenth"),
        ("per_day = nan", r"\[late\] per_day must be a number, 0 or more, not nan"),
        ("free_days = 2", r"\[late\] has neither per_day nor most_days: what does a day cost\?"),
        ("per_dya = 0.1", r"unknown setting of \[late\] 'per_dya'; did you mean 'per_day'"),
    ],
)
def test_a_price_that_cannot_be_meant_is_refused(late: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "hw.ipynb").write_text(nbformat.writes(PLAIN.notebook))
    (tmp_path / "assignment.toml").write_text(f'notebook = "hw.ipynb"\n[late]\n{late}\n')
    with pytest.raises(assignment.AssignmentError, match=f"assignment.toml: {message}"):
        assignment.read(tmp_path)


def test_what_a_table_program_makes_of_a_file_is_read(tmp_path: Path) -> None:
    """A BOM, other ends of lines, quotes, blanks around numbers, empty rows, columns in another order."""
    stored(tmp_path)
    rows = '\ufeff"check","points","student","comment"\r\n kv , 2 ,ada,"so, ""so"""\r\n,,,\r\n\r\n,-1, eve ,\r\n'
    (tmp_path / "manual.csv").write_bytes(rows.encode())
    (tmp_path / "late.csv").write_bytes(b"days,student\r\n3,bob\r\n,\r\n")
    summary = report.write_all(GRADED, tmp_path)
    assert {row.student: row.points for row in summary.rows} == {" eve ": 3.5, "ada": 5, "bob": 3.6}


def test_the_rows_of_a_page_add_up(tmp_path: Path) -> None:
    stored(tmp_path)
    (tmp_path / "manual.csv").write_text(M + "ada,kv,2.5,Nearly\nada,,-0.5,By mail\nbob,flops,,Read the hint\n")
    (tmp_path / "late.csv").write_text(L + "ada,3\n")
    summary = report.write_all(GRADED, tmp_path)
    rows = {row.student: row for row in summary.rows}
    for row, expected in ((rows["ada"], 4), (rows["bob"], 4.5)):
        page = (tmp_path / "feedback" / f"{row.student}.html").read_text("utf-8")
        cells = re.findall(r'<td class="n">([^<]*)</td>', page)
        numbers = [float(cell.split(" of ")[0].replace("−", "-")) for cell in cells]
        assert sum(numbers) == pytest.approx(expected) and f"{expected:g} of 10 points" in page, numbers
    page = (tmp_path / "feedback" / "ada.html").read_text("utf-8")
    assert "By mail" in page and "added by a person" in page and "taken off for being late" in page
    assert "Read the hint" in (tmp_path / "feedback" / "bob.html").read_text("utf-8")


def test_a_decision_clears_what_it_is_about(tmp_path: Path) -> None:
    """Of a check, what its answers left open; of the sum, everything."""
    notes = ("flops: there are 2 cells of this answer", "kv: its cell is missing", "2 notebooks: b.ipynb was taken")
    readings = {"flops: cell 7": 3.0, "kv, flops: with the added cells": 6.0}
    stored(tmp_path, of(GRADED, "ada", {}, *notes, readings=readings))

    def left(rows: str) -> list[str]:
        (tmp_path / "manual.csv").write_text(M + rows)
        return report.write_all(GRADED, tmp_path).rows[0].humans

    both = "read as kv, flops: with the added cells it would have 6"
    everything = [*notes, "read as flops: cell 7 it would have 3", both]
    assert left("") == everything
    assert left("ada,parameters,1,\n") == everything
    assert left("ada,flops,3,\n") == [*notes[1:], both]
    assert left("ada,flops,3,\nada,kv,,As it is\n") == [notes[2]]
    assert left("ada,,0,Looked at\n") == []
    assert left("".join(f"ada,{name},1,\n" for name in GRADED.checks)) == []
    assert "ada" not in (tmp_path / "index.html").read_text().partition("These need a person")[2].partition("<h2>")[0]


def test_results_of_an_assignment_as_it_was_are_not_mixed_in(tmp_path: Path) -> None:
    stored(tmp_path)
    report.write_all(GRADED, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    notebook = nbformat.from_dict(GRADED.notebook)
    notebook.cells = [nbformat.from_dict(cell) for cell in GRADED.notebook.cells]
    notebook.cells[2].metadata["grading"]["points"] = 4
    changed = replace(GRADED, notebook=notebook)
    stored(tmp_path, of(changed, "ada", {"flops": 4}))
    newer = (tmp_path / "results" / "ada.json").read_bytes()
    with pytest.raises(ValueError, match=r"2 of 3 results are not of assignment as it is now \(.*bob"):
        report.write_all(changed, tmp_path)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == {**before, tmp_path / "results" / "ada.json": newer}
    kind = {**GRADED.settings, "late": {"per_day": 0.5}, "title": "Another"}
    stored(tmp_path)
    assert len(report.write_all(replace(GRADED, settings=kind), tmp_path).rows) == 3, (
        "what changes no result needs no run"
    )
    assert table(tmp_path / "grades.csv")["ada"]["points"] == "4.5"


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_no_table_has_a_formula_of_a_students_wherever_a_spreadsheet_sees_a_cell_begin(
    delimiter: str, tmp_path: Path
) -> None:
    names = ("=1+1", "a;=1+1;b", "a; @SUM(A1);b", "\uff1d1+1", "-1", "ada")
    stored(tmp_path, *[of(GRADED, name, {"flops": 3}, f"{name}.txt is a notebook;=1+1;") for name in names])
    report.write_all(GRADED, tmp_path)
    for file in ("grades.csv", "canvas.csv"):
        with (tmp_path / file).open(encoding="utf-8", newline="") as text:
            cells = [cell.strip() for row in csv.reader(text, delimiter=delimiter) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\uff1d"))]
    assert {*table(tmp_path / "grades.csv")} == {"'=1+1", "a;'=1+1;b", "a;' @SUM(A1);b", "'\uff1d1+1", "'-1", "ada"}
