"""The NVIDIA GPUs of this machine, as their driver's own tool reports them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from . import runtime

_MOST: Final = 2**30
"""MiB that no card has."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; memory in MiB."""

    index: int
    name: str
    capability: tuple[int, int]
    """CUDA compute capability."""
    memory: int
    free: int


def find_gpus() -> tuple[Gpu, ...]:
    """All GPUs; none when there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = "--query-gpu=index,name,compute_cap,memory.total,memory.free"
    lines: list[str] = []
    done = runtime.run(
        [program, query, "--format=csv,noheader,nounits"], env=os.environ, on_line=lines.append, limit=30
    )
    return parse_gpus(lines) if done.code == 0 else ()


def parse_gpus(lines: Sequence[str]) -> tuple[Gpu, ...]:
    """Reads the rows of ``nvidia-smi``; those that describe no usable GPU are left out."""
    found = []
    for line in lines:
        try:
            index, name, capability, memory, free = (part.strip() for part in line.split(","))
            major, minor = capability.split(".")
            row = Gpu(int(index), name, (int(major), int(minor)), int(memory), int(free))
            found += [row] if 0 <= row.memory < _MOST and 0 <= row.free < _MOST else []
        except ValueError:
            continue  # "[N/A]", or a message in place of a row
    return tuple(found)
