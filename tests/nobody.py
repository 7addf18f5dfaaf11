"""Another user than root: tests that root runs do as nobody in particular what instructors do as ordinary users."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

NOBODY = 65534
ROOT = Path(__file__).parent.parent
HOW = "root runs these tests, and nobody else can run this Python: install that of Debian, with python3-venv"


def python(base: Path) -> tuple[Path, dict[str, Any]]:
    """What runs Python with the kit, and as whom: as nobody in particular, if root runs these tests and others can.

    base : a folder that everybody can enter, with folders `home` and `tmp` that everybody can write to.
    """
    nobody: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    own, module = Path(sys.executable), "import roofline_kit.grading.sandbox"
    for known in [own, *of_the_system(base)] if not os.geteuid() else []:
        with suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(
                [known, "-c", module], env=environment(base), check=True, stderr=subprocess.DEVNULL, **nobody
            )
            return known, nobody
    return own, {}


def of_the_system(base: Path) -> Iterator[Path]:
    """The system's Python, which everybody can run, in an environment with our packages, if it is of our version."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    with suppress(OSError, subprocess.CalledProcessError):
        subprocess.run([f"/usr/bin/{name}", "-m", "venv", "--without-pip", base / "python"], check=True)
        packages = base / "python" / "lib" / name / "site-packages"
        packages.rmdir()
        packages.symlink_to(sysconfig.get_path("purelib"))
        yield base / "python" / "bin" / name


def environment(base: Path) -> dict[str, str]:
    own = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii:strict", "LANG": "C", "LC_ALL": "C", "COLUMNS": "100"}
    return {**os.environ, **own, "HOME": str(base / "home"), "TMPDIR": str(base / "tmp")}
