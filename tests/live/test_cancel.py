"""A stream that is given up stops the generation on the server."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Any
from urllib.request import urlopen

import pytest

from abstractcore import VLLMProvider
from abstractcore.vllm_facts import RUNNING_METRIC
from abstractcore.wire.prometheus import read_totals
from tests.live.conftest import LiveServer

LONG: dict[str, Any] = {
    "prompt": "Tell me a very long story.",
    "max_output_tokens": 1500,
    "extra_body": {"ignore_eos": True},
}


def running(base_url: str) -> float:
    with urlopen(f"{base_url.removesuffix('/v1')}/metrics", timeout=10) as answer:
        return read_totals(answer.read())[RUNNING_METRIC]


def comes_to(base_url: str, count: float, seconds: float = 20.0) -> bool:
    """Whether the server runs so many requests before the time is up; 1500 tokens take it more than a minute."""
    until = time.monotonic() + seconds
    while running(base_url) != count:
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture
def idle(vllm: LiveServer) -> str:
    """The address of the server, at rest."""
    assert comes_to(vllm.base_url, 0)
    return vllm.base_url


def by_close(stream: Any) -> None:
    stream.close()


def by_leaving_the_block(stream: Any) -> None:
    with stream:
        next(stream)


def by_breaking(stream: Any) -> None:
    for _ in stream:
        break


@pytest.mark.parametrize("give_up", [by_close, by_leaving_the_block, by_breaking])
def test_a_stream_given_up_is_stopped(llm: VLLMProvider, idle: str, give_up: Callable[[Any], None]) -> None:
    stream: Any = llm.generate(**LONG, stream=True)
    next(stream)
    assert running(idle) == 1
    give_up(stream)
    del stream
    gc.collect()
    assert comes_to(idle, 0)


async def test_an_async_stream_given_up_is_stopped(vllm: LiveServer, idle: str) -> None:
    async with VLLMProvider(vllm.model, base_url=idle) as llm:
        async with await llm.agenerate(**LONG, stream=True) as stream:
            await anext(stream)
            assert await asyncio.to_thread(running, idle) == 1
        assert await asyncio.to_thread(comes_to, idle, 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_task_is_stopped(vllm: LiveServer, idle: str, stream: bool) -> None:
    async def ask(llm: VLLMProvider) -> None:
        answer: Any = await llm.agenerate(**LONG, stream=stream)
        async for _ in answer:
            pass

    async with VLLMProvider(vllm.model, base_url=idle) as llm:
        task = asyncio.create_task(ask(llm))
        assert await asyncio.to_thread(comes_to, idle, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(comes_to, idle, 0)


def test_a_time_limit_stops_the_generation(llm: VLLMProvider, idle: str) -> None:
    from abstractcore import RequestTimeoutError

    with pytest.raises(RequestTimeoutError):
        llm.generate(**LONG, timeout=1.0)
    assert comes_to(idle, 0)


def test_the_connection_of_a_finished_stream_serves_the_next(llm: VLLMProvider) -> None:
    """And a stream given up leaves the provider usable."""
    for _ in range(2):
        list(llm.generate("Hi", stream=True, max_output_tokens=2))
    with llm.generate("Hi", stream=True, max_output_tokens=50) as stream:
        next(stream)
    assert llm.generate("Hi", max_output_tokens=2).content
