"""OpenAI's strict mode: a schema in the part of JSON Schema that it takes, and what it changed taken back.

In strict mode the server holds every token to the schema, but takes only schemas whose objects are closed and whose
properties are all required. So an optional property is asked for as required and may be null, and a null that stands
for "left out" is taken out of the answer again. Keywords that the mode does not know and that only narrow what is
allowed are left out of what is sent; the proof of the answer holds it to the whole schema all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

NULL: Final = {"type": "null"}


class Strict(msgspec.Struct, frozen=True):
    """A schema in the form that strict mode takes."""

    schema: dict[str, Any]
    nullable: bool
    """Some properties were optional: nulls have to be taken out of the answer."""
    unsent: tuple[str, ...]
    """Keywords that were left out, since the mode does not know them."""


class _NotStrictError(Exception):
    """There is no strict form."""


_KEPT: Final = frozenset({
    "type", "description", "title", "enum", "const", "pattern", "format", "multipleOf", "maximum", "exclusiveMaximum",
    "minimum", "exclusiveMinimum", "minItems", "maxItems", "$ref",
})  # fmt: skip
_SILENT: Final = frozenset({
    "$schema", "$id", "$comment", "default", "deprecated", "discriminator", "examples", "readOnly", "writeOnly",
})  # fmt: skip
"""They allow and forbid nothing, and the mode does not want them."""
_NARROWING: Final = frozenset({
    "contains", "dependentRequired", "dependentSchemas", "else", "if", "maxContains", "maxLength", "maxProperties",
    "minContains", "minLength", "minProperties", "not", "propertyNames", "then", "unevaluatedItems",
    "unevaluatedProperties", "uniqueItems",
})  # fmt: skip
"""They only forbid: a schema without them allows all that it allows with them."""
_FORMATS: Final = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid",
})  # fmt: skip
_DEFINITIONS: Final = ("$defs", "definitions")


def strict_form(schema: Mapping[str, Any]) -> Strict | str:
    """The strict form of a schema whose root is an object, or the reason why there is none."""
    walk = _Walk()
    try:
        made = walk.schema(schema)
    except _NotStrictError as error:
        return str(error)
    if made.get("type") != "object" or "anyOf" in made:
        return "its root is no object"
    return Strict(made, walk.nullable, tuple(sorted(walk.unsent)))


class _Walk:
    """Rewrites a schema, and remembers what it changed."""

    def __init__(self) -> None:
        self.nullable = False
        self.unsent: set[str] = set()

    def schema(self, schema: Any) -> dict[str, Any]:
        if not isinstance(schema, Mapping) or not schema.keys() - _SILENT - {"title", "description", *_DEFINITIONS}:
            raise _NotStrictError("a part of it allows any value")
        made: dict[str, Any] = {}
        for key, value in schema.items():
            self._keyword(made, key, value)
        if "properties" in schema or "object" in _types(schema):
            self._object(made, schema)
        if "array" in _types(schema) and "items" not in schema:
            raise _NotStrictError("an array in it allows any items")
        return made

    def _keyword(self, made: dict[str, Any], key: str, value: Any) -> None:
        if key == "format" and value not in _FORMATS:
            self.unsent.add(f"format {value}")
        elif key == "$ref" and not (isinstance(value, str) and (value == "#" or value.startswith("#/"))):
            raise _NotStrictError(f"it refers to {value!r}")
        elif key in _KEPT:
            made[key] = value
        elif key in ("anyOf", "oneOf"):
            if key == "oneOf":
                self.unsent.add(key)
            made["anyOf"] = [self.schema(part) for part in value]
        elif key == "items":
            made[key] = self.schema(value)
        elif key in _DEFINITIONS:
            made[key] = {name: self.schema(part) for name, part in value.items()}
        elif key == "allOf" and len(value) == 1:
            made.update(self.schema(value[0]))
        elif key in _NARROWING:
            self.unsent.add(key)
        elif key not in _SILENT and key not in ("properties", "required", "additionalProperties"):
            raise _NotStrictError(f"it has the keyword {key!r}")

    def _object(self, made: dict[str, Any], schema: Mapping[str, Any]) -> None:
        properties = schema.get("properties", {})
        open_ended = schema.get("additionalProperties", not properties)
        if open_ended is not False:
            raise _NotStrictError("an object in it allows properties of any name")
        required = schema.get("required", ())
        made["properties"] = {
            name: self.schema(part) if name in required else self._or_null(part) for name, part in properties.items()
        }
        if any(name not in properties for name in required):
            raise _NotStrictError("a property is required that it does not describe")
        made.setdefault("type", "object")
        made["required"] = list(properties)
        made["additionalProperties"] = False

    def _or_null(self, schema: Any) -> dict[str, Any]:
        made = self.schema(schema)
        if _allows_null(made):
            return made
        self.nullable = True
        return {"anyOf": [made, NULL]}


def without_nulls(document: Any, schema: Mapping[str, Any]) -> Any:
    """A document without the nulls by which strict mode says that an optional property is left out.

    Args:
        document: The answer, decoded.
        schema: The schema as its author wrote it.
    """
    return _Pruning(schema).prune(document, [schema])


class _Pruning:
    """Walks a document along its schema; where that has several branches, along all of them."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def prune(self, value: Any, schemas: Sequence[Any]) -> Any:
        branches = [branch for schema in schemas for branch in self._branches(schema, frozenset())]
        if isinstance(value, list):
            items = [branch["items"] for branch in branches if "items" in branch]
            return [self.prune(part, items) for part in value]
        if not isinstance(value, dict):
            return value
        kept = {}
        for name, part in value.items():
            of_part = [branch["properties"][name] for branch in branches if name in branch.get("properties", {})]
            required = all(name in branch.get("required", ()) for branch in branches)
            if part is not None or required or not of_part or self._takes_null(of_part):
                kept[name] = self.prune(part, of_part)
        return kept

    def _takes_null(self, schemas: Sequence[Any]) -> bool:
        return any(_allows_null(branch) for schema in schemas for branch in self._branches(schema, frozenset()))

    def _branches(self, schema: Any, seen: frozenset[str]) -> Iterator[Mapping[str, Any]]:
        if not isinstance(schema, Mapping):
            return
        yield schema
        for key in ("anyOf", "oneOf", "allOf"):
            for part in schema.get(key, ()):
                yield from self._branches(part, seen)
        to = schema.get("$ref")
        if isinstance(to, str) and to not in seen:
            yield from self._branches(self._at(to), seen | {to})

    def _at(self, reference: str) -> Any:
        found: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        return found


def _types(schema: Mapping[str, Any]) -> Sequence[str]:
    kind = schema.get("type", ())
    return (kind,) if isinstance(kind, str) else kind


def _allows_null(schema: Mapping[str, Any]) -> bool:
    """Whether this schema itself says so; references are not followed."""
    if "null" in _types(schema) or None in schema.get("enum", ()) or ("const" in schema and schema["const"] is None):
        return True
    return any(_allows_null(part) for key in ("anyOf", "oneOf") for part in schema.get(key, ()))
