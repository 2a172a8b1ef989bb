"""Whether a replica can be trusted with a request, decided by what was seen of it. Pure; the clock is the caller's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..errors import (
    ConnectionFailedError,
    ProviderAPIError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
    ServerOverloadedError,
    StreamInterruptedError,
)

SUSPECT_SECONDS: Final = 5.0
"""For so long a replica comes last after a failure, where no check clears it earlier."""
LONGEST_REST: Final = 60.0
"""Seconds for which a replica is left alone at most, whatever it asks for."""


class State(StrEnum):
    """What is thought of a replica."""

    UNKNOWN = "unknown"
    """Not looked at yet: it gets requests."""
    UP = "up"
    DOWN = "down"
    """It gets none until it has answered a check."""


class Fault(StrEnum):
    """What a failure says of the replica, and so what may become of the request."""

    DEAD = "dead"
    """The connection broke or never was: the request is moved."""
    BUSY = "busy"
    """It asks to come later."""
    SICK = "sick"
    """It answered, but with a failure of its own."""
    LACKING = "lacking"
    """It does not have the model that it had, such as an adapter after a restart."""
    NONE = "none"
    """The request is what is wrong, or its time is over: it fails anywhere."""


def fault_of(error: ProviderError) -> Fault:
    """What a failed request says of the replica that it was sent to."""
    if isinstance(error, ConnectionFailedError):
        return Fault.DEAD
    if isinstance(error, RequestTimeoutError):
        return {"connect": Fault.DEAD, "idle": Fault.SICK}.get(error.phase or "", Fault.NONE)
    if isinstance(error, (ServerOverloadedError, RateLimitError)):
        return Fault.BUSY
    if isinstance(error, StreamInterruptedError):
        return Fault.SICK if (error.status or 500) >= 500 else Fault.NONE
    if isinstance(error, ProviderAPIError):  # also an answer of status 200 that is none
        return Fault.NONE if 400 <= (error.status or 500) < 500 else Fault.SICK
    return Fault.NONE


@dataclass(slots=True)
class Vitals:
    """What is known of one replica's health.

    Args:
        patience: Seconds without a sign of life after which one that was asked for is missing.
    """

    patience: float = 5.0
    state: State = State.UNKNOWN
    why: str | None = None
    """Why it is down, or was suspected last."""
    since: float = 0.0
    """When the state began."""
    signed_at: float = float("-inf")
    """When it last gave a sign of life: a token, an answer, a metric that moved."""
    suspect_until: float = float("-inf")
    rest_until: float = float("-inf")

    def sign(self, now: float) -> None:
        """It generates."""
        self.signed_at = max(self.signed_at, now)

    def rise(self, now: float) -> None:
        """It has answered a check: it gets requests."""
        self.sign(now)
        self.suspect_until = float("-inf")
        self._enter(State.UP, None, now)

    def fall(self, now: float, why: str) -> None:
        """It gets no more requests."""
        self._enter(State.DOWN, why, now)

    def fault(self, fault: Fault, now: float, why: str, retry_after: float | None = None) -> None:
        """A request failed on it: until a check clears it, others are asked first."""
        if fault in (Fault.NONE, Fault.LACKING):
            return
        self.why = self.why if self.state is State.DOWN else why
        if fault is Fault.BUSY:
            self.rest_until = max(self.rest_until, now + min(retry_after or 1.0, LONGEST_REST))
        else:
            self.suspect_until = now + SUSPECT_SECONDS

    def suspected(self, now: float) -> bool:
        """Whether others are asked first."""
        return now < self.suspect_until

    def resting(self, now: float) -> bool:
        """Whether it asked to be left alone until later."""
        return now < self.rest_until

    def silent(self, asked_at: float, now: float) -> bool:
        """Whether a sign of life that was asked for is missing."""
        return now - max(asked_at, self.signed_at) >= self.patience

    def hopeless(self, now: float) -> bool:
        """Whether what it still works on will not be answered: it is down, and silent."""
        return self.state is State.DOWN and now - self.signed_at >= self.patience

    def _enter(self, state: State, why: str | None, now: float) -> None:
        if state is not self.state:
            self.state, self.since = state, now
        self.why = why


@dataclass(slots=True)
class Budget:
    """How many requests may be sent again: a tenth of all, and a few at the start.

    Args:
        share: Of all requests.
        reserve: Repetitions before there was any traffic.
        most: Repetitions that can be saved up.
    """

    share: float = 0.1
    reserve: float = 10.0
    most: float = 100.0
    spent: int = 0
    """Repetitions so far."""

    def earn(self) -> None:
        """A request came."""
        self.reserve = min(self.most, self.reserve + self.share)

    def spend(self) -> bool:
        """Takes one repetition out of the budget, if there is one."""
        if self.reserve < 1.0:
            return False
        self.reserve -= 1.0
        self.spent += 1
        return True


MOST_ATTEMPTS: Final = 3
MOST_DEATHS: Final = 2
"""A request under which so many servers died is given to no further one: it may be the cause."""


@dataclass(slots=True)
class Attempts:
    """What has become of one request so far.

    Args:
        budget: That of its backend.
    """

    budget: Budget
    made: int = 0
    deaths: int = 0

    def again(self, fault: Fault, *, refused: bool, sound: bool) -> bool:
        """Whether the request may be sent to another replica.

        Args:
            fault: What the failure says of the replica.
            refused: Whether no connection came to be: the replica can't have died of this request.
            sound: Whether nothing speaks against the other one. All that one replica had in hand when it failed may
                move then; where the others fail too, nothing is sound any more, and the budget counts.
        """
        if fault is Fault.NONE or self.made >= MOST_ATTEMPTS:
            return False
        if fault is Fault.DEAD:  # moved, not repeated: a server that is gone does no work twice
            self.deaths += not refused
            return self.deaths < MOST_DEATHS
        return sound or self.budget.spend()
