"""Importing the kit is light, and every public name is documented by an example that runs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

import roofline_kit as rk


def imported_by(code: str) -> set[str]:
    """The top-level modules that are loaded in a fresh Python after `code`."""
    show = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_the_kit_draws_in_no_plotting_no_arrays_and_no_pytorch() -> None:
    loaded = imported_by("import roofline_kit")
    assert "roofline_kit" in loaded and "sympy" in loaded
    assert not loaded & {"matplotlib", "ipywidgets", "pandas", "torch", "numpy", "IPython", "scipy"}


def test_tracing_showing_and_predicting_need_no_arrays_either() -> None:
    loaded = imported_by(
        "import roofline_kit as rk\n"
        "cost = rk.trace(rk.attention, *rk.tensors('Q K V', rk.symbols('N h')))\n"
        "repr(cost), cost._repr_latex_(), rk.roofline('A10').time(cost.at(N=4096, h=4096)), rk.lecture.check"
    )
    assert not loaded & {"matplotlib", "pandas", "torch", "numpy"}


def test_listing_the_names_draws_nothing() -> None:
    assert "matplotlib" not in imported_by("import roofline_kit; dir(roofline_kit)")


def test_every_public_name_is_listed_once_and_in_order() -> None:
    assert len(rk.__all__) == len(set(rk.__all__))
    assert set(dir(rk)) >= set(rk.__all__)


PUBLIC: dict[str, Any] = {name: getattr(rk, name) for name in rk.__all__}
MEMBERS = {
    f"{name}.{member}": value
    for name, owner in PUBLIC.items()
    if inspect.isclass(owner) or inspect.ismodule(owner)
    for member, value in vars(owner).items()
    if not member.startswith("_") and inspect.isfunction(value) and value.__module__.startswith("roofline_kit")
    if not inspect.ismodule(owner) or value.__module__ == owner.__name__
}


@pytest.mark.parametrize("name", rk.__all__)
def test_every_public_name_has_a_docstring(name: str) -> None:
    assert (inspect.getdoc(PUBLIC[name]) or "").strip()


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if not isinstance(value, ModuleType)])
def test_every_public_name_has_an_example_that_runs(name: str) -> None:
    """An inherited docstring does not count; a result of `Cost.compile` may be shown there."""
    own = PUBLIC[name].__doc__ or ""
    assert ">>>" in own or name in ("CompiledCost", "Sweep"), own


@pytest.mark.parametrize("name", MEMBERS)
def test_every_public_method_has_a_docstring(name: str) -> None:
    assert (MEMBERS[name].__doc__ or "").strip()


@pytest.mark.parametrize(
    "name", ["trace", "matmul", "accelerator", "roofline", "attention", "linear", "Tensor", "Accelerator"]
)
def test_what_refuses_bad_input_says_so_in_its_docstring(name: str) -> None:
    assert "Raises" in PUBLIC[name].__doc__


def test_no_command_that_reads_notebooks_waits_for_a_grammar_of_addresses() -> None:
    """Which newer versions of jsonschema build whenever they are imported; see requirements.in."""
    loaded = imported_by("import nbformat")
    assert "jsonschema" in loaded
    assert "rfc3987_syntax" not in loaded
