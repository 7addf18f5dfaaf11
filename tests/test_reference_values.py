"""The kit gives the numbers of papers, datasheets and the lecture: those of reference_values.csv, with their sources.

Nothing that is expected is typed here: it is read from the file, and so are the sizes.
"""

from __future__ import annotations

import csv
import inspect
import re
import tomllib
from collections.abc import Callable
from importlib.resources import files
from inspect import unwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
from algorithms import few
from hypothesis import given
from hypothesis import strategies as st
from interpreter import Array, interpret
from test_sparse import decode_step
from test_tiles import moved_backward_1, moved_forward_1

import roofline_kit as rk
from roofline_kit.derivatives import DERIVATIVES
from roofline_kit.tensor import Step, leaves, note_step, primitive

with Path(__file__).with_name("reference_values.csv").open(encoding="utf-8", newline="") as file:
    ROWS = {row["id"]: row for row in csv.DictReader(file)}

PUBLISHED = tomllib.loads(files("roofline_kit").joinpath("data", "published.toml").read_text("utf-8"))

N, h, T, S, G, d, H, M = rk.symbols("N h T S G d H M")


def sizes(id: str) -> dict[str, int]:
    """The sizes in a row, such as N, h = 1024, 128 in "N=1024,h=128" and three sizes in "M=N=K=4096"."""
    found = re.findall(r"((?:\b[A-Z]=)+)(\d+)\b", f"{ROWS[id]['quantity']} {ROWS[id]['inputs']}", re.IGNORECASE)
    return {name: int(value) for names, value in found for name in names.split("=") if name}


def vector_add(dtype: str) -> rk.Cost:
    return rk.trace(lambda a, b: a + b, *rk.tensors("A B", N, dtype))


def gemm(id: str) -> rk.Cost:
    K, M = rk.symbols("K M")
    return rk.trace(rk.linear, rk.Tensor("X", (N, K)), rk.Tensor("W", (K, M))).at(**sizes(id))


ATTENTION = rk.trace(rk.attention, *rk.tensors("Q K V", (N, h)))
UNARY = rk.trace(rk.exp, rk.Tensor("x", N, "fp32"))
DOT = rk.trace(lambda x, y: x @ y, *rk.tensors("x y", N, "bf16"))
SQUARE = rk.trace(rk.linear, *rk.tensors("X W", (N, N)))
FUSED = rk.trace(rk.fuse(rk.attention), rk.Tensor("Q", (T, h)), *rk.tensors("K V", (S, h)))
# One new token: G query heads read the same K and V head, which NumPy's broadcasting says without copying them.
DECODE = rk.trace(rk.fuse(rk.attention), rk.Tensor("Q", (H, G, 1, d)), *rk.tensors("K V", (H, 1, S, d)))


def gpt2_medium_shape() -> tuple[int, ...]:
    """Of Q, K and V in the configuration of K17, to which K18 to K20 refer: all heads of the whole batch."""
    heads, batch = (int(re.search(pattern, ROWS["K17"]["inputs"])[1]) for pattern in (r"(\d+) heads", r"batch (\d+)"))
    return (batch, heads, *(sizes("K17")[name] for name in ("N", "d")))


def gpt2_medium() -> rk.Cost:
    return rk.trace(rk.attention, *rk.tensors("Q K V", gpt2_medium_shape()))


@primitive
def dropout(P: Any, kept: Any) -> Any:
    """P where `kept` is 1, and 0 elsewhere, in one step that also draws `kept`, and stores it for the way back: what
    PyTorch's native_dropout does, which returns both. (That it divides by the probability is left out.)"""
    if isinstance(P, rk.Tensor):
        out = rk.Tensor("dropout", P.shape, P.dtype)
        note_step(Step("dropout", (P,), (P.array,), (out, kept), flops=P.size))
        return out
    return drawn(P, kept)[0] if isinstance(P, Array) else P * kept


@rk.fuse
def drawn(P: Array, kept: Array) -> tuple[Array, Array]:
    """The same in the interpreter, which stores what was drawn in the cells of `kept`."""
    P.machine.made.update(kept.cells)
    return P * kept, kept


DERIVATIVES[unwrap(dropout)] = (lambda g, y, P, kept: g * kept.value, None)


def trained_attention(Q: Any, K: Any, V: Any, *, mask: Any, kept: Any) -> Any:
    """Standard attention as it was trained step by step: a mask is added to the scores, weights are dropped out."""
    return dropout(rk.softmax(Q @ K.mT + mask), kept) @ V


