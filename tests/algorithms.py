"""What the tests trace, execute and compare: algorithms of the course, and programs that Hypothesis writes.

Each is a function with the shapes of its inputs in words, "N h" for a matrix of N rows and h columns, so
that one entry can be traced with symbols, traced at numbers, executed by the interpreter and run on
arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import settings
from hypothesis import strategies as st

import roofline_kit as rk

WIDTHS = {"fp64": 8, "fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int64": 8, "int32": 4, "int8": 1}
"""Bytes per element, written down once more to check those of the kit."""

QUANTITIES = ("flops", "matmul_flops", "loads", "stores", "bytes", "accesses")


def two_layers(X: Any, W1: Any, W2: Any) -> Any:
    return rk.linear(rk.gelu(rk.linear(X, W1)), W2)


def split_heads(x: Any) -> Any:
    """(N, h) as two heads, (2, N, h/2)."""
    N, h = x.shape
    return x.reshape(N, 2, h // 2).swapaxes(0, 1)


def two_heads(Q: Any, K: Any, V: Any) -> Any:
    out = rk.attention(split_heads(Q), split_heads(K), split_heads(V))
    return out.swapaxes(0, 1).reshape(Q.shape[0], -1) + Q


@rk.fuse
def standardized(x: Any) -> Any:
    """Two results of one step."""
    centered = x - rk.mean(x, keepdims=True)
    spread = rk.sqrt(rk.mean(centered * centered, keepdims=True) + 1e-5)
    return centered / spread, spread


@rk.fuse
def gated(X: Any, W1: Any, W2: Any) -> Any:
    return rk.silu(X @ W1) * (X @ W2)


Algorithm = tuple[Callable[..., Any], tuple[str, ...]]


def heads(kv_heads: int, **options: Any) -> Callable[..., Any]:
    """Four heads that share `kv_heads` heads of keys and values; the last two arrays are the cache or the rotation."""

    def multi_head_attention(X: Any, W_q: Any, W_k: Any, W_v: Any, W_o: Any, *pair: Any) -> Any:
        more = {options["pair"]: pair} if pair else {}
        kept = {name: value for name, value in options.items() if name != "pair"}
        return rk.multi_head_attention(X, W_q, W_k, W_v, W_o, heads=4, kv_heads=kv_heads, **kept, **more)

    return multi_head_attention


def with_biases(X: Any, W_q: Any, b_q: Any, W: Any, b: Any, W_o: Any) -> Any:
    return rk.multi_head_attention(X, (W_q, b_q), (W, b), (W, b), W_o, heads=2)


def masked(mask: rk.Causal) -> Callable[..., Any]:
    return lambda Q, K, V: rk.attention(Q, K, V, mask)


def masked_by_hand(Q: Any, K: Any, V: Any) -> Any:
    """Masked scores and weights that go through memory: their sums, quotients and products."""
    S = rk.exp(rk.matmul(Q, K.mT, rk.Causal()) * 0.5)
    return (S / rk.sum(S, keepdims=True)) @ V, rk.max(S)


def gated_mlp(activation: str) -> Callable[..., Any]:
    return lambda X, up, down, gate: rk.mlp(X, up, down, gate, activation)


def layer(X: Any, norm: Any, square: Any, one_head: Any, up: Any, down: Any) -> Any:
    """A decoder layer as Llama's, two query heads for one of keys: RMS norms and a gated MLP."""
    weights = {"attention_norm": norm, "mlp_norm": norm, "query": square, "key": one_head, "value": one_head}
    weights |= {"output": square, "up": up, "gate": up, "down": down}
    return rk.decoder_layer(X, weights, heads=2, kv_heads=1, activation="silu", causal=True)


def layer_with_biases(X: Any, norm: Any, square: Any, up: Any, b_up: Any, down: Any) -> Any:
    """A decoder layer as GPT-2's: layer norms and biases."""
    weights = {"attention_norm": (norm, norm), "mlp_norm": (norm, norm), "up": (up, b_up), "down": (down, norm)}
    weights |= dict.fromkeys(("query", "key", "value", "output"), (square, norm))
    return rk.decoder_layer(X, weights, heads=2, causal=True, fused=True)


