"""Stands where HTTP stands for other backends: hands calls to an engine's thread and reads what it writes.

Closing an exchange cancels its generation after the next token. ``async_transport`` is the same for event loops.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import isinf
from typing import TypeVar
from urllib.parse import urlsplit

from ...errors import RequestTimeoutError
from ...transport.deadline import Deadlines
from ...transport.failure import closed_here, timed_out
from ...wire.call import Answer, Call, ReadWithin
from .answers import error_body, models_body
from .engine import EngineError
from .host import Lease
from .pending import Pending

T = TypeVar("T")


class Limits:
    """The time limits of one request."""

    def __init__(self, call: Call) -> None:
        self._url = call.url
        self._deadlines = Deadlines(call.timeouts, time.monotonic())
        self._deadlines.sent(time.monotonic())
        self._begun = False

    def left(self) -> tuple[float | None, str]:
        """Seconds to wait from now on, and the phase whose limit that is."""
        now = time.monotonic()
        at, phase = self._deadlines.waiting(now, begun=self._begun)
        return (None if isinf(at) else max(0.0, at - now)), phase

    def begin(self) -> None:
        """The body has begun."""
        self._begun = True

    def out(self, phase: str) -> RequestTimeoutError:
        """The error for a limit that ran out."""
        return timed_out(self._url, phase, self._deadlines.seconds(phase))


def answer_at_once(lease: Lease, call: Call) -> Answer | None:
    """What needs no engine thread is answered at once: which models there are, also while one of them generates."""
    if (call.method, urlsplit(call.url).path) != ("GET", "/v1/models"):
        return None
    try:
        status, body = 200, models_body(lease.host().engine.models())
    except EngineError as error:
        status, body = error.status, error_body(error)
    return Answer(status, {"content-type": "application/json"}, body)


class _Answered:
    """An exchange that was complete at once."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def read(self, within: ReadWithin | None = None) -> bytes:
        return b""

    def close(self) -> None:
        pass


class _Exchange:
    """One request, blocking."""

    answer: Answer

    def __init__(self, lease: Lease, call: Call) -> None:
        self._news = threading.Event()
        self._limits = Limits(call)
        self._closed = False
        started = time.perf_counter()
        self._pending: Pending = lease.host().submit(call, self._news.set)
        try:
            self.answer = self._wait_for(lambda: self._pending.answer(time.perf_counter() - started))
        except BaseException:
            self.close()
            raise

    def read(self, within: ReadWithin | None = None) -> bytes:
        data = self._wait_for(self._pending.take)
        self._limits.begin()
        return data

    def close(self) -> None:
        self._closed = True
        self._pending.cancel()
        self._news.set()

    def _wait_for(self, what: Callable[[], T | None]) -> T:
        while True:
            self._news.clear()
            if self._closed:
                raise closed_here(self._pending.call.url)
            found = what()
            if found is not None:
                return found
            seconds, phase = self._limits.left()
            if not self._news.wait(seconds):
                raise self._limits.out(phase)


class EngineTransport:
    """The blocking way to an engine."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def open(self, call: Call) -> _Exchange | _Answered:
        """Queue a request; return when the head of the answer is there, or all of it unless ``call.stream``."""
        at_once = answer_at_once(self._lease, call)
        return _Answered(at_once) if at_once else _Exchange(self._lease, call)

    def close(self) -> None:
        """Let go of the engine."""
        self._lease.release()
