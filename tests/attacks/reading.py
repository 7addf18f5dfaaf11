"""Where a secret might be: files, processes, the network. A search says with its exception whether it found any."""

from roofline_kit.grading import syscalls

from . import WRONG, attack, wrong

WORDS = '[b"zephyr-" + b"solution", b"BEGIN " + b"SOLUTION", b"neighbours-" + b"words", b"graders-" + b"secret"]'


@attack(0, searches=True)
def the_disk():
    """Reads every file that it can, for the instructor's solution, a neighbour's answers and results."""
    return wrong(f"""
        import os
        found = []
        for top in ("/tmp", "/run", "/home", "/root", "/var", "/srv", "/mnt", "/opt", "/etc", "/dev/shm", "/usr/src",
                    "/usr/local", *os.environ.get("PYTHONPATH", "").split(":"), os.getcwd(), *(f"/proc/{{n}}/cwd" for n in range(9))):
            for folder, folders, names in os.walk(top):
                folders[:] = [name for name in folders if name not in ("lib", "include", "share")]  # installed software
                for name in names:
                    path = os.path.join(folder, name)
                    if name.endswith((".ipynb", ".toml", ".csv")) and "assignment" in path:
                        found.append(path)
                    try:
                        if os.path.isfile(path) and os.path.getsize(path) < 1_000_000 and not path.startswith("/proc"):
                            with open(path, "rb") as file:
                                text = file.read()
                            found += [path for word in {WORDS} if word in text and "roofline_kit/grading" not in path]
                    except OSError:
                        pass
        raise (LookupError if found else EOFError)(str(found))
    """)


@attack(0, searches=True)
def processes():
    """Reads the command lines, environments, working folders and open files of all processes, its parent's first."""
    return wrong(f"""
        import os
        found = []
        for process in [name for name in os.listdir("/proc") if name.isdigit()]:
            for what in ("environ", "cmdline", "stat", "status", "maps"):
                try:
                    text = open(f"/proc/{{process}}/{{what}}", "rb").read()
                except OSError:
                    continue
                found += [(process, what) for word in {WORDS} if word in text]
                if any(word in text for word in (b"assignment.", b"submission.ipynb", b"grade_all", b"pytest")):
                    found.append((process, what))
            for what in ("cwd", "root", "fd"):
                try:
                    for name in os.listdir(f"/proc/{{process}}/{{what}}"):
                        target = os.readlink(f"/proc/{{process}}/{{what}}/{{name}}") if what == "fd" else name
                        if "assignment" in target or ".ipynb" in target or "submissions" in target:
                            found.append((process, what, target))
                except OSError:
                    pass
        raise (LookupError if found else EOFError)(str(found))
    """)


@attack(0, searches=True)
def memory():
    """Reads the memory of every other process, by /proc, by ptrace and by process_vm_readv."""
    return wrong(f"""
        import ctypes, os, re
        found, libc = [], ctypes.CDLL(None, use_errno=True)
        for process in [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]:
            if libc.ptrace(16, process, 0, 0) == 0:
                libc.ptrace(17, process, 0, 0)
            try:
                with open(f"/proc/{{process}}/maps") as maps, open(f"/proc/{{process}}/mem", "rb", 0) as memory:
                    for line in maps:
                        low, high, rights = re.match("(\\\\w+)-(\\\\w+) (\\\\S+)", line).groups()
                        if rights.startswith("r") and "vvar" not in line and "vsyscall" not in line:
                            memory.seek(int(low, 16))
                            text = memory.read(int(high, 16) - int(low, 16))
                            found += [process for word in {WORDS} if word in text]
            except (OSError, ValueError):
                pass
        raise (LookupError if found else EOFError)(str(found))
    """)


@attack(0, searches=True)
def environment():
    """Looks for anything of the grader's in its own environment, arguments and limits."""
    return wrong("""
        import os, sys
        known = {"PATH", "HOME", "TMPDIR", "LANG", "MPLBACKEND", "MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "PWD",
                 "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONNOUSERSITE",
                 "PYTHONSAFEPATH", "CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "GIT_PAGER", "PAGER", "PYDEVD_USE_FRAME_EVAL",
                 "TERM", "LC_CTYPE", "SHLVL", "_", "OLDPWD", "PYTHONUNBUFFERED", "PYTHONHASHSEED", "NO_COLOR"}
        found = [name for name in os.environ if name not in known]
        found += [word for word in sys.argv + sys.orig_argv if "assignment" in word or "submission" in word]
        raise (LookupError if found else EOFError)(str(found))
    """)


