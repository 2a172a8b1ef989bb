"""The real vLLM in a container, started by hand: what it needs of Docker, without the tools that take care of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest

from abstractcore.deploy.container import Mount
from tests.container.conftest import mount_options
from tests.container.daemon import Docker

SMALL: Final = ("--enforce-eager", "--max-model-len", "512", "--max-num-seqs", "4", "--dtype", "bfloat16")
HEALTH: Final = "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health')"
LIMIT: Final = 600.0
"""Seconds: two ranks on a machine of two busy cores take minutes to start."""


def options(mounts: tuple[Mount, ...], model: Path) -> tuple[str, ...]:
    """What every such server is started with."""
    weights = Mount(str(model), "/models/tiny", read_only=True)
    check = ("--health-cmd", f'python3 -S -c "{HEALTH}"', "--health-interval", "2s", "--health-timeout", "20s")
    return (*mount_options((*mounts, weights)), *check, "--health-start-period", f"{LIMIT:.0f}s")


def arguments(*more: str) -> tuple[str, ...]:
    """The server's command line."""
    return ("/models/tiny", "--served-model-name", "tiny", *SMALL, *more)


def ended(docker: Docker, name: str, *, limit: float = LIMIT) -> str:
    """What a server wrote that has to end by itself."""
    deadline = time.monotonic() + limit
    while docker.inspect(name)["State"]["Running"]:
        if time.monotonic() > deadline:
            pytest.fail(f"{name} still runs:\n{docker.logs(name)[-4000:]}")
        time.sleep(0.5)
    return docker.logs(name)
