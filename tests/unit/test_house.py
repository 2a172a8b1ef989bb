"""The rules in tests/conftest.py hold."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TESTS, NetworkRefusedError, is_foreign

HOUSE = TESTS / "conftest.py"
OUTSIDE = "192.0.2.1"  # an address of the documentation range: it leads nowhere


def test_a_unit_test_opens_no_socket() -> None:
    with socket.socket() as client, pytest.raises(NetworkRefusedError, match="loopback"):
        client.connect(("127.0.0.1", 9))
    with socket.socket() as server, pytest.raises(NetworkRefusedError):
        server.bind(("127.0.0.1", 0))
    with pytest.raises(NetworkRefusedError):
        socket.getaddrinfo("localhost", 80)


async def test_asyncio_is_guarded_too() -> None:
    with pytest.raises(NetworkRefusedError):
        await asyncio.open_connection("127.0.0.1", 9)


def test_loopback_reaches_this_machine(loopback: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_loopback_reaches_nothing_else(loopback: None) -> None:
    with socket.socket() as client, pytest.raises(NetworkRefusedError, match="stay on this machine"):
        client.connect((OUTSIDE, 80))
    with socket.socket(type=socket.SOCK_DGRAM) as client, pytest.raises(NetworkRefusedError):
        client.sendto(b"x", (OUTSIDE, 53))
    with pytest.raises(NetworkRefusedError):
        socket.getaddrinfo("example.org", 80)


def test_nothing_of_this_machine_is_seen() -> None:
    assert not [name for name in os.environ if is_foreign(name)]
    assert list(Path.home().iterdir()) == []


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 failed")])
def test_a_tier_may_not_be_skipped_in_ci(tmp_path: Path, ci: str, outcome: str) -> None:
    (tmp_path / "tests" / "live").mkdir(parents=True)
    shutil.copy(HOUSE, tmp_path / "tests")
    (tmp_path / "tests" / "live" / "test_it.py").write_text("import pytest\ndef test_it(): pytest.skip('no server')\n")
    (tmp_path / "pytest.toml").write_text("[pytest]\nmarkers = ['live']\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path, env={**os.environ, "CI": ci}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert outcome in run.stdout
    assert "no server" in run.stdout or not ci
