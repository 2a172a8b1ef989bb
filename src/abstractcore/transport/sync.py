"""The blocking driver: runs plans over a ``Transport``."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self, TypeVar

from ..errors import ProviderError
from ..wire.call import READ, Call, Emit, Pause, Plan, ReadWithin, Step, StreamPlan, Work
from . import Exchange, Transport

T = TypeVar("T")


class _Performer:
    """Performs the steps of one plan; holds the stream that is open, if any."""

    __slots__ = ("_exchange", "_transport")

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._exchange: Exchange | None = None

    def perform(self, step: Step) -> object:
        if step is READ or isinstance(step, ReadWithin):
            if self._exchange is None:
                raise RuntimeError("the plan reads, but no stream is open")
            return self._exchange.read(step) if isinstance(step, ReadWithin) else self._exchange.read()
        if isinstance(step, Call):
            self.close()
            exchange = self._transport.open(step)
            if step.stream:
                self._exchange = exchange
            else:
                exchange.close()
            return exchange.answer
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        if isinstance(step, Work):
            step.run()
            return None
        raise TypeError(f"a plan can't yield {step!r} here")

    def close(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()


class SyncDriver:
    """Runs plans in the calling thread."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def run(self, plan: Plan[T]) -> T:
        """Run a plan to its result."""
        performer = _Performer(self._transport)
        try:
            step = next(plan)
            while True:
                try:
                    outcome = performer.perform(step)
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

    def stream(self, plan: StreamPlan) -> Stream:
        """Run a plan as its items are asked for. Nothing is sent before the first one is."""
        return Stream(plan, self._transport)


class Stream:
    """The items of a plan, as they come.

    Closing the stream, leaving its ``with`` block or dropping the last reference to it aborts the request, so that
    the server stops generating.
    """

    __slots__ = ("_items", "_performer", "_plan")

    def __init__(self, plan: StreamPlan, transport: Transport) -> None:
        self._plan: StreamPlan | None = plan
        self._performer = _Performer(transport)
        self._items: list[Any] = []
        """Emitted and not yet handed out, the next one last."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        items = self._items
        return items.pop() if items else self._advance()

    def close(self) -> None:
        """Abort what is still running. Harmless when the stream has ended."""
        plan, self._plan = self._plan, None
        self._items = []
        self._performer.close()
        # A plan that runs is in the hands of another thread, which will notice.
        if plan is not None and not getattr(plan, "gi_running", False):
            plan.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _advance(self) -> Any:
        """Run the plan up to its next items."""
        plan = self._plan
        if plan is None:
            raise StopIteration
        try:
            step = next(plan)
            while not (isinstance(step, Emit) and step.items):
                try:
                    outcome = None if isinstance(step, Emit) else self._performer.perform(step)
                except ProviderError as error:
                    if self._plan is None:  # closed from another thread
                        raise StopIteration from None
                    step = plan.throw(error)
                else:
                    step = plan.send(outcome)
        except BaseException:
            self.close()
            raise
        self._items = step.items[::-1]
        return self._items.pop()
