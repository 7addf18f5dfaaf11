"""Which models are there? Those of `models.toml` by name, and any config.json that is exact, or refused by name.

How each model_type is read stands in `huggingface.toml`. A file is never guessed at: what would change the count and is
not modelled is refused by the name of its field.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from .models import MOST_LAYERS, Model
from .names import choose, data
from .sizes import whole

LARGEST = 5_000_000  # bytes: a config.json has some thousand
STRUCTURAL = re.compile(
    "expert|moe|ssm|mamba|conv|recurrent|state_|time_step|linear_|head_dim|lora|latent|layer_types|block_configs|window|"
    "chunk|k_eq_v|kv_shared|per_layer|partial_rotary|rotary_pct|cross_attention|sparse|qk_|softcap|multiplier|alibi|"
    "mlp_only|output_gate|bias$|hybrid|encoder|pruned|kv_heads|multi_query"
)
NEVER_QUANTIZED = re.compile(r"(^|\.)(lm_head|embed\w*|\w*norm\w*|gate|router|shared_expert_gate)(\.|$)")
EXPERTS_ALONE = re.compile(NEVER_QUANTIZED.pattern + r"|self_attn")
"""Names of parts that are never quantized: by no method, and by one that quantizes experts alone."""
OTHERWISE_QUANTIZED = ("quantization", "compression_config")
"""Where others than transformers say how weights are quantized: MLX, and llm-compressor in its first versions."""
ROTARY = {
    "type", "rope_type", "rope_theta", "factor", "attention_factor", "original_max_position_embeddings", "beta_fast",
    "beta_slow", "short_factor", "long_factor", "low_freq_factor", "high_freq_factor", "mscale", "mscale_all_dim",
    "truncate", "partial_rotary_factor",
}  # fmt: skip
WORDS = {
    "qkv_bias": ("bias", "qkv"), "head_normed": ("query_key_norm", "head"),
    "heads_normed": ("query_key_norm", "heads"), "length_normed": ("query_key_norm", "unit"),
}  # fmt: skip
ACTIVATIONS = {"relu2": "squared_relu", "swish": "silu"}
FLAGS = {
    "attention_bias", "qkv_bias", "mlp_bias", "windowed", "multi_query", "grouped", "alibi", "heads_normed",
    "head_normed", "length_normed", *(x.name for x in fields(Model) if x.type == "bool"),
}  # fmt: skip
LISTS = {"layer_types", "dense_layers", "expert_layers", "rotary_layers"}
REALS = {x.name for x in fields(Model) if "float" in str(x.type)} | {
    "rotary_fraction", "query_scalar", "logits_divided",
}  # fmt: skip
MAY_BE_ZERO = {"dense_first", "score_cap", "logits_cap", "shared_experts", "window_from"}


def models() -> tuple[str, ...]:
    """The names that `model` knows.

    >>> models()[:3]
    ('gpt2', 'gpt-3-175b', 'opt-6.7b')
    """
    return tuple(data("models.toml"))


def model(name: str | Path) -> Model:
    """The model of that name, or of the Hugging Face config.json at that path.

    Raises ValueError with the nearest names where there is none, and for a config.json that is not modelled, with the
    field that says so; FileNotFoundError where there is no such file.

    >>> model("Llama 2 7B").layers
    32
    """
    if isinstance(name, Path) or (isinstance(name, str) and name.endswith(".json")):
        return _of_file(Path(name))
    return _of_table(choose("model", name, models(), see="rk.models()"))


@cache
def _of_table(name: str) -> Model:
    """A row of models.toml: in our own names, or as a config."""
    row = data("models.toml")[name]
    known = {key: x for key, x in row.items() if key in Model.__dataclass_fields__}
    if "config" in row:
        known |= _read(f"models.toml, {name}", row["config"] | dict.fromkeys(row.get("nulls", [])))
    return Model(name, **known)


def _of_file(path: Path) -> Model:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} has {path.stat().st_size} bytes: no config.json is that long")
    try:
        config = json.loads(path.read_text("utf-8"), parse_constant=_no_number)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is no JSON object: {error}") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deep for a config.json") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} is no JSON object, but {type(config).__name__}")
    return Model(path.parent.name or path.stem, **_read(str(path), config), source=str(path))


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


# --- from a config to what a Model takes ----------------------------------------------------------------


@dataclass(frozen=True)
class _Config:
    """A config and how to read it. where : of each of our names, where its value came from."""

    path: str
    values: dict[str, Any]
    kind: Mapping[str, Any]
    where: dict[str, str] = field(default_factory=dict)

    def read(self, ours: str) -> Any:
        """The value of one of our names, checked; None where the file may be without it, and is."""
        theirs = self.kind["fields"][ours]
        names = [theirs] if isinstance(theirs, str) else theirs
        given = [name for name in names if self.values.get(name) is not None]
        for other in given[1:]:
            if self.values[other] != self.values[given[0]]:
                both = " and ".join(f"{name} is {self.values[name]!r}" for name in (given[0], other))
                raise ValueError(f"{self.path}: {both}, which are names of the same")
        if given:
            self.where[ours] = f"read: {given[0]}"
            return self._checked(ours, given[0], self.values[given[0]])
        nulls = [name for name in names if name in self.values]
        if names[0] in self.kind["optional"] and (nulls or names[0] not in self.kind["defaults"]):
            return None
        if names[0] in self.kind["defaults"] and nulls:
            raise ValueError(f"{self.path}: {nulls[0]} is null, and must be given or left out")
        if names[0] in self.kind["defaults"]:
            self.where[ours] = f"default: {names[0]} of {self.kind['class']}"
            return self.kind["defaults"][names[0]]
        raise ValueError(f"{self.path} has no {names[0]}")

    def _checked(self, ours: str, theirs: str, value: Any) -> Any:
        fits, wanted = _wanted(ours)
        if not fits(value):
            raise ValueError(f"{self.path}: {theirs} is {value!r}, and must be {wanted}")
        return value


def _wanted(ours: str) -> tuple[Callable[[Any], bool], str]:
    """What a value of one of our names must be: a test, and words for it."""
    if ours in LISTS:
        return lambda x: isinstance(x, list), "a list"
    if ours in FLAGS:
        return lambda x: isinstance(x, bool), "true or false"
    if ours == "activation":
        return lambda x: isinstance(x, str), "a name"
    least = 0 if ours in MAY_BE_ZERO else 1
    if ours == "rotary_fraction":
        return lambda x: _is_number(x) and 0 < x <= 1, "a positive number, 1 at most"
    if ours in REALS:
        return lambda x: _is_number(x) and 0 < x + (1 - least) < math.inf, "a positive number"
    words = "a positive integer, or null" if ours == "window" else "a positive integer"
    return lambda x: _is_number(x) and isinstance(x, int) and x >= least, words


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def _read(path: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a Model takes, of a config. Raises ValueError with the name of a field that is not modelled."""
    kinds = data("huggingface.toml")
    values, outer = _text_part(path, dict(config), kinds)
    kind = _kind(path, values, kinds)
    values = _flat(path, values, kind)
    _refuse_classes(path, values, kind, outer)
    _refuse_fields(path, values, kind)
    found = _Config(path, values, kind)
    read = {ours: found.read(ours) for ours in kind["fields"]}
    if read["layers"] > MOST_LAYERS:
        raise ValueError(f"{path}: {read['layers']} layers are more than the {MOST_LAYERS} that are counted one by one")
    made = {ours: value for ours, value in (kind["always"] | read).items() if value is not None}
    made = _windows(found, made)
    made = _derived(found, _experts(found, _heads(found, made)))
    found.where.update({ours: f"every {kind['class']}" for ours in kind["always"] if ours not in found.where})
    stored = _storage(path, outer | values)
    if "expert_dtype" in stored and "experts" not in made:
        raise ValueError(f"{path}: quantization_config has 'mxfp4', which is of experts, and there are none")
    return made | stored | {"rope_scaled": _scaled(values), "provenance": found.where}


