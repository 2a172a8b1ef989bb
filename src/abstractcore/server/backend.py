"""A backend as the gateway sees it: its servers, and which of them gets the next request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ..errors import AbstractCoreError, AdapterError, ConfigurationError, ModelNotFoundError, ProviderError
from ..factory import create_llm
from ..providers import Provider, get_provider_info, is_provider_available
from ..providers.batch.controller import Load
from ..providers.endpoint import Endpoint
from ..settings import read_private
from ..transport.retry import RetryPolicy
from ..types import ModelInfo
from .choice import Standing, choose
from .config import BackendConfig
from .errors import RETRY_AFTER, GatewayError
from .vitals import Budget, Fault, State, Vitals, fault_of

if TYPE_CHECKING:
    from .asgi import Request

ONCE: Final = RetryPolicy(attempts=1)
"""Replicas do not repeat by themselves: the gateway decides where a request goes next."""
PATIENCE: Final = 5.0
"""Seconds without a sign of life after which a server among several is given up."""
PATIENCE_ALONE: Final = 60.0
"""The same for one that nobody can replace: what a slow first compilation takes must not cost it its requests."""


@dataclass(slots=True, eq=False)
class Lease:
    """One request that a replica works on.

    Args:
        request: The client's.
        cut: Ends the wait for an answer that will not come.
    """

    request: Request
    cut: Callable[[], object]
    lost: str | None = None
    """Why the replica was given up while it worked on this."""
    seen: int = 0
    """Parts of the answer that had come when it was looked at last."""
    moved_at: float = field(default_factory=monotonic)
    """When it began, or was seen to have moved on."""


@dataclass(slots=True, eq=False)
class Replica:
    """One server of a backend.

    Args:
        provider: Talks to this server alone.
        endpoint: Where requests in OpenAI's protocol can be passed on as they are; ``None`` if it speaks another.
        name: Its address without what may be secret in it, or the provider's name.
        vitals: What is known of its health.
    """

    provider: Provider
    endpoint: Endpoint | None
    name: str
    vitals: Vitals
    leases: set[Lease] = field(default_factory=set)
    served: int = 0
    """Requests that it got so far."""
    models: Sequence[ModelInfo] = ()
    """What it said it serves, when it was asked last."""
    salts: Mapping[str, str] = field(default_factory=dict)
    """What keeps an adapter from prefixes that the server cached for another one of the same name."""
    adapters: dict[str, str] = field(default_factory=dict)
    """Path by name, of those that it had when it was up; whoever loaded them."""
    busy: Load | None = None
    """Requests that it runs and has waiting, by its own count."""
    ours_then: int = 0
    """Those of them that were ours."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it should be looked at now."""

    @property
    def up(self) -> bool:
        """Whether it gets requests."""
        return self.vitals.state is not State.DOWN

    @property
    def in_flight(self) -> int:
        """Requests of ours that it works on."""
        return len(self.leases)

    @property
    def load(self) -> int:
        """Requests that it works on or has waiting, those of others included."""
        others = 0 if self.busy is None else max(0, self.busy.running + self.busy.waiting - self.ours_then)
        return others + self.in_flight

    @property
    def waiting(self) -> int:
        """Requests that wait in it for others to end."""
        if self.busy is None or not self.busy.waiting:
            return 0
        return max(0, self.busy.waiting + self.in_flight - self.ours_then)

    def serves(self, model: str | None) -> bool:
        """Whether it is known to have a model."""
        return model is None or any(row.id == model for row in self.models)

    async def refresh(self, seconds: float) -> Sequence[ModelInfo]:
        """Asks what it serves.

        Raises:
            ProviderError: It does not answer.
        """
        models = await self.provider.alist_models(timeout=seconds)
        salting = getattr(self.provider, "acache_salts", None)
        if salting is not None:
            self.salts = await salting(models)
        self.models = models
        return models

    def streams_move(self) -> bool:
        """Whether any stream has moved on since this was asked last."""
        moved = False
        for lease in self.leases:
            if lease.seen != lease.request.parts:
                lease.seen, lease.moved_at, moved = lease.request.parts, monotonic(), True
        return moved

    def cut(self, why: str, *, still_for: float = 0.0) -> None:
        """Gives up what it works on: what was not begun is moved, what was ends with an error.

        Args:
            why: The reason, for those who wait.
            still_for: Seconds; only what has not moved on for so long.
        """
        until = monotonic() - still_for
        for lease in self.leases:
            if lease.lost is None and lease.moved_at <= until:
                lease.lost = why
                lease.cut()


