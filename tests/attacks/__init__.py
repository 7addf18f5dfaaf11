"""Submissions that try to get points, secrets or the grader's machine, each with the score that would be fair.

A module holds one kind. An attack is a function that makes a submission of the release; its docstring says what it
tries. `tests/test_attacks.py` grades each, and an honest neighbour after every few of them.
"""

from __future__ import annotations

import copy
import importlib
import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from roofline_kit.grading import assignment

HERE = Path(__file__).parent
KINDS = (
    "helpers", "transformers", "objects", "messages", "reading", "tampering", "dying", "resources", "late", "magics",
    "cells", "files", "unicode", "guessing", "telling",
)  # fmt: skip

HONEST = {
    "flops": "flops = N * h * (2 * h) + 7 * N",
    "seconds": "seconds = flops / 1.25e14\nbound = 'compute'",
    "kv": "def kv(tokens, heads):\n    return 512 * tokens * heads",
    "parameters": "parameters = 6738415616",
}
WRONG = {
    "flops": "flops = N",
    "seconds": "seconds, bound = 1.0, 'compute'",
    "kv": "def kv(tokens, heads):\n    return tokens",
    "parameters": "parameters = 7_000_000_000",
}
OF = {"flops": 3, "seconds": 2, "kv": 3, "parameters": 2}
FULL = sum(OF.values())


@dataclass(frozen=True)
class Attack:
    """kind, name, tries : for the table. make : writes the submission into a student's folder.

    low, high : the fair score; two numbers where a clock decides. notes : what a person must be told, if anything: a
    word of it. searches : whether it ends its first answer with LookupError if it found what it may not see, and with
    EOFError if there was nothing.
    """

    kind: str
    name: str
    tries: str
    make: Callable[[Path], None]
    low: float
    high: float
    notes: str = ""
    searches: bool = False

    @property
    def fair(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"


_attacks: dict[str, Attack] = {}


def released() -> Any:
    """The release as a student opens it: nested dicts and lists."""
    return copy.deepcopy(_release)


_release = json.loads(nbformat.writes(assignment.read(HERE / "assignment").release()))


def answered(answers: dict[str, str]) -> Any:
    """The release with some answers in it."""
    content = released()
    for name, source in answers.items():
        cell_of(content, name)["source"] = source
    return content


def cell_of(content: Any, name: str) -> Any:
    """The cell of an answer."""
    return next(cell for cell in content["cells"] if cell["metadata"].get("grading", {}).get("answer") == name)


def wrong(hack: str = "", answer: str = "flops", honest: tuple[str, ...] = ()) -> dict[str, str]:
    """Answers that are wrong but for some, and a hack that stands at the beginning of one of them."""
    answers = {name: (HONEST if name in honest else WRONG)[name] for name in OF}
    return {**answers, answer: f"{textwrap.dedent(hack).strip()}\n{answers[answer]}"}


def right(hack: str = "", answer: str = "flops") -> dict[str, str]:
    """Right answers, with something in one of them that nobody asked for, before or in place of it."""
    return wrong(hack, answer, tuple(OF))


def attack(points: float | tuple[float, float], notes: str = "", searches: bool = False) -> Callable[[Any], Any]:
    """Takes a function as an attack. It returns answers, a notebook, bytes; or None, having written into a folder."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        def make(folder: Path) -> None:
            folder.mkdir(parents=True)
            made = function(folder) if function.__code__.co_argcount else function()
            if isinstance(made, dict) and made.keys() <= OF.keys():
                made = answered(made)
            if made is not None:
                data = made if isinstance(made, bytes) else json.dumps(made).encode()
                (folder / "submission.ipynb").write_bytes(data)

        low, high = points if isinstance(points, tuple) else (points, points)
        kind, name = function.__module__.rpartition(".")[2], function.__name__
        tries = " ".join((function.__doc__ or "").split()).rstrip(".")
        assert tries and name not in _attacks, name
        _attacks[name] = Attack(kind, name, tries, make, low, high, notes, searches)
        return function

    return register


def all_attacks() -> list[Attack]:
    """Every attack of every kind."""
    for kind in KINDS:
        importlib.import_module(f"{__name__}.{kind}")
    return sorted(_attacks.values(), key=lambda attack: (KINDS.index(attack.kind), attack.name))