def today(X: Any, norm: Any, square: Any, one_head: Any, head: Any, up: Any, down: Any, cos: Any, sin: Any) -> Any:
    """A decoder layer with what models of today have: four norms, normed heads that turn in part, a cap and a scale."""
    weights = {f"{place}_norm": norm for place in ("attention", "attention_post", "mlp", "mlp_post")}
    weights |= {"query": square, "key": one_head, "value": one_head, "output": square, "up": up, "down": down}
    weights |= {"query_norm": head, "key_norm": (head, head)}
    how = {"heads": 2, "kv_heads": 1, "activation": "squared_relu", "causal": rk.Causal(window=2), "residual": 0.5}
    return rk.decoder_layer(X, weights, **how, rotation=(cos, sin), rotary_dim=cos.shape[-1], cap=50.0, scale=0.25)


def side_by_side(X: Any, norm: Any, square: Any, up: Any, down: Any, slopes: Any, sinks: Any) -> Any:
    """Attention and MLP side by side, with linear biases, sinks, and chunks of the context."""
    weights = {"attention_norm": norm, "query_norm": norm, "key_norm": norm, "up": up, "down": down, "sinks": sinks}
    weights |= dict.fromkeys(("query", "key", "value", "output"), square)
    return rk.decoder_layer(X, weights, heads=2, parallel=True, causal=rk.Causal(chunk=2), bias=slopes, unit=True)


def compress(stride: int, partial: bool) -> Callable[..., Any]:
    return lambda X, positions, up, down: rk.compress(X, positions, up, down, stride=stride, partial=partial)


def sparse(*inputs: Any) -> Any:
    return rk.sparse_attention(*inputs, block=4, stride=2, select_block=4, selected=3, window=5)


def sparse_near(*inputs: Any) -> Any:
    *others, K_near, V_near = inputs
    return rk.sparse_attention(*others, (K_near, V_near), block=4, stride=2, select_block=4, selected=4, window=3)


def latent(**options: Any) -> Callable[..., Any]:
    """Two heads whose keys and values come from one latent."""
    names = ("query", "kv_down", "kv_norm", "kv_up", "output")

    def latent_attention(X: Any, *arrays: Any) -> Any:
        weights = dict(zip(names, arrays[:5], strict=True))
        return rk.latent_attention(X, weights, heads=2, rotation=arrays[5:], **options)

    return latent_attention


LATENT = ("N h", "h 2*M+4*d", "h K+2*d", "K", "K 2*M+2*H", "2*H h", "N 2*d", "N 2*d")


def routed(**options: Any) -> Callable[..., Any]:
    return lambda logits: rk.route(logits, 2, **options)


def convolution(x: Any, W: Any) -> Any:
    """Filters of 3 × 2 over a picture: windows, and a product."""
    patches = rk.windows(x, (3, 2), 1)
    return patches.reshape(*patches.shape[:-2], 6) @ W


def chosen_rows(X: Any, scores: Any) -> Any:
    """The rows that have the two highest scores; top gives every row once."""
    return rk.take(X, rk.top(scores, 2))


