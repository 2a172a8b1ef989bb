"""Measures what a deployment will meet here, and leaves nothing behind.

What only the engine knows is asked of it in the only way that counts: a container with that one flag, of an image that
holds nothing. It can't run, and what the engine says then tells whether the flag or the empty image stopped it.
"""

from __future__ import annotations

import os
import resource
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from ..container import LABEL, SECRETS, ContainerSpec, Deployment, Mount
from ..engine import Engine
from ..inspected import read_image
from ..progress import Progress, Report, silent
from ..render import podman
from ..render.docker import gpu_request
from .checks import Facts, needs_ring
from .listeners import listeners
from .reading import NOBODY, User, look, user_of

_NOTHING: Final = "/nothing"
_SHM: Final = Path("/dev/shm")  # noqa: S108 - it is measured, nothing is written there


def measure(engine: Engine, deployment: Deployment, *, download: int = 0, report: Report = silent) -> Facts:
    """Measures all that can stand in the way.

    Args:
        engine: The engine of containers.
        deployment: What is to be started.
        download: Bytes that the hub would send.
        report: Gets the progress, phase ``check``.

    Raises:
        DeployError: The engine does not answer.
    """
    report(Progress("check", "asking the engine"))
    info = engine.info()
    is_local = _is_local(info)
    server = deployment.server
    report(Progress("check", "starting probe containers"))
    refused, memlock = _probed(engine, server)
    is_rootless = _is_rootless(info)
    user = _user(engine, server, is_rootless=is_rootless) if is_local else None
    looked = [look(Path(mount.source), user) for mount in _weights(server)] if user else []
    if any(engine.exists("volume", volume.name) for volume in deployment.volumes):
        download = 0  # what an earlier server has got is in there
    sources = [mount.source for spec in deployment.containers for mount in spec.mounts if mount.kind == "bind"]
    made_later = {str(deployment.key_file)}
    return Facts(
        engine=engine.name,
        is_local=is_local,
        is_rootless=is_rootless,
        refused=refused,
        memlock=memlock,
        listeners=listeners() if is_local else (),
        unreadable=tuple(path for found in looked for path in found.closed),
        unreadable_secrets=tuple(_closed_secrets(deployment, user)) if user else (),
        open_secrets=tuple(open_secrets(deployment)) if is_local else (),
        dangling=tuple(path for found in looked for path in found.dangling),
        missing_sources=tuple(
            source
            for source in dict.fromkeys(sources)
            if is_local and source not in made_later and not Path(source).exists()
        ),
        key_owner=key_owner(server.user, is_rootless=is_rootless) if deployment.key_file else None,
        host_shm=_free_shm() if is_local and server.ipc == "host" and needs_ring(server) else None,
        taken_names=tuple(_taken(engine, deployment)),
        download=download,
        free_disk=_free_disk(server, str(info.get("DockerRootDir") or "")) if is_local and download else None,
    )


def key_owner(user: str | None, *, is_rootless: bool = False) -> str | None:
    """Why a file of this user can't be made for the user of the containers; ``None`` if it can."""
    wanted = user_of(user or "", capable=True)
    if wanted is None:
        return None
    if is_rootless:
        return (
            None if wanted.uid == 0 else f"uid {wanted.uid} of a rootless engine is another user than you on this host"
        )
    if os.geteuid() in {0, wanted.uid}:
        return None
    return f"it is a file of mode 0600 for uid {wanted.uid}, and uid {os.geteuid()} may not give files away"


@contextmanager
def _empty_image(engine: Engine) -> Iterator[str]:
    """An image that holds nothing, for as long as the block runs."""
    tag = f"abstractcore-probe:{uuid4().hex[:12]}"
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "nothing.tar")
        with tarfile.open(archive, "w") as file:
            entry = tarfile.TarInfo("nothing-here")
            entry.type = tarfile.DIRTYPE
            file.addfile(entry)
        engine.do("import", str(archive), tag)
    try:
        yield tag
    finally:
        engine.ask("rmi", "--force", tag)


def _probed(engine: Engine, spec: ContainerSpec) -> tuple[dict[str, str], int | None]:
    """Promises that the engine can't keep, with its words, and a memlock with which a container starts."""
    asked: dict[str, tuple[str, ...]]
    asked = {limit.name: ("--ulimit", f"{limit.name}={limit.value}") for limit in spec.ulimits}
    if spec.gpus is not None:
        by_name = [part for name in podman.devices(spec.gpus) for part in ("--device", name)]
        asked["gpus"] = tuple(by_name) if engine.name == "podman" else ("--gpus", gpu_request(spec.gpus))
    if not asked:
        return {}, None
    with _empty_image(engine) as image:
        refused = {name: said for name, flags in asked.items() if (said := _refusal(engine, image, flags))}
        hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        starts = None
        if "memlock" in refused and hard != resource.RLIM_INFINITY:
            starts = None if _refusal(engine, image, ("--ulimit", f"memlock={hard}")) else hard
    return refused, starts


