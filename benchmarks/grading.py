"""What does it cost to grade a submission? Ours, nbgrader's autograde and otter's run, on the same 20 submissions.

    pip install -e ".[lab,grading]" nbgrader otter-grader     # into an environment to throw away
    python benchmarks/grading.py

Needs bubblewrap, and a machine that does nothing else: processor seconds are those of a command and of everything that
it started (kernels outlive whoever started them, so this process takes them on and waits for them), but two busy
threads of one core slow each other down. Prints a table for README.md in this folder. `--without otter` leaves out
the slowest.

The submissions answer the same questions in the same cells: a formula, a number, a function and a constant. All three
graders run them in a kernel and look at the same values; nbgrader and otter by assertions in hidden tests of four
cells, ours by four checks in a sandbox. Ours has a fixed part, too: it runs the instructor's answers, and starts its
processes. It counts in the rows of "all"; with one submission measured apart, "each further one" is without it.
"""

import argparse
import contextlib
import ctypes
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h
# What the course wants: of nbgrader's and of otter's processor seconds, and wall seconds with two processes.
BARS = {"nbgrader autograde": 1 / 5, "otter run": 1 / 8}
WALL = 1.0
ROOT = Path(__file__).parent.parent
ASSIGNMENT = ROOT / "tests" / "attacks" / "assignment"
FRAME = "import roofline_kit as rk\nimport sympy\nN, h = rk.symbols('N h')"
ANSWERS = {
    "flops": "flops = N * h * (2 * h) + 7 * N",
    "seconds": "seconds, bound = 1e12 / 1.25e14, 'compute'",
    "kv": "def kv(tokens, heads):\n    return 512 * tokens * heads",
    "parameters": "parameters = 6738415616",
}
TESTS = {
    "flops": "assert flops.subs({N: 71, h: 1093}) == 2 * 71 * 1093**2 + 7 * 71",
    "seconds": "assert abs(seconds - 0.008) < 1e-9 and bound == 'compute'",
    "kv": "assert [kv(t, n) for t, n in [(3, 2), (4096, 32)]] == [3072, 67108864]",
    "parameters": "assert parameters == 6738415616",
}


