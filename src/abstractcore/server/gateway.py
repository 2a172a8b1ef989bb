"""The gateway's parts, put together from its configuration; every handler gets it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..errors import ModelNotFoundError
from ..providers import get_provider_info, list_available_providers
from ..transport.http_async import AsyncHttpTransport
from ..wire.call import Timeouts
from ..wire.credentials import secrets_of
from .backend import Backend
from .catalog import Catalog, Target
from .compiling import Compiling
from .config import BackendConfig, GatewayConfig
from .data_plane import FrontWatcher
from .errors import LONGEST_NAME
from .guard import Guard
from .health_checks import watchers
from .metrics import Metrics
from .relay import Relay
from .surface import Surfaces

if TYPE_CHECKING:
    from .asgi import Request
    from .keys import Key
    from .route import Route


class Gateway:
    """All that handlers need.

    Args:
        config: What the operator wants.

    Raises:
        ConfigurationError: A backend makes no sense.
    """

    def __init__(self, config: GatewayConfig) -> None:
        self.config = config
        self.routes: tuple[Route, ...] = ()
        """What is served, as the OpenAPI document tells it."""
        self.openapi: bytes | None = None
        """That document, once it was asked for."""
        self.metrics = Metrics()
        self.guard = Guard(config, self.metrics)
        rows = config.backends or default_backends()
        self.backends = {name: Backend(name, row) for name, row in rows.items()}
        self.catalog = Catalog(self.backends, config.aliases)
        limits = config.limits
        self.timeouts = Timeouts(
            first_byte=limits.first_byte_seconds, idle=limits.idle_seconds, total=limits.total_seconds
        )
        self.relay = Relay(self.timeouts)
        self.surfaces = Surfaces()
        self.compiling = Compiling()
        self._probes = AsyncHttpTransport()
        self._watching: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to look at the backends; in the running event loop, until ``close``."""
        found = [watcher for backend in self.backends.values() for watcher in watchers(backend, self._probes)]
        fronts = [(backend, backend.front) for backend in self.backends.values() if backend.front is not None]
        self._watching = [
            *(asyncio.ensure_future(watcher.run()) for watcher in found),
            *(asyncio.ensure_future(FrontWatcher(backend, front, self._probes).run()) for backend, front in fronts),
        ]

    @property
    def secrets(self) -> list[str]:
        """The keys of the backends: no client may see one, also where a backend repeats it."""
        endpoints = [row.endpoint for backend in self.backends.values() for row in backend.replicas]
        return [secret for one in endpoints if one is not None for secret in secrets_of(one.headers)]

    async def resolve(self, request: Request, model: str) -> Target:
        """Where a request for a model goes.

        Raises:
            ModelNotFoundError: Nowhere, or not for the key that it came with.
        """
        if len(model) > LONGEST_NAME:
            short = model[:LONGEST_NAME]
            raise ModelNotFoundError(
                f"there is no model {short!r}...", model=short, why=f"it has {len(model)} characters"
            )
        if request.key is None or not request.key.models:
            target = await self.catalog.resolve(model)
        else:
            target = await self._resolve_for(request.key, model)
        request.backend = target.backend.name
        return target

    async def _resolve_for(self, key: Key, wanted: str) -> Target:
        """The same for a key that may use some models only; others are not there, as far as it can see."""
        try:
            target = await self.catalog.resolve(wanted)
        except ModelNotFoundError:
            target = None
        if target is not None:
            model = target.model or await self._only_model(target)
            if key.may_use(wanted if wanted in self.catalog.aliases else "", f"{target.backend.name}/{model}"):
                return Target(target.backend, model)
        raise await self._hidden(key, wanted)

    async def missing(self, request: Request, wanted: str) -> ModelNotFoundError:
        """The error for a model that is not there, with what there is for whoever asks."""
        if request.key is None or not request.key.models:
            return await self.catalog.missing(wanted)
        return await self._hidden(request.key, wanted)

    async def _hidden(self, key: Key, wanted: str) -> ModelNotFoundError:
        error = ModelNotFoundError(f"there is no model {wanted!r} for the key {key.name!r}", model=wanted)
        names = [name for name in await self.catalog.names() if key.may_use(name)]
        error.available = tuple(names)
        error.hint = f"it may use {', '.join(key.models)}; there are: {', '.join(names[:20]) or 'none of these'}"
        return error

    async def _only_model(self, target: Target) -> str | None:
        """The model that is meant by the name of its backend."""
        if target.backend.config.model:
            return target.backend.config.model
        models = (await self.catalog.listings())[target.backend.name].models
        bases = [row.id for row in models if row.parent is None]
        return bases[0] if len(bases) == 1 else None

    def close(self) -> None:
        """Looks no more, and closes idle connections."""
        for task in self._watching:
            task.cancel()
        self._probes.close()
        self.catalog.close()
        self.relay.close()
        for backend in self.backends.values():
            backend.close()


def default_backends() -> dict[str, BackendConfig]:
    """Every provider that answers over HTTP, each where its settings say: for a gateway that was told of none."""
    return {name: BackendConfig() for name in list_available_providers() if not get_provider_info(name).in_process}
