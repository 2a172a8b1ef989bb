"""Connections to one place are made by turns; waiting for one's turn is not what the limit for connecting measures."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from abstractcore.errors import RequestTimeoutError
from abstractcore.transport import AsyncHttpTransport
from abstractcore.transport import gate as gate_module
from abstractcore.transport.deadline import Deadlines
from abstractcore.transport.gate import Gate
from abstractcore.wire.call import Call, Timeouts
from tests.scripted_server import PATIENCE, Peer, whole

from .conftest import Serve


def limits(connect: float | None = None, total: float | None = None) -> Deadlines:
    return Deadlines(Timeouts(connect, None, None, total), asyncio.get_running_loop().time())


@pytest.fixture
def one_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "AT_ONCE", 1)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("one_at_once")
async def test_they_pass_in_the_order_in_which_they_came() -> None:
    gate, passed = Gate(), list[int]()

    async def work(number: int) -> None:
        assert await gate.enter(limits()) is None
        passed.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(3)]
    for count in range(1, 4):
        await turns()
        assert passed == list(range(count))
        gate.leave(None)
    await asyncio.gather(*tasks)


@pytest.mark.usefixtures("one_at_once")
@pytest.mark.parametrize(("given", "phase"), [({"connect": 0.05}, "connect"), ({"total": 0.05}, "total")])
async def test_the_queue_in_front_of_a_place_that_never_answers_is_left_in_time(
    given: dict[str, float], phase: str
) -> None:
    gate = Gate()
    await gate.enter(limits())
    async with asyncio.timeout(PATIENCE):
        assert await gate.enter(limits(**given)) == phase
    gate.leave(None)
    assert await gate.enter(limits()) is None, "who gave up takes no turn"


@pytest.mark.usefixtures("one_at_once")
async def test_while_connections_come_to_be_the_limit_for_one_does_not_run() -> None:
    gate, loop = Gate(), asyncio.get_running_loop()
    await gate.enter(limits())
    waiting = asyncio.create_task(gate.enter(limits(connect=0.2)))
    await turns()
    gate._moved_at = loop.time() + 0.2  # a connection stood just now, and the next one was let in
    done, _ = await asyncio.wait([waiting], timeout=0.25)
    assert not done, "its limit is over, but not its patience"
    gate.leave(loop.time())
    assert await waiting is None


@pytest.mark.usefixtures("one_at_once")
@pytest.mark.parametrize("late", [False, True], ids=["in the queue", "when its turn had come"])
async def test_who_is_cancelled_takes_no_turn(late: bool) -> None:
    gate = Gate()
    await gate.enter(limits())
    waiting = asyncio.create_task(gate.enter(limits()))
    await turns()
    if late:
        gate.leave(None)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not late:
        gate.leave(None)
    async with asyncio.timeout(PATIENCE):
        assert await gate.enter(limits()) is None


async def test_a_crowd_that_comes_at_once_is_answered(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """With at most four connections being made at a time, as the loop sees them."""
    monkeypatch.setattr(gate_module, "AT_ONCE", 4)
    loop = asyncio.get_running_loop()
    dialing, most = 0, 0
    dial: Callable[..., object] = loop.create_connection

    async def counted(*args: object, **named: object) -> object:
        nonlocal dialing, most
        dialing += 1
        most = max(most, dialing)
        try:
            return await dial(*args, **named)  # type: ignore[misc]
        finally:
            dialing -= 1

    monkeypatch.setattr(loop, "create_connection", counted)

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(whole(b"ok"))
        peer.wait_gone()

    url, transport = serve(script).url, AsyncHttpTransport(environ={})
    exchanges = await asyncio.gather(*(transport.open(Call("GET", url)) for _ in range(40)))
    assert {exchange.answer.body for exchange in exchanges} == {b"ok"}
    assert most == 4


async def test_a_place_that_answers_nobody_holds_up_no_other(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "AT_ONCE", 1)
    silent = serve(lambda peer: peer.wait_gone())  # TLS is part of connecting
    answered = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(whole(b"ok"))
        answered.set()
        peer.wait_gone()

    transport = AsyncHttpTransport(environ={})
    short = Timeouts(connect=0.2, first_byte=None, idle=None, total=None)
    stuck = [transport.open(Call("GET", f"https://127.0.0.1:{silent.port}", timeouts=short)) for _ in range(3)]
    failing = asyncio.gather(*stuck, return_exceptions=True)
    assert (await transport.open(Call("GET", serve(script).url))).answer.body == b"ok"
    found = await failing
    assert [error.phase for error in found if isinstance(error, RequestTimeoutError)] == ["connect"] * 3


async def test_a_connection_that_stood_in_time_counts_although_the_loop_was_busy(serve: Serve) -> None:
    """Other work keeps the loop from noticing for longer than the limit."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(whole(b"ok"))
        peer.wait_gone()

    url, over = serve(script).url, threading.Event()

    async def busy() -> None:
        while not over.is_set():
            time.sleep(0.03)  # noqa: ASYNC251 - a turn of a loop with much to do
            await asyncio.sleep(0)

    other = asyncio.create_task(busy())
    limits = Timeouts(connect=0.02, first_byte=None, idle=None, total=None)
    exchange = await AsyncHttpTransport(environ={}).open(Call("GET", url, timeouts=limits))
    over.set()
    await other
    assert exchange.answer.body == b"ok"
