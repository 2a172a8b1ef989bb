"""The GPUs to plan for: as the user writes them, or as ``nvidia-smi`` reports them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ..errors import ConfigurationError
from ..vllm_facts.gpus import GIB, KINDS, OTHER_NAMES, GpuKind
from . import nvidia_smi

_TERM: Final = re.compile(
    r"^(?:(?P<count>\d{1,9})\s*[xX*]\s*)?(?P<name>[A-Za-z\d][\w .+-]*?)"
    r"(?:@(?P<gib>\d{1,9}(?:\.\d{1,9})?)(?:GiB|GB)?(?:/(?P<cc>\d{1,3}\.\d))?)?$"
)
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One card; memory in bytes."""

    name: str
    total: int
    """As CUDA reports it."""
    capability: tuple[int, int]
    link: Literal["nvlink", "pcie"] = "pcie"
    free: int | None = None
    """What is free now, if that is known."""
    full_name: str = ""

    @property
    def is_cpu(self) -> bool:
        """A CPU in place of a card."""
        return self.name == "cpu"

    @property
    def number(self) -> int:
        """Compute capability in vLLM's spelling: 89 for 8.9."""
        return self.capability[0] * 10 + self.capability[1]


CPU: Final = Gpu(name="cpu", total=0, capability=(99, 0), full_name="CPU")


def known_names() -> tuple[str, ...]:
    """All names that ``parse_gpus`` takes without numbers."""
    return tuple(kind.name for kind in KINDS)


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Reads GPUs as users write them: ``4xL4``, ``2xV100-16GB``, ``1xH100,1xL4``, ``cpu``.

    A card that is not known is described by its memory and compute capability: ``2xNEW@47.5GiB/9.0``.

    Raises:
        ConfigurationError: A name is not known, or the text makes no sense.
    """
    found: list[Gpu] = []
    for term in text.split(","):
        match = _TERM.match(term.strip())
        if match is None:
            raise ConfigurationError(
                f"{term.strip()!r} names no GPUs",
                why="expected a count and a name, such as 4xL4",
                hint="--gpus 4xL4, --gpus 2xV100-16GB, or by hand: --gpus 2xNAME@47.5GiB/9.0",
            )
        count = int(match["count"] or 1)
        if not 1 <= count <= 1024:
            raise ConfigurationError(f"{term.strip()!r} names {count} GPUs", hint="give from 1 to 1024")
        found += [_gpu(match["name"].strip(), match["gib"], match["cc"])] * count
    if any(gpu.is_cpu for gpu in found) and len(found) > 1:
        raise ConfigurationError("a plan is for GPUs or for the CPU, not for both", hint="--gpus cpu")
    return tuple(found)


def _gpu(name: str, memory: str | None, capability: str | None) -> Gpu:
    if name.lower() == "cpu":
        return CPU
    kind = find_kind(name)
    if kind is None and (memory is None or capability is None):
        near = difflib.get_close_matches(name.upper(), [known.upper() for known in known_names()], 1, 0.5)
        named = next((known for known in known_names() if near and known.upper() == near[0]), None)
        raise ConfigurationError(
            f"the GPU {name!r} is not known",
            why=f"known are: {', '.join(known_names())}",
            hint=(f"did you mean {named}? " if named else "")
            + f"By hand, with memory and compute capability: --gpus 1x{name}@24GiB/8.9",
        )
    total = int(float(memory) * GIB) if memory else kind.memory if kind else 0
    if capability:
        major, minor = capability.split(".")
        level = (int(major), int(minor))
    else:
        assert kind is not None
        level = kind.capability
    link = kind.link if kind else "pcie"
    return Gpu(name=kind.name if kind else name, total=total, capability=level, link=link,
               full_name=kind.full_name if kind else name)  # fmt: skip


def find_kind(name: str) -> GpuKind | None:
    """The kind of card that a short name or a driver's name stands for."""
    plain = _plain(name)
    for other, standard in OTHER_NAMES.items():
        if plain == _plain(other):
            plain = _plain(standard)
    exact = [kind for kind in KINDS if plain in {_plain(kind.name), _plain(kind.full_name)}]
    return exact[0] if exact else None


def _plain(name: str) -> str:
    text = re.sub(r"(?i)nvidia|geforce|tesla|generation|[\s_-]", "", name).lower()
    return text.removesuffix("gb") if re.search(r"\d+gb$", text) else text


def from_driver(rows: Sequence[nvidia_smi.Gpu]) -> tuple[Gpu, ...]:
    """Cards as ``nvidia-smi`` reports them.

    The driver counts memory that CUDA does not hand out: for known cards the total is the one that CUDA reports.
    """
    found = []
    for row in rows:
        reported = row.memory * _MIB
        kind = _by_driver_name(row.name, reported)
        usable = kind.memory if kind else reported * 983 // 1000
        held = max(0, reported - row.free * _MIB)
        found.append(
            Gpu(
                name=kind.name if kind else row.name,
                total=usable,
                capability=row.capability,
                link=kind.link if kind else "pcie",
                free=max(0, usable - held),
                full_name=row.name,
            )
        )
    return tuple(found)


def _by_driver_name(name: str, reported: int) -> GpuKind | None:
    kind = find_kind(name)
    return kind if kind and abs(kind.memory - reported) < 0.1 * reported else None


def read_topology(text: str) -> Literal["nvlink", "pcie"]:
    """How the cards are linked, by ``nvidia-smi topo -m``: NVLink only if each pair has it."""
    rows = [line.split() for line in text.splitlines() if re.match(r"^GPU\d+\s", line)]
    count = len(rows)
    cells = [
        cell for number, row in enumerate(rows) for place, cell in enumerate(row[1 : count + 1]) if place != number
    ]
    return "nvlink" if cells and all(cell.startswith("NV") for cell in cells) else "pcie"