@attack(0, searches=True)
def startup_files():
    """Writes files that Python, IPython and the shell run when they start, then dies for a fresh kernel to read them."""
    hack = """
        import os, site, sys
        found = []
        code = "import builtins; builtins.was_here = True\\n"
        places = [os.path.expanduser("~/.ipython/profile_default/startup/00.py"), os.environ.get("IPYTHONDIR", "/x") + "/profile_default/startup/00.py",
                  os.path.expanduser("~/.pythonrc.py"), os.path.expanduser("~/sitecustomize.py"), "/tmp/usercustomize.py",
                  "/etc/ipython/startup.py", "/usr/lib/python3/sitecustomize.py", *(f"{path}/sitecustomize.py" for path in sys.path if path)]
        import builtins
        if hasattr(builtins, "was_here"):
            found.append("a kernel before this one")
        for path in places:
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w") as file:
                    file.write(code)
                if not path.startswith(("/tmp/", os.path.expanduser("~/"))):
                    found.append(path)
            except OSError:
                pass
        raise (LookupError if found else EOFError)(str(found))
    """
    return wrong(hack) | {
        "kv": "import builtins, os\nif not hasattr(builtins, 'was_here'):\n    os._exit(1)\n" + WRONG["kv"],
        "parameters": "import builtins\nif hasattr(builtins, 'was_here'):\n    raise LookupError\n"
        + WRONG["parameters"],
    }


@attack(0, searches=True)
def the_network():
    """Connects to the grader's machine, to its neighbours and to the world, and asks for names."""
    return wrong("""
        import socket
        found = []
        for host in ("127.0.0.1", "::1", "10.0.0.1", "172.17.0.1", "192.168.1.1", "169.254.169.254", "1.1.1.1", "example.org"):
            for port in (22, 53, 80, 443, 8888, *(range(20000, 20100) if host == "127.0.0.1" else ())):
                try:
                    socket.create_connection((host, port), timeout=0.02).close()
                    found.append((host, port))
                except OSError:
                    pass
        raise (LookupError if found else EOFError)(str(found))
    """)


@attack(0, searches=True)
def sockets_of_the_host():
    """Looks for sockets of the host that are files, and for those with abstract names: Docker, D-Bus, X11, the kernels'."""
    return wrong("""
        import os, socket, stat
        found = []
        for line in open("/proc/net/unix").read().splitlines()[1:]:
            name = line.split()[-1]
            if name.startswith(("@", "/")) and "/run/kernel/" not in name:
                found.append(name)
        for top in ("/run", "/var/run", "/tmp", "/root", "/home", "/dev"):
            for folder, folders, names in os.walk(top):
                folders[:] = [name for name in folders if name not in ("lib", "include", "share")]  # installed software
                for name in names:
                    path = os.path.join(folder, name)
                    if stat.S_ISSOCK(os.lstat(path).st_mode) and not path.startswith("/run/kernel/"):
                        found.append(path)
        for number in range(20000, 20100):
            with socket.socket(socket.AF_UNIX) as abstract:
                if abstract.connect_ex(f"\\0roofline-{number}") == 0:
                    found.append(number)
        raise (LookupError if found else EOFError)(str(found))
    """)


@attack(0, searches=True)
def keyrings():
    """Looks for keys in the keyrings that Linux hands on from process to process, and leaves one for the next student."""
    add, ask, control = (syscalls.number(name) for name in ("add_key", "request_key", "keyctl"))
    return wrong(f"""
        import ctypes
        libc, found, text = ctypes.CDLL(None), [], ctypes.create_string_buffer(1000)
        for name in ("/proc/keys", "/proc/key-users"):
            try:
                found += open(name).read().splitlines()
            except OSError:
                pass
        for ring in range(-1, -6, -1):  # of the thread, the process, the session, the user, the user's sessions
            for name in (b"graders", b"students"):
                if (key := libc.syscall({control}, 10, ring, b"user", name, 0)) > 0:  # searches
                    libc.syscall({control}, 11, key, text, 1000)  # reads
                    found.append((ring, name, text.value))
            if libc.syscall({add}, b"user", b"students", b"a note", 6, ring) > 0:
                found.append((ring, "a note was left"))
        found += [name for name in (b"graders", b"students") if libc.syscall({ask}, b"user", name, None, 0) > 0]
        found += [ring for ring in (None, b"_ses") if libc.syscall({control}, 1, ring) > 0]  # joins another session
        raise (LookupError if found else EOFError)(str(found))
    """)


