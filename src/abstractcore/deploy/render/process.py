"""The server of a deployment as a process of the host: an argument list and its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import ConfigurationError
from ..container import UNLIMITED, ContainerSpec, Deployment


@dataclass(frozen=True, slots=True)
class HostProcess:
    """A process."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


def process(deployment: Deployment) -> HostProcess:
    """The server as a process, with the host's own paths in place of the container's.

    Raises:
        ConfigurationError: The profile can't be had without a container.
    """
    refuse_unless_host(deployment, "a process")
    spec = deployment.server
    environment = own_environment(spec) | visible_gpus(spec)
    return HostProcess((*spec.entrypoint, *(on_host(spec, word) for word in spec.command)), environment)


def commands(deployment: Deployment) -> list[list[str]]:
    """The same as one command, limits and environment included."""
    found = process(deployment)
    settings = [f"{name}={value}" for name, value in found.environment.items()]
    return [["env", *settings, *limits(deployment.server), *found.argv]]


def refuse_unless_host(deployment: Deployment, what: str) -> None:
    """Refuses a profile that promises what only a container has.

    Raises:
        ConfigurationError: The profile isn't ``host``.
    """
    if deployment.profile != "host":
        raise ConfigurationError(
            f"{what} can't keep the promises of the {deployment.profile} profile",
            why="it shares the host's network and files",
            hint="--profile host, or render docker, compose or podman",
        )


def on_host(spec: ContainerSpec, text: str) -> str:
    """A path inside the container as the host has it; other text stays as it is."""
    for mount in sorted(spec.mounts, key=lambda mount: len(mount.target), reverse=True):
        if mount.kind == "bind" and (text == mount.target or text.startswith(f"{mount.target}/")):
            return mount.source + text[len(mount.target) :]
    return text


def own_environment(spec: ContainerSpec) -> dict[str, str]:
    """The environment on the host: what points into a volume is left out, since the host has folders of its own."""
    kept = ("volume", "bind")
    targets = [(mount.target, mount.kind) for mount in spec.mounts if mount.kind in kept]
    found = {}
    for name, value in spec.environment.items():
        inside = [kind for target, kind in targets if value == target or value.startswith(f"{target}/")]
        if "volume" not in inside or "bind" in inside:
            found[name] = on_host(spec, value)
    found.pop("USER", None)
    return found


def visible_gpus(spec: ContainerSpec) -> dict[str, str]:
    """The choice of GPUs, as CUDA reads it."""
    if spec.gpus is None or not spec.gpus.ids:
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(spec.gpus.ids), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def limits(spec: ContainerSpec) -> list[str]:
    """``prlimit`` in front of a command, for the limits of the kernel."""
    if not spec.ulimits:
        return []
    said = {UNLIMITED: "unlimited"}
    return ["prlimit", *(f"--{limit.name}={said.get(limit.value, limit.value)}" for limit in spec.ulimits)]
