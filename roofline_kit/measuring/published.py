"""What did others measure? GPU times that NVIDIA published, each with what our own algorithm costs at its sizes.

The tables lie in the course's folder, in `measurements/published/`. README.md there says whose they are, how they were
taken, and which of them can be compared with a bound.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..cost import CompiledCost, Cost, trace
from ..experts import awake_most, combine, expert_product
from ..hardware import Accelerator, accelerator, accelerators, datasheet
from ..latent import attend
from ..masks import Causal
from ..names import choose, flag, shown, unknown
from ..ops import astype, silu
from ..roofline import Roofline
from ..sizes import symbols
from ..tensor import RESOURCES, Tensor, fuse
from ..transformer import attention, linear
from .timing import Measurement

Row = dict[str, Any]
Shapes = dict[str, tuple[Any, ...]]

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
"""The last column of a table is a time, and its name is the unit."""

OPERANDS = {
    "bf16": ("bf16", "bf16"), "fp16": ("fp16", "fp16"), "fp8": ("fp8", "fp8"), "nvfp4": ("nvfp4", "nvfp4"),
    "int8": ("int8", "int8"), "int8_wo": ("fp16", "int8"), "int4_wo": ("fp16", "int4"), "fp8_block": ("fp8", "fp8"),
}  # fmt: skip
"""Activations and weights, by what the tables call the two together. What is computed in is the first."""

TEXT = ("gpu", "software", "kernel", "op", "dtype", "kv_dtype", "model", "distribution")
"""Columns that hold names; all others hold sizes."""


@dataclass(frozen=True, repr=False)
class Published(Measurement):
    """A time that somebody else measured: a `Measurement` of one repetition, the mean that was published.

    sizes : by the names that the table gives them. software, kernel : what computed it. Its device is an accelerator of
    the kit: `taken.share(rk.roofline(taken.device, taken.dtype))` is its share of the datasheet's roof.

    >>> taken = measured("product", "H100-SXM", software="SGLang", dtype="bf16", m=64, n=4096, k=4096)[0]
    >>> taken.sizes["m"], taken.software, taken.flops == 2 * 64 * 4096 * 4096
    (64, 'SGLang 0.5.14', True)
    """

    sizes: Mapping[str, int]
    software: str
    kernel: str

    @property
    def flops(self) -> int:
        """FLOPs of one call, as our algorithm is traced. Raises ValueError where the kit traces none."""
        self._check_traced()
        return super().flops

    @property
    def bytes(self) -> int:
        """Bytes of one call, as our algorithm is traced. Raises ValueError where the kit traces none."""
        self._check_traced()
        return super().bytes

    @property
    def in_cache(self) -> bool:
        """Whether all that a call moves fits into the last cache of its GPU, so that it need not come from memory.

        Replays that find their operands there can be faster than a roofline allows. Raises ValueError as `bytes` does.

        >>> [p.in_cache for p in measured("decode", "L40S", software="vLLM", context=4096, batch=[1, 64])]
        [True, False]
        """
        return self.bytes <= accelerator(self.device).cache

    @property
    def spread(self) -> float:
        """Not known: what was published is one number. Raises ValueError."""
        raise ValueError(f"{self.name} on {self.device}: no spread was published")

    def predicted(self, roof: Roofline) -> float:
        """Seconds by a roofline. Raises ValueError where the kit traces no algorithm for it."""
        self._check_traced()
        return super().predicted(roof)

    def row(self, roof: Roofline | None = None) -> dict[str, Any]:
        """All of it as a plain dictionary, for pandas or csv; with `roof`, what that predicts and measured / predicted.

        >>> taken = measured("decode", "H200", software="SGLang", kv_dtype="bf16", batch=64, context=4096, kv_heads=32)
        >>> from roofline_kit import roofline
        >>> f"{taken[0].row(roofline('H200', 'bf16'))['ratio']:.2f}"
        '1.08'
        """
        whose = {"name": self.name, "device": self.device, "software": self.software, "kernel": self.kernel}
        row: dict[str, Any] = {**whose, "dtype": self.dtype, **self.sizes, "seconds": self.median}
        if self.steps:
            row |= {"flops": self.flops, "bytes": self.bytes, "flop_per_s": self.rate}
        if roof is not None:
            row |= {"predicted": self.predicted(roof), "ratio": self.median / self.predicted(roof)}
        return row

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {size}" for name, size in self.sizes.items())
        return f"{self.name} on {self.device}, {sizes}: {self.median:.4g} s, {self.software}"

    def _check_traced(self) -> None:
        if not self.steps:
            raise ValueError(
                f"{self.name}: there are its sizes and its time alone, for the kit traces no algorithm for it, or this "
                "row does not say how many experts are awake on one GPU"
            )


# --- what was measured, and our algorithm for it ------------------------------------------------------------


def _of_product(sizes: Mapping[str, Any]) -> Shapes:
    m, n, k = sizes["m"], sizes["n"], sizes["k"]
    return {"X": (m, k), "W": (k, n)}


def _of_attention(sizes: Mapping[str, Any]) -> Shapes:
    """A prompt's context is its own tokens, and a decode step has one token."""
    tokens = sizes.get("tokens", 1)
    keys = (sizes["batch"], sizes["kv_heads"], 1, sizes.get("context", tokens), sizes["head_dim"])
    return {"Q": (*keys[:2], sizes["group"], tokens, keys[-1]), "K": keys, "V": keys}


