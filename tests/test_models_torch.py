"""Models agree with Hugging Face's transformers: their logits, their parameters, and what PyTorch counts in them.

`make test-torch` installs both and runs these tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_model_flops import CLASSES, MODELS, built, counted, points, stored
from tiny import MODELS as TINY
from tiny import empty_cache, token_ids, weights_for

import roofline_kit as rk

pytestmark = pytest.mark.torch


# --- what it computes: transformers' own classes with random weights -------------------------------------

LLAMA_SIZES = {
    **{"vocab_size": 31, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "intermediate_size": 40},
}
ROPE = {"rope_type": "default", "rope_theta": 500.0}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT2": ("LMHeadModel", {"vocab_size": 31, "n_positions": 20, "n_embd": 24, "n_layer": 3, "n_head": 4}),
    "GPT2 with a ReLU": (
        *("LMHeadModel", {"vocab_size": 31, "n_positions": 20, "n_embd": 24, "n_layer": 1, "n_head": 3}),
    ),
    "OPT": (
        "ForCausalLM",
        {
            **{"vocab_size": 31, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "ffn_dim": 40},
            **{"max_position_embeddings": 20, "word_embed_proj_dim": 24},
        },
    ),
    "Llama": ("ForCausalLM", {**LLAMA_SIZES, "rope_parameters": ROPE}),
    "Mistral": ("ForCausalLM", {**LLAMA_SIZES, "rope_parameters": ROPE, "sliding_window": 5, "head_dim": 8}),
    "Qwen2": ("ForCausalLM", {**LLAMA_SIZES, "rope_parameters": ROPE}),
    "Qwen2 with a tied head": ("ForCausalLM", {**LLAMA_SIZES, "head_dim": 10, "tie_word_embeddings": True}),
}
KINDS["GPT2 with a ReLU"][1].update(activation_function="relu", n_inner=50)
each_kind = pytest.mark.parametrize("kind", KINDS)


def theirs(torch: Any, transformers: Any, kind: str) -> Any:
    """A model of transformers in float64, each of its parameters random: the biases and norms as well."""
    name, (suffix, sizes) = kind.split()[0], KINDS[kind]
    config = getattr(transformers, f"{name}Config")(**sizes)
    config._attn_implementation = "eager"
    model = getattr(transformers, name + suffix)(config).to(torch.float64).eval()
    torch.manual_seed(1706)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4)
    return model


def weights_of(model: Any, tied: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The weights of a model of transformers, as `Model.run` takes them. nn.Linear keeps its matrices transposed."""
    base = model.base_model

    def linear(layer: Any) -> Any:
        return layer.weight.T if layer.bias is None else (layer.weight.T, layer.bias)

    def pair(layer: Any) -> Any:
        return layer.weight, layer.bias

    if model.config.model_type == "gpt2":
        ends = {"embedding": base.wte.weight, "positions": base.wpe.weight, "norm": pair(base.ln_f)}
        layers = []
        for layer in base.h:  # one matrix for queries, keys and values; Conv1D keeps it as we do
            projections = zip(
                *(x.chunk(3, dim=-1) for x in (layer.attn.c_attn.weight, layer.attn.c_attn.bias)), strict=True
            )
            w = dict(zip(("query", "key", "value"), projections, strict=True))
            w |= {"attention_norm": pair(layer.ln_1), "output": pair(layer.attn.c_proj), "mlp_norm": pair(layer.ln_2)}
            layers.append(w | {"up": pair(layer.mlp.c_fc), "down": pair(layer.mlp.c_proj)})
        return ends, layers
    if model.config.model_type == "opt":
        base = base.decoder
        ends = {"embedding": base.embed_tokens.weight, "positions": base.embed_positions.weight}
        ends["norm"] = pair(base.final_layer_norm)
    else:
        ends = {"embedding": base.embed_tokens.weight, "norm": base.norm.weight}
        ends |= {} if tied else {"head": model.lm_head.weight.T}
    layers = []
    for layer in base.layers:
        attention = layer.self_attn
        w = {"query": linear(attention.q_proj), "key": linear(attention.k_proj), "value": linear(attention.v_proj)}
        if model.config.model_type == "opt":
            w |= {"attention_norm": pair(layer.self_attn_layer_norm), "output": linear(attention.out_proj)}
            w |= {"mlp_norm": pair(layer.final_layer_norm), "up": linear(layer.fc1), "down": linear(layer.fc2)}
        else:
            w |= {"attention_norm": layer.input_layernorm.weight, "output": linear(attention.o_proj)}
            w |= {"mlp_norm": layer.post_attention_layernorm.weight, "gate": linear(layer.mlp.gate_proj)}
            w |= {"up": linear(layer.mlp.up_proj), "down": linear(layer.mlp.down_proj)}
        layers.append(w)
    return ends, layers


