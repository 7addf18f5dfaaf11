"""Which algorithms do the pages ask a student to write? A file for each page that asks for one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .question import Build

PAGES = (*(f"{page:02}" for page in range(1, 9)), "11", "12", "13")


def questions_of(page: str) -> dict[str, Build]:
    """The questions of a page, which is named by two digits, by their ids. A page may have none."""
    return dict(import_module(f".p{page}", __package__).QUESTIONS) if page in PAGES else {}


def build_ids() -> list[str]:
    """The ids of all pages' questions; each page's file is opened."""
    return [question for page in PAGES for question in questions_of(page)]