MATRIX_PRODUCTS: dict[str, Algorithm] = {
    "attention": (rk.attention, ("N h", "N h", "N h")),
    "cross attention": (rk.attention, ("N h", "M h", "M d")),
    "batched attention": (rk.attention, ("B H N h", "B H M h", "B H M h")),
    "grouped queries": (rk.attention, ("B H N h", "B 1 M h", "B 1 M h")),
    "fused attention": (rk.fuse(rk.attention), ("B N h", "B M h", "B M h")),
    "two heads": (two_heads, ("N 2*h", "M 2*h", "M 2*h")),
    "linear": (rk.linear, ("N K", "K M")),
    "batched linear": (rk.linear, ("B N K", "K M")),
    "matmul of two batches": (rk.matmul, ("B N K", "B K M")),
    "matmul, broadcast on both sides": (rk.matmul, ("B 1 N K", "H K M")),
    "matmul, size 1 inside": (rk.matmul, ("N 1", "1 M")),
    "x @ x.T": (lambda x: x @ x.T, ("N h",)),
    "x.T @ x": (lambda x: x.T @ x, ("N h",)),
    "MLP of two layers": (two_layers, ("B N h", "h M", "M h")),
    "fused gated layer": (gated, ("N h", "h M", "h M")),
    "linear with a bias": (rk.linear, ("B N K", "K M", "M")),
    "linear of a part": (lambda X, W: X[..., -1:, :] @ W[:-1], ("B 5 K", "K+1 M")),
    "MHA": (heads(4), ("N h", "h 4*d", "h 4*d", "h 4*d", "4*d M")),
    "MHA with biases": (with_biases, ("N h", "h 2*d", "2*d", "h 2*d", "2*d", "2*d h")),
    "GQA, fused": (heads(2, fused=True), ("B N h", "h 4*d", "h 2*d", "h 2*d", "4*d h")),
    "MQA": (heads(1), ("B N h", "h 4*d", "h d", "h d", "4*d h")),
    "GQA with a rotation": (
        heads(2, pair="rotation"),
        ("N h", "h 8*d", "h 4*d", "h 4*d", "8*d h", "N 2*d", "N 2*d"),
    ),
    "latent attention": (latent(), LATENT),
    "latent attention, absorbed": (latent(absorbed=True), LATENT),
    "latent attention, absorbed and fused": (latent(absorbed=True, fused=True), ("B " + LATENT[0], *LATENT[1:])),
    "MLP": (rk.mlp, ("B N h", "h M", "M h")),
    "MLP with relu": (lambda *inputs: rk.mlp(*inputs, activation="relu"), ("N h", "h M", "M h")),
    **{f"gated MLP with {name}": (gated_mlp(name), ("N h", "h M", "M h", "h M")) for name in ("gelu", "relu", "silu")},
}