def _of_latents(sizes: Mapping[str, Any]) -> Shapes:
    """DeepSeek's widths: 512 numbers of a latent and 64 that are rotated, which all heads share."""
    heads, cache = (sizes["batch"], sizes["heads"], 1), (sizes["batch"], 1, sizes["context"])
    return {"Q": (*heads, 512), "Q_rope": (*heads, 64), "K": (*cache, 512), "K_rope": (*cache, 64)}


def _of_expanded(sizes: Mapping[str, Any]) -> Shapes:
    """Heads of 128 + 64 numbers, and of 128 in values."""
    rows = (sizes["batch"], sizes["heads"], sizes["tokens"])
    return {"Q": (*rows, 192), "K": (*rows, 192), "V": (*rows, 128)}


def _of_experts(sizes: Mapping[str, Any]) -> Shapes:
    """A token's vector, which experts it has chosen and how much each counts, and gated MLPs."""
    N, h, m, E, k = (sizes[name] for name in ("tokens", "hidden", "inter", "experts", "topk"))
    return {"X": (N, h), "chosen": (N, k), "P": (N, k), "gate": (E, h, m), "up": (E, h, m), "down": (E, m, h)}


def _product(arrays: Sequence[Tensor], fused: bool) -> Cost:
    return trace(linear if arrays[0].dtype in ("bf16", "fp16") else fuse(_from_narrow), *arrays)


def _attention(arrays: Sequence[Tensor], fused: bool, mask: Causal | None = None) -> Cost:
    """A new token sees everything."""
    return trace(fuse(attention) if fused else attention, *arrays, mask)


def _prompt(arrays: Sequence[Tensor], fused: bool) -> Cost:
    return _attention(arrays, fused, Causal())


def _latents(arrays: Sequence[Tensor], fused: bool) -> Cost:
    """Absorbed: the latents are keys and values."""
    Q, Q_rope, K, K_rope = arrays
    return trace(fuse(attend) if fused else attend, Q, Q_rope, K, K_rope, K, None)


def _experts(arrays: Sequence[Tensor], fused: bool) -> Cost:
    """Without the router; balanced, so that as many experts are awake as can be."""
    chosen, W = arrays[1], arrays[3]
    awake = awake_most(W.shape[0], chosen.shape[-1], chosen.shape[0])

    def layer(X: Any, chosen: Any, P: Any, gate: Any, up: Any, down: Any) -> Any:
        each = X.reshape(X.shape[0], 1, X.shape[1])
        hidden = silu(expert_product(each, gate, None, chosen, awake)) * expert_product(each, up, None, chosen, awake)
        return combine(expert_product(hidden, down, None, chosen, awake), P)

    return trace(layer, *arrays)


