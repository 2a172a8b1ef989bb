"""What only event loops can get wrong: cancelling, several loops, threads, back-pressure."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from abstractcore.errors import ConnectionFailedError, RequestTimeoutError
from abstractcore.transport import AsyncHttpTransport
from abstractcore.transport.async_connection import HIGH_WATER
from abstractcore.transport.http_async import AsyncHttpExchange
from abstractcore.wire.call import Call, Timeouts
from tests.scripted_server import CHUNKED, END, PATIENCE, Peer, Script, chunk, whole

from .conftest import Serve


def keep_answering(peer: Peer) -> None:
    while True:
        target = peer.request().target.encode()
        peer.send(CHUNKED, chunk(target), END)


def stalls(gone: threading.Event, *sent: bytes) -> Script:
    """Sends something, then waits for the client to leave."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(*sent)
        peer.wait_gone()
        gone.set()

    return script


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - a thread makes it true
            await asyncio.sleep(0)


async def read_all(exchange: AsyncHttpExchange) -> bytes:
    parts = []
    while data := await exchange.read():
        parts.append(data)
    return b"".join(parts)


def test_one_transport_serves_one_loop_after_the_other(serve: Serve) -> None:
    server = serve(keep_answering)
    transport = AsyncHttpTransport(environ={})

    async def twice() -> None:
        for _ in range(2):
            assert await read_all(await transport.open(Call("GET", server.url + "/x", stream=True))) == b"/x"

    for loops in range(1, 4):
        asyncio.run(twice())
        assert server.connections == loops


def test_a_loop_that_ends_closes_its_connections(serve: Serve) -> None:
    gone = threading.Event()
    server = serve(stalls(gone, whole(b"ok")))
    transport = AsyncHttpTransport(environ={})

    async def once() -> None:
        await transport.open(Call("GET", server.url))
        assert not gone.is_set()

    asyncio.run(once())
    assert gone.wait(PATIENCE)


def test_a_stream_that_outlives_its_loop_is_aborted(serve: Serve) -> None:
    gone = threading.Event()
    server = serve(stalls(gone, CHUNKED, chunk(b"one")))
    exchange = asyncio.run(AsyncHttpTransport(environ={}).open(Call("GET", server.url, stream=True)))
    assert gone.wait(PATIENCE)
    exchange.close()


def test_loops_in_several_threads_share_a_transport(serve: Serve) -> None:
    server = serve(keep_answering)
    transport = AsyncHttpTransport(environ={})
    failures: list[BaseException] = []

    async def work(number: int) -> None:
        for turn in range(20):
            path = f"/{number}/{turn}"
            got = await read_all(await transport.open(Call("GET", server.url + path, stream=True)))
            assert got == path.encode()

    def run(number: int) -> None:
        try:
            asyncio.run(work(number))
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []
    assert server.connections == 4


@pytest.mark.parametrize("sent", [(), (CHUNKED,), (CHUNKED, chunk(b"one"))], ids=["asked", "head", "body"])
async def test_cancelling_aborts_the_request(serve: Serve, sent: tuple[bytes, ...]) -> None:
    asked = threading.Event()
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        asked.set()
        peer.send(*sent)
        peer.wait_gone()
        gone.set()

    server = serve(script)
    got: list[object] = []

    async def work() -> None:
        exchange = await AsyncHttpTransport(environ={}).open(Call("GET", server.url, stream=True))
        got.append(exchange.answer)
        while True:
            got.append(await exchange.read())

    task = asyncio.create_task(work())
    await until(lambda: asked.is_set() and len(got) == len(sent))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone.wait(PATIENCE)  # the loop stands still meanwhile: the server knew at once


