"""Submissions of people who cheat, with honest neighbours after them: nobody is fooled, nobody is harmed."""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from attacks import FULL, HERE, HONEST, all_attacks, answered, cell_of
from attacks import Attack as An
from chance import SEED, seed

from roofline_kit.grading import assignment, grade, judge, sandbox, syscalls
from roofline_kit.grading.judge import guessable

ATTACKS = all_attacks()
NEAR = 5  # so many attacks share an honest neighbour, who is graded after the last of them
DOCS = Path(__file__).parents[1] / "docs"
MB = 10**6


# In a process of its own, as an instructor's: it has no thread when it begins, so its workers are forks of it.
GRADER = """
import sys, tempfile
from pathlib import Path
from roofline_kit.grading import assignment, grade, handed_in

if __name__ == "__main__":
    here, submissions, results, temporary = map(Path, sys.argv[1:5])
    tempfile.tempdir = str(temporary)
    grade.secrets.token_hex = lambda size: sys.argv[6]  # the session's seed
    entries = handed_in.entries(submissions)
    grade.grade_all(assignment.read(here), entries, results, int(sys.argv[5]), lambda *result: None)
"""


class Watch(threading.Thread):
    """Looks at all processes below this one, ten times a second: which there were, and how large graders became."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[tuple[int, str]] = set()
        self.peak = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            self.look()

    def look(self) -> None:
        waiting = [os.getpid()]
        while waiting:
            pid = waiting.pop()
            with suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
                    waiting += map(int, children)
                if pid == os.getpid():
                    continue
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"resource_tracker" not in command:
                    self.seen.add((pid, started(pid)))
                if b"grader.py" in command:
                    status = Path(f"/proc/{pid}/status").read_text()
                    self.peak = max(self.peak, int(status.split("VmHWM:")[1].split()[0]) * 1024)

    def alive(self) -> list[str]:
        """The processes that are still there, by what they are."""
        found = []
        for pid, when in self.seen:
            with suppress(OSError):
                if started(pid) == when:
                    found.append(Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"))
        return found


def started(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


@dataclass
class Campaign:
    """All attacks, graded in one run of the grader, with what was seen outside. neighbours : the honest one of each."""

    neighbours: dict[str, str] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    expected: dict[str, Any] = field(default_factory=dict)
    leftover: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    peak: int = 0
    seconds: float = 0.0
    seed: str = ""


def title(kind: str) -> str:
    """The first sentence of a kind's module."""
    return str(importlib.import_module(f"attacks.{kind}").__doc__).splitlines()[0].rstrip(".")


def places(attacks: list[An]) -> dict[str, An]:
    """Attacks by their student, in the order of grading."""
    return {f"{number:03}-{attack.name}": attack for number, attack in enumerate(attacks)}


def neighbours(placed: dict[str, An]) -> dict[str, str]:
    """The honest neighbour of each student: somebody who is graded after no more than a few attacks from it on.

    Who searches has one of its own: there must be somebody to be found.
    """
    found, near = {}, []
    for student, attack in placed.items():
        near.append(student)
        if len(near) == NEAR or attack.searches or student == [*placed][-1]:
            found.update(dict.fromkeys(near, f"{student}.honest"))
            near = []
    return found


def content(folder: Path) -> dict[str, Any]:
    """What there is in a folder: names, kinds, sizes, times."""
    found = {}
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "d"]
        for name in names:
            at = os.lstat(os.path.join(here, name))
            found[os.path.join(here, name)] = (stat.S_IFMT(at.st_mode), at.st_size, at.st_mtime_ns)
    return found


@contextmanager
def planted() -> Iterator[None]:
    """What Linux keeps beside files, for attacks to find: a key in a session of keyrings, and a segment of System V.

    The session is this process's from now on, and that of all that it starts.
    """
    libc, words = ctypes.CDLL(None, use_errno=True), b"graders-secret"
    joined = libc.syscall(syscalls.number("keyctl"), 1, None)
    key = libc.syscall(syscalls.number("add_key"), b"user", b"graders", words, len(words), -3)
    assert (joined > 0 and key > 0) or ctypes.get_errno() in (errno.ENOSYS, errno.EPERM), "a container may have none"
    segment = libc.shmget(0x0F100F, 4096, 0o1644)
    assert segment >= 0, f"another user's campaign has it: {os.strerror(ctypes.get_errno())}"
    libc.shmat.restype = ctypes.c_void_p
    ctypes.memmove(libc.shmat(segment, None, 0), words, len(words))
    try:
        yield
    finally:
        libc.shmctl(segment, 0, None)


