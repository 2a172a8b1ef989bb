"""The blocking transport: one socket per request in flight, kept alive between requests."""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Mapping
from time import monotonic
from typing import Final

from ..errors import ConnectionFailedError
from ..wire.call import Answer, Call, ReadWithin
from ..wire.http1 import FramingError, ResponseReader, request_bytes
from .deadline import KEEP_ALIVE, NEVER, STALE_WITHIN, Deadlines
from .failure import closed_here, connect_failed, exchange_failed, foreign, timed_out
from .keepalive import keep_alive
from .resolve import addresses
from .route import Origin, Route, Router, check_tunnel, tunnel_request

_BLOCK: Final = 64 * 1024


class _Connection:
    """A socket, with what the pool has to know about it."""

    __slots__ = ("_timeout", "idle_since", "origin", "pid", "sock")

    def __init__(self, sock: socket.socket, origin: Origin) -> None:
        self.sock = sock
        self.origin = origin
        self.pid = os.getpid()
        self.idle_since = 0.0
        self._timeout: float | None = -1.0

    def set_timeout(self, seconds: float | None) -> None:
        """Like ``settimeout``, without the system call when nothing changes."""
        if seconds != self._timeout:
            self.sock.settimeout(seconds)
            self._timeout = seconds

    def abort(self) -> None:
        """Close at once, also under a thread that is reading."""
        if self.pid == os.getpid():  # after a fork the connection is the parent's; only our copy is closed
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it was broken already
        self.sock.close()

    def is_silent(self) -> bool:
        """Whether nothing waits to be read; on an idle connection that would be its end, or garbage."""
        if not hasattr(select, "poll"):  # Windows
            return not select.select([self.sock], [], [], 0)[0]
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)


