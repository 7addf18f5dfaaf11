"""How a kernel begins: behind walls, with nothing in its hands. Most are forks of a warm parent, the nursery.

What every kernel imports is imported there once. The walls of a kernel are bubblewrap's, put up around a process that
sleeps. A fork of the nursery enters them by setns(2), which is all that stands here: it joins all of their namespaces
at once, gives up every capability, every open file, its keyring and most system calls, and only then becomes a kernel.
What a fork inherits is memory, and the nursery has nothing in it but libraries: it is started with an empty
environment, and is told process ids and a folder of sockets, no more. Where forks cannot enter, a kernel begins cold.

    python nursery.py nursery WITHOUT… -- MODULE…   reads requests of one JSON line each, answers with a process id
    python nursery.py kernel WITHOUT…               reads one request, and is that kernel

WITHOUT are packages that cannot be imported, MODULE what is imported beside what every kernel needs. It is started by
its path: as a module of the kit it would have imported the kit before its first line, and it has to start where there
is no kit.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import importlib.util
import json
import os
import re
import resource
import signal
import sys
import threading
from typing import Any

# user, mount, pid, net, ipc, uts, cgroup: the CLONE_NEW… of linux/sched.h
NAMESPACES = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x02000000
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 24, 47, 4
PR_SET_SECCOMP, SECCOMP_MODE_FILTER, KEYCTL_JOIN_SESSION_KEYRING = 22, 2, 1
CAPABILITIES_V3 = 0x20080522
KIT = {"roofline_kit", "array_api_compat", "mpmath", "numpy", "sympy"}  # and what it cannot be imported without

LINUX = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
PROC = os.open("/proc", os.O_PATH)  # as it is out here: behind the walls nobody writes there

libc = ctypes.CDLL(None, use_errno=True)


class Program(ctypes.Structure):
    """A filter of system calls, as Linux takes it (sock_fprog of linux/filter.h)."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def called(result: int, what: str) -> int:
    """The result of a call of the C library. Raises OSError if it failed: a wall that does not stand ends the fork."""
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def enter(pid: int) -> None:
    """Joins all namespaces of a process; from then on, forks of this one are born inside."""
    held = os.pidfd_open(pid)
    called(libc.setns(held, NAMESPACES), "setns")
    os.close(held)


