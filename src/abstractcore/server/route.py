"""One endpoint: what is served where, by which handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .spec import Spec

if TYPE_CHECKING:
    from .asgi import Request

Handler: TypeAlias = "Callable[[Any, Request], Awaitable[None]]"
"""Gets the gateway, which is made of parts that know of routes, and the request."""


class Route(NamedTuple):
    """One endpoint."""

    method: str
    path: str
    """Ends in ``/*`` where all below it belongs to it."""
    handler: Handler
    summary: str
    open: bool = False
    """Answers without a key."""
    spec: Spec | None = None
    """What the OpenAPI document says of it; without one it is not in there (pages and their parts)."""
