"""What students get has no answer in it, and everything that they need: the repository that an instructor publishes."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest
from upstream import REPOSITORY, begun, committed, course, git, published, source

from roofline_kit.course.start import start
from roofline_kit.grading import assignment, release
from roofline_kit.grading.publish import PUBLISHED, SEAL, for_students, publish

SHORTEST = 16  # letters without blanks: `return seconds` and `for card in cards:` may stand anywhere


def run(*line: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Types something in a folder, as somebody does whose kit is in that folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MAKE"))}
    return subprocess.run(line, cwd=cwd, env=clean | variables, capture_output=True, text=True)


@pytest.fixture(scope="module")
def whole(walls: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of our course, published twice by the command: first while two assignments were drafts."""
    folder = tmp_path_factory.mktemp("whole")
    ours, students = course(folder / "course"), folder / "students"
    line = (sys.executable, "-m", "roofline_kit", "publish", "../students")
    plans = [ours / "assignments" / name / "assignment.toml" for name in ("hw1_walk_through", "hw3_measure")]
    for plan in plans:
        plan.write_text("draft = true\n" + plan.read_text("utf-8"), "utf-8")
    first = run(*line, cwd=ours, PYTHONPATH=str(ours))
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("is a draft") == 2 and "release/hw2_seven_billion.ipynb" in first.stdout
    assert "release/hw1" not in first.stdout
    git(ours, "checkout", "--quiet", ".")
    second = run(*line, cwd=ours / "notebooks", PYTHONPATH=str(ours), PWD="")
    assert second.returncode == 1 and "is in the course" in second.stderr, "a path begins where one is"
    second = run(*line, cwd=ours, PYTHONPATH=str(ours))
    assert (second.returncode, second.stdout) == (
        0,
        "New: release/hw1_walk_through.ipynb, release/hw3_measure.ipynb.\n",
    )
    return students


@pytest.fixture
def mine(whole: Path, tmp_path: Path) -> Path:
    """A student's clone of it."""
    git(tmp_path, "clone", "--quiet", str(whole), "mine")
    return tmp_path / "mine"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A course of three pages, without assignments, published."""
    return begun(tmp_path / "students", "notebooks/0[024]_*", "README.md")


def bare(text: str) -> str:
    return "".join(text.split())


def told(blob: bytes) -> str:
    """What a reader finds in a file: its text, and that of a notebook's cells without JSON's own signs."""
    text = blob.decode("utf-8", "replace")
    try:
        cells = json.loads(text)["cells"]
    except (ValueError, LookupError, TypeError):
        return text
    return "\n".join([text, *("".join(cell["source"]) for cell in cells)])


def blobs(repository: Path) -> dict[str, bytes]:
    """All files that git has of all commits, and of none, by their hash."""
    listed = git(repository, "cat-file", "--batch-all-objects", "--batch-check").splitlines()
    names = [line.split()[0] for line in listed if line.split()[1] == "blob"]
    done = subprocess.run(
        ["git", "cat-file", "--batch"], cwd=repository, input="\n".join(names).encode(), capture_output=True
    )
    found, answer = {}, io.BytesIO(done.stdout)
    for name in names:
        size = int(answer.readline().split()[2])
        found[name] = answer.read(size)
        answer.read(1)
    return found


def secrets(given: assignment.Assignment) -> set[str]:
    """Lines that no student may see: of solutions, of checks and of what is recorded for an instructor's answers."""
    lines = []
    for answer in given.answers.values():
        solved = assignment.solution(answer.source)
        code = [line.split("  #")[0] for line in solved.splitlines()]
        lines += [line for line in code if bare(line) not in bare(answer.stub)]
    for check in given.checks.values():
        lines += [line for line in check.source.splitlines() if re.search(r"at\(|draw\(|report\(|\]$", line)]
    for file in given.path.parent.glob("*.json"):
        lines += re.findall(r"\d\.\d{9,}", file.read_text("utf-8"))
    return {bare(line) for line in lines if len(bare(line)) >= SHORTEST and not line.strip().startswith("from ")}