async def test_cancelling_a_connection_attempt_leaves_nothing_behind(serve: Serve) -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.wait_gone()
        gone.set()

    server = serve(script)
    task = asyncio.create_task(AsyncHttpTransport(environ={}).open(Call("GET", f"https://127.0.0.1:{server.port}")))
    await until(lambda: server.connections == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(gone.is_set)


async def test_dropping_an_exchange_aborts_the_request(serve: Serve) -> None:
    gone = threading.Event()
    server = serve(stalls(gone, CHUNKED, chunk(b"one")))
    exchange = await AsyncHttpTransport(environ={}).open(Call("GET", server.url, stream=True))
    del exchange
    assert gone.wait(PATIENCE)


async def test_an_exchange_may_be_closed_in_another_thread(serve: Serve) -> None:
    gone = threading.Event()
    server = serve(stalls(gone, CHUNKED, chunk(b"one")))
    exchange = await AsyncHttpTransport(environ={}).open(Call("GET", server.url, stream=True))
    thread = threading.Thread(target=exchange.close)
    thread.start()
    thread.join(PATIENCE)
    await until(gone.is_set)


async def test_closing_ends_a_read_in_another_task(serve: Serve) -> None:
    server = serve(stalls(threading.Event(), CHUNKED))
    exchange = await AsyncHttpTransport(environ={}).open(Call("GET", server.url, stream=True))
    reading = asyncio.create_task(exchange.read())
    await asyncio.sleep(0)
    exchange.close()
    with pytest.raises(ConnectionFailedError, match="closed on this side"):
        await reading


async def test_a_reader_that_lags_behind_slows_the_server_down(serve: Serve) -> None:
    block = bytes(64 * 1024)
    blocks = 300

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        for _ in range(blocks):
            peer.send(chunk(block))
        peer.send(END)
        peer.wait_gone()

    transport = AsyncHttpTransport(environ={})
    exchange = await transport.open(Call("GET", serve(script).url, stream=True))
    connection = exchange._connection
    assert connection is not None
    await until(lambda: not connection.transport.is_reading())
    assert HIGH_WATER // 2 <= sum(map(len, exchange._reader.chunks)) <= 2 * HIGH_WATER
    assert len(await read_all(exchange)) == blocks * len(block)
    assert (await transport.open(Call("GET", serve(keep_answering).url + "/x"))).answer.body == b"/x"


async def test_closing_the_transport_closes_idle_connections_only(serve: Serve) -> None:
    gone = threading.Event()
    idle = serve(stalls(gone, whole(b"ok")))
    busy = serve(keep_answering)
    transport = AsyncHttpTransport(environ={})
    await transport.open(Call("GET", idle.url))
    exchange = await transport.open(Call("GET", busy.url + "/x", stream=True))
    transport.close()
    await until(gone.is_set)
    assert await read_all(exchange) == b"/x"


async def test_the_total_runs_also_while_nobody_reads(serve: Serve) -> None:
    gone = threading.Event()
    server = serve(stalls(gone, CHUNKED, chunk(b"one")))
    call = Call("GET", server.url, stream=True, timeouts=Timeouts(total=0.2))
    exchange = await AsyncHttpTransport(environ={}).open(call)
    assert await exchange.read() == b"one"
    await until(gone.is_set)
    with pytest.raises(RequestTimeoutError) as caught:
        await exchange.read()
    assert caught.value.phase == "total"


async def test_finished_exchanges_leave_no_garbage_for_the_collector(serve: Serve) -> None:
    server = serve(keep_answering)
    transport = AsyncHttpTransport(environ={})
    call = Call("GET", server.url + "/x", stream=True)
    await read_all(await transport.open(call))
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await read_all(await transport.open(call))
        assert gc.collect() == 0
    finally:
        gc.enable()


async def test_one_timer_serves_a_whole_stream(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        for _ in range(50):
            peer.send(chunk(b"event"))
            assert seen.acquire(timeout=PATIENCE)
        peer.send(END)
        peer.wait_gone()

    loop = asyncio.get_running_loop()
    set_timers: list[float] = []
    call_at = loop.call_at

    def count(when: float, *rest: Any, **named: Any) -> asyncio.TimerHandle:
        set_timers.append(when)
        return call_at(when, *rest, **named)

    monkeypatch.setattr(loop, "call_at", count)
    call = Call("GET", serve(script).url, stream=True, timeouts=Timeouts(connect=None))
    exchange = await AsyncHttpTransport(environ={}).open(call)
    while await exchange.read():
        seen.release()
    assert len(set_timers) <= 2
