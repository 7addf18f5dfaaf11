"""What is measured next, and does it fit into the time? A run goes on where the last one was stopped."""

from __future__ import annotations

import math
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

from ..names import shown
from .estimates import Estimates, spelled
from .machines import Machine, machine_for
from .points import Point, Result
from .stopping import Stop, stopping
from .store import look_up, results, room, set_aside, store
from .timing import REPEATS, Call, enough

JOB = {"job": "SLURM_JOB_ID", "task": "SLURM_ARRAY_TASK_ID", "partition": "SLURM_JOB_PARTITION"}
SAVING = 5.0  # seconds after which repetitions are written while others are taken, for whom a run just ends


def tell(text: str) -> None:
    """Says it on stderr at once, whether that is a terminal or a file."""
    print(text, end="", file=sys.stderr, flush=True)


def measure_one(point: Point, folder: Path | str, most_seconds: float = 20) -> bool:
    """Measures a point, as `measure_all` does. Returns whether it was completed now."""
    return bool(measure_all([point], folder, most_seconds))


def measure_all(
    points: Sequence[Point], folder: Path | str, most_seconds: float = 20, seconds: float = math.inf,
    say: Callable[[str], object] = tell,
) -> int:  # fmt: skip
    """Measures the points that are missing in a folder, and returns how many were completed now.

    most_seconds : points whose call takes longer are left out. seconds : that this run may take; what does not fit is
    not begun, or stopped after some repetitions. say : where lines of progress go.

    A point's repetitions are kept in its file when it is stopped, marked as unfinished, and the next run goes on with
    them first. A run that hears SIGINT or SIGTERM keeps at least one repetition before it ends. A point that does not
    fit into memory, that the device cannot do, or whose call takes too long, is left out, with the reason, and tried
    again by the next run, after all others. A damaged file is set aside.

    Raises ValueError for a time that is not positive, `Stopped` after a signal, and OSError where a file cannot be
    written (what was measured before is kept).
    """
    for what, given in (("the time for a run", seconds), ("the most that a call may take", most_seconds)):
        if not isinstance(given, Real) or not given > 0:
            raise ValueError(f"{what} is {shown(given)}; it must be a positive number of seconds")
    with stopping() as stop:
        run = Run(Path(folder), most_seconds, time.monotonic() + seconds, stop, say)
        return run.measure(run.missing(points))


class TooLong(Exception):
    """A call takes longer than somebody wants to wait."""


