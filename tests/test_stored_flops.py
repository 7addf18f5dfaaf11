"""Traced matmul FLOPs equal those that PyTorch counted, difference 0; `make test-torch` counts them anew."""

from __future__ import annotations

import pytest
from algorithms import MATRIX_PRODUCTS, at, names_in, traced
from store_flop_counter import SIZES, stored

ROWS = stored()


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['algorithm']} {row['sizes']}" for row in ROWS])
def test_traced_matmul_flops_equal_what_pytorch_counted(row: dict[str, str]) -> None:
    sizes = {name: int(value) for name, value in (entry.split("=") for entry in row["sizes"].split())}
    algorithm = MATRIX_PRODUCTS[row["algorithm"]]
    assert at(traced(algorithm), sizes).matmul_flops - int(row["flops"]) == 0
    assert traced(algorithm, sizes).matmul_flops - int(row["flops"]) == 0


def test_every_product_is_stored_at_every_choice_of_sizes() -> None:
    wanted = [
        (name, " ".join(f"{n}={sizes[n]}" for n in names_in(shapes)))
        for name, (_, shapes) in MATRIX_PRODUCTS.items()
        for sizes in SIZES
    ]
    assert [(row["algorithm"], row["sizes"]) for row in ROWS] == wanted
