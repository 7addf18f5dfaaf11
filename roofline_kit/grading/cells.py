"""What the cells of an assignment call. A check cell draws points, and reports what the answers are worth there.

It does not judge: nothing here knows what is right. Whoever changes these functions from within a notebook changes
what is reported, and reports something else than the instructor's answers do.
"""

from __future__ import annotations

import json
import math
import numbers
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MIME = "application/vnd.roofline-kit.report+json"
_seed = "in a notebook, every run draws the same"
_random = random.Random(_seed)


def begin(seed: str) -> None:
    """Says how this cell draws. The grader calls it before a cell, with a seed of its own for each run and cell."""
    global _seed
    _seed = seed
    _random.seed(seed)


class Later:
    """A value of a check that is not worked out yet: whoever looks at it can go on if that fails."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work


def _now(value: Any) -> Any:
    return value.work() if isinstance(value, Later) else value


def draw(**ranges: Any) -> dict[str, Any]:
    """A value for each name, drawn anew in each run of the grader.

    A range is a pair of two ints (an int, evenly on a logarithmic scale, both ends included), a pair with a float (a
    float, likewise), or a list of values to choose from. Raises ValueError for any other range.

    >>> begin("doctest")
    >>> sorted(draw(N=(1, 4096), bandwidth=(1e11, 1e13), h=[1024, 4096]))
    ['N', 'bandwidth', 'h']
    """
    return {name: _drawn(name, of) for name, of in ranges.items()}


def _drawn(name: str, of: Any) -> Any:
    if isinstance(of, list) and of:
        return _random.choice(of)
    if isinstance(of, tuple) and len(of) == 2 and 0 < of[0] <= of[1]:
        value = math.exp(_random.uniform(math.log(of[0]), math.log(of[1])))
        return value if any(isinstance(end, float) for end in of) else min(max(round(value), of[0]), of[1])
    raise ValueError(f"{name}: expected a pair (low, high) with 0 < low <= high, or a list of values, not {of!r}")


def at(answer: Any, **values: Any) -> Any:
    """An answer at given values: a function is called with them, a SymPy formula gets them put in by name.

    A number is itself, since a formula may be constant. An exception is not raised but is the value: an answer that
    fails leaves the others of its check what they are worth.

    >>> import sympy
    >>> N = sympy.Symbol("N", positive=True)
    >>> at(4 * N, N=8), at(lambda N: N + 1, N=8), at(5, N=8)
    (32, 9, 5)
    >>> at(4 * N, S=8)
    ValueError('the formula has N; it may have S')
    """
    try:
        answer = _now(answer)
        if callable(answer) and not hasattr(answer, "free_symbols"):
            return answer(**values)
        symbols = getattr(answer, "free_symbols", ())
        missing = sorted(symbol.name for symbol in symbols if symbol.name not in values)
        if missing:
            raise ValueError(f"the formula has {', '.join(missing)}; it may have {', '.join(sorted(values))}")
        return answer.subs({symbol: values[symbol.name] for symbol in symbols}) if symbols else answer
    except Exception as error:
        return error


class Memory:
    """An array in a slow memory: what is read of it comes to the chip, and each read is noted.

    values : a NumPy array. reads : how many elements each read took, in order. It computes nothing itself.

    >>> import numpy as np
    >>> X = Memory(np.eye(4))
    >>> float(X[1:3, :].sum()), X.shape, X.reads
    (2.0, (4, 4), [8])
    """

    def __init__(self, values: Any) -> None:
        self.values, self.shape = values, values.shape
        self.reads: list[int] = []

    def __getitem__(self, part: Any) -> Any:
        read = self.values[part]
        self.reads.append(int(read.size))
        return read


def report(**values: Any) -> None:
    """Shows the values of a check, for whoever judges them. A check cell calls it once, at its end.

    Numbers (of Python, NumPy or SymPy), strings, and lists of them are sent as they are; of anything else its type.
    Of a value that cannot be worked out, the name of the exception is sent in its place.
    """
    from IPython.display import display

    told = {name: _told(name, value) for name, value in values.items()}
    shown = ", ".join(f"{name} = {json.dumps(value)}" for name, value in told.items())
    display({MIME: told, "text/plain": shown[:2000]}, raw=True)


def _told(name: str, value: Any) -> Any:
    """A value as it is sent. What it draws depends on its name alone, and not on how far those before it came."""
    if isinstance(value, Later):
        _random.seed(f"{_seed}/{name}")
    try:
        return as_json(_now(value))
    except Exception as error:
        return as_json(error)


def as_json(value: Any) -> Any:
    """A value as JSON has it. What is neither number nor string nor a list becomes {"type": its name}.

    An exception, which is what `at` gives for an answer that failed, becomes {"error": its name}.

    >>> import numpy as np, sympy
    >>> as_json([np.float32(0.5), sympy.Rational(1, 3), 10**30, "memory", None])
    [0.5, 0.333333333333, 1000000000000000000000000000000, 'memory', {'type': 'NoneType'}]
    """
    if isinstance(value, Exception):
        return {"error": type(value).__name__}
    if isinstance(value, (bool, str)):
        return value if isinstance(value, bool) else str(value)
    if isinstance(value, numbers.Integral) or getattr(value, "is_Integer", False) is True:
        return int(value)
    if isinstance(value, numbers.Real) or getattr(value, "is_number", False) is True:
        return _float(value)
    tolist = getattr(value, "tolist", None)  # NumPy and PyTorch
    if callable(tolist):
        listed = tolist()
        return as_json(listed) if isinstance(listed, (list, bool, int, float, str)) else {"type": type(value).__name__}
    if isinstance(value, Mapping):
        return [[as_json(key), as_json(of)] for key, of in value.items()]
    if isinstance(value, Sequence):
        return [as_json(item) for item in value]
    return {"type": type(value).__name__}


def _float(value: Any) -> Any:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return {"type": type(value).__name__}
    if not math.isfinite(number):
        return {"type": repr(number)}  # JSON has no word for it
    # The last digits differ from one C library to the next, and the stored notebooks are to be the same everywhere.
    return float(f"{number:.12g}")
