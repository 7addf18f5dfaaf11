"""The words and letters of the course: said before they are used, and each with one meaning."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pytest

import roofline_kit as rk

ROOT = Path(__file__).parent.parent
GLOSSARY = (ROOT / "notebooks" / "glossary.md").read_text("utf-8")
WORDS, LETTERS = GLOSSARY.split("\n## Letters\n")
PAGES = {path.stem: nbformat.read(path, as_version=4) for path in sorted(ROOT.glob("notebooks/*.ipynb"))}
HOMEWORK = {path.stem: nbformat.read(path, as_version=4) for path in sorted(ROOT.glob("assignments/*/*.ipynb"))}
LINK = re.compile(r"glossary\.md#([\w-]+)")
ITALIC = re.compile(r"(?<![*\w])\*([A-Za-z])\*(?!\*)")


class Word(NamedTuple):
    """A word of the glossary: what it means, and its names in code and formulas."""

    sentence: str
    names: tuple[str, ...]


def words() -> dict[str, Word]:
    """By what links to them end in, on GitHub and on the site: which agree on letters, digits, "-" and a space."""
    found = {}
    for entry in WORDS.split("\n### ")[1:]:
        title, sentence, *code = entry.strip().split("\n\n")
        names = re.findall(r"`([^`]+)`", code[0]) if code else ()
        assert re.fullmatch(r"[A-Za-z0-9]+([ -][A-Za-z0-9]+)*", title), title
        found[title.lower().replace(" ", "-")] = Word(sentence, tuple(names))
    return found


def letters(kind: str) -> set[str]:
    """Those of a table of letters, which is named by the head of its first column."""
    (table,) = re.findall(rf"\| {kind} \| meaning \|\n\| --- \| --- \|\n((?:\|.*\n?)+)", LETTERS)
    return {letter for row in table.splitlines() for letter in ITALIC.findall(row.split("|")[1])}


SIZES, ARRAYS, NUMBERS = letters("size"), letters("array"), letters("number")


def identifiers(source: str) -> set[str]:
    """The names in a piece of code, and their parts: `many_heads`, `many` and `heads`."""
    tree = ast.parse(source)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, (ast.arg, ast.keyword)) and node.arg}
    return names | {part for name in names for part in name.split("_")}


def uses(cell: Any) -> list[tuple[int, str]]:
    """Where a cell uses names: in code, or as letters of a formula in its text."""
    if cell.cell_type == "code":
        return [(0, name) for name in identifiers(cell.source)]
    return [(found.start(), found[1]) for found in ITALIC.finditer(cell.source)]


def symbols(notebook: Any) -> list[str]:
    """The letters that a notebook makes symbols of; words are no letters."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    made = [
        name for source in code for names in re.findall(r'[sS]ymbols?\("([^"]+)"', source) for name in names.split()
    ]
    return [name.split("_")[0] for name in made if len(name.split("_")[0]) == 1]


def test_a_word_is_said_in_one_sentence() -> None:
    assert len(words()) > 25
    for name, word in words().items():
        assert word.sentence.endswith(".") and not re.search(r"\.\s", word.sentence), name
        assert len(word.sentence) < 200, name


def test_links_lead_to_words_and_each_word_is_linked() -> None:
    linked = {link for page in (PAGES | HOMEWORK).values() for cell in page.cells for link in LINK.findall(cell.source)}
    assert linked == set(words())


def test_a_word_is_said_before_it_is_used() -> None:
    """In the order of the pages: a link to it stands before its name in code, or its letter in a formula."""
    said: set[str] = set()
    means = {name: word for word, entry in words().items() for name in entry.names}
    for page, notebook in PAGES.items():
        for cell in notebook.cells:
            links = [(found.start(), found[1]) for found in LINK.finditer(cell.source)]
            for place, name in uses(cell):
                known = said | {word for at, word in links if at < place}
                assert means.get(name) in known | {None}, f"{page}, {cell.id}: {name} before {means[name]} is said"
            said |= {word for _, word in links}


def test_sizes_and_numbers_have_letters_of_their_own() -> None:
    assert not SIZES & NUMBERS and {"N", "h", "K", "M"} <= SIZES, "the lecture's letters"


@pytest.mark.parametrize("name", PAGES | HOMEWORK)
def test_symbols_are_letters_of_the_table(name: str) -> None:
    strange = set(symbols((PAGES | HOMEWORK)[name])) - SIZES - NUMBERS
    assert not strange, "which letter of the glossary is that?"


@pytest.mark.parametrize("name", PAGES | HOMEWORK)
def test_letters_in_the_text_are_letters_of_the_table(name: str) -> None:
    text = [cell.source for cell in (PAGES | HOMEWORK)[name].cells if cell.cell_type == "markdown"]
    strange = {letter for source in text for letter in ITALIC.findall(source)} - SIZES - ARRAYS - NUMBERS
    assert not strange, "which letter of the glossary is that?"


def test_letters_in_the_formulas_of_explorers_are_letters_of_the_table() -> None:
    explorers = [
        rk.explore_batch(weights="int4", cache="fp8"),
        rk.explore_batch(h=4096),
        rk.explore_roofline(),
        rk.explore_attention(),
        rk.explore_sparse(),
        rk.explore_training(),
    ]
    shown = [formula.math for explorer in explorers for of in explorer.formulas.values() for formula in of]
    found = {letter for math in shown for letter in re.findall(r"<mi[^>]*>([A-Za-z])[′″]?</mi>", math)}
    assert found >= {"N", "T", "h", "H", "d", "f", "L", "b", "w"}
    assert not found - SIZES - NUMBERS, "which letter of the glossary is that?"


@pytest.mark.parametrize("name", PAGES)
def test_queries_keys_and_values_have_tokens_in_rows_and_a_width(name: str) -> None:
    code = "\n".join(cell.source for cell in PAGES[name].cells if cell.cell_type == "code")
    for arrays, shape in re.findall(r'ensors?\("([QKV](?: [QKV])*)", \(([^()]+)\)\)', code):
        rows, width = shape.split(", ")[-2:]
        for entry, allowed in ((rows, {"N", "T"}), (width, {"h", "d"})):
            strange = {entry} if re.fullmatch("[A-Za-z]", entry) else set()
            assert strange <= allowed, f"{arrays} of ({shape})"
