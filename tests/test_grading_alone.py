"""What lies beside submissions, or in the folder that a command is called from, has no effect: none of it runs."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from test_assignments import ROOT
from test_grading_commands import RIGHT, SMALL, digests, handed_in, table

import roofline_kit.grading

TRAP = "open({caught!r}, 'a').write({name!r} + ' ')\n"
SETTINGS = {
    "pytest.ini": "[pytest]\npythonpath = .\naddopts = -p secrets\n",
    "tox.ini": "[pytest]\npythonpath = .\naddopts = -p secrets\n",
    "setup.cfg": "[tool:pytest]\npythonpath = .\naddopts = -p secrets\n",
    "pyproject.toml": "[tool.pytest.ini_options]\npythonpath = ['.']\naddopts = '-p secrets'\n",
    "matplotlibrc": "backend: module://trap\n",
    "templates/feedback.html": "a stranger's page",
    "templates/index.html": "a stranger's page",
}
CODE = (
    "conftest.py", "trap.py", "__init__.py", "__main__.py", "sitecustomize.py", "usercustomize.py", ".pdbrc",
    "ipython_config.py", "ipython_kernel_config.py", "jupyter_config.py", "jupyter_client_config.py",
    ".ipython/profile_default/ipython_config.py", ".ipython/profile_default/ipython_kernel_config.py",
    ".ipython/profile_default/startup/00-first.py", "profile_default/startup/00-first.py",
    "profile_default/ipython_kernel_config.py", ".jupyter/jupyter_config.py", "startup.py",
)  # fmt: skip
PROGRAMS = (
    "apptainer", "bwrap", "cc", "env", "file", "gcc", "git", "ld", "ldconfig", "locale", "python", "python3", "sbatch",
    "sh", "sleep", "stty", "tput", "uname",
)  # fmt: skip
SCRIPT = [str(Path(sys.executable).with_name("roofline-kit"))]
MODULE = [sys.executable, "-m", "roofline_kit"]
PLANTED = (f"assignments/{SMALL.name}", f"x/{SMALL.name}", SMALL.name)  # assignments that a student made


def imported_first(folder: Path) -> set[str]:
    """What Python itself imports for `python -m`, with the folder it is in on its path, before any program begins."""
    (folder / "first").mkdir(parents=True)
    (folder / "first" / "__init__.py").write_text("import sys\nprint(*sys.modules)")
    (folder / "first" / "__main__.py").touch()
    done = subprocess.run([sys.executable, "-m", "first"], cwd=folder, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def trapped(folder: Path, caught: Path, but: set[str] = frozenset()) -> dict[str, str]:  # type: ignore[assignment]
    """A folder with a good submission and everything that could run beside it; and an environment that points there."""
    handed_in(folder / "jane.ipynb", **RIGHT)
    modules = {name for name in (*sys.stdlib_module_names, *packages_distributions()) if name.isidentifier()}
    for name in (*(f"{module}.py" for module in sorted(modules - but - {"roofline_kit"})), *CODE):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(TRAP.format(caught=str(caught), name=name))
    for name, text in SETTINGS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/bash\necho -n '{name} ' >> {caught}\n")
        (folder / name).chmod(0o755)
    for name in PLANTED:
        shutil.copytree(SMALL, folder / name)
    here = str(folder)
    return {
        "HOME": here, "PATH": f":.:{here}/nothing:{os.environ['PATH']}", "XDG_CONFIG_HOME": here,
        "PYTHONSTARTUP": f"{here}/startup.py", "PYTHONBREAKPOINT": "trap.here",
        "PYTHONWARNINGS": "ignore::trap.Warning", "PYTEST_ADDOPTS": "-p trap", "PYTEST_PLUGINS": "trap",
        "IPYTHONDIR": ".", "JUPYTER_CONFIG_DIR": ".", "JUPYTER_CONFIG_PATH": here, "JUPYTER_PATH": here,
        "MATPLOTLIBRC": ".", "MPLCONFIGDIR": ".", "MPLBACKEND": "module://trap",
    }  # fmt: skip


def typed(command: list[str], *words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Types a command in a folder. The terminal's end has no more to say."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [*command, *map(str, words)], cwd=cwd, env={**kept, "COLUMNS": "200", **environment}, capture_output=True,
        text=True, stdin=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip


# Begins as the script does that pip makes, and answers several commands where that answers one.
SEVERAL = """
import sys
from roofline_kit.cli import app
import contextlib, io, json
said = []
for words in json.loads(sys.argv[1]):
    out, error, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            app(words)
        except SystemExit as end:
            code = end.code
    said.append((code, out.getvalue(), error.getvalue()))
