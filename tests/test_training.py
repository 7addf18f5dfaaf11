"""A step of training: its FLOPs are those that PyTorch counts, its update PyTorch's, and its memory that of papers."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
from test_configs import TINY, theirs, with_type, written

import roofline_kit as rk
from roofline_kit.training import Widths, adam, cross_entropy, optimizer_step, sgd

# backward_flops.csv: counted by FlopCounterMode of torch 2.13.0 in models of transformers 5.23.0, all of whose
# parameters train but for what is frozen; the loss is the sum of the logits. attention: "eager", and PyTorch's "math"
# has the same integers; or "flash", whose products on a processor the counter does not see.
COUNTED = list(csv.DictReader((Path(__file__).parent / "backward_flops.csv").read_text("utf-8").splitlines()))
SMALL: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 56, "max_position_embeddings": 64,
}  # fmt: skip
EXPERTS: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 40}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**SMALL, "tie_word_embeddings": False},
    "gpt2": {"vocab_size": 96, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64},
    "mixtral": {**SMALL, **EXPERTS, "sliding_window": None},
    "qwen3_moe": {
        **{**SMALL, "head_dim": 12, "moe_intermediate_size": 20, "num_experts": 6, "num_experts_per_tok": 3},
        **{"decoder_sparse_step": 1, "mlp_only_layers": [1], "norm_topk_prob": True},
    },
    "deepseek_v3": {
        **{**SMALL, "num_key_value_heads": 4, "moe_intermediate_size": 20, "n_routed_experts": 8},
        **{"n_shared_experts": 1, "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2, "first_k_dense_replace": 1},
        **{"q_lora_rank": 14, "kv_lora_rank": 10, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 8},
        **{"routed_scaling_factor": 2.5, "norm_topk_prob": True},
    },
    "gpt_oss": {
        **{**SMALL, **EXPERTS, "num_hidden_layers": 4, "head_dim": 12, "sliding_window": 5},
        **{"layer_types": ["sliding_attention", "full_attention"] * 2},
    },
    "gemma2": {
        **{**SMALL, "num_hidden_layers": 4, "head_dim": 12, "sliding_window": 5, "query_pre_attn_scalar": 12},
    },
    "llama4_text": {
        **{**SMALL, **EXPERTS, "num_experts_per_tok": 1, "intermediate_size_mlp": 56, "interleave_moe_layer_step": 2},
        **{"num_hidden_layers": 4, "head_dim": 12, "attention_chunk_size": 8, "use_qk_norm": True},
        **{"no_rope_layers": [1, 1, 1, 0]},
    },
}  # fmt: skip


def tiny(folder: Path, row: dict[str, str]) -> rk.Model:
    """The model of a row, as the kit reads it."""
    config = {"model_type": row["model"], **CONFIGS[row["model"]]}
    if row["changed"]:
        config[row["changed"]] = row["to"] == "True" if row["to"].isalpha() else int(row["to"])
    model = rk.model(written(folder, config))
    return replace(model, experts_per_token=model.experts) if model.inputs_scaled else model  # as transformers computes


def loss_of(model: rk.Model, checkpointed: Callable[[Any], Any]) -> Callable[..., Any]:
    """The sum of the logits, through all layers one by one."""

    def loss(ends: Any, layers: Any, ids: Any, rotation: Any) -> Any:
        X = model._embed(ends, ids, rk.Tensor("positions", ids.shape[-1], "int64"))
        for i, w in enumerate(layers):
            kind = model.like_layer(i)
            how = {"rotation": rotation} if kind.positions == "rotary" else {}
            X = checkpointed(kind._layer)(X, w, causal=False, **how)
        return model._logits(X, ends, "all").sum()

    return loss


CHECKPOINTS: dict[str, Callable[[Any], Any]] = {
    "": lambda f: f,
    "non_reentrant": rk.checkpoint,
    "reentrant": lambda f: rk.checkpoint(f, early_stop=False),
}
NORMS, MATRICES = ("attention_norm", "mlp_norm", "norm"), ("query", "key", "value", "output", "up", "gate", "down")
BEFORE_SCORES = ("attention_norm", *MATRICES[:3])
FROZEN: dict[str, Callable[[str, str], bool]] = {
    "": lambda where, name: False,
    "embedding": lambda where, name: name == "embedding",
    "all_but_norms": lambda where, name: name not in NORMS,
    "all_but_head": lambda where, name: name != "head",
    "all_but_layer_1": lambda where, name: where != "1",
    "all_linear_layers": lambda where, name: where != "" and name in MATRICES,
    "embedding and norm": lambda where, name: (where, name) in (("", "embedding"), ("0", "attention_norm")),
    "embedding, norm, q, k, v": lambda where, name: name == "embedding" or (where == "0" and name in BEFORE_SCORES),
}


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: "-".join(filter(None, row.values())))
def test_a_backward_pass_has_the_flops_that_pytorch_counts(row: dict[str, str], tmp_path: Path) -> None:
    model, seq = tiny(tmp_path, row), int(row["seq"])
    shape = (int(row["batch"]), seq)
    ids = rk.Tensor("ids", shape, "int64")
    rotation = (
        tuple(rk.Tensor(x, (seq, model.rope_head_dim or model.head_dim)) for x in ("cos", "sin"))
        if model.positions == "rotary"
        else None
    )
    everything = {"": model.end_weights()} | {str(i): model.like_layer(i).layer_weights() for i in range(model.layers)}
    is_frozen = FROZEN[row["frozen"]]
    trains = {at: {x: t for x, t in w.items() if not is_frozen(at, x)} for at, w in everything.items()}
    frozen = {at: {x: t for x, t in w.items() if is_frozen(at, x)} for at, w in everything.items()}
    loss = loss_of(model, CHECKPOINTS[row["checkpoint"]])

    def of_what_trains(trains: Any) -> Any:
        ends, *layers = (frozen[at] | w for at, w in trains.items())
        return loss(ends, layers, ids, rotation)

    both = rk.passes(of_what_trains, trains)
    unseen = 0
    if row["attention"] == "flash":
        unseen = 4 * math.prod(shape) * seq * model.layers * model.heads * model.head_dim
    seen = both.forward.matmul_flops - unseen, both.backward.matmul_flops - unseen * (3 if row["checkpoint"] else 2)
    assert seen == (int(row["forward"]), int(row["backward"]))
    if seq != 7 or unseen:
        return
    cost = rk.trace(rk.backward(of_what_trains), trains)
    assert cost.matmul_flops == int(row["forward"]) + int(row["backward"])
    if not row["frozen"]:
        checkpoint = "all" if row["checkpoint"] == "non_reentrant" else None
        step = model.training(*shape, checkpoint=checkpoint, dtype="fp16")
        assert step.forward.matmul_flops == both.forward.matmul_flops
        if row["checkpoint"] != "reentrant":
            assert step.backward.matmul_flops == both.backward.matmul_flops
        assert step.once == 3 * both.forward.matmul_flops


@pytest.mark.torch
@pytest.mark.parametrize("name", TINY)
def test_a_step_has_the_flops_that_pytorch_counts_in_transformers_classes(
    name: str, tmp_path: Path, torch: Any, transformers: Any
) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    config = with_type(name)
    their = theirs(torch, transformers, config, "cpu").train()
    with FlopCounterMode(display=False) as counter:
        their(torch.ones((2, 11), dtype=torch.long), use_cache=False).logits.sum().backward()
    model = rk.model(written(tmp_path, config))
    model = replace(model, experts_per_token=model.experts) if model.inputs_scaled else model
    step = model.training(2, 11)
    assert step.once == counter.get_total_flops() > 0
    assert step.backward.matmul_flops == 2 * step.forward.matmul_flops


# --- the update -------------------------------------------------------------------------------------------


@pytest.mark.torch
def test_updates_are_those_of_pytorch(torch: Any) -> None:
    random = np.random.default_rng(6)
    start, slopes = random.normal(size=7), random.normal(size=(5, 7))
    w = torch.tensor(start, requires_grad=True)
    theirs = torch.optim.AdamW([w], lr=0.1, betas=(0.8, 0.9), eps=1e-7, weight_decay=0.05)
    ours: Any = (start, np.zeros(7), np.zeros(7))
    for i, g in enumerate(slopes, start=1):
        w.grad = torch.tensor(g)
        theirs.step()
        ours = adam(ours[0], g, *ours[1:], rate=0.1, betas=(0.8, 0.9), eps=1e-7, decay=0.05, step=i)
        np.testing.assert_allclose(ours[0], w.detach().numpy(), rtol=1e-12)


@pytest.mark.torch
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_gradient_descent_is_that_of_pytorch(momentum: float, torch: Any) -> None:
    random = np.random.default_rng(6)
    start, slopes = random.normal(size=7), random.normal(size=(5, 7))
    w = torch.tensor(start, requires_grad=True)
    theirs = torch.optim.SGD([w], lr=0.1, momentum=momentum)
    ours: Any = (start, np.zeros(7)) if momentum else (start,)
    for g in slopes:
        w.grad = torch.tensor(g)
        theirs.step()
        ours = sgd(ours[0], g, *ours[1:], rate=0.1, momentum=momentum)
        np.testing.assert_allclose(ours[0], w.detach().numpy(), rtol=1e-12)


@pytest.mark.torch
def test_the_loss_is_pytorchs(torch: Any) -> None:
    logits, targets = torch.randn(3, 4, 9, dtype=torch.float64) * 50, torch.randint(0, 9, (3, 4))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    assert float(cross_entropy(logits.numpy(), targets.numpy())) == pytest.approx(float(expected), rel=1e-12)


# --- memory -------------------------------------------------------------------------------------------------

b, s, h, a = rk.symbols("b s h a")


def gpt2_layer(X: Any, w: Any, masks: Any = None) -> Any:
    """A layer of GPT-2, with dropout after the softmax and after both blocks where there are masks for it."""
    of_scores, of_attention, of_mlp = masks or (None, None, None)

    def dropped(x: Any, mask: Any) -> Any:
        return x if mask is None else x * mask

    normed = rk.norm(X, w["attention_norm"])
    Q, K, V = (rk.split_heads(normed @ w[name], a) for name in ("query", "key", "value"))
    P = dropped(rk.softmax(Q @ K.mT), of_scores)
    X = X + dropped(rk.merge_heads(P @ V) @ w["output"], of_attention)
    hidden = rk.gelu(rk.norm(X, w["mlp_norm"]) @ w["up"])
    return X + dropped(hidden @ w["down"], of_mlp)


def kept_by_gpt2(masks: Any = None) -> Any:
    """Bytes that a layer of GPT-2 keeps, in half precision."""
    model = rk.Model("layer", layers=1, hidden=h, heads=a)
    both = rk.passes(gpt2_layer, rk.Tensor("X", (b, s, h)), model.layer_weights(), masks=masks)
    return both.saved_bytes.expand()


def test_a_layer_of_gpt2_keeps_what_pytorch_keeps_but_for_its_statistics() -> None:
    """32bsh + 2abs² bytes; PyTorch's own keeps 8bs more, mean and deviation of two norms, which we compute again."""
    assert kept_by_gpt2() == 32 * b * s * h + 2 * a * b * s**2


