"""Whose files does the command run? Those that are installed, and none that lies in the folder it is called from.

Files of students lie there: a `json.py` beside a notebook must not be taken for Python's own. The package imports this
before anything else, and this imports nothing that Python has not imported to start.
"""

import os
import sys

HOME = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
FOLDERS = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONPYCACHEPREFIX")  # that Python takes code from


def is_command() -> bool:
    """Whether this Python was started as `roofline-kit`, or as `python -m roofline_kit`, and not by a notebook."""
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    modules = {word.removeprefix("-m").split(".")[0] for word in sys.orig_argv}
    return name.startswith("roofline-kit") or (name == "-m" and "roofline_kit" in modules)  # "-m" while it is found


def entries(name: str) -> list[str]:
    """The folders of one of Python's variables; none where Python does not look at it."""
    value = "" if sys.flags.ignore_environment else os.environ.get(name, "")
    return value.split(os.pathsep) if value else []


def search_path() -> str:
    """PATH without what depends on the folder that one is in: a submission may have a `bwrap` beside it."""
    places = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(place for place in places if os.path.isabs(place))


def leave(here: str) -> None:
    """Takes no module from a folder, nor from what depends on which that is; nor will any Python that we start.

    Nor is a program taken from there: even Python's `platform` looks for one, `uname`.
    """
    ours = {here, *(os.path.realpath(entry) for entry in entries("PYTHONPATH") if not os.path.isabs(entry))}
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) not in ours]
    os.environ.update(PYTHONSAFEPATH="1", PATH=search_path())


def lies_in(folder: str, path: str) -> bool:
    """Whether a path is a folder, or in it."""
    within = os.path.join(os.path.realpath(folder), "")
    return os.path.join(os.path.realpath(path), "").startswith(within)


def exposed(submissions: str = "") -> str:
    """Why Python itself may run what a student handed in, before any program begins; "" if it cannot."""
    if os.path.realpath("") == HOME:
        return ""
    for name in FOLDERS:
        for entry in entries(name):
            if not os.path.isabs(entry) or (submissions and lies_in(submissions, entry)):
                return (
                    f"{name} is {os.environ[name]!r}. Its entry {entry!r} makes Python run files of the folder "
                    f"{os.path.realpath(entry)}, which may be a student's, and some of them (sitecustomize.py) before "
                    "this command begins: unset it, or leave only absolute paths of folders that are yours"
                )
    return ""


def environment(folder: str) -> dict[str, str]:
    """Our environment, for a Python that takes no code from a folder, and no settings of tools from anywhere."""
    tools = ("PYTHON", "IPYTHON", "JUPYTER", "MPL", "MATPLOTLIB", "PYTEST")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(tools)}
    for name in FOLDERS:  # an absolute path is somebody's decision: on many clusters, that is where packages are
        if found := [entry for entry in entries(name) if os.path.isabs(entry) and not lies_in(folder, entry)]:
            kept[name] = os.pathsep.join(found)
    return kept | {"PYTHONSAFEPATH": "1"}


if is_command() and os.path.realpath("") != HOME:
    leave(os.path.realpath(""))
