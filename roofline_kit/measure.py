"""How long does it really take? The same algorithms on arrays, timed on the machine at hand.

`measure` times one call. A `Point` is one measurement of a sweep: what, how large, on what; `take` writes it into one
JSON file the moment it is measured, so that a job that is stopped loses at most the point it was at, and a restart
does only what is missing.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from . import tensor
from .cost import Cost, trace
from .errors import choose, unknown
from .hardware import Accelerator, datasheet
from .roofline import Roofline
from .tensor import Tensor, exp, fuse, matmul, softmax
from .transformer import attention, linear

DTYPES = {"fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
DEVICES = ("numpy", "cpu", "cuda")  # the last two are PyTorch's; with ROCm, PyTorch says "cuda" as well
# The steps of attention as they are traced, and the passes over the scores that softmax makes where nothing fuses it.
STEPS: dict[str, Callable[..., Any]] = {
    "scores": lambda Q, K: Q @ K.mT,
    "softmax": softmax,
    "mix": matmul,
    "max": lambda S: tensor.max(S, keepdims=True),
    "subtract": lambda S, largest: S - largest,
    "exp": exp,
    "sum": lambda E: tensor.sum(E, keepdims=True),
    "divide": lambda E, total: E / total,
}
LAYERS = ("dense", "attention", "fused attention", *STEPS, "copy")
STAGES = ("initial", "auto-regressive")
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
UNKNOWN_CACHE = 64 << 20  # bytes, where the system does not say


# --- one call ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measurement:
    """What was measured. seconds : of each repetition. steps : (FLOPs, bytes) of each step, as traced.

    >>> taken = Measurement("linear", "a laptop", "fp32", ((8, 4), (4, 4)), (3e-9, 1e-9, 2e-9), ((256, 320),))
    >>> taken.median, taken.intensity, f"{taken.rate:.3g} FLOP/s"
    (2e-09, 0.8, '1.28e+11 FLOP/s')
    """

    name: str
    device: str
    dtype: str
    shapes: tuple[tuple[int, ...], ...]
    seconds: tuple[float, ...]
    steps: tuple[tuple[int, int], ...]

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
        return sum(flops for flops, _ in self.steps)

    @property
    def bytes(self) -> int:
        """Bytes that one call reads and writes, each array of each step once."""
        return sum(moved for _, moved in self.steps)

    @property
    def intensity(self) -> float:
        """FLOPs per byte."""
        return self.flops / self.bytes

    @property
    def rate(self) -> float:
        """FLOP/s that were achieved, by the median."""
        return self.flops / self.median

    def predicted(self, roof: Roofline) -> float:
        """Seconds by a roofline: the sum over steps of max(FLOPs / peak, bytes / bandwidth), as `Roofline.time`."""
        return sum(max(flops / roof.peak, moved / roof.bandwidth) for flops, moved in self.steps)

    def share(self, roof: Roofline) -> float:
        """Predicted over measured seconds: 1 is on the roof, less is below it.

        A GPU's datasheet is found by the name that its driver gives it: `rk.roofline(taken.device, taken.dtype)`.
        """
        return self.predicted(roof) / self.median

    def __repr__(self) -> str:
        return f"{self.name} on {self.device}: {self.median:.3g} s, {self.rate:.3g} FLOP/s, {self.dtype}"


def measure(f: Callable[..., Any], *arrays: Any, repeats: int = 7, seconds: float = 0.5) -> Measurement:
    """Times `f(*arrays)` on the machine that the arrays are on, and counts it by a trace.

    f : an algorithm in array notation, as for `trace`. arrays : all NumPy arrays, or all PyTorch tensors on one device.
    repeats : of the timing, at least; as many more as fit into `seconds`.

    Two calls warm up. On a GPU its own events are the clock. Where the arrays would fit into a cache, calls take turns
    with copies of them, because a layer of a model finds its weights in memory, too.

    Raises TypeError for what is no array, ValueError for a dtype that the kit has no name for, MemoryError where a call
    does not fit, and RuntimeError if the clock went backwards.

    >>> import numpy as np
    >>> X = np.ones((64, 128), np.float32)
    >>> measure(linear, X, X.T, repeats=3, seconds=0).flops == 2 * 64 * 128 * 64
    True
    """
    machine = _machine_of(arrays)
    dtypes = {str(x.dtype).removeprefix("torch.") for x in arrays}
    names = {title: name for name, title in DTYPES.items()}
    if len(dtypes) != 1 or not dtypes <= set(names):
        raise ValueError(
            f"measure needs arrays of one dtype out of {', '.join(names)}, not {', '.join(sorted(dtypes))}"
        )
    dtype, shapes = names[dtypes.pop()], tuple(tuple(x.shape) for x in arrays)
    cost = trace(f, *(Tensor(f"x{i}", shape, dtype) for i, shape in enumerate(shapes)))
    times = machine.times(f, list(arrays), cost, repeats, seconds)
    return Measurement(cost.name, machine.title, dtype, shapes, times, _numbers(cost))


def _numbers(cost: Cost) -> tuple[tuple[int, int], ...]:
    return tuple((int(step.flops), int(step.bytes)) for step in cost.steps)


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first processor; nothing where there is no Linux."""
    with contextlib.suppress(OSError):
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
        return dict(re.findall(r"^([^\t:]+?)\s*: (.+)$", first, re.MULTILINE))
    return {}


