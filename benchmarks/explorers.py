"""How soon does a chart follow its slider? Ours and other designs, in one JupyterLab, in the same run.

    pip install -r requirements-dev.txt bqplot ipympl     # into an environment to throw away
    python benchmarks/explorers.py

Needs Chromium: a `chromium` or `google-chrome` on the path, or `playwright install chromium`. Prints a table
for README.md in this folder. `--rounds 3` drags each design three times, in turn, so that a slow moment hurts all.

The chart is everywhere the same: seconds of a decode step of Llama 2 7B on an A100 against the batch size, both axes
logarithmic, three curves, a marker at the present batch and its numbers in the title. The designs with a kernel
compute the curves once, before the drag; only the marker is computed at each step. Ours also updates its table and
its formulas.

A drag is real input: the mouse goes down on the slider's thumb and moves 120 times, each time to the next batch size
(and back, once it is at the end). Each move waits until the one before it is painted, and a moment more, so that
nothing queues.

Slider to repaint is one clock, the page's: from the moment when the `pointermove` is handed to the page, before any
listener of the page sees it, until the frame that shows the change is painted. A change is

- in an SVG (ours, bqplot): an attribute of a mark, seen by a MutationObserver;
- in an image (interact): the new `<img>` is loaded and decoded;
- in a canvas (ipympl): the new image is drawn on the canvas that one sees.

After it we wait for `requestAnimationFrame` and then for a message that this callback posts to itself: it arrives
when style, layout and paint of the frame are done. What the compositor and the screen add is the same for all, and
not counted. Chromium runs with `--disable-frame-rate-limit --disable-gpu-vsync`: no design waits for the next
sixtieth of a second, which would round all times up to 16.7 ms. `--paced` leaves frames at 60 per second.

Each notebook is built as the pages of the course are: a sentence with a formula stands before the cells, so that
JupyterLab has loaded its MathJax before a cell runs, and another one after them, so that it need not make a new cell.

Kernel messages are all frames on the web sockets to `/api/kernels/…/channels`, both ways, from the first move until
half a second after the last; `msg_type` is read from each. Nothing is left out (pings of the protocol are no frames).

First paint: in a fresh kernel that has run `import roofline_kit as rk` and nothing else, until the live drawing is
painted, in the same sense. It is counted from two moments: from the start of the cell, when the kernel says that it is
busy with it (the date in the header of that message, of the same machine's clock), and from the key press of
Shift+Enter. A cell that shows a word of HTML tells how much of that is JupyterLab's own. The saved size is what the
output adds to the notebook's file.
"""

import argparse
import json
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import nbformat
from foundation import ENVIRONMENT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import Browser, Page, WebSocket, sync_playwright

import roofline_kit as rk

STEPS, SETTLE = 120, 0.03  # moves of a drag, and the seconds that each waits after the paint of the one before
IMPORT = "import roofline_kit as rk"

BATCHES, CONTEXTS = (control.values for control in rk.explore_batch().controls[:2])

# What the kernels of the other designs share: the curves, in milliseconds, and the present point.
DATA = f"""
import numpy as np
import roofline_kit as rk
from ipywidgets import SelectionSlider, VBox, interact

roof = rk.roofline("A100-40GB")
cost = rk.model("llama-2-7b").decode(*rk.symbols("B S")).compile("B", S=1000)
batches = {list(BATCHES)}
sweep = cost(np.array(batches))
bytes_alone, flops_alone = np.asarray(sweep.bytes) / roof.bandwidth, np.asarray(sweep.flops) / roof.peak
curves = [1e3 * seconds for seconds in (roof.time(sweep), bytes_alone, flops_alone)]
names = ["step by step", "bytes / bandwidth", "FLOPs / peak"]

def at(batch):
    return float(1e3 * roof.time(cost([batch]))[0])

def title(batch, ms):
    return f"Llama 2 7B on A100-40GB, batch {{batch}}, context 1,000: {{ms:.1f}} ms per step"

slider = SelectionSlider(options=batches, description="batch size")
"""

