"""How does a correction reach me, and what becomes of what I wrote? Git brings it, and what is in its way is kept."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from .git import git, names, news
from .start import course_folder, create, from_there


def update(into: Path | str = "work", course: Path | None = None) -> list[str]:
    """Brings the course up to date, and says what is new, and where what you wrote is now.

    A file that both you and the update have changed is first copied into a folder, as NAME-mine; a page that was only
    opened counts as unchanged. Everything else that you wrote stays where it is.

    into : that folder, under the course's unless it is absolute. Raises RuntimeError with git's words where it refuses,
    and ValueError where there is no course, or the course has commits of its own; then nothing has changed.
    """
    course = course or course_folder()
    _git(course, "fetch", "--quiet")
    if _git(course, "rev-list", "@{upstream}..HEAD"):
        raise ValueError("the course's folder has commits of its own: `git pull` joins them with the update")
    files = names(course, "diff", "--name-only", "--relative", "--no-renames", "HEAD", "@{upstream}")
    if not files:
        return ["Nothing is new."]
    changed = names(course, "diff", "--name-only", "--relative", "--no-renames", "HEAD", "--", *files)
    strange = names(course, "ls-files", "--others", "--", *files)
    kept = {
        name: _copied(course / name, course / Path(into).expanduser())
        for name in changed + strange
        if (course / name).is_file() and not (name in changed and _only_looked_at(course, name))
    }
    for name in strange:
        (course / name).unlink()
    if changed:
        _git(course, "checkout", "--quiet", "HEAD", "--", *changed)
    told = news(course, "HEAD", "@{upstream}")
    _git(course, "merge", "--ff-only", "--quiet", "@{upstream}")
    said = [f"You changed {name}: what you had is now {os.path.relpath(copy, course)}." for name, copy in kept.items()]
    return [*said, *told]


def _git(course: Path, *words: str) -> str:
    """What git says in the course's folder. Raises RuntimeError where it refuses."""
    try:
        return git(course, *words)
    except RuntimeError as error:
        raise RuntimeError(f"git brings no update: {error}") from None


def _only_looked_at(course: Path, name: str) -> bool:
    """Whether each cell of a page is as the course has it: an editor has described its kernel or unfolded, no more."""
    try:
        mine, ours = (course / name).read_text("utf-8"), _git(course, "show", f"HEAD:./{name}")
        return _cells(mine) == _cells(ours)
    except (ValueError, LookupError, TypeError, AttributeError):  # no notebook
        return False


def _cells(text: str) -> list[Any]:
    """The cells of a notebook, whatever is folded: JupyterLab writes that into the cell."""
    cells: list[Any] = json.loads(text)["cells"]
    for cell in cells:
        cell["metadata"].pop("jp-MarkdownHeadingCollapsed", None)
    return cells


def _copied(path: Path, into: Path) -> Path:
    """Copies a file into a folder under a name that is free there; the links of a page lead to where they led."""
    into.mkdir(parents=True, exist_ok=True)
    copy, number = into / f"{path.stem}-mine{path.suffix}", 1
    while copy.exists():
        number += 1
        copy = into / f"{path.stem}-mine-{number}{path.suffix}"
    if path.suffix == ".ipynb":
        create(copy, from_there(path.read_text("utf-8"), path.parent, into))
    else:
        shutil.copyfile(path, copy)
    return copy
