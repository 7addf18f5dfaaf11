"""Do we get the lecture's numbers? Each is derived by tracing and compared with the slide.

`lecture.toml` holds what the lecture says. Nothing on the "derived" side is typed in: it comes out of
`attention` and `linear`, the same functions that run and are timed.
"""

import re
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import Any

import sympy

from ..cost import aligned, trace
from ..names import choose, data, unknown
from ..roofline import roofline
from ..sizes import symbols
from ..tensor import Tensor, tensors
from ..transformer import attention, linear

_SIZES = {str(s): s for s in symbols("N h K M")}


@dataclass(frozen=True)
class Number:
    """One number of the lecture: its id, what it says, what the slide prints, what tracing gives."""

    id: str
    statement: str
    printed: str
    exact: Any
    derived: Any

    @property
    def agrees(self) -> bool:
        """Whether the derived value is the lecture's exactly, and the slide's to the digits it prints."""
        return _equal(self.derived, self.exact) and (not self.printed or _prints_as(self.derived, self.printed))


@dataclass(frozen=True, repr=False)
class Numbers:
    """The lecture's numbers as a table, in a notebook and in a terminal."""

    rows: tuple[Number, ...]

    def _cells(self) -> list[tuple[str, ...]]:
        rows = ((r.id, r.statement, r.printed, readable(r.derived), "yes" if r.agrees else "NO") for r in self.rows)
        return [("id", "statement", "slide", "derived", "agrees"), *rows]

    def __repr__(self) -> str:
        return "\n".join(aligned(self._cells(), left=5))

    def _repr_html_(self) -> str:
        return html_table(self._cells())


def html_table(cells: list[tuple[str, ...]]) -> str:
    """A table, of which the first row is the head."""
    lines = []
    for tag, row in zip(["th", *["td"] * len(cells)], cells, strict=False):
        lines.append("".join(f'<{tag} style="text-align: left">{escape(cell)}</{tag}>' for cell in row))
    return "<table>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table>"


@dataclass(frozen=True, repr=False)
class Published:
    """A table as a paper prints it: what it shows, its columns and rows, and its source."""

    what: str
    source: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""

    def _cells(self) -> list[tuple[str, ...]]:
        rows = ((f"{x:g}" if isinstance(x, float) and x >= 1e6 else str(x) for x in row) for row in self.rows)
        return [self.columns, *map(tuple, rows)]

    def __repr__(self) -> str:
        return "\n".join([*aligned(self._cells(), left=1), f"({self.source})"])

    def _repr_html_(self) -> str:
        return f"{html_table(self._cells())}\n<p>{escape(self.source)}</p>"

    def column(self, name: str) -> tuple[Any, ...]:
        """The values of one column, from top to bottom."""
        place = self.columns.index(choose("column", name, self.columns, see="its .columns"))
        return tuple(row[place] for row in self.rows)


def published(name: str) -> Published:
    """A table that a paper prints and that cannot be derived, with its source, from published.toml.

    Raises ValueError for an unknown one, with the nearest names.

    >>> published("nsa-table-4").column("NSA [tokens]")
    (2048, 2560, 3584, 5632)
    """
    tables = data("published.toml")
    table = tables[choose("table", name, tables, see="roofline_kit/data/published.toml")]
    return Published(**table | {"columns": tuple(table["columns"]), "rows": tuple(map(tuple, table["rows"]))})


