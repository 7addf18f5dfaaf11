"""How long does one call take? The algorithm that is counted, timed on the machine that its arrays are on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ..cost import Cost, trace
from ..names import check_function
from ..roofline import Roofline
from ..tensor import Tensor
from .machines import DTYPES, Machine, check_memory, machine_of

REPEATS, SECONDS = 7, 0.5  # so many repetitions at least, and as many more as fit into this time
MOST = 200  # repetitions
REPETITION = 1e-4  # seconds that one takes at least, as several calls: no clock ticks in nanoseconds
LONG = 1.0  # seconds: one call that takes as long is warm-up enough


@dataclass(frozen=True)
class Measurement:
    """What was measured. seconds : of each repetition. steps : the amounts of each step by resource, as traced.

    >>> steps = ({"compute": 256, "memory": 320},)
    >>> taken = Measurement("linear", "a laptop", "fp32", ((8, 4), (4, 4)), (3e-9, 1e-9, 2e-9), steps)
    >>> taken.median, taken.intensity, f"{taken.rate:.3g} FLOP/s"
    (2e-09, 0.8, '1.28e+11 FLOP/s')
    """

    name: str
    device: str
    dtype: str
    shapes: tuple[tuple[int, ...], ...]
    seconds: tuple[float, ...]
    steps: tuple[Mapping[str, int], ...]

    @property
    def median(self) -> float:
        """Seconds of the repetition in the middle."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half of the repetitions lie within this share of the median: (third - first quartile) / median."""
        first, _, third = statistics.quantiles(self.seconds, n=4)
        return (third - first) / self.median

    @property
    def flops(self) -> int:
        """FLOPs of one call."""
        return sum(step["compute"] for step in self.steps)

    @property
    def bytes(self) -> int:
        """Bytes that one call reads and writes, each array of each step once."""
        return sum(step["memory"] for step in self.steps)

    @property
    def intensity(self) -> float:
        """FLOPs per byte."""
        return self.flops / self.bytes

    @property
    def rate(self) -> float:
        """FLOP/s that were achieved, by the median."""
        return self.flops / self.median

    def predicted(self, roof: Roofline) -> float:
        """Seconds by a roofline: the sum over steps of the largest amount / rate, as `Roofline.time`."""
        return promised(self.steps, roof)

    def share(self, roof: Roofline) -> float:
        """Predicted over measured seconds: 1 is on the roof, less is below it.

        A GPU's datasheet is found by the name that its driver gives it: `rk.roofline(taken.device, taken.dtype)`.
        """
        return self.predicted(roof) / self.median

    def __repr__(self) -> str:
        return f"{self.name} on {self.device}: {self.median:.3g} s, {self.rate:.3g} FLOP/s, {self.dtype}"


def promised(steps: Sequence[Mapping[str, int]], roof: Roofline) -> float:
    """Seconds of one call by a roofline. steps : the amounts of each, of all that the roofline looks at."""
    return sum(max(step[name] / rate for name, rate in roof.rates.items()) for step in steps)


def measure(f: Callable[..., Any], *arrays: Any, repeats: int = REPEATS, seconds: float = SECONDS) -> Measurement:
    """Times `f(*arrays)` on the machine that the arrays are on, and counts it by a trace.

    f : an algorithm in array notation, as for `trace`. arrays : all NumPy arrays, or all PyTorch tensors on one device.
    repeats : of the timing, at least; as many more as fit into `seconds`.

    Two calls warm up, or one that takes longer than a second. On a GPU its own events are the clock. Where the arrays
    would fit into a cache, calls take turns with copies of them, because a layer of a model finds its weights in
    memory, too.

    Raises TypeError for what is no function or no array, ValueError for a dtype that the kit has no name for,
    MemoryError where a call does not fit, and RuntimeError if the clock went backwards.

    >>> import numpy as np
    >>> from roofline_kit import linear
    >>> X = np.ones((64, 128), np.float32)
    >>> measure(linear, X, X.T, repeats=3, seconds=0).flops == 2 * 64 * 128 * 64
    True
    """
    check_function("measure(f, x)", f)
    machine = machine_of(arrays)
    dtypes = {str(x.dtype).removeprefix("torch.") for x in arrays}
    names = {title: name for name, title in DTYPES.items()}
    if len(dtypes) != 1 or not dtypes <= set(names):
        raise ValueError(
            f"measure needs arrays of one dtype out of {', '.join(names)}, not {', '.join(sorted(dtypes))}"
        )
    dtype, shapes = names[dtypes.pop()], tuple(tuple(x.shape) for x in arrays)
    cost = trace(f, *(Tensor(f"x{i}", shape, dtype) for i, shape in enumerate(shapes)))
    if not cost.steps:
        raise ValueError(f"{cost.name} has no step: views alone take no time")
    check_memory(machine, made(cost), "what the call makes")
    times = timed(Call(machine, f, arrays, machine.working), repeats, seconds)
    return Measurement(cost.name, machine.title, dtype, shapes, times, counted(cost))


