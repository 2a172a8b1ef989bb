"""Schemas and grammars that would keep a checker busy for years are told from those that are only long."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.constraint import Grammar, JsonSchema
from abstractcore.schema_cost import refers, too_costly

TREE: dict[str, Any] = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"v": {"type": "integer"}, "c": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["v"],
        }
    },
    "$ref": "#/$defs/node",
}


def doubling(keyword: str, steps: int) -> dict[str, Any]:
    rows = {f"a{step}": {keyword: [{"$ref": f"#/$defs/a{step - 1}"}] * 2} for step in range(1, steps)}
    return {"$defs": {"a0": {"type": "integer"}, **rows}, "$ref": f"#/$defs/a{steps - 1}"}


@pytest.mark.parametrize("keyword", ["anyOf", "allOf", "oneOf"])
def test_references_that_double_at_each_step_are_not_followed(keyword: str) -> None:
    proof = JsonSchema(doubling(keyword, 60)).prove('"x"')
    assert not proof.holds
    assert proof.why is not None
    assert "too costly to be checked" in proof.why
    assert "is not" in (JsonSchema(doubling(keyword, 8)).prove('"x"').why or "")


def test_the_depth_of_a_document_may_double_them_too() -> None:
    items = {"items": {"$ref": "#/$defs/a"}}
    schema = {"$defs": {"a": {"anyOf": [items, {**items, "type": "array"}]}}, "$ref": "#/$defs/a"}
    assert not too_costly(schema, [[[1]]])
    assert too_costly(schema, msgspec.json.decode("[" * 60 + "1" + "]" * 60))


def test_a_long_document_is_only_long() -> None:
    node = {"v": 1, "c": [{"v": each, "c": [{"v": 2}]} for each in range(3_000)]}
    assert not too_costly(TREE, node, len(json.dumps(node)))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"$ref": "#/nowhere/0", "anyOf": 5, "properties": [], "items": [{"$ref": "#x"}], "prefixItems": 7},
        {"$defs": {"a": {"$anchor": "x", "type": "object"}}, "properties": {"c": {"$ref": "#x"}}},
        True,
    ],
)
def test_schemas_of_all_kinds_are_counted(schema: Any) -> None:
    assert not too_costly(schema, {"c": [{"v": 1}], "d": 2})


@given(st.recursive(st.booleans() | st.integers(), lambda inner: st.lists(inner, max_size=3), max_leaves=20))
def test_a_tree_is_proved_as_before(document: Any) -> None:
    schema = {"$defs": {"a": {"type": ["boolean", "array"], "items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}

    def holds(value: Any) -> bool:
        return all(map(holds, value)) if isinstance(value, list) else isinstance(value, bool)

    assert JsonSchema(schema).prove(msgspec.json.encode(document).decode()).holds is holds(document)


def test_only_references_make_it_worth_counting() -> None:
    assert refers(TREE)
    assert not refers({"properties": {"a": {"anyOf": [{"type": "string"}, {"const": 1}]}}})


def test_an_ambiguous_grammar_is_given_up() -> None:
    grammar = Grammar('root ::= s\ns ::= s s | "a"')
    assert grammar.prove("a" * 20).holds
    # Without a limit this takes hours.
    assert grammar.prove("a" * 5000).why == "the grammar is too complex to be checked on this text"
    assert not grammar.complete("a" * 5000)
    assert set(grammar.trim("a" * 5000) or "") == {"a"}
