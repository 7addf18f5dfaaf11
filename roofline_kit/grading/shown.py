"""What of this machine can a submission read? The least that a kernel needs, at the paths where it is.

That is the system's programs and libraries, this Python, the packages that it imports from, and the kit. Not the folder
of an environment, which may be the course's own, with solutions in it; nor what of the kit knows answers.
"""

from __future__ import annotations

import os
import re
import site
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from ..names import unknown

KIT = Path(__file__).resolve().parents[1]
SYSTEM = (
    "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64",
    "/usr/libexec", "/usr/local/lib", "/usr/share/fonts", "/usr/share/zoneinfo", "/etc/alternatives", "/etc/fonts",
    "/etc/ld.so.cache", "/etc/localtime",
)  # fmt: skip
# Of the rooms that grade, and that know the answers to the pages' questions, what a kernel may import.
ROOMS = {"grading": ("__init__.py", "cells.py"), "course": ("__init__.py", "lecture.py"), "data/lessons.toml": ()}


@dataclass(frozen=True)
class View:
    """What can be read. shown : files and folders, by their real paths. links : other ways there, each with what it
    leads to. hidden : what is empty in them, but for some files that are left where they are.
    """

    shown: tuple[Path, ...]
    links: Mapping[Path, Path]
    hidden: Mapping[Path, tuple[str, ...]]


@cache
def view(without: tuple[str, ...] = ()) -> View:
    """What a kernel can read that does without some packages."""
    kit = [] if KIT.name in without else [KIT]
    wanted = [*map(Path, SYSTEM), *_python(), *packages(), *kit]
    links: dict[Path, Path] = {}
    for path in wanted:
        links |= _links(path)
    real = {Path(os.path.realpath(path)) for path in wanted}
    shown = [path for path in sorted(real) if path.exists() and not any(above in real for above in path.parents)]
    links = {link: to for link, to in links.items() if not _within(link, shown)}
    hidden: dict[Path, tuple[str, ...]] = dict.fromkeys(_others(shown), ())
    hidden |= {path: () for name in without for path in _files(name)}
    hidden |= {KIT / room: left for room, left in ROOMS.items()} if kit else {}
    return View(tuple(shown), links, {path: left for path, left in hidden.items() if _within(path, shown)})


def _within(path: Path, folders: list[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _links(path: Path) -> dict[Path, Path]:
    """The links on the way to a path, each with what it leads to."""
    for part in (*reversed(path.parents), path):
        if part.is_symlink():
            to = Path(os.path.normpath(part.parent / part.readlink()))
            return {part: to} | _links(to / path.relative_to(part))
    return {}


def packages() -> list[Path]:
    """The folders of packages that this Python imports from: its environment's, and its base's if it uses them."""
    named = {*site.getsitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return [path for path in map(Path, sorted(named)) if path.is_dir()]


def _python() -> list[Path]:
    """This interpreter: its program, what says where its environment is, its own modules and libraries."""
    own = [Path(sys.executable), Path(sys.prefix, "pyvenv.cfg"), Path(sys.base_prefix, "lib")]
    mapped = [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()]
    own += [
        Path(name) for name in {*mapped} if "/libpython" in name
    ]  # where the program looks for it, wherever that is
    return [*own, Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("platstdlib", vars=_BASE))]


_BASE = {"platbase": sys.base_exec_prefix}  # the environment's own folder of this name has packages, and no more


def _others(shown: list[Path]) -> list[Path]:
    """Folders of packages in what is shown that this Python does not import from: they are another Python's."""
    own = {Path(os.path.realpath(path)) for path in packages()}
    found = {path for folder in shown for path in folder.glob("python3*/*-packages")}
    found |= {path for folder in shown for path in folder.glob("*-packages")}
    return sorted(path for path in found if path not in own)


def _files(name: str) -> list[Path]:
    """The files and folders of a package, wherever this Python could import it from."""
    folders = [Path(os.path.realpath(path)) for path in packages()]
    found = [path for folder in folders for path in (folder / name, *folder.glob(f"{name}.*"))]
    found += [path for folder in folders for path in folder.glob(f"__pycache__/{name}.*")]
    return [path for path in found if path.exists()]


# --- what an assignment says of it --------------------------------------------------------------------------


def without(given: Any) -> tuple[str, ...]:
    """The packages that answers cannot import, as an assignment.toml names them: `[answers] without`.

    Raises ValueError for what is not installed, with the nearest name, and for what no kernel can be without.

    >>> without(["roofline_kit"])
    ('roofline_kit',)
    >>> without(["roofline_kti"])
    Traceback (most recent call last):
    ValueError: unknown package 'roofline_kti'; did you mean 'roofline_kit'...
    """
    if not isinstance(given, list):
        raise ValueError(f"without must be a list of packages such as 'numpy', not {given!r}")
    for name in given:
        if isinstance(name, str) and name in sys.stdlib_module_names:
            raise ValueError(f"without has {name!r}, which is part of Python: only packages can be kept from answers")
        if name not in (known := _installed()):
            raise ValueError(unknown("package", name, known, see="pip list"))
        if name in _kernels_own():
            raise ValueError(f"without has {name!r}, and no kernel runs without it")
    return tuple(dict.fromkeys(given))


@cache
def _installed() -> frozenset[str]:
    """The names that this Python could import from its folders of packages."""
    names = (
        path.name.split(".")[0]
        for folder in packages()
        for path in folder.iterdir()
        if path.suffix in ("", ".py", ".so")
    )
    return frozenset((*(name for name in names if name.isidentifier() and name != "__pycache__"), KIT.name))


@cache
def _kernels_own() -> frozenset[str]:
    """The names of what a kernel is made of: ipykernel, and all that it requires."""
    found: set[str] = set()
    waiting, names = ["ipykernel"], set()
    while waiting:
        if (package := waiting.pop()) in found:
            continue
        found.add(package)
        try:
            of = distribution(package)
        except PackageNotFoundError:  # for another system
            continue
        names |= {file.parts[0].split(".")[0] for file in of.files or () if file.suffix in (".py", ".so")}
        required = [line for line in of.requires or () if "extra ==" not in line]
        waiting += [re.split(r"[^\w.-]", line)[0] for line in required]
    return frozenset(names)


def keep_apart(private: Mapping[str, Path]) -> None:
    """Raises ValueError if something lies where every submission could read it. private : paths, by what they are."""
    for what, path in private.items():
        lies = path.resolve()
        for shown in view().shown:
            if lies.is_relative_to(shown):
                raise ValueError(f"{what} in {lies}, and every submission can read {shown}: move one of them elsewhere")
