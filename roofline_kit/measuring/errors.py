"""How wrong is the roofline? Published times over predicted ones, by operation and GPU.

Two ceilings of each GPU are measured, and nothing else is fitted. What the replays of a measurement find in the cache
of the GPU is counted apart: a roofline speaks of bytes from memory.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..hardware import Accelerator, accelerator
from ..roofline import Roofline
from .published import Published, measured

GPUS = ("A100-80GB-SXM", "H100-SXM", "H200", "B200", "L40S")
MB = 1e6

LLAMA = {(4096, 4096), (6144, 4096), (12288, 4096), (8192, 8192), (10240, 8192)}
LLAMA |= {(7168, 4096), (7168, 8192), (4096, 3584), (8192, 3584)}
"""Outputs and inputs of layers of Llama models, and of the parts of them that one of several GPUs has."""


SETS = 6
"""So many sets of operands take turns in the replays of SGLang's products; those of attention find the same again."""


def warm(point: Published) -> bool:
    """Whether all that the replays of a point read and write fits into the last cache of its GPU.

    >>> [warm(p) for p in measured("decode", "L40S", software="vLLM", context=4096, batch=[1, 64])]
    [True, False]
    """
    return point.bytes * (SETS if point.name == "product" else 1) <= accelerator(point.device).cache


def _rows(least: float, most: float) -> Callable[[Published], bool]:
    return lambda p: (p.sizes["n"], p.sizes["k"]) in LLAMA and least <= p.sizes["m"] <= most


def _reads(least: float, most: float) -> Callable[[Published], bool]:
    return lambda p: least < p.bytes <= most


def _tokens(least: float, most: float) -> Callable[[Published], bool]:
    return lambda p: least <= p.sizes["tokens"] <= most


GROUPS: dict[str, tuple[str, Callable[[Published], bool]]] = {
    "product, up to 64 rows": ("product", _rows(1, 64)),
    "product, 96 to 513 rows": ("product", _rows(96, 513)),
    "product, 1024 rows and more": ("product", _rows(1024, math.inf)),
    "decode, more than 256 MB": ("decode", _reads(256 * MB, math.inf)),
    "decode, up to 256 MB": ("decode", _reads(0, 256 * MB)),
    "decode, in the cache": ("decode, in the cache", _reads(MB, math.inf)),
    "prefill, 4096 tokens and more": ("prefill", _tokens(4096, math.inf)),
    "prefill, 512 to 2048 tokens": ("prefill", _tokens(512, 2048)),
}
"""What is counted together: the operation, and which of its points."""


def reached(gpu: Accelerator | str, folder: Path | str | None = None) -> Accelerator:
    """Two measured ceilings of a GPU, as an `Accelerator` to make a roofline of; its memory is the datasheet's.

    The peak is that of the fastest product with 4096 rows, outputs and inputs or more; the bandwidth is that of the
    fastest one with 16 rows or fewer and weights of 537 MB, which no cache holds. Both are SGLang's, in bf16.

    Raises what `measured` raises.

    >>> h100 = reached("H100-SXM")
    >>> f"{h100.peak('bf16') / 1e12:.0f} TFLOP/s, {h100.bandwidth / 1e9:.0f} GB/s"
    '817 TFLOP/s, 2917 GB/s'
    """
    products = measured("product", gpu, software="SGLang", dtype="bf16", folder=folder)
    peak = max(p.rate for p in products if min(p.sizes.values()) >= 4096)
    read = [p for p in products if p.sizes["m"] <= 16 and p.sizes["n"] * p.sizes["k"] == 2**28]
    bandwidth = max(p.bytes / p.median for p in read)
    card = accelerator(gpu)
    return Accelerator(f"{card.name}, reached", {"bf16": round(peak)}, round(bandwidth), card.memory, "measured")


