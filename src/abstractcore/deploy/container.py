"""Containers as data: what is to run, said once; renderers write it down and the life cycle starts and checks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, Literal, TypeAlias

Profile: TypeAlias = Literal["host", "private", "sealed"]
PROFILES: Final[tuple[Profile, ...]] = ("host", "private", "sealed")
SERVER: Final = "vllm-server"
CLIENT: Final = "chatbot-main-gpu-agent"
UNLIMITED: Final = -1
"""Of a limit."""
SECRETS: Final = "/run/secrets"
"""Inside a container: the folder of files that nobody else may read."""
LABEL: Final = "io.abstractcore"
"""What every label of ours begins with; nothing else is ever removed."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder, a file or a volume inside a container."""

    source: str
    """A path of the host, or a volume's name."""
    target: str
    read_only: bool = False
    kind: Literal["bind", "volume"] = "bind"


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume to make, if it is not there yet."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    """Of the local driver; none for a plain folder that the engine of containers keeps."""


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A limit of the kernel; soft and hard alike."""

    name: str
    value: int
    """``UNLIMITED``, or in the limit's own unit."""


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs of a container."""

    ids: tuple[str, ...] = ()
    """Indexes or UUIDs; all GPUs when empty."""


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """How the engine of containers asks whether a server is well. Times in seconds."""

    command: tuple[str, ...]
    interval: int = 10
    timeout: int = 5
    retries: int = 6
    start_period: int = 600


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a container that the host publishes."""

    container: int
    host: int
    address: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container, whichever tool starts it."""

    name: str
    image: str
    entrypoint: tuple[str, ...] = ()
    """In place of the image's own; the image's own when empty."""
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """Never a secret: everyone who may inspect the container reads it."""
    gpus: Gpus | None = None
    ipc: Literal["host", "private"] = "private"
    shm_size: int | None = None
    """Bytes of /dev/shm; without meaning beside ``ipc="host"``, except for tools that drop ``ipc``."""
    network: str = "host"
    """``host``, ``none``, or the name of a user network."""
    aliases: tuple[str, ...] = ()
    """Names by which others on the network reach it."""
    ports: tuple[Port, ...] = ()
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    ulimits: tuple[Ulimit, ...] = ()
    user: str | None = None
    """``uid:gid``; the image's own when ``None``."""
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    read_only: bool = False
    tmpfs: tuple[str, ...] = ()
    """``/tmp:size=1g,exec`` and the like."""
    mounts: tuple[Mount, ...] = ()
    healthcheck: Healthcheck | None = None
    stop_grace: int = 60
    """Seconds between asking it to stop and killing it."""
    restart: str = "no"
    init: bool = False
    """Run a small init process as its first, which reaps orphans."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A server with the client beside it: everything that is started, made or needed."""

    project: str
    """Names the whole; ``up`` finds it again by this."""
    profile: Profile
    server: ContainerSpec
    client: ContainerSpec | None
    networks: tuple[str, ...] = ()
    """User networks to make."""
    volumes: tuple[Volume, ...] = ()
    """Volumes to make; kept by ``down`` unless it is asked to remove them."""
    base_url: str
    """Where the client reaches the server."""
    served_name: str
    """The model's name in requests."""
    key_file: PurePosixPath | None = None
    """On the host: the key that server and client share, mode 0600."""
    allowed: Mapping[str, str] = field(default_factory=dict)
    """Promises that the user gave up, such as ``memlock`` to ``8MiB``; recorded in the labels."""
    reasons: tuple[str, ...] = ()
    """Why it looks like this, one sentence each."""

    @property
    def containers(self) -> tuple[ContainerSpec, ...]:
        """Server first."""
        return (self.server,) if self.client is None else (self.server, self.client)


def option(words: Sequence[str], flag: str) -> str | None:
    """The value of a flag in a command line, in either spelling; the last one counts, as vLLM reads it."""
    found = None
    for at, word in enumerate(words):
        if word == flag:
            found = words[at + 1] if at + 1 < len(words) else ""
        elif word.startswith(f"{flag}="):
            found = word.partition("=")[2]
    return found
