"""The way to an engine from an event loop, which never waits for a thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from ...transport.failure import closed_here
from ...wire.call import Answer, Call, ReadWithin
from .host import Lease
from .pending import Pending
from .transport import Limits, answer_at_once

T = TypeVar("T")


class _Answered:
    """An exchange that was complete at once."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def read(self, within: ReadWithin | None = None) -> bytes:
        return b""

    def close(self) -> None:
        pass


class _Exchange:
    """One request, in an event loop."""

    answer: Answer

    def __init__(self, call: Call) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._limits = Limits(call)
        self._closed = False
        self._pending: Pending | None = None
        self._call = call

    async def open(self, lease: Lease) -> None:
        started = time.perf_counter()
        pending = self._pending = lease.host().submit(self._call, self._tell)
        try:
            self.answer = await self._wait_for(lambda: pending.answer(time.perf_counter() - started))
        except BaseException:
            self.close()
            raise

    async def read(self, within: ReadWithin | None = None) -> bytes:
        assert self._pending is not None
        data = await self._wait_for(self._pending.take)
        self._limits.begin()
        return data

    def close(self) -> None:
        self._closed = True
        if self._pending is not None:
            self._pending.cancel()
        self._tell()

    def _tell(self) -> None:
        """Wakes the reader, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # the loop is closed: nobody reads
            if self._pending is not None:
                self._pending.cancel()

    async def _wait_for(self, what: Callable[[], T | None]) -> T:
        while True:
            self._news.clear()
            if self._closed:
                raise closed_here(self._call.url)
            found = what()
            if found is not None:
                return found
            seconds, phase = self._limits.left()
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                raise self._limits.out(phase) from None


class AsyncEngineTransport:
    """The way to an engine from an event loop."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    async def open(self, call: Call) -> _Exchange | _Answered:
        """Queue a request; return when the head of the answer is there, or all of it unless ``call.stream``."""
        at_once = answer_at_once(self._lease, call)
        if at_once:
            return _Answered(at_once)
        exchange = _Exchange(call)
        await exchange.open(self._lease)
        return exchange

    def close(self) -> None:
        """Let go of the engine."""
        self._lease.release(wait=False)
