"""What the OpenAPI document says of an endpoint, beside its method and path. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Parameter(NamedTuple):
    """A part of the path, or of the query."""

    name: str
    about: str
    where: str = "query"


class Spec(NamedTuple):
    """One endpoint, as its callers see it."""

    about: str = ""
    """A paragraph, where the summary is not enough."""
    body: Any = None
    """Type of the request's body, as msgspec reads types; ``None`` if it takes none."""
    answer: Any = dict[str, Any]
    """Type of the answer, or the media type of one that is no JSON."""
    event: Any = None
    """Type of the events, where it may answer as a stream."""
    parameters: tuple[Parameter, ...] = ()
    examples: Mapping[str, Any] | None = None
    """Request bodies by title, each one that works."""
    fails: tuple[int, ...] = ()
    """Statuses of failures beside those that every endpoint has."""
