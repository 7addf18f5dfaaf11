"""What stands in a submission's view, wherever Python and the course are; and what an assignment keeps from answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import nbformat
import pytest
from attacks import HERE, HONEST, answered
from chance import graders_draw_by_the_seed  # noqa: F401  a fixture for all tests here
from test_assignments import ROOT

from roofline_kit.grading import assignment, grade, limits, sandbox, selfcheck, shown, syscalls
from roofline_kit.grading.assignment import AssignmentError
from roofline_kit.grading.commands import app
from roofline_kit.grading.runner import execute

KIT = shown.KIT
NEEDED = ("array-api-compat", "ipykernel", "matplotlib", "nbval", "nbformat", "numpy", "sympy", "typer")

# Run by the Python of a layout: what a kernel finds of some words, once everywhere, and once in files that it may have.
SEARCH = """
import shutil, sys
from pathlib import Path
from roofline_kit.grading import assignment, grade, sandbox, shown

if __name__ == "__main__":
    course, packages, search = Path(sys.argv[1]), *sys.argv[2:]
    with sandbox.workplace():
        session = grade.begun(assignment.read(course / "assignments" / "assignment"))
        for files in (None, course / "assignments" / "assignment"):
            kernel = sandbox.Kernel(session.walls, sandbox.Limits(), files)
            ran = kernel.run(Path(search).read_text())
            kernel.stop()
            print(*[message["content"].get("text", message["content"]) for message in ran.messages], ran.reason)
        shutil.copytree(course / "assignments", Path(packages) / "course" / "assignments")
        try:
            grade.begun(assignment.read(Path(packages) / "course" / "assignments" / "assignment"))
        except ValueError as error:
            print(error)
        sandbox.retire()
"""
INSIDE = """
import os
words, ours, found, seen = {words}, {ours}, set(), 0
for top, folders, names in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(top, name) not in ("/proc", "/dev/pts")]
    found |= {{os.path.join(top, name) for name in names if name in {names}}}
    theirs = top.startswith(("/usr/", "/etc/")) or "/lib/python3" in top and not any(name in top for name in ours)
    for name in () if theirs else names:
        if not os.path.isfile(os.path.join(top, name)):  # /dev/random has no end
            continue
        seen += 1
        try:
            with open(os.path.join(top, name), "rb") as file:
                text = file.read()
        except OSError:
            continue
        found |= {{os.path.join(top, name) for word in words if word in text}}
import roofline_kit
print(seen > 50, roofline_kit.__file__, sorted(found))
"""


def packages(folder: Path) -> Path:
    """A folder of packages with as much as a grader needs, but the kit: the files are those that this Python has."""
    found: set[str] = set()
    waiting = list(NEEDED)
    while waiting:
        if (name := waiting.pop()) in found:
            continue
        found.add(name)
        try:
            of = distribution(name)
        except PackageNotFoundError:  # for another system
            continue
        waiting += [re.split(r"[^\w.-]", line)[0] for line in of.requires or () if "extra ==" not in line]
        for file in of.files or ():
            if ".." not in file.parts and (source := Path(str(of.locate_file(file)))).is_file():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                linked(source, folder / file)
    return folder


def linked(source: Any, to: Any) -> None:
    """One file at two places, or a copy of it where these are on two disks."""
    if not os.path.exists(to):
        try:
            os.link(source, to)
        except OSError:
            shutil.copy2(source, to)


def copied(where: Path) -> None:
    """The kit, and what is known of it where it is installed."""
    shutil.copytree(KIT, where / KIT.name)
    of = distribution("roofline-kit")
    info = next(file for file in of.files or () if file.name == "METADATA").parent
    shutil.copytree(str(of.locate_file(info)), where / info)


def a_course(folder: Path) -> Path:
    """A course with all that no submission may see."""
    shutil.copytree(HERE / "assignment", folder / "assignments" / "assignment")
    (folder / "assignments" / "assignment" / "assignment.toml").write_text("title = 'Homework'\n")
    for name in ("submissions/jane.ipynb", "graded/hw/results/jane.json", "tests/expected.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(answered(HONEST)))
    return folder


@pytest.fixture(scope="module")
def of_others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packages(tmp_path_factory.mktemp("packages") / "site-packages")


def layout(name: str, base: Path, of_others: Path) -> tuple[Path, Path, Path]:
    """A course, its Python, and the folder of that one's packages."""
    course, version = a_course(base / "course"), f"python{sys.version_info.major}.{sys.version_info.minor}"
    if name == "the system's Python":
        prefix = base / "usr"
        library = Path(os.__file__).parent
        without = shutil.ignore_patterns("test", "site-packages", "__pycache__")
        shutil.copytree(library, prefix / "lib" / version, ignore=without, copy_function=linked)
        for shared in library.parent.glob("libpython*"):
            shutil.copy(shared, prefix / "lib" / shared.name)
        python = prefix / "bin" / version
        python.parent.mkdir()
        shutil.copy(os.path.realpath(sys.base_prefix + f"/bin/{version}"), python)
    else:
        prefix = course if name == "an environment that is the course's folder" else course / ".venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
        python = prefix / "bin" / "python"
    asked = [python, "-c", "import site; print(site.getsitepackages()[0])"]  # Debian's own Python has another folder
    site = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    shutil.copytree(of_others, site, copy_function=linked, dirs_exist_ok=True)
    copied(course if name == "an editable installation" else site)
    if name == "an editable installation":
        (site / "course.pth").write_text(f"{course}\n")
    return course, python, site


