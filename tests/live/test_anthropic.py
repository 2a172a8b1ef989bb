"""The Anthropic provider on a real vLLM, and beside the official SDK on the same server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import pydantic
import pytest

from abstractcore import ContextLengthError, Message, ModelNotFoundError, ToolCall, TruncatedOutputError, create_llm
from abstractcore.providers.anthropic import AnthropicProvider
from tests.live.conftest import LiveServer
from tests.recordings.anthropic import cases

ASK = "What is the capital of France?"
SAMPLING = {"temperature", "top_p", "top_k"}
"""What version 2 of the SDK takes only through `extra_body`."""


@pytest.fixture
def llm(vllm: LiveServer) -> Iterator[AnthropicProvider]:
    made = create_llm("anthropic", vllm.model, base_url=vllm.base_url, temperature=0)
    assert isinstance(made, AnthropicProvider)
    with made:
        yield made


@pytest.fixture
def sdk(vllm: LiveServer) -> Iterator[Any]:
    anthropic = pytest.importorskip("anthropic")
    with anthropic.Anthropic(base_url=vllm.base_url.removesuffix("/v1"), api_key="EMPTY", max_retries=0) as client:
        yield client


def weather(city: Literal["Paris", "Rome"]) -> str:
    """The weather."""
    return f"12 degrees in {city}"


class Colour(pydantic.BaseModel):
    name: Literal["red", "green"]


def test_an_answer_its_count_and_its_end(llm: AnthropicProvider) -> None:
    answer = llm.generate(ASK, max_tokens=30)
    assert "Paris" in answer.content
    assert answer.finish_reason == "stop"
    assert answer.input_tokens == llm.count_tokens(ASK)
    assert llm.generate(ASK, max_tokens=2).finish_reason == "length"
    assert llm.generate(ASK, max_tokens=30, stop="France").content.endswith("capital of ")


def test_without_a_limit_what_fits_is_taken(llm: AnthropicProvider) -> None:
    assert "Paris" in llm.generate(ASK).content
    assert "Paris" in "".join(chunk.content for chunk in llm.generate(ASK, stream=True))


def test_a_stream_is_the_same_answer(llm: AnthropicProvider) -> None:
    *parts, last = llm.generate(ASK, stream=True, max_tokens=30)
    whole = llm.generate(ASK, max_tokens=30)
    assert "".join(part.content for part in parts) == whole.content
    assert (last.finish_reason, last.usage) == (whole.finish_reason, whole.usage)


async def test_async_and_several_at_once(llm: AnthropicProvider) -> None:
    answers = await asyncio.gather(*(llm.agenerate(ASK, max_tokens=12) for _ in range(3)))
    assert len({answer.content for answer in answers}) == 1
    stream = await llm.agenerate(ASK, stream=True, max_tokens=12)
    assert "".join([chunk.content async for chunk in stream]) == answers[0].content


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({"guided_choice": ["red", "green"]}, {"red", "green"}),
        ({"guided_regex": "[ab]-x"}, {"a-x", "b-x"}),
    ],
)
def test_constraints_hold(llm: AnthropicProvider, options: Any, values: set[str], stream: bool) -> None:
    if stream:
        text = "".join(chunk.content for chunk in llm.generate("Choose.", max_tokens=80, stream=True, **options))
    else:
        text = llm.generate("Choose.", max_tokens=80, **options).content
    assert text in values


def test_an_instance_of_a_class(llm: AnthropicProvider) -> None:
    assert llm.generate("A colour?", response_model=Colour, max_tokens=80).name in ("red", "green")
    with pytest.raises(TruncatedOutputError):
        llm.generate("A colour?", response_model=Colour, max_tokens=2)


@pytest.mark.parametrize("choice", ["required", "weather"])
@pytest.mark.parametrize("stream", [False, True])
def test_calls_keep_to_their_schema(llm: AnthropicProvider, choice: str, stream: bool) -> None:
    options: Any = {"tools": [weather], "tool_choice": choice, "max_tokens": 150}
    answer = list(llm.generate(ASK, stream=True, **options))[-1] if stream else llm.generate(ASK, **options)
    assert answer.finish_reason == "tool_calls"
    assert all(call.arguments["city"] in ("Paris", "Rome") for call in answer.tool_calls)


def test_errors_say_what_is_wrong(llm: AnthropicProvider) -> None:
    with pytest.raises(ContextLengthError, match="2048"):
        llm.generate("word " * 2500)
    with pytest.raises(ModelNotFoundError) as caught:
        llm.generate(ASK, model="nobody", max_tokens=4)
    assert llm.model in caught.value.available


def test_what_is_served(llm: AnthropicProvider) -> None:
    assert llm.model in llm.list_available_models()
    assert llm.model_info().context_length == 2048
    assert llm.health()["status"]


# --- beside the official SDK -----------------------------------------------------------------------------------------


def test_the_sdk_gets_the_same_answer(llm: AnthropicProvider, sdk: Any) -> None:
    asked = [{"role": "user", "content": ASK}]
    theirs = sdk.messages.create(model=llm.model, max_tokens=30, messages=asked, extra_body={"temperature": 0})
    ours = llm.generate(ASK, max_tokens=30)
    assert theirs.content[0].text == ours.content
    assert ours.usage is not None
    assert (theirs.usage.input_tokens, theirs.usage.output_tokens) == (ours.input_tokens, ours.output_tokens)
    assert theirs.stop_reason == "end_turn"
    assert sdk.messages.count_tokens(model=llm.model, messages=asked).input_tokens == llm.count_tokens(ASK)


def test_the_sdk_reads_the_same_stream(llm: AnthropicProvider, sdk: Any) -> None:
    asked = [{"role": "user", "content": ASK}]
    tools = [{"name": "weather", "input_schema": cases()["tool named"].exchanges[0]["body"]["tools"][0]["input_schema"],
              "strict": True}]  # fmt: skip
    with sdk.messages.stream(
        model=llm.model,
        max_tokens=150,
        messages=asked,
        tools=tools,
        tool_choice={"type": "tool", "name": "weather"},
        extra_body={"temperature": 0},
    ) as stream:
        theirs = stream.get_final_message()
    *_, ours = llm.generate(ASK, tools=[weather], tool_choice="weather", stream=True, max_tokens=150)
    assert theirs.content[-1].input == ours.tool_calls[0].arguments
    assert (theirs.stop_reason, ours.finish_reason) == ("tool_use", "tool_calls")


BODIES = {name: case.exchanges[0]["body"] for name, case in cases().items() if case.exchanges[0]["body"]}


@pytest.mark.parametrize("name", BODIES)
def test_what_is_sent_is_in_the_sdks_own_types(name: str) -> None:
    params = pytest.importorskip("anthropic.types.message_create_params")
    body = {key: value for key, value in BODIES[name].items() if key not in SAMPLING}
    kind = params.MessageCreateParamsStreaming if "stream" in body else params.MessageCreateParamsNonStreaming
    if name == "count":
        kind = pytest.importorskip("anthropic.types.message_count_tokens_params").MessageCountTokensParams
    known = pydantic.TypeAdapter(kind).validate_python(body)
    assert set(known) == set(body), "a field that the SDK does not know"
    for field in ("messages", "tools"):
        assert len(list(known.get(field, ()))) == len(body.get(field, ()))  # iterables are checked as they are read


def test_a_loop_with_reasoning_goes_back_whole(llm: AnthropicProvider) -> None:
    """SmolLM2 does not reason; that the server takes signed blocks back is what can be seen here."""
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    call = ToolCall(name="weather", arguments={"city": "Rome"}, call_id="c1")
    talk = [
        Message("user", "Weather?"),
        Message("assistant", "", tool_calls=[call], reasoning_blocks=[thought]),
        Message("tool", "12 degrees", tool_call_id="c1"),
    ]
    assert llm.generate(messages=talk, tools=[weather], tool_choice="none", max_tokens=8).usage
