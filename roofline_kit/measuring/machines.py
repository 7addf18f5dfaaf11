"""On what is it measured? NumPy on a processor, PyTorch on a processor, PyTorch on a GPU."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from ..names import choose
from ..sizes import LIBRARY_NAMES

DTYPES = LIBRARY_NAMES  # that can be measured
DEVICES = ("numpy", "cpu", "cuda")  # the last two are PyTorch's; with ROCm, PyTorch says "cuda" as well
UNKNOWN_CACHE = 64 << 20  # bytes, where the system does not say
UNKNOWN_MEMORY = 1 << 62  # bytes: where there is no way to ask, the allocation itself will say
# What the libraries that multiply matrices listen to, the most special name first.
TOLD_THREADS = {
    "openblas": ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"),
    "mkl": ("MKL_NUM_THREADS", "OMP_NUM_THREADS"),
    "accelerate": ("VECLIB_MAXIMUM_THREADS",),
}
AMD_DRIVER = Path("/sys/module/amdgpu/version")  # where rocm-smi looks, too


class Machine(Protocol):
    """What measuring asks of a machine. `NumPy`, `TorchProcessor` and `TorchGPU` answer, each in its own way."""

    dtypes: tuple[str, ...]

    @property
    def title(self) -> str:
        """What it is called."""

    @property
    def about(self) -> dict[str, str]:
        """Versions of what a result depends on, and which processor or driver it was."""

    @property
    def threads(self) -> int:
        """Of the processor, that a product may use, and that the copy uses; 0 on a GPU."""

    @property
    def passes(self) -> int:
        """Threads that all other steps may use, such as an exponential of each number; 0 on a GPU."""

    @property
    def memory(self) -> int:
        """Bytes that are free."""

    @property
    def cache(self) -> int:
        """Bytes of the largest cache."""

    def random(self, shape: tuple[int, ...], dtype: str) -> Any:
        """An array of random numbers between 0 and 1: zeros would need less power, and clocks depend on that."""

    def copy(self, x: Any) -> Any:
        """Another array with the same numbers."""

    def copying(self, x: Any, into: Any) -> None:
        """What the measured bandwidth is that of."""

    def fused_attention(self, Q: Any, K: Any, V: Any) -> Any:
        """Attention that keeps its scores on the chip."""

    def working(self) -> AbstractContextManager[None]:
        """Where calls run, so that MemoryError is what a lack of memory raises."""

    def fused(self) -> AbstractContextManager[None]:
        """Where `fused_attention` runs, so that it is that and nothing else."""

    def clock(self, run: Callable[[], Any], calls: int) -> float:
        """Seconds of one call, as the mean of several."""


def machine_for(device: str) -> Machine:
    """The machine of a `Point`'s device. Raises ValueError for unknown devices, and for those that are not there."""
    device = choose("device", device, DEVICES)
    if device == "numpy":
        return NumPy()
    return TorchProcessor() if device == "cpu" else TorchGPU()


def machine_of(arrays: Sequence[Any]) -> Machine:
    """The machine that arrays are on. Raises TypeError for what is no array, and for arrays of two machines."""
    kinds = {type(x).__module__.split(".")[0] for x in arrays}
    if kinds == {"numpy"} and all(hasattr(x, "shape") for x in arrays):
        return machine_for("numpy")
    if kinds == {"torch"} and len(devices := {x.device.type for x in arrays}) == 1:
        return machine_for(devices.pop())
    raise TypeError("measure needs NumPy arrays, or PyTorch tensors on one device; to count only, use rk.trace")


def check_memory(machine: Machine, needed: int, what: str) -> None:
    """Raises MemoryError before somebody else's program is ended."""
    if needed > 0.9 * (free := machine.memory):
        raise MemoryError(f"{what} needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")


# --- the three --------------------------------------------------------------------------------------------


