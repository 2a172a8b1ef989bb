"""From a plan and the user's options to two containers: what each profile promises, flag by flag. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import PurePosixPath
from typing import Any, Final, Literal

import msgspec

from ..topology import Client, Server, reach
from ..vllm_facts.gpus import GIB
from ..vllm_facts.images import image_for
from ..vllm_facts.serve_flags import has_flag
from .allowances import Given, given_up
from .container import (
    CLIENT,
    LABEL,
    SECRETS,
    SERVER,
    UNLIMITED,
    ContainerSpec,
    Deployment,
    Gpus,
    Healthcheck,
    Mount,
    Ulimit,
    Volume,
)
from .nccl import peer_to_peer
from .options import PROJECT, LaunchOptions
from .plan import Plan
from .requests import check
from .supervisor import KEY_VARIABLE, SUPERVISOR

ANY: Final = "0.0.0.0"  # noqa: S104 - in a network of the deployment's own
STACK: Final = 64 * 2**20
KEY: Final = f"{SECRETS}/vllm-api-key"
TOKEN: Final = f"{SECRETS}/hf-token"
CLIENT_KEYS: Final = f"{SECRETS}/gateway-keys"
SOCKET_FOLDER: Final = "/run/vllm"
SOCKET: Final = f"{SOCKET_FOLDER}/vllm.sock"
CACHE: Final = "/var/tmp"  # noqa: S108 - see _caches
MODELS: Final = "/models"
ADAPTERS: Final = "/adapters"
RESTART: Final = "on-failure:5"
"""Not for ever: a configuration that can't work ends after so many starts."""
GRACE: Final = 30
"""Seconds that the server takes to end after its requests have."""


def deployment(plan: Plan, options: LaunchOptions) -> Deployment:
    """The containers of a planned server.

    Args:
        plan: What to serve on which GPUs; its verdict is not looked at.
        options: What the user wants besides.

    Raises:
        ConfigurationError: The options contradict each other, the profile or the planned release.
    """
    unsure = check(plan, options)
    given = given_up(options)
    server, reasons = _server(plan, options, given)
    client = _client(options, given) if options.client_image else None
    digest = _digest(server, client)
    common = {
        f"{LABEL}.project": options.project,
        f"{LABEL}.profile": options.profile,
        f"{LABEL}.plan": digest,
        **{f"{LABEL}.allow.{name}": value for name, value in options.allow.items()},
    }
    return Deployment(
        project=options.project,
        profile=options.profile,
        server=replace(server, labels={**common, f"{LABEL}.role": "server"}),
        client=replace(client, labels={**common, f"{LABEL}.role": "client"}) if client else None,
        networks=_networks(options),
        volumes=_volumes(options, given),
        base_url=base_url(options),
        served_name=served_name(options),
        key_file=options.key_file,
        allowed=dict(options.allow),
        reasons=(*reasons, *unsure),
    )


def base_url(options: LaunchOptions) -> str:
    """Where the client's container reaches the server."""
    network = _server_network(options)
    socket = SOCKET if options.profile == "sealed" else None
    bind = options.bind if options.profile == "host" else ANY
    server = Server(network=network, port=options.port, bind=bind, names=(SERVER,), socket=socket)
    found = reach(server, Client(network=_client_network(options)))
    assert found.base_url is not None, found.why
    return found.base_url


def served_name(options: LaunchOptions) -> str:
    """The model's name in requests."""
    return options.served_name or (options.weights.name if options.weights else options.model)


def container_name(options: LaunchOptions, role: str) -> str:
    """The name of a container; a second project carries its own in front."""
    return role if options.project == PROJECT else f"{options.project}-{role}"


# --- the server ------------------------------------------------------------------------------------------------------


def _server(plan: Plan, options: LaunchOptions, given: Given) -> tuple[ContainerSpec, tuple[str, ...]]:
    peers = peer_to_peer(plan, options.p2p)
    shape = _Shape.of(plan, options, given)
    spec = ContainerSpec(
        name=container_name(options, SERVER),
        image=options.image or image_for(plan.version, cpu=plan.gpus[0].is_cpu),
        entrypoint=(options.python,),
        command=("-c", SUPERVISOR, *server_arguments(plan, options)),
        environment={**_environment(plan, options), **peers.env, **options.env},
        gpus=None if plan.gpus[0].is_cpu else Gpus(options.gpu_ids),
        ipc=shape.ipc,
        shm_size=shape.shm_size,
        network=_server_network(options),
        aliases=(SERVER,) if options.profile == "private" else (),
        ports=(options.publish,) if options.publish else (),
        ulimits=shape.ulimits,
        user=given.user(options.user),
        cap_drop=given.cap_drop,
        security_opt=given.security_opt,
        read_only=options.profile == "sealed",
        tmpfs=("/tmp:rw,exec,nosuid,nodev,mode=1777",) if options.profile == "sealed" else (),  # noqa: S108
        mounts=_server_mounts(options),
        healthcheck=Healthcheck(_health_command(options), start_period=_start_period(plan, options)),
        stop_grace=options.shutdown_timeout + GRACE,
        restart=RESTART,
    )
    reasons = (peers.reason, *shape.reasons, *(f"{name} given up: {to}" for name, to in options.allow.items()))
    return spec, reasons


