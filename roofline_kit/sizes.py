"""What is a size? Symbols that stay open, exact numbers, and how wide an element is in memory."""

from __future__ import annotations

import functools
import operator
from typing import Any

import sympy
import sympy.tensor.tensor  # SymPy asks for it at the first sum: loaded here, not in the first cell that traces

from .names import choose

BYTES = {"fp64": 8, "fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int64": 8, "int32": 4, "int8": 1}
"""Bytes per element in memory. tf32 is a mode of the multiplier: it is stored as fp32."""


def symbols(names: str) -> Any:
    """Positive integer SymPy symbols, for the sizes that a formula keeps open.

    Like `sympy.symbols`, it returns a tuple, or the symbol itself where one name is given.

    >>> N, h = symbols("N h")
    >>> N.is_positive and N.is_integer
    True
    """
    if not isinstance(names, str) or not names.strip():
        raise TypeError(f"symbols takes names in one string, as in symbols('N h'), not {names!r}")
    return sympy.symbols(names, positive=True, integer=True)


def size(value: Any, what: str) -> sympy.Expr:
    """`value` as one exact size; `what` names it in errors.

    A size is a positive integer, a symbol made by `symbols`, or an expression of such symbols.

    Raises TypeError for strings, floats and foreign symbols, ValueError for sizes that are zero,
    negative or fractional, and for booleans.

    >>> size(4096, "N"), size(symbols("h") / symbols("H"), "head_dim")
    (4096, h/H)
    """
    exact = as_exact(value, what)
    foreign, fraction = _flaws(exact)
    if foreign:
        raise TypeError(f"{what} = {value}: {foreign} is no positive integer; make it with rk.symbols('{foreign}')")
    if fraction or isinstance(value, bool):
        raise ValueError(f"{what} is {value}; a size must be a positive integer")
    return exact


@functools.lru_cache(typed=True)  # a trace asks for the same few sizes all along
def _flaws(exact: sympy.Expr) -> tuple[Any, bool]:
    """What keeps an expression from being a size: a symbol that is not of `symbols`, or that it cannot be whole."""
    foreign = [symbol for symbol in exact.free_symbols if not (symbol.is_integer and symbol.is_positive)]
    parts = [part.base if part.is_Pow and part.base.is_Symbol else part for part in sympy.Mul.make_args(exact)]
    if all(part.is_Symbol or (part.is_Integer and part.p > 0) for part in parts):
        return next(iter(foreign), None), False  # SymPy takes its time to tell what one sees of a product
    whole = exact.is_Integer or (not exact.is_number and exact.is_integer is not False)
    return next(iter(foreign), None), exact.has(sympy.Float) or not whole or exact.is_positive is False


def certain(exact: sympy.Expr) -> bool:
    """Whether it is a positive integer whatever its symbols are: 2·N is one, but h/heads and N - 1 may not be."""
    quotient = any(part.is_Pow and part.exp.is_negative for part in sympy.Mul.make_args(exact))
    return not quotient and bool(exact.is_integer and exact.is_extended_positive)


def as_exact(value: Any, what: str) -> sympy.Expr:
    """An integer or an expression as SymPy has it; `what` names it in errors. Raises TypeError for anything else."""
    try:  # not sympify, which evaluates strings
        return value if isinstance(value, sympy.Expr) else sympy.Integer(operator.index(value))
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"{what} is {value!r} ({kind}); a size is an integer or a symbol from rk.symbols") from None


def same_size(a: sympy.Expr, b: sympy.Expr) -> bool:
    """Whether two sizes are equal for every value of their symbols."""
    return a == b or (bool(a.free_symbols | b.free_symbols) and sympy.cancel(a - b) == 0)


def bytes_of(dtype: str) -> sympy.Expr:
    """Bytes that one element of `dtype` takes in memory."""
    return sympy.Integer(BYTES[choose("dtype", dtype, BYTES)])
