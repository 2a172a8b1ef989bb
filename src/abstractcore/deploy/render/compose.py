"""A deployment as a compose file: a document, written down by a library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...errors import MissingExtraError
from ..container import CLIENT, SECRETS, SERVER, ContainerSpec, Deployment, Gpus, Healthcheck, Mount

_WORDS: Final = {"host", "none"}


def document(deployment: Deployment) -> dict[str, Any]:
    """The compose file as data. Nothing in it is empty: compose refuses keys without a value."""
    services = {SERVER: _service(deployment.server)}
    if deployment.client:
        services[CLIENT] = {**_service(deployment.client), "depends_on": {SERVER: {"condition": "service_healthy"}}}
    secrets = {
        _secret_name(mount): {"file": mount.source}
        for spec in deployment.containers
        for mount in spec.mounts
        if _is_secret(mount)
    }
    found = {
        "name": deployment.project,
        "services": services,
        "networks": {name: {"name": name} for name in deployment.networks},
        "volumes": {
            volume.name: {"name": volume.name} | ({"driver_opts": dict(volume.options)} if volume.options else {})
            for volume in deployment.volumes
        },
        "secrets": secrets,
    }
    escaped: dict[str, Any] = _escaped({key: value for key, value in found.items() if value})
    return escaped


def text(deployment: Deployment) -> str:
    """The compose file.

    Raises:
        MissingExtraError: There is no PyYAML.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError(
            "a compose file needs PyYAML", why=str(error), hint="pip install 'abstractcore[deploy]'"
        ) from error

    class Dumper(yaml.SafeDumper):
        """Writes text of several lines as such."""

    def block(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, block)
    Dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]
    written: str = yaml.dump(document(deployment), Dumper=Dumper, sort_keys=False, width=120, allow_unicode=True)
    return written


def _service(spec: ContainerSpec) -> dict[str, Any]:
    """One service. It has no ``container_name``, which would forbid a second one of its kind."""
    found: dict[str, Any] = {
        "image": spec.image,
        "entrypoint": list(spec.entrypoint),
        "command": list(spec.command),
        "deploy": _devices(spec.gpus),
        "ipc": "host" if spec.ipc == "host" else None,
        "shm_size": spec.shm_size,
        "ulimits": {limit.name: {"soft": limit.value, "hard": limit.value} for limit in spec.ulimits},
        **_network(spec),
        "extra_hosts": [f"{name}:{address}" for name, address in spec.extra_hosts.items()],
        "user": spec.user,
        "cap_drop": list(spec.cap_drop),
        "security_opt": list(spec.security_opt),
        "read_only": spec.read_only or None,
        "tmpfs": list(spec.tmpfs),
        "environment": dict(spec.environment),
        "volumes": [_volume(mount) for mount in spec.mounts if not _is_secret(mount)],
        "secrets": [
            {"source": _secret_name(mount), "target": mount.target} for mount in spec.mounts if _is_secret(mount)
        ],
        "healthcheck": _health(spec.healthcheck) if spec.healthcheck else None,
        "stop_grace_period": f"{spec.stop_grace}s",
        "restart": spec.restart if spec.restart != "no" else None,
        "init": spec.init or None,
        "labels": dict(spec.labels),
    }
    return {key: value for key, value in found.items() if value not in (None, [], {})}


def _devices(gpus: Gpus | None) -> dict[str, Any]:
    if gpus is None:
        return {}
    which: dict[str, Any] = {"device_ids": list(gpus.ids)} if gpus.ids else {"count": "all"}
    return {"resources": {"reservations": {"devices": [{"driver": "nvidia", **which, "capabilities": ["gpu"]}]}}}


def _network(spec: ContainerSpec) -> dict[str, Any]:
    if spec.network in _WORDS:
        return {"network_mode": spec.network}
    ports = [
        {"target": port.container, "published": str(port.host), "host_ip": port.address, "protocol": "tcp"}
        for port in spec.ports
    ]
    return {"networks": {spec.network: {"aliases": list(spec.aliases)} if spec.aliases else {}}, "ports": ports}


def _volume(mount: Mount) -> dict[str, Any]:
    found: dict[str, Any] = {"type": mount.kind, "source": mount.source, "target": mount.target}
    if mount.read_only:
        found["read_only"] = True
    if mount.kind == "bind":
        found["bind"] = {"create_host_path": False}  # a folder made up on the spot is empty, and root's
    return found


def _is_secret(mount: Mount) -> bool:
    return mount.target.startswith(f"{SECRETS}/")


def _secret_name(mount: Mount) -> str:
    return mount.target.rpartition("/")[2]


def _health(health: Healthcheck) -> dict[str, Any]:
    return {
        "test": ["CMD", *health.command],
        "interval": f"{health.interval}s",
        "timeout": f"{health.timeout}s",
        "retries": health.retries,
        "start_period": f"{health.start_period}s",
    }


def _escaped(value: Any) -> Any:
    """Doubles the dollar signs, which compose takes for variables of its own."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: _escaped(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_escaped(entry) for entry in value]
    return value
