"""Choices and regexes as JSON schemas: what is sent says the same, and what comes back is the text itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.constraint import Choice, Grammar, JsonSchema, Regex
from abstractcore.providers.emulation import SchemaForm, as_schema, unwrap
from abstractcore.providers.json_pattern import json_pattern

TEXT = SchemaForm({}, is_text=True, wrapped=False)
WRAPPED_TEXT = SchemaForm({}, is_text=True, wrapped=True)
WRAPPED = SchemaForm({}, is_text=False, wrapped=True)


def wrapper(inner: Any) -> Any:
    return {"type": "object", "properties": {"value": inner}, "required": ["value"], "additionalProperties": False}


def test_a_choice_is_an_enum() -> None:
    form = as_schema(Choice(["a", "b"]))
    assert form == SchemaForm({"type": "string", "enum": ["a", "b"]}, is_text=True, wrapped=False)
    form = as_schema(Choice(["a", "b"]), objects_only=True)
    assert form == SchemaForm(wrapper({"type": "string", "enum": ["a", "b"]}), is_text=True, wrapped=True)


def test_a_regex_is_a_pattern_of_the_whole_text() -> None:
    form = as_schema(Regex("a|b."))
    assert form == SchemaForm({"type": "string", "pattern": json_pattern("a|b.")}, is_text=True, wrapped=False)


def test_an_object_stays_what_it_is() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert as_schema(JsonSchema(schema), objects_only=True) == SchemaForm(schema, is_text=False, wrapped=False)


def test_what_is_no_object_is_put_into_one_and_its_references_still_hold() -> None:
    schema = {
        "$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        "anyOf": [{"$ref": "#/$defs/tree"}, {"type": "object", "properties": {"again": {"$ref": "#"}}}],
    }
    form = as_schema(JsonSchema(schema), objects_only=True)
    assert form
    assert form.wrapped
    sent = JsonSchema(form.schema)
    sent.check()
    assert sent.prove('{"value": [[], [[]]]}').holds
    assert sent.prove('{"value": {"again": [[]]}}').holds
    assert not sent.prove('{"value": {"again": [1]}}').holds


def test_there_is_no_schema_of_a_grammar() -> None:
    assert as_schema(Grammar('root ::= "a"')) is None


@pytest.mark.parametrize(
    ("text", "form", "read"),
    [
        ('"red"', TEXT, "red"),
        ('{"value": "red"}', WRAPPED_TEXT, "red"),
        ('{"value": [1, 2]}', WRAPPED, "[1,2]"),
        ("red", TEXT, "red"),
        ('"a\nb"', TEXT, "a\nb"),
        ('{"colour": "red"}', WRAPPED_TEXT, '{"colour": "red"}'),
        ("[1]", WRAPPED, "[1]"),
        ("3", TEXT, "3"),
        ('{"value": [1, 2', WRAPPED, "[1, 2"),
        ("{", WRAPPED_TEXT, ""),
        ('{\n  "value"\n', WRAPPED_TEXT, ""),
        ('{ "value": ', WRAPPED_TEXT, ""),
        ("", TEXT, ""),
        ("{ value", WRAPPED_TEXT, "{ value"),
    ],
)
def test_reading_back(text: str, form: SchemaForm, read: str) -> None:
    assert unwrap(text, form) == read


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans(), st.data())
def test_any_text_comes_back_and_a_cut_one_as_far_as_it_goes(text: str, wrapped: bool, data: st.DataObject) -> None:
    form = WRAPPED_TEXT if wrapped else TEXT
    sent = msgspec.json.encode({"value": text} if wrapped else text).decode()
    assert unwrap(sent, form) == text
    cut = sent[: data.draw(st.integers(0, len(sent) - (2 if wrapped else 1)))]
    assert text.startswith(unwrap(cut, form))
