"""The kit gives the numbers of papers, datasheets and the lecture: those of reference_values.csv, with their sources.

Nothing that is expected is typed here: it is read from the file, and so are the sizes.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sympy

import roofline_kit as rk

with Path(__file__).with_name("reference_values.csv").open(encoding="utf-8", newline="") as file:
    ROWS = {row["id"]: row for row in csv.DictReader(file)}

N, h, T, S, G, d, H = rk.symbols("N h T S G d H")


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


def gpt2_medium() -> rk.Cost:
    """Attention of the configuration of K17, to which K19 and K20 refer: all heads of the whole batch."""
    heads, batch = (int(re.search(pattern, ROWS["K17"]["inputs"])[1]) for pattern in (r"(\d+) heads", r"batch (\d+)"))
    shape = (batch, heads, *(sizes("K17")[name] for name in ("N", "d")))
    return rk.trace(rk.attention, *rk.tensors("Q K V", shape))


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

LATER = {
    "K16": "an order of magnitude that depends on the size of the SRAM; `fuse` is the limit of a large one",
    "K17": "measured, and with the backward pass, which is not traced yet",
    "K18": "measured, and with the backward pass, which is not traced yet",
    "K21": "the backward pass is not traced yet",
}


def formula(text: str) -> sympy.Expr:
    """ "8N^2+8Nh" and "ST/(S+T)" as they are meant."""
    names = {str(s): s for s in (N, h, T, S, G)}
    return sympy.sympify(re.sub(r"(?<=[\w)])(?=[A-Za-z(])", "*", text).replace("^", "**"), locals=names)


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
    assert {name for name, _ in MACHINES.values()} == set(rk.accelerators())
    assert {ROWS[id]["quantity"].split(": ")[0] for id in HARDWARE} == set(MACHINES)


@pytest.mark.parametrize("name", [name for name, dtypes in MACHINES.values() if dtypes == ("fp16",)])
def test_an_accelerator_without_a_bf16_row_has_no_bf16_peak_of_the_same_rate(name: str) -> None:
    peaks = rk.accelerator(name).peaks
    assert peaks.get("bf16") != peaks["fp16"]


def test_no_row_about_the_lecture_or_the_hardware_is_forgotten() -> None:
    wanted = {id for id in ROWS if id[0] in "KH"}
    assert wanted == set(DERIVED) | set(LATER) | set(HARDWARE)
    assert not set(DERIVED) & set(LATER)
