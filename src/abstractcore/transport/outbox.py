"""What is sent at the end of a turn of the event loop, for all connections together.

A write to a peer that sleeps wakes it, and that costs more than all else in a small request. Of writes that follow each
other only the first one does: the peer is awake when the others come. So what is written while a turn handles what came
in is gathered, and sent afterwards. A process with nothing else to do sends as soon as it did.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

_OUTBOXES: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox]] = WeakKeyDictionary()

Data: TypeAlias = bytes | memoryview
_MANY: Final = 32
"""Writes to one connection in a turn, after which they are sent: whoever writes without a pause must meet the
transport's own back-pressure."""
_LARGE: Final = 32 * 1024
"""Bytes of a write that is worth a system call of its own."""


class Outbox:
    """Gathers the writes of one event loop; used in its thread only."""

    __slots__ = ("_due", "_waiting")

    def __init__(self) -> None:
        self._due = False
        self._waiting: dict[asyncio.WriteTransport, Data | list[Data]] = {}

    @staticmethod
    def of(loop: asyncio.AbstractEventLoop) -> Outbox:
        """The one of a loop."""
        found = _OUTBOXES.get(loop)
        if found is None:
            found = _OUTBOXES[loop] = Outbox()
        return found

    def write(self, loop: asyncio.AbstractEventLoop, transport: asyncio.WriteTransport, data: Data) -> None:
        """Sends bytes behind what was written before."""
        if not self._due:
            self._due = True
            loop.call_soon(self._send)
        waiting = self._waiting
        before = waiting.get(transport)
        if before is None:
            waiting[transport] = data
        elif isinstance(before, list):
            before.append(data)
        else:
            waiting[transport] = before = [before, data]
        if len(data) >= _LARGE or (before is not None and len(before) >= _MANY):
            self.send(transport)

    def waits(self, transport: asyncio.WriteTransport) -> bool:
        """Whether something is still to be sent on a connection."""
        return transport in self._waiting

    def send(self, transport: asyncio.WriteTransport) -> None:
        """Sends what waits for one connection now."""
        data = self._waiting.pop(transport, None)
        if data and not transport.is_closing():
            transport.write(b"".join(data) if isinstance(data, list) else data)

    def _send(self) -> None:
        self._due = False
        for transport in list(self._waiting):
            self.send(transport)
