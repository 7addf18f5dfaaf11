"""What PyTorch's FlopCounterMode counts: write it down, for tests on machines without PyTorch.

    python tests/store_flop_counter.py

writes flop_counter.csv anew; it needs PyTorch. Arrays are on the "meta" device, where shapes are
computed and nothing else, so the sizes may be those of real models. On a CPU, the counter would see
0 FLOPs in PyTorch's own fused attention; here everything is written with matrix products.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from algorithms import MATRIX_PRODUCTS, Algorithm, names_in, shape_of

PATH = Path(__file__).with_name("flop_counter.csv")
SIZES = (
    dict(zip("BHKMNdh", (2, 3, 5, 7, 11, 13, 17), strict=True)),
    dict(zip("BHKMNdh", (1, 1, 1, 1, 1, 1, 1), strict=True)),
    dict(zip("BHKMNdh", (8, 32, 11008, 4096, 1000, 128, 64), strict=True)),
)


def counted(torch: Any, algorithm: Algorithm, sizes: dict[str, int]) -> int:
    """The FLOPs that PyTorch counts when it executes an algorithm."""
    from torch.utils.flop_counter import FlopCounterMode

    function, shapes = algorithm
    arrays = [torch.empty(shape_of(text, sizes), device="meta", dtype=torch.float16) for text in shapes]
    with FlopCounterMode(display=False) as counter:
        function(*arrays)
    return int(counter.get_total_flops())


def table(torch: Any) -> list[dict[str, str]]:
    """A row for each product and each choice of sizes."""
    return [
        {
            "algorithm": name,
            "sizes": " ".join(f"{n}={sizes[n]}" for n in names_in(algorithm[1])),
            "flops": str(counted(torch, algorithm, sizes)),
        }
        for name, algorithm in MATRIX_PRODUCTS.items()
        for sizes in SIZES
    ]


def stored() -> list[dict[str, str]]:
    with PATH.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    import torch

    with PATH.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["algorithm", "sizes", "flops"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table(torch))
