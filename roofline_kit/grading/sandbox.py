"""Where does a submission run? In a kernel of its own that sees the system read-only and nothing else: no network, no
other process, no other submission, no grader.

bubblewrap makes the walls (namespaces for users, processes, the network and mounts). Apptainer does where only that is
allowed, as on many clusters. Without either the grader refuses, unless it is told that the submissions are trusted.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
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
from . import syscalls
from .limits import MB, Limits
from .shown import KIT, View, view

START = {name: Path(__file__).with_name(name) for name in ("nursery.py", "cells.py")}  # what a kernel begins with
SOCKETS = "/run/kernel"  # inside: where the kernel's sockets are
CONNECTION = "/run/kernel.json"  # inside: what the kernel has to know of them
FILES = "/run/files"  # inside: what a submission brought along, the folder that cells run in
CHANNELS = ("shell", "iopub", "stdin", "hb", "control")
PAGE = resource.getpagesize()
OF_A_NAME = 2048  # bytes of memory that Linux needs for a file in a tmpfs, without what is in it
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
            return _filtered(name)
    if unsafe:
        return "none"
    raise NoSandbox(
        "submissions are programs of strangers, and there is no sandbox here that works: install bubblewrap (Debian, "
        "Ubuntu: apt install bubblewrap) or grade where Apptainer is allowed; --unsafe runs them with all your rights"
    )


def _filtered(name: str) -> str:
    """These walls, if there is also what makes the filter of system calls that belongs to them."""
    try:
        syscalls.program()
    except OSError as error:
        raise NoSandbox(
            "walls alone are not enough: a submission could still leave notes in the keyrings that all of them share. "
            f"Install libseccomp, which keeps it from that (Debian, Ubuntu: apt install libseccomp2; {error})"
        ) from None
    return name


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for all that is temporary, and an end to those of graders that were killed. Nothing stays."""
    begin = f"grading-{_where()}-"  # short: sockets are in it, whose paths may have a hundred letters
    for old in Path(tempfile.gettempdir()).glob(f"{begin}*-*"):
        pid = old.name.split("-")[2]
        with suppress(FileNotFoundError):  # another grader may have been faster
            if pid.isdigit() and not Path("/proc", pid).exists() and old.stat().st_uid == os.getuid():
                shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{begin}{os.getpid()}-") as folder:
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


def _where() -> str:
    """A word for where process ids are those of this process.

    The nodes of a cluster, or containers, can share a folder for what is temporary: a grader that is alive on one of
    them is nowhere to be seen on the others.
    """
    told = os.uname().nodename
    with suppress(OSError):
        told += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def _stand(name: str) -> bool:
    """Whether the walls can be put up: some systems have the program and forbid what it needs."""
    with workplace() as folder:
        (sockets := folder / "sockets").mkdir()
        (sockets / "kernel.json").touch()
        test = [*_walled(name, sockets, None, Limits(), view()), sys.executable, "-c", ""]
        with suppress(OSError, subprocess.TimeoutExpired):
            return subprocess.run(test, capture_output=True, timeout=60).returncode == 0
    return False


def _environment(home: str) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin", "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8", "MPLBACKEND": "agg",
        "MPLCONFIGDIR": f"{home}/matplotlib", "IPYTHONDIR": f"{home}/ipython", "JUPYTER_RUNTIME_DIR": home,
        "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(KIT.parent), "PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1",
    }  # fmt: skip


