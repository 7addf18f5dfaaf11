"""Gradients of every operation and of whole algorithms are those of PyTorch's autograd, and what small differences say.

PyTorch differentiates the same function of its own tensors; it shares no derivative with the kit.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradients import normal, of_the_kit
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import MODELS, token_ids, weights_for

import roofline_kit as rk
from roofline_kit.tensor import leaves, replace_leaves
from roofline_kit.training import cross_entropy

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("torch")]


def is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray)


def as_torch(tree: Any, **how: Any) -> Any:
    """The arrays of a tree as tensors."""
    import torch

    return replace_leaves(tree, lambda x: torch.tensor(x, **how) if is_array(x) else x)


def seed_for(f: Callable[..., Any], *args: Any, **how: Any) -> Any:
    """A gradient of the result."""
    return np.random.default_rng(2205).normal(size=np.shape(f(*args, **how)))


def of_pytorch(f: Callable[..., Any], g: Any, *args: Any, **how: Any) -> list[Any]:
    """The gradients of all arrays in args that PyTorch's autograd finds; None where there is none."""
    import torch

    watched = as_torch(args, requires_grad=True)
    f(*watched, **as_torch(how)).backward(torch.tensor(g))
    return [x.grad for x in leaves(watched) if isinstance(x, torch.Tensor)]


def compare(ours: list[Any], theirs: list[Any]) -> None:
    for our, their in zip(ours, theirs, strict=True):
        assert (our is None) == (their is None)
        if our is not None and not close(np.asarray(our), np.asarray(their)):
            np.testing.assert_allclose(np.asarray(our), np.asarray(their), rtol=1e-10, atol=1e-10)


def close(our: Any, their: Any) -> bool:
    """What NumPy's assertion says in many more words, and takes ten times as long for."""
    return our.shape == their.shape and bool((abs(our - their) <= 1e-10 + 1e-10 * abs(their)).all())


def check(f: Callable[..., Any], *args: Any, **how: Any) -> None:
    """Gradients of NumPy arrays are PyTorch's to 1e-10."""
    g = seed_for(f, *args, **how)
    compare(of_the_kit(f, g, *args, **how), of_pytorch(f, g, *args, **how))


def check_with_torch(f: Callable[..., Any], *args: Any, **how: Any) -> None:
    """And so are those that the kit finds of PyTorch's own tensors."""
    g = seed_for(f, *args, **how)
    compare(of_the_kit(f, as_torch(g), *as_torch(args), **as_torch(how)), of_pytorch(f, g, *args, **how))


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


# All sizes that there are, the smallest first, and some of them twice: n, m and k are 1 to 4, and b is 1 to 3.
SIZES = list(itertools.product(range(1, 5), range(1, 5), range(1, 5), range(1, 4)))
POINTS = list(enumerate([*SIZES, *SIZES[:8]]))  # a seed for each


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_has_the_gradient_that_pytorch_finds(name: str) -> None:
    f, shapes = OPERATIONS[name]
    for seed, (n, m, k, b) in POINTS:
        try:
            check(f, *normal(*shapes(n, m, k, b), seed=seed))
        except Exception as error:
            error.add_note(f"{name!r} with n={n}, m={m}, k={k}, b={b}, seed={seed}")
            raise


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


def test_the_largest_elements_share_a_gradient_if_they_are_equal(torch: Any) -> None:
    x = torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], dtype=torch.float64, requires_grad=True)
    x.amax(-1).sum().backward()
    (ours,) = of_the_kit(lambda x: rk.max(x).sum(), None, x.detach().numpy())
    np.testing.assert_array_equal(ours, x.grad.numpy())


def test_a_gradient_has_gradients_itself(torch: Any) -> None:
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
def test_gradients_of_a_whole_model(name: str, torch: Any) -> None:
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


def test_gradients_of_gradients_reach_all_that_a_fused_step_reads(torch: Any) -> None:
    def slope(w: Any, x: Any) -> Any:
        _, (d,) = rk.backward(lambda x: (rk.rms_norm(x, w) * x).sum())(x)
        return (d * d).sum()

    x, w = normal((2, 3), (3,))
    of_w, of_x = (torch.tensor(array, requires_grad=True) for array in (w, x))
    (d,) = torch.autograd.grad((rk.rms_norm(of_x, of_w) * of_x).sum(), of_x, create_graph=True)
    (d * d).sum().backward()
    compare(of_the_kit(slope, None, w, x), [of_w.grad, of_x.grad])
    rk.trace(rk.backward(slope), rk.Tensor("w", 3), rk.Tensor("x", (2, 3)))


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


def test_a_function_that_looks_like_the_kits_is_not_taken_for_it() -> None:
    @functools.wraps(rk.matmul)
    def doubled(a: Any, b: Any) -> Any:
        return 2 * (a @ b)

    a, b = normal((2, 3), (3, 4))
    for f in (rk.checkpoint(doubled), rk.fuse(doubled)):
        check(f, a, b)
    both = rk.passes(rk.checkpoint(rk.softmax, early_stop=False), rk.Tensor("S", (3, 4)))
    assert [x.name for x in both.saved] == ["S"] and both.backward.flops == 7 * 12


def test_what_has_no_derivative_is_named_on_tensors_of_pytorch_as_well(torch: Any) -> None:
    with pytest.raises(TypeError, match="sin has no derivative here"):
        rk.backward(lambda x: torch.sin(x).sum())(torch.ones(2))
    with pytest.raises(TypeError, match="add with alpha has no derivative"):
        rk.backward(lambda x: torch.add(x, x, alpha=5).sum())(torch.ones(2))
    with pytest.raises(TypeError, match=r"the gradient (must be|is)"):
        rk.backward(rk.exp)(np.ones(2), gradient=torch.ones(2))