ALGORITHMS: dict[str, Algorithm] = MATRIX_PRODUCTS | {
    "vector add": (lambda a, b: a + b, ("N", "N")),
    "broadcast add": (lambda a, b: a + b, ("N 1", "B 1 M")),
    "x + x": (lambda x: x + x, ("N",)),
    "arithmetic with numbers": (lambda x: 2 / (1 - 3 * -x) + 1, ("N M",)),
    "dot product": (rk.matmul, ("N", "N")),
    "matrix times vector": (rk.matmul, ("B N K", "K")),
    "vector times matrix": (rk.matmul, ("K", "B K M")),
    "softmax": (rk.softmax, ("N M",)),
    "softmax, first axis": (lambda x: rk.softmax(x, axis=0), ("N M",)),
    "softmax, middle axis": (lambda x: rk.softmax(x, axis=1), ("B N M",)),
    "sum": (lambda x: rk.sum(x, axis=0), ("N M",)),
    "max": (lambda x: rk.max(x, axis=1, keepdims=True), ("B N M",)),
    "mean": (rk.mean, ("N M",)),
    "sum of all": (lambda x: rk.sum(x, axis=None), ("N M",)),
    "mean of all, for each": (lambda x: x - rk.mean(x.mT, axis=None, keepdims=True), ("B N M",)),
    "sums as methods": (lambda x: x.sum() * x.sum(axis=0) + x.sum(axis=-1, keepdims=True), ("N M",)),
    "means and largest as methods": (
        lambda x: x.mean(axis=1) / (2 + x.max() * x.max() + x.mean() * x.mean()),
        ("N M N",),
    ),
    "concatenate columns of views": (
        lambda a, b: rk.concatenate([a.mT, b[..., 1:], a.mT], axis=-1) * 2,
        ("B M N", "B N M+1"),
    ),
    "concatenate in a fused step": (rk.fuse(lambda a, b: rk.exp(rk.concatenate((a, b), axis=0))), ("N h", "M h")),
    "exp, tanh, sqrt": (lambda x: rk.exp(x) + rk.tanh(x) + rk.sqrt(x * x), ("N M",)),
    "gelu": (rk.gelu, ("N M",)),
    "silu": (rk.silu, ("N M",)),
    "relu": (rk.relu, ("N M",)),
    "layer norm": (rk.layer_norm, ("N M",)),
    "layer norm with a weight": (rk.layer_norm, ("N M", "M")),
    "layer norm with weight and bias": (rk.layer_norm, ("B N M", "M", "M")),
    "RMS norm": (rk.rms_norm, ("N M",)),
    "RMS norm with a weight": (rk.rms_norm, ("B N M", "M")),
    "fused softmax of a sum": (rk.fuse(lambda x, y: rk.softmax(x + y)), ("N M", "M")),
    "two results of one step": (standardized, ("N M",)),
    "compressed blocks": (compress(2, False), ("B 2*N+4 d", "4 d", "4*d M", "M d")),
    "compressed blocks, the last ones partial": (compress(2, True), ("2*N d", "4 d", "4*d M", "M d")),
    "compressed blocks side by side": (compress(3, False), ("3*N d", "3 d", "3*d M", "M h")),
    "a part": (lambda x: rk.exp(x[:, 1:-1]), ("N M+2",)),
    "a part of a part": (lambda x: rk.exp(x[1:][..., -1:]), ("N+1 3",)),
    "two parts": (lambda x: x[..., :1] * x[..., 1:], ("N M+1",)),
    "rotary": (rk.rotary, ("B N 2*d", "N 2*d", "N 2*d")),
    "softmax with sinks": (lambda x, sinks: rk.softmax(x, sinks=sinks), ("B N M", "B 1 1")),
    "squared relu": (rk.squared_relu, ("N M",)),
    "chunks of a context": (masked(rk.Causal(chunk=3)), ("N h", "N h", "N d")),
    "chunks of a context, fused": (rk.fuse(masked(rk.Causal(chunk=2))), ("B N h", "B N h", "B N d")),
    "flip": (lambda x: x + rk.flip(x, axis=0), ("N M",)),
    "windows": (lambda x: rk.sum(rk.windows(x, 3, 2), axis=-2), ("B 2*N+1 M",)),
    "windows over rows and columns": (lambda x: rk.sum(rk.windows(x, (2, 3), (1, 2)), axis=-1), ("B N+1 2*M+1",)),
    "a convolution": (convolution, ("B N+2 M+1", "6 d")),
    "windows that stick out": (lambda x: rk.exp(rk.windows(x, 3, 1, -1, x.shape[-2] + 1)), ("N M",)),
    "causal attention": (masked(rk.Causal()), ("N h", "N h", "N d")),
    "causal attention, fused": (rk.fuse(masked(rk.Causal())), ("B N h", "B N h", "B N d")),
    "causal attention of the last queries": (masked(rk.Causal()), ("B N h", "1 N+M h", "1 N+M d")),
    "causal attention of one query": (masked(rk.Causal()), ("1 h", "M h", "M d")),
    "causal attention by hand": (masked_by_hand, ("N h", "N+M h", "N+M d")),
    "sliding window": (masked(rk.Causal(window=3)), ("N h", "N h", "N d")),
    "sliding window over the last queries": (masked(rk.Causal(window=3)), ("N h", "N+2 h", "N+2 d")),
    "sliding window of one query": (masked(rk.Causal(window=3)), ("B 1 h", "B 3 h", "B 3 d")),
    "sliding window, fused": (rk.fuse(masked(rk.Causal(window=2))), ("N h", "N+1 h", "N+1 d")),
    "causal MHA": (heads(4, causal=True), ("B N h", "h 4*d", "h 4*d", "h 4*d", "4*d h")),
    "causal GQA, fused": (heads(2, causal=True, fused=True), ("N h", "h 4*d", "h 2*d", "h 2*d", "4*d h")),
    "MQA with a window": (heads(1, causal=rk.Causal(window=2)), ("N h", "h 4*d", "h d", "h d", "4*d h")),
    "causal GQA with a rotation": (
        heads(2, pair="rotation", causal=True),
        ("N h", "h 8*d", "h 4*d", "h 4*d", "8*d h", "N 2*d", "N 2*d"),
    ),
    "causal latent attention, fused": (latent(causal=True, fused=True), LATENT),
    "decoder layer": (layer, ("N 4*h", "4*h", "4*h 4*h", "4*h 2*h", "4*h M", "M 4*h")),
    "decoder layer of today": (
        today,
        ("N 8*h", "8*h", "8*h 8*h", "8*h 4*h", "4*h", "8*h M", "M 8*h", "N 2*h", "N 2*h"),
    ),
    "decoder layer side by side": (
        side_by_side,
        ("N 4*h", "4*h", "4*h 4*h", "4*h M", "M 4*h", "2 1 N", "2 1 1"),
    ),
    "decoder layer with biases": (layer_with_biases, ("B N 2*h", "2*h", "2*h 2*h", "2*h M", "M", "M 2*h")),
}