@contextmanager
def listening() -> Iterator[int]:
    """Two sockets of the host for attacks to find: one on the network, one with an abstract name; their number."""
    for number in range(20000, 20100):  # other tests may run at the same time
        with ExitStack() as stack:
            try:
                stack.enter_context(socket.create_server(("127.0.0.1", number)))
                abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
                abstract.bind(f"\0roofline-{number}")
            except OSError:
                continue
            abstract.listen()
            yield number
            return
    raise OSError("all ports from 20000 to 20099 are in use")


def run(attacks: list[An], base: Path, jobs: int = 2) -> Campaign:
    """Grades attacks and their neighbours in one run."""
    submissions, results, temporary = base / "submissions", base / "results", base / "temporary"
    temporary.mkdir(parents=True)
    for student, attack in places(attacks).items():
        attack.make(submissions / student)
    found = Campaign(neighbours=neighbours(places(attacks)))
    for student in {*found.neighbours.values()}:
        honest = answered({**HONEST, "flops": f"# neighbours-words\n{HONEST['flops']}"})
        (submissions / student).mkdir()
        (submissions / student / "submission.ipynb").write_text(json.dumps(honest))
    given = content(submissions)
    program, drawn, watch = base / "grader.py", seed(), Watch()
    program.write_text(GRADER)
    line = [sys.executable, program, HERE / "assignment", submissions, results, temporary, str(jobs), drawn]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "GRADERS_SECRET": "graders-secret"}
    with listening(), planted():
        watch.start()
        began = time.monotonic()
        subprocess.run(line, env=environment, check=True)
        found.seconds = time.monotonic() - began
        watch.over.set()
        watch.join()
        end = time.monotonic() + 60
        while watch.alive() and time.monotonic() < end:
            time.sleep(0.1)
    found.leftover, found.peak = watch.alive(), watch.peak
    found.files = [str(path) for path in temporary.iterdir()]
    after = content(submissions)
    found.changed = sorted(path for path in given.keys() | after.keys() if given.get(path) != after.get(path))
    found.results = grade.stored(results)
    found.expected, found.seed = expected_at(drawn), drawn
    return found


def expected_at(drawn: str) -> dict[str, dict[str, Any]]:
    """What is right in a run of the grader that draws with this seed."""
    session = replace(grade.begun(assignment.read(HERE / "assignment")), seed=drawn).solved()
    assert session.expected is not None
    return {name: dict(report) for name, report in session.expected.items()}


@pytest.fixture(scope="session")
def campaign(walls: str, request: pytest.FixtureRequest) -> Iterator[Campaign]:
    """All attacks that were asked for, graded."""
    assert walls == "bubblewrap"
    using = [item for item in request.session.items if {"attack", "campaign"} <= {*getattr(item, "fixturenames", ())}]
    asked = {item.callspec.params["attack"].name for item in using}
    base = Path(tempfile.mkdtemp())  # pytest's own folders are removed with Python's rmtree, see `remove`
    yield run([attack for attack in ATTACKS if attack.name in asked] or ATTACKS, base)
    remove(base)


def remove(folder: Path) -> None:
    """Python's own rmtree recurses before 3.13, and one attack is a thousand folders deep."""
    subprocess.run(["rm", "-rf", folder], check=True)


def result_of(campaign: Campaign, attack: An, neighbour: bool = False) -> dict[str, Any]:
    student = next(student for student in campaign.neighbours if student[3:] == f"-{attack.name}")
    return campaign.results[campaign.neighbours[student] if neighbour else student]


