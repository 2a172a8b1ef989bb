"""What clients wrote is read beside the event loop until it is known to be cheap: others don't wait for a grammar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from time import thread_time
from typing import Final, TypeVar

import msgspec

from ..transport.aio import beside
from .fields import PROMISES

T = TypeVar("T")
CHEAP_SECONDS: Final = 0.003
"""CPU time that a request may cost the event loop to be read and its constraint to be compiled."""
KEPT: Final = 256
"""Promises that are known to be cheap: no more than there are compiled ones kept."""
_OF_OTHERS: Final = frozenset({"text", "output_config", "output_format"})
"""Fields that hold promises in the protocols of responses and messages."""


class Compiling:
    """Reads requests that promise something: the first of a kind in a thread, and further ones there if it was slow."""

    def __init__(self) -> None:
        self._cheap: dict[bytes, None] = {}

    async def read(
        self, fields: Mapping[str, msgspec.Raw], reader: Callable[[], T], also: Callable[[T], object] | None = None
    ) -> T:
        """Reads a request.

        Args:
            fields: The request's, as the client wrote them.
            reader: Does it, and compiles what the request promises.
            also: Done with the result where that is made in a thread: what it compiles is kept for later.
        """
        names = sorted(fields.keys() & (PROMISES | _OF_OTHERS))
        if not names:
            return reader()
        digest = blake2b(digest_size=16)
        for name in names:
            digest.update(name.encode() + b"\0")
            digest.update(fields[name])
        key = digest.digest()
        if key in self._cheap:
            return reader()
        seconds, result = await beside(lambda: _timed(reader, also))
        if seconds < CHEAP_SECONDS:
            if len(self._cheap) >= KEPT:
                del self._cheap[next(iter(self._cheap))]
            self._cheap[key] = None
        return result


def _timed(reader: Callable[[], T], also: Callable[[T], object] | None) -> tuple[float, T]:
    began = thread_time()
    result = reader()
    if also is not None:
        also(result)
    return thread_time() - began, result
