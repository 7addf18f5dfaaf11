"""What may a submission ask of Linux? The system calls that a kernel needs, as a filter that Linux itself holds.

Namespaces do not divide everything: keyrings, the machine's virtual sockets, `perf`, userfaultfd, io_uring, and what
comes with the next Linux, are one for all. So what is not listed here does not exist: it fails with ENOSYS, for which
libraries have other ways. The list becomes a program for seccomp(2) by libseccomp, which knows the numbers of this
processor; every kernel loads it before it runs its first cell, see nursery.py.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import termios
from functools import cache

# By their names on any processor: what this one does not have is left out.
FILES = """
    access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
    fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fdatasync fgetxattr flistxattr flock fstat
    fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr lchown lgetxattr link linkat listxattr
    llistxattr lseek lstat mkdir mkdirat newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64
    pwritev pwritev2 read readlink readlinkat readv rename renameat renameat2 rmdir sendfile stat statfs statx symlink
    symlinkat truncate umask unlink unlinkat utime utimensat utimes write writev
"""
# No memory without a file that is counted: neither memfd nor segments of System V, and of mmap see `_rules`.
MEMORY = "brk madvise map_shadow_stack membarrier mprotect mremap mseal msync munmap"
PROCESSES = """
    arch_prctl capget execve execveat exit exit_group fork futex futex_waitv get_robust_list get_thread_area getcpu
    getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getpriority getresgid getresuid getrlimit
    getrusage getsid gettid getuid kill pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall
    riscv_flush_icache rseq sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getparam
    sched_getscheduler sched_rr_get_interval sched_yield set_robust_list set_thread_area set_tid_address setpgid
    setrlimit setsid sysinfo tgkill times tkill uname vfork wait4 waitid
"""
SIGNALS = """
    alarm pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_tgsigqueueinfo sigaltstack signalfd signalfd4
"""
TIME = """
    clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep setitimer time timer_create
    timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime
"""
WAITING = """
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 poll ppoll pselect6
    select
"""
SOCKETS = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg
    sendto setsockopt shutdown
"""
RANDOM = "getrandom"
ALLOWED = " ".join((FILES, MEMORY, PROCESSES, SIGNALS, TIME, WAITING, SOCKETS, RANDOM)).split()
# No locks on parts of a file: each takes memory of Linux's own, a file can have thousands, and no limit counts them.
OF_DESCRIPTORS = "F_DUPFD F_DUPFD_CLOEXEC F_GETFD F_SETFD F_GETFL F_SETFL F_GETOWN F_SETOWN F_GETPIPE_SZ F_SETPIPE_SZ"
# A shell runs in a terminal of its own; none may be typed into (TIOCSTI, TIOCLINUX) or become something else.
OF_TERMINALS = """
    FIOASYNC FIOCLEX FIONBIO FIONCLEX FIONREAD TCFLSH TCGETS TCSBRK TCSETS TCSETSF TCSETSW TCXONC TIOCGPGRP TIOCGWINSZ
    TIOCNOTTY TIOCOUTQ TIOCSCTTY TIOCSPGRP TIOCSWINSZ
"""
TIOCSPTLCK, TIOCGPTN, TIOCGPTPEER = 0x40045431, 0x80045430, 0x5441  # of a terminal's other end; termios has them not
NEW_NAMESPACES = 0x7E020000  # all CLONE_NEW… that clone(2) knows
MAP_SHARED, MAP_ANONYMOUS = 0x01, 0x20

ALLOW, REFUSE, END = 0x7FFF0000, 0x00050000 | errno.ENOSYS, 0x80000000  # SCMP_ACT_… of seccomp.h
ACT_BADARCH, OPTIMIZE = 2, 8  # SCMP_FLTATR_…
MASKED_EQUAL = 7  # SCMP_CMP_MASKED_EQ
WORD = 0xFFFFFFFF  # the half of an argument that Linux looks at where it has an int


class NoFilter(OSError):
    """There is no libseccomp here."""


class _Condition(ctypes.Structure):
    """On one argument of a call: `argument & mask == value` (scmp_arg_cmp of seccomp.h)."""

    _fields_ = (
        ("argument", ctypes.c_uint), ("operation", ctypes.c_int), ("mask", ctypes.c_uint64), ("value", ctypes.c_uint64),
    )  # fmt: skip


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise NoFilter(str(error)) from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Condition),
    ]  # fmt: skip
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


@cache
def number(name: str) -> int:
    """The number of a system call on this processor; negative where there is none. Raises NoFilter."""
    return int(_library().seccomp_syscall_resolve_name(name.encode()))


@cache
def program() -> bytes:
    """The filter, as seccomp(2) takes it: instructions of eight bytes.

    Raises NoFilter where there is no libseccomp, and OSError for what it does not accept.
    """
    library = _library()
    rules = library.seccomp_init(REFUSE)
    try:
        _must(library.seccomp_attr_set(rules, ACT_BADARCH, END), "another processor's calls")
        library.seccomp_attr_set(rules, OPTIMIZE, 2)  # a tree in place of a line; before 2.5 there is none
        for name, condition in _rules():
            if (known := number(name)) >= 0:
                conditions = (_Condition * 1)(condition) if condition else None
                _must(library.seccomp_rule_add_array(rules, ALLOW, known, bool(condition), conditions), name)
        reading, writing = os.pipe()  # which holds more than a filter may have
        try:
            _must(library.seccomp_export_bpf(rules, writing), "export")
        finally:
            os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            return pipe.read()
    finally:
        library.seccomp_release(rules)


def _must(result: int, what: str) -> None:
    if result < 0:
        raise OSError(-result, f"libseccomp, {what}: {os.strerror(-result)}")


def _rules() -> list[tuple[str, _Condition | None]]:
    """What is allowed: calls, each with a condition on an argument, or None. Of two with one name, either will do."""
    rules: list[tuple[str, _Condition | None]] = [(name, None) for name in ALLOWED]
    rules += [
        ("clone", _Condition(0, MASKED_EQUAL, NEW_NAMESPACES, 0))
    ]  # clone3, whose flags no filter sees, is refused
    rules += [
        ("sched_setscheduler", _Condition(1, MASKED_EQUAL, WORD, os.SCHED_OTHER))
    ]  # as each thread of ZeroMQ does
    rules += [(name, _Condition(0, MASKED_EQUAL, WORD, socket.AF_UNIX)) for name in ("socket", "socketpair")]
    # What is shared and has no file stays in memory when all but a page of it is unmapped, and nobody could count it.
    rules += [("mmap", _Condition(3, MASKED_EQUAL, flag, 0)) for flag in (MAP_SHARED, MAP_ANONYMOUS)]
    controls = [getattr(termios, name) for name in OF_TERMINALS.split()] + [TIOCSPTLCK, TIOCGPTN, TIOCGPTPEER]
    commands = [getattr(fcntl, name) for name in OF_DESCRIPTORS.split()]
    rules += [("fcntl", _Condition(1, MASKED_EQUAL, WORD, command)) for command in commands]
    return rules + [("ioctl", _Condition(1, MASKED_EQUAL, WORD, control)) for control in controls]
