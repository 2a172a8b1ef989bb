"""A deployment as ``podman`` commands: GPUs by CDI, the health check as an argument list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ..container import ContainerSpec, Deployment, Gpus
from . import docker

CDI: Final = "nvidia.com/gpu"
"""The kind of device that ``nvidia-ctk cdi generate`` writes down."""


def run_argv(spec: ContainerSpec) -> list[str]:
    """``run --detach`` and what follows, without the program."""
    return _changed(docker.run_argv(_adapted(spec)), spec)


def create_argv(spec: ContainerSpec) -> list[str]:
    """``create`` and what follows, without the program."""
    return _changed(docker.create_argv(_adapted(spec)), spec)


def commands(deployment: Deployment) -> list[list[str]]:
    """Everything that starts a deployment, in order."""
    made = docker.commands(deployment, "podman")
    return [*made[: -len(deployment.containers)], *(["podman", *run_argv(spec)] for spec in deployment.containers)]


def devices(gpus: Gpus) -> list[str]:
    """The CDI names of GPUs."""
    return [f"{CDI}={name}" for name in gpus.ids or ("all",)]


def qualified(image: str) -> str:
    """The image with its registry: podman knows no default one. A name without a path is taken for a local image."""
    first, slash, _ = image.partition("/")
    has_registry = first == "localhost" or any(mark in first for mark in ".:")
    return f"docker.io/{image}" if slash and not has_registry else image


def _adapted(spec: ContainerSpec) -> ContainerSpec:
    # SELinux lets no labelled container at the driver's devices.
    more = ("label=disable",) if spec.gpus else ()
    return replace(spec, image=qualified(spec.image), gpus=None, security_opt=(*spec.security_opt, *more))


def _changed(argv: Sequence[str], spec: ContainerSpec) -> list[str]:
    words = list(argv)
    if spec.gpus:
        at = words.index("--user") if "--user" in words else 2
        words[at:at] = [part for name in devices(spec.gpus) for part in ("--device", name)]
    if spec.healthcheck:
        words[words.index("--health-cmd") + 1] = json.dumps(list(spec.healthcheck.command))
    return words
