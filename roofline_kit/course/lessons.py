"""Is my answer right? Answers to the "your turn" questions of the notebooks, checked on the spot.

A wrong answer gets a hint and never the solution: the expected value is computed when it is needed, by
the same traced algorithms that the lesson uses, and `lessons.toml` holds only the hints.
"""

from dataclasses import dataclass, replace
from functools import cache
from numbers import Number
from typing import Any

import sympy

from ..cost import trace
from ..hardware import Accelerator
from ..measuring import Settings, service_units
from ..models import model
from ..names import choose, data
from ..ops import exp
from ..roofline import Roofline, roofline
from ..sizes import symbols
from ..tensor import Tensor, fuse, matmul, tensors
from ..transformer import attention, linear
from .lecture import published


@dataclass(frozen=True, repr=False)
class Verdict:
    """What became of an answer: `right`, and a sentence to read."""

    right: bool
    message: str

    def __repr__(self) -> str:
        return self.message


def check(question: str, answer: Any) -> Verdict:
    """Whether `answer` is right, with a hint if it is not.

    question : the id that stands in the notebook. answer : a number (three digits are enough where it is not whole), a
    formula in symbols of the same names as in the lesson, a word, or `...` for "not answered yet".

    Raises ValueError for an unknown question, with the nearest ones.

    >>> check("01.saxpy", ...)
    Your turn: replace the three dots by your answer, and run the cell again.
    >>> check("01.saxpy", 1 / 4)
    Not yet. x and y are read, and the result is written as well.
    """
    question = choose("question", question, _hints(), see="the rk.check lines of the pages")
    if answer is ...:
        return Verdict(False, "Your turn: replace the three dots by your answer, and run the cell again.")
    if _agrees(answer, _answers()[question]):
        return Verdict(True, "✓ Right. " + _hints()[question].get("right", ""))
    slips = _hints()[question].get("slips", {}).items()
    hints = [hint for wrong, hint in slips if _agrees(answer, sympy.sympify(wrong))]
    return Verdict(False, "Not yet. " + [*hints, _hints()[question]["hint"]][0])


def _agrees(answer: Any, expected: Any) -> bool:
    """The same word, the same formula, the same whole number, or the same other number to two or three digits."""
    if isinstance(expected, str) or isinstance(answer, str):
        return isinstance(answer, str) and answer.strip().lower() == expected
    if not isinstance(answer, (Number, sympy.Expr)) or isinstance(answer, bool):
        return False
    answer = sympy.sympify(answer)
    # Symbols count by name, so that one made by sympy.symbols will do.
    expected = sympy.sympify(expected)
    gap = sympy.simplify(answer.subs({s: symbols(s.name) for s in answer.free_symbols}) - expected)
    rounded = not expected.is_Integer and gap.is_number and gap.is_finite and 200 * abs(gap) <= abs(expected)
    return bool(gap == 0 or rounded)


def _hints() -> dict[str, Any]:
    return data("lessons.toml")


