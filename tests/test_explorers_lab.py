"""Explorers in JupyterLab: live beside a kernel, tied to Python as a widget, and deaf to no key of the notebook's."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser import FIVE, INTO_VIEW, REPOSITORY, Shown, dragged, explorers_in

import roofline_kit as rk

N = rk.symbols("N")


def stored_explorers() -> list[Any]:
    """The notebooks of the course that have explorers."""
    paths = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
    return [pytest.param(path, id=path.stem) for path in paths if "data-rk=" in path.read_text("utf-8")]


def test_each_explorer_is_live_in_jupyterlab(lab: Any) -> None:
    cells = [f"import roofline_kit as rk\nrk.explore_{name}()" for name in FIVE]
    lab.write("five.ipynb", *cells)
    with lab.open("five.ipynb") as notebook:
        notebook.run_all()
        for i, make in enumerate(FIVE.values()):
            dragged(notebook, notebook.explorer(make(), i))


@pytest.mark.parametrize("path", stored_explorers())
def test_explorers_of_the_course_are_live_in_jupyterlab(path: Path, lab: Any) -> None:
    with lab.open(f"notebooks/{path.name}") as notebook:
        notebook.run_all()
        for i, explorer in enumerate(explorers_in(path)):
            dragged(notebook, notebook.explorer(explorer, i))
        assert notebook.page.locator("[data-live]").count() == i + 1
        if path.stem.startswith("01"):
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


def test_a_trusted_notebook_is_live_before_a_cell_has_run_and_another_is_a_picture(lab: Any) -> None:
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
    with lab.open("trusted.ipynb") as notebook:
        shown = notebook.explorer(explorer)
        dragged(notebook, shown)
    lab.page.evaluate("delete window.rooflineExplorers")
    with lab.open("untrusted.ipynb") as notebook:
        image = notebook.page.locator(".jp-OutputArea-output img")
        image.wait_for()
        assert image.evaluate("image => image.naturalWidth") == 720
        assert image.get_attribute("alt") == repr(explorer)
        assert not notebook.page.locator("[data-live]").count()
        assert not notebook.page.evaluate("'rooflineExplorers' in window")


FOCUSABLE = "input, select, button, summary, a[href], [tabindex='0']"
# What a control shows that it is at, and a key that moves it, by its role or its tag.
SHOWS = """one => [
  one.value, one.checked, one.getAttribute("aria-pressed"), one.getAttribute("aria-valuenow"), one.parentElement.open,
].join()"""
MOVES = {"range": "ArrowRight", "slider": "ArrowRight", "select": "ArrowDown", "checkbox": "Space", "summary": "Enter"}


@pytest.mark.parametrize(
    "call", ["rk.explore_attention()", "rk.explore_attention().widget()"], ids=["stored", "widget"]
)
def test_what_is_typed_into_an_explorer_does_nothing_to_the_notebook_and_ctrl_s_saves_it(call: str, lab: Any) -> None:
    path = lab.write("typed.ipynb", "import roofline_kit as rk", call, "after = 'a cell to lose'", "'and another'")
    with lab.open("typed.ipynb") as notebook:
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


def test_the_slider_that_page_8_makes_says_what_its_cost_and_the_explorer_say(lab: Any) -> None:
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
    with lab.open("own_cost.ipynb") as notebook:
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


def test_the_widget_moves_python_and_python_moves_the_widget(lab: Any) -> None:
    explorer = rk.explore_batch()
    lab.write("widget.ipynb", *WIDGET)
    with lab.open("widget.ipynb") as notebook:
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


def test_a_slider_of_ones_own_moves_the_chart_to_each_value_and_hears_beside_it_what_cannot_be(lab: Any) -> None:
    explorer = rk.explore_batch()
    lab.write("own.ipynb", *OWN[:4])
    with lab.open("own.ipynb") as notebook:
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


def test_what_python_refuses_is_one_line_in_the_notebook_and_one_beside_the_chart(lab: Any) -> None:
    lab.write("refused.ipynb", *OWN[:2], "w", "w.controls['batch'].value = 513", "w.controls['bach']")
    with lab.open("refused.ipynb") as notebook:
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