def test_with_dropout_a_layer_keeps_what_korthikanti_and_others_count() -> None:
    """34bsh + 5abs², arXiv 2205.05198, equation 1: a mask is a byte, and the dropped weights are kept as well."""
    masks = [rk.Tensor("m", shape, "int8") for shape in ((b, a, s, s), (b, s, h), (b, s, h))]
    assert kept_by_gpt2(masks) == 34 * b * s * h + 5 * a * b * s**2


def test_a_layer_of_llama_keeps_less_than_pytorch_which_keeps_norms_in_fp32_and_repeats_keys() -> None:
    """Ours, by part: norms 2·2bsh (their inputs) and 2·2bsh (what comes out, which the products read); queries twice,
    as before and after the rotation both are inputs of steps; keys and values for their own heads; weights and output
    of attention; gate, its silu, up and their product. PyTorch, in eager transformers: 16bsh + 8bs + 8bs·ad + 6abs²
    + 8bsm, with fp32 copies of what is normed, keys and values repeated for each head, and fp32 weights."""
    g, d, m = rk.symbols("g d m")
    how = {"norm": "rms", "gated": True, "positions": "rotary", "activation": "silu"}
    model = rk.Model("layer", layers=1, hidden=h, heads=a, kv_heads=g, head_dim=d, mlp_hidden=m, **how)
    rotation = tuple(rk.Tensor(name, (s, d)) for name in ("cos", "sin"))
    both = rk.passes(model._layer, rk.Tensor("X", (b, s, h)), model.layer_weights(), rotation=rotation, causal=False)
    kept = both.saved_bytes.expand() - sum(x.nbytes for x in rotation)
    assert kept == (8 * b * s * h + 4 * b * s * a * d + 4 * b * s * g * d + 2 * a * b * s**2 + 8 * b * s * m).expand()


