"""Any config.json is exact, or refused by the name of a field; transformers says what is exact."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import roofline_kit as rk
from roofline_kit.configs import merged
from roofline_kit.names import data

SIZES: dict[str, Any] = {
    "vocab_size": 89, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 36, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "max_position_embeddings": 64,
}  # fmt: skip
EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 10}
LATENT: dict[str, Any] = {
    "kv_lora_rank": 8, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5, "n_routed_experts": 6,
    "n_shared_experts": 2, "num_key_value_heads": 4, "first_k_dense_replace": 1, "n_group": 3, "topk_group": 2,
}  # fmt: skip
OLD: dict[str, Any] = {"vocab_size": 89, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": 64}
TINY: dict[str, dict[str, Any]] = {
    "gpt2": OLD,
    "gpt2 by other names": {
        **{"model_type": "gpt2", "vocab_size": 89, "hidden_size": 24, "num_hidden_layers": 3},
        **{"num_attention_heads": 4, "max_position_embeddings": 64, "n_inner": 30, "tie_word_embeddings": False},
    },
    "opt": {**SIZES, "ffn_dim": 40, "word_embed_proj_dim": 24},
    "llama": SIZES,
    "llama with biases": {**SIZES, "attention_bias": True, "mlp_bias": True, "head_dim": 8},
    "mistral": {**SIZES, "sliding_window": 5, "head_dim": 8},
    "ministral": {
        **{**SIZES, "head_dim": 8, "sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"] * 2},
    },
    "mixtral": {**SIZES, "num_local_experts": 5, "num_experts_per_tok": 2, "sliding_window": None},
    "qwen2": SIZES,
    "qwen2 with windows": {**SIZES, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 3},
    "qwen3": {**SIZES, "head_dim": 10, "tie_word_embeddings": True},
    "qwen3_moe": {**SIZES, **EXPERTS, "num_experts": 6, "mlp_only_layers": [2], "head_dim": 6},
    "qwen3_moe in every second layer": {**SIZES, **EXPERTS, "num_experts": 6, "decoder_sparse_step": 2},
    "gemma": {**SIZES, "head_dim": 8},
    "gemma2": {**SIZES, "head_dim": 8, "sliding_window": 5},
    "gemma3_text": {**SIZES, "head_dim": 8, "sliding_window": 5, "num_hidden_layers": 7},
    "phi": {**SIZES, "partial_rotary_factor": 0.5, "num_attention_heads": 3, "num_key_value_heads": 3},
    "phi3": {**SIZES, "sliding_window": 5},
    "gpt_neox": {**SIZES, "rotary_pct": 0.5, "num_attention_heads": 3},
    "gptj": {**OLD, "rotary_dim": 4},
    "falcon": {**SIZES, "multi_query": True, "parallel_attn": True},
    "falcon with biases": {**SIZES, "multi_query": False, "parallel_attn": False, "bias": True, "alibi": True},
    "falcon with groups": {**SIZES, "new_decoder_architecture": True, "num_kv_heads": 2},
    "falcon with groups and one norm": {
        **{**SIZES, "new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
    },
    "starcoder2": {**SIZES, "sliding_window": 5},
    "olmo2": SIZES,
    "cohere": SIZES,
    "cohere with norms": {**SIZES, "use_qk_norm": True},
    "granite": {**SIZES, "attention_multiplier": 0.1, "embedding_multiplier": 12.0, "logits_scaling": 8.0},
    "smollm3": SIZES,
    "nemotron": {**SIZES, "head_dim": 8},
    "bloom": {"vocab_size": 89, "hidden_size": 24, "n_layer": 3, "n_head": 4},
    "bloom with three heads": {"vocab_size": 89, "hidden_size": 24, "n_layer": 2, "n_head": 3},
    "mpt": {"vocab_size": 89, "d_model": 24, "n_layers": 3, "n_heads": 4, "expansion_ratio": 4},
    "gpt_oss": {**SIZES, "head_dim": 8, "sliding_window": 5, "num_local_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v2": {**SIZES, **EXPERTS, **LATENT, "q_lora_rank": None, "topk_method": "group_limited_greedy"},
    "deepseek_v3": {**SIZES, **EXPERTS, **LATENT, "q_lora_rank": 9},
    "glm4_moe": {
        **{**SIZES, **EXPERTS, "n_routed_experts": 6, "use_qk_norm": True, "attention_bias": True, "head_dim": 8},
        **{"first_k_dense_replace": 2},
    },
    "llama4_text": {
        **{**SIZES, "num_local_experts": 3, "intermediate_size_mlp": 20, "interleave_moe_layer_step": 2},
        **{"attention_chunk_size": 5, "head_dim": 8, "num_hidden_layers": 5},
    },
}  # fmt: skip
CASES = ((1, 1, "all"), (1, 4, "all"), (3, 5, "all"), (2, 12, "last"), (2, 12, "all"))  # batch, tokens, logits
# The names in huggingface.toml that are no model_type of transformers'.
ALIASES = {"common", "kimi_k2", "RefinedWebModel", "RefinedWeb"}
each_tiny = pytest.mark.parametrize("name", TINY)


def with_type(name: str) -> dict[str, Any]:
    return {"model_type": name.split()[0], **TINY[name]}


def written(folder: Path, config: Any) -> Path:
    path = folder / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config), "utf-8")
    return path


def counted_in_full(model: rk.Model) -> rk.Model:
    """As transformers computes it: Llama 4 there runs every expert on every token, and weighs most of them with 0."""
    return replace(model, experts_per_token=model.experts) if model.inputs_scaled else model


def our_flops(model: rk.Model, batch: int, tokens: int, logits: str) -> tuple[Any, Any]:
    """Of a prompt, and of the token after it."""
    model = counted_in_full(model)
    return model.prefill(batch, tokens, logits).matmul_flops, model.decode(batch, tokens + 1).matmul_flops


# --- transformers' own classes -----------------------------------------------------------------------------


def theirs(torch: Any, transformers: Any, config: dict[str, Any], device: str) -> Any:
    """The class of transformers that a config is of, counted as it runs: neither fused attention nor fused experts."""
    kind = transformers.AutoConfig.for_model(**config)
    kind._attn_implementation = "eager"
    kind._experts_implementation = "eager" if device == "cpu" else "batched_mm"
    with torch.device(device):
        return transformers.AutoModelForCausalLM.from_config(kind).eval()


def their_flops(torch: Any, transformers: Any, model: Any, batch: int, tokens: int, logits: str) -> tuple[int, int]:
    """Of a prompt, and of the token after it."""
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    counts = []
    with torch.no_grad(), torch.device(device):
        cache = transformers.DynamicCache(config=model.config)
        for new, kept in ((tokens, int(logits == "last")), (1, 0)):
            with FlopCounterMode(display=False) as counter:
                ids = torch.ones((batch, new), dtype=torch.long)
                model(ids, past_key_values=cache, use_cache=True, logits_to_keep=kept)
            counts.append(int(counter.get_total_flops()))
    assert min(counts) > 0
    return counts[0], counts[1]


@pytest.mark.torch
@each_tiny
def test_a_tiny_config_is_what_transformers_makes_of_it(
    torch: Any, transformers: Any, name: str, tmp_path: Path
) -> None:
    config = with_type(name)
    model, other = rk.model(written(tmp_path, config)), theirs(torch, transformers, config, "cpu")
    assert model.parameters == sum(x.numel() for x in other.parameters())
    for case in CASES:
        assert our_flops(model, *case) == their_flops(torch, transformers, other, *case), case


def test_every_model_type_that_is_read_is_compared() -> None:
    assert {name.split()[0] for name in TINY} == set(data("huggingface.toml")) - ALIASES


FULL = {
    name: row["config"] | dict.fromkeys(row.get("nulls", []))
    for name, row in data("models.toml").items()
    if "config" in row
}


def layers_of(model: rk.Model) -> tuple[int, set[tuple[Any, str]]]:
    """How many kinds of layers a model has, and their windows and weights."""
    return len(model.kinds), {(kind.window, str(kind.layer_weights())) for _, kind in model.kinds}


LAYERS = 8  # in which there are layers of all kinds that a model has


@pytest.mark.torch
@pytest.mark.parametrize("name", FULL)
def test_a_model_of_the_table_is_what_transformers_makes_of_it_at_full_size(
    torch: Any, transformers: Any, name: str, tmp_path: Path
) -> None:
    """Products are counted in a few layers, of full width: what was counted in all of them is stored."""
    config = {key: x for key, x in FULL[name].items() if key != "quantization_config"}
    config["model_type"] = {"kimi_k2": "deepseek_v3"}.get(config["model_type"], config["model_type"])
    model, other = rk.model(name), theirs(torch, transformers, config, "meta")
    assert model.parameters == sum(x.numel() for x in other.parameters())
    assert model.kv_cache_bytes(1) == KV_BYTES[name]
    (depth,) = {"num_hidden_layers", "n_layer", "n_layers"} & set(config)
    lower = rk.model(written(tmp_path, config | {depth: LAYERS}))
    assert lower.layers == LAYERS and layers_of(lower) == layers_of(rk.model(written(tmp_path, config)))
    other = theirs(torch, transformers, config | {depth: LAYERS}, "meta")
    case = 2, 100, "last"
    assert our_flops(lower, *case) == their_flops(torch, transformers, other, *case)


KV_BYTES = {
    "gpt-j-6b": 458_752, "gpt-neox-20b": 1_081_344, "bloom-176b": 4_014_080, "mpt-7b": 524_288, "falcon-7b": 8_192,
    "mixtral-8x7b": 131_072, "phi-2": 327_680, "phi-3-mini": 393_216, "gemma-7b": 458_752, "gemma-2-9b": 344_064,
    "gemma-3-4b": 139_264, "starcoder2-15b": 81_920, "command-r-35b": 1_310_720, "olmo-2-7b": 524_288,
    "nemotron-4-15b": 131_072, "granite-3.3-8b": 163_840, "smollm3-3b": 73_728, "qwen3-8b": 147_456,
    "qwen3-30b-a3b": 98_304, "glm-4.5-air": 188_416, "gpt-oss-20b": 49_152, "llama-4-scout": 196_608,
    "deepseek-v2-lite": 31_104, "deepseek-v3": 70_272, "kimi-k2": 70_272,
}  # fmt: skip
"""Bytes a token in fp16, of all layers."""


# --- the same, stored -----------------------------------------------------------------------------------------

with Path(__file__).with_name("models_of_today.csv").open(encoding="utf-8", newline="") as file:
    STORED = list(csv.DictReader(file))
"""Counted on 2026-11-28 and 29 in transformers 5.23.0 on the meta device, with PyTorch 2.13's FlopCounterMode."""


