"""What is wrong with a server whose HTTP side lives: its engine is dead, frozen, or has too much to do."""

from __future__ import annotations

import time
from typing import Final

from ...errors import (
    ConnectionFailedError,
    ProviderError,
    RequestTimeoutError,
    ServerNotReadyError,
    StreamInterruptedError,
)
from ...wire.call import Answer, Call, Pause, Plan, Timeouts
from .. import openai_api
from ..endpoint import Endpoint, send

_FAILED: Final = 500
_UNAVAILABLE: Final = 503
_QUICK: Final = Timeouts(connect=1.0, first_byte=1.0, idle=1.0, total=1.0)
_LEAST: Final = 5.0
"""Seconds that a token may take, also where nothing is left of the time to wait."""


def explain_silence(endpoint: Endpoint, error: ProviderError) -> None:
    """Adds to a time limit that ran out what may be behind it; asks nobody, since the time is up."""
    late = error.__cause__ if isinstance(error, StreamInterruptedError) else error
    if not isinstance(late, RequestTimeoutError) or late.phase == "connect":
        return
    error.hint = (
        f"its queue may be long, or its engine frozen, which /health does not show: {endpoint.root}/metrics counts "
        "what runs and what waits (vllm:num_requests_running, vllm:num_requests_waiting); timeout= gives it more time"
    )
    if isinstance(error, StreamInterruptedError) and error.partial:
        error.hint += "; the text so far, which is not an answer, is in the error's .partial"


def explain_failure(endpoint: Endpoint, error: ProviderError) -> Plan[None]:
    """Says so if a server fails because its engine has died: for as long as it still speaks, it knows."""
    if (error.status or 0) < _FAILED:
        return
    try:
        answer: Answer = yield Call("GET", f"{endpoint.root}/health", endpoint.headers, timeouts=_QUICK)
    except ProviderError:
        return
    if answer.status == _UNAVAILABLE:
        error.hint = (
            f"the engine of {endpoint.base_url} is dead (/health answers 503): its log says why; start it again"
        )


def generates(endpoint: Endpoint, model: str | None, until: float) -> Plan[None]:
    """Waits for one token of a server that says that it is well: a frozen engine says so too.

    Args:
        endpoint: The server.
        model: The one to ask; without it the only one that is served. Of several none is asked.
        until: On the monotonic clock.

    Raises:
        ServerNotReadyError: None came in time.
    """
    if model is None:
        bases = [row.id for row in (yield from openai_api.models(endpoint)) if row.parent is None]
        if len(bases) != 1:
            return
        model = bases[0]
    body = {"model": model, "prompt": "ping", "max_tokens": 1}
    while True:
        seconds = max(_LEAST, until - time.monotonic())
        limits = Timeouts(connect=_LEAST, first_byte=seconds, idle=seconds, total=seconds)
        try:
            answer = yield from send(endpoint, endpoint.post(f"{endpoint.base_url}/completions", body, timeouts=limits))
            why = f"answered {answer.status}"
            if answer.status != _UNAVAILABLE:
                return  # a refusal too: a server of embeddings has no tokens to give, but it answers
        except (ConnectionFailedError, RequestTimeoutError) as error:
            why = f"not answered: {error.message}"
        if time.monotonic() >= until:
            raise ServerNotReadyError(
                f"the vllm server at {endpoint.base_url} generates nothing",
                provider=endpoint.provider,
                model=model,
                url=endpoint.base_url,
                why=f"/health answers 200, but a request for one token is {why}",
                hint=f"is its engine frozen, or its queue long? {endpoint.root}/metrics counts what runs and waits",
            )
        yield Pause(min(1.0, max(0.05, until - time.monotonic())))
