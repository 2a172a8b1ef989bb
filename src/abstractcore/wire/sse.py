"""The event-stream format (server-sent events) of the WHATWG HTML standard, on bytes.

Data stays bytes: the JSON decoder behind it checks UTF-8 anyway, and a copy is saved.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ..errors import ProviderAPIError

MAX_EVENT_BYTES: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"
_COLON: Final = ord(":")
_LF: Final = ord("\n")


class Event(msgspec.Struct, frozen=True, gc=False):
    """One dispatched event."""

    data: bytes
    """The data lines, joined by a line feed."""
    type: str = "message"
    id: str = ""
    """The last id that the stream has set, in this event or before it."""


class EventParser:
    """Turns the bytes of one stream into events, wherever the reads happen to cut it.

    Args:
        max_event_bytes: Largest event, and largest single line, that is accepted.
    """

    __slots__ = ("_after_cr", "_at_start", "_bom", "_id", "_lines", "_max", "_size", "_started", "_tail", "retry")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.retry: int | None = None
        """Milliseconds to wait before a reconnection, if the server has named them."""
        self._max = max_event_bytes
        self._id = ""
        self._lines: list[bytes] = []  # of the open event, comments left out
        self._size = 0  # bytes in _lines, with their line ends
        self._tail = bytearray()  # the line that has not ended
        self._bom = b""  # the part of a byte order mark that has arrived
        self._started = False  # past the place where a byte order mark may stand
        self._after_cr = False  # a line feed now would belong to the line end before it
        self._at_start = False  # the next byte begins an event

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes of the stream and return the events that they complete.

        Raises:
            ProviderAPIError: An event is larger than ``max_event_bytes``; the parser can't go on.
        """
        if (
            # What vLLM sends at each wake-up: one `data: ...` and a blank line, nothing else.
            self._at_start
            and data.find(b"\n") == len(data) - 2
            and data[:6] == b"data: "
            and data[-1] == _LF
            and data.find(b"\r") < 0
            and len(data) <= self._max
        ):
            return [Event(data[6:-2], "message", self._id)]
        if not self._started:
            data = self._skip_bom(data)
        if self._after_cr or b"\r" in data:
            data = self._line_feeds_only(data)
        events: list[Event] = []
        done = 0
        if self._tail or self._lines:
            # Finish the open event first; what follows its blank line can go the fast way.
            blank = data.find(b"\n\n")
            done = blank + 2 if blank >= 0 else len(data)
            self._read_lines(data[:done], events)
        if done < len(data):
            done = self._read_plain(data, done, events)
        if done < len(data):
            self._read_lines(data[done:], events)
        self._at_start = self._started and not (self._tail or self._lines or self._after_cr)
        return events

    def close(self) -> bytes:
        """End the stream and return what had arrived of an event that never ended.

        The standard discards it, and no event is made of it; anything else than ``b""`` means that the stream was cut.
        """
        rest = b"\n".join((*self._lines, self._bom + self._tail))
        self.__init__(self._max)  # type: ignore[misc]
        return rest

    def _skip_bom(self, data: bytes) -> bytes:
        data = self._bom + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._bom = data
            return b""
        self._bom = b""
        self._started = True
        return data.removeprefix(_BOM)

    def _line_feeds_only(self, data: bytes) -> bytes:
        """Make every line end one LF. A CR ends its line at once, also where its LF comes with the next read."""
        if self._after_cr:
            if not data:
                return data
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _read_plain(self, data: bytes, start: int, events: list[Event]) -> int:
        """Take a run of `data: ...` events at once, if there is nothing else between them; return where it ends."""
        end = data.rfind(b"\n\n", start)
        if end < 0 or len(data) > self._max or not data.startswith(b"data: ", start):
            return start
        payloads = data[start + 6 : end].split(b"\n\ndata: ")
        if data.count(b"\n", start, end + 2) != 2 * len(payloads):
            return start  # a line feed more than these separators have: some payload holds another field
        if self._id:
            events.extend([Event(payload, "message", self._id) for payload in payloads])
        else:
            events.extend(map(Event, payloads))
        return end + 2

    def _read_lines(self, data: bytes, events: list[Event]) -> None:
        lines = data.split(b"\n")
        last = lines.pop()
        if lines and self._tail:
            lines[0] = bytes(self._tail) + lines[0]
            self._tail.clear()
        if last:
            self._tail += last
        for line in lines:
            if not line:
                self._dispatch(events)
            elif line[0] != _COLON:
                self._lines.append(line)
                self._size += len(line) + 1
                if self._size > self._max:
                    raise self._too_large(self._size)
        if len(self._tail) > self._max:
            raise self._too_large(len(self._tail))

    def _dispatch(self, events: list[Event]) -> None:
        data: list[bytes] = []
        kind = "message"
        for line in self._lines:
            if line[:6] == b"data: ":
                data.append(line[6:])
                continue
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                kind = value.decode("utf-8", "replace") or "message"
            elif name == b"id" and b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
            elif name == b"retry" and value.isdigit() and len(value) < 16:
                self.retry = int(value)
        if data:
            events.append(Event(data[0] if len(data) == 1 else b"\n".join(data), kind, self._id))
        self._lines = []
        self._size = 0

    def _too_large(self, size: int) -> ProviderAPIError:
        return ProviderAPIError(
            f"The server sent a stream event of at least {size:,} bytes; {self._max:,} are accepted.",
            hint="ask for less in one event: fewer logprobs, fewer choices",
        )
