"""HTTP/1.1 framing for a client: requests to bytes, bytes to answers. Pure: no sockets, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

if TYPE_CHECKING:
    import zlib

MAX_HEAD: Final = 64 * 1024
"""Most bytes of an answer's head (or trailers) that are read."""
MAX_INFLATED: Final = 64 * 1024 * 1024
"""Most bytes that one received block may expand to."""
_BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})


class FramingError(Exception):
    """What the server sent is not HTTP/1.1 as we can read it."""


class TruncatedError(FramingError):
    """The connection ended before the answer did."""


def request_bytes(method: str, target: str, host: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """One request as it goes on the wire.

    Args:
        method: In capitals.
        target: Request target, already percent-encoded.
        host: Value of ``Host``, unless ``headers`` has its own.
        headers: Passed through; ``Content-Length`` and ``Transfer-Encoding`` are ours to set.
        body: ``None`` for none; an empty one is announced as such.

    Raises:
        ValueError: A method, target or header could not be sent without changing the request's framing.
    """
    lines = [f"{method} {target} HTTP/1.1"]
    given = set()
    plain = bool(target)
    for name, value in headers.items():
        lines.append(f"{name}: {value}")
        given.add(name.lower())
        plain = plain and name.replace("-", "").isalnum()
    if "host" not in given:
        lines.append(f"Host: {host}")
    if "accept-encoding" not in given:
        lines.append("Accept-Encoding: identity")
    if body is not None or method in _BODY_METHODS:
        lines.append(f"Content-Length: {len(body or b'')}")
    head = "\r\n".join(lines)
    breaks = len(lines) - 1
    if (
        not (plain and head.isascii())
        or head.count("\n") != breaks
        or head.count("\r") != breaks
        or "\0" in head
        or lines[0].count(" ") != 2
        or "content-length" in given
        or "transfer-encoding" in given
    ):
        fault = _fault(method, target, headers)
        if fault is not None:
            # Tools that report errors print what variables hold, and these hold keys.
            headers, lines, head, value = {}, [], "", ""
            raise ValueError(fault)
    encoded = head.encode("latin-1")
    return b"%b\r\n\r\n%b" % (encoded, body) if body else encoded + b"\r\n\r\n"


def _fault(method: str, target: str, headers: Mapping[str, str]) -> str | None:
    """What is wrong with a request, if anything; values of headers stay out of it, they may be secrets."""
    for what, text in (("method", method), ("target", target)):
        if not text or not text.isascii() or any(char <= " " for char in text):
            return f"the request {what} has characters that HTTP does not allow: {text!r}"
    for name, value in headers.items():
        if not name or not name.isascii() or any(char <= " " or char == ":" for char in name):
            return f"header name {name!r} has characters that HTTP does not allow"
        if name.lower() in ("content-length", "transfer-encoding"):
            return f"header {name!r} is set by the transport"
        if any(char in value for char in "\r\n\0"):
            return f"the value of header {name!r} has a line break or a NUL"
        if any(char > "\xff" for char in value):
            return f"the value of header {name!r} has characters outside Latin-1"
    return None


class ResponseReader:
    """Reads one answer from the bytes of a connection.

    Feed what the connection gives until ``complete``; body bytes gather in ``chunks`` until ``take`` fetches them.
    Interim (1xx) answers are skipped.
    """

    __slots__ = (
        "_head_size",
        "_inflater",
        "_method",
        "_parser",
        "_plain",
        "_until_close",
        "chunks",
        "complete",
        "head_complete",
        "headers",
        "keep_alive",
        "on_body",
        "status",
    )

    def __init__(self, method: str = "GET") -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        """Names in lower case; repeated ones joined by a comma."""
        self.chunks: list[bytes] = []
        """Body bytes that nobody took yet, decoded from gzip or deflate if need be."""
        self.head_complete = False
        self.complete = False
        self.keep_alive = False
        """Whether the connection can carry another request; meaningful once ``complete``."""
        self.on_body: Callable[[bytes], None] = self.chunks.append
        self._method = method
        self._head_size = 0
        self._until_close = False
        self._inflater: _Inflater | None = None
        self._plain = False
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        """Refers back to this object, so it is dropped at the end of the answer and when that is given up."""

    def feed(self, data: bytes | memoryview) -> None:
        """Take bytes in the order they came.

        Raises:
            FramingError: They are not HTTP/1.1, the head is too large, or a compressed body is broken.
        """
        parser = self._parser
        if parser is None:
            self.keep_alive = self.keep_alive and not len(data)  # data after the end of the answer spoils it
            return
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._fail(error)
        if not self._plain:
            self._after_feed(len(data))

    def eof(self) -> None:
        """The server closed the connection.

        Raises:
            TruncatedError: The answer was not complete.
        """
        if self.complete:
            self.keep_alive = False
            return
        if not (self.head_complete and self._until_close):
            where = "within the body" if self.head_complete else "before the head of the answer was complete"
            raise TruncatedError(f"the server closed the connection {where}")
        if self._inflater is not None:
            self._inflater.finish()
        self.complete = True
        self._parser = None

    def leave(self) -> None:
        """No more bytes will be fed: what refers back to this object is dropped, so that it needs no collector."""
        self._parser = None

    def take(self) -> bytes:
        """The body bytes that have gathered since the last time."""
        chunks = self.chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        return data

    def _after_feed(self, size: int) -> None:
        """What only the head and compressed bodies need."""
        if not self.head_complete:
            self._count_head(size)
        elif self._inflater is None:
            self._plain = True
        elif self.chunks:
            data = self._inflater.feed(self.take())
            if data:
                self.chunks.append(data)
        if self.complete and self._inflater is not None:
            self._inflater.finish()

    def _count_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD:
            raise FramingError(f"the head of the answer is larger than {MAX_HEAD} bytes")

    def _fail(self, error: Exception) -> None:
        """Turn a parser error into ours; after a complete answer it only spoils the connection."""
        if self.complete:
            self.keep_alive = False
            return
        cause = error.__context__
        if cause is not None:
            raise cause
        raise FramingError(f"not HTTP/1.1: {error}") from error

    # Called by the parser; on_body is chunks.append itself.

    def on_message_begin(self) -> None:
        if self.complete:
            raise FramingError("data after the end of the answer")
        self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_complete:  # a trailer
            self._count_head(len(name) + len(value))
            return
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1").strip()
        headers = self.headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200:
            if status == 101:
                raise FramingError("the server switched to another protocol, which nobody asked for")
            return
        self.status = status
        self.head_complete = True
        headers = self.headers
        if self._method == "HEAD" or (self._method == "CONNECT" and status < 300):
            self.complete = True
            return
        transfer = headers.get("transfer-encoding")
        self._until_close = (
            "content-length" not in headers if transfer is None else not transfer.lower().endswith("chunked")
        )
        coding = headers.get("content-encoding", "identity").lower()
        if coding != "identity":
            self._inflater = _Inflater(coding)

    def on_message_complete(self) -> None:
        if self.head_complete and self._parser is not None:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()
            self._parser = None


class _Inflater:
    """Decodes a body that came compressed although ``identity`` was asked for."""

    __slots__ = ("_coding", "_stream", "_zlib")

    def __init__(self, coding: str) -> None:
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise FramingError(f"the body is encoded as {coding!r}, which was not asked for")
        import zlib

        self._zlib = zlib
        self._coding = coding
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes) -> bytes:
        out = []
        size = 0
        while data:
            if self._stream is None:
                self._stream = self._open(data[0])
            try:
                part = self._stream.decompress(data, MAX_INFLATED + 1 - size)
            except self._zlib.error as error:
                raise FramingError(f"the {self._coding} body is broken: {error}") from error
            size += len(part)
            if size > MAX_INFLATED:
                raise FramingError(f"{len(data)} bytes of {self._coding} expand to more than {MAX_INFLATED}")
            out.append(part)
            data = self._stream.unused_data
            if self._stream.eof and data:
                self._stream = None
        return b"".join(out)

    def finish(self) -> None:
        """Raise ``TruncatedError`` unless the compressed stream came to its own end."""
        if self._stream is not None and not self._stream.eof:
            raise TruncatedError(f"the {self._coding} body ends too early")

    def _open(self, first: int) -> zlib._Decompress:
        if self._coding != "deflate":
            return self._zlib.decompressobj(wbits=31)
        # "deflate" means a zlib wrapper, but some servers send the bare stream; the first byte tells.
        wrapped = first & 0x0F == 8 and first >> 4 <= 7
        return self._zlib.decompressobj(wbits=15 if wrapped else -15)
