"""What tests need beside the kit: without it they are skipped on somebody's machine, and fail in CI."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, NoReturn

import pytest


def missing(told: str) -> NoReturn:
    """Ends a test that cannot run; told : what is missing, and how one gets it."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(told)


def installed(module: str, title: str, how: str = "`make test` installs it") -> Any:
    """A module of another package."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing(f"{title} is not installed ({error}); {how}")
