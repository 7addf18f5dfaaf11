"""A warm parent of kernels: what every kernel imports is imported once, and each kernel is a fork of it.

The walls of a kernel are bubblewrap's, put up around a process that sleeps. A fork of this process enters them by
setns(2), which is all that stands here: it joins all of their namespaces at once, gives up every capability and every
open file, and only then becomes a kernel. What a fork inherits is memory, and this process has nothing in it but
libraries: it is started with an empty environment, and is told process ids and a folder of sockets, no more.

    python nursery.py        reads requests of one JSON line each, answers with a process id

It is started by its path: as a module of the kit it would have imported the kit before its first line.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import signal
import sys
from typing import Any

# user, mount, pid, net, ipc, uts, cgroup: the CLONE_NEW… of linux/sched.h
NAMESPACES = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x02000000
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 24, 47, 4
CAPABILITIES_V3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


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


def become(request: dict[str, Any]) -> None:
    """Turns a fork inside the walls into a kernel, and never returns from that."""
    for name, most in request["limits"].items():
        resource.setrlimit(getattr(resource, name), (most, most))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv[:] = ["kernel"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from ipykernel.kernelapp import IPKernelApp

    class OneShell(IPKernelApp):  # a thread for subshells, which nobody asks for, would hand on each message twice
        def init_control(self, context: Any) -> None:
            super().init_control(context)  # type: ignore[no-untyped-call]
            self.shell_channel_thread = None

    OneShell.launch_instance(argv=request["arguments"])


def born(request: dict[str, Any]) -> int:
    """Forks into the walls around request["pid"], and returns the new process's id, as seen from out here."""
    reading, writing = os.pipe()
    if (middle := os.fork()) == 0:
        try:
            os.setsid()
            enter(request["pid"])
            if (kernel := os.fork()) == 0:
                powerless()
                nowhere = os.open("/dev/null", os.O_RDWR)
                for standard in range(3):
                    os.dup2(nowhere, standard)
                os.closerange(3, 65536)
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


def main() -> None:
    """Imports what kernels need, and forks one for each line that is read, until there are no more."""
    gc.disable()  # nothing of all this will ever be garbage
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
    import numpy  # noqa: F401
    import tornado.platform.asyncio  # noqa: F401

    import roofline_kit.grading.cells
    import roofline_kit.models  # noqa: F401

    del sys.modules["debugpy"], sys.modules["jsonschema"]
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
