"""Students build: an algorithm is traced, run and compared; right ones pass in any form, wrong ones get help."""

from __future__ import annotations

import ast
import contextlib
import re
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import build_answers
import nbformat
import numpy as np
import pytest

import roofline_kit as rk
from roofline_kit.course import build as builds
from roofline_kit.course import lessons, trial
from roofline_kit.course.builds import build_ids
from roofline_kit.tensor import leaves

QUESTIONS = {question: builds.question_of(question) for question in build_ids()}
NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def named(table: dict[str, list[Any]]) -> list[Any]:
    """The rows of a table of answers, each with the name of its question."""
    return [pytest.param(name, row, id=f"{name}-{i}") for name, rows in table.items() for i, row in enumerate(rows)]


SLIPS = {question: list(build.slips.items()) for question, build in QUESTIONS.items()}

# --- what is right --------------------------------------------------------------------------------


def test_each_page_up_to_8_asks_for_two_algorithms_and_later_ones_may_ask_for_more() -> None:
    first = [question[:2] for question in QUESTIONS if question < "09"]
    assert first == sorted(2 * [f"{page:02}" for page in range(1, 9)])


def test_no_question_has_the_id_of_one_that_is_checked() -> None:
    assert not set(QUESTIONS) & set(lessons.hints())


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_reference_is_accepted(question: str) -> None:
    assert rk.build(question, QUESTIONS[question].right).right


@pytest.mark.parametrize(("question", "answer"), named(build_answers.RIGHT))
def test_a_right_answer_is_accepted_in_every_form(question: str, answer: Callable[..., Any]) -> None:
    verdict = rk.build(question, answer)
    assert verdict.right, verdict
    assert repr(verdict).startswith("✓ Right. ") and "total" in repr(verdict)


def test_there_are_at_least_two_forms_of_each_right_answer() -> None:
    assert {question: len(forms) >= 2 for question, forms in build_answers.RIGHT.items()} == dict.fromkeys(
        QUESTIONS, True
    )


def test_a_layer_counts_what_llama_2_counts() -> None:
    wanted = QUESTIONS["07.layer"]
    llama, sizes = rk.model("llama-2-7b"), wanted.typical
    layer = rk.trace(wanted.right, *wanted.takes()).at(**sizes).matmul_flops
    head = 2 * sizes["N"] * llama.hidden * llama.vocabulary
    assert llama.layers * layer + head == llama.prefill(1, sizes["N"], causal=True).matmul_flops


# --- what is wrong --------------------------------------------------------------------------------


def at_once(*args: Any) -> Any:
    while True:
        pass


def raising(*args: Any) -> Any:
    raise RuntimeError("I do not know how")


def returning_nothing(*args: Any) -> Any:
    rk.exp(args[0])


def of_numpy(*args: Any) -> Any:
    return np.exp(args[0])


def changing(*args: Any) -> Any:
    first = args[0]
    first *= 2
    return first


LINE = raising.__code__.co_firstlineno + 1
COMMON = [
    (at_once, "was still running after"),
    (raising, f'in line {LINE}, `raise RuntimeError("I do not know how")`. RuntimeError: I do not know how'),
    (returning_nothing, "it returns None: is a return missing?"),
    (of_numpy, "Take functions from the kit: rk.exp, not np.exp"),
    (changing, "it changes its argument"),
]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "at_once" in request.node.name or "endless" in request.node.name:
        monkeypatch.setattr(trial, "SECONDS", 0.2)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(("answer", "words"), COMMON, ids=lambda x: getattr(x, "__name__", ""))
def test_what_may_happen_anywhere_gets_words_that_help(question: str, answer: Callable[..., Any], words: str) -> None:
    verdict = rk.build(question, answer)
    assert not verdict.right and words in repr(verdict), verdict


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_forgotten_argument_is_named(question: str) -> None:
    _, _, names = QUESTIONS[question].call.rstrip(")").partition("(")
    fewer = ", ".join(names.split(", ")[1:])
    verdict = rk.build(question, eval(f"lambda {fewer}: 0"))
    assert not verdict.right and f"yours takes ({fewer})" in repr(verdict)