# Contexts end where their last window or block ends, and a sliding window sees all of them: a step is said to
# read its arrays whole, and the interpreter reads no row that nobody needs.
COUNTED: dict[str, Algorithm] = ALGORITHMS | {
    "rotary of a part": (lambda X, cos, sin: rk.rotary(X, cos, sin, cos.shape[-1]), ("B N 2*d+h", "N 2*d", "N 2*d")),
    "top": (lambda x: rk.top(x, 3), ("N M+2",)),
    "concatenate": (lambda a, b: rk.concatenate((a, b)), ("N h", "M h")),
    "experts that are chosen": (routed(), ("B N M+2",)),
    "experts that are chosen in groups": (
        routed(scores="sigmoid", groups=3, groups_chosen=2, scale=2.5),
        ("N 3*M+3",),
    ),
    "experts that are chosen in groups by their maxima": (
        routed(groups=2, groups_chosen=1, normalise=False),
        ("N 2*M+4",),
    ),
    "experts whose logits are weighed": (routed(scores="softmax of the chosen"), ("N M+2",)),
    "chosen rows, fused": (rk.fuse(chosen_rows), ("B M+1 h", "B M+1")),
    "chosen rows": (chosen_rows, ("B M+1 h", "B M+1")),
    "chosen rows for each query": (chosen_rows, ("B M+1 h", "B N M+1")),
    "store": (lambda x, into: rk.store(x, into), ("N h", "N+M h")),
    "store, batched": (lambda x, into: rk.store(x.mT, into) + into, ("B h N", "B N+M h")),
    "store of one token": (lambda x, into: rk.store(x, into), ("B 1 h", "B M h")),
    "tiled attention": (rk.tiled(rk.attention, 2), ("2*N h", "M h", "M d")),
    "tiled attention, fused": (rk.tiled(rk.fuse(rk.attention), 2), ("B 2*N h", "B M h", "B M d")),
    "MHA with a cache": (
        heads(4, pair="cache", causal=True),
        ("N h", "h 4*d", "h 4*d", "h 4*d", "4*d h", "4 N+M d", "4 N+M d"),
    ),
    "GQA with a cache and one token": (
        heads(2, pair="cache", causal=True, fused=True),
        ("B 1 h", "h 4*d", "h 2*d", "h 2*d", "4*d h", "B 2 M d", "B 2 M d"),
    ),
    "sparse attention of one query": (
        sparse,
        ("H 2 1 d", "H 4*M+8 d", "H 4*M+8 h", "H 2*M+3 d", "H 2*M+3 h", "H 2 1 3"),
    ),
    "sparse attention of one query, its window apart": (
        sparse_near,
        ("H 2 1 d", "H 4*M+12 d", "H 4*M+12 h", "H 2*M+5 d", "H 2*M+5 h", "H 2 1 3", "H 4*M+12 d", "H 4*M+12 h"),
    ),
    "sparse attention of a whole context": (
        sparse,
        ("1 2 4*M+8 d", "1 4*M+8 d", "1 4*M+8 h", "1 2*M+3 d", "1 2*M+3 h", "1 2 4*M+8 3"),
    ),
}
"""More to count: what moves numbers and computes none, writes in place, makes indices (which are int64 whatever the
inputs are), or takes several steps by nature. Not all laws hold for these, and the count must."""

each_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
each_counted = pytest.mark.parametrize("algorithm", COUNTED.values(), ids=COUNTED)
each_matrix_product = pytest.mark.parametrize("algorithm", MATRIX_PRODUCTS.values(), ids=MATRIX_PRODUCTS)
any_algorithm = st.sampled_from(list(ALGORITHMS.values()))
few = settings(max_examples=5)
"""Examples for each of the algorithms, of which there are many."""


# --- descriptions become Tensors and arrays ----------------------------------------------------------


_SYMBOLS = {name: rk.symbols(name) for name in "BHKMNdh"}


@cache
def _symbolic(text: str) -> tuple[sympy.Expr, ...]:
    return tuple(sympy.sympify(n, _SYMBOLS) for n in text.split())


def shape_of(text: str, sizes: dict[str, int] | None = None) -> tuple[Any, ...]:
    """ "N 2*h" as a shape, in symbols or at sizes."""
    if sizes is None:
        return _symbolic(text)
    return tuple(int(n.xreplace({_SYMBOLS[k]: sympy.Integer(v) for k, v in sizes.items()})) for n in _symbolic(text))


