"""Strict mode's form of a schema allows no document that the author's schema forbids, once the nulls are out."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from abstractcore.wire.openai_strict import Strict, strict_form, without_nulls

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "nick": {"type": ["string", "null"]}},
    "required": ["name"],
}
TREE: dict[str, Any] = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {"label": {"type": "string"}, "next": {"$ref": "#/$defs/Node"}},
            "required": ["label"],
        }
    },
    "type": "object",
    "properties": {
        "root": {"$ref": "#/$defs/Node"},
        "all": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
        "either": {"oneOf": [{"$ref": "#/$defs/Node"}, {"type": "string"}]},
    },
    "required": ["root"],
}


def strict(schema: dict[str, Any]) -> Strict:
    found = strict_form(schema)
    assert isinstance(found, Strict), found
    return found


def objects_of(schema: Any) -> list[dict[str, Any]]:
    """All parts of a schema that describe objects."""
    if isinstance(schema, list):
        return [found for part in schema for found in objects_of(part)]
    if not isinstance(schema, dict):
        return []
    inner = [found for part in schema.values() for found in objects_of(part)]
    return [schema, *inner] if schema.get("type") == "object" else inner


@pytest.mark.parametrize("schema", [PERSON, TREE])
def test_all_objects_are_closed_and_all_properties_required(schema: dict[str, Any]) -> None:
    found = objects_of(strict(schema).schema)
    assert found
    for part in found:
        assert part["additionalProperties"] is False
        assert part["required"] == list(part["properties"])


def test_a_schema_that_is_strict_already_is_left_alone() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "pattern": "^a+$"}, "b": {"enum": [1, None]}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    assert strict(schema) == Strict(schema, nullable=False, unsent=())


@pytest.mark.parametrize(
    ("schema", "sent", "meant"),
    [
        (PERSON, {"name": "Ann", "age": None, "nick": None}, {"name": "Ann", "nick": None}),
        (PERSON, {"name": "Ann", "age": 3, "nick": "A"}, {"name": "Ann", "age": 3, "nick": "A"}),
        (
            TREE,
            {
                "root": {"label": "a", "next": {"label": "b", "next": None}},
                "all": [{"label": "c", "next": None}],
                "either": {"label": "d", "next": None},
            },
            {"root": {"label": "a", "next": {"label": "b"}}, "all": [{"label": "c"}], "either": {"label": "d"}},
        ),
        (TREE, {"root": {"label": "a", "next": None}, "all": None, "either": None}, {"root": {"label": "a"}}),
    ],
)
def test_a_null_for_left_out_is_taken_out(schema: dict[str, Any], sent: Any, meant: Any) -> None:
    form = strict(schema)
    assert form.nullable
    assert jsonschema_rs.is_valid(form.schema, sent)
    assert without_nulls(sent, schema) == meant
    assert jsonschema_rs.is_valid(schema, meant)


def test_what_strict_mode_does_not_know_is_left_to_the_proof_and_said() -> None:
    found = strict({
        "type": "object",
        "properties": {
            "a": {"type": "string", "maxLength": 3, "default": "x"},
            "b": {"type": "string", "format": "uri"},
            "c": {"allOf": [{"type": "integer"}], "description": "whole"},
        },
        "required": ["a", "b", "c"],
        "$schema": "https://json-schema.org/draft/2020-12/schema",
    })  # fmt: skip
    assert found.unsent == ("format uri", "maxLength")
    assert found.schema["properties"] == {
        "a": {"type": "string"},
        "b": {"type": "string"},
        "c": {"type": "integer", "description": "whole"},
    }
    assert "$schema" not in found.schema


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "object"}, "properties of any name"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "properties of any name"),
        ({"type": "object", "properties": {"a": {}}}, "any value"),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, "any items"),
        ({"type": "object", "properties": {}, "required": ["a"], "additionalProperties": False}, "not describe"),
        ({"type": "object", "properties": {"a": {"$ref": "#b"}}}, "refers to '#b'"),
        ({"type": "object", "properties": {"a": {"allOf": [{"type": "string"}, {"minLength": 1}]}}}, "'allOf'"),
        ({"type": "object", "properties": {"a": {"prefixItems": [{"type": "string"}], "items": False}}}, "prefixItems"),
        ({"anyOf": [{"type": "string"}]}, "root is no object"),
    ],
)
def test_a_schema_without_a_strict_form_gets_the_reason(schema: dict[str, Any], why: str) -> None:
    found = strict_form(schema)
    assert isinstance(found, str)
    assert why in found
