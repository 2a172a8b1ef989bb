"""Errors as the gateway's clients see them: OpenAI's envelope, with the status that fits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from ..errors import (
    AbstractCoreError,
    AdapterError,
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    ConstraintViolationError,
    ContextLengthError,
    InvalidConstraintError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderAPIError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
    ServerOverloadedError,
    StreamInterruptedError,
    ToolCallError,
    TruncatedOutputError,
    UnsupportedFeatureError,
)

LONGEST_NAME: Final = 256
"""Characters of a model's or a field's name that are looked at; a name that is longer is none."""
RETRY_AFTER: Final = 2
"""Seconds after which to come again, where the backend does not say."""


class GatewayError(AbstractCoreError):
    """A request that the gateway itself refuses.

    Args:
        message: What is wrong, in one sentence.
        status: The HTTP status.
        code: A name for programs.
        param: The field of the request, if it is one.
        retry_after: Seconds after which to come again.
        headers: Headers that go with it.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str = "invalid_request",
        param: str | None = None,
        retry_after: float | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, why=why, hint=hint)
        self.headers = tuple(headers)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after = retry_after


_ROWS: Final[tuple[tuple[type[AbstractCoreError], int, str], ...]] = (
    # The first that fits counts: subclasses before their bases.
    (ModelNotFoundError, 404, "model_not_found"),
    (ContextLengthError, 400, "context_length_exceeded"),
    (AdapterError, 400, "adapter_error"),
    (InvalidRequestError, 400, "invalid_request"),
    (AuthenticationError, 502, "upstream_refused_our_key"),
    (RateLimitError, 429, "rate_limited"),
    (ServerOverloadedError, 503, "overloaded"),
    (ConnectionFailedError, 503, "upstream_down"),
    (RequestTimeoutError, 504, "upstream_timeout"),
    (StreamInterruptedError, 502, "upstream_stream_broken"),
    (ProviderAPIError, 502, "upstream_error"),
    (ProviderError, 502, "upstream_error"),
    (UnsupportedFeatureError, 400, "unsupported_feature"),
    (InvalidConstraintError, 400, "invalid_constraint"),
    (TruncatedOutputError, 422, "truncated"),
    (ToolCallError, 422, "tool_call_invalid"),
    (ConstraintViolationError, 422, "constraint_violation"),
    (ConfigurationError, 400, "invalid_request"),
)


def status_of(error: AbstractCoreError) -> tuple[int, str]:
    """HTTP status and code of an error."""
    if isinstance(error, GatewayError):
        return error.status, error.code
    for kind, status, code in _ROWS:
        if isinstance(error, kind):
            if kind in (InvalidRequestError, AdapterError) and isinstance(error, ProviderError):
                own = error.status
                return (own if own in (400, 404, 409, 413, 422) else status), code
            return status, code
    return 500, "internal_error"


def fields_of(error: AbstractCoreError) -> dict[str, Any]:
    """What the envelope says of an error."""
    status, code = status_of(error)
    fields: dict[str, Any] = {
        "message": error.message,
        "type": "invalid_request_error" if status < 500 else "server_error",
        "param": getattr(error, "param", None) or getattr(error, "feature", None),
        "code": code,
    }
    if error.why and error.why not in error.message:
        fields["why"] = error.why
    if error.hint:
        fields["hint"] = error.hint
    partial = getattr(error, "partial", None)
    if isinstance(partial, str) and partial:
        fields["partial"] = partial
    return fields


MESSAGES: Final = "/v1/messages"
"""Paths that begin so speak Anthropic's protocol."""
_MESSAGES_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
}  # fmt: skip
"""Anthropic's names of failures."""


def envelope(error: AbstractCoreError, path: str = "") -> bytes:
    """The body of a failure answer, in the protocol of the path that was asked."""
    fields = fields_of(error)
    if path.startswith(MESSAGES):
        status = status_of(error)[0]
        kind = _MESSAGES_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        return msgspec.json.encode({"type": "error", "error": {**fields, "type": kind}})
    return msgspec.json.encode({"error": fields})


def event(error: AbstractCoreError) -> bytes:
    """The last event of a stream that failed; no ``[DONE]`` follows it."""
    return b"data: " + envelope(error) + b"\n\n"


def headers_of(error: AbstractCoreError) -> Mapping[bytes, bytes]:
    """Headers that go with a failure answer."""
    status, _ = status_of(error)
    after = getattr(error, "retry_after", None)
    if after is None and status in (429, 503):
        after = RETRY_AFTER
    headers = dict(error.headers) if isinstance(error, GatewayError) else {}
    if after is not None:
        headers[b"retry-after"] = str(max(1, round(after))).encode()
    if status == 401:
        headers[b"www-authenticate"] = b"Bearer"
    return headers
