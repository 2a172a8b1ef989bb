"""Reads a streamed message in Anthropic's protocol."""

from __future__ import annotations

from typing import Any, Final, NoReturn

import msgspec
from msgspec import Struct

from ..types import GenerateResponse
from .anthropic import WireBlock, WireUsage, finish_reason, reasoning_blocks
from .failure import read_failure
from .openai import Completion, FunctionDelta, ToolCallDelta
from .sse import Event, EventParser
from .stream import StreamReader

_STOP: Final = "message_stop"


class _WireStart(Struct):
    id: str | None = None
    model: str | None = None
    usage: WireUsage | None = None


class _WireDelta(Struct):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _WireEvent(Struct):
    type: str
    index: int = 0
    message: _WireStart | None = None
    content_block: WireBlock | None = None
    delta: _WireDelta | None = None
    usage: WireUsage | None = None
    error: Any = None


_DECODER: Final = msgspec.json.Decoder(_WireEvent)


class AnthropicStreamReader(StreamReader):
    """Turns the bytes of a stream of events into chunks. Kinds of events that it doesn't know mean nothing to it.

    Args:
        provider: Name of the backend, for errors.
        url: Address of the request, for errors.
        n: Number of choices that were asked for; the protocol has one.
    """

    def __init__(self, *, provider: str, url: str, n: int = 1) -> None:
        super().__init__(provider=provider, url=url, n=n)
        self._parser = EventParser()
        self._counted: WireUsage | None = None
        self._reasoning: dict[int, WireBlock] = {}
        """The blocks of reasoning by their place."""

    def _parse(self, data: bytes, chunks: list[GenerateResponse]) -> None:
        for event in self._parser.feed(data):
            if event.type == "error":
                self._fail(event)
            try:
                chunk = self._read(event)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise self.malformed(event.data, error) from error
            if chunk is not None:
                chunks.append(chunk)

    def _rest(self) -> bytes:
        return self._parser.close()

    def finish(self) -> Completion:
        completion = super().finish()
        if self._closing_mark is None:
            raise self.interrupted(
                "the stream ended without its closing mark", why=f"there was a stop reason, but no {_STOP} event"
            )
        completion.answers[0].reasoning_blocks = reasoning_blocks(self._reasoning.values())
        return completion

    def _read(self, event: Event) -> GenerateResponse | None:
        found = _DECODER.decode(event.data)
        if found.type == "content_block_delta" and found.delta is not None:
            return self._read_delta(found.index, found.delta)
        if found.type == "content_block_start" and found.content_block is not None:
            return self._read_block(found.index, found.content_block)
        if found.type == "message_delta":
            self._count(found.usage)
            if found.delta is not None:
                return self.add(0, finish_reason=finish_reason(found.delta.stop_reason))
        elif found.type == "message_start" and found.message is not None:
            self.model, self.response_id = found.message.model, found.message.id
            self._count(found.message.usage)
        elif found.type == _STOP:
            self._closing_mark = _STOP
        elif found.type == "error" or found.error is not None:
            self._fail(event)
        return None

    def _read_delta(self, index: int, delta: _WireDelta) -> GenerateResponse | None:
        if delta.partial_json:
            tools = [ToolCallDelta(index, None, FunctionDelta(arguments=delta.partial_json))]
            return self.add(0, tools=tools)
        block = self._reasoning.get(index)
        if block is not None:
            block.thinking = (block.thinking or "") + (delta.thinking or "")
            block.signature = (block.signature or "") + (delta.signature or "")
        return self.add(0, text=delta.text, reasoning=delta.thinking)

    def _read_block(self, index: int, block: WireBlock) -> GenerateResponse | None:
        if block.type in ("thinking", "redacted_thinking"):
            self._reasoning[index] = block
        if block.type != "tool_use":
            return self.add(0, text=block.text, reasoning=block.thinking)
        given = msgspec.json.encode(block.input).decode() if block.input else None
        return self.add(0, tools=[ToolCallDelta(index, block.id, FunctionDelta(block.name, given))])

    def _count(self, usage: WireUsage | None) -> None:
        if usage is not None:
            self._counted = usage.after(self._counted)
            self.usage = self._counted.counted()

    def _fail(self, event: Event) -> NoReturn:
        failure = read_failure(event.data)
        raise self.interrupted(
            f"the server reported an error inside the stream: {failure.message}",
            server_message=failure.message,
            status=failure.status,
            code=failure.code or failure.type,
        )