def _all_known(row: Row) -> bool:
    return True


def _balanced(row: Row) -> bool:
    """Whether it is known how many experts are awake, and all are on one GPU."""
    return row["distribution"] == "balanced" and row["tp"] == row["ep"] == 1


@dataclass(frozen=True)
class Operation:
    """Where its rows are, and how they are traced. kind : in the column `op`, if the table has several.

    open : the sizes that are symbols in the trace. shapes : of its arrays, from sizes that are symbols or numbers.
    cost : of the arrays, fused or not. All three are missing where the kit traces no algorithm for it. known : whether
    a row says all that its cost depends on.
    """

    file: str
    kind: str = ""
    open: str = ""
    shapes: Callable[[Mapping[str, Any]], Shapes] | None = None
    cost: Callable[[Sequence[Tensor], bool], Cost] = _product
    known: Callable[[Row], bool] = _all_known


PREFILL, DECODE = (f"batch {own} kv_heads group head_dim" for own in ("tokens", "context"))
OPERATIONS = {
    "product": Operation("products", "", "m n k", _of_product),
    "prefill": Operation("attention", "prefill", PREFILL, _of_attention, _prompt),
    "decode": Operation("attention", "decode", DECODE, _of_attention, _attention),
    "latent prefill": Operation("latent_attention", "prefill", "batch tokens heads", _of_expanded, _prompt),
    "latent decode": Operation("latent_attention", "decode", "batch context heads", _of_latents, _latents),
    "experts": Operation("experts", "", "tokens hidden inter experts topk", _of_experts, _experts, _balanced),
    **{op: Operation("collectives", op) for op in ("all_gather", "all_reduce", "alltoall", "reduce_scatter")},
    "impossible decode": Operation("impossible", "decode", DECODE, _of_attention, _attention),
}


@cache
def _compiled(operation: str, dtype: str, kv_dtype: str, fused: bool) -> CompiledCost:
    """The cost of our algorithm as a function of its open sizes."""
    what = OPERATIONS[operation]
    assert what.shapes is not None
    shapes = what.shapes({str(size): size for size in symbols(what.open)})
    left, right = OPERANDS[dtype]
    weights = dict.fromkeys(("W", "gate", "up", "down"), right)
    own = weights | {"chosen": "int32"} | (dict.fromkeys(("K", "V"), kv_dtype) if kv_dtype else {})
    arrays = [Tensor(name, shape, own.get(name, left)) for name, shape in shapes.items()]
    return what.cost(arrays, fused).compile(*what.open.split())


def _from_narrow(X: Any, W: Any) -> Any:
    """A product of numbers of 8 bits or fewer, written in the 16 that activations have around it."""
    return astype(linear(X, W), "fp16")


def _amounts(cost: CompiledCost, rows: list[Row]) -> Iterable[tuple[dict[str, int], ...]]:
    """The amounts of each step by resource, row by row, computed at once."""
    names = [str(size) for size in cost.symbols]  # once: SymPy prints slowly
    sweep = cost(*([row[name] for row in rows] for name in names))
    steps = [
        {name: [int(amount) for amount in amounts[name]] for name in RESOURCES}
        for amounts in sweep.amounts(tuple(RESOURCES))
    ]
    for i in range(len(rows)):
        yield tuple({name: step[name][i] for name in RESOURCES} for step in steps)


# --- which rows --------------------------------------------------------------------------------------------------