MATPLOTLIB = """
import matplotlib.pyplot as plt

def chart(batch):
    figure, axes = plt.subplots(figsize=(7.2, 4.2))
    for curve, name in zip(curves, names):
        axes.loglog(batches, curve, label=name)
    ms = at(batch)
    (marker,) = axes.loglog([batch], [ms], "o")
    axes.set(title=title(batch, ms), xlabel="batch size", ylabel="ms per step")
    axes.legend()
    return axes, marker
"""

INTERACT = """
%matplotlib inline
interact(lambda batch: [chart(batch), plt.show()][-1], batch=slider);
"""

IPYMPL = """
%matplotlib widget
with plt.ioff():
    axes, marker = chart(batches[0])

def follow(change):
    ms = at(change.new)
    marker.set_data([change.new], [ms])
    axes.set_title(title(change.new, ms))
    axes.figure.canvas.draw_idle()

slider.observe(follow, "value")
VBox([slider, axes.figure.canvas])
"""

BQPLOT = """
import bqplot

scales = {"x": bqplot.LogScale(), "y": bqplot.LogScale()}
marks = [bqplot.Lines(x=batches, y=curve, scales=scales, labels=[name]) for curve, name in zip(curves, names)]
marker = bqplot.Scatter(x=[batches[0]], y=[at(batches[0])], scales=scales)
axes = [
    bqplot.Axis(scale=scales["x"], label="batch size"),
    bqplot.Axis(scale=scales["y"], label="ms per step", orientation="vertical"),
]
figure = bqplot.Figure(marks=[*marks, marker], axes=axes, title=title(batches[0], at(batches[0])), animation_duration=0)
figure.layout.width, figure.layout.height = "720px", "420px"

def follow(change):
    ms = at(change.new)
    with marker.hold_sync():
        marker.x, marker.y = [change.new], [ms]
    figure.title = title(change.new, ms)

slider.observe(follow, "value")
VBox([slider, figure])
"""


@dataclass(frozen=True)
class Design:
    """A notebook with a slider and a chart.

    drawn : selects what is waited for. track : the slider, which has `stops` values.
    """

    name: str
    cells: tuple[str, ...]
    drawn: str
    track: str = ".widget-slider .noUi-base"
    thumb: int = 0  # px; a range input keeps its thumb within its ends
    stops: int = len(BATCHES)
    repaints: list[list[float]] = field(default_factory=list)  # ms, of each drag
    messages: list[Counter[str]] = field(default_factory=list)


OURS = Design(
    "ours, as stored in a notebook",
    (IMPORT, "rk.explore_batch(batch=1, context=1000)"),
    ".rk-figure svg",
    ".rk-control:nth-child(1) input",
    16,
)
CURVES = replace(
    OURS,
    name="  the same, dragging the context: all curves move",
    cells=(IMPORT, f"rk.explore_batch(batch=1, context={CONTEXTS[0]})"),
    track=".rk-control:nth-child(2) input",
    stops=len(CONTEXTS),
    repaints=[],
    messages=[],
)
TRAINING = replace(
    OURS, name="  bars of a step of training", cells=(IMPORT, "rk.explore_training()"), repaints=[], messages=[]
)
WIDGET = Design("ours, as a widget with an ipywidgets slider", (IMPORT, OURS.cells[1] + ".widget()"), OURS.drawn)
INTERACTED = Design("ipywidgets.interact, inline Matplotlib", (DATA, MATPLOTLIB, INTERACT), ".jp-OutputArea img")
OTHERS = [
    Design("bqplot", (DATA, BQPLOT), ".bqplot svg"),
    Design("ipympl, artists updated", (DATA, MATPLOTLIB, IPYMPL), ".jp-OutputArea canvas"),
]
WORD = Design("a word of HTML", (IMPORT, "from IPython.display import HTML; HTML('<b id=word>word</b>')"), "#word")
DESIGNS = [OURS, CURVES, TRAINING, WIDGET, *OTHERS, INTERACTED]

