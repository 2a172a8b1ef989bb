"""Requests that two servers could read in two ways: what hides behind them is never taken for a request of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from uvicorn.server import ServerState

from abstractcore.server.asgi import Receive, Request, Scope, Send
from abstractcore.server.config import Limits
from abstractcore.server.connection import Connection

HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def post(headers: bytes, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nhost: x\r\n" + headers + b"\r\n\r\n" + body


CHUNKED = b"transfer-encoding: chunked"
LAST = b"0\r\n\r\n"
REFUSED = {
    "a length, then chunked": post(b"content-length: 4\r\n" + CHUNKED, LAST),
    "chunked, then a length": post(CHUNKED + b"\r\ncontent-length: 5", LAST),
    "two lengths": post(b"content-length: 0\r\ncontent-length: 49"),
    "one length twice": post(b"content-length: 0\r\ncontent-length: 0"),
    "a list of lengths": post(b"content-length: 0, 49"),
    "a length with a plus": post(b"content-length: +0"),
    "a negative length": post(b"content-length: -1"),
    "a length in hex": post(b"content-length: 0x0"),
    "an empty length": post(b"content-length: "),
    "a length beyond all numbers": post(b"content-length: 99999999999999999999999"),
    "a length with a space before the colon": post(b"content-length : 0"),
    "chunked with a space before the colon": post(b"transfer-encoding : chunked", LAST),
    "nearly chunked": post(b"transfer-encoding: xchunked", LAST),
    "chunked, but not at last": post(b"transfer-encoding: chunked, identity", LAST),
    "identity": post(b"transfer-encoding: identity"),
    "chunked and identity": post(CHUNKED + b"\r\ntransfer-encoding: identity", LAST),
    "chunked after a vertical tab": post(b"transfer-encoding: \x0bchunked", LAST),
    "chunked on a line of its own": post(b"transfer-encoding:\r\n chunked", LAST),
    "lines without a carriage return": b"POST / HTTP/1.1\nhost: x\ncontent-length: 0\n\n",
    "a carriage return alone": post(b"x: a\rcontent-length: 49"),
    "a NUL": post(b"x: a\0b\r\ncontent-length: 0"),
    "a control character in a name": post(b"x\x01y: 1\r\ncontent-length: 0"),
    "a header without a colon": post(b"nothing\r\ncontent-length: 0"),
    "a first header that goes on": b"POST / HTTP/1.1\r\n host: x\r\ncontent-length: 0\r\n\r\n",
    "a negative chunk": post(CHUNKED, b"-1\r\n\r\n" + LAST),
    "a chunk with 0x": post(CHUNKED, b"0x1\r\na\r\n" + LAST),
    "a chunk beyond all numbers": post(CHUNKED, b"fffffffffffffffff\r\na\r\n" + LAST),
    "a line break in a chunk's extension": post(CHUNKED, b"1;a\nb\r\na\r\n" + LAST),
    "chunks without carriage returns": post(CHUNKED, b"1\na\n0\n\n"),
    "a chunk that is longer than it says": post(CHUNKED, b"1\r\naX" + LAST),
    "a length in the trailers": post(CHUNKED, b"0\r\ncontent-length: 5\r\n\r\n"),
    "another protocol's version": b"GET / HTTP/1.2\r\nhost: x\r\n\r\n",
    "no version": b"GET /\r\n",
    "a tunnel": b"CONNECT other:80 HTTP/1.1\r\nhost: x\r\n\r\n",
    "a space in the path": b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
}


class Noting:
    """An application that notes what was asked of it, once it is there as a whole."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.seen: list[tuple[str, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                self.seen.append((scope["path"], body))
                await Request(scope, receive, send).answer(200, b"ok")
                return


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Noting, asyncio.StreamReader, asyncio.StreamWriter]]:
    app = Noting()
    config = uvicorn.Config(app, http=Connection, ws="none", log_config=None)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield app, reader, writer
        finally:
            writer.close()


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
async def test_what_can_be_read_in_two_ways_is_refused(request_: bytes, loopback: None) -> None:
    async with connected() as (app, reader, writer):
        writer.write(request_ + HIDDEN)
        answer = await reader.read()  # to the end: the connection is closed
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert app.seen == []


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (post(b"content-length: 52", HIDDEN), HIDDEN),
        (post(CHUNKED, b"34\r\n" + HIDDEN + b"\r\n" + LAST), HIDDEN),
        (post(b"transfer-encoding:\tChunked", b"34;x=y\r\n" + HIDDEN + b"\r\n" + LAST), HIDDEN),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 52\r\n\r\n" + HIDDEN, HIDDEN),
    ],
)
async def test_a_body_is_a_body_whatever_it_looks_like(request_: bytes, body: bytes, loopback: None) -> None:
    async with connected() as (app, reader, writer):
        writer.write(request_ + b"GET /next HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        await reader.read()
        assert app.seen == [("/", body), ("/next", b"")]


async def test_a_protocol_that_nobody_speaks_is_not_switched_to(loopback: None) -> None:
    async with connected() as (app, reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n" + HIDDEN)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.write_eof()
        assert b"HTTP/1.1" not in await reader.read()
        assert app.seen == [("/", b"")]
