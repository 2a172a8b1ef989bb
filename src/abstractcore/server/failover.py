"""One request, on one replica after the other until one answers; moved only while its client has got nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

from ..errors import ConnectionFailedError, ProviderError, StreamInterruptedError
from .backend import Lease, Replica
from .errors import GatewayError
from .vitals import Attempts

if TYPE_CHECKING:
    from .asgi import Request
    from .catalog import Target

ATTEMPTS: Final = b"abstractcore-attempts"
"""Header of an answer that did not come from the first replica that was asked: how many were."""

Attempt = Callable[[Replica], Awaitable[None]]
"""Has one replica answer the client. An error that it raises is the client's answer, unless another one is asked."""


async def on_a_replica(request: Request, target: Target, key: bytes | None, attempt: Attempt) -> None:
    """Answers a request by the best replica, and by another one where that fails before anything was delivered.

    Args:
        request: The client's.
        target: Backend and model.
        key: The conversation, see ``choice``.
        attempt: Does it on one replica.

    Raises:
        AbstractCoreError: What the last replica that was asked had against it.
        GatewayError: None can take it.
    """
    backend = target.backend
    backend.budget.earn()
    replica = backend.take(target.model, key)
    course = _Course(request, target, key, Attempts(backend.budget))
    while True:
        course.attempts.made += 1
        try:
            await _held(request, replica, attempt)
            return
        except ProviderError as error:
            following = course.following(replica, error)
            if following is None:
                raise
            replica = following
            request.extra = [row for row in request.extra if row[0] != ATTEMPTS]
            request.extra.append((ATTEMPTS, b"%d" % (course.attempts.made + 1)))


@dataclass(slots=True)
class _Course:
    """What has become of one request so far."""

    request: Request
    target: Target
    key: bytes | None
    attempts: Attempts
    tried: list[Replica] = field(default_factory=list)

    def following(self, replica: Replica, error: ProviderError) -> Replica | None:
        """The replica to ask after one has failed; ``None`` if that was the last word."""
        backend = self.target.backend
        fault = backend.failed(replica, error, self.target.model)
        self.tried.append(replica)
        if self.request.status:
            return None
        try:
            following = backend.take(self.target.model, self.key, self.tried)
        except GatewayError:
            return None  # what the replica said tells more
        refused = isinstance(error, ConnectionFailedError) and error.refused
        now = monotonic()
        sound = not following.vitals.suspected(now) and not following.vitals.resting(now)
        return following if self.attempts.again(fault, refused=refused, sound=sound) else None


async def _held(request: Request, replica: Replica, attempt: Attempt) -> None:
    """One attempt; ends at once if the replica is given up meanwhile."""
    task = asyncio.current_task()
    assert task is not None, "requests are answered in tasks"
    lease = Lease(request, task.cancel)
    replica.leases.add(lease)
    replica.served += 1
    try:
        await attempt(replica)
        replica.vitals.sign(monotonic())
    except asyncio.CancelledError:
        if lease.lost is None or request.left:
            raise
        task.uncancel()
        raise (_broken if request.status else _given_up)(replica, lease.lost) from None
    finally:
        replica.leases.discard(lease)


def _given_up(replica: Replica, why: str) -> ProviderError:
    provider = replica.provider.provider
    return ConnectionFailedError(f"{provider}: the server at {replica.name} was given up", provider=provider, why=why)


def _broken(replica: Replica, why: str) -> ProviderError:
    provider = replica.provider.provider
    return StreamInterruptedError(
        f"{provider}: the stream broke: the server at {replica.name} was given up", provider=provider, why=why
    )