# Runs in the page before all of its own scripts. `watch` names what is drawn, `arm` starts a step, `painted` ends it.
CLOCK = """
const clock = window.clock = {
  arm() {
    this.began = null;
    this.painted = new Promise(done => { this.done = done; });
  },
  changed() {
    if (this.began == null) return;
    const began = this.began;
    this.began = undefined;
    afterPaint(() => this.done(performance.now() - began));
  },
  async watch(selector) {
    const marks = new Set(["d", "transform", "points", "cx", "cy", "x", "y"]);
    new MutationObserver(records => {
      if (records.some(r => marks.has(r.attributeName) && r.target.closest(selector))) this.changed();
    }).observe(document.body, { subtree: true, attributes: true });
    document.addEventListener("load", e => {
      if (e.target.matches(selector)) e.target.decode().then(() => this.changed());
    }, true);
    const draw = CanvasRenderingContext2D.prototype.drawImage;
    CanvasRenderingContext2D.prototype.drawImage = function (...all) {
      draw.apply(this, all);
      if (this.canvas.isConnected && this.canvas.matches(selector)) clock.changed();
    };
  },
  first(selector) {  // ms from Shift+Enter to the first paint of what is drawn, and when that was
    return new Promise(done => {
      let began = null;
      addEventListener("keydown", e => { if (e.key === "Enter") began ??= performance.now(); }, true);
      new MutationObserver((_, observer) => {
        if (!document.querySelector(selector)?.childNodes.length) return;
        observer.disconnect();
        afterPaint(() => done([performance.now() - began, performance.timeOrigin + performance.now()]));
      }).observe(document.body, { subtree: true, childList: true });
    });
  },
};
function afterPaint(call) {
  requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = call;
    port2.postMessage(null);
  });
}
addEventListener("pointermove", () => { if (clock.began === null) clock.began = performance.now(); }, true);
"""


@contextmanager
def jupyterlab() -> Iterator[tuple[str, Path]]:
    """A JupyterLab of its own, without settings of anybody: its address, and the folder of its notebooks."""
    with tempfile.TemporaryDirectory() as temporary, socket.socket() as free:
        folder = Path(temporary)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        settings = folder / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
        settings.parent.mkdir(parents=True)
        settings.write_text('{"fetchNews": "false", "checkForUpdates": false}')
        home = {"JUPYTERLAB_SETTINGS_DIR": folder / "settings", "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces"}
        home |= {"JUPYTER_CONFIG_DIR": folder / "config", "JUPYTER_RUNTIME_DIR": folder / "runtime"}
        home |= {"IPYTHONDIR": folder / "ipython"}
        environment = {**ENVIRONMENT, **{name: str(path) for name, path in home.items()}}
        options = [
            f"--port={port}",
            "--no-browser",
            "--allow-root",
            f"--notebook-dir={folder}",
            "--IdentityProvider.token=",
        ]
        command = [sys.executable, "-m", "jupyterlab", *options]
        with (
            (folder / "log").open("w") as log,
            subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server,
        ):
            try:
                address = f"http://127.0.0.1:{port}"
                for _ in range(240):
                    try:
                        urllib.request.urlopen(f"{address}/api/status").close()
                        break
                    except OSError:
                        if server.poll() is not None:
                            raise SystemExit("JupyterLab does not start:\n" + (folder / "log").read_text()) from None
                        time.sleep(0.25)
                yield address, folder
            finally:
                server.terminate()


def told(frame: str | bytes) -> tuple[str, float]:
    """The msg_type of a kernel message, and when it was made, in ms; of a status also which.

    A frame is JSON, or offsets, channel, header and more in one block of bytes.
    """
    if isinstance(frame, str):
        message = json.loads(frame)
        header, content = message["header"], message["content"]
    else:
        count = int.from_bytes(frame[:8], "little")
        offsets = [int.from_bytes(frame[8 * i : 8 * i + 8], "little") for i in range(1, count + 1)]
        header, content = (json.loads(frame[offsets[i] : offsets[i + 1]]) for i in (1, 4))
    made = datetime.fromisoformat(header["date"].replace("Z", "+00:00")).timestamp()
    return " ".join(filter(None, (header["msg_type"], content.get("execution_state")))), 1000 * made