def submitted() -> set[str]:
    """Lines of the answers that our tests hand in."""
    given = [assignment.read(path.parent) for path in (REPOSITORY / "assignments").glob("*/assignment.toml")]
    stubs = "".join(bare(answer.stub) for of in given for answer in of.answers.values())
    text = "\n".join(path.read_text("utf-8") for path in (REPOSITORY / "tests" / "submissions").glob("*.toml"))
    lines = {bare(line) for line in text.splitlines() if re.search(r"^\s*return .*[*/(]|^\s*\w+_\w+ = .*[*/]", line)}
    return {line for line in lines if len(line) >= SHORTEST and line not in stubs}


ASSIGNMENTS = sorted(path.parent for path in REPOSITORY.glob("assignments/*/assignment.toml"))
OF_ALL = pytest.mark.parametrize("folder", ASSIGNMENTS, ids=lambda path: path.name)


@pytest.fixture(scope="module")
def written(whole: Path) -> str:
    """Everything that git has of the students' repository, without blanks."""
    return "\0".join(bare(told(blob)) for blob in blobs(whole).values())


@OF_ALL
def test_no_answer_and_no_check_is_in_any_file_of_any_commit(folder: Path, written: str) -> None:
    given = assignment.read(folder)
    looked_for = secrets(given)
    ours = bare("\n".join([told(given.path.read_bytes()), *(p.read_text() for p in folder.glob("*.json"))]))
    assert len(looked_for) > 40 and all(line in ours for line in looked_for), "they would be found"
    assert [line for line in looked_for if line in written] == []


def test_no_submission_of_our_tests_is_in_any_file_of_any_commit(written: str) -> None:
    assert len(submitted()) > 20
    assert [line for line in submitted() if line in written] == []


@OF_ALL
def test_no_notebook_gives_away_an_answer_in_other_words(folder: Path, whole: Path) -> None:
    given = assignment.read(folder)
    assert list(release.given_away(given, given.notebook)), "it would be found"
    pages = [nbformat.reads(blob.decode(), 4) for blob in blobs(whole).values() if b'"cells": [' in blob[:20]]
    assert len(pages) == len([*REPOSITORY.glob("notebooks/*.ipynb"), *ASSIGNMENTS])
    assert [fault for page in pages for fault in release.given_away(given, page)] == []


def test_the_mark_of_a_solution_stands_only_where_the_kit_defines_it(whole: Path) -> None:
    marked = [name for name, blob in blobs(whole).items() if b"BEGIN SOLUTION" in blob]
    assert marked == git(whole, "rev-parse", "HEAD:roofline_kit/grading/assignment.py").split()


def test_no_file_is_an_instructor_s(whole: Path) -> None:
    theirs = git(source(whole).with_name("course"), "ls-tree", "-r", "HEAD", "assignments", "tests", "docs", "scripts")
    known = {line.split("\t")[1]: line.split()[2] for line in theirs.splitlines()}
    private = {name: of for name, of in known.items() if not name.startswith("docs/images/")}
    assert len(private) > 50
    empty = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert (set(private.values()) - {empty}) & set(blobs(whole)) == set()


def test_it_has_what_students_need_and_nothing_else(whole: Path) -> None:
    tops = {"docs" if name.startswith("docs/") else name for name in PUBLISHED} | {"release", SEAL}
    assert {path.name for path in whole.iterdir()} == tops | {".git"}
    assert {path.name for path in (whole / "docs").iterdir()} == {"images"}
    assert {path.name for path in (whole / "release").iterdir()} == {f"{path.name}.ipynb" for path in ASSIGNMENTS}
    assert git(whole, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("name", "ignored"),
    [("graded/hw1/grades.csv", 0), ("submissions/ada.ipynb", 0), ("work/02.ipynb", 0), ("release/hw9.ipynb", 1)],
)
def test_git_ignores_what_a_student_makes_and_not_what_is_released(name: str, ignored: int, whole: Path) -> None:
    assert run("git", "check-ignore", "--quiet", name, cwd=whole).returncode == ignored


def test_each_link_leads_somewhere(whole: Path) -> None:
    texts = {path: [path.read_text("utf-8")] for path in whole.rglob("*.md")}
    for path in whole.rglob("*.ipynb"):
        texts[path] = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
    links = [(path, link) for path, of in texts.items() for link in re.findall(r"\]\(([^)#:]+)\)", "\n".join(of))]
    assert len(links) > 30
    assert [(str(path), link) for path, link in links if not (path.parent / link).exists()] == []


