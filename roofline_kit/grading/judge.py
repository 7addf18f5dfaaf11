"""Is what a check reported what the instructor's answers report? Decided here, outside of the student's process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Values = Mapping[str, Any]


def share(received: Any, expected: Values, tolerance: float) -> float:
    """Which share of a check's points its values are worth, from 0 to 1.

    received : what the check sent, which may be anything. expected : the same of the instructor's answers. tolerance :
    how far numbers may be apart, relative to the expected one.

    Each named number, or list of numbers, is worth the same. A word or a truth value can be guessed: it is worth its
    share only when all numbers beside it are right.

    >>> expected = {"bytes": 24_000.0, "flops": 4_806.0, "bound": "memory"}
    >>> share({"bytes": 24_000.000001, "flops": 4806, "bound": "memory"}, expected, 1e-6)
    1.0
    >>> share({"bytes": 24_000, "flops": 47, "bound": "memory"}, expected, 1e-6)
    0.3333333333333333
    """
    if not isinstance(received, Mapping):
        return 0.0
    right = {name: name in received and agree(received[name], value, tolerance) for name, value in expected.items()}
    hard = [name for name, value in expected.items() if not guessable(value)]
    counted = expected if all(right[name] for name in hard) else hard
    return sum(right[name] for name in counted) / len(expected)


def guessable(value: Any) -> bool:
    """Whether a value is of a kind with few possibilities: a truth value, a word, a small whole number, or such a list.

    >>> guessable(True), guessable("memory"), guessable(12), guessable(4096), guessable(0.5), guessable([0.1, 0.2])
    (True, True, True, False, True, False)
    """
    if isinstance(value, list):
        return sum(not isinstance(item, (str, bool)) for item in value) < 2 and all(map(guessable, value))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return True
    return float(f"{value:.3g}") == value and abs(value) < 1000  # fewer than four digits


def agree(received: Any, expected: Any, tolerance: float) -> bool:
    """Whether two values of JSON are the same: words without regard to capitals, numbers within the tolerance.

    A truth value is no number, and nothing equals what is not finite. Where zero is expected, there is nothing to be
    relative to: the tolerance is then that of one.
    """
    if isinstance(expected, list):
        return (
            isinstance(received, list)
            and len(received) == len(expected)
            and all(agree(one, other, tolerance) for one, other in zip(received, expected, strict=True))
        )
    if isinstance(expected, str):
        return isinstance(received, str) and received.strip().casefold() == expected.strip().casefold()
    if isinstance(expected, bool) or isinstance(received, bool):
        return received is expected
    if not isinstance(expected, (int, float)) or not isinstance(received, (int, float)):
        return False
    try:
        return math.isclose(received, expected, rel_tol=tolerance, abs_tol=0.0 if expected else tolerance)
    except OverflowError:  # ints that no float can hold
        return received == expected


def failed(report: Any) -> bool:
    """Whether a part of what a check reported could not be worked out, and is the name of an exception.

    >>> failed({"flops": [1, {"error": "NameError"}]}), failed({"error": 1})
    (True, False)
    """
    waiting = list(report.values()) if isinstance(report, Mapping) else []
    for value in waiting:  # grows while it is read
        if isinstance(value, Mapping) and "error" in value:
            return True
        waiting += value if isinstance(value, list) else ()
    return False