def used() -> float:
    """Processor seconds of all processes below this one, which it waits for, orphans among them."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def timed(line: list[str], folder: Path) -> tuple[float, float]:
    """Wall and processor seconds of a command. Stops with what it said if it fails."""
    before, began = used(), time.monotonic()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path}
    done = subprocess.run([sys.executable, "-m", *line], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    wall = time.monotonic() - began
    return wall, used() - before


def ours(folder: Path, count: int, jobs: int) -> tuple[float, float, float]:
    """Wall and processor seconds, and the largest process in MB."""
    from roofline_kit.grading import assignment

    given = assignment.read(ASSIGNMENT)
    for i in range(count):
        notebook = given.release()
        for cell in notebook.cells:
            name = cell.metadata.get(assignment.KEY, {}).get("answer")
            cell.source = (
                "seconds, bound = flops / 1.25e14, 'compute'" if name == "seconds" else ANSWERS.get(name, cell.source)
            )
        (folder / "in").mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, folder / "in" / f"s{i}.ipynb")
    line = ["roofline_kit.grading", "grade", str(ASSIGNMENT), "in", "--results", "out", "--jobs", str(jobs)]
    wall, cpu = timed(line, folder)
    points = [json.loads(path.read_text())["points"] for path in (folder / "out" / "results").glob("*.json")]
    assert points == [10] * count, points
    return wall, cpu, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000


def nbgrader(folder: Path, count: int) -> tuple[float, float]:
    """The same of `nbgrader autograde`."""
    cells = [new_code_cell(FRAME)]
    marks = {"schema_version": 3, "locked": False, "task": False}
    for name, answer in ANSWERS.items():
        solution = {**marks, "grade_id": f"answer-{name}", "grade": False, "solution": True}
        tests = {**marks, "grade_id": f"tests-{name}", "grade": True, "solution": False, "locked": True, "points": 2}
        hidden = f"### BEGIN HIDDEN TESTS\n{TESTS[name]}\n### END HIDDEN TESTS"
        marked = f"### BEGIN SOLUTION\n{answer}\n### END SOLUTION"
        cells += [new_code_cell(marked, metadata={"nbgrader": solution})]
        cells += [new_code_cell(hidden, metadata={"nbgrader": tests})]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    source = folder / "source" / "hw" / "hw.ipynb"
    source.parent.mkdir(parents=True)
    nbformat.write(new_notebook(cells=cells, metadata=kernel), source)
    timed(["nbgrader", "generate_assignment", "hw", "--create"], folder)
    for i in range(count):
        copy = folder / "submitted" / f"s{i}" / "hw" / "hw.ipynb"
        copy.parent.mkdir(parents=True)
        notebook = nbformat.read(folder / "release" / "hw" / "hw.ipynb", as_version=4)
        solved = iter(ANSWERS.values())
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("solution"):
                cell.source = next(solved)
        nbformat.write(notebook, copy)
    return timed(["nbgrader", "autograde", "hw", "--create"], folder)


def otter(folder: Path, count: int) -> tuple[float, float]:
    """The same of `otter run`, one call for each submission, as its autograder on a platform does."""
    raw = nbformat.v4.new_raw_cell
    cells = [raw("# ASSIGNMENT CONFIG\ntests:\n  files: false\ngenerate: true\nrun_tests: false"), new_code_cell(FRAME)]
    for name, answer in ANSWERS.items():
        cells += [raw(f"# BEGIN QUESTION\nname: {name}\npoints: 2"), new_markdown_cell(name), raw("# BEGIN SOLUTION")]
        several = f"# BEGIN SOLUTION\n{answer}\n# END SOLUTION"
        tests = f'""" # BEGIN TEST CONFIG\nhidden: true\n""" # END TEST CONFIG\n{TESTS[name]}'
        cells += [new_code_cell(several if "\n" in answer else f"{answer} # SOLUTION"), raw("# END SOLUTION")]
        cells += [raw("# BEGIN TESTS"), new_code_cell(tests), raw("# END TESTS"), raw("# END QUESTION")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), folder / "hw.ipynb")
    timed(["otter", "assign", "hw.ipynb", "dist", "--no-run-tests", "--no-pdfs"], folder)
    (archive,) = (folder / "dist" / "autograder").glob("*.zip")
    submitted = nbformat.read(next((folder / "dist" / "student").glob("*.ipynb")), as_version=4)
    solved = iter(ANSWERS.values())
    for cell in submitted.cells:
        if cell.cell_type == "code" and "..." in cell.source:
            cell.source = next(solved)
    wall = cpu = 0.0
    for i in range(count):
        nbformat.write(submitted, folder / f"s{i}.ipynb")
        (folder / f"out{i}").mkdir()
        once = timed(["otter", "run", f"s{i}.ipynb", "-a", str(archive), "-o", f"out{i}"], folder)
        wall, cpu = wall + once[0], cpu + once[1]
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description="What does it cost to grade a submission?")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--many", type=int, default=0, help="also ours with so many submissions, for its memory")
    parser.add_argument("--without", nargs="*", default=[], choices=("nbgrader", "otter"))
    given = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans become children of this process
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        one = ours(folder / "one", 1, 1)
        alone = ours(folder / "ours1", given.count, 1)
        both = ours(folder / "ours2", given.count, 2)
        # Before the others: the largest process is that of all children so far.
        many = ours(folder / "many", given.many, 2) if given.many else None
        n = given.count
        theirs = {}
        for name, grader in zip(BARS, (nbgrader, otter), strict=True):
            if grader.__name__ not in given.without:
                (folder / grader.__name__).mkdir()
                theirs[name] = [seconds / n for seconds in grader(folder / grader.__name__, n)]
    each = [(b - a) / (n - 1) for a, b in zip(one[:2], alone[:2], strict=True)]
    rows = {f"ours, all {n} and the start, --jobs 1": [alone[0] / n, alone[1] / n]}
    rows |= {f"ours, all {n} and the start, --jobs 2": [both[0] / n, both[1] / n], "ours, each further one": each}
    packages = ", ".join(f"{name} {version(name)}" for name in ("nbgrader", "otter-grader", "nbval", "ipykernel"))
    print(f"Python {platform.python_version()}, {packages}, {platform.machine()}, {n} submissions\n")
    heads = ["per submission", "wall", "processor", *(f"of {name}'s processor" for name in theirs)]
    print(f"| {' | '.join(heads)} |\n| --- |{' ---: |' * (len(heads) - 1)}")
    for name, (wall, cpu) in (rows | theirs).items():
        parts = [f"1/{other / cpu:.1f}" if name in rows else "" for _, other in theirs.values()]
        print(f"| {' | '.join([name, f'{wall:.2f} s', f'{cpu:.2f} s', *parts])} |")
    first, second = list(rows.values())[:2]
    told = [(f"at most 1/{1 / bar:g} of {name}", first[1] <= bar * theirs[name][1])
            for name, bar in BARS.items() if name in theirs]  # fmt: skip
    told += [(f"at most {WALL:g} s of wall time with --jobs 2", second[0] <= WALL)]
    print("\nBars, start included:", "; ".join(f"{bar}: {'met' if met else 'missed'}" for bar, met in told))
    print(f"\nLargest process of ours: {both[2]:.0f} MB with {n} submissions", end="")
    print(f", {many[2]:.0f} MB with {given.many}." if many else ".")


if __name__ == "__main__":
    main()
