"""2 · Attention, step by step: softmax in five passes over memory, and in one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ops import exp, max, softmax, sum
from ...sizes import symbols
from ...tensor import Tensor, fuse
from .question import Build, exactly

N, M = symbols("N M")


def by_passes(S: Any) -> Any:
    """Each line a pass."""
    m = max(S, axis=-1, keepdims=True)
    D = S - m
    E = exp(D)
    total = sum(E, axis=-1, keepdims=True)
    return E / total


def unsafe(S: Any) -> Any:
    """Without the maximum."""
    E = exp(S)
    return E / sum(E, axis=-1, keepdims=True)


def by_columns(S: Any) -> Any:
    """Along the other axis."""
    E = exp(S - max(S, axis=0, keepdims=True))
    return E / sum(E, axis=0, keepdims=True)


def over_all(S: Any) -> Any:
    """One sum for all rows."""
    E = exp(S - max(S, axis=None, keepdims=True))
    return E / sum(E, axis=None, keepdims=True)


def undivided(S: Any) -> Any:
    """Without the sum."""
    return exp(S - max(S, axis=-1, keepdims=True))


def of_scores(S: Any) -> Any:
    """Divided by the wrong sum."""
    return exp(S - max(S, axis=-1, keepdims=True)) / sum(S, axis=-1, keepdims=True)


def plain_softmax(S: Any) -> Any:
    """In NumPy, row by row."""
    rows = [np.exp(row - row.max()) for row in S]
    return np.array([row / row.sum() for row in rows])


SLIPS = {
    unsafe: "Large scores overflow: subtract the maximum of each row first.",
    by_columns: "It is the rows that must add up to 1: the last axis.",
    over_all: "It is each row that must add up to 1, not all of them together.",
    of_scores: "The sum must be that of the exponentials, not of the scores.",
    undivided: "The rows do not add up to 1 yet.",
}
DRAWS = ({"N": 2, "M": 5}, {"N": 1, "M": 1}, {"N": 7, "M": 3}, {"N": 5, "M": 8})  # the last one with large scores
TYPICAL = {"N": 4096, "M": 1024}

QUESTIONS = {
    "02.passes": Build(
        title="Softmax, pass by pass",
        asks="""*S* (*N*, *M*) are the scores of *N* queries. Write the softmax of each
row, in five passes over memory, one a line (here all five count, not the lecture's three): the rows' maxima
(`rk.max`), *S* less these, the exponentials (`rk.exp`), their sums (`rk.sum`), and the quotient. `keepdims=True`
keeps a maximum or a sum in its row.""",
        call="softmax_by_passes(S)",
        takes=lambda: (Tensor("S", (N, M)),),
        right=by_passes,
        plain=plain_softmax,
        draws=DRAWS,
        typical=TYPICAL,
        learned="The exponentials are written once and read twice: most of these bytes are on their way back.",
        hint="Five passes: maximum, difference, exponential, sum, quotient.",
        fits=exactly,
        slips={
            **SLIPS,
            softmax: "That is the kit's, in one pass, and the maximum is not counted: write the five passes.",
            fuse(by_passes): "That is one pass, which the next question wants: here each line goes to memory and back.",
        },
        scale=1000.0,
    ),
    "02.once": Build(
        title="The same in one pass",
        asks="""Now the same five operations in one pass: the scores are read once, the weights are
written once. `rk.fuse(f)` is the function `f` as one step, whose intermediates stay on the chip.""",
        call="softmax_once(S)",
        takes=lambda: (Tensor("S", (N, M)),),
        right=fuse(by_passes),
        plain=plain_softmax,
        draws=DRAWS,
        typical=TYPICAL,
        learned="Not an operation less: memory-bound code gets faster by moving fewer bytes.",
        hint="One step reads S and writes the weights: put your function of the last question into rk.fuse.",
        fits=exactly,
        slips={
            **{fuse(slip): words for slip, words in SLIPS.items()},
            by_passes: "Each line is still a pass of its own: rk.fuse(softmax_by_passes)(S) is all of them in one.",
            softmax: "That is the kit's, which does not count the maximum: put your own five lines into one step.",
        },
        scale=1000.0,
    ),
}
