"""nbval, with a stranger's answers in the instructor's notebook, a kernel behind walls, and a judge.

nbval's collector and cell runner do here what they do for a lesson: a file becomes cells, a cell is run, and what it
shows is compared. What differs is where the cells come from (`Graded.collect`), where they run (`Graded.setup`), how
the end of a cell is found (`Walled`), and what is compared (`GradedCell.compare_outputs`). Nothing of this is a plugin
that pytest's command could load: it would read settings and import modules that lie beside a submission.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from queue import Empty
from typing import Any

import nbval.plugin
import pytest
from nbformat import from_dict
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile

from . import cells, judge
from .assignment import Assignment, CellToRun
from .limits import Limits
from .sandbox import Kernel, Ran, Stopped

UNUSED = (  # of what pytest brings
    "assertion", "cacheprovider", "capture", "debugging", "doctest", "faulthandler", "junitxml", "legacypath",
    "logging", "monkeypatch", "pastebin", "python", "recwarn", "reports", "setuponly", "setupplan", "stepwise",
    "subtests", "threadexception", "tmpdir", "unittest", "unraisableexception",
)  # fmt: skip
Reports = Mapping[str, Mapping[str, Any]]


@dataclass
class Outcome:
    """What became of a check. share : of its points, from 0 to 1. reason : "", or why it is not all of them.

    A reason is "values", "error", "time", "died", "output", or "files" where the student's files allow no answer.
    """

    share: float = 0.0
    reason: str = ""
    report: Any = None


@dataclass(frozen=True)
class Did:
    """What a cell did. reason : "", or why it was ended. raised : its exception, in words that may be a student's."""

    cell: CellToRun
    reason: str
    raised: str


@dataclass
class Run:
    """One submission in one run of the grader: what goes in, and what comes out.

    cells : what to run. seed : for what is drawn. expected : what the instructor's answers report at the same seed, or
    None to ask what these cells report. files : a folder that the submission brought along. outcomes : of the checks.
    errors : why answers failed: a reason, or one of Python's exceptions; which of them, a student chose. did : what
    each cell did, in order. failed : why there was no kernel, if this machine is to blame.
    """

    assignment: Assignment
    cells: list[CellToRun]
    seed: str
    walls: str
    limits: Limits
    expected: Reports | None = None
    files: Path | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    did: list[Did] = field(default_factory=list)
    failed: Exception | None = None
    seconds: float = 0.0


