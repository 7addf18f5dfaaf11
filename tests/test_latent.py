"""Latent attention: expanded and absorbed are one function, transformers' own, and cost what is executed."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from interpreter import interpret

import roofline_kit as rk

SIZES = {"h": 7, "heads": 2, "nope": 3, "rope": 4, "v": 5, "r": 6}
each_form = pytest.mark.parametrize("absorbed", [False, True], ids=["expanded", "absorbed"])


def shapes_of(*, h: int, heads: int, nope: int, rope: int, v: int, r: int, q: int | None = None) -> dict[str, Any]:
    """The shapes of the weights; q : the width of the queries' latent, where they have one."""
    shapes: dict[str, Any] = {"query_down": (h, q), "query_norm": (q,), "query_up": (q, heads * (nope + rope))}
    shapes = shapes if q else {"query": (h, heads * (nope + rope))}
    shapes |= {"kv_down": (h, r + rope), "kv_norm": (r,), "kv_up": (r, heads * (nope + v))}
    return shapes | {"output": (heads * v, h)}


def arrays(
    tokens: int, context: int | None, biased: bool = False, lead: tuple[int, ...] = (2,), **sizes: Any
) -> tuple[np.ndarray, dict[str, Any], Any, Any]:
    """X, weights, rotation and cache, all random; what the new tokens are stored into is no number yet."""
    random = np.random.default_rng(2405)
    shapes = shapes_of(**(SIZES | sizes))
    w: dict[str, Any] = {name: random.normal(size=shape) for name, shape in shapes.items()}
    if biased:
        w = {name: (x, random.normal(size=x.shape[-1])) if x.ndim > 1 else x for name, x in w.items()}
    rope, r, h = ((SIZES | sizes)[name] for name in ("rope", "r", "h"))
    half = random.normal(size=(tokens, rope // 2))
    rotation = tuple(
        np.concatenate([first, second], -1)
        for first, second in ((np.cos(half), np.cos(half)), (-np.sin(half), np.sin(half)))
    )
    cache = None
    if context:
        cache = tuple(random.normal(size=(*lead, context, width)) for width in (r, rope))
        for x in cache:
            x[..., context - tokens :, :] = np.nan
    return random.normal(size=(*lead, tokens, h)), w, rotation, cache


def copied(tree: Any) -> Any:
    """Arrays that can be written into without a trace."""
    return tuple(map(copied, tree)) if isinstance(tree, tuple) else None if tree is None else tree.copy()


def flat(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [x for item in tree for x in flat(item)] if isinstance(tree, (tuple, list)) else [tree] * (tree is not None)


def mapped(f: Any, tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: mapped(f, x) for name, x in tree.items()}
    return tuple(mapped(f, x) for x in tree) if isinstance(tree, tuple) else None if tree is None else f(tree)


def described(tree: Any) -> Any:
    return mapped(lambda x: rk.Tensor("x", tuple(x.shape)), tree)


# --- one function in two forms -------------------------------------------------------------------------

small = st.integers(1, 4)


@given(
    sizes=st.fixed_dictionaries({"h": small, "heads": small, "nope": small, "v": small, "r": small}),
    half=st.integers(1, 2), q=st.none() | small, tokens=small, past=st.none() | st.integers(0, 4),
    causal=st.booleans(), fused=st.booleans(), biased=st.booleans(), lead=st.sampled_from([(), (2,), (2, 1)]),
)  # fmt: skip
def test_expanded_and_absorbed_are_the_same_function(
    sizes: Any, half: int, q: Any, tokens: int, past: Any, causal: bool, fused: bool, biased: bool, lead: Any
) -> None:
    context = None if past is None else past + tokens
    X, w, rotation, cache = arrays(tokens, context, biased, lead, **sizes, rope=2 * half, q=q)
    how = {"heads": sizes["heads"], "rotation": rotation, "causal": causal, "fused": fused}
    both = [
        rk.latent_attention(X, w, **how, cache=copied(cache), absorbed=absorbed, scale=scale)
        for absorbed in (False, True)
        for scale in (None, (sizes["nope"] + 2 * half) ** -0.5)
    ]
    assert both[0].shape == X.shape and np.isfinite(both[0]).all()
    for other in both[1:]:
        np.testing.assert_allclose(other, both[0], rtol=1e-10, atol=1e-10)


@each_form
def test_decoding_token_by_token_gives_the_rows_of_the_prefill(absorbed: bool) -> None:
    X, w, rotation, _ = arrays(6, None)
    whole = rk.latent_attention(X, w, heads=2, rotation=rotation, causal=True)
    cache = tuple(np.full((2, 6, width), np.nan) for width in (6, 4))
    for i in range(6):
        turn = tuple(x[i : i + 1] for x in rotation)
        rows = tuple(x[:, : i + 1] for x in cache)
        out = rk.latent_attention(X[:, i : i + 1], w, heads=2, rotation=turn, cache=rows, absorbed=absorbed)
        np.testing.assert_allclose(out, whole[:, i : i + 1], rtol=1e-10, atol=1e-10)


# --- transformers' own --------------------------------------------------------------------------------


def theirs(torch: Any, transformers: Any, name: str, q: int | None) -> tuple[Any, dict[str, Any]]:
    """A module of transformers in float64 with random parameters, and its weights as the kit takes them.

    DeepSeek rotates numbers that stand side by side, and the kit, as Llama does, numbers half a head apart: so the
    columns that are rotated change places, those of even numbers first. Scores are the same, as keys do likewise.
    """
    config = getattr(transformers, f"{name}Config")(
        hidden_size=8, num_attention_heads=2, num_key_value_heads=2, q_lora_rank=q, kv_lora_rank=6, head_dim=4,
        qk_nope_head_dim=3, qk_rope_head_dim=4, v_head_dim=5, attention_bias=True, attn_implementation="eager",
    )  # fmt: skip
    folder = {"DeepseekV2": "deepseek_v2", "DeepseekV3": "deepseek_v3"}[name]
    module = importlib.import_module(f"transformers.models.{folder}.modeling_{folder}")
    attention = getattr(module, f"{name}Attention")(config, layer_idx=0).to(torch.float64).eval()
    torch.manual_seed(2405)
    with torch.no_grad():
        for x in attention.parameters():
            x.normal_(0, 0.5)
    names = {"query": "q_proj", "query_down": "q_a_proj", "query_norm": "q_a_layernorm", "query_up": "q_b_proj"}
    names |= {"kv_down": "kv_a_proj_with_mqa", "kv_norm": "kv_a_layernorm", "kv_up": "kv_b_proj", "output": "o_proj"}
    w: dict[str, Any] = {}
    for ours, other in names.items():
        layer = getattr(attention, other, None)
        if layer is not None:
            W = layer.weight.detach().t()
            bias = getattr(layer, "bias", None)
            w[ours] = W if bias is None else (W, bias.detach())
    apart = torch.tensor([0, 2, 1, 3])
    last = "query_up" if q else "query"
    w[last] = w[last][:, torch.cat([torch.arange(3), 3 + apart, 7 + torch.arange(3), 10 + apart])]
    places = torch.cat([torch.arange(6), 6 + apart])
    w["kv_down"] = tuple(x[..., places] for x in w["kv_down"])
    return attention, w


def run_theirs(torch: Any, attention: Any, X: Any, angles: Any, cache: Any, causal: bool = False) -> Any:
    """Output of the module for new tokens with these angles."""
    if type(attention).__name__ == "DeepseekV2Attention":
        turns = torch.polar(torch.ones_like(angles), angles)[None]
    else:
        turns = tuple(torch.cat([f(angles)] * 2, -1)[None] for f in (torch.cos, torch.sin))
    N = X.shape[1]
    mask = torch.full((N, N), -torch.inf, dtype=torch.float64).triu(1)[None, None] if causal else None
    with torch.no_grad():
        return attention(X, position_embeddings=turns, attention_mask=mask, past_key_values=cache)[0]


@pytest.mark.torch
@pytest.mark.parametrize("name", ["DeepseekV2", "DeepseekV3"])
@pytest.mark.parametrize("q", [None, 8])
def test_latent_attention_is_that_of_transformers(torch: Any, transformers: Any, name: str, q: int | None) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    attention, w = theirs(torch, transformers, name, q)
    X, angles = torch.randn(3, 6, 8, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    past = transformers.DynamicCache(config=attention.config)
    caches = [tuple(torch.full((3, 6, width), torch.nan, dtype=torch.float64) for width in (6, 4)) for _ in range(4)]
    done = 0
    for n in (4, 1, 1):  # a prompt, and then token by token
        new, turn = X[:, done : done + n], angles[done : done + n]
        with FlopCounterMode(display=False) as counter:
            expected = run_theirs(torch, attention, new, turn, past, causal=n > 1)
        done += n
        cos, sin = torch.cos(turn), torch.sin(turn)
        rotation = torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)
        for absorbed in (False, True):
            for fused in (False, True):
                cache = tuple(x[:, :done] for x in caches[2 * absorbed + fused])
                how = {"heads": 2, "causal": True, "absorbed": absorbed, "fused": fused, "scale": attention.scaling}
                out = rk.latent_attention(new, w, rotation=rotation, cache=cache, **how)
                assert isinstance(out, torch.Tensor)
                torch.testing.assert_close(out, expected, rtol=2e-6, atol=2e-6)  # their norms and softmax: float32
        tensors = (described(x) for x in (new, w, rotation, cache))
        X_, w_, rotation_, cache_ = tensors
        cost = rk.trace(rk.latent_attention, X_, w_, heads=2, rotation=rotation_, cache=cache_)
        assert cost.matmul_flops == counter.get_total_flops() > 0


@pytest.mark.torch
@pytest.mark.parametrize("q", [None, 8])
@pytest.mark.parametrize(("tokens", "context"), [(1, 9), (3, 9), (5, None)])
def test_the_absorbed_form_costs_what_torch_counts_in_it(torch: Any, q: int | None, tokens: int, context: Any) -> None:
    """The absorbed form once more, in einsum, by the equations of the paper."""
    from torch.utils.flop_counter import FlopCounterMode

    X, w, rotation, cache = arrays(tokens, context, q=q)
    how = {"heads": 2, "absorbed": True}
    expected = rk.latent_attention(X, w, rotation=rotation, cache=copied(cache), **how)
    x, (cos, sin) = torch.from_numpy(X), map(torch.from_numpy, rotation)
    W = {name: torch.from_numpy(weight) for name, weight in w.items()}

    def normed(y: Any, g: Any) -> Any:
        return torch.nn.functional.rms_norm(y, y.shape[-1:], g, eps=1e-6)

    def turned(y: Any) -> Any:
        return y * cos + torch.cat(y.chunk(2, -1)[::-1], -1) * sin

    with FlopCounterMode(display=False) as counter:
        Q = (normed(x @ W["query_down"], W["query_norm"]) @ W["query_up"] if q else x @ W["query"]).unflatten(
            -1, (2, 7)
        )
        Q, Q_rope = Q[..., :3].transpose(1, 2), turned(Q[..., 3:].transpose(1, 2))
        down = x @ W["kv_down"]
        c, k = normed(down[..., :6], W["kv_norm"]), turned(down[..., 6:])
        if cache is not None:
            old = [torch.from_numpy(y)[:, : context - tokens] for y in cache]
            c, k = torch.cat([old[0], c], 1), torch.cat([old[1], k], 1)
        up = W["kv_up"].unflatten(-1, (2, 8))
        Q = torch.einsum("bhnd,rhd->bhnr", Q, up[..., :3])
        S = torch.einsum("bhnr,btr->bhnt", Q, c) + torch.einsum("bhnd,btd->bhnt", Q_rope, k)
        latent = torch.einsum("bhnt,btr->bhnr", torch.softmax(S / 7**0.5, -1), c)
        out = torch.einsum("bhnr,rhd->bnhd", latent, up[..., 3:]).flatten(-2) @ W["output"]
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-10, atol=1e-10)
    cost = rk.trace(
        rk.latent_attention, described(X), described(w), rotation=described(rotation), cache=described(cache), **how
    )
    assert cost.matmul_flops == counter.get_total_flops() > 0


# --- executed element by element ----------------------------------------------------------------------------


@each_form
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("tokens", "context", "q", "biased"),
    [(3, None, None, False), (3, None, 2, True), (1, 4, 2, False), (2, 4, None, True)],
)
def test_flops_loads_and_stores_are_what_the_interpreter_counts(
    absorbed: bool, fused: bool, tokens: int, context: Any, q: Any, biased: bool
) -> None:
    tiny = {"h": 3, "heads": 2, "nope": 1, "rope": 2, "v": 2, "r": 3}
    given_ = arrays(tokens, context, biased, **tiny, q=q)
    how = {"heads": 2, "causal": context is None, "fused": fused, "absorbed": absorbed}

    def f(*numbers: Any) -> Any:
        rest = iter(numbers)
        X, w, rotation, cache = mapped(lambda _: next(rest), given_)
        return rk.latent_attention(X, w, rotation=rotation, cache=cache, **how)

    counts = interpret(f, *(x.copy() for x in flat(given_)))
    X, w, rotation, cache = given_
    expected = rk.latent_attention(X, w, rotation=rotation, cache=copied(cache), **how)
    np.testing.assert_allclose(counts.result, expected, rtol=1e-10, atol=1e-12)
    X, w, rotation, cache = described(given_)
    cost = rk.trace(rk.latent_attention, X, w, rotation=rotation, cache=cache, **how)
    assert (cost.flops, cost.matmul_flops) == (counts.flops, counts.matmul_flops)
    assert (cost.loads, cost.stores) == (counts.loads, counts.stores)
    assert cost.amounts["exp"] == counts.special


# --- DeepSeek-V3 -------------------------------------------------------------------------------------------

V3 = {"h": 7168, "heads": 128, "nope": 128, "rope": 64, "v": 128, "r": 512, "q": 1536}
LAYERS = 61


def deepseek(batch: Any, context: Any, **how: Any) -> tuple[rk.Cost, tuple[Any, Any]]:
    """Attention of one layer, one new token; and the arrays of the cache."""
    w = {name: rk.Tensor(name, shape, role="weight") for name, shape in shapes_of(**V3).items()}
    cache = tuple(rk.Tensor(name, (batch, context, n), role="cache") for name, n in (("latent", 512), ("rotated", 64)))
    X, rotation = rk.Tensor("X", (batch, 1, 7168)), rk.tensors("cos sin", (1, 64))
    return rk.trace(rk.latent_attention, X, w, heads=128, rotation=rotation, cache=cache, **how), cache


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_of_deepseek_v3_is_52_times_cheaper_absorbed(fused: bool) -> None:
    expanded, absorbed = (LAYERS * deepseek(3, 1000, fused=fused, absorbed=x)[0] for x in (False, True))
    # What FlopCounterMode counts in transformers' class: projections, and scores with the sum of values.
    assert expanded.matmul_flops == 6_202_801_127_424 + 14_991_360_000
    assert round(float(expanded.matmul_flops) / 1e12, 2) == 6.22
    assert round(float(absorbed.matmul_flops) / 1e12, 2) == 0.12
    assert round(float(expanded.matmul_flops / absorbed.matmul_flops)) == 52


def test_a_pair_of_a_query_and_a_key_takes_81920_flops_and_a_token_of_the_cache_70272_bytes() -> None:
    """verl issue 4959 and LMCache issue 688."""
    T = rk.symbols("T")
    cost, cache = deepseek(1, T, fused=True)
    (step,) = (step for step in cost.steps if step.operation == "attend")
    assert step.matmul_flops == T * 2 * 128 * (192 + 128) == T * 81_920
    cost, cache = deepseek(1, T, fused=True, absorbed=True)
    assert LAYERS * cost.loads_of(*cache) == LAYERS * T * (512 + 64) * 2 == T * 70_272


def test_the_absorbed_step_reads_the_cache_once_for_128_heads() -> None:
    T, b = rk.symbols("T b")
    cost, _ = deepseek(b, T, fused=True, absorbed=True)
    (step,) = (step for step in cost.steps if step.operation == "attend")
    heads, r, rope = V3["heads"], V3["r"], V3["rope"]
    # Two products with keys, their sum, a softmax and a product with values, for each head and token of the context;
    # queries and outputs once a head.
    flops = b * T * heads * (2 * (r + rope) + 1 + 3 + 2 * r)
    read_and_written = 2 * b * (T * (r + rope) + heads * (r + rope + r))
    assert sympy.simplify(step.flops / flops) == sympy.simplify(step.bytes / read_and_written) == 1
    limit = sympy.limit(step.intensity, T, sympy.oo)
    assert limit == sympy.Rational(heads * (4 * r + 2 * rope + 4), 2 * (r + rope)) == sympy.Rational(2180, 9)
    assert round(float(step.intensity.subs(T, 8192))) == 235


def test_what_is_computed_from_weights_and_a_cache_has_the_dtype_of_the_activations() -> None:
    w = {name: rk.Tensor(name, shape, "mxfp4", role="weight") for name, shape in shapes_of(**SIZES).items()}
    cache = tuple(rk.Tensor(name, (1, 9, n), "fp8", role="cache") for name, n in (("latent", 6), ("rotated", 4)))
    X, rotation = rk.Tensor("X", (1, 1, 7), "bf16"), rk.tensors("cos sin", (1, 4), "bf16")
    for absorbed in (False, True):
        how = {"heads": 2, "rotation": rotation, "cache": cache, "absorbed": absorbed}
        cost = rk.trace(rk.latent_attention, X, w, **how)
        assert {x.dtype for step in cost.steps for x in step.writes if x.root.role == "activation"} == {"bf16"}
        assert {x.dtype for step in cost.steps for x in step.writes if x.root.role == "cache"} == {"fp8"}


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"heads": 3}, "the 14 columns of query cannot be split into 3 heads"),
        ({"heads": 0}, "into 0 heads"),
        ({"query": (7, 8)}, "each head's part of query, 4 less, what is not rotated is 0"),
        ({"query": (6, 14)}, r"query has the shape \(6, 14\), and must have \(7, 14\)"),
        ({"kv_up": (6, 15)}, "the 15 columns of kv_up cannot be split into 2 heads"),
        ({"kv_up": (6, 6)}, "each head's part of kv_up, 3 less, the value is 0"),
        ({"kv_up": (5, 16)}, r"kv_up has the shape \(5, 16\), and must have \(6, 16\)"),
        ({"kv_norm": (5,)}, r"kv_down has the shape \(7, 10\), and must have \(7, 9\)"),
        ({"output": (14, 7)}, r"output has the shape \(14, 7\), and must have \(10, 7\)"),
        ({"latent": (2, 9, 5)}, "store: .* does not fit"),
        ({"latent": (2, 1, 6)}, "store: .* does not fit"),
    ],
)
def test_what_does_not_fit_is_refused_on_arrays_and_in_a_trace(changed: dict[str, Any], message: str) -> None:
    shapes = {"latent": (2, 9, 6), "rotated": (2, 9, 4), **shapes_of(**SIZES)} | changed
    heads = shapes.pop("heads", 2)
    for make in (np.ones, lambda shape: rk.Tensor("x", shape)):
        w = {name: make(shape) for name, shape in shapes.items()}
        cache, turn = (w.pop("latent"), w.pop("rotated")), make((3, 4))
        with pytest.raises(ValueError, match=message):
            rk.latent_attention(make((2, 3, 7)), w, heads=heads, rotation=(turn, turn), cache=cache)
