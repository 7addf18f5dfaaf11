"""How near is it? A number, a formula or a choice, compared with what is right and with what known slips lead to."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sympy

from ..names import data
from ..sizes import symbols
from .answers import accepted, choices
from .reading import Unread, read, unwrapped


@dataclass(frozen=True)
class Finding:
    """What an answer is. right : whether it is right. said : a sentence on just this answer, such as a slip's hint.
    reading : what it was taken for; the same once more is no new try. close : the idea is right, or nobody can tell as
    the answer could not be read; that is no try either.
    """

    right: bool
    said: str = ""
    reading: str = ""
    close: bool = False


def judge(question: str, answer: Any) -> Finding:
    """Reads an answer to a question of numbers, formulas and words, and compares it with what is right."""
    compare = _choice if choices(question) else _formula if _letters(question) else _number
    try:
        return compare(question, answer)
    except Unread as error:
        return Finding(False, f"{error} {_offer(question)}".strip(), close=True)


def slips(question: str) -> list[tuple[Any, str]]:
    """What known slips lead to, each with its hint."""
    known = data("lessons.toml")[question].get("slips", {})
    return [(_meant(question, slip), hint) for slip, hint in known.items()]


def _meant(question: str, slip: str) -> Any:
    return slip if slip in choices(question) else read(slip, "formula")[0]


# --- one of several ---

WORDS = {
    "memory": "memory memorybound memorylimited mem bandwidth bytes",
    "compute": "compute computebound computelimited computation operations flops flop arithmetic peak",
    "never": "never none nowhere",
}
"""By which words people call a choice."""


def _choice(question: str, answer: Any) -> Finding:
    """A guess stands for the nearest choice, if that is within half of it."""
    offered, given = choices(question), unwrapped(answer)
    chosen = _word(given, offered) if isinstance(given, str) else None
    if chosen is None and any(not isinstance(choice, str) for choice in offered):
        chosen = _nearest(read(given)[0], offered)
    if chosen is None:
        return Finding(False, _offer(question), close=True)
    if chosen not in accepted(question):
        return Finding(False, dict(slips(question)).get(chosen, ""), str(chosen))
    exact = isinstance(chosen, str) or chosen == read(given)[0]
    return Finding(True, "" if exact else f"Of the choices, {chosen} is the nearest to your {given}.")


def _word(text: str, offered: list[Any]) -> Any:
    """The one choice that a text speaks of, also with a letter wrong; None where there is none, or it says not."""
    known = {word: choice for choice in offered for word in WORDS.get(str(choice), "").split()}
    words = re.findall("[a-z]+", text.lower())
    near = [found for word in words if len(word) > 4 for found in difflib.get_close_matches(word, known, cutoff=0.8)]
    said = {known[word] for word in [*words, *near] if word in known}
    return said.pop() if len(said) == 1 and not {"not", "neither", "nor"} & set(words) else None


def _nearest(value: Any, offered: list[Any]) -> Any:
    """The choice that comes nearest to a guess, by their ratio; None where none comes near."""
    if not value.is_positive or value.free_symbols:
        return None
    ratios = {choice: max(value / choice, choice / value) for choice in offered if not isinstance(choice, str)}
    best = min(ratios, key=lambda choice: ratios[choice])
    return best if ratios[best] <= 1.5 else None


def _offer(question: str) -> str:
    """The choices of a question, as a sentence; nothing where it offers none."""
    offered = [repr(choice) for choice in choices(question)]
    return f"Choose one of {', '.join(offered[:-1])} or {offered[-1]}." if offered else ""


# --- a number ---


def _number(question: str, answer: Any) -> Finding:
    """The finding for what a number means; where it can mean two, for the one that is right."""
    found = [_of_number(question, value) for value in read(answer)]
    return next((finding for finding in found if finding.right), found[0])


def _of_number(question: str, given: Any) -> Finding:
    """Right, a slip, near, or neither. What is both right and a slip when rounded is the one to which it is nearer."""
    if given.free_symbols:
        return Finding(False, f"{_named(given)} is still in it, and a number is asked for.", close=True)
    right = [sympy.sympify(value) for value in accepted(question)]
    slipped = [(abs(given - slip), hint) for slip, hint in slips(question) if _rounded(given, slip)]
    gap, hint = min(slipped, default=(sympy.oo, ""), key=lambda pair: pair[0])
    if any(_agrees(given, value) and abs(given - value) <= gap for value in right):
        return Finding(True)
    near = hint or next(filter(None, (_near(given, value) for value in right)), "")
    return Finding(False, near, f"{given}", close=bool(near and not hint))


def _agrees(given: Any, right: Any) -> bool:
    """The same whole number, or the same other one to two or three digits."""
    return bool(abs(given - right) <= abs(right) * 1e-9) if right.is_Integer else _rounded(given, right)


def _rounded(given: Any, exact: Any) -> bool:
    """Whether `given` is `exact`, rounded to the digits that it has, two at least; or within a third of a per cent.

    A third: intermediate results to three digits may pass, and the limit for a softmax of 4 FLOPs in place of 3, 0.4 %
    off, may not.
    """
    gap = abs(given - exact)
    shown = Decimal(str(sympy.Float(given, 15))).normalize().as_tuple()
    half_a_digit = sympy.Rational(501, 1000) * sympy.Integer(10) ** int(shown.exponent)
    return bool(300 * gap <= abs(exact) or (len(shown.digits) > 1 and gap <= half_a_digit))


def _near(given: Any, right: Any) -> str:
    """What is amiss with a number that comes from the right idea; nothing where it does not."""
    gap = abs(given - right)
    if not right.is_Integer:
        if _rounded(given / 100, right):
            return "Right idea, but that is per cent. Give it as a number."
        few = 20 * gap <= abs(right)
        return "Right idea: you are within a few per cent. Give three digits." if few else ""
    if gap < 1 and given != round(given):
        return "Right idea, but the answer is a whole number. Is it the one below, or the one above?"
    return "Right idea, but here every digit counts." if _rounded(given, right) else ""


# --- a formula ---


def _formula(question: str, answer: Any) -> Finding:
    """The same formula, written in any way, with any symbols of the same names. Capitals do not matter."""
    given, wanted = read(answer, "formula")[0], _letters(question)
    if not given.free_symbols:
        return Finding(False, f"A formula in {' and '.join(wanted)} is asked for.", close=True)
    meant = {name.lower(): name for name in wanted}
    if not {symbol.name.lower() for symbol in given.free_symbols} <= set(meant):
        return Finding(False, f"{_named(given)}? Write it in {' and '.join(wanted)}.", close=True)
    letters = {symbol: symbols(meant[symbol.name.lower()]) for symbol in given.free_symbols}
    formula = sympy.nsimplify(given.subs(letters), rational=True)
    if any(sympy.simplify(formula - right) == 0 for right in accepted(question)):
        return Finding(True)
    hints = [hint for slip, hint in slips(question) if sympy.simplify(formula - slip) == 0]
    return Finding(False, "".join(hints), str(formula))


def _letters(question: str) -> list[str]:
    """The letters in the formula that is the answer, if it is one."""
    return sorted(symbol.name for symbol in sympy.sympify(accepted(question)[0]).free_symbols)


def _named(given: Any) -> str:
    return " and ".join(sorted(symbol.name for symbol in given.free_symbols))