@contextmanager
def opened(
    browser: Browser, lab: tuple[str, Path], design: Design
) -> Iterator[tuple[Page, Path, list[tuple[str, float]]]]:
    """The design's notebook in a page of its own, not run yet; all kernel messages end up in the list."""
    address, folder = lab
    path = folder / f"{time.time_ns()}.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [
        new_markdown_cell("A step takes $t$ seconds."),
        *map(new_code_cell, design.cells),
        new_markdown_cell("What now?"),
    ]
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    messages: list[tuple[str, float]] = []

    def listen(web: WebSocket) -> None:
        if "/channels" in web.url:
            for event in ("framesent", "framereceived"):
                web.on(event, lambda frame: messages.append(told(frame)))

    with browser.new_context(viewport={"width": 1400, "height": 1500}) as context:
        page = context.new_page()
        page.on("websocket", listen)
        page.add_init_script(CLOCK)
        page.goto(f"{address}/lab/tree/{path.name}?reset")
        page.locator(".jp-MarkdownCell mjx-container").first.wait_for(timeout=120_000)
        settle(page, messages)
        yield page, path, messages
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Control+s")  # and no question about unsaved changes remains
        page.request.delete(f"{address}/api/sessions/" + session(page, address, path))


def settle(page: Page, messages: list[tuple[str, float]]) -> None:
    """Wait until the kernel is there, and page and kernel have had nothing to say to each other for a second."""
    seen = 0
    while not messages or seen != len(messages):
        seen = len(messages)
        page.wait_for_timeout(1000)


def session(page: Page, address: str, path: Path) -> str:
    sessions = page.request.get(f"{address}/api/sessions").json()
    return next(one["id"] for one in sessions if one["path"] == path.name)


def run_cells(page: Page, cells: Sequence[str]) -> None:
    """Run the first cells with Shift+Enter, each when the one before has its number."""
    for i in range(len(cells)):
        cell = page.locator(".jp-Notebook .jp-CodeCell").nth(i)
        cell.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        cell.locator(".jp-InputArea-prompt", has_text=f"[{i + 1}]").wait_for(timeout=120_000)


def drag(page: Page, design: Design, messages: list[tuple[str, float]]) -> None:
    """Drag the thumb 120 stops far, to and fro; keep the times and the messages."""
    page.locator(design.drawn).first.wait_for(timeout=60_000)
    settle(page, messages)
    page.evaluate("selector => clock.watch(selector)", design.drawn)
    box = page.locator(design.track).first.bounding_box()
    assert box is not None
    y, room = box["y"] + box["height"] / 2, box["width"] - design.thumb
    stops = [box["x"] + design.thumb / 2 + room * i / (design.stops - 1) for i in range(design.stops)]
    around = [*stops, *stops[-2:0:-1]]
    page.mouse.move(around[0], y)
    page.mouse.down()
    settle(page, messages)
    times, before = [], len(messages)
    for i in range(1, STEPS + 1):
        page.evaluate("clock.arm()")
        page.mouse.move(around[i % len(around)], y)
        times.append(page.evaluate("clock.painted"))
        page.wait_for_timeout(1000 * SETTLE)
    page.wait_for_timeout(500)
    design.messages.append(Counter(what for what, _ in messages[before:]))
    design.repaints.append(times)
    page.mouse.up()


def first_paint(browser: Browser, lab: tuple[str, Path], design: Design, runs: int) -> list[tuple[float, float]]:
    """Milliseconds to the first paint, from the start of the cell and from Shift+Enter.

    Each in a fresh kernel that has run the cells before the last alone.
    """
    times = []
    for _ in range(runs):
        with opened(browser, lab, design) as (page, _path, messages):
            run_cells(page, design.cells[:-1])
            page.locator(".jp-CodeCell .cm-content").last.click()
            settle(page, messages)
            before = len(messages)
            page.evaluate("selector => { window.first = clock.first(selector); }", design.drawn)
            page.keyboard.press("Shift+Enter")
            pressed, painted = page.evaluate("window.first")
            began = next(when for what, when in messages[before:] if what == "status busy")
            times.append((painted - began, pressed))
    return times