@pytest.mark.parametrize(("question", "row"), [*named(build_answers.WRONG), *named(SLIPS)])
def test_a_wrong_answer_gets_words_that_help(question: str, row: tuple[Callable[..., Any], str]) -> None:
    answer, words = row
    verdict = rk.build(question, answer)
    assert not verdict.right and words in repr(verdict), verdict
    assert repr(verdict).startswith("Not yet. ")


def test_there_are_ten_wrong_answers_to_each_question_beside_those_that_may_happen_anywhere() -> None:
    for question in QUESTIONS:
        assert len(build_answers.WRONG[question]) + len(SLIPS[question]) >= 10, question
        assert len(build_answers.WRONG[question]) >= 6, question


# --- how it is told -------------------------------------------------------------------------------


def stub(S: Any) -> Any:
    """Nothing yet."""
    return ...


def half_a_stub(S: Any) -> Any:
    rk.exp(S)
    return ...


@pytest.mark.parametrize("answer", [..., stub, half_a_stub, rk.fuse(stub), lambda S: None])
def test_a_stub_is_met_kindly(answer: Any) -> None:
    verdict = rk.build("02.passes", answer)
    assert repr(verdict) == "Not written yet: softmax_by_passes(S). Wanted are 5*M*N FLOPs and 16*M*N + 8*N bytes."
    assert not verdict.right


def test_a_wanted_cost_that_would_be_the_answer_is_told_beside_a_first_try() -> None:
    told = repr(rk.build("01.order", ...))
    assert told == "Not written yet: product(A, B, x). What is wanted stands beside the cost of your first try."
    assert "4*N**2 + 8*N" in repr(rk.build("01.order", lambda A, B, x: A @ B @ x))


@pytest.mark.parametrize(
    ("answer", "kind"), [(5, "int"), (None, "NoneType"), ("softmax", "str"), (np.ones(3), "ndarray")]
)
def test_what_is_no_function_is_named(answer: Any, kind: str) -> None:
    assert f"Give the function itself, softmax_by_passes, without calling it: this is of type {kind}" in repr(
        rk.build("02.passes", answer)
    )


def decoder_layer(*args: Any) -> Any:
    """A student's own, of that name."""
    return build_answers.line_by_line(*args)


def test_the_kits_own_answer_is_refused_and_ones_own_of_that_name_is_not() -> None:
    assert rk.build("07.layer", lambda X, w, heads, cos, sin: decoder_layer(X, w, heads, cos, sin)).right
    assert "rk.decoder_layer would be the answer" in repr(rk.build("07.layer", rk.decoder_layer))


def test_what_is_only_right_on_tensors_is_told_by_its_type() -> None:
    def words(S: Any) -> Any:
        return np.array(["a"]) if isinstance(S, np.ndarray) else build_answers.by_methods(S)

    assert "the result is of type ndarray, and must be an array of numbers" in repr(rk.build("02.passes", words))


def test_rounding_in_what_is_stored_is_no_change() -> None:
    def rounded(q: Any, k: Any, v: Any, K: Any, V: Any) -> Any:
        return build_answers.in_one_line(q, k * (1 + 1e-12), v * (1 + 1e-12), K, V)

    assert "the argument" not in repr(rk.build("04.decode", rounded))


