"""A cost shows itself as the slide's table: in LaTeX in a notebook, as text in a terminal."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

import pytest
from algorithms import Algorithm, Program, at, each_algorithm, few, programs, sizes_for, small_sizes, traced
from hypothesis import given
from hypothesis import strategies as st

import roofline_kit as rk

N, h = rk.symbols("N h")
ATTENTION = rk.trace(rk.attention, *rk.tensors("Q K V", (N, h)))


def cells(latex: str) -> list[list[str]]:
    """The cells of a LaTeX array, row by row."""
    body = re.search(r"\\begin\{array\}\{[^}]*\}(.*)\\end\{array\}", latex, re.DOTALL)
    assert body
    rows = re.split(r"\\\\(?:\[4pt\])?", body[1].replace(r"\hline", ""))
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", row)] for row in rows]


def assert_well_formed(latex: str, steps: int) -> None:
    """What MathJax needs: math mode, balanced braces and environments, six cells a row, text escaped."""
    assert latex.startswith("$") and latex.endswith("$") and latex.count("$") == 2
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", latex):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert latex.count(r"\left") == latex.count(r"\right")
    assert [len(row) for row in cells(latex)] == [6] * (steps + 2)
    for text in re.findall(r"\\text\{([^{}]*)\}", latex):
        assert not re.search(r"(?<!\\)[_%&#]", text), text


def test_attention_shows_the_table_of_the_slide_in_a_terminal() -> None:
    assert repr(ATTENTION).splitlines() == [
        "   attention            FLOPs       loads [B]      stores [B]                  FLOPs/B",
        "──────────────────────────────────────────────────────────────────────────────────────",
        "①  Q @ K.T           2*N**2*h           4*N*h          2*N**2            N*h/(N + 2*h)",
        "②  softmax(①)          3*N**2          2*N**2          2*N**2                      3/4",
        "③  ② @ V             2*N**2*h  2*N**2 + 2*N*h           2*N*h            N*h/(N + 2*h)",
        "──────────────────────────────────────────────────────────────────────────────────────",
        "   total       N**2*(4*h + 3)  4*N**2 + 6*N*h  4*N**2 + 2*N*h  N*(4*h + 3)/(8*(N + h))",
    ]


def test_attention_shows_the_same_table_in_latex() -> None:
    head, *steps, total = cells(ATTENTION._repr_latex_())
    assert [cell.removeprefix(r"\text{").removesuffix("}") for cell in head] == [
        "", "attention", "FLOPs", "loads [B]", "stores [B]", "FLOPs/B",
    ]  # fmt: skip
    assert [row[1] for row in steps] == [
        r"Q\,K^{\mathsf{T}}", r"\operatorname{softmax}\left(\text{①}\right)", r"\text{②}\,V",
    ]  # fmt: skip
    assert [row[2] for row in steps] == ["2 N^{2} h", "3 N^{2}", "2 N^{2} h"]
    assert total[2:] == [
        r"N^{2} \left(4 h + 3\right)",
        "4 N^{2} + 6 N h",
        "4 N^{2} + 2 N h",
        r"\frac{N \left(4 h + 3\right)}{8 \left(N + h\right)}",
    ]


def test_numbers_have_separators_and_few_digits_in_both() -> None:
    cost = ATTENTION.at(N=4096, h=4096)
    total = repr(cost).splitlines()[-1].split()
    assert total[1:] == ["274,928,238,592", "167,772,160", "100,663,296", "1,024.19"]
    assert r"274\,928\,238\,592" in cost._repr_latex_() and r"1\,024.19" in cost._repr_latex_()
    assert_well_formed(cost._repr_latex_(), 3)


@each_algorithm
def test_every_algorithm_shows_one_row_a_step_and_a_total(algorithm: Algorithm) -> None:
    cost = traced(algorithm)
    assert_well_formed(cost._repr_latex_(), len(cost.steps))
    lines = repr(cost).splitlines()
    assert len(lines) == len(cost.steps) + 4 and lines[-1].split()[0] == "total"
    numbers = [*"①②③④⑤⑥⑦⑧⑨⑩", *(f"[{i}]" for i in range(11, 99))]
    assert [line.split()[0] for line in lines[2:-2]] == numbers[: len(cost.steps)]


@given(program=programs(), sizes=small_sizes)
def test_every_program_shows_a_table_in_symbols_and_in_numbers(program: Program, sizes: dict[str, int]) -> None:
    for cost in (traced(program.algorithm()), traced(program.algorithm(), sizes)):
        assert_well_formed(cost._repr_latex_(), len(cost.steps))
        assert len(repr(cost).splitlines()) == len(cost.steps) + 4


@each_algorithm
def test_columns_stay_aligned_in_a_terminal(algorithm: Algorithm) -> None:
    lines = repr(traced(algorithm)).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_long_chains_are_shown_by_the_numbers_of_their_steps() -> None:
    def many(x: Any) -> Any:
        for _ in range(25):
            x = rk.exp(x) + x
        return x

    cost = rk.trace(many, rk.Tensor("x", N))
    assert max(map(len, repr(cost).splitlines())) < 70
    assert all(number in repr(cost) for number in ("①", "⑩", "[11]", "[50]"))
    assert_well_formed(cost._repr_latex_(), 50)


def test_names_of_long_expressions_do_not_grow_without_end() -> None:
    x = rk.Tensor("x", N)
    for _ in range(100):
        x = x * x + x
    assert len(x.name) < 120


@pytest.mark.parametrize("name", ["W_q", "W_q proj", "x_1 + y", "50% of x", "a & b", "x#1", "Größe", "α"])
def test_any_name_of_a_tensor_gives_latex_that_mathjax_reads(name: str) -> None:
    cost = rk.trace(lambda x: rk.exp(x) * x, rk.Tensor(name, N))
    assert_well_formed(cost._repr_latex_(), 2)


def test_a_symbolic_scalar_gives_latex_that_mathjax_reads() -> None:
    cost = rk.trace(lambda x: x / rk.symbols("h_k") ** 2, rk.Tensor("x", N))
    assert_well_formed(cost._repr_latex_(), 1)


def test_a_name_with_underscores_is_escaped_in_the_head() -> None:
    def two_step_function(x: Any) -> Any:
        return rk.exp(x) + 1

    assert r"\text{two}\_\text{step}\_\text{function}" in rk.trace(two_step_function, rk.Tensor("x", N))._repr_latex_()


def test_a_repeated_step_says_how_often() -> None:
    cost = 32 * ATTENTION
    assert repr(cost).count("(× 32)") == 3 and repr(cost).startswith("   32 × attention")
    assert len(re.findall(r"\((?:×|\\times) ?32\)", cost._repr_latex_())) == 3
    assert_well_formed(cost._repr_latex_(), 3)


def test_joined_costs_keep_both_names_and_all_rows() -> None:
    cost = ATTENTION + rk.trace(rk.linear, rk.Tensor("X", (N, h)), rk.Tensor("W", (h, h)))
    assert repr(cost).startswith("   attention + linear")
    assert "④  X @ W" in repr(cost)


def test_the_transpose_of_a_result_is_shown_as_one() -> None:
    cost = rk.trace(lambda Q, K, V: (Q @ K.T).T @ V, *rk.tensors("Q K V", (N, h)))
    assert "①.T @ V" in repr(cost)
    assert r"\text{①}^{\mathsf{T}}\,V" in cost._repr_latex_()


def test_transposing_twice_gives_the_name_back() -> None:
    Q = rk.Tensor("Q", (N, h))
    assert [Q.T.name, Q.T.T.name, Q.T.T.T.name] == ["Q.T", "Q", "Q.T"]


def test_operations_inside_of_operations_have_parentheses() -> None:
    a, b = rk.tensors("a b", N)
    assert ((a + b) * (a - 1)).name == "(a + b) * (a - 1)"
    assert rk.exp(a + b).name == "exp(a + b)"
    assert (rk.exp(a + b) * 2).name == "exp(a + b) * 2"


def test_a_cost_of_nothing_shows_zeros() -> None:
    cost = rk.trace(lambda x: x.T, rk.Tensor("x", (N, h)))
    assert repr(cost).splitlines()[-1].split() == ["total", "0", "0", "0", "none"]
    assert "none" in cost._repr_latex_()


def test_a_lambda_is_called_cost_and_a_fused_one_fused() -> None:
    assert rk.trace(rk.fuse(lambda x: rk.exp(x)), rk.Tensor("x", N)).steps[0].name == "fused(x)"
    assert rk.trace(lambda x: rk.exp(x), rk.Tensor("x", N)).name == "cost"


def test_tensors_and_steps_show_name_dtype_and_shape() -> None:
    x = rk.Tensor("x", (N, 4), "fp32")
    assert repr(x) == "x: fp32 (N, 4)" and repr(rk.Tensor("y", N)) == "y: fp16 (N,)"
    assert repr((x + x).step) == "Step(x + x: 4*N FLOPs, 16*N B read, 16*N B written)"


@each_algorithm
@few
@given(data=st.data())
def test_putting_numbers_in_changes_the_figures_and_no_description(algorithm: Algorithm, data: st.DataObject) -> None:
    number = at(traced(algorithm), data.draw(sizes_for(algorithm[1])))
    for before, after in zip(in_symbols(algorithm), cells(number._repr_latex_()), strict=True):
        assert before[:2] == after[:2]


@lru_cache(1)
def in_symbols(algorithm: Algorithm) -> list[list[str]]:
    """The table of an algorithm, which is the same for all sizes that are put in."""
    return cells(traced(algorithm)._repr_latex_())


def test_a_formula_that_is_too_long_for_the_table_is_left_out_and_can_be_asked_for() -> None:
    cost = rk.model("llama-2-7b").decode(*rk.symbols("B S"))
    assert repr(cost).splitlines()[-1].split()[-1] == "…" and len(str(cost.intensity)) > 48
    assert max(map(len, repr(cost).splitlines())) < 200
    assert_well_formed(cost._repr_latex_(), len(cost.steps))


# --- for a paper ----------------------------------------------------------------------------------------


def tabular(latex: str) -> list[list[str]]:
    """The cells of a LaTeX tabular, row by row."""
    body = re.fullmatch(r"\\begin\{tabular\}\{llrrrr\}\n(.*)\n\\end\{tabular\}", latex, re.DOTALL)
    assert body
    rows = body[1].replace(r"\hline", "").strip().removesuffix(r"\\").split(r"\\")
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", row)] for row in rows]


@cache
def typeset(formula: str) -> None:
    """Sets a formula, once for all tables that it stands in. Raises ValueError for what cannot be set."""
    from matplotlib.mathtext import MathTextParser

    MathTextParser("path").parse(formula)


def assert_typeset(latex: str, steps: int) -> None:
    """A paper's LaTeX reads it: plain ASCII, six cells a row, and each formula is one that a typesetter sets."""
    rows = tabular(latex)
    assert latex.isascii() and [len(row) for row in rows] == [6] * (steps + 2)
    for cell in (cell for row in rows[1:] for cell in row if "$" in cell):
        typeset(cell)


