"""Where does a submission run? In a kernel of its own that sees the system read-only and nothing else: no network, no
other process, no other submission, no grader.

bubblewrap makes the walls (namespaces for users, processes, the network and mounts). Apptainer does where only that is
allowed, as on many clusters. Without either the grader refuses, unless it is told that the submissions are trusted.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.session import Session

from ..alone import search_path
from .limits import MB, Limits

SOCKETS = "/run/kernel"  # inside: where the kernel's sockets are
CONNECTION = "/run/kernel.json"  # inside: what the kernel has to know of them
FILES = "/run/files"  # inside: what a submission brought along, the folder that cells run in
CHANNELS = ("shell", "iopub", "stdin", "hb", "control")
KEPT = ("stream", "display_data", "execute_result", "error")


class NoSandbox(RuntimeError):
    """There is nothing here to run strangers' programs in."""


def program(name: str) -> str:
    """Where a program of this system is, or "" if there is none."""
    return shutil.which(name, path=search_path()) or ""


@cache
def walls(unsafe: bool = False) -> str:
    """Which walls there are here: "bubblewrap" or "apptainer"; "none" if there are neither and `unsafe` says so.

    Raises NoSandbox where there are none.
    """
    for name, command in (("bubblewrap", "bwrap"), ("apptainer", "apptainer")):
        if program(command) and _stand(name):
            return name
    if unsafe:
        return "none"
    raise NoSandbox(
        "submissions are programs of strangers, and there is no sandbox here that works: install bubblewrap (Debian, "
        "Ubuntu: apt install bubblewrap) or grade where Apptainer is allowed; --unsafe runs them with all your rights"
    )


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for all that is temporary, and an end to those of graders that were killed. Nothing stays."""
    base = Path(tempfile.gettempdir())
    for old in base.glob("roofline-grading-*-*"):
        pid = old.name.split("-")[2]
        if pid.isdigit() and not Path("/proc", pid).exists() and old.stat().st_uid == os.getuid():
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"roofline-grading-{os.getpid()}-") as folder:
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


def _stand(name: str) -> bool:
    """Whether the walls can be put up: some systems have the program and forbid what it needs."""
    with workplace() as folder:
        (folder / "kernel.json").touch()
        test = [*_walled(name, folder, None, Limits()), sys.executable, "-c", ""]
        with suppress(OSError, subprocess.TimeoutExpired):
            return subprocess.run(test, capture_output=True, timeout=60).returncode == 0
    return False


@cache
def _readable() -> tuple[str, ...]:
    """What a kernel must be able to read: the system's libraries, this Python and its packages, and the kit."""
    own = {sys.prefix, sys.base_prefix, sys.exec_prefix, *map(sysconfig.get_path, ("stdlib", "purelib", "platlib"))}
    kit = Path(__file__).resolve().parents[1]
    if not any(kit.is_relative_to(path) for path in own):  # installed in place
        own.add(str(kit))
    own |= {os.path.realpath(path) for path in own}  # where the folder of an environment is a link, what it leads to
    system = {"/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/fonts", "/etc/localtime"}
    paths = sorted(path for path in own | system if os.path.exists(path))
    return tuple(path for path in paths if not any(path != of and Path(path).is_relative_to(of) for of in paths))


def _environment(home: str) -> dict[str, str]:
    kit = Path(__file__).resolve().parents[2]
    return {
        "PATH": "/usr/bin:/bin", "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8", "MPLBACKEND": "agg",
        "MPLCONFIGDIR": f"{home}/matplotlib", "IPYTHONDIR": f"{home}/ipython", "JUPYTER_RUNTIME_DIR": home,
        "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(kit),
        "PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1",
    }  # fmt: skip


