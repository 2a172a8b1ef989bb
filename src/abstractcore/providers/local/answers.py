"""Puts what an engine generates into the JSON of OpenAI's protocol, as the readers in ``wire`` expect it. Pure."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ...types import ModelInfo, TokenLogprob, Usage
from ...wire.openai import ToolCallDelta, usage_fields
from .engine import Delta, EngineError

DONE: Final = b"data: [DONE]\n\n"
_TYPES: Final = {400: "invalid_request_error", 404: "not_found_error", 500: "internal_error"}


class Writer:
    """Writes the answer to one request.

    Args:
        body: The request, in OpenAI's form.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._chat = "messages" in body
        options = body.get("stream_options") or {}
        self._says_usage = bool(options.get("include_usage"))
        kind = "chat.completion" if self._chat else "text_completion"
        prefix = "chatcmpl" if self._chat else "cmpl"
        self._head = {"id": f"{prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": body.get("model")}
        self._whole_kind, self._chunk_kind = kind, f"{kind}.chunk" if self._chat else kind

    def event(self, delta: Delta) -> bytes:
        """One event of a stream; empty if the delta has nothing to show but counts."""
        if not (delta.text or delta.reasoning or delta.tool_calls or delta.logprobs or delta.finish_reason):
            return b""
        choice = self._choice(delta, "delta")
        return _event({**self._head, "object": self._chunk_kind, "choices": [choice]})

    def end(self, usage: Usage | None) -> bytes:
        """The end of a stream."""
        if not self._says_usage or usage is None:
            return DONE
        return _event({**self._head, "object": self._chunk_kind, "choices": [], "usage": usage_fields(usage)}) + DONE

    def whole(self, deltas: Iterable[Delta]) -> bytes:
        """A whole answer."""
        choices: dict[int, list[Delta]] = {}
        usage = None
        for delta in deltas:
            usage = delta.usage or usage
            choices.setdefault(delta.index, []).append(delta)
        return msgspec.json.encode(
            {
                **self._head,
                "object": self._whole_kind,
                "choices": [self._choice(_joined(choices[index]), "message") for index in sorted(choices)],
                "usage": usage_fields(usage) if usage else None,
            }
        )

    def _choice(self, delta: Delta, key: str) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": delta.index, "finish_reason": delta.finish_reason}
        if not self._chat:
            choice["text"] = delta.text
            choice["logprobs"] = _parallel(delta.logprobs) if delta.logprobs else None
            return choice
        message: dict[str, Any] = {"role": "assistant", "content": delta.text}
        if delta.reasoning:
            message["reasoning"] = delta.reasoning
        if delta.tool_calls:
            message["tool_calls"] = delta.tool_calls
        choice[key] = message
        choice["logprobs"] = {"content": [_token(token) for token in delta.logprobs]} if delta.logprobs else None
        return choice


def error_body(error: EngineError) -> bytes:
    """The body of an error answer."""
    kind = _TYPES.get(error.status, "error")
    shown = {"message": error.message, "type": kind, "param": error.param, "code": error.code or error.status}
    return msgspec.json.encode({"error": shown})


def error_event(error: EngineError) -> bytes:
    """An error inside a stream that has begun."""
    return b"data: " + error_body(error) + b"\n\n"


def models_body(models: Sequence[ModelInfo]) -> bytes:
    """The list of what an engine has."""
    rows = [
        {
            "id": model.id,
            "object": "model",
            "owned_by": model.owned_by,
            "root": model.root,
            "parent": model.parent,
            "max_model_len": model.context_length,
        }
        for model in models
    ]
    return msgspec.json.encode({"object": "list", "data": rows})


def embeddings_body(model: str, vectors: Sequence[Sequence[float]], usage: Usage) -> bytes:
    """One vector for each text."""
    rows = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return msgspec.json.encode({"object": "list", "model": model, "data": rows, "usage": usage_fields(usage)})


def _event(document: Mapping[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


def _token(token: TokenLogprob) -> dict[str, Any]:
    tops = [{"token": text, "logprob": logprob} for text, logprob in token.top.items()]
    return {"token": token.token, "logprob": token.logprob, "top_logprobs": tops}


def _parallel(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [token.top for token in tokens],
    }


def _joined(deltas: Sequence[Delta]) -> Delta:
    return Delta(
        "".join(delta.text for delta in deltas),
        deltas[0].index,
        next((delta.finish_reason for delta in reversed(deltas) if delta.finish_reason), None),
        reasoning="".join(delta.reasoning or "" for delta in deltas) or None,
        tool_calls=_joined_calls([call for delta in deltas for call in delta.tool_calls]),
        logprobs=[token for delta in deltas for token in delta.logprobs],
    )


def _joined_calls(deltas: Sequence[ToolCallDelta]) -> list[ToolCallDelta]:
    calls: dict[int, ToolCallDelta] = {}
    for delta in deltas:
        known = calls.setdefault(delta.index, ToolCallDelta(delta.index))
        known.id = known.id or delta.id
        known.function.name = known.function.name or delta.function.name
        known.function.arguments = (known.function.arguments or "") + (delta.function.arguments or "")
    return [calls[index] for index in sorted(calls)]
