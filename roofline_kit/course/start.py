"""Work in a copy: an update of the course then reaches the lesson, and leaves what you wrote alone."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..names import unknown


def lessons(course: Path) -> dict[str, Path]:
    """The notebooks that can be begun, by the name of their file: lessons, and released assignments."""
    found = [*course.glob("notebooks/*.ipynb"), *course.glob("release/**/*.ipynb")]
    return {path.stem: path for path in sorted(found) if ".ipynb_checkpoints" not in path.parts}


def course_folder() -> Path:
    """The folder of the course: the working folder or one above it, or where the kit was installed from.

    Raises ValueError where there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "notebooks" / "00_start_here.ipynb").is_file():
            return folder
    raise ValueError(f"the course is not in {here.name!r} nor above it: go to the folder that has notebooks/ first")


def start(name: str, into: Path | str = "work", course: Path | None = None) -> tuple[Path, bool]:
    """Copies a lesson or a released assignment into a folder, never over a file that is there.

    The copy's links to other pages lead to the course's own.

    name : its number or the beginning of its name, as in "02" or "hw1". into : under the course's folder, unless it is
    absolute. Returns the copy, and whether it is new.

    Raises ValueError, with the nearest names, where none or several begin like that, and OSError where nothing can be
    written there.
    """
    course = course or course_folder()
    known = lessons(course)
    wanted = re.sub(r"\.ipynb$", "", Path(name).name)
    wanted = wanted.zfill(2) if wanted.isdigit() else wanted  # 2 is page 02
    if len(matching := [stem for stem in known if stem == wanted] or [s for s in known if s.startswith(wanted)]) != 1:
        raise ValueError(
            f"{name!r} could be {' or '.join(map(repr, matching))}" if wanted and matching
            else unknown("lesson", name, known, "notebooks/")
        )  # fmt: skip
    source, target = known[matching[0]], course / Path(into).expanduser() / f"{matching[0]}.ipynb"
    if target.exists():
        return target, False
    text = from_there(source.read_text("utf-8"), source.parent, target.parent)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        create(target, text)
    except OSError as error:
        told = f"nothing can be written into {str(target.parent)!r} ({error.strerror}): name a folder of your own"
        raise type(error)(f'{told}, as in start({name!r}, "~/roofline") or in a shell --into ~/roofline') from None
    return target, True


def create(path: Path, text: str) -> None:
    """Writes a file that is not there yet, whole or not at all. Raises FileExistsError if it is there."""
    with open(path, "x", encoding="utf-8", newline="\n") as file:
        try:
            file.write(text)
            file.flush()
        except BaseException:  # a full disk: half a lesson would be in the way of the next try
            path.unlink()
            raise


def from_there(text: str, here: Path, there: Path) -> str:
    """A notebook with its links to files beside it written so that they lead to the same files from another folder."""

    def moved(link: re.Match[str]) -> str:
        path = here / link[1]
        return f"]({Path(os.path.relpath(path, there)).as_posix()}" if path.is_file() else link[0]

    return re.sub(r"\]\(([\w./-]+)", moved, text)
