"""What stands in the way of a deployment, all of it at once, before anything is made. Pure.

Each problem names the measured fact and the ways on: mend the host, or give a promise up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ...errors import DeployError
from ..causes import explain
from ..container import UNLIMITED, ContainerSpec, Deployment, option
from ..preflight import LEAST_SHM

_MIB: Final = 2**20
_RANKS: Final = ("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size")
CLIENT_PORT: Final = 8080


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that stands in the way."""

    id: str
    """Stable, as in the catalogue of causes: ``limit.memlock``, ``port.taken`` ..."""
    what: str
    """The cause, in one sentence."""
    why: str
    """The measured fact, and why it matters."""
    ways: tuple[str, ...]
    """The ways on; commands where there are some."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Something that listens on a port of the host."""

    address: str
    port: int
    process: str | None = None
    """Its name and pid, where this user may see them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was measured. Where it can't be known, it is not judged."""

    engine: str = "docker"
    is_local: bool = True
    """Whether the engine runs on this machine, so that its files and ports are ours."""
    is_rootless: bool = False
    """Whether the engine runs as an ordinary user, who then is root in its containers."""
    missing_images: Mapping[str, str] = field(default_factory=dict)
    """Images that are not here, and what the engine or the registry says about them."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Promises that a probe container could not have, with the engine's words: ``memlock``, ``stack``, ``gpus``."""
    memlock: int | None = None
    """Bytes with which a probe container started."""
    listeners: tuple[Listener, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Files of the weights that the container's user may not read."""
    missing_sources: tuple[str, ...] = ()
    """Paths to be mounted that don't exist."""
    dangling: tuple[str, ...] = ()
    """Links in the weights that lead out of what is mounted."""
    unreadable_secrets: tuple[str, ...] = ()
    """Files with secrets, other than the key, that the container's user may not read."""
    open_secrets: tuple[str, ...] = ()
    """Those that others may read too."""
    key_owner: str | None = None
    """Why the key can't be given to the container's user; ``None`` if it can."""
    host_shm: int | None = None
    """Free bytes of the host's /dev/shm."""
    taken_names: tuple[str, ...] = ()
    """Containers of these names that are not ours."""
    download: int = 0
    """Bytes that the hub would send."""
    free_disk: int | None = None
    """Bytes free where the download goes."""


class PreflightError(DeployError):
    """A deployment can't start here; ``problems`` has all that stands in the way. Nothing was made."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(first.what + more, why=first.why, hint=" | or: ".join(first.ways))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(f"{row.what}\nwhy: {row.why}\n" + "\n".join(f"try: {way}" for way in row.ways)
                         for row in self.problems)  # fmt: skip


def problems(deployment: Deployment, facts: Facts) -> tuple[Problem, ...]:
    """All that stands in the way of a deployment here."""
    return tuple(
        problem
        for rule in (_images, _limits, _gpus, _names, _ports, _network, _shared_memory, _files, _key, _disk)
        for problem in rule(deployment, facts)
    )


def _images(deployment: Deployment, facts: Facts) -> Iterator[Problem]:
    for image, said in facts.missing_images.items():
        known = explain(said)
        why = f"{known.what}: {known.words}" if known else said
        ways = (known.cure,) if known else ()
        role = "--image" if image == deployment.server.image else "--client-image"
        yield Problem(
            "image.missing",
            f"the image {image} is not here and can't be had",
            why,
            (*ways, f"name one that is here ({facts.engine} image ls): {role} NAME"),
        )


def _limits(deployment: Deployment, facts: Facts) -> Iterator[Problem]:
    limits = {limit.name: limit.value for spec in deployment.containers for limit in spec.ulimits}
    for name in ("memlock", "stack"):
        if name not in facts.refused:
            continue
        starts = facts.memlock if name == "memlock" else None
        measured, given = "a probe container does not start", "unset"
        if starts is not None:
            measured = f"a probe container with {_size(starts)} starts, with {_size(limits[name])} it does not"
            given = _size(starts)
        why = f"{measured}: {facts.refused[name]}"
        yield Problem(
            f"limit.{name}",
            f"the engine may not raise {name} to {_size(limits[name])}",
            why + "; it matters for RDMA, the GPU's own memory is never swapped" * (name == "memlock"),
            (
                "mend the host: the daemon needs "
                f"CAP_SYS_RESOURCE or LimitMEMLOCK=infinity (systemctl edit {facts.engine})"
                if name == "memlock"
                else "mend the host: raise the hard limit of the daemon",
                f"go on with less, which is recorded: --allow {name}={given}",
            ),
        )


def _gpus(deployment: Deployment, facts: Facts) -> Iterator[Problem]:
    if deployment.server.gpus is not None and (said := facts.refused.get("gpus")):
        known = explain(said)
        yield Problem(
            "gpu.runtime",
            known.what if known else "a container gets no GPU here",
            f"a probe container with --gpus does not start: {said}",
            (
                f"mend the host: {known.cure}" if known else "nvidia-smi; nvidia-ctk --version",
                "go on without a GPU: --gpus cpu, with an image of vLLM for the CPU",
            ),
        )


def _names(deployment: Deployment, facts: Facts) -> Iterator[Problem]:  # noqa: ARG001 - one signature for all
    for name in facts.taken_names:
        yield Problem(
            "name.taken",
            f"there is a container called {name} that is not ours",
            "it carries no label of this deployment, so it is left alone",
            (f"{facts.engine} rename {name} {name}-old", "take another name for all: --project NAME"),
        )


def wanted_ports(deployment: Deployment) -> tuple[tuple[ContainerSpec, str, int], ...]:
    """Addresses and ports of the host that the containers listen on or publish."""
    found = [(spec, port.address, port.host) for spec in deployment.containers for port in spec.ports]
    server, client = deployment.server, deployment.client
    if server.network == "host" and (number := option(server.command, "--port")):
        found.append((server, option(server.command, "--host") or "0.0.0.0", int(number)))  # noqa: S104 - vLLM's default
    if client is not None and client.network == "host":
        number = client.environment.get("ABSTRACTCORE_PORT", str(CLIENT_PORT))
        found.append((client, client.environment.get("ABSTRACTCORE_HOST", "127.0.0.1"), int(number)))
    return tuple(found)


def _ports(deployment: Deployment, facts: Facts) -> Iterator[Problem]:
    for spec, address, port in wanted_ports(deployment):
        other = next((row for row in facts.listeners if row.port == port and _meet(row.address, address)), None)
        if other is None:
            continue
        way = f"take another one: {'--publish' if spec.ports else '--port'} {port + 1}"
        if spec is deployment.client:
            way = (
                f"take another one: --publish-client {port + 1}" if spec.ports else "--profile private, or --no-client"
            )
        yield Problem(
            "port.taken",
            f"port {port} of this host is taken; {spec.name} needs it",
            f"{other.process or 'something'} listens on {other.address}:{port}",
            (f"stop what holds it: ss -ltnp 'sport = :{port}'", way),
        )


def _meet(one: str, other: str) -> bool:
    every = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    return one == other or one in every or other in every


def _network(deployment: Deployment, facts: Facts) -> Iterator[Problem]:  # noqa: ARG001 - one signature for all
    for spec in deployment.containers:
        if spec.network in {"host", "none"} and spec.ports:
            yield Problem(
                "network.ports",
                f"{spec.name} can't publish ports on the network {spec.network}",
                "the engine drops them in silence",
                ("take --profile private",),
            )
    client, server = deployment.client, deployment.server
    shares = {mount.source for mount in server.mounts} & {mount.source for mount in client.mounts} if client else set()
    unix = deployment.base_url.startswith(("unix:", "http+unix:"))
    if client and not unix and client.network != server.network:
        yield Problem(
            "network.apart",
            f"{client.name} can't reach {server.name} at {deployment.base_url}",
            f"one is on the network {client.network}, the other on {server.network}",
            ("put both on one network: --profile private",),
        )
    if client and unix and not shares:
        yield Problem(
            "network.socket",
            f"{client.name} can't reach the socket of {server.name}",
            "no volume is mounted in both",
            ("take --profile private",),
        )


def needs_ring(spec: ContainerSpec) -> bool:
    """Whether the server's processes pass tensors through /dev/shm: always on the CPU, else with several ranks."""
    return spec.gpus is None or any(int(option(spec.command, flag) or 1) > 1 for flag in _RANKS)


def _shared_memory(deployment: Deployment, facts: Facts) -> Iterator[Problem]:
    server = deployment.server
    if not needs_ring(server) or "shm" in deployment.allowed:
        return
    if server.ipc == "host":
        size, whose, mend = facts.host_shm, "the host's /dev/shm", "mount -o remount,size=8g /dev/shm"
    else:
        size, whose, mend = server.shm_size or 64 * _MIB, "the container's own /dev/shm", "--shm-size 1g"
    if size is not None and size < LEAST_SHM:
        yield Problem(
            "shm.small",
            f"the shared memory is too small: {_size(size)}, vLLM needs {_size(LEAST_SHM)}",
            f"{whose} has it; the processes of the server pass tensors through it and die without room",
            (mend, f"go on anyway, which is recorded: --allow shm={_size(size)}"),
        )


def _files(deployment: Deployment, facts: Facts) -> Iterator[Problem]:
    for source in facts.missing_sources:
        yield Problem(
            "mount.source",
            f"{source} does not exist on this host",
            "a container only gets what is there",
            (f"mkdir -p {source}", "check the path"),
        )
    if facts.unreadable:
        first, count = facts.unreadable[0], len(facts.unreadable)
        yield Problem(
            "weights.unreadable",
            f"the user {deployment.server.user} of the container may not read the weights",
            f"{count} {'files are' if count > 1 else 'file is'} closed to it, such as {first}",
            (f"chmod -R a+rX {_folder_of(first, deployment.server)}", "run it as their owner: --user UID:GID"),
        )
    if facts.dangling:
        yield Problem(
            "weights.links",
            "links in the weights lead out of the folder that is mounted",
            f"inside the container {facts.dangling[0]} leads nowhere",
            ("name the folder that holds both, or a copy without links (cp -rL)",),
        )


def _folder_of(path: str, spec: ContainerSpec) -> str:
    return next((mount.source for mount in spec.mounts if path.startswith(mount.source)), path)


def _key(deployment: Deployment, facts: Facts) -> Iterator[Problem]:
    if facts.key_owner:
        yield Problem(
            "key.owner",
            f"the key can't be given to the user {deployment.server.user} of the containers",
            facts.key_owner,
            ("run them as root of the engine, who is you: --user 0:0",)
            if facts.is_rootless
            else ("run them as yourself: --user $(id -u):$(id -g)", "run this command as root"),
        )
    for path in facts.open_secrets:
        yield Problem("key.open", f"{path} is open to others", "it holds a secret", (f"chmod 600 {path}",))
    for path in facts.unreadable_secrets:
        yield Problem(
            "key.owner",
            f"the user {deployment.server.user} of the containers may not read {path}",
            "its owner and mode close it to them",
            (
                f"chown {(deployment.server.user or '0').partition(':')[0]} {path}",
                "run them as its owner: --user UID:GID",
            ),
        )


def _disk(deployment: Deployment, facts: Facts) -> Iterator[Problem]:  # noqa: ARG001 - one signature for all
    needed = facts.download * 11 // 10
    if facts.free_disk is not None and facts.free_disk < needed:
        yield Problem(
            "disk.full",
            "the disk has no room for the model",
            f"it takes {_gigabytes(needed)}, {_gigabytes(facts.free_disk)} are free",
            ("make room: docker system df", "keep it elsewhere: --hf-cache FOLDER"),
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _size(size: int) -> str:
    if size == UNLIMITED:
        return "unlimited"
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= scale and size % scale == 0:
            return f"{size // scale}{unit}"
    return f"{size // _MIB}MiB" if size >= _MIB else str(size)
