"""A week with Canvas: a zip file of 25 becomes one column of the gradebook, by what docs/grading.md says."""

from __future__ import annotations

import csv
import json
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from attacks import FULL, HERE, HONEST, answered
from test_assignments import ROOT
from test_grading_commands import command
from test_platforms import gradebook

from roofline_kit.grading import assignment, grade, grades, handed_in, people, platforms, report, tables

COLUMN = "Homework 1 (12345)"
NAMES = ["Doe, Jane", "Roe, Remy", "Çelik, Ögür", "O'Neil, Max", "李, 小龙"]
WRONG = {"kv": "def kv(tokens, heads):\n    return 3"}


@dataclass
class Course:
    """A course of 27: 25 handed in, 3 of them late; one handed in nothing, and one is not in the roster."""

    folder: Path
    said: str = ""

    @property
    def out(self) -> Path:
        return self.folder / "graded" / "hw"

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.out / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def student(number: int) -> tuple[str, str]:
    """The name of a student in Canvas's gradebook, and in its files."""
    name = f"{NAMES[number % 5]} {number}"
    return name, re.sub(r"\W", "", name).lower()


def canvas_zip(path: Path) -> None:
    """What Canvas's *Download Submissions* gives."""
    right, wrong = (json.dumps(answered(answers)) for answers in (HONEST, HONEST | WRONG))
    with zipfile.ZipFile(path, "w") as made:
        for number in range(25):
            late = "LATE_" if number in (3, 4, 5) else ""
            own = (wrong if number % 5 == 1 else right) + " " * (number % 10 if number != 11 else 11)
            made.writestr(f"{student(number)[1]}_{late}{900 + number}_{70 + number}_hw1.ipynb", own)
        made.writestr(f"{student(7)[1]}_907_60_hw1-0.ipynb", "{}")  # handed in before the other


@pytest.fixture(scope="module")
def course(walls: str, tmp_path_factory: pytest.TempPathFactory) -> Course:
    """The course, graded by the commands of docs/grading.md."""
    made = Course(tmp_path_factory.mktemp("course"))
    shutil.copytree(HERE / "assignment", made.folder / "assignments" / "hw")
    folder = made.folder / "assignments" / "hw"
    (folder / "assignment.ipynb").rename(folder / "hw.ipynb")
    (folder / "assignment.toml").write_text(
        f'title = "Homework 1"\n[canvas]\ncolumn = "{COLUMN}"\n[late]\nper_day = 0.1\ncanvas_late_days = 1\n'
    )
    canvas_zip(made.folder / "submissions.zip")
    listed = [number for number in range(26) if number != 24]
    rows = [[student(number)[0], f"{900 + number}", "", f"login{number}", "A", "", ""] for number in listed]
    gradebook(made.folder / "gradebook.csv", rows)
    commands = [line for line in docs() if line.startswith("roofline-kit")]
    assert len(docs()) == 3 and len(commands) == 2, "the first one installs the grader"
    for line in commands:
        done = command(*line.replace("hw1", "hw").split("#")[0].split()[1:], cwd=made.folder)
        assert done.returncode == 0, (line, done.stderr)
        made.said += done.stdout
    return made


def docs() -> list[str]:
    """The commands of the section of docs/grading.md about Canvas."""
    text = (ROOT / "docs" / "grading.md").read_text("utf-8")
    section = text[text.index("## From Canvas to Canvas") :]
    return re.findall(r"```bash\n(.*?)```", section, re.DOTALL)[0].strip().splitlines()


def test_a_zip_of_25_becomes_one_column_of_the_gradebook_with_what_the_docs_say(course: Course) -> None:
    worth, *rows = course.table("canvas.csv")
    assert list(worth) == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", COLUMN]
    assert worth["Student"].strip() == "Points Possible" and float(worth[COLUMN]) == FULL
    by_id = {row["ID"]: row for row in rows}
    assert by_id.keys() == {f"{900 + number}" for number in range(26) if number != 24}
    assert by_id["902"]["Student"] == student(2)[0] and by_id["902"]["SIS Login ID"] == "login2"
    points = {number: float(by_id[f"{900 + number}"][COLUMN]) for number in range(26) if number != 24}
    assert points[0] == FULL and points[1] == 7
    assert points[3] == FULL * 0.9, "a late day"
    assert points[7] == FULL, "of two, the latest"
    assert points[25] == 0, "nothing was handed in"