def test_readme_speaks_of_no_command_and_no_folder_that_is_not_there(whole: Path) -> None:
    for readme in (whole / "README.md", whole / "measurements" / "README.md"):
        text = readme.read_text("utf-8")
        assert "for students" not in text
        assert set(re.findall(r"make ([a-z]+)(?=[ `])", text)) <= {"lab", "update"}
        for name in re.findall(r"`((?:assignments|benchmarks|docs|measurements|notebooks|scripts|tests)/[^`]*)`", text):
            assert (whole / name).exists(), name
    listed = run("make", cwd=whole)
    assert re.findall(r"^make ([a-z-]+)", listed.stdout, re.MULTILINE) == ["help", "lab", "update", "clean"]
    planned = run("make", "--dry-run", "lab", cwd=whole)
    assert planned.returncode == 0 and "-r requirements.txt" in planned.stdout, planned.stderr
    assert "jupyter lab" in planned.stdout
    assert run("make", "--dry-run", "test", cwd=whole).returncode == 2, "it is not silently there"


def test_pip_installs_its_kit(mine: Path, tmp_path: Path) -> None:
    line = ["-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    done = run(sys.executable, *line, str(tmp_path), ".", cwd=mine)
    assert done.returncode == 0, done.stderr
    assert [path.name.split("-")[0] for path in tmp_path.glob("*.whl")] == ["roofline_kit"]
    assert "-e . " in (mine / "requirements.txt").read_text("utf-8")


def test_a_student_begins_an_assignment_and_checks_it_there(mine: Path) -> None:
    kit = (sys.executable, "-m", "roofline_kit")
    begun = run(*kit, "start", "hw1", cwd=mine)
    assert begun.returncode == 0, begun.stderr
    assert (mine / begun.stdout.strip()).resolve() == mine / "work" / "hw1_walk_through.ipynb"
    where = run(sys.executable, "-c", "import roofline_kit; print(roofline_kit.__file__)", cwd=mine)
    assert where.stdout.strip() == str(mine / "roofline_kit" / "__init__.py")
    checked = run(*kit, "check", "work/hw1_walk_through.ipynb", cwd=mine)
    assert checked.returncode == 1
    assert checked.stdout.count("not answered yet") >= 11 and "Not ready yet." in checked.stdout
    assert git(mine, "status", "--porcelain") == ""
    refused = run(*kit, "publish", "../more", cwd=mine)
    assert refused.returncode == 1 and "is what students get" in refused.stderr
    assert not (mine.parent / "more").exists()


def test_each_file_that_a_page_reads_is_there(whole: Path) -> None:
    pages = {path: nbformat.read(path, 4) for path in sorted(whole.glob("notebooks/*.ipynb"))}
    code = [(path, cell.source) for path, page in pages.items() for cell in page.cells if cell.cell_type == "code"]
    read = [(path, name) for path, source in code for name in re.findall(r'"(\.\./[^"]+)"', source)]
    assert {name for _, name in read} >= {"../measurements/epyc-2-cores"}
    assert [(path.name, name) for path, name in read if not (path.parent / name).exists()] == []


def test_the_link_of_the_docs_names_the_branch_and_a_page_of_what_is_published(whole: Path) -> None:
    text = (REPOSITORY / "docs" / "instructors.md").read_text("utf-8")
    (link,) = re.findall(r"^https://HUB/.*?(?=^```)", text, re.MULTILINE | re.DOTALL)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(re.sub(r"\s", "", link)).query).items()}
    assert asked["branch"] == git(whole, "branch", "--show-current").strip()
    assert (whole / asked["urlpath"].removeprefix(f"lab/tree/{asked['targetpath']}/")).is_file()


