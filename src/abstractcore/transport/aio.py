"""The asyncio driver: runs plans over an ``AsyncTransport``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from ..errors import ProviderError
from ..wire.call import READ, Answer, Call, Emit, Pause, Plan, ReadWithin, Step, StreamPlan, Work
from . import AsyncExchange, AsyncTransport

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")
_THREADS: Final = 2
"""More of them would only take turns, and make the event loop wait for its own."""


@cache
def _threads() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(_THREADS, "abstractcore-work")


os.register_at_fork(after_in_child=_threads.cache_clear)  # a child has none of its parent's threads


async def beside(work: Callable[[], T]) -> T:
    """Does work that may take long in a thread, while the event loop goes on."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), work)


class _Performer:
    """Performs the steps of one plan; holds the stream that is open, if any."""

    __slots__ = ("_exchange", "_transport")

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._exchange: AsyncExchange | None = None

    def perform(self, step: Step) -> Awaitable[object]:
        """What to wait for: the outcome of a step."""
        if step is READ or isinstance(step, ReadWithin):
            if self._exchange is None:
                raise RuntimeError("the plan reads, but no stream is open")
            return self._exchange.read(step) if isinstance(step, ReadWithin) else self._exchange.read()
        if isinstance(step, Call):
            return self._open(step)
        if isinstance(step, Pause):
            return asyncio.sleep(step.seconds)
        if isinstance(step, Work):
            return beside(step.run)
        raise TypeError(f"a plan can't yield {step!r} here")

    async def _open(self, call: Call) -> Answer:
        self.close()
        exchange = await self._transport.open(call)
        if call.stream:
            self._exchange = exchange
        else:
            exchange.close()
        return exchange.answer

    def close(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()


class AsyncDriver:
    """Runs plans in the running event loop."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def run(self, plan: Plan[T]) -> T:
        """Run a plan to its result."""
        performer = _Performer(self._transport)
        try:
            step = next(plan)
            while True:
                try:
                    outcome = await performer.perform(step)
                except ProviderError as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            performer.close()
            plan.close()

    def stream(self, plan: StreamPlan) -> AsyncStream:
        """Run a plan as its items are asked for. Nothing is sent before the first one is."""
        return AsyncStream(plan, self._transport)


class AsyncStream:
    """The items of a plan, as they come.

    Closing the stream, leaving its ``async with`` block, cancelling the task that reads it or dropping the last
    reference to it aborts the request, so that the server stops generating.
    """

    __slots__ = ("_items", "_performer", "_plan")

    def __init__(self, plan: StreamPlan, transport: AsyncTransport) -> None:
        self._plan: StreamPlan | None = plan
        self._performer = _Performer(transport)
        self._items: list[Any] = []
        """Emitted and not yet handed out, the next one last."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        items = self._items
        return items.pop() if items else await self._advance()

    async def aclose(self) -> None:
        """Abort what is still running. Harmless when the stream has ended."""
        self.close()

    def close(self) -> None:
        """Like ``aclose``, for code that can't wait; callable from any thread."""
        plan, self._plan = self._plan, None
        self._items = []
        self._performer.close()
        if plan is not None and not getattr(plan, "gi_running", False):
            plan.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    async def _advance(self) -> Any:
        """Run the plan up to its next items."""
        plan = self._plan
        if plan is None:
            raise StopAsyncIteration
        try:
            step = next(plan)
            while not (isinstance(step, Emit) and step.items):
                try:
                    outcome = None if isinstance(step, Emit) else await self._performer.perform(step)
                except ProviderError as error:
                    if self._plan is None:  # closed from another task
                        raise StopIteration from None
                    step = plan.throw(error)
                else:
                    step = plan.send(outcome)
        except StopIteration:
            self.close()
            raise StopAsyncIteration from None
        except BaseException:
            self.close()
            raise
        self._items = step.items[::-1]
        return self._items.pop()