def test_a_fused_layer_keeps_nothing_of_the_order_of_s_squared() -> None:
    step = rk.Model("layers", layers=3, hidden=64, heads=4).training(b, s, fused=True)
    assert step.memory["activations"].expand().coeff(s, 2) == 0
    standard = rk.Model("layers", layers=3, hidden=64, heads=4).training(b, s)
    assert standard.memory["activations"].expand().coeff(s, 2) == 3 * 2 * 4 * b


def test_checkpoints_keep_an_input_a_layer_and_one_layer_at_a_time() -> None:
    model = rk.Model("layers", layers=6, hidden=64, heads=4)
    none, some, every = (model.training(2, 32, checkpoint=n) for n in (None, 2, "all"))
    one, x = none.memory["activations"] / 6, 2 * 32 * 64 * 2
    assert every.memory["activations"] == 5 * x + one  # where one layer is computed again
    assert some.memory["activations"] == 4 * one + 2 * x  # at the end of the forward pass
    assert none.once == some.once == every.once == none.forward.matmul_flops + none.backward.matmul_flops
    last = 2 * (2 * 32) * 256 * 64  # the last product of a layer is not computed again
    again = model.layers * (none.forward.matmul_flops / 6 - last)
    assert every.backward.matmul_flops - none.backward.matmul_flops == again
    assert some.backward.matmul_flops - none.backward.matmul_flops == again / 3