@cache
def _answers() -> dict[str, Any]:
    """The expected answers, each out of a traced algorithm or a datasheet."""
    N, h, K, M, H, S, d = symbols("N h K M H S d")
    x, y = tensors("x y", N, "fp32")
    add = trace(lambda a, b: a + b, x, y)
    square, gemm = (trace(linear, Tensor("X", X), Tensor("W", W)) for X, W in [((N, N), (N, N)), ((N, K), (K, M))])
    attn, wide = (trace(attention, *tensors("Q K V", (N, h), dtype)) for dtype in ("fp16", "fp32"))
    longest = sympy.limit(attn.intensity, N, sympy.oo)
    some = sympy.Dummy(positive=True)  # no integer
    a10, a100, h100 = map(roofline, ("A10", "A100-40GB", "H100-SXM"))
    # From here on for the lessons on heads, fusion, sparse attention, whole models and batches.
    llama2, llama3 = model("llama-2-7b"), model("llama-3-8b")
    fused = trace(fuse(attention), *tensors("Q K V", (N, d)))
    one = trace(attention, Tensor("Q", (H, 1, d)), *tensors("K V", (H, S, d)))
    users = [trace(matmul, Tensor("Q", (n, 32, 1, 128)), Tensor("Kᵀ", (n, 32, 128, 1000))) for n in (1, 64)]
    nsa = published("nsa-setting").column("value")
    tokens = S / nsa[1] + nsa[2] * nsa[3] + nsa[4]
    least = S / nsa[1] + nsa[2] * 3 + 64  # the fixed blocks, and the smallest window of the explorer
    prompt = llama2.prefill(1, S)
    share = prompt.matmul_flops.expand().coeff(S, 2) * S**2  # Q Kᵀ and P V
    mha, mqa = (a100.time(m.decode(16, 2048)) for m in (llama2, replace(llama2, kv_heads=1)))
    layers = {t: trace(linear, Tensor("X", (N, 4096), t), Tensor("W", (4096, 4096), t)) for t in ("fp16", "int8")}
    half, byte = (roofline("A10", t).crossing(dense, "N") for t, dense in layers.items())
    long, short = (n / a100.time(llama2.decode(n, context, fused=True)) for n, context in [(32, 1024), (64, 512)])
    laptop = Roofline(Accelerator("laptop", {"fp32": 160 * 10**9}, 32 * 10**9, 16 * 10**9), "fp32")
    X32, W32 = Tensor("X", (N, 4096), "fp32"), Tensor("W", (4096, 4096), "fp32")
    rule = 6 * llama2.parameters * int(published("llama2-training").column("tokens")[0])
    return {
        "00.ridge": h100.ridge,
        "00.bound": h100.bound(50),
        "01.predict": a10.bound(add.intensity),
        "01.saxpy": trace(fuse(lambda x, y: 2.5 * x + y), x, y).intensity,
        "01.dot": sympy.limit(trace(matmul, *tensors("u v", N)).intensity, N, sympy.oo),
        "01.faster": sympy.cancel(add.bytes / a10.bandwidth / (add.bytes / h100.bandwidth)),
        "01.hundred": sympy.ceiling(roofline("A100-40GB", "fp32").ridge * trace(exp, x).bytes / N),
        "01.drag": square.intensity.subs(N, 2 * N) / square.intensity,
        "02.predict": _nearest(a10.crossing(attn, "N", h=4096), 50, 500, 5000),
        "02.softmax": attn.steps[1].intensity,
        "02.fp32": wide.intensity,
        "02.never": sympy.floor(sympy.solve(longest.subs(h, some) - a10.ridge, some)[0]),
        "02.drag": max(n for n in (1, 2, 4, 8, 16, 32) if longest.subs(h, 4096 // n) > a10.ridge),
        "03.square": a10.crossing(square, "N"),
        "03.token": trace(linear, Tensor("X", (1, 4096), "int8"), Tensor("W", (4096, 4096), "int8")).intensity,
        "03.batch": sympy.ceiling(a100.crossing(gemm, "N", K=4096, M=4096)),
        "04.predict": _nearest(sympy.limit(one.intensity, S, sympy.oo).subs(d, 128), 1, 30, 100, 1000),
        "04.limit": sympy.limit(attn.intensity, N, sympy.oo).subs(h, 64),
        "04.cache": (a100.accelerator.memory - llama3.parameters * 2) // llama3.kv_cache_bytes(1),
        "04.mqa": replace(llama2, kv_heads=1).kv_cache_bytes(1),
        "04.drag": _nearest(mha / mqa, 3, 10, 30),
        "05.predict": _nearest((attn.bytes.subs(h, d) / fused.bytes).subs({N: 4096, d: 128}), 4, 33, 128),
        "05.limit": fused.intensity,
        "05.crossing": sympy.ceiling(a10.crossing(fused, "N", d=128)),
        "05.tile": published("on-chip-memory").column("shared memory per SM [KiB]")[0] * 1024 // 2 // (4 * 128),
        "06.predict": _nearest(65536 / tokens.subs(S, 65536), 4, 12, 30, 100),
        "06.tokens": tokens.subs(S, 131072),
        "06.equal": sympy.solve(tokens.subs(S, some) - some, some)[0],
        "06.limit": sympy.limit(S / tokens, S, sympy.oo),
        "06.drag": _nearest((S / least).subs(S, 65536), 15, 30, 70),
        "07.predict": _nearest(llama2.prefill(1, 1000).flops / 10**12, 0.14, 1.4, 14, 140),
        "07.half": sympy.solve((prompt.matmul_flops - 2 * share).subs(S, some), some)[0],
        "07.hours": sympy.Rational(rule, a100.peak * 3600),
        "07.token": h100.time(llama2.decode(1, 1)) * 1000,
        "08.predict": _nearest(64 * a10.time(users[0]) / a10.time(users[1]), 1, 8, 64),
        "08.h100": sympy.ceiling(h100.crossing(gemm, "N", K=4096, M=4096)),
        "08.memory": llama2.largest_batch("A100-40GB", 4096),
        "08.gqa": llama3.largest_batch("A100-40GB", 4096),
        "08.walk": _nearest(byte / half, 0.5, 1, 2),
        "08.drag": _nearest(short / long, 1, 2, 4),
        "09.laptop": sympy.ceiling(laptop.crossing(trace(linear, X32, W32), "N")),
        "09.tasks": service_units(Settings(partition="gpuA100x4-preempt", minutes=120), 4),
        "09.predict": service_units(Settings(partition="gpuA100x4", cpus=64), 1),
    }


def _nearest(value: Any, *choices: Any) -> Any:
    """The choice that comes nearest, on a logarithmic scale."""
    return min(choices, key=lambda choice: abs(float(sympy.log(choice / value))))
