"""What is in force in a container, by what its engine says. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from ..errors import DeployError
from .container import Gpus, Healthcheck, Mount, Port, Ulimit

T = TypeVar("T")

HIDDEN: Final = "(hidden)"
_SECRET: Final = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$")
_SECRET_FLAG: Final = re.compile(r"^--(?:api-key|hf-token)(=|$)")
_SECOND: Final = 1_000_000_000
"""In the engine's unit of time."""
_NEVER: Final = "0001-01-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a container fares."""

    status: str
    """``created``, ``running``, ``restarting``, ``paused``, ``exited``, ``dead``."""
    exit_code: int = 0
    out_of_memory: bool = False
    error: str = ""
    """The engine's own words about a start that failed."""
    started: str | None = None
    """As the engine writes times."""
    finished: str | None = None
    restarts: int = 0
    health: str | None = None
    """``starting``, ``healthy``, ``unhealthy``; ``None`` without a healthcheck."""

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.status == "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDefaults:
    """What an image brings along, and a container has without being asked."""

    id: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    healthcheck: Healthcheck | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What is in force in a container, in the terms of a ``ContainerSpec``."""

    name: str
    image: str
    image_id: str
    argv: tuple[str, ...]
    """Entrypoint and command together; the value of a key is hidden."""
    environment: Mapping[str, str]
    """Values of what looks like a secret are hidden."""
    gpus: Gpus | None
    ipc: str
    shm_size: int | None
    """Bytes; ``None`` under ``ipc="host"``, where the size that the engine tells means nothing."""
    network: str
    networks: tuple[str, ...]
    """All that it is attached to."""
    aliases: tuple[str, ...]
    address: str | None
    """Its IP address in the network that it was started in, if it has one of its own."""
    ports: tuple[Port, ...]
    extra_hosts: Mapping[str, str]
    ulimits: tuple[Ulimit, ...]
    """By their hard limit."""
    user: str
    cap_add: tuple[str, ...]
    cap_drop: tuple[str, ...]
    security_opt: tuple[str, ...]
    privileged: bool
    read_only: bool
    tmpfs: Mapping[str, str]
    mounts: tuple[Mount, ...]
    healthcheck: Healthcheck | None
    stop_grace: int | None
    restart: str
    init: bool
    labels: Mapping[str, str]
    state: State


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret itself, and not the file of one."""
    return _SECRET.search(name.upper()) is not None


def read_image(document: Mapping[str, Any]) -> ImageDefaults:
    """Reads one document of ``docker image inspect``.

    Raises:
        DeployError: It is none.
    """
    return _read("an image", _image, document)


def read_container(document: Mapping[str, Any]) -> Inspected:
    """Reads one document of ``docker inspect`` or ``podman inspect``.

    Raises:
        DeployError: It is none.
    """
    return _read("a container", _container, document)


def _read(what: str, reader: Callable[[Mapping[str, Any]], T], document: Mapping[str, Any]) -> T:
    try:
        return reader(document)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise DeployError(
            f"what the engine says of {what} can't be read",
            why=f"{type(error).__name__}: {error}",
            hint="does docker inspect print it in full? A newer engine may write it in another way",
        ) from error


def _image(document: Mapping[str, Any]) -> ImageDefaults:
    config = document.get("Config") or {}
    return ImageDefaults(
        id=str(document.get("Id", "")),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        environment=_pairs(config.get("Env"), "="),
        user=config.get("User") or "",
        healthcheck=_healthcheck(config.get("Healthcheck")),
        labels=dict(config.get("Labels") or {}),
    )


def _container(document: Mapping[str, Any]) -> Inspected:
    config: Mapping[str, Any] = document.get("Config") or {}
    host: Mapping[str, Any] = document.get("HostConfig") or {}
    network = str(host.get("NetworkMode") or "default")
    attached: Mapping[str, Any] = (document.get("NetworkSettings") or {}).get("Networks") or {}
    mine: Mapping[str, Any] = attached.get(network) or {}
    ipc = str(host.get("IpcMode") or "private")
    policy = host.get("RestartPolicy") or {}
    return Inspected(
        name=str(document.get("Name", "")).removeprefix("/"),
        image=str(config.get("Image") or document.get("ImageName") or ""),
        image_id=str(document.get("Image", "")),
        argv=without_keys((*_words(config.get("Entrypoint")), *_words(config.get("Cmd")))),
        environment={
            name: HIDDEN if is_secret(name) else value for name, value in _pairs(config.get("Env"), "=").items()
        },
        gpus=_gpus(host),
        ipc="private" if ipc == "shareable" else ipc,
        shm_size=None if ipc == "host" else host.get("ShmSize"),
        network=network,
        networks=tuple(sorted(attached)),
        aliases=tuple(mine.get("Aliases") or ()),
        address=mine.get("IPAddress") or None,
        ports=tuple(_ports(host.get("PortBindings") or {})),
        extra_hosts=_pairs(host.get("ExtraHosts"), ":"),
        ulimits=tuple(
            Ulimit(str(row["Name"]).removeprefix("RLIMIT_").lower(), int(row["Hard"]))
            for row in host.get("Ulimits") or ()
        ),
        user=config.get("User") or "",
        cap_add=tuple(host.get("CapAdd") or ()),
        cap_drop=tuple(host.get("CapDrop") or ()),
        security_opt=tuple(security_options(host.get("SecurityOpt") or ())),
        privileged=bool(host.get("Privileged")),
        read_only=bool(host.get("ReadonlyRootfs")),
        tmpfs=dict(_tmpfs(host)),
        mounts=tuple(_mounts(document.get("Mounts") or ())),
        healthcheck=_healthcheck(config.get("Healthcheck")),
        stop_grace=config.get("StopTimeout"),
        restart=_restart(str(policy.get("Name") or "no"), int(policy.get("MaximumRetryCount") or 0)),
        init=bool(host.get("Init")),
        labels=dict(config.get("Labels") or {}),
        state=_state(document),
    )


