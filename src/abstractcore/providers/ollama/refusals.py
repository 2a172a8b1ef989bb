"""What Ollama's refusals mean: most have neither a code nor a type, and some have the wrong status."""

from __future__ import annotations

from typing import Final

from ...errors import ContextLengthError, InvalidRequestError, ModelNotFoundError, ProviderAPIError, ProviderError
from ...types import GenerateRequest
from ...wire import ollama as wire
from ...wire.failure import read_failure

_TOO_LONG_CODE: Final = "exceed_context_size_error"
"""The type of llama-server's own error, which Ollama hands on as a text of JSON."""
_TOO_LONG: Final = frozenset(
    {
        "the input length exceeds the context length",
        (
            "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust "
            "the context length in settings, or use a model with a longer context length"
        ),
    }
)
"""Ollama's own refusals have neither code nor type. These are the whole sentences, and only whole ones count."""


def as_too_long(error: InvalidRequestError) -> ContextLengthError | None:
    """The same refusal as what it is, if the reason is the length."""
    text = error.server_message or ""
    inner = read_failure(text.encode()) if text.startswith("{") else None
    if inner is not None and inner.type != _TOO_LONG_CODE:
        inner = None
    if inner is None and text not in _TOO_LONG:
        return None
    message = inner.message if inner else text
    return ContextLengthError(
        f"ollama: the request doesn't fit into the model's context (HTTP {error.status}): {message}",
        provider=error.provider,
        model=error.model,
        url=error.url,
        status=error.status,
        server_message=text,
        code=inner.type if inner else None,
        hint="extra_body={'num_ctx': ...} for a longer context, or extra_body={'truncate': True} to have it shortened",
    )


def as_wrong_option(request: GenerateRequest, error: ProviderAPIError) -> ProviderError:
    """An option of a wrong type is answered with status 500; it is the request that is at fault all the same."""
    options = wire.request_body(request, "", stream=False).get("options", {})
    wrong = wire.wrong_option(options) if error.status == 500 else None
    if wrong is None:
        return error
    name, wanted = wrong
    return InvalidRequestError(
        f"ollama: the server refuses {name}={options[name]!r} (HTTP {error.status}): {error.server_message}",
        provider=error.provider,
        model=error.model,
        url=error.url,
        status=error.status,
        server_message=error.server_message,
        param=name,
        hint=f"give {name} as {wanted}",
    )


def with_pull(error: ModelNotFoundError) -> ModelNotFoundError:
    """Adds how the model is fetched."""
    has = f"    ({error.hint})" if error.available else ""
    error.hint = f"ollama pull {error.model}{has}"
    return error
