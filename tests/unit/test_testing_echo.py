"""The echo provider behaves as a backend does, promises and all; other people's tests stand on it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from abstractcore import (
    Choice,
    ConfigurationError,
    ConstraintViolationError,
    Grammar,
    JsonSchema,
    ModelNotFoundError,
    RateLimitError,
    Regex,
    StreamInterruptedError,
    ToolCall,
    ToolCallError,
    TruncatedOutputError,
    UnsupportedFeatureError,
    create_llm,
)
from abstractcore.capability import Capability, Support
from abstractcore.constraint import Constraint
from abstractcore.providers import promises
from abstractcore.providers.promises import KnobWarning
from abstractcore.testing import EchoProvider, specimen, substituted
from abstractcore.types import GenerateResponse, Usage


class City(BaseModel):
    name: str
    people: int


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def call(**arguments: Any) -> ToolCall:
    return ToolCall(name="weather", arguments=arguments)


# --- without a script ------------------------------------------------------------------------------------------------


async def test_it_says_what_it_was_told() -> None:
    llm = EchoProvider()
    for answer in (llm.generate("Hello there"), await llm.agenerate("Hello there")):
        assert (answer.content, answer.finish_reason, answer.model) == ("Hello there", "stop", "echo")
        assert answer.usage == Usage(2, 2)
    answer = llm.generate(messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    assert answer.content == "a"
    assert [request.messages[0]["content"] for request in llm.requests] == ["Hello there", "Hello there", "a"]


async def test_streams_give_the_same_in_pieces() -> None:
    llm = EchoProvider()
    chunks = list(llm.generate("one  two\nthree ", stream=True))
    again = [chunk async for chunk in await llm.agenerate("one  two\nthree ", stream=True)]
    assert [chunk.content for chunk in chunks] == ["one", "  two", "\nthree", " ", ""]
    assert [chunk.content for chunk in again] == [chunk.content for chunk in chunks]
    assert (chunks[-1].finish_reason, chunks[-1].usage) == ("stop", Usage(4, 4))


@given(st.text())
def test_the_pieces_are_the_text(text: str) -> None:
    llm = EchoProvider(answers=text)
    assert "".join(chunk.content for chunk in llm.generate("?", stream=True)) == text == llm.generate("?").content


@pytest.mark.parametrize(
    "constraint",
    [
        JsonSchema(City),
        JsonSchema({"type": "array", "items": {"type": "integer", "minimum": 5}, "minItems": 2}),
        JsonSchema({"type": "string", "minLength": 3}),
        JsonSchema({"type": "object", "properties": {"at": {"type": "string", "format": "date"}}, "required": ["at"]}),
        JsonSchema(
            {"$defs": {"n": {"properties": {"n": {"$ref": "#/$defs/n"}}, "type": "object"}}, "$ref": "#/$defs/n"}
        ),
        Regex(r"[0-9]{3}-\d+"),
        Regex(r"\w+@\w+\.com"),
        Regex(r"def \w+\([^)]*\):\n(?:\s{4}.*\n)+"),
        Grammar('root ::= "SELECT " ("a" | "b") where?\nwhere ::= " WHERE x=" [0-9]+'),
        Choice(["yes", "no"]),
    ],
    ids=repr,
)
def test_a_constraint_is_kept(constraint: Constraint) -> None:
    text = specimen(constraint)
    assert constraint.prove(text).holds
    assert specimen(constraint) == text
    answer = EchoProvider().generate("?", **{f"guided_{constraint.kind}": constraint.value})
    assert answer.content == text
    assert answer.metadata["constraint"]["proved"] is True


def test_a_constraint_without_a_text_wants_a_script() -> None:
    never = {"type": "integer", "not": {"type": "integer"}}
    with pytest.raises(UnsupportedFeatureError, match="no text was found"):
        EchoProvider().generate("?", guided_json=never)


def test_a_response_model_is_filled() -> None:
    assert EchoProvider().generate("?", response_model=City) == City(name="", people=0)
    *_, last = EchoProvider().generate("?", response_model=City, stream=True)
    assert last.parsed == City(name="", people=0)


def test_a_call_that_is_due_is_made() -> None:
    answer = EchoProvider().generate("?", tools=[weather], tool_choice="required")
    assert [(made.name, made.arguments) for made in answer.tool_calls] == [("weather", {"city": ""})]
    assert answer.finish_reason == "tool_calls"
    assert EchoProvider().generate("Hi", tools=[weather]).content == "Hi"


# --- by a script ------------------------------------------------------------------------------------------------------


def test_answers_come_in_their_order_and_the_last_one_stays() -> None:
    llm = EchoProvider(answers=["a", lambda request: request.messages[-1]["content"].upper(), "c"])
    assert [llm.generate("b").content for _ in range(4)] == ["a", "B", "c", "c"]
    assert [chunk.content for chunk in EchoProvider(answers="a b").generate("?", stream=True)] == ["a", " b", ""]


def test_a_loop_of_tools_is_played() -> None:
    llm = EchoProvider(answers=[call(city="Paris"), "It is sunny."])
    answer = llm.run_tools("Weather?", tools=[weather])
    assert answer.content == "It is sunny."
    told = llm.requests[1].messages
    assert [message["role"] for message in told] == ["user", "assistant", "tool"]
    assert told[-1]["content"] == "sunny in Paris"


def test_a_script_is_held_to_the_promises() -> None:
    with pytest.raises(ConstraintViolationError, match="does not satisfy"):
        EchoProvider(answers="maybe").generate("?", guided_choice=["yes", "no"])
    with pytest.raises(ConstraintViolationError):
        list(EchoProvider(answers="maybe").generate("?", guided_regex="[0-9]+", stream=True))
    with pytest.raises(ToolCallError):
        EchoProvider(answers=call(town="Paris")).generate("?", tools=[weather])
    with pytest.raises(ToolCallError):
        EchoProvider(answers="no call").generate("?", tools=[weather], tool_choice="required")


def test_reasoning_and_calls_in_one_answer() -> None:
    scripted = GenerateResponse(content="So:", reasoning="Hm.", tool_calls=[call(city="Rome"), call(city="Bonn")])
    llm = EchoProvider(answers=scripted)
    answer = llm.generate("?", tools=[weather])
    assert (answer.content, answer.reasoning, answer.finish_reason) == ("So:", "Hm.", "tool_calls")
    assert [made.call_id for made in answer.tool_calls] == ["call-0", "call-1"]
    first, *_, last = llm.generate("?", tools=[weather], stream=True)
    assert (first.reasoning, last.tool_calls) == ("Hm.", answer.tool_calls)


def test_failures_are_played_too() -> None:
    broken = StreamInterruptedError("the server died")
    broken.partial = "one two"
    llm = EchoProvider(answers=[RateLimitError("slow down"), broken, "fine"])
    with pytest.raises(RateLimitError, match="slow down"):
        llm.generate("?")
    stream = llm.generate("?", stream=True)
    assert [next(stream).content, next(stream).content] == ["one", " two"]
    with pytest.raises(StreamInterruptedError, match="the server died"):
        next(stream)
    assert llm.generate("?").content == "fine"


def test_answers_are_cut_as_a_server_cuts_them() -> None:
    llm = EchoProvider(answers="one two three")
    assert llm.generate("?", stop="th").content == "one two "
    cut = llm.generate("?", max_output_tokens=2)
    assert (cut.content, cut.finish_reason, cut.output_tokens) == ("one two", "length", 2)
    with pytest.raises(TruncatedOutputError):
        EchoProvider(answers='{"name": "Paris", "people": 2}').generate("?", guided_json=City, max_output_tokens=2)


def test_several_answers_and_their_likelihoods() -> None:
    answer = EchoProvider(answers=["a", "b c"]).generate("?", n=2, logprobs=True)
    assert [answer.content, *(other.content for other in answer.alternatives)] == ["a", "b c"]
    assert [token.token for token in answer.alternatives[0].logprobs or ()] == ["b", " c"]
    assert answer.usage == Usage(1, 3)


# --- in the place of another -----------------------------------------------------------------------------------------


def test_it_refuses_what_the_other_would_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promises, "_warned", set())
    llm = EchoProvider(like="ollama")
    with pytest.raises(UnsupportedFeatureError, match="ollama can't do guided_grammar"):
        llm.generate("?", guided_grammar='root ::= "a"')
    with pytest.raises(UnsupportedFeatureError, match="ollama can't do n"):
        llm.generate("?", n=2)
    assert llm.requests == []
    assert llm.capabilities()[Capability.GUIDED_GRAMMAR] is Support.UNSUPPORTED
    with pytest.warns(KnobWarning, match="anthropic has no min_p"):
        EchoProvider(like="anthropic").generate("?", min_p=0.1)
    with pytest.raises(ConfigurationError, match="no backend 'olama'"):
        EchoProvider(like="olama")


@pytest.mark.parametrize("options", [{"use_beam_search": True, "best_of": 2}, {"best_of": 2, "n": 1}])
def test_it_refuses_what_it_can_not_do_itself(options: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFeatureError, match="likelihoods"):
        EchoProvider().generate("?", **options)


# --- the rest of the interface ----------------------------------------------------------------------------------------


async def test_the_rest_of_the_interface() -> None:
    llm = EchoProvider("any-name", temperature=0)
    assert llm.list_available_models() == ["any-name"]
    assert llm.model_info().id == "any-name"
    with pytest.raises(ModelNotFoundError):
        llm.model_info("other")
    assert llm.validate_config()
    assert (await llm.ahealth())["status"] is True
    llm.wait_until_ready(0)
    one, other = llm.embed(["a", "b"])
    assert one != other
    assert llm.embed("a") == [one]
    assert abs(sum(number * number for number in one) - 1) < 1e-9
    assert llm.requests == []
    with llm:
        assert llm.generate("?").content == "?"
    assert llm.requests[0].sampling == {"temperature": 0}


def test_a_batch() -> None:
    llm = EchoProvider(answers=lambda request: f"re: {request.messages[-1]['content']}")
    items = llm.generate_batch(["a", "b"], progress=False)
    assert [item.response.content for item in items if item.response] == ["re: a", "re: b"]


def test_json_of_a_script_is_read_as_the_model_wants_it() -> None:
    llm = EchoProvider(answers=['{"name": "Paris", "people": -1}', '{"name": "Paris", "people": 2}'])
    assert json.loads(llm.generate("?", guided_json=City).content)["people"] == -1
    assert llm.generate("?", response_model=City) == City(name="Paris", people=2)


def test_code_that_makes_its_provider_itself_gets_another_one() -> None:
    llm = EchoProvider(answers="fine")
    with substituted(llm) as asked:
        assert create_llm("vllm", "Qwen/Qwen3-8B", base_url="http://gpu:8000").generate("?").content == "fine"
        assert create_llm("openai/gpt-9") is llm
    assert asked == [("vllm", "Qwen/Qwen3-8B"), ("openai", "gpt-9")]
    assert create_llm("ollama", "m") is not llm
