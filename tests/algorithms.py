"""What the tests trace, execute and compare: algorithms of the course, and programs that Hypothesis writes.

Each is a function with the shapes of its inputs in words, "N h" for a matrix of N rows and h columns, so
that one entry can be traced with symbols, traced at numbers, executed by the interpreter and run on
arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
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
}

each_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
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
    return sorted({str(s) for text in shapes for n in _symbolic(text) for s in n.free_symbols})


def as_tensors(shapes: tuple[str, ...], sizes: dict[str, int] | None = None, dtypes: Any = "fp16") -> list[rk.Tensor]:
    """One Tensor for each shape, with symbols or at sizes; one dtype for all, or one for each."""
    dtypes = [dtypes] * len(shapes) if isinstance(dtypes, str) else dtypes
    return [rk.Tensor("abcdef"[i], shape_of(shapes[i], sizes), dtypes[i]) for i in range(len(shapes))]


def as_arrays(shapes: tuple[str, ...], sizes: dict[str, int]) -> list[np.ndarray]:
    """One array of numbers between -1 and 1 for each shape, the same in every run."""
    random = np.random.default_rng(2309)
    return [random.uniform(-1, 1, shape_of(text, sizes)) for text in shapes]


def traced(algorithm: Algorithm, sizes: dict[str, int] | None = None, dtypes: Any = "fp16") -> rk.Cost:
    """The cost of an algorithm, in symbols or at sizes."""
    function, shapes = algorithm
    return rk.trace(function, *as_tensors(shapes, sizes, dtypes))


def at(cost: rk.Cost, sizes: dict[str, int]) -> rk.Cost:
    """The cost at those of the sizes that it depends on."""
    return cost.at(**{str(s): sizes[str(s)] for s in cost.symbols})


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
        inputs = "abcdef"[: len(self.shapes)]
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


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A program of matrix products, elementwise functions, reductions and views, whose shapes match at any size."""
    inputs = draw(
        st.lists(st.lists(st.sampled_from(["N", "M", "K", "1"]), min_size=1, max_size=3), min_size=1, max_size=3)
    )
    known: dict[str, Shape] = {"abcdef"[i]: tuple(shape) for i, shape in enumerate(inputs)}
    lines: list[str] = []
    for name in "uvwxyz"[: draw(st.integers(1, 6))]:
        views = {text: shape for value in known for text, shape in _views(value, known[value]).items()}
        kind = draw(st.sampled_from(["matmul", "matmul", "pairwise", "pointwise", "last", "any"]))
        options: list[tuple[str, Shape]] = []
        if kind == "matmul":
            for (x, a), (y, b) in product(views.items(), repeat=2):
                lead = _broadcast(a[:-2], b[:-2])
                if lead is not None and len(lead) < 2 and min(len(a), len(b)) > 1 and a[-1] == b[-2]:
                    options.append((f"{x} @ {y}", (*lead, a[-2], b[-1])))
        elif kind == "pairwise":
            form = draw(st.sampled_from(_PAIRWISE))
            for (x, a), (y, b) in product(views.items(), repeat=2):
                both = _broadcast(a, b)
                if both is not None:
                    options.append((form.format(x, f"{y} * {y}" if "/" in form else y), both))
        elif kind == "any":
            form = draw(st.sampled_from(_ALONG_ANY))
            for (x, a), axis in product(views.items(), range(-1, 3)):
                if axis < len(a):
                    less = a if "softmax" in form else a[: axis % len(a)] + a[axis % len(a) + 1 :]
                    text = form.format(x, axis)
                    options.append((text, less) if less else (text[:-1] + ", keepdims=True)", ("1",)))
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