def test_what_checkpoints_are_computed_from_is_there_while_they_are() -> None:
    """BLOOM: what its embedding's norm reads, which comes before all layers, and the bias of its scores."""
    bloom = rk.Model("bloom", layers=3, hidden=64, heads=4, vocabulary=9, positions="alibi", embedding_norm=True)
    alone, unbiased = replace(bloom, vocabulary=None), replace(bloom, vocabulary=None, positions="none")
    whole, layers, plain = (m.training(2, 32, checkpoint="all").memory["activations"] for m in (bloom, alone, unbiased))
    tokens, targets, embedded, bias = 2 * 32 * 8, 2 * 32 * 8, 2 * 32 * 64 * 2, 4 * 32 * 2
    assert layers == plain + bias
    assert whole == layers + tokens + targets + embedded


@pytest.mark.parametrize("name", ["gemma-2-9b", "gpt-oss-20b", "deepseek-v2-lite", "llama-4-scout"])
def test_checkpoints_of_layers_that_differ_are_those_of_the_first_ones(name: str) -> None:
    model = rk.model(name)
    steps = [model.training(1, 64, checkpoint=n) for n in (0, 1, model.layers - 1, model.layers, "all")]
    backward = [step.backward.matmul_flops for step in steps]
    first, last = (model.like_layer(i) for i in (0, model.layers - 1))

    def again(kind: rk.Model) -> Any:
        one = replace(kind, layers=1, vocabulary=None)
        with_it, without = (one.training(1, 64, checkpoint=n).backward.matmul_flops for n in (1, 0))
        return with_it - without

    assert backward[1] - backward[0] == again(first) and backward[3] - backward[2] == again(last)
    assert backward[3] == backward[4]


