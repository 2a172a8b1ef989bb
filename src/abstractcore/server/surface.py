"""Which fields of a request a backend reads, and which of them may be passed on unread."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from ..capability import Support, support
from ..vllm_facts import UNIVERSAL_FIELDS
from .fields import CAPABLE, OPTIONS_OF, PROMISES

if TYPE_CHECKING:
    from .backend import Replica

FRESH_SECONDS: Final = 5.0
"""For so long what was found counts; the provider behind it asks the server itself far less often."""


class Surface(NamedTuple):
    """What one backend reads at one path."""

    known: frozenset[str]
    """All fields that somebody obeys: the backend, or the gateway in its place."""
    passable: frozenset[str]
    """Those that may be passed on unread: the backend obeys them, and nothing about them has to be checked."""
    hidden: bool = False
    """The backend does not say what it reads; ``known`` is then what all versions of it do."""


class Surfaces:
    """What is known of all backends; asked for once by any number of requests that need it."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[float, Surface]] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[Surface]] = {}

    def fresh(self, replica: Replica, path: str) -> Surface | None:
        """What is known without asking."""
        found = self._found.get((_name(replica), path))
        return found[1] if found is not None and monotonic() - found[0] < FRESH_SECONDS else None

    async def find(self, replica: Replica, path: str) -> Surface:
        """What a backend reads.

        Raises:
            ProviderError: It can't be asked.
        """
        key = (_name(replica), path)
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.ensure_future(_ask(replica, path))
            task.add_done_callback(lambda done: self._keep(key, done))
        return await asyncio.shield(task)  # others may wait for it too

    def _keep(self, key: tuple[str, str], done: asyncio.Task[Surface]) -> None:
        del self._asking[key]
        if not done.cancelled() and done.exception() is None:
            self._found[key] = (monotonic(), done.result())


def _name(replica: Replica) -> str:
    return replica.endpoint.base_url if replica.endpoint is not None else f"provider {id(replica.provider)}"


async def _ask(replica: Replica, path: str) -> Surface:
    provider, endpoint = replica.provider, replica.endpoint
    listed = None if endpoint is None else await provider.aknown_fields(path, endpoint)
    documented: frozenset[str] = getattr(provider, "known_fields", frozenset())
    return surface_of(provider.engine or provider.provider, path, listed, documented)


def surface_of(
    backend: str, path: str, listed: frozenset[str] | None, documented: frozenset[str] = frozenset()
) -> Surface:
    """Puts together what is known of a backend. Pure.

    Args:
        backend: The name of its row of capabilities.
        path: The endpoint.
        listed: The fields that it says it reads at this path; ``None`` if it says nothing, or has no such path.
        documented: Fields that its provider takes in ``extra_body``.
    """
    hidden = listed is None and backend == "vllm"
    read = UNIVERSAL_FIELDS[path] if hidden else listed
    if read is None:
        return Surface(OPTIONS_OF[path] | documented, frozenset())
    lacking = {name for name, what in CAPABLE.items() if support(backend, what) is not Support.NATIVE}
    return Surface(read | OPTIONS_OF[path], read - PROMISES - lacking, hidden)
