"""The kit stays small enough to be read in class."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import roofline_kit

# What a class reads, and what makes its formulas live: the latter draws by itself, in Python and in the browser,
# because no chart library both answers within a frame and leaves a picture that is the same on every machine.
# The grader is for instructors, and no class reads it; nor does one read how a machine is timed and asked for. Fifty
# of its lines see to it that each thing is imported, and pytest begun, once: half of what grading costs.
# Stacked bars, for "explain every millisecond", took 36 lines of the kit, and sizes that are judged without SymPy, for
# a first paint in time, some 10. What ROCm, full disks and a Slurm that does not answer say, and attention's steps as
# points, took some 80 of measuring.
KIT, EXPLORERS, FRONT_END, GRADER, MEASURING = 1800, 1280, 520, 1920, 860
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


def test_the_kit_and_its_explorers_have_fewer_lines_of_code_than_a_class_can_read() -> None:
    root = Path(roofline_kit.__file__).parent
    sizes = {path: lines_of_code(path.read_text("utf-8")) for path in sorted(root.glob("**/*.py"))}
    live = {path: n for path, n in sizes.items() if path.parent.name == "live" or path.name == "explorer.py"}
    grader = {path: n for path, n in sizes.items() if path.parent.name == "grading"}
    names = ("__main__", "cli", "files", "start")
    measuring = {path: sizes[path] for path in (root / f"{name}.py" for name in names)}
    measuring |= {path: n for path, n in sizes.items() if path.parent.name == "measuring"}
    assert sum(grader.values()) < GRADER, grader
    assert sum(measuring.values()) < MEASURING, measuring
    assert sum(sizes.values()) - sum(map(sum, (live.values(), grader.values(), measuring.values()))) < KIT, sizes
    assert sum(live.values()) < EXPLORERS, live
    front = [line.strip() for line in (root / "live" / "live.js").read_text("utf-8").splitlines()]
    assert len([line for line in front if line and not line.startswith("//")]) < FRONT_END