def server_arguments(plan: Plan, options: LaunchOptions) -> tuple[str, ...]:
    """The arguments of vLLM's server, each one element."""
    model = options.model if options.weights is None else _mounted_weights(options.weights)[1]
    if options.profile == "sealed":
        place: tuple[str, ...] = ("--uds", SOCKET)
    else:
        bind = options.bind if options.profile == "host" else ANY
        place = ("--host", bind, "--port", str(options.port))
    can_drain = has_flag(plan.version, "--shutdown-timeout")
    drain = ("--shutdown-timeout", str(options.shutdown_timeout)) if can_drain else ()
    return (
        "--model", model, "--served-model-name", served_name(options), *place, *plan.arguments(), *drain,
        *peer_to_peer(plan, options.p2p).args, *options.vllm_args,
    )  # fmt: skip


def _environment(plan: Plan, options: LaunchOptions) -> dict[str, str]:
    cache = f"{CACHE}/cache"
    found = {
        KEY_VARIABLE: KEY,
        "HOME": CACHE,
        "USER": "vllm",  # a uid without a name in the image has none otherwise, and torch asks for it
        "HF_HOME": f"{CACHE}/huggingface",
        "VLLM_CACHE_ROOT": f"{cache}/vllm",
        "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor",
        "TRITON_CACHE_DIR": f"{cache}/triton",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        **plan.env,
    }
    if options.weights is not None or options.profile == "sealed":
        found["HF_HUB_OFFLINE"] = "1"
    if options.hf_token_file:
        found["HF_TOKEN_PATH"] = TOKEN
    if options.adapters:
        found["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
    else:
        found.pop("VLLM_ALLOW_RUNTIME_LORA_UPDATING", None)
    return found


def _server_mounts(options: LaunchOptions) -> tuple[Mount, ...]:
    found = [Mount(str(options.key_file), KEY, read_only=True)]
    if options.hf_token_file:
        found.append(Mount(str(options.hf_token_file), TOKEN, read_only=True))
    # A new volume takes over owner and mode of the folder that it covers. This one is open to every user in every
    # image, so that a server that is not root can write there without anyone preparing the volume.
    found.append(Mount(f"{options.project}-cache", CACHE, kind="volume"))
    if options.hf_cache:
        found.append(Mount(str(options.hf_cache), f"{CACHE}/huggingface"))
    if options.weights:
        found.append(_mounted_weights(options.weights)[0])
    if options.adapters:
        found.append(Mount(str(options.adapters), ADAPTERS, read_only=True))
    if options.profile == "sealed":
        found.append(Mount(f"{options.project}-socket", SOCKET_FOLDER, kind="volume"))
    return (*found, *options.mounts)


def _mounted_weights(folder: PurePosixPath) -> tuple[Mount, str]:
    """The mount of a model's folder, and where the model is then.

    A snapshot in the Hugging Face cache is made of links to a folder beside it: the whole entry is mounted.
    """
    if folder.parent.name == "snapshots":
        entry = folder.parent.parent
        target = f"{MODELS}/{entry.name}"
        return Mount(str(entry), target, read_only=True), f"{target}/snapshots/{folder.name}"
    target = f"{MODELS}/{folder.name}"
    return Mount(str(folder), target, read_only=True), target


_ASK_HEALTH: Final = """\
import http.client, socket, sys
place, port = sys.argv[1:]
asked = http.client.HTTPConnection("localhost" if place[0] == "/" else place, int(port), timeout=4)
if place[0] == "/":
    asked.sock = socket.socket(socket.AF_UNIX)
    asked.sock.settimeout(4)
    asked.sock.connect(place)
asked.request("GET", "/health")
sys.exit(asked.getresponse().status != 200)
"""
"""Python is in every image that has vLLM; curl is not. No proxy variable has a say in it."""


def _health_command(options: LaunchOptions) -> tuple[str, ...]:
    own = {ANY: "127.0.0.1", "::": "::1"}
    bind = options.bind if options.profile == "host" else ANY
    place = SOCKET if options.profile == "sealed" else own.get(bind, bind)
    return (options.python, "-S", "-c", _ASK_HEALTH, place, str(options.port))


def _start_period(plan: Plan, options: LaunchOptions) -> int:
    """Seconds: five minutes for imports, compilation and graphs, and the weights at a slow disk's or network's pace."""
    pace = 20e6 if options.weights is None and options.hf_cache is None else 100e6
    return 300 + 10 * ceil(plan.model.size / pace / 10)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What differs from profile to profile."""

    ipc: Literal["host", "private"]
    shm_size: int
    """Without meaning beside the host's IPC; compose files carry both, since podman-compose drops ``ipc``."""
    ulimits: tuple[Ulimit, ...]
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, plan: Plan, options: LaunchOptions, given: Given) -> _Shape:
        size = given.shm(options.shm_size or shared_memory(plan))
        said = f"{size / GIB:g} GiB of shared memory: vLLM's ranks talk through it, the usual 64 MiB kills them"
        if options.profile == "host":
            limits = (("memlock", given.memlock(UNLIMITED)), ("stack", given.stack(STACK)))
            ulimits = tuple(Ulimit(name, value) for name, value in limits if value is not None)
            return cls(given.ipc, size, ulimits, () if given.ipc == "host" else (said,))
        return cls("private", size, (), (said,))


