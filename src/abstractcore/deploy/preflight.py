"""What of this machine decides whether a server starts, beside its GPUs: shared memory, limits, caches, containers."""

from __future__ import annotations

import mmap
import os
import resource
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from . import nvidia_smi, runtime
from .hardware import Gpu, from_driver, read_topology

_SHM: Final = "/dev/shm"  # noqa: S108 - it is measured, nothing is written there
LEAST_SHM: Final = 256 * 2**20
"""Bytes of /dev/shm that the multiprocess executor of vLLM needs, with some room."""
_CACHES: Final = {
    "TRITON_CACHE_DIR": "~/.triton/cache",
    "TORCHINDUCTOR_CACHE_DIR": f"{tempfile.gettempdir()}",
    "TMPDIR": tempfile.gettempdir(),
    "VLLM_CACHE_ROOT": "~/.cache/vllm",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found."""

    gpus: tuple[Gpu, ...]
    shm: int | None
    """Bytes of /dev/shm; ``None`` where there is no such thing."""
    memlock: int | None
    """Bytes that may be locked; ``None``: no limit."""
    noexec: tuple[str, ...]
    """Settings of cache folders from which compiled code can't be loaded."""
    container: str | None
    """``docker`` or ``podman``, whichever is there."""

    def warnings(self, ranks: int) -> tuple[str, ...]:
        """What would stop a server of so many ranks from starting.

        Args:
            ranks: Ranks of one replica.
        """
        found = [
            f"{name} lies on a file system without exec ({folder}): compiled kernels end in "
            f"'failed to map segment from shared object'; set {name} to a folder elsewhere"
            for name, folder in (entry.split("=", 1) for entry in self.noexec)
        ]
        if ranks > 1 and self.shm is not None and self.shm < LEAST_SHM:
            found.append(
                f"{_SHM} has {self.shm // 2**20} MiB: 'Insufficient space in /dev/shm for shared-memory allocation'; "
                "use --ipc=host or --shm-size=1g"
            )
        return tuple(found)


def probe(environ: Mapping[str, str] = os.environ) -> Machine:
    """Looks at this machine."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return Machine(
        gpus=find_gpus(environ),
        shm=_shm_size(),
        memlock=None if soft == resource.RLIM_INFINITY else soft,
        noexec=noexec_caches(environ),
        container=next((name for name in ("docker", "podman") if shutil.which(name)), None),
    )


def find_gpus(environ: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """The NVIDIA GPUs here, with their links; none without a driver."""
    gpus = from_driver(nvidia_smi.find_gpus())
    program = shutil.which("nvidia-smi")
    if len(gpus) < 2 or program is None:
        return gpus
    table: list[str] = []
    runtime.run([program, "topo", "-m"], env=environ, on_line=table.append, limit=30)
    link = read_topology("\n".join(table))
    return tuple(replace(gpu, link=link) for gpu in gpus)


def _shm_size() -> int | None:
    try:
        held = os.statvfs(_SHM)
    except OSError:
        return None
    return held.f_frsize * held.f_blocks


def noexec_caches(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Cache folders, as ``NAME=folder``, from which code can't be mapped."""
    found = []
    for name, usual in _CACHES.items():
        folder = Path(environ.get(name) or usual).expanduser()
        existing = next((path for path in (folder, *folder.parents) if path.is_dir()), None)
        if existing is not None and not can_execute_from(existing):
            found.append(f"{name}={folder}")
    return tuple(found)


def can_execute_from(folder: Path) -> bool:
    """Whether code can be mapped from a file in this folder; one that can't be written to is not judged."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * mmap.PAGESIZE)
            file.flush()
            mmap.mmap(file.fileno(), mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()
    except PermissionError as error:
        return error.filename is not None  # open refused: not ours; mapping refused: no exec
    except OSError:
        return True
    return True