class Walled(RunningKernel):  # type: ignore[misc]
    """A kernel as nbval's runner knows it. A cell has ended, or was ended, before its first message is handed out."""

    def __init__(self, run: Run) -> None:  # nbval's own would start a kernel without walls
        self.run, self.ran, self.restarts = run, Ran(), 0
        self.answers = {cell.source for cell in run.cells if cell.kind == "answer"}
        self.spent: list[str] = []  # the sources that a fresh kernel has to run again
        self.start(run.limits.notebook)

    def start(self, seconds: float) -> None:
        """Starts a kernel. One that does not start at all leaves a dead one, and every cell says so.

        Where nothing of a student's has run yet, or a disk is full, that is no student's doing.
        """
        self.kernel: Kernel | None = None
        try:
            run, given = self.run, self.run.assignment
            self.kernel = Kernel(run.walls, run.limits, run.files, seconds, given.without, given.at_hand)
        except Stopped as stopped:
            self.ran = Ran(reason=stopped.reason)
            if not self.restarts:
                self.run.failed = RuntimeError(f"no kernel starts ({stopped.reason})")
        except Exception as error:  # ZeroMQ and the system have errors of their own
            self.ran, self.run.failed = Ran(reason="died"), error

    def execute_cell_input(self, cell_input: str, allow_stdin: bool | None = None) -> str:
        """Runs a cell to its end. If that takes the kernel with it, the next cell gets a fresh one, without it."""
        if self.kernel is not None:
            self.ran = self.kernel.run(cell_input)
            if self.kernel.alive:
                self.spent.append(cell_input)
            else:
                if self.spent and cell_input not in self.answers and self.spent[-1] in self.answers:
                    del self.spent[-1]  # no check ends a kernel by itself
                self.again()
        else:  # what it said before it ended was said in another cell
            self.ran = Ran(reason=self.ran.reason or "died")
        self.waiting = list(self.ran.messages)
        return "asked"

    def again(self) -> None:
        """A fresh kernel with what was there before: one answer that dies takes no other answer with it."""
        ran = self.ran
        while self.kernel is not None and (left := self.kernel.left) > 1 and self.restarts < 3:
            self.restarts += 1
            self.start(left)
            last = None
            for number, source in enumerate(self.spent if self.kernel else ()):
                last = number if source in self.answers else last
                self.kernel.run(source)
                if not self.kernel.alive:
                    break
            else:
                break
            if last is None:
                break
            del self.spent[last]  # an answer can end a kernel some time after it was run
        self.ran = ran
        if self.kernel is not None and not self.kernel.alive:
            self.kernel = None

    def await_reply(self, msg_id: str, timeout: float | None = None) -> None:
        """Nothing is left to wait for."""

    def get_message(self, stream: str, timeout: float | None = None) -> dict[str, Any]:
        """The messages of the cell, and at last that it is idle, whatever the kernel said of itself."""
        if stream != "iopub":
            raise Empty
        if self.waiting:
            return {**self.waiting.pop(0), "parent_header": {"msg_id": "asked"}}
        return {"msg_type": "status", "parent_header": {"msg_id": "asked"}, "content": {"execution_state": "idle"}}

    def is_alive(self) -> bool:
        """Yes: nbval gives up on all cells that follow a dead one, and we do not."""
        return True

    def interrupt(self) -> None:
        """Done by then, see `Kernel.run`."""

    def stop(self) -> None:
        """Ends the kernel."""
        if self.kernel is not None:
            self.kernel.stop()


class Graded(IPyNbFile):  # type: ignore[misc]
    """A submission. nbval would collect the cells of its file; these are the instructor's, with its answers."""

    run: Run

    @classmethod
    def of(cls, run: Run, parent: pytest.Collector, path: Path) -> Graded:
        """What pytest collects of a file, whatever stands in it."""
        node: Graded = cls.from_parent(parent, path=path)
        node.run = run
        return node

    def collect(self) -> Iterator[GradedCell]:
        """A test for each cell that is run."""
        self.nb = None
        for number, to_run in enumerate(self.run.cells):
            kept = {"cell_type": "code", "execution_count": number, "metadata": {}, "outputs": []}
            cell = from_dict({**kept, "source": to_run.source})
            if to_run.kind in ("check", "given"):
                seed = f"{self.run.seed}/{number}"
                begin = f"__import__('roofline_kit.grading.cells', fromlist=['begin']).begin({seed!r})"  # binds no name
                cell.source = f"{begin}\n{cell.source}"
            # No marker in a stranger's source is looked for: what is checked is said here.
            options = defaultdict(bool, check=to_run.kind == "check", check_exception=True)
            name = f"{to_run.kind} {to_run.name}".strip()
            node = GradedCell.from_parent(self, name=name, cell_num=number, cell=cell, options=options)
            node.to_run = to_run
            yield node

    def setup(self) -> None:
        """A kernel behind walls, for this submission alone."""
        self.kernel = Walled(self.run)

    def teardown(self) -> None:
        """Nothing of the submission goes on."""
        self.kernel.stop()