@attack(0, searches=True)
def memory_without_a_name():
    """Looks for System V's segments, queues and semaphores and for POSIX's queues, and leaves some for the next student."""
    return wrong("""
        import ctypes, os
        libc, found = ctypes.CDLL(None), []
        libc.shmat.restype = ctypes.c_void_p
        for name in ("shm", "msg", "sem"):
            found += open(f"/proc/sysvipc/{name}").read().splitlines()[1:] if os.path.exists("/proc/sysvipc") else []
        for number in range(100):
            if (at := libc.shmat(number, None, 0o10000)) not in (None, ctypes.c_void_p(-1).value):
                found.append((number, ctypes.string_at(at, 20)))
        key = 0x0F100F
        found += [name for name, result in {
            "segment": libc.shmget(key, 4096, 0), "a segment": libc.shmget(0x57, 4096, 0o1666),
            "a queue": libc.msgget(0x57, 0o1666), "a semaphore": libc.semget(0x57, 1, 0o1666),
        }.items() if result >= 0]
        try:
            librt = ctypes.CDLL("librt.so.1")
            found += [name for name in (b"/graders", b"/students") if librt.mq_open(name, 0o102, 0o666, None) >= 0]
        except (OSError, AttributeError):
            pass
        raise (LookupError if found else EOFError)(str(found))
    """)


# Of what Linux does for processes, what no kernel of a notebook needs; each with arguments with which it would do something.
CALLS = {
    "add_key": "b'user', b'x', b'x', 1, -3",
    "bpf": "0, b'\\0' * 128, 128",
    "clock_adjtime": "0, bytes(256)",
    "clock_settime": "0, bytes(16)",
    "clone": "0x10000011, None, None, None, None",
    "clone3": "bytes(88), 88",
    "fanotify_init": "0, 0",
    "fsopen": "b'tmpfs', 0",
    "init_module": "None, 0, b''",
    "inotify_init1": "0",
    "io_setup": "1, bytes(8)",
    "io_uring_setup": "4, bytes(120)",
    "ioprio_set": "1, 0, 0x6000",
    "kcmp": "1, 1, 0, 0, 0",
    "kexec_load": "0, 0, None, 0",
    "keyctl": "0, -3, 1",
    "landlock_create_ruleset": "None, 0, 1",
    "mbind": "0, 0, 0, None, 0, 0",
    "memfd_create": "b'x', 0",
    "memfd_secret": "0",
    "migrate_pages": "0, 0, None, None",
    "mincore": "0, 0, None",
    "mount": "b'none', b'/tmp', b'tmpfs', 0, None",
    "mq_open": "b'x', 0o102, 0o600, None",
    "msgget": "0, 0o1600",
    "name_to_handle_at": "-100, b'/tmp', bytes(200), bytes(8), 0",
    "open_by_handle_at": "3, bytes(200), 0",
    "perf_event_open": "bytes(128), 0, -1, -1, 0",
    "personality": "0x0040000",
    "pidfd_getfd": "0, 0, 0",
    "pivot_root": "b'/', b'/tmp'",
    "process_vm_readv": "1, None, 0, None, 0, 0",
    "ptrace": "0, 0, None, None",
    "quotactl": "0x800002 << 8, None, 0, None",
    "sched_setaffinity": "0, 8, b'\\1' + bytes(7)",
    "sched_setattr": "0, bytes(56), 0",
    "sched_setscheduler": "0, 5, bytes(4)",
    "semget": "0, 1, 0o1600",
    "setns": "0, 0",
    "setpriority": "0, 0, 1",
    "setxattr": "b'/tmp', b'user.x', b'x', 1, 0",
    "shmget": "0, 4096, 0o1600",
    "swapon": "b'/tmp', 0",
    "syslog": "10, None, 0",
    "unshare": "0x10000000",
    "userfaultfd": "1",
    "vmsplice": "1, None, 0, 0",
}


@attack(0, searches=True)
def calls_of_linux():
    """Calls what Linux has for containers, debuggers, tracers and drivers, and what all of a machine's users share."""
    numbers = {name: syscalls.number(name) for name in CALLS}
    tries = "".join(f"{name!r}: ({numbers[name]}, {given}), " for name, given in CALLS.items() if numbers[name] >= 0)
    return wrong(f"""
        import ctypes, errno, fcntl, mmap, os, socket
        libc, found = ctypes.CDLL(None, use_errno=True), []
        for name, (number, *given) in {{{tries}}}.items():
            pid = os.fork()
            if pid == 0:
                failed = libc.syscall(number, *given) == -1
                os._exit(0 if failed and ctypes.get_errno() == errno.ENOSYS else 1)
            if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
                found.append(name)
        for family in range(2, 64):  # the network, the machine's own host, its drivers, its cryptography
            try:
                socket.socket(family, socket.SOCK_STREAM).close()
                found.append(family)
            except OSError:
                pass
        try:
            found.append(mmap.mmap(-1, 4096))
        except OSError:
            pass
        try:
            found.append(os.open("/dev/zero", os.O_RDWR))
        except OSError:
            pass
        for control in (0x5412, 0x541C, 0x5423):  # types into a terminal, and makes something else of it
            try:
                fcntl.ioctl(os.openpty()[1], control, b"x")
                found.append(control)
            except OSError as error:
                found += [control] if error.errno != errno.ENOSYS else []
        raise (LookupError if found else EOFError)(str(found))
    """)
