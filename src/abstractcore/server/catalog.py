"""Which models there are, under which names, and where a request for one goes."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from ..errors import AbstractCoreError, ModelNotFoundError
from ..types import ModelInfo
from .backend import Backend

FRESH_SECONDS: Final = 5.0
"""For so long a backend's list of models counts."""
ASKING_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes."""

    backend: Backend
    model: str | None
    """Its name on the backend; ``None`` for the one that is served there."""


@dataclass(slots=True)
class Listing:
    """What a backend said last."""

    models: Sequence[ModelInfo] = ()
    error: AbstractCoreError | None = None
    at: float = float("-inf")


class Catalog:
    """All models of all backends.

    Args:
        backends: By name.
        aliases: Short names for ``backend/model``.
    """

    def __init__(self, backends: Mapping[str, Backend], aliases: Mapping[str, str]) -> None:
        self.backends = dict(backends)
        self.aliases = dict(aliases)
        self._listings = {name: Listing() for name in self.backends}

    async def listings(self) -> Mapping[str, Listing]:
        """What each backend has, asked at once unless that was done a moment ago."""
        now = monotonic()
        old = [name for name, listing in self._listings.items() if now - listing.at >= FRESH_SECONDS]
        await asyncio.gather(*(self._ask(name) for name in old))
        return self._listings

    def forget(self) -> None:
        """Asks anew the next time: something changed."""
        for listing in self._listings.values():
            listing.at = float("-inf")

    async def _ask(self, name: str) -> None:
        listing = self._listings[name]
        try:
            listing.models, listing.error = await self.backends[name].fleet.alist_models(timeout=ASKING_SECONDS), None
        except AbstractCoreError as error:
            listing.models, listing.error = (), error
        listing.at = monotonic()

    async def resolve(self, wanted: str) -> Target:
        """Where a model is.

        Raises:
            ModelNotFoundError: No backend has it, or several have; lists what there is.
        """
        name = self.aliases.get(wanted, wanted)
        prefix, slash, rest = name.partition("/")
        if prefix in self.backends:
            return Target(self.backends[prefix], rest if slash else None)
        homes = await self._homes(name)
        if len(homes) == 1:
            return Target(homes[0], name)
        raise await self.missing(wanted, homes)

    async def _homes(self, model: str) -> list[Backend]:
        listings = await self.listings()
        return [
            self.backends[name] for name, listing in listings.items() if any(row.id == model for row in listing.models)
        ]

    async def missing(self, wanted: str, homes: Sequence[Backend] = ()) -> ModelNotFoundError:
        """The error for a name that is none, or that stands for several models."""
        names = await self.names()
        if homes:
            places = [f"{backend.name}/{wanted}" for backend in homes]
            error = ModelNotFoundError(f"several backends have a model {wanted!r}", model=wanted)
            error.hint = f"write {' or '.join(places)}"
        else:
            error = ModelNotFoundError(f"there is no model {wanted!r} here", model=wanted)
            near = difflib.get_close_matches(wanted, names, 5, 0.4)
            shown = [*near, *(name for name in names if name not in near)]
            error.hint = f"there are: {', '.join(shown[:20])}" if shown else await self._why_none()
        error.available = tuple(names)
        return error

    async def _why_none(self) -> str:
        reasons = [f"{name}: {row.error.message}" for name, row in (await self.listings()).items() if row.error]
        return f"no backend has any model; {'; '.join(reasons)}"

    async def names(self) -> list[str]:
        """All names that a request may use."""
        listings = await self.listings()
        return [*self.aliases, *(f"{name}/{row.id}" for name, listing in listings.items() for row in listing.models)]

    async def rows(self, provider: str | None = None) -> list[dict[str, Any]]:
        """The list of models in OpenAI's form, with what is known beyond it.

        Args:
            provider: Only those of this provider or backend.
        """
        rows: list[dict[str, Any]] = []
        for name, listing in (await self.listings()).items():
            backend = self.backends[name]
            if provider is None or provider in (name, backend.provider_name):
                rows += [self._row(backend, info) for info in listing.models]
        return rows

    def _row(self, backend: Backend, info: ModelInfo) -> dict[str, Any]:
        name = f"{backend.name}/{info.id}"
        return {
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": info.owned_by or backend.provider_name,
            "provider": backend.provider_name,
            "backend": backend.name,
            "max_model_len": info.context_length,
            "parent": f"{backend.name}/{info.parent}" if info.parent else None,
            "root": info.root,
            "adapters": [f"{backend.name}/{adapter}" for adapter in info.adapters],
            "aliases": [alias for alias, target in self.aliases.items() if target == name],
            "capabilities": {str(what): str(how) for what, how in backend.fleet.capabilities().items()},
        }
