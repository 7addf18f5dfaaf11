"""How tests draw: by a seed that a failure shows, and that can be given again in the environment."""

from __future__ import annotations

import os
import random
import secrets

import pytest

SEED = "ROOFLINE_KIT_SEED"


def seed() -> str:
    """A seed: the one in the environment, or a new one. pytest shows what is printed here where a test fails."""
    given = os.environ.get(SEED) or secrets.token_hex(16)
    print(f"{SEED}={given} draws the same again")
    return given


@pytest.fixture(autouse=True)
def graders_draw_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file that imports this, each session of the grader in a test draws by one seed."""
    chance = random.Random(seed())
    monkeypatch.setattr("roofline_kit.grading.grade.secrets.token_hex", lambda size: chance.randbytes(size).hex())
