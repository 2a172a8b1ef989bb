"""Reads a streamed chat or text completion in OpenAI's protocol."""

from __future__ import annotations

import msgspec

from ..types import GenerateResponse
from .failure import read_failure
from .openai import DECODER, REFUSED, WireChoice, WireMessage, read_logprobs
from .sse import EventParser
from .stream import ABORTED, StreamReader

__all__ = ["ABORTED", "OpenAIStreamReader"]


class OpenAIStreamReader(StreamReader):
    """Turns the bytes of a stream of server-sent events into chunks.

    Args:
        provider: Name of the backend, for errors.
        url: Address of the request, for errors.
        n: Number of choices that were asked for; all must finish.
    """

    def __init__(self, *, provider: str, url: str, n: int = 1) -> None:
        super().__init__(provider=provider, url=url, n=n)
        self._parser = EventParser()
        self._refused: set[int] = set()
        """Choices in which the model declines to answer."""

    def _parse(self, data: bytes, chunks: list[GenerateResponse]) -> None:
        for event in self._parser.feed(data):
            if event.data == b"[DONE]":
                self._closing_mark = "[DONE]"
                continue
            try:
                self._read(event.data, chunks)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise self.malformed(event.data, error) from error

    def _rest(self) -> bytes:
        return self._parser.close()

    def _read(self, data: bytes, chunks: list[GenerateResponse]) -> None:
        event = DECODER.decode(data)
        if event.error is not None or event.object == "error":
            failure = read_failure(data)
            raise self.interrupted(
                f"the server reported an error inside the stream: {failure.message}",
                server_message=failure.message,
                status=failure.status,
                code=failure.code or failure.type,
            )
        if event.usage is not None:
            self.usage = event.usage.counted()
        if self.model is None:
            self.model = event.model
        if self.response_id is None:
            self.response_id = event.id
        for choice in event.choices:
            chunk = self._read_choice(choice)
            if chunk is not None:
                chunks.append(chunk)

    def _read_choice(self, choice: WireChoice) -> GenerateResponse | None:
        delta = choice.delta or choice.message or WireMessage(content=choice.text)
        if delta.refusal:
            self._refused.add(choice.index)
        refused = choice.index in self._refused and choice.finish_reason is not None
        return self.add(
            choice.index,
            text=delta.content or delta.refusal,
            reasoning=delta.reasoning or delta.reasoning_content,
            logprobs=read_logprobs(choice.logprobs) if choice.logprobs is not None else None,
            tools=delta.tool_calls or (),
            finish_reason=REFUSED if refused else choice.finish_reason,
        )
