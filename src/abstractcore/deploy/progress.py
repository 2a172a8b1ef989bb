"""What a long step says about itself while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Progress:
    """One report of a running step."""

    phase: str
    """``install``, ``model``, ``load`` or ``ready``."""
    text: str
    """What is being done, in a few words."""
    fraction: float | None = None
    """0 to 1 where the whole is known."""


Report: TypeAlias = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Reports to nobody."""


def megabytes(size: float) -> str:
    """A size in bytes as people read it: ``93 MB``, ``3.4 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
