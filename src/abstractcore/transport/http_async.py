"""The asyncio transport: one connection per request in flight, kept alive between requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from time import monotonic
from typing import Any, Final

from ..errors import ConnectionFailedError, ProviderError
from ..wire.call import Answer, Call, ReadWithin, Timeouts
from ..wire.http1 import FramingError, ResponseReader, TruncatedError, request_bytes
from .async_connection import Connection
from .deadline import KEEP_ALIVE, STALE_WITHIN, Deadlines
from .failure import closed_here, connect_failed, timed_out
from .gate import Gate, patient
from .keepalive import keep_alive
from .route import Origin, Route, Router, check_tunnel, tunnel_request

_BLOCK: Final = 64 * 1024
_NO_LIMITS: Final = Timeouts(None, None, None, None)
_ATTEMPT_DELAY: Final = 0.25
"""Seconds before the next address of a host is tried beside the first (happy eyeballs)."""
_TURNS: Final = 20
"""More than the turns of an event loop that it takes to make a connection that the system already has."""


class _Pool:
    """The connections of one event loop."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(_BLOCK))
        self._all: set[Connection] = set()
        self._idle: dict[Origin, dict[Connection, None]] = {}
        self._gates: dict[Origin, Gate] = {}
        self._guard: AsyncGenerator[None, None] | None = None

    def gate(self, origin: Origin) -> Gate:
        found = self._gates.get(origin)
        if found is None:
            found = self._gates[origin] = Gate()
        return found

    async def guard(self) -> None:
        """Have the loop close the pool before it ends: a loop finishes its asynchronous generators."""

        async def until_loop_ends() -> AsyncGenerator[None, None]:
            try:
                yield
            finally:
                self.close()

        self._guard = until_loop_ends()
        await anext(self._guard)

    def new(self, origin: Origin) -> Connection:
        return Connection(origin, self._buffer, self._forget)

    def add(self, connection: Connection) -> None:
        """Keep an eye on a connection that stands."""
        self._all.add(connection)

    def take(self, origin: Origin, now: float) -> Connection | None:
        """An idle connection that can be trusted, the freshest first."""
        idle = self._idle.get(origin)
        while idle:
            connection, _ = idle.popitem()
            if now - connection.idle_since < KEEP_ALIVE and not connection.transport.is_closing():
                return connection
            connection.abort()
        return None

    def give_back(self, connection: Connection) -> None:
        now = connection.idle_since = monotonic()
        idle = self._idle.setdefault(connection.origin, {})
        idle[connection] = None
        while idle and now - (oldest := next(iter(idle))).idle_since >= KEEP_ALIVE:
            del idle[oldest]
            oldest.abort()

    def close_idle(self) -> None:
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.abort()

    def close(self) -> None:
        """Close all connections, also those in use."""
        self._idle = {}
        for connection in list(self._all):
            connection.abort()

    def _forget(self, connection: Connection) -> None:
        self._all.discard(connection)
        idle = self._idle.get(connection.origin)
        if idle is not None:
            idle.pop(connection, None)


