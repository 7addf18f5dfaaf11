"""7 · Seven billion parameters: a layer of Llama 2 out of one's own parts, and the logits of the last token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...configs import model
from ...masks import Causal
from ...sizes import symbols
from ...tensor import Tensor, tensors
from ...transformer import attention, merge_heads, mlp, norm, rotary, split_heads
from .question import Build

LLAMA = model("llama-2-7b")
TOKENS = 1000
b, H, N, d, f, h, vocabulary = symbols("b H N d f h vocabulary")


def attend(X: Any, w: Any, heads: Any, cos: Any, sin: Any, mask: Causal | None) -> Any:
    """Self-attention with rotary positions, each pass written on its own."""
    Q, K, V = (split_heads(X @ w[name], heads) for name in ("query", "key", "value"))
    Q, K = rotary(Q * Q.shape[-1] ** -0.5, cos, sin), rotary(K, cos, sin)
    return merge_heads(attention(Q, K, V, mask)) @ w["output"]


def layer(X: Any, w: Any, heads: Any, cos: Any, sin: Any) -> Any:
    """Attention and MLP, each of the normed input and added to it."""
    X = X + attend(norm(X, w["attention_norm"]), w, heads, cos, sin, Causal())
    return X + mlp(norm(X, w["mlp_norm"]), w["up"], w["down"], w["gate"], "silu")


def looks_ahead(X: Any, w: Any, heads: Any, cos: Any, sin: Any) -> Any:
    """Without the mask."""
    X = X + attend(norm(X, w["attention_norm"]), w, heads, cos, sin, None)
    return X + mlp(norm(X, w["mlp_norm"]), w["up"], w["down"], w["gate"], "silu")


def nothing_added(X: Any, w: Any, heads: Any, cos: Any, sin: Any) -> Any:
    """Without the residual stream."""
    X = attend(norm(X, w["attention_norm"]), w, heads, cos, sin, Causal())
    return mlp(norm(X, w["mlp_norm"]), w["up"], w["down"], w["gate"], "silu")


def never_normed(X: Any, w: Any, heads: Any, cos: Any, sin: Any) -> Any:
    """Without norms."""
    X = X + attend(X, w, heads, cos, sin, Causal())
    return X + mlp(X, w["up"], w["down"], w["gate"], "silu")


def normed_after(X: Any, w: Any, heads: Any, cos: Any, sin: Any) -> Any:
    """As the first transformer had it."""
    X = norm(X + attend(X, w, heads, cos, sin, Causal()), w["attention_norm"])
    return norm(X + mlp(X, w["up"], w["down"], w["gate"], "silu"), w["mlp_norm"])


def by_gelu(X: Any, w: Any, heads: Any, cos: Any, sin: Any) -> Any:
    """GPT-2's function."""
    X = X + attend(norm(X, w["attention_norm"]), w, heads, cos, sin, Causal())
    return X + mlp(norm(X, w["mlp_norm"]), w["up"], w["down"], w["gate"])


def no_gate(X: Any, w: Any, heads: Any, cos: Any, sin: Any) -> Any:
    """GPT-2's MLP."""
    X = X + attend(norm(X, w["attention_norm"]), w, heads, cos, sin, Causal())
    return X + mlp(norm(X, w["mlp_norm"]), w["up"], w["down"], activation="silu")


def unturned(X: Any, w: Any, heads: Any, cos: Any, sin: Any) -> Any:
    """Without positions."""
    normed = norm(X, w["attention_norm"])
    Q, K, V = (split_heads(normed @ w[name], heads) for name in ("query", "key", "value"))
    X = X + merge_heads(attention(Q * Q.shape[-1] ** -0.5, K, V, Causal())) @ w["output"]
    return X + mlp(norm(X, w["mlp_norm"]), w["up"], w["down"], w["gate"], "silu")


def unscaled(X: Any, w: Any, heads: Any, cos: Any, sin: Any) -> Any:
    """Without 1/√d."""
    normed = norm(X, w["attention_norm"])
    Q, K, V = (split_heads(normed @ w[name], heads) for name in ("query", "key", "value"))
    X = X + merge_heads(attention(rotary(Q, cos, sin), rotary(K, cos, sin), V, Causal())) @ w["output"]
    return X + mlp(norm(X, w["mlp_norm"]), w["up"], w["down"], w["gate"], "silu")


def weights() -> dict[str, Tensor]:
    """A layer's, by their names, in open sizes."""
    return replace(LLAMA, hidden=H * d, heads=H, kv_heads=H, head_dim=d, mlp_hidden=f).layer_weights()


