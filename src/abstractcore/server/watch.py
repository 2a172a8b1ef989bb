"""Whether a stream that is passed on unread ended well: each choice has a finish reason, no event is an error. Pure.

Bytes are searched, not parsed: a quotation mark inside of a model's text is always escaped, so the patterns below are
only ever the protocol's own.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import AbstractCoreError
from ..wire.failure import Failure, read_failure
from .errors import event

_END: Final = b"\n\n"
_FINISHED: Final = re.compile(rb'"finish_reason": ?"(\w+)"')
_ERROR: Final = re.compile(rb'^data: ?(\{\s*"(?:error|object)": ?(?:\{|"error").*)$', re.MULTILINE)
_DONE: Final = b"data: [DONE]"
MOST: Final = 16 * 1024 * 1024
"""Bytes of one event."""


class Watch:
    """Follows the bytes of one stream.

    Args:
        choices: How many choices must finish.
    """

    __slots__ = ("_carry", "_choices", "failure", "finished")

    def __init__(self, choices: int = 1) -> None:
        self._choices = choices
        self._carry = b""
        self.finished = 0
        self.failure: Failure | AbstractCoreError | None = None
        """What went wrong; nothing that comes after it is passed on."""

    def feed(self, data: bytes) -> bytes:
        """Takes bytes as they came.

        Returns:
            What may be passed on: whole events, up to the first that is an error.
        """
        window = self._carry + data if self._carry else data
        if window.endswith(_END):
            self._carry = b""
        else:
            cut = window.rfind(_END) + 2 if _END in window else 0
            window, self._carry = window[:cut], window[cut:]
            if len(self._carry) > MOST:
                self.failure = Failure(f"an event of the stream is larger than {MOST} bytes")
        if b'"error"' in window and (error := _ERROR.search(window)):
            self.failure = read_failure(error[1])
            return window[: error.start()]
        if b'"finish_reason"' in window:
            self._count(window)
        if _DONE in window and (self.failure or self.finished < self._choices):
            return window[: window.index(_DONE)]
        return window

    def _count(self, window: bytes) -> None:
        for match in _FINISHED.finditer(window):
            self.finished += 1
            if match[1] == b"abort":
                self.failure = Failure("the server aborted the request")

    def close(self) -> bytes:
        """The body has ended as HTTP says it must.

        Returns:
            What is still to be passed on.
        """
        rest, self._carry = self._carry, b""
        if self.failure is None and rest.strip() not in (b"", _DONE):
            self.failure = Failure("the stream ends in the middle of an event")
        if self.failure is None and self.finished < self._choices:
            missing = self._choices - self.finished
            self.failure = Failure(f"the stream ended, but {missing} of {self._choices} choices have no finish reason")
        return b"" if self.failure else rest

    def event(self, error: AbstractCoreError) -> bytes:
        """The last event of a stream that failed."""
        return event(error)
