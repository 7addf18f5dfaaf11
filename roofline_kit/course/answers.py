"""What is right? The answers to the pages' questions, each out of a traced algorithm, a datasheet or a published table.

A function for each page; a page's answers are computed when one of them is first asked for, and no other page's.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import sympy

from ..backward import passes
from ..configs import model
from ..cost import trace
from ..experts import awake_expected, expert_product
from ..hardware import accelerator
from ..latent import attend
from ..masks import Causal
from ..measuring import Settings, error_table, measured, service_units
from ..models import Model
from ..names import data
from ..ops import exp
from ..roofline import roofline
from ..sizes import symbols
from ..tensor import Tensor, fuse, matmul, tensors
from ..transformer import attention, linear
from .lecture import published

N, h, K, M, H, S, d = symbols("N h K M H S d")
some = sympy.Dummy(positive=True)  # a size to solve for, which need not come out whole
ATTENTION = tensors("Q K V", (N, h))
FUSED = tensors("Q K V", (N, d))
SQUARE = Tensor("X", (N, N)), Tensor("W", (N, N))
PRODUCT = Tensor("X", (N, K)), Tensor("W", (K, M))
# The bytes that PyTorch reports of an A100-40GB, sold as 40 GB, and these rounded: see accelerators.toml.
REPORTED = 40339 * 2**20, 423 * 10**8


def answer(question: str) -> Any:
    """The answer to a question: a number, a formula or a word. Only the question's page is computed.

    >>> answer("01.saxpy")
    1/6
    """
    return accepted(question)[0]


def accepted(question: str) -> list[Any]:
    """All that is right: the answer, and what it is by another convention that people keep to."""
    found = answers_of(question[:2])[question]
    values = found if isinstance(found, tuple) else (found,)
    offered = choices(question)
    return [nearest(value, *offered) if offered and value not in offered else value for value in values]


def choices(question: str) -> list[Any]:
    """What a question offers to choose from: numbers and words. Empty where it is open."""
    return list(data("lessons.toml")[question].get("choices", ()))


@cache
def answers_of(page: str) -> dict[str, Any]:
    """The answers to the questions of a page, which is named by two digits."""
    return PAGES[page]()


def start_here() -> dict[str, Any]:
    """0 · Start here."""
    h100 = roofline("H100-SXM")
    return {"00.ridge": h100.ridge, "00.bound": h100.bound(50)}


def arithmetic_intensity() -> dict[str, Any]:
    """1 · Arithmetic intensity."""
    a10, h100 = roofline("A10"), roofline("H100-SXM")
    x, y = tensors("x y", N, "fp32")
    add = trace(lambda a, b: a + b, x, y)
    square = trace(linear, *SQUARE)
    return {
        "01.predict": a10.bound(add.intensity),
        "01.saxpy": trace(fuse(lambda x, y: 2.5 * x + y), x, y).intensity,
        "01.dot": sympy.limit(trace(matmul, *tensors("u v", N)).intensity, N, sympy.oo),
        "01.faster": sympy.cancel(add.bytes / a10.bandwidth / (add.bytes / h100.bandwidth)),
        "01.hundred": sympy.ceiling(roofline("A100-40GB", "fp32").ridge * trace(exp, x).bytes / N),
        "01.drag": square.intensity.subs(N, 2 * N) / square.intensity,
    }


def attention_by_steps() -> dict[str, Any]:
    """2 · Attention, step by step."""
    a10 = roofline("A10")
    half, single = trace(attention, *ATTENTION), trace(attention, *tensors("Q K V", (N, h), "fp32"))
    longest = sympy.limit(half.intensity, N, sympy.oo)
    return {
        "02.predict": a10.crossing(half, "N", h=4096),
        "02.softmax": half.steps[1].intensity,
        "02.fp32": single.intensity,
        "02.never": sympy.floor(sympy.solve(longest.subs(h, some) - a10.ridge, some)[0]),
        "02.drag": max(n for n in choices("02.drag") if longest.subs(h, 4096 // n) > a10.ridge),
    }


def mlp() -> dict[str, Any]:
    """3 · The MLP and the gap."""
    token, weight = Tensor("X", (1, 4096), "int8"), Tensor("W", (4096, 4096), "int8")
    return {
        "03.square": roofline("A10").crossing(trace(linear, *SQUARE), "N"),
        "03.token": trace(linear, token, weight).intensity,
        "03.batch": sympy.ceiling(roofline("A100-40GB").crossing(trace(linear, *PRODUCT), "N", K=4096, M=4096)),
    }


def heads() -> dict[str, Any]:
    """4 · Heads and the KV cache."""
    a100, llama2, llama3 = roofline("A100-40GB"), model("llama-2-7b"), model("llama-3-8b")
    shared = replace(llama2, kv_heads=1)
    one = trace(attention, Tensor("Q", (H, 1, d)), *tensors("K V", (H, S, d)))
    memories = a100.accelerator.memory, *REPORTED
    mha, mqa = (a100.time(m.decode(16, 2048, fused=True)) for m in (llama2, shared))
    return {
        "04.predict": sympy.limit(one.intensity, S, sympy.oo).subs(d, 128),
        "04.limit": sympy.limit(trace(attention, *ATTENTION).intensity, N, sympy.oo).subs(h, 64),
        "04.cache": tuple((memory - llama3.parameters * 2) // llama3.kv_cache_bytes(1) for memory in memories),
        "04.mqa": shared.kv_cache_bytes(1),
        "04.drag": mha / mqa,
    }


def fusion() -> dict[str, Any]:
    """5 · Fusion and FlashAttention."""
    fused, stepwise = trace(fuse(attention), *FUSED), trace(attention, *FUSED)
    shared_memory = published("on-chip-memory").column("shared memory per SM [KiB]")[0] * 1024
    return {
        "05.predict": (stepwise.bytes / fused.bytes).subs({N: 4096, d: 128}),
        "05.limit": fused.intensity,
        "05.crossing": sympy.ceiling(roofline("A10").crossing(fused, "N", d=128)),
        "05.tile": shared_memory // 2 // (4 * 128),
    }


def sparse() -> dict[str, Any]:
    """6 · Native sparse attention."""
    nsa = published("nsa-setting").column("value")
    tokens = S / nsa[1] + nsa[2] * nsa[3] + nsa[4]
    least = S / nsa[1] + nsa[2] * 3 + 64  # the fixed blocks, and the smallest window of the explorer
    return {
        "06.predict": 65536 / tokens.subs(S, 65536),
        "06.tokens": tokens.subs(S, 131072),
        "06.equal": sympy.solve(tokens.subs(S, some) - some, some)[0],
        "06.limit": sympy.limit(S / tokens, S, sympy.oo),
        "06.drag": (S / least).subs(S, 65536),
    }


def seven_billion() -> dict[str, Any]:
    """7 · Seven billion parameters."""
    llama2 = model("llama-2-7b")
    prompt = llama2.prefill(1, S).matmul_flops
    pairs = prompt.expand().coeff(S, 2) * S**2  # Q Kᵀ and P V
    training = 6 * llama2.parameters * int(published("llama2-training").column("tokens")[0])
    return {
        "07.predict": llama2.prefill(1, 1000).flops / 10**12,
        "07.half": sympy.solve((prompt - 2 * pairs).subs(S, some), some)[0],
        "07.hours": sympy.Rational(training, roofline("A100-40GB").peak * 3600),
        "07.token": roofline("H100-SXM").time(llama2.decode(1, 1)) * 1000,
    }


def batching() -> dict[str, Any]:
    """8 · Batching."""
    a10, a100, h100 = map(roofline, ("A10", "A100-40GB", "H100-SXM"))
    llama2, llama3 = model("llama-2-7b"), model("llama-3-8b")
    users = [trace(matmul, Tensor("Q", (n, 32, 1, 128)), Tensor("Kᵀ", (n, 32, 128, 1000))) for n in (1, 64)]
    dense = {t: trace(linear, Tensor("X", (N, 4096), t), Tensor("W", (4096, 4096), t)) for t in ("fp16", "int8")}
    half, byte = (roofline("A10", dtype).crossing(layer, "N") for dtype, layer in dense.items())
    cards = [a100.accelerator, *(replace(a100.accelerator, memory=memory) for memory in REPORTED)]
    long, short = (n / a100.time(llama2.decode(n, context, fused=True)) for n, context in [(32, 1024), (64, 512)])
    return {
        "08.predict": 64 * a10.time(users[0]) / a10.time(users[1]),
        "08.h100": sympy.ceiling(h100.crossing(trace(linear, *PRODUCT), "N", K=4096, M=4096)),
        "08.memory": tuple(llama2.largest_batch(card, 4096) for card in cards),
        "08.gqa": tuple(llama3.largest_batch(card, 4096) for card in cards),
        "08.walk": byte / half,
        "08.drag": short / long,
    }


def measuring() -> dict[str, Any]:
    """9 · Measure, on Delta or at home."""
    large = next(row for row in error_table(["H100-SXM"]) if row["operation"] == "product, 1024 rows and more")
    (strange,) = measured("impossible decode", "A100-80GB-SXM", batch=256, context=1024, kv_heads=8)
    return {
        "09.tasks": service_units(Settings(partition="gpuA100x4-preempt", minutes=120), 4),
        "09.predict": large["datasheet"][1],
        "09.impossible": strange.bytes / strange.median / accelerator(strange.device).bandwidth,
    }


def errors() -> dict[str, Any]:
    """10 · Find the error.

    Each is what the page quotes, over what follows from the model, the mask or the datasheet.
    """
    llama, queries = model("llama-3-8b"), tensors("Q K V", (4, 32, 8192, 128))
    head = trace(linear, Tensor("X", (1, h)), Tensor("W", (h, M)))
    pass_of_layer = trace(attention, *queries, mask=Causal()).matmul_flops
    quantized = trace(linear, Tensor("X", (N, 1024), "bf16"), Tensor("W", (1024, 1024), "int8"))
    h200, weights = accelerator("H200"), 100 * 10**12 * 2
    read, viewer = (replace(llama, kv_heads=heads).kv_cache_bytes(8192) for heads in (llama.kv_heads, llama.heads))
    return {
        "10.book": sympy.Rational(267 * 10**8, invented().parameters),
        "10.lecture": 6 * N * K * M / trace(linear, *PRODUCT).flops,
        "10.head": 2 * M * h / head.flops,
        "10.viewer": viewer / read,
        "10.cache": sympy.Rational(2 * 61 * 512 * 2, model("deepseek-v3").kv_cache_bytes(1)),
        "10.causal": sympy.Rational(42221 * 10**10, 3 * 32 * pass_of_layer),
        "10.chunk": sympy.cancel((N * S - N * (N - 1) / 2) / Causal().visible(N, S)),
        "10.h200": sympy.Rational(13243 * 10**10, h200.bandwidth),
        "10.mfu": sympy.Rational(23 * 10**14, accelerator("A100-80GB-SXM").peak("bf16")),
        "10.batch": 120 / roofline("TPU-v5e", "bf16").crossing(quantized, "N"),
        "10.tb": sympy.Rational(182 * 10**12, weights),
        "10.cards": sympy.ceiling(sympy.Rational(weights, h200.memory)),
    }


def experts() -> dict[str, Any]:
    """11 · Experts."""
    k, E, r = symbols("k E r")
    W, chosen = Tensor("W", (E, h, M)), Tensor("chosen", (N, k), "int64")
    product = trace(expert_product, Tensor("X", (N, 1, h)), W, None, chosen, E)
    (ridge,) = sympy.solve(product.flops - r * product.bytes, N)
    qwen, deepseek, h200 = model("qwen3-30b-a3b"), model("deepseek-v3"), accelerator("H200")
    with_experts = deepseek.like_layer(-1)
    needed = deepseek.memory_bytes(4096, batch=1024, weights="fp8")
    return {
        "11.predict": sympy.cancel(ridge / ridge.subs(E, k)).subs({E: qwen.experts, k: qwen.experts_per_token}),
        "11.awake": awake_expected(with_experts.experts, with_experts.experts_per_token, 32),
        "11.cards": sympy.ceiling(needed / h200.memory),
    }


def smaller() -> dict[str, Any]:
    """12 · Smaller caches, fewer bits."""
    gemma, h100 = model("gemma-3-4b"), roofline("H100-SXM")
    in_full, in_windows = (
        gemma.kv_cache_bytes(8193, reserved=full) - gemma.kv_cache_bytes(8192, reserved=full) for full in (True, False)
    )
    step = trace(fuse(attend), *latents(H), None)
    longest = sympy.limit(step.intensity, S, sympy.oo)
    narrow = trace(linear, Tensor("X", (N, 4096)), Tensor("W", (4096, 4096), "int4"))
    few, many = (measured("latent decode", "H200", batch=128, context=8192, heads=heads)[0].median for heads in (8, 64))
    return {
        "12.predict": many / few,
        "12.window": in_full / in_windows,
        "12.heads": sympy.floor(sympy.solve(longest.subs(H, some) - h100.ridge, some)[0]),
        "12.bits": sympy.ceiling(h100.crossing(narrow, "N")),
    }


def training() -> dict[str, Any]:
    """13 · Training."""
    frozen = passes(linear, PRODUCT[0], W=PRODUCT[1])
    like_xl, reached = cs336(), 4 * accelerator("A100-40GB").peak("bf16") * sympy.Rational(4, 10)
    per_token = like_xl.training(1, 1024, causal=True).once / 1024, 6 * like_xl.parameters  # exact, and by the rule
    usual, wide = (like_xl.training(1, 1, gradients=dtype).memory for dtype in ("bf16", "fp32"))
    bytes_each = [sum(of[what] for what in of if what != "activations") / like_xl.parameters for of in (usual, wide)]
    h200 = roofline("H200", "bf16")
    kept, again = (h200.time(model("llama-2-7b").training(1, 4096, checkpoint=n, fused=True)) for n in (None, "all"))
    return {
        "13.predict": bytes_each[0],
        "13.drag": again / kept,
        "13.frozen": (frozen.forward.flops + frozen.backward.flops) / frozen.forward.flops,
        "13.wide": 80 / bytes_each[1],
        "13.cs336": like_xl.prefill(1, 1024).matmul_flops,
        "13.days": tuple(flops * 20 * like_xl.parameters / reached / 86400 for flops in per_token),
    }


def cs336() -> Model:
    """A model in the shape of GPT-2 XL, as the first assignment of Stanford's CS336 has it."""
    return Model(
        "like GPT-2 XL", layers=48, hidden=1600, heads=25, vocabulary=50257, mlp_hidden=6400, gated=True,
        activation="silu", norm="rms", positions="rotary",
    )  # fmt: skip


