"""Every error that abstractcore raises, in one tree.

::

    AbstractCoreError
    |-- ConfigurationError             a setting is missing or makes no sense
    |   `-- MissingExtraError          an optional package is not installed (also an ImportError)
    |-- UnsupportedFeatureError        this backend or server version can't do it; nothing was sent
    |-- InvalidConstraintError         the regex, schema or grammar itself is broken; nothing was generated
    |-- ProviderError                  a backend was asked and did not deliver
    |   |-- ConnectionFailedError      no answer: refused, reset, unknown host
    |   |   `-- ServerNotReadyError    the server is still loading its model
    |   |-- RequestTimeoutError        a time limit ran out (connect, first byte, idle, total)
    |   |-- StreamInterruptedError     a stream broke, reported an error or ended without a finish reason
    |   |-- AuthenticationError        401 or 403
    |   |-- ModelNotFoundError         404 for a model or adapter; carries what is served
    |   |-- InvalidRequestError        400, 413 or 422: the request itself
    |   |   `-- ContextLengthError     prompt and answer don't fit into the model's context
    |   |-- RateLimitError             429
    |   |-- ServerOverloadedError      503 and its like
    |   |-- AdapterError               an adapter can't be loaded, is lost, or did not answer
    |   `-- ProviderAPIError           any other status, or an answer that isn't in the protocol
    |-- ConstraintViolationError       the answer doesn't satisfy the constraint that was asked for
    |   |-- TruncatedOutputError       the length limit cut a constrained answer or a tool call
    |   `-- ToolCallError              a call of no known tool, one that breaks its schema, or none where one was due
    |-- StepLimitError                 run_tools came to no answer within its steps
    |-- DeployError                    a server or container could not be started
    `-- SessionError                   a saved session can't be read or used

The command line shows each as ``error:`` (the message), ``why:`` (the measured fact) and ``try:`` (the hint).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class AbstractCoreError(Exception):
    """Base of all errors raised by abstractcore.

    Args:
        message: What failed, in one sentence.
        why: The measured fact behind it, such as the server's own message.
        hint: What to do next; a command to paste where there is one.
    """

    def __init__(self, message: str, *, why: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.message]
        if self.why and self.why not in self.message:
            parts.append(f"why: {self.why}")
        if self.hint:
            parts.append(f"try: {self.hint}")
        return "\n".join(parts)


class ConfigurationError(AbstractCoreError):
    """A setting is missing or makes no sense."""


class MissingExtraError(ConfigurationError, ImportError):
    """An optional package is not installed; the hint names the extra."""


class UnsupportedFeatureError(AbstractCoreError):
    """The backend can't keep this promise, so nothing was sent.

    Args:
        feature: The feature as the caller named it, such as ``guided_regex``.
        provider: The backend that lacks it.
        server_version: The version seen on the live server, if any.
        alternatives: What would work instead.
    """

    def __init__(
        self,
        message: str,
        *,
        feature: str,
        provider: str,
        server_version: str | None = None,
        alternatives: Sequence[str] = (),
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, why=why, hint=hint or "; ".join(alternatives) or None)
        self.feature = feature
        self.provider = provider
        self.server_version = server_version
        self.alternatives = tuple(alternatives)


class InvalidConstraintError(AbstractCoreError):
    """The constraint itself does not compile: nothing was sent or generated."""


class ProviderError(AbstractCoreError):
    """A backend was asked and did not deliver.

    Args:
        provider: Name of the backend.
        model: Model that was asked for.
        url: Address of the request, without credentials.
        status: HTTP status, if there was one.
        request_id: The id under which the server logs the request.
        server_message: The server's own words, unchanged.
        code: The server's machine-readable code or error type.
        param: The request field that the server names.
        retry_after: Seconds that the server asks to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        model: str | None = None,
        url: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        server_message: str | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, why=why or server_message, hint=hint)
        self.provider = provider
        self.model = model
        self.url = url
        self.status = status
        self.request_id = request_id
        self.server_message = server_message
        self.code = code
        self.param = param
        self.retry_after = retry_after


class ConnectionFailedError(ProviderError):
    """No answer: connection refused or reset, host unknown.

    ``delivered`` says whether any byte of an answer had arrived; only a request without one is safe to repeat.
    ``refused`` says that no connection came to be at all. ``local`` says that the reason lies in this process, and
    nothing about the server.
    """

    delivered: bool = False
    refused: bool = False
    local: bool = False


class ServerNotReadyError(ConnectionFailedError):
    """The server is there but still loads its model."""


class RequestTimeoutError(ProviderError):
    """A time limit ran out; ``phase`` is ``connect``, ``first_byte``, ``idle`` or ``total``."""

    phase: str = "total"


class StreamInterruptedError(ProviderError):
    """A stream broke off, carried an error event or ended without a finish reason.

    ``partial`` holds the text that had arrived. It is not an answer.
    """

    partial: str = ""


class AuthenticationError(ProviderError):
    """The server refuses the key, or there is none."""


class ModelNotFoundError(ProviderError):
    """The server doesn't serve this model; ``available`` lists what it does serve."""

    available: tuple[str, ...] = ()


class InvalidRequestError(ProviderError):
    """The server refuses the request itself."""


class ContextLengthError(InvalidRequestError):
    """Prompt and answer don't fit into the model's context."""


class RateLimitError(ProviderError):
    """Too many requests; ``retry_after`` gives the seconds if the server said so."""


class ServerOverloadedError(ProviderError):
    """The server can't take the request now."""


class ProviderAPIError(ProviderError):
    """Any other failure status, or an answer that isn't in the protocol."""


class ConstraintViolationError(AbstractCoreError):
    """The answer does not satisfy the constraint that was asked for.

    Args:
        text: The answer as it came.
        constraint: The constraint object.
        spelling: The request field that carried the constraint, as sent.
    """

    def __init__(
        self,
        message: str,
        *,
        text: str,
        constraint: object,
        spelling: str | None = None,
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, why=why, hint=hint)
        self.text = text
        self.constraint = constraint
        self.spelling = spelling

    @property
    def partial(self) -> str:
        """The text that arrived; it is not an answer."""
        return self.text


class TruncatedOutputError(ConstraintViolationError):
    """The length limit cut a constrained answer or a tool call; ``text`` is what had arrived."""


class ToolCallError(ConstraintViolationError):
    """The model called no known tool, broke a tool's schema, or made no call where one was due.

    ``calls`` holds all calls of the answer, as they came; ``constraint`` the tools.
    """

    calls: tuple[Any, ...] = ()


class StepLimitError(AbstractCoreError):
    """``run_tools`` came to no answer within its steps; ``messages`` holds the conversation up to there."""

    messages: tuple[Any, ...] = ()


class AdapterError(ProviderError):
    """An adapter can't be loaded or unloaded, is lost, or another model answered in its place."""


class DeployError(AbstractCoreError):
    """A server or container could not be started; ``log_tail`` holds its last lines."""

    log_tail: tuple[str, ...] = ()


class SessionError(AbstractCoreError):
    """A saved session can't be read or used."""
