"""A wheel in an environment that has what it asks for and nothing else: the command works, and says what is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib.metadata import Distribution, distribution, distributions, metadata, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from test_measure import ceilings_in

import roofline_kit as rk
from roofline_kit.measuring.points import ceiling_points

ROOT = Path(__file__).parent.parent
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def needed_by(package: Distribution) -> dict[str, Distribution]:
    """What a package needs without its extras, and what these need, as it is installed here."""
    found: dict[str, Distribution] = {}
    waiting = [package]
    while waiting:
        for requirement in map(Requirement, waiting.pop().requires or []):
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and requirement.name not in found:
                found[requirement.name] = distribution(requirement.name)
                waiting.append(found[requirement.name])
    return found


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Types `roofline-kit` and some words, where only the wheel and its dependencies are.

    The dependencies are links to what is installed here: to install them anew takes minutes.
    """
    folder = tmp_path_factory.mktemp("bare")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", *folder.glob("*.whl")], check=True)
    (packages,) = (folder / "env").glob("lib/python3*/site-packages")
    (kit,) = distributions(name="roofline-kit", path=[str(packages)])
    for package in needed_by(kit).values():
        for top in {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(str(package.locate_file(top)))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"COLUMNS": "200"}

    def command(*words: str | Path, cwd: Path = folder) -> subprocess.CompletedProcess[str]:
        line = [python.parent / "roofline-kit", *words]
        return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True)

    return command


def test_without_any_extra_one_measures_and_begins_a_lesson(typed: Command, tmp_path: Path) -> None:
    ceilings_in(tmp_path / "m")
    (tmp_path / "m" / ceiling_points()[-1].file).unlink()  # one is measured; the products take long
    small = ["--layers=dense", "--stages=initial", "--tokens=8", "--batches=1,2", "--h=16", "--heads=2"]
    for words, made in {
        ("measure", *small, "--to", tmp_path / "m"): "m/results.csv",
        ("collect", "--to", tmp_path / "m"): "m/results.csv",
        ("start", "02", "--into", tmp_path / "work"): "work/02_attention.ipynb",
    }.items():
        done = typed(*words, cwd=ROOT)
        assert done.returncode == 0, (words, done.stderr)
        (tmp_path / made).unlink()
    assert (tmp_path / "m" / ceiling_points()[-1].file).exists()
    done = typed("status", "--to", tmp_path / "m")
    assert (done.returncode, "nothing was handed in" in done.stderr) == (1, True)


def test_help_lists_all_commands_whatever_is_installed(typed: Command) -> None:
    done = typed("--help")
    assert done.returncode == 0
    for name in ("measure", "collect", "status", "start", "release", "check", "publish", "grade", "report"):
        assert re.search(rf"^\W*{name} ", done.stdout, re.MULTILINE), name
        assert typed(name, "--help").returncode == 0


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("grade", "hw1", "assignments"), "grading"),
        (("release", "hw1"), "grading"),
        (("publish", "students"), "grading"),
        (("report", "hw1"), "grading"),
        (("check", "assignments/hw1_walk_through/hw1_walk_through.ipynb"), "grading"),
        (("measure", "--cluster", "slurm"), "cluster"),
        (("measure", "--cluster", "slurm", "--dry-run"), "cluster"),
    ],
)
def test_what_is_missing_is_named_with_the_line_that_installs_it(
    words: tuple[str, ...], extra: str, typed: Command, tmp_path: Path
) -> None:
    (tmp_path / "assignments").symlink_to(ROOT / "assignments")
    done = typed(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert f'pip install -e ".[{extra}]"' in done.stderr and "course's folder" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1
    assert extra in metadata("roofline-kit").get_all("Provides-Extra", [])


def test_the_version_is_that_of_the_package(typed: Command) -> None:
    assert typed("--version").stdout.strip() == rk.__version__ == version("roofline-kit")
