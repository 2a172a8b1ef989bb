"""Endpoints that say what the gateway does, and what it has done: its OpenAPI document, and its metrics."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .. import __version__
from . import metrics as table

if TYPE_CHECKING:
    from .asgi import Request
    from .gateway import Gateway
    from .metrics import Family

_STATM: Final = Path("/proc/self/statm")
_FILES: Final = Path("/proc/self/fd")


async def metrics(gateway: Gateway, request: Request) -> None:
    """What was counted, for Prometheus."""
    text = gateway.metrics.text(_now(gateway))
    await request.answer(200, text.encode(), (b"content-type", table.CONTENT_TYPE))


def _now(gateway: Gateway) -> dict[Family, dict[tuple[str, ...], float]]:
    replicas = {
        (name, replica.name): replica for name, backend in gateway.backends.items() for replica in backend.replicas
    }
    return {
        table.IN_FLIGHT: {(): gateway.guard.gate.in_flight},
        table.REPLICA_UP: {labels: float(replica.up) for labels, replica in replicas.items()},
        table.REPLICA_IN_FLIGHT: {labels: replica.in_flight for labels, replica in replicas.items()},
        table.INFO: {(__version__,): 1},
        table.CPU: {(): round(time.process_time(), 3)},
        **_of_process(),
    }


def _of_process() -> dict[Family, dict[tuple[str, ...], float]]:
    try:
        pages = int(_STATM.read_text("ascii").split()[1])
        files = len(list(_FILES.iterdir()))
    except OSError:  # no Linux
        return {}
    return {table.MEMORY: {(): pages * os.sysconf("SC_PAGE_SIZE")}, table.FILES: {(): files}}
