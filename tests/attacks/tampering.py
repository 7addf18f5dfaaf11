"""What might be changed: results, sockets, the walls; and disks that might be filled."""

from . import HONEST, attack, right, wrong


@attack(0, searches=True)
def write_results_everywhere():
    """Writes results of its own into every folder that it can see, and looks which of them are not its own."""
    return wrong("""
        import os
        found, text = [], '{"student": "me", "points": 10}'
        for folder, folders, _ in os.walk("/"):
            folders[:] = [name for name in folders if name not in ("proc", "sys", "lib")]
            for name in ("me.json", "results.json", "grades.csv", "conftest.py", "assignment.toml"):
                try:
                    with open(os.path.join(folder, name), "w") as file:
                        file.write(text)
                    if not folder.startswith(("/tmp", "/dev/shm", "/run/kernel")):
                        found.append(folder)
                except OSError:
                    break
        raise (LookupError if found else EOFError)(str(found))
    """)


@attack((0, 10))
def sockets_become_links():
    """Puts links to other files in the place of the kernel's sockets, for the grader to follow."""
    return right("""
        import glob, os
        for path in glob.glob("/run/kernel/*"):
            try:
                os.unlink(path)
                os.symlink("/etc/passwd", path)
            except OSError:
                pass
    """)


@attack((0, 7), searches=True)
def disk_without_names():
    """Fills the grader's disk with files that have no name any more."""
    return right("""
        import os
        found, kept, size = [], [], 0
        for folder in ("/run/kernel", "/run", "/", "/dev", "/dev/shm", "/etc", "/root"):
            written = 0
            for _ in range(12):
                try:
                    kept.append(os.open(folder, os.O_TMPFILE | os.O_RDWR))
                    for _ in range(4):
                        written += os.write(kept[-1], bytes(10_000_000))
                except OSError:
                    break
            if written > 205_000_000:
                found.append((folder, written))
        raise (LookupError if found else EOFError)(str(found))
    """)


@attack((0, 7), searches=True)
def disk_with_names():
    """Fills every folder that it can write to with files and folders, and makes them hard to remove."""
    return right("""
        import os, shutil
        found = []
        for top in ("/tmp", "/run/kernel", "/run", "/dev/shm", "/dev", "/", "/etc"):
            written = 0
            try:
                for number in range(40):
                    os.makedirs(f"{top}/attack/{number}")
                    with open(f"{top}/attack/{number}/x", "wb") as file:
                        written += file.write(bytes(10_000_000))
                    os.chmod(f"{top}/attack/{number}", 0)
            except OSError:
                pass
            if written > 205_000_000:
                found.append((top, written))
            shutil.rmtree(f"{top}/attack", ignore_errors=True)
        raise (LookupError if found else EOFError)(str(found))
    """)


@attack((0, 7))
def folder_in_the_place_of_a_socket():
    """Puts a folder in the place of a socket, and hides files in it."""
    return {
        **HONEST,
        "flops": """
import os
for name in ("socket-1", "home"):
    path = f"/run/kernel/{name}"
    try:
        os.unlink(path)
    except OSError:
        pass
    try:
        os.makedirs(path + "/deep")
        for number in range(30):
            with open(f"{path}/deep/{number}", "wb") as file:
                file.write(bytes(10_000_000))
    except OSError:
        pass
""",
    }


@attack(0, searches=True)
def through_the_walls():
    """Mounts, makes namespaces of its own, makes devices, changes its root, becomes another user."""
    return wrong("""
        import ctypes, os
        libc, found = ctypes.CDLL(None), []
        tries = {
            "mount": lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
            "remount": lambda: libc.mount(None, b"/usr", None, 32 | 4096, None),
            "user": lambda: libc.unshare(0x10000000),
            "space": lambda: libc.unshare(0x00020000),
            "root": lambda: libc.chroot(b"/tmp"),
            "host": lambda: libc.sethostname(b"x", 1),
            "device": lambda: libc.mknod(b"/tmp/disk", 0o60666, 0x801),
            "module": lambda: libc.delete_module(b"x", 0),
            "time": lambda: libc.settimeofday(ctypes.create_string_buffer(16), None),
        }
        for name, attempt in tries.items():
            pid = os.fork()
            if pid == 0:
                os._exit(attempt() == 0)
            if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
                found.append(name)
        for folder, folders, names in os.walk("/proc"):  # opened and not written to: if it succeeds, it is the host's
            folders[:] = [name for name in folders if not name.isdigit() and name not in ("self", "thread-self")]
            for name in names:
                try:
                    os.close(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_NONBLOCK))
                    found.append(os.path.join(folder, name))
                except OSError:
                    pass
        raise (LookupError if found else EOFError)(str(found))
    """)
