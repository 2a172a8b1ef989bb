"""What vLLM servers say of their load on ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

from ...errors import ProviderError
from ...vllm_facts import RUNNING_METRIC, WAITING_METRIC
from ...wire.call import Plan
from ...wire.prometheus import read_totals
from ..batch.controller import Load
from ..endpoint import Endpoint, send


def ask_load(endpoints: Iterable[Endpoint]) -> Plan[Load | None]:
    """The load of all servers together, as far as they can be reached; ``None`` if none says it."""
    loads = []
    for endpoint in endpoints:
        try:
            answer = yield from send(endpoint, endpoint.get(f"{endpoint.root}/metrics"))
        except ProviderError:
            continue
        load = read_load(answer.body) if answer.status == 200 else None
        if load is not None:
            loads.append(load)
    return Load(sum(load.running for load in loads), sum(load.waiting for load in loads)) if loads else None


def read_load(metrics: bytes) -> Load | None:
    """The load in a text of Prometheus metrics: that of all engines and models, or ``None`` if it doesn't say."""
    totals = read_totals(metrics)
    running, waiting = totals.get(RUNNING_METRIC), totals.get(WAITING_METRIC)
    if running is None or waiting is None or not isfinite(running + waiting):
        return None
    return Load(int(running), int(waiting))