def test_of_every_model_of_the_table_both_stages_are_stored() -> None:
    for stage in ("prefill", "decode"):
        assert {row["model"] for row in STORED if row["quantity"] == stage} == set(FULL)


@pytest.mark.parametrize("name", dict.fromkeys(row["model"] for row in STORED))
def test_a_model_of_the_table_is_what_was_counted(name: str) -> None:
    model = rk.model(name)
    for row in (row for row in STORED if row["model"] == name):
        value = {
            "parameters": lambda row: model.parameters,
            "active": lambda row: model.active_parameters(row["which"]),
            "kv cache": lambda row: model.kv_cache_bytes(int(row["tokens"])),
        }.get(row["quantity"], lambda row: flops_of_row(model, row))(row)
        assert value - int(row["value"]) == 0, row


def flops_of_row(model: rk.Model, row: dict[str, str]) -> Any:
    model, batch, tokens = counted_in_full(model), int(row["batch"]), int(row["tokens"])
    decoding = row["quantity"] == "decode"
    return (model.decode(batch, tokens) if decoding else model.prefill(batch, tokens, row["which"])).matmul_flops


def test_of_llama_4_both_numbers_are_known() -> None:
    """One token of Scout: with all 16 experts, as transformers computes it, and with the one that it chooses."""
    scout = rk.model("llama-4-scout")
    in_full, chosen = (model.prefill(1, 1).matmul_flops for model in (counted_in_full(scout), scout))
    assert (round(float(in_full) / 1e9, 1), round(float(chosen) / 1e9, 1)) == (213.5, 32.3)