class BackwardsClock(RuntimeError):
    """A clock that says that a call took no time, or less."""

    def __init__(self, taken: float) -> None:
        super().__init__(f"the clock went backwards: a call took {taken:g} s")


class Call:
    """A call that is ready to be timed, with copies of its arrays where these would fit into a cache.

    during : where it runs, `machine.working` or `machine.fused`.
    """

    def __init__(
        self, machine: Machine, f: Callable[..., Any], arrays: Sequence[Any],
        during: Callable[[], AbstractContextManager[None]],
    ) -> None:  # fmt: skip
        self.machine, self.f, self.during = machine, f, during
        size = sum(x.nbytes for x in arrays)
        with during():
            self.sets = [arrays, *([machine.copy(x) for x in arrays] for _ in range(sets(machine, size) - 1))]
        self.turn = 0
        self.calls = 1  # that make a repetition

    def run(self) -> None:
        """Calls it once, on the arrays whose turn it is."""
        self.f(*self.sets[self.turn % len(self.sets)])
        self.turn += 1

    def warm_up(self) -> float:
        """Seconds of one call, after two that do not count; a long one is not called again. Raises `BackwardsClock`."""
        with self.during():
            first = self.machine.clock(self.run, 1)
            if 0 <= first < LONG:
                self.machine.clock(self.run, 1)
                first = self.machine.clock(self.run, 1)
        if first < 0:
            raise BackwardsClock(first)
        self.calls = min(1000, math.ceil(REPETITION / first)) if first > 0 else 1000
        return first

    def repeat(self) -> float:
        """Seconds of one call, as the mean of a repetition. Raises `BackwardsClock`."""
        with self.during():
            taken = self.machine.clock(self.run, self.calls)
        if not taken > 0:
            raise BackwardsClock(taken)
        return taken


def sets(machine: Machine, size: int) -> int:
    """How many sets of arrays take turns, so that none is found in a cache. size : bytes of one."""
    if size == 0:
        return 1
    fit = max(1, machine.memory // (4 * size))
    return max(1, min(math.ceil(4 * machine.cache / size), fit, 64))


def timed(call: Call, repeats: int, seconds: float) -> tuple[float, ...]:
    """Warms up, and takes repetitions until there are enough."""
    call.warm_up()
    taken: list[float] = []
    while not enough(taken, repeats, seconds):
        taken.append(call.repeat())
    return tuple(taken)


def enough(taken: Sequence[float], repeats: int = REPEATS, seconds: float = SECONDS) -> bool:
    """Whether these repetitions are at least so many, and either took so many seconds together or are very many."""
    together = sum(max(one, REPETITION) for one in taken)
    return len(taken) >= max(3, repeats) and (together >= seconds or len(taken) >= MOST)


def counted(cost: Cost) -> tuple[Mapping[str, int], ...]:
    """The amounts of each step by resource, as whole numbers."""
    return tuple({name: int(amount) for name, amount in step.amounts.items()} for step in cost.steps)


def made(cost: Cost) -> int:
    """Bytes that a call makes on its way: what all steps write, and once more the largest, for softmax's sake."""
    stores = [int(step.stores) for step in cost.steps]
    return sum(stores) + max(stores)
