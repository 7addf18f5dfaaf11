"""How would one write it? A build question's reference as a cell of its page, out of its source in `builds/`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from .builds.question import Build


def reference(wanted: Build) -> str:
    """Lines for a cell: an algorithm that meets a specification, by the name that its page has for it."""
    helpers = [f for f in _names(wanted.right).values() if _is_beside(f, wanted.right)]
    written = [_source(f, f"{f.__name__}({', '.join(inspect.signature(f).parameters)})") for f in helpers]
    return "\n\n\n".join([*written, _source(wanted.right, wanted.call)])


def _source(f: Callable[..., Any], call: str) -> str:
    """A function as one writes it outside of the kit: `rk.` before the kit's names, and no types."""
    lines, known = inspect.getsource(inspect.unwrap(f)).splitlines(), _names(f)
    nodes = [node for node in _nodes(f) if isinstance(node, ast.Name) and node.id in known]
    for node in sorted(nodes, key=lambda node: node.col_offset, reverse=True):  # from the right: columns stay
        line, value = lines[node.lineno - 1], known[node.id]
        is_kits = callable(value) and not _is_beside(value, f)
        name = f"rk.{node.id}" if is_kits else node.id if callable(value) else repr(value)
        lines[node.lineno - 1] = line[: node.col_offset] + name + line[node.col_offset + len(node.id) :]
    begin = min(node.lineno for node in _nodes(f) if isinstance(node, ast.stmt))
    return "\n".join([*["@rk.fuse"][: hasattr(f, "__wrapped__")], f"def {call}:", *lines[begin - 1 :]])


def _names(f: Callable[..., Any]) -> dict[str, Any]:
    """What the body of a function takes from its module, by name."""
    inner = inspect.unwrap(f)
    names = [node for node in _nodes(f) if isinstance(node, ast.Name)]
    own = {*inspect.signature(inner).parameters, *(node.id for node in names if isinstance(node.ctx, ast.Store))}
    return {name.id: inner.__globals__[name.id] for name in names if name.id in inner.__globals__.keys() - own}


def _nodes(f: Callable[..., Any]) -> list[ast.AST]:
    """All that stands in the body of a function."""
    (tree,) = ast.parse(inspect.getsource(inspect.unwrap(f))).body
    assert isinstance(tree, ast.FunctionDef)
    return [node for statement in tree.body for node in ast.walk(statement)]


def _is_beside(value: Any, f: Callable[..., Any]) -> bool:
    """Whether it is a function of the same file, and not the kit's."""
    return isinstance(value, FunctionType) and value.__module__ == f.__module__
