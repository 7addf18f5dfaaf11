"""What does a command say? Sentences on the terminal, and reasons why it ends on stderr."""

from __future__ import annotations

import io
import sys
import unicodedata

import typer
from rich.console import Console
from rich.markup import escape

# A terminal that lacks a letter (LANG=C, PYTHONIOENCODING=ascii:strict) gets its number: no name can end a command.
if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors="backslashreplace")

out, err = Console(), Console(stderr=True)


def refuse(reason: Exception | str, code: int = 1) -> typer.Exit:
    """Says why a command ends, on stderr, and gives the exit to raise."""
    said = reason if isinstance(reason, str) else in_words(reason)
    err.print(f"[red]{escape(said)}[/red]", highlight=False, soft_wrap=True)
    return typer.Exit(code)


def in_words(error: Exception) -> str:
    """An error as a sentence: of a system's, what it is and where, without its number.

    >>> in_words(OSError(28, "No space left on device", "measured"))
    'No space left on device: measured'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    return str(error)


def visible(text: str) -> str:
    """A stranger's text with what cannot be seen made visible.

    >>> visible("a" + chr(0x202E) + "b")
    'a⟨U+202E⟩b'
    """
    hidden = {letter for letter in set(text) - set("\n\t") if unicodedata.category(letter) in ("Cc", "Cf", "Cs")}
    return "".join(f"⟨U+{ord(letter):04X}⟩" if letter in hidden else letter for letter in text)


def one_line(text: str) -> str:
    """A stranger's text as one line that cannot move the cursor, clear the screen, or write from right to left.

    >>> one_line("a" + chr(10) + chr(0x1B) + "[2J")
    'a⏎⟨U+001B⟩[2J'
    """
    return visible(text.replace("\n", "⏎").replace("\t", " "))
