"""``abstractcore`` as a user calls it, with a state folder of its own, on the real daemon."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from abstractcore.deploy.container import Mount

SMALL: Final = (
    "--gpus", "cpu", "--enforce-eager", "--context", "512", "--max-num-seqs", "4", "--kv-memory", "1", "--yes",
)  # fmt: skip
LIMIT: Final = 900.0
"""Seconds: two busy cores take minutes to start a server."""


@dataclass(frozen=True)
class Shell:
    """Calls the command line."""

    state: Path
    """Stands for ``~/.local/state``."""
    options: Sequence[str] = ()
    """Of every ``up``: the images, and what they live off."""

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One call, however it ends."""
        return subprocess.run(
            [sys.executable, "-m", "abstractcore", *arguments],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            stdin=subprocess.DEVNULL,
            env=self.environ(),
        )

    def environ(self) -> Mapping[str, str]:
        """The environment of a call."""
        return {**os.environ, "XDG_STATE_HOME": str(self.state), "NO_COLOR": "1"}

    def up(self, model: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``abstractcore up``; what follows ``--`` goes to vLLM."""
        ours, sign, theirs = list(arguments), "", list[str]()
        if "--" in ours:
            at = ours.index("--")
            ours, sign, theirs = ours[:at], "--", ours[at + 1 :]
        return self("up", str(model), *self.options, *SMALL, *ours, *([sign] if sign else []), *theirs)


def launch_options(server_image: str, client_image: str, mounts: Sequence[Mount]) -> tuple[str, ...]:
    """The options that name the images, and mount what the server's lives off."""
    mounted = [part for mount in mounts for part in ("--mount", f"{mount.source}:{mount.target}:ro")]
    return ("--image", server_image, "--client-image", client_image, *mounted)


def document_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a call with ``--json`` printed."""
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def problems_of(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """What stood in the way of an ``up --json``, by id."""
    assert done.returncode == 3, done.stderr
    return {row["id"]: row for row in json.loads(done.stdout)["problems"]}


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass(frozen=True)
class Running:
    """A deployment that ``up`` has brought up."""

    shell: Shell
    arguments: tuple[str, ...]
    """Of its ``up``, after the model."""
    model: Path
    document: dict[str, Any]
    """What ``up`` printed."""

    @property
    def server(self) -> str:
        name: str = self.document["containers"][0]
        return name

    @property
    def client(self) -> str:
        name: str = self.document["containers"][1]
        return name

    @property
    def project(self) -> tuple[str, str]:
        return ("--project", self.document["project"])

    def up(self, *more: str) -> subprocess.CompletedProcess[str]:
        return self.shell.up(self.model, *self.arguments, *more)

    def examined(self) -> dict[str, set[str]]:
        """The verdicts of the doctor by check; what it calls broken fails the test."""
        done = self.shell("doctor", "--json", "--server", self.server, "--client", self.client)
        found: dict[str, set[str]] = {}
        for row in json.loads(done.stdout)["findings"]:
            assert row["verdict"] not in {"error", "crashed"}, row
            found.setdefault(row["id"], set()).add(row["verdict"])
        assert done.returncode == 0, done.stderr
        return found


def brought_up(shell: Shell, model: Path, profile: str, *arguments: str) -> Iterator[Running]:
    project = ("--project", f"abstractcore-test-{profile}")
    chosen = (*project, "--profile", profile, *arguments)
    done = shell.up(model, *chosen, "--json")
    try:
        yield Running(shell, chosen, model, document_of(done))
    finally:
        shell("down", *project, "--volumes", "--grace", "5", "--yes")
