"""What becomes of a run that is stopped? It has got on, however short it was."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(KeyboardInterrupt):
    """A run was stopped by a signal: Ctrl-C's SIGINT, or Slurm's SIGTERM."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


class Stop:
    """Hears signals for a run, and decides when they end it.

    Runs that are stopped again and again must come to an end some day. So each keeps at least one repetition: a
    signal that comes earlier waits for that. A second one does not wait.
    """

    def __init__(self) -> None:
        self.signal = 0  # that was heard and has to wait
        self.gained = False
        self.writing = False

    def heard(self, number: int, frame: FrameType | None) -> None:
        """Called by Python when a signal has come. Raises `Stopped`, or waits."""
        again, self.signal = self.signal != 0, number
        if self.writing:
            return
        if self.gained or again:
            raise Stopped(number)
        # print() might be interrupted by this very function, and cannot be called within itself.
        os.write(2, b"\nstopping as soon as one repetition is kept; once more (Ctrl-C) stops at once\n")

    def gain(self) -> None:
        """Something is there that the next run need not do again. Raises `Stopped` if somebody waits for that."""
        self.gained = True
        if self.signal:
            raise Stopped(self.signal)

    @contextmanager
    def held(self) -> Iterator[None]:
        """While a file is written, signals wait. Raises `Stopped` after it if one did."""
        self.writing = True
        try:
            yield
        finally:
            self.writing = False
        if self.signal and self.gained:
            raise Stopped(self.signal)


@contextmanager
def stopping() -> Iterator[Stop]:
    """A `Stop` that hears SIGINT and SIGTERM. Python lets only the main thread listen."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
