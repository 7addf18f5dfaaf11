"""How much of its context does a token read? Native sparse attention beside full attention, against context length."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import sympy

from ..cost import Cost, trace
from ..sizes import size, symbols
from ..sparse import sparse_attention
from ..tensor import Tensor
from .formulas import as_formula, differing, inputs_of, whole_sizes
from .live import Axis, Curve, Explorer, Mask, Message, Point, Program, Table, View, slider, stops

NAMES = {"compressed": "compressed", "chosen": "selected", "near": "window", "total": "sparse", "full": "full"}
COLORS = {"compressed": "third", "chosen": "fourth", "near": "path", "total": "ink", "full": "other"}  # as in MASK
MASK = Mask(
    48, "context", "block", "selected", "window", "queries ↓, and the tokens they read →",
    [("path", "window"), ("fourth", "selected"), ("third", "compressed")],
)  # fmt: skip


def explore_sparse(
    *, context: int = 8192, selected: int = 16, window: int = 512, block: int = 32, stride: int = 16,
    select_block: int = 64, frozen: Mapping[str, Any] | None = None,
) -> Explorer:  # fmt: skip
    """What a new token reads of its context, with native sparse attention and with full attention.

    context : tokens, the new one included. selected : blocks of select_block tokens that it reads in full. window :
    near tokens. block, stride : of the summaries, one each `stride` tokens. The sizes are those of section 4.1 of Yuan
    et al., "Native Sparse Attention", arXiv 2502.11089, and the count is that of its Table 4. frozen : {control:
    value}, a state to compare with. Which blocks are selected depends on the data: the mask shows them evenly spread.

    Raises ValueError for numbers outside of a slider's range, and as `sparse_attention` does.

    >>> explore_sparse(context=65536)
    Of a context of 65,536, a new token reads 5,632 tokens (4,096 compressed, 1,024 selected, 512 in the window), ...
    """
    T = symbols("context")
    cost, reads = _sparse(block, stride, select_block)
    sizes, broken = whole_sizes([cost])
    made = (
        sizes | reads | {"total": sympy.Add(*map(sympy.Symbol, reads)), "full": T, "share": sympy.Symbol("total") / T}
    )
    made |= {"block": sympy.Integer(select_block), "blocks": sympy.ceiling(T / select_block)}
    made |= {"few": symbols("selected") - sympy.Symbol("blocks")}
    controls = [
        slider("context", "context length", stops(1024, 131072), context),
        slider("selected", "selected blocks", range(3, 65), selected),
        slider("window", "window", stops(64, 4096), window),
    ]
    formulas = {**reads, "total": sympy.Add(*reads.values())}
    return Explorer(
        name="explore_sparse", controls=controls, views={"": _view()}, frozen=frozen, sentence=SENTENCE,
        call=differing(block=(block, 32), stride=(stride, 16), select_block=(select_block, 64)),
        programs={"": Program(inputs_of(controls), made, tuple(made))},
        table=Table(["", "tokens read"], [[label, [y, "int"]] for y, label in NAMES.items()]),
        formulas={"": [as_formula(f"{NAMES[y]}:", formula, y, "int") for y, formula in formulas.items()]},
        messages=[Message("few", FEW, blocks=True), *broken],
        state={"context": context, "selected": selected, "window": window},
        defaults={"context": 8192, "selected": 16, "window": 512},
    )  # fmt: skip


FEW = "{selected:int} blocks of {block:int} tokens are more than the {context:int} tokens of the context."
SENTENCE = (
    "Of a context of {context:int}, a new token reads {total:int} tokens ({compressed:int} compressed, {chosen:int} "
    "selected, {near:int} in the window), {share:%} of what full attention reads."
)


@cache
def _sparse(block: int, stride: int, select_block: int) -> tuple[Cost, dict[str, sympy.Expr]]:
    """One decode step of native sparse attention, and how many tokens of the caches each branch reads."""
    T, selected, window, d = symbols("context selected window head_dim")
    rows = sympy.ceiling(T / size(stride, "explore_sparse: stride"))
    K, V, K_near, V_near = (Tensor(name, (1, T, d)) for name in ("K", "V", "K_near", "V_near"))
    K_cmp, V_cmp = (Tensor(name, (1, rows, d)) for name in ("K_cmp", "V_cmp"))
    Q, gates = Tensor("Q", (1, 1, 1, d)), Tensor("gates", (1, 1, 1, 3))
    how = {"block": block, "stride": stride, "select_block": select_block, "selected": selected, "window": window}
    cost = trace(sparse_attention, Q, K, V, K_cmp, V_cmp, gates, (K_near, V_near), **how)
    token = K.nbytes / T * 2  # of its key and its value
    caches = {"compressed": (K_cmp, V_cmp), "chosen": (K, V), "near": (K_near, V_near)}
    return cost, {name: sympy.cancel(cost.loads_of(*arrays) / token) for name, arrays in caches.items()}


def _view() -> View:
    sums = ("total", "full")
    curves = [
        Curve("context", "context", y, NAMES[y], color, 4 if y in sums else 2, "none" if y in sums else "5,4")
        for y, color in COLORS.items()
    ]
    points = [Point("context", y, color) for y, color in COLORS.items()]
    return View(
        "A new token reads {total:int} tokens where full attention reads {full:int}: {share:%}",
        Axis("context length [tokens]", "int", 1024, 131072, [2**k for k in range(10, 18)]),
        Axis("tokens read for a new one"), [*curves, *points], margin=98, mask=MASK,
    )  # fmt: skip