print(json.dumps(said))
"""


def refused(*lines: tuple[object, ...], cwd: Path, folder: Path, **environment: str) -> list[str]:
    """Types commands one after the other, none of which is followed, and returns why. folder : where there is room."""
    (folder / "several").mkdir(exist_ok=True)
    program = folder / "several" / "roofline-kit-several"  # by its name, the kit knows that it is a command
    program.write_text(SEVERAL)
    words = json.dumps([[str(word) for word in line] for line in lines])
    done = typed([sys.executable, str(program)], words, cwd=cwd, **environment)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [code for code, _, _ in said] == [1] * len(lines), said
    return [error for _, _, error in said]


@pytest.mark.parametrize("how", ["roofline-kit", "python -m", "python -I -m"])
def test_no_file_of_the_folder_that_a_command_is_called_from_runs(how: str, walls: str, tmp_path: Path) -> None:
    isolated = [sys.executable, "-I", "-m", "roofline_kit"]
    command = {"roofline-kit": SCRIPT, "python -m": MODULE, "python -I -m": isolated}[how]
    here, caught, out, to = (tmp_path / name for name in ("in", "caught", "out", "release"))
    environment = trapped(here, caught, imported_first(tmp_path / "first") if how == "python -m" else set())
    if how == "python -I -m":  # even with those that Python looks at before it runs anything
        environment |= {"PYTHONPATH": ":", "PYTHONUSERBASE": ".", "PYTHONHOME": "nowhere", "PYTHONPYCACHEPREFIX": "."}
    for words in (
        ("check", "jane.ipynb"),
        ("grade", SMALL, ".", "--results", out),
        ("grade", SMALL, "jane.ipynb", "--cells"),
        ("report", SMALL, "--results", out),
        ("release", SMALL, "--to", to),
    ):
        done = typed(command, *words, cwd=here, **environment)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        assert not caught.exists(), (words, caught.read_text())
    assert table(out / "grades.csv")["jane"]["points"] == "10.0"
    assert "stranger" not in (out / "feedback" / "jane.html").read_text()
    assert [path.name for path in to.iterdir()] == ["assignment.ipynb"]


def test_the_traps_are_traps(tmp_path: Path) -> None:
    here, caught = tmp_path / "in", tmp_path / "caught"
    environment = trapped(here, caught)
    for command in (
        [sys.executable, "-c", "import secrets"],
        [sys.executable, "-I", "-m", "pytest", "jane.ipynb"],  # by its settings
        ["bash", "-c", "bwrap"],
    ):
        typed(command, cwd=here, **environment)
        assert caught.exists(), command
        caught.unlink()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYTHONPATH", ":"), ("PYTHONPATH", ".:/nowhere"), ("PYTHONPATH", "{here}"), ("PYTHONPATH", "{here}/deep"),
        ("PYTHONUSERBASE", "."), ("PYTHONPYCACHEPREFIX", "cache"),
    ],
)  # fmt: skip
def test_where_python_would_run_a_students_file_before_the_command_begins_nothing_is_graded_until_that_is_mended(
    name: str, value: str, tmp_path: Path
) -> None:
    here, caught = tmp_path / "in", tmp_path / "caught"
    handed_in(here / "jane.ipynb", **RIGHT)
    for module in ("numpy", "nbformat", "typer", "sympy", "json", "secrets"):
        (here / f"{module}.py").write_text(TRAP.format(caught=str(caught), name=module))
    value = value.format(here=here)
    lines: list[tuple[object, ...]] = [("grade", SMALL, here, "--results", tmp_path / "out")]
    if str(here) not in value:
        lines += [("report", SMALL), ("release", SMALL, "--to", tmp_path / "to")]
    said = refused(*lines, cwd=here, folder=tmp_path, **{name: value})
    assert all(f"{name} is {value!r}" in why and "unset it" in why for why in said), said
    assert not (tmp_path / "out").exists() and not (tmp_path / "to").exists()
    if str(here) not in value:
        done = typed(SCRIPT, "check", "jane.ipynb", cwd=here, **{name: value})
        assert done.returncode == 0, done.stderr
    assert not caught.exists(), caught.read_text()


def test_a_folder_of_ones_own_on_the_path_of_python_is_ones_own_decision(walls: str, tmp_path: Path) -> None:
    handed_in(tmp_path / "in" / "jane.ipynb", **RIGHT)
    (tmp_path / "mine").mkdir()
    words = ("grade", SMALL, "in", "--results", "out")
    for value in ("", str(tmp_path / "mine")):
        done = typed(SCRIPT, *words, cwd=tmp_path, PYTHONPATH=value)
        assert done.returncode == 0, done.stderr


def test_an_environment_whose_folder_is_a_link_has_walls_too(walls: str, tmp_path: Path) -> None:
    """As where a home is small, and what is large lies on another disk."""
    (tmp_path / "once").symlink_to(sys.prefix)
    (tmp_path / "twice").symlink_to("once")
    program = "from roofline_kit.grading import sandbox; print(sandbox.walls())"
    for name in ("once", "twice"):
        line = [str(tmp_path / name / "bin" / "python"), "-P", "-c", program]
        done = subprocess.run(line, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        assert done.stdout == f"{walls}\n", done.stderr


def test_the_assignment_and_the_results_are_never_what_a_student_put_among_submissions(tmp_path: Path) -> None:
    here = tmp_path / "in"
    trapped(here, tmp_path / "caught")
    name, out = SMALL.name, ("--results", tmp_path / "out")
    reasons = {
        ("grade", name, ".", *out): f"the assignment is in {here / 'assignments' / name}",
        ("grade", f"./{name}", ".", *out): f"the assignment is in {here / name}",
        ("grade", f"x/{name}", ".", *out): f"the assignment is in {here / 'x' / name}",
        ("grade", SMALL, "."): f"results would be in graded/{name}",
    }
    for message, why in zip(reasons.values(), refused(*reasons, cwd=here, folder=tmp_path), strict=True):
        assert message in why
    lines = (("grade", name, ".", *out), ("report", name, *out), ("release", name, "--to", tmp_path / "out"))
    for why in refused(*lines, cwd=here / "x", folder=tmp_path):  # the folder of this name is not meant by it
        assert f"unknown assignment {name!r}" in why
    assert not (tmp_path / "out").exists()
    assert not (here / "graded").exists()


def test_no_module_of_the_grader_can_be_loaded_by_the_command_of_pytest() -> None:
    for path in Path(roofline_kit.grading.__file__).parent.glob("*.py"):
        names = [node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]
        assert not [name for name in names if name.startswith("pytest_")], path


def test_imports_of_the_grader_go_down_only() -> None:
    folder = Path(roofline_kit.grading.__file__).parent
    rows = [line.split() for line in (roofline_kit.grading.__doc__ or "").splitlines() if line.startswith("    ")]
    order = [row[0] for row in rows]
    assert sorted([*order, "__init__", "__main__"]) == sorted(path.stem for path in folder.glob("*.py"))
    for place, name in enumerate(order):
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                used = {node.module} if node.module else {alias.name for alias in node.names}
                assert used <= set(order[:place]), f"{name} imports {used}"


# --- one submission, cell by cell -------------------------------------------------------------------------


def test_a_submission_is_shown_cell_by_cell_and_nothing_is_kept(walls: str, tmp_path: Path) -> None:
    odd = "raise ValueError('\\x1b[2J\\x07 a\\nb \\u202e')"
    answers = {"kv": "def kv(tokens, heads):\n    return 3", "flops": odd, "parameters": "parameters = ..."}
    path = handed_in(tmp_path / "in" / "jane.ipynb", **RIGHT | answers)
    before = digests(tmp_path)
    done = typed(SCRIPT, "grade", SMALL, path, "--cells", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path) == before
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for line in (
        "1 frame ·",
        "2 answer flops ✗ raised ValueError: ⟨U+001B⟩[2J⟨U+0007⟩ a⏎b ⟨U+202E⟩",
        "3 check flops ✗ 0 of 3: it ended with an error, or a part of it did",
        "4 given ·",
        "5 answer seconds ·",
        "6 check seconds ✓ 2 of 2: right",
        "8 check kv ✗ 0 of 3: it ran, and not all of its values are right",
        "10 check parameters ✗ 0 of 2: not answered",
        'parameters: {"type": "ellipsis"}, and yours 6738415616',
        "2 of 10 points",
    ):
        assert line in lines, (line, lines)
    assert any(line.startswith("kv: [3, 3, 3, 3], and yours [") for line in lines)


def test_what_is_looked_at_runs_in_the_sandbox_or_not_at_all(walls: str, tmp_path: Path) -> None:
    hack = f"open({str(tmp_path / 'caught')!r}, 'w')\n"
    path = handed_in(tmp_path / "jane.ipynb", **RIGHT | {"kv": hack + RIGHT["kv"]})
    done = typed(SCRIPT, "grade", SMALL, path, "--cells", cwd=tmp_path)
    assert "raised FileNotFoundError" in done.stdout or "raised OSError" in done.stdout, done.stdout
    assert not (tmp_path / "caught").exists()
    done = typed(SCRIPT, "grade", SMALL, path, "--cells", cwd=tmp_path, PATH="/nowhere")
    assert done.returncode == 1 and "apt install bubblewrap" in done.stderr


def test_files_that_belong_to_a_submission_are_beside_it_when_it_is_looked_at(walls: str, tmp_path: Path) -> None:
    from roofline_kit.files import write
    from roofline_kit.grading import look

    for name in (
        "hw.ipynb",
        "other.ipynb",
        "sweep.json",
        "doe_1_5_hw.ipynb",
        "doe_1_6_sweep.json",
        "roe_2_7_sweep.json",
    ):
        write(tmp_path / name, "{}")
    assert "sweep.json" in {path.name for path in look.single(tmp_path / "hw.ipynb").files}
    canvas = look.single(tmp_path / "doe_1_5_hw.ipynb")
    assert (canvas.student, [path.name for path in canvas.files]) == ("doe_1", ["doe_1_6_sweep.json"])


def test_what_cannot_be_looked_at_is_named_with_what_could(tmp_path: Path) -> None:
    path = handed_in(tmp_path / "in" / "jane.ipynb", **RIGHT)
    reasons = {
        ("in", "--cells"): f"in is a folder, and --cells looks at one notebook, as in {path}",
        ("in/jan.ipynb", "--cells"): "in/jan.ipynb is not there",
        ("in/jane.ipynb",): "in/jane.ipynb is not a folder: --cells looks at one file",
        ("in/jane.ipynb", "--cells", "--results", "out"): "--cells keeps nothing: leave out --results",
    }
    said = refused(*(("grade", SMALL, *words) for words in reasons), cwd=tmp_path, folder=tmp_path)
    for message, why in zip(reasons.values(), said, strict=True):
        assert message in why
