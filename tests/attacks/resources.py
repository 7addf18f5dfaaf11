"""More of everything than there is: time, memory, processes, output."""

from . import HONEST, OF, attack, right, wrong
from .dying import last


@attack(7)
def loop():
    """Loops for ever."""
    return last("while True: pass")


@attack(7)
def loop_that_ignores_interrupts():
    """Loops for ever, and catches whatever should end it."""
    return last("""
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    try:
        while True: pass
    except BaseException:
        pass
""")


@attack(7)
def long_step_in_c():
    """One step in C that takes for ever and cannot be interrupted."""
    return last("import re\nre.match('(a*)*b', 'a' * 50)\n10 ** 10 ** 10")


@attack(7)
def sleep():
    """Sleeps in the check, longer than a cell may take."""
    return {**HONEST, "kv": "import time\ndef kv(tokens, heads):\n    time.sleep(30)\n    return 512 * tokens * heads"}


@attack((0, 10))
def slow_everywhere():
    """Each cell takes just less than a cell may; together they take more than a notebook may."""
    return {name: f"import time\ntime.sleep(2.7)\n{HONEST[name]}" for name in OF} | {
        "kv": "import time\ntime.sleep(2.7)\ndef kv(tokens, heads):\n    time.sleep(0.6)\n    return 512 * tokens * heads",
    }


@attack(7)
def memory_for_all():
    """Takes all memory in one process."""
    return last("hoard = []\nwhile True:\n    hoard.append(bytearray(100_000_000))")


@attack((0, 7))
def memory_of_many():
    """Takes a little memory in each of many processes, which is all of it together."""
    return last("""
import os, time
for _ in range(40):
    if os.fork() == 0:
        hoard = []
        try:
            while len(hoard) < 40:
                hoard.append(b"x" * 10_000_000)
        finally:
            time.sleep(100)
time.sleep(100)
""")


@attack((0, 7))
def fork_bomb():
    """Forks for ever, in sessions of their own, so that no group holds them all."""
    return last(
        "import os\nwhile True:\n    try:\n        if os.fork() == 0:\n            os.setsid()\n    except OSError:\n        pass"
    )


@attack((0, 7))
def thread_bomb():
    """Starts threads for ever."""
    return last(
        "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"
    )


@attack((0, 7))
def huge_output():
    """Prints for ever."""
    return last("while True: print('x' * 10_000)")


@attack((0, 7))
def many_messages():
    """Shows small things for ever."""
    return last("from IPython.display import display\nwhile True: display(1)")


@attack((0, 10))
def pipes_and_files():
    """Opens as many files, pipes and sockets as it can, and fills them."""
    return right("""
        import os, socket
        kept = []
        try:
            while True:
                kept += [os.pipe(), socket.socketpair()]
        except OSError:
            pass
        for pair in kept[:-8]:
            for end in pair:
                end.close() if hasattr(end, "close") else os.close(end)
    """)


@attack((0, 10))
def memory_without_a_process():
    """Keeps memory in files and segments that belong to no process: memfd, System V, tmpfs."""
    return right("""
        import ctypes, os
        libc, kept = ctypes.CDLL(None), []
        for _ in range(20):
            try:
                kept.append(os.memfd_create("x"))
                os.write(kept[-1], bytes(20_000_000))
            except OSError:
                break
            libc.shmget(0, 20_000_000, 0o1600)
        for each in kept:
            os.close(each)
    """)


@attack(7)
def memory_of_memfd():
    """Keeps 5.6 GB in 140 files that have no name and that no process maps: memfd."""
    return last(
        "import os\nkept = []\nfor number in range(140):\n    kept.append(os.memfd_create(str(number)))\n"
        "    for _ in range(4): os.write(kept[-1], bytes(10_000_000))"
    )


@attack((0, 7))
def memory_of_shared_pages():
    """Shares memory with nobody, writes to all of it, and keeps one page of each so that the rest is seen nowhere."""
    return last("""
import ctypes, mmap, os, time
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
kinds = [(33, -1)]
try:
    kinds.append((1, os.open("/dev/zero", os.O_RDWR)))
except OSError:
    pass
for how, file in kinds * 35:
    if (at := libc.mmap(None, 100_000_000, 3, how, file, 0)) == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    ctypes.memset(at, 1, 100_000_000)
    libc.munmap(at + mmap.PAGESIZE, 100_000_000 - mmap.PAGESIZE)
time.sleep(100)
""")


@attack((0, 7))
def memory_of_sockets():
    """Fills thousands of sockets with what nobody reads; the memory is Linux's own, and that of no process."""
    return last("""
import os, socket, time
for _ in range(40):
    if os.fork() == 0:
        kept = []
        try:
            while True:
                kept.append(socket.socketpair())
                kept[-1][0].setblocking(False)
                try:
                    while True:
                        kept[-1][0].send(bytes(50_000))
                except BlockingIOError:
                    pass
        except OSError:
            time.sleep(100)
time.sleep(100)
""")


@attack((0, 7))
def memory_of_names():
    """Makes files without end that are empty: each needs memory for its name alone."""
    return last("""
import os
for number in range(10**9):
    os.close(os.open(f"/tmp/{number}", os.O_CREAT))
""")


@attack(0, searches=True)
def memory_of_locks():
    """Locks every other byte of files: each lock takes memory of Linux's own, which is seen nowhere."""
    return wrong("""
        import fcntl, os
        file, found = os.open("/tmp/locked", os.O_RDWR | os.O_CREAT), 0
        try:
            for at in range(5000, 0, -1):
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 * at)
                found += 1
        except OSError:
            pass
        raise (LookupError if found else EOFError)(found)
    """)
