"""What is a size? Symbols that stay open, exact numbers, and how wide an element is in memory."""

from __future__ import annotations

import functools
import operator
from typing import Any

import sympy

from .names import choose, shown

BITS = {"fp64": 64, "fp32": 32, "tf32": 32, "bf16": 16, "fp16": 16, "fp8": 8}
BITS |= {"int64": 64, "int32": 32, "int8": 8, "int4": 4, "mxfp4": 4, "nvfp4": 4}
"""Bits of an element in memory. tf32 is a mode of the multiplier: it is stored as fp32."""

BLOCKS = {"int4": (128, 16), "mxfp4": (32, 8), "nvfp4": (16, 8)}
"""Where elements share a scale: how many, and its bits. int4 with groups of 128 and a scale in fp16 is what GPTQ (arXiv
2210.17323) and AWQ (2306.00978) store, without their zero points; mxfp4 is the OCP's Microscaling format (2310.10537);
nvfp4 is NVIDIA's."""

LIBRARY_NAMES = {"fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""What NumPy and PyTorch call those that arrays can have."""


def symbols(names: str) -> Any:
    """Positive integer SymPy symbols, for the sizes that a formula keeps open.

    Like `sympy.symbols`, it returns a tuple, or the symbol itself where one name is given.

    >>> N, h = symbols("N h")
    >>> N.is_positive and N.is_integer
    True
    """
    if not isinstance(names, str) or not names.strip():
        raise TypeError(f"symbols takes names in one string, as in symbols('N h'), not {shown(names)}")
    return sympy.symbols(names, positive=True, integer=True)


def size(value: Any, what: str) -> sympy.Expr:
    """`value` as one exact size; `what` names it in errors.

    A size is a positive integer, a symbol made by `symbols`, or an expression of such symbols.

    Raises TypeError for strings, floats and foreign symbols, ValueError for sizes that are zero,
    negative or fractional, and for booleans.

    >>> size(4096, "N"), size(symbols("h") / symbols("H"), "head_dim")
    (4096, h/H)
    """
    if isinstance(value, sympy.Integer) and value.p > 0:
        return value  # most are, and a trace asks all along
    exact = as_exact(value, what)
    foreign, fraction = _flaws(exact)
    if foreign:
        raise TypeError(f"{what} = {value}: {foreign} is no positive integer; make it with rk.symbols('{foreign}')")
    if fraction or isinstance(value, bool):
        raise ValueError(f"{what} is {value}; a size must be a positive integer")
    return exact


def whole(value: Any) -> int | None:
    """`value` as an int, where it is a whole number, NumPy's and SymPy's among them; None for anything else.

    >>> whole(sympy.Integer(3)), whole(3.0), whole(True)
    (3, None, None)
    """
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


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
        given = f"{shown(value)} ({type(value).__name__})"
        raise TypeError(f"{what} is {given}; a size is an integer or a symbol from rk.symbols") from None


def same_size(a: sympy.Expr, b: sympy.Expr) -> bool:
    """Whether two sizes are equal for every value of their symbols."""
    return a == b or (bool(a.free_symbols | b.free_symbols) and sympy.cancel(a - b) == 0)


KEPT_BITS = 128


def shortened(value: Any) -> Any:
    """A fraction of so many digits that Python does not print it, to 128 binary ones; all else as it is.

    >>> shortened(sympy.Rational(1, 3)), shortened(1 - sympy.Rational(31, 32) ** 5000)
    (1/3, 1)
    """
    if not isinstance(value, sympy.Rational) or value.q.bit_length() <= KEPT_BITS:
        return value
    scale = sympy.Integer(2) ** (KEPT_BITS + value.q.bit_length() - abs(value.p).bit_length())
    return sympy.floor(value * scale + sympy.Rational(1, 2)) / scale


def check_shape(what: str, shape: tuple[Any, ...], wanted: tuple[Any, ...]) -> None:
    """Raises ValueError with both shapes where they differ.

    >>> check_shape("W", (4, 3), (3, 4))
    Traceback (most recent call last):
    ValueError: W has the shape (4, 3), and must have (3, 4)
    """
    if len(shape) != len(wanted) or not all(map(same_size, map(sympy.sympify, shape), map(sympy.sympify, wanted))):
        raise ValueError(f"{what} has the shape {shape}, and must have {wanted}")


def bits_of(dtype: str) -> sympy.Rational:
    """Bits that one element of `dtype` takes in memory, its part of a shared scale included.

    Raises ValueError for an unknown dtype, with the nearest names.

    >>> bits_of("fp16"), bits_of("int4"), bits_of("mxfp4"), bits_of("nvfp4")
    (16, 33/8, 17/4, 9/2)
    """
    return _bits_and_bytes(choose("dtype", dtype, BITS))[0]


@functools.cache
def _bits_and_bytes(dtype: str) -> tuple[sympy.Rational, sympy.Rational]:
    """Of an element of a dtype that is known."""
    elements, scale = BLOCKS.get(dtype, (1, 0))
    bits = sympy.Integer(BITS[dtype]) + sympy.Rational(scale, elements)
    return bits, bits / 8


def bytes_of(dtype: str) -> sympy.Rational:
    """Bytes that one element of `dtype` takes in memory: exact, and with a shared scale no whole number.

    >>> bytes_of("fp16"), bytes_of("int4")
    (2, 33/64)
    """
    return _bits_and_bytes(choose("dtype", dtype, BITS))[1]