class GradedCell(IPyNbCell):  # type: ignore[misc]
    """A cell of the instructor's notebook, or an answer in it."""

    to_run: CellToRun

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it stands, for pytest's reports."""
        return self.path, 0, self.name

    def runtest(self) -> None:
        """As nbval runs a cell. An answer that fails is no failed test: its checks say what that costs."""
        try:
            super().runtest()
        finally:  # nbval raises where a check gets no full points
            run, ran = self.parent.run, self.parent.kernel.ran
            error = next((out for out in self.test_outputs or () if out.output_type == "error"), None)
            run.did.append(Did(self.to_run, ran.reason, f"{error.ename}: {error.evalue}" if error else ""))
        if self.to_run.kind == "answer" and (reason := ran.reason or (_error(error) if error else "")):
            run.errors[self.to_run.name] = reason

    def compare_outputs(self, test: Any, ref: Any, skip_compare: Any = None) -> bool:
        """Judges what the check reported. Other outputs do not matter: a print or a warning costs nothing."""
        run, ran = self.parent.run, self.parent.kernel.ran
        check = run.assignment.checks[self.to_run.name]
        reports = [out.data[cells.MIME] for out in test if isinstance(out.get("data"), dict) and cells.MIME in out.data]
        outcome = run.outcomes[check.name] = Outcome(report=reports[0] if reports else None)
        if run.expected is None:
            outcome.share = float(bool(reports))
        elif reports and check.name in run.expected:
            outcome.share = judge.share(reports[0], run.expected[check.name], check.tolerance)
        if outcome.share < 1:
            broken = [run.errors[name] for name in check.of if name in run.errors]
            failed = any(out.output_type == "error" for out in test) or judge.failed(outcome.report)
            known = [reason for reason in (ran.reason, *broken) if reason in ("time", "died", "output")]
            outcome.reason = known[0] if known else "error" if broken or failed else "values"
            if run.expected is not None and check.name not in run.expected:
                outcome.reason = "files"
        self.comparison_traceback = [f"{outcome.share:.0%} of {check.points} points: {outcome.reason}"]
        return outcome.share == 1

    def repr_failure(self, excinfo: Any) -> str:
        """One line: neither the check's source nor an expected value belongs in a report."""
        told = getattr(excinfo.value, "inner_traceback", None)
        return str(told) if told else super().repr_failure(excinfo)


def _error(out: Any) -> str:
    """The kind of an exception, if it is one of Python's. A class of a student's own can be called anything."""
    import builtins

    name = str(out.get("ename", ""))
    kind = getattr(builtins, name, None)
    ours = isinstance(kind, type) and issubclass(kind, BaseException)
    return name if ours else "an exception of its own kind"


def execute(run: Run) -> None:
    """Has pytest run the cells of one submission, and leaves what became of it in `run`.

    Raises what kept this machine from starting a kernel for it: OSError on a full disk, for example.
    """
    began, session = time.monotonic(), kept_session()
    cells = [*Graded.of(run, session, Path("/submission.ipynb")).collect()]  # a name: no file of a stranger's is opened
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        session.config.hook.pytest_runtest_protocol(item=cell, nextitem=following)
    if run.failed:
        raise run.failed
    run.seconds = time.monotonic() - began


class _Kept:
    """Registered to keep a session of pytest that has collected nothing."""

    session: pytest.Session | None = None

    def pytest_collection(self, session: pytest.Session) -> bool:
        """Nothing is to be looked for."""
        self.session = session
        return True


@contextlib.contextmanager
def _unset(*names: str) -> Iterator[None]:
    """Takes variables out of the environment for a while."""
    were = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(were)


@cache
def kept_session() -> pytest.Session:
    """A session of pytest, begun once in a process: its start takes longer than all that it does for a submission.

    It knows of no folder, so it finds no conftest.py or setting of anybody, and of nothing that tests in Python need.
    It keeps no reports. Options and plugins that the environment has for pytest are for somebody's tests.
    """
    without = [f"-pno:{name}" for name in UNUSED]
    place = ["-c", os.devnull, "--noconftest", "--rootdir", "/", "--confcutdir", "/", "--disable-plugin-autoload", "/"]
    kept = _Kept()
    with contextlib.redirect_stdout(io.StringIO()) as said, _unset("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        code = pytest.main([*without, *place], plugins=[nbval.plugin, kept])
    if kept.session is None:
        raise RuntimeError(f"pytest ended with {code!r}: {said.getvalue()[-2000:]}")
    plugins = kept.session.config.pluginmanager
    plugins.unregister(plugins.get_plugin("terminalreporter"))
    return kept.session