def names_in(shapes: tuple[str, ...]) -> list[str]:
    """The names of the open sizes, in alphabetical order."""
    return sorted({s.name for text in shapes for n in _symbolic(text) for s in n.free_symbols})


def as_tensors(shapes: tuple[str, ...], sizes: dict[str, int] | None = None, dtypes: Any = "fp16") -> list[rk.Tensor]:
    """One Tensor for each shape, with symbols or at sizes; one dtype for all, or one for each."""
    dtypes = [dtypes] * len(shapes) if isinstance(dtypes, str) else dtypes
    return [rk.Tensor("abcdefghi"[i], shape_of(shapes[i], sizes), dtypes[i]) for i in range(len(shapes))]


def as_arrays(shapes: tuple[str, ...], sizes: dict[str, int]) -> list[np.ndarray]:
    """One array of numbers between -1 and 1 for each shape, the same in every run."""
    random = np.random.default_rng(2309)
    return [random.uniform(-1, 1, shape_of(text, sizes)) for text in shapes]


def traced(algorithm: Algorithm, sizes: dict[str, int] | None = None, dtypes: Any = "fp16") -> rk.Cost:
    """The cost of an algorithm, in symbols or at sizes."""
    function, shapes = algorithm
    if sizes is None and isinstance(dtypes, str):
        return _in_symbols(function, shapes, dtypes)
    return rk.trace(function, *as_tensors(shapes, sizes, dtypes))


@lru_cache(512)  # more than there are algorithms, or each test of all of them begins anew
def _in_symbols(function: Callable[..., Any], shapes: tuple[str, ...], dtype: str) -> rk.Cost:
    """In symbols an algorithm has one cost, whatever sizes Hypothesis draws afterwards."""
    return rk.trace(function, *as_tensors(shapes, None, dtype))


def at(cost: rk.Cost, sizes: dict[str, int]) -> rk.Cost:
    """The cost at those of the sizes that it depends on."""
    return cost.at(**{s.name: sizes[s.name] for s in cost.symbols})


def totals(cost: Any) -> dict[str, Any]:
    """All that is counted of a cost or a step."""
    return {quantity: getattr(cost, quantity) for quantity in QUANTITIES}


# --- what Hypothesis draws ---------------------------------------------------------------------------


def sizes_for(shapes: tuple[str, ...], largest: int = 5) -> st.SearchStrategy[dict[str, int]]:
    """A size for each name in the shapes."""
    return st.fixed_dictionaries({name: st.integers(1, largest) for name in names_in(shapes)})


@dataclass(frozen=True, repr=False)
class Program:
    """A straight-line program: inputs, one assignment a line, and the names of its results."""

    shapes: tuple[str, ...]
    lines: tuple[str, ...]
    results: tuple[str, ...]

    def source(self, first: int = 0, last: int = 0) -> str:
        """The program in Python, with lines `first` to `last` (exclusive) in a fused function."""
        made = [line.split(" = ")[0] for line in self.lines]
        inputs = "abcdefgh"[: len(self.shapes)]
        before, inside = ", ".join([*inputs, *made[:first]]), ", ".join(made[first:last])
        part = [f"    {line}" for line in self.lines[first:last]]
        if part:
            part = ["@rk.fuse", f"def part({before}):", *part, f"    return {inside},", f"{inside}, = part({before})"]
        body = [*self.lines[:first], *part, *self.lines[last:], f"return {', '.join(self.results)},"]
        return "\n    ".join([f"def program({', '.join(inputs)}):", *body])

    def algorithm(self, first: int = 0, last: int = 0) -> Algorithm:
        scope: dict[str, Any] = {"rk": rk}
        exec(self.source(first, last), scope)
        return scope["program"], self.shapes

    def __repr__(self) -> str:
        return f"{self.source()}  # {'; '.join(self.shapes)}"


_POINTWISE = (
    "-{}", "0.5 * {}", "{0} * {0}", "rk.tanh({})", "rk.exp(-{0} * {0})", "1 / (1 + {0} * {0})",
    "rk.relu({})", "rk.silu({})", "rk.gelu({})",
)  # fmt: skip
_ALONG_LAST = ("rk.layer_norm({})", "rk.rms_norm({})")
_ALONG_ANY = ("rk.softmax({}, axis={})", "rk.sum({}, axis={})", "rk.max({}, axis={})", "rk.mean({}, axis={})")
_PAIRWISE = ("{} + {}", "{} - {}", "{} * {}", "{} / (2 + {})")

