"""What a student can know before handing in: which answers the grader will find, and what the visible checks say."""

from __future__ import annotations

import ast
import logging
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

from ..alone import environment
from . import submission
from .assignment import KEY, Answer, AssignmentError, fingerprint
from .matching import Cell
from .source import bound

__all__ = ["AssignmentError", "looked_at"]


@dataclass(frozen=True)
class _Released:
    """What a released notebook says of itself: as much of an assignment as reading a submission needs.

    order : the cells that the grader runs, and what those that are no answers are known by; older releases do not say.
    without : packages that answers do without.
    """

    name: str
    answers: dict[str, Answer]
    frame: dict[str, str]
    visible: dict[str, str]
    submitted: tuple[str, ...]
    order: dict[str, str]
    without: tuple[str, ...]


def looked_at(path: Path) -> tuple[list[str], bool]:
    """Lines to read, and whether all answers are there and run.

    Runs the answer cells and the notebook's own cells, from top to bottom in a fresh kernel, and no cell that the
    student added, as the grader does. And as there, nothing else that lies beside the notebook is there: neither a
    module nor a setting of somebody else's, and of data what belongs to the submission.

    Raises AssignmentError if this is no released notebook, and OSError if there is no such file.
    """
    content, cells = _content(path)
    released = _released(path, content, cells)
    found = submission.read(path, released)
    steps = _steps(cells, found, released)
    changed = [*_changed(steps, released)]
    lines = [f"! {note}" for note in [*filter(None, [found.refused]), *found.notes, *changed]]
    open_ = [name for name, answer in released.answers.items() if _unanswered(found, name, answer)]
    errors = {name: why for name, source in found.answers.items() if (why := _asks(source, released.without))}
    ran = _run(steps, path, released.submitted)
    errors |= {step.name: "not run, since a cell before it ended Python" for step in steps[len(ran) :] if step.name}
    for step, outputs in zip(steps, ran, strict=False):
        failed = next((output for output in outputs if output.output_type == "error"), None)
        if step.role:
            lines += _shown(outputs)
            lines += [f"! cell {step.number}, which is no answer: {_why(failed, cells, steps)}"] if failed else []
        elif failed and step.name and step.name not in open_:
            errors.setdefault(step.name, _why(failed, cells, steps))
    for name, answer in released.answers.items():
        fine = "found" if answer.prose else "found, and it runs"
        state = "not answered yet" if name in open_ else errors.get(name, fine)
        lines.append(f"{'✓' if name not in open_ and name not in errors else '✗'} {name}: {state}")
    if any(error.startswith(("NameError", "ModuleNotFoundError")) for error in errors.values()):
        lines.append("Only answer cells are handed to the grader: what an answer needs must stand in an answer cell.")
    good = not (errors or open_ or found.refused or found.notes or found.readings or changed)
    ready = "Ready to hand in: all answers are there and run. Whether they are right is not known here."
    lines.append(ready if good else "Not ready yet.")
    return lines, good


def _content(path: Path) -> tuple[Any, list[Cell]]:
    if path.stat().st_size > submission.LARGEST:
        raise AssignmentError(f"{path}: more than {submission.LARGEST // submission.MB} MB cannot be handed in")
    try:
        content = submission.content_of(path.read_bytes())
        return content, submission.cells_of(content)
    except submission.Unreadable as error:
        raise AssignmentError(f"{path} is not a notebook that was released as an assignment: {error}") from None


def _released(path: Path, content: Any, cells: Sequence[Cell]) -> _Released:
    try:
        told = content["metadata"][KEY]
        answers = {of["name"]: Answer(of["name"], of["cell"], "", of["stub"], of["prose"]) for of in told["answers"]}
        name, submitted = str(told["assignment"]), tuple(map(str, told.get("submitted", ())))
        without = tuple(map(str, told.get("without", ())))
        order = {str(id_): str(known) for id_, known in told.get("order", ())}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise AssignmentError(f"{path} is not a notebook that was released as an assignment, or is damaged") from None
    code = [cell for cell in cells if cell.kind == "code"]
    frame = {cell.id or "": cell.source for cell in code if cell.role == "frame"}
    visible = {cell.id or "": cell.source for cell in code if cell.role == "visible"}
    return _Released(name, answers, frame, visible, submitted, order, without)


