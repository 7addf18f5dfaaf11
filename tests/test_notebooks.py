"""What a reader may expect of every notebook, besides that its outputs are right: test_run_again.py checks these."""

from __future__ import annotations

import ast
import calendar
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert.exporters import ScriptExporter

from roofline_kit.course import lessons

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
MONTHS = "|".join([*calendar.month_name[1:], "spring"])
DATE = rf"(?:\d+\s+)?(?:{MONTHS})\s+20\d\d"
COLLAPSED = "jp-MarkdownHeadingCollapsed"  # of a heading below which JupyterLab and the site fold what follows


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> Any:
    return nbformat.read(request.param, as_version=4)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: Any) -> str:
    """All text that the outputs of a cell show."""
    data = [output.get("data", {}) for output in cell.outputs]
    texts = [str(value) for bundle in data for kind, value in bundle.items() if not kind.startswith("image/")]
    return "\n".join(texts + [output.get("text", "") for output in cell.outputs])


def explorers(notebook: Any) -> list[int]:
    """Where the cells are whose output is an explorer."""
    return [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and "data-rk=" in shown(cell)]


def test_there_are_notebooks() -> None:
    assert [path.name[:2] for path in NOTEBOOKS][:4] == ["00", "01", "02", "03"]


def test_every_cell_was_run_from_top_to_bottom_without_an_error(notebook: Any) -> None:
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def test_no_cell_hides_from_the_comparison(notebook: Any) -> None:
    for cell in code(notebook):
        assert "nbval" not in (cell.source + str(cell.metadata)).lower()
        assert not cell.source.rstrip().endswith(";"), "nbval does not silence such a cell"


def test_nothing_depends_on_the_day_or_the_machine(notebook: Any) -> None:
    assert all(set(cell.metadata) <= {"tags", COLLAPSED} for cell in notebook.cells)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    everything = " ".join(cell.source for cell in notebook.cells) + " ".join(map(shown, code(notebook)))
    assert not re.search(r" at 0x[0-9a-f]+|/home/|/root|/tmp/|C:\\", everything)


def test_it_becomes_a_python_script(notebook: Any) -> None:
    assert ScriptExporter().from_notebook_node(notebook)[1]["output_extension"] == ".py"


def test_ids_are_names_that_stay(notebook: Any) -> None:
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) and not re.fullmatch(r"[0-9a-f]{8}", name) for name in ids)


def test_cells_are_short_and_each_is_introduced_by_a_sentence(notebook: Any) -> None:
    for before, cell in zip([None, *notebook.cells], notebook.cells, strict=False):
        if cell.cell_type == "code":
            assert before is not None and before.cell_type == "markdown", f"no sentence stands before {cell.id}"
            assert before.source.strip(), f"{before.id} is empty"
            assert len([line for line in cell.source.splitlines() if line.strip()]) <= 15, cell.id


def test_a_heading_begins_its_cell(notebook: Any) -> None:
    """JupyterLab folds from a cell that begins with a heading; one that stands further down folds nothing."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\n#+ ", cell.source), f"{cell.id}: what stands before it is a cell of its own"


def test_it_asks_two_to_four_questions_and_ends_with_what_to_remember(notebook: Any) -> None:
    turns = [cell for cell in code(notebook) if cell.id.startswith("turn-")]
    assert 2 <= len(turns) <= 4
    assert all("..." in cell.source and "Your turn" in shown(cell) for cell in turns)
    assert notebook.cells[-1].source.startswith("## What to remember")


def test_before_one_drags_one_predicts(notebook: Any) -> None:
    """dots to replace; an explorer; the check of what was put in their place: with a sentence before each of them."""
    for i in explorers(notebook):
        asked, drawn, checked = (notebook.cells[j] for j in (i - 2, i, i + 2))
        guess = re.fullmatch(r"(my_\w+) = \.\.\.", asked.source)
        assert guess, f"{drawn.id}: what should the reader predict?"
        assert re.fullmatch(rf'rk\.check\("\d\d\.\w+", {guess[1]}\)', checked.source), drawn.id


def test_pages_on_one_thing_that_changes_another_have_an_explorer() -> None:
    pages = {path.name[:2]: nbformat.read(path, as_version=4) for path in NOTEBOOKS}
    assert [name for name, page in pages.items() if explorers(page)] == ["01", "02", "04", "06", "08", "13"]


def test_an_explorer_is_stored_whole_and_small(notebook: Any) -> None:
    for i in explorers(notebook):
        (output,) = notebook.cells[i].outputs
        assert output.output_type == "execute_result", "the explorer is the last expression of its cell"
        assert set(output.data) == {"text/plain", "text/html", "image/png"}
        assert sum(map(len, output.data.values())) < 150_000, notebook.cells[i].id


def test_a_widget_is_stored_as_a_picture(notebook: Any) -> None:
    """Not as what is live, which has an id that changes in each run."""
    outputs = [output.get("data", {}) for cell in code(notebook) for output in cell.outputs]
    assert not [kind for data in outputs for kind in data if "widget" in kind]
    for cell in code(notebook):
        if ".widget()" in cell.source:
            assert set(cell.outputs[0].data) == {"text/plain", "image/png"}, cell.id


def test_every_question_is_asked_in_the_notebook_that_its_id_names() -> None:
    asked: dict[str, str] = {}
    for path in NOTEBOOKS:
        for cell in code(nbformat.read(path, as_version=4)):
            asked |= dict.fromkeys(re.findall(r'rk\.check\("([^"]+)"', cell.source), path.name[:2])
    assert asked == {question: question[:2] for question in lessons.hints()}


def test_no_number_in_the_prose_is_typed_in_by_hand(notebook: Any) -> None:
    """Numbers of two digits or more are an input of some cell or shown by one."""
    # The data and the script of an explorer hold every number that a slider can be at: only its sentence counts.
    html = [notebook.cells[i].outputs[0].data["text/html"] for i in explorers(notebook)]
    computed = "\n".join(cell.source + "\n" + shown(cell) for cell in code(notebook))
    for script in html:
        computed = computed.replace(script, "")
    known = {number.replace(",", "") for number in re.findall(r"\d[\d,]*(?:\.\d+)?", computed)}
    names = {"2009", *(path.name[:2] for path in NOTEBOOKS)}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            prose = re.sub(rf"`[^`]*`|\]\([^)]*\)|float\d+|{DATE}", " ", cell.source)
            for number in re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w])", prose):
                plain = number.rstrip(",.").replace(",", "")
                assert len(plain) < 2 or plain in known | names, f"{cell.id}: where does {number} come from?"


def test_no_formula_within_a_line_needs_dollars(notebook: Any) -> None:
    """The site shows them as they are typed."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"(?<!\$)\$[^$\n]+\$(?!\$)", cell.source), cell.id


