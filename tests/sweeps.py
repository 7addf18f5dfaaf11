"""What the tests of a cluster have its nodes do: points that sleep in place of computing, and say when they begin.

Nothing of the kit is imported: each of some thirty tasks would spend most of its time on that.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Nap:
    """A point. It takes `seconds`, and only where the folder has no file `awake`."""

    name: str
    seconds: float = 0.0


def take(nap: Nap, folder: Path) -> bool:
    """Writes one file for a nap that was slept to its end, and notes each beginning in a log."""
    if (folder / f"{nap.name}.json").exists():
        return False
    with (folder / f"{nap.name}.log").open("a") as log:
        log.write(f"{os.getpid()} {os.environ.get('SLURM_JOB_ID')}\n")
    until = time.monotonic() + nap.seconds
    while time.monotonic() < until and not (folder / "awake").exists():
        time.sleep(0.05)
    (folder / f"{nap.name}.json").write_text("{}")
    return True
