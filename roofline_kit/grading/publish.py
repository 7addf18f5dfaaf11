"""What do students get? A git repository of their own: the pages, the kit and released assignments, and no answer.

It is made anew each time, in a folder for a moment, and becomes a commit on top of the one of last time. So what is
published follows from the course alone, what went away in the course goes away there, and a pull brings it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat

from ..course.git import git, in_short, names, news
from ..files import write
from .assignment import BEGIN, Assignment, AssignmentError, read
from .release import given_away
from .release import release as make_release

PUBLISHED = (
    ".gitignore", "LICENSE", "Makefile", "README.md", "docs/images", "environment.yml", "measurements", "notebooks",
    "pyproject.toml", "requirements.txt", "roofline_kit", "roofline_lab",
)  # fmt: skip
KIT = ("roofline_kit/", "roofline_lab/")
RELEASES = "release"
SEAL = ".published"
SEALED = """\
`roofline-kit publish` writes this repository, from a course that students do not see.
What somebody else commits here is gone with the next time: change the course instead.
"""


def publish(folder: Path, course: Path, unsafe: bool = False) -> list[str]:
    """Makes the students' repository of a course, or brings it up to date by a commit, and says what is new.

    What git tracks of the course counts, as it is now. The commit is by whom git takes for its author in the course;
    where nothing has changed, there is none.

    folder : a new or empty folder, or a repository that was published before, without changes. Raises ValueError for
    any other, AssignmentError if an assignment cannot be released, or if something else that students would get has
    an answer in it, and RuntimeError with git's words where it refuses. Then nothing is published.
    """
    _make_sure(folder, course)
    author = _author(course)
    with TemporaryDirectory() as work:
        made = Path(work, "made")
        for name in _tracked(course, *PUBLISHED):
            _copy(course / name, made / name)
        write(made / SEAL, SEALED)
        said = _release_all(course, made, unsafe)
        before = _begun(folder)
        commit = _commit(folder, made, before, author)
    if not commit:
        return [*said, "Nothing is new."]
    git(folder, *AS_IT_IS, "merge", "--quiet", "--ff-only", commit)
    return [*said, *_news(folder, before, commit)]


def _make_sure(folder: Path, course: Path) -> None:
    """Raises ValueError, or RuntimeError with git's words, if one of the two is not what it must be."""
    git(course, "rev-parse", "--git-dir")
    if (course / SEAL).exists():
        raise ValueError(f"{course} is what students get: publish from the course, which has the assignments")
    if folder.resolve().is_relative_to(course.resolve()):
        raise ValueError(f"{folder} is in the course, {course}: name a folder outside of it, such as ../students")
    if not folder.exists() or (folder.is_dir() and all(path.name == ".git" for path in folder.iterdir())):
        return
    if not folder.is_dir() or not (folder / ".git").exists() or not (folder / SEAL).exists():
        raise ValueError(f"{folder} is neither empty nor a repository that was published before: name a new folder")
    if changes := git(folder, "status", "--porcelain").splitlines():
        raise ValueError(
            f"{folder} has changes that are in no commit: {changes[0][3:]}"
            + (f" and {len(changes) - 1} more" if changes[1:] else "")
            + ". Make them in the course; `git stash --include-untracked` there takes them away"
        )


def _author(course: Path) -> dict[str, str]:
    """Whom git takes for the author of a commit to the course, as variables that say so elsewhere."""
    name, address = re.findall(r"(.*) <(.*)> \d+ [+-]\d+", git(course, "var", "GIT_AUTHOR_IDENT"))[0]
    roles = ("AUTHOR", "COMMITTER")
    return {f"GIT_{role}_NAME": name for role in roles} | {f"GIT_{role}_EMAIL": address for role in roles}


def _tracked(course: Path, *paths: str) -> list[str]:
    """The files that git tracks below some paths, and that are still there, in order."""
    return sorted(name for name in names(course, "ls-files", "--", *paths) if (course / name).is_file())


