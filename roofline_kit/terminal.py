"""What does a command say? Sentences on the terminal, and reasons why it ends on stderr."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.markup import escape

out, err = Console(), Console(stderr=True)


def refuse(reason: object, code: int = 1) -> typer.Exit:
    """Says why a command ends, on stderr, and gives the exit to raise."""
    err.print(f"[red]{escape(str(reason))}[/red]", highlight=False, soft_wrap=True)
    return typer.Exit(code)


def in_words(error: Exception) -> str:
    """An error as a sentence: of a system's, what it is and where, without its number.

    >>> in_words(OSError(28, "No space left on device", "measured"))
    'No space left on device: measured'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    return str(error)