def plain_layer(X: Any, w: Any, heads: int, cos: Any, sin: Any) -> Any:
    """In NumPy, head by head."""
    width = X.shape[1] // heads
    normed, mixed = _normed(X, w["attention_norm"]), np.zeros_like(X)
    for head in (slice(i * width, (i + 1) * width) for i in range(heads)):
        q, k, v = (normed @ w[name][:, head] for name in ("query", "key", "value"))
        q, k = (x * cos + np.roll(x, width // 2, axis=1) * sin for x in (q, k))
        scores = np.where(np.tri(len(X), dtype=bool), q @ k.T / width**0.5, -np.inf)
        e = np.exp(scores - scores.max(axis=1)[:, None])
        mixed[:, head] = e / e.sum(axis=1)[:, None] @ v
    X = X + mixed @ w["output"]
    normed = _normed(X, w["mlp_norm"])
    gate = normed @ w["gate"]
    return X + (gate / (1 + np.exp(-gate)) * (normed @ w["up"])) @ w["down"]


def _normed(X: Any, weight: Any) -> Any:
    return X / np.sqrt((X**2).mean(axis=-1)[..., None] + 1e-5) * weight


def last_logits(X: Any, weight: Any, W: Any) -> Any:
    """Of the last token alone, from the first line on."""
    return norm(X[:, -1:, :], weight) @ W


def all_logits(X: Any, weight: Any, W: Any) -> Any:
    """Of all tokens, and then the last."""
    return (norm(X, weight) @ W)[:, -1:, :]


def every_logit(X: Any, weight: Any, W: Any) -> Any:
    """Of all tokens."""
    return norm(X, weight) @ W


def normed_first(X: Any, weight: Any, W: Any) -> Any:
    """All tokens normed, and then the last."""
    return norm(X, weight)[:, -1:, :] @ W


def first_logits(X: Any, weight: Any, W: Any) -> Any:
    """Of the first token."""
    return norm(X[:, :1, :], weight) @ W


def unnormed(X: Any, weight: Any, W: Any) -> Any:
    """Without the norm."""
    return X[:, -1:, :] @ W


def plain_logits(X: Any, weight: Any, W: Any) -> Any:
    """In NumPy."""
    return np.einsum("bnh,hv->bnv", _normed(X, weight)[:, -1:], W)


QUESTIONS = {
    "07.layer": Build(
        title="A layer of Llama 2, out of your own parts",
        asks="""*X* is (*N*, *H*·*d*), and `w` is a dict of the weights, as in
`w["query"]`: `attention_norm`, `query`, `key`, `value`, `output`, `mlp_norm`, `gate`, `up`, `down`. Add causal
attention of the normed *X* to *X*, with *H* `heads`, and then the gated MLP of the normed sum: your functions from
page 3 do most of it. The queries, not the scores, are divided by √*d*; `rk.norm(X, weight)` (here it is
the `rms_norm` of above), `rk.rotary(Q, cos, sin)`, for queries and keys of each head, `rk.split_heads(Q, heads)` and
`rk.merge_heads` are the kit's.""",
        call="llama_layer(X, w, heads, cos, sin)",
        takes=lambda: (Tensor("X", (N, H * d)), weights(), H, *tensors("cos sin", (N, d))),
        right=layer,
        plain=plain_layer,
        draws=(
            {"N": 5, "H": 2, "d": 4, "f": 7},
            {"N": 1, "H": 1, "d": 2, "f": 1},
            {"N": 3, "H": 3, "d": 2, "f": 5},
            {"N": 7, "H": 1, "d": 6, "f": 3},
        ),
        typical={"N": TOKENS, "H": LLAMA.heads, "d": LLAMA.head_dim, "f": LLAMA.mlp_hidden},
        learned="These are the operations of Llama 2 7B: times its layers, and the head, it is the whole model.",
        hint="Every weight is used in one product, and attention is causal: what else is computed?",
        slips={
            looks_ahead: "Each token still sees those after it: where is the mask?",
            nothing_added: "Attention and MLP are added to X, and do not take its place.",
            never_normed: "Attention and MLP get the normed X: rk.norm, twice.",
            normed_after: "The norm stands before attention and MLP, not after the sum.",
            by_gelu: "Llama's function is silu, not gelu.",
            no_gate: "The gate is missing.",
            unturned: "The positions are missing: rk.rotary for queries and keys.",
            unscaled: "The scale is missing: queries are divided by √d.",
        },
        without=("decoder_layer",),
    ),
    "07.logits": Build(
        title="The logits of the last token",
        asks="""To generate, only the last token of each prompt needs logits. *X* is (*b*, *N*,
*h*), *weight* (*h*) belongs to the last norm, `rk.norm(X, weight)` (`rms_norm` again), and *W* (*h*, *vocabulary*)
makes a logit for each token of the vocabulary. Return them as (*b*, 1, *vocabulary*), with as little work as
possible.""",
        call="logits(X, weight, W)",
        takes=lambda: (
            Tensor("X", (b, N, h)),
            Tensor("weight", h, role="weight"),
            Tensor("W", (h, vocabulary), role="weight"),
        ),
        right=last_logits,
        plain=plain_logits,
        draws=(
            {"b": 2, "N": 3, "h": 5, "vocabulary": 7},
            {"b": 1, "N": 1, "h": 1, "vocabulary": 1},
            {"b": 3, "N": 2, "h": 4, "vocabulary": 1},
            {"b": 1, "N": 7, "h": 3, "vocabulary": 8},
        ),
        typical={"b": 1, "N": TOKENS, "h": LLAMA.hidden, "vocabulary": LLAMA.vocabulary},
        learned="What nobody reads need not be computed, and a slice is free.",
        hint="Cut first, compute then: a norm and a product of one row each.",
        slips={
            all_logits: "All logits are computed, and all but the last thrown away: cut first.",
            every_logit: "Only those of the last token: X[:, -1:, :].",
            normed_first: "All tokens are normed, and only one is used: cut before the norm.",
            first_logits: "That is the first token: the last one is at -1.",
            unnormed: "The norm is missing.",
        },
    ),
}
