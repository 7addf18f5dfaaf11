"""What students write survives the course's updates: real git, and nbgitpuller as a hub runs it."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from needed import installed
from upstream import begun, committed, git, published, source

from roofline_kit.course.start import course_folder, start

REPOSITORY = Path(__file__).parent.parent


def edit(path: Path, change: Callable[[list[dict[str, object]]], None]) -> None:
    notebook = json.loads(path.read_text("utf-8"))
    change(notebook["cells"])
    path.write_text(json.dumps(notebook, indent=1), "utf-8")


def cell(name: str, source: str) -> dict[str, object]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source.splitlines(keepends=True)}


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    return begun(tmp_path / "upstream", "notebooks/0[024]_*")


def typed(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Types `roofline-kit` and these words."""
    line = [sys.executable, "-m", "roofline_kit", *words]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True)


def pulled(upstream: Path, into: Path) -> None:
    """What a link to the hub does."""
    installed("nbgitpuller", "nbgitpuller")
    program = "import sys; from nbgitpuller.pull import GitPuller\n"
    program += "for line in GitPuller(sys.argv[1], sys.argv[2], branch='main').pull(): print(line, end='')"
    done = subprocess.run([sys.executable, "-c", program, upstream.as_uri(), str(into)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_copy_survives_five_updates_and_each_update_arrives(upstream: Path, tmp_path: Path) -> None:
    mine, course = tmp_path / "student", source(upstream)
    pulled(upstream, mine)
    copy, new = start("02", course=mine)
    assert new and copy == mine / "work" / "02_attention.ipynb"
    edit(copy, lambda cells: cells.insert(3, cell("mine", "my own words")))
    work = copy.read_bytes()

    page, other = (Path("notebooks", f"{name}.ipynb") for name in ("02_attention", "04_heads_and_kv_cache"))
    updates: list[Callable[[], object]] = [
        lambda: edit(course / page, lambda cells: cells[2].update(source=["a correction"])),
        lambda: edit(course / page, lambda cells: cells.insert(3, cell("new", "a new cell"))),
        lambda: edit(course / page, lambda cells: cells.pop(5)),
        lambda: (course / other).rename(course / "notebooks" / "04_heads.ipynb"),
        lambda: shutil.copy(course / page, course / "notebooks" / "10_more.ipynb"),
    ]
    for update in updates:
        update()
        published(upstream)
        pulled(upstream, mine)
        for path in (course / "notebooks").iterdir():
            assert (mine / "notebooks" / path.name).read_bytes() == path.read_bytes()
        assert copy.read_bytes() == work
        assert start("02", course=mine) == (copy, False)
        assert copy.read_bytes() == work
    assert not (mine / other).exists()
    assert start("10", course=mine)[1]


def test_an_update_arrives_beside_what_was_changed_and_loses_nothing(upstream: Path, tmp_path: Path) -> None:
    mine, (first, second, third) = (
        tmp_path / "student",
        sorted(Path("notebooks", p.name) for p in (upstream / "notebooks").iterdir()),
    )
    more, kit = Path("notebooks", "10_more.ipynb"), Path("roofline_kit", "hardware.py")
    course = source(upstream)
    (course / "roofline_kit").mkdir()
    (course / kit).write_text("A10 = 1\n")
    shutil.copy(course / third, course / "notebooks" / "11_old.ipynb")
    published(upstream)
    git(tmp_path, "clone", "--quiet", str(upstream), mine.name)

    (mine / first).write_text(
        (mine / first).read_text().replace('"name": "python",', '"name": "python", "version": "3.99",')
    )
    edit(mine / second, lambda cells: cells[2].update(source=["my own words: [back](00_start_here.ipynb)"]))
    edit(mine / third, lambda cells: cells[2].update(source=["words where nothing is corrected"]))
    shutil.copy(mine / second, mine / more)
    (mine / kit).write_text("A10 = 2\n")
    (mine / "notes.txt").write_text("mine")
    kept = {path: (mine / path).read_bytes() for path in (third, Path("notes.txt"))}
    for path in (first, second):
        edit(course / path, lambda cells: cells[2].update(source=["a correction"]))
    shutil.copy(course / third, course / more)
    (course / kit).write_text("A10 = 3\n")
    (course / "notebooks" / "11_old.ipynb").unlink()
    published(upstream)

    done = typed("update", cwd=mine)
    assert done.returncode == 0, done.stderr
    for path in (first, second, more, kit):
        assert (mine / path).read_bytes() == (course / path).read_bytes()
    assert {path: (mine / path).read_bytes() for path in kept} == kept
    work = {path.name: path.read_text("utf-8") for path in (mine / "work").iterdir()}
    assert set(work) == {f"{second.stem}-mine.ipynb", "10_more-mine.ipynb", "hardware-mine.py"}
    assert "my own words: [back](../notebooks/00_start_here.ipynb)" in work[f"{second.stem}-mine.ipynb"]
    assert work["hardware-mine.py"] == "A10 = 2\n"
    for name in (second, more, kit):
        assert f"You changed {name.as_posix()}: what you had is now work/{name.stem}-mine{name.suffix}." in done.stdout
    assert "You changed " + first.as_posix() not in done.stdout
    assert done.stdout.splitlines()[-3:] == [
        f"New: {more.as_posix()}.",
        f"Corrected: {first.as_posix()}, {second.as_posix()}, 1 other file.",
        "Gone: notebooks/11_old.ipynb.",
    ]
    assert typed("update", cwd=mine).stdout == "Nothing is new.\n"


def test_who_opened_a_fold_has_changed_nothing(upstream: Path, tmp_path: Path) -> None:
    mine, page, fold = tmp_path / "student", Path("notebooks", "02_attention.ipynb"), "jp-MarkdownHeadingCollapsed"
    edit(source(upstream) / page, lambda cells: cells[2].update(metadata={fold: True}))
    published(upstream)
    git(tmp_path, "clone", "--quiet", str(upstream), mine.name)
    edit(mine / page, lambda cells: cells[2]["metadata"].pop(fold))
    edit(source(upstream) / page, lambda cells: cells[2].update(source=["a correction"]))
    published(upstream)
    assert typed("update", cwd=mine).stdout == f"Corrected: {page.as_posix()}.\n"
    assert (mine / page).read_bytes() == (source(upstream) / page).read_bytes() and not (mine / "work").exists()


def test_an_update_that_git_refuses_changes_nothing_and_says_why(upstream: Path, tmp_path: Path) -> None:
    mine, page = tmp_path / "student", Path("notebooks", "02_attention.ipynb")
    git(tmp_path, "clone", "--quiet", str(upstream), mine.name)
    edit(mine / page, lambda cells: cells[2].update(source=["my own words"]))
    committed(mine)
    edit(source(upstream) / page, lambda cells: cells[2].update(source=["a correction"]))
    published(upstream)
    before = (mine / page).read_bytes()
    refused = {
        "has commits of its own: `git pull`": lambda: None,
        "git brings no update: fatal": lambda: shutil.rmtree(upstream),
    }
    for words, cause in refused.items():
        cause()
        done = typed("update", cwd=mine)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
        assert words in done.stderr
        assert (mine / page).read_bytes() == before and not (mine / "work").exists()


def test_without_a_copy_a_correction_is_lost_without_a_word(upstream: Path, tmp_path: Path) -> None:
    """Why students work in a copy: beside cells that they changed, what the course corrects does not arrive."""
    mine, page = tmp_path / "student", Path("notebooks", "02_attention.ipynb")
    pulled(upstream, mine)
    edit(mine / page, lambda cells: cells[2].update(source=["my own words"]))
    edit(source(upstream) / page, lambda cells: cells[2].update(source=["a correction"]))
    published(upstream)
    pulled(upstream, mine)
    text = (mine / page).read_text("utf-8")
    assert "my own words" in text and "a correction" not in text


def test_a_lesson_is_found_by_its_number_or_the_beginning_of_its_name(tmp_path: Path) -> None:
    assert start("02", tmp_path)[0] == tmp_path / "02_attention.ipynb"
    assert start("04_heads", tmp_path)[0] == tmp_path / "04_heads_and_kv_cache.ipynb"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["02_attention.ipynb", "04_heads_and_kv_cache.ipynb"]


LINK = re.compile(r"\]\(([^):#]+\.(?:ipynb|md))(?=[#)])")


@pytest.mark.parametrize("lesson", sorted(path.stem for path in REPOSITORY.glob("notebooks/*.ipynb")))
def test_a_copy_is_its_lesson_but_for_its_links_which_lead_to_the_same_pages(lesson: str, tmp_path: Path) -> None:
    copy, _ = start(lesson, tmp_path / "deep" / "down")
    pages = (REPOSITORY / "notebooks" / f"{lesson}.ipynb").read_text("utf-8")
    copied = copy.read_text("utf-8")
    assert LINK.sub("", copied) == LINK.sub("", pages)
    links = LINK.findall(pages)
    assert [(copy.parent / link).resolve() for link in LINK.findall(copied)] == [
        (REPOSITORY / "notebooks" / link).resolve() for link in links
    ]
    assert all((REPOSITORY / "notebooks" / link).is_file() for link in links)


def test_a_full_disk_leaves_no_half_lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self) -> None:
            pass

    def opened(path: Path, *_: object, **__: object) -> Full:
        path.touch(exist_ok=False)
        return Full()

    with monkeypatch.context() as full:
        full.setattr("builtins.open", opened)
        with pytest.raises(OSError, match="No space left"):
            start("02", tmp_path)
    assert not list(tmp_path.iterdir())
    assert start("02", tmp_path)[1]


@pytest.mark.skipif(sys.platform != "linux", reason="where nobody can write, not even root, is Linux's")
def test_a_folder_that_cannot_be_written_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for into in (Path("/sys/work"), Path("/proc/work"), tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=rf"nothing can be written into '{into}' \(.*name a folder of your own"):
            start("01", into)
        done = typed("start", "01", "--into", str(into), cwd=REPOSITORY)
        assert done.returncode == 1 and f"'{into}'" in done.stderr and "--into" in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("02_atention", "did you mean '02_attention'"),
        ("99", "unknown lesson '99'.*see notebooks/"),
        (".ipynb", "unknown lesson"),
    ],
)
def test_a_lesson_that_is_not_there_is_refused(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        start(name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "page"), [("2", "02_attention"), ("0", "00_start_here"), ("09", "09_measure_on_delta")]
)
def test_a_lesson_is_found_by_its_number(name: str, page: str, tmp_path: Path) -> None:
    assert start(name, tmp_path) == (tmp_path / f"{page}.ipynb", True)


def test_the_course_is_found_from_its_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY / "notebooks")
    assert course_folder() == REPOSITORY
