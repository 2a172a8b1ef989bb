"""Readers below the protocols: event streams, lines, HTTP, metrics. Each gives the same however its bytes are cut."""

from __future__ import annotations

import math
import re
from random import Random
from typing import Final

from abstractcore.errors import ProviderAPIError
from abstractcore.providers.vllm.load import read_load
from abstractcore.wire.failure import read_failure, to_error
from abstractcore.wire.http1 import FramingError, ResponseReader
from abstractcore.wire.ndjson import LineParser
from abstractcore.wire.prometheus import read_totals
from abstractcore.wire.sse import EventParser

from . import seeds
from .target import Target

CUTS: Final = 8
"""Ways in which each input is cut."""
MOST: Final = 4096
"""Bytes of an event, so that the limit is met too."""
Events = list[tuple[bytes, str, str]]


def standard(stream: bytes) -> Events:
    """What the standard says of a whole event stream, read line by line and without any haste."""
    events: Events = []
    data: list[bytes] = []
    kind = last_id = ""
    *lines, _unfinished = re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))
    for line in lines:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if data:
                events.append((b"\n".join(data), kind or "message", last_id))
            data, kind = [], ""
        elif name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            last_id = value.decode("utf-8", "replace")
    return events


def cut(data: bytes, random: Random) -> list[bytes]:
    """The same bytes in pieces: single ones, or a few, which may be empty."""
    if len(data) < 200 and random.random() < 0.3:
        return [data[at : at + 1] for at in range(len(data))]
    places = sorted(random.randint(0, len(data)) for _ in range(random.choice((1, 1, 2, 5))))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def read_events(pieces: list[bytes]) -> Events | None:
    """What the parser makes of pieces; ``None`` if it refuses them."""
    parser = EventParser(MOST)
    try:
        return [(event.data, event.type, event.id) for piece in pieces for event in parser.feed(piece)]
    except ProviderAPIError:
        return None


def _sse(data: bytes) -> None:
    whole = standard(data)
    random = Random(data)
    for pieces in ([data], *(cut(data, random) for _ in range(CUTS))):
        found = read_events(pieces)
        if found is None:
            assert len(data) > MOST, "refused, though it is not too large"
        else:
            assert found == whole, (found, whole, pieces)


def _ndjson(data: bytes) -> None:
    *lines, rest = data.split(b"\n")
    wanted = [line.rstrip() for line in lines if line.strip()], rest.strip()
    random = Random(data)
    for pieces in ([data], *(cut(data, random) for _ in range(CUTS))):
        parser = LineParser(MOST)
        try:
            found = [line for piece in pieces for line in parser.feed(piece)]
        except ProviderAPIError:
            assert len(data) > MOST, "refused, though it is not too large"
            continue
        assert (found, parser.close()) == wanted, pieces


def _read_http(pieces: list[bytes], method: str) -> tuple[int, dict[str, str], bytes] | str:
    reader = ResponseReader(method)
    body = b""
    try:
        for piece in pieces:
            reader.feed(piece)
            body += reader.take()
            if reader.complete:
                break
        if not reader.complete:
            reader.eof()
    except FramingError:
        return "refused"
    return reader.status, reader.headers, body + reader.take()


def _http(data: bytes) -> None:
    random = Random(data)
    method = random.choice(("GET", "POST"))
    whole = _read_http([data], method)
    for _ in range(CUTS // 2):
        pieces = cut(data, random)
        found = _read_http([piece for piece in pieces if piece], method)
        assert found == whole, (found, whole, pieces)
    if whole == "refused":
        raise FramingError


def _metrics(data: bytes) -> None:
    totals = read_totals(data)
    assert all(isinstance(value, float) for value in totals.values())
    load = read_load(data)
    assert load is None or math.isfinite(load.running + load.waiting)


def _failure(data: bytes) -> None:
    status = 400 + data[0] if data[:1] > b"\x80" else 200
    headers = {"retry-after": data[1:9].decode("latin-1"), "x-request-id": "r"}
    error = to_error(read_failure(data[1:]), status, headers, provider="p", url="http://h/v1")
    assert error.retry_after is None or error.retry_after >= 0
    str(error)


def _http_seeds() -> list[bytes]:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    chunked = head + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: a\r\n\r\n"
    return [
        chunked,
        head + b"content-length: 5\r\n\r\nhello",
        head + b"connection: close\r\n\r\nuntil the end",
        b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"content-length: 0\r\n\r\n",
        b"HTTP/1.0 503 Busy\r\nRetry-After: 3\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
        head + b"content-encoding: gzip\r\ncontent-length: 25\r\n\r\n"
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xcbH\xcd\xc9\xc9\x07\x00\x86\xa6\x106\x05\x00\x00\x00",
        head + b"content-encoding: deflate\r\n\r\nx\x9c\xcbH\xcd\xc9\xc9\x07\x00\x06,\x02\x15",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    ]


_HTTP_TOKENS: Final = (
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 ", b"HTTP/2 200\r\n", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Connection: close\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"0\r\n\r\n", b"ffffffffffffffffff\r\n",
    b"HTTP/1.1 101 S\r\n\r\n",
    b"Content-Encoding: br\r\n",
)  # fmt: skip
_SSE_TOKENS: Final = (
    b"data: ",
    b"data:",
    b"data",
    b"event: ",
    b"id: ",
    b"id",
    b"retry: 7",
    b": note",
    b"\n\n",
    b"\r\r",
)

TARGETS: Final = (
    Target(
        "sse",
        "an event stream, cut anywhere",
        _sse,
        (ProviderAPIError,),
        lambda: (*seeds.openai_streams(), *seeds.event_streams(), b"id: 1\r\ndata: a\r\rdata\n\n"),
        _SSE_TOKENS,
    ),
    Target("ndjson", "lines of JSON, cut anywhere", _ndjson, (ProviderAPIError,), seeds.ollama),
    Target(
        "http", "the head and body of an HTTP answer, cut anywhere", _http, (FramingError,), _http_seeds, _HTTP_TOKENS
    ),
    Target(
        "metrics",
        "Prometheus metrics",
        _metrics,
        (),
        seeds.metric_texts,
        (b"vllm:num_requests_running ", b"NaN", b"+Inf", b"-1e400", b'{a="', b"vllm:num_requests_waiting{} "),
    ),
    Target(
        "failure",
        "the body of a refusal, and its Retry-After",
        _failure,
        (),
        lambda: [b"\x00" + body for body in (*seeds.openai_answers(), *seeds.ollama())],
        (b'"detail":[{"loc":5}]', b'{"error":{"code":"'.ljust(19) + "\u00b2".encode() * 3 + b'"}}', b"-5", b"-inf"),
    ),
)
