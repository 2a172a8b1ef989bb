"""A server that answers from a script, for tests of code that uses abstractcore: no network, no model.

::

    server = FakeServer({"POST /v1/chat/completions": Reply.json({"choices": [...]})})
    llm = VLLMProvider("m", **server.transports)
    llm.generate("Hello")
    assert server.sent[-1]["messages"] == [{"role": "user", "content": "Hello"}]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeAlias
from urllib.parse import urlsplit

import msgspec

from ..errors import ProviderError
from ..wire.call import Answer, Call, ReadWithin


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a fake server.

    Args:
        chunks: The body, in the pieces in which a stream is read.
        status: HTTP status.
        headers: Names in lower case.
        fault: Raised when all chunks are read, in place of a clean end.
    """

    chunks: Sequence[bytes] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Exception | None = None

    @classmethod
    def json(cls, document: Any, status: int = 200) -> Self:
        """A JSON document."""
        return cls((msgspec.json.encode(document),), status, {"content-type": "application/json"})

    @classmethod
    def events(cls, documents: Iterable[Any], *, done: bool = True, fault: ProviderError | None = None) -> Self:
        """A stream of JSON documents, each in a chunk of its own; ``done`` adds ``[DONE]``."""
        payloads = [msgspec.json.encode(document) for document in documents]
        if done:
            payloads.append(b"[DONE]")
        chunks = [b"data: " + payload + b"\n\n" for payload in payloads]
        return cls(chunks, 200, {"content-type": "text/event-stream; charset=utf-8"}, fault)

    @classmethod
    def lines(cls, documents: Iterable[Any], *, fault: ProviderError | None = None) -> Self:
        """A stream of JSON documents, one a line, as Ollama sends it; each in a chunk of its own."""
        chunks = [msgspec.json.encode(document) + b"\n" for document in documents]
        return cls(chunks, 200, {"content-type": "application/x-ndjson"}, fault)


Answers: TypeAlias = Reply | ProviderError | Callable[[Call], "Reply | ProviderError"]
"""What a route does: answer, fail without an answer, or decide by the request."""


class FakeServer:
    """Answers requests from a script.

    Args:
        routes: ``"METHOD /path"`` to what is answered there; a list is used up one by one, and its last entry stays.
            What has no route answers 404, as FastAPI does.
    """

    def __init__(self, routes: Mapping[str, Answers | Sequence[Answers]]) -> None:
        self.routes: dict[str, list[Answers]] = {}
        self.calls: list[Call] = []
        """All requests, in order."""
        self.aborted: list[Call] = []
        """Streams that were closed before their end."""
        self.closed = 0
        """How often idle connections were closed."""
        for name, answers in routes.items():
            self.route(name, answers)

    def route(self, name: str, answers: Answers | Sequence[Answers]) -> None:
        """Adds a route or replaces it."""
        self.routes[name] = list(answers) if isinstance(answers, Sequence) else [answers]

    @property
    def transports(self) -> dict[str, Any]:
        """What a provider takes in place of the network: ``transport`` and ``async_transport``."""
        return {"transport": FakeTransport(self), "async_transport": FakeAsyncTransport(self)}

    @property
    def sent(self) -> list[Any]:
        """The JSON bodies of all requests that had one."""
        return [msgspec.json.decode(call.body) for call in self.calls if call.body]

    def paths(self) -> list[str]:
        """``METHOD /path`` of all requests, in order."""
        return [_name(call) for call in self.calls]

    def answer(self, call: Call) -> Reply:
        """Takes a request.

        Raises:
            ProviderError: The script says that there is no answer.
        """
        self.calls.append(call)
        script = self.routes.get(_name(call))
        if not script:
            return Reply.json({"detail": "Not Found"}, 404)
        step = script.pop(0) if len(script) > 1 else script[0]
        outcome = step if isinstance(step, Reply | ProviderError) else step(call)
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome


def _name(call: Call) -> str:
    return f"{call.method} {urlsplit(call.url).path}"


class Answering(Protocol):
    """What answers requests: ``FakeServer``, or a recording."""

    aborted: list[Call]
    closed: int

    def answer(self, call: Call) -> Reply:
        """Takes a request."""


class _Exchange:
    """One answer, as a driver reads it."""

    def __init__(self, server: Answering, call: Call) -> None:
        reply = server.answer(call)
        self._server = server
        self._call = call
        self._fault = reply.fault
        self._chunks: Iterator[bytes] = iter(reply.chunks if call.stream else ())
        self._ended = not call.stream
        if reply.fault is not None and not call.stream:
            raise reply.fault
        self.answer = Answer(reply.status, reply.headers, b"" if call.stream else b"".join(reply.chunks))

    def take(self) -> bytes:
        for chunk in self._chunks:
            if chunk:
                return chunk
        self._ended = True
        if self._fault is not None:
            raise self._fault
        return b""

    def close(self) -> None:
        if not self._ended:
            self._ended = True
            self._server.aborted.append(self._call)


class _BlockingExchange(_Exchange):
    def read(self, within: ReadWithin | None = None) -> bytes:
        return self.take()


class _AsyncExchange(_Exchange):
    async def read(self, within: ReadWithin | None = None) -> bytes:
        return self.take()


class FakeTransport:
    """The blocking way to a fake server."""

    def __init__(self, server: Answering) -> None:
        self.server = server

    def open(self, call: Call) -> _BlockingExchange:
        """Hand a request to the server."""
        return _BlockingExchange(self.server, call)

    def close(self) -> None:
        """Counted by the server."""
        self.server.closed += 1


class FakeAsyncTransport:
    """The way to a fake server from an event loop."""

    def __init__(self, server: Answering) -> None:
        self.server = server

    async def open(self, call: Call) -> _AsyncExchange:
        """Hand a request to the server."""
        return _AsyncExchange(self.server, call)

    def close(self) -> None:
        """Counted by the server."""
        self.server.closed += 1
