"""3 · The MLP and the gap: attention as decoders have it, and the MLP as Llama has it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...configs import model
from ...masks import Causal
from ...ops import gelu, silu, softmax
from ...sizes import symbols
from ...tensor import Tensor, matmul, tensors
from ...transformer import attention
from .question import Build

H, N, b, d, f, h = symbols("H N b d f h")
LLAMA = model("llama-2-7b")


def causal(Q: Any, K: Any, V: Any) -> Any:
    """Each token sees itself and those before it."""
    S = matmul(Q, K.mT, Causal())
    P = softmax(S)
    return P @ V


def scaled(Q: Any, K: Any, V: Any) -> Any:
    """Scores divided by √d."""
    return softmax(matmul(Q, K.mT, Causal()) * Q.shape[-1] ** -0.5) @ V


def by_columns(Q: Any, K: Any, V: Any) -> Any:
    """Softmax along the other axis."""
    return softmax(Q @ K.mT, axis=-2) @ V


def unweighted(Q: Any, K: Any, V: Any) -> Any:
    """Without softmax."""
    return (Q @ K.mT) @ V


def keys_ask(Q: Any, K: Any, V: Any) -> Any:
    """Keys and queries swapped."""
    return softmax(matmul(K, Q.mT, Causal())) @ V


def plain_causal(Q: Any, K: Any, V: Any) -> Any:
    """In NumPy, token by token."""
    out = np.empty_like(V)
    for i in range(Q.shape[-2]):
        scores = np.einsum("...d,...sd->...s", Q[..., i, :], K[..., : i + 1, :])
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out[..., i, :] = np.einsum("...s,...sd->...d", e / e.sum(axis=-1, keepdims=True), V[..., : i + 1, :])
    return out


def gated(X: Any, W_gate: Any, W_up: Any, W_down: Any) -> Any:
    """An MLP whose one half is the gate of the other."""
    return (silu(X @ W_gate) * (X @ W_up)) @ W_down


def gate_is_up(X: Any, W_gate: Any, W_up: Any, W_down: Any) -> Any:
    """The function on the wrong half."""
    return ((X @ W_gate) * silu(X @ W_up)) @ W_down


def by_gelu(X: Any, W_gate: Any, W_up: Any, W_down: Any) -> Any:
    """GPT-2's function."""
    return (gelu(X @ W_gate) * (X @ W_up)) @ W_down


def added(X: Any, W_gate: Any, W_up: Any, W_down: Any) -> Any:
    """A sum for the product."""
    return (silu(X @ W_gate) + X @ W_up) @ W_down


def no_function(X: Any, W_gate: Any, W_up: Any, W_down: Any) -> Any:
    """Without silu."""
    return ((X @ W_gate) * (X @ W_up)) @ W_down


def too_late(X: Any, W_gate: Any, W_up: Any, W_down: Any) -> Any:
    """Silu of the product."""
    return silu((X @ W_gate) * (X @ W_up)) @ W_down


def no_gate(X: Any, W_gate: Any, W_up: Any, W_down: Any) -> Any:
    """The MLP of the page."""
    return silu(X @ W_up) @ W_down


def plain_gated(X: Any, W_gate: Any, W_up: Any, W_down: Any) -> Any:
    """In NumPy."""
    gate = np.dot(X, W_gate)
    return np.dot(gate / (1 + np.exp(-gate)) * np.dot(X, W_up), W_down)


QUESTIONS = {
    "03.causal": Build(
        title="Attention that does not look ahead",
        asks="""*Q*, *K* and *V* have the shape (*b*, *H*, *N*, *d*): a batch of *b* with
*H* heads each. Write attention in which each token sees itself and those before it. `rk.matmul(a, b, rk.Causal())`
is the product of queries and keys without the scores that are hidden; softmax and
the second product then leave them out by themselves. And `.mT` swaps the last two dimensions. No
scale.""",
        call="causal_attention(Q, K, V)",
        takes=lambda: tensors("Q K V", (b, H, N, d)),
        right=causal,
        plain=plain_causal,
        draws=(
            {"b": 2, "H": 3, "N": 5, "d": 4},
            {"b": 1, "H": 1, "N": 1, "d": 1},
            {"b": 3, "H": 1, "N": 7, "d": 2},
            {"b": 1, "H": 2, "N": 3, "d": 8},
        ),
        typical={"b": 8, "H": 32, "N": 1024, "d": 128},
        learned="Half of the scores are gone, in all three steps.",
        hint="Which scores are never used? They need not be computed, nor written.",
        slips={
            attention: "Each token still sees those after it: the product of Q and K takes a mask.",
            scaled: "Scores are not divided by √d here.",
            by_columns: "The weights of one query must add up to 1: the last axis. And where is the mask?",
            unweighted: "Scores are not weights yet: softmax makes them add up to 1. And where is the mask?",
            keys_ask: "The rows of the scores belong to queries: Q stands on the left.",
        },
    ),
    "03.gated": Build(
        title="A gated MLP",
        asks="""Llama's MLP is (silu(*X* *W_gate*) · (*X* *W_up*)) *W_down*, where · is element by element and
[silu](glossary.md#silu)(*x*) = *x* / (1 + exp(−*x*)). *X* is (*N*, *h*), *W_gate* and *W_up* are (*h*, *f*), and
*W_down* is (*f*, *h*). `rk.silu` is one pass.""",
        call="gated_mlp(X, W_gate, W_up, W_down)",
        takes=lambda: (Tensor("X", (N, h)), *tensors("W_gate W_up", (h, f)), Tensor("W_down", (f, h))),
        right=gated,
        plain=plain_gated,
        draws=(
            {"N": 3, "h": 4, "f": 7},
            {"N": 1, "h": 1, "f": 1},
            {"N": 5, "h": 2, "f": 3},
            {"N": 2, "h": 8, "f": 5},
        ),
        typical={"N": 1024, "h": LLAMA.hidden, "f": LLAMA.mlp_hidden},
        learned="Three products carry the operations; silu and the gate carry bytes.",
        hint="Three products, one silu, in one pass, and one product of elements are enough.",
        slips={
            gate_is_up: "silu belongs to the other half: to X W_gate.",
            by_gelu: "That is gelu, GPT-2's function; Llama has silu.",
            added: "A gate multiplies: element by element, with *.",
            no_function: "Where is silu? Without it the gate is no gate.",
            too_late: "silu belongs to X W_gate alone, before the two halves meet.",
            no_gate: "The gate is missing: W_gate is not used.",
        },
    ),
}