def test_what_is_new_arrives_by_a_pull_beside_a_copy_and_changes_of_one_s_own(small: Path, tmp_path: Path) -> None:
    mine, ours, page = tmp_path / "mine", source(small), Path("notebooks", "02_attention.ipynb")
    git(tmp_path, "clone", "--quiet", str(small), "mine")
    copy, _ = start("02", course=mine)
    copy.write_text(copy.read_text("utf-8").replace("attention", "my words"), "utf-8")
    (mine / "README.md").write_text("mine\n")
    (mine / "notes.txt").write_text("mine\n")
    kept = {path: path.read_bytes() for path in (copy, mine / "README.md", mine / "notes.txt")}
    (ours / page).write_text((ours / page).read_text("utf-8").replace("Attention", "A correction"), "utf-8")
    (ours / "notebooks" / "10_new.ipynb").write_bytes((ours / page).read_bytes())
    (ours / "notebooks" / "04_heads_and_kv_cache.ipynb").unlink()
    before = git(small, "rev-parse", "HEAD")
    assert published(small) == [
        "New: notebooks/10_new.ipynb.",
        "Corrected: notebooks/02_attention.ipynb.",
        "Gone: notebooks/04_heads_and_kv_cache.ipynb.",
    ]
    assert git(small, "rev-parse", "HEAD~") == before, "a normal commit, on top"
    git(mine, "pull", "--quiet", "--ff-only")
    assert (mine / page).read_bytes() == (ours / page).read_bytes()
    assert {path.name for path in (mine / "notebooks").iterdir()} == {
        path.name for path in (ours / "notebooks").iterdir()
    }
    assert {path: path.read_bytes() for path in kept} == kept


def test_the_author_is_who_commits_to_the_course(small: Path) -> None:
    assert git(small, "log", "--format=%an <%ae>, %cn <%ce>").splitlines() == [
        "Ada Teacher <ada@example.org>, Ada Teacher <ada@example.org>"
    ]


def test_where_nothing_is_new_there_is_no_commit(small: Path) -> None:
    before = git(small, "rev-parse", "HEAD")
    assert published(small) == ["Nothing is new."]
    assert git(small, "rev-parse", "HEAD") == before


def test_the_same_course_gives_the_same_files_wherever_and_however_git_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = begun(tmp_path / "one", "notebooks/00*", "assignments/hw2*", "README.md", "LICENSE")
    ours = source(one)
    (tmp_path / "other").mkdir()
    git(tmp_path / "other", "init", "--quiet", "--initial-branch=spring")
    (tmp_path / "settings").write_text("[core]\n autocrlf = true\n fileMode = false\n[commit]\n gpgSign = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "settings"))
    umask = os.umask(0o077)
    try:
        publish(tmp_path / "other", ours, unsafe=True)
    finally:
        os.umask(umask)
    assert git(tmp_path / "other", "rev-parse", "HEAD^{tree}") == git(one, "rev-parse", "HEAD^{tree}")
    assert git(tmp_path / "other", "branch", "--show-current") == "spring\n", "an empty clone is filled as it is"
    assert "README.md" in git(one, "ls-files")


def test_a_hook_of_the_course_can_publish_it(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = source(small)
    (ours / "README.md").write_text("new\n")
    committed(ours)
    head = git(ours, "rev-parse", "HEAD")
    with monkeypatch.context() as hook:
        hook.setenv("GIT_DIR", str(ours / ".git"))
        hook.setenv("GIT_INDEX_FILE", str(ours / ".git" / "index"))
        assert publish(small, ours) == ["Corrected: 1 other file."]
    assert git(ours, "rev-parse", "HEAD") == head and git(ours, "status", "--porcelain") == ""


def in_the_course(students: Path) -> Path:
    return source(students) / "students"


def by_a_link_in_the_course(students: Path) -> Path:
    (students.parent / "link").symlink_to(source(students))
    return students.parent / "link" / "students"


def the_course_itself(students: Path) -> Path:
    return source(students)


def somebody_s(students: Path) -> Path:
    (students.parent / "other").mkdir()
    (students.parent / "other" / "thesis.txt").touch()
    return students.parent / "other"


def another_repository(students: Path) -> Path:
    git(somebody_s(students), "init", "--quiet")
    committed(students.parent / "other")
    return students.parent / "other"


def a_file(students: Path) -> Path:
    return students / "README.md"


def changed(students: Path) -> Path:
    (students / "README.md").write_text("by hand\n")
    return students


def with_a_file_more(students: Path) -> Path:
    (students / "notes.txt").write_text("by hand\n")
    return students


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (in_the_course, "is in the course, .*such as ../students"),
        (by_a_link_in_the_course, "is in the course"),
        (the_course_itself, "is in the course"),
        (somebody_s, "other is neither empty nor a repository that was published before"),
        (another_repository, "other is neither empty nor a repository that was published before"),
        (a_file, "README.md is neither empty nor a repository"),
        (changed, "has changes that are in no commit: README.md. Make them in the course"),
        (with_a_file_more, "has changes that are in no commit: notes.txt"),
    ],
)
def test_a_folder_that_would_lose_something_is_refused(
    place: Callable[[Path], Path], said: str, small: Path, tmp_path: Path
) -> None:
    folder = place(small)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "index"}
    with pytest.raises(ValueError, match=said):
        publish(folder, source(small))
    assert before == {
        path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "index"
    }


