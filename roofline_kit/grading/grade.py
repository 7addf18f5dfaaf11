"""Many submissions: one after the other or side by side, with results that nothing loses.

A result is one file per student, written whole or not at all. A second run of the grader grades what has no result
for this file, this assignment and this version of the grader, and keeps the rest.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import hashlib
import json
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ..files import write
from . import judge, matching, sandbox, submission
from .assignment import Assignment, AssignmentError, Check
from .handed_in import Entry, fingerprint, name_of
from .runner import Outcome, Reports, Run, execute
from .sandbox import walls
from .shown import keep_apart
from .submission import Submission

VERSION = 3  # to be raised when the same submission would be graded differently


@dataclass(frozen=True)
class Session:
    """One run of the grader: the points that it draws, and what the instructor's answers report there.

    walls : what submissions run behind. seed : for what is drawn. expected : by check, once that is known.
    """

    assignment: Assignment
    walls: str
    seed: str
    expected: Reports | None = None

    def solved(self) -> Session:
        """This session, with what is right. Raises AssignmentError if the instructor's own answers report nothing."""
        reports = self.reported(self.assignment.files)
        for name in self.assignment.checks:
            if name not in reports:
                raise AssignmentError(
                    f"{self.assignment.path}: check {name!r} fails, or reports nothing, for the instructor's answers"
                )
        return replace(self, expected=reports)

    def reported(self, files: Path | None) -> dict[str, Any]:
        """What the instructor's answers report in those checks that work: files may be missing, or be anything.

        Raises TimeoutError if they take too long, on a busy machine for example: nothing is known of the files then.
        """
        run = self.run_of(None, files)
        execute(run)
        outcomes = {name: run.outcomes.get(name, Outcome(reason="died")) for name in self.assignment.checks}
        reasons = run.errors | {name: outcome.reason for name, outcome in outcomes.items() if outcome.reason}
        if late := [name for name, reason in reasons.items() if reason == "time"]:
            raise TimeoutError(f"{self.assignment.path}: the instructor's own answers take too long, at {late[0]!r}")
        broken = {name for name, check in self.assignment.checks.items() if run.errors.keys() & set(check.of)}
        return {
            name: outcome.report
            for name, outcome in outcomes.items()
            if isinstance(outcome.report, dict) and name not in broken and not judge.failed(outcome.report)
        }

    def run_of(self, answers: Mapping[str, str] | None, files: Path | None = None) -> Run:
        """What is to be done with some answers; with None, the instructor's."""
        cells, expected = self.assignment.to_run(answers), None if answers is None else self.expected
        return Run(self.assignment, cells, self.seed, self.walls, self.assignment.limits, expected, files)


def begun(assignment: Assignment, unsafe: bool = False) -> Session:
    """A new session, which draws what no session before it drew.

    Raises NoSandbox where there are no walls, and ValueError where what they hide lies among what they show.
    """
    folder = assignment.path.parent
    keep_apart({"the assignment is": folder, "the course's tests are": folder.parent.parent / "tests"})
    return Session(assignment, walls(unsafe), secrets.token_hex(16))


def grade(entry: Entry, session: Session, spent: float = 0, last: bool = True) -> dict[str, Any]:
    """The result of one submission: points by check with reasons, notes for a person, and what it depends on.

    All ways to read it take no longer than one and a half times what a notebook may. spent : seconds that an attempt
    before this one took. last : whether this one counts though it ran out of time.
    """
    began, most = time.monotonic() - spent, session.assignment.limits.notebook
    with opened(entry, session) as (given, session, files):
        run = session.run_of(given.answers, files)
        if not given.refused:
            run.limits = replace(run.limits, notebook=min(most, max(1.5 * most - spent, 0.5 * most)))
            execute(run)
        result = result_of(entry, given, run)
        late = any(check["reason"] == "time" for check in result["checks"])
        for name, answers in given.readings.items() if last or not late else ():
            left = began + 1.5 * most - time.monotonic()
            if left < most / 10:
                result["notes"].append("there was no time to grade all ways to read it")
                break
            other = session.run_of(answers, files)
            other.limits = replace(other.limits, notebook=min(most, left))
            execute(other)
            result["readings"][name] = _points(other)
    return {**result, "seconds": round(time.monotonic() - began, 2)}


@contextlib.contextmanager
def opened(entry: Entry, session: Session) -> Iterator[tuple[Submission, Session, Path | None]]:
    """What is taken from a submission, the session in which it is judged, and a folder with the files it brought."""
    given = Submission(refused=entry.refused, name=entry.path.name)
    if not entry.refused:
        given = submission.read(entry.path, session.assignment, entry.others)
    with submission.brought(entry.files, session.assignment.settings.get("submitted", ())) as files:
        if files and not given.refused:
            session = replace(session, expected=session.reported(files))  # its own files decide what is right
            unknown = [name for name in session.assignment.checks if name not in (session.expected or ())]
            told = [f"{name}: the files that it is about are missing, or not what they must be" for name in unknown]
            given = replace(given, notes=[*given.notes, *told])
        yield given, session, files


