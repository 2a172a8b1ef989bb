"""Reads a stream in Ollama's protocol: JSON, one document a line."""

from __future__ import annotations

import msgspec

from ..types import GenerateResponse
from .failure import read_failure
from .ndjson import LineParser
from .ollama import DECODER, LOAD_REASONS, called, read_logprobs
from .stream import StreamReader


class OllamaStreamReader(StreamReader):
    """Turns the bytes of a stream of lines into chunks.

    Args:
        provider: Name of the backend, for errors.
        url: Address of the request, for errors.
        n: Number of choices that were asked for; the protocol knows one.
    """

    def __init__(self, *, provider: str, url: str, n: int = 1) -> None:
        super().__init__(provider=provider, url=url, n=n)
        self._parser = LineParser()
        self._calls = 0

    def _parse(self, data: bytes, chunks: list[GenerateResponse]) -> None:
        for line in self._parser.feed(data):
            try:
                self._read(line, chunks)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise self.malformed(line, error) from error

    def _rest(self) -> bytes:
        return self._parser.close()

    def _read(self, data: bytes, chunks: list[GenerateResponse]) -> None:
        line = DECODER.decode(data)
        if line.error is not None:
            failure = read_failure(data)
            raise self.interrupted(
                f"the server reported an error inside the stream: {failure.message}",
                server_message=failure.message,
                status=failure.status,
                code=failure.code or failure.type,
            )
        if line.message is None and line.response is None:
            raise msgspec.ValidationError("it has neither a message nor a response")
        if line.done_reason in LOAD_REASONS:
            raise self.interrupted(f"nothing was generated: the done reason is {line.done_reason!r}")
        self.model = self.model or line.model
        self.usage = line.usage or self.usage
        if line.done:
            self._closing_mark = "the line that says done"
        said = line.said
        calls = said.tool_calls or ()
        # Calls come whole but uncounted, so they are counted here: else two of them would be put together.
        deltas = [call.delta(self._calls + place) for place, call in enumerate(calls)]
        self._calls += len(deltas)
        chunk = self.add(
            0,
            text=said.content,
            reasoning=said.thinking,
            logprobs=read_logprobs(line.logprobs),
            tools=deltas,
            finish_reason=called(line.finish_reason, self._calls > 0),
        )
        if chunk is not None:
            chunks.append(chunk)