def _text_part(path: str, config: dict[str, Any], kinds: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The part of a config that is about text, and what stands around it, if it has such a part."""
    inner = config.get("text_config")
    if inner is None:
        return config, {}
    if not isinstance(inner, dict):
        raise ValueError(f"{path}: text_config is {inner!r}, and must be an object")
    outer = {key: x for key, x in config.items() if key != "text_config"}
    kind = f"{outer.get('model_type')}_text"
    if kind not in kinds:
        raise ValueError(f"{path}: a text_config in a model_type {outer.get('model_type')!r} is not modelled")
    whole = {"tie_word_embeddings": outer["tie_word_embeddings"]} if "tie_word_embeddings" in outer else {}
    return whole | {"model_type": kind} | inner, outer


@cache
def merged(name: str) -> dict[str, Any]:
    """How to read a model_type, with what stands in the entries that it is like."""
    entry = data("huggingface.toml")[name]
    below = merged(entry["like"]) if "like" in entry else {}
    tables = ("always", "fields", "defaults", "only")
    made = {table: {**below.get(table, {}), **entry.get(table, {})} for table in tables}
    made["fields"] = {ours: theirs for ours, theirs in made["fields"].items() if theirs}
    lists = {what: [*below.get(what, []), *entry.get(what, [])] for what in ("optional", "ignored")}
    return made | lists | {what: entry.get(what, below.get(what, "")) for what in ("class", "cycle")}


def _known(kind: Mapping[str, Any]) -> set[str]:
    """The names in a file that are read, or looked at."""
    read = [[name] if isinstance(name, str) else name for name in kind["fields"].values()]
    return {name for names in read for name in names} | set(kind["only"]) | set(kind["ignored"])


def _kind(path: str, values: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """How to read this config's model_type."""
    name = values.get("model_type")
    if isinstance(name, str) and name in kinds and name != "common":
        return merged(name)
    known = set[str]().union(*(_known(merged(other)) for other in kinds))
    strange = [key for key in values if STRUCTURAL.search(key) and key not in known and values[key]]
    told = f", nor are its {', '.join(strange)}" if strange else ""
    modelled = ", ".join(other for other in kinds if other != "common")
    raise ValueError(f"{path}: the model_type {name!r} is not modelled{told}. Modelled are {modelled}")


def _flat(path: str, values: dict[str, Any], kind: Mapping[str, Any]) -> dict[str, Any]:
    """The config with what stands in its tables of rotary embeddings, and of attention, on one level."""
    for table in ("rope_parameters", "rope_scaling"):
        inner = values.get(table) or {}
        if not isinstance(inner, dict):
            raise ValueError(f"{path}: {table} is {inner!r}, and must be an object or null")
        by_type = [x for name, x in inner.items() if name.endswith("_attention") and isinstance(x, dict)]
        for part in by_type or [inner]:
            strange = sorted(set(part) - ROTARY)
            if strange:
                raise ValueError(f"{path}: {table} has {strange[0]}, which is no field of rotary embeddings")
            values = {**part, **values}
    inner = values.get("attn_config") or {}
    if not isinstance(inner, dict):
        raise ValueError(f"{path}: attn_config is {inner!r}, and must be an object or null")
    return {**{key: x for key, x in inner.items() if key in kind["only"]}, **values}


def _refuse_classes(path: str, values: Mapping[str, Any], kind: Mapping[str, Any], outer: Mapping[str, Any]) -> None:
    """Raises ValueError where the file is of another class, or of code of its own."""
    wanted = {kind["class"]} | ({kind["class"].replace("ForCausalLM", "ForConditionalGeneration")} if outer else set())
    given = outer.get("architectures", values.get("architectures")) or [kind["class"]]
    same_words = {name.lower() for name in wanted}  # MPT's own is MPTForCausalLM, and transformers' MptForCausalLM
    if not isinstance(given, list) or any(str(name).lower() not in same_words for name in given):
        raise ValueError(f"{path}: architectures is {given}, and only {kind['class']} is modelled")
    own_code = values.get("auto_map") or {}
    if not isinstance(own_code, dict):
        raise ValueError(f"{path}: auto_map is {own_code!r}, and must be an object")
    base = kind["class"].removesuffix("ForCausalLM")
    for name, theirs in own_code.items():
        of_model = name.startswith(("AutoConfig", "AutoModel"))  # and not of its tokenizer
        if of_model and not str(theirs).rpartition(".")[2].lower().startswith(base.lower()):
            raise ValueError(f"{path}: auto_map has {name} = {theirs!r}, which is code of its own and not {base}'s")


def _refuse_fields(path: str, values: Mapping[str, Any], kind: Mapping[str, Any]) -> None:
    """Raises ValueError for what makes another model of it, by the name of the field."""
    for name, allowed in kind["only"].items():
        equal = [values.get(other, other) if isinstance(other, str) else other for other in allowed]
        if values.get(name) is not None and values[name] not in [*allowed, *equal]:
            raise ValueError(f"{path}: {name} is {values[name]!r}, and only {allowed or 'null'} is modelled")
    known = _known(kind)
    for name, value in values.items():
        says_nothing = not value or (isinstance(value, float) and value == 1)
        if STRUCTURAL.search(name) and name not in known and not says_nothing:
            raise ValueError(f"{path}: {name} is {value!r}, which is not modelled for {values['model_type']!r}")


# --- what differs from layer to layer ---------------------------------------------------------------------


def _windows(found: _Config, made: dict[str, Any]) -> dict[str, Any]:
    """Which layers have a window or chunks, and which turn their queries and keys."""
    layers, window, chunk = made["layers"], made.pop("window", None) or None, made.pop("chunk", None)
    types, first = made.pop("layer_types", None), made.pop("window_from", 0)
    turns = _turning(found, layers, made.pop("rotary_layers", None), made.pop("no_rotary_step", None))
    if made.pop("windowed", True) is False:
        window = None
    elif first and window:
        types = types or ["full_attention" if i < first else "sliding_attention" for i in range(layers)]
    if types is None and found.kind["cycle"]:
        cycle = found.kind["cycle"]
        types = [cycle[i % len(cycle)] for i in range(layers)]
        if chunk and turns:
            types = ["chunked_attention" if turn else "full_attention" for turn in turns]
    rows = _rows_of_types(found, types, layers, window, chunk)
    if turns and not all(turns):
        still = {"positions": "none"} | ({"query_key_norm": "none"} if chunk else {})
        rows = [row | ({} if turn else still) for row, turn in zip(rows or [{}] * layers, turns, strict=True)]
    if types is None and window:
        made["window"] = window
    return made | ({"pattern": tuple(rows)} if any(rows) else {})


def _rows_of_types(found: _Config, types: Any, layers: int, window: Any, chunk: Any) -> list[dict[str, Any]]:
    """A row for each layer. Raises ValueError for a list of another length, and for types that are not modelled."""
    if types is None:
        return []
    kinds = {"full_attention": {}, "sliding_attention": {"window": window}, "chunked_attention": {"chunk": chunk}}
    if len(types) != layers:
        raise ValueError(f"{found.path}: layer_types has {len(types)} entries for {layers} layers")
    for given in types:
        if not isinstance(given, str) or given not in kinds:
            raise ValueError(f"{found.path}: layer_types has {given!r}, and only {list(kinds)} are modelled")
        if given != "full_attention" and None in kinds[given].values():
            raise ValueError(f"{found.path}: layer_types has {given!r}, and the file does not say how many tokens")
    return [dict(kinds[given]) for given in types]


def _turning(found: _Config, layers: int, given: Any, step: Any) -> list[bool]:
    """Whether each layer turns its queries and keys; nothing at all where all do."""
    if step is None:
        return []
    if given and len(given) != layers:
        raise ValueError(f"{found.path}: no_rope_layers has {len(given)} entries for {layers} layers")
    return [bool(x) for x in given] if given else [bool((i + 1) % step) for i in range(layers)]


def _experts(found: _Config, made: dict[str, Any]) -> dict[str, Any]:
    """Experts, and which layers have an MLP in their place."""
    shared, dense_hidden = made.pop("shared_experts", None), made.pop("dense_hidden", None)
    step, among = made.pop("expert_step", 1), made.pop("expert_layers", None)
    first, without = made.pop("dense_first", 0), made.pop("dense_layers", [])
    if "experts" not in made:
        return made
    for name, numbers in {"mlp_only_layers": without, "moe_layers": among or []}.items():
        for x in numbers:
            if whole(x) is None:
                raise ValueError(f"{found.path}: {name} has {x!r}, and must have whole numbers")
    layers, width = range(made["layers"]), made.get("expert_hidden", made["mlp_hidden"])
    made |= {"expert_hidden": width} | ({"shared_hidden": shared * width} if shared else {})
    with_experts = [i >= first and i not in without and (i + 1) % step == 0 for i in layers]
    with_experts = [i in among for i in layers] if among is not None else with_experts
    if dense_hidden:
        made["mlp_hidden"] = dense_hidden
    if all(with_experts):
        return made
    sizes = ("experts", "experts_per_token", "expert_hidden", "shared_hidden")
    none: dict[str, Any] = {**dict.fromkeys(sizes), "router_offset": False}
    rows: tuple[dict[str, Any], ...] = made.get("pattern") or ({},) * len(layers)
    return made | {"pattern": tuple(row | ({} if has else none) for row, has in zip(rows, with_experts, strict=True))}


# --- what follows from other fields -----------------------------------------------------------------------


def _falcon(found: _Config, made: dict[str, Any]) -> None:
    """What Falcon says in words of its own: its norms, and how many heads there are of keys and values."""
    if made.pop("grouped", False):
        if not made["parallel"]:
            raise ValueError(f"{found.path}: parallel_attn is False, and only true goes with new_decoder_architecture")
        made.setdefault("kv_heads", made["heads"])
        made["norms"] = "shared" if made.pop("norms_before", 2) == 1 else "before"
        made.pop("multi_query")
    elif "multi_query" in made:
        made["kv_heads"] = 1 if made.pop("multi_query") else made["heads"]
        found.where["kv_heads"] = "derived: multi_query"
        one_norm = made["parallel"] and made.pop("norms_before", 1) == 1
        made["norms"] = "shared" if one_norm else "before"
        made.pop("norms_before", None)


def _heads(found: _Config, made: dict[str, Any]) -> dict[str, Any]:
    """Heads, and how many there are of keys and values."""
    _falcon(found, made)
    if made.pop("alibi", False):
        made["positions"] = "alibi"
    if made.get("kv_latent") is not None:
        made.pop("kv_heads", None)
    elif made.get("head_dim") is None:
        if made["hidden"] % made["heads"]:
            raise ValueError(f"{found.path}: {made['heads']} heads do not divide a hidden size of {made['hidden']}")
        made["head_dim"] = made["hidden"] // made["heads"]
        found.where["head_dim"] = "derived: hidden / heads"
    fraction = made.pop("rotary_fraction", 1)
    if fraction != 1:
        made["rotary_dim"] = int(made["head_dim"] * fraction)
        found.where["rotary_dim"] = f"derived: {found.where.pop('rotary_fraction')} of head_dim"
    return made


def _derived(found: _Config, made: dict[str, Any]) -> dict[str, Any]:
    """Biases, norms, scales and activations in our words."""
    attention, mlp = made.pop("attention_bias", False), made.pop("mlp_bias", False)
    if attention or mlp:
        made["bias"] = "all" if attention and mlp else "attention" if attention else "mlp"
    for flag, (what, word) in WORDS.items():
        made |= {what: word} if made.pop(flag, False) else {}
    if made.get("embedding_scale") == "root of hidden":
        made["embedding_scale"] = math.sqrt(made["hidden"])
    if "query_scalar" in made:
        made["score_scale"] = made.pop("query_scalar") ** -0.5
    if "logits_divided" in made:
        made["logits_scale"] = 1 / made.pop("logits_divided")
    made = {ours: x for ours, x in made.items() if ours not in ("score_cap", "logits_cap") or x}
    word = made.get("activation", "gelu")
    made["activation"] = "gelu" if word.startswith("gelu") else ACTIVATIONS.get(word, word)
    if "position_rows" in made:
        made["position_rows"] += made.get("position_offset", 0)
    return made


def _storage(path: str, values: Mapping[str, Any]) -> dict[str, str]:
    """The dtypes in which matrices are stored. Raises ValueError for a way of quantizing that is not modelled."""
    for name in OTHERWISE_QUANTIZED:
        if values.get(name):
            raise ValueError(f"{path}: {name} is {values[name]!r}, and only a quantization_config is modelled")
    how = values.get("quantization_config")
    if not how:
        return {}
    if not isinstance(how, dict):
        raise ValueError(f"{path}: quantization_config is {how!r}, and must be an object")
    method, bits = how.get("quant_method"), how.get("bits")
    _refuse_exceptions(path, how)
    if method == "mxfp4":
        return {"expert_dtype": "mxfp4"}
    if method == "fp8":
        return {"layer_dtype": "fp8"}
    if method in ("awq", "gptq") and bits in (4, 8) and how.get("group_size", 128) == 128:
        return {"layer_dtype": f"int{bits}"}
    raise ValueError(
        f"{path}: quantization_config has quant_method {method!r} with bits {bits} and group_size "
        f"{how.get('group_size')}, and only mxfp4, fp8, and awq or gptq with 4 or 8 bits and groups of 128 are modelled"
    )


def _refuse_exceptions(path: str, how: Mapping[str, Any]) -> None:
    """Raises ValueError where some matrices of layers are quantized and others are not."""
    as_ever = EXPERTS_ALONE if how.get("quant_method") == "mxfp4" else NEVER_QUANTIZED
    for what in ("modules_to_not_convert", "ignored_layers"):
        names = how.get(what) or []
        if not isinstance(names, list):
            raise ValueError(f"{path}: quantization_config has {what} = {names!r}, which must be a list")
        for name in names:
            if not as_ever.search(str(name)):
                raise ValueError(f"{path}: quantization_config has {name!r} in {what}, which is not modelled")
    for what in ("lm_head", "dynamic"):
        if how.get(what):
            raise ValueError(f"{path}: quantization_config has {what} = {how[what]!r}, which is not modelled")


def _scaled(values: Mapping[str, Any]) -> bool:
    """Whether the rotary frequencies are stretched, which costs nothing, and which `run` does not know."""
    return values.get("type", values.get("rope_type", "default")) not in ("default", None)
