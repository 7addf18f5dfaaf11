"""13 · Training: the backward pass of an MLP of which only the input was kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ops import relu, squared_relu
from ...sizes import symbols
from ...tensor import Tensor
from .question import Build

N, h, f = symbols("N h f")


def from_input(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    """The first product once more, and then two for each of the two, from the last to the first."""
    A = X @ W1
    dA = dY @ W2.T * relu(A) * 2
    return dA @ W1.T, X.T @ dA, squared_relu(A).T @ dY


def no_slope(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    """As if there were nothing between the products."""
    dA = dY @ W2.T
    return dA @ W1.T, X.T @ dA, squared_relu(X @ W1).T @ dY


def half_the_slope(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    """Without the 2."""
    A = X @ W1
    dA = dY @ W2.T * relu(A)
    return dA @ W1.T, X.T @ dA, squared_relu(A).T @ dY


def function_for_slope(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    """The function itself in place of its slope."""
    B = squared_relu(X @ W1)
    dA = dY @ W2.T * B
    return dA @ W1.T, X.T @ dA, B.T @ dY


def not_squared(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    """What W2 met was the square."""
    A = X @ W1
    dA = dY @ W2.T * relu(A) * 2
    return dA @ W1.T, X.T @ dA, relu(A).T @ dY


def before_the_function(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    """What W2 met was not A."""
    A = X @ W1
    dA = dY @ W2.T * relu(A) * 2
    return dA @ W1.T, X.T @ dA, A.T @ dY


def before_its_slope(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    """The gradient of B where that of A belongs, in the last two products."""
    A = X @ W1
    dB = dY @ W2.T
    return (dB * relu(A) * 2) @ W1.T, X.T @ dB, squared_relu(A).T @ dY


def slope_of_gradient(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    """The slope at the gradient, and not at A."""
    dA = relu(dY @ W2.T) * 2
    return dA @ W1.T, X.T @ dA, squared_relu(X @ W1).T @ dY


def product_twice(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    """Each time that A is needed, it is computed."""
    dA = dY @ W2.T * relu(X @ W1) * 2
    return dA @ W1.T, X.T @ dA, squared_relu(X @ W1).T @ dY


def plain(X: Any, W1: Any, W2: Any, dY: Any) -> Any:
    """In NumPy, token by token."""
    dX, dW1, dW2 = np.zeros_like(X), np.zeros_like(W1), np.zeros_like(W2)
    for i, (x, dy) in enumerate(zip(X, dY, strict=True)):
        kept = np.maximum(np.dot(x, W1), 0)
        da = 2 * kept * np.dot(W2, dy)
        dX[i] = np.dot(W1, da)
        dW1 += np.outer(x, da)
        dW2 += np.outer(kept**2, dy)
    return dX, dW1, dW2


QUESTIONS = {
    "13.mlp": Build(
        title="An MLP, backward from its input",
        asks="""The forward pass was `A = X @ W1`, `B = rk.squared_relu(A)`, `Y = B @ W2`,
with *X* (*N*, *h*), `W1` (*h*, *f*) and `W2` (*f*, *h*). It is a checkpoint: of all these only *X* and the weights are
still there. Given `dY` (*N*, *h*), return `dX`, `dW1` and `dW2`. Where a number of `A` is positive, that of `B` is its
square and has the slope `2 * rk.relu(A)`; elsewhere both are zero. Compute again what is needed, once, and nothing
else.""",
        call="mlp_backward(X, W1, W2, dY)",
        takes=lambda: (
            Tensor("X", (N, h)),
            Tensor("W1", (h, f), role="weight"),
            Tensor("W2", (f, h), role="weight"),
            Tensor("dY", (N, h)),
        ),
        right=from_input,
        plain=plain,
        draws=(
            {"N": 2, "h": 3, "f": 4},
            {"N": 1, "h": 1, "f": 1},
            {"N": 5, "h": 2, "f": 7},
            {"N": 3, "h": 5, "f": 2},
        ),
        typical={"N": 4096, "h": 4096, "f": 16384},
        learned="Five products for the forward pass's two: four are gradients, and one is what the checkpoint costs.",
        hint="Five products: A again, dB of dY and W2, then dX, dW1 and dW2. Who computes Y again has one too many.",
        slips={
            no_slope: "Between the two products there is a function, and its slope belongs into the gradient.",
            half_the_slope: "The slope of a square has a 2.",
            function_for_slope: "Multiply by the slope of squared_relu, not by squared_relu itself.",
            not_squared: "W2 was multiplied by B, the square: its gradient needs B as well.",
            before_the_function: "W2 was multiplied by B and not by A.",
            before_its_slope: "dW1 needs the gradient of A, and this one is that of B.",
            slope_of_gradient: "The slope is that at A, times the gradient of B.",
            product_twice: "X @ W1 is computed twice: keep it in a line of its own.",
        },
        without=("backward", "passes"),
    ),
}
