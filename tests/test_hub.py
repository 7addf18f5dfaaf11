"""The course in a real JupyterHub: two students, each with a browser, a lab and a copy of the course of their own.

The hub is the one of docs/jupyterhub_config.py, and its link the one of docs/instructors.md. Only the spawner differs
from a hub with students: its labs run as whoever runs the tests, as these students have no account on this machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import FIVE, REPOSITORY, Lab, dragged, explorers_in
from hub import Hub, available, running
from needed import installed, missing
from upstream import begun, git, published, source

from roofline_kit.grading.publish import PUBLISHED

LESSONS = REPOSITORY / "notebooks"
SHOWN = "path => jupyterapp.shell.currentWidget?.context?.path === path"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub for the tests of this file. In CI it must start."""
    for module in ("jupyterhub", "nbgitpuller"):
        installed(module, module)
    if not available():
        missing("there is no proxy for a hub; `scripts/install_tools.sh` installs what this test needs")
    folder = tmp_path_factory.mktemp("hub")
    with running(folder / "hub", begun(folder / "upstream", *PUBLISHED, "assignments/hw2*")) as made:
        yield made


@pytest.fixture(scope="module")
def students(hub: Hub, chromium: Any) -> Iterator[dict[str, Lab]]:
    """Ada and Bob, who have followed the link; their labs start at the same time."""
    labs = {name: hub.student(chromium, name) for name in ("ada", "bob")}
    for lab in labs.values():
        lab.wait()
    yield labs
    for lab in labs.values():
        lab.page.evaluate("async () => { await jupyterapp.serviceManager.sessions.shutdownAll() }")
        lab.page.context.close()


def test_a_wrong_password_is_refused_in_words_and_starts_nothing(hub: Hub, chromium: Any) -> None:
    page = hub.student(chromium, "eve", "a guess at it").page
    page.get_by_text("Invalid username or password").wait_for()
    page.goto(f"{hub.url}/user/eve/lab")
    assert page.get_by_label("Password").is_visible(), "she is asked again"
    assert not hub.processes("eve") and not (hub.folder / "eve").exists()
    page.context.close()


def test_the_link_brings_each_student_a_copy_of_their_own(hub: Hub, students: dict[str, Lab]) -> None:
    commit = git(hub.course, "rev-parse", "HEAD")
    for name, lab in students.items():
        assert lab.page.url.startswith(f"{hub.url}/user/{name}/lab/tree/roofline")
        lab.page.wait_for_function(SHOWN, arg="roofline/notebooks/00_start_here.ipynb")
        assert not lab.problems
        brought = hub.folder / name / "roofline"
        assert git(brought, "rev-parse", "HEAD") == commit
        assert (brought / "release" / "hw2_seven_billion.ipynb").exists() and not (brought / "assignments").exists()


def test_nobody_gets_at_the_lab_or_the_files_of_another(hub: Hub, students: dict[str, Lab]) -> None:
    for name, other in (("ada", "bob"), ("bob", "ada")):
        ask = students[name].page.context.request.get
        for what in ("lab", "api/contents/roofline", "files/roofline/notebooks/00_start_here.ipynb"):
            assert ask(f"{hub.url}/user/{name}/{what}").status == 200
            assert ask(f"{hub.url}/user/{other}/{what}").status == 403


def test_the_first_page_runs_and_begins_a_copy_to_work_in(hub: Hub, students: dict[str, Lab]) -> None:
    with students["ada"].open("roofline/notebooks/00_start_here.ipynb") as notebook:
        notebook.run_all()
    copy = Path("roofline", "work", "00_start_here.ipynb")
    begun, lesson = (json.loads(path.read_text("utf-8")) for path in (hub.folder / "ada" / copy, LESSONS / copy.name))
    code = [[cell for cell in notebook["cells"] if cell["cell_type"] == "code"] for notebook in (begun, lesson)]
    assert code[0] == code[1] and len(begun["cells"]) == len(lesson["cells"])
    assert "](../notebooks/01_arithmetic_intensity.ipynb)" in "".join(begun["cells"][-1]["source"])
    assert not (hub.folder / "bob" / copy).exists()


def test_a_lesson_runs_and_its_explorer_is_live(hub: Hub, students: dict[str, Lab]) -> None:
    with students["ada"].open("roofline/notebooks/02_attention.ipynb") as notebook:
        notebook.run_all()
        (explorer,) = explorers_in(LESSONS / "02_attention.ipynb")
        dragged(notebook, notebook.explorer(explorer))


def test_the_five_explorers_are_live_beside_it(students: dict[str, Lab]) -> None:
    cells = [f"import roofline_kit as rk\nrk.explore_{name}()" for name in FIVE]
    students["bob"].write("roofline/five.ipynb", *cells)
    with students["bob"].open("roofline/five.ipynb") as notebook:
        notebook.run_all()
        for i, name in enumerate(FIVE):
            dragged(notebook, notebook.explorer(FIVE[name](), i))


def test_the_same_link_brings_what_is_new(hub: Hub, students: dict[str, Lab]) -> None:
    pages = source(hub.course) / "notebooks"
    (pages / "01_arithmetic_intensity.ipynb").rename(pages / "10_new.ipynb")
    published(hub.course)
    bob = students["bob"]
    bob.page.goto(hub.link("10_new"))
    bob.page.wait_for_url("**/user/bob/lab/tree/**")
    bob.wait()
    bob.page.wait_for_function(SHOWN, arg="roofline/notebooks/10_new.ipynb")
    with bob.open("roofline/notebooks/10_new.ipynb"):  # and its kernel starts
        assert not bob.problems
    assert (hub.folder / "bob" / "roofline" / "notebooks" / "10_new.ipynb").exists()
    assert not (hub.folder / "bob" / "roofline" / "notebooks" / "01_arithmetic_intensity.ipynb").exists()