LAYOUTS = (
    "an environment beside the course", "an environment that is the course's folder", "an editable installation",
    "the system's Python",
)  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_no_answer_can_be_found_from_inside_wherever_python_is_installed(
    name: str, walls: str, of_others: Path, tmp_path: Path
) -> None:
    course, python, site = layout(name, tmp_path, of_others)
    given = assignment.read(HERE / "assignment")
    expected = grade.begun(given).solved().expected or {}
    solutions = [line for answer in given.answers.values() for line in assignment.solution(answer.source).splitlines()]
    words = [word.strip() for word in solutions if len(word.strip()) > 12] + list(HONEST.values())
    values = [value for report in expected.values() for value in report.values()]
    words += [str(one) for value in values for one in (value if isinstance(value, list) else [value])]
    published = " ".join(file.read_text() for file in (KIT / "data").glob("*.toml"))  # a number drawn may stand there
    words = [word for word in words if len(word) > 5 and word != "compute" and word not in published]
    words += ["BEGIN SOLUTION", "def answers_of(", '["00.ridge".slips]']
    ours = ["/roofline_kit", "/site-packages/course"]
    search = tmp_path / "search"
    names = ["assignment.ipynb", "assignment.toml", "jane.ipynb", "jane.json", "expected.json"]
    text = [word.encode() for word in words]
    search.write_text(INSIDE.format(words=text, ours=ours, names=names))
    program = tmp_path / "program.py"
    program.write_text(SEARCH)
    home = {"PYTHONPATH": "", "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run([python, program, course, site, search], env=home, capture_output=True, text=True, cwd=course)
    assert done.returncode == 0, done.stderr
    nothing, something, refused = [line for line in done.stdout.splitlines() if line.strip()]
    assert nothing.startswith("True /") and nothing.strip().endswith("[]"), done.stdout
    assert "/run/files/assignment.ipynb" in something, "what is there is found"
    assert (
        f"the assignment is in {site.resolve()}/course/assignments/assignment, and every submission can read" in refused
    )


# --- what answers do without --------------------------------------------------------------------------------


def test_an_answer_that_asks_what_it_is_to_do_without_gets_nothing_and_would_have_got_points(
    walls: str, tmp_path: Path
) -> None:
    hw2 = assignment.read(ROOT / "assignments" / "hw2_seven_billion")
    assert hw2.without == ("roofline_kit",) and hw2.release().metadata["grading"]["without"] == ["roofline_kit"]
    cases = tomllib.loads((ROOT / "tests" / "submissions" / "hw2.toml").read_text("utf-8"))["submission"]
    (case,) = [case for case in cases if case["name"].startswith("roofline_kit asked")]
    lenient = replace(hw2, settings={**hw2.settings, "answers": {}})
    runs = []
    for given in (hw2, lenient):
        session = grade.begun(given).solved()
        runs.append(session.run_of({**{name: of.source for name, of in given.answers.items()}, **case["answers"]}))
        execute(runs[-1])
        sandbox.retire()
    kept_away, there = runs
    for name in ("parameters", "prefill_flops", "gpu_hours"):
        assert name in kept_away.errors and not kept_away.outcomes[name].share, name
        assert name not in there.errors, f"{name}: the way that is closed must be one"
    assert there.outcomes["parameters"].share == there.outcomes["prefill_flops"].share == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            "[answers]\nwithout = ['rooflinekit']",
            "[answers] unknown package 'rooflinekit'; did you mean 'roofline_kit'",
        ),
        ("[answers]\nwithout = ['numpy.linalg']", "did you mean 'numpy'"),
        ("[answers]\nwithout = [1]", "package must be given by its name, not as 1"),
        ("[answers]\nwithout = 'numpy'", "without must be a list of packages such as 'numpy', not 'numpy'"),
        ("[answers]\nwithout = ['math']", "without has 'math', which is part of Python"),
        ("[answers]\nwithout = ['zmq']", "without has 'zmq', and no kernel runs without it"),
        ("[answers]\nwihtout = ['numpy']", "unknown setting of [answers] 'wihtout'; did you mean 'without'?"),
        ("answers = ['numpy']", "answers must be a table, [answers], not ['numpy']"),
    ],
)
def test_a_package_that_cannot_be_kept_away_is_refused_by_name(settings: str, message: str, tmp_path: Path) -> None:
    shutil.copytree(HERE / "assignment", tmp_path / "assignment")
    (tmp_path / "assignment" / "assignment.toml").write_text(settings)
    with pytest.raises(AssignmentError) as raised:
        assignment.read(tmp_path / "assignment")
    assert message in str(raised.value) and "assignment.toml: " in str(raised.value)