Shape = tuple[str, ...]


def _broadcast(a: Shape, b: Shape) -> Shape | None:
    """NumPy's rule, for sizes in words."""
    wide = max(len(a), len(b))
    pairs = list(zip(("1",) * (wide - len(a)) + a, ("1",) * (wide - len(b)) + b, strict=True))
    return tuple(n if m == "1" else m for n, m in pairs) if all(n == m or "1" in (n, m) for n, m in pairs) else None


def _views(name: str, shape: Shape) -> dict[str, Shape]:
    """A value, and ways to look at it."""
    views = {name: shape}
    if len(shape) > 1:
        views[f"{name}.mT"] = (*shape[:-2], shape[-1], shape[-2])
        views[f"{name}.swapaxes(0, -1)"] = (shape[-1], *shape[1:-1], shape[0])
        views[f"{name}.reshape(-1)"] = ("*".join(sorted("*".join(n for n in shape if n != "1").split("*"))) or "1",)
    return views


def _products(views: dict[str, Shape]) -> list[tuple[str, Shape]]:
    """The matrix products whose shapes match, and the shapes of their results."""
    options = []
    for (x, a), (y, b) in product(views.items(), repeat=2):
        lead = _broadcast(a[:-2], b[:-2])
        if lead is not None and len(lead) < 2 and min(len(a), len(b)) > 1 and a[-1] == b[-2]:
            options.append((f"{x} @ {y}", (*lead, a[-2], b[-1])))
    return options


def _pairs(views: dict[str, Shape], form: str) -> list[tuple[str, Shape]]:
    """The pairs whose shapes broadcast, in a form such as "{} + {}"."""
    options = []
    for (x, a), (y, b) in product(views.items(), repeat=2):
        both = _broadcast(a, b)
        if both is not None:
            options.append((form.format(x, f"{y} * {y}" if "/" in form else y), both))
    return options


def _along_any(views: dict[str, Shape], form: str) -> list[tuple[str, Shape]]:
    """Reductions and softmax along each dimension that there is."""
    options = []
    for (x, a), axis in product(views.items(), range(-1, 3)):
        if axis < len(a):
            less = a if "softmax" in form else a[: axis % len(a)] + a[axis % len(a) + 1 :]
            text = form.format(x, axis)
            options.append((text, less) if less else (text[:-1] + ", keepdims=True)", ("1",)))
    return options


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A program of matrix products, elementwise functions, reductions and views, whose shapes match at any size."""
    inputs = draw(
        st.lists(st.lists(st.sampled_from(["N", "M", "K", "1"]), min_size=1, max_size=3), min_size=1, max_size=3)
    )
    known: dict[str, Shape] = {"abcdefghi"[i]: tuple(shape) for i, shape in enumerate(inputs)}
    lines: list[str] = []
    for name in "uvwxyz"[: draw(st.integers(1, 6))]:
        views = {text: shape for value in known for text, shape in _views(value, known[value]).items()}
        kind = draw(st.sampled_from(["matmul", "matmul", "pairwise", "pointwise", "last", "any"]))
        options: list[tuple[str, Shape]] = []
        if kind == "matmul":
            options = _products(views)
        elif kind == "pairwise":
            options = _pairs(views, draw(st.sampled_from(_PAIRWISE)))
        elif kind == "any":
            options = _along_any(views, draw(st.sampled_from(_ALONG_ANY)))
        if not options:
            form = draw(st.sampled_from(_ALONG_LAST if kind == "last" else _POINTWISE))
            options = [(form.format(x), a) for x, a in views.items()]
        text, known[name] = draw(st.sampled_from(options))
        lines.append(f"{name} = {text}")
    made = [line.split(" = ")[0] for line in lines]
    views = [text for name in made for text in _views(name, known[name])]
    return Program(
        tuple(map(" ".join, inputs)), tuple(lines), (made[-1], *draw(st.lists(st.sampled_from(views), max_size=2)))
    )


small_sizes = st.fixed_dictionaries({name: st.integers(1, 4) for name in ("K", "M", "N")})