def test_without_git_or_without_an_author_it_is_said(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        with pytest.raises(RuntimeError, match="git is not installed"):
            publish(tmp_path / "new", source(small))
    with pytest.raises(RuntimeError, match="not a git repository"):
        publish(tmp_path / "new", tmp_path)
    with monkeypatch.context() as nobody:
        nobody.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        nobody.setenv("GIT_CONFIG_COUNT", "1")
        nobody.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
        nobody.setenv("GIT_CONFIG_VALUE_0", "true")
        git(source(small), "config", "--unset", "user.email")
        with pytest.raises(RuntimeError, match=r"git config --global user\.email"):
            publish(tmp_path / "new", source(small))
    assert not (tmp_path / "new").exists()


def test_a_page_with_an_answer_is_refused_and_nothing_is_published(tmp_path: Path) -> None:
    students = begun(tmp_path / "students", "notebooks/00*")
    before = git(students, "rev-parse", "HEAD")
    ours = source(students)
    for path in sorted((REPOSITORY / "assignments" / "hw2_seven_billion").iterdir()):
        (ours / "assignments" / "hw2").mkdir(parents=True, exist_ok=True)
        (ours / "assignments" / "hw2" / path.name.replace("_seven_billion", "")).write_bytes(path.read_bytes())
    solved = (ours / "assignments" / "hw2" / "hw2.ipynb").read_text("utf-8")
    (ours / "notebooks" / "11_solved.ipynb").write_text(solved, "utf-8")
    (ours / "notebooks" / "12_unmarked.ipynb").write_text(re.sub("### (BEGIN|END) SOLUTION", "#", solved), "utf-8")
    (ours / "notebooks" / "helper.py").write_text("def gb(params, width):\n    return params * width / 1024**3\n")
    answer = next(of for of in assignment.read(ours / "assignments" / "hw2").answers.values() if not of.prose)
    (ours / "notebooks" / "13_helper.py").write_text(assignment.solution(answer.source), "utf-8")
    with pytest.raises(assignment.AssignmentError) as refused:
        published(students)
    said = str(refused.value)
    assert "notebooks/11_solved.ipynb: it has '### BEGIN SOLUTION'" in said
    assert f"notebooks/13_helper.py: hw2: answer {answer.name!r}" in said and "/helper.py" not in said
    assert "notebooks/12_unmarked.ipynb: hw2: answer " in said and "12_unmarked.ipynb: it has" not in said
    assert git(students, "rev-parse", "HEAD") == before and git(students, "status", "--porcelain") == ""


def test_what_git_does_not_know_yet_is_named(small: Path) -> None:
    ours = source(small)
    (ours / "notebooks" / "10_sketch.ipynb").write_text("{}")
    (ours / "assignments" / "hw9").mkdir(parents=True)
    (ours / "assignments" / "hw9" / "assignment.toml").touch()
    (ours / "thoughts.txt").touch()
    said = publish(small, ours)
    assert said[-1] == "Nothing is new."
    assert [line.rpartition(" ")[2] for line in said[:-1]] == [
        "assignments/hw9/assignment.toml",
        "notebooks/10_sketch.ipynb",
    ]


def test_a_release_that_changes_is_named_as_students_keep_what_they_began(small: Path) -> None:
    from roofline_kit.grading.publish import _news

    (small / "release").mkdir()
    for text in ("one", "two"):
        (small / "release" / "hw1.ipynb").write_text(text)
        committed(small)
    said = list(_news(small, *(git(small, "rev-parse", at).strip() for at in ("HEAD~", "HEAD"))))
    assert said[0] == "Corrected: release/hw1.ipynb."
    assert said[1].startswith("release/hw1.ipynb was released before")


@pytest.mark.parametrize(
    "text", ["# not for students\n", "# for students again\n", "# not for students\n# not for students\n"]
)
def test_a_mark_without_the_other_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Makefile: '(not )?for students"):
        for_students(text, "Makefile")
