"""11 · Experts: the experts of one token, and no others."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...configs import model
from ...ops import silu, take
from ...sizes import symbols
from ...tensor import Tensor, fuse
from .question import Build

E, f, h, k = symbols("E f h k")
MATRICES = tuple(Tensor(name, (E, h, f), role="weight") for name in ("gate", "up"))
MATRICES += (Tensor("down", (E, f, h), role="weight"),)
QWEN = model("qwen3-30b-a3b")


@fuse
def times(x: Any, W: Any, chosen: Any) -> Any:
    """Each chosen matrix is multiplied where it lies: by a token (h), or by a row (k, n) of its own."""
    experts, n, m = W.shape
    theirs = take(W.reshape(experts, n * m), chosen).reshape(chosen.shape[0], n, m)
    return (x.reshape(-1, 1, n) @ theirs).reshape(chosen.shape[0], m)


def of_chosen(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    """Gated MLPs of the chosen experts, weighted and added."""
    inner = silu(times(x, gate, chosen)) * times(x, up, chosen)
    return P @ times(inner, down, chosen)


def copied(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    """The chosen matrices are written down first."""

    def product(x: Any, W: Any) -> Any:
        theirs = take(W.reshape(W.shape[0], W.shape[1] * W.shape[2]), chosen)
        return (x.reshape(-1, 1, W.shape[1]) @ theirs.reshape(-1, *W.shape[1:])).reshape(chosen.shape[0], W.shape[2])

    return P @ product(silu(product(x, gate)) * product(x, up), down)


def all_of_them(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    """Every expert computes, and most results are thrown away."""
    token = x.reshape(1, 1, -1)
    every = ((silu(token @ gate) * (token @ up)) @ down).reshape(gate.shape[0], x.shape[0])
    return P @ take(every, chosen)


def unweighted(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    """Added without weights."""
    return times(silu(times(x, gate, chosen)) * times(x, up, chosen), down, chosen).sum(axis=0)


def gate_is_up(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    """The function on the wrong half."""
    return P @ times(times(x, gate, chosen) * silu(times(x, up, chosen)), down, chosen)


def no_gate(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    """An MLP of two matrices."""
    return P @ times(silu(times(x, up, chosen)), down, chosen)


def no_function(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    """Without silu."""
    return P @ times(times(x, gate, chosen) * times(x, up, chosen), down, chosen)


def too_early(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    """Weights on the token, before a function that is not linear."""
    token = P.reshape(-1, 1) * x
    return times(silu(times(token, gate, chosen)) * times(token, up, chosen), down, chosen).sum(axis=0)


def not_added(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    """A row for each expert."""
    return P.reshape(-1, 1) * times(silu(times(x, gate, chosen)) * times(x, up, chosen), down, chosen)


def plain(x: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
    """In NumPy, expert by expert."""
    out = np.zeros_like(x)
    for i, weight in zip(chosen, P, strict=True):
        half = np.dot(x, gate[i])
        out += weight * np.dot(half / (1 + np.exp(-half)) * np.dot(x, up[i]), down[i])
    return out


QUESTIONS = {
    "11.token": Build(
        title="The experts of one token",
        asks="""*x* (*h*) is a token, `chosen` (*k*) the numbers of its experts, *P* (*k*) their
weights. `gate` and `up` (*E*, *h*, *f*) and `down` (*E*, *f*, *h*) are the matrices of all
experts. An expert is the gated MLP of page 3, with `rk.silu` of the gate's half. Return the
sum of the chosen experts' results (*h*), each times its weight. `rk.take` finds the chosen
ones; read no other expert, and none of these twice. A hint: `rk.take` takes rows, so make one
row of each expert's matrix, and reshape what you took back to matrices.""",
        call="token_experts(x, chosen, P, gate, up, down)",
        takes=lambda: (Tensor("x", h), Tensor("chosen", k, "int64"), Tensor("P", k), *MATRICES),
        right=of_chosen,
        plain=plain,
        draws=(
            {"E": 5, "k": 2, "h": 3, "f": 4},
            {"E": 1, "k": 1, "h": 1, "f": 1},
            {"E": 7, "k": 3, "h": 2, "f": 5},
            {"E": 4, "k": 3, "h": 5, "f": 2},
        ),
        typical={"E": QWEN.experts, "k": QWEN.experts_per_token, "h": QWEN.hidden, "f": QWEN.expert_hidden},
        learned="The cost does not know how many experts there are, only how many are chosen.",
        hint="Three products with chosen matrices, each in one step, as `times` does it for many tokens.",
        slips={
            copied: "The chosen matrices are copied before they are multiplied: rk.fuse makes both one step.",
            all_of_them: "All experts compute, and most results are thrown away: take the matrices, not the results.",
            unweighted: "The results are added without their weights.",
            gate_is_up: "silu belongs to the half of the gate.",
            no_gate: "Each expert has three matrices: where is the gate?",
            no_function: "Without silu the two halves are multiplied as they are.",
            too_early: "The weights belong to the results: silu of a part is not a part of silu.",
            not_added: "There is a row for each expert: add them up.",
        },
        without=("experts",),
        below={"chosen": "E"},
    ),
}
