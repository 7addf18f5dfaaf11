"""Ends of the kernel, of the grader, and of others. What was right beside it still counts."""

from . import HONEST, attack, right


def last(source: str) -> dict[str, str]:
    """Right answers, but for the first one."""
    return {**HONEST, "flops": source}


@attack((0, 7))
def exit_():
    """Calls exit() and quit(), which end the kernel some time later."""
    return last("exit()\nquit()")


@attack(7)
def system_exit():
    """Raises SystemExit, KeyboardInterrupt, and an exception that is none."""
    return last("try:\n    raise KeyboardInterrupt\nfinally:\n    raise SystemExit('10 points')")


@attack(7)
def os_exit():
    """Ends the process with os._exit."""
    return last("import os\nos._exit(0)")


@attack(7)
def segfault():
    """Reads address 0."""
    return last("import ctypes\nctypes.string_at(0)")


@attack(7)
def kill_parent():
    """Kills its parent, process 1, and its process group."""
    return last(
        "import os, signal\nfor pid in (os.getppid(), 1, 0):\n    os.kill(pid, signal.SIGKILL)\nos.killpg(0, signal.SIGKILL)"
    )


@attack(7)
def kill_everybody():
    """Kills every process that it may, and every number that a process might have."""
    return last("""
import os, signal
for pid in (-1, *range(1, 70_000)):
    if pid != os.getpid():
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
os.kill(os.getpid(), signal.SIGKILL)
""")


@attack(7)
def stop_itself():
    """Stops itself with SIGSTOP, so that it neither runs nor ends."""
    return last("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)")


@attack(7)
def become_another_program():
    """Becomes another program, which sleeps."""
    return last("import os\nos.execv('/bin/sleep', ['sleep', '1000'])")


@attack(7)
def hang_up():
    """Closes the socket that it would be interrupted through, so that who sends waits for ever, and loops."""
    return last("get_ipython().kernel.control_stream.close()\nwhile True: pass")


@attack((0, 7))
def shut_down():
    """Has the kernel shut itself down, and closes its event loop."""
    return last(
        "import asyncio\nget_ipython().kernel.do_shutdown(False)\nget_ipython().kernel.io_loop.stop()\nasyncio.get_event_loop().stop()"
    )


@attack(7)
def die_in_the_check():
    """Ends the process only when a check calls its function."""
    return {**HONEST, "kv": "import os\ndef kv(tokens, heads):\n    os._exit(0)"}


@attack((0, 7))
def die_again_and_again():
    """Ends the process in every answer, and in each check."""
    return {name: f"import os\nos._exit({len(name)})" for name in HONEST}


@attack((0, 10))
def close_all_files():
    """Closes every open file and socket of its process."""
    return right("import os\nos.closerange(3, 4096)")


@attack(7)
def nothing_to_catch():
    """Overflows the stack of C."""
    return last(
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f(x)\nf(repr)\nclass A: pass\nA.__repr__ = lambda s: repr(s)\nrepr(A())"
    )


@attack(7)
def ask_for_input():
    """Waits for somebody to type: input(), a debugger, a password."""
    return last(
        "import getpass\ntry:\n    input('answer?')\nexcept Exception:\n    pass\nbreakpoint()\ngetpass.getpass()\ninput()"
    )