def _walled(name: str, sockets: Path, files: Path | None, limits: Limits, seen: View) -> list[str]:
    """The command that stands before the kernel's own.

    Inside it is in plain view, as the command line of process 1: it must say nothing but where the system is. No folder
    of the host can be written to: a file without a name could fill its disk, and nobody would see it. With bubblewrap
    the sockets are therefore in a file system of their own, and `Kernel` finds them through the process (`_inside`).
    """
    if name == "none":
        home = sockets / "home"
        home.mkdir(exist_ok=True)
        return [program("env"), "-i", *(f"{key}={value}" for key, value in _environment(str(home)).items())]
    # Where /dev/null is bound, it cannot be opened. Memory of /dev/zero would belong to no process, see syscalls.py.
    if name == "apptainer":
        return _apptainer(sockets, files, seen)
    folders: list[tuple[str, ...]] = [("--symlink", str(to), str(link)) for link, to in seen.links.items()]
    folders += [("--ro-bind", str(path), str(path)) for path in seen.shown]
    folders += [("--ro-bind", str(path), f"/run/{name}") for name, path in START.items()]
    for path, left in seen.hidden.items():
        if path.is_dir():
            kept = [("--ro-bind", str(path / name), str(path / name)) for name in left]
            folders += [("--tmpfs", str(path)), *kept, ("--remount-ro", str(path))]
        else:
            folders += [("--ro-bind", "/dev/null", str(path))]
    return [
        program("bwrap"), "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session",
        "--cap-drop", "ALL", "--hostname", "sandbox", "--clearenv", "--proc", "/proc", "--dev", "/dev",
        "--size", str(limits.disk), "--tmpfs", "/tmp", "--size", str(MB), "--tmpfs", SOCKETS,
        "--size", str(limits.disk), "--tmpfs", "/dev/shm", *(word for words in folders for word in words),
        *(word for path in ("/dev/zero", "/proc/keys", "/proc/key-users") for word in ("--ro-bind", "/dev/null", path)),
        "--ro-bind", str(sockets / "kernel.json"), CONNECTION, *(["--ro-bind", str(files), FILES] if files else []),
        "--remount-ro", "/dev", "--remount-ro", "/proc", "--remount-ro", "/", "--chdir", FILES if files else "/tmp",
        *(part for item in _environment("/tmp").items() for part in ("--setenv", *item)), "--",
    ]  # fmt: skip