def test_attention_is_the_table_of_the_slide_in_a_paper() -> None:
    head, *steps, total = tabular(ATTENTION.to_latex())
    assert head == ["", "attention", "FLOPs", "loads [B]", "stores [B]", "FLOPs/B"]
    assert [row[:3] for row in steps] == [
        ["(1)", r"$Q\,K^{\mathsf{T}}$", "$2 N^{2} h$"],
        ["(2)", r"$\operatorname{softmax}\left(\text{(1)}\right)$", "$3 N^{2}$"],
        ["(3)", r"$\text{(2)}\,V$", "$2 N^{2} h$"],
    ]
    assert total[1:3] == ["total", r"$N^{2} \left(4 h + 3\right)$"]


@each_algorithm
def test_every_algorithm_can_be_put_into_a_paper(algorithm: Algorithm) -> None:
    cost = traced(algorithm)
    assert_typeset(cost.to_latex(), len(cost.steps))
    assert_typeset(at(cost, dict.fromkeys("BHKMNdh", 6)).to_latex(), len(cost.steps))


def test_a_paper_gets_repetitions_and_formulas_of_any_length() -> None:
    cost = 32 * rk.model("gpt2").decode(*rk.symbols("B S"))
    assert_typeset(cost.to_latex(), len(cost.steps))
    assert "…" in repr(cost) and r"32 $\times$ " in cost.to_latex() and r"\quad(\times 384)" in cost.to_latex()


@pytest.mark.parametrize("name", ["W_q", "50% of x", "a & b", "x#1", "f(x)[1]"])
def test_any_name_can_stand_in_a_paper(name: str) -> None:
    cost = rk.trace(lambda x: rk.exp(x) * x, rk.Tensor(name, N))
    assert_typeset(cost.to_latex(), 2)
    assert name == "W_q" or name in cost.to_latex().replace("\\", "")


def test_a_step_that_moves_nothing_has_no_intensity_in_a_paper() -> None:
    assert r"$\text{none}$" in rk.trace(lambda x: x.T, rk.Tensor("x", (N, h))).to_latex()


def test_a_view_of_a_sum_is_written_with_parentheses_once() -> None:
    A, B = rk.tensors("A B", (4, 4))
    assert ((A + B).T @ A).name == "(A + B).T @ A"
    assert ((A * B) @ (A + B)).name == "(A * B) @ (A + B)" and (rk.exp(A + B).T @ A).name == "exp(A + B).T @ A"
    assert rk.passes(lambda A, B: (A + B) @ A, A, B).backward.names()[1] == "② (A + B).T @ gradient"
