"""Requests that come too large, too slowly or not at all, on real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from uvicorn.server import ServerState

from abstractcore.server.asgi import Receive, Request, Scope, Send
from abstractcore.server.config import Limits
from abstractcore.server.connection import Connection

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\n"


class Counting:
    """An application that reads the body of a request and says how long it was."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0
        while (message := await receive())["type"] == "http.request":
            size += len(message["body"])
            if not message["more_body"]:
                await Request(scope, receive, send).answer(200, b"%d" % size)
                return


@asynccontextmanager
async def connected(**limits: float) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = uvicorn.Config(Counting(Limits(**limits)), http=Connection, log_config=None)  # type: ignore[arg-type]
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()


def code_of(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


async def test_headers_without_end_are_refused(loopback: None) -> None:
    async with connected(max_head_bytes=20_000) as (reader, writer):
        writer.write(HEAD)
        for number in range(21):
            writer.write(b"x-%d: %s\r\n" % (number, b"a" * 1000))
            await writer.drain()
        assert code_of(await reader.read()) == (431, "head_too_large")


async def test_headers_that_come_at_once_are_no_exception(loopback: None) -> None:
    async with connected(max_head_bytes=1000) as (reader, writer):
        writer.write(HEAD + b"x-large: " + b"a" * 1000 + b"\r\n\r\n")
        assert code_of(await reader.read()) == (431, "head_too_large")


async def test_what_is_no_http_gets_the_envelope_too(loopback: None) -> None:
    async with connected() as (reader, writer):
        writer.write(b"GET nowhere\r\n\r\n")
        assert code_of(await reader.read()) == (400, "invalid_http")


@pytest.mark.parametrize(
    "begun", [HEAD, HEAD + b"content-length: 9\r\n\r\nabc", HEAD + b"transfer-encoding: chunked\r\n\r\n"]
)
async def test_a_request_that_never_becomes_whole_is_given_up(begun: bytes, loopback: None) -> None:
    async with connected(request_seconds=0.05) as (reader, writer):
        writer.write(begun)
        assert code_of(await reader.read()) == (408, "request_too_slow")


async def test_a_connection_that_asks_nothing_is_closed(loopback: None) -> None:
    async with connected(request_seconds=0.05) as (reader, _):
        assert await reader.read() == b""


async def test_a_request_that_came_in_time_leaves_no_timer_behind(loopback: None) -> None:
    async with connected(request_seconds=0.5) as (reader, writer):
        await asked(reader, writer)
        await asyncio.sleep(0.6)
        await asked(reader, writer)


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"content-length: 4\r\n\r\nab")
    await writer.drain()
    writer.write(b"cd")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert await reader.readexactly(1) == b"4"


async def test_a_client_that_reads_nothing_is_left(loopback: None) -> None:
    ended = asyncio.Event()

    class Endless:
        limits = Limits(idle_seconds=0.1)

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive, send)
            await request.body(10)
            await request.begin(200, ())
            try:
                while True:
                    await request.write(bytes(65536))
            finally:
                ended.set()

    config = uvicorn.Config(Endless(), http=Connection, log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server, asyncio.timeout(10):
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await ended.wait()
        writer.transport.abort()
