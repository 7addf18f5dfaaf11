"""What does the text of a cell say without being run? Which names it binds, which it needs, which are still open."""

from __future__ import annotations

import ast
import builtins
import re
import symtable
import warnings
from collections.abc import Iterator
from functools import lru_cache

OWN_SCOPE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
INNER_SCOPE = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # of strangers' texts, some are built for it


def _read(source: str) -> tuple[ast.Module, symtable.SymbolTable] | None:
    """The syntax tree and the scopes of a cell; None if it is no Python, or too deep. It may have magics, and await."""
    plain = re.sub(r"^(\s*)[%!?].*", r"\1pass", source, flags=re.MULTILINE)
    for text in (source, plain, re.sub(r"\b(await|async) ", "", plain)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of "\d", which would be shown with a stranger's text
                return ast.parse(text), symtable.symtable(text, "cell", "exec")
        except UNREADABLE:
            continue
    return None


def is_python(source: str) -> bool:
    """Whether a cell can be read as Python.

    >>> is_python("%matplotlib inline\\na = 1"), is_python("a = ")
    (True, False)
    """
    return _read(source) is not None


@lru_cache(512)  # a frame's cells are looked at for each answer of each submission
def bound(source: str) -> dict[str, list[str]]:
    """The names that a cell binds outside of functions, each with the shapes of the statements that do so.

    >>> list(bound("import math\\na, b = 1, 2\\ndef f(x):\\n    y = x"))
    ['math', 'a', 'b', 'f']
    """
    found: dict[str, list[str]] = {}
    read = _read(source)
    try:
        for statement in read[0].body if read else ():
            shape = _shape(statement)  # once: a statement can bind thousands of names
            for name in dict.fromkeys(_bound(statement)):
                found.setdefault(name, []).append(shape)
    except RecursionError:
        return {}
    return found


def _shape(statement: ast.stmt) -> str:
    """What a statement says, without its layout; "" if it is too deep for that, or has a number of too many digits."""
    try:
        return ast.dump(statement)
    except UNREADABLE:
        return ""


def _bound(node: ast.AST) -> Iterator[str]:
    if isinstance(node, OWN_SCOPE):
        yield node.name
    elif not isinstance(node, INNER_SCOPE):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        for child in ast.iter_child_nodes(node):
            yield from _bound(child)


def used(source: str) -> set[str]:
    """The names that a cell needs from elsewhere, and that Python does not have itself.

    >>> sorted(used("a = N + len(b)\\ndef f(x):\\n    return x + y"))
    ['N', 'b', 'y']
    """
    names: set[str] = set()
    read = _read(source)
    scopes = [read[1]] if read else []
    for scope in scopes:  # grows while it is read
        scopes += scope.get_children()
        outside = scope.get_type() == "module"
        needed = [symbol for symbol in scope.get_symbols() if symbol.is_referenced()]
        names |= {symbol.get_name() for symbol in needed if symbol.is_global() or outside}
    return names - bound(source).keys() - set(dir(builtins))


def unbound(source: str, stub: str) -> list[str]:
    """The names that a stub binds, and that an answer made of it does not bind, or only as the stub does.

    >>> unbound("a = 7\\nb = ...\\ndef f():\\n    return 1", "a = ...\\nb = ...\\ndef f():\\n    ...")
    ['b']
    """
    own = bound(source)
    return [name for name, dots in bound(stub).items() if set(own.get(name, ())) <= set(dots)]
