"""When a request is sent again: policy as data, decided without I/O.

Only a request of which nothing was delivered is repeated. A refused connection is not: a server that is down is a
fact to report at once, and ``wait_until_ready`` is there for one that is still starting.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConnectionFailedError, ProviderError
from ..wire.call import Answer, Call


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon to repeat.

    Args:
        attempts: Most attempts, the first included.
        base: Seconds before the second attempt; doubled for each one after it.
        cap: Longest wait in seconds, also where the server asks for more (then the answer stands).
        statuses: Answers that say "later".
    """

    attempts: int = 3
    base: float = 0.5
    cap: float = 30.0
    statuses: frozenset[int] = frozenset({429, 503, 529})

    def after_failure(self, attempt: int, error: ProviderError, call: Call) -> float | None:
        """Seconds to wait before the next attempt, or ``None`` to give up."""
        again = isinstance(error, ConnectionFailedError) and not error.delivered and not error.refused
        return self._wait(attempt) if again and call.repeatable else None

    def after_answer(self, attempt: int, answer: Answer) -> float | None:
        """Seconds to wait before the next attempt, or ``None`` to take the answer."""
        if answer.status not in self.statuses:
            return None
        try:
            asked = float(answer.headers.get("retry-after", ""))
        except ValueError:
            return self._wait(attempt)
        return asked if asked <= self.cap and attempt < self.attempts else None

    def _wait(self, attempt: int) -> float | None:
        return min(self.cap, self.base * 2.0 ** (attempt - 1)) if attempt < self.attempts else None
