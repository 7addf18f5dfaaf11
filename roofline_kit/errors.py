"""Turn a wrong name into a sentence that helps: what was given, what is nearest, what exists."""

import difflib
import re
from collections.abc import Iterable


def plain(name: str) -> str:
    """`name` without what people spell differently: "A100 40 GB" and "a100-40gb" read alike."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def unknown(kind: str, given: object, known: Iterable[str]) -> str:
    """A sentence that refuses `given` and points to the nearest of the `known` names.

    >>> unknown("accelerator", "A100", ["A10", "A100-40GB", "H100-SXM"])
    "unknown accelerator 'A100'; did you mean 'A100-40GB'? Known: 'A10', 'A100-40GB', 'H100-SXM'"
    """
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
