"""Several servers with the same model: each request goes to the least busy one that can be reached.

How busy a server is, it says itself (``/metrics``: running and waiting), asked at most once a second; what this client
has sent since is added. Among equals the last one is kept: its prefix cache knows the conversation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, TypeVar

from msgspec import Struct

from ...errors import ConnectionFailedError, ProviderError, RequestTimeoutError
from ...wire.call import Answer, Call, Plan, Timeouts
from ..endpoint import Endpoint, base_url_of
from .load import read_load

T = TypeVar("T")

SAMPLE_SECONDS: Final = 1.0
"""For so long an answer of ``/metrics`` counts."""
SKIP_SECONDS: Final = 5.0
"""For so long a server that could not be reached is passed over."""
_SAMPLING: Final = Timeouts(connect=1.0, first_byte=2.0, idle=2.0, total=3.0)


def base_urls_of(text: str) -> tuple[str, ...]:
    """The addresses in a list with commas, each in its one form, none twice.

    Raises:
        ConfigurationError: There is none, or one is not the address of a server.
    """
    parts = [part for part in text.split(",") if part.strip()]
    return tuple(dict.fromkeys(map(base_url_of, parts or [""])))


def choose(loads: Sequence[float], failed_at: Sequence[float | None], now: float, last: int) -> int:
    """Which server to ask.

    Args:
        loads: Requests that each one runs and has waiting.
        failed_at: When each one could not be reached, in seconds of the clock of ``now``; ``None`` if it could.
        now: The time.
        last: The one that was asked last; it wins a tie.

    Returns:
        The least busy one of those that can be reached; the one that failed longest ago if none can.
    """
    usable = [index for index, at in enumerate(failed_at) if at is None or now - at >= SKIP_SECONDS]
    if not usable:
        return min(range(len(loads)), key=lambda index: failed_at[index] or 0.0)
    return min(usable, key=lambda index: (loads[index], index != last))


class _Replica(Struct):
    endpoint: Endpoint
    busy: int = 0
    """Requests that it had, by its own count, when it was asked."""
    ours_then: int = 0
    """Those of them that were ours."""
    ours: int = 0
    """Ours now."""
    failed_at: float | None = None

    @property
    def load(self) -> int:
        return max(0, self.busy - self.ours_then) + self.ours


class Replicas:
    """The servers of one provider: one or several.

    Args:
        endpoints: At least one.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._replicas = [_Replica(endpoint) for endpoint in endpoints]
        self._sampled_at = float("-inf")
        self._last = 0

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All of them, in the order in which they were given."""
        return tuple(replica.endpoint for replica in self._replicas)

    @property
    def current(self) -> Endpoint:
        """The one that was asked last."""
        return self._replicas[self._last].endpoint

    def run(self, make: Callable[[Endpoint], Generator[Any, Any, T]]) -> Generator[Any, Any, T]:
        """Runs a plan on the least busy server, and on another one where that can't be reached.

        A plan that has handed something out is not repeated: its stream breaks with another error.

        Raises:
            ConnectionFailedError: None can be reached.
        """
        if len(self._replicas) == 1:
            return (yield from make(self.current))
        yield from self._sample()
        untried = set(range(len(self._replicas)))
        while True:
            replica = self._pick(untried)
            replica.ours += 1
            try:
                result = yield from make(replica.endpoint)
            except (ConnectionFailedError, RequestTimeoutError) as error:
                if not unreached(error):
                    raise
                replica.failed_at = time.monotonic()
                if not untried:
                    raise self._none_answers(error) from error.__cause__
            else:
                replica.failed_at = None
                return result
            finally:
                replica.ours -= 1

    def _pick(self, untried: set[int]) -> _Replica:
        """The best of those not tried yet; takes it out of them."""
        indexes = sorted(untried)
        rows = [self._replicas[index] for index in indexes]
        last = indexes.index(self._last) if self._last in untried else -1
        chosen = choose([row.load for row in rows], [row.failed_at for row in rows], time.monotonic(), last)
        self._last = indexes[chosen]
        untried.remove(self._last)
        return self._replicas[self._last]

    def _sample(self) -> Plan[None]:
        """Asks each server how busy it is, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._sampled_at < SAMPLE_SECONDS:
            return
        self._sampled_at = now  # at once: others that come meanwhile go by the old figures
        for replica in self._replicas:
            if replica.failed_at is not None and now - replica.failed_at < SKIP_SECONDS:
                continue
            url = f"{replica.endpoint.root}/metrics"
            try:
                answer: Answer = yield Call("GET", url, replica.endpoint.headers, timeouts=_SAMPLING)
            except ProviderError:
                replica.failed_at = time.monotonic()
                continue
            load = read_load(answer.body) if answer.status == 200 else None
            replica.busy, replica.ours_then = (load.running + load.waiting, replica.ours) if load else (0, 0)

    def _none_answers(self, error: ProviderError) -> ProviderError:
        urls = ", ".join(endpoint.base_url for endpoint in self.endpoints)
        error.why = f"{error.message}" + (f": {error.why}" if error.why else "")
        error.message = f"none of the {len(self._replicas)} replicas answers: {urls}"
        error.args = (error.message,)
        return error


def unreached(error: ProviderError) -> bool:
    """Whether a failure means that the server got nothing to answer, or died over it before its first byte."""
    if isinstance(error, RequestTimeoutError):
        return error.phase == "connect"
    return isinstance(error, ConnectionFailedError) and not error.delivered and not error.local
