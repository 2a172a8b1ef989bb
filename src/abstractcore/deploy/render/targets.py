"""What a deployment can be written down for: one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..container import Deployment
from . import apptainer, compose, docker, podman, process, systemd
from .shell import script

Commands: TypeAlias = Callable[[Deployment], list[list[str]]]


@dataclass(frozen=True, slots=True)
class Target:
    """One tool that runs deployments."""

    summary: str
    text: Callable[[Deployment], str]
    """As a file or as lines for a shell."""
    commands: Commands | None = None
    """As argument lists, where it is commands."""


def _commanded(commands: Commands, summary: str) -> Target:
    return Target(summary, lambda deployment: script(commands(deployment)), commands)


TARGETS: Final[Mapping[str, Target]] = {
    "docker": _commanded(docker.commands, "docker commands"),
    "compose": Target("a compose file for docker compose", compose.text),
    "podman": _commanded(podman.commands, "podman commands, GPUs by CDI"),
    "process": _commanded(process.commands, "the server as a process of this machine"),
    "systemd": Target("the server as a systemd unit", systemd.unit),
    "apptainer": _commanded(apptainer.commands, "the server under Apptainer"),
}
