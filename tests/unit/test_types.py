"""The records that users hold."""

from __future__ import annotations

import pytest

from abstractcore import GenerateResponse, ToolCall, Usage


def test_usage_is_read_by_attribute_and_by_key() -> None:
    usage = Usage(3, 4)
    assert usage.total_tokens == usage["total_tokens"] == 7
    assert usage["prompt_tokens"] == usage["input_tokens"] == usage.input_tokens == 3
    assert usage["completion_tokens"] == usage["output_tokens"] == usage.output_tokens == 4
    assert usage.get("output_tokens") == 4
    assert usage.get("cached_tokens", 9) == 9
    with pytest.raises(KeyError):
        usage["nope"]


def test_counts_of_an_answer_without_usage_are_unknown() -> None:
    answer = GenerateResponse(content="x")
    assert (answer.input_tokens, answer.output_tokens, answer.total_tokens) == (None, None, None)
    answer.usage = Usage(1, 2)
    assert (answer.input_tokens, answer.output_tokens, answer.total_tokens) == (1, 2, 3)


def test_the_raw_response_is_the_servers_own() -> None:
    assert GenerateResponse(raw_body=b'{"x": [1]}').raw_response == {"x": [1]}
    assert GenerateResponse().raw_response is None


def test_tool_calls_are_told() -> None:
    assert GenerateResponse(tool_calls=[ToolCall(name="f", arguments={})]).has_tool_calls()
    assert not GenerateResponse().has_tool_calls()


def test_answers_share_nothing() -> None:
    one, other = GenerateResponse(), GenerateResponse()
    one.metadata["x"] = 1
    one.alternatives.append(None)  # type: ignore[arg-type]
    assert (other.metadata, other.alternatives, other.tool_calls) == ({}, [], [])