def powerless() -> None:
    """Gives up all capabilities, for good: no program that is started later gets any back."""
    called(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    called(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient capabilities")
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:  # beyond the last one that this kernel knows
            break
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_V3, 0)
    called(libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def fenced(request: dict[str, Any]) -> None:
    """Leaves what the namespaces have not divided: the grader's keyring, and all system calls but those of the filter.

    The filter is loaded by whoever enters the walls, and not by those who put them up: it is not handed on by setns(2).
    """
    if libc.syscall(request["keyctl"], KEYCTL_JOIN_SESSION_KEYRING, None) < 0 and ctypes.get_errno() != errno.ENOSYS:
        raise OSError(ctypes.get_errno(), f"keyctl: {os.strerror(ctypes.get_errno())}")
    powerless()
    code = bytes.fromhex(request["filter"])
    program = Program(len(code) // 8, ctypes.cast(ctypes.c_char_p(code), ctypes.c_void_p))
    called(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0), "seccomp")


def few(most: int) -> None:
    """Has Linux itself bound how many processes there can be behind these walls, where it can.

    RLIMIT_NPROC counts those of a user, since Linux 5.14 in each namespace of users on its own; root is free of it. For
    root there is the largest process id, which namespaces have since Linux 6.14; those up to 300 are used but once.
    """
    if LINUX >= (5, 14):
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    if LINUX >= (6, 14):  # before that, it would be the machine's
        with contextlib.suppress(OSError):
            place = os.open("sys/kernel/pid_max", os.O_WRONLY, dir_fd=PROC)
            os.write(place, b"%d" % (300 + most))
            os.close(place)


def become(request: dict[str, Any]) -> None:
    """Turns a process inside the walls into a kernel, and never returns from that."""
    if request["processes"]:
        few(request["processes"])
    silent()
    for name, most in request["limits"].items():
        resource.setrlimit(getattr(resource, name), (most, most))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv[:] = ["kernel"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["filter"]:
        fenced(request)
    import ipykernel.kernelapp
    from ipykernel.ipkernel import IPythonKernel
    from ipykernel.kernelapp import IPKernelApp

    ipykernel.kernelapp.IOPubThread = with_local_pipe(request["pipe"])  # type: ignore[attr-defined]

    class OneShell(IPKernelApp):  # a thread for subshells, which nobody asks for, would hand on each message twice
        def init_control(self, context: Any) -> None:
            super().init_control(context)  # type: ignore[no-untyped-call]
            self.shell_channel_thread = None

        def init_kernel(self) -> None:
            super().init_kernel()  # type: ignore[no-untyped-call]
            self.kernel.shell_channel_thread = NoThread()

    IPythonKernel._supports_kernel_subshells = False  # type: ignore[assignment]
    OneShell.launch_instance(argv=request["arguments"])


class NoThread:
    """What stands for the thread of subshells: without a parent of it, nobody waits for a cell that awaits."""

    def __init__(self) -> None:
        self.parent_thread = threading.main_thread()

    def __bool__(self) -> bool:
        return False


def with_local_pipe(address: str) -> Any:
    """What publishes for a kernel, and whose forks speak to it by a file: it would take TCP, and there is none here."""
    import zmq
    from ipykernel.iostream import IOPubThread
    from zmq.eventloop.zmqstream import ZMQStream

    class Local(IOPubThread):
        def _setup_pipe_in(self) -> None:
            self._pipe_uuid = os.urandom(16)
            pipe = self.socket.context.socket(zmq.PULL)
            pipe.linger = 0
            pipe.bind(address)
            self._pipe_in = ZMQStream(pipe, self.io_loop)
            self._pipe_in.on_recv(self._handle_pipe_msg)

        def _setup_pipe_out(self) -> tuple[Any, Any]:
            context = zmq.Context()
            pipe = context.socket(zmq.PUSH)
            pipe.linger = 3000
            pipe.connect(address)
            return context, pipe

    return Local


def silent() -> None:
    """Lets go of every open file."""
    nowhere = os.open("/dev/null", os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    os.closerange(3, 65536)


def born(request: dict[str, Any]) -> int:
    """Forks into the walls around request["pid"], and returns the new process's id, as seen from out here."""
    reading, writing = os.pipe()
    if (middle := os.fork()) == 0:
        try:
            os.setsid()
            enter(request["pid"])
            if (kernel := os.fork()) == 0:
                become(request)
            os.write(writing, str(kernel).encode())
        except BaseException as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(middle, 0)
    if not said.isdigit():
        raise OSError(said.decode(errors="replace") or "the fork ended")
    return int(said)


def do_without(names: list[str]) -> None:
    """Lets nobody import these packages. What the checks call is there, by its own name, if the kit cannot be."""
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # in Python's words: there is no such module
    if not KIT.intersection(names):
        return
    helpers = "roofline_kit.grading.cells"
    spec = importlib.util.spec_from_file_location(helpers, os.path.join(os.path.dirname(__file__), "cells.py"))
    assert spec is not None and spec.loader is not None
    module = sys.modules[helpers] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def warm(more: list[str]) -> None:
    """Imports what kernels need, and more."""
    # No notebook is read in here. Nobody debugs a submission, and each kernel would import its debugger after the fork,
    # for half of its start.
    sys.modules.update(dict.fromkeys(("debugpy", "jsonschema")))  # type: ignore[arg-type]
    import ipykernel.debugger
    import ipykernel.ipkernel
    import ipykernel.kernelapp
    import ipykernel.zmqshell  # noqa: F401
    import IPython.core.completerlib
    import IPython.core.debugger
    import IPython.core.logger
    import IPython.core.oinspect
    import IPython.extensions.storemagic  # noqa: F401
    import tornado.platform.asyncio  # noqa: F401

    for name in ("numpy", "sympy", "roofline_kit.grading.cells", "roofline_kit.models", *more):
        with contextlib.suppress(ImportError):  # an assignment may do without it
            importlib.import_module(name)
    del sys.modules["debugpy"], sys.modules["jsonschema"]


def main() -> None:
    """Is the kernel that is asked for, or forks one for each line that is read, until there are no more."""
    role, *names = sys.argv[1:]
    until = names.index("--") if "--" in names else len(names)
    do_without(names[:until])
    if role == "kernel":
        become(json.loads(sys.stdin.readline()))
    gc.disable()  # nothing of all this will ever be garbage
    warm(names[until + 1 :])
    gc.freeze()  # a fork that looked for garbage in here would get a copy of all of it
    gc.enable()
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            print(born(json.loads(line)), flush=True)
        except OSError as error:
            print(error, flush=True)


if __name__ == "__main__":
    main()
