"""Where a secret might be: files, processes, the network. A search says with its exception whether it found any."""

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