def test_costs_stand_side_by_side_and_the_step_that_differs_is_marked() -> None:
    assert repr(rk.build("01.order", lambda A, B, x: A @ B @ x)).splitlines() == [
        "Not yet. Python multiplies from the left, A @ B first: where would parentheses help?",
        "Its values are right in all 4 draws.",
        "It takes more FLOPs and more bytes than wanted: look at step ① A @ B.",
        "",
        "              your FLOPs    your bytes  wanted FLOPs  wanted bytes",
        "① A @ B           2*N**3        6*N**2        2*N**2  2*N**2 + 4*N  ←",
        "② ① @ x           2*N**2  2*N**2 + 4*N        2*N**2  2*N**2 + 4*N",
        "total    2*N**3 + 2*N**2  8*N**2 + 4*N        4*N**2  4*N**2 + 8*N  ←",
    ]


def test_the_draw_and_the_worst_element_are_named() -> None:
    told = repr(rk.build("01.order", lambda A, B, x: A @ x))
    A, B, x = QUESTIONS["01.order"].arrays(0)
    worst = abs(A @ x - A @ B @ x).argmax()
    assert "Run on arrays with N = 2, the result is wrong in 2 of 2 elements." in told
    assert f"The worst: [{worst}] is {(A @ x)[worst]:.4g}, and must be {(A @ B @ x)[worst]:.4g}." in told


def test_values_and_cost_are_judged_apart() -> None:
    told = repr(rk.build("03.gated", lambda X, g, u, d: (rk.silu(X @ u) * (X @ g)) @ d))
    assert "wrong in" in told and "Its cost is the wanted one." in told


@pytest.mark.parametrize("question", ["01.order", "04.decode", "06.blocks"])
def test_an_answer_is_told_the_same_each_time(question: str) -> None:
    wrong = build_answers.WRONG[question][0][0]
    assert repr(rk.build(question, wrong)) == repr(rk.build(question, wrong))


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_question_is_drawn_at_several_odd_sizes(question: str) -> None:
    wanted = QUESTIONS[question]
    shapes = {tuple(np.shape(x) for x in leaves(wanted.arrays(draw))) for draw in range(len(wanted.draws))}
    assert len(shapes) >= 4
    assert any(n % 2 for sizes in wanted.draws for n in sizes.values() if n > 1)
    again = zip(leaves(wanted.arrays(1)), leaves(wanted.arrays(1)), strict=True)
    assert all(np.array_equal(a, b) for a, b in again)


def test_an_unknown_question_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown question '02\.pases'; did you mean '02\.passes'"):
        rk.build("02.pases", stub)


def test_a_question_that_is_checked_points_to_its_check() -> None:
    with pytest.raises(ValueError, match=r'01\.saxpy asks for no function: give your answer to rk\.check\("01\.saxpy"'):
        rk.build("01.saxpy", stub)


def test_a_check_of_a_question_that_asks_for_a_function_points_to_its_build() -> None:
    with pytest.raises(ValueError, match=r'asks for a function: give yours to rk\.build\("02\.once", softmax_once\)'):
        rk.check("02.once", 1)
    with pytest.raises(ValueError, match=r"unknown question '02\.pases'; did you mean '02\.passes'"):
        rk.check("02.pases", 1)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_function_that_is_right_can_be_asked_for_and_runs_in_a_cell_of_its_own(question: str) -> None:
    told = repr(rk.answer(question))
    indented = [line for line in told.splitlines() if line.startswith("    ") or not line]
    names: dict[str, Any] = {"rk": rk}
    exec(textwrap.dedent("\n".join(indented)), names)
    assert told.startswith("Asking is allowed") and told.endswith(f"\n\n{QUESTIONS[question].learned}")
    assert rk.build(question, names[QUESTIONS[question].name]).right


# --- what never ends ------------------------------------------------------------------------------


def endless_tries(S: Any) -> Any:
    while True:
        with contextlib.suppress(Exception):
            S = S + 1


def endless_generator(S: Any) -> Any:
    return sum(1 for _ in iter(int, 1))


def endless_calls(S: Any) -> Any:
    while True:
        rk.exp(S)


def endless_but_for_a_bare_except(S: Any) -> Any:
    while True:
        try:  # noqa: SIM105
            S = S + 1
        except:  # noqa: E722
            pass


