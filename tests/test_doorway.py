"""A fresh clone, started as the README says, in a real shell: what a newcomer types is found."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import ports
import pytest
import websocket
from browser import answering
from upstream import git

import roofline_kit as rk

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text("utf-8")
PIP, CONDA = (block.splitlines() for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)[1:3])
(ACTIVATE,) = {line.split("  ")[0] for line in PIP if line.startswith("source ")}
INSTALLED = "--old-file=.venv/lab"  # make takes what is there for good, and installs nothing


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The course as it comes from git, with the environment that runs this."""
    git(tmp_path, "clone", "--quiet", str(REPOSITORY), "course")
    (tmp_path / "course" / ".venv").symlink_to(sys.prefix)
    return tmp_path / "course"


def environment(home: Path) -> dict[str, str]:
    """That of somebody who has just logged in, with no settings and no screen."""
    kept = {name: os.environ[name] for name in ("LANG", "TERM") if name in os.environ}
    return kept | {"HOME": str(home), "SHELL": "/bin/bash", "PATH": "/usr/local/bin:/usr/bin:/bin"}


class Server:
    """A JupyterLab that runs in a terminal."""

    def __init__(self, port: int, token: str, runtime: Path) -> None:
        self.port, self.token, self.runtime = port, token, runtime

    def ask(self, path: str, **data: Any) -> Any:
        """What its API answers; with data, it is told to make something."""
        body = json.dumps(data).encode() if data else None
        header = {"Authorization": f"token {self.token}"}
        with urlopen(Request(f"http://127.0.0.1:{self.port}/api/{path}", body, header)) as answer:
            return json.load(answer)

    def connect(self, path: str) -> Any:
        """A WebSocket, as the page in the browser has it."""
        header = [f"Authorization: token {self.token}"]
        return websocket.create_connection(f"ws://127.0.0.1:{self.port}/{path}", timeout=120, header=header)

    def in_a_cell(self, code: str) -> str:
        """What a new kernel prints."""
        kernel = self.connect(f"api/kernels/{self.ask('kernels', name='python3')['id']}/channels")
        asked = {"msg_id": "ours", "msg_type": "execute_request", "username": "", "session": "ours", "version": "5.3"}
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        message = {"header": asked, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        kernel.send(json.dumps(message))
        said, state = "", ""
        while state != "idle":
            answer = json.loads(kernel.recv())
            if answer["parent_header"].get("msg_id") == "ours":
                said += answer["content"].get("text", "")
                state = answer["content"].get("execution_state", "")
        kernel.close()
        return said

    def in_a_terminal(self, line: str) -> str:
        """What a terminal of Lab shows, until the line has come to its end."""
        terminal = self.connect(f"terminals/websocket/{self.ask('terminals', cwd='')['name']}")
        terminal.send(json.dumps(["stdin", f"{line}; echo the''end\r"]))
        said = ""
        while "theend" not in said:
            kind, *words = json.loads(terminal.recv())
            said += words[0] if kind == "stdout" else ""
        terminal.close()
        return said


@contextmanager
def typed(line: str, course: Path, home: Path) -> Iterator[Server]:
    """Types a line that starts JupyterLab into a terminal, in the folder of the course."""
    port = ports.free()
    token, log = os.urandom(16).hex(), home / "log"
    (home / ".jupyter").mkdir()
    quiet = {"ServerApp": {"open_browser": False, "allow_root": True}}
    (home / ".jupyter" / "jupyter_server_config.json").write_text(json.dumps(quiet))
    given = {"JUPYTER_PORT": str(port), "JUPYTER_TOKEN": token, "JUPYTER_RUNTIME_DIR": str(home / "runtime")}
    keyboard, screen = pty.openpty()
    server = subprocess.Popen(
        ["bash", "-c", line], cwd=course, env=environment(home) | given, stdin=screen, stdout=screen, stderr=screen,
        start_new_session=True,
    )  # fmt: skip
    os.close(screen)
    Thread(target=read, args=(keyboard, log)).start()
    try:
        answering(f"http://127.0.0.1:{port}/api?token={token}", server, log)  # type: ignore[arg-type]
        yield Server(port, token, home / "runtime")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def read(keyboard: int, log: Path) -> None:
    """Keeps what a terminal shows, until nobody writes there any more."""
    with log.open("wb") as file, open(keyboard, "rb", buffering=0) as shown:
        try:
            while text := shown.read(4096):
                file.write(text)
                file.flush()
        except OSError:  # how Linux says that it has ended
            pass


LINES = {"make": f"make {INSTALLED} lab", "pip": f"{ACTIVATE} && {PIP[-1]}"}
# Nobody looks at what the server says: a log, a desktop, a hub. Jupyter's terminals are login shells then.
LINES |= {f"{way}, into a log": f"({line}) > unseen 2>&1" for way, line in LINES.items()}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_lab_shows_the_whole_course_opens_its_first_page_and_finds_the_command(
    line: str, clone: Path, tmp_path: Path
) -> None:
    with typed(line, clone, tmp_path) as lab:
        assert {"README.md", "notebooks"} <= {entry["name"] for entry in lab.ask("contents")["content"]}
        opened = [path.read_text("utf-8") for path in lab.runtime.glob("jpserver-*-open.html")]  # for the browser
        assert any("/lab/tree/notebooks/00_start_here.ipynb" in page for page in opened)
        assert lab.in_a_cell("!roofline-kit --version").split() == [rk.__version__]
        assert f"{rk.__version__}\r\n" in lab.in_a_terminal("roofline-kit --version")


def test_pip_and_conda_start_lab_alike() -> None:
    assert PIP[-1] == CONDA[-1]


def test_outside_of_lab_the_command_is_found_in_the_environment(clone: Path, tmp_path: Path) -> None:
    assert f"`{ACTIVATE}`" in README
    for words, said in {
        f"{ACTIVATE} && roofline-kit --version": rk.__version__,
        f"make {INSTALLED} update": "Nothing",
    }.items():
        done = subprocess.run(
            ["bash", "-c", words], cwd=clone, env=environment(tmp_path), capture_output=True, text=True
        )
        assert done.stdout.startswith(said), (words, done.stderr)