def matmul_intensity(cost: rk.Cost) -> sympy.Expr:
    """Of matrix products alone: the sources of these rows count no softmax."""
    return sympy.cancel(cost.matmul_flops / cost.bytes)


DERIVED: dict[str, Callable[[], Any]] = {
    "K01": lambda: vector_add("fp16").flops / vector_add("fp16").accesses,
    "K02": lambda: vector_add("fp16").intensity,
    "K03": lambda: vector_add("fp32").intensity,
    "K04": lambda: UNARY.intensity,
    "K05": lambda: rk.accelerator("A100-40GB").ridge("fp32") * UNARY.bytes / N,
    "K06": lambda: sympy.limit(DOT.intensity, N, sympy.oo),
    "K07": lambda: gemm("K07").intensity,
    "K08": lambda: gemm("K08").flops,
    "K09": lambda: gemm("K09").bytes,
    "K10": lambda: rk.roofline("A10").crossing(SQUARE, "N"),
    "K11": lambda: ATTENTION.flops,
    "K12": lambda: ATTENTION.bytes,
    "K13": lambda: ATTENTION.at(**sizes("K13")).intensity,
    "K14": lambda: sympy.limit(ATTENTION.intensity.subs(h, sizes("K14")["h"]), N, sympy.oo),
    "K15": lambda: sympy.limit(ATTENTION.intensity.subs(h, sizes("K15")["h"]), N, sympy.oo),
    "K19": lambda: gpt2_medium().bytes,
    "K20": lambda: gpt2_medium().matmul_flops,
    "K22": lambda: matmul_intensity(FUSED),
    "K23": lambda: matmul_intensity(FUSED.at(h=128, **sizes("K23"))),
    "K24": lambda: sympy.limit(matmul_intensity(DECODE), S, sympy.oo),
    "K25": lambda: matmul_intensity(DECODE.at(H=8, d=128, **sizes("K25"))),
}

# --- whole models ---

NAMES = {"llama2-7b": "llama-2-7b", "gpt2": "gpt2", "P01": "llama-2-7b", "P05": "gpt2"}
NAMES |= {"C01": "opt-13b", "C02": "llama-2-7b", "C06": "llama-2-70b"}


def forward_flops(id: str) -> sympy.Expr:
    """Of a prefill where the row has a seq, of a decode step where it has a context."""
    asked = {name: int(n) for name, n in re.findall(r"(batch|seq|context)=(\d+)", ROWS[id]["inputs"])}
    model = rk.model(NAMES[ROWS[id]["quantity"].split(", ")[1]])
    return (model.prefill(**asked) if "seq" in asked else model.decode(**asked)).matmul_flops


def rows(pattern: str) -> list[str]:
    return [id for id in ROWS if re.fullmatch(pattern, id)]


def derive(ids: list[str], function: Callable[[str], Any]) -> dict[str, Callable[[], Any]]:
    return {id: lambda id=id: function(id) for id in ids}  # type: ignore[misc]


DERIVED |= derive(rows(r"F\d+"), forward_flops)
DERIVED |= derive(rows(r"P\d+"), lambda id: rk.model(NAMES[id]).parameters)
DERIVED |= derive(rows(r"C\d+"), lambda id: rk.model(NAMES[id]).kv_cache_bytes(tokens=1))

# --- attention, forward and back ---


def backward_ratio(f: Callable[..., Any]) -> sympy.Expr:
    both = rk.passes(f, *rk.tensors("Q K V", (N, h)))
    return sympy.cancel(both.backward.matmul_flops / both.forward.matmul_flops)


DERIVED["K21"] = lambda: backward_ratio(rk.fuse(rk.attention))


def gpt2_medium_traffic() -> sympy.Expr:
    """GB of K17: "with dropout and masking", as Figure 2 says."""
    shape = gpt2_medium_shape()
    weights = (*shape[:-1], shape[-2])
    constants = {"mask": rk.Tensor("mask", weights[-2:]), "kept": rk.Tensor("kept", weights, "int8")}
    both = rk.passes(trained_attention, *rk.tensors("Q K V", shape), **constants)
    return (both.forward.bytes + both.backward.bytes) / 10**9


# --- sparse attention ---


def context(id: str) -> int:
    return int(re.search(r"\bs=(\d+)", ROWS[id]["inputs"])[1])  # type: ignore[index]


