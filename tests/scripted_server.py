"""A server on a real socket that plays what a test wrote down: it answers, stalls, breaks off or waits for a sign."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

PATIENCE: Final = 20.0
"""Seconds after which a test that waits for the other side has failed."""


class PeerGoneError(Exception):
    """The client closed or reset its connection."""


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Peer:
    """One connection, seen from the server."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        sock.settimeout(PATIENCE)
        self.sock = sock
        self.number = number
        """Counts the connections of a server from 1."""
        self._received = b""

    def request(self) -> Request:
        """Wait for one request."""
        head, _, rest = self._until(b"\r\n\r\n").partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(rest) < length:
            rest += self._more()
        self._received = rest[length:]
        return Request(method, target, headers, rest[:length])

    def send(self, *parts: bytes) -> None:
        """Send bytes, as one piece."""
        try:
            self.sock.sendall(b"".join(parts))
        except OSError as error:
            raise PeerGoneError from error

    def reset(self) -> None:
        """Break the connection, so that the client sees ``ECONNRESET``."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait_gone(self) -> None:
        """Wait until the client is gone."""
        try:
            while True:
                self._more()
        except PeerGoneError:
            return

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on with TLS."""
        self.sock = context.wrap_socket(self.sock, server_side=True)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._received:
            self._received += self._more()
        return self._received

    def _more(self) -> bytes:
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            raise
        except OSError as error:
            raise PeerGoneError from error
        if not data:
            raise PeerGoneError
        return data


Script: TypeAlias = Callable[[Peer], None]


class ScriptedServer:
    """Plays a script on each connection, in a thread of its own.

    A script that ends closes its connection; ``PeerGoneError`` ends it too. Anything else that it raises is raised
    again when the server is closed, so that assertions in scripts count.

    Args:
        script: Plays the server's part on one connection.
        tls: Speak TLS from the start.
        unix: Listen on this path instead of a port.
    """

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, unix: str | None = None) -> None:
        self._script = script
        self._tls = tls
        self.peers: list[Peer] = []
        self.errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        if unix is None:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
            self.port = self._listener.getsockname()[1]
            self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(unix)
            self._listener.listen()
            self.url = f"http+unix://{unix.replace('/', '%2F')}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def connections(self) -> int:
        """How many connections there have been."""
        return len(self.peers)

    def close(self) -> None:
        """Stop, wait for all scripts, and raise the first error of a script."""
        if self._listener.fileno() < 0:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(PATIENCE)
        self._listener.close()
        for peer in self.peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed already
        for thread in self._threads:
            thread.join(PATIENCE)
        for error in self.errors:
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # closed
            peer = Peer(sock, len(self.peers) + 1)
            self.peers.append(peer)
            thread = threading.Thread(target=self._play, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, peer: Peer) -> None:
        try:
            if self._tls is not None:
                peer.start_tls(self._tls)
            self._script(peer)
        except (PeerGoneError, ssl.SSLError, ConnectionError):
            pass  # the client hung up, which tests look at from the client's side
        except BaseException as error:  # noqa: BLE001 - raised again by close()
            self.errors.append(error)
        finally:
            peer.sock.close()


def head(*headers: str, status: str = "200 OK") -> bytes:
    """The head of an answer."""
    return "\r\n".join((f"HTTP/1.1 {status}", *headers, "", "")).encode("latin-1")


def whole(body: bytes = b"ok", *headers: str, status: str = "200 OK") -> bytes:
    """An answer with a length."""
    return head(f"Content-Length: {len(body)}", *headers, status=status) + body


CHUNKED: Final = head("Transfer-Encoding: chunked")
"""The head of a streamed answer."""
END: Final = b"0\r\n\r\n"
"""The clean end of a streamed answer."""


def chunk(data: bytes) -> bytes:
    """One chunk of a streamed answer."""
    return b"%x\r\n%b\r\n" % (len(data), data)
