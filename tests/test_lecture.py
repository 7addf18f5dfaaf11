"""Every number of the lecture comes out of a trace, and a wrong one would be noticed."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
import sympy

import roofline_kit as rk
from roofline_kit.course import lecture
from roofline_kit.names import data

IDS = (
    "toy-add", "attn-flops-qk", "attn-flops-softmax", "attn-flops-pv", "attn-flops", "attn-io-1", "attn-io-2",
    "attn-io-3", "attn-io", "attn-ai", "attn-ai-4096", "gemm-flops", "gemm-io", "mlp-ai-4096", "a10-ridge",
    "mlp-bound", "attn-bound",
)  # fmt: skip
"""All that the course's record of the lecture has, but for ai-definition, which has no number."""

ROWS = lecture.numbers().rows


def changed(i: int, **fields: Any) -> lecture.Numbers:
    """The table with one row changed."""
    return lecture.Numbers((*ROWS[:i], replace(ROWS[i], **fields), *ROWS[i + 1 :]))


def test_the_lecture_s_numbers_come_out() -> None:
    assert lecture.check().rows == ROWS


@pytest.mark.parametrize("id", IDS)
def test_every_number_of_the_lecture_has_a_row(id: str) -> None:
    assert id in [row.id for row in ROWS]


def test_there_are_no_other_rows_and_none_has_lost_its_value() -> None:
    assert {row.id for row in ROWS} == set(IDS)
    assert sorted(row.id for row in ROWS) == sorted(id for id, values in lecture._derived().items() for _ in values)


@pytest.mark.parametrize("i", range(len(ROWS)), ids=[f"{row.id} {row.statement}" for row in ROWS])
def test_a_wrong_derived_value_is_refused_by_its_id(i: int) -> None:
    derived = ROWS[i].derived
    wrong = "memory" if isinstance(derived, str) else derived * (1 + sympy.Rational(1, 10**6))
    with pytest.raises(AssertionError, match=ROWS[i].id):
        lecture.check(changed(i, derived=wrong))


@pytest.mark.parametrize("i", range(len(ROWS)), ids=[f"{row.id} {row.statement}" for row in ROWS])
def test_a_wrong_value_in_the_lecture_s_table_is_refused_by_its_id(i: int) -> None:
    exact = ROWS[i].exact
    with pytest.raises(AssertionError, match=ROWS[i].id):
        lecture.check(changed(i, exact="memory" if isinstance(exact, str) else exact + 1))


@pytest.mark.parametrize(
    ("id", "printed"),
    [
        ("mlp-ai-4096", "1366"),
        ("mlp-ai-4096", "1365.4"),
        ("a10-ridge", "208.4"),
        ("a10-ridge", "208"),
        ("a10-ridge", "208.33"),
        ("a10-ridge", "208.34"),
        ("toy-add", "1/4"),
        ("attn-io", "8*N^2 + 8*N*h*h"),
        ("attn-flops", "(4*h+4)*N^2"),
        ("mlp-bound", "memory bound"),
    ],
)
def test_what_a_slide_prints_counts_to_its_last_digit(id: str, printed: str) -> None:
    i = [row.id for row in ROWS].index(id)
    assert replace(ROWS[i], printed=printed).agrees == (printed in ("208", "208.33"))


def test_a_tampered_derivation_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    derived = dict(lecture._derived())
    monkeypatch.setattr(lecture, "_derived", lambda: derived | {"attn-io": [derived["attn-io"][0] - 1]})
    with pytest.raises(AssertionError, match="attn-io: "):
        lecture.check()


def test_all_wrong_rows_are_named_at_once() -> None:
    table = lecture.Numbers(tuple(replace(row, derived=sympy.Integer(7)) for row in ROWS[:3]))
    with pytest.raises(AssertionError) as error:
        lecture.check(table)
    assert all(row.id in str(error.value) for row in ROWS[:3])


def test_the_table_in_a_terminal_has_every_row_and_its_agreement() -> None:
    lines = repr(lecture.numbers()).splitlines()
    assert lines[0].split() == ["id", "statement", "slide", "derived", "agrees"]
    for row, line in zip(ROWS, lines[1:], strict=True):
        assert line.startswith(row.id) and row.statement in line and row.printed in line and line.endswith("yes")
    assert repr(changed(0, derived=sympy.Integer(7))).splitlines()[1].endswith("NO")


def test_the_table_in_a_notebook_is_well_formed_html_with_every_row() -> None:
    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []
            self.rows = 0

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.open.append(tag)
            self.rows += tag == "tr"

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    reader = Reader()
    reader.feed(changed(0, statement="a < b & c")._repr_html_())
    assert reader.open == [] and reader.rows == 1 + len(ROWS)
    assert "a &lt; b &amp; c" in changed(0, statement="a < b & c")._repr_html_()


def test_what_papers_print_is_shown_with_its_source() -> None:
    for name, table in data("published.toml").items():
        shown = rk.published(name)
        assert "[read]" in shown.source or "[quoted]" in shown.source
        assert all(len(row) == len(shown.columns) for row in shown.rows)
        for text in (repr(shown), shown._repr_html_()):
            words = [cell for row in table["rows"] for cell in row if not (isinstance(cell, float) and cell >= 1e6)]
            assert all(str(cell).split("<")[0].split("'")[0] in text for cell in words)
        assert shown.source in repr(shown)


def test_a_table_that_nobody_printed_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="did you mean 'nsa-table-4'"):
        rk.published("nsa-table")
    with pytest.raises(ValueError, match=r"unknown column 'NSA'.*did you mean 'NSA \[tokens\]'"):
        rk.published("nsa-table-4").column("NSA")
