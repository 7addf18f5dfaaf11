"""Is my answer right? Answers to the "your turn" questions of the notebooks, checked on the spot.

A wrong answer gets a hint and never the solution: the expected value is computed when it is needed, by
the same traced algorithms that the lesson uses, and `lessons.toml` holds only the hints.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from numbers import Number
from typing import Any

import sympy

from .cost import trace
from .errors import unknown
from .roofline import roofline
from .tensor import Tensor, exp, fuse, matmul, symbols, tensors
from .transformer import attention, linear


@dataclass(frozen=True, repr=False)
class Verdict:
    """What became of an answer: `right`, and a sentence to read."""

    right: bool
    message: str

    def __repr__(self) -> str:
        return self.message


def check(question: str, answer: Any) -> Verdict:
    """Whether `answer` is right, with a hint if it is not.

    question : the id that stands in the notebook. answer : a number (three digits are enough where it is not whole), a
    formula in symbols of the same names as in the lesson, a word, or `...` for "not answered yet".

    Raises ValueError for an unknown question, with the nearest ones.

    >>> check("01.saxpy", ...)
    Your turn: replace the three dots by your answer, and run the cell again.
    >>> check("01.saxpy", 1 / 4)
    Not yet. x and y are read, and the result is written as well.
    """
    if question not in _hints():
        raise ValueError(unknown("question", question, _hints()))
    if answer is ...:
        return Verdict(False, "Your turn: replace the three dots by your answer, and run the cell again.")
    if _agrees(answer, _answers()[question]):
        return Verdict(True, "✓ Right. " + _hints()[question].get("right", ""))
    slips = _hints()[question].get("slips", {}).items()
    hints = [hint for wrong, hint in slips if _agrees(answer, sympy.sympify(wrong))]
    return Verdict(False, "Not yet. " + [*hints, _hints()[question]["hint"]][0])


def _agrees(answer: Any, expected: Any) -> bool:
    """The same word, the same formula, the same whole number, or the same other number to two or three digits."""
    if isinstance(expected, str) or isinstance(answer, str):
        return isinstance(answer, str) and answer.strip().lower() == expected
    if not isinstance(answer, (Number, sympy.Expr)) or isinstance(answer, bool):
        return False
    answer = sympy.sympify(answer)
    # Symbols count by name, so that one made by sympy.symbols will do.
    expected = sympy.sympify(expected)
    gap = sympy.simplify(answer.subs({s: symbols(s.name) for s in answer.free_symbols}) - expected)
    rounded = not expected.is_Integer and gap.is_number and gap.is_finite and 200 * abs(gap) <= abs(expected)
    return bool(gap == 0 or rounded)


@cache
def _hints() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("lessons.toml").read_text("utf-8"))


@cache
def _answers() -> dict[str, Any]:
    """The expected answers, each out of a traced algorithm or a datasheet."""
    N, h, K, M = symbols("N h K M")
    x, y = tensors("x y", N, "fp32")
    add = trace(lambda a, b: a + b, x, y)
    square, gemm = (trace(linear, Tensor("X", X), Tensor("W", W)) for X, W in [((N, N), (N, N)), ((N, K), (K, M))])
    attn, wide = (trace(attention, *tensors("Q K V", (N, h), dtype)) for dtype in ("fp16", "fp32"))
    longest = sympy.limit(attn.intensity, N, sympy.oo)
    width = sympy.Dummy(positive=True)
    a10, a100, h100 = (roofline(name) for name in ("A10", "A100-40GB", "H100-SXM"))
    return {
        "00.ridge": h100.ridge,
        "00.bound": h100.bound(50),
        "01.predict": a10.bound(add.intensity),
        "01.saxpy": trace(fuse(lambda x, y: 2.5 * x + y), x, y).intensity,
        "01.dot": sympy.limit(trace(matmul, *tensors("u v", N)).intensity, N, sympy.oo),
        "01.faster": sympy.cancel(add.bytes / a10.bandwidth / (add.bytes / h100.bandwidth)),
        "01.hundred": sympy.ceiling(roofline("A100-40GB", "fp32").ridge * trace(exp, x).bytes / N),
        "02.predict": min((50, 500, 5000), key=lambda n: abs(float(sympy.log(n / a10.crossing(attn, "N", h=4096))))),
        "02.softmax": attn.steps[1].intensity,
        "02.fp32": wide.intensity,
        "02.never": sympy.floor(sympy.solve(longest.subs(h, width) - a10.ridge, width)[0]),
        "03.square": a10.crossing(square, "N"),
        "03.token": trace(linear, Tensor("X", (1, 4096), "int8"), Tensor("W", (4096, 4096), "int8")).intensity,
        "03.batch": sympy.ceiling(a100.crossing(gemm, "N", K=4096, M=4096)),
    }
