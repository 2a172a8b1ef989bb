"""What the gateway's own connection adds to uvicorn's: gathered writes, and word of a client that left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from abstractcore.server.asgi import Receive, Request, Scope, Send
from abstractcore.server.connection import Connection

Handler = Callable[[Request], Awaitable[object]]
ASK = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
PATIENCE = 10


@asynccontextmanager
async def asking(handler: Handler) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client's connection to a server whose every request is answered by the handler."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        await request.body(1000)
        try:
            await handler(request)
        finally:
            request.close()

    config = uvicorn.Config(app, http=Connection, log_config=None, access_log=False)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server, asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
            await writer.wait_closed()
            await asyncio.gather(*state.tasks)


async def test_answers_come_in_the_order_of_their_requests_on_one_connection(loopback: None) -> None:
    numbers = iter(range(100))

    async def handler(request: Request) -> None:
        await request.answer(200, b"%d" % next(numbers))

    async with asking(handler) as (reader, writer):
        writer.write(ASK * 20)
        for number in range(20):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            body = b"%d" % number
            assert await reader.readexactly(len(body)) == body


async def test_head_and_body_of_an_answer_leave_together(loopback: None) -> None:
    writes: list[bytes] = []

    async def handler(request: Request) -> None:
        connection: Any = request.scope["extensions"]["abstractcore.leaving"]["then"].__self__
        transport = connection.transport._transport
        connection.transport._transport = _Spy(transport, writes)
        await request.answer(200, b"body")

    async with asking(handler) as (reader, writer):
        writer.write(ASK)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(4) == b"body"
    assert [write.endswith(b"\r\n\r\nbody") for write in writes] == [True]


class _Spy:
    """A transport that notes what is written."""

    def __init__(self, transport: Any, writes: list[bytes]) -> None:
        self._transport, self._writes = transport, writes

    def write(self, data: bytes) -> None:
        self._writes.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def test_the_last_answer_is_sent_whole_before_the_connection_is_closed(loopback: None) -> None:
    async def handler(request: Request) -> None:
        await request.answer(200, b"x" * 1_000_000, (b"connection", b"close"))

    async with asking(handler) as (reader, writer):
        writer.write(ASK)
        assert (await reader.read()).endswith(b"\r\n\r\n" + b"x" * 1_000_000)


async def test_a_client_that_leaves_cancels_its_request(loopback: None) -> None:
    ready, gone = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        ready.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert request.left
            gone.set()

    async with asking(handler) as (_, writer):
        writer.write(ASK)
        await ready.wait()
        writer.close()
        await gone.wait()


async def test_a_client_that_left_before_is_noticed_too(loopback: None) -> None:
    ready, closed, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        request.close()  # not watched from here
        ready.set()
        await closed.wait()
        await asyncio.sleep(0.01)
        request.watch()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            gone.set()

    async with asking(handler) as (_, writer):
        writer.write(ASK)
        await ready.wait()
        writer.close()
        await writer.wait_closed()
        closed.set()
        await gone.wait()


async def test_nobody_is_told_of_a_client_that_leaves_after_its_answer(loopback: None) -> None:
    ended, closed, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        await request.answer(200, b"ok")
        ended.set()
        await closed.wait()
        await asyncio.sleep(0.01)
        assert not request.left
        done.set()

    async with asking(handler) as (reader, writer):
        writer.write(ASK)
        await reader.readuntil(b"ok")
        writer.close()
        closed.set()
        await done.wait()


async def test_a_client_that_does_not_read_holds_the_answer_back(loopback: None) -> None:
    written = 0

    async def handler(request: Request) -> None:
        nonlocal written
        await request.begin(200, ())
        for _ in range(10_000):
            await request.write(bytes(65536))
            written += 65536
        await request.end()

    async with asking(handler) as (reader, writer):
        writer.write(ASK)
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while before != written:
            before = written
            await asyncio.sleep(0.05)
        assert written < 100 * 65536
        writer.transport.abort()