def _processor() -> dict[str, str]:
    """What a datasheet is found by where a virtual machine hides the processor's name.

    On x86, bogomips is twice the MHz of the time-stamp counter, which ticks at the base clock.
    """
    said = _cpuinfo()
    vectors = [flag for flag in said.get("flags", "").split() if flag in ("avx", "avx2", "fma", "avx512f")]
    kept = {name: said[name] for name in ("vendor_id", "cpu family", "model", "stepping", "bogomips") if name in said}
    return kept | ({"vectors": " ".join(vectors)} if vectors else {})


def _machine_of(arrays: Sequence[Any]) -> _NumPy:
    kinds = {type(x).__module__.split(".")[0] for x in arrays}
    if kinds == {"numpy"} and all(hasattr(x, "shape") for x in arrays):
        return _NumPy()
    if kinds == {"torch"} and len(devices := {x.device.type for x in arrays}) == 1:
        return _Torch(devices.pop())
    raise TypeError("measure needs NumPy arrays, or PyTorch tensors on one device; to count only, use rk.trace")


class _NumPy:
    """A processor, computing with NumPy. What differs with PyTorch is in `_Torch`."""

    dtypes: tuple[str, ...] = ("fp32", "fp64")  # a product in half precision would go number by number

    def __init__(self) -> None:
        import numpy

        self.library = numpy

    @cached_property
    def title(self) -> str:
        """The processor's name; the machine's own name is nobody's business."""
        name = " ".join(_cpuinfo().get("model name", "").split()) or platform.processor() or platform.machine()
        return f"{name}, {self.threads} threads"

    @property
    def threads(self) -> int:
        """How many processors this process may use."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @property
    def about(self) -> dict[str, str]:
        """Versions of what the result depends on, and which processor it was."""
        blas = self.library.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {"numpy": self.library.__version__, "blas": f"{blas['name']} {blas['version']}", **_processor()}

    @property
    def memory(self) -> int:
        """Bytes that are free."""
        with contextlib.suppress(OSError):
            if found := re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text()):
                return int(found[1]) * 1024
        return 1 << 62  # no way to ask that all systems know: the allocation itself will say

    @property
    def cache(self) -> int:
        """Bytes of the largest cache."""
        sizes = [UNKNOWN_CACHE]
        with contextlib.suppress(OSError, ValueError, KeyError):
            files = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
            units = {"K": 1 << 10, "M": 1 << 20}
            sizes = [int(text[:-1]) * units[text[-1]] for file in files if (text := file.read_text().strip())] or sizes
        return max(sizes)

    def random(self, shape: tuple[int, ...], dtype: str) -> Any:
        """An array of random numbers between 0 and 1: zeros would need less power, and clocks depend on that."""
        return self.library.random.default_rng(0).random(shape, self.library.dtype(DTYPES[dtype]))

    def copy(self, x: Any) -> Any:
        """Another array with the same numbers."""
        return x.copy()

    def copying(self, x: Any, into: Any) -> None:
        """What the measured bandwidth is that of."""
        self.library.copyto(into, x)

    def fused_attention(self, Q: Any, K: Any, V: Any) -> Any:
        """Attention that keeps its scores on the chip."""
        raise ValueError("NumPy has no fused attention; it is measured with PyTorch (device 'cpu' or 'cuda')")

    def fused(self) -> contextlib.AbstractContextManager[None]:
        """Where `fused_attention` runs, so that it is that and nothing else."""
        return contextlib.nullcontext()

    def clock(self, run: Callable[[], Any], calls: int) -> float:
        """Seconds of one call, as the mean of several."""
        began = time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - began) / calls

    def times(self, f: Any, arrays: list[Any], cost: Cost | None, repeats: int, seconds: float) -> tuple[float, ...]:
        """Seconds of each repetition. cost : of a call, to see that there is memory for what it makes."""
        if cost is not None:
            made = [int(step.stores) for step in cost.steps]
            self.check_memory(sum(made) + max(made), "what the call makes")  # softmax has one more array on the way
        size = sum(x.nbytes for x in arrays)
        sets = min(math.ceil(4 * self.cache / size), max(1, self.memory // (4 * size)), 64) if size else 1
        buffers = [arrays, *([self.copy(x) for x in arrays] for _ in range(sets - 1))]
        turn = 0

        def run() -> None:
            nonlocal turn
            f(*buffers[turn % sets])
            turn += 1

        self.clock(run, 2)
        first = self.clock(run, 1)
        calls = min(1000, math.ceil(1e-4 / first)) if first > 0 else 1000  # a clock does not tick in nanoseconds
        taken: list[float] = []
        while len(taken) < max(3, repeats) or (sum(taken) * calls < seconds and len(taken) < 200):
            taken.append(self.clock(run, calls) if first >= 0 else first)
            if not taken[-1] > 0:
                raise RuntimeError(f"the clock went backwards: a call took {taken[-1]:g} s. Nothing of it is kept")
        return tuple(taken)

    def check_memory(self, needed: int, what: str) -> None:
        """Raises MemoryError before somebody else's program is ended."""
        if needed > 0.9 * (free := self.memory):
            raise MemoryError(f"{what} needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")