class HttpTransport:
    """Sends HTTP/1.1 requests over blocking sockets.

    Safe to share between threads and across ``fork``; any number of requests may be in flight.

    Args:
        environ: Where proxies and CA files are looked up; the process's environment by default.
    """

    def __init__(self, *, environ: Mapping[str, str] | None = None) -> None:
        self._idle: dict[Origin, deque[_Connection]] = {}
        self._router = Router(environ)
        self._pid = os.getpid()

    def open(self, call: Call) -> HttpExchange:
        """Send a request and read the head of the answer, or all of it unless ``call.stream``.

        Raises:
            ConnectionFailedError: No connection, or it broke.
            RequestTimeoutError: A limit of ``call.timeouts`` ran out.
            ProviderAPIError: The server doesn't speak HTTP/1.1.
            ConfigurationError: The address or the proxy makes no sense.
            ValueError: A header can't be sent as it is.
        """
        started = monotonic()
        route = self._router.find(call.url)
        # A view, as what it shows of itself is not the key: tools that report errors print what variables hold.
        request = memoryview(
            request_bytes(call.method, route.target, route.host, route.headers(call.headers), call.body)
        )
        deadlines = Deadlines(call.timeouts, started)
        connection = self._take(route.origin, started)
        if connection is not None:
            try:
                return HttpExchange(self, connection, call, route.shown, deadlines).begin(request, started)
            except ConnectionFailedError as error:
                if error.delivered or not (call.repeatable or monotonic() - started < STALE_WITHIN):
                    raise
        connection = self._connect(route, deadlines)
        return HttpExchange(self, connection, call, route.shown, deadlines).begin(request, started)

    def close(self) -> None:
        """Close all idle connections. Open exchanges go on."""
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.abort()

    def __del__(self) -> None:
        self.close()

    def _take(self, origin: Origin, now: float) -> _Connection | None:
        """An idle connection that can be trusted, the freshest first."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self.close()
        connections = self._idle.get(origin)
        while connections:
            try:
                connection = connections.pop()
            except IndexError:  # another thread was faster
                return None
            if now - connection.idle_since < KEEP_ALIVE and connection.is_silent():
                return connection
            connection.abort()
        return None

    def give_back(self, connection: _Connection) -> None:
        """Keep a connection for the next request to the same origin."""
        now = monotonic()
        connection.idle_since = now
        connections = self._idle.get(connection.origin)
        if connections is None:
            connections = self._idle.setdefault(connection.origin, deque())
        connections.append(connection)
        try:
            while now - connections[0].idle_since >= KEEP_ALIVE:
                connections.popleft().abort()
        except IndexError:
            pass  # other threads took them all

    def _connect(self, route: Route, deadlines: Deadlines) -> _Connection:
        until, phase = deadlines.connecting(monotonic())
        origin = route.origin
        context = None if origin.tls is None else self._router.ssl_context()
        sock = None
        try:
            sock = _dial(origin, until)
            if origin.tunnel is not None:
                _tunnel(sock, origin, until)
            if context is not None:
                sock.settimeout(_left(until))
                sock = context.wrap_socket(sock, server_hostname=origin.tls)
            return _Connection(sock, origin)
        except TimeoutError as error:
            _close(sock)
            if until > monotonic():  # the system's own limit, not ours
                raise connect_failed(route, error) from error
            raise timed_out(route.shown, phase, deadlines.seconds(phase)) from error
        except (OSError, FramingError) as error:
            _close(sock)
            raise connect_failed(route, error) from error
        except BaseException:
            _close(sock)
            raise


class HttpExchange:
    """One request and its answer."""

    __slots__ = (
        "_begun",
        "_connection",
        "_deadlines",
        "_delivered",
        "_failure",
        "_is_open",
        "_reader",
        "_transport",
        "_url",
        "_whole",
        "answer",
    )

    answer: Answer

    def __init__(
        self,
        transport: HttpTransport,
        connection: _Connection,
        call: Call,
        url: str,
        deadlines: Deadlines,
    ) -> None:
        self._transport = transport
        self._connection: _Connection | None = connection
        self._deadlines = deadlines
        self._url = url
        self._whole = not call.stream
        self._reader = ResponseReader(call.method)
        self._begun = False
        self._is_open = False
        """The head was handed out; what fails before that is told by the first read of a stream."""
        self._delivered = False
        self._failure: Exception | None = None

    def begin(self, request: memoryview, started: float) -> HttpExchange:
        """Send the request and read the head of the answer, or all of it."""
        reader = self._reader
        self._deadlines.sent(monotonic())
        self._send(request)
        while not reader.head_complete:
            self._receive()
        elapsed = monotonic() - started
        body = b""
        if self._whole:
            while not reader.complete:
                self._receive()
            body = reader.take()
            self.close()
        self.answer = Answer(reader.status, reader.headers, body, elapsed)
        self._is_open = True
        return self

    def read(self, within: ReadWithin | None = None) -> bytes:
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
        self._deadlines.content(monotonic() if within else 0.0, within)
        while not reader.chunks:
            if reader.complete:
                self.close()
                return b""
            self._receive()
        return reader.take()

    def close(self) -> None:
        """End the exchange: a connection whose answer was complete is kept for the next one, any other is aborted."""
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        if self._reader.complete and self._reader.keep_alive and connection.pid == os.getpid():
            self._transport.give_back(connection)
        else:
            self._reader.leave()
            connection.abort()

    def __del__(self) -> None:
        self.close()

    def _send(self, request: memoryview) -> None:
        connection = self._connection
        assert connection is not None
        try:
            connection.set_timeout(self._time_left())
            connection.sock.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server may have answered before it hung up: reading will tell
        except BaseException as error:  # noqa: BLE001 - raised again; Ctrl-C aborts as well
            self._fail(error)

    def _receive(self) -> None:
        """Wait for bytes and feed them to the reader."""
        connection = self._connection
        if self._failure is not None:
            raise self._failure
        if connection is None:
            raise closed_here(self._url)
        if connection.pid != os.getpid():
            self.close()
            raise foreign(self._url, "the parent process")
        reader = self._reader
        try:
            connection.set_timeout(self._time_left())
            data = connection.sock.recv(_BLOCK)
            if data:
                self._delivered = True
                reader.feed(data)
            else:
                reader.eof()
        except BaseException as error:  # noqa: BLE001 - raised again; Ctrl-C aborts as well
            self._fail(error)
        if reader.chunks:
            self._note_body(len(data))

    def _note_body(self, size: int) -> None:
        """Keep time by what came of the body; what a stream's bytes are worth, its reader says."""
        if not self._whole:
            self._begun = True
        elif self._begun or not self._reader.chunks[-1].isspace():  # white space keeps connections open
            self._begun = True
            self._deadlines.came(monotonic(), size)

    def _time_left(self) -> float | None:
        now = monotonic()
        until, _ = self._deadlines.waiting(now, begun=self._begun)
        return _left(until, now)

    def _fail(self, error: BaseException) -> None:
        """Abort the connection and raise; what came before the failure is handed out first."""
        closed = self._connection is None
        self.close()
        if closed:
            failure: Exception = closed_here(self._url)
        elif isinstance(error, TimeoutError):
            _, phase = self._deadlines.waiting(monotonic(), begun=self._begun)
            failure = timed_out(self._url, phase, self._deadlines.seconds(phase))
        elif isinstance(error, (OSError, FramingError)):
            in_body = self._reader.head_complete
            failure = exchange_failed(self._url, error, delivered=self._delivered, in_body=in_body)
        else:
            raise error
        failure.__cause__ = error
        self._failure = failure
        is_kept = self._reader.chunks if self._is_open else self._reader.head_complete
        if self._whole or not is_kept:
            raise failure


def _left(until: float, now: float | None = None) -> float | None:
    """Seconds until then, as ``settimeout`` wants them."""
    if until == NEVER:
        return None
    seconds = until - (monotonic() if now is None else now)
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


def _close(sock: socket.socket | None) -> None:
    if sock is not None:
        sock.close()


def _dial(origin: Origin, until: float) -> socket.socket:
    """Connect to the first address that answers."""
    if origin.unix is not None:
        return _dial_one(socket.AF_UNIX, socket.SOCK_STREAM, 0, origin.unix, until)
    failure: OSError | None = None
    for family, kind, protocol, _, address in addresses(origin.host, origin.port, _left(until)):
        try:
            sock = _dial_one(family, kind, protocol, address, until)
        except OSError as error:
            failure = failure or error
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(sock)
        return sock
    raise failure or OSError(f"no address for {origin.host}")


def _dial_one(family: int, kind: int, protocol: int, address: object, until: float) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(_left(until))
        sock.connect(address)  # type: ignore[arg-type]
    except BaseException:
        sock.close()
        raise
    return sock


def _tunnel(sock: socket.socket, origin: Origin, until: float) -> None:
    """Have a proxy connect us through to the server."""
    sock.settimeout(_left(until))
    sock.sendall(tunnel_request(origin))
    reader = ResponseReader("CONNECT")
    while not reader.head_complete:
        sock.settimeout(_left(until))
        data = sock.recv(_BLOCK)
        if data:
            reader.feed(data)
        else:
            reader.eof()
    check_tunnel(reader.status)
