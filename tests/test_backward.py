"""What a backward pass computes, keeps and costs, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy
from gradients import normal, of_the_kit

import roofline_kit as rk
from roofline_kit.tensor import elementwise


def test_what_relu_and_clip_cut_off_has_no_gradient() -> None:
    (ours,) = of_the_kit(lambda x: rk.relu(x).sum(), None, np.array([-1.0, 0.0, 2.0]))
    np.testing.assert_array_equal(ours, [0, 0, 1])


def test_an_array_in_a_narrower_dtype_gets_a_gradient_in_its_own() -> None:
    x = np.ones((2, 3), dtype=np.float32)
    (ours,) = of_the_kit(lambda x: rk.astype(x, "fp64").sum(), None, x)
    assert ours.dtype == np.float32


def test_a_gradient_is_as_wide_as_its_array_where_wider_ones_are_mixed_in() -> None:
    w, x = np.ones((3, 2), dtype=np.float32), np.ones((4, 3))
    of_w, of_x = of_the_kit(lambda w, x: (x @ w).sum(), None, w, x)
    assert (of_w.dtype, of_x.dtype) == (np.float32, np.float64)


def test_what_is_chosen_has_no_gradient_and_what_is_taken_by_it_has() -> None:
    def best(x: Any) -> Any:
        return rk.take(x.reshape(*x.shape, 1), rk.top(x, 2)).sum()

    (ours,) = of_the_kit(best, None, np.array([[3.0, 1.0, 2.0]]))
    np.testing.assert_array_equal(ours, [[1, 0, 1]])


def test_a_result_that_is_no_number_needs_a_gradient() -> None:
    X, W = normal((2, 3), (3, 4))
    with pytest.raises(ValueError, match=r"linear returns an array of \(2, 4\), and only a number has a gradient"):
        rk.backward(rk.linear)(X, W)
    with pytest.raises(ValueError, match=r"a gradient of \(2, 3\) is not of the result's \(2, 4\)"):
        rk.backward(rk.linear)(X, W, gradient=X)
    rk.trace(rk.backward(rk.linear), rk.Tensor("X", (2, 3)), rk.Tensor("W", (3, 4)))


def test_integers_have_no_gradient() -> None:
    table, ids = np.ones((5, 2)), np.array([0, 3])
    with pytest.raises(TypeError, match=r"an array of \(2,\) is of int64, which has no gradient: give it by"):
        rk.backward(rk.take)(table, ids)
    with pytest.raises(TypeError, match="ids is of int64, which has no gradient"):
        rk.trace(rk.backward(rk.take), rk.Tensor("E", (5, 2)), rk.Tensor("ids", 2, "int64"))


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda x: (x, x + 1), "must return one array to have a gradient, and returned several arrays"),
        (lambda x: rk.top(x, 1), "returned nothing that depends on its arrays"),
        (lambda x: 3.0, "returned nothing that depends on its arrays"),
        (lambda x: np.ones(3), "returned nothing that depends on its arrays"),
    ],
)
def test_a_result_must_depend_on_what_gets_a_gradient(f: Callable[..., Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rk.backward(f)(np.ones((2, 3)))


def test_a_step_without_a_derivative_is_named() -> None:
    x = np.ones((2, 3))
    with pytest.raises(TypeError, match="sin has no derivative here: take functions of the kit"):
        rk.backward(lambda x: np.sin(x).sum())(x)
    with pytest.raises(TypeError, match="sort has no derivative here"):
        rk.backward(lambda x: np.sort(x).sum())(x)
    with pytest.raises(ValueError, match="maximum has no known derivative"):
        rk.backward(lambda x: elementwise("maximum", x, 3.0).sum())(x)


def test_an_array_on_a_tape_has_no_values_for_python() -> None:
    with pytest.raises(TypeError, match="an array on a tape has no values"):
        rk.backward(lambda x: sum(x))(np.ones(3))
    with pytest.raises(TypeError, match="an array on a tape has no values"):
        rk.backward(lambda x: x.sum() if x.sum() else x)(np.ones(3))
    with pytest.raises(TypeError, match="an array on a tape has no values"):
        rk.backward(lambda x: float(x.sum()) * x.sum())(np.ones(3))


def test_only_slices_cut_and_only_matrices_have_a_transpose() -> None:
    x = np.ones((2, 3, 4))
    for index in (0, [0, 0], np.array([1, 1]), slice(None, None, 2), None):
        with pytest.raises(TypeError, match="slices such as"):
            rk.backward(lambda x, index=index: x[index].sum())(x)
    with pytest.raises(ValueError, match=r"\.T is for matrices"):
        rk.backward(lambda x: x.T.sum())(x)


def cached(k: Any, cache: Any) -> Any:
    """Reads a cache before a token is stored into it, and after it."""
    old = rk.exp(cache)
    return (old * 2 + rk.store(k, into=cache)).sum()


def before(k: Any, cache: Any) -> Any:
    """Multiplies what is overwritten later."""
    product = cache * cache
    return (product + rk.store(k, into=cache)).sum()


def stale(k: Any, cache: Any) -> Any:
    """Goes on with the old name of what was changed."""
    rk.store(k, into=cache)
    return (cache * 2).sum()


@pytest.mark.parametrize("kind", ["numpy", pytest.param("torch", marks=pytest.mark.torch), "trace"])
def test_old_values_that_were_overwritten_are_refused_where_they_are_needed(
    kind: str, request: pytest.FixtureRequest
) -> None:
    def arrays() -> Any:
        if kind == "trace":
            return rk.Tensor("k", (1, 2)), rk.Tensor("cache", (3, 2))
        ones = np.ones if kind == "numpy" else request.getfixturevalue("torch").ones
        return ones((1, 2)), ones((3, 2))

    rk.backward(cached)(*arrays())  # the exponentials are kept, not what they are of
    for f in (before, stale):
        with pytest.raises(ValueError, match=r"was changed by store, and its old values are needed"):
            rk.backward(f)(*arrays())
    k, cache = arrays()
    with pytest.raises(ValueError, match=r"which store writes to, is a constant here"):
        rk.backward(lambda k: stale(k, cache))(k)


@pytest.mark.parametrize("again", [rk.checkpoint, rk.fuse, lambda f: rk.checkpoint(f, early_stop=False)])
def test_what_is_overwritten_cannot_be_computed_again(again: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="store cannot be done again, so it is no part of a fused step or checkpoint"):
        rk.backward(lambda k, cache: again(cached)(k, cache))(np.ones((1, 2)), np.ones((3, 2)))


@pytest.mark.parametrize("wrap", [rk.fuse, rk.checkpoint, lambda f: rk.checkpoint(rk.fuse(f))])
def test_a_step_that_finds_an_array_elsewhere_is_refused_and_one_that_finds_a_constant_is_not(wrap: Any) -> None:
    x, w = normal((2, 3), (3,))
    with pytest.raises(ValueError, match="reads an array that gets a gradient and is not among its arguments"):
        rk.backward(lambda x, w: (wrap(lambda a: a * w)(x) + x * w).sum())(x, w)
    with pytest.raises(ValueError, match="reads an array that gets a gradient and is not among its arguments"):
        rk.passes(lambda x, w: wrap(lambda a: a * w)(x), rk.Tensor("x", (2, 3)), rk.Tensor("w", 3))
    (ours,) = of_the_kit(lambda x: (wrap(lambda a: rk.exp(a * w) * 2)(x)).sum(), None, x)
    np.testing.assert_allclose(ours, 2 * w * np.exp(x * w))


def test_indices_from_the_end_add_to_the_rows_they_took() -> None:
    (E,), indices = normal((2, 3, 2)), np.array([[-1], [-1]])
    (ours,) = of_the_kit(lambda E: (rk.take(E, indices) * np.array([[[1.0]], [[2.0]]])).sum(), None, E)
    np.testing.assert_array_equal(ours[:, 2], [[1, 1], [2, 2]])
    assert not ours[:, :2].any()


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.add(x, x, where=np.array([True, False])).sum(),
        lambda x: np.multiply(x, 2, out=np.zeros(2)).sum(),
        lambda x: ((x == 3.0) * x).sum(),
        lambda x: ((x > 3.0) * x).sum(),
    ],
)
def test_options_and_comparisons_are_refused(f: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="has no derivative"):
        rk.backward(f)(np.ones(2))


@pytest.mark.parametrize("wrap", [lambda f: f, rk.checkpoint, rk.fuse])
def test_results_may_be_unpacked_twice_and_rounded(wrap: Any) -> None:
    two = rk.fuse(lambda x: (x * 2, x * 3))

    def unpacked(x: Any) -> Any:
        pair = two(x)
        (a, b), (c, d) = pair, pair
        return (a * b + c * d).sum()

    def rounded(x: Any) -> Any:
        return (rk.astype(rk.astype(x, "int32"), "fp64") * x).sum()

    np.testing.assert_allclose(of_the_kit(wrap(unpacked), None, np.array([1.0, 2.0]))[0], [24, 48])
    np.testing.assert_allclose(of_the_kit(wrap(rounded), None, np.array([1.5, 2.5]))[0], [1, 2])


@pytest.mark.parametrize("wrap", [rk.checkpoint, rk.fuse])
def test_long_chains_have_gradients(wrap: Any) -> None:
    def chain(x: Any) -> Any:
        for _ in range(500):
            x = x * 1.001
        return x.sum()

    (ours,) = of_the_kit(wrap(chain), None, np.ones(2))
    np.testing.assert_allclose(ours, 1.001**500)


def test_numbers_and_several_axes_can_be_summed() -> None:
    (x,) = normal((2, 3))
    (ours,) = of_the_kit(lambda x: x.sum() * rk.mean(x * x, axis=None).sum(), None, x)
    np.testing.assert_allclose(ours, np.mean(x * x) + 2 * x / 6 * x.sum())
    (ours,) = of_the_kit(lambda x: rk.sum(x * x, axis=(0, 1)), None, x)
    np.testing.assert_allclose(ours, 2 * x)


def test_a_gradient_must_be_of_the_results_kind() -> None:
    x = np.ones(2)
    for gradient in (1.0, [1.0, 1.0], rk.Tensor("g", 2)):
        with pytest.raises(TypeError, match=r"the gradient (must be|is)"):
            rk.backward(rk.exp)(x, gradient=gradient)
    with pytest.raises(TypeError, match="the gradient is of complex128, which no gradient can be"):
        rk.backward(rk.exp)(x, gradient=x * 1j)
    with pytest.raises(TypeError, match="the gradient is of int64"):
        rk.passes(rk.exp, rk.Tensor("x", 2), gradient=rk.Tensor("g", 2, "int64"))
    with pytest.raises(TypeError, match="passes reads Tensors"):
        rk.passes(rk.exp, x)


def test_masked_scores_keep_their_mask_when_a_temperature_is_learned() -> None:
    def scored(Q: Any, K: Any, t: Any) -> Any:
        return rk.matmul(Q, K.mT, rk.Causal()) * t

    for B, N in ((6, 3), (2, 7)):
        Q, K, t = rk.Tensor("Q", (B, N, 4)), rk.Tensor("K", (B, N, 4)), rk.Tensor("t", (N, 1))
        sums = [step for step in rk.passes(scored, Q, K, t).backward.steps if step.operation == "sum"]
        assert [step.flops for step in sums] == [B * N * (N + 1) // 2, N * (N + 1) // 2]


def test_what_the_result_does_not_depend_on_has_no_gradient() -> None:
    _, (of_x, of_y, of_number) = rk.backward(lambda x, y, n: (x * n).sum())(np.ones(2), np.ones(3), 2.0)
    np.testing.assert_array_equal(of_x, [2, 2])
    assert of_y is None and of_number is None


# --- what it costs ------------------------------------------------------------------------------------------


def test_attention_has_two_products_forward_and_four_or_when_fused_five_backward() -> None:
    Q, K, V = rk.tensors("Q K V", rk.symbols("N h"))
    for attention, times in ((rk.attention, 2), (rk.fuse(rk.attention), sympy.Rational(5, 2))):
        both = rk.passes(attention, Q, K, V)
        assert both.backward.matmul_flops == times * both.forward.matmul_flops
    assert {x.name for x in both.saved} == {"Q", "K", "V"}


@pytest.mark.parametrize("mask", [rk.Causal(), rk.Causal(window=3), rk.Causal(chunk=4)], ids=str)
def test_what_a_mask_hides_is_not_computed_backward_either(mask: rk.Causal) -> None:
    Q, K, V = rk.tensors("Q K V", (2, 8, 4))
    both = rk.passes(rk.attention, Q, K, V, mask)
    whole = rk.passes(rk.attention, Q, K, V)
    share = sympy.Rational(mask.visible(8, 8), 64)
    assert both.backward.matmul_flops == 2 * both.forward.matmul_flops == share * whole.backward.matmul_flops


def test_a_trace_of_both_passes_is_the_sum_of_the_two() -> None:
    args = rk.tensors("Q K V", rk.symbols("N h"))
    both, cost = rk.passes(rk.attention, *args), rk.trace(rk.backward(rk.attention), *args)
    assert cost.names() == (both.forward + both.backward).names() and cost.flops == (both.forward + both.backward).flops


def test_tensors_need_a_gradient_only_in_a_run() -> None:
    X, W, g = rk.Tensor("X", (4, 3)), rk.Tensor("W", (3, 2)), rk.Tensor("dY", (4, 2), "fp32")
    cost = rk.trace(rk.backward(rk.linear), X, W, gradient=g)
    assert cost.steps[-1].operands[1] is g


@pytest.mark.parametrize(
    ("loss", "read"),
    [
        (lambda x, y: rk.concatenate((x * 2, y), axis=-1).sum(), 1),
        (lambda x, y: rk.concatenate((x * 2, y), axis=-1).mean(), 1),
        (lambda x, y: rk.concatenate((x * 2, y), axis=-1).sum(axis=0), 3),
        (lambda x, y: rk.concatenate((x * 2, y), axis=-1).mean(axis=-1), 6),
        (lambda x, y: rk.tiled(lambda x, y: x * 2, 3)(x, y).sum(), 2),
    ],
)
def test_a_part_of_a_gradient_that_many_share_reads_no_more_than_there_is(loss: Callable[..., Any], read: int) -> None:
    both = rk.passes(loss, rk.Tensor("x", (6, 3)), rk.Tensor("y", (6, 2)))
    assert both.backward.steps[-1].operation == "*"
    assert both.backward.steps[-1].loads == 2 * read


@pytest.mark.parametrize("wrap", [lambda f: f, rk.fuse])
def test_an_array_that_no_tile_depends_on_has_no_gradient(wrap: Callable[..., Any]) -> None:
    def of_second(x: Any, w: Any) -> Any:
        return w * 2

    def of_first(x: Any, w: Any) -> Any:
        return x * 2

    x, w = np.ones((4, 3)), np.ones((2, 3))
    for f, expected in ((of_second, [None, np.full((2, 3), 4.0)]), (of_first, [np.full((4, 3), 2.0), None])):
        loss = lambda x, w, f=f: rk.tiled(wrap(f), 2)(x, w).sum()  # noqa: E731
        _, found = rk.backward(loss)(x, w)
        for ours, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, wanted)
        steps = rk.passes(loss, rk.Tensor("x", (4, 3)), rk.Tensor("w", (2, 3))).backward.steps
        assert [step.operation for step in steps].count("zeros") == (f is of_second)