DERIVED |= derive(rows(r"N1\da"), lambda id: decode_step(context(id), partial=True)["sparse"])

# --- kipply's inference arithmetic, with the bandwidth that its author reckons with ---

PEAK, BANDWIDTH = (float(x) for x in re.findall(r"\d[\d.]*e12", ROWS["Y01"]["inputs"]))
HIS_A100 = rk.Accelerator("kipply's A100", peaks={"fp16": PEAK}, bandwidth=BANDWIDTH, memory=40e9)


def weights_alone() -> sympy.Expr:
    """Milliseconds in which the matrices in the layers of a 13B model are read."""
    opt = rk.model("opt-13b")
    matrices = [x for x in leaves(opt.layer_weights()) if x.ndim == 2]
    return 1000 * opt.layers * sympy.Add(*(x.nbytes for x in matrices)) / HIS_A100.bandwidth


DERIVED |= {"Y01": HIS_A100.ridge, "Y08": weights_alone}

# --- rows that print fewer digits than follow ---


def batching(id: str) -> sympy.Expr:
    """The products of a GPT block in the setting of the post on batching."""
    kind = "ar" if id.startswith("BAR") else id.rpartition("_")[2]
    b, s = (int(found[1]) if (found := re.search(rf"\b{x}=(\d+)", ROWS[id]["inputs"])) else 1 for x in "bs")
    width = int(re.search(r"\bh=(\d+)", ROWS[id]["inputs"])[1])  # type: ignore[index]
    if kind in ("di", "ar"):  # a decode step multiplies one row for each sequence
        tokens = b * s if kind == "di" else b
        cost = rk.trace(rk.linear, rk.Tensor("X", (tokens, width)), rk.Tensor("W", (width, width)))
        return cost.intensity
    heads, head_dim = map(int, re.search(r"(\d+) heads d=(\d+)", ROWS["B50_1_qi"]["inputs"]).groups())  # type: ignore[union-attr]
    assert heads * head_dim == width
    queries = s if kind == "qi" else 1
    Q, K = (rk.Tensor(name, (b, heads, n, head_dim)) for name, n in (("Q", queries), ("K", s)))
    return rk.trace(rk.attention, Q, K, K).steps[0].intensity


def turning_batch(id: str) -> sympy.Expr:
    """The batch from which on a square layer is compute-bound in decoding."""
    width = int(re.search(r"\bh=(\d+)", ROWS[id]["quantity"])[1])  # type: ignore[index]
    layer = rk.trace(rk.linear, rk.Tensor("X", (N, h)), rk.Tensor("W", (h, h)))
    return rk.roofline(id.removeprefix("BC_")).crossing(layer, "N", h=width)


def expected_speed_up(id: str) -> sympy.Expr:
    read = decode_step(context(id), partial=True)
    return read["full"] / read["sparse"]


ROUNDED = derive(rows(r"B\d+_\d+_(di|qi|qa)|BAR_\d+"), batching) | derive(rows(r"BC_.*"), turning_batch)
ROUNDED |= derive(rows(r"N1\db"), expected_speed_up) | {"K17": gpt2_medium_traffic}

# --- rows that nothing derives: settings and measurements, which published.toml has as well ---


def published(table: str, first: Any) -> list[Any]:
    """The one row of a table in published.toml whose first column has this value."""
    (row,) = (row for row in PUBLISHED[table]["rows"] if row[0] == first)
    return row


def nsa_model() -> list[int]:
    """The numbers of N02 in its order."""
    names = ("parameters [1e9]", "active parameters [1e9]", "layers", "hidden dimension")
    names += ("groups of heads, one KV head each", "query heads", "query and key dimension", "value dimension")
    experts = re.search(r"(\d+) routed, (\d+) shared, (\d+) active", PUBLISHED["nsa-setting"]["note"])
    return [*(published("nsa-setting", name)[2] for name in names), *map(int, experts.groups())]  # type: ignore[union-attr]


def numbers(text: str) -> list[sympy.Rational]:
    return [sympy.Rational(x) for x in re.findall(r"\d+(?:\.\d+)?", text)]


