"""The JupyterHub of docs/jupyterhub_config.py in a folder and on loopback, for the tests and for benchmarks/hub.py."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import ports
from browser import REPOSITORY, Lab, answering

PROXY = "configurable-http-proxy"
PASSWORD = "a roof and a slope"


def path() -> str:
    """Where the hub finds its programs: beside this Python, and where scripts/install_tools.sh puts the proxy."""
    folders = [Path(sys.executable).parent, REPOSITORY / ".node" / "node_modules" / ".bin"]
    return os.pathsep.join([*map(str, folders), os.environ["PATH"]])


class Hub:
    """A running hub. course : the published repository that its links bring. folder : with a home for each user."""

    def __init__(self, folder: Path, course: Path, url: str) -> None:
        self.folder, self.course, self.url = folder, course, url

    def link(self, lesson: str = "00_start_here") -> str:
        """The link that brings the course and opens a lesson, as docs/instructors.md writes it."""
        opened = f"lab/tree/roofline/notebooks/{lesson}.ipynb"
        asked = {"repo": self.course.as_uri(), "branch": "main", "targetpath": "roofline", "urlpath": opened}
        return f"{self.url}/hub/user-redirect/git-pull?{urlencode(asked)}"

    def student(self, chromium: Any, name: str, password: str = PASSWORD) -> Lab:
        """Somebody with a browser of their own follows the link and logs in. It does not wait for what comes of it."""
        page = chromium.new_context(viewport={"width": 1300, "height": 1000}).new_page()
        lab = Lab(page, self.folder / name)
        page.goto(self.link())
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click(no_wait_after=True)
        return lab

    def processes(self, name: str) -> list[int]:
        """The lab of a user, and its kernels."""
        return processes(self.folder / name)


def processes(folder: Path) -> list[int]:
    """The processes that have a folder in their environment, as this hub and all its children have. Linux only."""
    found = []
    for at in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (at / "environ").read_bytes():
                found.append(int(at.name))
        except OSError:  # it has ended, or is somebody else's
            continue
    return found


@contextmanager
def running(folder: Path, course: Path) -> Iterator[Hub]:
    """A hub, as long as the block lasts; all its processes end with it. Raises RuntimeError if one did not."""
    settings = {
        "ServerApp": {"allow_root": True},
        "LabApp": {
            "expose_app_in_browser": True,
            "news_url": None,
            "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        },
    }
    (folder / "settings").mkdir(parents=True)
    (folder / "settings" / "jupyter_server_config.json").write_text(json.dumps(settings))
    first = ports.free(3)
    url, own, api = (f"http://127.0.0.1:{port}" for port in range(first, first + 3))
    # What differs from a hub with students: free ports, and homes here, of users that the system does not know.
    options = {
        "JupyterHub.bind_url": url, "JupyterHub.hub_bind_url": own, "ConfigurableHTTPProxy.api_url": api,
        "JupyterHub.spawner_class": "simple", "SimpleLocalProcessSpawner.home_dir_template": f"{folder}/{{username}}",
        "Spawner.environment": f"JUPYTER_CONFIG_PATH={folder / 'settings'}",
    }  # fmt: skip
    line = [sys.executable, "-m", "jupyterhub", "--config", str(REPOSITORY / "docs" / "jupyterhub_config.py")]
    environment = os.environ | {"PATH": path(), "PYTHONPATH": str(course)}  # with the kit in it
    environment |= {"ROOFLINE_PASSWORD": PASSWORD, "HUB_OF_THE_TESTS": str(folder)}
    with (folder / "log").open("wb") as log:
        hub = subprocess.Popen(
            [*line, *(f"--{name}={value}" for name, value in options.items())],
            env=environment, stdout=log, stderr=log, cwd=folder,
        )  # fmt: skip
    left = []
    try:
        answering(f"{url}/hub/login", hub, folder / "log")
        yield Hub(folder, course, url)
    finally:
        hub.terminate()
        end = time.monotonic() + 60
        while (left := processes(folder)) and time.monotonic() < end:
            hub.poll()
            time.sleep(0.1)
        for process in left:
            os.kill(process, signal.SIGKILL)
        hub.wait()
    if left:
        raise RuntimeError(f"{len(left)} processes were left behind:\n{(folder / 'log').read_text()}")


def available() -> bool:
    """Whether this machine has a proxy for a hub."""
    return shutil.which(PROXY, path=path()) is not None
