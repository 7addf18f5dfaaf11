"""What did they mean? An answer in any form that people give it, read as a number, a formula or a word."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Collection
from numbers import Number
from typing import Any

import sympy

from ..sizes import symbols


class Unread(ValueError):
    """An answer that cannot be read. Its message is a sentence that says why."""


def read(answer: Any, what: str = "number") -> list[Any]:
    """What `answer` can mean, the likeliest first: SymPy expressions, or a word as it was typed. Mostly there is one.

    what : what is asked for, "number", "formula" or "word".

    Raises Unread where it can mean nothing of the kind.

    >>> read([625]), read("1/6 FLOPs per byte"), read("50 %"), read("N(4h + 3)", "formula")
    ([625], [1/6], [1/2], [N*(4*h + 3)])
    >>> read("32,5"), read("32,500")  # a decimal comma in one country, thousands in another
    ([32.5000000000000], [32500, 32.5000000000000])
    """
    given = unwrapped(answer)
    if given is None:
        raise Unread("None is what a function gives that returns nothing.")
    if isinstance(given, str):
        return [given] if what == "word" else _read_text(given, what)
    if isinstance(given, bool) or not isinstance(given, (Number, sympy.Expr)):
        raise Unread(f"{_short(given)} cannot be read as a {what}.")
    return [_finite(sympy.sympify(given), given, what)]


def unwrapped(answer: Any) -> Any:
    """What is inside of lists, arrays, sets, equations and solutions that hold one thing. Raises Unread for several."""
    for _ in range(9):  # a list can hold itself
        if isinstance(answer, sympy.Rel):
            answer = answer.rhs  # N = 625, and N ≥ 625
            continue
        inside = answer.tolist() if hasattr(answer, "tolist") else answer
        if isinstance(inside, dict):
            inside = list(inside.values())
        if not isinstance(inside, (Collection, sympy.FiniteSet)) or isinstance(inside, (str, bytes)):
            return inside
        if not len(inside):
            raise Unread("That is empty. If an equation has no solution, are its symbols the right ones?")
        if len(inside) > 1:
            raise Unread(f"Those are {len(inside)} values, and one is asked for.")
        (answer,) = inside
    return answer


SIGNS = str.maketrans({"·": "*", "×": "*", "−": "-", "^": "**", "’": "'"})
RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
SCALES = {"%": sympy.Rational(1, 100), "percent": sympy.Rational(1, 100), "kb": 10**3, "mb": 10**6, "gb": 10**9}
SCALES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30}
ABOUT = re.compile(r"^(?:about|approx\w*\.?|ca\.?|roughly|around|from|at least|[~≈≥>])")
THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:[,_' ]\d{3})+(?!\d)")
COMMA = re.compile(r"(?<=\d),(?=\d)")
BODY_AND_UNIT = re.compile(r"((?:[-+*/().,_' \d]|(?<=\d)e(?=[-+]?\d))*[\d.)]) *([a-zA-Z%*][^\d]*)?")


def _read_text(text: str, what: str) -> list[Any]:
    """The numbers or the formula that a text can mean."""
    plain = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda raised: f"**{raised[0].translate(RAISED)}", text.strip(" '\"\n"))
    plain = plain.translate(SIGNS).rpartition("=")[2].removesuffix(".")
    plain = ABOUT.sub("", plain.strip()).strip()
    grouped = THOUSANDS.sub(lambda number: re.sub(r"[,_' ]", "", number[0]), plain)
    spellings = dict.fromkeys([grouped, COMMA.sub(".", plain)])
    ways = (_with_unit, _formula) if what == "number" else (_formula,)
    found = [value for spelled in spellings for way in ways if (value := way(spelled)) is not None]
    if not found:
        raise Unread(f"{_short(text)} cannot be read as a {what}.")
    return [_finite(value, text, what) for value in dict.fromkeys(found)]


def _with_unit(text: str) -> Any:
    """A number and what stands after it: "500 tokens", "50 %", "16 KiB"; None where it is something else."""
    match = BODY_AND_UNIT.fullmatch(text)
    value = _formula(match[1]) if match else None
    unit = re.sub(r"[^a-z%]", "", (match[2] or "").lower()) if match else ""
    return None if value is None else value * SCALES.get(unit, 1)


def _formula(text: str) -> Any:
    """A formula in letters, with or without signs between factors; None where it is none."""
    text = re.sub(
        r"(?<=[\d)]) *(?=[A-Za-df-z(])|(?<=[A-Za-z]) *(?=\()|(?<=[)]) *(?=e)|(?<=[A-Za-z]) +(?=[A-Za-z])",
        "*",
        text.strip(),
    )
    try:
        return _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
        return None


OPERATORS: dict[type, Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Pow: operator.pow, ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip


def _value(node: ast.AST) -> Any:
    """What a tree of sums, products and powers is worth: no more is run of what somebody types between quotes."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return sympy.sympify(number)
        case ast.Name(id=name) if len(name) == 1:
            return symbols(name)
        case ast.UnaryOp(op=sign, operand=inner) if type(sign) in OPERATORS:
            return OPERATORS[type(sign)](_value(inner))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OPERATORS:
            first, second = _value(left), _value(right)
            if not isinstance(sign, ast.Pow) or abs(second) <= 99:
                return OPERATORS[type(sign)](first, second)
    raise ValueError("no formula")


def _finite(value: Any, given: Any, what: str) -> Any:
    """A value that is a real number, or has letters in it. Raises Unread for nan, infinity, and imaginary numbers."""
    if not value.free_symbols and not (value.is_real and value.is_finite):
        raise Unread(f"{_short(given)} cannot be read as a {what}.")
    return value


def _short(given: Any) -> str:
    """What was given, in a few signs."""
    text = repr(given) if isinstance(given, (str, bool, Number)) else f"A {type(given).__name__}"
    return text if len(text) <= 40 else f"{text[:37]}..."
