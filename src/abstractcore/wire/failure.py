"""Turns a failure answer into the right error: by status and code, never by the words of the message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite, nan
from typing import Any, Final

import msgspec
from msgspec import Struct

from ..errors import (
    AuthenticationError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderAPIError,
    ProviderError,
    RateLimitError,
    ServerOverloadedError,
)

_STATUS: Final = re.compile("[1-9][0-9][0-9]")
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading foreign JSON raises: it is none, its text is no UTF-8, or it is nested too deeply."""


class Failure(Struct, frozen=True):
    """What a failure body says, whatever its shape."""

    message: str
    type: str | None = None
    param: str | None = None
    code: str | None = None
    shaped: bool = False
    """The body is an error object of the protocol, not a web framework's or a proxy's page."""

    @property
    def status(self) -> int | None:
        """The HTTP status that the body itself names: errors come inside 200 answers too."""
        return int(self.code) if self.code and _STATUS.fullmatch(self.code) else None


def read_failure(body: bytes) -> Failure:
    """Reads the error shapes that servers send.

    Known shapes: ``{"error": {...}}``, ``{"object": "error", ...}`` (vLLM up to 0.10.0), ``{"error": "text"}``,
    ``{"detail": ...}`` (FastAPI), ``{"message": ...}``, plain text, and nothing at all.
    """
    try:
        document = msgspec.json.decode(body)
    except UNREADABLE:
        return Failure(body.decode("utf-8", "replace").strip()[:2000])
    if not isinstance(document, dict):
        return Failure(str(document)[:2000])
    inner = document.get("error", document if document.get("object") == "error" else None)
    if isinstance(inner, Mapping):
        return Failure(
            str(inner.get("message") or ""),
            _text(inner.get("type")),
            _text(inner.get("param")),
            _code(inner),
            shaped=True,
        )
    if inner is not None:
        return Failure(str(inner), shaped=True)
    if "detail" in document:
        return Failure(_detail(document["detail"]))
    return Failure(str(document.get("message") or body.decode("utf-8", "replace"))[:2000])


def holds_failure(document: Any) -> bool:
    """Whether a decoded 200 answer or stream event is an error in disguise."""
    return isinstance(document, dict) and (document.get("error") is not None or document.get("object") == "error")


def to_error(
    failure: Failure,
    status: int,
    headers: Mapping[str, str],
    *,
    provider: str,
    url: str,
    model: str | None = None,
    request_id: str | None = None,
) -> ProviderError:
    """The error for a failure answer."""
    if status < 400 and failure.status:
        status = failure.status
    message = failure.message or "the server gave no reason"
    kind = _kind(status, failure)
    headline = f"{_HEADLINES.get(kind, 'the server failed')} (HTTP {status})"
    if url.startswith("local:"):  # an engine in this process, which speaks the same protocol without HTTP
        headline = headline.partition(" (HTTP")[0].replace("the server", "the engine")
    return kind(
        f"{provider}: {headline}: {message}",
        provider=provider,
        model=model,
        url=url,
        status=status,
        request_id=request_id or headers.get("x-request-id") or headers.get("request-id"),
        server_message=failure.message,
        code=failure.code or failure.type,
        param=failure.param,
        retry_after=seconds_to_wait(headers.get("retry-after")),
    )


_HEADLINES: Final[Mapping[type[ProviderError], str]] = {
    AuthenticationError: "the server refuses the key",
    ModelNotFoundError: "the server doesn't serve this model",
    InvalidRequestError: "the server refuses the request",
    ContextLengthError: "the request doesn't fit into the model's context",
    RateLimitError: "too many requests",
    ServerOverloadedError: "the server can't take the request now",
}
_BY_STATUS: Final[Mapping[int, type[ProviderError]]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: AuthenticationError,
    413: InvalidRequestError,
    422: InvalidRequestError,
    429: RateLimitError,
    503: ServerOverloadedError,
    529: ServerOverloadedError,
}


def _kind(status: int, failure: Failure) -> type[ProviderError]:
    named = (failure.code, failure.type)
    if "context_length_exceeded" in named or "exceed_context_size_error" in named or failure.param == "input_tokens":
        return ContextLengthError  # as OpenAI, llama.cpp and vLLM say it
    if "model_not_found" in named or (status == 404 and failure.shaped):
        return ModelNotFoundError
    return _BY_STATUS.get(status, ProviderAPIError)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _code(inner: Mapping[str, Any]) -> str | None:
    return _text(inner.get("code"))


def _detail(detail: Any) -> str:
    if isinstance(detail, list):
        return "; ".join(
            f"{_place(item.get('loc'))}: {item.get('msg')}" if isinstance(item, dict) else str(item) for item in detail
        )
    return str(detail)


def _place(loc: Any) -> str:
    return ".".join(map(str, loc)) if isinstance(loc, list) else str(loc or "")


def seconds_to_wait(value: str | None) -> float | None:
    """What ``Retry-After`` asks for, as seconds or as a date; ``None`` if it is missing or makes no sense."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _until_date(value)
    return max(0.0, seconds) if isfinite(seconds) else None


def _until_date(value: str) -> float:
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return nan
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
