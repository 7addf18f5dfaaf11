"""What does it cost to grade a submission? Ours, nbgrader's autograde and otter's run, on the same 20 submissions.

    pip install -e ".[lab,grading]" nbgrader otter-grader     # into an environment to throw away
    python benchmarks/grading.py

Needs bubblewrap, and a machine that does nothing else: processor seconds are those of the whole machine (the kernels of
all three are killed at their end, and what a killed child used is in nobody's account). Prints a table for README.md in
this folder.

The submissions answer the same questions in the same cells: a formula, a number, a function and a constant. All three
graders run them in a kernel and look at the same values; nbgrader and otter by assertions in hidden tests of four
cells, ours by four checks in a sandbox. Ours has a fixed part, too: it runs the instructor's answers, and starts its
processes; that is measured with one submission and shown apart.
"""

import argparse
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


def busy() -> float:
    """Seconds that the processors of this machine have worked since it started."""
    user, nice, system, _idle, _wait, irq, soft, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def timed(line: list[str], folder: Path) -> tuple[float, float]:
    """Wall and processor seconds of a command. Stops with what it said if it fails."""
    before, began = busy(), time.monotonic()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path}
    done = subprocess.run([sys.executable, "-m", *line], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return time.monotonic() - began, busy() - before


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
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        one = ours(folder / "one", 1, 1)
        alone = ours(folder / "ours1", given.count, 1)
        both = ours(folder / "ours2", given.count, 2)
        # Before the others: the largest process is that of all children so far.
        many = ours(folder / "many", given.many, 2) if given.many else None
        for name in ("nbgrader", "otter"):
            (folder / name).mkdir()
        theirs = {
            "nbgrader autograde": nbgrader(folder / "nbgrader", given.count),
            "otter run": otter(folder / "otter", given.count),
        }
        n = given.count
        each = [(b - a) / (n - 1) for a, b in zip(one[:2], alone[:2], strict=True)]
        rows = [("ours, sandboxed, each further one", *each), ("ours, all, --jobs 1", alone[0] / n, alone[1] / n)]
        rows += [("ours, all, --jobs 2", both[0] / n, both[1] / n)]
        rows += [(name, wall / n, cpu / n) for name, (wall, cpu) in theirs.items()]
    packages = ", ".join(f"{name} {version(name)}" for name in ("nbgrader", "otter-grader", "nbval", "ipykernel"))
    print(f"Python {platform.python_version()}, {packages}, {platform.machine()}, {n} submissions\n")
    print("| per submission | wall | processor | processor, theirs / ours (--jobs 1) |\n| --- | ---: | ---: | ---: |")
    for name, wall, cpu in rows:
        ratio = f"{cpu / (alone[1] / n):.1f}" if name in theirs else ""
        print(f"| {name} | {wall:.2f} s | {cpu:.2f} s | {ratio} |")
    print(f"\nLargest process of ours: {both[2]:.0f} MB with {n} submissions", end="")
    print(f", {many[2]:.0f} MB with {given.many}." if many else ".")


if __name__ == "__main__":
    main()
