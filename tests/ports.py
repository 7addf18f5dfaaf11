"""Ports for the servers that tests start."""

import random
import socket

FIRST, END = 20_100, 32_768  # attacks listen below, and Linux gives its connections ports from 32768 on


def free(count: int = 1) -> int:
    """The first of `count` free ports in a row, which a server may take seconds later.

    Asking the system for any free port would not do: until the server takes it, a connection of another test can.
    Raises OSError if there are none.
    """
    for _ in range(1000):
        first = random.SystemRandom().randrange(FIRST, END - count)
        if all(map(_is_free, range(first, first + count))):
            return first
    raise OSError(f"no {count} ports in a row are free between {FIRST} and {END}")


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
