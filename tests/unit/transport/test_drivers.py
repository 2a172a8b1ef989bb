"""The two drivers: they perform a plan's steps the same way, and a stream that is left aborts its request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from abstractcore.errors import ConnectionFailedError, ProviderError
from abstractcore.transport import AsyncDriver, AsyncHttpTransport, HttpTransport, SyncDriver
from abstractcore.wire.call import READ, Answer, Call, Emit, Pause, Plan, ReadWithin, StreamPlan
from tests.scripted_server import CHUNKED, END, PATIENCE, Peer, Script, chunk

from .conftest import Serve

CUT = ConnectionFailedError("cut")
Reply = Answer | ProviderError | list[bytes | ProviderError]
"""A whole answer, a failure, or what the reads of a stream give."""


@dataclass
class Canned:
    """Gives canned replies, one a call, and writes down what it is asked."""

    replies: list[Reply]
    log: list[str] = field(default_factory=list)

    def open(self, call: Call) -> CannedExchange:
        self.log.append(f"open {call.url}")
        reply = self.replies.pop(0)
        if isinstance(reply, ProviderError):
            raise reply
        whole = isinstance(reply, Answer)
        return CannedExchange(self, call, reply if whole else Answer(200, {}), [] if whole else list(reply))  # type: ignore[arg-type]

    def close(self) -> None:
        self.log.append("close")


@dataclass
class CannedExchange:
    transport: Canned
    call: Call
    answer: Answer
    reads: list[bytes | ProviderError]

    def read(self, within: ReadWithin | None = None) -> bytes:
        self.transport.log.append("read")
        given = self.reads.pop(0) if self.reads else b""
        if isinstance(given, ProviderError):
            raise given
        return given

    def close(self) -> None:
        if self.call.stream:
            self.transport.log.append(f"close {self.call.url}")


class CannedAsync:
    """The same for the other driver."""

    def __init__(self, replies: list[Reply]) -> None:
        self._canned = Canned(replies)
        self.log = self._canned.log

    async def open(self, call: Call) -> CannedAsyncExchange:
        await asyncio.sleep(0)
        return CannedAsyncExchange(self._canned.open(call))

    def close(self) -> None:
        self._canned.close()


class CannedAsyncExchange:
    def __init__(self, exchange: CannedExchange) -> None:
        self._exchange = exchange
        self.answer = exchange.answer

    async def read(self, within: ReadWithin | None = None) -> bytes:
        await asyncio.sleep(0)
        return self._exchange.read()

    def close(self) -> None:
        self._exchange.close()


@dataclass
class Outcome:
    """What a plan came to under one driver."""

    log: list[str]
    items: list[object] = field(default_factory=list)
    result: object = None
    error: str = ""


def run_sync(plan: Plan[Any], replies: list[Reply]) -> Outcome:
    transport = Canned(replies)
    outcome = Outcome(transport.log)
    try:
        outcome.result = SyncDriver(transport).run(plan)
    except Exception as error:  # noqa: BLE001 - compared
        outcome.error = repr(error)
    return outcome


def run_async(plan: Plan[Any], replies: list[Reply]) -> Outcome:
    transport = CannedAsync(replies)
    outcome = Outcome(transport.log)
    try:
        outcome.result = asyncio.run(AsyncDriver(transport).run(plan))
    except Exception as error:  # noqa: BLE001 - compared
        outcome.error = repr(error)
    return outcome


def stream_sync(plan: StreamPlan, replies: list[Reply]) -> Outcome:
    transport = Canned(replies)
    outcome = Outcome(transport.log)
    try:
        outcome.items.extend(SyncDriver(transport).stream(plan))
    except Exception as error:  # noqa: BLE001 - compared
        outcome.error = repr(error)
    return outcome


def stream_async(plan: StreamPlan, replies: list[Reply]) -> Outcome:
    transport = CannedAsync(replies)
    outcome = Outcome(transport.log)

    async def collect() -> None:
        async for item in AsyncDriver(transport).stream(plan):
            outcome.items.append(item)

    try:
        asyncio.run(collect())
    except Exception as error:  # noqa: BLE001 - compared
        outcome.error = repr(error)
    return outcome


def run_both(plan: Callable[[], Plan[Any]], *replies: Reply) -> Outcome:
    outcome = run_sync(plan(), list(replies))
    assert outcome == run_async(plan(), list(replies))
    return outcome


def stream_both(plan: Callable[[], StreamPlan], *replies: Reply) -> Outcome:
    outcome = stream_sync(plan(), list(replies))
    assert outcome == stream_async(plan(), list(replies))
    return outcome


def ask(url: str) -> Call:
    return Call("GET", url)


def listen(url: str) -> Call:
    return Call("GET", url, stream=True)


def retry_once() -> Plan[bytes]:
    """A plan that tries again after a failure."""
    try:
        answer = yield ask("first")
    except ConnectionFailedError:
        yield Pause(0.0)
        answer = yield ask("second")
    body: bytes = answer.body
    return body


def test_a_plan_runs_to_its_result() -> None:
    outcome = run_both(retry_once, Answer(200, {}, b"hello"))
    assert (outcome.result, outcome.log) == (b"hello", ["open first"])


def test_a_failed_step_is_the_plans_to_handle() -> None:
    outcome = run_both(retry_once, CUT, Answer(200, {}, b"hello"))
    assert (outcome.result, outcome.log) == (b"hello", ["open first", "open second"])


def test_a_failure_that_the_plan_does_not_handle_is_the_callers() -> None:
    outcome = run_both(retry_once, CUT, ConnectionFailedError("again"))
    assert outcome.error == "ConnectionFailedError('again')"


def test_a_plan_may_be_over_before_it_asks_for_anything() -> None:
    def plan() -> Plan[int]:
        return 7
        yield

    assert run_both(plan).result == 7


def test_a_plan_that_reads_a_stream_closes_it_at_its_end() -> None:
    def plan() -> Plan[bytes]:
        yield listen("stream")
        first: bytes = yield READ
        return first

    outcome = run_both(plan, [b"one", b"two"])
    assert (outcome.result, outcome.log) == (b"one", ["open stream", "read", "close stream"])


def test_a_call_closes_the_stream_that_is_open() -> None:
    def plan() -> Plan[bytes]:
        yield listen("stream")
        yield READ
        answer = yield ask("other")
        body: bytes = answer.body
        return body

    outcome = run_both(plan, [b"one"], Answer(200, {}, b"hello"))
    assert outcome.log == ["open stream", "read", "close stream", "open other"]


def test_an_error_in_a_plan_closes_the_stream() -> None:
    def plan() -> Plan[None]:
        yield listen("stream")
        raise ZeroDivisionError

    outcome = run_both(plan, [b"one"])
    assert (outcome.error, outcome.log) == ("ZeroDivisionError()", ["open stream", "close stream"])


@pytest.mark.parametrize("step", [READ, Emit([1]), "nonsense"], ids=["read", "emit", "nonsense"])
def test_a_step_that_makes_no_sense_is_a_mistake_of_the_plan(step: Any) -> None:
    def plan() -> Plan[None]:
        yield step

    assert run_both(plan).error.startswith(("RuntimeError", "TypeError"))


def events() -> StreamPlan:
    """Hands out what it reads, byte by byte, and closes with a line of its own."""
    answer = yield listen("stream")
    yield Emit([answer.status])
    while data := (yield READ):
        yield Emit(list(data.decode()))
    yield Emit(["end"])


def test_items_are_handed_out_one_by_one_and_in_order() -> None:
    outcome = stream_both(events, [b"ab", b"c"])
    assert outcome.items == [200, "a", "b", "c", "end"]
    assert outcome.log == ["open stream", "read", "read", "read", "close stream"]


def test_an_emit_without_items_is_nothing() -> None:
    def plan() -> StreamPlan:
        yield Emit([])
        yield Emit([1])
        yield Emit([])

    assert stream_both(plan).items == [1]


def test_what_came_before_a_cut_is_handed_out_first() -> None:
    outcome = stream_both(events, [b"ab", CUT])
    assert outcome.items == [200, "a", "b"]
    assert outcome.error == "ConnectionFailedError('cut')"
    assert outcome.log[-1] == "close stream"


def test_a_stream_plan_may_turn_a_cut_into_something_else() -> None:
    def plan() -> StreamPlan:
        yield listen("stream")
        try:
            yield READ
        except ConnectionFailedError:
            yield Emit(["recovered"])
            yield listen("again")
            yield Emit([(yield READ)])

    outcome = stream_both(plan, [CUT], [b"one"])
    assert outcome.items == ["recovered", b"one"]
    assert outcome.log == ["open stream", "read", "close stream", "open again", "read", "close again"]


def test_nothing_is_sent_before_the_first_item_is_asked_for() -> None:
    transport = Canned([[b"a"]])
    stream = SyncDriver(transport).stream(events())
    assert transport.log == []
    stream.close()
    assert list(stream) == []
    assert transport.log == []


def test_a_stream_that_has_ended_stays_ended() -> None:
    stream = SyncDriver(Canned([[b"a"]])).stream(events())
    assert list(stream) == [200, "a", "end"]
    assert list(stream) == []
    failing = SyncDriver(Canned([CUT])).stream(events())
    with pytest.raises(ConnectionFailedError):
        next(failing)
    assert list(failing) == []


def test_the_with_block_closes_the_stream_and_its_plan() -> None:
    transport = Canned([[b"ab"]])
    finished = []

    def plan() -> StreamPlan:
        try:
            yield from events()
        finally:
            finished.append(True)

    with SyncDriver(transport).stream(plan()) as stream:
        assert next(stream) == 200
    assert transport.log == ["open stream", "close stream"]
    assert finished == [True]


async def test_the_async_with_block_closes_the_stream() -> None:
    transport = CannedAsync([[b"ab"]])
    async with AsyncDriver(transport).stream(events()) as stream:
        assert await anext(stream) == 200
    assert transport.log == ["open stream", "close stream"]
    await stream.aclose()
    assert [item async for item in stream] == []


# Over real sockets: the server sees that a stream was left, at once.


def stalls(gone: threading.Event) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED, chunk(b"ab"))
        peer.wait_gone()
        gone.set()

    return script


def endless(url: str) -> StreamPlan:
    yield listen(url)
    while data := (yield READ):
        yield Emit(list(data.decode()))


def test_breaking_out_of_an_unnamed_stream_aborts_the_request(serve: Serve) -> None:
    gone = threading.Event()
    url = serve(stalls(gone)).url
    for item in SyncDriver(HttpTransport(environ={})).stream(endless(url)):
        assert item == "a"
        break
    assert gone.wait(PATIENCE)


async def test_breaking_out_of_an_unnamed_async_stream_aborts_the_request(serve: Serve) -> None:
    gone = threading.Event()
    url = serve(stalls(gone)).url
    async for item in AsyncDriver(AsyncHttpTransport(environ={})).stream(endless(url)):
        assert item == "a"
        break
    assert gone.wait(PATIENCE)  # nothing was awaited since


async def test_cancelling_the_task_that_reads_a_stream_aborts_the_request(serve: Serve) -> None:
    gone = threading.Event()
    stream = AsyncDriver(AsyncHttpTransport(environ={})).stream(endless(serve(stalls(gone)).url))
    assert [await anext(stream), await anext(stream)] == ["a", "b"]
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert gone.wait(PATIENCE)
    assert [item async for item in stream] == []


def test_closing_a_stream_in_another_thread_ends_the_loop_over_it(serve: Serve) -> None:
    gone = threading.Event()
    stream = SyncDriver(HttpTransport(environ={})).stream(endless(serve(stalls(gone)).url))
    items: list[object] = []
    half = threading.Event()

    def work() -> None:
        for item in stream:
            items.append(item)
            if item == "b":
                half.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert half.wait(PATIENCE)
    stream.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert items == ["a", "b"]
    assert gone.wait(PATIENCE)


async def test_closing_a_stream_in_another_task_ends_the_loop_over_it(serve: Serve) -> None:
    stream = AsyncDriver(AsyncHttpTransport(environ={})).stream(endless(serve(stalls(threading.Event())).url))
    half = asyncio.Event()

    async def work() -> list[object]:
        items = []
        async for item in stream:
            items.append(item)
            if item == "b":
                half.set()
        return items

    task = asyncio.create_task(work())
    async with asyncio.timeout(PATIENCE):
        await half.wait()
    await stream.aclose()
    assert await task == ["a", "b"]


def test_a_stream_read_to_its_end_keeps_the_connection(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        while True:
            peer.request()
            peer.send(CHUNKED, chunk(b"ab"), END)

    server = serve(script)
    driver = SyncDriver(HttpTransport(environ={}))
    for _ in range(10):
        assert list(driver.stream(endless(server.url))) == ["a", "b"]

    async def same() -> None:
        driver = AsyncDriver(AsyncHttpTransport(environ={}))
        for _ in range(10):
            assert [item async for item in driver.stream(endless(server.url))] == ["a", "b"]

    asyncio.run(same())
    assert server.connections == 2
