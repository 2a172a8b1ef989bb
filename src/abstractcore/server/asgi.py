"""The little of ASGI that the gateway needs: a request, its body within a limit, and the ways to answer it."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import msgspec

from .errors import GatewayError, event

if TYPE_CHECKING:
    from ..errors import AbstractCoreError
    from .keys import Key

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

JSON: Final = (b"content-type", b"application/json")
EVENTS: Final = (b"content-type", b"text/event-stream; charset=utf-8")
_ID: Final = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
"""What a client may call its request: it goes upstream, and into logs."""
_PROCESS: Final = os.urandom(8).hex()
_NUMBERS: Final = itertools.count(1)
LEAVING: Final = "abstractcore.leaving"
"""ASGI extension of our own connections: they say that a client leaves, without a task that waits for it."""


class Leaving(Protocol):
    """Waits for the client to go away."""

    def cancel(self) -> object:
        """The request is over: there is nothing to wait for any more."""


class Request:
    """One HTTP request and the way back to whoever sent it.

    Args:
        scope: ASGI's scope.
        receive: ASGI's way to the body.
        send: ASGI's way back.
    """

    __slots__ = (
        "_headers", "_leaving", "_receive", "_send", "backend", "begun", "ended", "extra", "failure", "farewell", "id",
        "key", "left", "method", "model", "parts", "path", "proof", "query", "scope", "started", "status", "streamed",
        "usage",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._receive = receive
        self._send = send
        self.started = monotonic()
        self.status = 0
        """Of the answer, once it has begun."""
        self.begun = 0.0
        """When the answer began."""
        self.streamed = False
        """Whether the answer is a stream of events."""
        self.ended = False
        """Whether the last part of the answer is out."""
        self.left = False
        """Whether the client went away before that."""
        self._leaving: Leaving | None = None
        self.extra: Headers = []
        """Headers that go with the answer, whatever it is."""
        self.parts = 0
        """Of the answer that were sent."""
        self.farewell: Callable[[AbstractCoreError], bytes] = event
        """What ends a stream that failed."""
        self.key: Key | None = None
        """Who asks, where keys are needed."""
        self.model: str | None = None
        """What is asked, in the client's words, once they are read."""
        self.backend: str | None = None
        """Name of the backend, once it is chosen. This and what follows is for the metrics."""
        self.usage: tuple[int, int] | None = None
        """Tokens of prompt and answer, where they are known."""
        self.proof: bool | None = None
        """Whether an answer's constraint was held; ``None`` if there was none."""
        self.failure: AbstractCoreError | None = None
        """What went wrong, also after the answer had begun."""
        given = self.header(b"x-request-id")
        self.id = given if given and _ID.fullmatch(given) else f"req-{_PROCESS}{next(_NUMBERS):08x}"

    def header(self, name: bytes) -> str | None:
        """A header of the request; names are lower case."""
        for key, value in self._headers:
            if key == name:
                return value.decode("latin-1")
        return None

    async def body(self, limit: int, *, watch: bool = True) -> bytes:
        """The whole body.

        Args:
            limit: Most bytes that it may have.
            watch: From then on cancel the task that runs this, when the client goes away.

        Raises:
            GatewayError: It has more than ``limit`` bytes.
            ClientLeftError: The client went away before it was complete.
        """
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise GatewayError(
                    f"the request's body is larger than {limit} bytes",
                    status=413,
                    code="request_too_large",
                    hint="the operator can raise limits.max_body_bytes",
                )
            if not message.get("more_body"):
                if watch:
                    self.watch()
                return part if not parts else b"".join((*parts, part))
            parts.append(part)

    def watch(self) -> None:
        """From now on the task that runs this is cancelled when the client goes away. The body must have been read."""
        task = asyncio.current_task()

        def leave() -> None:
            if not self.ended and task is not None:
                self.left = True
                task.cancel()

        extension = self.scope.get("extensions", {}).get(LEAVING)
        self._leaving = extension["then"](leave) if extension is not None else asyncio.ensure_future(self._wait(leave))

    async def _wait(self, leave: Callable[[], object]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        leave()

    def close(self) -> None:
        """Nobody waits for the client any more."""
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    async def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Sends the head of the answer."""
        self.status = status
        self.begun = monotonic()
        every = [*headers, *self.extra, (b"x-request-id", self.id.encode())]
        self.streamed = EVENTS in every
        await self._send({"type": "http.response.start", "status": status, "headers": every})

    async def write(self, data: bytes) -> None:
        """Sends a part of the body; waits while the client reads too slowly."""
        self.parts += 1
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Sends the last part of the body."""
        self.ended = True
        await self._send({"type": "http.response.body", "body": data})

    async def answer(self, status: int, data: bytes, *headers: tuple[bytes, bytes]) -> None:
        """Sends a whole answer."""
        await self.begin(status, (*headers, (b"content-length", str(len(data)).encode())))
        await self.end(data)

    async def json(self, value: Any, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
        """Sends a value as JSON."""
        await self.answer(status, msgspec.json.encode(value), JSON, *headers)


class ClientLeftError(Exception):
    """The client went away: there is nobody to answer."""
