"""The gateway as a process of its own, started as people start it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

PATIENCE = 30.0


@dataclass
class Running:
    """A gateway that answers."""

    url: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Running]:
    """Runs ``abstractcore serve`` while the block runs.

    Args:
        folder: For its log.
        arguments: Of the command, beside the port.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = folder / "gateway.log"
    command = [sys.executable, "-m", "abstractcore", "serve", "--port", str(port), *arguments]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=dict(os.environ), start_new_session=True)
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, log)
        yield Running(f"http://127.0.0.1:{port}", port, process, log)
    finally:
        process.kill()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(url, timeout=PATIENCE):
                return
        except (URLError, ConnectionError):
            time.sleep(0.05)
    raise AssertionError(f"the gateway does not answer: {log.read_text()}")
