"""What a user may ask of a deployment, besides what the plan decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, Literal, TypeAlias

from ..vllm_facts.versions import DEFAULT_PORT
from .container import Mount, Port, Profile

P2p: TypeAlias = Literal["auto", "on", "off"]
PROJECT: Final = "abstractcore"
USER: Final = "1000:1000"
KEY_NAME: Final = "vllm-api-key"
"""Of the key's file, in the folder of the project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """How a planned server is put into a container. Paths are of the host, and absolute.

    Nothing here is looked up: whoever makes it has asked the file system and the environment already.
    """

    model: str
    """What is served: an id on the hub, or how the user called the folder in ``weights``."""
    weights: PurePosixPath | None = None
    """A folder with the model; without one it comes from the hub."""
    served_name: str | None = None
    """The model's name in requests; ``model``, or the folder's last part, when left out."""
    key_file: PurePosixPath
    """The key that server and client share, mode 0600, owned by ``user``. ``up`` makes it when it is missing."""

    profile: Profile = "host"
    project: str = PROJECT
    image: str | None = None
    """The server's; the pinned one of the planned release when left out."""
    client_image: str | None = None
    """The client's; no client when left out."""
    python: str = "python3"
    """The interpreter that has vLLM, inside the image or on the host."""
    user: str = USER
    """``uid:gid`` of server and client: both read the key."""

    port: int = DEFAULT_PORT
    bind: str = "127.0.0.1"
    """Address that the server listens on in the host's own network."""
    publish: Port | None = None
    """A port of the host that leads to the server; only on a network of its own."""
    publish_client: Port | None = None
    """The same for the client's page."""
    client_keys: PurePosixPath | None = None
    """Keys of those who may use the client's gateway; needed where it is published beyond this machine."""
    gpu_ids: tuple[str, ...] = ()
    """Indexes or UUIDs; all GPUs when empty."""
    p2p: P2p = "auto"
    shm_size: int | None = None
    """Bytes of /dev/shm where it is the container's own; by the number of ranks when left out."""
    shutdown_timeout: int = 30
    """Seconds that requests in flight get when the server is asked to stop."""

    hf_cache: PurePosixPath | None = None
    """A Hugging Face cache of the host in place of a volume."""
    hf_token_file: PurePosixPath | None = None
    adapters: PurePosixPath | None = None
    """A folder of LoRA adapters that may be loaded while the server runs."""
    vllm_args: tuple[str, ...] = ()
    """More arguments of the server, after those of the plan."""
    env: Mapping[str, str] = field(default_factory=dict)
    """More environment variables of the server."""
    mounts: tuple[Mount, ...] = ()
    """More folders of the server."""
    allow: Mapping[str, str] = field(default_factory=dict)
    """Promises of the profile that are given up, such as ``memlock`` to ``8MiB``."""
