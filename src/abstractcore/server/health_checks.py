"""Looks at replicas all the time: a dead one gets no more requests within a second, a frozen one within ten.

A frozen engine's ``/health`` answers 200, so what counts is that something is generated: streams that go on, figures of
``/metrics`` that move, and, where there is neither, a request for one token.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final

from ..errors import AbstractCoreError, AdapterError, ConnectionFailedError, ProviderError
from ..providers import VLLMProvider
from ..providers.endpoint import Endpoint
from ..providers.vllm.load import read_load
from ..transport import AsyncTransport
from ..transport.aio import AsyncDriver
from ..vllm_facts import SIGNS_OF_LIFE
from ..wire.call import Answer, Call, Plan, Timeouts
from ..wire.credentials import secrets_of, without
from ..wire.failure import read_failure
from ..wire.openai import encode
from ..wire.prometheus import read_totals
from .backend import Backend, Replica
from .vitals import State

TICK: Final = 0.5
"""Seconds between two looks."""
SAMPLE: Final = 1.0
"""Between two looks at the metrics, at least."""
LIST: Final = 5.0
"""Between two looks at the models."""
TOKEN_BUSY: Final = 1.0
"""Without a sign of life, before a server with requests of ours is asked for a token."""
TOKEN_IDLE: Final = 3.0
"""The same for one without."""
ASKING: Final = 2.0
"""For a list of models."""
LOADING: Final = 60.0
"""While an adapter is loaded an engine may stand still; for so long that is not held against it."""
_QUICK: Final = Timeouts(connect=1.0, first_byte=2.0, idle=2.0, total=2.0)
_PATIENT: Final = Timeouts(connect=1.0, first_byte=60.0, idle=60.0, total=60.0)


_LOG: Final = logging.getLogger("abstractcore.server")


class Watcher:
    """Looks at one replica.

    Args:
        backend: The backend that it is of.
        replica: The replica.
        endpoint: Where it is.
        transport: Sends the requests.
        clock: Seconds from some time on.
    """

    def __init__(
        self,
        backend: Backend,
        replica: Replica,
        endpoint: Endpoint,
        transport: AsyncTransport,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._backend = backend
        self._replica = replica
        self._endpoint = endpoint
        self._driver = AsyncDriver(transport)
        self._now = clock
        self._token: asyncio.Task[None] | None = None
        self._token_at = float("-inf")
        self._unanswered_at: float | None = None
        self._sampled_at = self._listed_at = float("-inf")
        self._figures: tuple[float, ...] = ()
        self._told: State = State.UNKNOWN
        """What the log said last."""

    async def run(self) -> None:
        """Looks until it is cancelled."""
        try:
            while True:
                await self.look()
                try:
                    await asyncio.wait_for(self._replica.wake.wait(), TICK)
                except TimeoutError:
                    continue
                self._replica.wake.clear()
        finally:
            self.close()

    def close(self) -> None:
        """Looks no more."""
        if self._token is not None:
            self._token.cancel()

    async def look(self) -> None:
        """Looks once."""
        replica, vitals = self._replica, self._replica.vitals
        reached = await self._reach()
        now = self._now()
        loading_since = self._backend.loading_since
        quiet = loading_since is not None and now - loading_since < LOADING
        if replica.streams_move() or quiet:
            vitals.sign(now)
        if reached:
            await self._sample(now)
            await self._list(now)
            self._ask(now)
        self._judge(self._now())
        self._tell()

    async def _reach(self) -> bool:
        """Whether something listens there, and says that it is well."""
        vitals, asked_at = self._replica.vitals, self._now()
        try:
            answer = await self._get("/health")
        except ConnectionFailedError as error:
            self._unanswered_at = None
            vitals.fall(self._now(), error.message if not error.why else f"{error.message} ({error.why})")
            return False
        except ProviderError:
            self._unanswered_at = self._unanswered_at or asked_at
            return False
        self._unanswered_at = None
        if answer.status >= 500:
            vitals.fall(self._now(), f"its /health answers {answer.status}")
            return False
        return True

    async def _sample(self, now: float) -> None:
        """Takes its load, and whether its figures move."""
        replica = self._replica
        watched = len(self._backend.replicas) > 1 or replica.in_flight or self._pending
        if not watched or now - self._sampled_at < SAMPLE:
            return
        self._sampled_at = now
        try:
            answer = await self._get("/metrics")
        except ProviderError:
            return
        replica.busy, replica.ours_then = read_load(answer.body), replica.in_flight
        figures = signs_of_life(read_totals(answer.body))
        if self._figures and figures != self._figures:
            replica.vitals.sign(self._now())
        self._figures = figures

    async def _list(self, now: float) -> None:
        if self._replica.vitals.state is State.UP and now - self._listed_at >= LIST:
            await self._settle(now)

    def _ask(self, now: float) -> None:
        """Asks for a token, where there is no other sign of life."""
        vitals = self._replica.vitals
        if self._pending or now - self._token_at < SAMPLE:
            return
        rest = TOKEN_BUSY if self._replica.in_flight else TOKEN_IDLE
        if vitals.state is not State.UP or vitals.suspected(now) or now - vitals.signed_at >= rest:
            self._token_at = now
            self._token = asyncio.ensure_future(self._ask_for_token())

    @property
    def _pending(self) -> bool:
        return self._token is not None and not self._token.done()

    async def _ask_for_token(self) -> None:
        replica, vitals = self._replica, self._replica.vitals
        try:
            models = replica.models or await replica.refresh(ASKING)
            model = next((row.id for row in models if row.parent is None), None)
            answer = await self._driver.run(one_token(self._endpoint, model or ""))
            if answer.status >= 500:
                said = without(read_failure(answer.body).message, secrets_of(self._endpoint.headers))
                vitals.fall(self._now(), f"it answers a request for one token with {answer.status}: {said}")
                return
            if vitals.state is not State.UP:
                await self._settle(self._now())
        except AbstractCoreError as error:
            vitals.why = error.message  # whether it is down, the next look says
            return
        vitals.rise(self._now())

    async def _settle(self, now: float) -> None:
        """Asks what it has, and loads again what it lost in a restart."""
        replica = self._replica
        self._listed_at = now
        had = dict(replica.adapters)
        try:
            rows = await replica.refresh(ASKING)
            if replica.vitals.state is State.UP:
                replica.adapters = {row.id: row.root for row in rows if row.parent is not None and row.root}
                had = {}
            await restore(self._backend, replica, had)
        except ProviderError as error:
            replica.vitals.why = error.message

    def _judge(self, now: float) -> None:
        """Gives up a server that does not answer, and what it works on."""
        vitals = self._replica.vitals
        asked_at = self._token_at if self._pending else self._unanswered_at
        if asked_at is not None and vitals.state is not State.DOWN and vitals.silent(asked_at, now):
            silence = now - max(asked_at, vitals.signed_at)
            vitals.fall(now, f"it is frozen: asked for one token, it has generated nothing for {silence:.0f} s")
        if self._replica.leases and vitals.hopeless(now):
            self._replica.cut(vitals.why or "")

    def _tell(self) -> None:
        """Logs that the replica came or went."""
        vitals, before = self._replica.vitals, self._told
        if vitals.state is before:
            return
        self._told = vitals.state
        if vitals.state is State.DOWN:
            _LOG.warning("%s: %s gets no requests: %s", self._backend.name, self._replica.name, vitals.why)
        elif before is State.DOWN:
            _LOG.warning("%s: %s gets requests again", self._backend.name, self._replica.name)

    async def _get(self, path: str) -> Answer:
        endpoint = self._endpoint
        return await self._driver.run(_once(Call("GET", endpoint.root + path, endpoint.headers, timeouts=_QUICK)))


async def restore(backend: Backend, replica: Replica, had: Mapping[str, str]) -> None:
    """Loads the adapters that a replica lacks: those that it had, and those that clients had the gateway load.

    Raises:
        AdapterError: One can't be loaded; the others are.
    """
    listed = {row.id for row in replica.models}
    lost = {name: path for name, path in {**had, **backend.adapters}.items() if name not in listed}
    if not lost or not backend.config.allow_adapters or not isinstance(replica.provider, VLLMProvider):
        return
    failure: AdapterError | None = None
    for name, path in lost.items():
        try:
            await replica.provider.aensure_adapters({name: path})
        except AdapterError as error:
            failure = error
    await replica.refresh(ASKING)
    if failure is not None:
        raise failure


def one_token(endpoint: Endpoint, model: str) -> Plan[Answer]:
    """Asks for one token. Any answer but a failure of the server's own shows that it lives."""
    body = encode({"model": model, "prompt": "ping", "max_tokens": 1, "temperature": 0})
    headers = {**endpoint.headers, "content-type": "application/json"}
    answer: Answer = yield Call("POST", f"{endpoint.base_url}/completions", headers, body, timeouts=_PATIENT)
    return answer


def signs_of_life(totals: Mapping[str, float]) -> tuple[float, ...]:
    """The figures of a server that move while its engine works."""
    return tuple(totals.get(name, 0.0) for name in SIGNS_OF_LIFE)


def _once(call: Call) -> Plan[Answer]:
    answer: Answer = yield call
    return answer


def watchers(backend: Backend, transport: AsyncTransport) -> list[Watcher]:
    """Those of a backend: one for each vLLM server."""
    if not backend.config.health_checks or backend.provider_name != "vllm":
        return []
    return [
        Watcher(backend, replica, replica.endpoint, transport)
        for replica in backend.replicas
        if replica.endpoint is not None
    ]
