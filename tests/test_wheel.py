"""`pip install .` brings all that the kit needs and nothing else, and works where there is no checkout."""

from __future__ import annotations

import subprocess
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

from wheel import ROOT, typed

FIRST_STEPS = """
import sys
from pathlib import Path
import roofline_kit as rk

assert Path(rk.__file__).is_relative_to(sys.prefix), rk.__file__
assert rk.accelerator("A10").bandwidth == 600e9
assert rk.model("llama-2-7b").kv_cache_bytes(tokens=1) == 524288
assert "data-rk=" in rk.explore_batch("llama-2-7b", "A100-40GB").html
assert rk.lecture.check().rows
assert not rk.check("00.ridge", 1).right
rk.plot_roofline("A10").figure.savefig("roof.png")
print("all is well")
"""


def test_a_wheel_holds_the_package_that_git_knows_and_nothing_else(wheel: Path) -> None:
    line = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "roofline_kit", "roofline_lab"]
    known = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    with ZipFile(wheel) as archive:
        held = [name for name in archive.namelist() if ".dist-info/" not in name]
    settings = {name for name in held if ".data/data/" in name}  # what JupyterLab's server reads
    assert settings == {"roofline_kit-0.1.0.data/data/etc/jupyter/jupyter_server_config.d/roofline_lab.json"}
    assert set(held) - settings == set(known)


def test_what_a_wheel_says_of_itself_is_complete(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        told = {name.removeprefix(f"{folder}/") for name in archive.namelist() if name.startswith(folder)}
        metadata = message_from_bytes(archive.read(f"{folder}/METADATA"))
        licence = archive.read(f"{folder}/licenses/LICENSE")
    assert told == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"


def test_the_first_steps_run_in_an_empty_environment_far_from_the_checkout(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text(FIRST_STEPS)
    done = typed(bare, "python", "first.py", cwd=tmp_path)
    assert done.stdout == "all is well\n", done.stderr
