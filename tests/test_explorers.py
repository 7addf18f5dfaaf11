"""Explorers without a browser: their numbers are the kit's own, taken another way; and bad input is refused by name."""

from __future__ import annotations

import base64
import builtins
import csv
import importlib
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import sympy
from browser import FIVE
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import roofline_kit as rk
from roofline_kit.explorers import of_models
from roofline_kit.explorers.live import Area, Program, mathml
from roofline_kit.explorers.live.program import PRELUDE
from roofline_kit.models import SIZES
from roofline_kit.sizes import BITS, bytes_of
from roofline_kit.tensor import leaves

KIT = Path(rk.__file__).parent
N, h, b = rk.symbols("N h b")
LINEAR = rk.trace(rk.linear, rk.Tensor("X", (b, h)), rk.Tensor("W", (h, h)))
MODELS = rk.explore_batch()
LAYERS = rk.explore_batch(h=4096)
ROOFLINE = rk.explore_roofline()
ATTENTION = rk.explore_attention()
SPARSE = rk.explore_sparse()
COST = rk.explore_roofline(LINEAR)
HOW = {"logits": "last", "causal": True, "fused": True}
OTHER_WAY = rk.explore_batch(**HOW)
ROOFLINE_FUSED = rk.explore_roofline(fused=True)
NARROW = {"weights": ["int4", "fp16", "mxfp4", "nvfp4", "int8"], "cache": ["fp8", "fp16", "int4"]}
APART = rk.explore_batch(**NARROW)
ROOFLINE_APART = rk.explore_roofline(**NARROW)


# An example takes as long as a model takes to trace: to shrink one would take minutes.
TRACED = settings(max_examples=60, phases=[Phase.explicit, Phase.generate])


def states(explorer: Any) -> Any:
    return st.fixed_dictionaries({control.name: st.sampled_from(control.values) for control in explorer.controls})


def near(value: Any) -> Any:
    return pytest.approx(float(value), rel=1e-9)


def dtype_of(state: dict[str, Any]) -> str | None:
    """The state's dtype, where the accelerator has a peak for it."""
    return state["dtype"] if state["dtype"] in rk.accelerator(state["accelerator"]).peaks else None


def heads_cache(model: Any, state: dict[str, Any], dtype: str, cached: str, fused: bool) -> Any:
    """Attention of one layer of a model, traced by itself: all heads beside the cache."""
    initial = state["stage"] == "initial"
    rows = state["context"] if initial else 1
    lead, groups, d = (state["batch"], model.kv_heads), model.heads // model.kv_heads, model.head_dim
    Q = rk.Tensor("Q", (*lead, groups, rows, d), dtype)
    keys = (*lead, 1, min(state["context"], model.window or state["context"]) if not initial else rows, d)
    kept = {"dtype": dtype} if initial else {"dtype": cached, "role": "cache"}
    attention = rk.fuse(rk.attention) if fused else rk.attention
    return rk.trace(attention, Q, rk.Tensor("K", keys, **kept), rk.Tensor("V", keys, **kept))


def compare_part(at: Any, part: str, cost: Any, roof: Any, times: int = 1) -> None:
    """One part of an explorer's numbers with a cost that was traced with numbers in it."""
    flops, moved, seconds = times * cost.flops, times * cost.bytes, times * roof.time(cost)
    assert at[f"{part}_flops"] == near(flops)
    assert at[f"{part}_bytes"] == near(moved)
    assert at[f"{part}_time"] == near(seconds)
    assert at[f"{part}_intensity"] == near(flops / moved)
    assert at[f"{part}_performance"] == near(flops / seconds)
    assert ("compute" if at[f"{part}_bound"] >= 1 else "memory") == roof.bound(cost)


OF_MODELS = {
    "batch": MODELS, "roofline": ROOFLINE, "batch, other way": OTHER_WAY, "batch, widths apart": APART,
    "roofline, widths apart": ROOFLINE_APART, "roofline, fused": ROOFLINE_FUSED,
}  # fmt: skip


@pytest.mark.parametrize("explorer", OF_MODELS.values(), ids=OF_MODELS)
def test_numbers_of_a_model_are_those_of_its_cost_its_memory_and_its_roofline(explorer: Any) -> None:
    TRACED(given(states(explorer))(lambda state: compare_model(explorer, state)))()


def compare_model(explorer: Any, state: dict[str, Any]) -> None:
    """All numbers of an explorer of models with what the kit's own functions say at these numbers."""
    at, message = explorer.values(**state), explorer._message(explorer.values(**state))
    dtype, model = dtype_of(state), rk.model(state["model"])
    if dtype is None:
        assert math.isnan(at["whole_time"])
        assert message["text"] == f"{state['accelerator']} has no {state['dtype']} peak: choose another dtype."
        return
    if model.heads % state["kv_heads"]:
        with pytest.raises(ValueError, match="cannot share"):
            replace(model, kv_heads=state["kv_heads"])
        assert message["blocks"]
        return
    model, batch, context = replace(model, kv_heads=state["kv_heads"]), state["batch"], state["context"]
    way = HOW if explorer is OTHER_WAY else {"fused": True} if explorer is ROOFLINE_FUSED else {}
    fused = {name: way[name] for name in ("fused",) if name in way}
    initial = state["stage"] == "initial"
    make, how = (model.prefill, way) if initial else (model.decode, fused)
    apart = {name: state[name] for name in ("weights", "cache") if name in state}
    one = make(batch, context, dtype=dtype, **how, **apart)
    roof = rk.roofline(state["accelerator"], dtype)
    compare_part(at, "whole", one, roof)
    if explorer is not OTHER_WAY:
        attention = heads_cache(model, state, dtype, apart.get("cache", dtype), bool(fused))
        compare_part(at, "attention", attention, roof, model.layers)
        products = sum(step.flops for step in one.steps if step.matmul_flops)
        within = attention.flops if fused else attention.matmul_flops  # fused, the softmax is in one step with products
        assert at["dense_flops"] == near(products - model.layers * within)
    assert at["whole_throughput"] == near(batch * (context if initial else 1) / roof.time(one))
    assert at["cache_held"] == near(model.kv_cache_bytes(context, batch, apart.get("cache", dtype)))
    assert at["needed"] == near(model.memory_bytes(context, batch, dtype, **apart))
    try:
        assert at["largest"] == model.largest_batch(state["accelerator"], context, dtype, **apart)
    except ValueError:
        assert at["largest"] < 1
    try:
        model.check_memory(state["accelerator"], context, batch, dtype, **apart)
        assert message is None
    except ValueError as error:
        fits = str(error).split("; ")[1]
        assert message["text"].replace(",", "").endswith(f"{fits}.")


