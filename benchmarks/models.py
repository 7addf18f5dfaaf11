"""How fast are whole models? Sweeps of Llama 2 7B and DeepSeek-V3, and a point of PyTorch's counter, from the same run.

    python benchmarks/models.py

Prints the second table of README.md in this folder. Times are medians. The rows with FlopCounterMode need
PyTorch and transformers; without them they say so.
"""

import platform
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import sympy
from foundation import ENVIRONMENT, in_turn

import roofline_kit as rk

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

FIRST = """
import sys
import time
import sympy
import roofline_kit as rk

start = time.perf_counter()
rk.model(sys.argv[1]).prefill(1, 1000)
print(time.perf_counter() - start)
"""


MODELS = {"Llama 2 7B": "llama-2-7b", "DeepSeek-V3": "deepseek-v3"}


def first_prefill(name: str, runs: int) -> float:
    """Median seconds of the first model and its prefill in a new process."""
    command = [sys.executable, "-c", FIRST, name]
    run = partial(subprocess.run, command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    outputs = [run() for _ in range(runs)]
    return float(np.median([float(output.stdout) for output in outputs]))


def compiled(model: str, *names: str, **sizes: int) -> tuple[rk.CompiledCost, float]:
    """The decode step as a compiled function, and the seconds that trace, compilation and first call took."""
    sympy.core.cache.clear_cache()
    start = time.perf_counter()
    function = rk.model(model).decode(*rk.symbols("B S")).compile(*names, **sizes)
    function(*[1] * len(names))
    return function, time.perf_counter() - start


def layer_backward() -> float:
    """Seconds of the trace of a layer of Llama 2 7B, forward and backward, SymPy's cache empty."""
    llama = rk.model("llama-2-7b")
    X, weights = rk.Tensor("X", (1, 1000, llama.hidden)), llama.layer_weights()
    sympy.core.cache.clear_cache()
    start = time.perf_counter()
    rk.trace(rk.backward(rk.decoder_layer), X, weights, heads=llama.heads, activation="silu")
    return time.perf_counter() - start


def training_step(name: str, seq: int) -> float:
    """Seconds of a step of training, with checkpoints, and of its totals."""
    start = time.perf_counter()
    step = rk.model(name).training(1, seq, checkpoint="all")
    assert step.flops > 0 and step.bytes > 0 and step.memory_bytes > 0
    return time.perf_counter() - start


def flop_counter() -> list[tuple[str, str, str]]:
    """One decode step of PyTorch's counter on the meta device: with the model built already, and with building it."""
    what = "PyTorch's FlopCounterMode, one decode step of Llama 2 7B"
    try:
        import torch
        import transformers
        from store_model_flops import built, counted
    except ImportError as error:
        return [(what, f"not measured: {error}", "")]
    row = {"model": "llama-2-7b", "stage": "decode", "batch": "8", "tokens": "1000", "logits": "last", "kernel": "sdpa"}
    start = time.perf_counter()
    built(torch, transformers, "llama-2-7b", "sdpa")
    building = time.perf_counter() - start
    counted(torch, transformers, row)
    (counting,) = in_turn(lambda: counted(torch, transformers, row), runs=5)
    return [(what, f"{counting * 1e3:.0f} ms", ""), ("  (building that model, once)", f"{building:.1f} s", "")]


def main() -> None:
    rows, batches = [], np.arange(1, 101)
    for title, name in MODELS.items():
        first = f"{first_prefill(name, 9) * 1e3:.0f} ms"
        rows.append((f"{title}: first model(...).prefill(...) of a process", first, "≤ 150 ms"))
        sweep, compiling = compiled(name, "B", S=1000)
        (seconds,) = in_turn(lambda sweep=sweep: sweep(batches), runs=101)
        rows.append(("  decode: trace, compile and first call", f"{compiling * 1e3:.0f} ms", "≤ 1 s"))
        rows.append(("  a sweep of 100 batch sizes", f"{seconds * 1e3:.2f} ms", "≤ 1 ms"))

    sweep, _ = compiled("llama-2-7b", "B", S=1000)
    roof = rk.roofline("A100-40GB")
    roof.time(sweep(batches))
    (seconds,) = in_turn(lambda: roof.time(sweep(batches)), runs=51)
    rows.append(("Llama 2 7B, the sweep with the predicted time, step by step", f"{seconds * 1e3:.2f} ms", ""))

    grid, _ = compiled("llama-2-7b", "B", "S")
    sizes = np.meshgrid(np.arange(1, 513), np.arange(1, 513))
    (seconds,) = in_turn(lambda: grid(*sizes), runs=15)
    rows.append(("  a grid of 512 batch sizes and 512 contexts", f"{seconds * 1e3:.1f} ms", "≤ 50 ms"))
    rows.append(("A layer of it, forward and backward: trace", f"{layer_backward() * 1e3:.0f} ms", "< 100 ms"))
    for title, name in MODELS.items():
        training_step(name, 2000)
        seconds = float(np.median([training_step(name, 1000 + i) for i in range(9)]))
        rows.append((f"{title}: a step of training, after the first", f"{seconds * 1e3:.0f} ms", "< 500 ms"))
    rows += flop_counter()

    versions = f"SymPy {sympy.__version__}, NumPy {np.__version__}"
    print(f"Python {platform.python_version()}, {versions}, {platform.machine()}\n")
    print("| what | median | bar |\n| --- | ---: | ---: |")
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