def saved(page: Page, path: Path) -> float:
    """How many kB the outputs add to the file that JupyterLab saves."""
    page.locator(".jp-CodeCell .cm-content").first.click()
    before = path.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    while path.stat().st_mtime_ns == before:
        page.wait_for_timeout(100)
    page.wait_for_timeout(500)
    full = path.stat().st_size
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        cell["outputs"] = []
    return (full - len((json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode())) / 1000


def javascript() -> tuple[float, float]:
    """The kB of JavaScript in the stored output, and in the widget: formulas, words and front end."""
    explorer = rk.explore_batch()
    scripts = re.findall("<script>(.*?)</script>", explorer.html, re.DOTALL)
    return tuple(len(text.encode()) / 1000 for text in ("".join(scripts), explorer.module))


def spread(times: list[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    return statistics.median(times), statistics.quantiles(times, n=20, method="inclusive")[-1]


def chromium() -> dict[str, object]:
    """A browser of the system where there is one; otherwise Playwright takes its own."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return {"executable_path": found} if found else {}


def main() -> None:
    parser = argparse.ArgumentParser(description="How soon does a chart follow its slider? Ours and other designs.")
    parser.add_argument("--rounds", type=int, default=3, help="drags of each design, in turn (3)")
    parser.add_argument("--paced", action="store_true", help="leave frames at 60 per second")
    given = parser.parse_args()
    free = [] if given.paced else ["--disable-frame-rate-limit", "--disable-gpu-vsync"]

    with jupyterlab() as lab, sync_playwright() as playwright:
        browser = playwright.chromium.launch(args=free, **chromium())
        for _ in range(given.rounds):
            for design in DESIGNS:
                with opened(browser, lab, design) as (page, path, messages):
                    run_cells(page, design.cells)
                    drag(page, design, messages)
                    if design is OURS:
                        size = saved(page, path)
        painted, bars, alone = (first_paint(browser, lab, design, 7) for design in (OURS, TRAINING, WORD))
        used = browser.version
        browser.close()

    packages = {"JupyterLab": "jupyterlab", "ipywidgets": "ipywidgets", "anywidget": "anywidget", "bqplot": "bqplot"}
    packages |= {"ipympl": "ipympl", "Matplotlib": "matplotlib"}
    versions = ", ".join(f"{name} {version(package)}" for name, package in packages.items())
    print(f"Python {platform.python_version()}, Chromium {used}, {versions}, {platform.machine()}\n")

    print("| slider to repaint | median | p95 | kernel messages in a drag | bar |\n| --- | ---: | ---: | ---: | ---: |")
    medians = {}
    for design in DESIGNS:
        median, p95 = (statistics.median(column) for column in zip(*map(spread, design.repaints), strict=True))
        medians[design.name] = median
        most = max(messages.total() for messages in design.messages)
        bar = "≤ 8.3 ms, ≤ 16.7 ms, 0" if design is OURS else ""
        print(f"| {design.name} | {median:.1f} ms | {p95:.1f} ms | {most:,} | {bar} |")
    faster = medians[INTERACTED.name] / medians[OURS.name]
    print(f"|   interact / ours | {faster:.0f} | | | ≥ 50 |\n")

    script, module = javascript()
    print("| what | measured | bar |\n| --- | ---: | ---: |")
    print(f"| an explorer in a saved notebook | {size:.0f} kB | ≤ 150 kB |")
    print(f"| its JavaScript (as a widget) | {script:.0f} kB ({module:.0f} kB) | ≤ 300 kB |")
    starts = "start of the cell", "Shift+Enter"
    times = (zip(*each, strict=True) for each in (painted, bars, alone))
    for start, ours, training, word, bar in zip(starts, *times, ("< 300 ms", ""), strict=True):
        print(f"| {start} to first paint, fresh kernel | {statistics.median(ours):.0f} ms | {bar} |")
        print(f"|   (fastest, slowest of {len(ours)}) | {min(ours):.0f} ms, {max(ours):.0f} ms | |")
        print(f"|   (of the bars of training) | {statistics.median(training):.0f} ms | {bar} |")
        print(f"|   (of a word of HTML) | {statistics.median(word):.0f} ms | |")


if __name__ == "__main__":
    main()
