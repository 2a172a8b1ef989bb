"""How long connections are trusted, and which time limit of a request runs out next. Pure: the caller has the clock."""

from __future__ import annotations

from math import inf
from typing import Final

from ..wire.call import ReadWithin, Timeouts

NEVER: Final = inf
KEEP_ALIVE: Final = 3.0
"""Seconds after which an idle connection is not trusted any more; vLLM closes its own after 5."""
STALE_WITHIN: Final = 1.0
"""A reused connection that breaks this soon was stale; later, the server may have worked on the request."""


_STEP: Final = 1024
"""Bytes of a whole answer that count as progress; fewer than so many in the limit for silence are none."""


class Deadlines:
    """The limits of one request as points on a monotonic clock."""

    __slots__ = ("_content_at", "_content_phase", "_counted", "_first_byte_at", "_moved_at", "_timeouts", "total_at")

    def __init__(self, timeouts: Timeouts, started: float) -> None:
        self._timeouts = timeouts
        self.total_at = NEVER if timeouts.total is None else started + timeouts.total
        self._first_byte_at = NEVER
        self._content_at = NEVER
        self._content_phase = "idle"
        self._moved_at: float | None = None
        self._counted = 0

    def connecting(self, now: float) -> tuple[float, str]:
        """When a connection that is tried from now on must stand, and the phase that ends then."""
        limit = self._timeouts.connect
        return self._sooner(NEVER if limit is None else now + limit, "connect")

    def sent(self, now: float) -> None:
        """The request goes out now."""
        limit = self._timeouts.first_byte
        self._first_byte_at = NEVER if limit is None else now + limit

    def content(self, now: float, within: ReadWithin | None) -> None:
        """The next bytes must come by then: those before them were no content. ``None`` lifts it."""
        if within is not None:
            self._content_at, self._content_phase = now + within.seconds, within.phase
        elif self._content_at != NEVER:
            self._content_at = NEVER

    def came(self, now: float, size: int) -> None:
        """So many bytes of a whole answer came: a server that sends a byte now and then gains nothing by it."""
        self._counted += size
        if self._moved_at is None or self._counted >= _STEP:
            self._moved_at, self._counted = now, 0

    def waiting(self, now: float, *, begun: bool) -> tuple[float, str]:
        """When the next bytes of the answer must come; ``begun`` says whether its body has."""
        if not begun:
            return self._sooner(self._first_byte_at, "first_byte")
        limit = self._timeouts.idle
        since = now if self._moved_at is None else self._moved_at
        at = NEVER if limit is None else since + limit
        if self._content_at < at:
            return self._sooner(self._content_at, self._content_phase)
        return self._sooner(at, "idle")

    def seconds(self, phase: str) -> float:
        """The limit of a phase, for the error message."""
        limit: float = getattr(self._timeouts, phase)
        return limit

    def _sooner(self, at: float, phase: str) -> tuple[float, str]:
        return (self.total_at, "total") if self.total_at < at else (at, phase)
