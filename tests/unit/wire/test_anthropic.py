"""Anthropic's protocol: requests translated, answers read, on what a real server sent."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore import ConfigurationError, ToolDefinition, Usage
from abstractcore.types import GenerateRequest
from abstractcore.wire import anthropic
from abstractcore.wire.closed_schema import closed
from tests.recordings.anthropic import cases

CALL = {"id": "c:1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
USED = {"type": "tool_use", "id": "c_1", "name": "f", "input": {"a": 1}}


def told(text: str, call_id: str = "c:1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def result(text: str, call_id: str = "c_1") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": text}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


# --- requests --------------------------------------------------------------------------------------------------------


def test_leading_system_messages_become_the_system_prompt_and_later_ones_stay() -> None:
    system = {"role": "system", "content": "A"}
    later = {"role": "system", "content": "C"}
    talk = [system, {"role": "developer", "content": "B"}, user("x"), later, user("y")]
    assert anthropic.to_messages(talk) == ("A\n\nB", [user("x"), later, user("y")])


def test_a_system_prompt_in_parts_keeps_them() -> None:
    part = {"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}
    assert anthropic.to_messages([{"role": "system", "content": [part]}])[0] == [part]
    assert anthropic.to_messages([user("x")])[0] is None


def test_calls_and_the_results_of_one_answer_are_one_message_each() -> None:
    talk = [
        user("x"),
        {"role": "assistant", "content": "", "tool_calls": [CALL, {**CALL, "id": "c:2"}]},
        told("1"),
        told("2", "c:2"),
        user("y"),
    ]
    _, messages = anthropic.to_messages(talk)
    assert messages == [
        user("x"),
        {"role": "assistant", "content": [USED, {**USED, "id": "c_2"}]},
        user([result("1"), result("2", "c_2")]),
        user("y"),
    ]


def test_texts_beside_calls_are_kept_and_empty_answers_left_out() -> None:
    looks: dict[str, Any] = {"role": "assistant", "content": "I look", "tool_calls": [CALL]}
    talk = [looks, {"role": "assistant", "content": ""}]
    assert anthropic.to_messages(talk)[1] == [
        {"role": "assistant", "content": [{"type": "text", "text": "I look"}, USED]}
    ]


def test_arguments_that_are_no_object_are_refused() -> None:
    broken = {"id": "c", "function": {"name": "f", "arguments": '"text"'}}
    with pytest.raises(ConfigurationError, match="arguments are no JSON object"):
        anthropic.to_messages([{"role": "assistant", "content": "", "tool_calls": [broken]}])


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("data:image/png;base64,QUJD", {"type": "base64", "media_type": "image/png", "data": "QUJD"}),
        ("https://h/a.png", {"type": "url", "url": "https://h/a.png"}),
    ],
)
def test_images_go_along(url: str, source: Any) -> None:
    text = {"type": "text", "text": "What is it?"}
    own = {"type": "document", "source": {"type": "url", "url": "https://h/a.pdf"}}
    _, [message] = anthropic.to_messages([user([{"type": "image_url", "image_url": {"url": url}}, own, text])])
    assert message["content"] == [{"type": "image", "source": source}, own, text]


def test_the_body_has_a_limit_always_and_stop_as_a_list() -> None:
    request = GenerateRequest(messages=[user("x")], sampling={"stop": "a", "top_k": 3, "seed": 1})
    body = anthropic.request_body(request, "m", stream=True)
    assert body == {
        "model": "m", "max_tokens": 4096, "messages": [user("x")], "top_k": 3, "stop_sequences": ["a"], "stream": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "parallel", "written"),
    [
        ("auto", None, {"type": "auto"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ("f", True, {"type": "tool", "name": "f", "disable_parallel_tool_use": False}),
        ("none", False, {"type": "none"}),
    ],
)
def test_tool_choices(choice: str, parallel: bool | None, written: Any) -> None:
    assert anthropic.to_tool_choice(choice, parallel=parallel) == written


def test_tools_are_strict_where_their_schema_can_be_closed() -> None:
    known = {"type": "object", "properties": {"a": {"type": "integer"}}}
    anything = {"type": "object"}
    tools = [
        ToolDefinition("closed", known, "Says a."),
        ToolDefinition("open", anything),
        ToolDefinition("never", known, strict=False),
        ToolDefinition("always", anything, strict=True),
    ]
    assert anthropic.to_tools(tools) == [
        {
            "name": "closed", "description": "Says a.", "strict": True,
            "input_schema": {**known, "additionalProperties": False},
        },
        {"name": "open", "input_schema": anything},
        {"name": "never", "input_schema": known},
        {"name": "always", "input_schema": anything, "strict": True},
    ]  # fmt: skip


# --- schemas ---------------------------------------------------------------------------------------------------------


def test_objects_are_closed_wherever_they_are() -> None:
    point = {"type": "object", "properties": {"x": {"type": "number"}}}
    schema = {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/p"}, point]}, "$defs": {"p": point}}
    tight = {**point, "additionalProperties": False}
    assert closed(schema) == {
        "type": "array",
        "items": {"anyOf": [{"$ref": "#/$defs/p"}, tight]},
        "$defs": {"p": tight},
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}},
        {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]},
        {"properties": {"a": {}}, "anyOf": [{"properties": {"b": {}}}]},
        True,
    ],
)
def test_what_is_meant_to_be_open_is_not_closed(schema: Any) -> None:
    assert closed(schema) is None


def test_data_in_a_schema_is_no_schema() -> None:
    assert closed({"const": {"type": "object"}}) == {"const": {"type": "object"}}


schemas = st.recursive(
    st.sampled_from([{"type": "integer"}, {"type": "string"}, {"const": {"properties": 1}}, {"$ref": "#/$defs/d"}]),
    lambda inner: st.one_of(
        st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"type": "array", "items": part}, inner),
        st.builds(
            lambda parts, required: {"type": "object", "properties": parts, "required": sorted(parts)[:required]},
            st.dictionaries(st.sampled_from("abc"), inner, min_size=1),
            st.integers(0, 3),
        ),
    ),
    max_leaves=6,
)
documents = st.recursive(
    st.one_of(st.integers(), st.text(max_size=2)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)),
    max_leaves=6,
)


@given(schemas, documents)
def test_what_satisfies_the_closed_schema_satisfies_the_open_one(schema: Any, document: Any) -> None:
    whole = {**schema, "$defs": {"d": {"type": "object", "properties": {"a": {"type": "integer"}}}}}
    tight = closed(whole)
    assert tight is not None
    if jsonschema_rs.is_valid(tight, document):
        assert jsonschema_rs.is_valid(whole, document)


# --- answers ---------------------------------------------------------------------------------------------------------

WHOLE = [
    name
    for name, case in cases().items()
    if case.outcome == "answered" and case.exchanges[-1]["path"] == "/v1/messages" and not case.options.get("stream")
]


@pytest.mark.parametrize("name", WHOLE)
def test_a_recorded_answer_is_read_whole(name: str) -> None:
    sent = cases()[name].document
    found = anthropic.read_message(cases()[name].body)
    [answer] = found.answers
    assert answer.content == "".join(block.get("text", "") for block in sent["content"])
    assert [(call.name, call.arguments, call.call_id) for call in answer.tool_calls] == [
        (block["name"], block["input"], block["id"]) for block in sent["content"] if block["type"] == "tool_use"
    ]
    assert found.usage == Usage(sent["usage"]["input_tokens"], sent["usage"]["output_tokens"])
    assert (found.model, found.response_id) == (sent["model"], sent["id"])


@pytest.mark.parametrize(
    ("name", "reason"), [("system", "stop"), ("cut", "length"), ("stop", "stop"), ("tool required", "tool_calls")]
)
def test_finish_reasons_of_a_real_server(name: str, reason: str) -> None:
    [answer] = anthropic.read_message(cases()[name].body).answers
    assert answer.finish_reason == reason


def message(**changes: Any) -> bytes:
    whole = {"type": "message", "id": "m1", "model": "m", "stop_reason": "end_turn", "content": [], **changes}
    return json.dumps(whole).encode()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "pause_turn"),
        (None, None),
    ],
)
def test_other_finish_reasons(theirs: str | None, ours: str | None) -> None:
    assert anthropic.read_message(message(stop_reason=theirs)).answers[0].finish_reason == ours


def test_cached_tokens_are_a_part_of_the_input() -> None:
    usage = {
        "input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 20,
    }  # fmt: skip
    assert anthropic.read_message(message(usage=usage)).usage == Usage(33, 4, 10, 20)


def test_reasoning_is_apart_and_unknown_blocks_mean_nothing() -> None:
    blocks = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "A"},
        {"type": "web_search_tool_result", "content": []},
        {"type": "text", "text": "B", "citations": []},
    ]
    [answer] = anthropic.read_message(message(content=blocks)).answers
    assert (answer.content, answer.reasoning) == ("AB", "Hm.")
    assert answer.reasoning_blocks == blocks[:2]


def test_input_that_is_no_object_is_kept_for_the_check_that_refuses_it() -> None:
    [answer] = anthropic.read_message(message(content=[{"type": "tool_use", "name": "f", "input": "x"}])).answers
    assert answer.tool_calls[0].raw_arguments == '"x"'


@pytest.mark.parametrize("body", [b'{"type":"error","error":{"type":"x","message":"y"}}', b"{}", b"[]", b"", b"\xff"])
def test_what_is_no_message_is_not_read_as_one(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        anthropic.read_message(body)


@given(st.binary(max_size=200))
def test_random_bytes_give_nothing_else(body: bytes) -> None:
    for reader in (anthropic.read_message, anthropic.read_models, anthropic.read_count):
        try:
            reader(body)
        except msgspec.DecodeError:
            continue


def test_models_of_the_cloud_and_of_vllm() -> None:
    [row] = anthropic.read_models(cases()["models"].body).rows()
    assert (row.id, row.context_length) == ("smollm2", 2048)
    page = {
        "data": [{"type": "model", "id": "m", "display_name": "M", "max_input_tokens": 9}],
        "has_more": True,
        "last_id": "m",
    }
    read = anthropic.read_models(json.dumps(page).encode())
    assert (read.has_more, read.last_id, read.rows()[0].context_length) == (True, "m", 9)


def test_counts() -> None:
    assert anthropic.read_count(cases()["count"].body) == 37
