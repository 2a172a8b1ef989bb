"""Runs a batch: as many workers as requests may be in flight, each taking the next prompt when its own has ended."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any, Final, TypeVar

from ...errors import AbstractCoreError, RateLimitError, ServerOverloadedError
from ...types import GenerateRequest, GenerateResponse
from .controller import START, Load, next_concurrency
from .items import BatchItem, BatchProgress, BatchResult
from .journal import Journal, Record, describe, digest
from .prompts import Entry

T = TypeVar("T")

_FIRST_LOOK: Final = 0.25
_LOOKS: Final = (0.5, 10.0)
"""Seconds between two looks at the server's load, at least and at most."""
_LISTEN: Final = 0.2
"""Seconds after which a waiting thread looks for signals."""
_SHARE: Final = 50
"""Looking takes one part in this many of the server's time; vLLM needs some 20 ms to write its metrics down."""


class Engine:
    """One batch on its way.

    Args:
        source: The items, taken one by one.
        answer: Gets the answer to a request.
        load: Asks the server for its load; ``None`` keeps the concurrency as it is.
        concurrency: Most requests in flight, to begin with.
        model: The model that is asked unless an item names one; ``None`` if it is not known yet.
        journal: Where finished items are kept.
        report: Told of each finished item.
        total: How many items there are, if that is known.
    """

    def __init__(
        self,
        source: Iterator[Entry],
        answer: Callable[[GenerateRequest], Awaitable[GenerateResponse]],
        load: Callable[[], Awaitable[Load | None]] | None,
        *,
        concurrency: int | None = None,
        model: str | None = None,
        journal: Journal | None = None,
        report: Callable[[BatchProgress], None] | None = None,
        total: int | None = None,
    ) -> None:
        self._source = source
        self._answer = answer
        self._load = load
        self._limit = concurrency or START
        self._model = model
        self._journal = journal
        self._report = report
        self._total = total
        self._items: dict[int, BatchItem] = {}
        self._again: deque[Entry] = deque()
        """Items that an earlier run took and did not finish."""
        self._is_dry = self._is_steered = False
        self._workers = self._in_flight = self._most = 0
        self._failed = self._resumed = self._tokens = 0
        self._started = time.monotonic()

    async def run(self) -> BatchResult:
        """Runs it to its end.

        Raises:
            ConfigurationError: The journal is of another batch.
        """
        if self._journal is not None:
            self._take_over(self._journal)
        self._tell()
        try:
            async with asyncio.TaskGroup() as self._group:
                self._looking = self._group.create_task(self._look())
                self._staff()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None  # one is enough: the first that no item may keep to itself
        items = [self._items[index] for index in range(len(self._items))]
        return BatchResult(items=items, seconds=time.monotonic() - self._started, concurrency=self._most)

    def _take_over(self, journal: Journal) -> None:
        """Holds the journal against the prompts, as far as it goes, before anything is sent or written."""
        for _ in range(max(journal.answered, default=-1) + 1):
            entry = next(self._source, None)
            if entry is None:
                raise journal.refuse(f"it answers item {max(journal.answered)}, but there are fewer prompts")
            known = journal.answered.get(entry.index)
            if known is None:
                self._again.append(entry)
                continue
            mine = self._record(entry)
            if known.digest != mine.digest:
                raise journal.refuse(f"item {entry.index} had another prompt or other options")
            if None not in (known.model, mine.model) and known.model != mine.model:
                raise journal.refuse(f"item {entry.index} was asked of {known.model!r}, not of {mine.model!r}")
            response = _read_again(known.response, entry.request)
            if response is None:
                journal.forget(entry.index)
                self._again.append(entry)
                continue
            self._items[entry.index] = BatchItem(index=entry.index, response=response, resumed=True)
            self._resumed += 1
        journal.begin()

    def _record(self, entry: Entry) -> Record:
        request = entry.request
        return Record(
            index=entry.index,
            digest=digest(request) if request else "",
            model=(request.model if request else None) or self._model,
        )

    def _staff(self) -> None:
        while self._workers < self._limit and not self._is_dry:
            self._workers += 1
            self._group.create_task(self._work())

    async def _work(self) -> None:
        while self._workers <= self._limit:
            entry = self._again.popleft() if self._again else next(self._source, None)
            if entry is None:
                self._is_dry = True
                break
            self._finish(entry, await self._ask(entry))
        self._workers -= 1
        if not self._workers:
            self._looking.cancel()

    async def _ask(self, entry: Entry) -> BatchItem:
        if entry.request is None:
            await asyncio.sleep(0)  # others have their turn, however many of these there are
            return BatchItem(index=entry.index, error=entry.error)
        self._in_flight += 1
        self._most = max(self._most, self._in_flight)
        try:
            return BatchItem(index=entry.index, response=await self._answer(entry.request))
        except AbstractCoreError as error:
            if self._is_steered and isinstance(error, RateLimitError | ServerOverloadedError):
                self._limit = max(1, self._limit // 2)
            return BatchItem(index=entry.index, error=_without_frames(error))
        finally:
            self._in_flight -= 1

    def _finish(self, entry: Entry, item: BatchItem) -> None:
        self._items[entry.index] = item
        self._failed += item.error is not None
        self._tokens += (item.response and item.response.output_tokens) or 0
        if self._journal is not None:
            record = self._record(entry)
            record.response, record.error = item.response, describe(item.error) if item.error else None
            self._journal.write(record)
        self._tell()

    async def _look(self) -> None:
        """Follows the server's load for as long as the batch runs."""
        pause = _FIRST_LOOK
        while self._load:
            await asyncio.sleep(pause)
            asked = time.monotonic()
            load = await self._load()
            if load is not None:
                self._is_steered = True
                self._limit = next_concurrency(load, self._limit)
                self._staff()
            took = time.monotonic() - asked
            pause = min(max(_LOOKS[0], _SHARE * took), _LOOKS[1]) if load else _LOOKS[1]

    def _tell(self) -> None:
        if self._report is not None:
            self._report(
                BatchProgress(
                    done=len(self._items),
                    failed=self._failed,
                    resumed=self._resumed,
                    total=self._total,
                    in_flight=self._in_flight,
                    output_tokens=self._tokens,
                    seconds=time.monotonic() - self._started,
                )
            )


def _read_again(response: GenerateResponse | None, request: GenerateRequest | None) -> GenerateResponse | None:
    """A response of an earlier run, its instance made anew; ``None`` if the response model refuses it by now."""
    if response is not None and request is not None and request.response_model is not None:
        try:
            response.parsed = request.response_model.read(response.content)
        except ValueError:
            return None
    return response


def _without_frames(error: AbstractCoreError) -> AbstractCoreError:
    """The error without its tracebacks, which would keep the request and all that was made for it in memory."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end for a caller that can't await it. Ctrl-C cancels it, and waits until it has ended."""
    if not _is_in_a_loop():
        return asyncio.run(work)
    # A notebook: its loop runs already and is not to be entered twice, so a thread gets one of its own.
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()
    done: Future[T] = Future()

    async def main() -> T:
        task = asyncio.ensure_future(work)
        begun.set_result((asyncio.get_running_loop(), task))
        return await task

    def run() -> None:
        try:
            done.set_result(asyncio.run(main()))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            done.set_exception(error)

    try:
        Thread(target=run, daemon=True).start()
        # Not in one wait: a signal that comes right before a thread begins to wait would be heard only after it.
        while not wait([done], timeout=_LISTEN).done:
            pass
    except KeyboardInterrupt:
        loop, task = begun.result(timeout=1.0)
        loop.call_soon_threadsafe(task.cancel)
        wait([done])
        raise
    return done.result()


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
