"""How long will it take? By what the machine has done so far, before anything of a point is begun."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..hardware import Accelerator
from ..names import choose
from ..roofline import Roofline
from .machines import Machine
from .points import Point, Result, ceilings
from .timing import LONG, MOST, REPEATS, REPETITION, SECONDS, promised, sets

# How many times as long as its roofline says a layer takes, until one of its kind was measured here. Large products
# and copies come close. NumPy makes several passes where the trace has one step: others took 3 to 16 times as long.
SLOWER = {"dense": 2.0, "copy": 2.0}
SLOWER_OTHERS = 10.0


@dataclass(frozen=True)
class Seen:
    """A point that was measured. promised : seconds by the roofline. slower : how many times as long it took."""

    point: Point
    promised: float
    slower: float


class Estimates:
    """Seconds that points of one device and dtype will take. found : what was measured before, of which it learns.

    Raises what a machine raises that does not have this dtype.
    """

    def __init__(self, machine: Machine, device: str, dtype: str, found: Sequence[Result]) -> None:
        self.machine = machine
        choose("dtype", dtype, machine.dtypes, f"{device} measures ")
        self.making_rate, self.roof = glance(machine, dtype)
        mine = [result for result in found if (result.point.device, result.point.dtype) == (device, dtype)]
        with contextlib.suppress(ValueError):  # not measured yet: what a glance says must do
            self.roof = Roofline(ceilings(device, dtype, measured=mine), dtype)
        self.seen: list[Seen] = []
        for result in mine:
            self.learn(result)

    def learn(self, result: Result) -> None:
        """What one point took says something of those that are like it."""
        if result.measurement is not None:
            expected = promised(result.measurement.steps, self.roof)
            self.seen.append(Seen(result.point, expected, result.measurement.median / expected))

    def call(self, point: Point) -> float:
        """Seconds of one call, as slow as the nearest measured point of its layer (of its stage, if there is one)."""
        expected = promised(point.steps, self.roof)
        alike = [seen for seen in self.seen if seen.point.layer == point.layer]
        if not alike:
            return expected * SLOWER.get(point.layer, SLOWER_OTHERS)

        def distance(seen: Seen) -> tuple[bool, float]:
            return seen.point.stage != point.stage, abs(math.log(seen.promised / expected))

        return expected * min(alike, key=distance).slower

    def beginning(self, point: Point) -> float:
        """Seconds until its first repetition can begin: its arrays are made, and calls warm up."""
        call = self.call(point)
        made = sets(self.machine, point.nbytes) * point.nbytes
        return made / self.making_rate + (call if call >= LONG else 3 * call)

    def least(self, point: Point) -> float:
        """Seconds after which one repetition is there."""
        return self.beginning(point) + max(self.call(point), REPETITION)

    def whole(self, point: Point, taken: Sequence[float] = ()) -> float:
        """Seconds until it is complete. taken : of the repetitions that are there already."""
        repetition = max(self.call(point), REPETITION)
        counted = max(0, REPEATS - len(taken)) * repetition
        more = min(SECONDS - sum(taken), MOST * repetition)
        return self.beginning(point) + max(counted, more)


def glance(machine: Machine, dtype: str) -> tuple[float, Roofline]:
    """How many bytes of random numbers are made in a second, and a rough roofline, after some tenths of a second."""
    began = time.perf_counter()
    X, Y = (machine.random((1024, 1024), dtype) for _ in range(2))
    making = time.perf_counter() - began
    with machine.working():
        product, copy = lambda: X @ Y, lambda: machine.copying(X, Y)
        multiplying, moving = (min(machine.clock(run, 1) for _ in range(4)) for run in (product, copy))
    rates = [2 * 1024**3 / max(multiplying, 1e-6), 2 * X.nbytes / max(moving, 1e-6)]
    seen = Accelerator("a glance", {dtype: rates[0]}, rates[1], memory=1, source="measured")  # no memory is asked for
    return 2 * X.nbytes / max(making, 1e-6), Roofline(seen, dtype)


def spelled(seconds: float) -> str:
    """A time as one says it.

    >>> spelled(0.04), spelled(9.6), spelled(12.3), spelled(400), spelled(6000)
    ('0.04 s', '9.6 s', '12 s', '7 min', '1.7 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