class Run:
    """One go at a sweep. deadline : of the monotonic clock."""

    def __init__(
        self, folder: Path, most_seconds: float, deadline: float, stop: Stop, say: Callable[[str], object]
    ) -> None:
        self.folder, self.most_seconds, self.deadline = folder, most_seconds, deadline
        self.stop, self.say = stop, say
        self.machines: dict[str, Machine] = {}
        self.abouts: dict[str, dict[str, Any]] = {}
        self.estimates: dict[tuple[str, str], Estimates] = {}

    def missing(self, points: Sequence[Point]) -> dict[Point, Result | None]:
        """The points that are not complete: those that were begun first, and those that were left out last."""
        found = {point: look_up(self.folder, point) for point in points}
        todo = [point for point, before in found.items() if before is None or not before.complete]
        return {point: found[point] for point in sorted(todo, key=lambda point: _turn(found[point]))}

    def measure(self, todo: dict[Point, Result | None]) -> int:
        """Takes one point after the other, with a line for each. Returns how many were completed."""
        completed, waiting = 0, dict(todo)
        if todo:
            self.say(f"{len(todo)} point{'s' * (len(todo) > 1)} to measure, about {spelled(self.remaining(waiting))}\n")
        for number, (point, before) in enumerate(todo.items(), 1):
            needed = self.remaining({point: waiting.pop(point)})
            self.say(f"{number} of {len(todo)}: {point.name}, about {spelled(needed)}: ")
            began = time.monotonic()
            try:
                result = self.take(point, before)
            except BaseException:
                self.say("stopped\n")
                raise
            remain = f"; about {spelled(self.remaining(waiting))} remain" if waiting else ""
            self.say(f"{_outcome(result, time.monotonic() - began)}{remain}\n")
            completed += result.complete
        return completed

    def remaining(self, todo: dict[Point, Result | None]) -> float:
        """Seconds that these points will take, by what is known now."""
        return sum(self.estimate(point).whole(point, _taken(before)) for point, before in todo.items())

    def take(self, point: Point, before: Result | None) -> Result:
        """Measures one point as far as the time allows, and writes its file."""
        taken = self.continued(point, before)
        result = self.refused(point, before, taken)
        if result is None:
            with room(self.folder, point):
                result = self.repeated(point, taken)
        self.keep(result)
        self.estimate(point).learn(result)
        return result

    def continued(self, point: Point, before: Result | None) -> list[float]:
        """The seconds of the repetitions that are there, if they are this machine's; else they are set aside."""
        taken = _taken(before)
        if before is not None and taken:
            now = self.about(point)
            if any(before.machine.get(key) != now[key] for key in now.keys() - {"date", *JOB}):
                set_aside(self.folder, point, ".elsewhere")
                return []
        return taken

    def refused(self, point: Point, before: Result | None, taken: list[float]) -> Result | None:
        """A point that takes too long, or that does not fit into what is left of the time; None for all others."""
        estimate = self.estimate(point)
        if not taken and (call := estimate.call(point)) > self.most_seconds:
            why = f"a call takes about {spelled(call)}, and more than {self.most_seconds:g} s is too long"
            return Result(point, None, self.about(point), left_out=why)
        left, needed = max(0.0, self.deadline - time.monotonic()), estimate.least(point)
        if needed <= left:
            return None
        if before is not None and before.left_out:
            return before
        why = f"not begun for lack of time: it needs about {spelled(needed)} at least, and {spelled(left)} were left"
        if not taken:
            return Result(point, None, self.about(point), unfinished=why)
        so_far = self.result(point, taken)
        return replace(so_far, unfinished=f"{so_far.unfinished}; {why}")

    def repeated(self, point: Point, taken: list[float]) -> Result:
        """Takes repetitions until there are enough, or no more time."""
        try:
            call = point.call(self.machine(point.device))
            first = call.warm_up()
            if not taken and first > self.most_seconds:
                raise TooLong(f"a call took {spelled(first)}, and more than {self.most_seconds:g} s is too long")
            self.repeat(call, point, taken)
        except (MemoryError, NotImplementedError, TooLong) as error:
            if not taken:
                why = str(error) or "there is not enough memory"
                return Result(point, None, self.about(point), left_out=why)
        except (KeyboardInterrupt, SystemExit):
            if taken:
                self.keep(self.result(point, taken))
            raise
        return self.result(point, taken)

    def repeat(self, call: Call, point: Point, taken: list[float]) -> None:
        """One repetition at least, whatever the time: what was begun must get on. Adds to `taken`."""
        begun, saved = len(taken), time.monotonic()
        while not enough(taken):
            now = time.monotonic()
            if len(taken) > begun and now + taken[-1] > self.deadline:
                return
            if now - saved > SAVING:
                self.keep(self.result(point, taken))
                saved = now
            taken.append(call.repeat())
            self.stop.gain()

    def result(self, point: Point, taken: list[float]) -> Result:
        """What these repetitions are, complete or not."""
        of = f" of {REPEATS}" if len(taken) < REPEATS else ""
        unfinished = "" if enough(taken) else f"stopped after {len(taken)}{of} repetitions"
        measurement = point.measurement(self.machine(point.device), taken)
        return Result(point, measurement, self.about(point), unfinished=unfinished)

    def keep(self, result: Result) -> None:
        """Writes it, and lets no signal come between."""
        with self.stop.held():
            store(self.folder, result)

    def machine(self, device: str) -> Machine:
        """The machine of a device, asked for once."""
        if device not in self.machines:
            self.machines[device] = machine_for(device)
        return self.machines[device]

    def about(self, point: Point) -> dict[str, Any]:
        """What a file says of the machine: its name, the threads of this point, versions, the date, the job."""
        device = point.device
        machine = self.machine(device)
        if device not in self.abouts:
            system = {"system": platform.system(), "python": platform.python_version()}
            date = {"date": time.strftime("%Y-%m-%d", time.gmtime())}
            job = {key: os.environ[name] for key, name in JOB.items() if name in os.environ}
            self.abouts[device] = {"device": machine.title, **system, **machine.about, **date, **job}
        threads = point.threads(machine)
        return self.abouts[device] | ({"threads": threads} if threads else {})

    def estimate(self, point: Point) -> Estimates:
        """What is known of how long points like this one take."""
        kind = point.device, point.dtype
        if kind not in self.estimates:
            self.estimates[kind] = Estimates(self.machine(point.device), *kind, results(self.folder)[0])
        return self.estimates[kind]


def _taken(before: Result | None) -> list[float]:
    """The seconds of the repetitions that a point has already."""
    return list(before.measurement.seconds) if before is not None and before.measurement is not None else []


def _turn(before: Result | None) -> int:
    """When a point is measured: what was begun comes first, and what was left out last."""
    if before is None or before.measurement is None:
        return 2 if before is not None and before.left_out else 1
    return 0


def _outcome(result: Result, took: float) -> str:
    """What became of a point, in words."""
    if result.measurement is None or result.unfinished:
        return result.unfinished or f"left out: {result.left_out}"
    return f"{len(result.measurement.seconds)} repetitions in {spelled(took)}"
