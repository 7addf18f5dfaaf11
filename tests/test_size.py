"""The kit stays small enough to be read in class."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import roofline_kit

LIMIT = 1700
NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
    tokenize.ENDMARKER,
}  # fmt: skip


def lines_of_code(source: str) -> int:
    """Lines that hold a token, without comments, blank lines and strings that stand alone (docstrings)."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_lines_are_counted_as_said() -> None:
    source = """'A module.'

# A comment.
x = (
    1,
)  # more

def f():
    'Says what it does.'
    return '''a

b'''
"""
    assert lines_of_code(source) == 7


def test_the_kit_has_fewer_lines_of_code_than_a_class_can_read() -> None:
    files = sorted(Path(roofline_kit.__file__).parent.glob("**/*.py"))
    sizes = {path.name: lines_of_code(path.read_text("utf-8")) for path in files}
    assert sum(sizes.values()) < LIMIT, sizes
