"""How much does a whole model cost? Decoders made of the layers in transformer.py, by name or by config.json.

The shapes of published models stand in `models.toml`, each with its source, and how to read a Hugging
Face `config.json` in `huggingface.toml`. Parameters, bytes and FLOPs are not written down: they are
read off the arrays and the traced algorithm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sympy
from array_api_compat import array_namespace, device

from .cost import Cost, trace
from .decoder import decoder_layer
from .hardware import Accelerator, accelerator
from .masks import Causal
from .names import choose, data
from .ops import astype, take
from .sizes import BITS, bytes_of, size
from .tensor import Tensor, fuse, leaves
from .transformer import linear, norm

# What a Model has in numbers or symbols, in the order of its fields; the rest of them are words, or yes and no.
SIZES = (
    "layers", "hidden", "heads", "vocabulary", "kv_heads", "head_dim", "mlp_hidden", "position_rows", "window",
    "kv_latent", "rope_head_dim",
)  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A decoder-only transformer: its shapes, and what follows from them.

    layers, hidden, heads, kv_heads, head_dim, mlp_hidden, vocabulary : sizes. gated, activation : of the MLP.
    norm : "rms" or "layer", with norm_eps. positions : "rotary", with rope_theta, or "learned", with a table
    of position_rows whose first position_offset rows are not used. bias : "none", "qkv" or "all".
    tied : whether the output projection is the embedding's matrix. rope_scaled : whether the frequencies
    are stretched for long contexts, which costs nothing, and which `run` does not know.
    vocabulary : None for layers alone, with neither embeddings before them nor a norm and a head after them;
    parameters, memory and costs are those of the layers then.
    window : tokens that one attends to, where it is not the whole context (sliding-window attention).
    kv_latent, rope_head_dim : of latent attention, of which only the KV cache is modelled.
    published : the number of parameters as its makers print it. source, note : where it all comes from.

    Raises ValueError or TypeError for what is no size, no such choice or neither True nor False, and for heads
    that do not fit.

    >>> llama = model("llama-2-7b")
    >>> llama.parameters, llama.kv_cache_bytes(tokens=1)
    (6738415616, 524288)
    """

    name: str
    layers: Any
    hidden: Any
    heads: Any
    vocabulary: Any = None
    kv_heads: Any = None
    head_dim: Any = None
    mlp_hidden: Any = None
    gated: bool = False
    activation: str = "gelu"
    norm: str = "layer"
    norm_eps: float = 1e-5
    positions: str = "learned"
    position_rows: Any = None
    position_offset: int = 0
    rope_theta: float = 10000.0
    rope_scaled: bool = False
    bias: str = "none"
    tied: bool = False
    window: Any = None
    kv_latent: Any = None
    rope_head_dim: Any = None
    published: str = ""
    title: str = ""
    source: str = "own"
    note: str = ""

    def __post_init__(self) -> None:
        hidden, heads = (size(getattr(self, what), f"{self.name}: {what}") for what in ("hidden", "heads"))
        fill = {} if self.kv_latent else {"kv_heads": heads, "head_dim": hidden / heads, "mlp_hidden": 4 * hidden}
        for what in SIZES:
            value = fill.get(what) if getattr(self, what) is None else getattr(self, what)
            if value is not None or what == "layers":
                value = size(value, f"{self.name}: {what}")
                object.__setattr__(self, what, int(value) if value.is_number else value)
        if isinstance(self.heads, int) and isinstance(self.kv_heads, int) and self.heads % self.kv_heads:
            raise ValueError(f"{self.name}: {self.heads} heads cannot share {self.kv_heads} kv_heads")
        for what in ("gated", "rope_scaled", "tied"):
            if not isinstance(getattr(self, what), bool):
                raise TypeError(f"{self.name}: {what} must be True or False, not {getattr(self, what)!r}")
        for what, choices in {"norm": "rms layer", "positions": "rotary learned", "bias": "none qkv all"}.items():
            object.__setattr__(self, what, choose(what, getattr(self, what), choices.split(), f"{self.name}: "))
        if self.vocabulary is not None and self.positions == "learned" and not (self.position_rows or self.kv_latent):
            raise TypeError(
                f"{self.name}: positions are 'learned' (the default), and the rows of their table are missing: give "
                "position_rows=1024, say; or positions='rotary', which needs no table; or vocabulary=None, layers alone"
            )

    def __repr__(self) -> str:
        return f"Model({self.name}: {self.layers} layers, hidden {self.hidden}, {self.heads} heads)"

    # --- arrays ---

    def _not_latent(self) -> None:
        if self.kv_latent is not None:
            raise ValueError(f"{self.name} has latent attention, of which only kv_cache_bytes is modelled")

    def layer_weights(self, dtype: str = "fp16") -> dict[str, Any]:
        """The weights of one layer, as Tensors by name: a matrix, or a pair of a matrix and a bias."""
        self._not_latent()
        h, m, q, kv = self.hidden, self.mlp_hidden, self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes = {"query": (h, q), "key": (h, kv), "value": (h, kv), "output": (q, h), "up": (h, m), "down": (m, h)}
        shapes |= {"gate": (h, m)} if self.gated else {}
        biased = {"none": (), "qkv": ("query", "key", "value"), "all": tuple(shapes)}[self.bias]
        made: dict[str, Any] = {name: _weight(f"W_{name}", shape, dtype) for name, shape in shapes.items()}
        made |= {name: (made[name], _weight(f"b_{name}", shapes[name][1], dtype)) for name in biased}
        return made | {name: self._norm_weights(name, dtype) for name in ("attention_norm", "mlp_norm")}

    def _norm_weights(self, name: str, dtype: str) -> Any:
        weight, bias = (_weight(f"{x}_{name.removesuffix('_norm')}", self.hidden, dtype) for x in ("w", "b"))
        return weight if self.norm == "rms" else (weight, bias)

    def end_weights(self, dtype: str = "fp16") -> dict[str, Any]:
        """The weights before and after the layers, as Tensors by name; `head` only where it is not tied.

        None at all without a vocabulary.
        """
        self._not_latent()
        if self.vocabulary is None:
            return {}
        made: dict[str, Any] = {"embedding": _weight("E", (self.vocabulary, self.hidden), dtype)}
        if self.positions == "learned":
            made["positions"] = _weight("E_positions", (self.position_rows, self.hidden), dtype)
        made |= {} if self.tied else {"head": _weight("W_head", (self.hidden, self.vocabulary), dtype)}
        return made | {"norm": self._norm_weights("norm", dtype)}

    @property
    def parameters(self) -> sympy.Expr:
        """Number of parameters: the elements of all weights, a tied matrix once; without a vocabulary, of the layers.

        >>> model("gpt2").parameters
        124439808
        >>> Model("layers alone", layers=12, hidden=768, heads=12, bias="all").parameters
        85054464
        """
        ends, layer = (sympy.Add(*(t.size for t in leaves(w))) for w in (self.end_weights(), self.layer_weights()))
        return ends + self.layers * layer

    def cache(self, tokens: Any, batch: Any = 1, dtype: str = "fp16") -> tuple[Tensor, ...]:
        """The arrays that one layer keeps of a context: K and V, or what latent attention keeps instead."""
        if self.kv_latent is not None:
            kept = (("latent", self.kv_latent), ("k_rope", self.rope_head_dim))
            return tuple(Tensor(name, (batch, tokens, width), dtype, role="cache") for name, width in kept)
        shape = (batch, self.kv_heads, tokens, self.head_dim)
        return tuple(Tensor(name, shape, dtype, role="cache") for name in ("K_cache", "V_cache"))

    def kv_cache_bytes(self, tokens: Any, batch: Any = 1, dtype: str = "fp16") -> sympy.Expr:
        """Bytes of the KV cache of all layers for `batch` contexts of `tokens` tokens.

        >>> model("llama-2-70b").kv_cache_bytes(tokens=4096, batch=8)
        10737418240
        """
        return self.layers * sympy.Add(*(t.nbytes for t in self.cache(self._reach(tokens), batch, dtype)))

    def _reach(self, context: Any) -> Any:
        """How many tokens of a context one can attend to: all, or the window's."""
        size(context, f"{self.name}: tokens")  # Min would hide what is no size
        return context if self.window is None else sympy.Min(context, self.window)

    def memory_bytes(
        self, tokens: Any, batch: Any = 1, dtype: str = "fp16", weights: str | None = None, cache: str | None = None
    ) -> sympy.Expr:
        """Bytes of the weights and the KV cache together: what a card must hold at least.

        weights, cache : dtypes of their own, where they are not stored in `dtype`.

        >>> float(model("llama-2-7b").memory_bytes(tokens=4096) / 10**9)
        15.624314...
        >>> float(model("llama-2-7b").memory_bytes(tokens=4096, weights="int4", cache="fp8") / 10**9)
        4.548237...
        """
        return self.parameters * bytes_of(weights or dtype) + self.kv_cache_bytes(tokens, batch, cache or dtype)

    def largest_batch(
        self, machine: Accelerator | str, tokens: Any, dtype: str = "fp16", weights: str | None = None,
        cache: str | None = None,
    ) -> int:  # fmt: skip
        """How many contexts of `tokens` tokens fit into the card's memory beside the weights.

        weights, cache : dtypes of their own, where they are not stored in `dtype`.

        Raises ValueError where not even one fits, and says by how much.

        >>> model("llama-2-7b").largest_batch("A100-40GB", tokens=1000)
        50
        """
        card = accelerator(machine)
        room = card.memory - self.parameters * bytes_of(weights or dtype)
        batch = int(room // self.kv_cache_bytes(tokens, 1, cache or dtype))
        if batch < 1:
            self.check_memory(card, tokens, 1, dtype, weights, cache)
        return batch

    def check_memory(
        self, machine: Accelerator | str, tokens: Any, batch: Any = 1, dtype: str = "fp16",
        weights: str | None = None, cache: str | None = None,
    ) -> None:  # fmt: skip
        """Raises ValueError where a batch does not fit the card: by how much, and the largest that does.

        >>> model("llama-2-7b").check_memory("A10", tokens=4096, batch=4)
        """
        card = accelerator(machine)
        needed = self.memory_bytes(tokens, batch, dtype, weights, cache)
        if needed > card.memory:
            largest = 0 if batch == 1 else self.largest_batch(card, tokens, dtype, weights, cache)
            fits = f"the largest batch that fits is {largest}" if largest else "not even a batch of 1 fits"
            stored = {f"weights in {weights}": weights, f"cache in {cache}": cache}
            apart = "".join(f", {told}" for told, given in stored.items() if given not in (None, dtype))
            what = f"{self.name} in {dtype}{apart} with a batch of {batch} and {tokens} tokens each needs {_GB(needed)}"
            more = f"{_GB(needed - card.memory)} more than the {_GB(card.memory)} of {card.name}"
            raise ValueError(f"{what}, {more}; {fits}")

    # --- costs ---

    def prefill(
        self, batch: Any, seq: Any, logits: str = "all", causal: bool = False, fused: bool = False, dtype: str = "fp16",
        weights: str | None = None, cache: str | None = None,
    ) -> Cost:  # fmt: skip
        """The cost of the initial stage: `batch` prompts of `seq` tokens in one forward pass.

        batch, seq : sizes, or symbols. logits : of "all" positions or of the "last". causal : count only
        the scores that a token sees; PyTorch's counter, and this by default, counts all of them. More tokens than
        a table of learned positions has rows are counted like any others.
        fused : scores stay on chip, as in FlashAttention; standard attention otherwise. dtype : of activations, in
        which is computed, and of weights and cache, unless these have their own. K and V are used at once, as
        activations; a cache that is narrower changes what later steps read. Without a vocabulary, the layers alone:
        there are no logits to choose.

        Raises ValueError or TypeError for what is no size, for an unknown choice, and for latent attention.

        >>> model("gpt2").prefill(batch=1, seq=50).matmul_flops
        12445363200
        """
        return self._forward(batch, seq, None, logits, causal, fused, self._widths(dtype, weights, cache))

    def decode(
        self, batch: Any, context: Any, fused: bool = False, dtype: str = "fp16", weights: str | None = None,
        cache: str | None = None,
    ) -> Cost:  # fmt: skip
        """The cost of one auto-regressive step: a new token for each of `batch` contexts.

        context : tokens that the new one attends to, itself included; the others' K and V are in the cache.
        fused, dtype, weights, cache, and what it raises : as in `prefill`.

        >>> model("gpt2").decode(batch=1, context=50).matmul_flops
        248907264
        >>> narrow = model("llama-2-7b").decode(batch=1, context=1000, weights="int4", cache="fp8")
        >>> f"{float(model('llama-2-7b').decode(batch=1, context=1000).bytes / narrow.bytes):.2f} times fewer bytes"
        '3.73 times fewer bytes'
        """
        widths = self._widths(dtype, weights, cache)
        return self._forward(batch, 1, size(context, f"{self.name}: context"), "all", False, fused, widths)

    def _widths(self, dtype: str, weights: str | None, cache: str | None) -> dict[str, str]:
        """The dtypes of activations, weights and cache."""
        given = {"activations": dtype, "weights": weights or dtype, "cache": cache or dtype}
        return {what: choose("dtype", name, BITS, f"{self.name}, {what}: ") for what, name in given.items()}

    def _forward(
        self, batch: Any, seq: Any, context: Any, logits: str, causal: bool, fused: bool, widths: Mapping[str, str]
    ) -> Cost:
        """All tokens at once, or one with a context: the ends once, a layer as often as there are layers."""
        dtype, ends = widths["activations"], self.end_weights(widths["weights"])
        for what, value in (("batch", batch), ("seq", seq)):
            size(value, f"{self.name}: {what}")
        ids, X = Tensor("tokens", (batch, seq), "int64"), Tensor("X", (batch, seq, self.hidden), dtype)
        layer: dict[str, Any] = {"causal": Causal(self.window) if causal is True else causal, "fused": fused}
        if context is not None:
            layer["cache"] = self.cache(self._reach(context), batch, widths["cache"])
        if self.positions == "rotary":
            layer["rotation"] = tuple(Tensor(name, (seq, self.head_dim), dtype) for name in ("cos", "sin"))
        cost = self.layers * trace(self._layer, X, self.layer_weights(widths["weights"]), **layer)
        if ends:
            wide = dtype if widths["weights"] != dtype else None
            first = trace(self._embed, ids, Tensor("positions", seq, "int64"), ends, wide)
            cost = first + cost + trace(self._logits, X, ends, logits=logits)
        elif choose("logits", logits, ("all", "last")) == "last":
            raise ValueError(f"{self.name} has no vocabulary and so no logits: leave out logits='last'")
        stage = f"prefill of {seq}" if context is None else f"decode at {context}"
        return Cost(cost.steps, f"{self.name}, {stage}, batch {batch}")

    # --- the algorithm, for Tensors and arrays alike ---

    def _embed(self, ids: Any, positions: Any, w: Any, wide: str | None = None) -> Any:
        """wide : the dtype of the activations, where the tables have another."""

        def rows(table: Any, places: Any) -> Any:
            return take(table, places) if wide is None else astype(take(table, places), wide)

        if wide is not None:
            rows = fuse(rows)
        X = rows(w["embedding"], ids)
        return X + rows(w["positions"], positions) if "positions" in w else X

    def _layer(self, X: Any, w: Any, **how: Any) -> Any:
        sizes = {"heads": self.heads, "kv_heads": self.kv_heads}
        return decoder_layer(X, w, activation=self.activation, eps=self.norm_eps, **sizes, **how)

    def _logits(self, X: Any, w: Any, logits: str) -> Any:
        X = norm(X, w["norm"], self.norm_eps)
        every = choose("logits", logits, ("all", "last")) == "all"
        return linear(X if every else X[..., -1:, :], w["head"] if "head" in w else w["embedding"].mT)

    def run(
        self, ids: Any, ends: Any, layers: Any, cache: Any = None, past: int = 0, logits: str = "all", **how: Any
    ) -> Any:
        """The logits that the model computes on arrays, causally: (batch, n, vocabulary), or (batch, 1, …).

        ids : token ids (batch, n), which stand at the positions from `past` on. ends, layers : arrays as
        `end_weights` and (for each layer) `layer_weights` name and shape them. cache : for each layer K and V,
        (batch, kv_heads, room, head_dim); the first `past` rows are read, the next n are written. how : fused.

        Raises ValueError where n tokens do not fit, and where there is no vocabulary or the positions are not modelled.
        """
        if self.vocabulary is None:
            raise ValueError(f"{self.name} has no vocabulary, so run has no tokens to begin with; give vocabulary=…")
        n, rows = ids.shape[-1], cache[0][0].shape[-2] if cache else math.inf
        if past + n > rows or past < 0 or (past and not cache):
            raise ValueError(f"{self.name}: {n} tokens after {past} do not fit into a cache of {rows if cache else 0}")
        if self.rope_scaled:
            raise ValueError(f"{self.name} stretches its rotary frequencies, which is not modelled by run")
        positions = [p + self.position_offset for p in range(past, past + n)]
        import numpy as np

        xp, where = array_namespace(ids), device(ids)
        X = self._embed(ids, xp.asarray(positions, device=where), ends)
        how["causal"] = Causal(self.window)
        if self.positions == "rotary":
            angles = np.outer(positions, self.rope_theta ** (-np.arange(0, self.head_dim, 2) / self.head_dim))
            tables = np.tile(np.cos(angles), 2), np.hstack([-np.sin(angles), np.sin(angles)])
            how["rotation"] = tuple(xp.asarray(table, dtype=X.dtype, device=where) for table in tables)
        for i, w in enumerate(layers):
            if cache is not None:
                how["cache"] = tuple(x[..., : past + n, :] for x in cache[i])
            X = self._layer(X, w, **how)
        return self._logits(X, ends, logits)


def _weight(name: str, shape: Any, dtype: str) -> Tensor:
    return Tensor(name, shape, dtype, role="weight")


def _GB(value: Any) -> str:
    return f"{float(value) / 1e9:,.2f} GB"


def models() -> tuple[str, ...]:
    """The names that `model` knows.

    >>> models()[:3]
    ('gpt2', 'gpt-3-175b', 'opt-6.7b')
    """
    return tuple(data("models.toml"))


def model(name: str | Path) -> Model:
    """The model of that name, or of the Hugging Face config.json at that path.

    Raises ValueError with the nearest names where there is none, and for a config.json of an architecture
    that is not modelled, with the field that says so; FileNotFoundError where there is no such file.

    >>> model("Llama 2 7B").layers
    32
    """
    if isinstance(name, Path) or (isinstance(name, str) and name.endswith(".json")):
        return _from_config(Path(name))
    name = choose("model", name, models(), see="rk.models()")
    return Model(name, **{key: x for key, x in data("models.toml")[name].items() if key in Model.__dataclass_fields__})


def _from_config(path: Path) -> Model:
    """A model from a Hugging Face config.json, read as huggingface.toml says."""
    import json

    try:
        config = dict(json.loads(path.read_text("utf-8")))
        config |= config.get("rope_parameters") or {}  # where newer versions keep rope_theta
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is no JSON object: {error}") from None
    kinds = data("huggingface.toml")
    kind = choose("model_type", config.get("model_type"), kinds, f"{path}: ", see="roofline_kit/data/huggingface.toml")
    for field, allowed in kinds[kind]["only"].items():
        if config.get(field, allowed[0]) not in (*allowed, config.get(allowed[0], allowed[0])):
            raise ValueError(f"{path}: {field} is {config[field]!r}, and only {allowed} is modelled")
    values = dict(kinds[kind]["always"])
    for ours, theirs in kinds[kind]["fields"].items():
        value = config.get(theirs, kinds[kind]["defaults"].get(theirs))
        if value is None and theirs not in kinds[kind]["optional"]:
            raise ValueError(f"{path} has no {theirs}")
        values |= {} if value is None else {ours: value}
    values["activation"] = "gelu" if str(values["activation"]).startswith("gelu") else values["activation"]
    if "position_rows" in values:
        values["position_rows"] = size(values["position_rows"], f"{path}: positions") + values.get("position_offset", 0)
    scaling = {"rope_type": config.get("rope_type", "default")} | (config.get("rope_scaling") or {})
    scaled = scaling.get("type", scaling["rope_type"]) != "default"
    return Model(path.parent.name or path.stem, **values, rope_scaled=scaled, source=str(path))
