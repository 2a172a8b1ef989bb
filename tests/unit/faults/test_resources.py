"""Nothing stays behind and nothing is mixed up, whatever uses a client: cancels, threads, event loops, an outage."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from abstractcore import AbstractCoreError, VLLMProvider
from abstractcore.transport.retry import RetryPolicy
from tests.answering_server import AnsweringServer
from tests.scripted_server import PATIENCE

pytestmark = pytest.mark.usefixtures("loopback")


@pytest.fixture
def server() -> Iterator[AnsweringServer]:
    with AnsweringServer() as running:
        yield running


@pytest.fixture
def llm(server: AnsweringServer) -> Iterator[VLLMProvider]:
    with VLLMProvider("m", base_url=server.url, retry=RetryPolicy(base=0.001)) as made:
        yield made


async def read(llm: VLLMProvider, prompt: str) -> str:
    return "".join([part.content async for part in await llm.agenerate(prompt, stream=True)])


def until(condition: Callable[[], bool]) -> None:
    """Waits for what another thread does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def ours() -> list[object]:
    """What lives of the transport."""
    homes = ("abstractcore.transport", "abstractcore.wire.stream", "abstractcore.wire.http1")
    return [one for one in gc.get_objects() if str(type(one).__module__).startswith(homes)]


# --- cancels ---------------------------------------------------------------------------------------------------------


async def by_task(llm: VLLMProvider) -> None:
    task = asyncio.create_task(read(llm, "hold on"))
    await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_plain_task(llm: VLLMProvider) -> None:
    task = asyncio.ensure_future(llm.agenerate("never"))
    await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_closing(llm: VLLMProvider) -> None:
    stream = await llm.agenerate("hold on", stream=True)
    await anext(stream)
    await stream.aclose()


async def by_dropping(llm: VLLMProvider) -> None:
    async for _ in await llm.agenerate("hold on", stream=True):
        break


async def test_a_thousand_cancels_leave_nothing_behind(server: AnsweringServer, llm: VLLMProvider) -> None:
    ways = (by_task, by_plain_task, by_closing, by_dropping)
    assert await read(llm, "warm up") == "warm up "
    for way in ways:
        await way(llm)
    llm.close()
    until(lambda: not server.open)
    await asyncio.sleep(0)
    gc.collect()
    before, tasks, living = files(), asyncio.all_tasks(), len(ours())
    gc.disable()
    try:
        for number in range(1000):
            await ways[number % len(ways)](llm)
        await asyncio.sleep(0.01)
        assert len(ours()) == living, "what is given up needs no collector to go"
    finally:
        gc.enable()
    until(lambda: not server.open)
    assert files() == before
    assert asyncio.all_tasks() == tasks
    assert await read(llm, "still fine") == "still fine "


def test_blocking_streams_that_are_given_up_leave_nothing_behind(server: AnsweringServer, llm: VLLMProvider) -> None:
    assert llm.generate("warm up").content == "warm up"
    llm.close()
    gc.collect()
    gc.disable()
    before, living = files(), len(ours())
    try:
        for number in range(200):
            stream = llm.generate("hold on", stream=True)
            assert next(stream).content == "hold "
            if number % 2:
                stream.close()
            del stream
        assert len(ours()) == living
    finally:
        gc.enable()
    until(lambda: not server.open)
    assert files() == before
    assert llm.generate("still fine").content == "still fine"


# --- who uses a client -----------------------------------------------------------------------------------------------


def test_streams_one_after_the_other_share_a_connection(server: AnsweringServer, llm: VLLMProvider) -> None:
    for _ in range(100):
        assert "".join(part.content for part in llm.generate("one two", stream=True)) == "one two "
    assert server.connections == 1

    async def same() -> None:
        for _ in range(100):
            assert await read(llm, "one two") == "one two "

    asyncio.run(same())
    assert server.connections == 2


def test_threads_and_event_loops_share_a_client_and_nobody_gets_anothers_answer(llm: VLLMProvider) -> None:
    start = threading.Barrier(6)

    def blocking(name: str) -> None:
        start.wait(PATIENCE)
        for turn in range(15):
            prompt = f"{name} {turn}"
            assert llm.generate(prompt).content == prompt
            assert "".join(part.content for part in llm.generate(prompt, stream=True)) == f"{prompt} "

    async def some(name: str) -> None:
        async def one(prompt: str) -> None:
            assert await read(llm, prompt) == f"{prompt} "
            assert (await llm.agenerate(prompt)).content == prompt

        await asyncio.gather(*(one(f"{name} {number}") for number in range(10)))

    def looping(name: str) -> None:
        start.wait(PATIENCE)
        for turn in range(2):  # one loop after the other
            asyncio.run(some(f"{name} {turn}"))

    with ThreadPoolExecutor(6) as pool:
        work = [pool.submit(blocking if number % 2 else looping, f"t{number}") for number in range(6)]
        for one in work:
            one.result(PATIENCE)


def test_a_stream_that_is_read_in_another_loop_says_that_it_is_gone(llm: VLLMProvider) -> None:
    async def begin() -> Any:
        stream = await llm.agenerate("hold on", stream=True)
        assert (await anext(stream)).content == "hold "
        return stream

    async def go_on(stream: Any) -> None:
        with pytest.raises(AbstractCoreError) as caught:
            await anext(stream)
        assert getattr(caught.value, "partial", "") == "hold "

    asyncio.run(go_on(asyncio.run(begin())))


# --- an outage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["busy", "reset"])
def test_an_outage_is_not_made_worse(server: AnsweringServer, llm: VLLMProvider, how: str) -> None:
    """The server counts: all that came in, of 200 requests of two threads and 200 of an event loop."""

    def blocking(_: int) -> None:
        for _turn in range(100):
            with pytest.raises(AbstractCoreError):
                llm.generate(how)

    async def some() -> None:
        failed = await asyncio.gather(*(llm.agenerate(how) for _ in range(200)), return_exceptions=True)
        assert all(isinstance(error, AbstractCoreError) for error in failed)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(blocking, range(2)))
    asyncio.run(some())
    assert 400 < server.requests <= 1.1 * 400


def test_beside_good_answers_one_request_in_ten_is_sent_again(server: AnsweringServer, llm: VLLMProvider) -> None:
    for number in range(600):
        if number % 3:
            assert llm.generate("fine").content == "fine"
        else:
            with pytest.raises(AbstractCoreError):
                llm.generate("busy")
    assert 600 * 1.05 < server.requests <= 600 * 1.1


async def test_a_repeat_is_told(server: AnsweringServer) -> None:
    """Of a connection that broke unanswered; the error of the last attempt is the one that counts."""
    async with VLLMProvider("m", base_url=server.url, retry=RetryPolicy(base=0.001)) as llm:
        with pytest.raises(AbstractCoreError, match="broke before any answer"):
            await llm.agenerate("reset")
        assert server.requests == 3
