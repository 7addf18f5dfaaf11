"""What does git say? The course, and what students get of it, are git repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# What a hook of git sets, so that each git below it works on the hook's repository, wherever that git is called.
OF_A_HOOK = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"}


def git(folder: Path, *words: str, **variables: str) -> str:
    """What git says in a folder. variables : of its environment, beside ours.

    Raises RuntimeError with git's own words where it refuses, and where there is no git.
    """
    ours = {name: value for name, value in os.environ.items() if name not in OF_A_HOOK}
    line = ["git", "--literal-pathspecs", *words]  # a name means itself, with stars and brackets, too
    try:
        done = subprocess.run(line, cwd=folder, env=ours | variables, capture_output=True, text=True, encoding="utf-8")
    except FileNotFoundError:
        if not folder.is_dir():
            raise
        raise RuntimeError("this needs git, and git is not installed") from None
    if done.returncode:
        raise RuntimeError(" ".join(done.stderr.split()) or f"git {words[0]} failed")
    return done.stdout


def names(folder: Path, command: str, *words: str) -> list[str]:
    """The names of files that a command of git lists, whatever letters they have."""
    return [name for name in git(folder, command, "-z", *words).split("\0") if name]


def in_short(files: list[str]) -> str:
    """Pages by their names, other files by their number.

    >>> in_short(["notebooks/02_attention.ipynb", "README.md", "LICENSE"])
    'notebooks/02_attention.ipynb, 2 other files'
    """
    pages = [name for name in files if name.endswith(".ipynb")]
    more = len(files) - len(pages)
    others = [] if more == 0 else ["1 other file" if more == 1 else f"{more} other files"]
    return ", ".join([*pages, *others])


def news(folder: Path, before: str, after: str) -> list[str]:
    """What differs between two commits of a course, in a sentence each for what is new, corrected and gone."""
    said = []
    for word, kinds in {"New": "A", "Corrected": "MT", "Gone": "D"}.items():
        between = ("--name-only", "--relative", "--no-renames", f"--diff-filter={kinds}", before, after)
        if files := names(folder, "diff", *between):
            said.append(f"{word}: {in_short(files)}.")
    return said
