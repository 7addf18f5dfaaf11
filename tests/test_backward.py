"""Gradients, checked by PyTorch's autograd and by differences; and what a backward pass keeps, and refuses.

PyTorch differentiates the same function of its own tensors; it shares no derivative with the kit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import MODELS, token_ids, weights_for

import roofline_kit as rk
from roofline_kit.tensor import elementwise, leaves, replace_leaves
from roofline_kit.training import cross_entropy


def is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray)


def as_torch(tree: Any, **how: Any) -> Any:
    """The arrays of a tree as tensors."""
    return replace_leaves(tree, lambda x: torch.tensor(x, **how) if is_array(x) else x)


def seed_for(f: Callable[..., Any], *args: Any, **how: Any) -> Any:
    """A gradient of the result."""
    return np.random.default_rng(2205).normal(size=np.shape(f(*args, **how)))


def of_pytorch(f: Callable[..., Any], g: Any, *args: Any, **how: Any) -> list[Any]:
    """The gradients of all arrays in args that PyTorch's autograd finds; None where there is none."""
    watched = as_torch(args, requires_grad=True)
    f(*watched, **as_torch(how)).backward(torch.tensor(g))
    return [x.grad for x in leaves(watched) if isinstance(x, torch.Tensor)]


def of_the_kit(f: Callable[..., Any], g: Any, *args: Any, **how: Any) -> list[Any]:
    """The same by `backward`, in the order of the arrays."""
    _, found = rk.backward(f)(*args, gradient=g, **how)
    return [d for x, d in zip(leaves(args), leaves(found), strict=True) if hasattr(x, "shape")]


def compare(ours: list[Any], theirs: list[Any]) -> None:
    for our, their in zip(ours, theirs, strict=True):
        assert (our is None) == (their is None)
        if our is not None:
            np.testing.assert_allclose(np.asarray(our), np.asarray(their), rtol=1e-10, atol=1e-10)


def check(f: Callable[..., Any], *args: Any, **how: Any) -> None:
    """Gradients of NumPy arrays are PyTorch's to 1e-10."""
    g = seed_for(f, *args, **how)
    compare(of_the_kit(f, g, *args, **how), of_pytorch(f, g, *args, **how))


def check_with_torch(f: Callable[..., Any], *args: Any, **how: Any) -> None:
    """And so are those that the kit finds of PyTorch's own tensors."""
    g = seed_for(f, *args, **how)
    compare(of_the_kit(f, torch.tensor(g), *as_torch(args), **as_torch(how)), of_pytorch(f, g, *args, **how))


def normal(*shapes: tuple[int, ...], seed: int = 1) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=shape) for shape in shapes]


# --- every operation ----------------------------------------------------------------------------------