class AsyncHttpTransport:
    """Sends HTTP/1.1 requests over asyncio connections.

    One object serves any number of event loops, one after the other or in several threads; each has its own
    connections, and they are closed when it ends. Any number of requests may be in flight.

    Args:
        environ: Where proxies and CA files are looked up; the process's environment by default.
    """

    def __init__(self, *, environ: Mapping[str, str] | None = None) -> None:
        self._router = Router(environ)
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}
        self._pid = os.getpid()
        self._inherited: dict[asyncio.AbstractEventLoop, _Pool] = {}

    async def open(self, call: Call) -> AsyncHttpExchange:
        """Send a request and read the head of the answer, or all of it unless ``call.stream``.

        Raises:
            ConnectionFailedError: No connection, or it broke.
            RequestTimeoutError: A limit of ``call.timeouts`` ran out.
            ProviderAPIError: The server doesn't speak HTTP/1.1.
            ConfigurationError: The address or the proxy makes no sense.
            ValueError: A header can't be sent as it is.
        """
        started = monotonic()
        loop = asyncio.get_running_loop()
        route = self._router.find(call.url)
        # A view, as what it shows of itself is not the key: tools that report errors print what variables hold.
        request = memoryview(
            request_bytes(call.method, route.target, route.host, route.headers(call.headers), call.body)
        )
        deadlines = Deadlines(call.timeouts, loop.time())
        pool = self._pools.get(loop)
        if pool is None or self._pid != os.getpid():
            pool = await self._new_pool(loop)
        connection = pool.take(route.origin, started)
        if connection is not None:
            exchange = AsyncHttpExchange(pool, connection, call, route, deadlines)
            try:
                await exchange.begin(request, started)
            except ConnectionFailedError as error:
                if error.delivered or not (call.repeatable or monotonic() - started < STALE_WITHIN):
                    raise
            else:
                return exchange
        connection = await self._connect(pool, route, deadlines)
        exchange = AsyncHttpExchange(pool, connection, call, route, deadlines)
        await exchange.begin(request, started)
        return exchange

    def close(self) -> None:
        """Close all idle connections. Open exchanges go on."""
        for loop, pool in list(self._pools.items()):
            if not loop.is_closed() and self._pid == os.getpid():
                loop.call_soon_threadsafe(pool.close_idle)

    async def _new_pool(self, loop: asyncio.AbstractEventLoop) -> _Pool:
        if self._pid != os.getpid():
            # The parent's connections stay untouched: closing them here would disturb the parent's event loop.
            self._pid = os.getpid()
            self._inherited, self._pools = self._pools, {}
        for other in list(self._pools):
            if other.is_closed():
                del self._pools[other]
        pool = self._pools[loop] = _Pool()
        await pool.guard()
        return pool

    async def _connect(self, pool: _Pool, route: Route, deadlines: Deadlines) -> Connection:
        gate = pool.gate(route.origin)
        ran_out = await gate.enter(deadlines)
        if ran_out is not None:
            raise timed_out(route.shown, ran_out, deadlines.seconds(ran_out))
        stood_at = None
        try:
            connection = await self._connect_now(pool, route, deadlines)
            stood_at = asyncio.get_running_loop().time()
            return connection
        finally:
            gate.leave(stood_at)

    async def _connect_now(self, pool: _Pool, route: Route, deadlines: Deadlines) -> Connection:
        until, phase = deadlines.connecting(asyncio.get_running_loop().time())
        connection = pool.new(route.origin)
        try:
            async with patient(until, turns=_TURNS if phase == "connect" else 0) as limit:
                await self._dial(connection)
        except (OSError, FramingError, ProviderError) as error:
            if limit.expired():
                raise timed_out(route.shown, phase, deadlines.seconds(phase)) from error
            raise connect_failed(route, error) from error
        if not connection.transport.is_closing():
            pool.add(connection)
        return connection

    async def _dial(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        origin = connection.origin
        context = None if origin.tls is None else self._router.ssl_context()
        if origin.unix is not None:
            await loop.create_unix_connection(lambda: connection, origin.unix)
            return
        direct = origin.tunnel is None
        # A name may stand for several addresses. uvloop can't try them side by side.
        can_race = not _is_address(origin.host) and isinstance(loop, asyncio.BaseEventLoop)
        racing: dict[str, Any] = {"happy_eyeballs_delay": _ATTEMPT_DELAY} if can_race else {}
        await loop.create_connection(
            lambda: connection,
            origin.host,
            origin.port,
            ssl=context if direct else None,
            server_hostname=origin.tls if direct else None,
            **racing,
        )
        keep_alive(connection.transport.get_extra_info("socket"))
        if context is not None and not direct:
            await _tunnel(connection)
            transport = await loop.start_tls(connection.transport, connection, context, server_hostname=origin.tls)
            if transport is None:
                raise TruncatedError("the proxy closed the connection")
            connection.connection_made(transport)


class AsyncHttpExchange:
    """One request and its answer."""

    __slots__ = ("_connection", "_pool", "_reader", "_url", "_whole", "answer")

    answer: Answer

    def __init__(self, pool: _Pool, connection: Connection, call: Call, route: Route, deadlines: Deadlines) -> None:
        self._pool = pool
        self._connection: Connection | None = connection
        self._reader = ResponseReader(call.method)
        self._url = route.shown
        self._whole = not call.stream
        connection.begin(self._reader, deadlines, route.shown, whole=self._whole)

    async def begin(self, request: memoryview, started: float) -> None:
        """Send the request and read the head of the answer, or all of it."""
        connection = self._connection
        assert connection is not None
        reader = self._reader
        connection.send(request)
        while not (reader.complete if self._whole else reader.head_complete):
            await connection.wait()
        body = b""
        if self._whole:
            if connection.failure is not None:  # complete as HTTP says it, but what it was packed in is not
                raise connection.failure
            body = reader.take()
            self._end()
        self.answer = Answer(reader.status, reader.headers, body, connection.head_at - started)

    async def read(self, within: ReadWithin | None = None) -> bytes:
        """Wait for bytes of the body.

        Args:
            within: A limit that holds beside those of the call.

        Returns:
            Bytes as they came, or ``b""`` at the end of a complete answer.

        Raises:
            ConnectionFailedError: The connection broke before the answer was complete.
            RequestTimeoutError: The server fell silent for too long.
        """
        reader = self._reader
        while True:
            connection = self._connection
            if connection is not None:
                connection.check_owner(self._url)
            if reader.chunks:
                if connection is not None:
                    connection.taken()
                return reader.take()
            if reader.complete:
                if connection is not None and connection.failure is not None:
                    raise connection.failure
                self._end()
                return b""
            if connection is None:
                raise closed_here(self._url)
            await connection.wait(within)

    def close(self) -> None:
        """End the exchange: a connection whose answer was complete is kept for the next one, any other is aborted.

        Does not wait, and may be called from any thread.
        """
        if self._connection is not None:
            self._connection.close_from_anywhere(self._end)

    def __del__(self) -> None:
        self.close()

    def _end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.end():
            self._pool.give_back(connection)


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


async def _tunnel(connection: Connection) -> None:
    """Have a proxy connect us through to the server."""
    reader = ResponseReader("CONNECT")
    connection.begin(reader, Deadlines(_NO_LIMITS, 0.0), "the proxy", whole=False)
    connection.send(tunnel_request(connection.origin))
    while not reader.head_complete:
        await connection.wait()
    try:
        check_tunnel(reader.status)
    except OSError:
        connection.abort()
        raise
