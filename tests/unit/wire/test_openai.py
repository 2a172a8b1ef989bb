"""Requests written and answers read, on what eight real servers sent."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.types import GenerateRequest, Message, ToolCall, Usage
from abstractcore.wire.openai import (
    encode,
    read_completion,
    read_embeddings,
    read_logprobs,
    read_models,
    request_body,
    wire_messages,
)
from tests.recordings import VERSIONS, probe_names, recorded, schema_properties

GENERATING = ("/v1/chat/completions", "/v1/completions", "/invocations")


def answered(version: str) -> list[str]:
    """Probes that were answered with a whole completion."""
    return [
        probe
        for probe in probe_names(version)
        if (found := recorded(version, probe)).status == 200
        and found.request.path in GENERATING
        and found.body.startswith(b"{")
    ]


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_recorded_answer_is_read(version: str) -> None:
    for probe in answered(version):
        found = recorded(version, probe)
        document = found.json()
        choices = document["choices"]
        answer = read_completion(found.body)
        calls = [call for choice in choices for call in (choice.get("message") or {}).get("tool_calls") or ()]
        assert [call.raw_arguments for one in answer.answers for call in one.tool_calls] == [
            None if is_object(call["function"]["arguments"]) else call["function"]["arguments"] for call in calls
        ]
        assert [one.content for one in answer.answers] == [
            (choice["message"]["content"] or "") if "message" in choice else choice["text"] for choice in choices
        ]
        assert [one.finish_reason for one in answer.answers] == [choice["finish_reason"] for choice in choices]
        assert [one.index for one in answer.answers] == list(range(len(choices)))
        assert (answer.model, answer.response_id, answer.raw_body) == (document["model"], document["id"], found.body)
        assert answer.usage
        assert answer.usage.total_tokens == document["usage"]["total_tokens"]


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except json.JSONDecodeError:
        return False


@pytest.mark.parametrize("version", VERSIONS)
def test_logprobs_of_both_endpoints_are_read(version: str) -> None:
    for probe in ("logprobs", "comp logprobs"):
        [answer] = read_completion(recorded(version, probe).body).answers
        assert answer.logprobs
        assert "".join(token.token for token in answer.logprobs) == answer.content
        assert all(token.logprob < 0 and token.top[token.token] == token.logprob for token in answer.logprobs)
        assert answer.score == sum(token.logprob for token in answer.logprobs)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_beams_come_in_the_servers_order(version: str) -> None:
    found = recorded(version, "beam n=4 lp")
    answers = read_completion(found.body).answers
    assert [one.index for one in answers] == [0, 1, 2, 3]
    assert len({one.content for one in answers}) == 4


def test_choices_are_sorted_by_their_index() -> None:
    body = encode({"choices": [{"index": 1, "text": "b"}, {"index": 0, "text": "a"}]})
    assert [one.content for one in read_completion(body).answers] == ["a", "b"]


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_under_both_names(name: str) -> None:
    body = encode({"choices": [{"message": {"content": "4", name: "2 + 2"}}]})
    [answer] = read_completion(body).answers
    assert (answer.content, answer.reasoning) == ("4", "2 + 2")


def test_tool_calls_are_read() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    body = encode({"choices": [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}]})
    [answer] = read_completion(body).answers
    assert answer.content == ""
    assert answer.tool_calls == [ToolCall(name="add", arguments={"a": 1}, call_id="c1")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": 3}}]}',
        b'{"choices": [{"message": {"content": "x"}, "logprobs": {"content": [{"nope": 1}]}}]}',
        b'{"choices": [{"text": "x", "logprobs": {"tokens": ["x", "y"], "token_logprobs": [-1.0]}}]}',
    ],
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_completion(body)


documents = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["content", "tokens", "token_logprobs", "top_logprobs", "token", "logprob", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(documents)
def test_logprobs_of_any_shape_are_read_or_refused(document: Any) -> None:
    try:
        read_logprobs(document)
    except msgspec.ValidationError:
        pass


def test_a_prompts_first_token_has_no_logprob() -> None:
    tokens = read_logprobs({"tokens": ["a", "b"], "token_logprobs": [None, -1.5], "top_logprobs": [None, {"b": -1.5}]})
    assert tokens is not None
    assert [(token.logprob, token.top) for token in tokens] == [(0.0, {}), (-1.5, {"b": -1.5})]


def test_cached_tokens_are_counted() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}}
    answer = read_completion(encode({"choices": [{"text": "x"}], "usage": usage}))
    assert answer.usage == Usage(9, 2, 8)


# --- models and embeddings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_served_models_are_read(version: str) -> None:
    [model] = read_models(recorded(version, "GET /v1/models").body)
    assert (model.id, model.context_length, model.owned_by, model.parent) == ("smollm2", 2048, "vllm", None)


@pytest.mark.parametrize("version", VERSIONS)
def test_adapters_are_the_models_with_a_parent(version: str) -> None:
    base, adapter = read_models(recorded(version, "lora models").body)
    assert (adapter.id, adapter.parent, adapter.context_length) == ("sqlx", base.id, 2048)  # its base says it
    assert adapter.root
    assert base.adapters == ("sqlx",)


def test_a_list_without_models_is_empty() -> None:
    assert read_models(b'{"object": "list", "data": []}') == []
    assert read_models(b'{"object": "list", "data": null}') == []


def test_embeddings_come_in_the_order_of_the_inputs() -> None:
    rows = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1, 0.5]}]
    vectors, usage = read_embeddings(encode({"data": rows, "usage": {"prompt_tokens": 4, "completion_tokens": None}}))
    assert vectors == [[1.0, 0.5], [2.0]]
    assert usage == Usage(4, 0)


# --- requests --------------------------------------------------------------------------------------------------------


def test_messages_are_put_in_order() -> None:
    history: list[Message | dict[str, str]] = [Message("user", "a"), {"role": "assistant", "content": "b"}]
    assert wire_messages("c", history, "be brief") == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert wire_messages(None, None, None) == []


def test_a_tool_conversation_in_openais_form() -> None:
    call = ToolCall(name="add", arguments={"a": 1}, call_id="c1")
    [asked, told] = wire_messages(
        None, [Message("assistant", "", tool_calls=[call]), Message("tool", "2", tool_call_id="c1", name="add")], None
    )
    assert asked["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    ]
    assert told == {"role": "tool", "content": "2", "name": "add", "tool_call_id": "c1"}


def test_messages_of_the_caller_are_not_changed() -> None:
    mine = {"role": "user", "content": "a"}
    [sent] = wire_messages(None, [mine], None)
    sent["role"] = "system"
    assert mine["role"] == "user"


CHAT = GenerateRequest(
    messages=[{"role": "user", "content": "x"}], sampling={"seed": 1}, max_output_tokens=5, n=2, logprobs=3
)
RAW = GenerateRequest(messages=[], raw_prompt="x", max_output_tokens=5, logprobs=3)


def test_each_endpoint_has_its_own_names() -> None:
    assert request_body(CHAT, "m", stream=True) == {
        "model": "m", "messages": [{"role": "user", "content": "x"}], "seed": 1, "max_completion_tokens": 5, "n": 2,
        "logprobs": True, "top_logprobs": 3, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    assert request_body(RAW, "m", stream=False) == {"model": "m", "prompt": "x", "max_tokens": 5, "logprobs": 3}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stream", [True, False])
def test_every_field_is_in_every_schema(version: str, stream: bool) -> None:
    assert request_body(CHAT, "m", stream=stream).keys() <= schema_properties(version, "ChatCompletionRequest")
    assert request_body(RAW, "m", stream=stream).keys() <= schema_properties(version, "CompletionRequest")


def test_extra_fields_are_at_the_top_and_win() -> None:
    request = GenerateRequest(messages=[], sampling={"seed": 1}, extra_body={"seed": 2, "min_tokens": 3})
    assert request_body(request, "m", stream=False) == {"model": "m", "messages": [], "seed": 2, "min_tokens": 3}


def test_bodies_are_json() -> None:
    assert encode({"a": [1, "é", None]}) == '{"a":[1,"é",null]}'.encode()


def test_reasoning_of_another_protocol_stays_out() -> None:
    thought = Message("assistant", "x", reasoning_blocks=[{"type": "thinking"}])
    request = GenerateRequest(messages=wire_messages("y", [thought], None))
    sent = request_body(request, "m", stream=False)["messages"]
    assert sent == [{"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}]