STATED: dict[str, Callable[[], tuple[str, list[Any]]]] = {
    "N01": lambda: (ROWS["N01"]["value"], [row[2] for row in PUBLISHED["nsa-setting"]["rows"][:5]]),
    "N02": lambda: (ROWS["N02"]["inputs"], nsa_model()),
    "N20": lambda: (ROWS["N20"]["value"], [100 * x for x in PUBLISHED["nsa-latency-share"]["rows"][0][1:]]),
    "Y09": lambda: (ROWS["Y09"]["value"], published("kipply", 1)[2:]),
} | {
    id: lambda id=id: (ROWS[id]["value"], published("nsa-figure-6", context(id))[1:])  # type: ignore[misc]
    for id in rows(r"N1\dc")
}

# --- a row that lies between two counts ---


def flash_attention_everything_once() -> sympy.Expr:
    """GB of K18 if the chip held all of a head: each array is moved once. No kernel can do with less."""
    both = rk.passes(rk.fuse(rk.attention), *rk.tensors("Q K V", gpt2_medium_shape()))
    return (both.forward.bytes + both.backward.bytes) / 10**9


def flash_attention_without_a_cache() -> sympy.Expr:
    """GB of K18 by Algorithms 1 and 4 of the paper, if nothing that is loaded again were found in a cache. (Its code
    keeps the output and dQ in fp32 from round to round: that would be still more.)"""
    batch, heads, n, width = gpt2_medium_shape()
    tiles = n // TILE
    passes = (moved(n, n, width, width, tiles) for moved in (moved_forward_1, moved_backward_1))
    return sympy.Rational(2 * batch * heads * sum(map(sum, passes)), 10**9)


TILE = 256
"""Rows of a tile of K and V for heads of 64 on an A100, both ways: `blocksize_c` in csrc/flash_attn/fmha_api.cpp of
github.com/Dao-AILab/flash-attention before its second version."""

BETWEEN = {"K18": (flash_attention_everything_once, flash_attention_without_a_cache)}
"""Measured: what an L2 cache of 40 MB holds of the arrays that the inner loop loads again, nothing here derives."""


def test_what_page_5_says_of_the_paper_s_bytes() -> None:
    """With a mask alone our count misses what another version prints; both orders of the loops move nearly the same."""
    Q, K, V = rk.tensors("Q K V", gpt2_medium_shape())
    mask = rk.Tensor("mask", (Q.shape[-2], Q.shape[-2]))
    ways = {
        "mask": rk.passes(lambda Q, K, V, mask: rk.softmax(Q @ K.mT + mask) @ V, Q, K, V, mask=mask),
        "tiles": rk.passes(rk.tiled(rk.fuse(rk.attention), TILE), Q, K, V),
    }
    moved = {name: (both.forward.bytes + both.backward.bytes) / 10**9 for name, both in ways.items()}
    assert f"{float(moved['mask']):.1f} GB" in PUBLISHED["flash-attention-hbm-mask"]["note"]
    assert moved["mask"] < published("flash-attention-hbm-mask", "HBM R/W [GB]")[1] - 5
    assert 0.97 < flash_attention_without_a_cache() / moved["tiles"] < 1


def formula(text: str) -> sympy.Expr:
    """ "8N^2+8Nh" and "ST/(S+T)" as they are meant."""
    names = {str(s): s for s in (N, h, T, S, G, d, M)}
    return sympy.sympify(re.sub(r"(?<=[\w)]) ?(?=[A-Za-z(])", "*", text).replace("^", "**"), locals=names)


def digits(text: str) -> sympy.Rational:
    """Half a unit of the last digit that is printed."""
    return sympy.Rational(1, 2 * 10 ** len(text.partition(".")[2]))


@pytest.mark.parametrize("id", DERIVED)
def test_the_kit_derives(id: str) -> None:
    derived, expected = DERIVED[id](), formula(ROWS[id]["value"])
    if expected.is_Float:  # written with all the digits that a float has
        assert derived.is_Rational and float(derived) == pytest.approx(float(expected), rel=1e-15)
    else:
        assert sympy.simplify(derived - expected) == 0


