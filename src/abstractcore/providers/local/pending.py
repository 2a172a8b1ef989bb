"""A request between the thread that answers it and the exchange that reads it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from ...wire.call import Answer, Call


class Pending:
    """A request on its way. The worker writes, one exchange reads; neither waits for the other here.

    Args:
        call: The request.
        notify: Called, in the worker's thread, whenever there is something new to read.
    """

    def __init__(self, call: Call, notify: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False
        self._notify = notify
        self._status: tuple[int, Mapping[str, str]] | None = None
        self._parts: deque[bytes] = deque()
        self._ended = False
        self._failure: Exception | None = None

    # --- the worker's side ---

    @property
    def begun(self) -> bool:
        """Whether the head of the answer is written: what goes wrong from now on can only go into the body."""
        return self._status is not None

    def begin(self, status: int, content_type: str) -> None:
        """Writes the head of the answer."""
        self._status = (status, {"content-type": content_type})
        self._notify()

    def add(self, data: bytes) -> None:
        """Writes a piece of the body."""
        if data:
            self._parts.append(data)
            self._notify()

    def end(self) -> None:
        """Ends the body."""
        self._ended = True
        self._notify()

    def fail(self, error: Exception) -> None:
        """Ends the request without an answer, or within it."""
        if not self._ended:
            self._failure = error
            self.end()

    # --- the reader's side ---

    def cancel(self) -> None:
        """Says that nobody reads any more; the generation ends after its next token."""
        self.cancelled = True

    def head(self) -> tuple[int, Mapping[str, str]] | None:
        """Status and headers, once they are there."""
        if self._status is None and self._failure is not None:
            raise self._failure
        return self._status

    def take(self) -> bytes | None:
        """All of the body that has come; ``b""`` at its end, ``None`` if there is nothing new."""
        ended = self._ended  # read first: what is added before the end is seen below
        parts = []
        while self._parts:
            parts.append(self._parts.popleft())
        if parts:
            return b"".join(parts)
        if not ended:
            return None
        if self._failure is not None:
            raise self._failure
        return b""

    def answer(self, elapsed: float) -> Answer | None:
        """What the driver gets: the head of a stream, or all of an answer that is whole."""
        head = self.head()
        if head is None or not (self.call.stream or self._ended):
            return None
        return Answer(*head, b"" if self.call.stream else self.take() or b"", elapsed)