def numbers(topic: str = "") -> Numbers:
    """The table of the lecture's numbers: statement, what the slide prints, what we derive, agreement.

    topic : how the ids begin, such as "attn"; all of them if it is empty. Raises ValueError for a topic
    that no id begins with.

    >>> for row in numbers("mlp").rows:
    ...     print(row.statement, "|", row.printed, "|", row.derived, "|", row.agrees)
    linear layer at N = K = M = 4096, operations per byte | 1365 | 4096/3 | True
    linear layer at 4096 on the A10 is bound by | compute bound | compute | True
    """
    said = data("lecture.toml")["number"]
    derived = {name: iter(values) for name, values in _derived().items()}
    rows = ((r["id"], r["statement"], r.get("printed", ""), _parse(r["exact"]), next(derived[r["id"]])) for r in said)
    chosen = tuple(Number(*row) for row in rows if row[0].startswith(topic))
    if not chosen:
        raise ValueError(unknown("topic", topic, derived, see="rk.lecture.numbers()"))
    return Numbers(chosen)


def check(table: Numbers | None = None) -> Numbers:
    """The table of `numbers()`, if every row agrees.

    Raises AssertionError that names every number which does not.

    >>> all(row.agrees for row in check().rows)
    True
    """
    table = numbers() if table is None else table
    wrong = [f"{r.id}: derived {r.derived}, not {r.exact} ({r.printed})" for r in table.rows if not r.agrees]
    if wrong:
        raise AssertionError("not the lecture's numbers: " + "; ".join(wrong))
    return table


@cache
def _derived() -> dict[str, list[Any]]:
    """The values for every id, each out of a traced algorithm or a ratio of two datasheet rows."""
    N, h, K, M = _SIZES.values()
    add = trace(lambda A, B: A + B, *tensors("A B", N, "fp32"))
    attn = trace(attention, *tensors("Q K V", (N, h)))
    gemm = trace(linear, Tensor("X", (N, K)), Tensor("W", (K, M)))
    a10 = roofline("A10")
    square = gemm.at(N=4096, K=4096, M=4096)
    flops = {f"attn-flops-{name}": [s.flops] for name, s in zip(("qk", "softmax", "pv"), attn.steps, strict=True)}
    moved = {f"attn-io-{i}": [s.bytes] for i, s in enumerate(attn.steps, start=1)}
    return {
        **flops,
        **moved,
        "toy-add": [add.flops / add.accesses, add.intensity],
        "attn-flops": [attn.flops],
        "attn-io": [attn.bytes],
        "attn-ai": [attn.intensity, sympy.limit(attn.intensity, N, sympy.oo)],
        "attn-ai-4096": [attn.at(N=4096, h=4096).intensity],
        "gemm-flops": [gemm.flops],
        "gemm-io": [gemm.bytes],
        "mlp-ai-4096": [square.intensity],
        "a10-ridge": [a10.ridge],
        "mlp-bound": [a10.bound(square)],
        "attn-bound": [sympy.ceiling(a10.crossing(attn, "N", h=4096))],
    }


def _parse(text: str) -> Any:
    """A formula of the slides as a SymPy expression, or the text itself where it is a word."""
    if re.fullmatch(r"[a-z][a-z -]+", text):
        return text
    return sympy.sympify(text.replace("^", "**"), locals=_SIZES)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return bool(a == b)
    return bool(sympy.simplify(a - b) == 0)


def _prints_as(value: Any, printed: str) -> bool:
    """Whether `value` is what the slide prints: the same formula, the same word, the same digits."""
    if isinstance(value, str):
        return printed.split()[0] == value
    decimal = re.fullmatch(r"-?\d+(?:\.(\d+))?", printed)
    if decimal:
        last_digit = sympy.Rational(1, 10 ** len(decimal[1] or ""))
        return bool(2 * abs(value - sympy.Rational(printed)) <= last_digit)
    return _equal(value, _parse(printed))


def readable(value: Any) -> str:
    """A value as one line of plain text: 4096/3 = 1365.33, N²·(4·h + 3)."""
    if isinstance(value, sympy.Rational) and value.q > 1:
        return f"{value} = {float(value):.6g}" if value > 1 else str(value)
    return re.sub(r"\*\*(\d)", lambda m: "⁰¹²³⁴⁵⁶⁷⁸⁹"[int(m[1])], str(value)).replace("*", "·")