def _state(document: Mapping[str, Any]) -> State:
    state: Mapping[str, Any] = document.get("State") or {}
    health = state.get("Health") or state.get("Healthcheck") or {}

    def moment(name: str) -> str | None:
        text = str(state.get(name) or "")
        return text if text and not text.startswith(_NEVER) else None

    return State(
        status=str(state.get("Status") or "unknown"),
        exit_code=int(state.get("ExitCode") or 0),
        out_of_memory=bool(state.get("OOMKilled")),
        error=str(state.get("Error") or ""),
        started=moment("StartedAt"),
        finished=moment("FinishedAt"),
        restarts=int(document.get("RestartCount") or 0),
        health=health.get("Status") or None,
    )


def _pairs(entries: Sequence[str] | None, between: str) -> dict[str, str]:
    return dict(entry.partition(between)[::2] for entry in entries or ())


def _words(given: Any) -> tuple[str, ...]:
    """Older podman writes the entrypoint as one string."""
    return tuple(shlex.split(given)) if isinstance(given, str) else tuple(given or ())


def without_keys(words: Sequence[str]) -> tuple[str, ...]:
    """A command line whose keys are hidden."""
    shown: list[str] = []
    for at, word in enumerate(words):
        flag = _SECRET_FLAG.match(word)
        if flag and flag[1]:
            word = f"{word.partition('=')[0]}={HIDDEN}"  # noqa: PLW2901 - the word as it is shown
        elif at and (before := _SECRET_FLAG.match(words[at - 1])) and not before[1]:
            word = HIDDEN  # noqa: PLW2901 - same
        shown.append(word)
    return tuple(shown)


def _gpus(host: Mapping[str, Any]) -> Gpus | None:
    for request in host.get("DeviceRequests") or ():
        named = tuple(request.get("DeviceIDs") or ())
        if request.get("Driver") == "cdi" or any(name.startswith("nvidia.com/gpu=") for name in named):
            ids = tuple(name.removeprefix("nvidia.com/gpu=") for name in named)
            return Gpus(() if ids == ("all",) else ids)
        if any("gpu" in group for group in request.get("Capabilities") or ()):
            count = int(request.get("Count") or 0)
            return Gpus(named or ((f"any {count}",) if count > 0 else ()))
    devices = [str(device.get("PathOnHost", "")) for device in host.get("Devices") or ()]
    cdi = [name.removeprefix("nvidia.com/gpu=") for name in devices if name.startswith("nvidia.com/gpu=")]
    return Gpus(() if cdi == ["all"] else tuple(cdi)) if cdi else None


def _ports(bindings: Mapping[str, Any]) -> Iterator[Port]:
    for name, places in bindings.items():
        for place in places or ():
            address = place.get("HostIp") or "0.0.0.0"  # noqa: S104 - that is what an empty one means
            yield Port(int(name.partition("/")[0]), int(place.get("HostPort") or 0), address)


def security_options(options: Sequence[str]) -> Iterator[str]:
    """Security options in one spelling: ``no-new-privileges`` for ``no-new-privileges:true``."""
    for option in options:
        yield option.replace(":", "=", 1).removesuffix("=true")


def _tmpfs(host: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from (host.get("Tmpfs") or {}).items()
    for mount in host.get("Mounts") or ():
        if mount.get("Type") == "tmpfs":
            size = (mount.get("TmpfsOptions") or {}).get("SizeBytes")
            yield mount["Target"], f"size={size}" if size else ""


def _mounts(rows: Sequence[Mapping[str, Any]]) -> Iterator[Mount]:
    for row in rows:
        if row.get("Type") == "bind":
            yield Mount(row["Source"], row["Destination"], not row.get("RW", True), "bind")
        elif row.get("Type") == "volume":
            yield Mount(row["Name"], row["Destination"], not row.get("RW", True), "volume")


def _healthcheck(given: Mapping[str, Any] | None) -> Healthcheck | None:
    test = list((given or {}).get("Test") or ())
    if not given or not test or test == ["NONE"]:
        return None
    kind, *words = test
    command = tuple(shlex.split(words[0])) if kind == "CMD-SHELL" and words else tuple(words)
    return Healthcheck(
        command=command,
        interval=int(given.get("Interval") or 30 * _SECOND) // _SECOND,
        timeout=int(given.get("Timeout") or 30 * _SECOND) // _SECOND,
        retries=int(given.get("Retries") or 3),
        start_period=int(given.get("StartPeriod") or 0) // _SECOND,
    )


def _restart(name: str, count: int) -> str:
    return f"{name}:{count}" if name == "on-failure" and count else name or "no"
