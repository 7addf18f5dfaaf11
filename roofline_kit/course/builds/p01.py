"""1 · Arithmetic intensity: an order of products, and a program with an intensity above 100."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...cost import Cost
from ...sizes import symbols
from ...tensor import Tensor, fuse, tensors
from .question import Build, Sizes, at

N = symbols("N")
LEAST = 100  # FLOPs per byte
TERMS = 256


def twice(A: Any, B: Any, x: Any) -> Any:
    """A times B times x, from the right: no matrix is made."""
    return A @ (B @ x)


def from_the_left(A: Any, B: Any, x: Any) -> Any:
    """The product of two matrices first, N³ operations."""
    return (A @ B) @ x


def swapped(A: Any, B: Any, x: Any) -> Any:
    """The matrices in the other order."""
    return B @ (A @ x)


def plain_twice(A: Any, B: Any, x: Any) -> Any:
    """In NumPy."""
    return np.einsum("ij,jk,k->i", A, B, x)


def by_horner(x: Any) -> Any:
    """1 + x + … + x to the power of TERMS, by Horner's rule."""
    y = 1.0
    for _ in range(TERMS):
        y = y * x + 1
    return y


def one_short(x: Any) -> Any:
    """A term too few."""
    y: Any = 1.0
    for _ in range(TERMS - 1):
        y = y * x + 1
    return y


def plain_series(x: Any) -> Any:
    """In NumPy, term by term."""
    return (x[:, None] ** np.arange(TERMS + 1)).sum(axis=1)


def intense(yours: Cost, wanted: Cost, sizes: Sizes) -> bool:
    """No more bytes than wanted, and an intensity above LEAST."""
    return bool(at(yours.bytes - wanted.bytes, sizes) <= 0 and at(yours.intensity, sizes) > LEAST)


QUESTIONS = {
    "01.order": Build(
        title="Two matrices and a vector",
        asks="""*A* and *B* are *N* by *N*, *x* has *N* numbers, all in half precision. Write *A* *B*
*x* so that it moves as few bytes as possible.""",
        call="product(A, B, x)",
        takes=lambda: (*tensors("A B", (N, N)), Tensor("x", N)),
        right=twice,
        plain=plain_twice,
        draws=({"N": 2}, {"N": 1}, {"N": 5}, {"N": 7}),
        typical={"N": 4096},
        learned="The same numbers, and nothing of order N³: the order of the products belongs to the program.",
        hint="Which products are there, and must one of them be a matrix?",
        slips={
            from_the_left: "Python multiplies from the left, A @ B first: where would parentheses help?",
            swapped: "The matrix beside x is used first: which one is it?",
        },
        secret=True,  # a product of matrices takes N³ operations: whoever reads N² knows what to avoid
    ),
    "01.series": Build(
        title="An intensity above 100",
        asks=f"""Write 1 + *x* + *x*² + … up to the power of `{TERMS}` for each of the *N* half-precision
numbers of *x*, with an intensity above `{LEAST}`. Horner's rule: begin with 1, and again and again take the result
times *x*, plus 1. `rk.fuse(f)` is the function `f` as one step, and so is an `f` with `@rk.fuse` in the line above
its `def`: it reads *x* once, writes the result once, and all between stays on the chip.""",
        call="series(x)",
        takes=lambda: (Tensor("x", N),),
        right=fuse(by_horner),
        plain=plain_series,
        draws=({"N": 2}, {"N": 1}, {"N": 5}, {"N": 8}),
        typical={"N": 4096},
        learned="Two operations a round, and four bytes for all rounds: what is kept on the chip makes the intensity.",
        hint="Each step reads and writes all of x: how many steps should it be, with how many operations?",
        fits=intense,
        slips={
            by_horner: "Each round is two steps that go to memory and back: put the function into rk.fuse.",
            fuse(one_short): f"A term is missing: from 1, it takes {TERMS} rounds.",
        },
    ),
}
