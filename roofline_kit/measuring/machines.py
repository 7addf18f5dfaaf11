"""On what is it measured? NumPy on a processor, PyTorch on a processor, PyTorch on a GPU."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ..cost import Cost
from ..errors import choose

DTYPES = {"fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
DEVICES = ("numpy", "cpu", "cuda")  # the last two are PyTorch's; with ROCm, PyTorch says "cuda" as well
UNKNOWN_CACHE = 64 << 20  # bytes, where the system does not say
AMD_DRIVER = Path("/sys/module/amdgpu/version")  # where rocm-smi looks, too


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


def machine_of(arrays: Sequence[Any]) -> _NumPy:
    """The machine that arrays are on. Raises TypeError for what is no array, and for arrays of two machines."""
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


def machine_for(device: str) -> _NumPy:
    """The machine of a `Point`'s device. Raises ValueError for unknown devices, and for those that are not there."""
    device = choose("device", device, DEVICES)
    return _NumPy() if device == "numpy" else _Torch(device)
