"""A derived way back counts what is really executed: it agrees with the interpreter, exactly, as all algorithms do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from algorithms import COUNTED, QUANTITIES, Algorithm, as_arrays, as_tensors, few, names_in, shape_of, sizes_for
from hypothesis import given
from hypothesis import strategies as st
from interpreter import interpret

import roofline_kit as rk

MASKED = "on arrays a mask hides numbers that were computed, and the way back does not know it"
SEVERAL = "several results, or integers: they have no one gradient"
LEFT_OUT = {
    **dict.fromkeys(("chunks of a context", "chunks of a context, fused", "MQA with a window"), MASKED),
    **dict.fromkeys(("causal attention", "causal attention, fused", "causal attention of the last queries"), MASKED),
    **dict.fromkeys(("sliding window", "sliding window, fused", "sliding window over the last queries"), MASKED),
    **dict.fromkeys(("causal MHA", "causal GQA, fused", "causal GQA with a rotation", "MHA with a cache"), MASKED),
    "causal latent attention, fused": MASKED,
    **dict.fromkeys(("decoder layer", "decoder layer of today", "decoder layer with biases"), MASKED),
    "sparse attention of a whole context": MASKED,
    **dict.fromkeys(("top", "two results of one step", "causal attention by hand"), SEVERAL),
    **dict.fromkeys((name for name in COUNTED if name.startswith("experts ")), SEVERAL),
    "store, batched": "what was stored into is used once more, which is refused",
    "decoder layer side by side": "a bias of masked scores has no gradient in a trace",
    **dict.fromkeys(("tiled attention", "tiled attention, fused"), "test_tiles.py executes it on a chip"),
}
COUNTED_BACK = {name: algorithm for name, algorithm in COUNTED.items() if name not in LEFT_OUT}


def both(function: Any) -> Any:
    """The result and the gradients, of arrays and the gradient of the result, one after the other."""

    def run(*args: Any) -> tuple[Any, ...]:
        *arrays, gradient = args
        result, gradients = rk.backward(function)(*arrays, gradient=gradient)
        return result, *(x for x in gradients if x is not None)

    return run


def inputs(algorithm: Algorithm, sizes: dict[str, int]) -> list[np.ndarray]:
    """The arrays, and a gradient of the result."""
    function, shapes = algorithm
    arrays = as_arrays(shapes, sizes)
    return [*arrays, np.random.default_rng(1974).uniform(-1, 1, function(*arrays).shape)]


@pytest.mark.parametrize("algorithm", COUNTED_BACK.values(), ids=COUNTED_BACK)
@few
@given(data=st.data())
def test_a_trace_forward_and_back_agrees_with_the_interpreter(algorithm: Algorithm, data: st.DataObject) -> None:
    function, shapes = algorithm
    sizes = data.draw(sizes_for(shapes, 4))
    arrays = inputs(algorithm, sizes)
    counts = interpret(both(function), *arrays)
    traced = rk.passes(function, *as_tensors(shapes, sizes))
    for quantity in QUANTITIES:
        there = counts.loads + counts.stores if quantity == "bytes" else getattr(counts, quantity)
        assert getattr(traced.forward, quantity) + getattr(traced.backward, quantity) == there, quantity
    for one, other in zip(counts.result, both(function)(*arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


def test_an_array_that_is_stored_over_as_a_whole_has_a_gradient_of_zeros() -> None:
    x, into, gradient = np.ones((2, 3)), np.zeros((2, 3)), np.full((2, 3), 5.0)
    _, (of_x, of_into) = rk.backward(rk.store)(x, into, gradient=gradient)
    assert (of_x == gradient).all() and not of_into.any()


def test_of_a_part_that_is_everything_the_gradient_moves_nowhere() -> None:
    x = rk.Tensor("x", (4, 3))
    whole, rows = (rk.passes(lambda x, part=part: rk.exp(x[part]), x).backward for part in (slice(0, 4), slice(1, 4)))
    assert [step.operation for step in whole.steps] == ["*"]
    assert [step.operation for step in rows.steps] == ["*", "placed"]


def test_what_is_left_out_exists() -> None:
    assert set(LEFT_OUT) <= set(COUNTED)
    assert all(names_in(COUNTED[name][1]) and shape_of(COUNTED[name][1][0]) for name in LEFT_OUT)