def latents(heads: Any) -> tuple[Tensor, ...]:
    """What a step of absorbed decode takes in DeepSeek-V3: queries, and the latents of a context for all heads."""
    v3 = model("deepseek-v3")
    query, rotated = (Tensor("Q", (heads, 1, width)) for width in (v3.kv_latent, v3.rope_head_dim))
    latent, k_rope = (Tensor("C", (1, S, width), role="cache") for width in (v3.kv_latent, v3.rope_head_dim))
    return query, rotated, latent, k_rope, latent


def invented() -> Model:
    """The model of a problem in "How to Scale Your Model", of which page 10 asks for the parameters."""
    return Model(
        "invented", layers=64, hidden=4096, heads=32, kv_heads=8, head_dim=256, mlp_hidden=16384, vocabulary=32128,
        gated=True, tied=True, norm="rms", positions="rotary",
    )  # fmt: skip


PAGES: dict[str, Callable[[], dict[str, Any]]] = {
    "00": start_here,
    "01": arithmetic_intensity,
    "02": attention_by_steps,
    "03": mlp,
    "04": heads,
    "05": fusion,
    "06": sparse,
    "07": seven_billion,
    "08": batching,
    "09": measuring,
    "10": errors,
    "11": experts,
    "12": smaller,
    "13": training,
}


def nearest(value: Any, *choices: Any) -> Any:
    """The number among the choices that comes nearest, on a logarithmic scale."""
    numbers = [choice for choice in choices if not isinstance(choice, str)]
    return min(numbers, key=lambda choice: abs(float(sympy.log(choice / value))))