def _changed(steps: Sequence[Cell], released: _Released) -> Iterator[str]:
    """What is not as it was released, of the cells that the grader runs."""
    order, ran = released.order, [step for step in steps if step.role != "visible"]
    for cell in ran:
        if (known := order.get(cell.id or "")) and fingerprint(cell.source) != known:
            yield f"cell {cell.number} is not as it was released: the grader runs the released one"
    if order and [cell.id for cell in ran] != [*order]:
        yield "a cell is missing, or stands elsewhere: the grader runs all that were released, in their order"


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


def _steps(cells: Sequence[Cell], found: submission.Submission, released: _Released) -> list[Cell]:
    """The cells that are run, with the ids that they were released with, and what is run in their place."""
    steps, left = [], dict(found.answers)
    own = {answer.cell: name for name, answer in released.answers.items()}
    for cell in cells:
        name = own.get(cell.id or "", cell.name) or ""
        if name in left:
            steps.append(Cell(released.answers[name].cell, "code", name, left.pop(name), cell.number))
        elif cell.kind == "code" and cell.role == "frame" and (cell.id in released.order or not released.order):
            steps.append(Cell(cell.id, "code", None, cell.source, cell.number, "frame"))
        elif cell.kind == "code" and cell.role == "visible":
            steps.append(Cell(cell.id, "code", None, ALOOF.format(cell.source), cell.number, "visible"))
    return steps


def _shown(outputs: Sequence[Any]) -> Iterator[str]:
    """What a cell prints, as lines."""
    for output in outputs:
        if output.output_type == "stream":
            yield from output.text.rstrip().splitlines()
        elif "text/plain" in output.get("data", {}):
            yield from str(output.data["text/plain"]).splitlines()


def _why(failed: Any, cells: Sequence[Cell], steps: Sequence[Cell]) -> str:
    """An error in words. Of a name that is not defined, which cell has it that is not run, or not for answers."""
    if failed.ename == "KeyboardInterrupt":
        return f"still at it after {PATIENCE} s"
    name = re.match(r"name '(\w+)' is not defined", failed.evalue) if failed.ename == "NameError" else None
    ran = {step.number for step in steps if step.role != "visible"}
    for cell in reversed(cells) if name else ():
        if cell.number not in ran and cell.kind == "code" and name and name[1] in bound(cell.source):
            return f"NameError: {name[1]} is not defined for the grader, which does not run cell {cell.number}"
    return f"{failed.ename}: {failed.evalue}".removeprefix(": ")


QUIET = logging.Logger("quiet", logging.CRITICAL + 1)  # what takes too long is said in our words


class _Manager(AsyncKernelManager):
    """Starts the Python that runs this, whatever kernels are installed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **settings)


def _run(steps: Sequence[Cell], path: Path, submitted: tuple[str, ...]) -> list[list[Any]]:
    """The outputs of each step that began: none begins after one that ends Python."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(step.source) for step in steps])
    begun: list[Any] = []
    beside = [file for file in path.resolve().parent.iterdir() if file.is_file() and not file.is_symlink()]
    with tempfile.TemporaryDirectory() as home, submission.brought(beside, submitted) as files:
        client = NotebookClient(
            notebook, kernel_manager_class=_Manager, allow_errors=True, timeout=PATIENCE, interrupt_on_timeout=True,
            resources={"metadata": {"path": str(files or home)}}, extra_arguments=["--log-level=ERROR"], log=QUIET,
            on_cell_start=lambda cell, cell_index: begun.append(cell),
        )  # fmt: skip
        own = {**environment(str(path.resolve().parent)), "IPYTHONDIR": str(Path(home, "ipython"))}
        try:  # what the kernel says beside its messages is not about the notebook: warnings of its parts
            client.execute(env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except DeadKernelError:
            begun[-1].outputs = [nbformat.v4.new_output("error", ename="", evalue="it ended Python", traceback=[])]
    return [cell.outputs for cell in begun]
