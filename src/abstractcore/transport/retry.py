"""When a request is sent again: policy as data, decided without I/O.

Only a request of which nothing was delivered is repeated. A refused connection is not: a server that is down is a
fact to report at once, and ``wait_until_ready`` is there for one that is still starting.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from ..errors import ConnectionFailedError, ProviderError
from ..wire.call import Answer, Call
from ..wire.failure import seconds_to_wait


class RetryPolicy(Struct, frozen=True):
    """How often and how soon to repeat.

    Args:
        attempts: Most attempts, the first included.
        base: Seconds before the second attempt; doubled for each one after it.
        cap: Longest wait in seconds, also where the server asks for more (then the answer stands).
        jitter: By which share a wait is drawn shorter, so that clients that failed together don't return together.
        statuses: Answers that say "later".
    """

    attempts: int = 3
    base: float = 0.5
    cap: float = 30.0
    jitter: float = 0.25
    statuses: frozenset[int] = frozenset({429, 503, 529})

    def after_failure(self, attempt: int, error: ProviderError, call: Call) -> float | None:
        """Seconds to wait before the next attempt, or ``None`` to give up."""
        if not isinstance(error, ConnectionFailedError) or error.delivered or error.refused or error.local:
            return None
        return self._wait(attempt) if call.repeatable else None

    def after_answer(self, attempt: int, answer: Answer) -> float | None:
        """Seconds to wait before the next attempt, or ``None`` to take the answer."""
        if answer.status not in self.statuses:
            return None
        asked = seconds_to_wait(answer.headers.get("retry-after"))
        if asked is None:
            return self._wait(attempt)
        return asked if 0 <= asked <= self.cap and attempt < self.attempts else None

    def _wait(self, attempt: int) -> float | None:
        if attempt >= self.attempts:
            return None
        import random

        shorter = 1.0 - self.jitter * random.random()  # noqa: S311 - no secret hangs on it
        return min(self.cap, self.base * 2.0 ** (attempt - 1)) * shorter


class RetryBudget:
    """How many repeats a client has left: in an outage, they must not become the load that keeps it going.

    It begins with a small reserve, and each request that was answered adds a tenth of a repeat. So at most one request
    in ten is sent again, and of a server that answers nobody the reserve is all that is asked twice. Threads share it
    without a lock, which a fork could leave locked: what two of them count at once may be off by one.
    """

    SHARE: Final = 0.1
    RESERVE: Final = 10.0

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = self.RESERVE

    def answered(self) -> None:
        """A request was answered, and not with "later"."""
        self._left = min(self.RESERVE, self._left + self.SHARE)

    def take(self) -> bool:
        """Takes one repeat; says whether there was one."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