def test_the_column_is_found_again_by_canvas(course: Course) -> None:
    """Canvas takes the number at the end of a column's title for the assignment that there is."""
    found = platforms.roster(course.out / "canvas.csv")
    assert found.columns == {COLUMN: f"{float(FULL)}"} or found.columns == {COLUMN: f"{FULL}"}
    assert {person.canvas for person in found.people} >= {"900", "925"}


def test_the_table_for_the_instructor_says_who_is_late_who_is_missing_and_who_is_not_in_the_course(
    course: Course,
) -> None:
    rows = {row["student"]: row for row in course.table("grades.csv")}
    assert len(rows) == 26
    name, called = student(25)
    assert rows[f"{called}_925"] == rows[f"{called}_925"] | {"name": name, "remarks": "nothing was handed in"}
    assert rows[f"{called}_925"]["needs a person"] == ""
    assert "not in the roster" in rows[f"{student(24)[1]}_924"]["needs a person"]
    assert "1 handed in nothing by the roster, and 1 is not in it" in " ".join(course.said.split())
    assert float(rows[f"{student(3)[1]}_903"]["late"]) == 1
    assert "25 submissions, and 1 who handed in nothing" in course.said
    assert "make a new column" not in course.said


def test_files_that_are_the_same_are_hinted_at_and_no_more(course: Course) -> None:
    page = (course.out / "index.html").read_text("utf-8")
    section = page[page.index("The same file, byte for byte") :]
    same = [re.findall(r"<bdi>(.*?)</bdi>", line) for line in section.split("</ul>")[0].split("<li>")[1:]]
    assert [f"{student(number)[1]}_{900 + number}" for number in (0, 10, 20)] in same
    assert not any(f"{student(11)[1]}_911" in group for group in same)
    assert "this is no plagiarism checker" in section


def test_the_pages_for_students_are_one_zip_with_the_names_that_canvas_gave(course: Course) -> None:
    with zipfile.ZipFile(course.out / "feedback.zip") as made:
        names = made.namelist()
        assert len(names) == 25
        for number in (2, 3):
            late = "LATE_" if number == 3 else ""
            name = f"{student(number)[1]}_{late}{900 + number}_{70 + number}_hw1.ipynb.html"
            assert name in names
            assert student(number)[0] in made.read(name).decode().replace("&#39;", "'")
    assert f"{student(7)[1]}_907_77_hw1.ipynb.html" in names
    assert all(platforms.of_canvas(name) for name in names)


def written(course: Course, settings: str) -> assignment.Assignment:
    """The assignment with other settings, and pages made of it."""
    made = course.folder / "other" / "hw"
    shutil.copytree(course.folder / "assignments" / "hw", made, dirs_exist_ok=True)
    (made / "assignment.toml").write_text(settings)
    return assignment.read(made)


def test_a_check_that_is_dropped_counts_no_more_is_shown_to_nobody_and_nothing_is_graded_again(course: Course) -> None:
    before = {path.name: path.read_bytes() for path in (course.out / "results").iterdir()}
    given = written(course, 'title = "Homework 1"\ndropped = ["kv"]\n')
    assert given.digest == assignment.read(course.folder / "assignments" / "hw").digest
    again = course.folder / "dropped"
    shutil.copytree(course.out, again)
    summary = report.write_all(given, again)
    assert {row.of for row in summary.rows} == {FULL - 3}
    assert {row.points for row in summary.handed_in} == {FULL - 3}
    assert "kv" not in [check["name"] for check in summary.checks]
    page = (again / "feedback" / f"{student(1)[1]}_901.html").read_text("utf-8")
    assert "<td>kv</td>" not in page and f"{FULL - 3} of {FULL - 3} points" in page
    assert ",kv," not in (again / "grades.csv").read_text("utf-8")
    assert "dropped, and shown to nobody: kv" in (again / "index.html").read_text("utf-8")
    assert {path.name: path.read_bytes() for path in (again / "results").iterdir()} == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('dropped = ["kvv"]', "unknown check 'kvv'; did you mean 'kv'"),
        ('dropped = ["kv", "flops", "seconds", "parameters"]', "nothing would be left"),
        ("dropped = 'kv'", "dropped must be a list of names"),
        ("dropped = [7]", "check must be given by its name"),
        ("[canvas]\ncolum = 'x'", "unknown setting of .canvas. 'colum'; did you mean 'column'"),
        ("[canvas]\ncolumn = 12345", "must be a title such as 'Homework 1"),
        ("[late]\ncanvas_late_day = 1", "did you mean 'canvas_late_days'"),
        ("[late]\ncanvas_late_days = '1'", "canvas_late_days must be a number"),
    ],
)
def test_a_setting_about_platforms_that_cannot_be_is_refused_with_the_nearest(
    settings: str, message: str, tmp_path: Path
) -> None:
    shutil.copytree(HERE / "assignment", tmp_path / "assignment")
    (tmp_path / "assignment" / "assignment.toml").write_text(settings)
    with pytest.raises(assignment.AssignmentError, match=message):
        assignment.read(tmp_path / "assignment")