def test_a_page_that_prints_how_a_source_was_found_explains_both_words_first(notebook: Any) -> None:
    """At the latest in the sentence before it, once a page."""
    said = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            said += cell.source.lower()
        elif "data-rk=" not in shown(cell) and re.search(r"\[(read|quoted)\]|\b(read|quoted) 20\d\d-", shown(cell)):
            assert "*read*" in said and "*quoted*" in said, cell.id


def test_each_page_ends_with_the_way_to_the_pages_before_and_after_it() -> None:
    names = [path.name for path in NOTEBOOKS]
    for path, before, after in zip(NOTEBOOKS, ["", *names], [*names[1:], ""], strict=False):
        _, _, end = nbformat.read(path, as_version=4).cells[-1].source.rpartition("\n\n")
        links = re.findall(r"(Before|Next): \[[^\]]+\]\(([^)]+)\)", end)
        assert links == [(word, name) for word, name in (("Before", before), ("Next", after)) if name], path.name


def folds(notebook: Any) -> Iterator[tuple[Any, list[Any]]]:
    """The headings that are folded, each with the cells that are hidden below it."""
    level = 0
    hidden: list[Any] = []
    for cell in notebook.cells:
        heading = re.match("#*", cell.source)[0] if cell.cell_type == "markdown" else ""
        if heading and len(heading) <= level:
            level = 0
        if level:
            hidden.append(cell)
        elif COLLAPSED in cell.metadata:
            assert heading and cell.metadata[COLLAPSED] is True, f"{cell.id}: a fold begins with a heading"
            level, hidden = len(heading), []
            yield cell, hidden
    assert not level, "the page ends within a fold"


def test_what_is_folded_can_be_left_out(notebook: Any) -> None:
    """Below each folded heading there is code and no other heading, and no name from it is used anywhere else."""
    folded = dict(enumerate(hidden for _, hidden in folds(notebook)))
    inside = [cell for hidden in folded.values() for cell in hidden]
    for i, hidden in folded.items():
        assert code_of(hidden), f"{hidden}: words alone fold in a <details>"
        assert not any(re.search("^#", cell.source, re.MULTILINE) for cell in hidden if cell.cell_type == "markdown")
        rest = [[cell for cell in notebook.cells if cell not in inside], *(folded[j] for j in folded if j != i)]
        for others in rest:
            assert not names(hidden, ast.Store) & (names(others, ast.Load) - names(others, ast.Store)), hidden[0].id


def code_of(cells: list[Any]) -> list[str]:
    return [cell.source for cell in cells if cell.cell_type == "code"]


def names(cells: list[Any], use: type[ast.expr_context]) -> set[str]:
    """The names that code cells bind, or read."""
    nodes = [node for source in code_of(cells) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    return {node.id for node in nodes if isinstance(node.ctx, use)}


def test_links_between_notebooks_lead_somewhere(notebook: Any) -> None:
    for cell in notebook.cells:
        for target in re.findall(r"\]\(([^)#:]+\.ipynb)\)", cell.source):
            assert (NOTEBOOKS[0].parent / target).exists(), f"{cell.id}: {target}"
