"""Plans that ask a vLLM server about itself: dialect, health, readiness, and why it refused a request."""

from __future__ import annotations

import time
from typing import Any, Final

from msgspec import Struct, field

from ...errors import (
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderError,
)
from ...types import GenerateRequest, ModelInfo
from ...wire.call import Answer, Plan, Timeouts
from ...wire.failure import UNREADABLE
from ...wire.pooling import TokenCount, read_count
from .. import openai_api, readiness
from ..endpoint import Endpoint, send
from .dialect import Dialect, Spelling, read_dialect, read_version

RECHECK_SECONDS: Final = 60.0
"""After this time the version is asked again: the server may have been replaced."""
_ASKING: Final = Timeouts(first_byte=60.0, idle=30.0)
"""A busy server computes its schema on the loop that also serves; 6 s were seen."""
_OK: Final = 200
_PASSING: Final = frozenset({502, 503, 504})
"""What a proxy answers while the server behind it starts: nothing to remember."""


class _Known(Struct):
    dialect: Dialect
    at: float
    bound: dict[str, Spelling | None] = field(default_factory=dict)
    """Which spelling of constraints was seen to bind, by model; for servers that hide the rest."""
    unparsed_model: str | None = None
    unparsed_at: float = 0.0


_known: dict[tuple[str, str], _Known] = {}
"""What was learned, by address and key, for all providers of this process."""


def learn(endpoint: Endpoint) -> Plan[Dialect]:
    """What the server understands; asked once and then only whether it is still the same server."""
    key = _key(endpoint)
    known = _known.get(key)
    if known and time.monotonic() - known.at < RECHECK_SECONDS:
        return known.dialect
    version = yield from _ask(endpoint, "/version")
    number = read_version(version.body) if version.status == _OK else None
    if known and number and number == known.dialect.version:
        known.at = time.monotonic()
        return known.dialect
    schema = yield from _ask(endpoint, "/openapi.json")
    dialect = read_dialect(number, schema.body if schema.status == _OK else None)
    if known and dialect == known.dialect:
        known.at = time.monotonic()
    elif not _PASSING.intersection((version.status, schema.status)):
        _known[key] = _Known(dialect, time.monotonic())
    return dialect


def bound_by(endpoint: Endpoint) -> dict[str, Spelling | None]:
    """What was seen of this server by ``probe``; what is added is remembered with the rest."""
    known = _known.get(_key(endpoint))
    return known.bound if known else {}


def unparsed_model(endpoint: Endpoint) -> str | None:
    """The model of a server that was found to read no tool calls; for a while, then it must be found out anew."""
    known = _known.get(_key(endpoint))
    return known.unparsed_model if known and time.monotonic() - known.unparsed_at < RECHECK_SECONDS else None


def remember_unparsed(endpoint: Endpoint, model: str) -> None:
    """Keeps in mind that the server reads no tool calls."""
    known = _known.get(_key(endpoint))
    if known is not None:
        known.unparsed_model, known.unparsed_at = model, time.monotonic()


def _key(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.root, endpoint.headers.get("authorization", "")


def forget(endpoint: Endpoint) -> None:
    """Drops what was learned: the server may be another one by now."""
    _known.pop(_key(endpoint), None)


def _ask(endpoint: Endpoint, path: str) -> Plan[Answer]:
    return send(endpoint, endpoint.get(endpoint.root + path, timeouts=_ASKING))


def health(endpoint: Endpoint, timeout: float) -> Plan[dict[str, Any]]:
    """Whether the server answers, what it serves, and how long that took."""
    return readiness.health(endpoint, timeout, openai_api.models, "/health")


def wait_until_ready(endpoint: Endpoint, seconds: float) -> Plan[None]:
    """Waits until the server answers ``/health``.

    Raises:
        ServerNotReadyError: It did not within the time.
    """
    return readiness.wait_until_ready(endpoint, seconds, "/health")


def served(endpoint: Endpoint, model: str | None) -> Plan[ModelInfo]:
    """A model that the server serves; the only one if none is named.

    Raises:
        ModelNotFoundError: It isn't served, or there are several to choose from.
    """
    rows = yield from openai_api.models(endpoint)
    bases = [row for row in rows if row.parent is None]
    if model is None and bases and len({row.root for row in bases}) == 1:
        return bases[0]
    found = next((row for row in rows if row.id == model), None)
    if found is None:
        what = "no model was named and the server serves several" if model is None else f"{model!r} is not served"
        raise with_served(
            ModelNotFoundError(what, provider=endpoint.provider, model=model, url=endpoint.base_url), rows
        )
    return found


def with_served(error: ModelNotFoundError, rows: list[ModelInfo]) -> ModelNotFoundError:
    """Adds what the server does serve."""
    error.available = tuple(row.id for row in rows)
    error.hint = f"served here: {', '.join(error.available) or 'nothing'}"
    return error


def explain_missing(endpoint: Endpoint, error: ModelNotFoundError) -> Plan[ModelNotFoundError]:
    """Asks what the server serves, for an error about a model that it doesn't."""
    try:
        rows = yield from openai_api.models(endpoint)
    except ProviderError:
        return error
    return with_served(error, rows)


def explain_refusal(
    endpoint: Endpoint, error: InvalidRequestError, request: GenerateRequest, model: str
) -> Plan[InvalidRequestError]:
    """Finds out whether a request was refused for its length: the server itself counts the prompt."""
    prompt = {"messages": request.messages} if request.raw_prompt is None else {"prompt": request.raw_prompt}
    call = endpoint.post(f"{endpoint.root}/tokenize", {"model": model, **prompt}, timeouts=_ASKING)
    try:
        answer = yield from send(endpoint, call)
        count = read_count(answer.body)
    except (ProviderError, *UNREADABLE):
        return _about_media(error, request, model)
    wanted = request.max_output_tokens or 1
    if count.count + wanted <= count.max_model_len:
        return _about_media(error, request, model)
    return too_long(endpoint, model, count, wanted, error)


def too_long(
    endpoint: Endpoint, model: str, count: TokenCount, wanted: int, error: InvalidRequestError | None = None
) -> ContextLengthError:
    """The error for a request that does not fit into the model.

    Args:
        endpoint: The server.
        model: The model.
        count: Tokens of the prompt, and what the model holds.
        wanted: Tokens of the answer.
        error: The server's refusal, if it was sent.
    """
    room = count.max_model_len - count.count
    return ContextLengthError(
        f"the prompt has {count.count} tokens and the answer may take {wanted}, "
        f"but {model} holds {count.max_model_len} in all",
        provider=endpoint.provider,
        model=model,
        url=error.url if error else endpoint.base_url,
        status=error.status if error else None,
        server_message=error.server_message if error else None,
        code=error.code if error else None,
        param=error.param if error else None,
        hint=f"give max_output_tokens={room} or less" if room > 0 else f"shorten the prompt by {1 - room} tokens",
    )


def _about_media(error: InvalidRequestError, request: GenerateRequest, model: str) -> InvalidRequestError:
    """Adds to a refusal of a request with images what may be behind it."""
    parts = [part for message in request.messages for part in message.get("content") or () if isinstance(part, dict)]
    if error.hint is None and any(part.get("type") == "image_url" for part in parts):
        error.hint = (
            f"can {model} see? Images need a multimodal model, such as Qwen/Qwen2.5-VL-7B-Instruct, and not more of"
            " them than --limit-mm-per-prompt allows"
        )
    return error