def error_table(gpus: Iterable[str] = GPUS, folder: Path | str | None = None) -> list[dict[str, Any]]:
    """Measured / predicted of published times, a row for each operation and GPU: 1 is no error.

    operation, gpu : text. points : how many. datasheet, ceilings : least, middle and most of measured / predicted, by
    the roof of the datasheet and by that of `reached`. All are SGLang's, in bf16; products have the shapes of `LLAMA`,
    and attention has 32 heads, each with keys of its own. What is `warm` has a row of its own in decode, and
    is left out elsewhere.

    Raises what `measured` raises.

    >>> row = error_table(["H200"])[0]
    >>> row["operation"], row["points"], [f"{ratio:.2f}" for ratio in row["datasheet"]]
    ('product, up to 64 rows', 86, ['1.22', '1.52', '2.35'])
    """
    table = []
    for gpu in _several(gpus):
        points = _counted(gpu, folder)
        roofs = {"datasheet": Roofline(accelerator(gpu), "bf16"), "ceilings": Roofline(reached(gpu, folder), "bf16")}
        for title, (operation, counts) in GROUPS.items():
            counted = [point for point in points[operation] if counts(point)]
            row = {"operation": title, "gpu": accelerator(gpu).name, "points": len(counted)}
            for name, roof in roofs.items():
                ratios = [point.median / point.predicted(roof) for point in counted]
                row[name] = (min(ratios), statistics.median(ratios), max(ratios))
            table.append(row)
    return table


def error_by_length(
    gpus: Iterable[str] = GPUS, folder: Path | str | None = None
) -> dict[str, tuple[list[float], list[float]]]:
    """The middle of measured / predicted by the predicted time, for each operation, of all these GPUs together.

    Returns {operation: (predicted seconds, ratios)}, as `plot_sweep` takes curves: two places for a factor of ten,
    where there are ten points or more. Counted are those of `error_table` and the ones between them, from memory only:
    what is `warm` is left out.

    Raises what `measured` raises.

    >>> seconds, ratios = error_by_length(["H100-SXM"])["product"]
    >>> f"{seconds[0] * 1e6:.1f} µs: {ratios[0]:.2f}, {seconds[-1] * 1e3:.1f} ms: {ratios[-1]:.2f}"
    '1.8 µs: 2.65, 1.8 ms: 1.45'
    """
    found: dict[str, dict[int, list[float]]] = {}
    for gpu in _several(gpus):
        roof = Roofline(accelerator(gpu), "bf16")
        for operation, points in _counted(gpu, folder).items():
            for point in points if operation in FROM_MEMORY else ():
                predicted = point.predicted(roof)
                place = math.floor(2 * math.log10(predicted))
                found.setdefault(operation, {}).setdefault(place, []).append(point.median / predicted)
    curves = {}
    for operation, places in found.items():
        many = sorted(place for place, ratios in places.items() if len(ratios) >= 10)
        middles = [statistics.median(places[place]) for place in many]
        curves[operation] = ([10 ** ((place + 0.5) / 2) for place in many], middles)
    return curves


FROM_MEMORY = ("product", "decode", "prefill")


def _several(gpus: Iterable[str]) -> Iterable[str]:
    """GPUs, where one is given by its name alone as well."""
    return [gpus] if isinstance(gpus, str) else gpus


def _counted(gpu: str, folder: Path | str | None) -> dict[str, list[Published]]:
    """The published times of a GPU that errors are counted of, by operation: from memory, and decode in the cache."""
    decode = measured("decode", gpu, software="SGLang", kv_dtype="bf16", kv_heads=32, folder=folder)
    found = {
        "product": measured("product", gpu, software="SGLang", dtype="bf16", folder=folder),
        "decode": decode,
        "prefill": measured("prefill", gpu, software="SGLang", kv_heads=32, folder=folder),
    }
    apart = {"decode, in the cache": [point for point in decode if warm(point)]}
    return {name: [point for point in points if not warm(point)] for name, points in found.items()} | apart
