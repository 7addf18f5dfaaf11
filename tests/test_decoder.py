"""What layers of today add to a decoder, on arrays: each equals what its paper says, written out plainly in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import roofline_kit as rk

HEADS, HEAD_DIM, TOKENS = 4, 6, 7
WIDTH = HEADS * HEAD_DIM
drawn = np.random.default_rng(19).normal
X = drawn(size=(2, TOKENS, WIDTH))
W = {name: drawn(size=(WIDTH, WIDTH)) / 4 for name in ("query", "key", "value", "output")}
LATER = np.triu(np.ones((TOKENS, TOKENS), bool), 1)


def heads(x: Any) -> Any:
    return x.reshape(2, TOKENS, HEADS, HEAD_DIM).swapaxes(1, 2)


def softmax(S: Any) -> Any:
    return np.exp(S) / np.exp(S).sum(-1, keepdims=True)


def rms(x: Any) -> Any:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)


def written_out(
    change: Any = lambda S: S, seen: Any = ~LATER, normed: Any = lambda x, which: x, scale: float = HEAD_DIM**-0.5,
    weights: Any = softmax,
) -> Any:  # fmt: skip
    """Causal attention of all heads: `change` makes other scores of scores, `normed` other heads of projections."""
    Q, K, V = normed(X @ W["query"], "query"), normed(X @ W["key"], "key"), heads(X @ W["value"])
    Q, K = (x if x.ndim == 4 else heads(x) for x in (Q, K))
    P = weights(np.where(seen, change(Q @ K.swapaxes(-1, -2) * scale), -np.inf))
    return (P @ V).swapaxes(1, 2).reshape(2, TOKENS, WIDTH) @ W["output"]


def computed(**how: Any) -> Any:
    return rk.multi_head_attention(X, *W.values(), heads=HEADS, **{"causal": True} | how)


def test_a_cap_squeezes_scores_before_they_are_hidden() -> None:
    expected = written_out(lambda S: 0.8 * np.tanh(S / 0.8))
    np.testing.assert_allclose(computed(cap=0.8), expected, rtol=1e-10)


def test_linear_biases_are_slopes_times_distances() -> None:
    slopes = np.array([0.5, 0.25, 0.125, 2.0]).reshape(HEADS, 1, 1)
    place = np.arange(TOKENS)
    expected = written_out(lambda S: S - slopes * (place[:, None] - place))
    bias = rk.alibi(slopes, place.reshape(1, 1, -1).astype(float))
    np.testing.assert_allclose(computed(bias=bias), expected, rtol=1e-10)


def test_a_sink_is_a_score_without_a_value() -> None:
    sinks = drawn(size=(HEADS, 1, 1))

    def weights(S: Any) -> Any:
        column = np.broadcast_to(sinks, (2, HEADS, TOKENS, 1))
        return softmax(np.concat([S, column], -1))[..., :-1]

    np.testing.assert_allclose(computed(sinks=sinks), written_out(weights=weights), rtol=1e-10)


def test_a_sink_above_all_scores_does_not_overflow() -> None:
    assert np.all(rk.softmax(np.ones((1, 3)), sinks=np.full((1, 1), 1e4)) == 0)
    np.testing.assert_allclose(rk.softmax(np.full((1, 2), 1e4), sinks=np.full((1, 1), 1e4)), 1 / 3)


@pytest.mark.parametrize("columns", [2, 4, 6])
def test_a_rotation_turns_the_first_columns_and_leaves_the_others(columns: int) -> None:
    angles = drawn(size=(TOKENS, columns // 2))
    cos, sin = np.tile(np.cos(angles), 2), np.hstack([-np.sin(angles), np.sin(angles)])

    def turned(x: Any, which: str) -> Any:
        x = heads(x)
        pairs = x[..., : columns // 2] + 1j * x[..., columns // 2 : columns]
        pairs = pairs * np.exp(1j * angles)
        return np.concat([pairs.real, pairs.imag, x[..., columns:]], -1)

    out = computed(rotation=(cos, sin), rotary_dim=columns)
    np.testing.assert_allclose(out, written_out(normed=turned), rtol=1e-10)


@pytest.mark.parametrize("shape", [(TOKENS, 4), (1, HEAD_DIM), (TOKENS + 1, HEAD_DIM), (HEADS, TOKENS, HEAD_DIM)])
def test_a_rotation_is_of_the_rows_and_as_wide_as_is_asked_for(shape: Any) -> None:
    right = np.ones((TOKENS, HEAD_DIM))
    for what, tables in (("cos", (np.ones(shape), right)), ("sin", (right, np.ones(shape)))):
        with pytest.raises(ValueError, match=rf"rotary: {what} has the shape .*, and must have \(7, 6\)"):
            computed(rotation=tables)


def test_one_token_is_not_turned_into_as_many_as_a_table_has() -> None:
    cos, cache = np.ones((10, HEAD_DIM)), tuple(np.ones((2, HEADS, 10, HEAD_DIM)) for _ in "KV")
    with pytest.raises(ValueError, match=r"cos has the shape \(10, 6\), and must have \(1, 6\)"):
        rk.multi_head_attention(X[:, :1], *W.values(), heads=HEADS, rotation=(cos, cos), cache=cache)
    x, *tables = (rk.Tensor("x", shape) for shape in ((4, 1, 64), (10, 64), (10, 64)))
    with pytest.raises(ValueError, match=r"cos has the shape \(10, 64\), and must have \(1, 64\)"):
        rk.rotary(x, *tables)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"sinks": np.ones(4)}, ValueError, r"sinks has the shape \(4,\), and must have \(4, 1, 1\)"),
        ({"bias": np.ones(4)}, ValueError, r"bias has the shape \(4,\), and must have \(4, 1, 7\)"),
        ({"bias": np.ones((4, 5, 7))}, ValueError, r"bias has the shape \(4, 5, 7\), and must have \(4, 1, 7\)"),
        ({"unit": 1}, TypeError, "unit must be True or False, not 1"),
        ({"unit": "no", "norms": (np.ones(6), np.ones(6))}, TypeError, "unit must be True or False, not 'no'"),
    ],
)
def test_what_is_added_to_attention_has_its_shape(how: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        computed(**how)


@pytest.mark.parametrize(
    ("added", "shape"), [("bias", (5, 9)), ("bias", (3, 1, 9)), ("sinks", (5, 1)), ("sinks", (3, 1, 1))]
)
def test_what_is_added_to_scores_does_not_make_more_of_them(added: str, shape: Any) -> None:
    says = "what a bias makes of the scores" if added == "bias" else "softmax: a sum for each row, with these sinks,"
    for make in (np.ones, lambda shape: rk.Tensor("x", shape)):
        with pytest.raises(ValueError, match=f"{says} has the shape"):
            rk.attention(make((1, 6)), make((9, 6)), make((9, 6)), **{added: make(shape)})


@pytest.mark.parametrize("width", [HEAD_DIM, WIDTH])
def test_queries_and_keys_are_normed_by_head_or_before_they_are_split(width: int) -> None:
    weights = {"query": drawn(size=width), "key": drawn(size=width)}

    def normed(x: Any, which: str) -> Any:
        return rms(heads(x) if width == HEAD_DIM else x) * weights[which]

    expected = written_out(normed=normed, scale=0.3)
    np.testing.assert_allclose(computed(norms=tuple(weights.values()), scale=0.3), expected, rtol=1e-10)


def test_queries_and_keys_of_one_length() -> None:
    np.testing.assert_allclose(computed(unit=True), written_out(normed=lambda x, which: rms(heads(x))), rtol=1e-10)


def test_chunks_hide_what_came_before_them() -> None:
    chunk = np.arange(TOKENS) // 3
    expected = written_out(seen=~LATER & (chunk[:, None] == chunk))
    np.testing.assert_allclose(computed(causal=rk.Causal(chunk=3)), expected, rtol=1e-10)


# --- layers ---------------------------------------------------------------------------------------------

UP, DOWN = drawn(size=(WIDTH, 9)) / 4, drawn(size=(9, WIDTH)) / 4
NORMS = {name: drawn(size=WIDTH) for name in ("attention_norm", "attention_post_norm", "mlp_norm", "mlp_post_norm")}


def attended(x: Any) -> Any:
    return rk.multi_head_attention(x, *W.values(), heads=HEADS, causal=True)


def squared(x: Any) -> Any:
    return np.maximum(x @ UP, 0) ** 2 @ DOWN


def layer(norms: Any, **how: Any) -> Any:
    w = {**W, "up": UP, "down": DOWN, **{name: NORMS[name] for name in norms}}
    return rk.decoder_layer(X, w, heads=HEADS, activation="squared_relu", causal=True, **how)


def test_four_norms() -> None:
    """Gemma 2: before and after each half."""
    first, second, third, fourth = NORMS.values()
    half = X + rms(attended(rms(X) * first)) * second
    np.testing.assert_allclose(layer(NORMS), half + rms(squared(rms(half) * third)) * fourth, rtol=1e-10)


def test_norms_of_what_comes_out_alone() -> None:
    """OLMo 2."""
    half = X + rms(attended(X)) * NORMS["attention_post_norm"]
    expected = half + rms(squared(half)) * NORMS["mlp_post_norm"]
    np.testing.assert_allclose(layer(["attention_post_norm", "mlp_post_norm"]), expected, rtol=1e-10)


def test_side_by_side_with_one_norm_and_with_two() -> None:
    """GPT-J and Cohere; GPT-NeoX."""
    normed, own = rms(X) * NORMS["attention_norm"], rms(X) * NORMS["mlp_norm"]
    expected = X + attended(normed) + squared(normed)
    np.testing.assert_allclose(layer(["attention_norm"], parallel=True), expected, rtol=1e-10)
    expected = X + attended(normed) + squared(own)
    np.testing.assert_allclose(layer(["attention_norm", "mlp_norm"], parallel=True), expected, rtol=1e-10)


def test_what_is_added_is_scaled() -> None:
    """Granite."""
    half = X + 0.22 * attended(rms(X) * NORMS["attention_norm"])
    expected = half + 0.22 * squared(rms(half) * NORMS["mlp_norm"])
    np.testing.assert_allclose(layer(["attention_norm", "mlp_norm"], residual=0.22), expected, rtol=1e-10)


def test_side_by_side_is_yes_or_no() -> None:
    with pytest.raises(TypeError, match="parallel must be True or False, not 'no'"):
        layer(["attention_norm"], parallel="no")


def test_a_layer_of_experts_and_latent_attention_is_its_parts() -> None:
    w = {"query": drawn(size=(WIDTH, 2 * 5)), "kv_down": drawn(size=(WIDTH, 6)), "kv_norm": drawn(size=4)}
    w |= {"kv_up": drawn(size=(4, 2 * 7)), "output": drawn(size=(2 * 4, WIDTH)), "attention_norm": np.ones(WIDTH)}
    w |= {"router": drawn(size=(WIDTH, 8)), "expert_up": drawn(size=(8, WIDTH, 3))}
    w |= {"expert_down": drawn(size=(8, 3, WIDTH)), "mlp_norm": np.ones(WIDTH)}
    rotation, routing = (drawn(size=(TOKENS, 2)), drawn(size=(TOKENS, 2))), {"per_token": 2, "scores": "sigmoid"}
    half = X + rk.latent_attention(rms(X), w, heads=2, rotation=rotation, causal=True, eps=1e-5)
    expected = half + rk.experts(rms(half), w, activation="relu", **routing)
    found = rk.decoder_layer(X, w, heads=2, rotation=rotation, causal=True, activation="relu", routing=routing)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
