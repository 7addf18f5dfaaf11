"""How tests are drawn and dealt, and what some need beside Python: PyTorch and transformers, a browser, a wheel."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

# SymPy keeps that many results of each of its functions, in kernels that tests start as well: of its own 1000, large
# costs drive out what is asked for again. It is read when SymPy is first imported.
os.environ.setdefault("SYMPY_CACHE_SIZE", "20000")

import pytest
from browser import chromium, lab, offline, shared_tab  # noqa: F401  fixtures
from hypothesis import HealthCheck, settings
from needed import installed, missing
from wheel import bare, wheel  # noqa: F401  fixtures

# The time that one example takes says nothing about right or wrong, least of all on a loaded machine.
settings.register_profile("default", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
TORCH = "`make test-torch` installs it and runs this test"
collect_ignore_glob = ["*.ipynb"]  # notebooks here are submissions

# Tests are dealt to processes by their file, as what takes long to start is started once for a file; these share it.
TOGETHER = {"test_install.py": "test_wheel.py", "test_models_torch.py": "test_torch.py"}
# All processes end together if the longest work begins first. Files by their seconds; the rest is short.
LONGEST = (
    "test_explorers_lab.py", "test_attacks.py", "test_cluster.py", "test_explorers_browser.py", "test_assignments.py",
    "test_site.py", "test_grading_alone.py", "test_run_again.py", "test_torch.py", "test_publish.py", "test_hub.py",
    "test_laws.py", "test_configs.py", "test_grading_commands.py", "test_students.py",
    "test_explorers.py", "test_wheel.py", "test_plots.py", "test_walls.py", "test_crash.py", "test_display.py",
    "test_measure.py", "test_odd_files.py", "test_gradescope.py", "test_published.py", "test_grading_limits.py",
    "test_grading_reading.py", "test_canvas_week.py", "test_build.py", "test_experts.py", "test_doorway.py",
    "test_latent.py", "test_lessons.py", "test_models.py", "test_grading.py",
)  # fmt: skip


def _group(name: str) -> str:
    """What the tests of a file are dealt with."""
    return TOGETHER.get(name, name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest first."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(_group(item.path.name), len(ranks)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deals tests by their file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder, _, name = nodeid.split("::")[0].rpartition("/")
            return f"{folder}/{_group(name)}"

    return ByFile(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Closes what a test has drawn: Matplotlib warns of the twentieth figure, when its culprit is long gone."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session", autouse=True)
def end_nurseries() -> Iterator[None]:
    """Ends what a grader keeps for its next kernel: Python would complain of it when it ends."""
    yield
    if "roofline_kit.grading.sandbox" in sys.modules:
        sys.modules["roofline_kit.grading.sandbox"].retire()


@pytest.fixture(scope="session")
def walls() -> str:
    """What strangers' programs run behind on this machine, as in the grader; in CI there must be something."""
    from roofline_kit.grading import sandbox

    try:
        return sandbox.walls()
    except sandbox.NoSandbox:
        how = "there is no bubblewrap that works; `scripts/install_tools.sh` installs what this test needs"
        missing(how)


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch, where it is installed; in CI it must be. In one thread, as tests beside each other share two cores."""
    module = installed("torch", "PyTorch", TORCH)
    module.set_num_threads(1)
    return module


@pytest.fixture(scope="session")
def transformers(torch: Any) -> Any:
    """Hugging Face's transformers, where it is installed; in CI it must be."""
    return installed("transformers", "transformers", TORCH)