def _refusal(engine: Engine, image: str, flags: Sequence[str]) -> str | None:
    """The engine's words if it can't start a container with these flags."""
    name = f"abstractcore-probe-{uuid4().hex[:12]}"
    options = ("--name", name, "--network", "none", "--label", f"{LABEL}.probe=", "--entrypoint", _NOTHING)
    reply = engine.ask("run", "--rm", *options, *flags, image)
    engine.ask("rm", "--force", name)
    lines = [line for line in reply.lines if not line.startswith(("Run 'docker", "See 'docker"))]
    return None if _NOTHING in reply.text or reply.ok else " ".join(lines).removeprefix("docker: ")


def missing_images(engine: Engine, deployment: Deployment) -> tuple[str, ...]:
    """Images that are not here."""
    images = dict.fromkeys(spec.image for spec in deployment.containers)
    return tuple(image for image in images if engine.image(image) is None)


def _is_local(info: Any) -> bool:
    """An engine in a virtual machine or elsewhere has another name, or its files are not here."""
    root = str(info.get("DockerRootDir") or (info.get("store") or {}).get("graphRoot") or "")
    name = str(info.get("Name") or (info.get("host") or {}).get("hostname") or "")
    return bool(root) and Path(root).exists() and name in {"", os.uname().nodename}


def _is_rootless(info: Any) -> bool:
    security = info.get("SecurityOptions") or []
    return "name=rootless" in security or bool(((info.get("host") or {}).get("security") or {}).get("rootless"))


def _user(engine: Engine, spec: ContainerSpec, *, is_rootless: bool) -> User | None:
    """Who the processes of a container are on this host; ``None`` where only the image knows."""
    document = engine.image(spec.image)
    text = spec.user if spec.user is not None else read_image(document).user if document else None
    user = None if text is None else user_of(text, capable=not spec.cap_drop)
    if user is None or not is_rootless:
        return user
    return User(os.geteuid(), os.getegid()) if user.uid == 0 else NOBODY


def _closed_secrets(deployment: Deployment, user: User) -> Iterator[str]:
    return (path for path in _secrets(deployment, [deployment.server]) if look(Path(path), user).closed)


def open_secrets(deployment: Deployment) -> Iterator[str]:
    """Files with secrets, other than the key, that not only their owner may read."""
    return (path for path in _secrets(deployment, deployment.containers) if Path(path).stat().st_mode & 0o077)


def _secrets(deployment: Deployment, containers: Iterable[ContainerSpec]) -> list[str]:
    """Files with secrets that are there, other than the key, which is looked at where it is made."""
    mounts = (mount for spec in containers for mount in spec.mounts if mount.target.startswith(f"{SECRETS}/"))
    sources = dict.fromkeys(mount.source for mount in mounts if mount.source != str(deployment.key_file))
    return [source for source in sources if Path(source).exists()]


def _weights(spec: ContainerSpec) -> Iterator[Mount]:
    """What is mounted where the command looks for a model."""
    for mount in spec.mounts:
        inside = f"{mount.target}/"
        is_there = mount.kind == "bind" and Path(mount.source).exists()
        if is_there and any(word == mount.target or word.startswith(inside) for word in spec.command):
            yield mount


def _taken(engine: Engine, deployment: Deployment) -> Iterator[str]:
    for spec in deployment.containers:
        found = engine.inspect(spec.name)
        if found is not None:
            labels = (found.get("Config") or {}).get("Labels") or {}
            if labels.get(f"{LABEL}.project") != deployment.project:
                yield spec.name


def _free_shm() -> int | None:
    try:
        held = os.statvfs(_SHM)
    except OSError:
        return None
    return held.f_frsize * held.f_bavail


def _free_disk(spec: ContainerSpec, root: str) -> int | None:
    cache = spec.environment.get("HF_HOME")
    folder = next((mount.source for mount in spec.mounts if mount.kind == "bind" and mount.target == cache), root)
    try:
        held = os.statvfs(folder)
    except OSError:
        return None
    return held.f_frsize * held.f_bavail
