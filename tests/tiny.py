"""Models of each kind that is modelled, small enough to compute in a test, and weights for them."""

from __future__ import annotations

from typing import Any

import numpy as np

import roofline_kit as rk

ROTARY = {"norm": "rms", "positions": "rotary", "gated": True, "activation": "silu", "mlp_hidden": 20}
SIZES: dict[str, dict[str, Any]] = {
    "like GPT-2": {"hidden": 12, "heads": 3, "position_rows": 16, "bias": "all", "tied": True},
    "like OPT": {
        **{"hidden": 12, "heads": 3, "position_rows": 18, "position_offset": 2},
        **{"bias": "all", "tied": True, "activation": "relu", "mlp_hidden": 20},
    },
    "like Llama": {"hidden": 16, "heads": 4, "kv_heads": 2, "rope_theta": 100.0, **ROTARY},
    "like Mistral": {"hidden": 16, "heads": 4, "kv_heads": 2, "window": 4, "head_dim": 6, **ROTARY},
    "like Qwen2": {"hidden": 16, "heads": 4, "kv_heads": 1, "bias": "qkv", "norm_eps": 1e-6, **ROTARY},
}
MODELS = {name: rk.Model(name, layers=2, vocabulary=19, **sizes) for name, sizes in SIZES.items()}


def arrays_for(tensors: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
    """An array for each Tensor of `layer_weights` or `end_weights`; a pair stays a pair."""

    def array(x: Any) -> Any:
        return tuple(map(array, x)) if isinstance(x, tuple) else random.normal(0, 0.5, tuple(map(int, x.shape)))

    return {name: array(x) for name, x in tensors.items()}


def weights_for(model: rk.Model) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The ends and the layers that `Model.run` takes, the same in every run; no two layers are alike."""
    random = np.random.default_rng(1706)
    layers = [arrays_for(model.layer_weights(), random) for _ in range(model.layers)]
    return arrays_for(model.end_weights(), random), layers


def empty_cache(model: rk.Model, batch: int, room: int) -> list[tuple[Any, Any]]:
    """K and V for each layer, filled with what must never be read."""
    shape = (batch, model.kv_heads, room, model.head_dim)
    return [(np.full(shape, np.nan), np.full(shape, np.nan)) for _ in range(model.layers)]


def token_ids(model: rk.Model, batch: int, tokens: int) -> np.ndarray:
    return np.random.default_rng(3762).integers(0, model.vocabulary, (batch, tokens))
