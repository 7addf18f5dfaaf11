"""Run notebooks from top to bottom and store what they show, so that a second run changes no byte.

    python scripts/execute_notebooks.py [--keep-outputs] [NOTEBOOK ...]

Without arguments, all of notebooks/. A notebook with a cell that fails is left as it was. With --keep-outputs nothing
is run: only what surrounds the cells is stored anew.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError

# What JupyterLab writes into a notebook that is opened, so that opening one changes nothing; but for Python's version,
# which differs from machine to machine: see roofline_lab.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}
# What a widget shows while its kernel runs: it has an id that changes. Without it, what is stored is its picture.
LIVE = "application/vnd.jupyter.widget-view+json"
# What editors leave in cells. Tags and what a cell shows or hides stay.
NOISE = ("ExecuteTime", "colab", "collapsed", "execution", "id", "outputId", "scrolled", "trusted", "vscode")


def tidied(path: Path) -> Any:
    """The notebook at `path`, with what surrounds its cells as it is stored."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        for key in NOISE:
            cell.metadata.pop(key, None)
    return notebook


def write(notebook: Any, path: Path) -> None:
    """Write a notebook byte for byte as JupyterLab does."""
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")


def execute(notebook: Any, path: Path) -> None:
    """Run a notebook in the folder of `path` and a fresh kernel."""
    for cell in notebook.cells:
        if cell.cell_type == "code":  # an empty one is not run, and would keep what it once showed
            cell.update(outputs=[], execution_count=None)
    # No kernel folders: what is left is ipykernel's own kernel, which is the Python that runs this.
    kernel = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=600,
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    with client.setup_kernel(cleanup_kc=True):
        for index, cell in enumerate(notebook.cells):
            try:
                client.execute_cell(cell, index)
            except (CellControlSignal, DeadKernelError) as error:
                sys.exit(f"{path}: cell {index + 1} (id {cell.id}) failed\n{error}")
            for output in cell.get("outputs", ()):
                output.get("data", {}).pop(LIVE, None)


if __name__ == "__main__":
    named = [Path(name) for name in sys.argv[1:] if name != "--keep-outputs"]
    for path in named or sorted(Path("notebooks").glob("*.ipynb")):
        print(path, flush=True)
        notebook = tidied(path)
        if "--keep-outputs" not in sys.argv:
            execute(notebook, path)
        write(notebook, path)
