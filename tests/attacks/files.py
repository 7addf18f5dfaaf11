"""Files and folders that are no notebooks, or that somebody else takes for something."""

import json
import os

from . import FULL, HONEST, answered, attack

BROKEN = "no JSON, and not read"


@attack(0, notes="JSON")
def not_json():
    """A file that is no JSON."""
    return b"{'cells': [" + b"\xc3\xa9" * 1000


@attack(0, notes="it is empty")
def empty():
    """A file of no bytes."""
    return b""


@attack(0, notes="UTF-8")
def not_utf8():
    """A file in another encoding."""
    return json.dumps(answered(HONEST)).encode("utf-16")


@attack(FULL)
def byte_order_mark():
    """A file that begins with a byte order mark, as some editors write it: it is read."""
    return b"\xef\xbb\xbf" + json.dumps(answered(HONEST)).encode()


@attack((0, FULL))
def format_3():
    """A notebook in format 3, where cells stand in worksheets."""
    content = answered(HONEST)
    cells = [{**cell, "input": cell.pop("source")} for cell in content.pop("cells")]
    return {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells}]}


@attack(0, notes="MB")
def sixty_mb():
    """A notebook of 60 MB."""
    return json.dumps({**answered(HONEST), "padding": "x" * 60_000_000}).encode()


@attack(0, notes="deep")
def deep():
    """JSON that is nested 100,000 deep."""
    return b'{"cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@attack(0, notes="brackets")
def grows_when_read():
    """Ten MB that are half a gigabyte of objects once they are parsed."""
    return b'{"cells": [' + b"[{}]," * 1_990_000 + b"0]}"


@attack(0, notes="JSON")
def number_of_many_digits():
    """A number of two million digits, and one that is no number."""
    return b'{"nbformat": ' + b"9" * 2_000_000 + b', "x": NaN, "cells": []}'


@attack(0, notes="cells")
def twenty_thousand_cells():
    """A notebook of 20,000 cells."""
    content = answered(HONEST)
    cell = {"cell_type": "code", "metadata": {}, "source": "1", "outputs": []}
    return {**content, "cells": content["cells"] + [cell] * 20_000}


@attack(0, notes="no notebook")
def link(folder):
    """A link to a file of the instructor's in the place of a notebook."""
    (folder / "submission.ipynb").symlink_to("/etc/passwd")


@attack(0, notes="no notebook")
def fifo(folder):
    """A pipe in the place of a notebook, which no reader ever comes to the end of."""
    os.mkfifo(folder / "submission.ipynb")


@attack(0, notes="no notebook")
def folder_with_the_name_of_a_notebook(folder):
    """A folder whose name ends as a notebook's does."""
    (folder / "submission.ipynb").mkdir()


@attack(0)
def configuration_of_pytest(folder):
    """A conftest.py, a pytest.ini and modules with the names of ours beside the notebook, for the grader to run."""
    mark = "import pathlib\npathlib.Path(__file__).with_name('was-run').touch()\n"
    cheat = "import roofline_kit.grading.judge as judge\njudge.share = lambda *a: 1.0\n"
    for name in ("conftest.py", "__init__.py", "sitecustomize.py", "numpy.py", "nbval.py"):
        (folder / name).write_text(mark + cheat)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p sitecustomize\n")
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '-p sitecustomize'\n")
    return {"flops": "flops = N"}


@attack(FULL)
def name_for_pytest(folder):
    """A name that a test runner takes apart: brackets, colons, a dash, an at."""
    (folder / "@-x::Test[1] --co (2)[3].ipynb").write_bytes(json.dumps(answered(HONEST)).encode())


@attack(FULL)
def name_that_is_no_text(folder):
    """A name of bytes that are no letters."""
    path = os.fsencode(folder) + b"/\xff\xfe<script>alert(1)</script>'\n.ipynb".replace(b"/script", b"script")
    with open(path, "wb") as file:
        file.write(json.dumps(answered(HONEST)).encode())


@attack(FULL)
def folders_in_folders(folder):
    """A thousand folders in one another beside the notebook."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    return HONEST
