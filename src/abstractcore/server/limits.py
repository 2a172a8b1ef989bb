"""How often and how much at a time: a bucket for each key, and counts of what is under way. Pure."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from time import monotonic
from typing import Final

from .asgi import Headers
from .config import Limits
from .errors import GatewayError
from .keys import Key

SOON: Final = 1.0
"""Seconds after which to come again where nobody can know when a place is free."""


class Bucket:
    """Requests that a key may still make: a minute's worth at once, and then as they come back.

    Args:
        now: The clock's time.
        rate: Requests a minute.
    """

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, now: float, rate: int) -> None:
        self._at = now
        self._rate = rate
        self._left = float(rate)

    def take(self, now: float, rate: int) -> float:
        """Takes a request out; the rate may have changed since the last one.

        Returns:
            0, or the seconds until there is one to take.
        """
        left = min(float(rate), self._left + (now - self._at) * self._rate / 60.0)
        self._at, self._rate = now, rate
        if left < 1.0:
            self._left = left
            return (1.0 - left) * 60.0 / rate
        self._left = left - 1.0
        return 0.0

    def headers(self) -> Headers:
        """What is left, in the headers that OpenAI's clients know."""
        full = ceil((self._rate - self._left) * 60.0 / self._rate)
        return [
            (b"x-ratelimit-limit-requests", str(self._rate).encode()),
            (b"x-ratelimit-remaining-requests", str(int(self._left)).encode()),
            (b"x-ratelimit-reset-requests", f"{full}s".encode()),
        ]


class Gate:
    """Counts requests, and refuses those beyond a limit at once: a queue in front of a queue helps nobody.

    Args:
        limits: Of all clients.
        clock: Seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._by_key: dict[str, int] = {}
        self.in_flight = 0
        """Requests that are being answered."""

    def enter(self, key: Key | None) -> Headers:
        """Lets a request in; ``leave`` must follow.

        Returns:
            Headers for its answer.

        Raises:
            GatewayError: There is no place for it, or its key has had its share; says when to come again.
        """
        if self.in_flight >= self._limits.max_in_flight:
            raise GatewayError(
                f"the gateway is answering {self.in_flight} requests, and takes no more at a time",
                status=503, code="overloaded", retry_after=SOON, hint="the operator can raise limits.max_in_flight",
            )  # fmt: skip
        headers = self._of_key(key) if key is not None else []
        self.in_flight += 1
        return headers

    def _of_key(self, key: Key) -> Headers:
        mine, most = self._by_key.get(key.name, 0), key.in_flight or self._limits.max_in_flight_per_key
        if most is not None and mine >= most:
            raise GatewayError(
                f"the key {key.name!r} has {mine} requests under way, and may have {most}",
                status=429, code="too_many_at_once", retry_after=SOON,
            )  # fmt: skip
        headers = self._charge(key, key.rate) if key.rate is not None else []
        self._by_key[key.name] = mine + 1
        return headers

    def _charge(self, key: Key, rate: int) -> Headers:
        now = self._clock()
        bucket = self._buckets.get(key.name)
        if bucket is None:
            bucket = self._buckets[key.name] = Bucket(now, rate)
        wait = bucket.take(now, rate)
        if wait:
            raise GatewayError(
                f"the key {key.name!r} may make {rate} requests a minute",
                status=429, code="rate_limited", retry_after=ceil(wait), headers=bucket.headers(),
            )  # fmt: skip
        return bucket.headers()

    def leave(self, key: Key | None) -> None:
        """A request is over."""
        self.in_flight -= 1
        if key is not None:
            left = self._by_key.get(key.name, 1) - 1
            if left:
                self._by_key[key.name] = left
            else:
                self._by_key.pop(key.name, None)