class _Torch(_NumPy):
    """A processor or a GPU, computing with PyTorch. Raises ValueError where there is none.

    AMD's GPUs are "cuda" as well: a PyTorch that was built for ROCm answers to that name, and what differs is in
    `about`, `title` and `cache`.
    """

    dtypes = ("fp16", "bf16", "fp32", "fp64")

    def __init__(self, device: str) -> None:
        try:
            import torch
        except ImportError:
            raise ValueError(f"device {device!r} needs PyTorch, which is not installed: pip install torch") from None
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("PyTorch finds no GPU here: ask for one (--gpus 1 on a cluster), or take device 'cpu'")
        self.library, self.device = torch, device

    @cached_property
    def title(self) -> str:
        """The name that the driver gives the GPU; ROCm does not name all of them, and then it is the architecture's."""
        if self.device == "cpu":
            return super().title
        return self.library.cuda.get_device_name() or self.gpu.gcnArchName

    @property
    def gpu(self) -> Any:
        """What PyTorch knows of the GPU."""
        return self.library.cuda.get_device_properties(self.library.cuda.current_device())

    @property
    def threads(self) -> int:
        return self.library.get_num_threads()

    @property
    def about(self) -> dict[str, str]:
        torch = self.library
        told = {"torch": torch.__version__}
        if self.device == "cpu":
            return told | _processor()
        if torch.version.hip:
            told |= {"rocm": torch.version.hip, "architecture": self.gpu.gcnArchName}
            with contextlib.suppress(OSError):  # a driver that is part of the kernel has no version of its own
                told["driver"] = f"amdgpu {AMD_DRIVER.read_text().strip()}"
            return {"driver": f"amdgpu of Linux {platform.release()}", **told}
        told["cuda"] = str(torch.version.cuda)
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
            answer = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True).stdout
            told["driver"] = answer.split("\n")[0]
        return told

    @property
    def memory(self) -> int:
        if self.device == "cpu":
            return super().memory
        self.library.cuda.empty_cache()
        return self.library.cuda.mem_get_info()[0]

    @property
    def cache(self) -> int:
        if self.device == "cpu":
            return super().cache
        return getattr(self.gpu, "L2_cache_size", None) or UNKNOWN_CACHE  # older builds for ROCm do not say

    def random(self, shape: tuple[int, ...], dtype: str) -> Any:
        with self.in_memory():
            return self.library.rand(shape, dtype=getattr(self.library, DTYPES[dtype]), device=self.device)

    def copy(self, x: Any) -> Any:
        return x.clone()

    def copying(self, x: Any, into: Any) -> None:
        into.copy_(x)

    def fused_attention(self, Q: Any, K: Any, V: Any) -> Any:
        return self.library.nn.functional.scaled_dot_product_attention(Q, K, V, scale=1.0)

    @contextlib.contextmanager
    def fused(self) -> Iterator[None]:
        """PyTorch computes step by step where it has no fused kernel, and does not say so: that is forbidden here."""
        kernels = self.library.nn.attention.SDPBackend
        try:
            with self.library.nn.attention.sdpa_kernel(
                [kernels.FLASH_ATTENTION, kernels.EFFICIENT_ATTENTION, kernels.CUDNN_ATTENTION]
            ):
                yield
        except RuntimeError as error:
            if "No available kernel" not in str(error):
                raise
            raise NotImplementedError(f"PyTorch has no fused attention for this on {self.title}") from None

    @contextlib.contextmanager
    def in_memory(self) -> Iterator[None]:
        """PyTorch's two ways to say that there is not enough memory (the processor's has no name), as MemoryError."""
        try:
            with self.library.no_grad():
                yield
        except RuntimeError as error:
            if isinstance(error, self.library.OutOfMemoryError) or "allocate memory" in str(error):
                raise MemoryError(f"{self.title}: {str(error).splitlines()[0]}") from None
            raise

    def clock(self, run: Callable[[], Any], calls: int) -> float:
        if self.device == "cpu":
            return super().clock(run, calls)
        start, end = (self.library.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / calls

    def times(self, f: Any, arrays: list[Any], cost: Cost | None, repeats: int, seconds: float) -> tuple[float, ...]:
        with self.in_memory():
            return super().times(f, arrays, cost, repeats, seconds)


def _machine(device: str) -> _NumPy:
    device = choose("device", device, DEVICES)
    return _NumPy() if device == "numpy" else _Torch(device)


# --- a sweep ----------------------------------------------------------------------------------------------


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
    def f(self) -> Any:
        """The algorithm, in array notation; None for a copy, which computes nothing."""
        return {"dense": linear, "attention": attention, "fused attention": fuse(attention), **STEPS}.get(self.layer)

    @property
    def cost(self) -> Cost | None:
        """As traced; None for a copy."""
        if self.f is None:
            return None
        return trace(self.f, *(Tensor(f"x{i}", shape, self.dtype) for i, shape in enumerate(self.shapes)))

    def measure(self, repeats: int = 7, seconds: float = 0.5) -> Measurement:
        """Measures it. Raises what `measure` raises."""
        machine, cost, shapes = _machine(self.device), self.cost, self.shapes
        choose("dtype", self.dtype, machine.dtypes, f"{self.device} measures ")
        itemsize = int(Tensor("x", (1,), self.dtype).nbytes)
        read = itemsize * sum(math.prod(shape) for shape in shapes)
        written = sum(int(step.stores) for step in cost.steps) if cost else 0
        machine.check_memory(read + written, "this point")
        run = {"copy": machine.copying, "fused attention": machine.fused_attention}.get(self.layer, self.f)
        arrays = [machine.random(shape, self.dtype) for shape in shapes]
        with machine.fused() if self.layer == "fused attention" else contextlib.nullcontext():
            times = machine.times(run, arrays, cost, repeats, seconds)
        steps = _numbers(cost) if cost else ((0, read),)
        return Measurement(self.layer, machine.title, self.dtype, shapes, times, steps)


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
    return points


def ceiling_points(device: str = "numpy", dtype: str = "fp32") -> list[Point]:
    """Large square products, and a large copy: what the machine can do at best."""
    largest = 8192 if device == "cuda" else 4096
    count = (2**30 if device == "cuda" else 2**28) // int(Tensor("x", (1,), dtype).nbytes)
    products = [Point("dense", tokens=n, h=n, heads=1, dtype=dtype, device=device) for n in (largest // 2, largest)]
    return [*products, Point("copy", h=count, heads=1, dtype=dtype, device=device)]


def ceilings(device: str = "numpy", dtype: str = "fp32", name: str = "", measured: Any = None) -> Accelerator:
    """The measured peak and bandwidth of the machine at hand, as an `Accelerator` to make a `Roofline` of.

    name : a short one for pictures. measured : results to take it from, in place of measuring now.

    The peak is the fastest repetition of large square products, the bandwidth that of a large copy, read and written.
    A processor fetches a line of memory before it writes it, so a program that mostly reads can be faster than a copy.

    Raises ValueError for unknown names and where `measured` has no such points, and what `measure` raises.

    >>> [point.name for point in ceiling_points()][1:]
    ['dense initial, 1 user of 4096 tokens, h = 4096, fp32', 'copy of 67108864 numbers, fp32']
    """
    points = ceiling_points(device, dtype)
    if measured is None:
        taken = [point.measure() for point in points]
    else:
        found = {result.point: result.measurement for result in measured if result.measurement}
        if missing := [point.name for point in points if point not in found]:
            raise ValueError(f"these measurements have no {missing[0]!r}, which the ceilings are made of")
        taken = [found[point] for point in points]
    *products, copy = taken
    peak = max(product.flops / min(product.seconds) for product in products)
    memory = max(1, min(_machine(device).memory, 1 << 50)) if measured is None else copy.bytes
    return Accelerator(
        name or copy.device, {dtype: round(peak)}, round(copy.bytes / min(copy.seconds)), memory, "measured"
    )  # fmt: skip


# --- files ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """A point that was measured, or the reason why it was left out. machine : versions, the date, the job."""

    point: Point
    measurement: Measurement | None
    machine: dict[str, Any]
    left_out: str = ""


def write(path: Path, text: str) -> None:
    """Writes a file whole or not at all, whenever the machine stops. Raises OSError, on a full disk for example."""
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with begun.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        begun.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        begun.unlink(missing_ok=True)


def read(path: Path) -> Result:
    """One file of a sweep. Raises ValueError, naming the file, if it is damaged."""
    try:
        data = json.loads(path.read_text("utf-8"))
        given = data["measurement"]
        if given is not None:
            pairs = {name: tuple(map(tuple, given[name])) for name in ("shapes", "steps")}
            given = Measurement(**{**given, **pairs, "seconds": tuple(map(float, given["seconds"]))})
            if len(given.seconds) < 2 or not all(0 < second < math.inf for second in given.seconds):
                raise ValueError("seconds must be positive")
        return Result(Point(**data["point"]), given, dict(data["machine"]), str(data["left_out"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} is damaged: {type(error).__name__}: {error}") from None


def take(point: Point, folder: Path | str, most_seconds: float = 20) -> bool:
    """Measures a point and writes its file, unless it is there. Returns whether it measured.

    A damaged file is kept aside, as *.damaged. A point that does not fit into memory, that the device cannot do, or
    whose call would take longer than `most_seconds` by the ceilings in the same folder, is written as left out, with
    the reason, and tried again by the next run. Raises OSError where there is no room for a file, before it measures.
    """
    folder = Path(folder)
    path, measurement, why = folder / point.file, None, ""
    with contextlib.suppress(FileNotFoundError):
        try:
            if not read(path).left_out:
                return False
        except ValueError:
            path.replace(path.with_suffix(".damaged"))
    machine = _machine(point.device)
    room = folder / f".{point.file}.room"
    write(room, " " * 16384)  # so that a full disk is noticed before something is measured, and not after
    try:
        if (cost := point.cost) and point.tokens != point.h:
            with contextlib.suppress(ValueError):  # no ceilings yet
                roof = Roofline(ceilings(point.device, point.dtype, measured=results(folder)[0]), point.dtype)
                if (least := roof.time(cost)) > most_seconds:
                    raise MemoryError(
                        f"a call takes {least:.0f} s at least, and more than {most_seconds:g} s is too long"
                    )
        measurement = point.measure()
    except (MemoryError, NotImplementedError) as error:
        why = str(error) or "there is not enough memory"
    finally:
        room.unlink(missing_ok=True)
    about: dict[str, Any] = {"device": machine.title, "system": platform.system(), "python": platform.python_version()}
    about |= {**machine.about, "date": time.strftime("%Y-%m-%d", time.gmtime())}
    about |= {key: os.environ[name] for key, name in JOB.items() if name in os.environ}
    data: dict[str, Any] = {"point": asdict(point), "machine": about, "left_out": why}
    data["measurement"] = asdict(measurement) if measurement else None
    write(path, json.dumps(data, indent=1) + "\n")
    return measurement is not None


AMD_DRIVER = Path("/sys/module/amdgpu/version")  # where rocm-smi looks, too
JOB = {"job": "SLURM_JOB_ID", "task": "SLURM_ARRAY_TASK_ID", "partition": "SLURM_JOB_PARTITION"}


def results(folder: Path | str) -> tuple[list[Result], list[str]]:
    """What a folder holds, and what is wrong with the files that cannot be read."""
    found, damaged = [], []
    for path in sorted(Path(folder).glob("*.json")):
        if path.name.startswith("_"):  # lists, no points
            continue
        try:
            found.append(read(path))
        except ValueError as error:
            damaged.append(str(error))
    return found, damaged


def take_all(points: Sequence[Point], folder: Path | str, progress: bool = True, most_seconds: float = 20) -> int:
    """Takes all points that are missing, one after the other, and returns how many were measured now.

    Raises OSError where a file cannot be written; what was measured before is kept.
    """
    from tqdm import tqdm

    measured = 0
    with tqdm(points, unit="point", disable=not progress) as bar:
        for point in bar:
            bar.set_postfix_str(point.name)
            measured += take(point, folder, most_seconds)
    return measured


def table(found: Iterable[Result], roof: Roofline | None = None) -> Iterator[dict[str, Any]]:
    """One row a point: what, on what, seconds, FLOPs, bytes, FLOP/s, and the share of a roofline's bound.

    Of a GPU whose datasheet the kit has, the share of that roof is there, too. Points that were left out have their
    reason in `left_out`, and no numbers.
    """
    for result in found:
        row: dict[str, Any] = {"what": result.point.name, **asdict(result.point), "machine": result.machine["device"]}
        row |= {"left_out": result.left_out}
        if (taken := result.measurement) is not None:
            row |= {"seconds": taken.median, "spread": taken.spread, "repetitions": len(taken.seconds)}
            row |= {"flops": taken.flops, "bytes": taken.bytes, "flop_per_s": taken.rate}
            if roof is not None:
                row |= {"share": taken.share(roof)}
            card = datasheet(taken.device)
            if card is not None and taken.dtype in card.peaks:
                row |= {"share_of_datasheet": taken.share(Roofline(card, taken.dtype))}
        yield row


def matching(found: Iterable[Result], **given: Any) -> list[Measurement]:
    """The measurements of points with these properties, in the order of their batch.

    Raises ValueError for a property that points do not have.
    """
    known = [field.name for field in fields(Point)]
    for name in given:
        if name not in known:
            raise ValueError(unknown("property", name, known))
    chosen = [r for r in found if r.measurement and all(getattr(r.point, key) == v for key, v in given.items())]
    return [result.measurement for result in sorted(chosen, key=lambda r: r.point.batch) if result.measurement]
