"""Weights, cache and activations have widths of their own; bytes stay exact, and what is computed does not change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from sympy import Rational

import roofline_kit as rk
from roofline_kit.sizes import BITS, bits_of, bytes_of

WIDTHS = {
    "fp16": 16, "fp8": 8, "int8": 8, "int4": Rational(33, 8), "mxfp4": Rational(17, 4), "nvfp4": Rational(9, 2),
}  # fmt: skip
LLAMA = rk.model("llama-2-7b")
A10 = rk.roofline("A10")
narrow = st.sampled_from(sorted(WIDTHS))


@pytest.mark.parametrize("dtype", WIDTHS)
def test_a_width_has_its_part_of_a_shared_scale(dtype: str) -> None:
    """4 bits and a scale: of 16 bits for 128 elements, of 8 for 32, of 8 for 16."""
    assert bits_of(dtype) == WIDTHS[dtype] == 8 * bytes_of(dtype)


@given(n=st.integers(1, 10**6), dtype=st.sampled_from(sorted(BITS)))
def test_bytes_are_exact_whatever_the_width(n: int, dtype: str) -> None:
    x = rk.Tensor("x", (n,), dtype)
    assert x.nbytes * 8 == n * bits_of(dtype) and not x.nbytes.has(sympy.Float)


@given(weights=narrow, cache=narrow)
def test_a_decode_step_reads_each_weight_and_each_token_once_in_its_own_width(weights: str, cache: str) -> None:
    """By hand: all matrices and norms but the embedding, of which a row; of the cache all but what this token adds."""
    cost = LLAMA.decode(batch=1, context=1000, weights=weights, cache=cache)
    base = LLAMA.decode(batch=1, context=1000)
    read = LLAMA.parameters - LLAMA.vocabulary * LLAMA.hidden + LLAMA.hidden
    tokens = 2 * LLAMA.layers * LLAMA.kv_heads * LLAMA.head_dim * (1000 + 1)  # all are read, and one is written
    saved = read * (2 - bytes_of(weights)) + tokens * (2 - bytes_of(cache))
    assert base.bytes - cost.bytes == saved
    assert not cost.bytes.has(sympy.Float)


@given(weights=narrow, cache=narrow, n=st.integers(1, 4000))
def test_widths_never_change_what_is_computed(weights: str, cache: str, n: int) -> None:
    for stage in (LLAMA.prefill, LLAMA.decode):
        one, other = stage(2, n), stage(2, n, weights=weights, cache=cache)
        assert (one.flops, one.matmul_flops, one.amounts["exp"]) == (
            other.flops,
            other.matmul_flops,
            other.amounts["exp"],
        )
        assert other.bytes <= one.bytes


@pytest.mark.parametrize("name", ["llama-2-7b", "gpt2", "llama-3-8b"])
def test_the_width_of_activations_is_that_of_all_three_unless_said(name: str) -> None:
    model = rk.model(name)
    for stage in (model.prefill, model.decode):
        assert stage(3, 100).bytes == stage(3, 100, weights="fp16", cache="fp16").bytes
        assert [s.name for s in stage(3, 100).steps] == [s.name for s in stage(3, 100, weights="fp16").steps]
        wide = stage(3, 100, dtype="fp32")
        assert wide.bytes == stage(3, 100, dtype="fp32", weights="fp32", cache="fp32").bytes


def test_what_is_computed_has_the_dtype_of_the_activations() -> None:
    X, W = rk.Tensor("X", (8, 64)), rk.Tensor("W", (64, 64), "int4", role="weight")
    K = rk.Tensor("K", (100, 64), "fp8", role="cache")
    assert (X @ W).dtype == (X @ K.T).dtype == rk.matmul(X, W[:, :32]).dtype == "fp16"
    assert (W * 2).dtype == "int4", "where there are only weights, they decide"
    assert all(t.dtype == "fp16" for s in LLAMA.decode(1, 9, weights="int4").steps for t in s.writes)


def test_fewer_bits_move_the_batch_from_which_a_layer_is_compute_bound() -> None:
    """A layer of width 4096 on an A10: 232 rows in half precision, 116 with a byte a weight, 60 with int4."""
    N = rk.symbols("N")
    rows = []
    for dtype in ("fp16", "int8", "int4"):
        dense = rk.trace(rk.linear, rk.Tensor("X", (N, 4096)), rk.Tensor("W", (4096, 4096), dtype, role="weight"))
        rows.append(int(sympy.ceiling(A10.crossing(dense, "N"))))
    assert rows == [232, 116, 60]


def test_what_fits_on_a_card_follows_the_widths() -> None:
    exact = LLAMA.parameters * Rational(33, 64) + LLAMA.kv_cache_bytes(4096, 1, "fp8")
    assert LLAMA.memory_bytes(4096, weights="int4", cache="fp8") == exact
    batch = LLAMA.largest_batch("A10", 4096, weights="int4", cache="fp8")
    assert LLAMA.memory_bytes(4096, batch, weights="int4", cache="fp8") <= rk.accelerator("A10").memory
    assert LLAMA.memory_bytes(4096, batch + 1, weights="int4", cache="fp8") > rk.accelerator("A10").memory
    said = "in fp16, weights in int8, cache in fp8 with a batch of 90"
    with pytest.raises(ValueError, match=said):
        LLAMA.check_memory("A10", 4096, 90, weights="int8", cache="fp8")


def test_sweeps_and_displays_take_widths_that_are_no_whole_bytes() -> None:
    b = rk.symbols("b")
    cost = LLAMA.decode(b, 1000, weights="int4")
    sweep = cost.compile("b")([1, 64])
    assert sweep.bytes.tolist() == pytest.approx([float(cost.at(b=n).bytes) for n in (1, 64)], rel=1e-15)
    assert rk.roofline("A100-40GB").time(cost.at(b=1)) < rk.roofline("A100-40GB").time(LLAMA.decode(1, 1000)) / 3
    X, W = rk.Tensor("X", (8, 64)), rk.Tensor("W", (64, 64), "int4", role="weight")
    assert "3,136" in repr(rk.trace(rk.linear, X, W)), "8·64·2 and 64·64·33/64 bytes are read"


def test_astype_converts_arrays_where_libraries_can() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert rk.astype(x, "fp16").dtype == np.float16 and (rk.astype(x, "fp64") == x).all()
    with pytest.raises(ValueError, match="arrays of numpy have no dtype int4"):
        rk.astype(x, "int4")
    step = rk.astype(rk.Tensor("x", (2, 3)), "fp8").step
    assert (step.flops, step.loads, step.stores) == (0, 12, 6)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: LLAMA.decode(1, 10, weights="int3"), "llama-2-7b, weights: unknown dtype 'int3'; did you mean 'int"),
        (lambda: LLAMA.decode(1, 10, cache="fp4"), "llama-2-7b, cache: unknown dtype 'fp4'; did you mean"),
        (lambda: LLAMA.memory_bytes(10, weights=4), "dtype must be given by its name, not as 4"),
        (lambda: rk.Tensor("x", (1,), "nvfp"), "unknown dtype 'nvfp'; did you mean 'nvfp4'"),
        (lambda: rk.Tensor("x", (1,), role="weights"), "unknown role 'weights'; did you mean 'weight'?"),
        (lambda: rk.roofline("A10", "int4"), "A10 has no int4 peak"),
    ],
)
def test_widths_and_roles_that_cannot_be_are_refused_by_name(call: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()
