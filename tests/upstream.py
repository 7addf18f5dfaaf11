"""The course as its students pull it: a git repository with the pages and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent


def git(folder: Path, *line: str) -> str:
    """What git says to a teacher in a folder."""
    identity = ["-c", "user.name=teacher", "-c", "user.email=teacher@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, *line], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def published(folder: Path) -> None:
    """Commits all that has changed."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "an update")


def begun(folder: Path, lessons: str = "*") -> Path:
    """Makes the repository, with the lessons that a pattern names."""
    (folder / "notebooks").mkdir(parents=True)
    for path in REPOSITORY.glob(f"notebooks/{lessons}.ipynb"):
        shutil.copy(path, folder / "notebooks")
    shutil.copy(REPOSITORY / ".gitignore", folder)
    git(folder, "init", "--quiet")
    published(folder)
    return folder
