"""How much work it is to hold a document against a JSON Schema, found out in a fraction of that work. Pure.

A validator visits a part of a schema once for each way that leads there, and references can double the ways at every
step: forty short definitions are enough to keep one busy for years, in native code that nobody can stop. Here each pair
of a part of the schema and a part of the document is visited once, and the ways are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

MOST: Final = 20_000
"""Visits of a validator that take less than a second where they all fail."""
WAYS: Final = 50
"""So many ways to each pair are taken in any case: a long document takes long, and is none the worse for it."""
STEPS: Final = 20_000
"""Steps of the count that take 0.1 s. A long document may have one more for each second of its characters."""
UNCOUNTED: Final = 500_000
"""Parts of a schema times values of a document, without references: 0.1 s at most, so nothing is counted."""

_LISTS: Final = ("allOf", "anyOf", "oneOf")
_ONES: Final = ("not", "if", "then", "else")
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_EACH_VALUE: Final = ("additionalProperties", "unevaluatedProperties")
_EACH_ITEM: Final = ("contains", "additionalItems", "unevaluatedItems")


def too_costly(schema: Any, document: Any, size: int = 0) -> bool:
    """Whether a validator would visit far more pairs than there are, or there are too many of them.

    A document nested too deeply counts as such.

    Args:
        schema: The schema.
        document: What is held against it.
        size: Characters of the document.
    """
    count = _Count(schema, STEPS + size // 2)
    try:
        # Equal numbers are one value to the count, so a long list of them has few pairs.
        return count.visits(schema, document) > MOST + WAYS * len(count.known) + 4 * size
    except (RecursionError, _TooManyError):
        return True


def parts(schema: Any) -> int:
    """How many parts a schema has; each value of a list or table counts."""
    inner = schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ()
    return 1 + sum(map(parts, inner))


def refers(schema: Any) -> bool:
    """Whether a schema has references: without them there is one way to each part, and nothing to count."""
    if isinstance(schema, Mapping):
        return any(name in schema for name in _REFERENCES) or any(map(refers, schema.values()))
    return isinstance(schema, list) and any(map(refers, schema))


class _TooManyError(Exception):
    pass


class _Count:
    def __init__(self, root: Any, most: int) -> None:
        self._root = root
        self._left = most
        self._weights: dict[int, int] = {}
        self.known: dict[tuple[int, int], int] = {}
        self._named: dict[str, Any] = {}
        self._name(root)

    def _name(self, schema: Any) -> None:
        """Collects what references may name."""
        if isinstance(schema, Mapping):
            for keyword in ("$anchor", "$dynamicAnchor", "$id"):
                if isinstance(schema.get(keyword), str):
                    self._named[schema[keyword].rstrip("#")] = schema
            for part in schema.values():
                self._name(part)
        elif isinstance(schema, list):
            for part in schema:
                self._name(part)

    def visits(self, schema: Any, document: Any) -> int:
        if not isinstance(schema, Mapping):
            return 1
        self._left -= self._weight(schema)
        if self._left < 0:
            raise _TooManyError
        pair = (id(schema), id(document))
        if pair not in self.known:
            self.known[pair] = 1  # one that leads back to itself is visited once
            self.known[pair] = 1 + sum(self.visits(part, value) for part, value in self._parts(schema, document))
        return self.known[pair]

    def _weight(self, schema: Mapping[str, Any]) -> int:
        """One, and more where a value is compared with many that are no scalars."""
        known = self._weights.get(id(schema))
        if known is None:
            compared = sum(isinstance(option, dict | list) for option in _listed(schema, "enum"))
            known = self._weights[id(schema)] = 1 + compared // 8
        return known

    def _parts(self, schema: Mapping[str, Any], document: Any) -> Iterator[tuple[Any, Any]]:
        for keyword in _REFERENCES:
            if isinstance(schema.get(keyword), str):
                yield self._target(schema[keyword]), document
        for keyword in _LISTS:
            yield from ((part, document) for part in _listed(schema, keyword))
        for keyword in _ONES:
            if keyword in schema:
                yield schema[keyword], document
        if isinstance(document, dict):
            yield from _of_object(schema, document)
        elif isinstance(document, list):
            yield from _of_array(schema, document)

    def _target(self, reference: str) -> Any:
        base, _, fragment = reference.partition("#")
        found = self._named.get(base, self._root) if base else self._root
        if fragment and not fragment.startswith("/"):
            return self._named.get(fragment, True)
        for step in unquote(fragment).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping):
                found = found.get(name, True)
            elif isinstance(found, list) and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            else:
                return True
        return found


def _of_object(schema: Mapping[str, Any], document: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    properties = _named(schema, "properties")
    yield from ((part, document[name]) for name, part in properties.items() if name in document)
    for pattern, part in _named(schema, "patternProperties").items():
        yield from ((part, value) for name, value in document.items() if _may_match(pattern, name))
    for keyword in _EACH_VALUE:
        if keyword in schema:
            yield from ((schema[keyword], value) for name, value in document.items() if name not in properties)
    if "propertyNames" in schema:
        yield from ((schema["propertyNames"], name) for name in document)
    for keyword in ("dependentSchemas", "dependencies"):
        yield from ((part, document) for name, part in _named(schema, keyword).items() if name in document)


def _named(schema: Mapping[str, Any], keyword: str) -> Mapping[str, Any]:
    value = schema.get(keyword)
    return value if isinstance(value, Mapping) else {}


def _listed(schema: Mapping[str, Any], keyword: str) -> list[Any]:
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


def _of_array(schema: Mapping[str, Any], document: list[Any]) -> Iterator[tuple[Any, Any]]:
    first, items = _listed(schema, "prefixItems"), schema.get("items")
    if isinstance(items, list):
        first, items = items, None
    yield from zip(first, document, strict=False)
    if items is not None:
        yield from ((items, value) for value in document[len(first) :])
    for keyword in _EACH_ITEM:
        if keyword in schema:
            yield from ((schema[keyword], value) for value in document)


def _may_match(pattern: str, name: str) -> bool:
    """Whether a name may match; patterns of more than letters are not looked into."""
    return not re.fullmatch(r"\^?\w+\$?", pattern) or pattern.strip("^$") in name
