"""What do the visible checks of an assignment call? They count with plain loops, and put an answer beside the count.

The grader runs no visible cell, so nothing here gives points or takes them.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from typing import Any

from .cells import at

# --- counting -----------------------------------------------------------------------------------------------


class Noted:
    """An array of ones that notes which of its elements are read and written. each : bytes of an element."""

    def __init__(self, each: int) -> None:
        self.each = each
        self.read: set[Any] = set()
        self.written: set[Any] = set()

    def __getitem__(self, index: Any) -> float:
        self.read.add(index)
        return 1.0

    def __setitem__(self, index: Any, value: float) -> None:
        self.written.add(index)


def touched(*arrays: Noted) -> int:
    """Bytes that were moved: of each element once if it was read, and once if it was written."""
    return sum(array.each * (len(array.read) + len(array.written)) for array in arrays)


Counts = list[tuple[int, int]]


def attention_loops(
    queries: int, tokens: int, width: int, heads: int = 1, kv_heads: int = 1, each: int = 2
) -> tuple[Counts, tuple[Noted, Noted, Noted, Noted]]:
    """Attention in plain loops: the FLOPs and bytes of its three steps, and the arrays Q, K, V and the result.

    tokens : that each query attends to. width : of a head. each : bytes of an element. A multiply-add is 2 FLOPs, and
    the softmax does 3 for each score. What one step has written, the next one reads again.

    >>> attention_loops(queries=3, tokens=4, width=5)[0]
    [(120, 94), (36, 48), (120, 94)]
    """
    Q, K, V, result = Noted(each), Noted(each), Noted(each), Noted(each)
    written, scores, weights, summed = Noted(each), Noted(each), Noted(each), Noted(each)
    pairs = [(head, i) for head in range(heads) for i in range(queries)]
    flops = [0, 0, 0]
    for head, i in pairs:
        shared = head * kv_heads // heads
        for j in range(tokens):
            written[head, i, j] = math.fsum(Q[head, i, x] * K[shared, j, x] for x in range(width))
            flops[0] += width + width  # multiplications, additions
            weights[head, i, j] = math.exp(scores[head, i, j])  # the row's sum and its division change no address
            flops[1] += 3
        for x in range(width):
            result[head, i, x] = math.fsum(summed[head, i, j] * V[shared, j, x] for j in range(tokens))
            flops[2] += tokens + tokens
    moved = [touched(Q, K, written), touched(scores, weights), touched(summed, V, result)]
    return list(zip(flops, moved, strict=True)), (Q, K, V, result)


# --- comparing ----------------------------------------------------------------------------------------------

agreed: set[str] = set()  # the names of answers that were as counted


def hint(name: str, counted: float | None = None, where: str = "", by: str = "counted", **values: Any) -> None:
    """Puts values into an answer, and prints what it gives beside what was counted.

    name : of the answer, looked up where this is called: a cell that failed may not have bound it. counted : nothing,
    if there is nothing to compare with. where : words for the values.
    """
    where = where or ", ".join(f"{key} = {value}" for key, value in values.items())
    got = at(sys._getframe(1).f_globals.get(name, ...), **values)
    agreed.discard(name)
    if got is ... or got is None:
        print(f"{name}: not answered yet")
        return
    try:
        number = float(got)
    except Exception:
        print(f"{name}, {where}: expected a number, and it gives {got!r:.90}")
        return
    if counted is None:
        print(f"{name}, {where}: {number:g} by your answer")
    elif math.isclose(number, counted, rel_tol=1e-6):
        agreed.add(name)
        print(f"{name}, {where}: {float(counted):g} {by}, and by your answer")
    else:
        print(f"{name}, {where}: {float(counted):g} {by}, {number:g} by your answer. Look again")


def show(sentence: str, ask: Callable[[], Any]) -> None:
    """Prints the sentence, with what ask() gives in its braces; dots stand for an answer that is still missing.

    >>> show("Twice that is {:.2f}.", lambda: 2 * 0.5)
    Twice that is 1.00.
    >>> show("Twice that is {:.2f}.", lambda: 2 * ...)
    Twice that is ….
    """
    try:
        value = ask()
        print(re.sub("{.*?}", "…", sentence) if value is None or value is ... else sentence.format(value))
    except Exception as error:  # dots that were calculated with, or a slip
        unanswered = "ellipsis" in str(error) or "NoneType" in str(error)
        print(re.sub("{.*?}", "…", sentence) + ("" if unanswered else f" ({type(error).__name__}: {error})"))
