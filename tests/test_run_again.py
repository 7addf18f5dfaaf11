"""A reader goes back: a page whose cells are all run once more, in the same kernel, says what it said."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from test_notebooks import NOTEBOOKS, shown

sys.path.append(str(Path(__file__).parent.parent / "scripts"))
from execute_notebooks import execute


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_can_be_run_again_from_the_top(path: Path) -> None:
    """What a cell needs, no later cell has bound to something else; and no cell changes what it needs itself."""
    stored = nbformat.read(path, as_version=4)
    twice = copy.deepcopy(stored)
    twice.cells += copy.deepcopy(stored.cells)
    execute(twice, path)
    again = twice.cells[len(stored.cells) :]
    assert texts(again) == texts(stored.cells)


def texts(cells: list[Any]) -> dict[str, list[str]]:
    """The lines that code cells show, by cell; those of several forms of an output in any order."""
    return {cell.id: sorted(shown(cell).splitlines()) for cell in cells if cell.cell_type == "code"}
