"""How fast is the kit? Each figure stands beside what it is compared with, from the same run.

    python benchmarks/foundation.py

Prints the table of README.md in this folder. Times are medians; what is compared is run in turn, so
that a slow moment of the machine hurts both sides.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import sympy

import roofline_kit as rk

# Compiled modules are kept, as they are for a reader, so that the second import of the kit does not compile it again.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def attention(Q, K, V):
    S = Q @ K.T
    P = rk.softmax(S)
    return P @ V


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turn(*calls: Callable[[], object], runs: int) -> list[float]:
    """Median seconds of each call; the calls take turns."""
    times = [[seconds(call) for call in calls] for _ in range(runs)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def fresh_import(module: str) -> Callable[[], object]:
    """Import a module in a new interpreter."""
    return lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True, env=ENVIRONMENT)


def cost() -> rk.Cost:
    N, h = rk.symbols("N h")
    return rk.trace(attention, *rk.tensors("Q K V", (N, h)))


def by_hand(N, h):
    flops = N**2 * (4 * h + 3)
    moved = 8 * N**2 + 8 * N * h
    return flops, moved, flops / moved


def compiled_from_nothing() -> None:
    sympy.core.cache.clear_cache()
    cost().compile("N", h=4096)([4096.0])


FIRST = """
import time
import numpy
import sympy
import roofline_kit as rk

def clock(call):
    start = time.perf_counter()
    result = call()
    print(time.perf_counter() - start)
    return result

N, h = rk.symbols("N h")
inputs = rk.tensors("Q K V", (N, h))
clock(lambda: sympy.Symbol("a") * sympy.Symbol("b") + 2 * sympy.Symbol("b") ** 2)
cost = clock(lambda: rk.trace(rk.attention, *inputs))
clock(lambda: cost.compile("N", h=4096)([4096]))
"""


# What a cell takes that is the first to ask for published times and for a picture, drawn as a notebook shows it.
MEASURED = """
import io
import time
import matplotlib
import roofline_kit as rk

matplotlib.use("agg")
start = time.perf_counter()
taken = rk.measured("product", "H100-SXM", software="SGLang", dtype="bf16", n=4096, k=4096)
print(time.perf_counter() - start)
rows, roof = [p.sizes["m"] for p in taken], rk.roofline("H100-SXM", "bf16")
curve = {"predicted": (rows, [p.predicted(roof) for p in taken])}
ax = rk.plot_sweep(curve, points={"measured": (rows, [p.median for p in taken])}, x="rows", y="time [s]")
ax.figure.savefig(io.BytesIO())
print(time.perf_counter() - start)
"""


def first_in_a_process(program: str, runs: int) -> list[float]:
    """Median seconds that a program prints, each on a line of its own, in a new process."""
    command = [sys.executable, "-c", program]
    run = partial(subprocess.run, command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    output = [run().stdout.split() for _ in range(runs)]
    return [statistics.median(map(float, column)) for column in zip(*output, strict=True)]


def main() -> None:
    rows = []

    nothing, plain, kit = in_turn(*map(fresh_import, ("sys", "sympy", "roofline_kit")), runs=15)
    rows.append(("import roofline_kit / import sympy", f"{kit:.3f} s / {plain:.3f} s", kit / plain, "≤ 1.10"))
    rows.append(("  (the interpreter alone)", f"{nothing:.3f} s", None, ""))

    points = np.linspace(1, 1e6, 1_000_000).round()
    sweep = cost().compile("N", h=4096)

    def ours() -> None:
        result = sweep(points)
        _ = result.flops, result.bytes, result.intensity

    ours()
    kit, plain = in_turn(ours, lambda: by_hand(points, 4096), runs=31)
    rows.append(
        (
            "sweep of 1,000,000 points / by hand in NumPy",
            f"{kit * 1e3:.1f} ms / {plain * 1e3:.1f} ms",
            kit / plain,
            "≤ 3",
        )
    )

    (traced,) = in_turn(cost, runs=51)
    rows.append(("trace attention", f"{traced * 1e3:.2f} ms", None, "< 5 ms"))

    (compiled,) = in_turn(compiled_from_nothing, runs=15)
    rows.append(("trace, compile and first call, SymPy's cache empty", f"{compiled * 1e3:.1f} ms", None, "< 150 ms"))

    product, traced, compiled = first_in_a_process(FIRST, runs=9)
    rows.append(("the first trace of a process", f"{traced * 1e3:.1f} ms", None, "< 5 ms"))
    rows.append(("the first compilation, with its first call", f"{compiled * 1e3:.1f} ms", None, "< 150 ms"))
    rows.append(("  (SymPy's own first product, before them)", f"{product * 1e3:.1f} ms", None, ""))

    read, drawn = first_in_a_process(MEASURED, runs=9)
    rows.append(("published times, and their first picture", f"{drawn:.2f} s", None, "< 1 s"))
    rows.append(("  (the times alone)", f"{read:.2f} s", None, ""))

    print(
        f"Python {platform.python_version()}, SymPy {sympy.__version__}, NumPy {np.__version__}, {platform.machine()}\n"
    )
    print("| what | median | ratio | bar |\n| --- | ---: | ---: | ---: |")
    for what, median, ratio, bar in rows:
        print(f"| {what} | {median} | {'' if ratio is None else f'{ratio:.2f}'} | {bar} |")


if __name__ == "__main__":
    main()
