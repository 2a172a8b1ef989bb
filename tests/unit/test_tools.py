"""Tools: their forms, their checks, and the schema that stands for a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore import ConfigurationError, InvalidConstraintError, ToolCall, ToolDefinition, tool
from abstractcore.tools import call_schema, fault, read_choice, read_emulated, read_tools

TREE = {
    "type": "object",
    "properties": {"top": {"$ref": "#/$defs/Node"}, "$ref": {"type": "string"}},
    "required": ["top"],
    "additionalProperties": False,
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "enum": {"$ref": "#/$defs/Name"},
                "kids": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
            "required": ["enum"],
            "additionalProperties": False,
        },
        "Name": {"enum": ["a", {"$ref": "#/$defs/Node"}]},
    },
}


def add(a: int, b: int = 0) -> int:
    """Adds two numbers."""
    return a + b


TOOLS = read_tools([add, {"name": "tree", "parameters": TREE}])


def test_a_function_a_definition_and_a_mapping_are_the_same_tool() -> None:
    definition = ToolDefinition.from_function(add)
    wire = definition.to_openai(strict=False)
    assert wire == {
        "type": "function",
        "function": {"name": "add", "description": "Adds two numbers.", "parameters": definition.parameters},
    }
    assert read_tools([add]) == (definition,) == read_tools([wire]) == read_tools([wire["function"]])


@pytest.mark.parametrize(("said", "sent"), [(None, True), (True, True), (False, False)])
def test_strict_is_asked_for_unless_refused(said: bool | None, sent: bool) -> None:
    definition = ToolDefinition.from_function(add, strict=said)
    assert definition.to_openai(strict=True)["function"]["strict"] is sent
    assert "strict" not in definition.to_openai(strict=False)["function"]


def test_the_decorator_gives_the_function_back() -> None:
    @tool(name="plus", description="Sum.")
    def sums(a: int) -> int:
        return a

    @tool
    def plain(a: int) -> int:
        return a

    assert (sums(3), plain(4)) == (3, 4)
    assert [(known.name, known.description) for known in read_tools([sums, plain])] == [("plus", "Sum."), ("plain", "")]


@pytest.mark.parametrize(
    ("tools", "error"),
    [
        ([add, add], ConfigurationError),
        ([3], ConfigurationError),
        ([{"type": "web_search"}], ConfigurationError),
        ([{"type": "function", "function": {"description": "nameless"}}], ConfigurationError),
        ([{"name": "auto"}], ConfigurationError),
        ([{"name": "x", "parameters": {"type": "nonsense"}}], InvalidConstraintError),
    ],
)
def test_what_is_no_tool_is_refused(tools: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        read_tools(tools)


def test_a_choice_is_a_word_a_name_a_tool_or_a_mapping() -> None:
    forms = ["add", add, TOOLS[0], {"type": "function", "function": {"name": "add"}}, {"name": "add"}]
    assert [read_choice(form, TOOLS) for form in forms] == ["add"] * 5
    assert [read_choice(word, TOOLS) for word in ("auto", "required", "none")] == ["auto", "required", "none"]
    with pytest.raises(ConfigurationError, match="none of the tools"):
        read_choice("sub", TOOLS)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (ToolCall(name="add", arguments={"a": 1}), None),
        (ToolCall(name="sub", arguments={}), "there is only add, tree"),
        (ToolCall(name="add", arguments={}), "break its schema"),
        (ToolCall(name="add", arguments={"a": "1"}), "at /a"),
        (ToolCall(name="add", arguments={"a": 1, "c": 1}), "break its schema"),
        (ToolCall(name="add", arguments={}, raw_arguments='{"a"'), "not a JSON object"),
        (ToolCall(name="tree", arguments={"top": {"enum": "a", "kids": [{"enum": "b"}]}}), "at /top/kids/0/enum"),
    ],
)
def test_a_call_is_held_against_its_tool(call: ToolCall, why: str | None) -> None:
    found = fault(call, TOOLS)
    assert found is None if why is None else why in (found or "")


documents = st.fixed_dictionaries(
    {"name": st.sampled_from(["add", "tree", "sub"])},
    optional={
        "arguments": st.sampled_from(
            [
                {"a": 1},
                {"a": "1"},
                {"top": {"enum": "a"}},
                {"top": {"enum": {"$ref": "#/$defs/Node"}}},
                {"top": 3},
                {},
            ]
        )
    },
)


@given(documents)
def test_the_schema_of_a_call_takes_what_the_tools_take(document: dict[str, Any]) -> None:
    fits = "arguments" in document and fault(ToolCall(**document), TOOLS) is None
    assert jsonschema_rs.is_valid(call_schema(TOOLS, several=False), document) is fits
    assert jsonschema_rs.is_valid(call_schema(TOOLS, several=True), [document]) is fits
    alone = [known for known in TOOLS if known.name == document["name"]]
    if alone:
        assert jsonschema_rs.is_valid(call_schema(alone, several=False), document) is fits


def test_several_calls_are_at_least_one() -> None:
    assert not jsonschema_rs.is_valid(call_schema(TOOLS, several=True), [])


def test_emulated_calls_are_read() -> None:
    one = ToolCall(name="add", arguments={"a": 1}, call_id="r-0")
    assert read_emulated('{"name": "add", "arguments": {"a": 1}}', "r") == [one]
    assert read_emulated('[{"name": "add", "arguments": {"a": 1}}]', "r") == [one]
    for text in ("", '{"name": "add"', '{"name": "add"}', "3", "[3]"):
        assert read_emulated(text, "r") is None


@pytest.mark.parametrize("is_async", [True, False])
def test_an_async_tool_is_known_as_one(is_async: bool) -> None:
    async def waits() -> None: ...

    class Waits:
        __name__ = "waits"

        async def __call__(self) -> None: ...

    functions: list[Callable[..., Any]] = [waits, Waits()] if is_async else [add]
    assert all(ToolDefinition.from_function(function).is_async is is_async for function in functions)
