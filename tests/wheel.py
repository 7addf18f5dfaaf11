"""The kit as `pip install .` leaves it: a wheel in an environment of its own, out of reach of the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from email import message_from_bytes
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PIP = [sys.executable, "-m", "pip", "--quiet"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip wheel .` makes, with the hatchling that is installed here, so that no network is needed."""
    folder = tmp_path_factory.mktemp("wheel")
    line = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it always needs, no extra and no pip. `typed` runs its commands."""
    return environment(wheel, tmp_path_factory.mktemp("bare"))


def environment(wheel: Path, folder: Path, *extras: str) -> Path:
    """Makes an environment that has the wheel, what it and these extras require, and nothing else.

    What they require is what the environment that runs the tests has of it, so it takes neither time nor a network.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    for name in sorted(required(wheel, extras)):
        place(name, packages)
    target = [*PIP, "--python", str(folder / "bin" / "python")]
    for words in (["install", "--no-index", "--no-deps", str(wheel)], ["check"]):
        done = subprocess.run([*target, *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def typed(environment: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Types a command of the environment's, as somebody does who has activated it in a fresh shell."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    clean |= {"PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200", "NO_COLOR": "1"}
    line = [str(environment / "bin" / words[0]), *words[1:]]
    return subprocess.run(line, cwd=cwd, env=clean, capture_output=True, text=True, timeout=300)


def required(wheel: Path, extras: tuple[str, ...]) -> set[str]:
    """The names of all distributions that a wheel with these extras needs: its requirements, and theirs."""
    found: set[tuple[str, tuple[str, ...]]] = set()
    waiting = wanted(requirements(wheel), extras)
    while waiting:
        needed = waiting.pop()
        if needed not in found:
            found.add(needed)
            name, its_extras = needed
            waiting |= wanted(distribution(name).requires or [], its_extras)
    return {name for name, _ in found}


def requirements(wheel: Path) -> list[str]:
    """The lines `Requires-Dist` of a wheel."""
    with ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(metadata)).get_all("Requires-Dist") or []


def wanted(lines: list[str], extras: tuple[str, ...]) -> set[tuple[str, tuple[str, ...]]]:
    """The requirements, with their own extras, that hold on this machine for somebody who asks for `extras`."""
    found = set()
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            found.add((canonicalize_name(requirement.name), tuple(sorted(requirement.extras))))
    return found


def place(name: str, packages: Path) -> None:
    """Links an installed distribution into another environment: what Python compiles of it serves both."""
    installed = distribution(name)
    for top in {file.parts[0] for file in installed.files or []} - {"..", "__pycache__"}:
        if not (packages / top).exists():  # two may bring files of one folder
            (packages / top).symlink_to(str(installed.locate_file(top)))