def _walled(name: str, sockets: Path, files: Path | None, limits: Limits) -> list[str]:
    """The command that stands before the kernel's own.

    Inside it is in plain view, as the command line of process 1: it must say nothing but where the system is. No folder
    of the host can be written to: a file without a name could fill its disk, and nobody would see it. With bubblewrap
    the sockets are therefore in a file system of their own, and `Kernel` finds them through the process (`_inside`).
    """
    environment = _environment("/tmp")
    if name == "none":
        home = sockets / "home"
        home.mkdir(exist_ok=True)
        return [program("env"), "-i", *(f"{key}={value}" for key, value in _environment(str(home)).items())]
    if name == "apptainer":
        binds = [f"{sockets}:{SOCKETS}", *([f"{files}:{FILES}:ro"] if files else [])]
        binds += [f"{path}:{path}:ro" for path in _readable()]
        # The image must have the system's libraries and nothing else: an empty folder, filled by binds.
        image = sockets.parent / "image"
        image.mkdir(exist_ok=True)
        walls = ["--containall", "--no-home", "--net", "--network", "none", "--no-privs", "--writable-tmpfs"]
        sets = [part for item in environment.items() for part in ("--env", "{}={}".format(*item))]
        pwd = ["--pwd", FILES if files else "/tmp"]
        return [program("apptainer"), "exec", *walls, "--bind", ",".join(binds), *sets, *pwd, str(image)]
    seen = []
    for path in _readable():
        link = os.path.islink(path)  # /bin is usr/bin
        seen += ["--symlink", os.path.realpath(path), path] if link else ["--ro-bind", path, path]
    return [
        program("bwrap"), "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session",
        "--cap-drop", "ALL", "--hostname", "sandbox", "--clearenv", "--proc", "/proc", "--dev", "/dev",
        "--size", str(limits.disk), "--tmpfs", "/tmp", "--size", str(MB), "--tmpfs", SOCKETS,
        "--size", str(limits.disk), "--tmpfs", "/dev/shm", "--remount-ro", "/dev", *seen,
        "--ro-bind", str(sockets / "kernel.json"), CONNECTION, *(["--ro-bind", str(files), FILES] if files else []),
        "--remount-ro", "/proc", "--remount-ro", "/", "--chdir", FILES if files else "/tmp",
        *(part for item in environment.items() for part in ("--setenv", *item)), "--",
    ]  # fmt: skip


