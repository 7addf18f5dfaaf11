"""The house is plain to see: imports go down only, so a file can be read knowing just those above it."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import roofline_kit

KIT = Path(roofline_kit.__file__).parent
# From the bottom up, as one reads them: the kit, file by file, and then the rooms, each as one.
KIT_FILES = "names files terminal sizes masks tensor ops cost hardware roofline transformer"
KIT_FILES += " sparse experts latent decoder derivatives tape backward training models configs"
ORDER = ["alone", *KIT_FILES.split(), "pictures", "measuring", "explorers", "course", "grading", "cli", "__main__"]
ORDER += ["__init__"]
FILES = {".".join(path.relative_to(KIT).with_suffix("").parts): path for path in sorted(KIT.rglob("*.py"))}


def imported(name: str) -> set[str]:
    """The files of the package that a file imports, in functions too: `explorers.live.shell`."""
    package = name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            path = ".".join(part for part in base if part)
            found |= {inner for alias in node.names for inner in _files(path, alias.name)}
        elif isinstance(node, ast.Import):
            found |= {inner for alias in node.names for inner in _files(*_absolute(alias.name))}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == KIT.name:
            found |= {inner for alias in node.names for inner in _files(_absolute(str(node.module))[0], alias.name)}
    return found - {name}


def _absolute(module: str) -> tuple[str, str]:
    first, _, rest = module.partition(".")
    return (rest, "") if first == KIT.name else ("no such file", "")


def _files(path: str, name: str) -> list[str]:
    """The file that `from path import name` reads: a file of that name, or the one that `path` is."""
    tries = [f"{path}.{name}".strip("."), path, f"{path}.__init__".strip(".")]
    return next(([known] for known in tries if known in FILES), [])


@cache
def graph() -> dict[str, set[str]]:
    """What each file imports."""
    return {name: imported(name) for name in FILES}


def test_every_file_stands_in_the_order() -> None:
    assert {name.split(".")[0] for name in FILES} == set(ORDER)


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down_only(name: str) -> None:
    place = ORDER.index(name.split(".")[0])
    above = {other for other in graph()[name] if ORDER.index(other.split(".")[0]) > place}
    assert not above


def test_no_file_imports_itself_by_way_of_others() -> None:
    TopologicalSorter(graph()).prepare()  # raises CycleError, which names the circle


def test_imports_are_found_wherever_they_stand() -> None:
    assert {"names", "hardware"} <= graph()["roofline"]
    assert "explorers.live.widget" in graph()["explorers.live.shell"], "inside of a function"


@pytest.mark.parametrize("room", ["course", "explorers", "grading", "measuring", "pictures"])
def test_a_room_says_which_question_it_answers(room: str) -> None:
    assert "?" in (ast.get_docstring(ast.parse(FILES[f"{room}.__init__"].read_text("utf-8"))) or "").split("\n")[0]


def test_tests_can_be_collected_without_pytorch() -> None:
    """`make test` installs neither it nor transformers, and leaves out what is marked."""
    for path in Path(__file__).parent.glob("*.py"):
        for line in ast.parse(path.read_text("utf-8")).body:
            if isinstance(line, (ast.Import, ast.ImportFrom)):
                names = [line.module] if isinstance(line, ast.ImportFrom) else [name.name for name in line.names]
                assert not {"torch", "transformers"} & {str(name).split(".")[0] for name in names}, path.name
