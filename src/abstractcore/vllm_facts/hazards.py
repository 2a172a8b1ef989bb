"""Well-formed requests that end or block a server for all its users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from .versions import Version


class Hazard(Struct, frozen=True):
    """One such kind of request."""

    name: str
    first: Version
    until: Version
    """The first release that survives it for certain."""
    effect: Literal["the engine dies", "the engine hangs"]
    """A hanging engine keeps ``/health`` at 200 and its metrics at rest, and answers nothing any more."""
    instead: str
    """What to send."""
    matches: Callable[[str, Mapping[str, Any]], bool]
    """Whether a request (path, JSON body) is one."""

    def concerns(self, version: Version | None) -> bool:
        """Whether a server of this version is in danger; an unknown one may be."""
        return version is None or self.first <= version < self.until


def _has_guided(body: Mapping[str, Any]) -> bool:
    return any(body.get(f"guided_{kind}") is not None for kind in ("json", "regex", "choice", "grammar", "json_object"))


def _is_text_format(path: str, body: Mapping[str, Any]) -> bool:  # noqa: ARG001 - one signature for all
    response_format = body.get("response_format")
    return isinstance(response_format, Mapping) and response_format.get("type") == "text"


def _is_empty_constraint(path: str, body: Mapping[str, Any]) -> bool:  # noqa: ARG001
    constraint = body.get("structured_outputs")
    kinds = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")
    return isinstance(constraint, Mapping) and all(constraint.get(kind) is None for kind in kinds)


def _is_doubly_constrained(path: str, body: Mapping[str, Any]) -> bool:
    has_other = body.get("structured_outputs") is not None or _has_guided(body)
    return body.get("response_format") is not None and has_other and not _is_text_format(path, body)


HAZARDS: Final = (
    Hazard(
        name="text format",
        first=(0, 11, 0),
        until=(0, 11, 1),
        effect="the engine dies",
        instead="leave response_format out: text is the default",
        matches=_is_text_format,
    ),
    Hazard(
        name="empty constraint",
        first=(0, 11, 0),
        until=(0, 12, 0),
        effect="the engine dies",
        instead="leave structured_outputs out, or name one kind of constraint in it",
        matches=_is_empty_constraint,
    ),
    Hazard(
        name="two constraints",
        first=(0, 11, 0),
        until=(0, 15, 0),
        effect="the engine hangs",
        instead="one constraint: response_format, or structured_outputs, or one guided_ field",
        matches=_is_doubly_constrained,
    ),
    Hazard(
        name="broken regex",
        first=(0, 0, 0),
        until=(0, 10, 2),
        effect="the engine dies",
        instead="a regex that compiles: check it before it is sent",
        matches=lambda _path, _body: False,  # only a compiler sees it: constraint.py has each regex compiled
    ),
    Hazard(
        name="sleep on the CPU",
        first=(0, 0, 0),
        until=(0, 10, 2),
        effect="the engine dies",
        instead="let the server run, or stop it",
        matches=lambda path, _body: path.partition("?")[0] in {"/sleep", "/wake_up"},
    ),
)
"""Their ranges reach from the first release in which it may happen to the first one that was seen to survive."""


def hazard_in(version: Version | None, path: str, body: Mapping[str, Any]) -> Hazard | None:
    """The hazard that a request is to a server of this version (``None``: unknown); ``None`` if it may be sent."""
    return next((hazard for hazard in HAZARDS if hazard.concerns(version) and hazard.matches(path, body)), None)
