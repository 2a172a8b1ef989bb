"""``down``: lets the server finish what it is at, then removes what carries the project's label, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from ..container import LABEL
from ..engine import Engine
from ..inspected import Inspected, read_container
from ..lock import locked
from ..options import KEY_NAME
from ..progress import Progress, Report, silent
from . import record

_SHM: Final = Path("/dev/shm")  # noqa: S108 - it is looked at, nothing is written there
_SEGMENT: Final = re.compile(r"^(?:psm_|sem\.|nccl-|torch_|cuda\.shm|vllm|__KMP_REGISTERED_LIB_)")
_DEFAULT_GRACE: Final = 60
LOCK: Final = "up.lock"
"""In the project's folder."""
FAILED: Final = "failed.log"
"""In the project's folder: what the containers of a failed start wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What ``down`` did."""

    project: str
    containers: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    """Those that were removed."""
    kept: tuple[str, ...] = ()
    """Volumes that stay, with what was downloaded and compiled."""
    key: str | None = None
    """The key file, if it was removed."""
    segments: tuple[str, ...] = ()
    """Shared memory of the host that the server seems to have left behind; it is reported, not removed."""
    killed: tuple[str, ...] = ()
    """Containers that did not end by themselves in the time they have."""


def down(
    engine: Engine,
    project: str,
    *,
    folder: Path,
    volumes: bool = False,
    grace: int | None = None,
    report: Report = silent,
) -> Ended:
    """As ``take_down``, but not while an ``up`` of the same name is at work."""
    with locked(folder / LOCK, lambda: report(Progress("stop", "another run is at work, waiting"))):
        return take_down(engine, project, folder=folder, volumes=volumes, grace=grace, report=report)


def take_down(
    engine: Engine,
    project: str,
    *,
    folder: Path,
    volumes: bool = False,
    grace: int | None = None,
    report: Report = silent,
) -> Ended:
    """Stops and removes a deployment.

    Args:
        engine: The engine of containers.
        project: The deployment's name.
        folder: Where what is known of it is kept.
        volumes: Remove its volumes and its key too.
        grace: Seconds between asking and killing; what the plan says when left out.
        report: Gets the progress, phase ``stop``.

    Raises:
        DeployError: The engine refuses.
    """
    names = engine.labelled("container", project)
    found = [read_container(document) for name in names if (document := engine.inspect(name)) is not None]
    # The server first: the client has to be there for the requests that the server still finishes.
    found.sort(key=lambda container: container.labels.get(f"{LABEL}.role") != "server")
    killed = tuple(container.name for container in found if _stop(engine, container, grace, report))
    engine.remove(*(container.name for container in found))
    networks = engine.labelled("network", project)
    for network in networks:
        engine.do("network", "rm", network)
    owned = engine.labelled("volume", project)
    for volume in owned if volumes else ():
        engine.do("volume", "rm", volume)
    key = _remove_key(folder) if volumes else None
    record.forget(folder)
    return Ended(
        project=project,
        containers=tuple(container.name for container in found),
        networks=networks,
        volumes=owned if volumes else (),
        kept=() if volumes else owned,
        key=key,
        segments=left_behind(found),
        killed=killed,
    )


def _stop(engine: Engine, container: Inspected, grace: int | None, report: Report) -> bool:
    """Whether it had to be killed."""
    if not container.state.running:
        return False
    patience = grace if grace is not None else container.stop_grace or _DEFAULT_GRACE
    report(Progress("stop", f"{container.name} finishes its requests, up to {patience} s"))
    engine.do("stop", "--time", str(patience), container.name, limit=patience + 60)
    document = engine.inspect(container.name)
    return document is not None and read_container(document).state.exit_code == 137


def _remove_key(folder: Path) -> str | None:
    """Removes the key, if it is one that ``up`` made in the project's own folder."""
    path = folder / KEY_NAME
    (folder / FAILED).unlink(missing_ok=True)
    if not path.exists():
        return None
    path.unlink()
    return str(path)


def left_behind(containers: Iterable[Inspected], shm: Path = _SHM) -> tuple[str, ...]:
    """Segments of the host's shared memory that were made while a container that used it ran, by its user."""
    found: set[str] = set()
    for container in containers:
        uid = container.user.partition(":")[0] or "0"
        if container.ipc != "host" or container.state.started is None or not uid.isdigit():
            continue
        since = _timestamp(container.state.started)
        for path in shm.iterdir() if shm.is_dir() else ():
            if _SEGMENT.match(path.name):
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                if status.st_uid == int(uid) and status.st_mtime >= since:
                    found.add(str(path))
    return tuple(sorted(found))


def _timestamp(text: str) -> float:
    """Seconds since the epoch, from a time as engines write it, with nanoseconds."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text)).timestamp()
