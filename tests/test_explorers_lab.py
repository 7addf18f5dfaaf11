"""The course in JupyterLab: to look at a page changes no byte of it, and git brings its corrections.

Explorers there are live beside a kernel, tied to Python as a widget, and deaf to no key of the notebook's.
"""

from __future__ import annotations

import base64
import json
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser import FIVE, INTO_VIEW, REPOSITORY, Lab, Notebook, Shown, dragged, explorers_in
from test_students import edit, pulled
from upstream import begun, git, published, source

import roofline_kit as rk

N = rk.symbols("N")
OPENED = "jupyterapp.shell.currentWidget.context.model"


@pytest.fixture(scope="module")
def kernel(lab: Lab) -> Iterator[str]:
    """One for all notebooks of this file, which leave nothing in it: none asks for another."""
    with lab.kernel() as kernel:
        yield kernel


# --- the pages of the course ---

PAGES = [path.relative_to(REPOSITORY) for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb"))]
PAGES.append(Path("release", "hw2_seven_billion.ipynb"))


class Clone:
    """The course as a student has it, in Lab's folder. upstream : what it is cloned from. looked_at : pages so far."""

    def __init__(self, upstream: Path, lab: Lab, kernel: str) -> None:
        self.upstream, self.folder, self.lab, self.kernel = upstream, lab.folder / "course", lab, kernel
        self.looked_at: set[Path] = set()
        git(lab.folder, "clone", "--quiet", str(upstream), self.folder.name)

    @contextmanager
    def look(self, page: Path) -> Iterator[Notebook]:
        """Opens a page, and Lab saves it. What is done to it then is not kept."""
        with self.lab.open(f"{self.folder.name}/{page.as_posix()}", self.kernel) as notebook:
            notebook.page.wait_for_function(f"{OPENED}.metadata.language_info.version")  # Lab has asked the kernel
            notebook.command("docmanager:save")
            saved = (self.folder / page).read_bytes()
            yield notebook
        (self.folder / page).write_bytes(saved)
        self.looked_at.add(page)


@pytest.fixture(scope="module")
def course(lab: Lab, kernel: str, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(begun(tmp_path_factory.mktemp("git") / "course", "notebooks", "assignments/hw2*"), lab, kernel)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_to_look_at_a_page_changes_no_byte_and_its_explorers_are_live(page: Path, course: Clone) -> None:
    """One visit for both: to open a page takes as long as to run it."""
    with course.look(page) as notebook:
        assert git(course.folder, "status", "--porcelain") == ""
        if page.parts[0] == "notebooks" and "data-rk=" in (REPOSITORY / page).read_text("utf-8"):
            explorers_are_live(page, notebook)


def explorers_are_live(page: Path, notebook: Notebook) -> None:
    notebook.run_all()
    for i, explorer in enumerate(explorers_in(REPOSITORY / page)):
        dragged(notebook, notebook.explorer(explorer, i))
    assert notebook.page.locator("[data-live]").count() == i + 1
    if page.stem.startswith("01"):
        slider_that_page_1_makes_moves_its_line_and_its_chart(notebook)


def slider_that_page_1_makes_moves_its_line_and_its_chart(notebook: Any) -> None:
    notebook.page.wait_for_function("[...document.querySelectorAll('.rk-panel .rk')].some(root => root.explorer)")
    panel = notebook.page.locator(".rk-panel")
    shown = Shown(own_chart(), panel.locator(".rk"))
    shown.agrees()
    handle = panel.locator(".noUi-handle").first
    handle.evaluate(INTO_VIEW)
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    notebook.page.mouse.move(x, y)
    notebook.page.mouse.down()
    notebook.page.mouse.move(x + 80, y, steps=6)
    notebook.page.mouse.up()
    rows = int(notebook.eventually("rows.value"))
    assert rows > 64
    notebook.page.wait_for_function(f"document.querySelector('.rk-panel .rk').explorer.state().N === {rows}")
    shown.agrees()
    assert notebook.eventually("chart.state['N']") == str(rows)
    intensity = shown.explorer.values(N=rows)["part0_intensity"]
    said = notebook.eventually("told(rows.value)")
    assert said.startswith(f"{intensity:.0f} FLOPs per byte")
    panel.get_by_text(said, exact=True).wait_for()


def own_chart() -> Any:
    """The explorer that page 1 ties a slider of its own to."""
    rows = rk.trace(rk.matmul, rk.Tensor("A", (N, 4096)), rk.Tensor("B", (4096, 4096)))
    return rk.explore_roofline({"rows times matrix": rows}, ("A10", "H100-SXM"), N=64)


def test_git_brings_a_correction_to_pages_that_were_looked_at(course: Clone) -> None:
    mine, upstream = course.folder, course.upstream
    assert list(map(Path, git(mine, "ls-files", "*.ipynb").split())) == PAGES
    for page in PAGES:
        if page not in course.looked_at:  # by the test above
            with course.look(page):
                pass
    for way in (lambda: git(mine, "pull", "--quiet"), lambda: pulled(upstream, mine)):
        for page in (page for page in PAGES if page.parts[0] == "notebooks"):
            edit(source(upstream) / page, lambda cells: cells[0].update(source=[cells[0]["source"][0] + " corrected"]))
        published(upstream)
        way()
        assert git(mine, "rev-parse", "HEAD") == git(upstream, "rev-parse", "HEAD"), "nothing of ours to merge"
        assert all((mine / page).read_bytes() == (upstream / page).read_bytes() for page in PAGES)


# --- explorers ---


def test_each_explorer_is_live_in_jupyterlab(lab: Any, kernel: str) -> None:
    cells = [f"import roofline_kit as rk\nrk.explore_{name}()" for name in FIVE]
    lab.write("five.ipynb", *cells)
    with lab.open("five.ipynb", kernel) as notebook:
        notebook.run_all()
        for i, make in enumerate(FIVE.values()):
            dragged(notebook, notebook.explorer(make(), i))


def test_a_trusted_notebook_is_live_before_a_cell_has_run_and_another_is_a_picture(lab: Any, kernel: str) -> None:
    explorer = rk.explore_batch()
    bundle = explorer._repr_mimebundle_()
    bundle["image/png"] = base64.b64encode(bundle["image/png"]).decode()
    for name in ("trusted", "untrusted"):
        path = lab.write(f"{name}.ipynb", "rk.explore_batch()")
        stored = nbformat.read(path, as_version=4)
        stored.cells[0].outputs = [nbformat.v4.new_output("execute_result", bundle, execution_count=1)]
        stored.cells[0].execution_count = 1
        nbformat.write(stored, path)
    lab.trust(lab.folder / "trusted.ipynb")
    with lab.open("trusted.ipynb", kernel) as notebook:
        shown = notebook.explorer(explorer)
        dragged(notebook, shown)
    lab.page.evaluate("delete window.rooflineExplorers")
    with lab.open("untrusted.ipynb", kernel) as notebook:
        image = notebook.page.locator(".jp-OutputArea-output img")
        image.wait_for()
        assert image.evaluate("image => image.naturalWidth") == 720
        assert image.get_attribute("alt") == repr(explorer)
        assert not notebook.page.locator("[data-live]").count()
        assert not notebook.page.evaluate("'rooflineExplorers' in window")


@contextmanager
def picture(lab: Lab, kernel: str, name: str) -> Iterator[Any]:
    """Opens a new copy of page 01 that nobody trusts, with no cell run, and shows its picture."""
    shutil.copy(REPOSITORY / "notebooks" / "01_arithmetic_intensity.ipynb", lab.folder / name)
    cells = json.loads((lab.folder / name).read_text("utf-8"))["cells"]
    i = next(i for i, cell in enumerate(cells) if "explore_roofline" in "".join(cell["source"]))
    show = "await all.scrollToItem(i); all.activeCellIndex = i"
    with lab.open(name, kernel) as notebook:
        notebook.page.evaluate(f"async i => {{ const all = jupyterapp.shell.currentWidget.content; {show} }}", i)
        hint = notebook.page.get_by_text("This is a picture")
        hint.wait_for()
        assert not notebook.page.locator("[data-live]").count()
        words = hint.text_content()  # which is there even while Lab, still scrolling, hides the cell once more
        yield notebook, " ".join(words.split()), " ".join("".join(cells[i - 1]["source"]).split())


def choose(page: Any, *way: str) -> None:
    """Clicks through JupyterLab's menus."""
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{way[0]}$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{way[1]}$")).click()


def test_a_picture_turns_live_by_the_cells_above_it_as_it_says(lab: Lab, kernel: str) -> None:
    with picture(lab, kernel, "above.ipynb") as (notebook, hint, prose):
        assert "Run → Run All Above Selected Cell" in hint and "Run → Run All Above Selected Cell" in prose
        choose(notebook.page, "Run", "Run All Above Selected Cell")
        notebook.command("notebook:run-cell")
        notebook.page.locator("[data-live]").wait_for()


def test_a_picture_turns_live_by_trust_as_it_says(lab: Lab, kernel: str) -> None:
    with picture(lab, kernel, "trust.ipynb") as (notebook, hint, prose):
        assert "Trust Notebook" in hint and "View → Activate Command Palette" in hint
        assert "Trust Notebook" in prose and "View → Activate Command Palette" in prose
        choose(notebook.page, "View", "Activate Command Palette")
        notebook.page.locator(".lm-CommandPalette-input").fill("Trust Notebook")
        notebook.page.locator(".lm-CommandPalette-item", has_text="Trust Notebook").click()
        notebook.page.locator(".jp-Dialog .jp-mod-accept").click()
        notebook.page.locator("[data-live]").wait_for()
        notebook.page.wait_for_function(f"!{OPENED}.dirty")  # to trust is to save: let it end


def test_a_notebook_of_ones_own_is_saved_as_jupyterlab_would(lab: Lab, kernel: str) -> None:
    path = lab.write("sum.ipynb", "1 + 1")
    with lab.open(path.name, kernel) as notebook:
        notebook.command("docmanager:save")
    assert json.loads(path.read_text("utf-8"))["metadata"]["language_info"]["version"] == platform.python_version()


FOCUSABLE = "input, select, button, summary, a[href], [tabindex='0']"
# What a control shows that it is at, and a key that moves it, by its role or its tag.
SHOWS = """one => [
  one.value, one.checked, one.getAttribute("aria-pressed"), one.getAttribute("aria-valuenow"), one.parentElement.open,
].join()"""
MOVES = {"range": "ArrowRight", "slider": "ArrowRight", "select": "ArrowDown", "checkbox": "Space", "summary": "Enter"}


@pytest.mark.parametrize(
    "call", ["rk.explore_attention()", "rk.explore_attention().widget()"], ids=["stored", "widget"]
)
def test_what_is_typed_into_an_explorer_does_nothing_to_the_notebook_and_ctrl_s_saves_it(
    call: str, lab: Any, kernel: str
) -> None:
    path = lab.write("typed.ipynb", "import roofline_kit as rk", call, "after = 'a cell to lose'", "'and another'")
    with lab.open("typed.ipynb", kernel) as notebook:
        page = notebook.page
        notebook.run_all()
        page.wait_for_function("document.querySelector('.rk .rk-formulas p')")
        output = page.locator(".jp-OutputArea-child:has(.rk)")
        everything = output.locator(FOCUSABLE)
        kinds = {"button": output.get_by_role("button", name="Freeze")}
        what = "all => all.map(a => a.getAttribute('role') || (a.localName === 'input' ? a.type : a.localName))"
        for i, kind in enumerate(everything.evaluate_all(what)):
            kinds.setdefault(kind, everything.nth(i))
        assert {"button", "select", "summary", "region"} < set(kinds) and {"range", "slider"} & set(kinds), kinds
        keys = notebook.keys
        assert [key for key in (["D", "D"], ["X"], ["A"], ["M"], ["ArrowDown"], ["Shift+M"]) if key not in keys] == []
        page.locator(".jp-CodeCell .jp-InputPrompt").nth(1).click()
        before = notebook.cells
        for kind, control in kinds.items():
            for typed in keys:
                control.focus()
                for key in typed:
                    page.keyboard.press(key)
                assert notebook.cells == before, (kind, typed)
            page.keyboard.press("Escape")  # a list that has opened
            control.focus()
            if kind != "region":
                stood = control.evaluate(SHOWS)
                page.keyboard.press(MOVES.get(kind, "Enter"))
                page.wait_for_function(
                    f"([one, stood]) => ({SHOWS})(one) !== stood", arg=[control.element_handle(), stood]
                )
            page.evaluate("mark => jupyterapp.shell.currentWidget.content.model.setMetadata('typed', mark)", kind)
            page.keyboard.press("Control+s")
            page.wait_for_function("!jupyterapp.shell.currentWidget.context.model.dirty")
            assert nbformat.read(path, as_version=4).metadata["typed"] == kind


def test_the_slider_that_page_8_makes_says_what_its_cost_and_the_explorer_say(lab: Any, kernel: str) -> None:
    """Ten lines of a student's kind: dragged, both the label and the chart are at the new batch."""
    page_8 = nbformat.read(REPOSITORY / "notebooks" / "08_batching.ipynb", as_version=4)
    sources = {cell.id: cell.source for cell in page_8.cells}
    before = """
import ipywidgets
import roofline_kit as rk
b, T = rk.symbols("b T")
a100 = rk.roofline("A100-40GB")
decode = rk.model("llama-2-7b").decode(b, T, fused=True).compile("b", T=1000)"""
    lab.write("own_cost.ipynb", before, sources["own-code"])
    explorer = rk.explore_batch("llama-2-7b", "A100-40GB", context=1000, fused=True)
    with lab.open("own_cost.ipynb", kernel) as notebook:
        page = notebook.page
        notebook.run_all()
        page.wait_for_function("[...document.querySelectorAll('.rk')].some(root => root.explorer)")
        shown = Shown(explorer, page.locator(".rk"))
        said = page.locator(".jp-OutputArea .widget-label:not(label)").first
        assert said.text_content() == sentence(explorer, 32)
        handle = page.locator(".jp-OutputArea .noUi-handle").first
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2, steps=6)
        page.mouse.up()
        page.wait_for_function("document.querySelector('.rk').explorer.state().batch > 40")
        moved = int(notebook.eventually("mine.value"))
        page.wait_for_function(f"document.querySelector('.rk').explorer.state().batch === {moved}")
        page.get_by_text(sentence(explorer, moved)).wait_for()
        shown.agrees()


def sentence(explorer: Any, batch: int) -> str:
    """What the label says, from the explorer's own formulas."""
    at = explorer.values(batch=batch)
    wait, rate, intensity = (at[f"whole_{name}"] for name in ("time", "throughput", "intensity"))
    return f"{1e3 * wait:.1f} ms, {rate:.0f} tokens/s, {intensity:.1f} FLOPs per byte"


WIDGET = [
    "import ipywidgets\nimport roofline_kit as rk",
    "w = rk.explore_batch().widget()",
    "seen = []\nw.controls['batch'].observe(lambda change: seen.append(change['new']), 'value')",
    "ipywidgets.VBox([w])",
]


def test_the_widget_moves_python_and_python_moves_the_widget(lab: Any, kernel: str) -> None:
    explorer = rk.explore_batch()
    lab.write("widget.ipynb", *WIDGET)
    with lab.open("widget.ipynb", kernel) as notebook:
        page = notebook.page
        notebook.run_all()

        def chart() -> Shown:
            page.wait_for_function("[...document.querySelectorAll('.rk')].some(root => root.explorer)")
            return Shown(explorer, page.locator(".rk"))

        shown = chart()
        shown.agrees()
        slider = page.locator(".jupyter-widgets [role=slider], .jupyter-widgets .noUi-handle").first
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2, steps=6)
        page.mouse.up()
        page.wait_for_function("document.querySelector('.rk').explorer.state().batch !== 32")
        batch = shown.state["batch"]
        shown.agrees()
        assert notebook.eventually("w.state['batch']") == str(batch)
        assert notebook.run("print(w.values() == rk.explore_batch().values(**w.state))") == "True\n"
        assert str(batch) in notebook.run("print(seen)")

        notebook.run('w.state = {"batch": 64, "model": "llama-2-70b"}')
        page.wait_for_function("document.querySelector('.rk').explorer.state().batch === 64")
        page.wait_for_function("document.querySelector('.rk').explorer.state().kv_heads === 8")
        assert page.locator(".widget-readout").first.text_content() == "64"
        shown.agrees()
        assert "bach" in notebook.run('w.state = {"bach": 64}')

        page.get_by_role("button", name="Freeze").click()
        notebook.run("w.controls['batch'].value = 8")
        page.wait_for_function("document.querySelector('.rk').explorer.state().batch === 8")
        assert notebook.eventually("w.frozen['batch'], w.state['batch']") == "64 8"
        shown.agrees()
        notebook.command("docmanager:save")
        page.reload()
        notebook.wait()
        shown = chart()
        page.wait_for_function("document.querySelector('.rk').explorer.state().batch === 8")
        assert shown.ask("x.frozen()")["batch"] == 64
        shown.agrees()
        page.get_by_role("button", name="Reset").click()
        assert notebook.eventually("w.state['batch'], w.frozen") == "32 None"
        assert shown.state == explorer.state
        shown.agrees()