def as_numpy(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: as_numpy(x) for key, x in tree.items()}
    return type(tree)(map(as_numpy, tree)) if isinstance(tree, (list, tuple)) else tree.detach().numpy()


def agree(ours: Any, expected: Any, kind: str) -> None:
    """In float64, but for what transformers always computes in float32: rotary angles and, except in GPT-2, softmax."""
    tolerance = 1e-12 if kind.startswith("GPT2") else 1e-6
    ours, expected = np.asarray(ours), np.asarray(expected)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= tolerance * np.abs(expected).max()


@each_kind
def test_the_logits_are_those_of_transformers_with_the_same_weights(
    torch: Any, transformers: Any, kind: str, tmp_path: Path
) -> None:
    other = theirs(torch, transformers, kind)
    other.config.save_pretrained(tmp_path)
    model = rk.model(tmp_path / "config.json")
    assert model.parameters == sum(parameter.numel() for parameter in other.parameters())
    batch, tokens = 2, 11
    ids = token_ids(model, batch, tokens)
    with torch.no_grad():
        expected = other(torch.from_numpy(ids)).logits.numpy()
        ends, layers = weights_of(other, model.tied)

        # At once: on arrays of NumPy and on tensors of PyTorch.
        agree(model.run(ids, as_numpy(ends), as_numpy(layers)), expected, kind)
        agree(model.run(torch.from_numpy(ids), ends, layers), expected, kind)
        agree(model.run(torch.from_numpy(ids), ends, layers, fused=True, logits="last"), expected[:, -1:], kind)

        # A prompt and then token by token, each with a cache of its own.
        before = transformers.DynamicCache(config=other.config)
        cache = [tuple(map(torch.from_numpy, kv)) for kv in empty_cache(model, batch, tokens)]
        past = 0
        for n in (tokens - 3, 1, 1, 1):
            new = torch.from_numpy(ids[:, past : past + n])
            step = other(new, past_key_values=before, use_cache=True).logits
            agree(step, expected[:, past : past + n], kind)
            agree(model.run(new, ends, layers, cache, past), step, kind)
            past += n


@pytest.mark.parametrize("kind", TINY)
def test_models_run_on_pytorch_tensors_as_on_numpy_arrays(torch: Any, kind: str) -> None:
    model = TINY[kind]
    ends, layers = weights_for(model)
    ids = token_ids(model, 2, 9)

    def tensors(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: tensors(x) for key, x in tree.items()}
        return type(tree)(map(tensors, tree)) if isinstance(tree, (list, tuple)) else torch.from_numpy(tree)

    expected = model.run(ids, ends, layers)
    computed = model.run(torch.from_numpy(ids), tensors(ends), tensors(layers))
    assert isinstance(computed, torch.Tensor)
    np.testing.assert_allclose(computed.numpy(), expected, rtol=1e-10, atol=1e-10)


# --- what it counts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("row", points(), ids=["-".join(row.values()) for row in points()])
def test_matmul_flops_equal_what_pytorch_counts_in_transformers_with_difference_0(
    torch: Any, transformers: Any, row: dict[str, str]
) -> None:
    flops = counted(torch, transformers, row)
    model, batch, tokens = rk.model(row["model"]), int(row["batch"]), int(row["tokens"])
    decoding = row["stage"] == "decode"
    cost = model.decode(batch, tokens) if decoding else model.prefill(batch, tokens, row["logits"])
    assert cost.matmul_flops - flops == 0
    # The stored table, with which the tests without PyTorch compare, is what the installed versions count.
    assert {**row, "flops": str(flops)} in stored()


@pytest.mark.parametrize("name", CLASSES)
def test_parameters_are_those_of_transformers_modules(torch: Any, transformers: Any, name: str) -> None:
    other = built(torch, transformers, name)
    assert rk.model(name).parameters == sum(parameter.numel() for parameter in other.parameters())


def test_every_model_that_the_table_describes_in_our_words_was_built() -> None:
    """Those that it describes as a config are built in test_configs.py."""
    assert set(CLASSES) == {name for name in rk.models() if "config" not in MODELS[name]}


# --- the parts ---------------------------------------------------------------------------------------


def random_tensors(torch: Any, *shapes: tuple[int, ...]) -> list[Any]:
    random = np.random.default_rng(2305)
    return [torch.from_numpy(random.normal(size=shape)) for shape in shapes]