# Of sizes n, m, k, b: the function, and the shapes of its arrays.
OPERATIONS: dict[str, tuple[Callable[..., Any], Callable[[int, int, int, int], Any]]] = {
    "+": (lambda a, b: a + b, lambda n, m, k, b: ((b, n, m), (n, 1))),
    "-": (lambda a, b: a - b, lambda n, m, k, b: ((n, m), (b, 1, m))),
    "*": (lambda a, b: a * b, lambda n, m, k, b: ((b, n, m), (m,))),
    "/": (lambda a, b: a / (b * b + 1), lambda n, m, k, b: ((n, m), (b, n, m))),
    "numbers": (lambda a: 2 - (1 + 3 * a) / 2 - 1 / (a * a + 1), lambda n, m, k, b: ((n, m),)),
    "neg": (lambda a: -a, lambda n, m, k, b: ((n, m),)),
    "a number times itself": (lambda a: a * a * a, lambda n, m, k, b: ((n,),)),
    "exp": (rk.exp, lambda n, m, k, b: ((n, m),)),
    "log": (lambda a: rk.log(a * a + 1), lambda n, m, k, b: ((n, m),)),
    "tanh": (rk.tanh, lambda n, m, k, b: ((n, m),)),
    "sqrt": (lambda a: rk.sqrt(a * a + 1), lambda n, m, k, b: ((n, m),)),
    "relu": (rk.relu, lambda n, m, k, b: ((n, m),)),
    "squared_relu": (rk.squared_relu, lambda n, m, k, b: ((n, m),)),
    "silu": (rk.silu, lambda n, m, k, b: ((n, m),)),
    "gelu": (rk.gelu, lambda n, m, k, b: ((n, m),)),
    "sum": (rk.sum, lambda n, m, k, b: ((b, n, m),)),
    "sum of rows": (lambda a: rk.sum(a, 0), lambda n, m, k, b: ((n, m),)),
    "sum of all": (lambda a: a.sum(), lambda n, m, k, b: ((b, n, m),)),
    "sum, keepdims": (lambda a: rk.sum(a, 1, keepdims=True), lambda n, m, k, b: ((b, n, m),)),
    "max": (rk.max, lambda n, m, k, b: ((b, n, m),)),
    "max of columns": (lambda a: rk.max(a, 0, keepdims=True), lambda n, m, k, b: ((n, m),)),
    "max of all": (lambda a: rk.max(a, None), lambda n, m, k, b: ((n, m),)),
    "mean": (rk.mean, lambda n, m, k, b: ((b, n, m),)),
    "mean of all": (lambda a: rk.mean(a, None), lambda n, m, k, b: ((n, m),)),
    "softmax": (rk.softmax, lambda n, m, k, b: ((b, n, m),)),
    "softmax of columns": (lambda a: rk.softmax(a, 0), lambda n, m, k, b: ((n, m),)),
    "softmax with sinks": (lambda a, s: rk.softmax(a, sinks=s), lambda n, m, k, b: ((b, n, m), (b, 1, 1))),
    "layer_norm": (rk.layer_norm, lambda n, m, k, b: ((b, n, m + 1), (m + 1,), (m + 1,))),
    "layer_norm alone": (rk.layer_norm, lambda n, m, k, b: ((n, m + 1),)),
    "rms_norm": (rk.rms_norm, lambda n, m, k, b: ((b, n, m), (m,))),
    "@": (lambda a, b: a @ b, lambda n, m, k, b: ((n, k), (k, m))),
    "@ of a batch and one matrix": (lambda a, b: a @ b, lambda n, m, k, b: ((b, 2, n, k), (k, m))),
    "@ of two batches": (lambda a, b: a @ b, lambda n, m, k, b: ((b, 1, n, k), (b, 3, k, m))),
    "@ of one matrix and a batch": (lambda a, b: a @ b, lambda n, m, k, b: ((n, k), (b, k, m))),
    "@ of vectors": (lambda a, b: a @ b, lambda n, m, k, b: ((k,), (k,))),
    "@ of a vector and matrices": (lambda a, b: a @ b, lambda n, m, k, b: ((k,), (b, k, m))),
    "@ of matrices and a vector": (lambda a, b: a @ b, lambda n, m, k, b: ((b, n, k), (k,))),
    "@ with a mask": (
        lambda q, k, v: rk.softmax(rk.matmul(q, k.mT, rk.Causal())) @ v,
        lambda n, m, k, b: ((b, n, k), (b, n, k), (b, n, m)),
    ),
    "@ with a window": (
        lambda q, k, v: rk.softmax(rk.matmul(q, k.mT, rk.Causal(window=2))) @ v,
        lambda n, m, k, b: ((n, k), (n + m, k), (n + m, 2)),
    ),
    "T": (lambda a: a.T * 2, lambda n, m, k, b: ((n, m),)),
    "mT": (lambda a: a.mT @ a, lambda n, m, k, b: ((b, n, m),)),
    "swapaxes": (lambda a: a.swapaxes(0, 2) * 3, lambda n, m, k, b: ((b, n, m),)),
    "reshape": (lambda a: rk.exp(a.reshape(-1, 2)), lambda n, m, k, b: ((n, 2 * m),)),
    "slices": (lambda a: a[1:, :-1] * a[:-1, 1:], lambda n, m, k, b: ((n + 1, m + 1),)),
    "a slice of a slice": (lambda a: rk.exp(a[..., 1:])[:, :1, :], lambda n, m, k, b: ((b, n, m + 1),)),
    "flip": (lambda a: rk.flip(a, 0) * a, lambda n, m, k, b: ((n, m),)),
    "concatenate": (lambda a, b: rk.concatenate((a, b, a), axis=-1), lambda n, m, k, b: ((b, n), (b, m))),
    "windows": (lambda a: rk.windows(a, 3, 2) * 2, lambda n, m, k, b: ((b, 3 + n, m),)),
    "windows that stick out": (lambda a: rk.exp(rk.windows(a, 3, 2, -1, 3)), lambda n, m, k, b: ((4 + n, m),)),
    "windows of rows and columns": (lambda a: rk.exp(rk.windows(a, (2, 3), 1)), lambda n, m, k, b: ((2 + n, 3 + m),)),
    "rotary": (lambda a, c, s: rk.rotary(a, c, s), lambda n, m, k, b: ((b, n, 2 * m), (n, 2 * m), (n, 2 * m))),
    "rotary in part": (lambda a, c, s: rk.rotary(a, c, s, 2), lambda n, m, k, b: ((b, n, 2 + m), (n, 2), (n, 2))),
    "linear with a bias": (rk.linear, lambda n, m, k, b: ((b, n, k), (k, m), (m,))),
    "fused": (rk.fuse(lambda a, b: rk.exp(a @ b) + a.sum()), lambda n, m, k, b: ((n, k), (k, m))),
    "fused within fused": (rk.fuse(lambda a: rk.gelu(rk.rms_norm(a)) * rk.softmax(a)), lambda n, m, k, b: ((b, n, m),)),
    "fused attention": (rk.fuse(rk.attention), lambda n, m, k, b: ((b, n, k), (b, m, k), (b, m, 3))),
    "tiles": (rk.tiled(rk.fuse(rk.attention), 2), lambda n, m, k, b: ((2 * n, k), (m, k), (m, 3))),
    "tiles of many steps": (rk.tiled(rk.attention, 1), lambda n, m, k, b: ((b, n, k), (b, m, k), (b, m, 3))),
    "checkpoint": (rk.checkpoint(rk.attention), lambda n, m, k, b: ((n, k), (m, k), (m, 3))),
    "checkpoint, all of it": (rk.checkpoint(rk.mlp, early_stop=False), lambda n, m, k, b: ((n, k), (k, m), (m, k))),
    "checkpoint of fused steps": (
        rk.checkpoint(lambda a, w, b: rk.linear(rk.rms_norm(a), w, b)), lambda n, m, k, b: ((n, k), (k, m), (m,)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
@given(n=st.integers(1, 4), m=st.integers(1, 4), k=st.integers(1, 4), b=st.integers(1, 3), seed=st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_an_operation_has_the_gradient_that_pytorch_finds(name: str, n: int, m: int, k: int, b: int, seed: int) -> None:
    f, shapes = OPERATIONS[name]
    check(f, *normal(*shapes(n, m, k, b), seed=seed))


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_gradient_is_what_a_small_difference_of_the_inputs_changes(name: str) -> None:
    f, shapes = OPERATIONS[name]
    args, ways = (normal(*shapes(2, 3, 2, 2), seed=seed) for seed in (3, 4))
    g = seed_for(f, *args)
    slope = sum(np.sum(d * way) for d, way in zip(of_the_kit(f, g, *args), ways, strict=True))
    high, low = (f(*(x + step * way for x, way in zip(args, ways, strict=True))) for step in (1e-6, -1e-6))
    assert slope == pytest.approx(np.sum(g * (high - low)) / 2e-6, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_backward_pass_runs_on_tensors_of_pytorch(name: str) -> None:
    f, shapes = OPERATIONS[name]
    check_with_torch(f, *normal(*shapes(3, 2, 4, 2)))


sizes = st.integers(1, 5)


@given(rows=sizes, m=sizes, more=st.lists(sizes, min_size=1, max_size=2), lead=st.lists(sizes, max_size=2), seed=sizes)
@settings(max_examples=200, deadline=None)
def test_rows_that_are_taken_add_up_their_gradients(rows: int, m: int, more: Any, lead: Any, seed: int) -> None:
    indices = np.random.default_rng(seed).integers(0, rows, (*lead, *more))
    check(rk.take, *normal((*lead, rows, m), seed=seed), indices=indices)


@given(n=sizes, room=st.integers(0, 3), m=sizes, lead=st.lists(sizes, max_size=1), seed=sizes)
@settings(max_examples=200, deadline=None)
def test_a_cache_that_was_stored_into_passes_gradients_on(n: int, room: int, m: int, lead: Any, seed: int) -> None:
    def stored(x: Any, cache: Any) -> Any:
        return rk.exp(rk.store(x * 2, into=cache * 1))

    check(stored, *normal((*lead, n, m), (*lead, n + room, m), seed=seed))


def test_the_largest_elements_share_a_gradient_if_they_are_equal() -> None:
    x = torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], dtype=torch.float64, requires_grad=True)
    x.amax(-1).sum().backward()
    (ours,) = of_the_kit(lambda x: rk.max(x).sum(), None, x.detach().numpy())
    np.testing.assert_array_equal(ours, x.grad.numpy())


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


def test_a_gradient_has_gradients_itself() -> None:
    def slope(x: Any) -> Any:
        _, (d,) = rk.backward(lambda x: (rk.tanh(x) * x).sum())(x)
        return (d * d).sum()

    (x,) = normal((5,))
    watched = torch.tensor(x, requires_grad=True)
    (d,) = torch.autograd.grad((watched.tanh() * watched).sum(), watched, create_graph=True)
    (d * d).sum().backward()
    compare(of_the_kit(slope, None, x), [watched.grad])


# --- whole algorithms -----------------------------------------------------------------------------------


def weights(shapes: dict[str, Any], seed: int = 7) -> dict[str, Any]:
    """An array for each name, or a pair for a pair of shapes."""
    random = np.random.default_rng(seed)
    return {
        name: tuple(random.normal(size=s) for s in shape) if isinstance(shape[0], tuple) else random.normal(size=shape)
        for name, shape in shapes.items()
    }


LAYER = {"query": (8, 8), "key": (8, 4), "value": (8, 4), "output": (8, 8), "up": (8, 12), "gate": (8, 12)}
LAYER |= {"down": (12, 8), "attention_norm": (8,), "mlp_norm": (8,), "query_norm": (4,), "key_norm": (4,)}
BIASED = {"query": ((8, 8), (8,)), "key": ((8, 8), (8,)), "value": ((8, 8), (8,)), "output": ((8, 8), (8,))}
BIASED |= {"up": ((8, 12), (12,)), "down": ((12, 8), (8,)), "attention_norm": ((8,), (8,)), "mlp_norm": ((8,), (8,))}
BIASED |= {"sinks": (2, 1, 1)}
HOW: list[dict[str, Any]] = [
    {}, {"fused": True}, {"causal": True}, {"causal": rk.Causal(window=2), "fused": True}, {"cap": 5.0, "causal": True},
]  # fmt: skip


@pytest.mark.parametrize("how", HOW, ids=str)
def test_gradients_of_a_layer_like_qwen3s(how: dict[str, Any]) -> None:
    def layer(X: Any, w: Any, rotation: Any) -> Any:
        return rk.decoder_layer(X, w, heads=2, kv_heads=1, activation="silu", rotation=rotation, **how)

    check(layer, *normal((2, 5, 8)), weights(LAYER), rotation=tuple(normal((5, 4), (5, 4))))


@pytest.mark.parametrize("how", [{}, {"parallel": True, "residual": 0.3, "causal": True, "fused": True}], ids=str)
def test_gradients_of_a_layer_with_biases_and_sinks(how: dict[str, Any]) -> None:
    check(lambda X, w: rk.decoder_layer(X, w, heads=2, **how), *normal((2, 5, 8)), weights(BIASED))
    check_with_torch(lambda X, w: rk.decoder_layer(X, w, heads=2, **how), *normal((2, 5, 8)), weights(BIASED))


EXPERTS = {"router": (8, 6), "expert_up": ((6, 8, 10), (6, 10)), "expert_down": ((6, 10, 8), (6, 8))}
SHARED = {"shared_up": (8, 5), "shared_down": (5, 8)}
GATE = {"expert_gate": ((6, 8, 10), (6, 10))}
ROUTING: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (EXPERTS | GATE, {"per_token": 2, "activation": "clipped", "scores": "softmax of the chosen"}),
    (EXPERTS | GATE, {"per_token": 2, "activation": "silu"}),
    (EXPERTS | SHARED, {"per_token": 2, "activation": "gelu", "scores": "sigmoid", "groups": 3, "groups_chosen": 2}),
    (EXPERTS | SHARED, {"per_token": 3, "activation": "relu", "normalise": False, "scale": 2.0}),
    (EXPERTS, {"per_token": 1, "activation": "gelu", "scores": "sigmoid", "inputs_scaled": True}),
]


@pytest.mark.parametrize(("shapes", "how"), ROUTING, ids=[str(how) for _, how in ROUTING])
def test_gradients_of_experts(shapes: dict[str, Any], how: dict[str, Any]) -> None:
    for compares in (check, check_with_torch):
        compares(lambda X, w: rk.experts(X, w, **how), *normal((3, 4, 8)), weights(shapes))


LATENT = {"query": (8, 18), "kv_down": (8, 7), "kv_norm": (5,), "kv_up": (5, 21), "output": (9, 8)}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("absorbed", [False, True])
def test_gradients_of_latent_attention(absorbed: bool, fused: bool) -> None:
    def attend(X: Any, w: Any, rotation: Any) -> Any:
        return rk.latent_attention(X, w, heads=3, rotation=rotation, causal=True, absorbed=absorbed, fused=fused)

    check(attend, *normal((2, 4, 8)), weights(LATENT), rotation=tuple(normal((4, 2), (4, 2))))


def test_gradients_of_sparse_attention_and_of_what_it_compresses() -> None:
    def sparse(Q: Any, K: Any, V: Any, positions: Any, up: Any, down: Any, gates: Any) -> Any:
        K_cmp, V_cmp = (rk.compress(x, positions, up, down, stride=2) for x in (K, V))
        return rk.sparse_attention(
            Q, K, V, K_cmp, V_cmp, gates, block=4, stride=2, select_block=4, selected=3, window=6
        )

    shapes = ((2, 2, 32, 4), (2, 32, 4), (2, 32, 4), (4, 4), (16, 6), (6, 4), (2, 2, 32, 3))
    check(sparse, *normal(*shapes))
    check_with_torch(sparse, *normal(*shapes))


@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_a_whole_model(name: str) -> None:
    """Of all weights, from the loss of a language model to the embedding, which may be the head as well."""
    model = MODELS[name]
    ids = token_ids(model, 2, 6)

    def loss(ends: Any, layers: Any, ids: Any, targets: Any) -> Any:
        return cross_entropy(model.run(ids, ends, layers), targets)

    ends, layers = weights_for(model)
    args, how = (ends, layers), {"ids": ids[:, :-1], "targets": ids[:, 1:]}
    watched = as_torch(args, requires_grad=True)
    logits = model.run(torch.tensor(how["ids"]), *watched)
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor(how["targets"]).flatten())
    expected.backward()
    value, _ = rk.backward(loss)(*args, **how)
    assert float(value) == pytest.approx(float(expected.detach()), rel=1e-12)
    compare(of_the_kit(loss, None, *args, **how), [x.grad for x in leaves(watched)])


# --- what it says where it cannot ---------------------------------------------------------------------------


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
    with pytest.raises(TypeError, match="sin has no derivative here"):
        rk.backward(lambda x: torch.sin(x).sum())(torch.ones(2))
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


@pytest.mark.parametrize("kind", ["numpy", "torch", "trace"])
def test_old_values_that_were_overwritten_are_refused_where_they_are_needed(kind: str) -> None:
    def arrays() -> Any:
        if kind == "trace":
            return rk.Tensor("k", (1, 2)), rk.Tensor("cache", (3, 2))
        return (np.ones((1, 2)), np.ones((3, 2))) if kind == "numpy" else (torch.ones(1, 2), torch.ones(3, 2))

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


def test_a_softmax_written_by_hand_keeps_the_mask() -> None:
    def by_hand(Q: Any, K: Any, V: Any) -> Any:
        S = rk.matmul(Q, K.mT, rk.Causal())
        E = rk.exp(S - rk.max(S, keepdims=True))
        return (E / rk.sum(E, keepdims=True)) @ V

    check(by_hand, *normal((4, 3), (4, 3), (4, 2)))
    both = rk.passes(by_hand, *rk.tensors("Q K V", (8, 4)))
    assert both.backward.matmul_flops == 2 * both.forward.matmul_flops == 2 * 36 * 4 * 4


@pytest.mark.parametrize("shape", [(1, 5), (5,), (2, 1, 5), (2, 1, 1), (1, 1)])
def test_a_bias_of_masked_scores_has_a_gradient_in_a_run_and_in_a_trace(shape: tuple[int, ...]) -> None:
    def biased(Q: Any, K: Any, V: Any, bias: Any) -> Any:
        return rk.attention(Q, K, V, rk.Causal(), bias=bias)

    check(biased, *normal((2, 5, 3), (2, 5, 3), (2, 5, 4), shape))
    Q, K, V, b = (rk.Tensor(name, x) for name, x in zip("QKVb", ((2, 5, 3), (2, 5, 3), (2, 5, 4), shape), strict=True))
    sums = [step for step in rk.passes(biased, Q, K, V, b).backward.steps if step.operation == "sum"]
    assert sums[-1].writes[0].size == math.prod(shape) and sums[0].flops == 2 * 15


@pytest.mark.parametrize("wrap", [rk.fuse, rk.checkpoint, lambda f: rk.checkpoint(rk.fuse(f))])
def test_a_step_that_finds_an_array_elsewhere_is_refused_and_one_that_finds_a_constant_is_not(wrap: Any) -> None:
    x, w = normal((2, 3), (3,))
    with pytest.raises(ValueError, match="reads an array that gets a gradient and is not among its arguments"):
        rk.backward(lambda x, w: (wrap(lambda a: a * w)(x) + x * w).sum())(x, w)
    with pytest.raises(ValueError, match="reads an array that gets a gradient and is not among its arguments"):
        rk.passes(lambda x, w: wrap(lambda a: a * w)(x), rk.Tensor("x", (2, 3)), rk.Tensor("w", 3))
    (ours,) = of_the_kit(lambda x: (wrap(lambda a: rk.exp(a * w) * 2)(x)).sum(), None, x)
    np.testing.assert_allclose(ours, 2 * w * np.exp(x * w))


def test_gradients_of_gradients_reach_all_that_a_fused_step_reads() -> None:
    def slope(w: Any, x: Any) -> Any:
        _, (d,) = rk.backward(lambda x: (rk.rms_norm(x, w) * x).sum())(x)
        return (d * d).sum()

    x, w = normal((2, 3), (3,))
    of_w, of_x = (torch.tensor(array, requires_grad=True) for array in (w, x))
    (d,) = torch.autograd.grad((rk.rms_norm(of_x, of_w) * of_x).sum(), of_x, create_graph=True)
    (d * d).sum().backward()
    compare(of_the_kit(slope, None, w, x), [of_w.grad, of_x.grad])
    rk.trace(rk.backward(slope), rk.Tensor("w", 3), rk.Tensor("x", (2, 3)))


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
    with pytest.raises(TypeError, match="add with alpha has no derivative"):
        rk.backward(lambda x: torch.add(x, x, alpha=5).sum())(torch.ones(2))


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


def test_a_function_that_looks_like_the_kits_is_not_taken_for_it() -> None:
    @functools.wraps(rk.matmul)
    def doubled(a: Any, b: Any) -> Any:
        return 2 * (a @ b)

    a, b = normal((2, 3), (3, 4))
    for f in (rk.checkpoint(doubled), rk.fuse(doubled)):
        check(f, a, b)
    both = rk.passes(rk.checkpoint(rk.softmax, early_stop=False), rk.Tensor("S", (3, 4)))
    assert [x.name for x in both.saved] == ["S"] and both.backward.flops == 7 * 12


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
    for gradient in (1.0, [1.0, 1.0], torch.ones(2), rk.Tensor("g", 2)):
        with pytest.raises(TypeError, match=r"the gradient (must be|is)"):
            rk.backward(rk.exp)(x, gradient=gradient)
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
