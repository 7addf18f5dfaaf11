"""Two servers of the tests never want one port."""

import socket
from pathlib import Path

import ports
import pytest

GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")  # from which Linux gives ports to connections


def test_no_connection_is_given_a_port_that_a_server_will_take() -> None:
    first, last = map(int, GIVEN.read_text().split()) if GIVEN.exists() else (49152, 65535)  # elsewhere: RFC 6335
    assert {ports.free() for _ in range(100)}.isdisjoint(range(first, last + 1))


def test_all_ports_in_a_row_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ports.free(31)
    with socket.create_server(("127.0.0.1", first + 30)):
        monkeypatch.setattr(ports, "FIRST", first)
        monkeypatch.setattr(ports, "END", first + 32)
        with pytest.raises(OSError, match="no 31 ports in a row"):
            ports.free(31)
        assert ports.free(30) == first
