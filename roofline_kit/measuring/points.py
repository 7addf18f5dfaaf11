"""What is measured? The points of the lecture's sweeps, and the ceilings of the machine itself."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from .. import ops
from ..cost import Cost, trace
from ..hardware import Accelerator
from ..names import choose
from ..ops import exp, softmax
from ..tensor import RESOURCES, Tensor, fuse, matmul
from ..transformer import attention, linear
from .machines import DEVICES, DTYPES, Machine, check_memory, machine_for
from .timing import REPEATS, SECONDS, Call, Measurement, counted, made, timed

# The steps of attention as they are traced, and the passes over the scores that softmax makes where nothing fuses it.
STEPS: dict[str, Callable[..., Any]] = {
    "scores": lambda Q, K: Q @ K.mT,
    "softmax": softmax,
    "mix": matmul,
    "max": lambda S: ops.max(S, keepdims=True),
    "subtract": lambda S, largest: S - largest,
    "exp": exp,
    "sum": lambda E: ops.sum(E, keepdims=True),
    "divide": lambda E, total: E / total,
}
LAYERS = ("dense", "attention", "fused attention", *STEPS, "copy")
STAGES = ("initial", "auto-regressive")
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Point:
    """One measurement of a sweep.

    layer : "dense", a product with weights of h × h; "attention", step by step; "fused attention"; one of attention's
        steps or of softmax's passes alone, as in `STEPS`; or "copy".
    stage : "initial", all tokens of all prompts, or "auto-regressive", one new token for each user of the batch.
    batch : users. tokens : of a prompt, or of the context. h : width, cut into `heads`. A copy is of h numbers.
    device : "numpy", or PyTorch's "cpu" or "cuda".

    Raises ValueError for unknown names and for sizes that are no positive integers.

    >>> Point("dense", "auto-regressive", batch=8).name
    'dense auto-regressive, 8 users, h = 4096, fp32'
    """

    layer: str
    stage: str = "initial"
    batch: int = 1
    tokens: int = 1
    h: int = 4096
    heads: int = 32
    dtype: str = "fp32"
    device: str = "numpy"

    def __post_init__(self) -> None:
        for what, known in (("layer", LAYERS), ("stage", STAGES), ("dtype", DTYPES), ("device", DEVICES)):
            object.__setattr__(self, what, choose(what, getattr(self, what), known))
        for what in ("batch", "tokens", "h", "heads"):
            if type(value := getattr(self, what)) is not int or value < 1:
                raise ValueError(f"{what} is {value!r}; it must be a positive integer")
        if self.h % self.heads:
            raise ValueError(f"h = {self.h} does not divide into {self.heads} heads")

    @property
    def name(self) -> str:
        """What it is, in words."""
        if self.layer == "copy":
            return f"copy of {self.h} numbers, {self.dtype}"
        tokens = "" if self.layer == "dense" and self.stage != "initial" else f" of {self.tokens} tokens"
        return (
            f"{self.layer} {self.stage}, {self.batch} user{'s' * (self.batch > 1)}{tokens}, h = {self.h}, {self.dtype}"
        )

    @property
    def file(self) -> str:
        """The name of its file."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.replace(" =", "")) + ".json"

    @property
    def long_file(self) -> str:
        """The name of its file where a point of the same name is there, for 8 heads, say, or of another device."""
        return self.file.replace(".json", f"-{self.tokens}-tokens-{self.heads}-heads-{self.device}.json")

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the arrays that it takes."""
        if self.layer == "copy":
            return (self.h,), (self.h,)
        rows = self.tokens if self.stage == "initial" else 1
        if self.layer == "dense":
            return (self.batch * rows, self.h), (self.h, self.h)
        head = self.h // self.heads
        context = (self.batch, self.heads, self.tokens, head)
        queries, scores = (self.batch, self.heads, rows, head), (self.batch, self.heads, rows, self.tokens)
        column = (*scores[:-1], 1)
        alone: Any = {"scores": (queries, context), "mix": (scores, context)}
        alone |= {"subtract": (scores, column), "divide": (scores, column)}
        return alone.get(self.layer, (scores,) if self.layer in STEPS else (queries, context, context))

    @property
    def nbytes(self) -> int:
        """Of the arrays that it takes."""
        return int(Tensor("x", (1,), self.dtype).nbytes) * sum(math.prod(shape) for shape in self.shapes)

    @property
    def f(self) -> Any:
        """The algorithm, in array notation; None for a copy, which computes nothing."""
        return {"dense": linear, "attention": attention, "fused attention": fuse(attention), **STEPS}.get(self.layer)

    @property
    def cost(self) -> Cost | None:
        """As traced; None for a copy."""
        return _cost(self)

    @property
    def steps(self) -> tuple[Mapping[str, int], ...]:
        """The amounts of each step by resource. A copy computes nothing."""
        copying = dict.fromkeys(RESOURCES, 0) | {"memory": self.nbytes}
        return (copying,) if self.cost is None else counted(self.cost)

    def threads(self, machine: Machine) -> str:
        """How many threads of the processor it may use, in words; nothing on a GPU."""
        if not machine.threads:
            return ""
        if self.layer in ("dense", "scores", "mix", "copy") or machine.passes == machine.threads:
            return str(machine.threads)
        if self.layer in STEPS:
            return str(machine.passes)
        return f"{machine.threads} in products, {machine.passes} in passes"

    def measure(self, repeats: int = REPEATS, seconds: float = SECONDS) -> Measurement:
        """Measures it. Raises what `measure` raises."""
        machine = machine_for(self.device)
        return self.measurement(machine, timed(self.call(machine), repeats, seconds))

    def call(self, machine: Machine) -> Call:
        """Makes the arrays, and is ready to be timed. Raises what `measure` raises, before memory is taken."""
        choose("dtype", self.dtype, machine.dtypes, f"{self.device} measures ")
        cost = self.cost
        written = sum(int(step.stores) for step in cost.steps) if cost else 0
        check_memory(machine, self.nbytes + written, "this point")
        arrays = [machine.random(shape, self.dtype) for shape in self.shapes]
        if cost:
            check_memory(machine, made(cost), "what the call makes")
        if self.layer == "fused attention":
            return Call(machine, machine.fused_attention, arrays, machine.fused)
        return Call(machine, machine.copying if self.layer == "copy" else self.f, arrays, machine.working)

    def measurement(self, machine: Machine, seconds: Sequence[float]) -> Measurement:
        """What the seconds of its repetitions say."""
        return Measurement(self.layer, machine.title, self.dtype, self.shapes, tuple(seconds), self.steps)


@cache
def _cost(point: Point) -> Cost | None:
    """Traced once, because estimates ask for it again and again."""
    if point.f is None:
        return None
    return trace(point.f, *(Tensor(f"x{i}", shape, point.dtype) for i, shape in enumerate(point.shapes)))


def sweep(
    device: str = "numpy", dtype: str = "fp32", layers: Iterable[str] = LAYERS[:3], stages: Iterable[str] = STAGES,
    tokens: Iterable[int] = (50, 1000), batches: Iterable[int] = BATCHES, h: int = 4096,
    heads: int = 32,
) -> list[Point]:  # fmt: skip
    """The points of the lecture's batch sweeps, after those that measure the ceilings.

    layers : of `LAYERS`, the copy excepted. A dense layer in the auto-regressive stage has one token a user whatever
    the context, so it is there once. Fused attention is left out where the device has none. Raises what `Point` raises.

    >>> len(sweep(tokens=[50], batches=[1, 8], layers=["dense"]))
    7
    """
    batches = list(batches)
    how: Any = {"h": h, "heads": heads, "dtype": dtype, "device": device}
    points = ceiling_points(device, dtype)
    for layer in (choose("layer", layer, LAYERS[:-1]) for layer in layers):
        if layer == "fused attention" and device == "numpy":
            continue
        for stage in stages:
            once = layer == "dense" and stage != "initial"
            points += [Point(layer, stage, b, s, **how) for s in ([1] if once else tokens) for b in batches]
    return list(dict.fromkeys(points))


def ceiling_points(device: str = "numpy", dtype: str = "fp32") -> list[Point]:
    """Large square products, and a large copy: what the machine can do at best."""
    largest = 8192 if device == "cuda" else 4096
    count = (2**30 if device == "cuda" else 2**28) // int(Tensor("x", (1,), dtype).nbytes)
    products = [Point("dense", tokens=n, h=n, heads=1, dtype=dtype, device=device) for n in (largest // 2, largest)]
    return [*products, Point("copy", h=count, heads=1, dtype=dtype, device=device)]


def ceilings(device: str = "numpy", dtype: str = "fp32", name: str = "", measured: Any = None) -> Accelerator:
    """The measured peak and bandwidth of the machine at hand, as an `Accelerator` to make a `Roofline` of.

    name : a short one for pictures. measured : results to take it from, in place of measuring now.

    The peak is the fastest repetition of large square products, the bandwidth that of a large copy, read and written in
    as many threads. (A file says how many there were: those of older versions have a copy in one thread.)
    A processor fetches a line of memory before it writes it, so a program that mostly reads can be faster than a copy.

    Raises ValueError for unknown names and where `measured` has no such points, and what `measure` raises.

    >>> [point.name for point in ceiling_points()][1:]
    ['dense initial, 1 user of 4096 tokens, h = 4096, fp32', 'copy of 67108864 numbers, fp32']
    """
    points = ceiling_points(device, dtype)
    if measured is None:
        taken = [point.measure() for point in points]
    else:
        found = {result.point: result.measurement for result in measured if result.complete}
        if missing := [point.name for point in points if point not in found]:
            raise ValueError(f"these measurements have no {missing[0]!r}, which the ceilings are made of")
        taken = [found[point] for point in points]
    *products, copy = taken
    peak = max(product.flops / min(product.seconds) for product in products)
    memory = max(1, min(machine_for(device).memory, 1 << 50)) if measured is None else copy.bytes
    return Accelerator(
        name or copy.device, {dtype: round(peak)}, round(copy.bytes / min(copy.seconds)), memory, "measured"
    )  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What became of a point. machine : versions, the date, the job.

    measurement : with all its repetitions, or, where `unfinished` says so, with those that it has so far. left_out :
    why the machine cannot do it. unfinished : why it is not measured yet; a run that has the time goes on with it.
    """

    point: Point
    measurement: Measurement | None
    machine: dict[str, Any]
    left_out: str = ""
    unfinished: str = ""

    @property
    def complete(self) -> bool:
        """Whether it is measured, with all its repetitions."""
        return self.measurement is not None and not self.unfinished

    @property
    def partial(self) -> bool:
        """Whether it has some of its repetitions."""
        return self.measurement is not None and bool(self.unfinished)