def _points(run: Run) -> float:
    checks = run.assignment.checks.values()
    return round(
        sum(check.points * run.outcomes[check.name].share for check in checks if check.name in run.outcomes), 4
    )


def result_of(entry: Entry, given: Submission, run: Run) -> dict[str, Any]:
    """The result of a run: points by check with reasons, and what else is kept of it.

    What students are shown of it are points, reasons of a few kinds, and words that stood in their file before it ran.
    """
    answers = run.assignment.answers
    prose = {name: answer.points for name, answer in answers.items() if answer.prose}
    return {
        "student": entry.student, "assignment": run.assignment.name, "version": run.assignment.digest,
        "key": key(entry, run.assignment),
        "file": {"name": given.name or entry.path.name, "sha256": given.digest, "bytes": given.size},
        "refused": given.refused, "seen": given.notes, "notes": [*entry.notes, *given.notes], "readings": {},
        "points": _points(run) if not given.refused else 0.0, "of": run.assignment.points,
        "checks": [_of_check(check, given, run) for check in run.assignment.checks.values()],
        "prose": [{"name": name, "of": points, "text": given.prose.get(name, "")} for name, points in prose.items()],
        "answers": {name: given.answers.get(name, "") for name in answers if name not in prose},
        "errors": run.errors, "seconds": 0.0,
    }  # fmt: skip


def _of_check(check: Check, given: Submission, run: Run) -> dict[str, Any]:
    """A check's part of a result."""
    outcome = run.outcomes.get(check.name, Outcome(reason="refused" if given.refused else "died"))
    right, answers = outcome.share == 1, run.assignment.answers
    sources = {name: given.answers.get(name, "").strip() for name in check.of}
    open_ = [name for name, source in sources.items() if source in ("", answers[name].stub.strip())]
    if open_ and not right and not given.refused:
        outcome.reason = "missing"
    told = [
        sentence for name in check.of if not right and not answers[name].prose
        for sentence in matching.told(name, given.answers, given.needs, run.assignment)
    ]  # fmt: skip
    return {
        "name": check.name, "points": round(check.points * outcome.share, 4), "of": check.points,
        "reason": outcome.reason, "hint": "" if right else check.hint, "words": told,
    }  # fmt: skip


def key(entry: Entry, assignment: Assignment) -> str:
    """What a grade depends on, in one word: the files, the assignment, the kit and the rules of the grader."""
    patterns = assignment.settings.get("submitted", ())
    brought = [path for path in entry.files if submission.belongs(path, patterns)]
    files = [fingerprint(paths, submission.LARGEST) for paths in ([entry.path], entry.others, brought)]
    told = f"{VERSION} {version('roofline-kit')} {assignment.digest} {entry.refused} {files}"
    return hashlib.sha256(told.encode()).hexdigest()


LOST = ""  # the key of a result that depends on what happened to this machine
WHOLE = {
    "student", "assignment", "key", "file", "refused", "seen", "notes", "readings", "points", "of", "checks", "prose",
    "answers", "errors", "seconds",
}  # fmt: skip
CHECK = {"name", "points", "of", "reason", "hint", "words"}