def _copy(source: Path, target: Path) -> None:
    """Copies a file; a text beside README without what stands there for instructors."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target, follow_symlinks=False)
    if source.name in PUBLISHED:
        write(target, for_students(source.read_text("utf-8"), source.name))


def for_students(text: str, name: str = "") -> str:
    """A text without the lines from "not for students" to "for students again", whatever marks a comment there.

    Raises ValueError where one of these stands without the other.

    >>> for_students("lab:\\n# not for students\\ntest:\\n# for students again\\nclean:\\n")
    'lab:\\nclean:\\n'
    """
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        mark = re.fullmatch(r"\W*(not for students|for students again)\W*", line)
        if mark and inside is (mark[1] == "not for students"):
            raise ValueError(f"{name}: {mark[1]!r} where the other mark was expected")
        inside = (mark[1] == "not for students") if mark else inside
        kept += [] if mark or inside else [line]
    if inside:
        raise ValueError(f"{name}: 'not for students' without 'for students again'")
    return "".join(kept)


def _release_all(course: Path, made: Path, unsafe: bool) -> list[str]:
    """Releases the assignments into what is made, and says what was left out: drafts, and what git does not know."""
    tracked = _tracked(course, "assignments")
    given = [read((course / name).parent) for name in tracked if name.endswith("/assignment.toml")]
    drafts = [assignment for assignment in given if assignment.settings.get("draft")]
    for assignment in (assignment for assignment in given if assignment not in drafts):
        if (made / RELEASES / assignment.path.name).exists():
            raise AssignmentError(f"{assignment.name}: another assignment has a notebook {assignment.path.name}, too")
        make_release(assignment, made / RELEASES, unsafe)
    if faults := list(_leaks(given, made)):
        raise AssignmentError("Nothing was published:\n" + "\n".join(f"- {fault}" for fault in faults))
    strange = names(course, "ls-files", "--others", "--exclude-standard", "--", *PUBLISHED, "assignments")
    return [
        *(f"Not published, as its assignment.toml says that it is a draft: {draft.name}" for draft in drafts),
        *(f"Not published, until `git add` makes it part of the course: {name}" for name in strange),
    ]


def _leaks(given: list[Assignment], made: Path) -> Iterator[str]:
    """Where else an answer stands: on a page, in the release of another assignment, or in a text beside the kit.

    The kit itself is not looked at: its algorithms are the course's, and a formula is one whoever writes it.
    """
    for path in sorted(path for path in made.rglob("*") if path.suffix in (".ipynb", ".md", ".py")):
        name = path.relative_to(made).as_posix()
        if name.startswith(KIT):
            continue
        text = path.read_text("utf-8")
        if BEGIN in text:
            yield f"{name}: it has {BEGIN!r}, so it is an instructor's"
        for assignment in given:
            for fault in given_away(assignment, _as_notebook(text, path.suffix)):
                yield f"{name}: {assignment.name}: {fault}"


def _as_notebook(text: str, suffix: str) -> Any:
    if suffix == ".ipynb":
        return nbformat.reads(text, as_version=4)
    cell = nbformat.v4.new_code_cell(text) if suffix == ".py" else nbformat.v4.new_markdown_cell(text)
    return nbformat.v4.new_notebook(cells=[cell])


def _begun(folder: Path) -> str:
    """The commit of last time, or "" in a repository that has none yet; it is made if it is not there."""
    if not (folder / ".git").exists():
        folder.mkdir(parents=True, exist_ok=True)
        git(folder, "init", "--quiet", "--initial-branch=main")
    return git(folder, "rev-list", "--max-count=1", "HEAD", "--").strip() if git(folder, "branch", "--list") else ""


# Bytes are those of the course, whatever git is set to do with the ends of lines.
AS_IT_IS = ("-c", "core.autocrlf=false", "-c", "core.fileMode=true", "-c", "core.symlinks=true")


def _commit(folder: Path, made: Path, before: str, author: dict[str, str]) -> str:
    """A commit of all that was made, on top of another; "" if that has it already. No branch has it yet."""
    index = {"GIT_INDEX_FILE": str(made.with_name("index"))}
    there = (*AS_IT_IS, "--git-dir", str(folder.resolve() / ".git"), "--work-tree", str(made))
    git(made, *there, "add", "--all", "--force", ".", **index)
    tree = git(made, *there, "write-tree", **index).strip()
    if before and git(folder, "rev-parse", f"{before}^{{tree}}").strip() == tree:
        return ""
    told = ("-p", before, "-m", "What is new in the course") if before else ("-m", "The course")
    return git(folder, "commit-tree", tree, *told, **author).strip()


def _news(folder: Path, before: str, commit: str) -> Iterator[str]:
    """What a commit brings to students, in sentences."""
    if not before:
        yield f"{folder} is new: {in_short(names(folder, 'ls-files'))}."
        return
    yield from news(folder, before, commit)
    for name in names(folder, "diff", "--name-only", "--diff-filter=M", before, commit, "--", RELEASES):
        yield f"{name} was released before: students who have begun it keep what they have, so tell them."