@TRACED
@given(states(LAYERS))
def test_numbers_of_plain_layers_are_what_one_more_layer_adds_to_a_model(state: dict[str, Any]) -> None:
    at, dtype, heads, layers = LAYERS.values(**state), dtype_of(state), state["heads"], state["layers"]
    if dtype is None or heads % state["kv_heads"] or state["h"] % heads:
        assert LAYERS._message(at)["blocks"]
        return
    roof = rk.roofline(state["accelerator"], dtype)

    def of(count: int) -> tuple[Any, ...]:
        model = rk.Model("layers", count, state["h"], heads, 1, kv_heads=state["kv_heads"], position_rows=1)
        make = model.prefill if state["stage"] == "initial" else model.decode
        cost = make(state["batch"], state["context"], dtype=dtype)
        cache = model.kv_cache_bytes(state["context"], dtype=dtype)
        return cost.flops, cost.bytes, roof.time(cost), model.parameters, cache

    flops, moved, seconds, weights, cache = (layers * (two - one) for one, two in zip(of(1), of(2), strict=True))
    assert at["whole_flops"] == near(flops)
    assert at["whole_bytes"] == near(moved)
    assert at["whole_time"] == pytest.approx(seconds, rel=1e-6)  # a difference of two that are nearly the same
    assert at["weights_held"] == near(weights * at["dtype_bytes"])
    assert at["cache_of_one"] == near(cache)


