"""What PyTorch's FlopCounterMode counts in transformers' own models: write it down, for tests without them.

    python tests/store_model_flops.py

writes model_flops.csv anew; it needs PyTorch and transformers. The models are built from the rows of
models.toml at full depth, on the "meta" device, where shapes are computed and nothing else. What is
counted are matrix products, and of causal attention all of them, those that the mask discards too.

A row of the table: `prefill` takes `tokens` tokens per sequence and computes the logits of all of them
or of the last. `decode` takes one new token after a cache of `tokens` - 1, so `tokens` is the context
that it attends to, itself included; it computes one row of logits.

On a CPU, the counter would see 0 FLOPs in PyTorch's fused attention ("sdpa"); on "meta", all of them.
transformers before version 5 does not run on "meta" here, and counts a product more: that of positions
and rotary frequencies, head_dim FLOPs for each token.
"""

from __future__ import annotations

import csv
import tomllib
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("model_flops.csv")
TABLE = Path(__file__).parents[1] / "roofline_kit" / "data" / "models.toml"
MODELS = tomllib.loads(TABLE.read_text(encoding="utf-8"))
CLASSES = {
    "gpt2": "GPT2LMHeadModel",
    "gpt-3-175b": "GPT2LMHeadModel",
    "opt-6.7b": "OPTForCausalLM",
    "opt-13b": "OPTForCausalLM",
    "llama-2-7b": "LlamaForCausalLM",
    "llama-2-13b": "LlamaForCausalLM",
    "llama-2-70b": "LlamaForCausalLM",
    "llama-3-8b": "LlamaForCausalLM",
    "llama-3-70b": "LlamaForCausalLM",
    "llama-3.1-405b": "LlamaForCausalLM",
    "mistral-7b": "MistralForCausalLM",
    "qwen2.5-72b": "Qwen2ForCausalLM",
}
COUNTED = ("gpt2", "opt-6.7b", "llama-2-7b", "llama-3-8b", "mistral-7b")
CASES = (  # stage, batch, tokens, logits
    ("prefill", 1, 1, "all"),
    ("prefill", 3, 777, "all"),
    ("prefill", 8, 1000, "all"),
    ("prefill", 1, 2048, "last"),
    ("prefill", 32, 50, "last"),
    ("decode", 1, 1, "last"),
    ("decode", 3, 50, "last"),
    ("decode", 8, 1000, "last"),
    ("decode", 32, 2048, "last"),
)
KERNELS = {"eager": CASES, "sdpa": (CASES[1], CASES[3], CASES[6])}  # fused, the products are the same


def points() -> list[dict[str, str]]:
    """The rows of the table without what is counted."""
    names = ("model", "stage", "batch", "tokens", "logits", "kernel")
    return [
        dict(zip(names, map(str, (name, *case, kernel)), strict=True))
        for name, case, kernel in product(COUNTED, CASES, KERNELS)
        if case in KERNELS[kernel]
    ]


def configuration(transformers: Any, name: str, positions: int = 0) -> Any:
    """The configuration that transformers has for a row of models.toml.

    positions : rows that a learned position table needs; it is enlarged where it has fewer. A lookup is
    no matrix product, so this changes no FLOPs.
    """
    model = MODELS[name]
    shared = {"vocab_size": model["vocabulary"], "tie_word_embeddings": model["tied"]}
    sizes = {
        "num_hidden_layers": model["layers"],
        "hidden_size": model["hidden"],
        "num_attention_heads": model["heads"],
    }
    if model["positions"] == "learned":
        positions = max(positions, model["position_rows"] - model["position_offset"])
    if CLASSES[name] == "GPT2LMHeadModel":
        return transformers.GPT2Config(
            n_layer=model["layers"],
            n_embd=model["hidden"],
            n_head=model["heads"],
            n_inner=model["mlp_hidden"],
            n_positions=positions,
            layer_norm_epsilon=model["norm_eps"],
            **shared,
        )
    if CLASSES[name] == "OPTForCausalLM":
        return transformers.OPTConfig(
            word_embed_proj_dim=model["hidden"],
            ffn_dim=model["mlp_hidden"],
            max_position_embeddings=positions,
            activation_function=model["activation"],
            **sizes,
            **shared,
        )
    rotary = {
        "num_key_value_heads": model["kv_heads"],
        "intermediate_size": model["mlp_hidden"],
        "hidden_act": model["activation"],
        "rms_norm_eps": model["norm_eps"],
        "rope_parameters": {"rope_type": "default", "rope_theta": model["rope_theta"]},
        **sizes,
        **shared,
    }
    if CLASSES[name] == "Qwen2ForCausalLM":  # its heads have hidden / heads channels; no other size can be asked for
        return transformers.Qwen2Config(**rotary)
    if CLASSES[name] == "MistralForCausalLM":
        # with a window, a cache made for it would drop what is more than 4096 tokens old
        return transformers.MistralConfig(head_dim=model["head_dim"], sliding_window=None, **rotary)
    return transformers.LlamaConfig(head_dim=model["head_dim"], **rotary)


@cache
def built(torch: Any, transformers: Any, name: str, kernel: str = "eager", positions: int = 0) -> Any:
    """A model of transformers without data, from its row of models.toml."""
    config = configuration(transformers, name, positions)
    config._attn_implementation = kernel
    with torch.device("meta"):
        return getattr(transformers, CLASSES[name])(config).eval()


def counted(torch: Any, transformers: Any, row: dict[str, str]) -> int:
    """The FLOPs that PyTorch counts in one forward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    model = MODELS[row["model"]]
    batch, tokens = int(row["batch"]), int(row["tokens"])
    past = tokens - 1 if row["stage"] == "decode" else 0
    learned = model["positions"] == "learned" and tokens > model["position_rows"] - model["position_offset"]
    function = built(torch, transformers, row["model"], row["kernel"], tokens if learned else 0)
    with torch.device("meta"), torch.no_grad():
        before = transformers.DynamicCache()
        if past:
            for layer in range(model["layers"]):
                shape = (batch, model["kv_heads"], past, model["head_dim"])
                before.update(torch.empty(shape), torch.empty(shape), layer)
        new = torch.zeros((batch, tokens - past), dtype=torch.long)
        with FlopCounterMode(display=False) as counter:
            function(new, past_key_values=before, use_cache=True, logits_to_keep=int(row["logits"] == "last"))
    return int(counter.get_total_flops())


def table(torch: Any, transformers: Any) -> list[dict[str, str]]:
    """All rows, counted."""
    return [{**row, "flops": str(counted(torch, transformers, row))} for row in points()]


def stored() -> list[dict[str, str]]:
    with PATH.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    import torch
    import transformers

    rows = table(torch, transformers)
    with PATH.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*points()[0], "flops"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
