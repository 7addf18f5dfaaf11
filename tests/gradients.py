"""Gradients by the kit, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import roofline_kit as rk
from roofline_kit.tensor import leaves


def of_the_kit(f: Callable[..., Any], g: Any, *args: Any, **how: Any) -> list[Any]:
    """The same by `backward`, in the order of the arrays."""
    _, found = rk.backward(f)(*args, gradient=g, **how)
    return [d for x, d in zip(leaves(args), leaves(found), strict=True) if hasattr(x, "shape")]


def normal(*shapes: tuple[int, ...], seed: int = 1) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=shape) for shape in shapes]
