"""One asyncio connection: feeds bytes to an answer's reader, wakes who waits, keeps time limits and back-pressure."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from time import monotonic
from typing import Final, cast

from ..errors import ProviderError
from ..wire.call import ReadWithin
from ..wire.http1 import FramingError, ResponseReader, TruncatedError
from .deadline import NEVER, Deadlines
from .failure import closed_here, exchange_failed, foreign, timed_out
from .outbox import Outbox
from .route import Origin

_SECOND_LOOK: Final = 0.001
"""Seconds."""
HIGH_WATER: Final = 256 * 1024
"""Received bytes that nobody took yet, above which the connection stops reading."""


class Connection(asyncio.BufferedProtocol):
    """A connection, and the answer that is being read from it.

    Args:
        origin: What it is connected to.
        buffer: Received bytes pass through it; all connections of a loop share one, as none keeps it.
        on_lost: Called when the connection is gone.
    """

    __slots__ = (
        "_buffer",
        "_buffered",
        "_cause",
        "_deadlines",
        "_loop",
        "_on_lost",
        "_outbox",
        "_paused",
        "_phase",
        "_pid",
        "_reader",
        "_seen",
        "_timer",
        "_until",
        "_url",
        "_waiter",
        "_whole",
        "begun",
        "delivered",
        "failure",
        "head_at",
        "idle_since",
        "origin",
        "transport",
    )

    transport: asyncio.Transport
    _deadlines: Deadlines

    def __init__(self, origin: Origin, buffer: memoryview, on_lost: Callable[[Connection], None]) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self.failure: ProviderError | None = None
        self.delivered = False
        self._cause: Exception | None = None
        self._buffer = buffer
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox.of(self._loop)
        self._pid = os.getpid()
        self._reader: ResponseReader | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until = self._seen = NEVER
        self._phase = ""

    def begin(self, reader: ResponseReader, deadlines: Deadlines, url: str, *, whole: bool) -> None:
        """Get ready for an answer; ``whole`` lets ``wait`` sleep until it is complete."""
        self._reader = reader
        self._deadlines = deadlines
        self._url = url
        self._whole = whole
        self._buffered = 0
        self._paused = False
        self.begun = False
        self.delivered = False
        self.head_at = 0.0
        self._until = deadlines.total_at
        self._phase = "total"

    def send(self, request: bytes | memoryview) -> None:
        """Send a request; its time limits start now."""
        self._deadlines.sent(self._loop.time())
        if self.transport.is_closing():
            self._fail(self._cause or TruncatedError("the server closed the connection at once"))
        else:
            self._outbox.write(self._loop, self.transport, request)

    async def wait(self, within: ReadWithin | None = None) -> None:
        """Wait until more of the answer is there: its head first, then bytes of its body.

        Args:
            within: A limit that holds beside those of the call.

        Raises:
            ProviderError: The connection broke or a time limit ran out.
        """
        if self.failure is None:
            self._deadlines.content(self._loop.time() if within else 0.0, within)
            self._watch()
        if self.failure is not None:
            raise self.failure
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiter = None
            self._until = self._deadlines.total_at
            self._phase = "total"

    def taken(self) -> None:
        """What had come was taken from the reader: there is room for more."""
        self._buffered = 0
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def end(self) -> bool:
        """Leave the answer behind.

        Returns:
            Whether the connection can carry another one; if not, it is aborted.
        """
        reader = self._reader
        self.taken()
        if (
            reader is None
            or not (reader.complete and reader.keep_alive)
            or self.transport.is_closing()
            or self.transport.get_write_buffer_size()
            or self._outbox.waits(self.transport)
        ):
            self._fail_with(closed_here(self._url))
            return False
        self._reader = None
        self._until = NEVER
        return True

    def check_owner(self, url: str) -> None:
        """Raise unless this is the process and the event loop that it belongs to."""
        if self._pid != os.getpid():
            raise foreign(url, "the parent process")
        if asyncio.get_running_loop() is not self._loop:
            raise foreign(url, "another event loop")

    def close_from_anywhere(self, end: Callable[[], object]) -> None:
        """Call ``end`` where it is safe: at once in the loop's own thread, else soon in the loop."""
        if self._pid != os.getpid() or self._loop.is_closed():
            return  # after a fork the connection is the parent's
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            end()
        else:
            self._loop.call_soon_threadsafe(end)

    def abort(self) -> None:
        """Close without sending what is left."""
        if self._reader is not None:
            self._reader.leave()
            self._reader = None
        try:
            # The server learns of it now, even if the loop is not given back to for a while.
            self.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        except (OSError, TypeError, AttributeError):
            pass  # broken already, or a loop that doesn't hand out its sockets
        self.transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, cause: Exception) -> None:
        in_body = self._reader is not None and self._reader.head_complete
        error = exchange_failed(self._url, cause, delivered=self.delivered, in_body=in_body)
        error.__cause__ = cause
        self._fail_with(error)

    def _fail_with(self, error: ProviderError) -> None:
        if self.failure is None:
            self.failure = error
        self._wake()
        self.abort()

    # Time limits: one timer, set again only when it fires or must fire earlier. While nobody waits, the total runs.

    def _watch(self) -> None:
        """Start the limit that holds for the next bytes."""
        now = self._loop.time()
        until, self._phase = self._deadlines.waiting(now, begun=self.begun)
        self._until = until
        timer = self._timer
        if until == NEVER or (timer is not None and timer.when() <= until):
            return
        if timer is not None:
            timer.cancel()
        self._timer = self._loop.call_at(until, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        until = self._until
        if until == NEVER:
            return
        now = self._loop.time()
        if now < until:
            self._timer = self._loop.call_at(until, self._on_timer)
        elif self._seen == until:
            self._run_out()
        else:
            # A loop that was held up may run its timers before it reads what came meanwhile: look once more.
            self._seen = until
            self._timer = self._loop.call_at(now + _SECOND_LOOK, self._on_timer)

    def _run_out(self) -> None:
        self._fail_with(timed_out(self._url, self._phase, self._deadlines.seconds(self._phase)))

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        reader = self._reader
        if reader is None:
            self._cause = FramingError("the server spoke without being asked")
            self.abort()
            return
        self.delivered = True
        try:
            reader.feed(self._buffer[:nbytes])
        except FramingError as error:
            self._fail(error)
            return
        if reader.chunks and (self._whole or not self.begun):
            self._note_body(reader, nbytes)
        if not self.head_at and reader.head_complete:
            self.head_at = monotonic()
        if self._waiter is None:
            self._buffered += nbytes
            if self._buffered > HIGH_WATER and not self._paused:
                self._paused = True
                self.transport.pause_reading()
        elif reader.complete or (reader.head_complete and not self._whole):
            self._wake()
        else:
            self._watch()

    def _note_body(self, reader: ResponseReader, size: int) -> None:
        """Keep time by what came of the body; what a stream's bytes are worth, its reader says."""
        if not self._whole:
            self.begun = True
        elif self.begun or not reader.chunks[-1].isspace():  # white space keeps connections open
            self.begun = True
            self._deadlines.came(self._loop.time(), size)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        reader = self._reader
        if reader is None:
            self._cause = self._cause or exc
            return
        try:
            if exc is not None and not reader.complete:
                raise exc
            reader.eof()
        except (OSError, FramingError) as error:
            self._fail(error)
        else:
            self._wake()
