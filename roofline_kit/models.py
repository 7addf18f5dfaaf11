"""How much does a whole model cost? Decoders made of the layers in decoder.py, from their shapes.

Parameters, bytes and FLOPs are not written down: they are read off the arrays and the traced algorithm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from numbers import Real
from typing import Any

import sympy
from array_api_compat import array_namespace, device

from .cost import Cost, trace
from .decoder import decoder_layer
from .experts import AWAKE, group_size
from .hardware import Accelerator, accelerator
from .masks import Causal
from .names import choose, flag, letters, shown
from .ops import take, widened
from .sizes import BITS, as_exact, bits_of, size, whole
from .tensor import Tensor, fuse, leaves
from .training import Stage, Training, Widths, cross_entropy, training_step
from .transformer import ACTIVATIONS, alibi, capped, linear, norm

# What a Model has in numbers or symbols, in the order of its fields; the rest of them are words, or yes and no.
SIZES = (
    "layers", "hidden", "heads", "vocabulary", "kv_heads", "head_dim", "mlp_hidden", "position_rows", "rotary_dim",
    "window", "chunk", "experts", "experts_per_token", "expert_hidden", "shared_hidden", "groups", "groups_chosen",
    "query_latent", "kv_latent", "nope_head_dim", "rope_head_dim", "value_head_dim",
)  # fmt: skip
CHOICES = {
    "activation": (*ACTIVATIONS, "clipped"), "norm": ("rms", "layer", "layer without bias"),
    "norms": ("before", "after", "around", "shared"), "query_key_norm": ("none", "head", "heads", "all", "unit"),
    "positions": ("rotary", "learned", "alibi", "none"), "bias": ("none", "qkv", "attention", "mlp", "all"),
    "scores": ("softmax", "softmax of the chosen", "sigmoid"),
}  # fmt: skip
ATTENTION, MLP = ("query", "key", "value", "output"), ("up", "down", "gate")
BIASED = {"none": (), "qkv": ATTENTION[:3], "attention": ATTENTION, "mlp": MLP}
OF_LATENT = ("nope_head_dim", "rope_head_dim", "value_head_dim")
LATENT_HAS: dict[str, tuple[Any, ...]] = {
    "head_dim": (None,), "rotary_dim": (None,), "score_cap": (None,), "sinks": (False,), "query_key_norm": ("none",),
    "positions": ("rotary",), "bias": ("none", "mlp", "all"),
}  # fmt: skip
OF_THE_WHOLE = {
    "name", "layers", "hidden", "vocabulary", "position_rows", "position_offset", "rope_scaled", "tied", "head_bias",
    "embedding_norm", "embedding_scale", "logits_scale", "logits_cap", "pattern", "not_run", "published", "title",
    "source", "note", "provenance",
}  # fmt: skip
ACTIVE = ("all", "without embedding", "without embedding and head")
MOST_LAYERS = 10_000
"""Layers that differ are counted one by one, and no model has as many."""


@dataclass(frozen=True)
class Model:
    """A decoder-only transformer: its shapes, and what follows from them.

    * Sizes: layers, hidden, heads, kv_heads, head_dim, mlp_hidden, vocabulary. Without a vocabulary, layers alone, with
      neither embeddings before them nor a norm and a head after them.
    * MLP: gated, activation. Experts in its place: experts, experts_per_token, each expert_hidden wide, and beside them
      one MLP of shared_hidden for all tokens; scores, normalise, groups, groups_chosen, routed_scale, router_offset
      and inputs_scaled as `route` and `experts` take them.
    * Norms: norm is their kind, with norm_eps; norms says where: "before" attention and MLP, "after" them, "around"
      both, or "shared", one for both and before them. parallel: attention and MLP side by side. query_key_norm: of each
      "head", of each of the "heads" with weights of its own, of "all" heads together, or to "unit" length.
    * Attention: bias says which products have one. window: tokens that one attends to, where it is not the whole
      context. chunk: the context is cut into such chunks instead. score_scale: of scores, 1/√head_dim unless given.
      score_cap: what they are capped at. sinks: whether each head has one. kv_latent, with query_latent,
      nope_head_dim, rope_head_dim and value_head_dim: latent attention.
    * Positions: "rotary", with rope_theta and of rotary_dim numbers of a head, all unless given; "learned", with a
      table of position_rows whose first position_offset rows are not used; "alibi"; "none".
    * Ends: tied says whether the output projection is the embedding's matrix. head_bias, embedding_norm. What these are
      multiplied by: embedding_scale, residual_scale, logits_scale. logits_cap.
    * Storage: layer_dtype, expert_dtype, of the layers' matrices, and of those of routed experts, where they are stored
      narrower than the rest.

    pattern : what is different from layer to layer, a mapping of such names for each layer, repeated over all layers:
    ({"window": 4096}, {}) is a window in every other layer. rope_scaled, not_run : what `run` does not know.
    published : the number of parameters as its makers print it. source, note : where it all comes from. provenance :
    of each name, where a config.json's value came from.

    Raises ValueError or TypeError for what is no size, no such choice, neither True nor False or no positive number,
    for heads, experts or a pattern that do not fit, and for what latent attention is not modelled with.

    >>> from roofline_kit import model
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
    norms: str = "before"
    parallel: bool = False
    query_key_norm: str = "none"
    positions: str = "learned"
    position_rows: Any = None
    position_offset: int = 0
    rope_theta: float = 10000.0
    rope_scaled: bool = False
    rotary_dim: Any = None
    bias: str = "none"
    tied: bool = False
    window: Any = None
    chunk: Any = None
    score_scale: float | None = None
    score_cap: float | None = None
    sinks: bool = False
    experts: Any = None
    experts_per_token: Any = None
    expert_hidden: Any = None
    shared_hidden: Any = None
    groups: Any = None
    groups_chosen: Any = None
    scores: str = "softmax"
    normalise: bool = True
    routed_scale: float = 1.0
    router_offset: bool = False
    inputs_scaled: bool = False
    query_latent: Any = None
    kv_latent: Any = None
    nope_head_dim: Any = None
    rope_head_dim: Any = None
    value_head_dim: Any = None
    head_bias: bool = False
    embedding_norm: bool = False
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logits_scale: float = 1.0
    logits_cap: float | None = None
    layer_dtype: str = ""
    expert_dtype: str = ""
    pattern: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    not_run: str = ""
    published: str = ""
    title: str = ""
    source: str = "own"
    note: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    # --- what is checked ---

    def __post_init__(self) -> None:
        self._fill_sizes()
        self._check_words()
        self._check_numbers()
        self._check_heads()
        self._check_latent()
        self._check_experts()
        self._check_positions()
        self._check_pattern()
        self.kinds  # noqa: B018 (raises for what one of them cannot be)

    def _fill_sizes(self) -> None:
        hidden, heads = (size(getattr(self, what), f"{self.name}: {what}") for what in ("hidden", "heads"))
        fill = {"mlp_hidden": 4 * hidden}
        fill |= {} if self.kv_latent else {"kv_heads": heads, "head_dim": hidden / heads}
        if self.experts is not None:
            fill |= {"expert_hidden": self.mlp_hidden or 4 * hidden, "groups": 1, "groups_chosen": 1}
        for what in SIZES:
            value = fill.get(what) if getattr(self, what) is None else getattr(self, what)
            if value is not None or what == "layers":
                value = size(value, f"{self.name}: {what}")
                object.__setattr__(self, what, int(value) if value.is_number else value)

    def _check_words(self) -> None:
        for what, choices in CHOICES.items():
            object.__setattr__(self, what, choose(what, getattr(self, what), choices, f"{self.name}: "))
        for x in fields(self):
            if x.type == "bool":
                flag(f"{self.name}: {x.name}", getattr(self, x.name))
        for what in ("layer_dtype", "expert_dtype"):
            if getattr(self, what):
                choose("dtype", getattr(self, what), BITS, f"{self.name}, {what}: ")

    def _check_numbers(self) -> None:
        for x in fields(self):
            value = getattr(self, x.name)
            if "float" in str(x.type) and not (value is None and "None" in str(x.type)):
                _check_positive(value, f"{self.name}: {x.name}")
        if whole(self.position_offset) is None:
            raise TypeError(f"{self.name}: position_offset must be a whole number, not {shown(self.position_offset)}")
        if self.position_offset < 0:
            raise ValueError(f"{self.name}: position_offset is {self.position_offset}, and must be 0 or more")

    def _check_heads(self) -> None:
        if isinstance(self.heads, int) and isinstance(self.kv_heads, int) and self.heads % self.kv_heads:
            raise ValueError(f"{self.name}: {self.heads} heads cannot share {self.kv_heads} kv_heads")
        if self.window is not None and self.chunk is not None:
            raise ValueError(f"{self.name}: a layer has a window of {self.window} or chunks of {self.chunk}, not both")

    def _check_latent(self) -> None:
        if self.kv_latent is None:
            given = [what for what in ("query_latent", *OF_LATENT) if getattr(self, what) is not None]
            if given:
                raise TypeError(f"{self.name}: {given[0]} is {getattr(self, given[0])}, and there is no kv_latent")
            return
        missing = [what for what in OF_LATENT if getattr(self, what) is None]
        if missing:
            raise TypeError(f"{self.name}: latent attention needs {missing[0]} as well")
        for what, modelled in (LATENT_HAS | {"kv_heads": (None, self.heads)}).items():
            if getattr(self, what) not in modelled:
                wanted = f"and with latent attention it must be {' or '.join(map(repr, modelled))}"
                raise ValueError(f"{self.name}: {what} is {getattr(self, what)!r}, {wanted}")

    def _check_experts(self) -> None:
        of_experts = ("experts_per_token", "expert_hidden", "shared_hidden", "router_offset")
        given = [what for what in of_experts if getattr(self, what)]
        if self.experts is None:
            if given:
                raise TypeError(f"{self.name}: {given[0]} is {getattr(self, given[0])}, and there are no experts")
            return
        if self.experts_per_token is None:
            raise TypeError(f"{self.name}: of {self.experts} experts, experts_per_token says how many a token meets")
        group_size(self.experts, self.experts_per_token, self.groups, self.groups_chosen, self.name)

    def _check_positions(self) -> None:
        if self.vocabulary is not None and self.positions == "learned" and not self.position_rows:
            raise TypeError(
                f"{self.name}: positions are 'learned' (the default), and the rows of their table are missing: give "
                "position_rows=1024, say; or positions='rotary', which needs no table; or vocabulary=None, layers alone"
            )
        if self.rotary_dim is not None and sympy.sympify(self.head_dim - self.rotary_dim).is_negative:
            raise ValueError(f"{self.name}: rotary_dim is {self.rotary_dim}, more than the head_dim of {self.head_dim}")

    def _check_pattern(self) -> None:
        if not isinstance(self.pattern, (tuple, list)) or not all(isinstance(row, Mapping) for row in self.pattern):
            raise TypeError(f"{self.name}: pattern must be mappings, one for a layer, not {shown(self.pattern)}")
        known = [x.name for x in fields(self)]
        rows = [{choose("field", x, known, f"{self.name}, pattern: "): row[x] for x in row} for row in self.pattern]
        object.__setattr__(self, "pattern", tuple(rows))
        for what in (what for row in rows for what in row if what in OF_THE_WHOLE):
            raise ValueError(f"{self.name}, pattern: {what} is of the whole model, and cannot differ between layers")
        if rows and not isinstance(self.layers, int):
            raise ValueError(f"{self.name}: layers that differ have a number, and layers is {self.layers}")
        if rows and self.layers > MOST_LAYERS:
            raise ValueError(f"{self.name}: layers that differ are at most {MOST_LAYERS}, and layers is {self.layers}")

    def __repr__(self) -> str:
        return f"Model({self.name}: {self.layers} layers, hidden {self.hidden}, {self.heads} heads)"

    # --- layers ---

    @cached_property
    def kinds(self) -> tuple[tuple[Any, Model], ...]:
        """The kinds of layers that there are: how many of each, and a model whose layers are all like that.

        >>> from roofline_kit import model
        >>> [(count, kind.window) for count, kind in model("gemma-2-9b").kinds]
        [(21, 4096), (21, None)]
        """
        if not self.pattern:
            return ((self.layers, self),)
        rows = [dict(self.pattern[i % len(self.pattern)]) for i in range(self.layers)]
        different = [row for i, row in enumerate(rows) if row not in rows[:i]]
        return tuple((rows.count(row), self._like(row)) for row in different)

    def like_layer(self, i: int) -> Model:
        """A model whose layers are all like the i-th, from 0 on."""
        return self._like(self.pattern[i % len(self.pattern)]) if self.pattern else self

    def _like(self, row: Mapping[str, Any]) -> Model:
        """A model whose layers are all like a row of the pattern: with latent attention, without the others' heads."""
        heads = {} if row.get("kv_latent") is None else {"kv_heads": None, "head_dim": None, "rotary_dim": None}
        return replace(self, pattern=(), **{**heads, **row})

    # --- arrays ---

    def layer_weights(self, dtype: str = "fp16", weights: str | None = None) -> dict[str, Any]:
        """The weights of one layer, as Tensors by name: a matrix, or a pair of a matrix and a bias.

        weights : a dtype for all of them, whatever the model stores them in. Of layers that differ, those of the first:
        `like_layer(i)` has those of another.
        """
        if self.pattern:
            return self.like_layer(0).layer_weights(dtype, weights)
        made: dict[str, Any] = {}
        for name, shape in (_attention_shapes(self) | _mlp_shapes(self)).items():
            W = _weight(f"W_{name}", shape, weights or self._dtype_of(name, dtype))
            has_bias = name in BIASED.get(self.bias, (name,))
            made[name] = (W, _weight(f"b_{name}", (*shape[:-2], shape[-1]), weights or dtype)) if has_bias else W
        others = {name: _weight(name, shape, weights or dtype) for name, shape in _vector_shapes(self).items()}
        return made | others | {name: self._norm_weights(name, weights or dtype) for name in _norms(self)}

    def _dtype_of(self, name: str, dtype: str) -> str:
        """The dtype that a matrix of a layer is stored in; a router never is in a narrower one than `dtype`."""
        stored = (self.expert_dtype if name.startswith("expert_") else "") or self.layer_dtype
        return dtype if name == "router" or not stored else stored

    def _norm_weights(self, name: str, dtype: str) -> Any:
        shape = _norm_shape(self, name)
        weight, bias = (_weight(f"{x}_{name.removesuffix('_norm')}", shape, dtype) for x in ("w", "b"))
        if self.norm == "rms":
            return weight
        return weight, bias if self.norm == "layer" and name not in ("query_norm", "key_norm") else None

    def end_weights(self, dtype: str = "fp16") -> dict[str, Any]:
        """The weights before and after the layers, as Tensors by name; `head` only where it is not tied.

        None at all without a vocabulary.
        """
        if self.vocabulary is None:
            return {}
        made: dict[str, Any] = {"embedding": _weight("E", (self.vocabulary, self.hidden), dtype)}
        if self.positions == "learned":
            made["positions"] = _weight("E_positions", (self.position_rows, self.hidden), dtype)
        made |= {"embedding_norm": self._norm_weights("embedding_norm", dtype)} if self.embedding_norm else {}
        made |= {} if self.tied else {"head": _weight("W_head", (self.hidden, self.vocabulary), dtype)}
        made |= {"head_bias": _weight("b_head", self.vocabulary, dtype)} if self.head_bias else {}
        return made | {"norm": self._norm_weights("norm", dtype)}

    @property
    def parameters(self) -> sympy.Expr:
        """Number of parameters: the elements of all weights, a tied matrix once; without a vocabulary, of the layers.

        A router's offset is none: it is not learned by gradients, but balances (14,848 numbers in DeepSeek-V3).

        >>> from roofline_kit import model
        >>> model("gpt2").parameters
        124439808
        >>> Model("layers alone", layers=12, hidden=768, heads=12, bias="all").parameters
        85054464
        """
        return _elements(self.end_weights()) + sympy.Add(*(n * _elements(x.layer_weights()) for n, x in self.kinds))

    def active_parameters(self, counted: str = "all") -> sympy.Expr:
        """Number of parameters that a token meets: of experts, those that it chooses.

        counted : what is published differs. "all", as for Mixtral and Qwen3; "without embedding", the token's row of it
        being looked up and not multiplied, as for gpt-oss and DeepSeek-V3; "without embedding and head", GLM-4.5.

        >>> from roofline_kit import model
        >>> model("mixtral-8x7b").active_parameters()
        12879925248
        """
        choose("counted", counted, ACTIVE, f"{self.name}: ")
        asleep = sympy.Add(*(n * _asleep(x) for n, x in self.kinds))
        ends = self.end_weights()
        left_out = ["embedding", "head"] if counted == ACTIVE[2] else ["embedding"] if counted == ACTIVE[1] else []
        if self.tied and counted == ACTIVE[1]:
            left_out = []  # the same matrix is the head, which every token meets
        return self.parameters - asleep - sympy.Add(*(ends[name].size for name in left_out if name in ends))

    def cache(self, tokens: Any, batch: Any = 1, dtype: str = "fp16") -> tuple[Tensor, ...]:
        """The arrays that one layer keeps of a context: K and V, or what latent attention keeps instead."""
        if self.kv_latent is not None:
            kept = (("latent", self.kv_latent), ("k_rope", self.rope_head_dim))
            return tuple(Tensor(name, (batch, tokens, width), dtype, role="cache") for name, width in kept)
        shape = (batch, self.kv_heads, tokens, self.head_dim)
        return tuple(Tensor(name, shape, dtype, role="cache") for name in ("K_cache", "V_cache"))

    def kv_cache_bytes(self, tokens: Any, batch: Any = 1, dtype: str = "fp16", reserved: bool = False) -> sympy.Expr:
        """Bytes of the KV cache of all layers for `batch` contexts of `tokens` tokens.

        A layer with a window or chunks keeps no more tokens than these have. reserved : what an engine takes that
        reserves room for the whole context in every layer.

        >>> from roofline_kit import model
        >>> model("llama-2-70b").kv_cache_bytes(tokens=4096, batch=8)
        10737418240
        >>> from roofline_kit import symbols
        >>> model("gpt-oss-20b").kv_cache_bytes(symbols("tokens"))
        24576*tokens + 24576*Min(128, tokens)
        """
        size(batch, f"{self.name}: batch")
        whole_context = flag(f"{self.name}: reserved", reserved)
        total = sympy.Integer(0)
        for count, kind in self.kinds:
            kept = size(tokens, f"{self.name}: tokens") if whole_context else kind._reach(tokens)
            total += count * sympy.Add(*(t.nbytes for t in kind.cache(kept, batch, dtype)))
        return total

    def _reach(self, context: Any, new: Any = 1, causal: bool = False) -> Any:
        """How many tokens of a context the last `new` are multiplied with: all, or what a window's cache holds.

        A cache of chunks holds as many as one of a window, as in transformers; causal : of them, only those from the
        beginning of the first new token's chunk on, so that a `Causal` of these keys has its chunks where they are.
        """
        size(context, f"{self.name}: tokens")  # Min would hide what is no size
        if self.chunk is not None and causal:
            past = sympy.floor((context - new) / sympy.sympify(self.chunk)) * self.chunk
            return context - sympy.Max(0, past)  # below 0, `store` has no room for so many new tokens
        reach = self.window if self.chunk is None else self.chunk
        return context if reach is None else sympy.Min(context, reach - 1 + new)

    def _mask(self, new: Any) -> Causal:
        """Which of these keys the last `new` tokens see; a single one sees all of its chunk."""
        return Causal(self.window, chunk=None if new == 1 else self.chunk)

    def weight_bytes(self, dtype: str = "fp16", weights: str | None = None) -> sympy.Expr:
        """Bytes of all parameters: stored as the model says, and in `dtype` otherwise; or all in `weights`.

        >>> from roofline_kit import model
        >>> [float(model("gpt-oss-20b").weight_bytes(weights=w) / 10**9) for w in (None, "bf16")]
        [13.76..., 41.82...]
        """
        layers = sympy.Add(*(n * _bytes(x.layer_weights(dtype, weights)) for n, x in self.kinds))
        return _bytes(self.end_weights(weights or dtype)) + layers

    def memory_bytes(
        self, tokens: Any, batch: Any = 1, dtype: str = "fp16", weights: str | None = None, cache: str | None = None
    ) -> sympy.Expr:
        """Bytes of the weights and the KV cache together: what a card must hold at least.

        weights, cache : dtypes of their own, where they are not stored in `dtype`, or not as the model says.

        >>> from roofline_kit import model
        >>> float(model("llama-2-7b").memory_bytes(tokens=4096) / 10**9)
        15.624314...
        >>> float(model("llama-2-7b").memory_bytes(tokens=4096, weights="int4", cache="fp8") / 10**9)
        4.548237...
        """
        return self.weight_bytes(dtype, weights) + self.kv_cache_bytes(tokens, batch, cache or dtype)

    def largest_batch(
        self, machine: Accelerator | str, tokens: Any, dtype: str = "fp16", weights: str | None = None,
        cache: str | None = None,
    ) -> int:  # fmt: skip
        """How many contexts of `tokens` tokens fit into the card's memory beside the weights.

        weights, cache : as in `memory_bytes`.

        Raises ValueError where not even one fits, and says by how much.

        >>> from roofline_kit import model
        >>> model("llama-2-7b").largest_batch("A100-40GB", tokens=1000)
        50
        """
        card = accelerator(machine)
        self._check_known(self.memory_bytes(tokens, 1, dtype, weights, cache), "a largest batch")
        room = card.memory - self.weight_bytes(dtype, weights)
        batch = int(room // self.kv_cache_bytes(tokens, 1, cache or dtype))
        if batch < 1:
            self.check_memory(card, tokens, 1, dtype, weights, cache)
        return batch

    def check_memory(
        self, machine: Accelerator | str, tokens: Any, batch: Any = 1, dtype: str = "fp16",
        weights: str | None = None, cache: str | None = None,
    ) -> None:  # fmt: skip
        """Raises ValueError where a batch does not fit the card: by how much, and the largest that does.

        >>> from roofline_kit import model
        >>> model("llama-2-7b").check_memory("A10", tokens=4096, batch=4)
        """
        card = accelerator(machine)
        needed = self.memory_bytes(tokens, batch, dtype, weights, cache)
        self._check_known(needed, "whether it fits")
        if needed > card.memory:
            largest = 0 if batch == 1 else self.largest_batch(card, tokens, dtype, weights, cache)
            fits = f"the largest batch that fits is {largest}" if largest else "not even a batch of 1 fits"
            stored = {f"weights in {weights}": weights, f"cache in {cache}": cache}
            apart = "".join(f", {told}" for told, given in stored.items() if given not in (None, dtype))
            what = f"{self.name} in {dtype}{apart} with a batch of {batch} and {tokens} tokens each needs {_GB(needed)}"
            more = f"{_GB(needed - card.memory)} more than the {_GB(card.memory)} of {card.name}"
            raise ValueError(f"{what}, {more}; {fits}")

    def _check_known(self, nbytes: sympy.Expr, what: str) -> None:
        """Raises ValueError with the names of open sizes, where there are any."""
        if not nbytes.is_number:
            names = ", ".join(sorted(map(str, nbytes.free_symbols)))
            raise ValueError(f"{self.name}: {names} must be numbers for {what}")

    # --- costs ---

    def prefill(
        self, batch: Any, seq: Any, logits: str = "all", causal: bool = False, fused: bool = False, dtype: str = "fp16",
        weights: str | None = None, cache: str | None = None, awake: Any = "most", absorbed: bool = False,
    ) -> Cost:  # fmt: skip
        """The cost of the initial stage: `batch` prompts of `seq` tokens in one forward pass.

        batch, seq : sizes, or symbols. logits : of "all" positions or of the "last". causal : count only
        the scores that a token sees; PyTorch's counter, and this by default, counts all of them, in layers with a
        window or chunks as well. More tokens than a table of learned positions has rows are counted like any others.
        fused : scores stay on chip, as in FlashAttention; standard attention otherwise. dtype : of activations, in
        which is computed, and of weights and cache, unless these have their own, or the model stores some narrower.
        K and V are used at once, as activations; a cache that is narrower changes what later steps read. Without a
        vocabulary, the layers alone: there are no logits to choose.
        awake : how many different experts of a layer all tokens wake, as `experts` takes it; FLOPs do not depend on it.
        absorbed : which of the two algorithms of latent attention, as `latent_attention` has them.

        Raises ValueError or TypeError for what is no size, and for an unknown choice.

        >>> from roofline_kit import model
        >>> model("gpt2").prefill(batch=1, seq=50).matmul_flops
        12445363200
        """
        how = {"causal": causal, "fused": fused, "awake": awake, "absorbed": absorbed}
        return self._forward(batch, seq, None, logits, self._widths(dtype, weights, cache), **how)

    def decode(
        self, batch: Any, context: Any, fused: bool = False, dtype: str = "fp16", weights: str | None = None,
        cache: str | None = None, new: Any = 1, causal: bool = False, awake: Any = "most", absorbed: bool = False,
    ) -> Cost:  # fmt: skip
        """The cost of one auto-regressive step: a new token for each of `batch` contexts.

        context : tokens that the new one attends to, itself included; the others' K and V are in the cache.
        new : so many new tokens at once, the last of the context: a draft that is checked (speculative decoding), or a
        piece of a prompt (chunked prefill). Of each, the logits are computed.
        Without causal, layers with a window or chunks of c tokens read the last c - 1 of those before, as many as there
        are, whichever of them a new one sees; with it, layers with chunks read from the first new token's chunk on.
        All else, and what it raises : as in `prefill`; and ValueError for more new tokens than the context has.

        >>> from roofline_kit import model
        >>> model("gpt2").decode(batch=1, context=50).matmul_flops
        248907264
        >>> narrow = model("llama-2-7b").decode(batch=1, context=1000, weights="int4", cache="fp8")
        >>> f"{float(model('llama-2-7b').decode(batch=1, context=1000).bytes / narrow.bytes):.2f} times fewer bytes"
        '3.73 times fewer bytes'
        """
        context, new = (size(value, f"{self.name}: {what}") for what, value in (("context", context), ("new", new)))
        if (context - new).is_negative:
            raise ValueError(f"{self.name}: {new} new tokens are more than the context of {context}, which holds them")
        how = {"causal": causal, "fused": fused, "awake": awake, "absorbed": absorbed}
        return self._forward(batch, new, context, "all", self._widths(dtype, weights, cache), **how)

    # --- training ---

    def training(
        self, batch: Any, seq: Any, optimizer: str = "adam", checkpoint: Any = None, *,
        causal: bool = False, fused: bool = False, accumulate: Any = 1, dtype: str = "bf16", weights: str | None = None,
        gradients: str | None = None, master: str | None = None, states: str = "fp32", awake: Any = "most",
    ) -> Training:  # fmt: skip
        """The cost of one step of training on `batch` contexts of `seq` tokens: forward, backward and update.

        The loss is the cross-entropy of all positions, and everything trains. optimizer : "adam", "momentum" or "sgd".
        checkpoint : of how many layers, the first ones, only the input is kept and the rest computed again: a number,
        "all", or None for none; or a tuple of how many these are of each of the `kinds`, which may be symbols, for
        numbers from 1 to one less than there are.
        accumulate : so many batches are gone through before the update, one after the other; a symbol, for 2 or more.
        dtype : of activations. weights and gradients : theirs, both `dtype` unless given. master : of the copy of the
        weights that is updated, "" for none: fp32 where weights are narrower, unless said. states : of the optimizer's.
        causal, fused, awake : as in `prefill`.

        Raises ValueError or TypeError for what is no size, for an unknown choice, and for more checkpoints than layers.

        >>> from roofline_kit import model
        >>> step = model("gpt2").training(batch=1, seq=50)
        >>> step.forward.matmul_flops, step.backward.matmul_flops
        (12445363200, 24890726400)
        >>> {what: int(b / 10**6) for what, b in step.memory.items()}
        {'weights': 248, 'gradients': 248, 'optimizer': 1493, 'activations': 20}
        """
        widths = Widths(dtype, weights or dtype, gradients or dtype, master or "", states)
        if master is None and bits_of(widths.weights) < bits_of("fp32"):
            widths = replace(widths, master="fp32")
        given = self._widths(widths.dtype, widths.weights, None)
        stages = self._stages(batch, seq, None, "all", given, causal, fused=fused, awake=awake)
        if self.vocabulary is not None:
            targets = Tensor("targets", (batch, seq), "int64")
            stages[-1] = Stage(1, self._loss, stages[-1].args, {"targets": targets})
        first = int(self.vocabulary is not None)
        for i, again in enumerate(self._checkpoints(checkpoint)):
            stages[first + i] = replace(stages[first + i], again=again)
        name = f"{self.name}, training on {batch} × {seq}"
        twice = [stages[0].args[0]["embedding"]] if self.tied and self.vocabulary is not None else []
        return training_step(name, stages, self.parameters, optimizer, widths, accumulate, twice)

    def _checkpoints(self, checkpoint: Any) -> list[Any]:
        """How many of the layers of each kind are checkpoints."""
        if isinstance(checkpoint, tuple):
            return self._checkpoints_of_kinds(checkpoint)
        if isinstance(checkpoint, str) and letters(checkpoint) == "all":
            return [count for count, _ in self.kinds]
        n = 0 if checkpoint is None else whole(checkpoint)
        most = self.layers if isinstance(self.layers, int) else math.inf
        if n is None or not 0 <= n <= most:
            wanted = f"it must be a number of layers, up to {self.layers}, or 'all', or None for none, or a tuple of"
            raise ValueError(f"{self.name}: checkpoint is {checkpoint!r}; {wanted} numbers or symbols, one for a kind")
        return self._first_layers(n)

    def _first_layers(self, n: int) -> list[int]:
        """How many of the first n layers are of each kind."""
        if not self.pattern:
            return [n]
        rows = [dict(self.pattern[i % len(self.pattern)]) for i in range(self.layers)]
        return [rows[:n].count(row) for i, row in enumerate(rows) if row not in rows[:i]]

    def _checkpoints_of_kinds(self, given: tuple[Any, ...]) -> list[Any]:
        """As many as are given for each kind of layer, where there are so many."""
        if len(given) != len(self.kinds):
            raise ValueError(f"{self.name}: {len(self.kinds)} kinds of layers need as many checkpoints, not {given}")
        for (count, _), n in zip(self.kinds, given, strict=True):
            if whole(n) != 0 and (count - size(n, f"{self.name}: checkpoint")).is_negative:
                raise ValueError(f"{self.name}: {n} checkpoints are more than the {count} layers of a kind")
        numbers = [n for n in map(whole, given) if n is not None]
        first = self._first_layers(sum(numbers))
        if len(numbers) == len(given) and numbers != first:
            wanted = f"checkpoints are the first layers, of which {sum(numbers)} are {tuple(first)}"
            raise ValueError(f"{self.name}: {wanted} of its kinds, not {given}")
        return list(given)

    def largest_training_batch(self, machine: Accelerator | str, seq: Any, **how: Any) -> int:
        """The largest batch of contexts of `seq` tokens with which a step of training fits into a card's memory.

        how : as `training` takes it: checkpoint, say. Raises ValueError where not even one fits, and says by how much.

        >>> from roofline_kit import model
        >>> [model("gpt2").largest_training_batch("A100-40GB", 1024, checkpoint=n) for n in (None, "all")]
        [53, 304]
        """
        if "batch" in how:
            raise TypeError(f"{self.name}: the largest batch is looked for, so none is given")
        card = accelerator(machine)
        one, two = (self.training(batch, seq, **how).memory_bytes for batch in (1, 2))
        self._check_known(one, "a largest batch")
        if one > card.memory:
            more = f"{_GB(one - card.memory)} more than the {_GB(card.memory)} of {card.name}"
            raise ValueError(f"{self.name}: a step on 1 context of {seq} tokens needs {_GB(one)}, {more}")
        return int(1 + (card.memory - one) // (two - one))

    def _widths(self, dtype: str, weights: str | None, cache: str | None) -> dict[str, Any]:
        """The dtypes of activations and cache, and that of all weights, if there is one."""
        given = {"activations": dtype, "weights": weights, "cache": cache or dtype}
        where = {what: f"{self.name}, {what}: " for what in given}
        return {what: name and choose("dtype", name, BITS, where[what]) for what, name in given.items()}

    def _forward(
        self, batch: Any, seq: Any, context: Any, logits: str, widths: Mapping[str, Any], causal: bool, **how: Any
    ) -> Cost:
        """All tokens at once, or the last with a context: the ends once, each kind of layer as often as there are."""
        stages = self._stages(batch, seq, context, logits, widths, causal, **how)
        costs = (stage.count * trace(stage.f, *stage.args, **stage.kwargs) for stage in stages)
        name = f"prefill of {seq}" if context is None else f"decode at {context}"
        name += f", {seq} new" if context is not None and seq != 1 else ""
        steps = tuple(step for cost in costs for step in cost.steps)
        return Cost(steps, f"{self.name}, {name}, batch {batch}")

    def _stages(
        self, batch: Any, seq: Any, context: Any, logits: str, widths: Mapping[str, Any], causal: bool, **how: Any
    ) -> list[Stage]:
        """The parts of a pass in their order: what is before the layers, each kind of layer, and what is after them."""
        dtype, weights = widths["activations"], widths["weights"]
        for what, value in (("batch", batch), ("seq", seq)):
            size(value, f"{self.name}: {what}")
        self._check_how(causal=causal, **how)
        X = Tensor("X", (batch, seq, self.hidden), dtype)
        stages: list[Stage] = []
        rotations: dict[Any, tuple[Tensor, ...]] = {}  # the same ones for all layers
        for count, kind in self.kinds:
            layer = {"causal": kind._mask(seq) if causal else False, **how}
            keys = seq if context is None else kind._reach(context, seq, causal)
            if context is not None:
                layer["cache"] = kind.cache(keys, batch, widths["cache"])
            if kind.positions == "rotary":
                turning = kind._turning
                rotations.setdefault(turning, tuple(Tensor(name, (seq, turning), dtype) for name in ("cos", "sin")))
                layer["rotation"] = rotations[turning]
            if kind.positions == "alibi":
                layer["bias"] = Tensor("bias", (kind.heads, 1, keys), dtype)
            stages.append(Stage(count, kind._layer, (X, kind.layer_weights(dtype, weights)), layer))
        ends = self.end_weights(weights or dtype)
        if not ends:
            if choose("logits", logits, ("all", "last")) == "last":
                raise ValueError(f"{self.name} has no vocabulary and so no logits: leave out logits='last'")
            return stages
        first: dict[str, Any] = {
            "ids": Tensor("tokens", (batch, seq), "int64"),
            "positions": Tensor("positions", seq, "int64"),
        }
        first["wide"] = dtype if weights not in (None, dtype) else None
        embed, head = Stage(1, self._embed, (ends,), first), Stage(1, self._logits, (X, ends), {"logits": logits})
        return [embed, *stages, head]

    def _check_how(self, awake: Any, **flags: Any) -> None:
        """Of a model without experts, or without latent attention, what is asked of them as well."""
        for what, given in flags.items():
            flag(f"{self.name}: {what}", given)
        if isinstance(awake, str):
            choose("awake", awake, AWAKE, f"{self.name}: ")
        elif awake is not None:
            as_exact(awake, f"{self.name}: awake")

    @property
    def _turning(self) -> Any:
        """How many numbers of a head a rotation turns."""
        return self.rope_head_dim if self.kv_latent is not None else self.rotary_dim or self.head_dim

    # --- the algorithm, for Tensors and arrays alike ---

    def _embed(self, w: Any, ids: Any, positions: Any, wide: str | None = None) -> Any:
        """wide : the dtype of the activations, where the tables have another."""

        def rows(table: Any, places: Any) -> Any:
            return take(table, places) if wide is None else widened(take(table, places), wide)

        if wide is not None:
            rows = fuse(rows)
        X = rows(w["embedding"], ids)
        X = X if self.embedding_scale == 1 else X * self.embedding_scale
        X = X + rows(w["positions"], positions) if "positions" in w else X
        return norm(X, w["embedding_norm"], self.norm_eps) if "embedding_norm" in w else X

    def _layer(self, X: Any, w: Any, awake: Any = "most", absorbed: bool = False, **how: Any) -> Any:
        how |= {"heads": self.heads, "activation": self.activation, "eps": self.norm_eps, "parallel": self.parallel}
        how |= {"residual": self.residual_scale, "scale": self.score_scale}
        flag(f"{self.name}: absorbed", absorbed)
        if self.kv_latent is not None:
            how["absorbed"] = absorbed
        else:
            how |= {"kv_heads": self.kv_heads, "cap": self.score_cap, "unit": self.query_key_norm == "unit"}
            how |= {"rotary_dim": self.rotary_dim}
        if self.experts is not None:
            names = ("scores", "normalise", "groups", "groups_chosen", "inputs_scaled")
            how["routing"] = {name: getattr(self, name) for name in names} | {"awake": awake}
            how["routing"] |= {"per_token": self.experts_per_token, "scale": self.routed_scale}
        return decoder_layer(X, w, **how)

    def _logits(self, X: Any, w: Any, logits: str) -> Any:
        X = norm(X, w["norm"], self.norm_eps)
        every = choose("logits", logits, ("all", "last")) == "all"
        head = w["head"] if "head" in w else w["embedding"].mT
        out = linear(X if every else X[..., -1:, :], head, w.get("head_bias"))
        out = out if self.logits_scale == 1 else out * self.logits_scale
        return out if self.logits_cap is None else capped(out, self.logits_cap)

    def _loss(self, X: Any, w: Any, targets: Any) -> Any:
        return cross_entropy(self._logits(X, w, "all"), targets)

    def run(
        self, ids: Any, ends: Any, layers: Any, cache: Any = None, past: int = 0, logits: str = "all", **how: Any
    ) -> Any:
        """The logits that the model computes on arrays, causally: (batch, n, vocabulary), or (batch, 1, …).

        ids : token ids (batch, n), which stand at the positions from `past` on. ends, layers : arrays as
        `end_weights` and (for each layer) `layer_weights` name and shape them. cache : for each layer K and V,
        (batch, kv_heads, room, head_dim), or what `cache` has for latent attention; the first `past` rows are read, the
        next n are written. how : fused; absorbed, of latent attention.

        Raises ValueError where n tokens do not fit, and where there is no vocabulary or something is not modelled.
        """
        n, rows = ids.shape[-1], cache[0][0].shape[-2] if cache else math.inf
        if past + n > rows or past < 0 or (past and not cache):
            raise ValueError(f"{self.name}: {n} tokens after {past} do not fit into a cache of {rows if cache else 0}")
        self._check_run()
        xp, where = array_namespace(ids), device(ids)
        positions = [p + self.position_offset for p in range(past, past + n)]
        X = self._embed(ends, ids, xp.asarray(positions, device=where))
        for i, w in enumerate(layers):
            kind = self.like_layer(i)
            how["causal"] = Causal(kind.window, chunk=kind.chunk)
            if cache is not None:
                how["cache"] = tuple(x[..., : past + n, :] for x in cache[i])
            X = kind._layer(X, w, **how, **kind._places(range(past, past + n), X))
        return self._logits(X, ends, logits)

    def _check_run(self) -> None:
        if self.vocabulary is None:
            raise ValueError(f"{self.name} has no vocabulary, so run has no tokens to begin with; give vocabulary=…")
        if self.rope_scaled:
            raise ValueError(f"{self.name} stretches its rotary frequencies, which is not modelled by run")
        if self.not_run:
            raise ValueError(f"{self.name}: {self.not_run}, which is not modelled by run")

    def _places(self, positions: range, X: Any) -> dict[str, Any]:
        """What the layers are told of the tokens' positions: a rotation, biases, or nothing. X : an array of theirs."""
        import numpy as np

        xp, where = array_namespace(X), device(X)
        if self.positions == "rotary":
            angles = np.outer(positions, self.rope_theta ** (-np.arange(0, self._turning, 2) / self._turning))
            tables = np.tile(np.cos(angles), 2), np.hstack([-np.sin(angles), np.sin(angles)])
            return {"rotation": tuple(xp.asarray(table, dtype=X.dtype, device=where) for table in tables)}
        if self.positions == "alibi":
            nearest = 2 ** math.floor(math.log2(self.heads))
            slopes = [2 ** (-8 * (i + 1) / nearest) for i in range(nearest)]
            slopes += [2 ** (-4 * (2 * i + 1) / nearest) for i in range(self.heads - nearest)]
            shapes = ((slopes, (-1, 1, 1)), (range(positions.stop), (1, 1, -1)))
            arrays = (xp.asarray(np.reshape(x, shape), dtype=X.dtype, device=where) for x, shape in shapes)
            return {"bias": alibi(*arrays)}
        return {}


# --- which weights a layer has, of a model whose layers are all alike ------------------------------------


def _attention_shapes(m: Model) -> dict[str, tuple[Any, ...]]:
    if m.kv_latent is None:
        q, kv = m.heads * m.head_dim, m.kv_heads * m.head_dim
        return {"query": (m.hidden, q), "key": (m.hidden, kv), "value": (m.hidden, kv), "output": (q, m.hidden)}
    query = m.heads * (m.nope_head_dim + m.rope_head_dim)
    made = {"query": (m.hidden, query)}
    if m.query_latent is not None:
        made = {"query_down": (m.hidden, m.query_latent), "query_up": (m.query_latent, query)}
    made |= {"kv_down": (m.hidden, m.kv_latent + m.rope_head_dim)}
    made |= {"kv_up": (m.kv_latent, m.heads * (m.nope_head_dim + m.value_head_dim))}
    return made | {"output": (m.heads * m.value_head_dim, m.hidden)}


def _mlp_shapes(m: Model) -> dict[str, tuple[Any, ...]]:
    if m.experts is None:
        return _mlp_of(m, "", m.mlp_hidden)
    made: dict[str, tuple[Any, ...]] = {"router": (m.hidden, m.experts)}
    made |= {name: (m.experts, *shape) for name, shape in _mlp_of(m, "expert_", m.expert_hidden).items()}
    return made | (_mlp_of(m, "shared_", m.shared_hidden) if m.shared_hidden else {})


def _mlp_of(m: Model, prefix: str, width: Any) -> dict[str, tuple[Any, ...]]:
    up = {f"{prefix}{name}": (m.hidden, width) for name in ("up", "gate")[: 1 + m.gated]}
    return up | {f"{prefix}down": (width, m.hidden)}


def _vector_shapes(m: Model) -> dict[str, tuple[Any, ...]]:
    made: dict[str, tuple[Any, ...]] = {"sinks": (m.heads, 1, 1)} if m.sinks else {}
    return made | ({"router_offset": (m.experts,)} if m.router_offset else {})


def _norms(m: Model) -> list[str]:
    """The names of a layer's norms."""
    before, after = ["attention_norm", "mlp_norm"], ["attention_post_norm", "mlp_post_norm"]
    names = {"before": before, "after": after, "around": before + after, "shared": before[:1]}[m.norms]
    names += ["query_norm", "key_norm"] if m.query_key_norm in ("head", "heads", "all") else []
    names += ["kv_norm"] if m.kv_latent is not None else []
    return names + (["query_norm"] if m.query_latent is not None else [])


def _norm_shape(m: Model, name: str) -> tuple[Any, ...]:
    if m.kv_latent is not None and name in ("query_norm", "kv_norm"):
        return (m.query_latent if name == "query_norm" else m.kv_latent,)
    if name in ("query_norm", "key_norm"):
        heads = m.heads if name == "query_norm" else m.kv_heads
        return {"head": (m.head_dim,), "heads": (heads, 1, m.head_dim), "all": (heads * m.head_dim,)}[m.query_key_norm]
    return (m.hidden,)


def _weight(name: str, shape: Any, dtype: str) -> Tensor:
    return Tensor(name, shape, dtype, role="weight")


def _elements(weights: Mapping[str, Any]) -> sympy.Expr:
    return sympy.Add(
        *(x.size for name, w in weights.items() if name != "router_offset" for x in leaves(w) if x is not None)
    )


def _bytes(weights: Mapping[str, Any]) -> sympy.Expr:
    return sympy.Add(*(x.nbytes for x in leaves(weights) if x is not None))


def _asleep(m: Model) -> sympy.Expr:
    """The elements of a layer's experts that a token does not choose."""
    if m.experts is None:
        return sympy.Integer(0)
    routed = {name: w for name, w in m.layer_weights().items() if name.startswith("expert_")}
    return _elements(routed) * (m.experts - m.experts_per_token) / m.experts


def _check_positive(value: Any, what: str) -> None:
    """Raises TypeError for what is no number, nor open, and ValueError for one that is not positive and finite."""
    if isinstance(value, bool) or not isinstance(value, (Real, sympy.Expr)):
        raise TypeError(f"{what} must be a positive number, not {shown(value)}")
    if not (value.is_positive if isinstance(value, sympy.Expr) else 0 < float(value) < math.inf):
        raise ValueError(f"{what} is {value}, and must be a positive number")


def _GB(value: Any) -> str:
    return f"{float(value) / 1e9:,.2f} GB"