def shared_memory(plan: Plan) -> int:
    """Bytes of /dev/shm: a ceiling, not a reservation. NCCL needs more of it where there is no NVLink."""
    flags = plan.chosen.flags
    ranks = flags.tp * flags.pp * flags.replicas
    if ranks == 1:
        return GIB
    each = 1 if all(gpu.link == "nvlink" for gpu in plan.gpus) or plan.gpus[0].is_cpu else 4
    return (1 + each * ranks) * GIB


# --- the client, and what both share ---------------------------------------------------------------------------------


def _client(options: LaunchOptions, given: Given) -> ContainerSpec:
    mounts = [Mount(str(options.key_file), KEY, read_only=True)]
    if options.profile == "sealed":
        mounts.append(Mount(f"{options.project}-socket", SOCKET_FOLDER, kind="volume"))
    network = _client_network(options)
    is_apart = network not in {"host", "none"}
    environment = {"VLLM_BASE_URL": base_url(options), KEY_VARIABLE: KEY, "ABSTRACTCORE_MODEL": served_name(options)}
    if is_apart:
        environment["ABSTRACTCORE_HOST"] = ANY
    if options.client_keys:
        environment["ABSTRACTCORE_KEYS"] = CLIENT_KEYS
        mounts.append(Mount(str(options.client_keys), CLIENT_KEYS, read_only=True))
    elif is_apart:
        # Nobody is on this network but the server; a published port is bound to loopback, or refused without keys.
        environment["ABSTRACTCORE_ALLOW_OPEN"] = "1"
    return ContainerSpec(
        name=container_name(options, CLIENT),
        image=options.client_image or "",
        environment=environment,
        network=network,
        aliases=(CLIENT,) if is_apart else (),
        ports=(options.publish_client,) if options.publish_client else (),
        user=given.user(options.user),
        cap_drop=given.cap_drop,
        security_opt=given.security_opt,
        read_only=options.profile == "sealed",
        tmpfs=("/tmp:rw,nosuid,nodev,mode=1777",) if options.profile == "sealed" else (),  # noqa: S108
        mounts=tuple(mounts),
        stop_grace=10,
        restart="unless-stopped",
    )


def _server_network(options: LaunchOptions) -> str:
    return {"host": "host", "private": options.project, "sealed": "none"}[options.profile]


def _client_network(options: LaunchOptions) -> str:
    if options.profile == "sealed":
        return options.project if options.publish_client else "none"
    return _server_network(options)


def _networks(options: LaunchOptions) -> tuple[str, ...]:
    if options.profile == "private" or (options.profile == "sealed" and options.publish_client):
        return (options.project,)
    return ()


def _volumes(options: LaunchOptions, given: Given) -> tuple[Volume, ...]:
    found = [Volume(f"{options.project}-cache")]
    if options.profile == "sealed":
        uid, _, gid = given.user(options.user).partition(":")
        # In memory: no socket of an earlier run is left in it, and its owner is known without anyone preparing it.
        owner = f"uid={uid},gid={gid or uid},mode=0700"
        found.append(Volume(f"{options.project}-socket", {"type": "tmpfs", "device": "tmpfs", "o": owner}))
    return tuple(found)


def _digest(server: ContainerSpec, client: ContainerSpec | None) -> str:
    content: list[Mapping[str, Any] | None] = [asdict(server), asdict(client) if client else None]
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]