class NumPy:
    """A processor, computing with NumPy."""

    dtypes: tuple[str, ...] = ("fp32", "fp64")  # a product in half precision would go number by number

    def __init__(self) -> None:
        import numpy

        self.numpy = numpy

    @property
    def title(self) -> str:
        """The processor, and how many of its threads a product may use."""
        return _processor_title(self.threads)

    @property
    def threads(self) -> int:
        """As many as the library that multiplies matrices takes: all that there are, or what it was told."""
        told = [
            _told_threads(names) for library, names in TOLD_THREADS.items() if library in self.about["blas"].lower()
        ]
        return min([_threads(), *told])

    @property
    def passes(self) -> int:
        """NumPy runs one operation after the other, and each in one thread."""
        return 1

    @property
    def about(self) -> dict[str, str]:
        """Versions of NumPy and of what multiplies its matrices, and which processor it was."""
        blas = self.numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {"numpy": self.numpy.__version__, "blas": f"{blas['name']} {blas['version']}", **_processor()}

    @property
    def memory(self) -> int:
        """Bytes that are free."""
        return _processor_memory()

    @property
    def cache(self) -> int:
        """Bytes of the largest cache."""
        return _processor_cache()

    def random(self, shape: tuple[int, ...], dtype: str) -> Any:
        """An array of random numbers between 0 and 1."""
        return self.numpy.random.default_rng(0).random(shape, self.numpy.dtype(DTYPES[dtype]))

    def copy(self, x: Any) -> Any:
        """Another array with the same numbers."""
        return x.copy()

    def copying(self, x: Any, into: Any) -> None:
        """Writes the numbers of one array into another, in as many threads as products use; `copyto` takes one."""
        parts = (self.numpy.array_split(array.reshape(-1), self.threads) for array in (into, x))
        list(self.pool.map(self.numpy.copyto, *parts))

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        """The threads of the copy. They wait between copies, and cost nothing then."""
        return ThreadPoolExecutor(self.threads)

    def fused_attention(self, Q: Any, K: Any, V: Any) -> Any:
        """NumPy has none. Raises ValueError."""
        raise ValueError("NumPy has no fused attention; it is measured with PyTorch (device 'cpu' or 'cuda')")

    def working(self) -> AbstractContextManager[None]:
        """NumPy raises MemoryError by itself."""
        return contextlib.nullcontext()

    def fused(self) -> AbstractContextManager[None]:
        """NumPy has nothing to forbid."""
        return contextlib.nullcontext()

    def clock(self, run: Callable[[], Any], calls: int) -> float:
        """Seconds of one call, as the mean of several."""
        return _processor_clock(run, calls)


class TorchProcessor:
    """A processor, computing with PyTorch. Raises ValueError where that is not installed."""

    dtypes: tuple[str, ...] = ("fp16", "bf16", "fp32", "fp64")

    def __init__(self) -> None:
        self.torch = _pytorch("cpu")

    @property
    def title(self) -> str:
        """The processor, and how many of its threads PyTorch uses."""
        return _processor_title(self.threads)

    @property
    def threads(self) -> int:
        """As many as PyTorch says."""
        return self.torch.get_num_threads()

    @property
    def passes(self) -> int:
        """As many as products: PyTorch divides all that is large."""
        return self.threads

    @property
    def about(self) -> dict[str, str]:
        """PyTorch's version, and which processor it was."""
        return {"torch": self.torch.__version__, **_processor()}

    @property
    def memory(self) -> int:
        """Bytes that are free."""
        return _processor_memory()

    @property
    def cache(self) -> int:
        """Bytes of the largest cache."""
        return _processor_cache()

    def random(self, shape: tuple[int, ...], dtype: str) -> Any:
        """An array of random numbers between 0 and 1."""
        with self.working():
            return self.torch.rand(shape, dtype=getattr(self.torch, DTYPES[dtype]))

    def copy(self, x: Any) -> Any:
        """Another array with the same numbers."""
        return x.clone()

    def copying(self, x: Any, into: Any) -> None:
        """Writes the numbers of one array into another."""
        into.copy_(x)

    def fused_attention(self, Q: Any, K: Any, V: Any) -> Any:
        """PyTorch's own, with the lecture's scores, which nothing scales."""
        return self.torch.nn.functional.scaled_dot_product_attention(Q, K, V, scale=1.0)

    def working(self) -> AbstractContextManager[None]:
        """No gradients, and a lack of memory is a MemoryError."""
        return _torch_working(self.torch, self.title)

    def fused(self) -> AbstractContextManager[None]:
        """Nothing but fused kernels."""
        return _torch_fused(self.torch, self.title)

    def clock(self, run: Callable[[], Any], calls: int) -> float:
        """Seconds of one call, as the mean of several."""
        return _processor_clock(run, calls)