# Which accelerator a row is about, and the dtypes that it speaks of: some have no bf16, or another rate for it.
BOTH = ("fp16", "bf16")
MACHINES: dict[str, tuple[str, tuple[str, ...]]] = {
    "A10": ("A10", BOTH),
    "A10G (AWS)": ("A10G", BOTH),
    "A40": ("A40", BOTH),
    "A100 40GB SXM4/PCIe": ("A100-40GB", BOTH),
    "A100 80GB PCIe": ("A100-80GB-PCIe", BOTH),
    "A100 80GB SXM4": ("A100-80GB-SXM", BOTH),
    "H100 SXM5": ("H100-SXM", BOTH),
    "H100 PCIe": ("H100-PCIe", BOTH),
    "H200 SXM": ("H200", BOTH),
    "L4": ("L4", BOTH),
    "T4": ("T4", ("fp16",)),
    "V100 PCIe": ("V100-PCIe", ("fp16",)),
    "V100 SXM2": ("V100-SXM2", ("fp16",)),
    "RTX 4090 (fp32 accumulate)": ("RTX-4090", BOTH),
    "RTX 4090 (fp16 accumulate)": ("RTX-4090", ("fp16-accumulate",)),
    "MI100 fp16": ("MI100", ("fp16",)),
    "MI100 bf16": ("MI100", ("bf16",)),
    "TPU v5e": ("TPU-v5e", ("bf16",)),
    "TPU v5p": ("TPU-v5p", ("bf16",)),
}
FIGURES: dict[str, Callable[[rk.Accelerator, str], Any]] = {
    "dense fp16/bf16 tensor peak": lambda machine, dtype: sympy.Rational(machine.peak(dtype), 10**12),
    "printed sparse peak (2x, do not use)": lambda machine, dtype: sympy.Rational(machine.sparse[dtype], 10**12),
    "memory bandwidth": lambda machine, dtype: sympy.Rational(machine.bandwidth, 10**9),
    "ridge point": lambda machine, dtype: machine.ridge(dtype),
}
HARDWARE = [id for id in ROWS if re.match(r"H\d", id)]


@pytest.mark.parametrize("id", HARDWARE)
def test_accelerators_have_the_printed(id: str) -> None:
    machine, figure = ROWS[id]["quantity"].split(": ", 1)
    name, dtypes = MACHINES[machine]
    printed = ROWS[id]["value"]
    for dtype in dtypes:
        ours = FIGURES[figure](rk.accelerator(name), dtype)
        exact = sympy.Rational(0) if figure != "ridge point" else digits(printed)
        assert abs(ours - sympy.Rational(printed)) <= exact, (name, dtype, ours)


def test_every_accelerator_of_the_kit_stands_in_the_file() -> None:
    added = {"GH200", "H100-NVL", "B200", "GB200", "L40S", "RTX-PRO-6000", "Gaudi-3", "TPU-v6e", "TPU7x"}
    added |= {"MI250X", "MI250X-die", "MI300X", "MI325X", "MI355X"}  # the file is older than these
    assert {name for name, _ in MACHINES.values()} == set(rk.accelerators()) - added
    assert {ROWS[id]["quantity"].split(": ")[0] for id in HARDWARE} == set(MACHINES)


@pytest.mark.parametrize("name", [name for name, dtypes in MACHINES.values() if dtypes == ("fp16",)])
def test_an_accelerator_without_a_bf16_row_has_no_bf16_peak_of_the_same_rate(name: str) -> None:
    peaks = rk.accelerator(name).peaks
    assert peaks.get("bf16") != peaks["fp16"]


@pytest.mark.parametrize("id", ROUNDED)
def test_the_kit_derives_to_the_printed_digits(id: str) -> None:
    printed = ROWS[id]["value"]
    assert abs(ROUNDED[id]() - sympy.Rational(printed)) <= digits(printed)


@pytest.mark.parametrize("id", STATED)
def test_what_nothing_derives_is_the_same_here_and_in_published_toml(id: str) -> None:
    text, ours = STATED[id]()
    assert numbers(re.sub("[a-z]+'?_?[a-z]*=", "", text)) == [sympy.Rational(str(round(x, 9))) for x in ours]


def test_sparse_attention_has_the_paper_s_sizes_by_default() -> None:
    defaults = inspect.signature(rk.sparse_attention).parameters
    names = ("block", "stride", "select_block", "selected", "window")
    assert [defaults[name].default for name in names] == numbers(re.sub("[a-z]'?=", "", ROWS["N01"]["value"]))


def test_the_text_of_the_sparse_attention_paper_counts_two_tokens_fewer_than_its_table() -> None:
    for id in rows(r"N1\da"):
        text = int(re.search(r"gives (\d+), two fewer", ROWS[id]["source"])[1])  # type: ignore[index]
        assert DERIVED[id]() == text + 2


ORDERS = {"K16"}