def endless_in_a_bare_except(S: Any) -> Any:
    while True:
        try:
            while True:
                S = S + 1
        except:  # noqa: E722
            S = S - 1


def endless_finally(S: Any) -> Any:
    while True:
        try:
            endless_in_a_bare_except(S)
        finally:
            continue  # noqa: B012


def endless_on_arrays(S: Any) -> Any:
    while isinstance(S, np.ndarray):
        pass
    return build_answers.by_methods(S)


def without_a_floor(S: Any) -> Any:
    return without_a_floor(S)


ENDLESS = [endless_tries, endless_generator, endless_calls, endless_on_arrays]
SWALLOWING = [endless_but_for_a_bare_except, endless_in_a_bare_except, endless_finally]


@pytest.mark.parametrize("answer", [*ENDLESS, *SWALLOWING])
def test_endless_code_is_stopped_and_leaves_nothing_behind(answer: Callable[..., Any]) -> None:
    before = threading.active_count(), sys.gettrace()
    assert "does its loop ever end?" in repr(rk.build("02.passes", answer))
    assert (threading.active_count(), sys.gettrace()) == before


def test_a_debugger_that_watches_is_put_back() -> None:
    def debugger(*_: Any) -> None:
        return None

    sys.settrace(debugger)
    try:
        rk.build("02.once", rk.fuse(build_answers.by_methods))
        found = sys.gettrace()
    finally:
        sys.settrace(None)
    assert found is debugger


def test_a_recursion_without_a_floor_is_told() -> None:
    told = repr(rk.build("02.passes", without_a_floor))
    assert "without_a_floor(S" in told and "RecursionError: maximum recursion depth exceeded" in told


def test_an_interrupt_goes_through() -> None:
    def interrupted(S: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rk.build("02.passes", interrupted)


def test_exit_does_not_end_the_kernel() -> None:
    assert "SystemExit" in repr(rk.build("02.passes", lambda S: sys.exit()))


# --- on the pages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_cells_of_a_question_are_ready_for_its_page(question: str) -> None:
    asked, code = builds.cells(question)
    assert asked.startswith("**") and max(map(len, asked.splitlines())) <= 120
    prose = re.sub(r"`[^`]*`|\*\*.*?\*\*", "", asked)
    assert not re.search(r"\d\d", prose), "a page shows no number that no cell has"
    *stub, check = code.splitlines()
    assert len(code.splitlines()) <= 15
    names: dict[str, Any] = {"rk": rk}
    exec("\n".join(stub), names)
    wanted = QUESTIONS[question]
    told = repr(eval(check, names))
    beginning = "What is wanted stands beside" if wanted.secret else "Wanted are "
    assert told.startswith(f"Not written yet: {wanted.call}. {beginning}") and told.count("\n") == 0


def test_a_page_shows_the_specification_and_the_stub_as_they_are_stored() -> None:
    asked = []
    for path in NOTEBOOKS:
        page = nbformat.read(path, as_version=4).cells
        for i, cell in enumerate(page):
            if "rk.build(" in cell.source and cell.cell_type == "code":
                question = cell.source.rpartition('rk.build("')[2].partition('"')[0]
                assert (page[i - 1].source, cell.source) == builds.cells(question), f"{path.name}: {question}"
                assert "Not written yet" in cell.outputs[0].data["text/plain"]
                asked.append((path.name[:2], question))
    assert all(page == question[:2] for page, question in asked)
    assert len(set(asked)) == len(asked) >= 4


def test_no_page_uses_the_name_of_a_stub_for_something_else() -> None:
    for path in NOTEBOOKS:
        names = {build.name for question, build in QUESTIONS.items() if question[:2] == path.name[:2]}
        code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        nodes = [node for source in code if "rk.build(" not in source for node in ast.walk(ast.parse(source))]
        stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        stored |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        assert not names & stored, path.name