def _apptainer(sockets: Path, files: Path | None, seen: View) -> list[str]:
    """The same of Apptainer."""
    # The image must have the system's libraries and nothing else: an empty folder with links, filled by binds.
    image = sockets.parent / "image"
    for link, to in seen.links.items():
        (image / link.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
        (image / link.relative_to("/")).symlink_to(to)
    binds = {FILES: f"{files}"} if files else {}
    binds |= {str(path): str(path) for path in seen.shown} | {f"/run/{name}": str(path) for name, path in START.items()}
    for path, left in seen.hidden.items():
        binds[str(path)] = _instead_of(path, left, sockets.parent)
    told = [f"{sockets}:{SOCKETS}", *(f"{of}:{to}:ro" for to, of in (binds | {"/dev/zero": "/dev/null"}).items())]
    walls = ["--containall", "--no-home", "--net", "--network", "none", "--no-privs", "--writable-tmpfs"]
    sets = [part for item in _environment("/tmp").items() for part in ("--env", "{}={}".format(*item))]
    pwd = ["--pwd", FILES if files else "/tmp"]
    return [program("apptainer"), "exec", *walls, "--bind", ",".join(told), *sets, *pwd, str(image)]


def _instead_of(path: Path, left: tuple[str, ...], where: Path) -> str:
    """What is seen in the place of a file or folder: nothing, but for some files that are left."""
    if not path.is_dir():
        return "/dev/null"
    folder = Path(tempfile.mkdtemp(prefix="instead-", dir=where))
    for name in left:
        shutil.copyfile(path / name, folder / name)
    return str(folder)


def asleep(command: list[str], **how: Any) -> subprocess.Popen[bytes]:
    """Puts up walls around a process that sleeps, until a fork of the nursery enters them."""
    process = subprocess.Popen([*command, "/bin/sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE, **how)
    assert process.stdout is not None
    with process.stdout as stands:
        stands.read(1)
    return process


class Nursery:
    """The warm parent of this process's kernels, see nursery.py.

    without : packages that none of them can import. at_hand : modules that all of them have imported.
    """

    def __init__(self, without: tuple[str, ...] = (), at_hand: tuple[str, ...] = ()) -> None:
        line = [sys.executable, str(START["nursery.py"]), "nursery", *without, "--", *at_hand]
        with tempfile.TemporaryDirectory(prefix="nursery-") as folder:  # where Matplotlib leaves a list of fonts
            self.process = subprocess.Popen(
                line, env=_environment("/tmp") | {"MPLCONFIGDIR": folder}, cwd="/", text=True,
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


_nurseries: dict[tuple[tuple[str, ...], tuple[str, ...]], Nursery | None] = {}


def nursery(without: tuple[str, ...] = (), at_hand: tuple[str, ...] = ()) -> Nursery | None:
    """A nursery whose forks can enter walls here; None where they cannot, and kernels start cold.

    setns(2) by a process id came with Linux 5.8, and some systems forbid what bubblewrap may.
    """
    kind = without, at_hand
    if kind not in _nurseries:
        try:
            _nurseries[kind] = _tried(Nursery(*kind))
        except (OSError, AttributeError):
            _nurseries[kind] = None
    return _nurseries[kind]


def _tried(made: Nursery) -> Nursery:
    """A nursery, if a fork of it can enter walls. Raises OSError or AttributeError if none can."""
    with tempfile.TemporaryDirectory() as folder:
        (sockets := Path(folder, "sockets")).mkdir()
        (sockets / "kernel.json").touch()
        process = asleep(_walled("bubblewrap", sockets, None, Limits(), view()), stderr=subprocess.DEVNULL)
        request = _request([], Limits(), "/", _environment("/tmp"), SOCKETS)
        made.born({**request, "pid": _deepest(process.pid)})
        process.kill()
        process.wait()
    return made


def _request(
    arguments: list[str], limits: Limits, folder: str, environment: dict[str, str], sockets: str
) -> dict[str, Any]:
    """What a kernel is told when it begins."""
    walled = sockets == SOCKETS
    return {
        "arguments": arguments, "limits": limits.resources, "folder": folder, "environment": environment,
        "pipe": f"ipc://{sockets}/pipe", "keyctl": syscalls.number("keyctl") if walled else 0,
        "filter": syscalls.program().hex() if walled else "", "processes": 0,
    }  # fmt: skip


def retire() -> None:
    """Ends this process's nurseries; the next kernel would get a new one."""
    for warm in filter(None, _nurseries.values()):
        warm.process.communicate()  # it ends with its input
    _nurseries.clear()


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
    without : packages that cells cannot import. at_hand : modules that are imported when it begins, where it is a fork.
    Raises Stopped if it does not come up.
    """

    def __init__(
        self, walls: str, limits: Limits, files: Path | None = None, seconds: float = 0, without: tuple[str, ...] = (),
        at_hand: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.without, self.at_hand = without, at_hand
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
        self.first = 0  # the first process inside, whose files and network are those of all, if that is known
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
        command = _walled(walls, sockets, files, self.limits, view(self.without))
        quiet: dict[str, Any] = {"stderr": subprocess.DEVNULL, "start_new_session": True}
        quiet["env"] = {"PATH": search_path()}  # that of process 1 is shown to the kernel
        home, there, beside = "/tmp", SOCKETS, FILES
        if walls == "none":
            home, there, beside = str(sockets / "home"), str(sockets), str(files)
        request = _request(arguments, self.limits, beside if files else home, _environment(home), there)
        if walls == "bubblewrap":  # `_watch` ends who has more than it may; whoever is faster meets Linux's own bound
            request["processes"] = 2 * self.limits.processes
        if walls != "bubblewrap" or (warm := nursery(self.without, self.at_hand)) is None:
            start = START["nursery.py"] if walls == "none" else "/run/nursery.py"
            line = [*command, sys.executable, str(start), "kernel", *self.without]
            process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd="/", **quiet)
            assert process.stdin is not None
            with suppress(BrokenPipeError), process.stdin as told:  # if there is nobody, `_watch` finds that
                told.write(json.dumps(request).encode() + b"\n")
            return process
        process = asleep(command, stdin=subprocess.DEVNULL, **quiet)
        try:
            self.roots.append(warm.born({**request, "pid": _deepest(process.pid)}))  # whose parent is outside
            self.born = os.pidfd_open(self.roots[-1])
        except OSError:  # the machine is out of something; `_watch` finds nobody there
            process.kill()
        return process

    def _inside(self) -> Path:
        """Where the sockets are, as seen from here: in the file system of bubblewrap's child, once it has one.

        Before, it still sees ours, and whatever fills our disk would be taken for its own.
        """
        task = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        while True:
            self._watch()
            with suppress(OSError):
                for child in map(int, _words(task)):
                    sockets = Path(f"/proc/{child}/root{SOCKETS}")
                    if sockets.is_dir():
                        self.first = child
                        return sockets
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
        if self._uses_too_much():
            raise Stopped("died")

    def _uses_too_much(self) -> bool:
        """Whether there are more processes than may be, or they hold more memory, with that of files and sockets.

        What each process may take is limited by the system; what they take together is not, unless somebody looks. What
        cannot be seen, because it needs neither a process nor a file, is not to be had: see syscalls.py.
        """
        processes, crowd = _processes(self.roots, self.limits.processes)
        held = _in_files(self.first) + _sockets(self.first) * _of_a_socket()
        if crowd or held + sum(map(_seen, processes)) <= self.limits.memory:
            return crowd
        for pid in processes:  # what they share was counted for each of them: a closer look, which takes time
            held += _own(pid)
            # Who forks makes us wait for each such look, and there are ever more processes meanwhile.
            if held > self.limits.memory or _processes(self.roots, self.limits.processes)[1]:
                return True
        return False

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
        return int(_words("/proc/self/statm")[1]) * PAGE
    return 0


def _processes(roots: list[int], most: int) -> tuple[list[int], bool]:
    """Some processes and those below them, and whether that is a crowd: more than `most`, each thread counted."""
    found, count, waiting = [], 0, list(roots)
    while waiting and count <= most:
        found.append(waiting.pop())
        with suppress(OSError), os.scandir(f"/proc/{found[-1]}/task") as tasks:
            for task in tasks:
                count += 1
                waiting += map(int, _words(f"{task.path}/children"))
    return found, count > most


def _in_files(first: int) -> int:
    """Bytes of memory of files and of their names, as a process sees them that is the first of its own; 0 for none."""
    total = 0
    for folder in (SOCKETS, "/tmp", "/dev/shm") if first else ():
        with suppress(OSError):
            found = os.statvfs(f"/proc/{first}/root{folder}")
            total += (found.f_blocks - found.f_bfree) * found.f_frsize
            total += (found.f_files - found.f_ffree) * OF_A_NAME
    return total


def _told(path: str, *names: bytes) -> int:
    """Bytes that a file of /proc has in kB beside these names; those that it does not have are 0."""
    with suppress(OSError):
        words = _words(path)
        return 1024 * sum(int(words[words.index(name) + 1]) for name in names if name in words)
    return 0


def _seen(pid: int) -> int:
    """Bytes of memory that a process can see."""
    return _told(f"/proc/{pid}/status", b"VmRSS:", b"VmSwap:")


def _own(pid: int) -> int:
    """Bytes of memory that are a process's, and its share of what it has together with others; not those of files.

    Before Linux 5.9 those of files are in it.
    """
    path = f"/proc/{pid}/smaps_rollup"
    return _told(path, b"Pss_Anon:", b"SwapPss:") or _told(path, b"Pss:", b"SwapPss:") or _seen(pid)


def _sockets(pid: int) -> int:
    """How many sockets there are in the network of a process; those in transit too."""
    with suppress(OSError, IndexError):
        return int(_words(f"/proc/{pid}/net/sockstat")[2])
    return 0


@cache
def _of_a_socket() -> int:
    """Bytes that what was sent through a socket, and that nobody has read, may take."""
    with suppress(OSError):
        return 2 * int(_words("/proc/sys/net/core/wmem_max")[0])
    return MB
