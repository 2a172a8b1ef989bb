"""Answers of any backend as chat and text completions in OpenAI's protocol, whole and streamed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time
from typing import Any, Final

import msgspec

from ...types import Alternative, GenerateResponse, TokenLogprob, ToolCall, Usage
from ...wire.openai import REFUSED, usage_fields

_EXTENSION: Final = ("constraint", "emulated", "knobs", "server_version")


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
        self._told: set[int] = set()
        """Choices of which some text is out."""
        self._offsets: dict[int, int] = {}

    def whole(self, response: GenerateResponse) -> dict[str, Any]:
        """A whole answer."""
        answers = [_first(response), *response.alternatives]
        return {
            **self._frame("chat.completion" if self._chat else "text_completion", response),
            "choices": [self._choice(index, answer) for index, answer in enumerate(answers)],
            "usage": usage_fields(response.usage or Usage()),
            "abstractcore": extension(response, answers),
        }

    def _choice(self, index: int, answer: Alternative) -> dict[str, Any]:
        finish = _finish(answer.finish_reason)
        if not self._chat:
            logprobs = self._text_logprobs(index, answer.logprobs)
            return {"index": index, "text": answer.content, "logprobs": logprobs, "finish_reason": finish}
        message: dict[str, Any] = {"role": "assistant", "content": answer.content}
        if answer.finish_reason == REFUSED:
            message |= {"content": None, "refusal": answer.content}
        if answer.tool_calls:
            message["content"] = answer.content or None
            message["tool_calls"] = [_tool_call(call, at) for at, call in enumerate(answer.tool_calls)]
        if answer.reasoning:
            message["reasoning"] = answer.reasoning
        logprobs = _chat_logprobs(answer.logprobs)
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish}

    def chunk(self, response: GenerateResponse) -> bytes:
        """The events for one chunk of a stream; the last chunk is the one with a finish reason, and ends the stream."""
        if response.finish_reason is None:
            return self._add(response, response.index, response)
        return self._last(response)

    def _last(self, response: GenerateResponse) -> bytes:
        """What is left of each choice, how it ended, and what there is to say of all of them."""
        answers = [_first(response, response.index), *response.alternatives]
        events = []
        for answer in answers:
            told = answer.index != response.index and answer.index in self._told
            rest = msgspec.structs.replace(answer, content="", reasoning=None, logprobs=None) if told else answer
            if rest.content or rest.reasoning or rest.logprobs or rest.tool_calls:
                events.append(self._add(response, answer.index, rest))
        extra = extension(response, answers)
        for answer in answers:
            end = self._end(response, answer)
            if answer is answers[-1] and extra and not self._include_usage:
                end["abstractcore"] = extra
            events.append(_event(end))
        if self._include_usage:
            frame = {
                **self._frame(self._object, response),
                "choices": [],
                "usage": usage_fields(response.usage or Usage()),
            }
            events.append(_event({**frame, "abstractcore": extra} if extra else frame))
        return b"".join((*events, b"data: [DONE]\n\n"))

    def _add(self, response: GenerateResponse, index: int, part: GenerateResponse | Alternative) -> bytes:
        """The event that adds to a choice."""
        frame = self._frame(self._object, response)
        if part.content:
            self._told.add(index)
        if not self._chat:
            logprobs = self._text_logprobs(index, part.logprobs)
            choice = {"index": index, "text": part.content, "logprobs": logprobs, "finish_reason": None}
            return _event({**frame, "choices": [choice]})
        delta = self._role(index)
        if part.reasoning:
            delta["reasoning"] = part.reasoning
        if part.finish_reason == REFUSED:
            delta["refusal"] = part.content
        elif part.content:
            delta["content"] = part.content
        if part.tool_calls:
            delta["tool_calls"] = [_tool_call(call, at) for at, call in enumerate(part.tool_calls)]
        logprobs = _chat_logprobs(part.logprobs)
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}
        return _event({**frame, "choices": [choice]})

    def _role(self, index: int) -> dict[str, Any]:
        if index in self._begun:
            return {}
        self._begun.add(index)
        return {"role": "assistant", "content": ""}

    def _end(self, response: GenerateResponse, answer: Alternative) -> dict[str, Any]:
        finish = _finish(answer.finish_reason)
        choice: dict[str, Any] = {"index": answer.index, "logprobs": None, "finish_reason": finish}
        choice |= {"delta": self._role(answer.index)} if self._chat else {"text": ""}
        return {**self._frame(self._object, response), "choices": [choice]}

    @property
    def _object(self) -> str:
        return "chat.completion.chunk" if self._chat else "text_completion"

    def _frame(self, kind: str, response: GenerateResponse) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": response.model or self._model,
        }

    def _text_logprobs(self, index: int, tokens: list[TokenLogprob] | None) -> dict[str, Any] | None:
        if not tokens:
            return None
        at = self._offsets.get(index, 0)
        offsets = []
        for token in tokens:
            offsets.append(at)
            at += len(token.token)
        self._offsets[index] = at
        return {
            "tokens": [token.token for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [token.top or None for token in tokens],
            "text_offset": offsets,
        }


def extension(response: GenerateResponse, answers: Sequence[Alternative]) -> dict[str, Any]:
    """What an answer says beyond OpenAI's protocol: how promises were kept, and the scores of several answers."""
    metadata: Mapping[str, Any] = response.metadata
    extra = {name: metadata[name] for name in _EXTENSION if metadata.get(name)}
    scores = [answer.score for answer in answers]
    if len(scores) > 1 and any(score is not None for score in scores):
        extra["scores"] = scores
    return extra


def _first(response: GenerateResponse, index: int = 0) -> Alternative:
    return Alternative(
        index=index,
        content=response.content,
        finish_reason=response.finish_reason,
        tool_calls=response.tool_calls,
        reasoning=response.reasoning,
        logprobs=response.logprobs,
        score=response.score,
    )


def _finish(reason: str | None) -> str | None:
    return "stop" if reason == REFUSED else reason


def _event(frame: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(frame) + b"\n\n"


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
    content = [
        {
            **_token(token.token, token.logprob),
            "top_logprobs": [_token(top, logprob) for top, logprob in token.top.items()],
        }
        for token in tokens
    ]
    return {"content": content}


def _token(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "surrogatepass"))}
