"""Every reader of bytes from outside in one table: for the short run of the unit tests and the long one of bench/."""

from __future__ import annotations

from typing import Final

from . import clients, constraints, engine, files, gateway, wire
from .target import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for target in (
        *wire.TARGETS, *clients.TARGETS, *gateway.TARGETS, *constraints.TARGETS, *files.TARGETS, *engine.TARGETS,
    )
}  # fmt: skip
