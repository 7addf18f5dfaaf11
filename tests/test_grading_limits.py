"""What a submission may use: each limit that an assignment can set is run into; what cannot be set is refused."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from attacks import FULL, HERE, HONEST
from needed import missing
from nobody import HOW, environment, python

from roofline_kit.grading import assignment, grade, sandbox
from roofline_kit.grading.assignment import AssignmentError
from roofline_kit.grading.limits import Limits
from roofline_kit.grading.runner import Run, execute

# A small limit, an answer that runs into it and not into the usual one, and how its check is then told to have ended.
SMALL: dict[str, tuple[float, str, str]] = {
    "cell": (2, "import time\ntime.sleep(3)", "time"),  # clocks are slow enough for a machine that does much else
    "notebook": (4, "import time\ntime.sleep(5)", "time"),
    "start": (0.001, "", "died"),
    "cpu": (2, "import time\nwhile time.process_time() < 2.5: pass", "died"),
    "memory": (1_500_000_000, "kept = bytearray(1_200_000_000)", "error"),
    "file": (100_000, "open('/tmp/a', 'wb').write(bytes(200_000))", "error"),
    "disk": (1_000_000, "for name in 'abc':\n    open('/tmp/' + name, 'wb').write(bytes(400_000))", "error"),
    "output": (100_000, "print('x' * 200_000)", "output"),
    "messages": (50, "from IPython.display import display\nfor _ in range(100): display(1)", "output"),
    "processes": (
        30,
        "from threading import Thread\nfrom time import sleep\n"
        "for _ in range(32): Thread(target=sleep, args=(2,)).start()\nsleep(1)",
        "died",
    ),
    "files": (60, "kept = [open('/dev/null') for _ in range(100)]", "error"),
}


def written(folder: Path, settings: str) -> Path:
    """The attacked assignment, with other settings."""
    shutil.copytree(HERE / "assignment", folder / "assignment")
    (folder / "assignment" / "assignment.toml").write_text(settings)
    return folder / "assignment"


def ran(session: grade.Session, answer: str) -> Run:
    """All answers are right, and one does something before."""
    run = session.run_of({**HONEST, "parameters": f"{answer}\n{HONEST['parameters']}"})
    execute(run)
    return run


def points(run: Run) -> float:
    return sum(check.points * run.outcomes[name].share for name, check in run.assignment.checks.items())


@pytest.fixture(scope="module")
def usual(walls: str) -> grade.Session:
    """A session with what can be used if an assignment sets nothing."""
    given = replace(assignment.read(HERE / "assignment"), settings={})
    return grade.begun(given).solved()


def test_every_limit_is_tried() -> None:
    assert list(SMALL) == [field.name for field in fields(Limits)]


@pytest.mark.parametrize("name", [name for name in SMALL if name != "start"])
def test_a_limit_that_an_assignment_sets_is_run_into(name: str, usual: grade.Session, tmp_path: Path) -> None:
    small, answer, reason = SMALL[name]
    given = assignment.read(written(tmp_path, f"[limits]\n{name} = {small}\n"))
    assert getattr(given.limits, name) == small
    without, with_it = ran(usual, answer), ran(replace(usual, assignment=given), answer)
    assert (points(without), without.outcomes["parameters"].reason) == (FULL, "")
    assert with_it.outcomes["parameters"].reason == reason, with_it.did
    assert points(ran(replace(usual, assignment=given), "")) == FULL, "who uses little is not harmed"


def test_a_kernel_that_takes_longer_to_start_than_it_may_is_not_waited_for(walls: str, tmp_path: Path) -> None:
    given = assignment.read(written(tmp_path, f"[limits]\nstart = {SMALL['start'][0]}\n"))
    with pytest.raises(sandbox.Stopped, match="time"):
        sandbox.Kernel(walls, given.limits)


BOUND = """
from roofline_kit.grading import sandbox
from roofline_kit.grading.limits import Limits
code = '''
import os, time
count = 0
try:
    while count < 500:
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
        count += 1
except OSError as error:
    print(count, error.errno)
else:
    print(count, 0)
'''
if __name__ == "__main__":
    sandbox.Kernel._uses_too_much = lambda self: False  # nobody watches
    kernel = sandbox.Kernel(sandbox.walls(), Limits(processes=20))
    try:
        (message,) = kernel.run(code).messages
    finally:
        kernel.stop()
        sandbox.retire()
    print(message["content"]["text"])
