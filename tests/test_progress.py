"""What is answered is kept beside the student's copies, whole or not at all, and never beside the course's pages."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from upstream import REPOSITORY

import roofline_kit as rk
from roofline_kit.course import progress
from roofline_kit.course.builds import build_ids
from roofline_kit.course.lessons import hints
from roofline_kit.course.start import start


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a copy of page 01, where its kernel runs."""
    start("01", tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def row(page: str) -> list[str]:
    """The line of a page in the table: its title, how much is answered, what is open."""
    return next(line for line in repr(rk.progress()).splitlines() if line.startswith(page)).split("  ")


def test_a_right_answer_is_kept_beside_the_copy_and_shown_on_its_page(work: Path) -> None:
    assert "0 of 8" in " ".join(row("1 ·")) and "01.saxpy" in row("1 ·")[-1]
    rk.check("01.saxpy", 1 / 6)
    rk.check("01.dot", 0.25)
    rk.check("01.saxpy", "1/6")
    assert "1 of 8" in " ".join(row("1 ·")) and "01.saxpy" not in row("1 ·")[-1] and "01.dot" in row("1 ·")[-1]
    assert json.loads((work / "progress.json").read_text("utf-8")) == ["01.saxpy"]
    assert repr(rk.progress()).endswith("Kept in work/progress.json.")
    assert "<table>" in rk.progress()._repr_html_() and "1 of 8" in rk.progress()._repr_html_()


def test_all_questions_are_counted_and_a_page_that_is_done_says_so(work: Path) -> None:
    known = [*hints(), *build_ids()]
    (work / "progress.json").write_text(json.dumps([question for question in known if question < "02"]), "utf-8")
    assert row("0 ·")[-1].strip() == row("1 ·")[-1].strip() == "✓"
    counts = [line.split(" of ")[1].split()[0] for line in repr(rk.progress()).splitlines() if " of " in line]
    assert sum(map(int, counts)) == len(known) == len(set(known))


def test_a_function_that_is_right_is_kept_like_an_answer(work: Path) -> None:
    rk.build("01.order", lambda A, B, x: A @ B @ x)
    assert "01.order" in row("1 ·")[-1] and not (work / "progress.json").exists()
    rk.build("01.order", lambda A, B, x: A @ (B @ x))
    assert json.loads((work / "progress.json").read_text("utf-8")) == ["01.order"]
    assert "1 of 8" in " ".join(row("1 ·")) and "01.order" not in row("1 ·")[-1]


def test_each_title_is_a_line() -> None:
    titles = [line.split("  ")[0] for line in repr(rk.progress()).splitlines()[1:-1]]
    pages = sorted((REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    assert [int(title.partition(" ·")[0]) for title in titles] == [int(page.name[:2]) for page in pages]
    assert max(map(len, titles)) < 40


def test_a_wrong_answer_a_try_and_a_question_for_the_answer_write_nothing(work: Path) -> None:
    for answer in (..., 1 / 4, "many", 7, 8):
        rk.check("01.saxpy", answer)
    rk.answer("01.saxpy")
    rk.progress()
    assert [path.name for path in work.iterdir()] == ["01_arithmetic_intensity.ipynb"]


def test_two_kernels_add_to_what_the_other_has_kept(work: Path) -> None:
    line = "import sys, roofline_kit as rk; rk.check(*eval(sys.argv[1]))"
    for given in ('("01.dot", 0.5)', '("01.drag", 2)'):
        subprocess.run(
            [sys.executable, "-c", line, given], check=True, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}
        )
    rk.check("01.faster", 5.58)
    assert json.loads((work / "progress.json").read_text("utf-8")) == ["01.dot", "01.drag", "01.faster"]


@pytest.mark.parametrize("folder", [REPOSITORY / "notebooks", REPOSITORY, REPOSITORY / "assignments"])
def test_beside_the_courses_own_pages_nothing_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the table that page 00 shows is the same on each run, whatever else lies in the checkout."""
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    assert rk.check("00.bound", "memory").message == f"✓ Right. {hints()['00.bound']['right']}"
    assert sorted(folder.iterdir()) == before
    assert "Nothing is kept here" in repr(rk.progress()) and "0 of 2" in " ".join(row("0 ·"))


def test_a_copy_of_the_first_page_is_no_page_of_the_course(work: Path) -> None:
    start("00", work)
    rk.check("00.bound", "memory")
    assert "1 of 2" in " ".join(row("0 ·"))


def test_where_the_kit_alone_is_installed_copies_have_their_progress(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> Path:
        raise ValueError("the course is not here")

    monkeypatch.setattr(progress, "course_folder", nowhere)
    rk.check("01.dot", 0.5)
    assert (work / "progress.json").is_file()


def test_a_folder_that_cannot_be_written_costs_no_verdict_and_is_named(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(progress, "write", refused)
    verdict = rk.check("01.dot", 0.5)
    assert verdict.right
    said = "work/progress.json cannot be written (Read-only file system): your progress is not kept."
    assert verdict.message.endswith(said)
    built = rk.build("01.order", lambda A, B, x: A @ (B @ x))
    assert built.right and built.message.endswith(f"\n\n{said}")


@pytest.mark.skipif(sys.platform != "linux", reason="where nobody can write, not even root, is Linux's")
def test_a_folder_that_is_read_only_by_itself_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "own_folder", lambda: Path("/proc"))
    verdict = rk.check("01.dot", 0.5)
    assert verdict.right and "proc/progress.json cannot be written (" in verdict.message


def test_a_disk_that_is_full_leaves_what_was_kept(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rk.check("01.dot", 0.5)
    before = (work / "progress.json").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in rk.check("01.faster", 5.58).message
    assert (work / "progress.json").read_bytes() == before
    assert sorted(path.name for path in work.iterdir()) == ["01_arithmetic_intensity.ipynb", "progress.json"]


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", '"01.dot"', "[" * 5000, "\udcff"])
def test_a_file_that_is_damaged_is_left_alone_and_costs_no_verdict(work: Path, text: str) -> None:
    damaged = text.encode("utf-8", "surrogateescape")
    (work / "progress.json").write_bytes(damaged)
    verdict = rk.check("01.dot", 0.5)
    assert verdict.right and "work/progress.json is damaged" in verdict.message and "delete it" in verdict.message
    assert "work/progress.json is damaged" in repr(rk.progress())
    assert (work / "progress.json").read_bytes() == damaged


def test_questions_that_the_course_no_longer_asks_do_no_harm(work: Path) -> None:
    (work / "progress.json").write_text('["01.gone", "01.dot"]', "utf-8")
    assert "1 of 8" in " ".join(row("1 ·"))
    rk.check("01.faster", 5.58)
    assert json.loads((work / "progress.json").read_text("utf-8")) == ["01.dot", "01.faster", "01.gone"]
