"""Page 10: published statements, each with a verdict to give and a derivation that is folded until then."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

import roofline_kit as rk
from roofline_kit.course.answers import answer

PAGE = nbformat.read(Path(__file__).parent.parent / "notebooks" / "10_find_the_error.ipynb", as_version=4)
CELLS = {cell.id: cell for cell in PAGE.cells}
NAMES = [name.removeprefix("told-") for name in CELLS if name.startswith("told-")]


def shown(name: str) -> str:
    """What a code cell prints."""
    return "".join(output.get("text", "") for output in CELLS[name].outputs)


def test_ten_statements_are_each_asked_before_they_are_derived_and_two_are_right() -> None:
    order = list(CELLS)
    assert len(NAMES) == 10
    for name in NAMES:
        i = order.index(name)
        assert order[i : i + 5] == [name, f"guess-{name}-code", f"why-{name}", f"why-{name}-code", f"told-{name}"]
        assert re.match(rf'rk\.check\("10\.{name}", \.\.\.\)  # .*because', CELLS[f"guess-{name}-code"].source)
    assert [name for name in NAMES if answer(f"10.{name}") == 1] == ["head", "chunk"]


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_is_quoted_with_its_source_and_day(name: str) -> None:
    quoted, told = CELLS[name].source.split("\n\n", 2)[1:]
    assert quoted.startswith("> ")
    assert re.search(r"\]\(https://[^)]+\)", told) and re.search(r"20\d\d", told)


@pytest.mark.parametrize("name", NAMES)
def test_the_derivation_comes_to_the_answer_that_is_checked(name: str) -> None:
    (factor,) = re.findall(r"^published / derived = (\S+)$", shown(f"why-{name}-code"), re.MULTILINE)
    assert factor == f"{float(answer(f'10.{name}')):.3g}"
    assert rk.check(f"10.{name}", answer(f"10.{name}")).right
    verdict = "Right" if answer(f"10.{name}") == 1 else "[Tt]oo (large|small)"
    assert re.match(rf"\*\*.*{verdict}", CELLS[f"told-{name}"].source)


def test_to_say_that_a_wrong_statement_is_right_gets_a_question_that_leads_on() -> None:
    for name in set(NAMES) - {"head", "chunk"}:
        verdict = rk.check(f"10.{name}", 1)
        assert not verdict.right and repr(verdict).endswith("?"), name


def test_the_eleventh_is_left_to_the_reader() -> None:
    source = "\n".join(cell.source for cell in PAGE.cells)
    assert "10.tb" in source and "10.cards" in source
    assert "1419" not in source and not re.search(r"\b0?\.91\b|\b200 TB\b", source)


def test_the_table_says_what_was_derived() -> None:
    rows = [line.split()[:3] for line in shown("table-code").splitlines()]
    assert [row[0] for row in rows] == NAMES
    for name, verdict, factor in rows:
        assert factor == f"{float(answer(f'10.{name}')):.3g}"
        assert (verdict == "right") == (factor == "1")


HIDDEN = "jupyterapp.shell.currentWidget.content.widgets.filter(cell => cell.isHidden).map(cell => cell.model.id)"


def test_in_jupyterlab_a_derivation_is_hidden_until_it_is_opened(lab: Any) -> None:
    folded = [cell for name in NAMES for cell in (f"why-{name}-code", f"told-{name}")] + ["table-code"]
    shutil.copy(lab.folder / "notebooks" / "10_find_the_error.ipynb", lab.folder / "folded.ipynb")
    with lab.open("folded.ipynb") as notebook:
        notebook.page.wait_for_function(f"{HIDDEN}.length >= {len(folded)}")
        assert notebook.page.evaluate(HIDDEN) == folded
        notebook.page.locator(".jp-showHiddenCellsButton").first.click()
        notebook.page.wait_for_function(f"{HIDDEN}.length < {len(folded)}")
        assert notebook.page.evaluate(HIDDEN) == folded[2:]
        notebook.run_all()
