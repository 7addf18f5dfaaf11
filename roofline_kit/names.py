"""Names and the data behind them. A wrong name gets a sentence that helps: what is nearest, what exists."""

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def data(file: str) -> dict[str, Any]:
    """A .toml file of `data/`, where the facts of the world stand with their sources.

    >>> data("accelerators.toml")["A10"]["memory"]
    24000000000.0
    """
    return tomllib.loads(files(__package__).joinpath("data", file).read_text("utf-8"))


def install(extra: str) -> str:
    """How to install what an extra brings: no package index has the kit.

    >>> print(install("grading"))
    in the course's folder, pip install -e ".[grading]" installs it
    """
    return f'in the course\'s folder, pip install -e ".[{extra}]" installs it'


def letters(name: str) -> str:
    """The letters and digits of `name`, without what people spell differently: "a10040gb" of "A100 40 GB"."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def choose(kind: str, given: object, known: Iterable[str], of: str = "", see: str = "") -> str:
    """The name among `known` that is spelled like `given`; capitals, spaces and hyphens do not matter.

    of : whose name it is, the beginning of the sentence. see : what lists all names, where they are many.
    Raises ValueError with the nearest names.

    >>> choose("accelerator", "a100 40 GB", ["A10", "A100-40GB"])
    'A100-40GB'
    """
    names = list(known)
    if isinstance(given, str) and given in names:
        return given
    found = [name for name in names if isinstance(given, str) and letters(name) == letters(given) != ""]
    if not found:
        raise ValueError(of + unknown(kind, given, names, see))
    return found[0]


def flag(what: str, given: object) -> bool:
    """`given`, where it is True or False. Raises TypeError for anything else: "no" and 2 are true for Python."""
    if not isinstance(given, bool):
        raise TypeError(f"{what} must be True or False, not {shown(given)}")
    return given


def check_function(call: str, f: object) -> None:
    """Raises TypeError where the result of a function is given in place of the function. call : how it is meant.

    >>> check_function("trace(f, x)", 3)
    Traceback (most recent call last):
    TypeError: trace(f, x) wants the function f itself, without calling it, and was given an int
    """
    if not callable(f):
        raise TypeError(f"{call} wants the function f itself, without calling it, and was given {of_kind(f)}")


LINE = 60
"""So many characters of what was given stand in an error: of a table or a large array, its kind says more."""


def shown(given: object) -> str:
    """What was given, for an error: as Python writes it, if that is a short line, or else what kind of thing it is.

    >>> shown("A10"), shown(list(range(100)))
    ("'A10'", 'a list')
    """
    text = repr(given)
    return text if len(text) <= LINE and "\n" not in text else of_kind(given)


def of_kind(given: object) -> str:
    """The type of a thing as words: "a Cost", "an int"."""
    kind = type(given).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


MANY, FEW = 12, 5
"""A sentence lists up to so many names; of more, it gives the nearest few and says how to see the rest."""


def unknown(kind: str, given: object, known: Iterable[str], see: str = "") -> str:
    """A sentence that refuses `given` and points to the nearest of the `known` names.

    see : what lists all names, where they are many.

    >>> unknown("accelerator", "A100", ["A10", "A100-40GB", "H100-SXM"])
    "unknown accelerator 'A100'; did you mean 'A100-40GB'? Known: 'A10', 'A100-40GB', 'H100-SXM'"
    >>> unknown("letter", "a.", "abcdefghijklmnopqrstuvwxyz", see="string.ascii_lowercase")
    "unknown letter 'a.'; did you mean 'a'? For all 26, see string.ascii_lowercase"
    """
    names = list(known)
    listing = _listing(names, see)
    if not isinstance(given, str):
        return f"{kind} must be given by its name, not as {shown(given)}. {listing}"
    near = _nearest(given, names, cutoff=0.5)
    if near:
        return f"unknown {kind} {given!r}; did you mean {' or '.join(map(repr, near))}? {listing}"
    if len(names) > MANY:
        listing = f"Nearest: {', '.join(map(repr, _nearest(given, names, cutoff=0.0)))}. {listing}"
    return f"unknown {kind} {given!r}. {listing}"


def _listing(names: list[str], see: str) -> str:
    """All names, or where to see them."""
    if len(names) <= MANY:
        return f"Known: {', '.join(map(repr, names)) or 'none'}"
    return f"For all {len(names)}, see {see}" if see else f"{len(names)} are known"


def _nearest(given: str, names: list[str], cutoff: float) -> list[str]:
    """A few names that begin like `given` or its last words, or else those most like it; cutoff : how alike, 0 to 1."""
    import difflib

    words = given.split()
    for i in range(len(words)):  # "NVIDIA A100", and then "A100"
        wanted = letters(" ".join(words[i:]))
        begin_so = [name for name in names if wanted and letters(name).startswith(wanted)]
        if begin_so:
            return begin_so[:FEW]
    close = difflib.get_close_matches(letters(given), [letters(name) for name in names], n=3, cutoff=cutoff)
    return [name for key in close for name in names if letters(name) == key][:FEW]
