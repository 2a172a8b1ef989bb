"""A real gateway: the command in a process of its own, in front of whatever it is given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.conftest import is_foreign
from tests.live.conftest import unused_port

PATIENCE: Final = 60.0
"""Seconds until it has to be ready."""
_DIRECT: Final = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class RunningGateway:
    """A gateway that answers."""

    url: str
    """Without a slash at its end."""
    log: Path

    def get(self, path: str) -> Any:
        """What it answers, decoded."""
        with _DIRECT.open(f"{self.url}{path}", timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The same for a body that is sent."""
        headers = {"content-type": "application/json"}
        request = Request(f"{self.url}{path}", json.dumps(body).encode(), headers)
        with _DIRECT.open(request, timeout=120) as answer:
            return json.load(answer)


@contextmanager
def running(config: str, folder: Path) -> Iterator[RunningGateway]:
    """Runs ``abstractcore serve`` with a configuration while the block runs; its log stays in the folder."""
    file, log = folder / "gateway.toml", folder / "gateway.log"
    file.write_text(config, encoding="utf-8")
    port = unused_port()
    env = {name: value for name, value in os.environ.items() if not is_foreign(name)}
    argv = (sys.executable, "-m", "abstractcore", "serve", "--port", str(port), "--config", str(file))
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, env=env, stdin=subprocess.DEVNULL)
    gateway = RunningGateway(f"http://127.0.0.1:{port}", log)
    try:
        _wait(gateway, process)
        yield gateway
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"the gateway does not stop:\n{_tail(log)}")


def _wait(gateway: RunningGateway, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    said = ""
    while process.poll() is None and time.monotonic() < deadline:
        try:
            gateway.get("/ready")
            return
        except HTTPError as error:
            said = error.read().decode(errors="replace")
        except (URLError, ConnectionError) as error:
            said = str(error)
        time.sleep(0.1)
    pytest.fail(f"the gateway is not ready: {said}\n{_tail(gateway.log)}")


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-4000:]
