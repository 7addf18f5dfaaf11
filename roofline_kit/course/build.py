"""Is my algorithm right? What a student wrote is traced, run, and compared: its cost, and its values.

The specifications, a file for each page, are in `builds/`. Nothing is stored of what is wanted: the cost is traced from
an algorithm that meets the specification, and the values are those of a plain NumPy function, when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..cost import Cost, trace
from ..tensor import Tensor, leaves
from .builds import questions_of
from .builds.question import Build
from .compare import (
    as_numbers,
    cost_sentence,
    difference,
    difference_of_arrays,
    first_odd,
    gaps,
    named,
    rows_of,
    side_by_side,
    written,
)
from .lessons import Verdict, hints, known
from .progress import keep
from .trial import ENDLESS, FAILED, attempt, called, is_stub, parameters

DOTS = "..."
NONE = "it returns None: is a return missing?"


def build(question: str, algorithm: Any) -> Verdict:
    """Whether a function that you wrote does what a question wants, at the cost that it wants; a hint if not.

    question : the id that stands in the notebook. algorithm : the function itself, for Tensors and arrays alike.
    Each call of it may take some seconds, and is then stopped.

    Raises ValueError for an unknown question, with the nearest ones, and for one that is checked by `check`.

    >>> build("02.passes", ...)
    Not written yet: softmax_by_passes(S). Wanted are 5*M*N FLOPs and 16*M*N + 8*N bytes.
    """
    question = known(question)
    if question in hints():
        raise ValueError(f'{question} asks for no function: give your answer to rk.check("{question}", ...)')
    verdict = _verdict(question_of(question), algorithm)
    unkept = keep(question) if verdict.right else ""
    return replace(verdict, message=f"{verdict.message}\n\n{unkept}") if unkept else verdict


def question_of(question: str) -> Build:
    """The question of that id."""
    return questions_of(question[:2])[question]


def cells(question: str) -> tuple[str, str]:
    """What a page shows of a question: the specification, in Markdown, and the code of the stub and its check."""
    wanted = question_of(question)
    stub = f"def {wanted.call}:\n    # your lines\n    return ..."
    return f"**{wanted.title}.** {wanted.asks}", f'{stub}\n\n\nrk.build("{question}", {wanted.name})'


def _verdict(wanted: Build, algorithm: Any) -> Verdict:
    """What becomes of a function: it is met, refused, traced, run, and judged."""
    if algorithm is ... or (callable(algorithm) and is_stub(algorithm)):
        return Verdict(False, _unwritten(wanted))
    if refused := _refused(wanted, algorithm):
        return Verdict(False, f"Not yet. {refused}")
    traced, untraceable = attempt(lambda: trace(algorithm, *wanted.takes()))
    if ENDLESS in untraceable:
        return Verdict(False, f"Not yet. {wanted.name} {untraceable}")
    wrong = _wrong_values(wanted, algorithm)
    if ENDLESS in wrong:  # not again, beside each slip
        return Verdict(False, f"Not yet. {wrong}")
    if wrong == DOTS:
        return Verdict(False, _unwritten(wanted))
    if traced is None:
        return Verdict(False, f"Not yet. {_untraced(wanted, untraceable, wrong)}")
    return _judged(wanted, algorithm, traced, wrong)


def _unwritten(wanted: Build) -> str:
    if wanted.secret:
        return f"Not written yet: {wanted.call}. What is wanted stands beside the cost of your first try."
    cost = _wanted_cost(wanted)
    (flops, bytes), sizes = written([cost.flops, cost.bytes], wanted.typical)
    at_sizes = f", with {sizes}" if sizes else ""
    return f"Not written yet: {wanted.call}. Wanted are {flops} FLOPs and {bytes} bytes{at_sizes}."


def _untraced(wanted: Build, error: str, wrong: str) -> str:
    """What is said where no trace came to an end: of two errors, that of the trace, which speaks of all sizes."""
    if wrong and " in line " not in error:  # it is about what was returned, which the run tells better
        return wrong
    if FAILED in wrong:
        return f"{wanted.name} {error}"
    of_values = wrong or "Run on arrays, its values are right, but to be counted it must run on Tensors as well."
    return f"Traced, {wanted.name} {error}\n{of_values}"


def _wanted_cost(wanted: Build) -> Cost:
    return trace(wanted.right, *wanted.takes())


def _refused(wanted: Build, algorithm: Any) -> str:
    """Why it is not even tried: no function, not to be called so, or the kit's own that would be the answer."""
    if not callable(algorithm):
        return (
            f"Give the function itself, {wanted.name}, without calling it: this is of type {type(algorithm).__name__}."
        )
    if name := called(algorithm, wanted.without):
        return f"rk.{name} would be the answer: write it without."
    if takes := parameters(algorithm, len(wanted.takes())):
        return f"The question calls {wanted.call}, and yours takes {takes}: which argument is missing, or one too many?"
    return ""