small = st.integers(1, 5)


@given(batch=small, n=small, h=small, m=small, biased=st.booleans())
def test_an_mlp_is_that_of_pytorch_s_functions(torch: Any, batch: int, n: int, h: int, m: int, biased: bool) -> None:
    F = torch.nn.functional
    shapes = [(batch, n, h), (h, m), (h, m), (m, h), (m,), (m,), (h,)]
    X, up, gate, down, *biases = random_tensors(torch, *shapes)
    b_up, b_gate, b_down = biases if biased else (None, None, None)
    W_up, W_gate, W_down = ((up, b_up), (gate, b_gate), (down, b_down)) if biased else (up, gate, down)
    functions = {"gelu": lambda x: F.gelu(x, approximate="tanh"), "relu": F.relu, "silu": F.silu}
    for activation, function in functions.items():
        plain = F.linear(function(F.linear(X, up.T, b_up)), down.T, b_down)
        gated = F.linear(function(F.linear(X, gate.T, b_gate)) * F.linear(X, up.T, b_up), down.T, b_down)
        torch.testing.assert_close(rk.mlp(X, W_up, W_down, activation=activation), plain)
        torch.testing.assert_close(rk.mlp(X, W_up, W_down, W_gate, activation), gated)


@given(batch=small, n=small, d=small, kv_heads=small, group=small, causal=st.booleans(), fused=st.booleans())
def test_attention_with_many_heads_is_pytorch_s_for_mha_gqa_and_mqa(
    torch: Any, batch: int, n: int, d: int, kv_heads: int, group: int, causal: bool, fused: bool
) -> None:
    heads, h = kv_heads * group, 7
    shapes = [(batch, n, h), (h, heads * d), (h, kv_heads * d), (h, kv_heads * d), (heads * d, h)]
    X, W_q, W_k, W_v, W_o = random_tensors(torch, *shapes)
    Q, K, V = ((X @ W).unflatten(-1, (-1, d)).transpose(1, 2) for W in (W_q, W_k, W_v))
    out = torch.nn.functional.scaled_dot_product_attention(Q, K, V, is_causal=causal, enable_gqa=True)
    expected = out.transpose(1, 2).flatten(-2) @ W_o
    how = {"heads": heads, "kv_heads": kv_heads, "causal": causal, "fused": fused}
    torch.testing.assert_close(rk.multi_head_attention(X, W_q, W_k, W_v, W_o, **how), expected)
    arrays = [x.numpy() for x in (X, W_q, W_k, W_v, W_o)]
    np.testing.assert_allclose(rk.multi_head_attention(*arrays, **how), expected.numpy(), rtol=1e-10, atol=1e-12)


@given(batch=small, heads=small, n=small, half=small)
def test_rotary_is_transformers_with_the_sines_of_the_first_half_negated(
    torch: Any, transformers: Any, batch: int, heads: int, n: int, half: int
) -> None:
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    X, angles = random_tensors(torch, (batch, heads, n, 2 * half), (n, half))
    cos, sin = (torch.cat([f(angles)] * 2, dim=-1) for f in (torch.cos, torch.sin))
    expected, _ = apply_rotary_pos_emb(X, X, cos[None], sin[None])
    signed = torch.cat([-torch.sin(angles), torch.sin(angles)], dim=-1)
    torch.testing.assert_close(rk.rotary(X, cos, signed), expected)


def test_sparse_attention_runs_on_pytorch_tensors_as_on_numpy_arrays(torch: Any) -> None:
    S, d, block, stride = 96, 4, 8, 4
    sizes = {"block": block, "stride": stride, "select_block": 16, "selected": 3, "window": 10}
    positions, up, down = random_tensors(torch, (block, d), (block * d, 6), (6, d))
    K, V = random_tensors(torch, (2, 3, S, d), (2, 3, S, d))
    for n in (1, 7, S):
        Q, gates = random_tensors(torch, (2, 3, 2, n, d), (2, 3, 2, n, 3))

        def attended(Q: Any, K: Any, V: Any, positions: Any, up: Any, down: Any, gates: Any) -> Any:
            compressed = (rk.compress(x, positions, up, down, stride=stride) for x in (K, V))
            return rk.sparse_attention(Q, K, V, *compressed, gates, **sizes)

        inputs = (Q, K, V, positions, up, down, gates)
        computed = attended(*inputs)
        assert isinstance(computed, torch.Tensor) and computed.shape == (2, 3, 2, n, d)
        expected = attended(*(x.numpy() for x in inputs))
        np.testing.assert_allclose(computed.numpy(), expected, rtol=1e-10, atol=1e-10)
