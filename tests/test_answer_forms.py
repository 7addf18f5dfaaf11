"""The verdict of a kind teacher on forms of answers: right in another form, rounded, a near miss, a slip, nonsense.

The table is made by thinking about each question: what would somebody type who has understood it, and what somebody who
has not? None of it comes out of the checker.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy

import roofline_kit as rk
from roofline_kit.course import progress
from roofline_kit.course.lessons import hints

N, h, H, d, L = rk.symbols("N h H d L")
n_plain, h_plain, N_real = sympy.Symbol("n"), sympy.Symbol("h"), sympy.Symbol("N", real=True)
HALF = N * (4 * h + 3) / (8 * (N + h))
SINGLE = HALF / 2
nan, inf = float("nan"), float("inf")

# What each verdict says. Any other word in the table is a part of a slip's own hint.
SAYS = {
    "right": "✓ Right.",
    "digits": "Right idea: you are within a few per cent. Give three digits.",
    "every digit": "Right idea, but here every digit counts.",
    "whole": "Right idea, but the answer is a whole number.",
    "per cent": "Right idea, but that is per cent.",
    "open": "is still in it, and a number is asked for",
    "formula": "A formula in N and h is asked for",
    "letters": "Write it in N and h",
    "one": "one is asked for",
    "empty": "That is empty",
    "none": "None is what",
    "unreadable": "cannot be read as",
    "choose": "Choose one of",
}

FORMS: dict[str, dict[str, list[Any]]] = {
    "00.bound": {
        "right": [
            "memory", "Memory", " memory ", "memory-bound", "memory bound", "Memory-bound.", "'memory'", "bandwidth",
            "bandwidth-bound", "It is bound by memory.", "memroy", ["memory"], np.array("memory"), np.str_("memory"),
        ],
        "hint": ["compute", "compute-bound", "Compute bound", "FLOPs", "the arithmetic units"],
        "choose": ["perhaps", "", "memory or compute", "not memory", "not compute-bound", 50, 0.5, True, ["a", "b"]],
    },
    "01.saxpy": {
        "right": [
            1 / 6, 0.1667, 0.167, 0.17, "1/6", " 1 / 6 ", "2/12", "0.167", "0,167", "≈ 0.17", "about 1/6", "I = 1/6",
            "1/6 FLOPs per byte", "0.167 FLOPs/B", "16.7 %", "17%", Fraction(1, 6), Decimal("0.1667"),
            sympy.Rational(1, 6),
            [1 / 6], np.array(1 / 6), np.array([[1 / 6]]), np.float32(1 / 6), sympy.Float("0.16667"), 2 * N / (12 * N),
        ],
        "digits": [0.16, 0.163, "0.16", 0.172],
        "per cent": [16.7, 16.67, 17],
        "written as well": [1 / 4, "1/4", 0.25],
        "two bytes per element": [1 / 3, 0.33, "0.333"],
        "per memory access": [2 / 3, 0.67],
        "are two operations": [1 / 12, 0.083, 1 / 8],
        "hint": [0, -1 / 6, 0.2, 3, 1e9, 10**400, "1//6"],
        "unreadable": ["a sixth?", "1/", "0.1.6", "", "1/0", nan, inf, 1j, print],
        "none": [None],
        "open": [2 * N, "2*N/12"],
    },
    "01.dot": {
        "right": [0.5, "0.5", ".5", "0,5", "1/2", sympy.S.Half, [0.5], "50 %", "50%", "50 per cent", np.float64(0.5)],
        "per cent": [50, "50", 50.0],
        "Two operations for each pair": [0.25, "1/4"],
        "How many bytes does one element": [1, "1", 1.0, np.int64(1)],
        "open": [N / (2 * N + 1), "N/(2*N+1)"],
        "hint": [2, 0, -0.5, 5],
    },
    "02.predict": {
        "right": [500, "500", 464, 464.4, "464", "about 500", "~500", "500 tokens", [464], 5e2, np.array(500)],
        "hint": [50, 5000, "never", "Never", "never.", 51, "5,000"],
        "choose": [250, 1500, 0, -500, "perhaps", 1e9, nan, None, N],
    },
    "02.fp32": {
        "right": [
            SINGLE, sympy.expand(SINGLE), (4 * h + 3) * N**2 / (16 * N**2 + 16 * N * h), [SINGLE], np.array(SINGLE),
            N_real * (4 * h_plain + 3) / (16 * (N_real + h_plain)), n_plain * (4 * h + 3) / (16 * (n_plain + h)),
            0.0625 * N * (4 * h + 3) / (N + h), sympy.Eq(sympy.Symbol("I"), SINGLE, evaluate=False),
            "N*(4*h+3)/(16*(N+h))", "N(4h + 3) / (16(N + h))", "N²(4h+3)/(16N² + 16N·h)", "N^2*(4*h+3)/(16*N^2+16*N*h)",
            "I = N*(4*h+3)/(16*(N+h))", "N (4 h + 3) / (16 (N + h))", "(4 N h + 3 N) / (16 (N + h))",
        ],
        "half precision": [HALF, "N*(4*h+3)/(8*(N+h))", 2 * SINGLE],
        "formula": [0.5, "1/2", 128],
        "letters": [SINGLE.subs(h, d), "N*(4*L+3)/(16*(N+L))"],
        "hint": [(4 * h + 3) / 16, N, N * h, 4 * N**2 * h / (16 * N**2 + 16 * N * h)],
        "unreadable": ["N*(4*h", "half of it", "__import__('os')", "9**9**9**9", "N**h", "N if h else N"],
    },
    "03.square": {
        "right": [
            625, 625.0, "625", "625.0", " 625 rows", "6.25e2", "N = 625", "5**4", sympy.Integer(625), Fraction(625),
            [625], (625,), {625}, sympy.FiniteSet(625), {N: 625}, [{N: 625}], sympy.Matrix([625]), np.array(625),
            N >= 625, "≥ 625", "from 625 on", "at least 625",
            np.array([625]), np.int64(625), 625.0000000001, 624.9999999999,
        ],
        "whole": [624.7, 625.3, "625.4"],
        "every digit": [620, 630, 624, 626, "630"],
        "the ridge point itself": [sympy.Rational(625, 3), 208.3, 208, "625/3", 210],
        "hint": [600, 0, -625, 1000, 6.25, 62500],
        "one": [[625, -625], np.ones(3), {N: 625, h: 3}],
        "empty": [[], {}, np.array([])],
        "open": [N / 3, "N/3", "N"],
        "unreadable": ["many", "10 to 20", True, object()],
    },
    "04.predict": {
        "right": [1, "1", 0.99, "0.99", 1.0, 1.01, 0.985, "about 1", "~1", "1 FLOP per byte", "1 FLOP/B", [0.99]],
        "hint": [30, 100, 1000, 28, "30", "about 100", "1,000"],
        "choose": [5, 10, 0, -1, 1e6, "few", inf],
    },
    "04.drag": {
        "right": [3, 3.0, "3", 2.58, 2.57, 2.6, 2.5, "2.6", "2,6", "3x", "2.57×", "3 times", "about 3", [2.57], "≈ 3"],
        "how much the cache shrinks": [30, 32, "30", "32x"],
        "hint": [10, 9, "10 times"],
        "choose": [1, 5.4, 100, 0, "much"],
    },
    "04.limit": {
        "right": [32.375, 32.4, 32.38, 32.37, "259/8", "32.4 FLOPs/B", "32,375", sympy.Rational(259, 8), [32.375]],
        "counts 3": [32.5, "32.5", sympy.Rational(65, 2)],
        "leaves the softmax out": [32, "32", 32.0],
        "heads of 128": [64.375, 64.4, 64],
        "one head of 4096": [2048.375, 2048, 2050],
        "digits": [31.5, 33.4],
        "open": [(4 * h + 3) / 8, "(4h+3)/8"],
        "hint": [16.2, 0, 100, -32.375],
    },
    "04.cache": {
        "right": [
            182643, 182643.0, "182643", "182,643", "182_643", "182 643", "182643 tokens", sympy.Integer(182643),
            [182643], np.int64(182643), 200179, 200191, "200,179",
        ],
        "whole": [182643.7, 182643.72, "182643.7"],
        "every digit": [183000, 182600, 180000, 1.826e5, 182644, "182,600", 200000],
        "GB": [205147, 205147.9, "205,148"],
        "weights want": [305175, 305000, 305175.8],
        "How many kv_heads": [45660, 45700],
        "hint": [100000, 0, 1, -182643, 131072],
    },
    "10.causal": {
        "right": [2, "2", 2.0, "2x", "2 times", "about 2", 1.9997, [2], np.int64(2)],
        "sees all others": [1, "1", 1.0],
        "Upside down": [0.5, "1/2"],
        "hint": [3, 0, 4, 2.5],
    },
    "10.h200": {
        "right": [27.6, 27.59, "27.6", "28", "27.6 times", "132.43/4.8", 132.43 / 4.8, "132.43e12/4.8e12"],
        "256 experts in the place of 8": [32, "32", "256/8"],
        "as the report counts": [256 / 7, 36.6, "256/7"],
        "of this card's memory": [1],
        "Upside down": [4.8 / 132.43, 0.036],
        "hint": [4.8, 132.43, 100],
    },
    "10.tb": {
        "right": [0.91, "0.91", "182/200", 182 / 200, "91 %", "0,91"],
        "how many bytes is a TB": [1, "1", 1.0, np.float64(1)],
        "look at the unit": [64, "64"],
        "Upside down": [200 / 182, 1.1],
        "per cent": [91],
        "digits": [0.9],
        "hint": [8, 0.5, 2**40],
    },
    "13.frozen": {
        "right": [2, "2", 2.0, "2 times", "2×", sympy.Integer(2), np.int64(2)],
        "does not need": [3, "3"],
        "wait for the gradient": [1],
        "whole": [1.5],
        "hint": [4, 6],
    },
    "13.wide": {
        "right": [40 / 9, "40/9", "80/18", 4.44, 4.4, "4,44", "4.44 billion", sympy.Rational(40, 9)],
        "in half precision": [5, "80/16"],
        "For how many parameters": [18, "18 bytes"],
        "nothing for Adam": [10],
        "hint": [4.44e9 * 8, 1],
    },
    "13.cs336": {
        "right": [4513336524800, "4513336524800", "4,513,336,524,800", 4513336524800.0],
        "three": [3506703564800],
        "forward and backward": [3 * 4513336524800],
        "every digit": [4.51e12, 4.5133e12],
        "hint": [2127057600, 1e12],
    },
    "13.days": {
        "right": [12.5769, 12.58, 12.6, "12.6 days", "12,6"],
        "a node has four": [50.3, 50.31],
        "With causal ones": [13.04, 13.0],
        "Those are hours": [302],
        "the forward pass alone": [4.19],
        "hint": [1, 100],
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_tries_before() -> Iterator[None]:
    progress.forget_tries()
    yield
    progress.forget_tries()


CASES = [
    (question, verdict, form) for question, rows in FORMS.items() for verdict, forms in rows.items() for form in forms
]


def test_the_table_is_long_enough() -> None:
    assert len(FORMS) >= 10 and len(CASES) >= 150


def brief(part: Any) -> str:
    """A name for a case that is the same in each process."""
    return repr(part).partition(" at 0x")[0][:40]


@pytest.mark.parametrize(("question", "verdict", "form"), CASES, ids=brief)
def test_a_form_gets_the_verdict_that_a_kind_teacher_would_give(question: str, verdict: str, form: Any) -> None:
    given = rk.check(question, form)
    assert given.right == (verdict == "right"), given
    said = hints()[question]["hint"] if verdict == "hint" else SAYS.get(verdict, verdict)
    assert said in given.message
