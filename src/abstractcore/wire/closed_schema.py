"""Closes a JSON Schema to properties that it doesn't name, as clouds demand before they hold an answer to it. Pure.

What satisfies the closed schema satisfies the open one too, so a proof against the schema as it was given still holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_MIXING: Final = frozenset(
    {"allOf", "not", "if", "then", "else", "dependentSchemas", "patternProperties", "unevaluatedProperties"}
)
"""Keywords by which several schemas speak of one object: closing each could leave nothing that satisfies all."""
_ALTERNATIVES: Final = frozenset({"anyOf", "oneOf", "$ref"})
_DATA: Final = frozenset({"const", "default", "enum", "examples"})
_NAMED: Final = frozenset({"$defs", "definitions", "properties"})


def closed(schema: Any) -> dict[str, Any] | None:
    """The schema with every object closed; ``None`` if an object is meant to be open, or is put together of parts."""
    try:
        tight = _closed(schema)
    except _OpenError:
        return None
    return tight if isinstance(tight, dict) else None


class _OpenError(Exception):
    """An object can't be closed."""


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    is_object = "properties" in schema or schema.get("type") == "object"
    if not _MIXING.isdisjoint(schema) or (is_object and not _ALTERNATIVES.isdisjoint(schema)):
        raise _OpenError
    out: dict[str, Any] = {}
    for name, part in schema.items():
        if name in _NAMED and isinstance(part, Mapping):
            out[name] = {key: _closed(value) for key, value in part.items()}
        else:
            out[name] = part if name in _DATA else _closed(part)
    if is_object:
        if "properties" not in schema or schema.get("additionalProperties", False) is not False:
            raise _OpenError
        out["additionalProperties"] = False
    return out
