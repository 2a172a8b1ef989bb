"""OpenAIProvider against a real server that speaks OpenAI's protocol: vLLM's /v1, asked as if it were OpenAI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from abstractcore import (
    ConstraintViolationError,
    InvalidRequestError,
    ModelNotFoundError,
    RequestTimeoutError,
    TruncatedOutputError,
    UnsupportedFeatureError,
)
from abstractcore.providers import OpenAIProvider
from tests.live.conftest import LiveServer

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z][a-z]{2,8}$"},
        "size": {"enum": ["small", "large"]},
    },
    "required": ["name"],
}


@pytest.fixture
def llm(vllm: LiveServer) -> Iterator[OpenAIProvider]:
    with OpenAIProvider(base_url=vllm.base_url, temperature=0) as provider:
        yield provider


def test_the_model_is_found_out_and_answers(llm: OpenAIProvider, vllm: LiveServer) -> None:
    response = llm.generate("What is the capital of France?", system_prompt="Be brief.", max_output_tokens=12)
    assert response.content
    assert (response.model, llm.model) == (vllm.model, vllm.model)
    assert response.usage
    assert response.usage.input_tokens > 10
    assert 0 < response.usage.output_tokens <= 12
    assert response.metadata["request_id"]


def test_a_stream_ends_with_usage_and_says_what_the_whole_says(llm: OpenAIProvider) -> None:
    whole = llm.generate("Count to five.", max_output_tokens=16)
    chunks = list(llm.generate("Count to five.", max_output_tokens=16, stream=True))
    assert "".join(chunk.content for chunk in chunks) == whole.content
    assert chunks[-1].finish_reason == whole.finish_reason
    assert chunks[-1].usage == whole.usage


async def test_the_async_twins(llm: OpenAIProvider) -> None:
    whole = await llm.agenerate("Count to five.", max_output_tokens=16)
    stream = await llm.agenerate("Count to five.", max_output_tokens=16, stream=True)
    assert "".join([chunk.content async for chunk in stream]) == whole.content


def test_stop_n_logprobs_and_raw_prompts(llm: OpenAIProvider) -> None:
    assert "c" not in llm.generate("Write: a b c d", stop=["c"], max_output_tokens=20).content
    response = llm.generate("Hi", n=2, temperature=1.0, seed=1, logprobs=2, max_output_tokens=4)
    assert len(response.alternatives) == 1
    assert response.logprobs
    assert all(len(token.top) >= 2 for token in response.logprobs)
    assert llm.generate("Once upon a", raw_prompt=True, max_output_tokens=4).content


@pytest.mark.parametrize("stream", [False, True])
def test_a_choice_and_a_regex_by_schema(llm: OpenAIProvider, stream: bool) -> None:
    for options in ({"guided_choice": ["red", "blue"]}, {"guided_regex": "(red|blue){2}-\\d{3}"}):
        answer: Any = llm.generate("Red or blue?", max_output_tokens=60, stream=stream, **options)
        chunks = list(answer) if stream else [answer]
        assert "".join(chunk.content for chunk in chunks).startswith(("red", "blue"))
        assert chunks[-1].metadata["constraint"]["proved"]
        assert chunks[-1].metadata["emulated"]


def test_a_schema_whose_optional_property_is_left_out_or_kept(llm: OpenAIProvider) -> None:
    response = llm.generate("Describe a person as JSON.", guided_json=PERSON, max_output_tokens=80)
    document = msgspec.json.decode(response.content)
    assert document.keys() <= {"name", "size"}
    assert None not in document.values()
    assert response.metadata["constraint"]["proved"]


def test_what_is_no_object_comes_out_as_it_was_asked_for(llm: OpenAIProvider) -> None:
    schema = {"type": "array", "items": {"enum": ["red", "green"]}, "minItems": 2, "maxItems": 2}
    assert len(msgspec.json.decode(llm.generate("Two colors", guided_json=schema, max_output_tokens=40).content)) == 2


def test_a_cut_answer_is_no_answer(llm: OpenAIProvider) -> None:
    with pytest.raises(TruncatedOutputError) as caught:
        llm.generate("A number", guided_regex="[0-9]{60}", max_output_tokens=30)
    assert caught.value.partial.isdigit()


def test_a_constraint_that_the_server_does_not_obey_is_caught(llm: OpenAIProvider, monkeypatch: Any) -> None:
    """A server that ignores response_format: here one that never gets to see it."""
    from abstractcore.providers import openai_compatible

    def ignored(draft: Any, **_: Any) -> None:
        draft.spelling = "response_format"

    monkeypatch.setattr(openai_compatible, "shape_constraint", ignored)
    with pytest.raises(ConstraintViolationError):
        llm.generate("What is the capital of France?", guided_regex="[0-9]{4}", max_output_tokens=20)


def test_strict_tools_keep_to_their_schema(llm: OpenAIProvider) -> None:
    tool = {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"enum": [1, 2]}},
            "required": ["city"],
        },
    }
    for choice in ("required", "weather"):
        for stream in (False, True):
            answer: Any = llm.generate(
                "Weather in Paris?", tools=[tool], tool_choice=choice, max_output_tokens=80, stream=stream
            )
            last = list(answer)[-1] if stream else answer
            assert last.tool_calls[0].name == "weather"
            assert last.tool_calls[0].arguments["city"] in ("Paris", "Rome")


def test_errors_say_what_is_wrong(llm: OpenAIProvider, vllm: LiveServer) -> None:
    with pytest.raises(ModelNotFoundError) as missing:
        llm.generate("x", model=f"{vllm.model}x")
    assert vllm.model in missing.value.available
    with pytest.raises(InvalidRequestError, match="2048"):
        llm.generate("word " * 4000)
    with pytest.raises(InvalidRequestError):
        llm.generate("x", temperature=-1.0)
    with pytest.raises(UnsupportedFeatureError, match="gives no embeddings"):
        llm.embed("x")
    with pytest.raises(RequestTimeoutError):
        llm.generate("Write a novel.", timeout=0.2, max_output_tokens=1000)


def test_a_stream_that_is_left_ends_at_the_server(llm: OpenAIProvider) -> None:
    with llm.generate("Write a novel.", stream=True, max_output_tokens=1000) as stream:
        next(stream)
    assert llm.generate("Hi", max_output_tokens=2).content


def test_the_facts_of_the_model(llm: OpenAIProvider, vllm: LiveServer) -> None:
    assert llm.model_info(vllm.model).context_length == 2048
    assert llm.health()["status"]
    assert llm.validate_config()
