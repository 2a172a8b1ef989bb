"""uvicorn's HTTP connection, with two things that a gateway wants of it.

What it writes is gathered (``transport.outbox``): head and body of an answer leave together. And it says at once that
the client left, without a task that waits for it beside each request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from ..transport.outbox import Outbox
from .asgi import LEAVING
from .bounded import Bounded


class Connection(Bounded):
    """A connection of a client."""

    _leaving: Leaving | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Gathering(transport, self.loop))  # type: ignore[arg-type]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {LEAVING: {"then": self.on_leave}}

    def on_leave(self, then: Callable[[], object]) -> Leaving:
        """Calls ``then`` when the client goes away; one at a time, as requests of a connection follow each other."""
        leaving = self._leaving = Leaving(then)
        if self.transport.is_closing():
            self.loop.call_soon(leaving.leave)
        return leaving

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._leaving is not None:
            self._leaving.leave()
            self._leaving = None


class Leaving:
    """What is to be done when the client of a request goes away.

    Args:
        then: It.
    """

    __slots__ = ("_left", "_then")

    def __init__(self, then: Callable[[], object]) -> None:
        self._then: Callable[[], object] | None = then
        self._left = False

    def leave(self) -> None:
        """The client went away."""
        then, self._then = self._then, None
        if then is not None:
            self._left = True
            then()

    def done(self) -> bool:
        """Whether it went away before ``cancel``."""
        return self._left

    def cancel(self) -> None:
        """The request is over."""
        self._then = None


class _Gathering:
    """A transport whose writes are gathered; all else is the transport's own."""

    __slots__ = ("_loop", "_outbox", "_transport", "is_closing", "pause_reading", "resume_reading")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport: Final = transport
        self._loop: Final = loop
        self._outbox: Final = Outbox.of(loop)
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        self._outbox.write(self._loop, self._transport, data)

    def close(self) -> None:
        self._outbox.send(self._transport)
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
