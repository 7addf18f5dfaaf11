"""Is my answer right? Answers to the "your turn" questions of the notebooks, checked on the spot.

A wrong answer gets a hint, a second one on the second try, and on the third the answer with the lines that lead to it.
What is right is computed when it is needed, by the same traced algorithms that the lesson uses; `lessons.toml` holds
what is said.
"""

from collections.abc import Callable
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from ..names import choose, data
from .answers import answer as right_answer
from .builds import build_ids, questions_of
from .judging import Finding, judge
from .lecture import readable
from .progress import keep, which_try
from .reference import reference


@dataclass(frozen=True, repr=False)
class Verdict:
    """What became of an answer: `right`, and a sentence to read."""

    right: bool
    message: str

    def __repr__(self) -> str:
        return self.message


@dataclass(frozen=True, repr=False)
class Worked:
    """A worked answer: a text to read."""

    text: str

    def __repr__(self) -> str:
        return self.text


# Who judges an answer, by the `kind` of its question in lessons.toml. Another kind of question joins here.
KINDS: dict[str, Callable[[str, Any], Finding]] = {"value": judge}


def check(question: str, answer: Any) -> Verdict:
    """Whether `answer` is right, with a hint if it is not; with the worked answer from the third try on.

    question : the id that stands in the notebook. answer : a number (three digits are enough where it is not whole), a
    formula in symbols of the same names as in the lesson, a word, or `...` for "not answered yet". Lists of one, and
    numbers and formulas in quotes will do.

    Raises ValueError for an unknown question, with the nearest ones, and for one that is checked by `build`.

    >>> check("01.saxpy", ...)
    Your turn: replace the three dots by your answer, and run the cell again.
    >>> check("01.saxpy", 1 / 4)
    Not yet. x and y are read, and the result is written as well.
    """
    question = known(question)
    if question not in hints():
        name = questions_of(question[:2])[question].name
        raise ValueError(f'{question} asks for a function: give yours to rk.build("{question}", {name})')
    entry = hints()[question]
    if answer is ...:
        return Verdict(False, "Your turn: replace the three dots by your answer, and run the cell again.")
    found = KINDS[entry.get("kind", "value")](question, answer)
    if found.right:
        return Verdict(True, _joined("✓ Right.", found.said, entry["right"], keep(question)))
    if found.close:
        return Verdict(False, _joined("Not yet.", found.said))
    tries = which_try(question, found.reading)
    help_by_try = ["" if found.said else entry["hint"], entry["second"], worked(question)]
    return Verdict(False, _joined("Not yet.", found.said, help_by_try[min(tries, 3) - 1]))


def answer(question: str) -> Worked:
    """The worked answer to a question of a page: what is right, and the lines that lead to it. Asking is allowed.

    Where a function is asked for, it is one that is right.

    Raises ValueError for an unknown question, with the nearest ones. Homework has its answers elsewhere.

    >>> answer("01.faster")
    Asking is allowed: whoever reads how it is done can do it next time.
    The answer is 67/12 = 5.58333:
    <BLANKLINE>
        rk.roofline("H100-SXM").bandwidth / rk.roofline("A10").bandwidth
    <BLANKLINE>
    The peaks differ by a factor of eight, but this program never gets to see them.
    """
    question = known(question)
    told = worked(question) if question in hints() else written(question)
    return Worked(f"Asking is allowed: whoever reads how it is done can do it next time.\n{told}")


def worked(question: str) -> str:
    """The answer, the lines that lead to it, and what to notice."""
    entry = hints()[question]
    lines = indent(entry["worked"].strip(), "    ")
    given = f"The answer is {readable(right_answer(question))}" if "kind" not in entry else "One that is right"
    nearest = ", the choice that is nearest to" if set(map(type, entry.get("choices", ()))) - {str} else ""
    return f"{given}{nearest}:\n\n{lines}\n\n{entry['right']}"


def written(question: str) -> str:
    """A function that meets the specification of a question that asks for one, and what to notice."""
    wanted = questions_of(question[:2])[question]
    return f"One that is right:\n\n{indent(reference(wanted), '    ')}\n\n{wanted.learned}"


def hints() -> dict[str, Any]:
    """What is said of an answer to each question: two hints, the worked answer, what to notice, and known slips."""
    return data("lessons.toml")


def known(question: str) -> str:
    """The id of a question, checked or built. Raises ValueError for an unknown one, with the nearest."""
    if isinstance(question, str) and (question in hints() or question in questions_of(question[:2])):
        return question  # and no other page was opened
    return choose("question", question, [*hints(), *build_ids()], see="the rk.check and rk.build lines of the pages")


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))
