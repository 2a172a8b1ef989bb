"""The only code that opens sockets.

A thin HTTP/1.1 client of our own on httptools (llhttp). Existing clients were measured and fell short: pyreqwest has
no Unix sockets, holds Ctrl-C back during a blocking read and refuses to work after ``fork``; aiohttp is async only,
takes 350 ms to import and 5.6 times the CPU of a bare socket a request.

``sync`` and ``aio`` drive plans (see ``wire.call``) over anything that follows the protocols below; ``http_sync`` and
``http_async`` are the real ones. Names are loaded when asked for: blocking use never imports asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..wire.call import Answer, Call, ReadWithin

if TYPE_CHECKING:
    from .aio import AsyncDriver as AsyncDriver
    from .aio import AsyncStream as AsyncStream
    from .http_async import AsyncHttpTransport as AsyncHttpTransport
    from .http_sync import HttpTransport as HttpTransport
    from .sync import Stream as Stream
    from .sync import SyncDriver as SyncDriver


class Exchange(Protocol):
    """One request on its way, blocking."""

    @property
    def answer(self) -> Answer:
        """Status and headers; the body too, unless the call streams."""

    def read(self, within: ReadWithin | None = None) -> bytes:
        """Wait for body bytes; ``b""`` at a clean end, an error at a cut or when ``within`` runs out."""

    def close(self) -> None:
        """Abort, unless the answer was complete."""


class Transport(Protocol):
    """Sends requests, blocking."""

    def open(self, call: Call) -> Exchange:
        """Send a request; return when the head of the answer is there, or all of it unless ``call.stream``."""

    def close(self) -> None:
        """Close idle connections."""


class AsyncExchange(Protocol):
    """One request on its way, in an event loop."""

    @property
    def answer(self) -> Answer:
        """Status and headers; the body too, unless the call streams."""

    async def read(self, within: ReadWithin | None = None) -> bytes:
        """Wait for body bytes; ``b""`` at a clean end, an error at a cut or when ``within`` runs out."""

    def close(self) -> None:
        """Abort, unless the answer was complete. Does not wait; callable from any thread."""


class AsyncTransport(Protocol):
    """Sends requests in an event loop."""

    async def open(self, call: Call) -> AsyncExchange:
        """Send a request; return when the head of the answer is there, or all of it unless ``call.stream``."""

    def close(self) -> None:
        """Close idle connections."""


_HOMES = {
    "AsyncDriver": "aio",
    "AsyncHttpTransport": "http_async",
    "AsyncStream": "aio",
    "HttpTransport": "http_sync",
    "Stream": "sync",
    "SyncDriver": "sync",
}

__all__ = [
    "AsyncDriver",
    "AsyncExchange",
    "AsyncHttpTransport",
    "AsyncStream",
    "AsyncTransport",
    "Exchange",
    "HttpTransport",
    "Stream",
    "SyncDriver",
    "Transport",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{home}", __name__), name)