def measured(
    operation: str, gpu: Accelerator | str | None = None, *, fused: bool = True, folder: Path | str | None = None,
    **where: Any,
) -> list[Published]:  # fmt: skip
    """Published times of an operation on a GPU, with what our own algorithm costs at their sizes.

    operation : "product", X · W; "prefill" or "decode", causal attention of many heads; "latent prefill", "latent
    decode", DeepSeek's, expanded and absorbed, without projections; "experts", without their router, whose costs are
    known where tokens are spread evenly on one GPU; "all_reduce" and its like, of which there are times and no costs;
    "impossible decode", a table with a fault. gpu : by name, or None for all.
    where : what rows must have, a value or a list of values by column. Sizes are m, n and k of a product, and batch,
    tokens, context, kv_heads and others of attention; names are dtype, kv_dtype, kernel and software, which is found by
    its beginning, "SGLang". What is not given is not chosen: there may be rows of several programs.
    fused : whether attention costs what the fused algorithm does, as these kernels are, or what it does step by step.
    folder : another one than the course's `measurements/published/`.

    Raises ValueError for a name or a size that no row has, with what there is and what is nearest, and for a row that
    cannot be, with its file and line; FileNotFoundError where the tables are not.

    >>> taken = measured("product", "H200", software="SGLang", dtype="bf16", n=8192, k=8192)
    >>> [p.sizes["m"] for p in taken][:4], f"{taken[0].median * 1e6:.1f} µs"
    ([1, 2, 4, 8], '34.5 µs')
    """
    operation = choose("operation", operation, OPERATIONS)
    fused = flag(f"{operation}: fused", fused)
    what = OPERATIONS[operation]
    path = (_folder() if folder is None else Path(folder)) / f"{what.file}.csv"
    rows = [row for row in _read(path, path.stat().st_mtime_ns) if row.get("op", "") == what.kind]
    if not rows:
        raise ValueError(f"{path.name} has no rows of {operation!r}")
    if missing := [column for column in ("software", *what.open.split()) if column not in rows[0]]:
        raise ValueError(f"{path.name}, line 1: there is no column {missing[0]!r}")
    of = operation
    if gpu is not None:
        rows, of = _on(gpu, rows, operation)
    for column, values in where.items():
        rows = _with(rows, of, column, values)
        of += f", {column} = {shown(values)}"
    return _as_measurements(operation, rows, fused)


def _on(gpu: Accelerator | str, rows: list[Row], operation: str) -> tuple[list[Row], str]:
    """The rows of one GPU, and what they are. Raises ValueError for one that has none."""
    card = gpu if isinstance(gpu, Accelerator) else datasheet(gpu)
    name, there = card.name if card is not None else gpu, sorted({row["gpu"] for row in rows})
    if name not in there:
        raise ValueError(f"{operation}: nothing was published for it: {unknown('GPU', name, there)}")
    return [row for row in rows if row["gpu"] == name], f"{operation} on {name}"


def _with(rows: list[Row], of: str, column: str, values: Any) -> list[Row]:
    """The rows that have one of these values. Raises ValueError for a value that none of them has."""
    columns = [name for name in rows[0] if name not in ("gpu", "op", "seconds")]
    if column not in columns:
        raise ValueError(f"{of}: {unknown('column', column, columns)}")
    there, found = {row[column] for row in rows}, set()
    for value in values if isinstance(values, Collection) and not isinstance(values, str) else [values]:
        if not isinstance(value, Hashable):
            raise ValueError(f"{of}: {column} must be a value or a list of values, and has {shown(value)}")
        begun = {known for known in there if column == "software" and known.startswith(str(value))}
        if (value not in there or isinstance(value, bool)) and not begun:
            raise ValueError(f"{of}: no row has {column} = {value!r}. {_instead(value, there)}")
        found |= begun or {value}
    if not found:
        raise ValueError(f"{of}: {column} is an empty list, and no row can have a value of it")
    return [row for row in rows if row[column] in found]


def _instead(value: Any, there: Collection[Any]) -> str:
    """What there is, and which of it is nearest."""
    known = sorted(there)
    if not isinstance(known[0], int):
        return f"There are {', '.join(map(repr, known))}"
    listed = ", ".join(map(str, known)) if len(known) <= 30 else f"{len(known)}, from {known[0]} to {known[-1]}"
    if not isinstance(value, (int, float)) or not value > 0:
        return f"There are {listed}"
    return f"The nearest is {min(known, key=lambda size: abs(math.log(size / value)))}. There are {listed}"


