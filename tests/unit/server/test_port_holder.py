"""Who holds a port."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from abstractcore.server.port_holder import explain, holder_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_whoever_listens_is_found(family: socket.AddressFamily, loopback: None) -> None:
    with socket.create_server(("127.0.0.1" if family == socket.AF_INET else "::1", 0), family=family) as server:
        port = server.getsockname()[1]
        found = holder_of(port)
    assert found is not None
    assert found.pid == os.getpid()
    assert "python" in found.command
    assert holder_of(port) is None


def test_a_connection_is_no_listener(loopback: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert holder_of(client.getsockname()[1]) is None


def test_one_of_another_user_is_told_as_such(tmp_path: Path) -> None:
    assert holder_of(1, tmp_path) is None
    why, hint = explain(1)
    assert "another" in why
    assert "--port 2" in hint
