"""The checks of the "your turn" cells: right answers pass, wrong ones get a hint and never the solution."""

from __future__ import annotations

import re
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy

import roofline_kit as rk
from roofline_kit.course import answers
from roofline_kit.course.answers import answer as right_answer
from roofline_kit.course.lessons import hints

QUESTIONS = sorted(hints())


def test_every_question_has_an_answer_and_a_hint() -> None:
    assert set(hints()) == {question for page in answers.PAGES.values() for question in page()}
    assert all(entry["hint"] and entry["right"] for entry in hints().values())


def test_only_the_page_of_a_question_is_computed() -> None:
    """Page 01 needs no model: no function of models.py runs. Page 04 does, so the watch can see one."""

    def files_that_run(question: str) -> set[str]:
        files = set()
        sys.setprofile(lambda frame, *_: files.add(Path(frame.f_code.co_filename).name))
        try:
            rk.check(question, 1)
        finally:
            sys.setprofile(None)
        return files

    answers.answers_of.cache_clear()
    assert "models.py" not in files_that_run("01.saxpy")
    assert "models.py" in files_that_run("04.cache")


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_right_answer_is_accepted(question: str) -> None:
    assert rk.check(question, right_answer(question)).right


@pytest.mark.parametrize("question", QUESTIONS)
def test_three_dots_are_not_an_answer(question: str) -> None:
    verdict = rk.check(question, ...)
    assert not verdict.right and "three dots" in repr(verdict)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("wrong", [0, -1, 17.3, "perhaps", None, True, float("nan"), float("inf"), [1, 2], np.ones(3)])
def test_a_wrong_answer_gets_a_hint(question: str, wrong: Any) -> None:
    verdict = rk.check(question, wrong)
    assert not verdict.right and repr(verdict).startswith("Not yet. ")


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_hint_gives_the_solution_away(question: str) -> None:
    solution, entry = right_answer(question), hints()[question]
    said = [entry["hint"], *entry.get("slips", {}).values()]
    if isinstance(solution, str):  # a word of two: the hint must not say only the right one
        other = {"memory": "compute", "compute": "memory"}[solution]
        assert all(other in hint for hint in said if f"'{solution}'" in hint)
        return
    numbers = [float(Fraction(text)) for hint in said for text in re.findall(r"\d+(?:/\d+|\.\d+)?", hint)]
    assert not any(rk.check(question, number).right for number in numbers), said


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_known_slip_is_wrong_and_gets_its_own_hint(question: str) -> None:
    for slip, hint in hints()[question].get("slips", {}).items():
        verdict = rk.check(question, sympy.sympify(slip))
        assert not verdict.right and hint in repr(verdict)


@pytest.mark.parametrize("answer", [625, 625.0, np.int64(625), np.float64(625), Fraction(625), sympy.Integer(625)])
def test_any_kind_of_number_will_do(answer: Any) -> None:
    assert rk.check("03.square", answer).right


def test_three_digits_are_enough_but_not_for_a_whole_number() -> None:
    assert rk.check("00.ridge", 295).right
    assert not rk.check("00.ridge", 300).right
    assert rk.check("01.saxpy", 0.167).right
    assert not rk.check("03.square", 624).right


def test_a_formula_may_be_written_in_any_way_and_with_any_symbols_of_that_name() -> None:
    N, h = rk.symbols("N h")
    plain_n, plain_h = sympy.symbols("N h")
    assert rk.check("02.fp32", (4 * h + 3) * N**2 / (16 * N**2 + 16 * N * h)).right
    assert rk.check("02.fp32", plain_n * (4 * plain_h + 3) / (16 * (plain_n + plain_h))).right
    assert not rk.check("02.fp32", (4 * h + 3) * N**2 / (8 * N**2 + 8 * N * h)).right
    assert not rk.check("02.fp32", 0.5).right


def dragged() -> dict[str, Any]:
    """What a reader finds with the explorers of the pages, as set up there."""
    N = rk.symbols("N")
    product = rk.explore_roofline(rk.trace(rk.matmul, *rk.tensors("A B", (N, N))), "A10")
    heads = rk.explore_attention("A10", heads=1)
    shared = rk.explore_batch("llama-2-7b", "A100-40GB", batch=16, context=2048)
    sparse = rk.explore_sparse(context=65536)
    walk = rk.explore_roofline("llama-2-7b", "A10", context=1000)
    crowd = rk.explore_batch("llama-2-7b", "A100-40GB", fused=True)

    def slides(explorer: Any, name: str) -> list[int]:
        return next(control.values for control in explorer.controls if control.name == name)

    def turns(dtype: str) -> int:
        return next(b for b in slides(walk, "batch") if walk.values(batch=b, dtype=dtype)["dense_bound"] >= 1)

    whole = [n for n in slides(heads, "heads") if heads.values(N=65536, heads=n, kv_heads=n)["whole_bound"] >= 1]
    ends = {name: slides(sparse, name)[0] for name in ("selected", "window")}
    rates = [crowd.values(batch=b, context=s)["whole_throughput"] for b, s in [(32, 1024), (64, 512)]]
    return {
        "01.drag": product.values(N=128)["part0_intensity"] / product.values(N=64)["part0_intensity"],
        "02.drag": whole[-1],
        "04.drag": shared.values()["whole_time"] / shared.values(kv_heads=1)["whole_time"],
        "06.drag": 1 / sparse.values(**ends)["share"],
        "08.walk": turns("int8") / turns("fp16"),
        "08.drag": rates[1] / rates[0],
    }


def test_dragging_leads_to_the_answer() -> None:
    """The answers come from the lessons' formulas, and here from the explorers: to the choice that the page offers."""
    choices = {"04.drag": (3, 10, 30), "06.drag": (15, 30, 70), "08.walk": (0.5, 1, 2), "08.drag": (1, 2, 4)}
    found = dragged()
    assert set(found) == {question for question in QUESTIONS if question.endswith((".drag", ".walk"))}
    for question, value in found.items():
        answer = answers.nearest(value, *choices.get(question, [value]))
        assert rk.check(question, answer).right, (question, value)


def test_an_unknown_question_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown question '01\.saxpi'; did you mean '01\.saxpy'"):
        rk.check("01.saxpi", 1)