def _as_measurements(operation: str, rows: list[Row], fused: bool) -> list[Published]:
    """The rows with their costs; those that share dtypes are computed together."""
    shapes, known = OPERATIONS[operation].shapes, OPERATIONS[operation].known
    kinds: dict[tuple[str, str], list[int]] = {}
    for i, row in ((i, row) for i, row in enumerate(rows) if known(row)):
        kinds.setdefault((row["dtype"], row.get("kv_dtype", "")), []).append(i)
    steps: dict[int, tuple[dict[str, int], ...]] = {}
    for dtypes, places in kinds.items() if shapes is not None else ():
        amounts = _amounts(_compiled(operation, *dtypes, fused), [rows[i] for i in places])
        steps |= dict(zip(places, amounts, strict=True))
    names = [name for name in rows[0] if name not in (*TEXT, "seconds")]
    found = []
    for i, row in enumerate(rows):
        sizes = {name: row[name] for name in names}
        arrays = tuple(shapes(row).values()) if shapes is not None and known(row) else ()
        whose, dtype = (row["software"], row.get("kernel", "")), OPERANDS[row["dtype"]][0]
        taken = Published(operation, row["gpu"], dtype, arrays, (row["seconds"],), steps.get(i, ()), sizes, *whose)
        found.append(taken)
    return found


# --- reading -----------------------------------------------------------------------------------------------------


def _folder() -> Path:
    """Where the tables are: in the course's folder, which is the working folder, one above it, or the kit's own."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (tables := folder / "measurements" / "published").is_dir():
            return tables
    raise FileNotFoundError(
        f"the published times lie in the course's folder, in measurements/published, and {here.name!r} is not in it: "
        "say where they are by folder=…"
    )


@cache
def _read(path: Path, changed: int) -> tuple[Row, ...]:
    """The rows of a table. Raises ValueError, with file and line, for one that cannot be.

    changed : when it was written, so that a table that has changed is read anew.
    """
    with path.open(encoding="utf-8", newline="") as file:
        table = csv.reader(file)
        *columns, unit = next(table, [""])
        _check("unit of time", unit, UNITS, f"{path.name}, line 1")
        return tuple(_row(columns, unit, cells, f"{path.name}, line {table.line_num}") for cells in table)


def _row(columns: list[str], unit: str, cells: list[str], where: str) -> Row:
    if len(cells) != len(columns) + 1:
        raise ValueError(f"{where}: {len(cells)} cells for {len(columns) + 1} columns")
    row: Row = {}
    for column, cell in zip(columns, cells[:-1], strict=True):
        row[column] = cell if column in TEXT else _size(column, cell, where)
    _check("GPU", row.get("gpu", ""), accelerators(), where)
    _check("dtype", row.get("dtype", ""), OPERANDS, where)
    if "kv_heads" in row:
        heads, kv_heads = row.get("heads", 0), row["kv_heads"]
        if heads < 1 or heads % kv_heads:
            raise ValueError(f"{where}: {heads} heads cannot share {kv_heads} kv_heads")
        row["group"] = heads // kv_heads
    row["seconds"] = _time(cells[-1], unit, where)
    return row


def _time(cell: str, unit: str, where: str) -> float:
    try:
        time = float(cell)
    except ValueError:
        raise ValueError(f"{where}: the time is {cell!r}, which is no number") from None
    if not 0 < time < math.inf:
        raise ValueError(f"{where}: the time is {cell} {unit}; a time is positive and finite")
    return time * UNITS[unit]


def _size(column: str, cell: str, where: str) -> int:
    if not cell.isdecimal() or int(cell) < 1:
        raise ValueError(f"{where}: {column} is {cell!r}; a size is a positive integer")
    return int(cell)


def _check(kind: str, name: str, known: Collection[str], where: str) -> None:
    if name not in known:
        raise ValueError(f"{where}: {unknown(kind, name, known)}")
