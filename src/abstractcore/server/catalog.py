"""Which models there are, under which names, and where a request for one goes."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from ..errors import AbstractCoreError, ConnectionFailedError, ModelNotFoundError
from ..types import ModelInfo
from .backend import Backend

FRESH_SECONDS: Final = 5.0
"""For so long a backend's list of models counts; then it is asked again, behind the answers."""
ASKING_SECONDS: Final = 5.0
FIRST_SECONDS: Final = 1.0
"""For so long a list waits for backends that were never asked before."""
AGAIN_SECONDS: Final = 0.5
"""For so long a name that nobody has is not asked for again."""


_EVER: Final = -1.0
"""Before all times of the clock, but after those of what was never asked."""


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
    changed_at: float = float("-inf")
    """Answers to what was asked before are out of date."""
    asking: asyncio.Task[None] | None = None
    """The question that is on its way."""


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

    async def listings(self, *, newer_than: float = float("-inf")) -> Mapping[str, Listing]:
        """What each backend has, as far as it is known.

        What was known a moment ago is asked for again behind the answer: a slow backend makes nobody wait twice.

        Args:
            newer_than: Wait for answers to what is asked from this time on, on the clock ``monotonic``.
        """
        now = monotonic()
        for name, listing in self._listings.items():
            if now - listing.at >= FRESH_SECONDS or listing.at < newer_than:
                self._ask(name)
        wanted = [row.asking for row in self._listings.values() if row.asking and row.at < max(newer_than, _EVER)]
        if wanted:
            await asyncio.wait(wanted, timeout=FIRST_SECONDS)
        for name, listing in self._listings.items():
            if listing.at < _EVER and not listing.models:
                listing.error = ConnectionFailedError(f"{name} has not answered within {FIRST_SECONDS:g} s")
        return self._listings

    def forget(self) -> None:
        """Asks anew the next time: something changed."""
        for listing in self._listings.values():
            listing.at, listing.changed_at, listing.asking = float("-inf"), monotonic(), None

    def _ask(self, name: str) -> None:
        listing = self._listings[name]
        if listing.asking is None or listing.asking.done():
            listing.asking = asyncio.ensure_future(self._learn(name, listing))

    async def _learn(self, name: str, listing: Listing) -> None:
        asked_at = monotonic()
        models: Sequence[ModelInfo] = ()
        failure: AbstractCoreError | None = None
        try:
            models = await self.backends[name].list_models(ASKING_SECONDS)
        except AbstractCoreError as error:
            failure = error
        if asked_at > max(listing.at, listing.changed_at):
            listing.models, listing.error, listing.at = models, failure, asked_at

    def close(self) -> None:
        """Drops the questions that are on their way."""
        for listing in self._listings.values():
            if listing.asking is not None:
                listing.asking.cancel()

    async def resolve(self, wanted: str) -> Target:
        """Where a model is.

        Raises:
            ModelNotFoundError: No backend has it, or several have; lists what there is.
        """
        name = self.aliases.get(wanted, wanted)
        prefix, slash, rest = name.partition("/")
        if prefix in self.backends:
            backend, model = self.backends[prefix], rest if slash else None
            if backend.in_process and model not in (None, backend.config.model):
                raise await self.missing(wanted)  # or clients could have this process load whatever they name
            return Target(backend, model)
        homes = _homes(name, await self.listings())
        if not homes:  # somebody may just have loaded it
            homes = _homes(name, await self.listings(newer_than=monotonic() - AGAIN_SECONDS))
        if len(homes) == 1:
            return Target(self.backends[homes[0]], name)
        raise await self.missing(wanted, homes)

    async def missing(self, wanted: str, homes: Sequence[str] = ()) -> ModelNotFoundError:
        """The error for a name that is none, or that stands for several models."""
        names = await self.names()
        if homes:
            places = [f"{home}/{wanted}" for home in homes]
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
        return rows + self._alias_rows(rows)

    def _alias_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """A row for each alias of a model in these rows: clients offer for choice what has a row, and nothing else."""
        known = {row["id"]: row for row in rows}
        names = {alias: self._full(target, rows) for alias, target in self.aliases.items()}
        return [
            {**known[name], "id": alias, "aliases": [], "alias_of": name}
            for alias, name in names.items()
            if name in known
        ]

    def _full(self, name: str, rows: Sequence[Mapping[str, Any]]) -> str:
        """The name with its backend, of a target that an alias names without or by the backend alone."""
        if name in self.backends:
            own = [row["id"] for row in rows if row["backend"] == name and row["parent"] is None]
            return str(own[0]) if len(own) == 1 else name
        if name.partition("/")[0] in self.backends:
            return name
        homes = [str(row["id"]) for row in rows if row["id"] == f"{row['backend']}/{name}"]
        return homes[0] if len(homes) == 1 else name

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


def _homes(model: str, listings: Mapping[str, Listing]) -> list[str]:
    """The backends that have a model."""
    return [name for name, listing in listings.items() if any(row.id == model for row in listing.models)]
