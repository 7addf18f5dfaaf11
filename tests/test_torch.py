"""The kit agrees with PyTorch: what it counts, and what it computes. `make test-torch` runs these tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from algorithms import ALGORITHMS, Algorithm, as_arrays, each_algorithm, each_matrix_product, few, sizes_for, traced
from hypothesis import given
from hypothesis import strategies as st
from store_flop_counter import counted, stored, table

import roofline_kit as rk

pytestmark = pytest.mark.torch


# --- what it counts ----------------------------------------------------------------------------------


@each_matrix_product
@few
@given(data=st.data())
def test_matmul_flops_equal_those_of_the_flop_counter_with_difference_0(
    torch: Any, algorithm: Algorithm, data: st.DataObject
) -> None:
    sizes = data.draw(sizes_for(algorithm[1], largest=4096))
    assert traced(algorithm, sizes).matmul_flops - counted(torch, algorithm, sizes) == 0


def test_the_stored_counts_are_those_of_the_installed_pytorch(torch: Any) -> None:
    assert table(torch) == stored()


def test_the_flop_counter_ignores_what_is_no_matrix_product(torch: Any) -> None:
    for name in ("softmax", "gelu", "layer norm with weight and bias", "vector add"):
        sizes = dict.fromkeys("BMN", 8)
        cost = traced(ALGORITHMS[name], sizes)
        assert counted(torch, ALGORITHMS[name], sizes) == cost.matmul_flops == 0 < cost.flops


def test_the_flop_counter_misses_products_with_a_single_vector_and_we_do_not(torch: Any) -> None:
    sizes = {"B": 2, "K": 3, "N": 4}
    for name in ("matrix times vector", "dot product"):
        assert counted(torch, ALGORITHMS[name], sizes) == 0 < traced(ALGORITHMS[name], sizes).matmul_flops


# --- what it computes --------------------------------------------------------------------------------


def tensors_of(torch: Any, *shapes: str, **sizes: int) -> list[Any]:
    return [torch.from_numpy(x) for x in as_arrays(shapes, sizes)]


@each_algorithm
@few
@given(data=st.data())
def test_pytorch_tensors_and_numpy_arrays_give_the_same_result(
    torch: Any, algorithm: Algorithm, data: st.DataObject
) -> None:
    function, shapes = algorithm
    arrays = as_arrays(shapes, data.draw(sizes_for(shapes)))
    expected, computed = function(*arrays), function(*map(torch.from_numpy, arrays))
    for one, other in zip(*(x if isinstance(x, tuple) else (x,) for x in (computed, expected)), strict=True):
        assert isinstance(one, torch.Tensor)
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-12, atol=1e-12)


@given(sizes=sizes_for(("B H N h", "B H M d")))
def test_attention_is_pytorch_s_without_a_scale(torch: Any, sizes: dict[str, int]) -> None:
    Q, K, V = tensors_of(torch, "B H N h", "B H M h", "B H M d", **sizes)
    expected = torch.nn.functional.scaled_dot_product_attention(Q, K, V, scale=1.0)
    torch.testing.assert_close(rk.attention(Q, K, V), expected)
    torch.testing.assert_close(rk.fuse(rk.attention)(Q, K, V), expected)
    torch.testing.assert_close(torch.from_numpy(rk.attention(Q.numpy(), K.numpy(), V.numpy())), expected)


@given(sizes=sizes_for(("B N M",)), axis=st.integers(-3, 2))
def test_softmax_is_pytorch_s(torch: Any, sizes: dict[str, int], axis: int) -> None:
    (x,) = tensors_of(torch, "B N M", **sizes)
    torch.testing.assert_close(rk.softmax(100 * x, axis=axis), torch.nn.functional.softmax(100 * x, dim=axis))


@given(sizes=sizes_for(("B N M",)))
def test_activations_and_norms_are_pytorch_s(torch: Any, sizes: dict[str, int]) -> None:
    x, weight, bias = tensors_of(torch, "B N M", "M", "M", **sizes)
    theirs, last = torch.nn.functional, (sizes["M"],)
    x = 4 * x
    torch.testing.assert_close(rk.relu(x), theirs.relu(x))
    torch.testing.assert_close(rk.silu(x), theirs.silu(x))
    torch.testing.assert_close(rk.gelu(x), theirs.gelu(x, approximate="tanh"))
    torch.testing.assert_close(rk.layer_norm(x), theirs.layer_norm(x, last))
    torch.testing.assert_close(rk.layer_norm(x, weight, bias), theirs.layer_norm(x, last, weight, bias))
    torch.testing.assert_close(rk.layer_norm(x, weight, eps=0.1), theirs.layer_norm(x, last, weight, eps=0.1))
    torch.testing.assert_close(rk.rms_norm(x, weight), theirs.rms_norm(x, last, weight, eps=1e-6))
    torch.testing.assert_close(rk.linear(x, weight[:, None]), theirs.linear(x, weight[None]))


# --- what it refuses ---------------------------------------------------------------------------------


def test_a_tensor_of_ours_and_one_of_pytorch_s_are_not_mixed(torch: Any) -> None:
    ours, theirs = rk.Tensor("x", (3, 3)), torch.ones(3, 3)
    for mix in (lambda: ours + theirs, lambda: theirs + ours, lambda: theirs @ ours, lambda: rk.matmul(ours, theirs)):
        with pytest.raises(TypeError, match=r"Tracing takes Tensors only, running takes arrays only"):
            mix()
    with pytest.raises(TypeError, match=r"torch\.exp .*rk\.exp"):
        torch.exp(ours)
    with pytest.raises(TypeError, match=r"rk\.Tensor\('x', \(3, 3\)\)"):
        rk.trace(rk.exp, theirs)