def test_of_deepseek_v3_both_algorithms_are_known() -> None:
    """A step for 3 contexts of 1000: keys and values computed anew, as transformers does, and absorbed."""
    costs = [rk.model("deepseek-v3").decode(3, 1000, absorbed=absorbed) for absorbed in (False, True)]
    assert costs[0].matmul_flops == 6_369_059_536_896
    assert [round(float(cost.matmul_flops) / 1e12, 2) for cost in costs] == [6.37, 0.27]
    assert round(float(costs[0].matmul_flops - costs[1].matmul_flops) / 1e12, 2) == 6.1  # of 6.22 in attention


# --- where each value came from ------------------------------------------------------------------------


def test_a_model_says_where_each_of_its_values_came_from(tmp_path: Path) -> None:
    model = rk.model(written(tmp_path, with_type("ministral") | {"head_dim": None, "rms_norm_eps": 1e-5}))
    said = model.provenance
    assert (said["hidden"], said["norm_eps"]) == ("read: hidden_size", "read: rms_norm_eps")
    assert (said["head_dim"], said["gated"]) == ("derived: hidden / heads", "every MinistralForCausalLM")
    assert said["rope_theta"] == "default: rope_theta of MinistralForCausalLM"


def test_a_head_dim_is_the_class_s_own_where_the_file_has_none(tmp_path: Path) -> None:
    """Qwen3 does not divide."""
    config = {key: x for key, x in with_type("qwen3").items() if key != "head_dim"}
    model = rk.model(written(tmp_path, config))
    assert (model.head_dim, model.provenance["head_dim"]) == (128, "default: head_dim of Qwen3ForCausalLM")


