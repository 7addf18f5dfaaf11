"""One layer of a decoder: which of its parts there are is what weights there are.

Attention of many heads or of a latent, an MLP or experts, norms before or after them, one after the other or side by
side: what the decoders of today differ in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .experts import experts
from .latent import latent_attention
from .names import flag
from .tensor import fuse
from .transformer import mlp, multi_head_attention, norm


def decoder_layer(
    X: Any, w: Mapping[str, Any], *, heads: Any, activation: str = "gelu", eps: float = 1e-5, parallel: bool = False,
    residual: float = 1.0, routing: Mapping[str, Any] | None = None, **attention: Any,
) -> Any:  # fmt: skip
    """One layer of a decoder: attention and MLP, each of the normed input and added to it.

    X : (..., N, h). w : the weights by name, each alone or in a pair with a bias.

    * query, key, value, output: of `multi_head_attention`, with query_norm and key_norm for its norms, and sinks
      (heads, 1, 1); or, with kv_down, all that `latent_attention` takes.
    * up, down, and gate for a gated MLP; or, with router, all that `experts` takes, as routing says (per_token, …).
    * attention_norm and mlp_norm: of what goes in; attention_post_norm and mlp_post_norm: of what comes out, before it
      is added. A norm with a bias is a layer norm. Each may be missing; without an mlp_norm, a parallel MLP shares
      the normed input of attention.

    heads, and kv_heads, causal, fused, rotation, cache and more: as the attention takes them. parallel : attention and
    MLP read the same input, and both are added to it (GPT-J, PaLM). residual : times what is added (Granite).

    Raises KeyError for a weight that is missing, and what its parts raise.

    >>> from roofline_kit import Tensor, model, trace
    >>> llama = model("llama-2-7b")
    >>> X = Tensor("X", (1, 1000, llama.hidden))
    >>> trace(decoder_layer, X, llama.layer_weights(), heads=32, activation="silu").matmul_flops
    421134336000
    """
    normed = _normed(X, w, "attention_norm", eps)
    attended = _normed(_attention(normed, w, heads, eps, **attention), w, "attention_post_norm", eps)
    if not flag("parallel", parallel):
        X = _sum(X, attended, residual)
    normed = normed if parallel and "mlp_norm" not in w else _normed(X, w, "mlp_norm", eps)
    out = _normed(_mlp(normed, w, activation, routing or {}), w, "mlp_post_norm", eps)
    return _sum(X, out + attended if parallel else out, residual)


def _sum(X: Any, new: Any, scale: float) -> Any:
    return X + new if scale == 1 else scaled_sum(X, new, scale)


@fuse
def scaled_sum(X: Any, new: Any, scale: float) -> Any:
    """X + scale · new, as one step. Its derivative needs neither X nor new, so it stands in `DERIVATIVES`."""
    return X + new * scale


def _normed(X: Any, w: Mapping[str, Any], name: str, eps: float) -> Any:
    return norm(X, w[name], eps) if name in w else X


def _attention(X: Any, w: Mapping[str, Any], heads: Any, eps: float, **how: Any) -> Any:
    if "kv_down" in w:
        return latent_attention(X, w, heads=heads, eps=eps, **how)
    how["norms"] = (w.get("query_norm"), w.get("key_norm"))
    matrices = (w[name] for name in ("query", "key", "value", "output"))
    return multi_head_attention(X, *matrices, heads=heads, eps=eps, sinks=w.get("sinks"), **how)


def _mlp(X: Any, w: Mapping[str, Any], activation: str, routing: Mapping[str, Any]) -> Any:
    if "router" in w:
        return experts(X, w, activation=activation, **routing)
    return mlp(X, w["up"], w["down"], w.get("gate"), activation)
