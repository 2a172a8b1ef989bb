"""How many connections to one place are made at once.

A thousand requests that start together would dial together: the event loop then needs seconds to get around to each of
them, the server's queue of new connections overflows, and the time limit for connecting strikes although every server
answered at once. So they dial by turns, and the limit of each counts from its turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from .deadline import NEVER, Deadlines

AT_ONCE: Final = 64


class Gate:
    """Lets so many pass at once, in the order in which they came. For one event loop."""

    __slots__ = ("_free", "_moved_at", "_queue")

    def __init__(self) -> None:
        self._free = AT_ONCE
        self._queue: deque[asyncio.Future[None]] = deque()
        self._moved_at = -NEVER

    async def enter(self, deadlines: Deadlines) -> str | None:
        """Wait for a turn.

        Returns:
            ``None`` when it has come; ``leave`` must be called then. Otherwise the time limit that ran out: that for
            connecting runs in the queue only while no connection comes to be.
        """
        if self._free and not self._queue:
            self._free -= 1
            return None
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._queue.append(turn)
        until, phase = deadlines.connecting(loop.time())
        patience = until - loop.time()
        try:
            while True:
                await asyncio.wait([turn], timeout=None if until == NEVER else until - loop.time())
                if turn.done():
                    return None
                if phase != "connect" or self._moved_at + patience <= loop.time():
                    self._give_up(turn)
                    return phase
                until = min(self._moved_at + patience, deadlines.total_at)
                phase = "total" if until == deadlines.total_at else "connect"
        except BaseException:
            self._give_up(turn)
            raise

    def leave(self, now: float | None) -> None:
        """Let the next one pass; ``now`` if a connection came to be."""
        if now is not None:
            self._moved_at = now
        self._free += 1
        self._admit()

    def _admit(self) -> None:
        while self._free and self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                self._free -= 1
                turn.set_result(None)

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self.leave(None)
        turn.cancel()


@asynccontextmanager
async def patient(until: float, *, turns: int) -> AsyncGenerator[asyncio.Timeout]:
    """A time limit that strikes only after the loop has gone round so often more.

    In a loop with time to spare that takes microseconds. Where thousands of streams keep it busy, what the network did
    in time still has its turns to be noticed.
    """
    loop = asyncio.get_running_loop()
    handle: asyncio.Handle | None = None

    def strike(left: int) -> None:
        nonlocal handle
        if left:
            handle = loop.call_soon(strike, left - 1)
        else:
            limit.reschedule(loop.time())

    if until != NEVER:
        handle = loop.call_at(until, strike, turns)
    try:
        async with asyncio.timeout(None) as limit:
            yield limit
    finally:
        if handle is not None:
            handle.cancel()