class Backend:
    """One or several servers with the same models.

    Args:
        name: What clients call it.
        config: Where it is.

    Raises:
        ConfigurationError: There is no such provider, or a setting makes no sense.
    """

    def __init__(self, name: str, config: BackendConfig) -> None:
        self.name = name
        self.config = config
        self.provider_name = config.provider or name
        if not is_provider_available(self.provider_name):
            raise ConfigurationError(
                f"the backend {name!r} names no provider", hint=f'write provider = "vllm" below [backends.{name}]'
            )
        if config.data_plane is not None and self.provider_name != "vllm":
            raise ConfigurationError(
                f"{config.data_plane} routes to vLLM servers only; the backend {name!r} is {self.provider_name}",
                hint=f"remove data_plane below [backends.{name}]",
            )
        self.in_process = get_provider_info(self.provider_name).in_process
        if self.in_process and config.model is None:
            raise ConfigurationError(
                f"the backend {name!r} runs its model in this process, and names none",
                hint=f'write model = "..." below [backends.{name}]: a folder, a GGUF file or a hub id',
            )
        urls = [config.base_url] if config.base_url is None or isinstance(config.base_url, str) else config.base_url
        several = len(urls) > 1
        settings = _settings(config, several=several)
        patience = config.patience_seconds or (PATIENCE if several else PATIENCE_ALONE)
        self.replicas = [self._replica(url, settings, patience) for url in urls]
        self.fleet = self.replicas[0].provider
        """A provider for what is the same on all servers."""
        self.budget = Budget()
        self.adapters: dict[str, str] = {}
        """Path by name, of those that clients had the gateway load."""
        self.adapters_lock = asyncio.Lock()
        self.loading_since: float | None = None
        """When a client began to have adapters loaded or unloaded, while that lasts."""
        self.front: Replica | None = None
        """A router that spreads requests over the replicas in our place."""

    def _replica(self, url: str | None, settings: dict[str, Any], patience: float) -> Replica:
        address = {} if url is None else {"base_url": url}
        provider = create_llm(self.provider_name, self.config.model, **address, **settings)
        endpoint = next(iter(provider.openai_endpoints), None)
        return Replica(provider, endpoint, _name_of(provider), Vitals(patience))

    def take(self, model: str | None, key: bytes | None, tried: Collection[Replica] = ()) -> Replica:
        """The replica that gets a request now.

        Args:
            model: What is asked; where it is an adapter that not all have, only those that have it count.
            key: The conversation, see ``choice``.
            tried: Those that have failed at it already.

        Raises:
            GatewayError: None can take it; 503, with the reason and when to come again.
        """
        now = monotonic()
        if self.front is not None and self.front not in tried and self._front_takes(self.front, model):
            return self.front
        having = [row for row in self.replicas if row.serves(model)] or self.replicas
        left = [row for row in having if row not in tried]
        alive = [row for row in left if row.up]
        if not alive:
            raise self._down(having, now)
        able = alive if len(self.replicas) == 1 else [row for row in alive if not row.vitals.resting(now)]
        sound = [row for row in able if not row.vitals.suspected(now)]
        for group in (sound, able):
            index = choose([self._standing(row) for row in group], key)
            if index is not None:
                return group[index]
        raise self._overloaded(alive, now)

    def set_front(self, url: str) -> None:
        """Has a router spread requests over the replicas."""
        self.front = self._replica(url, _settings(self.config, several=True), PATIENCE)

    def _front_takes(self, front: Replica, model: str | None) -> bool:
        """Whether the router gets a request: it knows nothing of adapters that not all replicas have."""
        able = [row for row in self.replicas if row.up]
        full = all(self._standing(row).full for row in able) or front.in_flight >= self.config.max_in_flight * len(able)
        return front.up and not full and all(row.serves(model) for row in able)

    def choose(self) -> Replica:
        """The server that gets the next request, for one that can't be moved to another."""
        return self.take(None, None)

    def _standing(self, replica: Replica) -> Standing:
        config = self.config
        full = replica.in_flight >= config.max_in_flight or replica.waiting >= config.max_waiting
        return Standing(replica.name, replica.load, replica.served, full)

    def failed(self, replica: Replica, error: ProviderError, model: str | None) -> Fault:
        """Draws the conclusions from a request for a model that failed on a replica."""
        if isinstance(error, (ModelNotFoundError, AdapterError)) and model is not None and replica.serves(model):
            replica.models = [row for row in replica.models if row.id != model]
            replica.wake.set()
            return Fault.LACKING
        fault = fault_of(error)
        replica.vitals.fault(fault, monotonic(), error.message, error.retry_after)
        if fault in (Fault.DEAD, Fault.SICK):
            replica.wake.set()
        return fault

    async def list_models(self, seconds: float) -> list[ModelInfo]:
        """The models of all replicas that answer.

        Raises:
            AbstractCoreError: None does.
        """
        if self.in_process:
            return [ModelInfo(id=self.config.model or "", loaded=True)]
        asked = [row for row in self.replicas if row.up] or self.replicas
        outcomes = await asyncio.gather(*(row.refresh(seconds) for row in asked), return_exceptions=True)
        rows: dict[str, ModelInfo] = {}
        failure: BaseException | None = None
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                failure = outcome
            else:
                rows |= {row.id: row for row in outcome if row.id not in rows}
        if failure is not None and (len(rows) == 0 or not isinstance(failure, AbstractCoreError)):
            raise failure
        return list(rows.values())

    def _down(self, replicas: Sequence[Replica], now: float) -> GatewayError:
        reasons = [f"{row.name}: {row.vitals.why} ({now - row.vitals.since:.0f} s ago)" for row in replicas]
        return GatewayError(
            f"the backend {self.name!r} can't answer now: it is down, or still loading its model",
            status=503,
            code="upstream_down",
            retry_after=RETRY_AFTER,
            why="; ".join(reasons),
            hint=next((row.endpoint.down_hint for row in replicas if row.endpoint is not None), None),
        )

    def _overloaded(self, replicas: Sequence[Replica], now: float) -> GatewayError:
        rests = [row.vitals.rest_until - now for row in replicas if row.vitals.resting(now)]
        figures = [f"{row.name}: {row.in_flight} in flight, {row.waiting} waiting" for row in replicas]
        return GatewayError(
            f"the backend {self.name!r} has more requests than it may take",
            status=503,
            code="overloaded",
            retry_after=min(rests) if len(rests) == len(replicas) else RETRY_AFTER,
            why="; ".join(figures),
            hint=f"come again later; the operator sets max_in_flight and max_waiting of [backends.{self.name}]",
        )

    def close(self) -> None:
        """Closes idle connections."""
        for replica in self.replicas:
            replica.provider.close()


def _settings(config: BackendConfig, *, several: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {"retry": ONCE} if several else {}
    if config.api_key_file:
        path = Path(config.api_key_file).expanduser()
        settings["api_key"] = read_private(path, f"the key file {path}")
    return settings


def _name_of(provider: Provider) -> str:
    address = getattr(provider, "base_url", None)
    parts = urlsplit(address) if isinstance(address, str) else None
    return parts.netloc.rpartition("@")[2] if parts and parts.netloc else provider.provider