def stored(results: Path) -> dict[str, dict[str, Any]]:
    """All results of a folder, by student. One that cannot be read is none, and is graded again."""
    found = {}
    for path in sorted((results / "results").glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            result = json.loads(path.read_text("utf-8"))
            whole = result.keys() >= WHOLE and all(check.keys() >= CHECK for check in result["checks"])
            if whole and path.stem == name_of(result["student"]):  # and no copy of one
                found[result["student"]] = result
    return found


# --- many -------------------------------------------------------------------------------------------------

Done = Callable[[dict[str, Any], bool], None]


@contextlib.contextmanager
def locked(results: Path, part: str = "") -> Iterator[None]:
    """As long as this lasts, no other grader works on these results. Raises BlockingIOError if one does."""
    results.mkdir(parents=True, exist_ok=True)
    with (results / f".lock{part.replace('/', '-of-')}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def grade_all(
    assignment: Assignment,
    given: Sequence[Entry],
    results: Path,
    jobs: int,
    done: Done,
    unsafe: bool = False,
    part: str = "",
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Grades what is not graded yet, and calls done(result, whether it is new) for each submission.

    A submission that ran out of time is graded once more, alone: a busy machine must not cost anybody points. One that
    could not be graded, or that ends the process that grades it, gets a second chance too; it is then left for a person
    and for the next run.

    part : a name for this share of the work, if other graders write to the same results at the same time. ready :
    called once its processes are there, before there is a result; who needs a thread of their own can start it then.

    Raises BlockingIOError if another grader works on the same results, and what `Session` raises.
    """
    keep_apart({"results would be": results} | {f"what {entry.student} handed in is": entry.path for entry in given})
    (results / "results").mkdir(parents=True, exist_ok=True)
    with locked(results, part), sandbox.workplace() as folder:
        for left in [] if part else (results / "results").glob(".*.json.*"):
            if left.is_file():  # what a grader that was killed began to write
                left.unlink()
        have, missing = stored(results), []
        for entry in given:
            old = have.get(entry.student)
            if old is not None and old.get("key") == key(entry, assignment):
                done(old, False)
            else:
                missing.append(entry)
        if not missing:
            return

        def keep(result: dict[str, Any]) -> None:
            write(results / "results" / f"{name_of(result['student'])}.json", json.dumps(result, indent=1))
            done(result, True)

        for result in _graded(missing, begun(assignment, unsafe), jobs, folder, ready):
            keep(result)


Attempt = tuple[Entry, float]  # and the seconds that the one before it took


def _graded(
    missing: Sequence[Entry], session: Session, jobs: int, folder: Path, ready: Callable[[], None]
) -> Iterator[dict[str, Any]]:
    """Results as they come; at last, one by one, of those that have a second chance."""
    waiting: list[Attempt] = [(entry, 0.0) for entry in reversed(missing)]
    again: list[Attempt] = []
    for last in (False, True):
        while waiting:  # a submission that ends its process ends all of them
            side_by_side = 1 if last else min(jobs, len(waiting))
            with _processes(session, side_by_side, folder) as pool:
                if session.expected is None:
                    session = replace(session, expected=_solved(session, pool, ready))
                for entry, result in _side_by_side(waiting, session.expected, pool, side_by_side, last):
                    if last:
                        yield result or _lost(entry, session, "the grader's own process ended twice")
                    elif result is None or any(check["reason"] == "time" for check in result["checks"]):
                        again.insert(0, (entry, result["seconds"] if result else 0.0))
                    else:
                        yield result
        waiting = again


@contextlib.contextmanager
def _processes(session: Session, jobs: int, folder: Path) -> Iterator[ProcessPoolExecutor]:
    """Processes that grade; none is left afterwards."""
    sandbox.retire()  # no two processes share one
    # A fork has all that was imported here, and none of the threads: where there are some, a process starts anew.
    how = "fork" if len([*Path("/proc/self/task").glob("*")]) == 1 else "spawn"
    pool = ProcessPoolExecutor(jobs, get_context(how), _start, (session, str(folder), os.getpid()))
    try:
        yield pool
    except BaseException:  # left early, by Ctrl-C: nobody waits for a submission that loops
        for process in list((pool._processes or {}).values()):
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _solved(session: Session, pool: ProcessPoolExecutor, ready: Callable[[], None]) -> Reports | None:
    """What the instructor's answers report, found by the first of the processes while the others get ready."""
    solved = pool.submit(_expected)
    ready()
    try:
        return solved.result()
    except BrokenProcessPool:
        own = f"{session.assignment.path}: the instructor's own answers end the process that runs them"
        raise AssignmentError(own) from None


def _side_by_side(
    waiting: list[Attempt], expected: Reports | None, pool: ProcessPoolExecutor, jobs: int, last: bool
) -> Iterator[tuple[Entry, dict[str, Any] | None]]:
    """Results as they come, or None for a submission that failed, or during which its process ended.

    waiting : what is to be graded, from its end; what this pool cannot do any more is left in it. last : there is no
    other attempt after it.
    """
    running: dict[Future[dict[str, Any] | None], Attempt] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:  # no more than can run: if a process ends, few are in doubt
                future = pool.submit(_grade, *waiting[-1], last, expected)
                running[future] = waiting.pop()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                entry, _ = running.pop(future)
                try:
                    yield entry, future.result()
                except BrokenProcessPool:
                    yield entry, None
    except BrokenProcessPool:  # raised by submit: nothing of this pool runs any more
        waiting += running.values()


_session: Session


def _start(session: Session, folder: str, parent: int) -> None:
    """Makes a process ready to grade: it ends with the grader, and leaves Ctrl-C to it."""
    global _session
    _session, tempfile.tempdir = session, folder
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent)
    gc.freeze()  # what this process was born with will never be garbage
    if session.walls == "bubblewrap":
        given = session.assignment
        sandbox.nursery(given.without, given.at_hand)  # while another process may run the instructor's own answers


def _expected() -> Reports | None:
    return _session.solved().expected


def _grade(entry: Entry, spent: float, last: bool, expected: Reports | None) -> dict[str, Any] | None:
    """A result; None where it failed and there is another attempt."""
    try:
        return grade(entry, replace(_session, expected=expected), spent, last)
    except Exception as error:  # whatever one submission does to the grader, the others are graded
        return _lost(entry, _session, f"the grader failed: {type(error).__name__}: {error}") if last else None


def die_with_parent(parent: int) -> None:
    """Has Linux kill this process once its parent is gone, by kill -9 for example."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def _lost(entry: Entry, session: Session, why: str) -> dict[str, Any]:
    """The result of a submission that could not be graded; a person is told, and the next run tries it again."""
    result = result_of(replace(entry, notes=(*entry.notes, why)), Submission(), session.run_of({}))
    for check in result["checks"]:
        check["reason"] = "lost"
    return {**result, "key": LOST}
