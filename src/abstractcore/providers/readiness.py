"""Whether a backend can answer: asked once, or until it does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from ..errors import ConnectionFailedError, ProviderError, RequestTimeoutError, ServerNotReadyError
from ..types import ModelInfo
from ..wire.call import Answer, Pause, Plan, Timeouts, limited
from .endpoint import Endpoint, send

_OK: Final = 200


def health(
    endpoint: Endpoint, timeout: float, models: Callable[[Endpoint], Plan[list[ModelInfo]]], path: str | None = None
) -> Plan[dict[str, Any]]:
    """Whether the server answers, what it serves, and how long that took. Never raises.

    Args:
        endpoint: The server.
        timeout: Seconds for each request.
        models: The plan that lists what it serves.
        path: Below the server's root: must answer 200 first.
    """
    started = time.perf_counter()
    limits = Timeouts(connect=timeout, first_byte=timeout, idle=timeout, total=timeout)
    report: dict[str, Any] = {"status": False, "provider": endpoint.provider, "models": [], "model_count": 0}
    try:
        answer = (yield from _ask(endpoint, path, limits)) if path else None
        if answer is not None and answer.status != _OK:
            report["error"] = f"{path} answers {answer.status}"
        else:
            rows = yield from limited(models(endpoint), limits)
            report |= {"status": True, "models": sorted(row.id for row in rows), "model_count": len(rows)}
    except ProviderError as error:
        report["error"] = str(error)
    return {"error": None, **report, "latency_ms": (time.perf_counter() - started) * 1e3}


def wait_until_ready(endpoint: Endpoint, seconds: float, path: str) -> Plan[None]:
    """Waits until the server answers 200 on a path below its root.

    Raises:
        ServerNotReadyError: It did not within the time.
    """
    until = time.monotonic() + seconds
    limits = Timeouts(connect=5.0, first_byte=5.0, idle=5.0)
    while True:
        try:
            answer = yield from _ask(endpoint, path, limits)
            why = f"{path} answers {answer.status}"
            if answer.status == _OK:
                return
        except (ConnectionFailedError, RequestTimeoutError) as error:
            why = error.why or error.message
        if time.monotonic() >= until:
            raise ServerNotReadyError(
                f"the {endpoint.provider} server at {endpoint.base_url} was not ready within {seconds:g} s",
                provider=endpoint.provider,
                url=endpoint.base_url,
                why=why,
                hint=endpoint.down_hint,
            )
        yield Pause(min(1.0, max(0.05, until - time.monotonic())))


def _ask(endpoint: Endpoint, path: str, limits: Timeouts) -> Plan[Answer]:
    return send(endpoint, endpoint.get(f"{endpoint.root}{path}", timeouts=limits))