class TorchGPU:
    """A GPU, computing with PyTorch. Raises ValueError where there is no PyTorch, or no GPU.

    AMD's GPUs are "cuda" as well: a PyTorch that was built for ROCm answers to that name, and what differs is in
    `about`, `title` and `cache`.
    """

    dtypes: tuple[str, ...] = ("fp16", "bf16", "fp32", "fp64")

    def __init__(self) -> None:
        self.torch = _pytorch("cuda")
        if not self.torch.cuda.is_available():
            raise ValueError("PyTorch finds no GPU here: ask for one (--gpus 1 on a cluster), or take device 'cpu'")

    @property
    def gpu(self) -> Any:
        """What PyTorch knows of the GPU."""
        return self.torch.cuda.get_device_properties(self.torch.cuda.current_device())

    @property
    def title(self) -> str:
        """The name that the driver gives the GPU; ROCm does not name all of them, and then it is the architecture's."""
        return self.torch.cuda.get_device_name() or self.gpu.gcnArchName

    @property
    def threads(self) -> int:
        """All of the GPU works on everything."""
        return 0

    @property
    def passes(self) -> int:
        """As above."""
        return 0

    @property
    def about(self) -> dict[str, str]:
        """Versions of PyTorch, of CUDA or ROCm, and of the driver."""
        if self.torch.version.hip:
            rocm = {"rocm": self.torch.version.hip, "architecture": self.gpu.gcnArchName}
            return {"torch": self.torch.__version__, **rocm, "driver": f"amdgpu {_amd_driver()}"}
        return {"torch": self.torch.__version__, "cuda": str(self.torch.version.cuda), **_nvidia_driver()}

    @property
    def memory(self) -> int:
        """Bytes that are free."""
        self.torch.cuda.empty_cache()
        return self.torch.cuda.mem_get_info()[0]

    @property
    def cache(self) -> int:
        """Bytes of the cache that all of the GPU shares. Older builds for ROCm do not say."""
        return getattr(self.gpu, "L2_cache_size", None) or UNKNOWN_CACHE

    def random(self, shape: tuple[int, ...], dtype: str) -> Any:
        """An array of random numbers between 0 and 1."""
        with self.working():
            return self.torch.rand(shape, dtype=getattr(self.torch, DTYPES[dtype]), device="cuda")

    def copy(self, x: Any) -> Any:
        """Another array with the same numbers."""
        return x.clone()

    def copying(self, x: Any, into: Any) -> None:
        """Writes the numbers of one array into another."""
        into.copy_(x)

    def fused_attention(self, Q: Any, K: Any, V: Any) -> Any:
        """PyTorch's own, with the lecture's scores, which nothing scales."""
        return self.torch.nn.functional.scaled_dot_product_attention(Q, K, V, scale=1.0)

    def working(self) -> AbstractContextManager[None]:
        """No gradients, and a lack of memory is a MemoryError."""
        return _torch_working(self.torch, self.title)

    def fused(self) -> AbstractContextManager[None]:
        """Nothing but fused kernels."""
        return _torch_fused(self.torch, self.title)

    def clock(self, run: Callable[[], Any], calls: int) -> float:
        """Seconds of one call, as the mean of several, by the GPU's own events."""
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / calls


# --- what any processor is asked --------------------------------------------------------------------------


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


def _processor_title(threads: int) -> str:
    """The processor's name; the machine's own name is nobody's business."""
    name = " ".join(_cpuinfo().get("model name", "").split()) or platform.processor() or platform.machine()
    return f"{name}, {threads} threads"


def _threads() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _told_threads(names: Sequence[str]) -> int:
    """How many threads a library was told to use at most, by one of these names; without a word, all."""
    for name in names:
        if (told := os.environ.get(name, "")).isdecimal() and int(told) > 0:
            return int(told)
    return _threads()


def _processor_memory() -> int:
    with contextlib.suppress(OSError):
        if found := re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text()):
            return int(found[1]) * 1024
    return UNKNOWN_MEMORY


def _processor_cache() -> int:
    units = {"K": 1 << 10, "M": 1 << 20}
    sizes = []
    with contextlib.suppress(OSError, ValueError, KeyError):
        for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
            if text := file.read_text().strip():
                sizes.append(int(text[:-1]) * units[text[-1]])
    return max(sizes, default=UNKNOWN_CACHE)


def _processor_clock(run: Callable[[], Any], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - began) / calls


# --- what PyTorch and the drivers are asked ---------------------------------------------------------------


def _pytorch(device: str) -> Any:
    try:
        import torch
    except ImportError:
        raise ValueError(f"device {device!r} needs PyTorch, which is not installed: pip install torch") from None
    return torch


@contextmanager
def _torch_working(torch: Any, title: str) -> Iterator[None]:
    """PyTorch's two ways to say that there is not enough memory (the processor's has no name), as MemoryError."""
    try:
        with torch.no_grad():
            yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise MemoryError(f"{title}: {str(error).splitlines()[0]}") from None
        raise


@contextmanager
def _torch_fused(torch: Any, title: str) -> Iterator[None]:
    """PyTorch computes step by step where it has no fused kernel, and does not say so: that is forbidden here."""
    kernels = torch.nn.attention.SDPBackend
    fused = [kernels.FLASH_ATTENTION, kernels.EFFICIENT_ATTENTION, kernels.CUDNN_ATTENTION]
    try:
        with _torch_working(torch, title), torch.nn.attention.sdpa_kernel(fused):
            yield
    except RuntimeError as error:
        if "No available kernel" not in str(error):
            raise
        raise NotImplementedError(f"PyTorch has no fused attention for this on {title}") from None


def _amd_driver() -> str:
    with contextlib.suppress(OSError):
        return AMD_DRIVER.read_text().strip()
    return f"of Linux {platform.release()}"  # a driver that is part of the kernel has no version of its own


def _nvidia_driver() -> dict[str, str]:
    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True).stdout
        return {"driver": answer.split("\n")[0]}
    return {}
