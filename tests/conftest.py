"""How Hypothesis draws, and what some tests need beside Python: PyTorch and transformers to compare with, a browser."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from browser import chromium, lab, offline  # noqa: F401  fixtures
from hypothesis import HealthCheck, settings
from wheel import bare, wheel  # noqa: F401  fixtures

# The time that one example takes says nothing about right or wrong, least of all on a loaded machine.
settings.register_profile("default", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Closes what a test has drawn: Matplotlib warns of the twentieth figure, when its culprit is long gone."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def walls() -> str:
    """What strangers' programs run behind on this machine, as in the grader; in CI there must be something."""
    from roofline_kit.grading import sandbox

    try:
        return sandbox.walls()
    except sandbox.NoSandbox:
        how = "there is no bubblewrap that works; `scripts/install_tools.sh` installs what this test needs"
        return (pytest.fail if os.environ.get("CI") else pytest.skip)(how)


def _installed(module: str, title: str) -> Any:
    """A module that the tests can do without on somebody's machine, and not in CI."""
    if os.environ.get("CI"):
        return importlib.import_module(module)
    return pytest.importorskip(module, reason=f"{title} is not installed; `make test-torch` runs this test")


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch, where it is installed; in CI it must be."""
    return _installed("torch", "PyTorch")


@pytest.fixture(scope="session")
def transformers(torch: Any) -> Any:
    """Hugging Face's transformers, where it is installed; in CI it must be."""
    return _installed("transformers", "transformers")
