"""Whole models: what is published about them follows from their arrays, and what is counted is what is computed."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from store_model_flops import points, stored
from tiny import MODELS as TINY
from tiny import empty_cache, token_ids, weights_for

import roofline_kit as rk
from roofline_kit.tensor import leaves


def toml(name: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads(files("roofline_kit").joinpath("data", name).read_text("utf-8"))


TABLE, PUBLISHED = toml("models.toml"), toml("published.toml")
PLAIN = [name for name in rk.models() if "config" not in TABLE[name]]  # layers all alike, in Model's own words
QUANTITIES = ("flops", "matmul_flops", "loads", "stores", "bytes", "accesses")

each_model = pytest.mark.parametrize("name", rk.models())
each_plain_model = pytest.mark.parametrize("name", PLAIN)
each_kind = pytest.mark.parametrize("kind", TINY)
plain_models = st.sampled_from(PLAIN)
batches = st.integers(1, 300)
contexts = st.integers(1, 10_000)  # on both sides of Mistral's window


def figures(cost: rk.Cost) -> dict[str, Any]:
    return {quantity: getattr(cost, quantity) for quantity in QUANTITIES}


# --- what is published -------------------------------------------------------------------------------


def test_the_models_are_listed_in_the_order_of_the_table() -> None:
    assert rk.models() == (
        *("gpt2", "gpt-3-175b", "opt-6.7b", "opt-13b", "llama-2-7b", "llama-2-13b", "llama-2-70b", "llama-3-8b"),
        *("llama-3-70b", "llama-3.1-405b", "mistral-7b", "qwen2.5-72b", "gpt-j-6b", "gpt-neox-20b", "bloom-176b"),
        *("mpt-7b", "falcon-7b", "mixtral-8x7b", "phi-2", "phi-3-mini", "gemma-7b", "gemma-2-9b", "gemma-3-4b"),
        *("starcoder2-15b", "command-r-35b", "olmo-2-7b", "nemotron-4-15b", "granite-3.3-8b", "smollm3-3b"),
        *("qwen3-8b", "qwen3-30b-a3b", "glm-4.5-air", "gpt-oss-20b", "llama-4-scout", "deepseek-v2-lite"),
        *("deepseek-v3", "kimi-k2"),
    )


@each_model
def test_parameters_are_the_exact_count_of_the_table(name: str) -> None:
    assert rk.model(name).parameters == TABLE[name]["parameters"]


def printed(text: str) -> tuple[sympy.Rational, sympy.Rational]:
    """ "6.7B" as a number, and half a unit of its last digit; the 0 of "70B" is no digit, that of "175.0B" is."""
    number, unit = sympy.Rational(text[:-1]), {"M": 10**6, "B": 10**9}[text[-1]]
    decimals = len(text[:-1].partition(".")[2])
    zeros = 0 if decimals else len(text[:-1]) - len(text[:-1].rstrip("0"))
    return number * unit, sympy.Rational(10) ** (zeros - decimals) * unit / 2


NOT_ROUNDED = {
    "gpt-3-175b": "Table 2.1 prints 175.0B; its own shapes give the 174.6B of Table D.1",
    "llama-3.1-405b": "405.85B, which its makers cut off and did not round",
    "mpt-7b": "6.65B, which its makers round up",
    "phi-2": "2.78B, which its makers cut off",
    "nemotron-4-15b": "15.6B, 3.2B of them in the embeddings, as its paper says",
    "glm-4.5-air": "106.85B, which its makers cut off",
}


@each_model
def test_the_parameters_are_the_published_ones_to_the_digits_printed(name: str) -> None:
    published, half = printed(TABLE[name]["published"])
    assert (abs(TABLE[name]["parameters"] - published) > half) == (name in NOT_ROUNDED)
    # Those that do not round to it are still nearer than a unit of its last digit before the point.
    assert abs(TABLE[name]["parameters"] - published) < max(2 * half, 10**9)


def test_gpt_3_has_the_parameters_of_the_table_from_which_its_training_was_computed() -> None:
    (row,) = (row for row in PUBLISHED["gpt3-training"]["rows"] if row[0] == rk.model("gpt-3-175b").title)
    in_millions = PUBLISHED["gpt3-training"]["columns"].index("parameters [1e6]")
    assert round(rk.model("gpt-3-175b").parameters / 10**8) * 100 == row[in_millions]


@each_model
def test_every_model_says_where_its_numbers_come_from_and_when_they_were_read(name: str) -> None:
    for text in (rk.model(name).source, TABLE[name]["source"]):
        assert re.search(r"https://\S+\.\S+ \(.*(read|quoted) 20\d\d-\d\d-\d\d\)", text)
    assert rk.model(name).title == TABLE[name]["title"] and rk.model(name).published


def test_the_kv_caches_per_token_are_those_of_deepseek_s_table() -> None:
    ours = {
        "DeepSeek-V3 (MLA)": "deepseek-v3",
        "Qwen-2.5 72B (GQA)": "qwen2.5-72b",
        "LLaMA-3.1 405B (GQA)": "llama-3.1-405b",
    }
    rows = PUBLISHED["deepseek-kv"]["rows"]
    assert [row[0] for row in rows] == list(ours)
    for title, kilobytes, _ in rows:  # of 1000 bytes here
        assert rk.model(ours[title]).kv_cache_bytes(tokens=1, dtype="bf16") == round(kilobytes * 1000)


def test_the_kv_caches_of_opt_13b_are_those_of_the_vllm_paper() -> None:
    (_, kilobytes, _), (_, gigabytes, _) = PUBLISHED["vllm-kv"]["rows"]
    opt = rk.model("opt-13b")
    assert opt.kv_cache_bytes(tokens=1) == kilobytes * 1024  # its KB are KiB, and its GB are GiB
    assert round(float(opt.kv_cache_bytes(tokens=2048)) / 2**30, 1) == gigabytes


@each_model
def test_a_kv_cache_grows_with_the_batch_the_context_and_the_width_of_a_number(name: str) -> None:
    model, b, t = rk.model(name), *rk.symbols("b t")
    one = model.kv_cache_bytes(tokens=1)
    assert model.kv_cache_bytes(tokens=10, batch=3) == 30 * one
    assert model.kv_cache_bytes(tokens=1, dtype="fp32") == 2 * one == 4 * model.kv_cache_bytes(tokens=1, dtype="fp8")
    assert model.kv_cache_bytes(t, b).subs({t: 10, b: 3}) == 30 * one


def test_a_kv_cache_stops_growing_at_the_window() -> None:
    mistral = rk.model("mistral-7b")
    full = mistral.kv_cache_bytes(tokens=mistral.window)
    assert mistral.kv_cache_bytes(tokens=mistral.window - 1) < full
    assert mistral.kv_cache_bytes(tokens=10 * mistral.window) == full
    assert mistral.decode(1, 10 * mistral.window).bytes == mistral.decode(1, mistral.window).bytes


# --- what is counted ---------------------------------------------------------------------------------


ROWS = stored()


@pytest.mark.parametrize("row", ROWS, ids=["-".join(list(row.values())[:-1]) for row in ROWS])
def test_matmul_flops_equal_what_pytorch_counted_in_transformers_with_difference_0(row: dict[str, str]) -> None:
    model, batch, tokens = rk.model(row["model"]), int(row["batch"]), int(row["tokens"])
    stage = {
        "decode": lambda: model.decode(batch, tokens),
        "prefill": lambda: model.prefill(batch, tokens, row["logits"]),
    }
    assert stage[row["stage"]]().matmul_flops - int(row["flops"]) == 0


def test_pytorch_counted_all_points_of_the_table_and_they_are_at_least_60() -> None:
    assert [{key: value for key, value in row.items() if key != "flops"} for row in ROWS] == points()
    assert len(ROWS) >= 60 and len({row["model"] for row in ROWS}) >= 5


b, s, c = rk.symbols("b s c")


@given(name=plain_models, batch=batches, seq=contexts, logits=st.sampled_from(["all", "last"]), causal=st.booleans())
def test_a_prefill_in_symbols_and_in_numbers_is_the_same(
    name: str, batch: int, seq: int, logits: str, causal: bool
) -> None:
    model = rk.model(name)
    symbolic = model.prefill(b, s, logits, causal)
    assert figures(symbolic.at(b=batch, s=seq)) == figures(model.prefill(batch, seq, logits, causal))


@given(name=plain_models, batch=batches, context=contexts, fused=st.booleans())
def test_a_decode_step_in_symbols_and_in_numbers_is_the_same(name: str, batch: int, context: int, fused: bool) -> None:
    model = rk.model(name)
    symbolic = model.decode(b, c, fused=fused)
    assert figures(symbolic.at(b=batch, c=context)) == figures(model.decode(batch, context, fused=fused))


@given(name=plain_models, batch=batches, sweep=st.lists(contexts, min_size=1, max_size=5))
def test_a_compiled_sweep_of_decode_steps_gives_the_exact_costs(name: str, batch: int, sweep: list[int]) -> None:
    model = rk.model(name)
    swept = model.decode(b, c).compile("c", b=batch)(sweep)
    exact = [model.decode(batch, context) for context in sweep]
    np.testing.assert_allclose(swept.flops, [float(cost.flops) for cost in exact], rtol=1e-14)
    np.testing.assert_allclose(swept.bytes, [float(cost.bytes) for cost in exact], rtol=1e-14)


@given(name=plain_models, batch=batches)
def test_a_prompt_of_one_token_multiplies_what_a_decode_step_without_a_past_does(name: str, batch: int) -> None:
    model = rk.model(name)
    assert model.prefill(batch, 1).matmul_flops == model.decode(batch, 1).matmul_flops


@given(name=plain_models, batch=batches, seq=contexts)
def test_logits_of_the_last_token_alone_save_a_row_of_the_head_for_every_other_token(
    name: str, batch: int, seq: int
) -> None:
    model = rk.model(name)
    saved = model.prefill(batch, seq).matmul_flops - model.prefill(batch, seq, logits="last").matmul_flops
    assert saved == 2 * (seq - 1) * batch * model.hidden * model.vocabulary


@given(name=plain_models, batch=batches, seq=contexts)
def test_causal_counting_leaves_out_exactly_the_scores_that_no_token_sees(name: str, batch: int, seq: int) -> None:
    model = rk.model(name)
    seen = sum(min(token, model.window or seq) for token in range(1, seq + 1))
    hidden = batch * model.heads * (seq**2 - seen)
    everything, causal = model.prefill(batch, seq), model.prefill(batch, seq, causal=True)
    products, softmax = 4 * model.head_dim, 3  # FLOPs for each score
    assert everything.matmul_flops - causal.matmul_flops == model.layers * products * hidden
    assert everything.flops - causal.flops == model.layers * (products + softmax) * hidden
    # Scores are written, read by the softmax, written by it and read again, 2 bytes each.
    assert everything.bytes - causal.bytes == model.layers * 4 * 2 * hidden


@given(name=plain_models, batch=batches, tokens=contexts)
def test_fusing_attention_keeps_the_flops_and_saves_the_traffic_of_the_scores(
    name: str, batch: int, tokens: int
) -> None:
    model = rk.model(name)
    for stage, queries, keys in (("prefill", tokens, tokens), ("decode", 1, min(tokens, model.window or tokens))):
        standard, fused = (getattr(model, stage)(batch, tokens, fused=way) for way in (False, True))
        assert (fused.flops, fused.matmul_flops) == (standard.flops, standard.matmul_flops)
        scores = model.layers * model.heads * batch * queries * keys
        assert standard.bytes - fused.bytes == 4 * 2 * scores > 0


@given(name=plain_models, batch=batches, context=contexts)
def test_a_decode_step_reads_every_weight_matrix_and_the_kv_cache_once_and_writes_one_token_into_it(
    name: str, batch: int, context: int
) -> None:
    model = rk.model(name)
    cost = model.decode(batch, context, fused=True)
    (kernel,) = (step for step in cost.steps if step.operation == "attention")
    caches = [x for x in kernel.reads if "cache" in x.root.name]
    assert model.layers * sum(x.nbytes for x in caches) == model.kv_cache_bytes(context, batch)
    written = sum(step.stores for step in cost.steps if step.operation == "store")
    assert written == model.kv_cache_bytes(1, batch)
    # Of the tables in which tokens and positions are looked up, a step reads a row; a tied one is the head as well.
    tables = [x for name, x in model.end_weights().items() if name in ("embedding", "positions")]
    looked_up = sum(x.nbytes for x in tables if not (model.tied and x.name == "E"))
    weights = [step.count * x.nbytes for step in cost.steps for x in step.reads if re.match(r"[Wbw]_|E$", x.name)]
    assert sum(weights) == 2 * model.parameters - looked_up


def pairs_and_keys(cost: rk.Cost, model: rk.Model) -> tuple[Any, Any]:
    """Pairs of a query and a key of one layer, and how many rows of the cache it reads."""
    (kernel,) = (step for step in cost.steps if step.operation == "attention")
    (K,) = (x for x in kernel.reads if x.root.name == "K_cache")
    return kernel.matmul_flops / (4 * model.hidden), K.shape[-2]


@pytest.mark.parametrize("chunk", [1, 3, 4])
def test_new_tokens_of_chunks_see_their_own_chunks_and_read_nothing_before_them(chunk: int) -> None:
    model = rk.Model("mine", layers=1, hidden=2, heads=1, positions="none", chunk=chunk)
    n = rk.symbols("n")
    opened = model.decode(1, c, new=n, causal=True, fused=True)
    for context in range(1, 10):
        for new in range(1, context + 1):
            seen = np.array(rk.Causal(chunk=chunk).seen(new, context))
            cost = model.decode(1, context, new=new, causal=True, fused=True)
            assert pairs_and_keys(cost, model) == (seen.sum(), seen.any(axis=0).sum())
            assert figures(opened.at(c=context, n=new)) == figures(cost)
            # Without a mask, as transformers: what a cache of chunk - 1 earlier tokens holds, and the new ones.
            keys = min(context, chunk - 1 + new)
            assert pairs_and_keys(model.decode(1, context, new=new, fused=True), model) == (new * keys, keys)
        with pytest.raises(ValueError, match="must be a positive integer"):
            opened.at(c=context, n=context + 1)
    for new in (1, 2) if chunk > 1 else ():  # of chunks of one token, the context does not matter
        contexts = list(range(new, 60))
        swept = model.decode(1, c, new=new, causal=True).compile("c")(contexts)
        exact = [float(model.decode(1, context, new=new, causal=True).flops) for context in contexts]
        np.testing.assert_allclose(swept.flops, exact, rtol=1e-14)


def test_an_explorer_shows_chunks_that_are_counted_causally() -> None:
    explorer = rk.explore_batch("llama-4-scout", causal=True)
    for context in (8192, 8193):
        step = rk.model("llama-4-scout").decode(1, context, causal=True)
        assert explorer.values(batch=1, context=context)["whole_flops"] == float(step.flops)


def test_a_step_of_llama_4_at_the_beginning_of_a_chunk_multiplies_little_in_its_chunked_layers() -> None:
    scout = rk.model("llama-4-scout")
    full = sum(count for count, kind in scout.kinds if kind.chunk is None)
    hidden = (scout.layers - full) * scout.heads * 8191 * 4 * scout.head_dim  # pairs of the chunk before
    plain, causal = (scout.decode(1, 8193, causal=causal).matmul_flops for causal in (False, True))
    assert plain - causal == hidden and round(float(causal) / 1e9, 2) == 34.29
    assert scout.decode(1, 20_000, new=9000).matmul_flops > scout.decode(1, 20_000, new=9000, causal=True).matmul_flops


@pytest.mark.torch
def test_new_tokens_of_chunks_multiply_what_pytorch_counts_in_transformers(
    torch: Any, transformers: Any, tmp_path: Path
) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    config = {
        "model_type": "llama4_text", "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 12, "intermediate_size_mlp": 20, "vocab_size": 9,
        "num_local_experts": 1, "attention_chunk_size": 5,
    }  # fmt: skip
    kind = transformers.AutoConfig.for_model(**config, attn_implementation="eager")
    theirs, ours = transformers.AutoModelForCausalLM.from_config(kind).eval(), rk.model(config_file(tmp_path, config))
    for past, new in ((4, 1), (5, 1), (5, 3), (12, 3), (12, 7), (3, 9)):
        cache = transformers.DynamicCache(config=kind)
        with torch.no_grad():
            theirs(torch.ones((2, past), dtype=torch.long), past_key_values=cache)
            with FlopCounterMode(display=False) as counter:
                theirs(torch.ones((2, new), dtype=torch.long), past_key_values=cache)
        assert ours.decode(2, past + new, new=new).matmul_flops == counter.get_total_flops() > 0


@pytest.mark.parametrize("stage", ["prefill", "decode"])
@each_kind
def test_the_cost_is_that_of_tracing_all_layers_one_by_one(kind: str, stage: str) -> None:
    model, batch, tokens = TINY[kind], 3, 10
    n = 1 if stage == "decode" else tokens
    room = min(tokens, model.window or tokens)
    ids, positions = rk.Tensor("ids", (batch, n), "int64"), rk.Tensor("positions", n, "int64")
    rotation = rk.tensors("cos sin", (n, model.head_dim))
    cache_shape = (batch, model.kv_heads, room, model.head_dim)
    sizes = {"heads": model.heads, "kv_heads": model.kv_heads, "activation": model.activation}

    def whole(fused: bool, last: bool) -> Any:
        ends = model.end_weights()
        X = rk.take(ends["embedding"], ids)
        if model.positions == "learned":
            X = X + rk.take(ends["positions"], positions)
        for _ in range(model.layers):
            how: dict[str, Any] = {"cache": rk.tensors("K V", cache_shape)} if stage == "decode" else {}
            how |= {"rotation": rotation} if model.positions == "rotary" else {}
            X = rk.decoder_layer(X, model.layer_weights(), fused=fused, **sizes, **how)
        X = rk.norm(X, ends["norm"])
        return rk.linear(X[..., -1:, :] if last else X, ends["embedding"].T if model.tied else ends["head"])

    for fused in (False, True):
        if stage == "decode":
            assert figures(rk.trace(whole, fused, False)) == figures(model.decode(batch, tokens, fused=fused))
        else:
            for logits in ("all", "last"):
                cost = model.prefill(batch, tokens, logits, fused=fused)
                assert figures(rk.trace(whole, fused, logits == "last")) == figures(cost)


# --- what is computed --------------------------------------------------------------------------------


def close(computed: Any, expected: Any) -> None:
    np.testing.assert_allclose(computed, expected, rtol=1e-10, atol=1e-10)


@each_kind
def test_reading_a_prompt_at_once_token_by_token_or_in_chunks_gives_the_same_logits(kind: str) -> None:
    model, batch, tokens = TINY[kind], 2, 11
    ends, layers = weights_for(model)
    ids = token_ids(model, batch, tokens)
    expected = model.run(ids, ends, layers)
    assert expected.shape == (batch, tokens, model.vocabulary) and np.isfinite(expected).all()
    for chunks in ([1] * tokens, [4, 1, 6], [10, 1], [tokens]):
        # NaN wherever nothing was written yet, so that reading it would be seen; room for more than is used.
        cache, past, parts = empty_cache(model, batch, tokens + 3), 0, []
        for n in chunks:
            parts.append(model.run(ids[:, past : past + n], ends, layers, cache, past))
            past += n
        close(np.concatenate(parts, axis=1), expected)


@each_kind
def test_the_logits_of_the_last_token_are_the_last_row_of_all(kind: str) -> None:
    model = TINY[kind]
    ends, layers = weights_for(model)
    ids = token_ids(model, 2, 7)
    close(model.run(ids, ends, layers, logits="last"), model.run(ids, ends, layers)[:, -1:])


@each_kind
def test_a_fused_model_computes_the_same(kind: str) -> None:
    model = TINY[kind]
    ends, layers = weights_for(model)
    ids = token_ids(model, 2, 7)
    close(model.run(ids, ends, layers, fused=True), model.run(ids, ends, layers))


@each_kind
def test_a_later_token_changes_no_earlier_logits_and_its_own(kind: str) -> None:
    model = TINY[kind]
    ends, layers = weights_for(model)
    ids = token_ids(model, 1, 9)
    other = ids.copy()
    other[0, 6] = (other[0, 6] + 1) % model.vocabulary
    before, after = model.run(ids, ends, layers), model.run(other, ends, layers)
    close(after[:, :6], before[:, :6])
    assert (np.abs(after[:, 6:] - before[:, 6:]).max(axis=-1) > 1e-6).all()


def test_a_token_beyond_the_window_of_every_layer_is_forgotten() -> None:
    model = TINY["like Mistral"]
    ends, layers = weights_for(model)
    ids = token_ids(model, 1, 12)
    other = ids.copy()
    other[0, 0] = (other[0, 0] + 1) % model.vocabulary
    reach = model.layers * (model.window - 1)  # each layer looks back over the window's other tokens
    changed = np.abs(model.run(other, ends, layers) - model.run(ids, ends, layers)).max(axis=-1)[0] > 1e-12
    assert changed[: reach + 1].all() and not changed[reach + 1 :].any()


def test_the_position_of_a_token_matters_and_learned_ones_begin_after_the_offset() -> None:
    for kind in TINY:
        model = TINY[kind]
        ends, layers = weights_for(model)
        ids = np.array([[3, 5, 3, 5]])
        logits = model.run(ids, ends, layers)
        assert np.abs(logits[0, 3] - logits[0, 1]).max() > 1e-3
    model = TINY["like OPT"]
    ends, layers = weights_for(model)
    before = model.run(ids, ends, layers)
    ends["positions"][: model.position_offset] = np.nan  # rows that no token takes
    close(model.run(ids, ends, layers), before)


def test_run_refuses_tokens_for_which_the_cache_has_no_room() -> None:
    model = TINY["like Llama"]
    ends, layers = weights_for(model)
    cache = empty_cache(model, 1, 4)
    for n, past, message in ((5, 0, "5 tokens after 0"), (2, 3, "2 tokens after 3"), (1, -1, "1 tokens after -1")):
        with pytest.raises(ValueError, match=f"{message} do not fit into a cache of 4"):
            model.run(token_ids(model, 1, n), ends, layers, cache, past)
    with pytest.raises(ValueError, match="1 tokens after 3 do not fit into a cache of 0"):
        model.run(token_ids(model, 1, 1), ends, layers, past=3)


def test_run_refuses_stretched_rotary_frequencies() -> None:
    with pytest.raises(ValueError, match=r"llama-3\.1-405b stretches its rotary frequencies"):
        rk.model("llama-3.1-405b").run(np.zeros((1, 1), int), {}, [])


# --- memory ------------------------------------------------------------------------------------------

cards = st.sampled_from(rk.accelerators())


@given(name=plain_models, batch=batches, tokens=contexts, dtype=st.sampled_from(["fp32", "bf16", "int8"]))
def test_memory_holds_the_weights_once_and_a_kv_cache_for_every_context(
    name: str, batch: int, tokens: int, dtype: str
) -> None:
    model, width = rk.model(name), {"fp32": 4, "bf16": 2, "int8": 1}[dtype]
    cache = batch * model.kv_cache_bytes(tokens, dtype=dtype)
    assert model.memory_bytes(tokens, batch, dtype) == width * model.parameters + cache


@given(name=plain_models, card=cards, tokens=contexts)
def test_the_largest_batch_fits_and_one_more_does_not(name: str, card: str, tokens: int) -> None:
    model, machine = rk.model(name), rk.accelerator(card)
    if model.memory_bytes(tokens) > machine.memory:
        more = f"{float(model.memory_bytes(tokens) - machine.memory) / 1e9:,.2f} GB more"
        for refused in (lambda: model.largest_batch(card, tokens), lambda: model.check_memory(card, tokens)):
            with pytest.raises(ValueError, match=f"{more} than the .* not even a batch of 1 fits"):
                refused()
    else:
        largest = model.largest_batch(machine, tokens)
        assert model.memory_bytes(tokens, largest) <= machine.memory < model.memory_bytes(tokens, largest + 1)
        model.check_memory(card, tokens, largest)
        with pytest.raises(ValueError, match=rf"the largest batch that fits is {largest}$"):
            model.check_memory(card, tokens, largest + 1)


def test_a_batch_that_does_not_fit_is_refused_with_what_is_missing_and_the_largest_that_does() -> None:
    llama, card = rk.model("llama-2-7b"), rk.accelerator("A10")
    needed = llama.memory_bytes(4096, 100)
    missing = (f"needs {float(needed) / 1e9:,.2f} GB", f"{float(needed - card.memory) / 1e9:,.2f} GB more")
    with pytest.raises(ValueError, match=r"A10; the largest batch that fits is 4$") as refused:
        llama.check_memory("A10", tokens=4096, batch=100)
    assert all(text in str(refused.value) for text in missing)


def test_weights_that_alone_do_not_fit_are_refused_at_any_batch() -> None:
    for batch in (1, 7):
        with pytest.raises(ValueError, match=r"a batch of 1 and 1 tokens each needs .* not even a batch of 1 fits"):
            rk.model("llama-2-70b").check_memory("A10", tokens=1, batch=batch)


def test_memory_is_checked_on_a_machine_of_one_s_own_to_the_byte() -> None:
    llama = rk.model("llama-2-7b")
    for spare, fits in ((0, True), (-1, False)):
        memory = int(llama.memory_bytes(1000, 3)) + spare
        mine = rk.Accelerator("mine", peaks={"fp16": 1e12}, bandwidth=1e12, memory=memory)
        assert llama.largest_batch(mine, 1000) == (3 if fits else 2)


# --- config.json -------------------------------------------------------------------------------------

# What the authors' files say that bears on a size, and the row of models.toml that is the same model.
REAL: dict[str, dict[str, Any]] = {
    "gpt2": {
        **{"model_type": "gpt2", "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05, "n_ctx": 1024},
        **{"n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "vocab_size": 50257},
    },
    "opt-6.7b": {
        **{"model_type": "opt", "activation_function": "relu", "do_layer_norm_before": True, "ffn_dim": 16384},
        **{"_remove_final_layer_norm": False, "hidden_size": 4096, "max_position_embeddings": 2048},
        **{"num_attention_heads": 32, "num_hidden_layers": 32, "vocab_size": 50272, "word_embed_proj_dim": 4096},
    },
    "llama-2-7b": {
        **{"model_type": "llama", "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 11008},
        **{"max_position_embeddings": 4096, "num_attention_heads": 32, "num_hidden_layers": 32, "rope_scaling": None},
        **{"num_key_value_heads": 32, "rms_norm_eps": 1e-05, "tie_word_embeddings": False, "vocab_size": 32000},
    },
    "mistral-7b": {
        **{"model_type": "mistral", "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336},
        **{"max_position_embeddings": 32768, "num_attention_heads": 32, "num_hidden_layers": 32},
        **{"num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096},
        **{"tie_word_embeddings": False, "vocab_size": 32000},
    },
    "qwen2.5-72b": {
        **{"model_type": "qwen2", "hidden_act": "silu", "hidden_size": 8192, "intermediate_size": 29568},
        **{"max_position_embeddings": 32768, "max_window_layers": 70, "num_attention_heads": 64},
        **{"num_hidden_layers": 80, "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0},
        **{"sliding_window": 131072, "tie_word_embeddings": False, "use_sliding_window": False, "vocab_size": 152064},
    },
}
IN_WORDS = ("name", "title", "published", "source", "note", "provenance")


def config_file(folder: Path, config: Any) -> Path:
    path = folder / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config), "utf-8")
    return path


def sizes_of(model: rk.Model) -> dict[str, Any]:
    return {key: value for key, value in asdict(model).items() if key not in IN_WORDS}


@pytest.mark.parametrize("name", REAL)
def test_a_config_json_gives_the_same_model_as_its_row(name: str, tmp_path: Path) -> None:
    path = config_file(tmp_path, REAL[name])
    for given_as in (path, str(path)):
        model = rk.model(given_as)
        assert sizes_of(model) == sizes_of(rk.model(name))
        assert (model.name, model.source) == (tmp_path.name, str(path))
    assert model.parameters == TABLE[name]["parameters"]


@pytest.mark.parametrize("name", ["llama-2-7b", "mistral-7b", "qwen2.5-72b"])
def test_rope_theta_is_found_where_newer_versions_keep_it(name: str, tmp_path: Path) -> None:
    config = {key: value for key, value in REAL[name].items() if key != "rope_theta"}
    rope = {"rope_theta": 12345.0, "rope_type": "default"}
    model = rk.model(config_file(tmp_path, {**config, "rope_parameters": rope}))
    assert (model.rope_theta, model.rope_scaled) == (12345.0, False)


@pytest.mark.parametrize(
    "stretched",
    [
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0}},
    ],
)
def test_stretched_frequencies_are_noticed(stretched: dict[str, Any], tmp_path: Path) -> None:
    assert rk.model(config_file(tmp_path, REAL["llama-2-7b"] | stretched)).rope_scaled


def without(name: str, *fields: str) -> dict[str, Any]:
    return {key: value for key, value in REAL[name].items() if key not in fields}


# What transformers' configuration classes take where a file leaves a field out.
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (without("llama-2-7b", "num_key_value_heads"), {"kv_heads": 32, "head_dim": 128}),
        (without("llama-2-7b", "rms_norm_eps", "tie_word_embeddings"), {"norm_eps": 1e-6, "tied": False}),
        (REAL["llama-2-7b"] | {"tie_word_embeddings": True}, {"tied": True}),
        (REAL["llama-2-7b"] | {"head_dim": 96}, {"head_dim": 96}),
        (REAL["qwen2.5-72b"] | {"head_dim": 96}, {"head_dim": 96}),
        (REAL["mistral-7b"] | {"sliding_window": None}, {"window": None}),
        (without("mistral-7b", "sliding_window", "num_key_value_heads"), {"window": 4096, "kv_heads": 8}),
        (REAL["gpt2"] | {"n_inner": None}, {"mlp_hidden": 3072}),
        (REAL["gpt2"] | {"n_inner": 1000, "activation_function": "relu"}, {"mlp_hidden": 1000, "activation": "relu"}),
        (without("opt-6.7b", "word_embed_proj_dim"), {"hidden": 4096}),
    ],
)
def test_what_a_config_json_leaves_out_is_what_transformers_takes(
    config: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    model = rk.model(config_file(tmp_path, config))
    assert {what: getattr(model, what) for what in expected} == expected


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (REAL["llama-2-7b"] | {"model_type": "mamba"}, "the model_type 'mamba' is not modelled. Modelled are gpt2"),
        (REAL["llama-2-7b"] | {"model_type": ["llama"]}, "the model_type .'llama'. is not modelled"),
        (without("llama-2-7b", "model_type"), "the model_type None is not modelled"),
        (REAL["llama-2-7b"] | {"hidden_act": "gelu"}, r"hidden_act is 'gelu', and only \['silu'\]"),
        (REAL["gpt2"] | {"activation_function": "gelu"}, r"activation_function is 'gelu', and only \['gelu_new'"),
        (REAL["gpt2"] | {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        (REAL["opt-6.7b"] | {"do_layer_norm_before": False}, "do_layer_norm_before is False"),
        (REAL["opt-6.7b"] | {"word_embed_proj_dim": 512}, "word_embed_proj_dim is 512"),
        (without("llama-2-7b", "num_hidden_layers"), "has no num_hidden_layers"),
        (REAL["llama-2-7b"] | {"num_hidden_layers": None}, "has no num_hidden_layers"),
        (without("llama-2-7b", "intermediate_size"), "has no intermediate_size"),
        (without("opt-6.7b", "ffn_dim"), "has no ffn_dim"),
        (without("gpt2", "n_positions", "n_ctx"), "has no n_positions"),
        (without("gpt2", "vocab_size"), "has no vocab_size"),
        ("model_type: llama", "is no JSON object"),
        ("", "is no JSON object"),
        ("[1, 2]", "is no JSON object"),
        (REAL["llama-2-7b"] | {"rope_parameters": [1]}, r"rope_parameters is \[1\], and must be an object or null"),
    ],
)
def test_a_config_json_that_is_not_modelled_is_refused_with_its_path_and_the_reason(
    config: Any, message: str, tmp_path: Path
) -> None:
    path = config_file(tmp_path, config)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}.*({message})"):
        rk.model(path)


def test_a_config_json_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        rk.model(tmp_path / "config.json")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        rk.model("nowhere.json")


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_hidden_layers": "32"}, {"hidden_size": 4096.5}, {"hidden_size": "[].pop()"}, {"num_attention_heads": "4"},
        {"vocab_size": True}, {"num_hidden_layers": 0}, {"intermediate_size": -1}, {"head_dim": [128]},
    ],
)  # fmt: skip
def test_a_size_in_a_config_json_that_is_no_integer_is_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=re.escape(f"{name} is {value!r}, and must be a positive integer")):
        rk.model(config_file(tmp_path, REAL["llama-2-7b"] | wrong))


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("llama-2-8b", "'llama-2-7b'"), ("mistral", "'mistral-7b'"), ("llama 3", "'llama-3-8b'"), (None, "by its name")],
)
def test_an_unknown_model_is_refused_with_the_nearest_names(name: Any, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"model .*{nearest}"):
        rk.model(name)


@each_model
def test_capitals_spaces_and_hyphens_do_not_matter_in_a_name(name: str) -> None:
    for spelling in (name.upper(), name.replace("-", " "), name.replace("-", "")):
        assert rk.model(spelling) == rk.model(name)


GPT2 = rk.model("gpt2")


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (lambda: GPT2.prefill(0, 5), ValueError, "gpt2: batch is 0"),
        (lambda: GPT2.prefill(1, 0), ValueError, "gpt2: seq is 0"),
        (lambda: GPT2.prefill(1, -1), ValueError, "gpt2: seq is -1"),
        (lambda: GPT2.decode(1, 0), ValueError, "gpt2: context is 0"),
        (lambda: GPT2.decode(-3, 5), ValueError, "gpt2: batch is -3"),
        (lambda: GPT2.prefill(1.5, 5), TypeError, r"gpt2: batch is 1\.5 \(float\)"),
        (lambda: GPT2.decode(1, 50.0), TypeError, r"gpt2: context is 50\.0 \(float\)"),
        (lambda: GPT2.decode("8", 50), TypeError, r"gpt2: batch is '8' \(str\)"),
        (lambda: GPT2.prefill(True, 5), ValueError, "gpt2: batch is True"),
        (lambda: GPT2.prefill(sympy.Symbol("b"), 5), TypeError, r"make it with rk\.symbols\('b'\)"),
        (lambda: GPT2.prefill(1, 5, logits="first"), ValueError, "unknown logits 'first'.*'all', 'last'"),
        (lambda: GPT2.prefill(1, 5, dtype="fp17"), ValueError, "unknown dtype 'fp17'; did you mean 'fp16'"),
        (lambda: rk.Model("mine", **OWN, activation="swish").decode(1, 5), ValueError, "unknown activation 'swish'"),
        (lambda: GPT2.kv_cache_bytes(5, dtype="half"), ValueError, "unknown dtype 'half'"),
        (lambda: GPT2.kv_cache_bytes(0), ValueError, "is 0; a size must be a positive integer"),
        (lambda: GPT2.kv_cache_bytes(5, batch=0), ValueError, "is 0; a size must be a positive integer"),
        (lambda: GPT2.kv_cache_bytes(5.5), TypeError, r"is 5\.5 \(float\)"),
        (
            lambda: rk.model("mistral-7b").kv_cache_bytes(10000.5),
            TypeError,
            r"mistral-7b: tokens is 10000\.5 \(float\)",
        ),
        (lambda: rk.model("mistral-7b").largest_batch("A10", "4"), TypeError, r"mistral-7b: tokens is '4' \(str\)"),
        (lambda: rk.model("mistral-7b").kv_cache_bytes(True), ValueError, "mistral-7b: tokens is True"),
        (lambda: GPT2.decode(1, None), TypeError, "gpt2: context is None"),
        (lambda: GPT2.memory_bytes(5, dtype="half"), ValueError, "unknown dtype 'half'"),
        (lambda: GPT2.check_memory("A10", 5, batch=0), ValueError, "is 0; a size must be a positive integer"),
        (lambda: GPT2.largest_batch("A11", 5), ValueError, "unknown accelerator 'A11'; did you mean 'A10'"),
        (lambda: GPT2.largest_batch("A10", c), ValueError, "gpt2: c must be numbers for a largest batch"),
        (lambda: GPT2.largest_training_batch("A10", c), ValueError, "gpt2: c must be numbers for a largest batch"),
        (lambda: GPT2.check_memory("A10", c, b), ValueError, "gpt2: b, c must be numbers for whether it fits"),
        (lambda: GPT2.decode(1, 5, absorbed="yes"), TypeError, "gpt2: absorbed must be True or False, not 'yes'"),
        (lambda: GPT2.decode(1, 5, fused=1), TypeError, "gpt2: fused must be True or False, not 1"),
        (lambda: GPT2.decode(1, 5, awake="nonsense"), ValueError, "gpt2: unknown awake 'nonsense'"),
        (lambda: GPT2.training(1, 5, awake=1.5), TypeError, r"gpt2: awake is 1\.5"),
        (lambda: GPT2.kv_cache_bytes(5, reserved="no"), TypeError, "gpt2: reserved must be True or False, not 'no'"),
        (lambda: GPT2.prefill(1, 5, causal=rk.Causal()), TypeError, "gpt2: causal must be True or False, not a Causal"),
        (lambda: GPT2.decode(1, 5, causal=rk.Causal()), TypeError, "gpt2: causal must be True or False, not a Causal"),
        (lambda: GPT2.training(1, 5, causal=None), TypeError, "gpt2: causal must be True or False, not None"),
    ],
)
def test_a_question_that_has_no_answer_is_refused(
    asked: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        asked()


LATENT = {"kv_latent": 6, "nope_head_dim": 2, "rope_head_dim": 4, "value_head_dim": 3, "positions": "rotary"}
OWN = {"layers": 2, "hidden": 8, "heads": 4, "vocabulary": 11, "position_rows": 16}


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"kv_heads": 3}, ValueError, "mine: 4 heads cannot share 3 kv_heads"),
        ({"kv_heads": 8}, ValueError, "mine: 4 heads cannot share 8 kv_heads"),
        ({"heads": 3}, ValueError, "mine: head_dim is 8/3"),
        ({"layers": 0}, ValueError, "mine: layers is 0"),
        ({"vocabulary": -1}, ValueError, "mine: vocabulary is -1"),
        ({"mlp_hidden": 0}, ValueError, "mine: mlp_hidden is 0"),
        ({"hidden": 8.0}, TypeError, r"mine: hidden is 8\.0 \(float\)"),
        ({"hidden": "8"}, TypeError, r"mine: hidden is '8' \(str\)"),
        ({"hidden": "[].pop()"}, TypeError, r"mine: hidden is .\[\].pop\(\). \(str\)"),
        ({"heads": "4"}, TypeError, r"mine: heads is '4' \(str\)"),
        ({"window": 0}, ValueError, "mine: window is 0"),
        ({"window": 2.5}, TypeError, r"mine: window is 2\.5 \(float\)"),
        ({"norm": "batch"}, ValueError, "mine: unknown norm 'batch'.*'rms', 'layer'"),
        ({"positions": "rotate"}, ValueError, "mine: unknown positions 'rotate'; did you mean 'rotary'"),
        ({"bias": "yes"}, ValueError, "mine: unknown bias 'yes'.*'none', 'qkv', 'attention', 'mlp', 'all'"),
        (
            {"position_rows": None},
            TypeError,
            "mine: positions are 'learned'.*position_rows=1024.*or positions='rotary'.*or vocabulary=None",
        ),
        ({"position_rows": 0}, ValueError, "mine: position_rows is 0"),
        ({"layers": None}, TypeError, "mine: layers is None"),
        ({"norm_eps": 0}, ValueError, "mine: norm_eps is 0, and must be a positive number"),
        ({"score_cap": 0}, ValueError, "mine: score_cap is 0"),
        ({"score_cap": float("nan")}, ValueError, "mine: score_cap is nan"),
        ({"score_cap": "30"}, TypeError, "mine: score_cap must be a positive number, not '30'"),
        ({"logits_cap": float("inf")}, ValueError, "mine: logits_cap is inf"),
        ({"score_scale": True}, TypeError, "mine: score_scale must be a positive number, not True"),
        ({"residual_scale": float("nan")}, ValueError, "mine: residual_scale is nan"),
        ({"embedding_scale": None}, TypeError, "mine: embedding_scale must be a positive number, not None"),
        ({"rope_theta": -1}, ValueError, "mine: rope_theta is -1"),
        ({"position_offset": "2"}, TypeError, "mine: position_offset must be a whole number, not '2'"),
        ({"position_offset": -1}, ValueError, "mine: position_offset is -1, and must be 0 or more"),
        ({"rotary_dim": 999}, ValueError, "mine: rotary_dim is 999, more than the head_dim of 2"),
        ({"pattern": {"window": 4}}, TypeError, "mine: pattern must be mappings, one for a layer"),
        ({"pattern": ({"widnow": 4},)}, ValueError, "mine, pattern: unknown field 'widnow'; did you mean 'window'"),
        ({"pattern": ({"layers": 3}, {})}, ValueError, "mine, pattern: layers is of the whole model"),
        ({"pattern": ({"tied": True}, {})}, ValueError, "mine, pattern: tied is of the whole model"),
        ({"pattern": ({"vocabulary": 3}, {})}, ValueError, "mine, pattern: vocabulary is of the whole model"),
        ({"query_latent": 5}, TypeError, "mine: query_latent is 5, and there is no kv_latent"),
        ({"router_offset": True}, TypeError, "mine: router_offset is True, and there are no experts"),
        *(
            (LATENT | {what: wrong}, ValueError, f"mine: {what} is {wrong!r}, and with latent attention it must be ")
            for what, wrong in {
                "score_cap": 50.0,
                "sinks": True,
                "query_key_norm": "head",
                "positions": "none",
                "kv_heads": 2,
                "head_dim": 2,
                "rotary_dim": 2,
                "bias": "qkv",
            }.items()
        ),
    ],
)
def test_an_own_model_that_cannot_be_is_refused_when_it_is_made(
    wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        rk.Model("mine", **{**OWN, **wrong})


@pytest.mark.parametrize(
    ("what", "name"), [("norm", "RMS"), ("positions", "Rotary"), ("bias", "None"), ("bias", "QKV")]
)
def test_how_a_choice_is_spelled_does_not_change_the_model(what: str, name: str) -> None:
    spelled, plain = (rk.Model("mine", **OWN, **{what: x}) for x in (name, name.lower()))
    assert spelled.parameters == plain.parameters and figures(spelled.prefill(1, 4)) == figures(plain.prefill(1, 4))


def test_an_own_model_is_as_good_as_a_listed_one() -> None:
    fields = {key: value for key, value in TABLE["llama-2-7b"].items() if key not in (*IN_WORDS, "parameters")}
    mine = rk.Model("mine", **fields)
    assert mine.parameters == rk.model("llama-2-7b").parameters and mine.source == "own"
    assert figures(mine.decode(2, 100)) == figures(rk.model("llama-2-7b").decode(2, 100))


def test_some_layers_may_have_latent_attention_and_the_others_heads_of_their_own() -> None:
    mine = rk.Model("mine", 2, 8, 4, positions="rotary", kv_heads=2, head_dim=6, pattern=(LATENT, {"Window": 4}))
    latent, windowed = (kind for _, kind in mine.kinds)
    assert (latent.kv_heads, latent.head_dim) == (None, None)
    assert (windowed.kv_heads, windowed.head_dim, windowed.window) == (2, 6, 4)
    assert mine.decode(1, 9).matmul_flops == sum(kind.decode(1, 9).matmul_flops / 2 for kind in (latent, windowed))


def test_a_scale_of_scores_may_be_open() -> None:
    h = rk.symbols("h")
    assert rk.Model("mine", layers=1, hidden=h, heads=4, score_scale=h**-0.5).decode(1, 9).matmul_flops != 0


def test_an_own_model_may_have_open_sizes() -> None:
    L, h, V, n = rk.symbols("L h V n")
    mine = rk.Model("mine", layers=L, hidden=h, heads=h / 64, vocabulary=V, positions="rotary", norm="rms")
    assert sympy.expand(mine.parameters) == sympy.expand(L * (12 * h**2 + 2 * h) + 2 * V * h + h)
    assert mine.kv_cache_bytes(n) == 4 * L * h * n


def test_a_choice_of_two_is_true_or_false() -> None:
    sizes = {"layers": 1, "hidden": 8, "heads": 2, "vocabulary": 5, "position_rows": 4}
    for what in ("gated", "tied", "rope_scaled"):
        with pytest.raises(TypeError, match=f"mine: {what} must be True or False, not 'no'"):
            rk.Model("mine", **sizes, **{what: "no"})
    with pytest.raises(TypeError, match="no"):
        rk.model("gpt2").prefill(1, 5, causal="no")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scaling", "scaled"),
    [
        ({}, False),
        ({"rope_scaling": None}, False),
        ({"rope_scaling": {"rope_type": "default"}}, False),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, True),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, True),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, False),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, True),
    ],
)
def test_stretched_frequencies_are_told_from_ordinary_ones(
    tmp_path: Path, scaling: dict[str, Any], scaled: bool
) -> None:
    path = tmp_path / "config.json"
    llama = {
        "model_type": "llama", "num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2,
        "intermediate_size": 16, "vocab_size": 5,
    }  # fmt: skip
    path.write_text(json.dumps(llama | scaling), "utf-8")
    assert rk.model(path).rope_scaled == scaled


# --- layers alone ------------------------------------------------------------------------------------------


def without_ends(name: str) -> rk.Model:
    """A model of the table without its vocabulary."""
    return replace(rk.model(name), vocabulary=None, position_rows=None)


@each_plain_model
def test_without_a_vocabulary_a_model_is_its_layers(name: str) -> None:
    whole, layers = rk.model(name), without_ends(name)
    ends = sum(x.size for x in leaves(whole.end_weights()))
    assert layers.end_weights() == {} and layers.parameters == whole.parameters - ends
    assert layers.kv_cache_bytes(100) == whole.kv_cache_bytes(100)
    assert layers.memory_bytes(100) == 2 * layers.parameters + layers.kv_cache_bytes(100)
    for stage in ("prefill", "decode"):
        inner = [step for step in getattr(whole, stage)(2, 50).steps if step.count == whole.layers]
        cost = getattr(layers, stage)(2, 50)
        assert figures(cost) == figures(rk.Cost(tuple(inner)))
        assert len(cost.steps) == len(inner) and cost.name == getattr(whole, stage)(2, 50).name


def test_layers_of_one_s_own_need_sizes_of_layers_only() -> None:
    h = rk.symbols("h")
    mine = rk.Model("mine", layers=3, hidden=h, heads=h / 64)
    assert sympy.expand(mine.parameters - 3 * (12 * h**2 + 4 * h)) == 0
    assert mine.decode(1, 100).symbols == (h,)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda mine: mine.prefill(1, 5, logits="last"), "mine has no vocabulary and so no logits"),
        (lambda mine: mine.prefill(1, 5, logits="lsat"), "unknown logits 'lsat'; did you mean 'last'"),
        (lambda mine: mine.run(np.ones((1, 3), int), {}, []), "mine has no vocabulary, so run has no tokens"),
    ],
)
def test_layers_alone_have_no_tokens_and_no_logits(ask: Callable[[rk.Model], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ask(rk.Model("mine", layers=2, hidden=8, heads=4))


def test_layers_that_differ_are_at_most_ten_thousand() -> None:
    with pytest.raises(ValueError, match="at most 10000, and layers is 1000000000"):
        rk.Model("deep", layers=10**9, hidden=4, heads=2, pattern=({"window": 3}, {}))
    assert rk.Model("deep", layers=10**9, hidden=4, heads=2).parameters > 10**9
