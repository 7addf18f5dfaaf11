"""One file never stops everybody: a class with more odd submissions than honest ones, killed in between, and resumed.

All of it is one run of the grader, as an ordinary user, on a terminal that knows ASCII and nothing else.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from attacks import FULL, HERE, HONEST, answered, cell_of
from needed import missing
from nobody import HOW, environment, python

RIGHT = json.dumps(answered(HONEST)).encode()
HONEST_ONES = [f"honest{number:02}" for number in range(12)]
TB = 10**12


@dataclass(frozen=True)
class Case:
    """An odd submission. student : what it is called in the tables. points, told : what it gets, and what is said."""

    make: Callable[[Path], Any]
    student: str
    points: float
    told: str

    @property
    def name(self) -> str:
        """What it is."""
        return self.make.__name__


CASES: list[Case] = []


def case(student: str = "", points: float = 0, told: str = "") -> Callable[[Callable[[Path], Any]], Any]:
    """Adds a case. What it returns, if anything, is the notebook in a folder of its name."""

    def kept(make: Callable[[Path], Any]) -> Callable[[Path], Any]:
        CASES.append(Case(make, student or make.__name__, points, told))
        return make

    return kept


def put(path: Path, data: bytes = RIGHT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def raw(base: Path, name: bytes) -> Path:
    return base / os.fsdecode(name)


# --- names ------------------------------------------------------------------------------------------------


@case("⟨U+DCFF⟩⟨U+DCFE⟩-max", FULL)
def a_folder_whose_name_is_no_text(base: Path) -> None:
    put(raw(base, b"\xff\xfe-max") / "hw.ipynb")


@case("⟨U+DCE9⟩mile", FULL)
def a_file_whose_name_is_latin_1(base: Path) -> None:
    put(raw(base, b"\xe9mile.ipynb"))


@case(points=FULL)
def a_notebook_within_whose_name_is_no_text(base: Path) -> None:
    put(raw(base / "a_notebook_within_whose_name_is_no_text", b"\xff\n\x1b[2J.ipynb"))


@case("b⏎z-honest: 0 of 20", FULL)
def a_name_that_fakes_a_line(base: Path) -> None:
    put(base / "b\nz-honest: 0 of 20.ipynb")


@case("⟨U+001B⟩[2J⟨U+001B⟩[1;1Hclear", FULL)
def a_name_that_clears_the_screen(base: Path) -> None:
    put(base / "\x1b[2J\x1b[1;1Hclear" / "hw.ipynb")


@case("over⟨U+000D⟩write: 10 of 10", FULL)
def a_name_that_overwrites_its_line(base: Path) -> None:
    put(base / "over\rwrite: 10 of 10.ipynb")


@case("⟨U+202E⟩tfel", FULL)
def a_name_from_right_to_left(base: Path) -> None:
    put(base / "\u202etfel.ipynb")


@case("[red]x[bold] [link=file]", FULL)
def a_name_of_markup(base: Path) -> None:
    put(base / "[red]x[bold] [link=file]" / "hw.ipynb")


@case(":skull: {{ 7*7 }} %s", FULL)
def a_name_of_templates(base: Path) -> None:
    put(base / ":skull: {{ 7*7 }} %s" / "hw.ipynb")


@case("=SUM(A1)", FULL)
def a_name_that_is_a_formula(base: Path) -> None:
    put(base / "=SUM(A1).ipynb")


@case("<img src=x onerror=alert(1)>", FULL)
def a_name_of_html(base: Path) -> None:
    put(base / "<img src=x onerror=alert(1)>.ipynb")


@case("日" * 80, FULL)
def a_name_as_long_as_a_name_can_be(base: Path) -> None:
    put(base / ("日" * 80) / "hw.ipynb")


@case("  ", FULL)
def a_name_of_blanks(base: Path) -> None:
    put(base / "  " / "hw.ipynb")


@case("--results", FULL)
def a_name_that_is_an_option(base: Path) -> None:
    put(base / "--results" / "hw.ipynb")


@case("Zoe", FULL)
def a_name_in_capitals(base: Path) -> None:
    put(base / "Zoe.ipynb")


@case("zoe", 7)
def the_same_name_without(base: Path) -> None:
    put(base / "zoe.ipynb", json.dumps(answered({**HONEST, "flops": "flops = N"})).encode())


@case("çelik ögür", FULL)
def letters_that_are_not_ascii(base: Path) -> None:
    put(base / "c\u0327elik o\u0308gu\u0308r" / "ödev.ipynb")


# --- rights, links, and what is no file -------------------------------------------------------------------


@case(told="there is no notebook; a_folder_without_rights: Permission denied")
def a_folder_without_rights(base: Path) -> None:
    put(base / "a_folder_without_rights" / "hw.ipynb").parent.chmod(0)


@case(told="it cannot be read: Permission denied")
def a_folder_that_may_be_listed_and_not_entered(base: Path) -> None:
    put(base / "a_folder_that_may_be_listed_and_not_entered" / "hw.ipynb").parent.chmod(0o444)


@case(told="there is no notebook; a_folder_that_may_be_entered_and_not_listed: Permission denied")
def a_folder_that_may_be_entered_and_not_listed(base: Path) -> None:
    put(base / "a_folder_that_may_be_entered_and_not_listed" / "hw.ipynb").parent.chmod(0o111)


@case(told="it cannot be read: Permission denied")
def a_notebook_without_rights(base: Path) -> None:
    put(base / "a_notebook_without_rights" / "hw.ipynb").chmod(0)


@case(points=FULL, told="locked: Permission denied")
def a_folder_without_rights_beside_the_notebook(base: Path) -> None:
    put(base / "a_folder_without_rights_beside_the_notebook" / "hw.ipynb")
    put(base / "a_folder_without_rights_beside_the_notebook" / "locked" / "x.json").parent.chmod(0)


@case(told="there is no notebook")
def a_link_to_a_file_of_the_system(base: Path) -> None:
    (base / "a_link_to_a_file_of_the_system").mkdir()
    (base / "a_link_to_a_file_of_the_system" / "hw.ipynb").symlink_to("/etc/passwd")


@case(told="there is no notebook")
def a_link_to_a_neighbours_folder(base: Path) -> None:
    (base / "a_link_to_a_neighbours_folder").mkdir()
    (base / "a_link_to_a_neighbours_folder" / "mine").symlink_to(base / HONEST_ONES[0])


@case(told="there is no notebook")
def a_pipe(base: Path) -> None:
    (base / "a_pipe").mkdir()
    os.mkfifo(base / "a_pipe" / "hw.ipynb")


@case(told="there is no notebook")
def a_socket(base: Path) -> None:
    (base / "a_socket").mkdir()
    here = os.getcwd()
    os.chdir(base / "a_socket")  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("hw.ipynb")
    finally:
        os.chdir(here)


@case(told="there is no notebook")
def a_folder_called_as_a_notebook(base: Path) -> None:
    (base / "a_folder_called_as_a_notebook" / "hw.ipynb").mkdir(parents=True)


# --- sizes and numbers ------------------------------------------------------------------------------------


@case(told="it has 1000000 MB, and 10 are read")
def a_notebook_of_1_tb(base: Path) -> None:
    os.truncate(put(base / "a_notebook_of_1_tb" / "hw.ipynb", b""), TB)


@case(points=FULL)
def a_file_of_1_tb_beside_the_notebook(base: Path) -> None:
    os.truncate(put(base / "a_file_of_1_tb_beside_the_notebook" / "data.json", b""), TB)
    put(base / "a_file_of_1_tb_beside_the_notebook" / "hw.ipynb")


@case(points=FULL, told="of 2,501 files in three_thousand_files, 500 were looked at")
def three_thousand_files(base: Path) -> None:
    put(base / "three_thousand_files" / "last.ipynb")
    for number in range(2500):
        (base / "three_thousand_files" / f"{number:04}.txt").touch()


@case(points=FULL, told="folders more than 6 deep were not looked at")
def a_hundred_folders_in_one_another(base: Path) -> None:
    put(base / "a_hundred_folders_in_one_another" / "hw.ipynb")
    put(base / "a_hundred_folders_in_one_another" / ("d/" * 100) / "x.ipynb")


@case(told="it is empty")
def an_empty_file(base: Path) -> None:
    put(base / "an_empty_file" / "hw.ipynb", b"")


@case(told="there is no notebook")
def an_empty_folder(base: Path) -> None:
    (base / "an_empty_folder").mkdir()


@case(told="there is no notebook, only hw.pdf")
def a_pdf(base: Path) -> None:
    put(base / "a_pdf" / "hw.pdf", b"%PDF-1.7")


@case(told="there is no notebook, only hw.zip")
def a_zip(base: Path) -> None:
    put(base / "a_zip" / "hw.zip", b"PK")


@case(told="there is no notebook")
def what_is_hidden(base: Path) -> None:
    put(base / "what_is_hidden" / ".hw.ipynb")
    put(base / "what_is_hidden" / "__MACOSX" / "hw.ipynb")


@case(points=FULL, told="hw (1).ipynb.download is a notebook by what is in it, and not by its name")
def a_notebook_that_a_browser_renamed(base: Path) -> None:
    put(base / "a_notebook_that_a_browser_renamed" / "hw (1).ipynb.download")


@case("flat", FULL, "flat.ipynb.txt is a notebook by what is in it")
def a_flat_notebook_that_an_editor_renamed(base: Path) -> None:
    put(base / "flat.ipynb.txt")


@case(points=FULL, told="hw.json is a notebook by what is in it")
def a_notebook_that_is_called_as_data_are(base: Path) -> None:
    put(base / "a_notebook_that_is_called_as_data_are" / "hw.json")


@case(points=FULL)
def a_checkpoint_beside_the_notebook(base: Path) -> None:
    put(base / "a_checkpoint_beside_the_notebook" / "hw.ipynb")
    put(base / "a_checkpoint_beside_the_notebook" / ".ipynb_checkpoints" / "hw-checkpoint.ipynb", b"{}")


# --- contents ---------------------------------------------------------------------------------------------


def _contents(**cases: tuple[bytes, float, str]) -> None:
    for name, (data, points, told) in cases.items():

        def make(base: Path, name: str = name, data: bytes = data) -> None:
            put(base / name / "hw.ipynb", data)

        make.__name__ = name
        CASES.append(Case(make, name, points, told))


SURROGATE = answered(HONEST)
cell_of(SURROGATE, "flops")["source"] += "\n# \ud800\x00\x1b[2J"
_contents(
    torn=(RIGHT[:500], 0, "it is not JSON"),
    utf_16=(RIGHT.decode().encode("utf-16"), 0, "it is not UTF-8"),
    a_list=(b"[1, 2]", 0, "it is no notebook"),
    only_cells_that_are_none=(b'{"cells": [1, null, "x", {"source": 7}]}', 0, "are missing"),
    deeply_nested=(b'{"cells": ' + b"[" * 50_000, 0, "nested too deeply"),
    half_a_letter_and_control_characters=(json.dumps(SURROGATE).encode(), FULL - 3, ""),
)


# --- the run ----------------------------------------------------------------------------------------------


@dataclass
class Class:
    """What a class was graded as, by student."""

    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    results: Path = Path()
    root: bool = False
    said: str = ""
    first: set[str] = field(default_factory=set)
    seconds: float = 0.0


def grader(known: Path, base: Path, *words: object) -> list[str]:
    line = [known, "-P", "-m", "roofline_kit.grading", *words, base / "hw", base / "in", "--results", base / "out"]
    return [str(word) for word in line]


def assignment(folder: Path) -> None:
    """The assignment of the attacks, with time for a machine that does much else."""
    shutil.copytree(HERE / "assignment", folder)
    (folder / "assignment.ipynb").rename(folder / "hw.ipynb")
    (folder / "assignment.toml").write_text(
        'title = "Odd"\nsubmitted = ["*.json"]\n[limits]\ncell = 30\nnotebook = 120\n'
    )


@pytest.fixture(scope="module")
def odd(walls: str) -> Iterator[Class]:
    """A class, graded: killed with -9 after the first results, changed in between, and graded to its end."""
    base = Path(tempfile.mkdtemp(prefix="odd-"))  # nobody can enter a folder of pytest's
    base.chmod(0o755)
    for name in ("in", "out", "home", "tmp"):
        (base / name).mkdir()
        (base / name).chmod(0o777)
    assignment(base / "hw")
    for name in (*HONEST_ONES, "removed", "renamed"):
        put(base / "in" / name / "hw.ipynb", RIGHT.replace(b'"metadata"', f' "x": "{name}", "metadata"'.encode(), 1))
    for one in CASES:
        one.make(base / "in")
    try:
        yield _graded(base)
    finally:
        for folder in (base / "in").iterdir():
            for path in (folder, folder / "locked"):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o755)
        subprocess.run(["rm", "-rf", base], check=True)


def _graded(base: Path) -> Class:
    known, who = python(base)
    line, how = grader(known, base, "grade", "--jobs", 2), {"env": environment(base), "cwd": base, **who}
    found = Class(results=base / "out", root=not who and not os.geteuid())
    kept = base / "out" / "results"
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how) as first:
        while first.poll() is None and len([*kept.glob("*.json")]) < 20:
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
    found.first = {path.name for path in kept.glob("*.json")}
    _meddle(base, kept)
    began = time.monotonic()
    second = subprocess.run(line, capture_output=True, text=True, timeout=300, **how)
    found.seconds = time.monotonic() - began
    found.said = second.stdout + second.stderr
    assert second.returncode == 0, found.said[-3000:]
    with (base / "out" / "grades.csv").open(encoding="utf-8", newline="") as file:
        found.rows = {row["student"]: row for row in csv.DictReader(file)}
    return found


def _meddle(base: Path, kept: Path) -> None:
    """What happens between two runs: to the submissions, and to the results."""
    one = json.loads(next(kept.glob("*.json")).read_text())
    for name, changed in {
        "removed": {
            "student": "removed",
            "checks": [{**one["checks"][0], "name": "as_it_was_called"}, *one["checks"][1:]],
        },
        "stranger": {"student": "stranger", "assignment": "another"},
        "renamed": {"student": "renamed"},
    }.items():
        (kept / f"{name}.json").write_text(json.dumps(one | changed))
    shutil.rmtree(base / "in" / "removed")
    (base / "in" / "renamed").rename(base / "in" / "renamed since")
    (kept / ".ipynb_checkpoints").mkdir()
    (kept / ".ipynb_checkpoints" / "ada-checkpoint.json").write_text("{}")
    (kept / "folder.json").mkdir()
    for name, text in {
        "half of one": "{",
        "list": "[]",
        "copy of honest00": json.dumps(one),
        "bare": '{"student": "bare"}',
    }.items():
        (kept / f"{name}.json").write_text(text)
    for path in kept.rglob("*"):
        path.chmod(0o777)


@pytest.mark.parametrize("one", CASES, ids=[one.name for one in CASES])
def test_an_odd_submission_is_a_row_with_its_points_and_a_reason(one: Case, odd: Class) -> None:
    if "Permission denied" in one.told and odd.root:  # who may read everything
        missing(HOW)
    student = f"'{one.student}" if one.student[0] in "=-" else one.student
    row = odd.rows[student]
    assert float(row["points"]) == one.points, row
    for words in one.told.split("; "):
        assert words in row["needs a person"], row
    assert bool(one.told) or not row["needs a person"], row


def test_there_are_forty_and_more() -> None:
    assert len(CASES) >= 40 and len({one.student for one in CASES}) == len(CASES)


def test_nobody_honest_is_harmed(odd: Class) -> None:
    for name in (*HONEST_ONES, "renamed since"):
        assert float(odd.rows[name]["points"]) == FULL and not odd.rows[name]["needs a person"]


def test_nobody_is_in_the_table_who_is_not_in_the_class(odd: Class) -> None:
    shown = {one.student if one.student[0] not in "=-" else f"'{one.student}" for one in CASES}
    assert odd.rows.keys() == {*shown, *HONEST_ONES, "renamed since", "renamed", "removed"}


def test_who_was_removed_or_renamed_is_kept_and_said(odd: Class) -> None:
    assert "not among the submissions of the last run" in odd.rows["removed"]["remarks"]
    assert "not among the submissions of the last run" in odd.rows["renamed"]["remarks"]
    assert "flops: this was graded before there was such a check" in odd.rows["removed"]["needs a person"]
    assert "as_it_was_called" not in odd.rows["removed"]
    page = (odd.results / "index.html").read_text("utf-8")
    assert "2 were not among the submissions of the last run, and are kept: removed, renamed" in page


def test_what_lies_among_the_results_and_is_none_is_left_there_and_said(odd: Class) -> None:
    page = (odd.results / "index.html").read_text("utf-8")
    assert "stranger: its result is of another, and is left out" in page
    assert f"5 files in {odd.results / 'results'} are no results" in page, page[:9000]
    assert (odd.results / "results" / ".ipynb_checkpoints" / "ada-checkpoint.json").exists()


def test_a_run_that_was_killed_goes_on_where_it_was(odd: Class) -> None:
    assert len(odd.first) >= 20
    told = [line for line in odd.said.splitlines() if ": 10 of 10" in line and line.startswith("honest")]
    again = {f"{line.partition(':')[0]}.json" for line in told}
    assert not again & odd.first


def test_every_student_has_a_page_and_no_name_got_into_one_as_it_was(odd: Class) -> None:
    pages = {path.name: path.read_text("utf-8") for path in (odd.results / "feedback").iterdir()}
    assert len(pages) == len(odd.rows)
    assert len({name.casefold() for name in pages}) == len(pages)
    for text in (*pages.values(), (odd.results / "index.html").read_text("utf-8")):
        assert "<img" not in text and "\x1b" not in text and "\u202e" not in text
    assert "çelik" in " ".join(pages)


def test_no_name_can_move_the_cursor_or_fake_a_line(odd: Class) -> None:
    assert odd.said.isascii()
    assert not set(odd.said) & {"\x1b", "\r", "\x07", "\x08"}
    assert not [line for line in odd.said.splitlines() if line.startswith(("z-honest", "write: 10"))]
    text = (odd.results / "grades.csv").read_text("utf-8")
    assert "\x1b" not in text and "\r" not in text and len(text.splitlines()) == len(odd.rows) + 1


def test_files_of_1_tb_cost_no_time(odd: Class) -> None:
    large = [json.loads(path.read_text()) for path in (odd.results / "results").glob("*1_tb*.json")]
    assert len(large) == 2
    slowest = max(result["seconds"] for result in large if result["refused"])
    assert slowest < 60  # to read as much of nothing takes minutes


def test_nothing_but_results_was_written(odd: Class) -> None:
    assert stat.S_ISFIFO((odd.results.parent / "in" / "a_pipe" / "hw.ipynb").lstat().st_mode)
    assert not [*(odd.results.parent / "tmp").iterdir()], "nothing temporary is left"