def test_a_student_is_told_what_the_grader_does_without(tmp_path: Path) -> None:
    hw2 = assignment.read(ROOT / "assignments" / "hw2_seven_billion")
    notebook = hw2.release()
    for cell in notebook.cells:
        name = cell.metadata.get(assignment.KEY, {}).get("answer")
        cell.source = hw2.answers[name].source if name else cell.source
        if name == "gpu_hours":
            cell.source = "from roofline_kit import model\ngpu_hours = model('llama-2-7b').parameters"
    nbformat.write(notebook, tmp_path / "mine.ipynb")
    lines, good = selfcheck.looked_at(tmp_path / "mine.ipynb")
    assert not good
    assert "✗ gpu_hours: imports roofline_kit, which is not installed where it is graded" in lines
    assert sum(line.startswith("✗") for line in lines) == 1, "the visible cells may ask it"


# --- the machine --------------------------------------------------------------------------------------------


def test_what_lies_where_everybody_can_read_is_refused_before_anything_is_graded(
    walls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "jane.ipynb").write_text(json.dumps(answered(HONEST)))
    (tmp_path / "packages").mkdir()
    monkeypatch.setattr(shown, "view", lambda: shown.View((tmp_path / "packages",), {}, {}))
    (tmp_path / "packages" / "in").symlink_to(tmp_path / "in")
    results = tmp_path / "packages" / "graded"
    words = ["grade", str(HERE / "assignment"), str(tmp_path / "in"), "--results", str(results)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert f"results would be in {results}, and every submission can read" in done.stderr.replace("\n", " ")
    assert not results.exists()


def test_no_more_are_graded_at_a_time_than_the_machine_has_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "memory", lambda: 9 * 10**9)
    assert [limits.fitting(jobs, 4 * 10**9) for jobs in (1, 2, 8)] == [1, 2, 2]
    with pytest.raises(ValueError, match=r"may take 10 GB, and there are 9 GB here: set a smaller memory"):
        limits.fitting(1, 10**10)


def test_the_memory_of_a_machine_is_what_a_cgroup_leaves_of_it(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "memory.limit_in_bytes").write_text("5000\n")
    (tmp_path / "a" / "memory.max").write_text("3000\n")
    (tmp_path / "a" / "b" / "memory.max").write_text("max\n")
    assert sorted(limits._of_cgroups(tmp_path, "/a/b")) == [3000, 5000]
    assert 10**8 < limits.memory() < 10**14


def test_where_there_is_no_filter_nothing_is_graded_and_what_is_missing_is_named(
    walls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> bytes:
        raise syscalls.NoFilter("libseccomp.so.2: cannot open shared object file")

    monkeypatch.setattr(syscalls, "program", missing)
    with pytest.raises(sandbox.NoSandbox, match=r"apt install libseccomp2; libseccomp\.so\.2: cannot open"):
        sandbox._filtered(walls)


HONEST_WORK = """
import multiprocessing, os, subprocess, sys, tempfile, threading
import matplotlib.pyplot as plt, numpy as np
fork, spawn = multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")
with fork.Pool(3) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
queue = fork.Queue()
queue.put(3)
assert queue.get() == 3 and multiprocessing.Value("i", 4).value == 4
thread = threading.Thread(target=plt.plot, args=([1, 2],))
thread.start(), thread.join()
plt.savefig("/tmp/a.png")
assert np.memmap("/tmp/b", dtype="f4", mode="w+", shape=(9,)).sum() == 0
with tempfile.TemporaryDirectory() as folder:
    open(folder + "/c", "w").write("x")
assert subprocess.run(["ls", "/"], capture_output=True, text=True).stdout
assert get_ipython().getoutput("echo a") == ["a"]
if os.fork() == 0:
    print("from a fork", flush=True)
    sys.stdout.flush()
    os._exit(0)
os.wait()
"""


def test_walls_that_take_their_time_to_stand_stop_nobody(walls: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, bubblewrap's child sees our own files for a while, and they are not the submission's."""
    walled, slow = sandbox._walled, ["bash", "-c", 'sleep 0.3; exec "$@"', "bash"]
    monkeypatch.setattr(sandbox, "_walled", lambda *args: [*slow, *walled(*args)])
    monkeypatch.setitem(sandbox._nurseries, ((), ()), None)
    kernel = sandbox.Kernel(walls, limits.Limits())
    kernel.stop()


@pytest.mark.parametrize("warm", [True, False])
def test_what_honest_answers_do_works_behind_the_filter(
    warm: bool, walls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not warm:
        monkeypatch.setitem(sandbox._nurseries, ((), ()), None)
    kernel = sandbox.Kernel(walls, limits.Limits())
    try:
        ran = kernel.run(HONEST_WORK)
        status = kernel.run("print(open('/proc/self/status').read())").messages
    finally:
        kernel.stop()
    assert not ran.reason and not [message for message in ran.messages if message["msg_type"] == "error"], ran
    assert "from a fork" in "".join(message["content"].get("text", "") for message in ran.messages)
    assert "Seccomp:\t2" in status[0]["content"]["text"] and "CapEff:\t0000000000000000" in status[0]["content"]["text"]