def test_a_parameter_takes_16_bytes_with_adam_in_mixed_precision() -> None:
    """2 + 2 + 12, "ZeRO", arXiv 1910.02054: a 7.5B model takes 120 GB."""
    model = rk.model("llama-2-7b")
    memory = model.training(1, 128).memory
    per = {what: memory[what] / model.parameters for what in ("weights", "gradients", "optimizer")}
    assert per == {"weights": 2, "gradients": 2, "optimizer": 12}
    others = {"sgd": 4, "momentum": 8}
    for optimizer, kept in others.items():
        assert model.training(1, 128, optimizer).memory["optimizer"] == kept * model.parameters
    alone = model.training(1, 128, dtype="fp32", master="").memory
    assert sum(alone[what] for what in per) == 16 * model.parameters


def test_the_update_reads_and_writes_every_parameter_once() -> None:
    model = rk.model("gpt2")
    P = model.parameters
    update = model.training(1, 128).update
    assert (update.loads, update.stores) == ((4 + 2 + 4 + 4) * P, (4 + 4 + 4 + 2) * P)


def test_a_matrix_that_is_embedding_and_head_has_two_gradients_to_add() -> None:
    tied = rk.model("gpt2")
    apart = replace(tied, tied=False)
    one, two = (model.training(1, 16).backward for model in (tied, apart))
    assert one.flops - two.flops == tied.vocabulary * tied.hidden
    assert one.bytes - two.bytes == 3 * 2 * tied.vocabulary * tied.hidden


@pytest.mark.parametrize("weights", ["bf16", "fp32", "fp8", "mxfp4"])
def test_the_gradient_of_an_embedding_is_as_wide_as_the_others_whatever_its_table_is_stored_in(weights: str) -> None:
    tied = rk.model("gpt2")
    table = (tied.vocabulary, tied.hidden)
    for model in (tied, replace(tied, tied=False)):
        steps = model.training(1, 16, weights=weights).backward.steps
        of_table = [x for step in steps for x in step.writes if x.shape in (table, table[::-1])]
        assert {x.dtype for x in of_table} == {"bf16"} and len(of_table) == 2 + model.tied


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_an_update_takes_numbers_of_any_widths_and_reads_and_writes_each_in_its_own(optimizer: str) -> None:
    width = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1}
    kept = {"sgd": 0, "momentum": 1, "adam": 2}[optimizer]
    for weights, gradients, master, states in itertools.product(width, width, ["", *width], width):
        cost, memory = optimizer_step(1000, optimizer, Widths("bf16", weights, gradients, master, states))
        updated, of_states = width[master or weights], kept * width[states]
        assert cost.loads == 1000 * (updated + width[gradients] + of_states)
        assert cost.stores == 1000 * (updated + of_states + (width[weights] if master else 0))
        assert memory == 1000 * (of_states + (updated if master else 0))


def test_gradients_of_another_width_are_written_in_it() -> None:
    model = rk.model("gpt2")
    plain, wide = (model.training(1, 16, gradients=gradients) for gradients in (None, "fp32"))
    assert wide.backward.bytes - plain.backward.bytes == (2 + 4) * model.parameters
    assert wide.memory["gradients"] == 2 * plain.memory["gradients"]


def test_parts_of_a_batch_one_after_the_other_are_gone_through_before_one_update() -> None:
    model = rk.model("gpt2")
    one, four = (model.training(2, 64, accumulate=n) for n in (1, 4))
    assert four.forward.flops == 4 * one.forward.flops and four.update.flops == one.update.flops
    assert four.memory == one.memory and four.once == 4 * one.once
    added = four.backward.flops - 4 * one.backward.flops
    assert added == 3 * model.parameters, "three times the gradients are added to those before"


@pytest.mark.parametrize("checkpoint", [None, 3, "all"])
def test_the_largest_batch_fits_and_one_more_does_not(checkpoint: Any) -> None:
    model, card = rk.model("gpt2"), rk.accelerator("A10")
    batch = model.largest_training_batch(card, 512, checkpoint=checkpoint)
    fits, does_not = (model.training(n, 512, checkpoint=checkpoint).memory_bytes for n in (batch, batch + 1))
    assert fits <= card.memory < does_not


def test_a_largest_batch_is_a_number_of_numbers() -> None:
    with pytest.raises(ValueError, match="gpt2: s must be numbers for a largest batch"):
        rk.model("gpt2").largest_training_batch("A10", s)
    with pytest.raises(TypeError, match="the largest batch is looked for, so none is given"):
        rk.model("gpt2").largest_training_batch("A10", 64, batch=3)