def test_a_nearly_empty_gemma_3_is_its_class_s_default(tmp_path: Path) -> None:
    """From Hugging Face: google/gemma-3-4b-pt has these fields and no others about text."""
    text = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}
    text |= {"model_type": "gemma3_text", "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    whole = {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "text_config": text}
    for config in (text, whole, {"tie_word_embeddings": True} | whole):
        model = rk.model(written(tmp_path, config))
        assert (model.heads, model.kv_heads, model.head_dim, model.vocabulary) == (8, 4, 256, 262208)
        assert model.parameters == 3_880_263_168 and model.provenance["vocabulary"].startswith("default")
        assert [(n, kind.window) for n, kind in model.kinds] == [(29, 1024), (5, None)]


LLAMA = {**SIZES, "model_type": "llama"}
MOE = with_type("deepseek_v3")
AWQ, FP8 = {"quant_method": "awq", "bits": 4, "group_size": 128}, {"quant_method": "fp8"}
V3 = "DeepseekV3"
GEMMA = {"model_type": "gemma3", "text_config": {}}


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        # what is another architecture
        (LLAMA | {"architectures": ["LlamaForSequenceClassification"]}, "architectures is"),
        (LLAMA | {"architectures": ["LlamaModel"]}, "architectures is"),
        (LLAMA | {"architectures": ["LlamaForConditionalGeneration"]}, "architectures is"),
        (LLAMA | {"auto_map": {"AutoModelForCausalLM": "modeling_mine.MyLlama"}}, "auto_map has AutoModelForCausalLM"),
        (LLAMA | {"block_configs": [{"attention": {}}]}, "block_configs is"),
        (LLAMA | {"global_head_dim": 512}, "global_head_dim is 512"),
        (LLAMA | {"num_experts": 8}, "num_experts is 8"),
        (LLAMA | {"num_local_experts": 8, "num_experts_per_tok": 2}, "num_local_experts is 8"),
        (LLAMA | {"sliding_window": 4096}, "sliding_window is 4096"),
        (LLAMA | {"layer_types": ["full_attention"] * 4}, "layer_types is"),
        (LLAMA | {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        (LLAMA | {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5"),
        (LLAMA | {"rope_parameters": {"rope_theta": 1e4, "experts": 8}}, "rope_parameters has experts"),
        (LLAMA | {"rope_scaling": {"type": "dynamic", "head_dim": 8}}, "rope_scaling has head_dim"),
        (LLAMA | {"rope_parameters": 1}, "rope_parameters is 1"),
        (LLAMA | {"kv_lora_rank": 512}, "kv_lora_rank is 512"),
        (LLAMA | {"model_type": "jamba", "mamba_d_state": 16}, "'jamba' is not modelled, nor are its mamba_d_state"),
        (LLAMA | {"model_type": "mllama", "text_config": LLAMA}, "a text_config in a model_type 'mllama'"),
        (LLAMA | {"text_config": [1]}, "text_config is"),
        (LLAMA | {"enable_moe_block": True}, "enable_moe_block is True"),
        (LLAMA | {"is_encoder_decoder": True}, "is_encoder_decoder is True"),
        (LLAMA | {"pruned_heads": {"0": [1]}}, "pruned_heads is"),
        (LLAMA | {"num_kv_heads": 1}, "num_kv_heads is 1"),
        (LLAMA | {"architectures": [["LlamaForCausalLM"]]}, "architectures is"),
        (LLAMA | {"architectures": "LlamaModel"}, "architectures is"),
        (LLAMA | {"auto_map": "modeling"}, "auto_map is 'modeling', and must be an object"),
        (with_type("gemma3_text") | {"sliding_window_pattern": 4}, "sliding_window_pattern is 4"),
        (MOE | {"moe_layer_freq": 2}, "moe_layer_freq is 2"),
        (MOE | {"scoring_func": "softmax"}, "scoring_func is 'softmax'"),
        (with_type("phi") | {"qk_layernorm": True}, "qk_layernorm is True"),
        (with_type("mpt") | {"attn_config": {"alibi": False}}, "alibi is False"),
        (with_type("mpt") | {"expansion_ratio": 3}, "expansion_ratio is 3"),
        (with_type("mpt") | {"no_bias": False}, "no_bias is False"),
        # layers that do not fit
        (with_type("ministral") | {"layer_types": ["full_attention"] * 3}, "layer_types has 3 entries for 4 layers"),
        (with_type("gemma2") | {"layer_types": ["linear_attention"] * 4}, "layer_types has 'linear_attention'"),
        (with_type("ministral") | {"layer_types": "full"}, "layer_types is 'full', and must be a list"),
        (with_type("gemma2") | {"layer_types": [["full_attention"]] * 4}, "layer_types has .'full_attention'."),
        (with_type("qwen3_moe") | {"mlp_only_layers": ["1"]}, "mlp_only_layers has '1', and must have whole numbers"),
        (with_type("llama4_text") | {"moe_layers": ["1"]}, "moe_layers has '1', and must have whole numbers"),
        (with_type("smollm3") | {"no_rope_layers": [1, 0]}, "no_rope_layers has 2 entries for 4 layers"),
        (with_type("mistral") | {"sliding_window": 0}, "sliding_window is 0, and must be a positive integer, or null"),
        # experts that do not fit
        (MOE | {"num_experts_per_tok": 7}, "7 experts per token are more than the 6 that there are"),
        (MOE | {"n_group": 4}, "4 groups do not divide 6 experts"),
        (MOE | {"topk_group": 4}, "4 groups_chosen are more than the 3 groups"),
        (MOE | {"num_experts_per_tok": 5}, "5 experts per token are more than the 4 of 2 chosen groups"),
        # numbers that are none
        (LLAMA | {"num_attention_heads": 5}, "5 heads do not divide a hidden size of 24"),
        (LLAMA | {"num_key_value_heads": 3}, "4 heads cannot share 3 kv_heads"),
        (LLAMA | {"hidden_size": "24"}, "hidden_size is '24', and must be a positive integer"),
        (LLAMA | {"num_hidden_layers": True}, "num_hidden_layers is True, and must be a positive integer"),
        (LLAMA | {"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes', and must be true or false"),
        (LLAMA | {"tie_word_embeddings": 1}, "tie_word_embeddings is 1, and must be true or false"),
        (LLAMA | {"rms_norm_eps": "1e-5"}, "rms_norm_eps is '1e-5', and must be a positive number"),
        (LLAMA | {"rope_theta": -1.0}, "rope_theta is -1.0, and must be a positive number"),
        (LLAMA | {"hidden_act": 3}, "hidden_act is 3"),
        (with_type("qwen3") | {"head_dim": None}, "head_dim is null, and must be given or left out"),
        ('{"model_type": "llama", "hidden_size": Infinity}', "Infinity is no number"),
        ('{"model_type": "llama", "rms_norm_eps": NaN}', "NaN is no number"),
        ('{"model_type": "llama", "vocab_size": 1e999}', "has no|must be a positive integer"),
        # storage
        (LLAMA | {"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config has quant_method"),
        (LLAMA | {"quantization_config": {"quant_method": "gptq", "bits": 3}}, "with bits 3"),
        (LLAMA | {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 32}}, "group_size 32"),
        (LLAMA | {"quantization_config": "awq"}, "quantization_config is 'awq'"),
        (LLAMA | {"quantization_config": AWQ | {"modules_to_not_convert": ["lm_head", "mlp"]}}, "'mlp' in modules_to"),
        (LLAMA | {"quantization_config": FP8 | {"ignored_layers": ["model.layers.0.self_attn"]}}, "in ignored_layers"),
        (LLAMA | {"quantization_config": AWQ | {"quant_method": "gptq", "lm_head": True}}, "lm_head = True"),
        (LLAMA | {"quantization_config": AWQ | {"quant_method": "gptq", "dynamic": {"-:": {}}}}, "dynamic = "),
        (LLAMA | {"quantization_config": AWQ | {"group_size": -1}}, "group_size -1"),
        (LLAMA | {"quantization_config": {"quant_method": "mxfp4"}}, "which is of experts, and there are none"),
        (LLAMA | {"quantization_config": FP8 | {"ignored_layers": 5}}, "ignored_layers = 5, which must be a list"),
        (LLAMA | {"quantization": {"group_size": 64, "bits": 4}}, "quantization is {'group_size': 64, 'bits': 4}"),
        (LLAMA | {"compression_config": {"format": "float-quantized"}}, "compression_config is"),
        (GEMMA | {"quantization": {"group_size": 64, "bits": 4}}, "quantization is"),
        # what was taken in silence
        (with_type("gemma3_text") | {"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
        (with_type("qwen3_moe") | {"mlp_only_layers": [True]}, "mlp_only_layers has True"),
        (with_type("gemma2") | {"num_hidden_layers": 10**10}, "10000000000 layers are more than the 10000"),
        (with_type("phi") | {"partial_rotary_factor": 1e308}, "partial_rotary_factor is 1e.308, and must be"),
        (with_type("falcon") | {"new_decoder_architecture": True, "parallel_attn": False}, "parallel_attn is False"),
        (with_type("falcon") | {"num_ln_in_parallel_attn": 4}, "num_ln_in_parallel_attn is 4"),
        (with_type("mpt") | {"attn_config": 1}, "attn_config is 1, and must be an object"),
        (with_type("gpt2") | {"n_embd": 48, "hidden_size": 24}, "n_embd is 48 and hidden_size is 24"),
        # files
        ("[" * 100_000 + "]" * 100_000, "nested too deep|no JSON"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "nested too deep|not modelled"),
        ("[1, 2]", "is no JSON object"),
    ],
)  # fmt: skip
def test_what_is_not_modelled_is_refused_by_its_name(config: Any, refused: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=refused) as error:
        rk.model(written(tmp_path, config))
    assert "did you mean" not in str(error.value)


def test_a_file_of_100_megabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(ValueError, match="has 100000000 bytes: no config"):
        rk.model(path)


def test_code_of_its_own_is_accepted_where_it_is_the_class_s_own(tmp_path: Path) -> None:
    """As DeepSeek-V3, Falcon and Phi-3 have it, from before transformers knew them."""
    names = {"AutoConfig": f"configuration_deepseek.{V3}Config", "AutoModelForCausalLM": f"modeling.{V3}ForCausalLM"}
    assert rk.model(written(tmp_path, MOE | {"auto_map": names})).parameters


def test_a_falcon_without_groups_has_two_norms_where_it_says_so(tmp_path: Path) -> None:
    """As transformers makes it: a scale and a shift of 24 numbers more in each of 4 layers."""
    one, two = (rk.model(written(tmp_path, with_type("falcon") | {"num_ln_in_parallel_attn": n})) for n in (1, 2))
    assert two.parameters - one.parameters == 4 * 2 * 24


def test_a_tokenizer_of_its_own_is_no_other_model(tmp_path: Path) -> None:
    """As Phi-4-mini has it."""
    names = {"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM", "AutoTokenizer": "Xenova/gpt-4o"}
    assert rk.model(written(tmp_path, with_type("phi3") | {"auto_map": names})).parameters


# What files on Hugging Face say beside sizes, and what their makers count.
PUBLISHED = {
    "mosaicml/mpt-7b": (
        {
            **{
                "model_type": "mpt",
                "architectures": ["MPTForCausalLM"],
                "d_model": 4096,
                "n_heads": 32,
                "n_layers": 32,
            },
            **{"auto_map": {"AutoModelForCausalLM": "modeling_mpt.MPTForCausalLM"}, "vocab_size": 50432},
            **{"attn_config": {"alibi": True, "alibi_bias_max": 8, "attn_impl": "torch", "clip_qkv": None}},
            **{"attn_pdrop": 0, "expansion_ratio": 4, "logit_scale": None, "no_bias": True, "verbose": 0},
        },
        6_649_286_656,
    ),
    "bigscience/bloom-7b1": (
        {
            **{"model_type": "bloom", "n_embed": 4096, "n_layer": 30, "n_head": 32, "vocab_size": 250880},
            **{"offset_alibi": 100, "skip_bias_add": True, "skip_bias_add_qkv": False, "n_inner": None},
            **{"bias_dropout_fusion": True, "apply_residual_connection_post_layernorm": False},
        },
        7_069_016_064,
    ),
    "tiiuae/falcon-40b, first version": (
        {
            **{"model_type": "RefinedWeb", "architectures": ["RWForCausalLM"], "hidden_size": 8192, "n_head": 128},
            **{"auto_map": {"AutoConfig": "configuration_RW.RWConfig"}, "n_head_kv": 8, "n_layer": 60},
            **{"alibi": False, "bias": False, "parallel_attn": True, "vocab_size": 65024},
        },
        41_303_293_952,
    ),
    "google/gemma-3-1b-pt": (
        {
            **{
                "model_type": "gemma3_text",
                "architectures": ["Gemma3ForCausalLM"],
                "head_dim": 256,
                "vocab_size": 262144,
            },
            **{"hidden_size": 1152, "intermediate_size": 6912, "num_attention_heads": 4, "num_hidden_layers": 26},
            **{"num_key_value_heads": 1, "sliding_window": 512, "sliding_window_pattern": 6, "rope_scaling": None},
            **{"rope_local_base_freq": 10000, "attn_logit_softcapping": None, "final_logit_softcapping": None},
        },
        999_885_952,
    ),
    "microsoft/Phi-4-mini-instruct": (
        {
            **{"model_type": "phi3", "architectures": ["Phi3ForCausalLM"], "hidden_size": 3072, "vocab_size": 200064},
            **{"intermediate_size": 8192, "num_attention_heads": 24, "num_hidden_layers": 32, "mlp_bias": False},
            **{"num_key_value_heads": 8, "partial_rotary_factor": 0.75, "tie_word_embeddings": True},
            **{"sliding_window": 262144, "lm_head_bias": False, "full_attn_mod": 1, "interpolate_factor": 1},
            **{"auto_map": {"AutoConfig": "configuration_phi3.Phi3Config", "AutoTokenizer": "Xenova/gpt-4o"}},
        },
        3_836_021_760,
    ),
    "CohereForAI/c4ai-command-r-plus": (
        {
            **{"model_type": "cohere", "hidden_size": 12288, "intermediate_size": 33792, "num_hidden_layers": 64},
            **{"num_attention_heads": 96, "num_key_value_heads": 8, "vocab_size": 256000, "use_qk_norm": True},
        },
        103_810_674_688,
    ),
    "meta-llama/Llama-4-Maverick": (
        {
            **{"model_type": "llama4", "architectures": ["Llama4ForConditionalGeneration"]},
            "text_config": {
                **{"model_type": "llama4_text", "hidden_size": 5120, "intermediate_size": 8192, "head_dim": 128},
                **{"intermediate_size_mlp": 16384, "num_local_experts": 128, "num_experts_per_tok": 1},
                **{"interleave_moe_layer_step": 2, "num_hidden_layers": 48, "num_attention_heads": 40},
                **{"num_key_value_heads": 8, "vocab_size": 202048, "use_qk_norm": False, "no_rope_layers": []},
            },
        },
        400_711_848_960,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_files_as_they_are_published_give_the_published_count(name: str, tmp_path: Path) -> None:
    config, parameters = PUBLISHED[name]
    assert rk.model(written(tmp_path, config)).parameters == parameters


# --- how weights are stored ----------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize(
    "name", sorted(set(data("huggingface.toml")) - {"common", "kimi_k2", "RefinedWeb", "RefinedWebModel"})
)
def test_what_a_file_may_be_without_is_nothing_for_transformers_either(name: str, transformers: Any) -> None:
    """Or else it would be a default, which is counted."""
    kind, theirs = merged(name), transformers.CONFIG_MAPPING[name]
    left_out = {what for what in kind["optional"] if what not in kind["defaults"]}
    unused = {"num_key_value_heads"} if name == "deepseek_v3" else set()  # latent attention has none
    assert not {what for what in left_out - unused if getattr(theirs, what, None) is not None}


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "qwen3_moe"])
def test_a_window_that_is_on_has_the_size_that_transformers_takes(name: str, tmp_path: Path) -> None:
    config = with_type(name) | {"use_sliding_window": True, "max_window_layers": 0}
    config.pop("sliding_window", None)
    assert {kind.window for _, kind in rk.model(written(tmp_path, config)).kinds} == {4096}
    assert {kind.window for _, kind in rk.model(written(tmp_path, config | {"sliding_window": None})).kinds} == {None}


def test_no_layer_has_experts_where_none_is_listed(tmp_path: Path) -> None:
    found = rk.model(written(tmp_path, with_type("llama4_text") | {"moe_layers": []}))
    assert [kind.experts for _, kind in found.kinds] == [None] * len(found.kinds)


@pytest.mark.parametrize(
    ("name", "how", "narrow", "bits"),
    [
        ("llama", {"quant_method": "awq", "bits": 4, "group_size": 128}, ("query", "up"), 4.125),
        ("llama", {"quant_method": "gptq", "bits": 8, "group_size": 128}, ("output", "down"), 8),
        ("deepseek_v3", {"quant_method": "fp8", "weight_block_size": [128, 128]}, ("kv_up", "expert_up"), 8),
        ("gpt_oss", {"quant_method": "mxfp4"}, ("expert_up", "expert_gate"), 4.25),
        ("llama", {**AWQ, "modules_to_not_convert": ["lm_head", "model.embed_tokens"]}, ("query", "up"), 4.125),
        ("deepseek_v3", {**FP8, "modules_to_not_convert": ["model.layers.0.mlp.gate", "lm_head"]}, ("kv_up",), 8),
        (
            "gpt_oss",
            {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "model.embed_tokens"]},
            ("expert_up",),
            4.25,
        ),
    ],
)
def test_memory_and_bytes_follow_the_widths_that_a_file_names(
    name: str, how: dict[str, Any], narrow: tuple[str, ...], bits: float, tmp_path: Path
) -> None:
    model = rk.model(written(tmp_path, with_type(name) | {"quantization_config": how}))
    plain = rk.model(written(tmp_path, with_type(name)))
    layer = model.like_layer(model.layers - 1).layer_weights()
    matrices = {what: w[0] if isinstance(w, tuple) else w for what, w in layer.items()}
    assert all(float(matrices[what].nbytes * 8 / matrices[what].size) == bits for what in narrow)
    wide = [what for what in ("router", "attention_norm", "sinks") if what in matrices]
    assert all(matrices[what].dtype == "fp16" for what in wide)
    assert model.weight_bytes() < plain.weight_bytes() == model.weight_bytes(weights="fp16")
    assert model.memory_bytes(10) - model.kv_cache_bytes(10) == model.weight_bytes()
    read = [model.decode(1, 5, awake="most").bytes, plain.decode(1, 5, awake="most").bytes]
    assert read[0] < read[1]
    assert model.decode(1, 5).matmul_flops == plain.decode(1, 5).matmul_flops


# --- what is computed ------------------------------------------------------------------------------------

RUN = (
    *("ministral", "mixtral", "qwen2 with windows", "qwen3", "qwen3_moe", "qwen3_moe in every second layer", "phi"),
    *("phi3", "starcoder2", "olmo2", "granite", "smollm3", "glm4_moe", "bloom", "bloom with three heads"),
)
NAMES = {
    "query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj|self_attn.dense|attention.dense",
    "query_norm": "q_norm", "key_norm": "k_norm", "up": "mlp.up_proj|fc1|c_fc|dense_h_to_4h",
    "down": "mlp.down_proj|fc2|mlp.c_proj|dense_4h_to_h", "gate": "mlp.gate_proj",
    "shared_up": "shared_experts.up_proj", "shared_down": "shared_experts.down_proj",
    "shared_gate": "shared_experts.gate_proj", "router": "mlp.gate|router",
}  # fmt: skip


def layer_of(kind: rk.Model, layer: Any) -> dict[str, Any]:
    """The weights of a layer of transformers by our names: those that the kit says there are."""
    inside = dict(layer.named_modules())
    norms = [module for name, module in inside.items() if "norm" in name and "_norm" not in name]
    ours = [name for name in kind.layer_weights() if name in ("attention_norm", "mlp_norm")]
    ours = ours or ["attention_post_norm", "mlp_post_norm"]
    w = {name: both(norm) for name, norm in zip(ours, norms, strict=True)}
    for name in set(kind.layer_weights()) - set(w):
        found = [x for full, x in inside.items() if any(full.endswith(end) for end in NAMES.get(name, "?").split("|"))]
        if found:
            w[name] = found[0].weight if name.endswith("_norm") else both(found[0], turn=True)
    return w | fused(kind, inside)


def both(module: Any, turn: bool = False) -> Any:
    weight = module.weight.T if turn else module.weight
    return weight if getattr(module, "bias", None) is None else (weight, module.bias)


def fused(kind: rk.Model, inside: dict[str, Any]) -> dict[str, Any]:
    """What a class keeps in one matrix: projections, gate and up, all experts, and what balances these."""
    w: dict[str, Any] = {}
    for name, module in inside.items():
        if name.endswith("query_key_value"):  # Bloom: three for each head
            parts = (x.unflatten(0, (kind.heads, 3, -1)).unbind(1) for x in (module.weight, module.bias))
            pairs = zip(*parts, strict=True)
            w |= {part: (W.flatten(0, 1).T, b.flatten()) for part, (W, b) in zip(PROJECTED, pairs, strict=True)}
        if name.endswith("qkv_proj"):
            sizes = [kind.heads * kind.head_dim] + [kind.kv_heads * kind.head_dim] * 2
            w |= {part: W.T for part, W in zip(PROJECTED, module.weight.split(sizes), strict=True)}
        if name.endswith("mlp.gate_up_proj"):
            w |= {part: W.T for part, W in zip(("gate", "up"), module.weight.chunk(2), strict=True)}
        if name.endswith("experts") and hasattr(module, "gate_up_proj"):
            gate, up = module.gate_up_proj.mT.chunk(2, -1)
            w |= {"expert_gate": gate, "expert_up": up, "expert_down": module.down_proj.mT}
        if hasattr(module, "e_score_correction_bias"):
            w["router_offset"] = module.e_score_correction_bias
    return w


PROJECTED = ("query", "key", "value")


@pytest.mark.torch
@pytest.mark.parametrize("name", RUN)
def test_the_logits_are_those_of_transformers(torch: Any, transformers: Any, name: str, tmp_path: Path) -> None:
    config = with_type(name)
    model, other = rk.model(written(tmp_path, config)), theirs(torch, transformers, config, "cpu").double()
    torch.manual_seed(19)
    with torch.no_grad():
        for x in (*other.parameters(), *(x for x in other.buffers() if x.shape == (model.experts,))):
            x.normal_(0, 0.3)
        inside = dict(other.named_modules())
        layers = next(x for full, x in inside.items() if full.endswith(("layers", ".h")))
        end = [x for full, x in inside.items() if full.endswith(("model.norm", "final_layernorm", "ln_f"))]
        embedding = next(x for full, x in inside.items() if full.endswith(("embed_tokens", "word_embeddings")))
        ends = {"embedding": embedding.weight, "norm": both(end[-1])}
        ends |= (
            {"embedding_norm": both(inside["transformer.word_embeddings_layernorm"])} if model.embedding_norm else {}
        )
        ends |= {} if model.tied else {"head": inside["lm_head"].weight.T}
        ends |= {"head_bias": inside["lm_head"].bias} if model.head_bias else {}
        weights = [layer_of(model.like_layer(i), layer) for i, layer in enumerate(layers)]
        for i, w in enumerate(weights):
            assert set(w) == set(model.like_layer(i).layer_weights()), f"layer {i}"
        ids = torch.randint(0, model.vocabulary, (2, 11))
        expected, found = other(ids).logits, model.run(ids, ends, weights)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
