"""Is my answer right? Answers to the "your turn" questions of the notebooks, checked on the spot.

A wrong answer gets a hint and never the solution: the expected value is computed when it is needed, by
the same traced algorithms that the lesson uses, and `lessons.toml` holds only the hints.
"""

from dataclasses import dataclass
from numbers import Number
from typing import Any

import sympy

from ..names import choose, data
from ..sizes import symbols
from .answers import answer as right_answer


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
    question = choose("question", question, hints(), see="the rk.check lines of the pages")
    entry = hints()[question]
    if answer is ...:
        return Verdict(False, "Your turn: replace the three dots by your answer, and run the cell again.")
    if _agrees(answer, right_answer(question)):
        return Verdict(True, "✓ Right. " + entry.get("right", ""))
    for slip, hint in entry.get("slips", {}).items():
        if _agrees(answer, sympy.sympify(slip)):
            return Verdict(False, "Not yet. " + hint)
    return Verdict(False, "Not yet. " + entry["hint"])


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


def hints() -> dict[str, Any]:
    """What is said of an answer to each question: a hint, what to say when it is right, and known slips."""
    return data("lessons.toml")
