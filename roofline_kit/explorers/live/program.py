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

from ...names import unknown

# What both languages have, by its name in them. Any other function would be a call of what no browser knows.
FUNCTIONS = {sympy.Max: "max", sympy.Min: "min", sympy.floor: "floor", sympy.ceiling: "ceil", sympy.Abs: "abs"}
FUNCTIONS |= {sympy.log: "log", sympy.exp: "exp"}


@dataclass(frozen=True, eq=False)
class Program:
    """Formulas by name, in the order in which they are computed.

    inputs : names of the symbols that have values. formulas : {name: formula}; a formula may use the inputs and the
    names before its own, so that a long sum is written in short parts. outputs : those that are wanted, or all.

    Raises ValueError for what cannot be translated, naming the function or the symbol, and for a name given twice.

    >>> N, flops = sympy.symbols("N flops")
    >>> program = Program(("N",), {"flops": 2 * N**3, "seconds": sympy.Max(flops / 10**12, N)})
    >>> program.javascript
    'p=>{const a=p[0],b=2*pow(a, 3),c=max(a, b/1000000000000);return[b,c]}'
    >>> program.run([1e5])
    [2000000000000000.0, 100000.0]
    """

    inputs: Sequence[str]
    formulas: Mapping[str, Any]
    outputs: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in self.formulas:
            if name in self.inputs:
                raise ValueError(f"two values are called {name!r} here: rename the symbol")
        self._text  # noqa: B018 (raises for what cannot be translated)

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
        fresh, letters, lines = _identifiers(), dict[str, str](), []
        for i, (name, formula) in enumerate([*((name, None) for name in self.inputs), *self.formulas.items()]):
            try:
                text = f"p[{i}]" if formula is None else _write(sympy.sympify(formula), letters)
            except LookupError as error:
                raise ValueError(f"{name} = {formula} cannot be translated to JavaScript: {error}") from None
            letters[name] = next(fresh)  # a symbol called `new` or `in` is no trouble then
            lines.append(f"{letters[name]}={text}")
        return lines, ",".join(letters[name] for name in self.outputs or self.formulas)


def _max(*values: float) -> float:
    """As JavaScript's Math.max: NaN if one of them is; Python's depends on their order then."""
    return math.nan if math.isnan(sum(values)) else max(values)


def _min(*values: float) -> float:
    return math.nan if math.isnan(sum(values)) else min(values)


PRELUDE = "const {pow,max,min,floor,ceil,log,exp,abs}=Math,nan=NaN;"


def fraction(product: sympy.Expr) -> list[list[sympy.Expr]]:
    """The factors above the bar, and those below it.

    >>> fraction(2 * sympy.Symbol("x") / 3 / sympy.Symbol("y"))
    [[2, x], [3, y]]
    """
    pairs = [
        (sympy.Integer(part.p), sympy.Integer(part.q)) if part.is_Rational
        else (sympy.S.One, part.base**-part.exp) if part.is_Pow and part.exp.is_Rational and part.exp.p < 0
        else (part, sympy.S.One) for part in sympy.Mul.make_args(product)
    ]  # fmt: skip
    return [[part for part in side if part is not sympy.S.One] for side in zip(*pairs, strict=True)]


def _write(formula: sympy.Expr, letters: Mapping[str, str]) -> str:
    """A formula in words of both languages, with letters for the symbols.

    SymPy's own printers sort all terms first, and that takes longer than to trace them.
    """

    def write(part: sympy.Expr) -> str:
        return f"({_write(part, letters)})" if part.is_Add or part.is_Mul else _write(part, letters)

    if formula.is_Symbol and formula.name in letters:
        return letters[formula.name]
    if formula.is_Integer or formula.is_Float or formula is sympy.nan:
        return str(formula.p) if formula.is_Integer else repr(float(formula))
    if formula.is_Add:
        return "+".join(_write(part, letters) for part in formula.args)
    over, under = fraction(formula)
    if under or formula.is_Mul:
        return "/".join(["*".join(map(write, over)) or "1", *map(write, under)])
    if formula.is_Pow or formula.func in FUNCTIONS:
        # One division is exact where it can be: as floats, N/3 - 11/3 is less than 1 for some N with (N - 11)/3 = 1.
        args = map(sympy.together, formula.args) if formula.func in (sympy.floor, sympy.ceiling) else formula.args
        return f"{FUNCTIONS.get(formula.func, 'pow')}({', '.join(_write(part, letters) for part in args)})"
    if formula.is_Symbol:
        raise LookupError(unknown("symbol", formula.name, letters))
    raise LookupError(unknown("function", formula.func.__name__, [function.__name__ for function in FUNCTIONS]))


def _identifiers() -> Iterator[str]:
    """a, b, …, z, a1, b1, …: none of them a word of JavaScript, none of them p."""
    for round_ in count():
        yield from (f"{letter}{round_ or ''}" for letter in "abcdefghijklmnoqrstuvwxyz")