# --- values ---------------------------------------------------------------------------------------


def _wrong_values(wanted: Build, algorithm: Callable[..., Any]) -> str:
    """Where the values of a draw are first wrong, as a sentence; "" where all are right, DOTS where it returns dots."""
    wanted.right(*wanted.arrays(0))  # what it takes is imported before the clock runs
    for draw, sizes in enumerate(wanted.draws):
        given, right = wanted.arrays(draw), wanted.arrays(draw)
        out, failed = attempt(algorithm, *given)
        if not failed and any(x is ... for x in leaves(out)):
            return DOTS
        with np.errstate(all="ignore"):
            expected = wanted.plain(*right)
        told = f"it {failed}" if failed else NONE if out is None else _changed(wanted, given, right, draw)
        if told := told or difference(out, expected):
            constants = wanted.last if draw == len(wanted.draws) - 1 else {}
            return f"Run on arrays with {named({**sizes, **constants})}, {told}"
    return ""


def _changed(wanted: Build, given: Any, right: Any, draw: int) -> str:
    """Which argument it changed and should not have, or the other way round."""
    names = [x.name for x in leaves(wanted.takes()) if isinstance(x, Tensor)]
    before, after, should = (
        [x for x in leaves(args) if hasattr(x, "shape")] for args in (wanted.arrays(draw), given, right)
    )
    for name, old, new, goal in zip(names, before, after, should, strict=True):
        gap = difference_of_arrays(new, goal, "it")
        if gap and np.array_equal(old, goal):
            return f"it changes its argument {name}, which others may still need: make a new array."
        if gap:
            return f"the argument {name} must hold something new afterwards: {gap}"
    return ""


# --- the verdict ----------------------------------------------------------------------------------


def _judged(wanted: Build, algorithm: Callable[..., Any], yours: Cost, wrong: str) -> Verdict:
    """The verdict on a cost and on values, what helps, and the table of both costs."""
    cost, rows = _wanted_cost(wanted), rows_of(yours, _wanted_cost(wanted))
    fits = wanted.fits(yours, cost, wanted.typical)
    of_cost, table = cost_sentence(yours, cost, wanted.typical), side_by_side(rows, wanted.typical)
    if fits and not wrong:
        enough = "" if _same_cost(yours, cost, wanted) else ", which will do"
        told = [f"✓ Right. {wanted.learned}", _drawn(wanted), f"{of_cost}{enough}.", "", *table]
        return Verdict(True, "\n".join(told))
    odd = "" if _same_cost(yours, cost, wanted) else f": {first_odd(rows)}"
    slip = _slip(wanted, yours, algorithm, wrong)
    hint = f" {wanted.hint}" if not fits and not slip else ""
    told = [slip, wrong or _drawn(wanted), f"{of_cost}{odd}.{hint}", "", *table]
    return Verdict(False, "Not yet. " + "\n".join(told).lstrip())


def _drawn(wanted: Build) -> str:
    return f"Its values are right in all {len(wanted.draws)} draws."


def _slip(wanted: Build, yours: Cost, algorithm: Callable[..., Any], wrong: str) -> str:
    """What is said of a slip that computes the same wrong values or, where they are right, takes the same cost."""
    for slip, words in wanted.slips.items():
        if wrong and _same_values(wanted, slip, algorithm):
            return words
        if not wrong and _same_cost(trace(slip, *wanted.takes()), yours, wanted) and not _wrong_values(wanted, slip):
            return words
    return ""


def _same_cost(a: Cost, b: Cost, wanted: Build) -> bool:
    return not any(gaps(a, b, wanted.typical).values())


def _same_values(wanted: Build, slip: Callable[..., Any], algorithm: Callable[..., Any]) -> bool:
    """Whether both compute the same in every draw, and change their arguments alike."""
    for draw in range(len(wanted.draws)):
        mine, others = wanted.arrays(draw), wanted.arrays(draw)
        (out, failed), (other, _) = attempt(algorithm, *mine), attempt(slip, *others)
        if failed or difference(_finite((out, mine)), _finite((other, others))):
            return False
    return True


def _finite(results: Any) -> tuple[Any, ...]:
    """What stands in them, as numbers where it can be: one that overflowed is here a number like any other."""
    found = [(x, as_numbers(x)) for x in leaves(results)]
    return tuple(x if numbers is None else np.nan_to_num(numbers) for x, numbers in found)