OWN = [
    "import ipywidgets\nimport roofline_kit as rk",
    "w = rk.explore_batch().widget()\nmine = ipywidgets.IntSlider(32, min=1, max=1000)",
    "mine.observe(lambda change: setattr(w.controls['batch'], 'value', change['new']), 'value')",
    "ipywidgets.VBox([mine, w])",
    "w.controls['batch'].value = 513",
]


def test_a_slider_of_ones_own_moves_the_chart_to_each_value_and_hears_beside_it_what_cannot_be(
    lab: Any, kernel: str
) -> None:
    explorer = rk.explore_batch()
    lab.write("own.ipynb", *OWN[:4])
    with lab.open("own.ipynb", kernel) as notebook:
        page = notebook.page
        notebook.run_all()
        page.wait_for_function("[...document.querySelectorAll('.rk')].some(root => root.explorer)")
        shown = Shown(explorer, page.locator(".rk"))
        batch = "document.querySelector('.rk').explorer.state().batch"
        said = page.locator(".rk-refused")
        mine = page.locator(".jp-OutputArea .noUi-handle").first
        mine.focus()
        for i in range(4):
            page.keyboard.press("ArrowRight")
            page.wait_for_function(f"{batch} === {33 + i}")
            shown.agrees()
            readouts = page.locator(".widget-readout").all_text_contents()
            assert readouts[:2] == [str(33 + i)] * 2
        page.keyboard.press("End")
        said.wait_for()
        assert said.text_content() == "batch size must be a whole number from 1 to 512, not 1000"
        assert said.is_visible()
        assert shown.state["batch"] == 36
        shown.agrees()
        page.keyboard.press("Home")
        page.wait_for_function(f"{batch} === 1")
        assert not said.count()
        assert notebook.eventually("w.state['batch'], w.controls['batch'].value") == "1 1"
        notebook.run("w.controls['batch'].value = 100; w.frozen = {'batch': 101}")
        page.wait_for_function(f"{batch} === 100")
        assert shown.ask("x.frozen()")["batch"] == 101
        shown.agrees()
        page.get_by_role("button", name="Reset").click()
        assert notebook.eventually("w.state['batch'], w.frozen") == "32 None"
        shown.agrees()


def test_what_python_refuses_is_one_line_in_the_notebook_and_one_beside_the_chart(lab: Any, kernel: str) -> None:
    lab.write("refused.ipynb", *OWN[:2], "w", "w.controls['batch'].value = 513", "w.controls['bach']")
    with lab.open("refused.ipynb", kernel) as notebook:
        page = notebook.page
        for _ in range(3):
            notebook.command("notebook:run-cell-and-select-next")
        page.wait_for_function("[...document.querySelectorAll('.rk')].some(root => root.explorer)")
        for words in ("batch size must be a whole number from 1 to 512, not 513", "unknown control 'bach'"):
            notebook.command("notebook:run-cell-and-select-next")
            error = page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").last
            error.get_by_text(words).wait_for()
            assert len(error.text_content().strip().splitlines()) == 1
            page.locator(".rk-refused").get_by_text(words).wait_for()
