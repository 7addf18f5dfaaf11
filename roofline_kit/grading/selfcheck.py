"""What a student can know before handing in: which answers the grader will find, and what the visible checks say."""

from __future__ import annotations

import ast
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from ..alone import environment
from . import submission
from .assignment import KEY, Answer, AssignmentError

__all__ = ["AssignmentError", "looked_at"]


@dataclass(frozen=True)
class _Released:
    """What a released notebook says of itself: as much of an assignment as reading a submission needs."""

    answers: dict[str, Answer]
    submitted: tuple[str, ...]
    without: tuple[str, ...]


def looked_at(path: Path) -> tuple[list[str], bool]:
    """Lines to read, and whether all answers are there and run.

    Runs the answer cells and the notebook's own cells, from top to bottom in a fresh kernel, and no cell that the
    student added, as the grader does. And as there, nothing else that lies beside the notebook is there: neither a
    module nor a setting of somebody else's, and of data what belongs to the submission.

    Raises AssignmentError if this is no released notebook, and OSError if there is no such file.
    """
    released, content = _released(path)
    found = submission.read(path, released)  # type: ignore[arg-type]
    lines = [f"! {note}" for note in found.notes]
    open_ = [name for name, answer in released.answers.items() if _unanswered(found, name, answer)]
    cells, names = _cells(content, found)
    errors = {name: why for name, source in found.answers.items() if (why := _asks(source, released.without))}
    for name, outputs in zip(names, _run(cells, path, released.submitted), strict=True):
        for output in outputs:
            if output.output_type == "error" and name not in open_:
                slow = output.ename == "KeyboardInterrupt"
                errors.setdefault(
                    name, f"still at it after {PATIENCE} s" if slow else f"{output.ename}: {output.evalue}"
                )
            elif not name and output.output_type == "stream":
                lines += output.text.rstrip().splitlines()
            elif not name and "text/plain" in output.get("data", {}):
                lines += str(output.data["text/plain"]).splitlines()
    for name, answer in released.answers.items():
        state = (
            "not answered yet" if name in open_ else errors.get(name, "found" if answer.prose else "found, and it runs")
        )
        lines.append(f"{'✓' if name not in open_ and name not in errors else '✗'} {name}: {state}")
    if any(error.startswith(("NameError", "ModuleNotFoundError")) for error in errors.values()):
        lines.append("Only answer cells are handed to the grader: what an answer needs must stand in an answer cell.")
    good = not errors and not open_ and not found.refused
    ready = "Ready to hand in: all answers are there and run. Whether they are right is not known here."
    lines.append(ready if good else "Not ready yet.")
    return lines, good


def _released(path: Path) -> tuple[_Released, Any]:
    if path.stat().st_size > submission.LARGEST:
        raise AssignmentError(f"{path}: more than {submission.LARGEST // submission.MB} MB cannot be handed in")
    try:
        content = json.loads(path.read_text("utf-8"))
        told = content["metadata"][KEY]
        answers = {of["name"]: Answer(of["name"], of["cell"], "", of["stub"], of["prose"]) for of in told["answers"]}
        submitted = tuple(map(str, told.get("submitted", ())))
        without = tuple(map(str, told.get("without", ())))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise AssignmentError(f"{path} is not a notebook that was released as an assignment, or is damaged") from None
    return _Released(answers, submitted, without), content


def _asks(source: str, without: tuple[str, ...]) -> str:
    """Says that an answer imports what it is to do without; "" if it does not, as far as its import statements say."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:
        return ""
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    asked = [name for name in names if name.split(".")[0] in without]
    return f"imports {asked[0]}, which is not installed where it is graded" if asked else ""


def _unanswered(found: submission.Submission, name: str, answer: Answer) -> bool:
    source = (found.prose if answer.prose else found.answers).get(name, "")
    return source.strip() in ("", answer.stub.strip())


# What visible cells define is for visible cells only: the grader does not run them.
ALOOF = """
_own = set(globals())
globals().update(globals().get("_theirs", {{}}))
try:
    get_ipython().run_cell({!r}).raise_error()
finally:
    _theirs = {{name: value for name, value in globals().items() if name not in _own and name[0] != "_"}}
    for _name in _theirs:
        del globals()[_name]
"""
PATIENCE = 60  # seconds for a cell, as long as students wait


def _cells(content: Any, found: submission.Submission) -> tuple[list[str], list[str]]:
    """The sources to run, and the name of the answer that each is, or ""."""
    sources, names = [], []
    left = dict(found.answers)
    for cell in nbformat.from_dict(content).cells:
        grading = cell.get("metadata", {}).get(KEY, {})
        if cell.get("cell_type") == "code" and ("frame" in grading or "visible" in grading):
            source = "".join(cell.source)
            sources.append(source if "frame" in grading else ALOOF.format(source))
            names.append("")
        elif (name := grading.get("answer")) in left:
            sources.append(left.pop(name))
            names.append(name)
    return sources, names


class _Manager(AsyncKernelManager):
    """Starts the Python that runs this, whatever kernels are installed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **settings)


def _run(sources: list[str], path: Path, submitted: tuple[str, ...]) -> list[list[Any]]:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    beside = [file for file in path.resolve().parent.iterdir() if file.is_file() and not file.is_symlink()]
    with tempfile.TemporaryDirectory() as home, submission.brought(beside, submitted) as files:
        client = NotebookClient(
            notebook, kernel_manager_class=_Manager, allow_errors=True, timeout=PATIENCE, interrupt_on_timeout=True,
            resources={"metadata": {"path": str(files or home)}}, extra_arguments=["--log-level=ERROR"],
        )  # fmt: skip
        client.execute(env={**environment(str(path.resolve().parent)), "IPYTHONDIR": str(Path(home, "ipython"))})
    return [cell.outputs for cell in notebook.cells]
