"""Whether a stream of named events that is passed on ended well. Pure; the protocols' rules are in their own folders.

Events are told apart by their ``event:`` line: no text of a model and nothing that a server echoes can hold one, since
a line feed inside JSON is always escaped.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Final

import msgspec

from ..errors import AbstractCoreError
from ..wire.failure import UNREADABLE, Failure, read_failure

MOST: Final = 16 * 1024 * 1024
"""Bytes of one event."""
_END: Final = re.compile(rb"\r?\n\r?\n")
_NAME: Final = re.compile(rb"^event: ?([\w.]+)", re.MULTILINE)
_DATA: Final = re.compile(rb"^data: ?([^\r\n]*)", re.MULTILINE)


class _Typed(msgspec.Struct):
    type: str = ""


class EventWatch(ABC):
    """Follows the bytes of one stream.

    Args:
        careful: Look into every event, not only into those that end the stream.
    """

    marks: re.Pattern[bytes]
    """Matches the ``event:`` lines of what must be looked at."""
    prelude: frozenset[str]
    """Names of events that come before an answer, and hold none of it."""

    def __init__(self, *, careful: bool = False) -> None:
        self._carry = b""
        self._careful = careful
        self.passed = 0
        """Events that were passed on."""
        self.done = False
        """Whether the event that ends the protocol's streams has come."""
        self.failure: Failure | AbstractCoreError | None = None
        """What went wrong; nothing that comes after it is passed on."""

    def feed(self, data: bytes) -> bytes:
        """Takes bytes as they came.

        Returns:
            What may be passed on: whole events, up to the first that is an error.
        """
        window, self._carry = _cut(self._carry + data)
        if len(self._carry) > MOST:
            self.failure = Failure(f"an event of the stream is larger than {MOST} bytes")
        if not self._careful and window.startswith(b"event:") and not self.marks.search(window):
            self.passed += window.count(b"\nevent:") + 1
            return window
        out: list[bytes] = []
        start = 0
        for end in _END.finditer(window):
            event, start = window[start : end.end()], end.end()
            try:
                passed = self._event(event)
            except AbstractCoreError as error:
                self.failure = error
            if self.failure is not None:
                break
            self.passed += 1
            out.append(passed)
        return b"".join(out)

    def _event(self, event: bytes) -> bytes:
        name, payload = _read(event)
        if name == "error" or (payload.startswith(b'{"error"') and not _NAME.search(event)):
            self.failure = read_failure(payload)
            return b""
        return self.take(name, payload, event)

    def speaks(self, data: bytes) -> bool:
        """Whether whole events hold any of the answer."""
        every = [_read(event) for event in _END.split(data) if event]
        return any(payload and name not in self.prelude for name, payload in every)

    @abstractmethod
    def take(self, name: str, payload: bytes, event: bytes) -> bytes:
        """One event: sets ``done`` and ``failure``, and gives what is passed on of it, and of those held back.

        Raises:
            AbstractCoreError: A promise is broken.
        """

    def close(self) -> bytes:
        """The body has ended as HTTP says it must."""
        rest, self._carry = self._carry, b""
        if self.failure is None and rest.strip():
            self.failure = Failure("the stream ends in the middle of an event")
        if self.failure is None and not self.done:
            self.failure = Failure("the stream ended, but not the answer in it: its last event is missing")
        return b""

    @abstractmethod
    def event(self, error: AbstractCoreError) -> bytes:
        """The last event of a stream that failed."""


def _read(event: bytes) -> tuple[str, bytes]:
    """Name and data of one event; without an ``event:`` line its data may name it."""
    named, data = _NAME.search(event), _DATA.search(event)
    payload = data[1] if data else b""
    if named:
        return named[1].decode(), payload
    try:
        return (msgspec.json.decode(payload, type=_Typed).type if payload.startswith(b"{") else ""), payload
    except UNREADABLE:
        return "", payload


def _cut(window: bytes) -> tuple[bytes, bytes]:
    """Whole events, and the beginning of the next one."""
    if window.endswith(b"\n\n"):
        return window, b""
    at = max(window.rfind(b"\n\n") + 2, window.rfind(b"\n\r\n") + 3)
    return (window[:at], window[at:]) if at > 2 or window[:2] == b"\n\n" else (b"", window)


def event_bytes(name: str, payload: bytes) -> bytes:
    """An event as it is sent."""
    return b"event: " + name.encode() + b"\ndata: " + payload + b"\n\n"
