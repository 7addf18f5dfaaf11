"""Run notebooks from top to bottom and store what they show, so that a second run changes no byte.

    python scripts/execute_notebooks.py [NOTEBOOK ...]

Without arguments, all of notebooks/. A notebook with a cell that fails is left as it was.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError

# What a reader needs; a version of Python or of a kernel would differ from machine to machine.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# What editors leave in cells. Tags and what a cell shows or hides stay.
NOISE = ("ExecuteTime", "colab", "collapsed", "execution", "id", "outputId", "scrolled", "trusted", "vscode")


def execute(path: Path) -> None:
    """Run the notebook at `path` in its own folder and a fresh kernel, and write it back."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        for key in NOISE:
            cell.metadata.pop(key, None)
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
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    for path in [Path(name) for name in sys.argv[1:]] or sorted(Path("notebooks").glob("*.ipynb")):
        print(path, flush=True)
        execute(path)