def asleep(command: list[str], **how: Any) -> subprocess.Popen[bytes]:
    """Puts up walls around a process that sleeps, until a fork of the nursery enters them."""
    process = subprocess.Popen([*command, "/bin/sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE, **how)
    assert process.stdout is not None
    with process.stdout as stands:
        stands.read(1)
    return process


def _hold(resources: dict[str, int]) -> None:
    for name, most in resources.items():
        resource.setrlimit(getattr(resource, name), (most, most))


class Nursery:
    """The warm parent of this process's kernels, see nursery.py."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("nursery.py"))], env=_environment("/tmp"), cwd="/", text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.answer()

    def answer(self) -> str:
        """What it says next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def born(self, request: dict[str, Any]) -> int:
        """The process id of a new kernel. Raises OSError if there is none."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        if not (said := self.answer()).isdigit():
            raise OSError(said)
        return int(said)


@cache
def nursery() -> Nursery | None:
    """A nursery whose forks can enter walls here; None where they cannot, and kernels start cold.

    setns(2) by a process id came with Linux 5.8, and some systems forbid what bubblewrap may.
    """
    try:
        made = Nursery()
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "kernel.json").touch()
            process = asleep(_walled("bubblewrap", Path(folder), None, Limits()), stderr=subprocess.DEVNULL)
            made.born({"pid": _deepest(process.pid), "limits": {}, "arguments": [], "environment": {}, "folder": "/"})
            process.kill()
            process.wait()
    except (OSError, AttributeError):
        return None
    return made


def retire() -> None:
    """Ends this process's nursery, if there is one; the next kernel would get a new one."""
    warm = nursery() if nursery.cache_info().currsize else None
    if warm is not None:
        warm.process.communicate()  # it ends with its input
    nursery.cache_clear()


def _deepest(pid: int) -> int:
    """The last of a process's line of only children."""
    while children := _words(f"/proc/{pid}/task/{pid}/children"):
        pid = int(children[0])
    return pid


class Stopped(RuntimeError):
    """The kernel had to be stopped, or stopped by itself. reason : "time", "died" or "output"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Ran:
    """What became of a cell: the messages with its output, and why it ended: "", "time", "died" or "output"."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""


class Kernel:
    """A kernel behind walls. `run` runs a cell; `stop` ends it, and everything that it started.

    files : a folder that cells can read. seconds : how long all cells together may take, the limit unless given.
    Raises Stopped if it does not come up.
    """

    def __init__(self, walls: str, limits: Limits, files: Path | None = None, seconds: float = 0) -> None:
        self.limits, self.deadline, self.alive = limits, time.monotonic() + limits.start, True
        self.folder = Path(tempfile.mkdtemp(prefix="kernel-"))
        sockets = self.folder / "sockets"
        sockets.mkdir(mode=0o700)
        key = os.urandom(32).hex()
        ports = {f"{name}_port": i for i, name in enumerate(CHANNELS, start=1)}
        info: dict[str, Any] = {"transport": "ipc", "key": key, "signature_scheme": "hmac-sha256", **ports}
        inside = SOCKETS if walls != "none" else str(sockets)
        (sockets / "kernel.json").write_text(json.dumps({**info, "ip": f"{inside}/socket"}))
        known = CONNECTION if walls == "bubblewrap" else f"{inside}/kernel.json"
        arguments = ["-f", known, "--HistoryManager.enabled=False", "--IPKernelApp.no_stderr=True"]
        self.born = -1  # a file descriptor of the kernel's process, if it is a fork
        self.roots: list[int] = []  # the processes that all others of the kernel descend from
        self.process = self._launch(walls, sockets, files, [*arguments, "--IPKernelApp.exec_PYTHONSTARTUP=False"])
        self.roots.append(self.process.pid)
        self.client = BlockingKernelClient(session=Session(key=key.encode()))
        context = self.client.context
        context.MAXMSGSIZE = limits.output  # what a message can be does not depend on who sends it,
        context.RECONNECT_IVL = -1  # and a socket that is replaced by something else is not looked at again,
        context.SNDTIMEO = 1000  # nor waited for: who sends to one that is closed would wait for ever
        self.memory, self.count, self.size, self.next_look = _resident(), 0, 0, 0.0
        self.ends: list[Any] = []  # what tells of a channel that its other end is gone
        try:
            sockets = self._inside() if walls == "bubblewrap" else sockets
            self._wait_for(sockets / f"socket-{i}" for i in ports.values())
            known_here: Any = {**info, "ip": f"{sockets}/socket", "key": key.encode()}
            self.client.load_connection_info(known_here)
            self.client.start_channels(hb=False, stdin=False)
            channels = (self.client.iopub_channel, self.client.shell_channel)
            self.ends = [channel.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED) for channel in channels]
            self._wait_for_answer()
        except BaseException:
            self.stop()
            raise
        self.deadline = time.monotonic() + (seconds or limits.notebook)

    def _launch(self, walls: str, sockets: Path, files: Path | None, arguments: list[str]) -> subprocess.Popen[bytes]:
        """Puts up the walls, with a kernel in them."""
        command, resources = _walled(walls, sockets, files, self.limits), self.limits.resources
        quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        quiet["env"] = {"PATH": search_path()}  # that of process 1 is shown to the kernel
        if walls != "bubblewrap" or (warm := nursery()) is None:
            return subprocess.Popen(
                [*command, sys.executable, "-m", "ipykernel_launcher", *arguments], stdout=subprocess.DEVNULL,
                cwd=files if files and walls == "none" else "/", preexec_fn=lambda: _hold(resources), **quiet,
            )  # fmt: skip
        process = asleep(command, **quiet)
        request = {
            "pid": _deepest(process.pid), "limits": resources, "arguments": arguments,
            "environment": _environment("/tmp"), "folder": FILES if files else "/tmp",
        }  # fmt: skip
        try:
            self.roots.append(warm.born(request))  # whose parent is outside
            self.born = os.pidfd_open(self.roots[-1])
        except OSError:  # the machine is out of something; `_watch` finds nobody there
            process.kill()
        return process

    def _inside(self) -> Path:
        """Where the sockets are, as seen from here: in the file system of bubblewrap's child."""
        task = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        while True:
            self._watch()
            with suppress(OSError):
                for child in _words(task):
                    return Path(f"/proc/{int(child)}/root{SOCKETS}")
            time.sleep(0.005)

    def _wait_for(self, paths: Iterable[Path]) -> None:
        """Sockets are files; a client that connects before they are there would try again slowly, and ours never."""
        for path in paths:
            while not path.exists():
                self._watch()
                time.sleep(0.005)

    def _wait_for_answer(self) -> None:
        while True:  # what is published before the subscription stands is lost
            sent = self.client.kernel_info()
            for message in self._published(until=time.monotonic() + 0.5):
                if _is_idle(message, sent):
                    return

    def _watch(self) -> None:
        """Raises Stopped once the submission has used what it may."""
        if self.process.poll() is not None or (self.born >= 0 and select.select([self.born], [], [], 0)[0]):
            raise Stopped("died")
        if time.monotonic() > self.deadline:
            raise Stopped("time")
        if any(end.poll(0) for end in self.ends):  # it has just died, or sent what no message may be
            raise Stopped("died" if self.born >= 0 and select.select([self.born], [], [], 0.5)[0] else "output")
        # A message of endless parts, or many large ones, pile up here before one of them can be looked at.
        if _resident() - self.memory > 150 * MB:
            raise Stopped("output")
        if time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + 0.05
        count, memory = _used(self.roots, self.limits.processes)
        if count > self.limits.processes or memory > self.limits.memory:
            raise Stopped("died")

    def _published(self, until: float) -> Iterator[dict[str, Any]]:
        """What the kernel publishes, until a moment. Of what is no message, or not signed, nothing but an empty one.

        Raises Stopped once there is more of it than a cell may send. Bytes are counted before anything is made of them:
        three of JSON can become a hundred in memory.
        """
        session, socket = self.client.session, self.client.iopub_channel.socket
        assert socket is not None
        while time.monotonic() < until:
            self._watch()
            if not socket.poll(20):
                continue
            parts = socket.recv_multipart()
            self.count, self.size = self.count + 1, self.size + sum(map(len, parts))
            if self.size > self.limits.output or self.count > self.limits.messages:
                raise Stopped("output")
            try:
                message = session.deserialize(session.feed_identities(parts)[1])
            except Exception:  # whatever a stranger's bytes make of the parser
                message = {}
            well = isinstance(message.get("parent_header"), dict) and isinstance(message.get("content"), dict)
            yield message if well else {"parent_header": {}, "content": {}, "msg_type": ""}

    @property
    def left(self) -> float:
        """Seconds until the notebook's time is over."""
        return self.deadline - time.monotonic()

    def run(self, source: str) -> Ran:
        """Runs a cell. One that takes too long is interrupted, and the kernel is stopped if that does not help."""
        ran = Ran()
        if not self.alive:
            return Ran(reason="died")
        self.count = self.size = 0
        try:
            sent = self.client.execute(source, store_history=False, allow_stdin=False, stop_on_error=False)
            for message in self._published(time.monotonic() + self.limits.cell):
                if _is_idle(message, sent):
                    return ran
                if message["parent_header"].get("msg_id") == sent and message.get("msg_type") in KEPT:
                    ran.messages.append(message)
            ran.reason = "time"
            self.client.control_channel.send(self.client.session.msg("interrupt_request", {}))
            if any(_is_idle(message, sent) for message in self._published(time.monotonic() + 2)):
                return ran
        except Stopped as stopped:
            ran.reason = stopped.reason
        except zmq.Again:  # it has hung up
            ran.reason = ran.reason or "died"
        self.stop()
        return ran

    def stop(self) -> None:
        """Ends the kernel with all that it started, and removes what it wrote."""
        self.alive = False
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.born >= 0:
            os.close(self.born)
            self.born = -1
        self.client.stop_channels()
        self.client.context.destroy(linger=0)
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_idle(message: dict[str, Any], sent: str) -> bool:
    idle = message.get("msg_type") == "status" and message["content"].get("execution_state") == "idle"
    return idle and message["parent_header"].get("msg_id") == sent


def _words(path: str) -> list[bytes]:
    """What stands in a file of /proc. Many are read, so without a Path, an encoding or a buffer."""
    with open(path, "rb", buffering=0) as file:
        return file.read().split()


def _resident() -> int:
    """Bytes of memory that this process has; 0 where the system does not say."""
    with suppress(OSError):
        return int(_words("/proc/self/statm")[1]) * resource.getpagesize()
    return 0


def _used(roots: list[int], most: int) -> tuple[int, int]:
    """How many processes and threads there are below some processes, counted to `most`, and their bytes of memory.

    What each process may take is limited by the system; what they take together is not, unless somebody looks.
    """
    count, pages, waiting = 0, 0, list(roots)
    while waiting and count <= most:
        process = waiting.pop()
        with suppress(OSError), os.scandir(f"/proc/{process}/task") as tasks:
            pages += int(_words(f"/proc/{process}/statm")[1])
            for task in tasks:
                count += 1
                waiting += map(int, _words(f"{task.path}/children"))
    return count, pages * resource.getpagesize()
