"""A headless Chromium for tests, pages opened in it as files without a network, and a JupyterLab of its own.

What an explorer shows is compared with Python: `Shown.agrees` looks at every mark, number and word on the page.
"""

from __future__ import annotations

import ast
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import ports
import pytest
from needed import installed, missing

import roofline_kit as rk
from roofline_kit.explorers.live.picture import formatted, significant

REPOSITORY = Path(__file__).parent.parent
FIVE: dict[str, Callable[..., Any]] = {
    "batch": rk.explore_batch,
    "roofline": rk.explore_roofline,
    "attention": rk.explore_attention,
    "sparse": rk.explore_sparse,
    "training": rk.explore_training,
}
PATIENCE = 180_000  # milliseconds: what takes longer on a loaded machine is not wrong
HOW = "`scripts/install_tools.sh` installs what this test needs"
# What JupyterLab itself says when all is well; nothing else may stand in the console.
LAB_SAYS = (
    "to activate",  # on a slow machine
    "did not appear within",  # on a slow machine: a cell far down that it wanted to scroll to
)


def executable() -> str | None:
    """The system's Chromium, under one of its names."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's Chromium, headless; in CI it must be there."""
    path = executable()
    if path is None:
        missing(f"there is no Chromium; {HOW}")
    with installed("playwright.sync_api", "playwright").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