def test_tiled_attention_moves_as_many_elements_as_the_theorem_on_flash_attention_says_up_to_a_constant() -> None:
    order = formula(ROWS["K16"]["value"].removeprefix("Theta"))
    assert order.free_symbols == {N, d, M}
    # Algorithm 1 keeps M elements on chip: four tiles of M / 4d rows.
    tile = formula(published("flash-attention-theorem", "tile of K and V, rows B_c")[1].removeprefix("ceil"))
    assert tile == M / (4 * d)
    B = rk.symbols("B")
    cost = rk.trace(rk.tiled(rk.fuse(rk.attention), B), *rk.tensors("Q K V", (N, d)))
    ratio = sympy.expand(cost.accesses.subs(B, tile) / order)
    constant = sympy.limit(ratio, N, sympy.oo)
    assert constant.is_number and constant > 0
    # The theorem holds for d <= M <= N d: at the largest M the ratio is still a constant, and it grows with M.
    assert sympy.expand(ratio.subs(M, N * d)).is_number and sympy.diff(ratio, M).is_positive
    # Standard attention moves more than any constant times that.
    standard = rk.trace(rk.attention, *rk.tensors("Q K V", (N, d)))
    assert sympy.limit(standard.accesses.subs(d, 64) / order.subs({d: 64, M: N}), N, sympy.oo) == sympy.oo


def test_the_backward_pass_costs_2_forward_passes_and_with_recomputed_weights_half_a_pass_more() -> None:
    ratios = [backward_ratio(f) for f in (rk.attention, rk.fuse(rk.attention))]
    assert ratios == numbers(ROWS["K21"]["inputs"])


@pytest.mark.parametrize("id", BETWEEN)
def test_what_is_measured_lies_between_two_counts(id: str) -> None:
    least, most = (count() for count in BETWEEN[id])
    assert least < sympy.Rational(ROWS[id]["value"]) < most
    assert most < 4 * least


def test_training_attention_moves_18_times_the_scores_and_12_times_an_input() -> None:
    """Forward 4, the mask 2 (which all heads share: it is read besides), dropout 2.5, and back 7 and 2.5; what dropout
    draws is one byte for each weight."""
    mask, kept = rk.Tensor("mask", (N, N)), rk.Tensor("kept", (N, N), "int8")
    both = rk.passes(trained_attention, *rk.tensors("Q K V", (N, d)), mask=mask, kept=kept)
    moved = sympy.expand(both.forward.bytes + both.backward.bytes - mask.nbytes)
    assert moved == 2 * (18 * N**2 + 12 * N * d)
    of_weights = [x.nbytes for x in both.saved if x.shape == (N, N)]
    assert sorted(of_weights, key=str) == [2 * N**2, 2 * N**2, N**2]  # before and after dropout, and what it drew


@few
@given(n=st.integers(1, 5), width=st.integers(1, 4), heads=st.integers(1, 3))
def test_training_attention_is_counted_as_it_is_executed(n: int, width: int, heads: int) -> None:
    shape = (heads, n, width)
    random = np.random.default_rng(2205)
    Q, K, V, gradient = (random.uniform(-1, 1, shape) for _ in range(4))
    mask, kept = random.uniform(-1, 1, (n, n)), random.integers(0, 2, (heads, n, n))

    def both(Q: Any, K: Any, V: Any, gradient: Any, mask: Any, kept: Any) -> tuple[Any, ...]:
        result, gradients = rk.backward(trained_attention)(Q, K, V, gradient=gradient, mask=mask, kept=kept)
        return result, *gradients

    counts = interpret(both, Q, K, V, gradient, mask, kept, dtype_bytes=[2, 2, 2, 2, 2, 1])
    tensors = rk.tensors("Q K V", shape)
    constants = {"mask": rk.Tensor("mask", (n, n)), "kept": rk.Tensor("kept", (heads, n, n), "int8")}
    traced = rk.passes(trained_attention, *tensors, **constants)
    for quantity in ("flops", "matmul_flops", "loads", "stores", "accesses"):
        assert getattr(traced.forward, quantity) + getattr(traced.backward, quantity) == getattr(counts, quantity)
    for one, other in zip(counts.result, both(Q, K, V, gradient, mask, kept), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_every_row_of_the_file_is_derived_or_compared_or_named_with_a_reason() -> None:
    parts = [set(DERIVED), set(ROUNDED), set(STATED), set(HARDWARE), ORDERS, set(BETWEEN)]
    assert set(ROWS) == set().union(*parts)
    assert len(ROWS) == sum(map(len, parts))
