"""Is my algorithm right? What a student wrote is traced, run, and compared: its cost, and its values.

The specifications, a file for each page, are in `builds/`. Nothing is stored of what is wanted: the cost is traced from
an algorithm that meets the specification, and the values are those of a plain NumPy function, when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from ..cost import Cost, aligned, tidy, trace
from ..names import choose
from ..tensor import Tensor, leaves
from .builds.question import Build, at
from .lessons import Verdict
from .trial import ENDLESS, FAILED, attempt, called, is_stub, parameters

PAGES = tuple(f"{page:02}" for page in range(1, 9))
NARROW = 24  # characters of a formula, in a table of six columns
LONG, ROWS, WIDE = 40, 24, 8  # characters of a step's name, rows of a table, elements of a row
DOTS = "..."
NONE = "it returns None: is a return missing?"
Rows = list[tuple[str, Any, Any]]
TOLERANCE = 1e-4  # of the largest element: in double precision, whatever is wrong is wrong by more


def build(question: str, algorithm: Any) -> Verdict:
    """Whether a function that you wrote does what a question wants, at the cost that it wants; a hint if not.

    question : the id that stands in the notebook. algorithm : the function itself, for Tensors and arrays alike.
    Each call of it may take some seconds, and is then stopped.

    Raises ValueError for an unknown question, with the nearest ones.

    >>> build("02.passes", ...)
    Not written yet: softmax_by_passes(S). Wanted are 5*M*N FLOPs and 16*M*N + 8*N bytes.
    """
    wanted = question_of(question)
    if algorithm is ... or (callable(algorithm) and is_stub(algorithm)):
        return Verdict(False, _unwritten(wanted))
    if refused := _refused(wanted, algorithm):
        return Verdict(False, f"Not yet. {refused}")
    traced, untraceable = attempt(lambda: trace(algorithm, *wanted.takes()))
    if ENDLESS in untraceable:
        return Verdict(False, f"Not yet. {wanted.name} {untraceable}")
    wrong = _wrong_values(wanted, algorithm)
    if wrong == DOTS:
        return Verdict(False, _unwritten(wanted))
    if traced is None:
        return Verdict(False, f"Not yet. {_untraced(wanted, untraceable, wrong)}")
    return _judged(wanted, algorithm, traced, wrong)


@cache
def question_of(question: str) -> Build:
    """The question of that id; only its page is opened. Raises ValueError for an unknown one, with the nearest."""
    page = question[:2] if isinstance(question, str) and question[:2] in PAGES else None
    if page is None or question not in questions_of(page):
        known = [name for page in PAGES for name in questions_of(page)]
        question = choose("question", question, known, see="the rk.build lines of the pages")
    return questions_of(question[:2])[question]


def questions_of(page: str) -> dict[str, Build]:
    """The questions of a page, which is named by two digits, by their ids."""
    return dict(import_module(f".builds.p{page}", __package__).QUESTIONS)


def cells(question: str) -> tuple[str, str]:
    """What a page shows of a question: the specification, in Markdown, and the code of the stub and its check."""
    wanted = question_of(question)
    stub = f"def {wanted.call}:\n    # your lines\n    return ..."
    return f"**{wanted.title}.** {wanted.asks}", f'{stub}\n\n\nrk.build("{question}", {wanted.name})'


def _unwritten(wanted: Build) -> str:
    cost = _wanted_cost(wanted)
    (flops, bytes), sizes = _written([cost.flops, cost.bytes], wanted)
    return f"Not written yet: {wanted.call}. Wanted are {flops} FLOPs and {bytes} bytes{sizes}."


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
            return f"Run on arrays with {_named(sizes)}, {told}"
    return ""


def _changed(wanted: Build, given: Any, right: Any, draw: int) -> str:
    """Which argument it changed and should not have, or the other way round."""
    names = [x.name for x in leaves(wanted.takes()) if isinstance(x, Tensor)]
    before, after, should = (
        [x for x in leaves(args) if hasattr(x, "shape")] for args in (wanted.arrays(draw), given, right)
    )
    for name, old, new, goal in zip(names, before, after, should, strict=True):
        if np.array_equal(new, goal):
            continue
        if np.array_equal(old, goal):
            return f"it changes its argument {name}, which others may still need: make a new array."
        return f"the argument {name} must hold something new afterwards: {_one_difference(new, goal, 'it')}"
    return ""


def difference(yours: Any, wanted: Any) -> str:
    """Where results differ, as a sentence with the worst element; "" where they agree."""
    got, goal = leaves(yours), leaves(wanted)
    if len(got) != len(goal):
        return f"it returns {_count(len(got))}, and must return {_count(len(goal))}."
    for i, (a, b) in enumerate(zip(got, goal, strict=True), start=1):
        if told := _one_difference(a, b, "the result" if len(goal) == 1 else f"result {i} of {len(goal)}"):
            return told
    return ""


def _count(n: int) -> str:
    return "one array" if n == 1 else f"{n} arrays"


def _one_difference(yours: Any, wanted: Any, what: str) -> str:
    if not isinstance(yours, (np.ndarray, np.generic, int, float)):
        return f"{what} is a {type(yours).__name__}, and must be an array."
    yours, wanted = np.asarray(yours, float), np.asarray(wanted, float)
    if yours.shape != wanted.shape:
        return f"{what} has the shape {yours.shape}, and must have {wanted.shape}."
    gap = np.where(np.isfinite(yours), np.abs(yours - wanted), np.inf)
    wrong = gap > TOLERANCE * max(1e-9, float(np.abs(wanted).max()))
    if not wrong.any():
        return ""
    worst = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
    place = f"[{', '.join(map(str, worst))}]" if worst else ""
    figures = f"{yours[worst]:.4g}, and must be {wanted[worst]:.4g}"
    told = f"{what} is wrong in {wrong.sum()} of {wrong.size} elements. The worst: {place} is {figures}."
    return "\n".join([told, *_row(yours, wanted, worst[:-1])] if yours.ndim and yours.size > 1 else [told])


def _row(yours: Any, wanted: Any, place: tuple[int, ...]) -> list[str]:
    """The row in which an element stands, of both, one below the other; its beginning, where it is long."""
    rows = [(name, x[place]) for name, x in (("yours", yours), ("wanted", wanted))]
    more = ["…"] * (len(rows[0][1]) > WIDE)
    table = [
        [f"{name} [{', '.join([*map(str, place), ':'])}]", *(f"{x:.4g}" for x in row[:WIDE]), *more]
        for name, row in rows
    ]
    return aligned(table, left=1)


# --- cost -----------------------------------------------------------------------------------------


def _judged(wanted: Build, algorithm: Callable[..., Any], traced: Cost, wrong: str) -> Verdict:
    """The verdict on a cost and on values, the hint that fits, and the table of both costs."""
    cost = _wanted_cost(wanted)
    fits = wanted.fits(traced, cost, wanted.typical)
    mine, other = ((tidy(x.flops), tidy(x.bytes)) for x in (traced, cost))
    rows = [*paired(traced, cost), ("total", mine, other)]
    will_do = fits and not wrong
    of_cost = _cost_sentence(wanted, traced, cost, "" if will_do else _odd(rows))
    slip = "" if will_do else _slip(wanted, traced, algorithm, wrong)
    if not fits and not slip:
        of_cost += f" {wanted.hint}"
    told = [slip, wrong or _drawn(wanted), of_cost, "", *side_by_side(rows, wanted)]
    begin = f"✓ Right. {wanted.learned}\n" if will_do else "Not yet. "
    return Verdict(will_do, begin + "\n".join(told).lstrip())


def _drawn(wanted: Build) -> str:
    return f"Its values are right in all {len(wanted.draws)} draws."


def _cost_sentence(wanted: Build, yours: Cost, cost: Cost, odd: str) -> str:
    """How the cost compares; odd : where it differs, "" for a cost that will do."""
    if _same_cost(yours, cost, wanted):
        return "Its cost is the wanted one."
    gaps = {what: at(getattr(yours, what) - getattr(cost, what), wanted.typical) for what in ("flops", "bytes")}
    words = {"flops": "FLOPs", "bytes": "bytes"}
    told = [f"{'more' if gap > 0 else 'fewer'} {words[what]}" for what, gap in gaps.items() if gap != 0]
    return f"It takes {' and '.join(told)} than wanted{odd or ', which will do.'}"


def _odd(rows: Rows) -> str:
    """The first step that differs, as the end of a sentence."""
    odd = [name for name, mine, other in rows[:-1] if mine and mine != other]
    return f": look at step {odd[0]}." if odd else ": a step is missing."


def _slip(wanted: Build, traced: Cost, algorithm: Callable[..., Any], wrong: str) -> str:
    """What is said of a slip that computes the same wrong values or, where they are right, takes the same cost."""
    for slip, words in wanted.slips.items():
        if wrong and _same_values(wanted, slip, algorithm):
            return words
        if not wrong and _same_cost(trace(slip, *wanted.takes()), traced, wanted) and not _wrong_values(wanted, slip):
            return words
    return ""


def _same_cost(a: Cost, b: Cost, wanted: Build) -> bool:
    return all(at(getattr(a, what) - getattr(b, what), wanted.typical) == 0 for what in ("flops", "bytes"))


def _same_values(wanted: Build, slip: Callable[..., Any], algorithm: Callable[..., Any]) -> bool:
    """Whether both compute the same in every draw, and change their arguments alike."""
    for draw in range(len(wanted.draws)):
        mine, others = wanted.arrays(draw), wanted.arrays(draw)
        (out, failed), (other, _) = attempt(algorithm, *mine), attempt(slip, *others)
        # A number that overflowed is one like any other here.
        got, goal = (
            tuple(np.nan_to_num(np.asarray(x, float)) for x in leaves((y, z)))
            for y, z in ((out, mine), (other, others))
        )
        if failed or difference(got, goal):
            return False
    return True


def paired(yours: Cost, wanted: Cost) -> Rows:
    """For each step of yours its name, its FLOPs and bytes, and those of the wanted step that it may stand for.

    Steps that cost the same belong together; the others are paired in their order. None where one is left over.
    """
    mine, theirs = ([(_tidied(s.flops), _tidied(s.bytes)) for s in cost.steps] for cost in (yours, wanted))
    left = list(theirs)
    same = [figures in left and not left.remove(figures) for figures in mine]  # type: ignore[func-returns-value]
    rows: Rows = []
    for name, figures, found in zip(yours.names(), mine, same, strict=True):
        rows.append((name, figures, figures if found else left.pop(0) if left else None))
    return rows + [("", None, figures) for figures in left]


@cache
def _tidied(formula: Any) -> Any:
    """`tidy`, once for a formula that many steps have."""
    return tidy(formula)


def side_by_side(rows: Rows, of: Build) -> list[str]:
    """The step table of yours, and beside it the FLOPs and bytes that are wanted; an arrow where they differ."""
    left_out = len(rows) - 1 - ROWS
    rows = [*rows[:-1][:ROWS], rows[-1]]
    figures = [x for _, mine, other in rows for pair in (mine, other) for x in pair or (None, None)]
    texts, sizes = _written(figures, of)
    table = [["", "your FLOPs", "your bytes", "wanted FLOPs", "wanted bytes", ""]]
    for i, (name, mine, other) in enumerate(rows):
        short = name if len(name) <= LONG else name[: LONG - 1] + "…"
        table.append([short, *texts[4 * i : 4 * i + 4], "" if mine == other else "←"])
    if left_out > 0:
        table.insert(-1, [f"… and {left_out} more", *[""] * 5])
    return [*aligned(table, left=1), *([f"({sizes.strip()})"] if sizes else [])]


def _written(figures: list[Any], of: Build) -> tuple[list[str], str]:
    """Formulas as text, and "": or, where one is long, their values at the typical sizes, and which these are."""
    texts = ["" if x is None else str(_tidied(x)) for x in figures]
    if all(len(text) <= NARROW for text in texts):
        return texts, ""
    return ["" if x is None else f"{int(at(x, of.typical)):,}" for x in figures], f" with {_named(of.typical)}"


def _named(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {n}" for name, n in sizes.items())
