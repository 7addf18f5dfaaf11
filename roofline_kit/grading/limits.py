"""What may one submission use? Seconds, bytes, messages, processes: `[limits]` in an assignment.toml."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..names import unknown

MB = 10**6


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    cell, notebook, start : seconds on the clock for one cell, for all of them, and until the kernel answers. cpu :
    seconds of one process on a processor. memory : bytes of address space of a process, and of memory of all of them,
    with what is in their files and sockets. file : bytes of one file. disk : bytes of all files for temporary use, and
    as many of shared memory (bubblewrap holds it; Apptainer has one of its own, that of its administrator). output,
    messages : bytes and number of what one cell sends. processes, files : at a time; a thread is counted as a process.
    """

    cell: float = 30
    notebook: float = 120
    start: float = 60
    cpu: int = 150
    memory: int = 4000 * MB
    file: int = 50 * MB
    disk: int = 200 * MB
    output: int = 5 * MB
    messages: int = 5000
    processes: int = 64
    files: int = 512

    @property
    def resources(self) -> dict[str, int]:
        """The limits that the system itself holds, by the names of the module `resource`."""
        return {
            "RLIMIT_AS": self.memory, "RLIMIT_CPU": self.cpu, "RLIMIT_FSIZE": self.file, "RLIMIT_NOFILE": self.files,
            "RLIMIT_CORE": 1,  # 0 would let the system's own handler of crashes have it, whose disk is the grader's
        }  # fmt: skip


def limits(given: Any) -> Limits:
    """The limits that a table of an assignment.toml sets; all others are as they always are.

    Raises ValueError for a name that is none, and for what is no number above 0, or no whole one where things are
    counted.

    >>> limits({"cell": 2.5, "disk": 1e6})
    Limits(cell=2.5, ..., disk=1000000, ...)
    >>> limits({"dsik": 1})
    Traceback (most recent call last):
    ValueError: unknown limit 'dsik'; did you mean 'disk'? Known: 'cell', ...
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"limits must be a table, [limits], not {given!r}")
    kinds = {field.name: field.type for field in fields(Limits)}
    for name in given:
        if name not in kinds:
            raise ValueError(unknown("limit", name, kinds))
    return Limits(**{name: _positive(name, value, kinds[name] == "int") for name, value in given.items()})


def _positive(name: str, value: Any, whole: bool) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf or (whole and value != int(value)):
        raise ValueError(f"{name} must be a {'whole ' if whole else ''}number above 0, not {value!r}")
    return int(value) if whole else value


def fitting(jobs: int, each: int) -> int:
    """How many of some submissions can run side by side, if each takes all the memory that it may.

    Raises ValueError if not even one can.

    >>> fitting(2, 1000)
    2
    """
    fit = memory() // each
    if not fit:
        raise ValueError(
            f"a submission may take {each / 1e9:.3g} GB, and there are {memory() / 1e9:.3g} GB here: "
            "set a smaller memory = … in [limits] of its assignment.toml"
        )
    return min(jobs, fit)


def memory() -> int:
    """Bytes of memory that this process can have: the machine's, or what its cgroups leave it of them."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, name = line.split(":", 2)
            if kinds in ("", "memory"):
                found += _of_cgroups(Path("/sys/fs/cgroup", kinds), name)
    return min(found)


def _of_cgroups(top: Path, name: str) -> list[int]:
    """What a cgroup and those that it is in are limited to, in the second version of cgroups or in the first."""
    found = []
    folders = [top / name.strip("/"), *(top / name.strip("/")).parents]
    for folder in folders[: len(Path(name).parts)]:
        for file in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # "max" is no limit
                found.append(int((folder / file).read_text()))
    return found