def test_a_column_that_the_gradebook_lacks_is_refused_with_the_nearest(course: Course) -> None:
    given = written(course, 'title = "Homework 1"\n[canvas]\ncolumn = "Homework 1 (12346)"\n')
    before = (course.out / "grades.csv").read_bytes()
    with pytest.raises(ValueError, match=r"unknown column 'Homework 1 \(12346\)'; did you mean 'Homework 1 \(12345\)'"):
        report.write_all(given, course.out)
    assert (course.out / "grades.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "title", "remark"),
    [
        ('title = "Homework 1"', COLUMN, ""),
        ('title = "Other"', "Other", "would make a new column 'Other': .*, as in 'Homework 1 .12345.'"),
        ('title = "Homework 1"\ndropped = ["kv"]', COLUMN, "has 10.00 points in Canvas, and 7 here"),
    ],
)
def test_the_column_is_that_of_the_same_title_unless_one_is_named(
    settings: str, title: str, remark: str, course: Course
) -> None:
    given, roster = written(course, settings), people.known(course.out).roster
    assert tables.column(given, roster) == title
    told = tables.remarks(given, roster)
    assert re.search(remark, told[0]) if remark else not told


def test_late_in_canvas_costs_nothing_until_the_assignment_says_how_many_days_it_is_and_a_person_decides(
    course: Course,
) -> None:
    name = f"{student(3)[1]}_903"

    def points(settings: str, late: str = "") -> tuple[float, str]:
        folder = course.folder / "late"
        shutil.copytree(course.out, folder, dirs_exist_ok=True)
        (folder / "late.csv").write_text(f"student,days\n{late}")
        summary = grades.summary(written(course, settings), folder)
        return next(row.points for row in summary.rows if row.student == name), " ".join(summary.remarks)

    assert points("")[0] == FULL and "3 are LATE in Canvas, and nothing is taken off" in points("")[1]
    assert points("[late]\nper_day = 0.2\ncanvas_late_days = 2")[0] == FULL * 0.6
    assert points("[late]\nper_day = 0.2\ncanvas_late_days = 2", f"{name},1\n")[0] == FULL * 0.8
    assert points("[late]\nper_day = 0.2\ncanvas_late_days = 2", f"{name},0\n")[0] == FULL


def test_those_who_hand_in_later_keep_their_name(course: Course) -> None:
    name, called = student(25)
    known = people.known(course.out)
    assert list(known.absent(known.people)) == [f"{called}_925"]
    assert handed_in.student_of(Path(f"{called}_925_99_hw1.ipynb")) == f"{called}_925"
    assert known.person(f"{called}_925").name == "" or known.person(f"{called}_925").name == name