@TRACED
@given(states(ATTENTION))
def test_numbers_of_attention_are_those_of_its_trace(state: dict[str, Any]) -> None:
    at, dtype, heads, kv_heads = ATTENTION.values(**state), dtype_of(state), state["heads"], state["kv_heads"]
    if dtype is None or heads % kv_heads or state["h"] % heads:
        assert ATTENTION._message(at)["blocks"]
        return
    assert ATTENTION._message(at) is None
    shape = (state["N"], state["h"] // heads)
    Q = rk.Tensor("Q", (kv_heads, heads // kv_heads, *shape), dtype)
    K, V = (rk.Tensor(name, (kv_heads, 1, *shape), dtype) for name in "KV")
    cost = rk.trace(rk.fuse(rk.attention) if state["fused"] else rk.attention, Q, K, V)
    roof = rk.roofline(state["accelerator"], dtype)
    compare_part(at, "whole", cost, roof)
    for part, step in zip(("scores", "softmax", "mix"), cost.steps, strict=not state["fused"]):
        if state["fused"]:
            assert math.isnan(at[f"{part}_intensity"])
        else:
            compare_part(at, part, step, roof)


@TRACED
@given(states(SPARSE))
def test_tokens_that_sparse_attention_reads_are_the_loads_of_its_trace(state: dict[str, Any]) -> None:
    at, S = SPARSE.values(**state), state["context"]
    if state["selected"] > math.ceil(S / 64):
        assert SPARSE._message(at)["blocks"]
        return
    d, tokens = 128, {"near": S, "full": S, "cmp": math.ceil(S / 16)}
    near_, full, cmp = ([rk.Tensor(f"{x}_{of}", (1, rows, d)) for x in "KV"] for of, rows in tokens.items())
    Q, gates = rk.Tensor("Q", (1, 1, 1, d)), rk.Tensor("gates", (1, 1, 1, 3))
    cost = rk.trace(
        rk.sparse_attention, Q, *full, *cmp, gates, tuple(near_), selected=state["selected"], window=state["window"]
    )
    for name, arrays in {"compressed": cmp, "chosen": full, "near": near_}.items():
        assert at[name] == near(cost.loads_of(*arrays) / (2 * 2 * d))
    assert at["total"] == near(cost.loads_of(*cmp, *full, *near_) / (2 * 2 * d))
    assert at["share"] == near(at["total"] / S)


@TRACED
@given(states(COST))
def test_numbers_of_a_cost_are_those_of_the_cost_at_these_sizes(state: dict[str, Any]) -> None:
    at, dtype = COST.values(**state), dtype_of(state)
    if dtype is None:
        assert COST._message(at)["blocks"]
        return
    X, W = rk.Tensor("X", (state["b"], state["h"]), dtype), rk.Tensor("W", (state["h"], state["h"]), dtype)
    compare_part(at, "part0", rk.trace(rk.linear, X, W), rk.roofline(state["accelerator"], dtype))


@pytest.mark.parametrize("width", sorted(BITS))
def test_a_width_reaches_the_formulas_exactly_whether_it_is_given_or_chosen(width: str) -> None:
    shape, exact = rk.model("gpt2"), bytes_of(width)
    given = rk.explore_batch("gpt2", weights=width, cache=width)
    chosen = rk.explore_batch("gpt2", weights=["fp16", width], cache=["fp16", width])
    for at in (given.values(), chosen.values(weights=width, cache=width)):
        assert sympy.Rational(at["weight_bytes"]) == sympy.Rational(at["cache_bytes"]) == exact
        assert at["weights_held"] == float(shape.parameters * exact)
        assert at["cache_held"] == float(shape.kv_cache_bytes(1000, 32, width))
    assert {"weights", "cache"} & {control.name for control in given.controls} == set()
    assert f"fp16, weights in {width}, cache in {width}, " in repr(given)
    assert "weights in fp16, cache in fp16, " in repr(chosen)


def test_widths_are_offered_only_where_a_list_asks_for_them() -> None:
    offered = {control.name: control.values for control in APART.controls}
    assert {name: set(offered[name]) for name in NARROW} == {name: set(of) for name, of in NARROW.items()}
    assert {name: APART.state[name] for name in NARROW} == {"weights": "int4", "cache": "fp8"}
    assert {"weights", "cache"} & {control.name for control in [*MODELS.controls, *ROOFLINE.controls]} == set()


TRAINING = {
    "plain": ("llama-2-7b", {}),
    "fused and causal": ("gpt2", {"fused": True, "causal": True}),
    "to fuse": ("llama-3-8b", {"fused": [False, True]}),
    "widths apart": ("gpt2", {"gradients": "fp32", "states": "int8"}),
    "windows": ("gemma-2-9b", {"fused": True}),
    "latent attention and experts": ("deepseek-v2-lite", {"gradients": "fp32"}),
}


@pytest.mark.parametrize(("name", "how"), TRAINING.values(), ids=TRAINING)
def test_numbers_of_training_are_those_of_the_step_of_the_model(name: str, how: dict[str, Any]) -> None:
    explorer = rk.explore_training(name, **how)
    few = settings(TRACED, max_examples=15 if len(rk.model(name).kinds) == 1 else 8)
    few(given(states(explorer))(lambda state: compare_training(explorer, state, how)))()


def compare_training(explorer: Any, state: dict[str, Any], how: dict[str, Any]) -> None:
    """All numbers of an explorer of training with what the kit's own functions say at these numbers."""
    at, model, card = explorer.values(**state), rk.model(state["model"]), rk.accelerator(state["accelerator"])
    message, dtype = explorer._message(at), dtype_of(state)
    if dtype is None:
        assert message["blocks"] and message["text"].endswith("peak: choose another dtype.")
        return
    asked = how | {"fused": state.get("fused", how.get("fused", False)), "dtype": dtype}
    asked |= {"optimizer": state["optimizer"], "checkpoint": state["checkpoint"]}
    asked["master"] = "" if state["master"] == "none" else state["master"]
    step, roof = model.training(state["batch"], state["seq"], **asked), rk.roofline(card, dtype)
    without = model.training(state["batch"], state["seq"], **asked | {"checkpoint": None}).backward
    parts, seconds = {"forward": step.forward, "update": step.update, "whole": step}, roof.time(step)
    for part, cost in parts.items():
        assert at[f"{part}_flops"] == near(cost.flops), part
        assert at[f"{part}_bytes"] == near(cost.bytes), part
        assert at[f"{part}_time"] == near(seconds if part == "whole" else roof.time(cost)), part
    assert at["backward_time"] == near(roof.time(without)) and at["backward_flops"] == near(without.flops)
    assert at["backward_time"] + at["again_time"] == near(roof.time(step.backward))
    assert at["backward_bytes"] + at["again_bytes"] == near(step.backward.bytes)
    assert (at["again_time"] > 0) == (state["checkpoint"] > 0) and at["again_flops"] >= 0
    assert {what: at[f"{what}_held"] for what in step.memory} == {what: near(of) for what, of in step.memory.items()}
    assert at["needed"] == near(step.memory_bytes)
    assert at["throughput"] == near(state["batch"] * state["seq"] / seconds)
    assert at["mfu"] == near(step.utilisation(seconds, card)) and 0 < at["mfu"] <= 1
    assert at["days"] == near(10**9 / at["throughput"] / 86400)
    assert (message is None) == (step.memory_bytes <= card.memory)
    try:
        assert at["largest"] == model.largest_training_batch(card, state["seq"], **asked)
    except ValueError:
        assert at["largest"] < 1 and message["text"].endswith("not even a batch of 1 fits.")


@pytest.mark.parametrize("name", rk.models())
def test_training_of_every_model_is_explored_with_the_numbers_of_the_kit(name: str) -> None:
    of = rk.model(name)
    explorer = rk.explore_training(name, "H200", fused=True, causal=True, awake="fewest")
    for batch, seq, n in ((1, 64, 0), (3, 1000, of.layers // 2 + 1), (2, 5000, of.layers)):
        batch_of = next(control for control in explorer.controls if control.name == "batch")
        assert batch in batch_of.values
        at = explorer.values(batch=batch, seq=seq, checkpoint=n)
        step = of.training(batch, seq, checkpoint=n, fused=True, causal=True, awake="fewest")
        assert at["needed"] == near(step.memory_bytes)
        assert at["whole_time"] == near(rk.roofline("H200", "bf16").time(step))
        assert at["products"] == near(step.once)


def test_the_sentence_of_training_says_what_fits_and_by_how_much_it_does_not() -> None:
    fits, full = repr(rk.explore_training(checkpoint="all")), repr(rk.explore_training(batch=512))
    largest = rk.model("llama-2-7b").largest_training_batch("H200", 2048, checkpoint="all")
    assert fits.endswith(f"The largest batch that fits is {largest}.") and "32 of 32 layers checkpointed" in fits
    most = rk.model("llama-2-7b").largest_training_batch("H200", 2048)
    assert re.search(rf"Does not fit: this needs .* more than the 141 GB of H200; .* fits is {most}\.$", full)
    assert "not even a batch of 1 fits." in repr(rk.explore_training("llama-2-70b"))
    assert rk.explore_training(checkpoint="all").state["checkpoint"] == 32
    assert rk.explore_training(master="").state["master"] == "none"


def test_checkpoints_of_each_kind_of_layer_may_be_symbols_or_numbers_and_no_more_than_there_are() -> None:
    of, n, m = rk.model("deepseek-v2-lite"), *rk.symbols("n m")
    kinds = [count for count, _ in of.kinds]
    open_step = of.training(2, 64, checkpoint=(n, m))
    given_, counted = of.training(2, 64, checkpoint=5), {n: 1, m: 4}
    assert kinds == [1, 26]
    assert open_step.backward.flops.subs(counted) == given_.backward.flops
    assert open_step.memory["activations"].subs(counted) == given_.memory["activations"]
    assert of.training(2, 64, checkpoint=(1, 4)).bytes == given_.bytes
    always, rest = (sum(n * x.nbytes for n, x in each) for each in (given_.kept.always, given_.kept.until_reached))
    working = max(sum(x.nbytes for x in arrays) for _, arrays in given_.kept.working)
    assert given_.memory["activations"] == always + max(rest, working) and rest > working
    every = of.training(2, 4096, checkpoint="all").kept
    rest, working = (
        sum(n * x.nbytes for n, x in every.until_reached),
        [sum(x.nbytes for x in y) for _, y in every.working],
    )
    assert max(working) > rest, "with long contexts a layer that is computed again is more than the logits"
    assert every.nbytes() == sum(n * x.nbytes for n, x in every.always) + max(working)
    small = [replace(rk.model("gpt2"), layers=n) for n in (1, 2)]
    shallow, deep = (each.training(2, 64).memory["activations"] for each in small)
    layer, inputs = deep - shallow, 2 * 64 * 768 * bytes_of("bf16")
    for n in (1, 2):
        held = small[1].training(2, 64, checkpoint=n).memory["activations"]
        assert held == deep - n * (layer - inputs), (
            "the logits are more than a layer, and are gone when it is there again"
        )
    for wrong, words in (((1,), "2 kinds of layers need as many"), ((2, 0), "2 checkpoints are more than the 1")):
        with pytest.raises(ValueError, match=words):
            of.training(2, 64, checkpoint=wrong)


EXACT = {
    "cost": lambda N: rk.explore_roofline(rk.trace(rk.attention, *rk.tensors("Q K V", (rk.symbols("N"), 64))), N=N),
    "plain layers": lambda h: rk.explore_batch(h=h, heads=1),
    "batch": lambda context: rk.explore_batch(context=context),
    "attention": lambda N: rk.explore_attention(N=N),
    "sparse": lambda context: rk.explore_sparse(context=context),
    "training": lambda seq: rk.explore_training("gpt2", seq=seq),
}


@pytest.mark.parametrize("make", EXACT.values(), ids=EXACT)
@settings(TRACED, max_examples=10)
@given(st.integers(10_000, 16_384))
def test_a_size_is_never_rounded_in_words(make: Any, n: int) -> None:
    explorer = make(n)
    assert f"{n:,}" in repr(explorer)
    assert f"{n:,}" in [text for control in explorer.controls for text in control.texts]
    words = repr((explorer.sentence, explorer.views, explorer.messages))
    sizes = [control.name for control in explorer.controls if control.kind == "slider"]
    assert not [name for name in sizes if f"{{{name}}}" in words]


@settings(TRACED, max_examples=10)
@given(st.integers(1, 65_536))
def test_a_size_that_is_no_whole_number_is_said_exactly(n: int) -> None:
    N = rk.symbols("N")
    explorer = rk.explore_roofline(rk.trace(rk.exp, rk.Tensor("x", N / 2 - 1)), N=n)
    said = f"{(n - 2) // 2:,}" if n % 2 == 0 else f"{'-' * (n < 2)}{abs(n - 2) // 2:,}.5"
    assert (f"N/2 - 1 is {said} here, and must be a whole number" in repr(explorer)) == (n % 2 > 0 or n < 4)


# --- what was measured ---


def decode_times() -> dict[tuple[str, int, int, int], float]:
    """Seconds of one layer by Python's own reader, by GPU, K and V heads, context and batch."""
    with (KIT.parent / "measurements" / "published" / "attention.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["op"] == "decode" and row["kv_dtype"] == "bf16"]
    rows = [row for row in rows if row["software"].startswith("SGLang")]
    sizes = ("kv_heads", "context", "batch")
    return {(row["gpu"], *(int(row[size]) for size in sizes)): float(row["ms"]) / 1e3 for row in rows}  # type: ignore[misc]


CACHES = {"A100-80GB-SXM": 40e6, "H100-SXM": 50e6, "H200": 50e6, "B200": 126e6, "L40S": 96e6}


def kind_of(gpu: str, kv_heads: int, context: int, batch: int) -> str:
    """Whether queries and results of 32 heads, and all keys and values, fit into the cache: two bytes a number."""
    return "cached" if batch * 128 * 2 * (2 * 32 + 2 * kv_heads * context) <= CACHES[gpu] else "measured"


@pytest.mark.parametrize("make", [rk.explore_batch, rk.explore_roofline])
def test_the_measured_time_of_a_state_is_that_of_the_file_for_all_layers(make: Any) -> None:
    explorer, times, found = make(measured=True), decode_times(), list[str]()
    controls = {control.name: set(control.values) for control in explorer.controls}
    for (gpu, kv_heads, context, batch), seconds in times.items():
        reached = kv_heads in controls["kv_heads"] and context in controls["context"] and batch in controls["batch"]
        if reached and (kv_heads, context) in {(32, 1024), (8, 16384), (1, 16), (32, 65536)}:
            at = explorer.values(accelerator=gpu, kv_heads=kv_heads, context=context, batch=batch)
            kind = kind_of(gpu, kv_heads, context, batch)
            (other,) = {"cached", "measured"} - {kind}
            assert at[f"{kind}_time"] == pytest.approx(32 * seconds, rel=1e-3) and math.isnan(at[f"{other}_time"])
            assert at[f"{kind}_performance"] == pytest.approx(at["attention_flops"] / at[f"{kind}_time"])
            assert at[f"{kind}_throughput"] == pytest.approx(batch / at[f"{kind}_time"])
            found.append(kind)
    assert min(found.count("cached"), found.count("measured")) > 20


@pytest.mark.parametrize(
    "change",
    [
        {"measured": False}, {"accelerator": "A100-40GB"}, {"context": 1000}, {"stage": "initial"}, {"dtype": "fp8"},
        {"kv_heads": 16}, {"model": "llama-2-13b"}, {"batch": 3},
    ],
    ids=str,
)  # fmt: skip
def test_what_was_not_measured_is_not_shown_and_said_unless_it_is_only_this_batch(change: dict[str, Any]) -> None:
    explorer = rk.explore_batch(accelerator="H100-SXM", context=1024, batch=16, measured=True)
    assert explorer.values()["measured_time"] > 0 and explorer._message(explorer.values()) is None
    at = explorer.values(**change)
    message = explorer._message(at)
    assert math.isnan(at["measured_time"]) and math.isnan(at["cached_time"])
    assert (message is None) == (list(change) in (["measured"], ["batch"]))
    if message and "Not measured" in message["text"]:
        assert "on A100-80GB-SXM, B200, H100-SXM, H200, L40S." in message["text"] and not message["blocks"]


def test_each_stored_row_can_be_reached_by_sliders_and_what_is_offered_stays_small() -> None:
    explorer = rk.explore_batch(measured=False)
    controls = {control.name: {*control.values} for control in explorer.controls}
    tables = [table.values for table in explorer.tables if table.sets in ("measured_us", "cached_us")]
    places = [
        (gpu, int(kv_heads), int(context), int(batch))
        for times in tables
        for gpu, of_gpu in times["true"]["auto-regressive"]["2"]["32"]["128"].items()
        for kv_heads, of in of_gpu.items()
        for context, each in of.items()
        for batch in each
    ]
    assert len(places) > 1000
    for place in places:
        assert all(
            v in controls[name] for name, v in zip(("accelerator", "kv_heads", "context", "batch"), place, strict=True)
        )
    assert len(explorer.html) - len(rk.explore_batch().html) < 30_000


def test_measured_points_are_drawn_where_they_are_asked_for() -> None:
    explorer = rk.explore_batch(accelerator="H200", context=4096, measured=False)
    assert not diamonds(explorer, measured=False)
    batches = [place for place in decode_times() if place[:3] == ("H200", 32, 4096) and place[3] <= 512]
    assert diamonds(explorer, measured=True) == ["ink"] * len(batches) and len(batches) > 5
    panel = explorer.widget()
    panel.controls["measured"].value = True
    assert panel.state["measured"] is True and panel.values()["measured_time"] > 0


def test_what_replays_find_in_the_cache_is_drawn_in_grey_and_named() -> None:
    explorer = rk.explore_batch(accelerator="L40S", context=1024, batch=1, measured=True)
    batches = [place for place in decode_times() if place[:3] == ("L40S", 32, 1024) and place[3] <= 512]
    cached = [place for place in batches if kind_of(*place) == "cached"]
    assert 0 < len(cached) < len(batches)
    colors = diamonds(explorer, measured=True)
    assert (colors.count("faint"), colors.count("ink")) == (len(cached), len(batches) - len(cached))
    words = [words for _, _, words in explorer._marks(explorer.state, None)[0]]
    assert "in the cache" in words and "measured" in words
    assert re.search(r"alone: [\d.]+ µs, grey, for the GPU's cache holds", repr(explorer))
    assert re.search(r"alone: [\d.]+ ms \(SGLang, fused; NVIDIA", repr(rk.explore_batch(**LONG, measured=True)))


@pytest.mark.parametrize("make", [rk.explore_batch, rk.explore_roofline])
@pytest.mark.parametrize("change", [{"measured": False}, {"batch": 3}, {"context": 1000}], ids=str)
def test_no_measured_time_is_spoken_of_where_there_is_none(make: Any, change: dict[str, Any]) -> None:
    asked = LONG | {"measured": True} | change
    device = {"accelerator" if make is rk.explore_batch else "accelerators": asked.pop("accelerator")}
    assert "Measured, self-attention" not in repr(make(**device, **asked))


LONG: dict[str, Any] = {"accelerator": "L40S", "context": 4096, "batch": 32}


@pytest.mark.parametrize("gpu", CACHES)
def test_the_poor_kernel_is_named_where_its_times_are_shown(gpu: str) -> None:
    asked = {"accelerator": gpu, "context": 1024, "batch": 16}
    poor = "SGLang's decode kernel is a poor one on this GPU" in repr(rk.explore_batch(**asked, measured=True))
    assert poor == (gpu == "A100-80GB-SXM") and "poor" not in repr(rk.explore_batch(**asked, measured=False))


def test_a_fused_roofline_is_called_so_and_unless_asked_attention_has_its_three_steps() -> None:
    assert "fused=True" in ROOFLINE_FUSED.call and not [word for word in ROOFLINE.call if "fused" in word]
    assert rk.explore_roofline(fused=False).html == ROOFLINE.html
    for stage in ("initial", "auto-regressive"):
        apart, one = (of.values(stage=stage)["attention_bytes"] for of in (ROOFLINE, ROOFLINE_FUSED))
        assert one < apart, stage


def diamonds(explorer: Any, **changes: Any) -> list[str]:
    """The colours of the diamonds in a picture."""
    marks = explorer._marks({**explorer.state, **changes}, None)[0]
    lines = [attributes for tag, attributes, _ in marks if tag == "polyline"]
    return [line["stroke"] for line in lines if len(line["points"].split()) == 5 and line["stroke"] in ("ink", "faint")]


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: rk.explore_batch("lama-2-7b"), ValueError, "did you mean 'llama-2-7b'"),
        (lambda: rk.explore_batch("deepseek-v3", kv_heads=8), ValueError, "kv_heads can be chosen where all"),
        (lambda: rk.explore_batch("gpt-oss-20b", measured=True), ValueError, "windows, experts or latents"),
        (lambda: rk.explore_batch("mixtral-8x7b", awake="all"), ValueError, "unknown awake 'all'"),
        (lambda: rk.explore_batch("mixtral-8x7b", new=0), ValueError, "new is 0"),
        (lambda: rk.explore_batch(accelerator="A11"), ValueError, "A11"),
        (lambda: rk.explore_batch(batch=0), ValueError, "batch size must be a whole number from 1 to 512, not 0"),
        (lambda: rk.explore_batch(batch=513), ValueError, "from 1 to 512, not 513"),
        (lambda: rk.explore_batch(batch=2.5), ValueError, "not 2.5"),
        (lambda: rk.explore_batch(batch=True), ValueError, "not True"),
        (lambda: rk.explore_batch(batch="many"), ValueError, "not 'many'"),
        (lambda: rk.explore_batch(context=None), ValueError, "not None"),
        (lambda: rk.explore_batch(stage="prefil"), ValueError, "initial"),
        (lambda: rk.explore_batch(show="speed"), ValueError, "latency"),
        (lambda: rk.explore_batch(dtype="fp12"), ValueError, "fp12"),
        (lambda: rk.explore_batch(logits="first"), ValueError, "logits"),
        (lambda: rk.explore_batch("gpt2", h=1024), ValueError, "either a model or plain layers"),
        (lambda: rk.explore_batch(weights="int5"), ValueError, "explore_batch, weights: unknown dtype 'int5'; did you"),
        (lambda: rk.explore_batch(cache=["fp8", "fp9"]), ValueError, "explore_batch, cache: unknown dtype 'fp9'; did"),
        (lambda: rk.explore_batch(cache=[]), ValueError, "cache must be the name of a dtype or a list of them, not []"),
        (lambda: rk.explore_batch(weights=4), ValueError, "weights: dtype must be given by its name, not as 4"),
        (lambda: rk.explore_roofline(cache="int3"), ValueError, "explore_roofline, cache: unknown dtype 'int3'; did"),
        (lambda: rk.explore_roofline(wights="int4"), ValueError, "did you mean 'weights'?"),
        (lambda: rk.explore_batch(weights=["int4", "fp16"]).values(weights="fp8"), ValueError, "weights 'fp8'"),
        (lambda: rk.explore_batch(measured="yes"), ValueError, "measured must be True or False, not 'yes'"),
        (lambda: rk.explore_batch(h=4096, measured=True), ValueError, "measured goes neither with h nor with cache"),
        (lambda: rk.explore_batch(cache="fp8", measured=True), ValueError, "neither with h nor with cache"),
        (lambda: rk.explore_roofline(LINEAR, measured=True), ValueError, "measured is for a model"),
        (lambda: rk.explore_roofline(LINEAR, fused=True), ValueError, "fused is for a model"),
        (lambda: rk.explore_batch(frozen={"bach": 1}), ValueError, "bach.*did you mean 'batch'"),
        (lambda: rk.explore_batch(frozen={"batch": -1}), ValueError, "not -1"),
        (lambda: rk.explore_batch(frozen=[1]), TypeError, r"frozen must be \{control: value\}, not \[1\]"),
        (lambda: rk.explore_batch(rk.Model("of", 2, h, 4, 9, positions="rotary")), ValueError, "hidden must be a num"),
        (lambda: rk.explore_batch().values(bach=1), ValueError, "did you mean 'batch'"),
        (lambda: rk.explore_batch().values(batch=1.5), ValueError, "not 1.5"),
        (lambda: rk.explore_attention(fused="yes"), ValueError, "fused must be True or False, not 'yes'"),
        (lambda: rk.explore_attention(N=15), ValueError, "from 16 to 65,536, not 15"),
        (lambda: rk.explore_training("lama-2-7b"), ValueError, "did you mean 'llama-2-7b'"),
        (lambda: rk.explore_training(accelerator="H20"), ValueError, "did you mean 'H200'"),
        (lambda: rk.explore_training(checkpoint=33), ValueError, "layers must be a whole number from 0 to 32, not 33"),
        (lambda: rk.explore_training(checkpoint=-1), ValueError, "from 0 to 32, not -1"),
        (lambda: rk.explore_training(checkpoint="al"), ValueError, "unknown checkpoint 'al'; did you mean 'all'"),
        (lambda: rk.explore_training(checkpoint=1.5), ValueError, "from 0 to 32, not 1.5"),
        (lambda: rk.explore_training(optimizer="adamm"), ValueError, "did you mean 'adam'"),
        (lambda: rk.explore_training(master="fp23"), ValueError, "did you mean 'fp32'"),
        (lambda: rk.explore_training(dtype="int8"), ValueError, "unknown dtype 'int8'"),
        (lambda: rk.explore_training(gradients="fp9"), ValueError, "gradients: unknown dtype 'fp9'"),
        (lambda: rk.explore_training(states="int9"), ValueError, "states: unknown dtype 'int9'"),
        (lambda: rk.explore_training(fused="yes"), ValueError, "fused must be False, True or a list of both, not 'yes"),
        (lambda: rk.explore_training(fused=1), ValueError, "not 1"),
        (lambda: rk.explore_training(fused=[]), ValueError, "not []"),
        (lambda: rk.explore_training(seq=8), ValueError, "from 16 to 131,072, not 8"),
        (lambda: rk.explore_training(awake="all"), ValueError, "unknown awake 'all'"),
        (lambda: rk.explore_training(rk.Model("of", 2, h, 4, 9, positions="rotary")), ValueError, "hidden must be a"),
        (lambda: rk.explore_sparse(block=33), ValueError, "not whole strides"),
        (lambda: rk.explore_sparse(stride=0), ValueError, "stride"),
        (lambda: rk.explore_sparse(selected=2), ValueError, "from 3 to 64, not 2"),
        (lambda: rk.explore_roofline(7), TypeError, "needs a Cost, {label: Cost} or a model, not 7"),
        (lambda: rk.explore_roofline({}), TypeError, "not {}"),
        (lambda: rk.explore_roofline(LINEAR, c=3), ValueError, "c"),
        (lambda: rk.explore_roofline(batchs=3), ValueError, "did you mean 'batch'"),
        (lambda: rk.explore_roofline(LINEAR, []), ValueError, "one or two accelerators, not []"),
        (lambda: rk.explore_roofline(LINEAR, None), ValueError, "one or two accelerators, not None"),
        (lambda: rk.explore_roofline(LINEAR, ["A10", "T4", "L4"]), ValueError, "one or two accelerators, not ['A10'"),
        (lambda: rk.explore_roofline(LINEAR.at(b=1, h=8)), ValueError, "open sizes"),
        (lambda: rk.explore_roofline(linear_in("peak")), ValueError, "cannot be called 'peak' here; rename the symbol"),
        (lambda: rk.explore_roofline(linear_in("dtype")), ValueError, "cannot be called 'dtype' here"),
    ],
)  # fmt: skip
def test_what_an_explorer_cannot_show_is_refused_by_name(call: Any, error: Any, words: str) -> None:
    with pytest.raises(error) as refused:
        call()
    assert words in str(refused.value) or re.search(words, str(refused.value)), refused.value


def linear_in(name: str) -> Any:
    n = rk.symbols(name)
    return rk.trace(rk.linear, rk.Tensor("X", (n, 8)), rk.Tensor("W", (8, 8)))


@pytest.mark.parametrize("name", ["new", "in", "p", "max", "lambda", "value", "symbols_2"])
def test_a_size_may_be_called_what_is_a_word_of_javascript(name: str) -> None:
    explorer = rk.explore_roofline(linear_in(name), **{name: 64})
    cost = linear_in(name).at(**{name: 64})
    assert explorer.values()["part0_flops"] == float(cost.flops)


def test_a_formula_without_a_translation_is_refused_naming_the_function() -> None:
    x = sympy.Symbol("x")
    for formula, name in ((sympy.gamma(x), "gamma"), (sympy.Mod(x, 3), "Mod"), (sympy.sin(x), "sin")):
        with pytest.raises(ValueError, match=rf"f = .* cannot be translated to JavaScript: .*{name}"):
            Program(("x",), {"f": formula})
    with pytest.raises(ValueError, match="y"):
        Program(("x",), {"f": x + sympy.Symbol("y")})
    with pytest.raises(ValueError, match="cannot be translated"):
        Program(("x",), {"f": sympy.zoo * x})


def test_a_missing_number_stays_missing_in_the_larger_and_the_smaller_of_two() -> None:
    x, y = sympy.symbols("x y")
    program = Program(("x", "y"), {"high": sympy.Max(x, y), "low": sympy.Min(x, y)})
    assert program.run([1.0, 2.0]) == [2.0, 1.0]
    for pair in ([math.nan, 1.0], [1.0, math.nan]):
        assert all(map(math.isnan, program.run(pair)))
    assert math.isnan(rk.explore_batch(dtype="fp8").values()["whole_time"])


def test_without_anywidget_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "anywidget":
            raise ModuleNotFoundError("No module named 'anywidget'", name="anywidget")
        return taken(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "roofline_kit.explorers.live.widget", raising=False)
    monkeypatch.delitem(sys.modules, "anywidget", raising=False)
    with pytest.raises(ModuleNotFoundError, match="widgets need anywidget: pip install anywidget"):
        rk.explore_batch().widget()


# --- the widget -------------------------------------------------------------------------------------------


def test_where_no_kernel_is_a_widget_is_a_picture_of_what_it_showed() -> None:
    panel = rk.explore_batch().widget()
    panel.state = {"batch": 100}
    bundle, same = panel._repr_mimebundle_(), rk.explore_batch(batch=100)._repr_mimebundle_()
    assert bundle.pop("application/vnd.jupyter.widget-view+json")["model_id"]
    assert bundle == {kind: same[kind] for kind in ("text/plain", "image/png")}


def test_a_control_of_the_widget_takes_each_whole_number_that_the_explorer_takes() -> None:
    panel = rk.explore_batch().widget()
    batch, seen = panel.controls["batch"], []
    batch.observe(lambda change: seen.append(change["new"]), "value")
    for n in (100, 64, 101, 104, 103, 1, 512, 511, 33):
        batch.value = n
        assert (batch.value, panel.state["batch"]) == (n, n)
        assert batch.label == batch.options[batch.index][0] == f"{n:,}"
        assert (batch.stops[batch.index], len(batch.stops) - len(rk.explore_batch().controls[0].values)) in (
            (n, 0),
            (n, 1),
        )
        assert panel.values() == rk.explore_batch(batch=n).values()
    assert seen == [100, 64, 101, 104, 103, 1, 512, 511, 33], "and no other value between them"
    panel.state = {"context": 1234, "batch": 7, "accelerator": "h100 sxm"}
    assert {name: panel.controls[name].value for name in panel.state} == panel.state
    assert (panel.state["context"], panel.state["accelerator"]) == (1234, "H100-SXM")
    panel.frozen = panel.state | {"batch": 99}
    assert panel.frozen["batch"] == 99


def set_value(name: str, value: Any) -> Any:
    return lambda panel: setattr(panel.controls[name], "value", value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_value("batch", 513), "batch size must be a whole number from 1 to 512, not 513"),
        (set_value("batch", 0), "from 1 to 512, not 0"),
        (set_value("batch", math.nan), "a whole number from 1 to 512, not nan"),
        (set_value("batch", 64.5), "a whole number from 1 to 512, not 64.5"),
        (set_value("batch", None), "not None"),
        (set_value("batch", "64"), "not '64'"),
        (set_value("accelerator", "A11"), "unknown accelerator 'A11'"),
        (set_value("dtype", 16), "dtype must be given by its name, not as 16"),
        (set_value("bach", 64), "unknown control 'bach'; did you mean 'batch'?"),
        (lambda panel: setattr(panel, "state", {"bach": 64}), "unknown control 'bach'; did you mean 'batch'?"),
        (lambda panel: setattr(panel, "state", {"batch": -1}), "from 1 to 512, not -1"),
        (lambda panel: setattr(panel, "frozen", {"batch": 1.5}), "not 1.5"),
    ],
)
def test_what_a_control_refuses_is_said_beside_the_chart_and_shortly_where_it_was_set(change: Any, words: str) -> None:
    panel = rk.explore_batch(batch=16).widget()
    before = {name: widget.value for name, widget in panel.controls.items()}
    with pytest.raises(ValueError, match=re.escape(words)) as refused:
        change(panel)
    assert panel.chart.refused == str(refused.value)
    assert refused.value._render_traceback_() == [f"ValueError: {refused.value}"]
    assert panel.state == before == {name: widget.value for name, widget in panel.controls.items()}
    assert panel.frozen is None
    panel.controls["batch"].value = 17
    assert panel.chart.refused == ""


def test_the_slider_of_ones_own_in_the_readme_moves_the_chart() -> None:
    readme = (KIT.parent / "README.md").read_text("utf-8")
    code = re.search(r"```python\n([^`]*\.widget\(\)[^`]*)```", readme)[1]
    assert len([line for line in code.splitlines() if line]) == 5
    names: dict[str, Any] = {"rk": rk}
    exec(code.replace("max=512", "max=1000"), names)
    mine, panel = names["mine"], names["explorer"]
    for n in (100, 512):
        mine.value = n
        assert panel.state["batch"] == n
    with pytest.raises(ValueError, match="from 1 to 512, not 600"):
        mine.value = 600
    panel.controls["batch"].value = 31
    assert mine.value == 31


# --- what is stored ---------------------------------------------------------------------------------------


def test_a_stored_output_is_a_sentence_a_page_and_a_picture_and_the_same_each_time() -> None:
    bundle, again = (rk.explore_batch(batch=64, context=2000)._repr_mimebundle_() for _ in range(2))
    assert bundle == again
    assert list(bundle) == ["text/plain", "text/html", "image/png"]
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert "http" not in bundle["text/html"].replace("http://www.w3.org/2000/svg", "")
    assert rk.explore_batch(batch=65, context=2000).html != bundle["text/html"]


def test_a_box_with_an_explorer_in_it_is_stored_as_a_sentence_and_a_picture_the_same_each_time(tmp_path: Path) -> None:
    """Where no kernel runs, as on GitHub, a widget shows nothing; and the names of its models are new in each run."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    code = """
import ipywidgets
import roofline_kit as rk
panel = rk.explore_batch().widget()
panel.state = {"batch": 100}
ipywidgets.VBox([ipywidgets.IntSlider(100), ipywidgets.HBox([panel])])"""
    cells = [new_code_cell(code, id="box"), new_code_cell("panel.children[0]", id="none")]
    path = tmp_path / "box.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    run = [sys.executable, str(KIT.parent / "scripts" / "execute_notebooks.py"), str(path)]
    stored = set()
    for _ in range(2):
        subprocess.run(run, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(KIT.parent)})
        stored.add(path.read_bytes())
    assert len(stored) == 1
    box, plain = (cell.outputs[0].data for cell in nbformat.read(path, as_version=4).cells)
    assert set(box) == {"text/plain", "image/png"} and set(plain) == {"text/plain"}
    assert base64.b64decode(box["image/png"]) == rk.explore_batch(batch=100).png != rk.explore_batch().png
    assert "VBox(children=(IntSlider(value=100), HBox(" in box["text/plain"]


def test_a_changed_formula_fails_a_stored_notebook(tmp_path: Path) -> None:
    """nbval passes twice on the same kit, and fails where a softmax costs one operation more."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    cells = ["import roofline_kit as rk", "rk.explore_batch()", "rk.explore_attention()"]
    path, copied = tmp_path / "stored.ipynb", tmp_path / "changed" / "roofline_kit"
    nbformat.write(new_notebook(cells=[new_code_cell(cell, id=f"cell-{i}") for i, cell in enumerate(cells)]), path)
    run = [sys.executable, str(KIT.parent / "scripts" / "execute_notebooks.py"), str(path)]
    env = {**os.environ, "PYTHONPATH": str(KIT.parent)}
    subprocess.run(run, check=True, capture_output=True, env=env)

    def compare(kit: Path, times: int) -> str:
        line = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
        line += [str(shutil.copy(path, tmp_path / f"{i}.ipynb")) for i in range(times)]
        done = subprocess.run(line, capture_output=True, text=True, env=env | {"PYTHONPATH": str(kit)}, cwd=tmp_path)
        return done.stdout.splitlines()[-1]

    assert "6 passed" in compare(KIT.parent, times=2)
    shutil.copytree(KIT, copied)
    source = (copied / "ops.py").read_text("utf-8")
    assert source.count(SOFTMAX) == 1
    (copied / "ops.py").write_text(source.replace(SOFTMAX, SOFTMAX.replace("flops=0", "flops=1")), "utf-8")
    assert "2 failed, 1 passed" in compare(copied.parent, times=1)


def test_a_page_is_saved_where_asked_and_nothing_else_is_touched(tmp_path: Path) -> None:
    explorer = rk.explore_sparse(context=65536)
    for path in (tmp_path / "x.html", str(tmp_path / "y.HTM")):
        assert explorer.save(path) is None
        page = Path(path).read_text("utf-8")
        assert explorer.html in page
        assert "<title>A new token reads 5,632 tokens where full attention reads 65,536: 8.6 %</title>" in page
        assert not re.search(r"(src|href)=.(?!data:)", page.replace(explorer.html, ""))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.html", "y.HTM"]
    own = rk.Accelerator("</title><b>", {"fp16": 10**12}, 10**12, 10**12)
    explorer = rk.explore_batch(accelerator=own)
    explorer.save(tmp_path / "own.html")
    assert "<b>" not in (tmp_path / "own.html").read_text("utf-8").replace(explorer.html, "")


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("x.png", ValueError, "an explorer is saved as a page that ends in .html, not as 'x.png'"),
        ("x", ValueError, "not as 'x'"),
        ("", ValueError, "not as ''"),
        ("missing/x.html", OSError, "missing/x.html cannot be written: no such file or directory"),
        ("folder.html", OSError, "folder.html cannot be written: is a directory"),
        ("file/x.html", OSError, "file/x.html cannot be written: not a directory"),
        (None, TypeError, "explore_sparse: save needs the path of a file, not None"),
        (3, TypeError, "not 3"),
    ],
)
def test_a_page_that_cannot_be_saved_is_refused_by_its_path(
    path: Any, error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(error, match=re.escape(words)):
        rk.explore_sparse().save(path)
    assert [path.name for path in sorted(tmp_path.glob("**/*"))] == ["file", "folder.html"]


SOFTMAX = 'elementwise("-", x, most, flops=0)'


def test_an_own_accelerator_keeps_its_numbers_whatever_it_is_called() -> None:
    own = {
        name: rk.Accelerator(name, {"fp16": n * 10**12}, 10**12, 10**10)
        for n, name in enumerate(("a10", "我的", "他的"), 1)
    }
    assert [rk.explore_batch(accelerator=card).values()["peak"] for card in own.values()] == [1e12, 2e12, 3e12]


def test_a_misspelt_size_is_refused() -> None:
    dense = rk.trace(rk.linear, rk.Tensor("X", (rk.symbols("b"), 8)), rk.Tensor("W", (8, 8)))
    for call in (lambda: rk.explore_roofline(Batch=64), lambda: rk.explore_roofline(dense, B=64)):
        with pytest.raises(ValueError, match="did you mean 'b"):
            call()


@pytest.mark.parametrize("name", ["other_peak", "start", "ridge", "flops0", "size0", "part0_time", "what", "d_{model}"])
def test_a_size_that_is_called_like_a_value_of_ours_is_refused(name: str) -> None:
    n = sympy.Symbol(name, integer=True, positive=True)
    with pytest.raises(ValueError, match="rename the symbol"):
        rk.explore_roofline(rk.trace(rk.exp, rk.Tensor("x", (n, n - 1))))


def test_names_are_words_and_never_markup_or_templates() -> None:
    N = rk.symbols("N")
    x = rk.trace(rk.exp, rk.Tensor("x", N))
    shown = rk.explore_roofline({"$W_{Q}$ </script><b>": x})
    assert "$W_{Q}$ </script><b>" in repr(shown)
    assert "</script><b>" not in shown.html.replace("&lt;/script&gt;&lt;b&gt;", "")
    assert "<img" not in mathml(sympy.Symbol("<img src=x onerror=alert(1)>"))
    greek = rk.explore_roofline(rk.trace(rk.exp, rk.Tensor("x", rk.symbols("λ"))), **{"λ": 64})
    assert "λ = 64" in repr(greek)


def test_a_size_that_reaches_zero_at_the_end_of_its_slider_leaves_the_rest_of_the_curve() -> None:
    N, h = rk.symbols("N h")
    rest = rk.trace(lambda X: X[1:, :] * 2, rk.Tensor("X", (N, h)))
    shown = rk.explore_roofline(rest, N=64, h=8)
    assert "image/png" in shown._repr_mimebundle_()
    assert shown.values(N=2)["part0_intensity"] == pytest.approx(0.25)


def test_a_frozen_state_may_stand_between_two_stops_of_a_slider() -> None:
    assert rk.explore_batch(batch=64, frozen={"batch": 37}).frozen["batch"] == 37


def test_what_sympy_writes_as_a_root_runs_in_both_languages() -> None:
    x = sympy.Symbol("x", positive=True)
    program = Program(("x",), {"half": sympy.sqrt(x), "third": sympy.cbrt(x), "power": x ** sympy.Rational(3, 2)})
    assert program.run([64.0]) == pytest.approx([8, 4, 512])
    assert set(re.findall(r"[a-z]{3,}(?=\()", program.javascript)) <= set(re.findall(r"\w+", PRELUDE))


@pytest.mark.parametrize("explorer", [MODELS, LAYERS], ids=["model", "plain layers"])
@pytest.mark.parametrize("stage", ["initial", "auto-regressive"])
def test_what_counts_as_a_dense_layer_does_not_depend_on_what_the_weights_are_called(
    explorer: Any, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = explorer.values(stage=stage)
    made_in = importlib.import_module("roofline_kit.models")  # rk.models is a function
    monkeypatch.setattr(made_in, "Tensor", lambda name, *rest, **more: rk.Tensor(f"my_{name}", *rest, **more))
    of_models._stage_parts.cache_clear()
    try:
        after = (rk.explore_batch(h=4096) if explorer is LAYERS else rk.explore_batch()).values(stage=stage)
    finally:
        of_models._stage_parts.cache_clear()
    assert {name: after[name] for name in before if "dense" in name or "attention" in name} == {
        name: value for name, value in before.items() if "dense" in name or "attention" in name
    }


def test_how_many_experts_are_awake_may_be_spelled_in_capitals() -> None:
    spelled, plain = (rk.explore_batch("mixtral-8x7b", awake=word) for word in ("Fewest", "fewest"))
    assert repr(spelled) == repr(plain) and "as few as can be" in repr(plain)


TODAY = ("deepseek-v3", "gpt-oss-20b", "gemma-3-4b", "llama-4-scout", "qwen3-30b-a3b", "command-r-35b")


@pytest.mark.parametrize("stage", ["initial", "auto-regressive"])
@pytest.mark.parametrize("name", TODAY)
def test_an_explorer_of_a_model_of_today_has_the_numbers_of_the_kit(name: str, stage: str) -> None:
    of, how = rk.model(name), {"awake": "expected", "absorbed": True, "fused": True}
    for more in ({}, {"cache": "fp8"}, {"weights": "int4"}):
        shown = rk.explore_batch(name, "H200", batch=6, context=3000, stage=stage, new=3, **how, **more).values()
        initial = stage == "initial"
        cost = of.prefill(6, 3000, **how, **more) if initial else of.decode(6, 3000, new=3, **how, **more)
        assert shown["whole_flops"] == pytest.approx(float(cost.flops), rel=1e-12)
        assert shown["whole_bytes"] == pytest.approx(float(cost.bytes), rel=1e-12)
        assert shown["whole_time"] == pytest.approx(rk.roofline("H200").time(cost), rel=1e-12)
        assert shown["whole_throughput"] == pytest.approx(6 * (3000 if initial else 3) / shown["whole_time"])
        memory = of.memory_bytes(3000, 6, **more)
        assert shown["needed"] == pytest.approx(float(memory), rel=1e-12)
        experts = [step for step in cost.steps if step.operation == "expert_product"]
        assert ("experts_flops" in shown) == bool(experts)
        if experts:
            assert shown["experts_bytes"] == pytest.approx(float(sum(step.bytes for step in experts)), rel=1e-12)


def test_an_array_has_a_role_which_its_views_and_parts_share() -> None:
    W = rk.Tensor("table", (N, h), role="weight")
    parts = [W.T, W[1:], W[1:].T, W.reshape(-1), W.swapaxes(0, 1)[:1]]
    assert {x.role for x in parts} == {"weight"}
    assert rk.take(W, rk.Tensor("ids", b, "int64")).step.reads[1].role == "weight", "the rows that a step reads"
    assert (W.T @ W).role == rk.fuse(lambda x: x + 1)(W).role == rk.Tensor("x", N).role == "activation"
    cache = rk.Tensor("K", (N, h), role="cache")
    assert rk.store(rk.Tensor("k", (1, h)), into=cache).role == "cache"
    for role, words in (("weights", "unknown role 'weights'; did you mean 'weight'"), (None, "not as None")):
        with pytest.raises(ValueError, match=words):
            rk.Tensor("W", (N, h), role=role)


def test_weights_and_caches_of_a_model_have_their_roles() -> None:
    for of in map(rk.model, rk.models()):
        assert {x.role for x in of.cache(N)} == {"cache"}
        weights = leaves((of.layer_weights(), of.end_weights()))
        assert {x.role for x in weights if x is not None} == {"weight"}
        read = {x.root.name: x.role for step in of.decode(b, N).steps for x in step.reads}
        assert {"weight", "cache", "activation"} == set(read.values())
        kept = ("K_cache", "V_cache") if of.kv_latent is None else ("latent", "k_rope")
        assert {read[name] for name in kept} == {"cache"}


def test_each_number_of_a_model_is_listed_among_its_sizes() -> None:
    assert list(SIZES) == [field.name for field in fields(rk.Model) if field.type == "Any"]


@pytest.mark.parametrize("cards", [("A10", "H100-SXM"), ("H100-SXM", "A10"), ("A10", "L4"), ("A10", "none")], ids=str)
def test_words_of_a_point_do_not_lie_on_those_that_are_turned_along_a_roof(cards: tuple[str, str]) -> None:
    N = rk.symbols("N")
    add = rk.trace(lambda A, B: A + B, *rk.tensors("A B", N))
    costs = {"vector add": add, "matrix product": rk.trace(rk.matmul, *rk.tensors("A B", (N, N)))}
    for n in (1, 64, 1024, 65536):
        marks, _ = rk.explore_roofline(costs, cards, N=n)._still
        words = [(how, text) for tag, how, text in marks if tag == "text" and text]
        upright = [_box(how, text) for how, text in words if set(text.split(", ")) <= set(costs)]
        turned = [point for how, text in words if "transform" in how for point in _along(how, text)]
        assert turned and upright
        assert not [box for box in upright for x, y in turned if box[0] < x < box[2] and box[1] < y < box[3]], n


def _box(how: dict[str, Any], text: str) -> tuple[float, float, float, float]:
    """About where words stand that begin, end or have their middle at a place."""
    w = 7.0 * len(text)
    left = how["x"] - {"start": 0, "middle": w / 2, "end": w}[how["text-anchor"]]
    return left, how["y"] - 10, left + w, how["y"] + 3


def _along(how: dict[str, Any], text: str) -> list[tuple[float, float]]:
    """Points in the middle of turned words, a letter apart."""
    degrees, x, y = map(float, re.findall(r"-?[\d.]+", how["transform"]))
    c, s, off = math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), how["y"] - y - 4
    return [(x + c * 7 * i - s * off, y + s * 7 * i + c * off) for i in range(len(text))]


# --- as one sees them -----------------------------------------------------------------------------


@pytest.mark.parametrize("explore", FIVE.values(), ids=FIVE)
def test_blue_and_orange_say_what_binds_and_nothing_else(explore: Any) -> None:
    explorer = explore()
    drawn = [mark for view in explorer.views.values() for mark in view.marks]
    colors = [getattr(mark, name, "") for mark in drawn for name in ("stroke", "fill") if not isinstance(mark, Area)]
    colors += [part[2] for view in explorer.views.values() for bar in getattr(view, "bars", ()) for part in bar.parts]
    colors += [color for view in explorer.views.values() if view.mask for color, _ in view.mask.legend]
    assert "path" in colors and not {"memory", "compute"} & set(colors)


def test_sliders_and_words_beside_a_picture_are_neither_blue_nor_orange() -> None:
    css = (KIT / "explorers" / "live" / "live.css").read_text("utf-8")
    assert "var(--rk-path)" in css and not re.search("var\\(--rk-(memory|compute)", css)
