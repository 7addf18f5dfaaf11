"""How much memory does a student need on a JupyterHub? Some students in the hub of the tests, each with a browser.

    scripts/install_tools.sh                    # Chromium, and the proxy of a hub
    python benchmarks/hub.py --students 4       # where requirements-dev.txt is installed; with PyTorch, if it is there

Prints a table for README.md in this folder. PSS is what a process adds to this machine: a page of memory that several
processes share, as those of libraries are, counts for each of them with its share. RSS counts it fully, for each: that
is what a student needs alone, as in a container that shares nothing. Medians over the students, in MB (10⁶ bytes), as
Linux says.
"""

import argparse
import platform
import statistics
import sys
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import hub as hubs  # noqa: E402
from browser import executable  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from upstream import begun  # noqa: E402

from roofline_kit.grading.publish import PUBLISHED  # noqa: E402

LESSON = "08_batching"


def memory(processes: list[int]) -> tuple[float, float]:
    """PSS and RSS of processes together, in MB."""
    found = {"Pss": 0, "Rss": 0}
    for process in processes:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] += int(value.split()[0])
    return found["Pss"] * 1024 / 1e6, found["Rss"] * 1024 / 1e6


def is_kernel(process: int) -> bool:
    return b"ipykernel_launcher" in Path(f"/proc/{process}/cmdline").read_bytes()


def row(what: str, of: list[list[int]]) -> None:
    """Prints the medians of some groups of processes."""
    pss, rss = (statistics.median(values) for values in zip(*map(memory, of), strict=True))
    print(f"| {what} | {pss:,.0f} MB | {rss:,.0f} MB |", flush=True)


def main(count: int) -> None:
    names = [f"student{i}" for i in range(count)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        playwright = stack.enter_context(sync_playwright())
        hub = stack.enter_context(hubs.running(folder / "hub", begun(folder / "course", *PUBLISHED)))
        browser = playwright.chromium.launch(executable_path=executable())
        stack.callback(browser.close)

        def kernels() -> list[list[int]]:
            return [[process for process in hub.processes(name) if is_kernel(process)] for name in names]

        everything = hubs.processes(hub.folder)
        packages = ["jupyterhub", "jupyterlab", "ipykernel", "sympy", "numpy", "matplotlib"]
        packages += ["torch"] if find_spec("torch") else []
        print(
            f"Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in packages)}; ", end=""
        )
        print(f"{count} students, {platform.machine()}\n\n| what | PSS | RSS |\n| --- | ---: | ---: |")
        row("the hub and its proxy, once", [everything])
        labs = []
        for name in names:  # one after the other: a hub that starts all at once is slow, and that is not asked here
            labs.append(hub.student(browser, name))
            labs[-1].wait()
        with ExitStack() as open_notebooks:
            first = [lab.open("roofline/notebooks/00_start_here.ipynb") for lab in labs]
            for notebook in first:
                open_notebooks.enter_context(notebook)
            row("a kernel that has run nothing", kernels())
        with ExitStack() as open_notebooks:
            opened = [open_notebooks.enter_context(lab.open(f"roofline/notebooks/{LESSON}.ipynb")) for lab in labs]
            for notebook in opened:
                notebook.run_all()
            servers = [[process for process in hub.processes(name) if not is_kernel(process)] for name in names]
            row("a student's server, the lab open in a browser", servers)
            row(f"the kernel of page {LESSON[:2]} after it was run", kernels())
            row("**server and kernel: a student with one page**", [hub.processes(name) for name in names])
            if find_spec("torch"):
                for notebook in opened:
                    print(notebook.run("import torch"), end="")
                row("the same kernel after `import torch`", kernels())


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--students", type=int, default=4)
    main(arguments.parse_args().students)
