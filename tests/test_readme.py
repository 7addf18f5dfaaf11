"""What the README shows is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_examples_say_what_they_compute() -> None:
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, Any] = {}
    for example, count in zip(examples, (3, 2, 0, 0), strict=True):
        exec(example, names)
        results = re.findall(r"^(\S.*?)  +# (.+)$", example, re.MULTILINE)
        assert len(results) == count
        for expression, value in results:
            assert repr(eval(expression, names)) == value


def test_every_file_it_names_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
    for module in re.findall(r"`(\w+\.(?:py|toml))`", README):
        assert (ROOT / "roofline_kit" / module).exists(), module


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"make ([a-z]+(?:-[a-z]+)*)(?=[ `])", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
