"""What becomes of a call of a student's function? It ends, or is ended; an error is told with the student's line.

How it is ended: the interpreter tells a trace function (`sys.settrace`) of each line that the student's code begins,
and that function looks at a clock. So the code is stopped where it runs, in this thread: the same on Linux, macOS and
Windows, with no signal (Windows has none that would do), no process (a function of a notebook cannot be sent to a new
one), and no thread that would burn a core for ever after. A bare `except:` in a loop swallows what is raised; but there
it dies, and tells so, and then each line is stopped again until one is that stands outside of the `try`. What cannot be
stopped is one call into compiled code that does not return, a loop that catches what is raised and keeps it, and, in
Python 3.11, a loop that is one line and does nothing; for these, the kernel's interrupt is left.
"""

from __future__ import annotations

import dis
import inspect
import linecache
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

SECONDS = 10.0
"""How long one call may take: right ones take some hundredths."""

ENDLESS, FAILED = "was still running after", "stops with an error"
"""How what `attempt` says of a call begins."""

LIBRARIES = ("<frozen", *(sysconfig.get_paths()[where] for where in ("stdlib", "purelib", "platlib")))
"""Where the code is that is not the student's, beside the kit's own, which may be anywhere."""


class TimeUp(BaseException):
    """The time is up. No Exception, which a student's `except Exception` would catch.

    dies : called when nobody holds it any more, as after the end of a bare `except:`.
    """

    def __init__(self, dies: Callable[[], None]) -> None:
        self.dies = dies

    def __del__(self) -> None:
        self.dies()


def attempt(f: Callable[..., Any], *args: Any) -> tuple[Any, str]:
    """The result of f(*args) and "", or None and what went wrong, to be read after "it"."""
    try:
        with np.errstate(all="ignore"):  # an overflow shows in the values
            return _in_time(f, args), ""
    except TimeUp as error:
        return None, f"{ENDLESS} {SECONDS:g} seconds{_where(error)}: does its loop ever end?"
    except (Exception, SystemExit) as error:
        return None, f"{FAILED}{_where(error)}. {type(error).__name__}: {error}"


def _in_time(f: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """f(*args). Raises TimeUp where it takes too long."""
    ends = time.monotonic() + SECONDS
    is_over = False

    def watch(frame: FrameType, event: str, _: Any) -> Any:
        if _is_of_a_library(frame):  # which may swallow what is raised in it
            return None
        if time.monotonic() > ends:
            raise TimeUp(watch_again)
        return watch

    def watch_again() -> None:
        """Where what was raised is swallowed: Python asks no trace function again that has raised."""
        if is_over:
            return
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            frame.f_trace = watch
            frame = frame.f_back
        sys.settrace(watch)

    before = sys.gettrace()  # a debugger's, say, which sees nothing of this call
    sys.settrace(watch)
    try:
        return f(*args)
    finally:
        is_over = True
        sys.settrace(before)


def _is_of_a_library(frame: FrameType) -> bool:
    of_the_kit = frame.f_globals.get("__name__", "").startswith("roofline_kit.")
    return of_the_kit or frame.f_code.co_filename.startswith(LIBRARIES)


def _where(error: BaseException | None) -> str:
    """The last line of the student's own on the way to an error, as in " in line 3, `e = np.exp(S)`"."""
    while error is not None:
        for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
            if not _is_of_a_library(frame):
                text = linecache.getline(frame.f_code.co_filename, number).strip()
                return f" in line {number}, `{text}`" if text else f" in line {number}"
        error = error.__cause__
    return ""


def parameters(f: Callable[..., Any], count: int) -> str:
    """What `f` takes, as in "(X, W)", where it cannot be called with `count` arguments; "" where it can."""
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):  # compiled code need not tell
        return ""
    try:
        signature.bind(*range(count))
    except TypeError:
        return str(signature)
    return ""


def is_stub(f: Callable[..., Any]) -> bool:
    """Whether nothing stands in a function but a docstring and three dots."""
    code = getattr(inspect.unwrap(f), "__code__", None)
    if code is None:
        return False
    does = {instruction.opname for instruction in dis.get_instructions(code)}
    others = set(code.co_consts) - {None, ..., inspect.unwrap(f).__doc__}
    return not others and does <= {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}


def called(f: Callable[..., Any], names: tuple[str, ...]) -> str:
    """The first of these functions of the kit that `f` is, or that its own code calls; "" for none of them."""
    own = inspect.unwrap(f)
    if str(getattr(own, "__module__", "")).startswith("roofline_kit."):
        return own.__name__ if own.__name__ in names else ""
    used = getattr(getattr(own, "__code__", None), "co_names", ())
    around = getattr(own, "__globals__", {})  # a function of the student's own may be called so
    kits = (
        name for name in names if getattr(around.get(name), "__module__", "roofline_kit.").startswith("roofline_kit.")
    )
    return next((name for name in kits if name in used), "")
