"""Answers of any backend as chat and text completions in OpenAI's protocol, whole and streamed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import Any

import msgspec

from ...types import Alternative, GenerateResponse, TokenLogprob, ToolCall, Usage
from .protocol import extension


class Renderer:
    """Renders the answer to one request.

    Args:
        request_id: Under which the gateway logs it.
        model: What the client asked for; answers name it where the backend names none.
        chat: A chat completion, else a text completion.
        include_usage: Whether the last chunk of a stream carries the token counts.
    """

    def __init__(self, request_id: str, model: str, *, chat: bool, include_usage: bool = False) -> None:
        self._id = f"{'chatcmpl' if chat else 'cmpl'}-{request_id}"
        self._model = model
        self._chat = chat
        self._include_usage = include_usage
        self._created = int(time())
        self._begun: set[int] = set()

    def whole(self, response: GenerateResponse) -> dict[str, Any]:
        """A whole answer."""
        first = Alternative(
            index=0,
            content=response.content,
            finish_reason=response.finish_reason,
            tool_calls=response.tool_calls,
            reasoning=response.reasoning,
            logprobs=response.logprobs,
            score=response.score,
        )
        answers = [first, *response.alternatives]
        out = self._frame("chat.completion" if self._chat else "text_completion", response)
        out["choices"] = [self._choice(index, answer) for index, answer in enumerate(answers)]
        out["usage"] = _usage(response.usage or Usage())
        out["abstractcore"] = {**extension(response.metadata), **_scores(answers)}
        return out

    def _choice(self, index: int, answer: Alternative) -> dict[str, Any]:
        out: dict[str, Any] = {"index": index, "finish_reason": answer.finish_reason}
        if not self._chat:
            return {**out, "text": answer.content, "logprobs": _text_logprobs(answer.logprobs)}
        message: dict[str, Any] = {"role": "assistant", "content": answer.content or None}
        if not answer.tool_calls:
            message["content"] = answer.content
        else:
            message["tool_calls"] = [_tool_call(call, at) for at, call in enumerate(answer.tool_calls)]
        if answer.reasoning:
            message["reasoning"] = answer.reasoning
        return {**out, "message": message, "logprobs": _chat_logprobs(answer.logprobs)}

    def chunk(self, response: GenerateResponse) -> bytes:
        """The events for one chunk of a stream; the last chunk is the one with a finish reason and metadata."""
        if response.metadata:
            return self._last(response)
        return self._event(response, [self._delta(response.index, response)])

    def _delta(self, index: int, part: GenerateResponse | Alternative, *, text: bool = True) -> dict[str, Any]:
        finish = part.finish_reason
        content = part.content if text else ""
        if not self._chat:
            return {"index": index, "text": content, "logprobs": _text_logprobs(part.logprobs), "finish_reason": finish}
        delta: dict[str, Any] = {}
        if index not in self._begun:
            self._begun.add(index)
            delta["role"] = "assistant"
        if content or (not part.reasoning and not part.tool_calls and finish is None):
            delta["content"] = content
        if part.reasoning and text:
            delta["reasoning"] = part.reasoning
        if part.tool_calls:
            delta["tool_calls"] = [_tool_call(call, at) for at, call in enumerate(part.tool_calls)]
        return {"index": index, "delta": delta, "logprobs": _chat_logprobs(part.logprobs), "finish_reason": finish}

    def _last(self, response: GenerateResponse) -> bytes:
        others = response.alternatives
        choices = [self._delta(response.index, response)]
        choices += [self._delta(other.index, other, text=other.index not in self._begun) for other in others]
        events = self._event(response, choices)
        extra = {**extension(response.metadata), **_scores(response.alternatives)}
        if self._include_usage or extra:
            frame = self._frame(self._object, response)
            frame["choices"] = []
            if self._include_usage:
                frame["usage"] = _usage(response.usage or Usage())
            if extra:
                frame["abstractcore"] = extra
            events += b"data: " + msgspec.json.encode(frame) + b"\n\n"
        return events + b"data: [DONE]\n\n"

    @property
    def _object(self) -> str:
        return "chat.completion.chunk" if self._chat else "text_completion"

    def _event(self, response: GenerateResponse, choices: list[dict[str, Any]]) -> bytes:
        frame = self._frame(self._object, response)
        frame["choices"] = choices
        return b"data: " + msgspec.json.encode(frame) + b"\n\n"

    def _frame(self, kind: str, response: GenerateResponse) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": response.model or self._model,
        }


def _usage(usage: Usage) -> dict[str, Any]:
    out: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        out["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return out


def _scores(answers: Sequence[Alternative]) -> dict[str, Any]:
    scores = [answer.score for answer in answers]
    return {"scores": scores} if len(scores) > 1 and any(score is not None for score in scores) else {}


def _tool_call(call: ToolCall, index: int) -> dict[str, Any]:
    arguments = msgspec.json.encode(call.arguments).decode()
    return {
        "index": index,
        "id": call.call_id or f"call_{index}",
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _chat_logprobs(tokens: list[TokenLogprob] | None) -> dict[str, Any] | None:
    if not tokens:
        return None
    return {
        "content": [
            {
                "token": token.token,
                "logprob": token.logprob,
                "bytes": list(token.token.encode("utf-8", "surrogatepass")),
                "top_logprobs": [
                    {"token": top, "logprob": value, "bytes": list(top.encode("utf-8", "surrogatepass"))}
                    for top, value in token.top.items()
                ],
            }
            for token in tokens
        ]
    }


def _text_logprobs(tokens: list[TokenLogprob] | None) -> dict[str, Any] | None:
    if not tokens:
        return None
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [token.top or None for token in tokens],
        "text_offset": [],
    }