def test_what_does_not_fit_says_by_how_much() -> None:
    with pytest.raises(ValueError, match=r"a step on 1 context of 128 tokens needs 1\d\d\.\d\d GB, .* GB more"):
        rk.model("llama-2-7b").largest_training_batch("A100-40GB", 128)


def test_a_utilisation_counts_nothing_that_is_computed_again() -> None:
    model = rk.model("gpt2")
    plain, again = (model.training(8, 1024, checkpoint=n) for n in (None, "all"))
    assert (
        plain.utilisation(0.1, "A100-40GB")
        == again.utilisation(0.1, "A100-40GB")
        == pytest.approx(float(plain.once) / 0.1 / 312e12)
    )
    with pytest.raises(ValueError, match="must be numbers for a utilisation"):
        model.training(b, 1024).utilisation(0.1, "A100-40GB")
    with pytest.raises(ValueError, match="a time must be positive"):
        plain.utilisation(0, "A100-40GB")


def test_what_a_fused_step_computes_again_on_the_chip_is_not_needed_either() -> None:
    fused, standard = (rk.model("gpt2").training(1, 1024, fused=fused) for fused in (True, False))
    assert fused.once == standard.once == standard.forward.matmul_flops + standard.backward.matmul_flops
    assert fused.backward.matmul_flops > standard.backward.matmul_flops


