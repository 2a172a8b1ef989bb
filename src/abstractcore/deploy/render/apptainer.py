"""The server of a deployment as an ``apptainer`` command, for clusters without a daemon."""

from __future__ import annotations

from ..container import Deployment
from .docker import mount_option
from .process import limits, own_environment, refuse_unless_host, visible_gpus


def commands(deployment: Deployment) -> list[list[str]]:
    """One command. Network and IPC are the host's anyway; caches are those of the caller's home.

    Raises:
        ConfigurationError: The profile asks for a network of its own.
    """
    refuse_unless_host(deployment, "apptainer")
    spec = deployment.server
    mounts = [mount for mount in spec.mounts if mount.kind == "bind"]
    kept = {name: value for name, value in spec.environment.items() if _stays(deployment, name)}
    # By env and not by --env, which would split a value at its commas.
    settings = [f"{name}={value}" for name, value in (kept | visible_gpus(spec)).items()]
    options = ["--cleanenv", *(["--nv"] if spec.gpus else []), *(["--no-privs"] if spec.cap_drop else [])]
    for mount in mounts:
        options += ["--mount", mount_option(mount).replace(",target=", ",destination=").replace(",readonly", ",ro")]
    return [[*limits(spec), "apptainer", "exec", *options, f"docker://{spec.image}", "env", *settings,
             *spec.entrypoint, *spec.command]]  # fmt: skip


def _stays(deployment: Deployment, name: str) -> bool:
    return name in own_environment(deployment.server)
