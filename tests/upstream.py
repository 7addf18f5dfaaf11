"""The course as its students pull it: the git repository that `roofline-kit publish` makes of an instructor's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from roofline_kit.grading.publish import publish

REPOSITORY = Path(__file__).parent.parent


def git(folder: Path, *line: str) -> str:
    """What git says to a teacher in a folder."""
    identity = ["-c", "user.name=teacher", "-c", "user.email=teacher@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, *line], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def committed(folder: Path) -> None:
    """Commits all that has changed."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "an update")


def course(folder: Path, *patterns: str) -> Path:
    """An instructor's repository, with the files of ours that git's patterns name; all of them without one."""
    for name in git(REPOSITORY, "ls-files", "-z", "--", ".gitignore", *(patterns or ["*"])).split("\0")[:-1]:
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    git(folder, "init", "--quiet")
    for name, value in {"name": "Ada Teacher", "email": "ada@example.org"}.items():
        git(folder, "config", f"user.{name}", value)
    committed(folder)
    return folder


def source(students: Path) -> Path:
    """The instructor's repository that a students' one is published from."""
    return students.with_name(f"{students.name}-course")


def published(students: Path) -> list[str]:
    """Commits what was changed in the course, and publishes it; what that says."""
    committed(source(students))
    return publish(students, source(students), unsafe=True)  # no walls: the solutions are our own


def begun(students: Path, *patterns: str) -> Path:
    """Makes a course of the files that git's patterns name, only pages without one, and publishes it."""
    course(source(students), *(patterns or ["notebooks"]))
    published(students)
    return students
