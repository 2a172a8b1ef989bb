"""A container as arguments of the ``docker`` command."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterator

from ..container import LABEL, ContainerSpec, Deployment, Gpus, Mount, Volume


def create_argv(spec: ContainerSpec) -> list[str]:
    """``create`` and what follows; the program, such as ``docker``, is not part of it."""
    return ["create", *flags(spec), spec.image, *_command(spec)]


def run_argv(spec: ContainerSpec) -> list[str]:
    """``run --detach`` and what follows, without the program."""
    return ["run", "--detach", *flags(spec), spec.image, *_command(spec)]


def network_argv(name: str, label: str) -> list[str]:
    """Makes a user network; without the program."""
    return ["network", "create", "--label", label, name]


def volume_argv(volume: Volume, label: str) -> list[str]:
    """Makes a volume; without the program."""
    options = [part for key, value in volume.options.items() for part in ("--opt", f"{key}={value}")]
    return ["volume", "create", "--label", label, *options, volume.name]


def commands(deployment: Deployment, program: str = "docker") -> list[list[str]]:
    """Everything that starts a deployment, in order."""
    label = f"{LABEL}.project={deployment.project}"
    made = [network_argv(name, label) for name in deployment.networks]
    made += [volume_argv(volume, label) for volume in deployment.volumes]
    return [[program, *argv] for argv in (*made, *(run_argv(spec) for spec in deployment.containers))]


def flags(spec: ContainerSpec) -> list[str]:
    """All flags between the verb and the image."""
    return [*_identity(spec), *_devices(spec), *_network(spec), *_rights(spec), *_contents(spec), *_life(spec)]


def _identity(spec: ContainerSpec) -> Iterator[str]:
    yield from ("--name", spec.name)
    for key, value in spec.labels.items():
        yield from ("--label", f"{key}={value}")


def _devices(spec: ContainerSpec) -> Iterator[str]:
    if spec.gpus is not None:
        yield from ("--gpus", gpu_request(spec.gpus))
    if spec.ipc == "host":
        yield "--ipc=host"  # a size beside it is ignored by docker and refused by podman
    elif spec.shm_size is not None:
        yield f"--shm-size={spec.shm_size}"
    for limit in spec.ulimits:
        yield from ("--ulimit", f"{limit.name}={limit.value}")


def gpu_request(gpus: Gpus) -> str:
    """``all``, or the ids: docker reads the value as a line of CSV, so that commas need quotes around them."""
    return f'"device={",".join(gpus.ids)}"' if gpus.ids else "all"


def _network(spec: ContainerSpec) -> Iterator[str]:
    yield f"--network={spec.network}"
    for alias in spec.aliases:
        yield from ("--network-alias", alias)
    for port in spec.ports:
        address = f"[{port.address}]" if ":" in port.address else port.address
        yield from ("--publish", f"{address}:{port.host}:{port.container}")
    for name, address in spec.extra_hosts.items():
        yield from ("--add-host", f"{name}:{address}")


def _rights(spec: ContainerSpec) -> Iterator[str]:
    if spec.user is not None:
        yield from ("--user", spec.user)
    for capability in spec.cap_drop:
        yield from ("--cap-drop", capability)
    for option in spec.security_opt:
        yield from ("--security-opt", option)
    if spec.read_only:
        yield "--read-only"


def _contents(spec: ContainerSpec) -> Iterator[str]:
    for place in spec.tmpfs:
        yield from ("--tmpfs", place)
    for mount in spec.mounts:
        yield from ("--mount", mount_option(mount))
    for name, value in spec.environment.items():
        yield from ("--env", f"{name}={value}")


def mount_option(mount: Mount) -> str:
    """The value of ``--mount``: a line of CSV, so that a path may hold commas."""
    fields = [f"type={mount.kind}", f"source={mount.source}", f"target={mount.target}"]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields + ["readonly"] * mount.read_only)
    return line.getvalue()


def _life(spec: ContainerSpec) -> Iterator[str]:
    health = spec.healthcheck
    if health is not None:
        # The flag takes nothing but a line for the shell; all of it is ours.
        yield from ("--health-cmd", shlex.join(health.command))
        yield from ("--health-interval", f"{health.interval}s", "--health-timeout", f"{health.timeout}s")
        yield from ("--health-retries", str(health.retries), "--health-start-period", f"{health.start_period}s")
    yield from ("--stop-timeout", str(spec.stop_grace))
    if spec.restart != "no":
        yield from ("--restart", spec.restart)
    if spec.init:
        yield "--init"
    if spec.entrypoint:
        yield from ("--entrypoint", spec.entrypoint[0])


def _command(spec: ContainerSpec) -> list[str]:
    """What follows the image; ``--entrypoint`` takes one word only, the others go in front of the command."""
    return [*spec.entrypoint[1:], *spec.command]
