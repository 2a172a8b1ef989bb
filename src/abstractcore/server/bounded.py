"""uvicorn's HTTP connection with bounds: how large a request's head may be, how long requests and reading may take.

Neither uvicorn nor its parser has them: a client that sends headers without end takes memory without end, and one that
sends nothing, or a byte now and then, or that reads nothing, keeps a connection and a place for ever.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .config import Limits
from .errors import GatewayError, envelope


class Bounded(HttpToolsProtocol):
    """A connection whose requests have to come within bounds."""

    _limits = Limits()
    _timer: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    """Runs while the client takes nothing of what it is sent."""
    _is_whole = False
    """Whether nothing is missing of a request that has begun."""
    _in_head = True
    _head_bytes = 0
    _piece = 0
    """Bytes that came last."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._limits = getattr(self.config.app, "limits", self._limits)
        self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._go_on()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._piece = len(data)
        super().data_received(data)
        if self._is_whole:
            return
        # Most requests come in one piece, so neither a count nor a timer is needed for them.
        if self._timer is None:
            self._start()
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.max_head_bytes:
                self._refuse_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self._limits.idle_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._go_on()

    def _go_on(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_whole, self._in_head, self._head_bytes = False, True, 0

    def on_headers_complete(self) -> None:
        most = self._limits.max_head_bytes
        if self._piece > most and sum(len(name) + len(value) for name, value in self.headers) > most:
            self._refuse_head()
            raise _HeadTooLargeError  # the parser stops at it
        super().on_headers_complete()
        self._in_head = False

    def on_message_complete(self) -> None:
        self._is_whole = True
        self._stop()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "invalid_http", "this is no HTTP request")

    def _refuse_head(self) -> None:
        self._refuse(431, "head_too_large", f"the request's head is over {self._limits.max_head_bytes} bytes")

    def _start(self) -> None:
        self._timer = self.loop.call_later(self._limits.request_seconds, self._too_late)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self._in_head and not self._head_bytes:
            self.transport.close()  # nothing was asked
        else:
            message = f"the request was not complete after {self._limits.request_seconds:g} s"
            self._refuse(408, "request_too_slow", message)

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answers without the application, unless it has begun to, and closes the connection."""
        self._is_whole = True  # whatever else may come
        self._stop()
        if not self.transport.is_closing():
            if self._in_head or self.cycle is None or not self.cycle.response_started:
                body = envelope(GatewayError(message, status=status, code=code))
                head = (
                    f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
                    f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
                )
                self.transport.write(head.encode() + body)
            self.transport.close()


class _HeadTooLargeError(Exception):
    """The head of a request is too large, and refused."""
