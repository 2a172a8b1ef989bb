"""JSON schemas of msgspec's types, with what the code says of each field. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec.inspect import StructType, type_info

from .field_docs import field_docs

REF: Final = "#/components/schemas/{name}"


def schemas_of(kinds: Iterable[Any]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Schemas of some types.

    Returns:
        The schema of each type, and those of all structs in them, to which the first ones refer.
    """
    unique = list(dict.fromkeys(kinds))
    made, components = msgspec.json.schema_components(unique, ref_template=REF)
    for struct in _structs(unique):
        docs, properties = field_docs(struct.cls), components[struct.cls.__name__].get("properties", {})
        for field in struct.fields:
            if field.name in docs:
                properties[field.encode_name]["description"] = docs[field.name].replace("``", "`")
    return dict(zip(unique, made, strict=True)), components


def _structs(kinds: Iterable[Any]) -> Iterator[StructType]:
    """All structs that are reached from some types."""
    seen: set[type] = set()
    waiting: list[Any] = [type_info(kind) for kind in kinds]
    while waiting:
        info = waiting.pop()
        if isinstance(info, StructType) and info.cls not in seen:
            seen.add(info.cls)
            yield info
            waiting += [field.type for field in info.fields]
        for name in ("types", "item_types"):
            waiting += getattr(info, name, ())
        waiting += [getattr(info, name) for name in ("item_type", "key_type", "value_type") if hasattr(info, name)]
