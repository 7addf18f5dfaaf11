"""A page says what is stored. A reader goes back: run once more from the top, in the same kernel, it says it again."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from test_notebooks import NOTEBOOKS

sys.path.append(str(Path(__file__).parent.parent / "scripts"))
from execute_notebooks import execute


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_says_what_is_stored_and_says_it_again_when_it_is_run_again(path: Path) -> None:
    """What a cell needs, no later cell has bound to something else; and no cell changes what it needs itself."""
    stored = nbformat.read(path, as_version=4)
    twice = copy.deepcopy(stored)
    twice.cells += copy.deepcopy(stored.cells)
    execute(twice, path)
    once, again = twice.cells[: len(stored.cells)], twice.cells[len(stored.cells) :]
    assert changed(once, stored.cells) == {}, "not what is stored; `pytest --nbval` on the page shows the difference"
    assert changed(again, stored.cells) == {}, "not what the first run showed"


def changed(cells: list[Any], stored: list[Any]) -> dict[str, list[str]]:
    """What those code cells say that show anything else than what is stored; pictures may differ in pixels."""
    return {
        cell.id: [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
        for cell, before in zip(cells, stored, strict=True)
        if cell.cell_type == "code" and texts(cell) != texts(before)
    }


def texts(cell: Any) -> list[Any]:
    """All that a cell shows, but for pictures."""
    return [
        (output.output_type, output.get("name"), output.get("text"), without_pictures(output.get("data", {})))
        for output in cell.outputs
    ]


def without_pictures(data: dict[str, Any]) -> dict[str, Any]:
    return {kind: value for kind, value in data.items() if not kind.startswith("image/")}
