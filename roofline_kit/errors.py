"""Names and the data behind them. A wrong name gets a sentence that helps: what is nearest, what exists."""

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def data(file: str) -> dict[str, Any]:
    """A .toml file beside the code, where the facts of the world stand with their sources.

    >>> data("accelerators.toml")["A10"]["memory"]
    24000000000.0
    """
    return tomllib.loads(files(__package__).joinpath(file).read_text("utf-8"))


def install(extra: str) -> str:
    """How to install what an extra brings: no package index has the kit.

    >>> print(install("grading"))
    in the course's folder, pip install -e ".[grading]" installs it
    """
    return f'in the course\'s folder, pip install -e ".[{extra}]" installs it'


def plain(name: str) -> str:
    """`name` without what people spell differently: "A100 40 GB" and "a100-40gb" read alike."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def choose(kind: str, given: object, known: Iterable[str], of: str = "") -> str:
    """The name among `known` that is spelled like `given`; capitals, spaces and hyphens do not matter.

    of : whose name it is, the beginning of the sentence. Raises ValueError with the nearest names.

    >>> choose("accelerator", "a100 40 GB", ["A10", "A100-40GB"])
    'A100-40GB'
    """
    names = list(known)
    if isinstance(given, str) and given in names:
        return given
    found = [name for name in names if isinstance(given, str) and plain(name) == plain(given) != ""]
    if not found:
        raise ValueError(of + unknown(kind, given, names))
    return found[0]


def unknown(kind: str, given: object, known: Iterable[str]) -> str:
    """A sentence that refuses `given` and points to the nearest of the `known` names.

    >>> unknown("accelerator", "A100", ["A10", "A100-40GB", "H100-SXM"])
    "unknown accelerator 'A100'; did you mean 'A100-40GB'? Known: 'A10', 'A100-40GB', 'H100-SXM'"
    """
    import difflib

    names = list(known)
    listing = ", ".join(repr(name) for name in names)
    if not isinstance(given, str):
        return f"{kind} must be given by its name, not as {given!r}; known: {listing or 'none'}"
    wanted = plain(given)
    starts = [name for name in names if wanted and plain(name).startswith(wanted)]
    close = difflib.get_close_matches(wanted, [plain(name) for name in names], n=3, cutoff=0.5)
    nearest = starts or [name for key in close for name in names if plain(name) == key]
    hint = f"; did you mean {' or '.join(repr(name) for name in nearest)}?" if nearest else "."
    return f"unknown {kind} {given!r}{hint} Known: {listing or 'none'}"
