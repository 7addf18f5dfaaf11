"""The checks of the "your turn" cells: right answers pass, wrong ones get two hints, and then the worked answer."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy

import roofline_kit as rk
from roofline_kit.course import answers, progress
from roofline_kit.course.answers import answer as right_answer
from roofline_kit.course.builds import build_ids
from roofline_kit.course.judging import slips
from roofline_kit.course.lessons import hints
from roofline_kit.grading import assignment

QUESTIONS = sorted(hints())
REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def no_tries_before() -> Iterator[None]:
    """As in a new kernel."""
    progress.forget_tries()
    yield
    progress.forget_tries()


def test_every_question_has_an_answer_and_a_hint() -> None:
    assert set(hints()) == {question for page in answers.PAGES.values() for question in page()}
    assert all(all(entry[key] for key in ("hint", "second", "worked", "right")) for entry in hints().values())


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
@pytest.mark.parametrize("wrong", [0, -1, 5.4, "perhaps", None, True, float("nan"), float("inf"), [1, 2], np.ones(3)])
def test_a_wrong_answer_gets_a_hint(question: str, wrong: Any) -> None:
    verdict = rk.check(question, wrong)
    assert not verdict.right and repr(verdict).startswith("Not yet. ")


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_hint_gives_the_solution_away(question: str) -> None:
    solution, entry = right_answer(question), hints()[question]
    said = [entry["hint"], entry["second"], *entry.get("slips", {}).values()]
    if isinstance(solution, str):  # a word of two: the hint must not say only the right one
        other = {"memory": "compute", "compute": "memory"}[solution]
        assert all(other in hint for hint in said if f"'{solution}'" in hint)
        return
    numbers = [float(Fraction(text)) for hint in said for text in re.findall(r"\d+(?:/\d+|\.\d+)?", hint)]
    assert not any(rk.check(question, number).right for number in numbers), said


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_known_slip_is_wrong_and_gets_its_own_hint(question: str) -> None:
    for slip, hint in slips(question):
        verdict = rk.check(question, slip)
        assert not verdict.right and hint in repr(verdict)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("digits", [2, 3, 4])
def test_no_known_slip_passes_when_it_is_rounded(question: str, digits: int) -> None:
    for slip, _ in slips(question):
        if getattr(slip, "is_number", False):
            assert not rk.check(question, float(f"{float(slip):.{digits}g}")).right, slip


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_correct_rounding_passes_or_is_told_what_it_lacks(question: str) -> None:
    right = right_answer(question)
    if isinstance(right, str) or getattr(right, "free_symbols", ()):
        return
    for digits in (2, 3, 4):
        verdict = rk.check(question, float(f"{float(right):.{digits}g}"))
        close = "Right idea" in verdict.message or any(hint in verdict.message for _, hint in slips(question))
        assert verdict.right or close, (digits, verdict)


# --- the first try, the second, the third ---


def three_wrong_answers(question: str) -> list[Any]:
    """Three that are wrong in substance; fewer where a question offers fewer."""
    if offered := answers.choices(question):
        return [choice for choice in offered if choice not in answers.accepted(question)][:3]
    letters = getattr(right_answer(question), "free_symbols", ())
    return [factor * 10**12 * sympy.prod(letters) for factor in (11, 13, 17)]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_second_hint_comes_on_the_second_try_and_the_worked_answer_on_the_third(question: str) -> None:
    entry, wrong = hints()[question], three_wrong_answers(question)
    verdicts = [rk.check(question, answer) for answer in wrong]
    asked = [entry["hint"], entry["second"], entry["worked"].strip().splitlines()[-1]]
    for number, verdict in enumerate(verdicts):
        assert not verdict.right
        told = [text in verdict.message for text in asked]
        slipped = any(hint in verdict.message for hint in entry.get("slips", {}).values())
        assert told == [number == 0 and not slipped, number == 1, number == 2], verdict
    assert [rk.check(question, answer) for answer in wrong] == verdicts, "the same answer again is no new try"


def test_a_form_that_cannot_be_read_and_a_near_miss_are_no_tries() -> None:
    for answer in ("many", None, [], 620, 624.5, "N/3", ...):
        rk.check("03.square", answer)
    assert hints()["03.square"]["hint"] in rk.check("03.square", 100).message


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_worked_answer_is_lines_that_run_and_give_what_is_right(question: str) -> None:
    """Each starts from nothing but the imports of the page, so that a reader can put it into any cell."""
    lines = ast.parse(hints()[question]["worked"])
    last = lines.body.pop()
    assert isinstance(last, ast.Expr)
    (page,) = REPOSITORY.glob(f"notebooks/{question[:2]}_*.ipynb")
    names: dict[str, Any] = {"rk": rk}
    names |= {"sympy": sympy} if '"import sympy' in page.read_text("utf-8") else {}
    exec(compile(lines, question, "exec"), names)
    value = eval(compile(ast.Expression(last.value), question, "eval"), names)
    assert rk.check(question, value).right, value


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_worked_answer_can_be_asked_for_at_any_time(question: str) -> None:
    told = repr(rk.answer(question))
    assert told.startswith("Asking is allowed") and hints()[question]["worked"].strip().splitlines()[-1] in told
    assert hints()[question]["right"] in told


def test_the_worked_answer_of_a_question_that_is_not_there_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown question '04\.cash'; did you mean '04\.cache'"):
        rk.answer("04.cash")


HOMEWORK = sorted(path.parent for path in REPOSITORY.glob("assignments/*/assignment.toml"))


@pytest.mark.parametrize("folder", HOMEWORK, ids=lambda folder: folder.name)
def test_nothing_that_is_said_here_solves_a_graded_homework(folder: Path) -> None:
    given = assignment.read(folder).answers
    solutions = [line for answer in given.values() for line in assignment.solution(answer.source).splitlines()]
    said = " ".join("".join(repr(rk.answer(question)).split()) for question in [*QUESTIONS, *build_ids()])
    for line in solutions:
        if len(plain := "".join(line.split())) > 20:
            assert plain not in said, line
    for name in given:
        with pytest.raises(ValueError, match="unknown question"):
            rk.answer(name)


# --- conventions ---


def test_a_gigabyte_is_a_billion_bytes_or_what_the_card_reports_and_no_gibibyte() -> None:
    text = (REPOSITORY / "roofline_kit" / "data" / "accelerators.toml").read_text("utf-8")
    assert f"{answers.REPORTED[0] // 2**20} MiB" in text and f"{answers.REPORTED[1] / 1e9}e9 bytes" in text
    llama, gqa = rk.model("llama-2-7b"), rk.model("llama-3-8b")
    for memory, right in [(40e9, True), (42.3e9, True), (40339 * 2**20, True), (40 * 2**30, False)]:
        verdict = rk.check("04.cache", (memory - 2 * gqa.parameters) // gqa.kv_cache_bytes(1))
        assert verdict.right == right and (right or "GiB" in verdict.message)
        verdict = rk.check("08.gqa", (memory - 2 * gqa.parameters) // gqa.kv_cache_bytes(4096))
        assert verdict.right == right and (right or "GiB" in verdict.message)
        verdict = rk.check("08.memory", (memory - 2 * llama.parameters) // llama.kv_cache_bytes(4096))
        assert verdict.right, "13 users: by what the card reports, and for 40 GiB, too; nobody can tell"


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
    shared = rk.explore_batch("llama-2-7b", "A100-40GB", batch=16, context=2048, fused=True)
    sparse = rk.explore_sparse(context=65536)
    walk = rk.explore_roofline("llama-2-7b", "A10", context=1000, fused=True)
    crowd = rk.explore_batch("llama-2-7b", "A100-40GB", fused=True)

    def slides(explorer: Any, name: str) -> list[int]:
        return next(control.values for control in explorer.controls if control.name == name)

    def turns(dtype: str) -> int:
        return next(b for b in slides(walk, "batch") if walk.values(batch=b, dtype=dtype)["dense_bound"] >= 1)

    whole = [n for n in slides(heads, "heads") if heads.values(N=65536, heads=n, kv_heads=n)["whole_bound"] >= 1]
    ends = {name: slides(sparse, name)[0] for name in ("selected", "window")}
    training = rk.explore_training("llama-2-7b", "H200", batch=1, seq=4096, fused=True)
    rates = [crowd.values(batch=b, context=s)["whole_throughput"] for b, s in [(32, 1024), (64, 512)]]
    return {
        "01.drag": product.values(N=128)["part0_intensity"] / product.values(N=64)["part0_intensity"],
        "02.drag": whole[-1],
        "04.drag": shared.values()["whole_time"] / shared.values(kv_heads=1)["whole_time"],
        "06.drag": 1 / sparse.values(**ends)["share"],
        "08.walk": turns("int8") / turns("fp16"),
        "08.drag": rates[1] / rates[0],
        "13.drag": training.values(checkpoint=32)["whole_time"] / training.values()["whole_time"],
    }


def test_dragging_leads_to_the_answer() -> None:
    """The answers come from the lessons' formulas, and here from the explorers: to the choice that the page offers."""
    found = dragged()
    assert set(found) == {question for question in QUESTIONS if question.endswith((".drag", ".walk"))}
    for question, value in found.items():
        assert rk.check(question, value).right, (question, value)


def test_an_unknown_question_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown question '01\.saxpi'; did you mean '01\.saxpy'"):
        rk.check("01.saxpi", 1)