def test_a_roster_can_come_with_a_report_and_a_wrong_file_changes_nothing(course: Course) -> None:
    folder = course.folder / "rostered"
    shutil.copytree(course.out, folder, dirs_exist_ok=True)
    before = (folder / "students.json").read_bytes()
    for words, message in {("report", "hw", "--roster", "submissions.zip"): "it is not UTF-8",
                           ("report", "hw", "--roster", "nowhere.csv"): "No such file"}.items():  # fmt: skip
        done = command(*words, "--results", folder, cwd=course.folder)
        assert done.returncode == 1 and message in done.stderr, (words, done.stderr)
        assert (folder / "students.json").read_bytes() == before
    gradebook(course.folder / "small.csv", [[student(0)[0], "900", "", "login0", "A", "", ""]])
    done = command("report", "hw", "--roster", "small.csv", "--results", folder, cwd=course.folder)
    assert done.returncode == 0, done.stderr
    assert len((folder / "canvas.csv").read_text("utf-8").splitlines()) == 3


def test_results_of_an_assignment_that_has_changed_are_graded_again_first_or_of_those_who_are_gone_said(
    course: Course,
) -> None:
    folder = course.folder / "older"
    shutil.copytree(course.out, folder)
    given = assignment.read(course.folder / "assignments" / "hw")
    path = folder / "results" / f"{student(2)[1]}_902.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": "of last week"}))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(ValueError, match=r"1 of 25 results are not of hw as it is now .*grade. again"):
        report.write_all(given, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    kept = json.loads((folder / "students.json").read_text())
    kept["here"].remove(f"{student(2)[1]}_902")
    (folder / "students.json").write_text(json.dumps(kept))
    summary = report.write_all(given, folder)
    (row,) = [row for row in summary.rows if row.student == f"{student(2)[1]}_902"]
    assert row.points == FULL and "graded when the assignment was another, and not handed in since" in row.humans


def test_the_table_of_all_is_sorted_by_a_click_or_a_key_on_paper_it_is_whole_and_the_net_is_not_asked(
    course: Course, chromium: Any
) -> None:
    page = chromium.new_page(viewport={"width": 1000, "height": 800})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((course.out / "index.html").as_uri())

    def column(number: int) -> list[str]:
        return page.evaluate(
            "(number) => [...document.querySelectorAll('.all tbody tr')].map(row => row.cells[number].innerText)",
            number,
        )

    points = [float(text) for text in column(1)]
    assert points != sorted(points)
    page.get_by_role("button", name="points").click()
    assert [float(text) for text in column(1)] == sorted(points)
    page.get_by_role("button", name="points").press("Enter")
    assert [float(text) for text in column(1)] == sorted(points, reverse=True)
    heads = page.locator(".all th")
    assert heads.nth(1).get_attribute("aria-sort") == "descending" and heads.nth(0).get_attribute("aria-sort") is None
    page.get_by_role("button", name="student").click()
    assert column(0)[0].startswith("çelikögür2_902"), "numbers as numbers, and ç is sorted as a c"
    for media, width in (("screen", 1000), ("print", 718)):  # of A4, in CSS's pixels
        page.emulate_media(media=media)
        page.set_viewport_size({"width": width, "height": 1000})
        assert page.evaluate("document.querySelector('.all').scrollWidth") <= width
    page.close()
    assert asked == [(course.out / "index.html").as_uri()]


def test_after_a_run_that_was_stopped_nobody_seems_absent_or_has_the_points_of_an_older_file(course: Course) -> None:
    given = assignment.read(course.folder / "assignments" / "hw")
    first, second = sorted([f"{student(8)[1]}_908", f"{student(13)[1]}_913"])
    for name in ("missing", "older"):
        folder = course.folder / f"stopped-{name}"
        shutil.copytree(course.out, folder)
        results = folder / "results"
        if name == "missing":
            (results / f"{first}.json").unlink()
            (results / f"{second}.json").unlink()
        else:
            with zipfile.ZipFile(course.folder / "newer.zip", "w") as made:
                made.writestr(f"{first}_99_hw1-1.ipynb", json.dumps(answered(WRONG)))
                made.writestr(f"{second}_98_hw1-1.ipynb", json.dumps(answered(WRONG)))
            with handed_in.submissions(course.folder / "newer.zip") as entries:
                people.keep(folder, entries, keys={entry.student: grade.key(entry, given) for entry in entries})
        before = (folder / "canvas.csv").read_bytes()
        with pytest.raises(ValueError, match=rf"2 who handed in hw are not graded yet \({first}, {second}\).*again"):
            report.write_all(given, folder)
        assert (folder / "canvas.csv").read_bytes() == before