def answering(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until a server answers. Raises RuntimeError with its log where it ends, or takes two minutes."""
    end = time.monotonic() + 120
    while True:
        try:
            urlopen(url).close()
            return
        except HTTPError as early:  # it is there, and the page is not yet
            early.close()
        except OSError:
            pass
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError(log.read_text())
        time.sleep(0.1)


def watch(page: Any, allowed: tuple[str, ...] = ()) -> list[str]:
    """What goes wrong on a page from now on: errors, and what the console warns of."""
    found: list[str] = []

    def heard(message: Any) -> None:
        if message.type in ("error", "warning") and not any(words in message.text for words in allowed):
            found.append(f"{message.type}: {message.text}")

    page.on("console", heard)
    page.on("pageerror", lambda error: found.append(f"error: {error}"))
    return found


def a_tab(chromium: Any, **options: Any) -> tuple[Any, list[str]]:
    """A page without a network, and what goes wrong on it from now on."""
    page = chromium.new_context(offline=True, **options).new_page()
    page.set_default_timeout(PATIENCE)
    found = watch(page)
    page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or found.append(f"asks for {r.url}"))
    return page, found


@pytest.fixture(scope="session")
def shared_tab(chromium: Any) -> Iterator[Callable[..., tuple[Any, list[str]]]]:
    """A tab for each kind of browser that tests ask for: a new one takes four times as long as to load a page."""
    tabs: dict[Any, tuple[Any, list[str]]] = {}

    def of(**options: Any) -> tuple[Any, list[str]]:
        kind = tuple(sorted(options.items()))
        if kind not in tabs:
            tabs[kind] = a_tab(chromium, **options)
        return tabs[kind]

    yield of
    for page, _ in tabs.values():
        page.context.close()


@pytest.fixture
def offline(chromium: Any, shared_tab: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens HTML, or a file of it, as a file without a network: offline(html, width=…). Fails if anything complains.

    What was opened before with the same options gives way to it. With a script, it has a tab of its own.
    """
    problems, contexts, files = [], [], count()

    def open_page(html: Any, width: int = 1000, height: int = 900, script: str = "", **options: Any) -> Any:
        page, found = a_tab(chromium, **options) if script else shared_tab(**options)
        if not any(found is one for one in problems):
            found.clear()
            problems.append(found)
        if script:
            contexts.append(page.context)
            page.add_init_script(script)
        if not isinstance(html, Path):
            text, html = html, tmp_path / f"page{next(files)}.html"
            html.write_text(text, "utf-8")
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(FORGET)
        page.goto(html.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not any(problems), problems


FORGET = "() => { try { sessionStorage.clear(); localStorage.clear() } catch { /* nothing is open yet */ } }"


def as_page(*explorers: Any, theme: str = "") -> str:
    """A page that shows explorers and nothing else, as a static site would."""
    shown = "\n".join(explorer.html for explorer in explorers)
    return (
        f'<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8"><title>An explorer</title>'
        f'<meta name="viewport" content="width=device-width"><body><main><h1>An explorer</h1>{shown}</main>'
    )


class Shown:
    """An explorer on a page. where : a locator of the element that has it, in an output or in a widget."""

    def __init__(self, explorer: Any, where: Any) -> None:
        self.explorer, self.root = explorer, where
        where.page.wait_for_function("root => root.explorer", arg=where.element_handle())

    def ask(self, code: str, given: Any = None) -> Any:
        """What JavaScript says; x is the page's explorer, and `given` what it is told. Both go as JSON: no NaN.

        Text, because Playwright takes objects apart value by value, in the page and again in Python.
        """
        return json.loads(self.root.evaluate(ASKED.replace("CODE", code), json.dumps(given)))

    def slider(self, name: str) -> Any:
        """The range input of a control."""
        return self.root.locator(f"[id$='-{name}']")

    def drag(self, name: str, to: float) -> None:
        """Drags a slider with the mouse to a share of its way, and not in one jump."""
        drag(self.root.page, self.slider(name), to)

    def choose(self, name: str, value: Any) -> None:
        """Chooses a value of a choice."""
        self.slider(name).select_option(label=str(value))

    @property
    def state(self) -> dict[str, Any]:
        """The values of all controls, as the page has them."""
        return self.ask("x.state()")

    def agrees(self) -> dict[str, Any]:
        """Compares all that the page shows with Python, and returns Python's numbers."""
        explorer, seen = self.explorer, self.ask(SEEN)  # all of it at once: each question takes its way
        state, frozen = seen["state"], seen["frozen"]
        at = explorer.values(**state)
        message = explorer._message(at)
        blocked = bool(message and message["blocks"])
        sentence, alert = "" if blocked else explorer._sentence(at), message["text"] if message else ""
        assert seen["sentence"] == [sentence]
        assert seen["status"] == [alert]
        assert seen["label"] == f"{sentence} {alert}".strip()
        cells = [cell for _, *row in explorer.table.rows for cell in row]
        assert seen["cells"] == ["–" if blocked else formatted(at[name], kind) for name, kind in cells]
        if frozen:
            before = explorer.values(**frozen)
            last = [row[-1][0] for _, *row in explorer.table.rows]
            ratios = [math.nan if blocked else ratio(at[name], before[name]) for name in last]
            said = ["–" if x != x else "× ∞" if x == math.inf else f"× {formatted(significant(x, 3))}" for x in ratios]
            assert seen["ratios"] == said
        if seen["controls"]:
            sliders = [control for control in explorer.controls if control.kind == "slider"]
            assert seen["outputs"] == [f"{state[control.name]:,}" for control in sliders]
        width, height = seen["size"]
        assert same_marks(seen["marks"], explorer._marks(state, frozen, width, height)[0])
        return at


ASKED = """(root, text) => {
  const x = root.explorer, given = JSON.parse(text), answer = CODE;
  return JSON.stringify(answer ?? null);
}"""
SEEN = """(() => {
  const texts = part => [...root.querySelectorAll(part)].map(n => n.textContent);
  const svg = root.querySelector(".rk-figure svg");
  const read = a => [a.name, a.value.replace(/^var\\(--rk-(.*)\\)$/, "$1")];
  return {
    state: x.state(), frozen: x.frozen(), label: svg.getAttribute("aria-label"),
    sentence: texts(".rk-sentence"), status: texts("p.rk-spoken[role=status]"),
    cells: texts("tbody td:not(.rk-ratio)"), ratios: texts("tbody .rk-ratio"),
    controls: texts(".rk-control").length, outputs: texts(".rk-control output"),
    size: svg.getAttribute("viewBox").split(" ").slice(2).map(Number),
    marks: [...svg.children].map(n => [n.tagName, Object.fromEntries([...n.attributes].map(read)), n.textContent]),
  };
})()"""


def ratio(now: float, before: float) -> float:
    """As JavaScript divides: of nothing there may be nothing, too."""
    return now / before if before else math.inf if now else math.nan


def same_marks(one: Any, other: Any) -> bool:
    """Whether two lists of marks are the same; coordinates may differ by the last digit that is stored, a tenth."""
    assert [mark[0] for mark in one] == [mark[0] for mark in other]
    for (tag, ours, text), (_, theirs, words) in zip(one, other, strict=True):
        assert text == words, (text, words)
        assert set(ours) == set(theirs), tag
        for name, value in ours.items():
            if value == theirs[name]:
                continue
            if _numbers(value) != _numbers(theirs[name]):  # not pytest.approx for all: that takes minutes
                assert _words(value) == _words(theirs[name]), (tag, name)
                assert _numbers(value) == pytest.approx(_numbers(theirs[name]), abs=0.101), (tag, name, text)
            elif isinstance(value, str) and not isinstance(theirs[name], (int, float)):
                assert _words(value) == _words(theirs[name]), (tag, name)
    return True


def _numbers(value: Any) -> list[float]:
    return [float(value)] if isinstance(value, (int, float)) else list(map(float, re.findall(NUMBER, value)))


def _words(value: Any) -> str:
    return re.sub(NUMBER, "#", str(value))


NUMBER = r"-?\d+(?:\.\d+)?"


def drag(page: Any, slider: Any, to: float) -> None:
    """Drags the handle of a slider with the mouse to a share of its way."""
    share = slider.evaluate("s => (s.value - s.min) / (s.max - s.min)")
    slider.evaluate(INTO_VIEW)
    box = slider.bounding_box()
    x = lambda at: box["x"] + 8 + at * (box["width"] - 16)  # noqa: E731  the handle is 16 pixels wide
    y = box["y"] + box["height"] / 2
    page.mouse.move(x(share), y)
    page.mouse.down()
    page.mouse.move(x(to), y, steps=5)
    page.mouse.up()


# JupyterLab lays out what comes into view, and by that moves what is in view: until it has stood still for nine frames.
# Elsewhere one frame shows that it stands.
INTO_VIEW = """slider => new Promise(done => {
  const enough = globalThis.jupyterapp ? 9 : 1;
  let before = "", still = 0;
  const look = () => {
    slider.scrollIntoView({ block: "center" });
    const now = JSON.stringify(slider.getBoundingClientRect());
    still = now === before ? still + 1 : 0;
    before = now;
    if (still < enough) requestAnimationFrame(look);
    else done();
  };
  look();
})"""


def explorers_in(path: Path) -> list[Any]:
    """The explorers of a notebook of the course, by running here what they are made of; a whole page takes seconds."""
    import nbformat

    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    statements = [statement for source in cells for statement in ast.parse(source).body]
    found = []
    for i, statement in enumerate(statements):
        if isinstance(statement, ast.Expr) and ast.unparse(statement).startswith("rk.explore_"):
            names: dict[str, Any] = {}
            program = ast.Module(needed(statement, statements[:i]), type_ignores=[])
            exec(compile(program, path.name, "exec"), names)
            found.append(eval(compile(ast.Expression(statement.value), path.name, "eval"), names))
    return found


def needed(last: ast.stmt, before: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that bind what the last one uses, and what they use in turn."""
    kept: list[ast.stmt] = []
    used = loaded(last)
    for statement in reversed(before):
        if bound(statement) & used:
            kept.insert(0, statement)
            used |= loaded(statement)
    return kept


def loaded(tree: ast.AST) -> set[str]:
    """The names that a piece of a program uses."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def bound(tree: ast.AST) -> set[str]:
    """The names that a piece of a program gives a value."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return found


# --- JupyterLab -------------------------------------------------------------------------------------------


class Lab:
    """A JupyterLab that a page shows or will show: open(notebook) gives a `Notebook`. folder : its root."""

    def __init__(self, page: Any, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        self.page, self.folder, self.environment = page, folder, environment
        page.set_default_timeout(PATIENCE)
        self.problems = watch(self.page, LAB_SAYS)

    def wait(self) -> None:
        """Until it is there."""
        self.page.wait_for_function("globalThis.jupyterapp?.restored")
        self.page.evaluate("async () => { await jupyterapp.restored }")

    def write(self, name: str, *cells: str) -> Path:
        """A notebook of code cells, not executed, in the root folder."""
        import nbformat
        from nbformat.v4 import new_code_cell, new_notebook

        path = self.folder / name
        kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=kernel), path)
        return path

    def trust(self, path: Path) -> None:
        """Signs a notebook, as a reader does with the command `jupyter trust`."""
        line = [sys.executable, "-m", "jupyter", "trust", str(path)]
        subprocess.run(line, check=True, capture_output=True, env=self.environment)

    @contextmanager
    def open(self, name: str, kernel: str = "") -> Iterator[Notebook]:
        """A notebook in the browser, until the block ends; then nothing may have gone wrong.

        kernel : the id of one that is there, which the notebook gets and leaves as it was; otherwise it has its own.
        """
        self.problems.clear()
        notebook = Notebook(self.page)
        notebook.command("docmanager:open", path=name, **({"kernel": {"id": kernel}} if kernel else {}))
        notebook.wait()
        try:
            yield notebook
            notebook.command("docmanager:save")
            assert not self.problems, self.problems
        finally:  # a test that fails leaves nothing open for the next one
            if not kernel:
                self.page.evaluate("async () => { await jupyterapp.shell.currentWidget.sessionContext.shutdown() }")
            self.page.evaluate(SAVED)  # what has changes asks before it closes
            notebook.command("application:close")
            if kernel:
                self.page.evaluate(EMPTIED, [kernel, "%reset -f\n" + NO_WIDGETS])

    @contextmanager
    def kernel(self) -> Iterator[str]:
        """The id of a kernel for several notebooks: it starts once, and imports the kit once."""
        kernel = self.page.evaluate(STARTED)
        yield kernel
        self.page.evaluate("id => jupyterapp.serviceManager.kernels.shutdown(id)", kernel)


SAVED = """async () => {
  const { context } = jupyterapp.shell.currentWidget;
  if (context.model.dirty) await context.save();
}"""
# Of several connections to a kernel, Lab lets one hear of widgets: these end before a notebook makes its own.
STARTED = """async () => {
  const kernel = await jupyterapp.serviceManager.kernels.startNew();
  await kernel.info;
  kernel.dispose();
  return kernel.id;
}"""
EMPTIED = """async ([id, code]) => {
  const kernel = jupyterapp.serviceManager.kernels.connectTo({ model: { id, name: "python3" } });
  await kernel.requestExecute({ code }).done;
  kernel.dispose();
}"""
NO_WIDGETS = """import sys
if "ipywidgets" in sys.modules:
    sys.modules["ipywidgets"].Widget.close_all()
del sys"""


class Notebook:
    """A notebook that is open in JupyterLab."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def wait(self) -> None:
        """Until it is there, with an idle kernel."""
        ready = "globalThis.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        self.page.wait_for_function(ready)
        self.page.evaluate("async () => { await jupyterapp.shell.currentWidget.revealed }")

    def command(self, name: str, **how: Any) -> None:
        """Does what JupyterLab's menus do, and waits for it."""
        self.page.evaluate("async ([name, how]) => { await jupyterapp.commands.execute(name, how) }", [name, how])

    @property
    def kernel(self) -> str:
        """The id of its kernel."""
        return self.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.session.kernel.id")

    def run_all(self) -> None:
        """All cells, from top to bottom; fails at the first that fails."""
        self.command("notebook:run-all-cells")
        errors = self.page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']")
        assert not errors.count(), errors.all_text_contents()

    def run(self, code: str) -> str:
        """Runs code in the notebook's kernel, in no cell, and returns what it prints."""
        return self.page.evaluate(
            """async code => {
              const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel, said = [];
              const asked = kernel.requestExecute({ code, stop_on_error: true });
              asked.onIOPub = m => said.push(m.content.text ?? (m.content.traceback ?? []).join(""));
              await asked.done;
              return said.join("");
            }""",
            code,
        )

    def eventually(self, values: str) -> str:
        """What the kernel says these values are, once it has said the same twice: messages take their time."""
        said, before = "", None
        while said != before:
            said, before = self.run(f"print({values})").strip(), said
            self.page.wait_for_timeout(200)
        return said

    @property
    def selected(self) -> int:
        """Which cell is active."""
        return self.page.evaluate("jupyterapp.shell.currentWidget.content.activeCellIndex")

    @property
    def cells(self) -> Any:
        """All cells without their outputs, which one is active, and how many dialogs are open."""
        return self.page.evaluate(
            """() => {
              const { content } = jupyterapp.shell.currentWidget, dialogs = document.querySelectorAll(".jp-Dialog");
              const cells = content.widgets.map(cell => JSON.stringify({ ...cell.model.toJSON(), outputs: null }));
              return [cells, content.activeCellIndex, content.selectedCells.length, content.mode, dialogs.length];
            }"""
        )

    @property
    def keys(self) -> list[list[str]]:
        """What one can type in a notebook's command mode, as JupyterLab lists it, without Ctrl, Alt and Cmd."""
        found = self.page.evaluate(
            "jupyterapp.commands.keyBindings.filter(b => b.selector.includes('.jp-Notebook')).map(b => [...b.keys])"
        )
        plain = [keys for keys in found if not re.search(r"(Ctrl|Accel|Alt|Cmd|Meta) ", " ".join(keys))]
        return [[key.replace(" ", "+") for key in keys] for keys in plain]

    def explorer(self, explorer: Any, i: int = 0) -> Shown:
        """The i-th live explorer on the page."""
        self.page.wait_for_function(f"document.querySelectorAll('[data-live]').length > {i}")
        return Shown(explorer, self.page.locator("[data-live]").nth(i))


def dragged(notebook: Notebook, shown: Shown) -> None:
    """Drags the first slider, and moves it by its arrow keys, which JupyterLab must not take for its own."""
    first = shown.explorer.controls[0]
    shown.agrees()
    drag(notebook.page, shown.slider(first.name), 0.35)
    cell, before = notebook.selected, first.values.index(shown.state[first.name])
    for key, to in {"ArrowRight": 1, "ArrowUp": 2, "ArrowLeft": 1, "ArrowDown": 0}.items():
        notebook.page.keyboard.press(key)
        assert shown.state[first.name] == first.values[before + to]
    assert shown.slider(first.name).evaluate("slider => slider === document.activeElement")
    assert notebook.selected == cell
    shown.agrees()


@pytest.fixture(scope="session")
def lab(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab on a copy of the notebooks; it knows nothing of the settings of whoever runs the tests."""
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(REPOSITORY / "notebooks", home / "root" / "notebooks")
    (home / "JUPYTER_CONFIG" / "labconfig").mkdir(parents=True)
    quiet = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (home / "JUPYTER_CONFIG" / "labconfig" / "page_config.json").write_text(json.dumps(quiet))
    folders = ["JUPYTER_CONFIG", "JUPYTER_DATA", "JUPYTER_RUNTIME", "JUPYTERLAB_SETTINGS", "JUPYTERLAB_WORKSPACES"]
    environment = os.environ | {f"{name}_DIR": str(home / name) for name in folders} | {"IPYTHONDIR": str(home / "i")}
    environment["PYTHONPATH"] = str(Path(rk.__file__).parent.parent)
    port = ports.free()
    token = os.urandom(16).hex()
    options = {
        "ServerApp.ip": "127.0.0.1", "ServerApp.port": port, "ServerApp.port_retries": 0, "ServerApp.allow_root": True,
        "ServerApp.open_browser": False, "ServerApp.root_dir": home / "root", "IdentityProvider.token": token,
        "LabApp.expose_app_in_browser": True,
    }  # fmt: skip
    line = [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(line, env=environment, stdout=log, stderr=log, cwd=home)
    try:
        answering(f"http://127.0.0.1:{port}/api?token={token}", server, home / "log")
        made = Lab(chromium.new_page(viewport={"width": 1300, "height": 1000}), home / "root", environment)
        made.page.goto(f"http://127.0.0.1:{port}/lab?token={token}&reset")
        made.wait()
        yield made
        made.page.close()
    finally:
        server.terminate()
        server.wait(30)