"""


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that everybody can write to, as those of pytest are not."""
    base = Path(tempfile.mkdtemp(prefix="limits-"))
    for folder in (base, base / "home", base / "tmp"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    yield base
    shutil.rmtree(base)


@pytest.mark.parametrize("as_nobody", [False, True])
def test_linux_itself_bounds_the_processes_of_who_is_faster_than_the_watch(
    walls: str, open_to_all: Path, as_nobody: bool
) -> None:
    """RLIMIT_NPROC holds ordinary users; root the largest process id does, which namespaces have since Linux 6.14."""
    known, who = python(open_to_all) if as_nobody else (Path(sys.executable), {})
    root = not os.geteuid()
    if as_nobody and root and not who:
        missing(HOW)
    largest = Path("/proc/sys/kernel/pid_max").read_text()
    done = subprocess.run(
        [known, "-c", BOUND], env=environment(open_to_all), cwd=open_to_all, capture_output=True, text=True, **who
    )
    assert not done.returncode, done.stderr
    count, why = map(int, done.stdout.split())
    release = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
    if root and not as_nobody and release < (6, 14):
        assert (count, why) == (500, 0), "no such bound: what root starts, the watch alone holds"
    else:
        assert 20 < count < (340 if root and not as_nobody else 40) and why == errno.EAGAIN
    assert Path("/proc/sys/kernel/pid_max").read_text() == largest, "that of the machine is as it was"


def test_all_files_for_temporary_use_are_counted_wherever_they_are(usual: grade.Session, tmp_path: Path) -> None:
    given = assignment.read(written(tmp_path, "[limits]\ndisk = 1_000_000\n"))
    for folder in ("/tmp", "/dev/shm"):
        answer = f"for name in 'abc':\n    open('{folder}/' + name, 'wb').write(bytes(400_000))"
        assert points(ran(usual, answer)) == FULL
        assert ran(replace(usual, assignment=given), answer).errors == {"parameters": "OSError"}, folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[limits]\ndsik = 1", "[limits] unknown limit 'dsik'; did you mean 'disk'?"),
        ("[limits]\nmemroy = 1", "did you mean 'memory'?"),
        ("[limits]\ndisk = 0", "[limits] disk must be a whole number above 0, not 0"),
        ("[limits]\ncell = -1", "[limits] cell must be a number above 0, not -1"),
        ("[limits]\ncell = inf", "cell must be a number above 0, not inf"),
        ("[limits]\ncell = nan", "cell must be a number above 0, not nan"),
        ("[limits]\ncell = true", "cell must be a number above 0, not True"),
        ("[limits]\ncell = '30'", "cell must be a number above 0, not '30'"),
        ("[limits]\nprocesses = 1.5", "processes must be a whole number above 0, not 1.5"),
        ("limits = 30", "limits must be a table, [limits], not 30"),
        ("draft = 1", "draft must be true or false, not 1"),
        ("titel = 'x'", "unknown setting 'titel'; did you mean 'title'?"),
        ("title = 1", "title must be a text, not 1"),
        ("submitted = '*.json'", "submitted must be a list of names, not '*.json'"),
        ("submitted = [1]", "submitted must be a list of names such as '*.json', and has 1"),
        ("[late]\nper_dya = 0.1", "unknown setting of [late] 'per_dya'; did you mean 'per_day'?"),
        ("[late]\nper_day = -0.1", "[late] per_day must be a number, 0 or more, not -0.1"),
    ],
)
def test_a_setting_that_nobody_would_look_at_is_refused_by_name(settings: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(AssignmentError) as raised:
        assignment.read(written(tmp_path, settings))
    assert message in str(raised.value) and "assignment.toml: " in str(raised.value)


def test_a_whole_number_of_bytes_may_be_written_as_one_writes_large_numbers(tmp_path: Path) -> None:
    limits: Any = assignment.read(written(tmp_path, "[limits]\nmemory = 2e9\ncell = 2.5\n")).limits
    assert (limits.memory, type(limits.memory), limits.cell) == (2_000_000_000, int, 2.5)