def test_six_flops_a_parameter_and_token_are_what_the_matrices_take() -> None:
    """Kaplan et al., arXiv 2001.08361: 6·P without the embedding, and 12·layers·heads·head_dim·s for scores."""
    model = rk.model("llama-2-7b")
    step = model.training(1, 2048)
    norms = (2 * model.layers + 1) * model.hidden
    matrices = model.parameters - model.vocabulary * model.hidden - norms
    scores = 12 * model.layers * model.heads * model.head_dim * 2048
    assert step.once == 2048 * (6 * matrices + scores)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"optimizer": "adamw"}, "unknown optimizer 'adamw'; did you mean 'adam'"),
        ({"checkpoint": "al"}, "checkpoint is 'al'; it must be a number of layers, up to 12, or 'all'"),
        ({"checkpoint": 13}, "checkpoint is 13; it must be a number of layers, up to 12, or 'all'"),
        ({"checkpoint": -1}, "checkpoint is -1"),
        ({"checkpoint": True}, "checkpoint is True"),
        ({"checkpoint": b}, "or a tuple of numbers or symbols, one for a kind"),
        ({"checkpoint": (0.0,)}, "checkpoint is 0.0"),
        ({"checkpoint": (False,)}, "checkpoint is False"),
        ({"checkpoint": (13,)}, "13 checkpoints are more than the 12 layers"),
        ({"fused": "no"}, "fused must be True or False, not 'no'"),
        ({"causal": 1}, "gpt2: causal must be True or False, not 1"),
        ({"dtype": "bf8"}, "training, dtype: unknown dtype 'bf8'; did you mean 'fp8' or 'bf16'"),
        ({"master": "none"}, "training, master: unknown dtype 'none'. Known: ''"),
        ({"dtype": "bf61"}, "did you mean 'bf16'"),
        ({"gradients": "int64"}, "training, gradients: unknown dtype 'int64'"),
        ({"dtype": "tf32"}, "training, dtype: unknown dtype 'tf32'"),
        ({"states": "fp23"}, "training, states: .*did you mean 'fp32'"),
        ({"accumulate": 0}, "accumulate"),
        ({"batch": 0}, "batch"),
        ({"seq": 1.5}, "seq"),
    ],
)
def test_bad_input_is_named(how: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        rk.model("gpt2").training(**{"batch": 1, "seq": 8, **how})


def test_names_may_be_spelled_in_another_way() -> None:
    model = rk.model("gpt2")
    usual = model.training(1, 16)
    for how in ({"optimizer": "Adam"}, {"gradients": "BF16"}, {"dtype": "bf 16"}, {"states": "FP32"}):
        step = model.training(1, 16, **how)
        assert (step.bytes, step.memory, step.dtype) == (usual.bytes, usual.memory, "bf16")
    days = [rk.explore_training("gpt2", gradients=name).values()["days"] for name in ("bf16", "BF16")]
    assert days[0] == days[1]
    with pytest.raises(ValueError, match="unknown optimizer 'adamw'; did you mean 'adam'"):
        optimizer_step(10, "adamw", Widths())


@pytest.mark.parametrize("three", [np.int64(3), sympy.Integer(3), (3,)])
def test_a_number_of_checkpoints_may_be_one_of_another_library(three: Any) -> None:
    model = rk.model("gpt2")
    assert model.training(1, 16, checkpoint=three).memory == model.training(1, 16, checkpoint=3).memory


def test_checkpoints_by_kind_are_those_of_first_layers() -> None:
    """What the three dense layers keep is still there when the backward pass comes to a later checkpoint."""
    model = rk.model("deepseek-v3")
    with pytest.raises(ValueError, match=r"of which 58 are \(3, 55\) of its kinds, not \(0, 58\)"):
        model.training(1, 64, checkpoint=(0, 58))
    assert model.training(1, 64, checkpoint=(3, 55)).memory == model.training(1, 64, checkpoint=58).memory


def test_numbers_are_put_into_what_is_kept() -> None:
    step = rk.model("gpt2").training(b, 1024, checkpoint=5).at(b=2)
    assert step.kept.nbytes() == step.memory["activations"]


@pytest.mark.parametrize("seconds", ["1", None, [1], True])
def test_a_time_is_a_number(seconds: Any) -> None:
    with pytest.raises(TypeError, match="the seconds that it took must be a number"):
        rk.model("gpt2").training(1, 16).utilisation(seconds, "A10")


@pytest.mark.parametrize("target", [-100, -1, 20])
def test_a_target_that_is_no_token_id_is_refused(target: int) -> None:
    with pytest.raises(ValueError, match=f"there is a target {target}, and token ids are 0 to 19"):
        cross_entropy(np.ones((2, 3, 20)), np.array([[1, 2, 3], [4, target, 5]]))


def test_an_update_needs_steps_from_one_on_and_arrays_of_one_shape() -> None:
    w = np.ones(3)
    for how in ({"step": 0}, {"betas": (1.0, 0.999)}, {"betas": (0.9,)}):
        with pytest.raises(ValueError, match=r"must be 1 or more, and the two betas .* at least 0 and below 1"):
            adam(w, w, w, w, **how)
    with pytest.raises(ValueError, match=r"sgd: g has the shape \(2, 10\), and must have \(10,\)"):
        sgd(np.ones(10), np.ones((2, 10)))
    with pytest.raises(ValueError, match=r"sgd: m has the shape \(1,\), and must have \(10,\)"):
        rk.trace(sgd, *rk.tensors("w g", 10), rk.Tensor("m", 1))
    with pytest.raises(ValueError, match=r"adam: g has the shape \(1,\), and must have \(10,\)"):
        rk.trace(adam, *(rk.Tensor(name, n) for name, n in zip("wgmv", (10, 1, 10, 10), strict=True)))


@pytest.mark.torch
@pytest.mark.parametrize("name", ["granite", "gemma2", "olmo2", "mixtral", "qwen3_moe", "deepseek_v3", "gptj", "mpt"])
def test_checkpoints_compute_again_what_pytorchs_do(name: str, tmp_path: Path, torch: Any, transformers: Any) -> None:
    """Where norms come after the last product, and where what is added is scaled: a scale needs no product again."""
    from torch.utils.flop_counter import FlopCounterMode

    config = with_type(name) | ({"residual_multiplier": 0.25} if name == "granite" else {})
    their = theirs(torch, transformers, config, "cpu").train()
    their.activation_checkpointing_enable({"use_reentrant": False})
    with FlopCounterMode(display=False) as counter:
        their(torch.ones((2, 11), dtype=torch.long), use_cache=False).logits.sum().backward()
    model = rk.model(written(tmp_path, config))
    assert (model.residual_scale != 1) == (name == "granite")
    step = model.training(2, 11, checkpoint="all")
    assert counter.get_total_flops() == step.forward.matmul_flops + step.backward.matmul_flops
