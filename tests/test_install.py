"""A wheel in an environment that has what it asks for and nothing else: the command works, and says what is missing."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from importlib.metadata import metadata, version
from pathlib import Path

import pytest
import wheel
from test_measure import ceilings_in

import roofline_kit as rk
from roofline_kit.measuring.points import ceiling_points

ROOT = Path(__file__).parent.parent
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def typed(bare: Path, tmp_path: Path) -> Command:
    """Types `roofline-kit` and some words, where only the wheel and its dependencies are."""

    def command(*words: str | Path, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return wheel.typed(bare, "roofline-kit", *map(str, words), cwd=cwd)

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


# One interpreter after the other would take longer than all of these words.
HELP = """
import sys
from roofline_kit.cli import app
for name in sys.argv[1:]:
    try:
        app([name, "--help"])
    except SystemExit as end:
        print("helped" if not end.code else end.code, name)
"""


def test_help_lists_all_commands_whatever_is_installed(typed: Command, bare: Path, tmp_path: Path) -> None:
    done = typed("--help")
    assert done.returncode == 0
    names = ("measure", "collect", "status", "start", "release", "check", "publish", "grade", "report")
    for name in names:
        assert re.search(rf"^\W*{name} ", done.stdout, re.MULTILINE), name
    (tmp_path / "help.py").write_text(HELP)
    done = wheel.typed(bare, "python", "help.py", *names, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^helped (\w+)$", done.stdout, re.MULTILINE) == [*names], done.stdout
    for name in names:
        assert f"Usage: help.py {name} " in done.stdout


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
