"""Endpoints that say what the gateway does, and what it has done: its OpenAPI document, and its metrics."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from .. import __version__
from . import metrics as table
from .answers import Backends, Health, Model, Models, Ready
from .asgi import JSON
from .openapi import document
from .spec import Parameter, Spec

if TYPE_CHECKING:
    from .asgi import Request
    from .gateway import Gateway
    from .metrics import Family

MODELS: Final = Spec(answer=Models, parameters=(Parameter("provider", "Only those of this provider or backend."),))
MODEL: Final = Spec(
    answer=Model,
    parameters=(Parameter("model", "Any of its names; the slashes in it may stay as they are.", "path"),),
    fails=(404, 503),
)
PROVIDERS: Final = Spec(answer=Backends)
HEALTH: Final = Spec(about="Answers as long as the process runs, whatever the backends do.", answer=Health)
READY: Final = Spec(about="Status 503 means that no backend could answer now.", answer=Ready)
METRICS: Final = Spec(answer=table.CONTENT_TYPE.decode())
OPENAPI: Final = Spec(about="This document.")

_STATM: Final = Path("/proc/self/statm")
_FILES: Final = Path("/proc/self/fd")


async def metrics(gateway: Gateway, request: Request) -> None:
    """What was counted, for Prometheus."""
    text = gateway.metrics.text(_now(gateway))
    await request.answer(200, text.encode(), (b"content-type", table.CONTENT_TYPE))


async def openapi(gateway: Gateway, request: Request) -> None:
    """The OpenAPI document."""
    if gateway.openapi is None:
        gateway.openapi = msgspec.json.encode(document(gateway.routes, keys=gateway.guard.keyring is not None))
    await request.answer(200, gateway.openapi, JSON)


def _now(gateway: Gateway) -> dict[Family, dict[tuple[str, ...], float]]:
    replicas = {
        (name, replica.name): replica
        for name, backend in gateway.backends.items()
        for replica in (*backend.replicas, *((backend.front,) if backend.front else ()))
    }
    for name, backend in gateway.backends.items():
        gateway.metrics.retried(name, backend.budget.spent)
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