def leaves(value: Any, but: tuple[str, ...] = ()) -> Iterator[Any]:
    """The values in lists and dictionaries, and their names, without those of some names."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in but:
                yield from (name, *leaves(item, but))
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, but)
    else:
        yield value


# What the grader itself counts and measures, and its digests; and what a student wrote.
OURS = ("points", "of", "seconds", "bytes", "key", "sha256", "answers", "prose")
NUMERAL = re.compile(r"\d[\d_,]*(?:\.\d+)?(?:[eE][+-]?\d+)?")


def leaked(result: dict[str, Any], expected: dict[str, dict[str, Any]]) -> set[float]:
    """Which numbers that nobody would guess are told in a result: as values, or as numerals in its words."""
    told = list(leaves(result, OURS))
    words = " ".join(leaf for leaf in told if isinstance(leaf, str))
    numbers = [float(re.sub("[_,]", "", numeral)) for numeral in NUMERAL.findall(words)]
    numbers += [leaf for leaf in told if isinstance(leaf, (int, float)) and not isinstance(leaf, bool)]
    secret = [leaf for leaf in leaves(expected) if not guessable(leaf)]
    return {value for value in secret if any(judge.agree(number, value, 1e-6) for number in numbers)}


@pytest.mark.parametrize("attack", ATTACKS, ids=[f"{attack.kind}-{attack.name}" for attack in ATTACKS])
def test_an_attack_gets_what_it_deserves_and_its_neighbour_full_marks(attack: An, campaign: Campaign) -> None:
    result, honest = result_of(campaign, attack), result_of(campaign, attack, neighbour=True)
    told = {name: result[name] for name in ("points", "refused", "notes", "readings", "errors", "seconds")}
    told["checks"] = [(check["name"], check["points"], check["reason"]) for check in result["checks"]]
    told[SEED] = campaign.seed
    assert attack.low <= result["points"] <= attack.high, told
    assert all(points <= attack.high for points in result["readings"].values()), told
    assert attack.notes in f"{result['refused']} {' '.join(result['notes'])}", told
    assert honest["points"] == FULL and not honest["notes"], (honest, campaign.seed)
    if attack.searches:  # its exception says what it saw
        assert result["errors"].get("flops") == "EOFError" and "LookupError" not in result["errors"].values(), told
    limits = assignment.read(HERE / "assignment").settings["limits"]
    # It ends; when, depends on what else the machine does: a fork bomb alone keeps it busy for a minute.
    assert result["seconds"] <= 10 * limits["notebook"], told
    assert not leaked(result, campaign.expected), told
    text = " ".join(leaf for leaf in leaves(result, ("answers", "prose")) if isinstance(leaf, str))
    assert "zephyr" not in text and "graders-secret" not in text


def test_a_number_that_is_told_is_found_and_digits_of_a_digest_are_none() -> None:
    expected = {"kv": {"kv": [512, 33792, 104]}, "seconds": {"seconds": 0.00123456, "bound": "memory"}}
    clean = {
        "key": "51233792104" + "f" * 53, "file": {"name": "a.ipynb", "sha256": "104" * 21 + "f", "bytes": 33792},
        "points": 512.0, "seconds": 0.00123456, "answers": {"kv": "33792"}, "notes": ["kv: there are 104 cells"],
        "checks": [{"name": "kv", "points": 33792, "of": 512, "reason": "values", "hint": ""}],
    }  # fmt: skip
    assert not leaked(clean, expected)
    for field_, value in {
        "notes": ["kv should be 33,792"], "hint": "33792.0", "readings": {"kv33792": 1.0}, "errors": {"kv": "E33792x"},
        "drawn": [[{"at": 33792}]], "refused": "1.23456e-3 s", "more": 0.00123456,
    }.items():  # fmt: skip
        assert leaked(clean | {field_: value}, expected), field_


def test_no_process_is_left_behind(campaign: Campaign) -> None:
    assert not campaign.leftover


def test_no_file_is_left_behind_and_none_is_changed(campaign: Campaign) -> None:
    assert not campaign.files
    assert not campaign.changed


def test_no_attack_costs_the_grader_half_a_gigabyte(campaign: Campaign) -> None:
    assert 0 < campaign.peak < 500 * MB


def test_the_table_of_attacks_in_the_docs_lists_the_attacks_that_there_are() -> None:
    rows = [line.split("|")[1:4] for line in (DOCS / "attacks.md").read_text("utf-8").splitlines() if "| `" in line]
    assert [tuple(map(str.strip, row)) for row in rows] == [
        (f"`{attack.name}`", attack.tries, attack.fair) for attack in ATTACKS
    ], "scripts/attack_table.py writes docs/attacks.md anew"


def test_a_search_finds_what_is_there(walls: str, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "brought.txt").write_text("neighbours-words")
    (attack,) = [attack for attack in ATTACKS if attack.name == "the_disk"]
    attack.make(tmp_path / "student")
    content = json.loads((tmp_path / "student" / "submission.ipynb").read_text())
    kernel = sandbox.Kernel(walls, sandbox.Limits(), tmp_path / "files")
    try:
        ran = kernel.run("N = 1\n" + cell_of(content, "flops")["source"])
    finally:
        kernel.stop()
    assert [message["content"].get("ename") for message in ran.messages] == ["LookupError"]
