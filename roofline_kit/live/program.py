"""How does a formula run in a browser? Named SymPy formulas as one JavaScript function, and as one Python function.

Both are one text: `max(a, b)` and `pow(a, 2)` mean the same in both languages. So a page without a kernel shows the
numbers that Python computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

import sympy
from sympy.printing.jscode import JavascriptCodePrinter

from ..errors import unknown

# What SymPy's printer translates. Everything else it would write as it stands: a call of what no browser has.
KNOWN = (
    sympy.Add, sympy.Mul, sympy.Pow, sympy.Max, sympy.Min, sympy.floor, sympy.ceiling, sympy.log, sympy.exp, sympy.Abs,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Program:
    """Formulas by name, in the order in which they are computed.

    inputs : names of the symbols that have values. formulas : {name: formula}; a formula may use the inputs and the
    names before its own, so that a long sum is written in short parts. outputs : those that are wanted, or all.

    Raises ValueError for what cannot be translated, naming the function or the symbol, and for a name given twice.

    >>> N, flops = sympy.symbols("N flops")
    >>> program = Program(("N",), {"flops": 2 * N**3, "seconds": sympy.Max(flops / 10**12, N)})
    >>> program.javascript
    'p=>{const a=p[0],b=2*pow(a, 3),c=max(a, (1/1000000000000)*b);return[b,c]}'
    >>> program.run([1e5])
    [2000000000000000.0, 100000.0]
    """

    inputs: Sequence[str]
    formulas: Mapping[str, Any]
    outputs: Sequence[str] = ()

    def __post_init__(self) -> None:
        names = list(self.inputs)
        for name, formula in self.formulas.items():
            if name in names:
                raise ValueError(f"two values are called {name!r} here: rename the symbol")
            _check(name, sympy.sympify(formula), names)
            names.append(name)

    @cached_property
    def javascript(self) -> str:
        """A function from an array of the inputs' values to an array of the outputs' values, where `PRELUDE` holds."""
        lines, outputs = self._text
        return f"p=>{{const {','.join(lines)};return[{outputs}]}}"

    @cached_property
    def run(self) -> Callable[[Sequence[float]], list[float]]:
        """The same in Python; a division by zero raises ZeroDivisionError."""
        lines, outputs = self._text
        names: dict[str, Any] = vars(math) | {"max": _max, "min": _min}
        del names["pow"]  # the built-in one keeps whole numbers exact
        exec("\n ".join(["def run(p):", *lines, f"return [{outputs}]"]), names)  # as SymPy's lambdify does
        return names["run"]

    @cached_property
    def _text(self) -> tuple[list[str], str]:
        """Assignments, and the list of the outputs, in words that both languages understand."""
        short = dict(zip([*self.inputs, *self.formulas], _identifiers(), strict=False))
        write = _Printer(short).doprint
        lines = [f"{short[name]}=p[{i}]" for i, name in enumerate(self.inputs)]
        lines += [f"{short[name]}={write(formula)}" for name, formula in self.formulas.items()]
        return lines, ",".join(short[name] for name in self.outputs or self.formulas)


def _max(*values: float) -> float:
    """As JavaScript's Math.max: NaN if one of them is; Python's depends on their order then."""
    return math.nan if any(map(math.isnan, values)) else max(values)


def _min(*values: float) -> float:
    return math.nan if any(map(math.isnan, values)) else min(values)


PRELUDE = "const {pow,max,min,floor,ceil,log,exp,abs,sqrt,cbrt}=Math,nan=NaN;"


class _Printer(JavascriptCodePrinter):  # type: ignore[misc]
    """Writes functions without `Math.`, and symbols by short names: one called `new` or `in` is no trouble then."""

    def __init__(self, short: Mapping[str, str]) -> None:
        super().__init__()
        self.short = short

    def _print_Symbol(self, symbol: sympy.Symbol) -> str:
        return self.short[symbol.name]

    def _print_NaN(self, _: Any) -> str:
        return "nan"

    def doprint(self, formula: Any, assign_to: Any = None) -> str:
        return super().doprint(sympy.sympify(formula), assign_to).replace("Math.", "")


def _identifiers() -> Iterator[str]:
    """a, b, …, z, a1, b1, …: none of them a word of JavaScript, none of them p."""
    for round_ in count():
        yield from (f"{letter}{round_ or ''}" for letter in "abcdefghijklmnoqrstuvwxyz")


def _check(name: str, formula: sympy.Expr, names: Sequence[str]) -> None:
    """Raises ValueError for a part of a formula that would not mean the same in a browser."""
    for part in sympy.preorder_traversal(formula):
        if isinstance(part, sympy.Symbol):
            if str(part) not in names:
                raise ValueError(f"{name} = {formula}: {unknown('symbol', str(part), names)}")
        elif part is sympy.nan or (isinstance(part, (sympy.Rational, sympy.Float)) and part.is_finite):
            continue
        elif part.func not in KNOWN:
            known = [function.__name__ for function in KNOWN]
            problem = unknown("function", part.func.__name__, known)
            raise ValueError(f"{name} = {formula} cannot be translated to JavaScript: {problem}")
