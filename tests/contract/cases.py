"""The cases of the contract: each a function that holds one target to one promise."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict

from abstractcore import (
    ConnectionFailedError,
    ConstraintViolationError,
    ContextLengthError,
    GenerateResponse,
    InvalidConstraintError,
    Message,
    ModelNotFoundError,
    Session,
    TruncatedOutputError,
    UnsupportedFeatureError,
)
from abstractcore.capability import KNOBS, Capability
from abstractcore.providers.promises import KnobWarning
from tests.contract.target import Target

QUESTION: Final = "What is the capital of France?"
LIMIT: Final = 24
PATTERN: Final = "[0-9]{4}-[0-9]{2}"
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}, "large": {"type": "boolean"}},
    "required": ["city", "large"],
    "additionalProperties": False,
}


class City(BaseModel):
    """What ``response_model`` is given; closed, so that a small model comes to an end."""

    model_config = ConfigDict(extra="forbid")

    city: Literal["Paris", "Rome"]
    large: bool


def paint(color: Literal["red", "blue"]) -> str:
    """Paints the wall.

    Args:
        color: The color to paint it in.
    """
    return f"painted {color}"


def _is_whole(response: GenerateResponse) -> None:
    assert response.content.strip()
    assert response.model
    assert response.finish_reason in {"stop", "length"}
    assert response.usage is not None
    assert response.usage.input_tokens > 0
    assert 0 < response.usage.output_tokens <= LIMIT
    assert response.gen_time is not None
    assert response.gen_time > 0


def _is_stream(chunks: list[GenerateResponse]) -> str:
    *parts, last = chunks
    assert parts
    assert all(part.finish_reason is None for part in parts)
    assert last.content == ""
    assert last.finish_reason in {"stop", "length"}
    assert last.usage is not None
    assert last.usage.output_tokens > 0
    return "".join(part.content for part in parts)


# --- answers ----------------------------------------------------------------------------------------------------------


def plain(target: Target) -> None:
    with target.llm() as llm:
        _is_whole(llm.generate(QUESTION, max_output_tokens=LIMIT))


async def plain_async(target: Target) -> None:
    async with target.llm() as llm:
        _is_whole(await llm.agenerate(QUESTION, max_output_tokens=LIMIT))


def stream(target: Target) -> None:
    with target.llm() as llm:
        assert _is_stream(list(llm.generate(QUESTION, stream=True, max_output_tokens=LIMIT))).strip()


async def stream_async(target: Target) -> None:
    async with target.llm() as llm:
        chunks = [chunk async for chunk in await llm.agenerate(QUESTION, stream=True, max_output_tokens=LIMIT)]
    assert _is_stream(chunks).strip()


def messages_and_system(target: Target) -> None:
    turns = [
        Message("user", "My name is Ada."),
        Message("assistant", "Hello Ada!"),
        Message("user", "What is my name?"),
    ]
    rule = "You are a helpful assistant of a library. You answer in one short sentence and you never make things up."
    with target.llm() as llm:
        short = llm.generate("What is my name?", max_output_tokens=2, system_prompt="Be brief.")
        long = llm.generate(messages=turns, max_output_tokens=2, system_prompt=rule)
    assert short.usage
    assert long.usage
    assert long.usage.input_tokens > short.usage.input_tokens + 20  # both the turns and the rule were read


def stop(target: Target) -> None:
    with target.llm() as llm:
        response = llm.generate(QUESTION, stop=["e"], max_output_tokens=LIMIT)
    assert "e" not in response.content
    assert response.finish_reason == "stop"


def cut_by_length(target: Target) -> None:
    with target.llm() as llm:
        response = llm.generate("Tell me a long story.", max_output_tokens=3)
    assert response.finish_reason == "length"
    assert response.usage
    assert response.usage.output_tokens <= 3


def cancelled_stream(target: Target) -> None:
    with target.llm() as llm:
        with llm.generate("Tell me a long story.", stream=True, max_output_tokens=300) as chunks:
            assert next(chunks).content
        assert list(chunks) == []
        _is_whole(llm.generate(QUESTION, max_output_tokens=LIMIT))


def several_answers(target: Target) -> None:
    if not target.can(Capability.MULTIPLE_ANSWERS):
        with pytest.raises(UnsupportedFeatureError, match="n"), target.unplugged() as llm:
            llm.generate(QUESTION, n=2)
        return
    with target.llm(temperature=1) as llm:
        response = llm.generate(QUESTION, n=2, max_output_tokens=LIMIT)
    assert [other.index for other in response.alternatives] == [1]


def log_probabilities(target: Target) -> None:
    if not target.can(Capability.LOGPROBS):
        with pytest.raises(UnsupportedFeatureError, match="logprobs"), target.unplugged() as llm:
            llm.generate(QUESTION, logprobs=True)
        return
    with target.llm() as llm:
        response = llm.generate(QUESTION, logprobs=2, max_output_tokens=4)
    assert response.logprobs
    assert all(token.logprob <= 0 and len(token.top) == 2 for token in response.logprobs)


# --- failures ---------------------------------------------------------------------------------------------------------


def nothing_answers(target: Target) -> None:
    with target.unplugged() as llm:
        with pytest.raises(ConnectionFailedError) as caught:
            llm.generate(QUESTION, max_output_tokens=LIMIT)
        assert caught.value.provider == target.provider
        with pytest.raises(ConnectionFailedError):
            list(llm.generate(QUESTION, stream=True, max_output_tokens=LIMIT))
        report = llm.health()
    assert report["status"] is False
    assert report["error"]


def unknown_model(target: Target) -> None:
    with target.named(f"{target.model}x") as llm, pytest.raises(ModelNotFoundError) as caught:
        llm.generate(QUESTION, max_output_tokens=LIMIT)
    assert target.model in str(caught.value)


def prompt_too_long(target: Target) -> None:
    with target.llm() as llm, pytest.raises(ContextLengthError):
        llm.generate("word " * (2 * target.context), max_output_tokens=LIMIT)


def bad_parameter(target: Target) -> None:
    with target.llm() as llm:
        with pytest.raises(target.refusal) as caught:
            llm.generate(QUESTION, max_output_tokens=LIMIT, **target.bad)
        assert getattr(caught.value, "server_message", None)
        _is_whole(llm.generate(QUESTION, max_output_tokens=LIMIT))


def broken_constraints(target: Target) -> None:
    """They are refused before anything is sent."""
    with target.unplugged() as llm:
        every: list[dict[str, Any]] = [
            {"guided_json": {"type": "nonsense"}},
            {"guided_regex": "(unclosed"},
            {"guided_choice": []},
        ]
        for broken in every:
            with pytest.raises(InvalidConstraintError):
                llm.generate(QUESTION, **broken)


def unsupported_promises(target: Target) -> None:
    """They are refused before anything is sent, with who could keep them."""
    asked: dict[Capability, dict[str, Any]] = {
        Capability.GUIDED_GRAMMAR: {"guided_grammar": 'root ::= "yes"'},
        Capability.BEAM_SEARCH: {"use_beam_search": True, "n": 2},
        Capability.BEST_OF: {"best_of": 2, "temperature": 1},
        Capability.IMAGES: {"media": [b"\x89PNG\r\n\x1a\n"]},
        Capability.THINKING: {"thinking": True},
        Capability.TOOLS: {"tools": [paint]},
        Capability.CHAT_TEMPLATE: {"chat_template_kwargs": {"a": 1}},
    }
    with target.unplugged() as llm:
        for capability, options in asked.items():
            if not target.can(capability):
                with pytest.raises(UnsupportedFeatureError) as caught:
                    llm.generate(QUESTION, **options)
                assert caught.value.provider == target.provider
                assert "vllm" in str(caught.value)


def knobs_left_out(target: Target) -> None:
    values: dict[str, Any] = {
        "top_p": 0.9, "top_k": 5, "min_p": 0.1, "presence_penalty": 0.1, "frequency_penalty": 0.1,
        "repetition_penalty": 1.1,
    }  # fmt: skip
    lacking = {name: value for name, value in values.items() if name not in KNOBS[target.provider]}
    if not lacking:
        return
    with warnings.catch_warnings(), target.llm() as llm:
        warnings.simplefilter("ignore", KnobWarning)
        response = llm.generate(QUESTION, max_output_tokens=LIMIT, **lacking)
    assert response.metadata["knobs"].keys() >= lacking.keys()


# --- constraints ------------------------------------------------------------------------------------------------------


def json_kept(target: Target) -> None:
    with target.llm() as llm:
        response = llm.generate("Describe a city as JSON.", guided_json=SCHEMA, max_output_tokens=80)
    assert msgspec.json.decode(response.content, type=dict[str, Any])["city"] in {"Paris", "Rome"}
    assert response.metadata["constraint"]["proved"] is True


def json_kept_in_a_stream(target: Target) -> None:
    with target.llm() as llm:
        chunks = list(llm.generate("Describe a city as JSON.", guided_json=SCHEMA, max_output_tokens=80, stream=True))
    assert msgspec.json.decode(_is_stream(chunks), type=dict[str, Any])["city"] in {"Paris", "Rome"}
    assert chunks[-1].metadata["constraint"]["proved"] is True


async def json_kept_async(target: Target) -> None:
    async with target.llm() as llm:
        response = await llm.agenerate("Describe a city as JSON.", guided_json=SCHEMA, max_output_tokens=80)
    assert msgspec.json.decode(response.content, type=dict[str, Any]).keys() == {"city", "large"}


def response_model(target: Target) -> None:
    with target.llm() as llm:
        found = llm.generate("Describe a city as JSON.", response_model=City, max_output_tokens=80)
    assert isinstance(found, City)


def choice_kept(target: Target) -> None:
    with target.llm() as llm:
        response = llm.generate("Is the sky red or blue?", guided_choice=["red", "blue"], max_output_tokens=40)
    assert response.content in {"red", "blue"}
    _is_native_or_said(target, response, Capability.GUIDED_CHOICE)


def choice_kept_in_a_stream(target: Target) -> None:
    with target.llm() as llm:
        chunks = list(
            llm.generate("Is the sky red or blue?", guided_choice=["red", "blue"], max_output_tokens=40, stream=True)
        )
    assert _is_stream(chunks) in {"red", "blue"}


def regex_kept(target: Target) -> None:
    with target.llm() as llm:
        response = llm.generate("Name a year and a month.", guided_regex=PATTERN, max_output_tokens=40)
    assert len(response.content) == 7
    assert response.content[4] == "-"
    _is_native_or_said(target, response, Capability.GUIDED_REGEX)


def grammar_kept_or_refused(target: Target) -> None:
    grammar = 'root ::= "yes" | "no"'
    if not target.can(Capability.GUIDED_GRAMMAR):
        with pytest.raises(UnsupportedFeatureError, match="guided_grammar"), target.unplugged() as llm:
            llm.generate("Is the sky blue?", guided_grammar=grammar)
        return
    with target.llm() as llm:
        response = llm.generate("Is the sky blue?", guided_grammar=grammar, max_output_tokens=20)
    assert response.content in {"yes", "no"}


def _is_native_or_said(target: Target, response: GenerateResponse, capability: Capability) -> None:
    from abstractcore.capability import Support, support

    emulated = response.metadata.get("emulated", {})
    assert (str(capability) in emulated) == (support(target.provider, capability) is Support.EMULATED)


def constraint_cut(target: Target) -> None:
    """What the caller's limit cut is no answer, however well it began."""
    numbers = {"type": "array", "items": {"type": "integer"}, "minItems": 12, "maxItems": 12}
    wide = {**SCHEMA, "properties": {"numbers": numbers}, "required": ["numbers"]}
    # llama.cpp puts JSON into a fence of its own and takes that away again, unless the limit falls into it.
    with target.llm() as llm, pytest.raises(TruncatedOutputError) as caught:
        llm.generate("Describe numbers as JSON.", guided_json=wide, max_output_tokens=8)
    assert caught.value.partial.lstrip().startswith("{")


def ignored_constraint(target: Target) -> None:
    """A backend that never heard of the constraint answers as if all were well; the proof finds it."""
    with target.deaf() as llm, pytest.raises(ConstraintViolationError) as caught:
        llm.generate(QUESTION, guided_regex=PATTERN, max_output_tokens=LIMIT)
    assert caught.value.text


def ignored_constraint_in_a_stream(target: Target) -> None:
    with target.deaf() as llm, pytest.raises(ConstraintViolationError):
        list(llm.generate("Describe a city.", guided_json=SCHEMA, max_output_tokens=LIMIT, stream=True))


# --- tools, batches, lists --------------------------------------------------------------------------------------------


def tool_required(target: Target) -> None:
    if not target.can(Capability.TOOLS):
        with pytest.raises(UnsupportedFeatureError), target.unplugged() as llm:
            llm.generate("Paint the wall red.", tools=[paint])
        return
    with target.llm() as llm:
        response = llm.generate("Paint the wall red.", tools=[paint], tool_choice="required", max_output_tokens=120)
    assert [call.name for call in response.tool_calls] == ["paint"]
    assert response.tool_calls[0].arguments["color"] in {"red", "blue"}


def batch(target: Target) -> None:
    with target.llm() as llm:
        result = llm.generate_batch(["Name a fruit.", "Name a river."], max_output_tokens=4, concurrency=1)
    assert [item.index for item in result.items] == [0, 1]
    assert all(item.response and item.response.content for item in result.items)


def session(target: Target) -> None:
    """A conversation, kept as JSON and gone on with by another provider."""
    with target.llm(max_output_tokens=8) as llm:
        before = Session(llm, system_prompt="You are terse.")
        before.generate("My name is Ada.")
        kept = before.to_dict()
    with target.llm(max_output_tokens=8) as llm:
        after = Session.from_dict(kept, llm)
        list(after.generate("What is my name?", stream=True))
    roles = [message.role for message in after.get_messages() if message.role != "system"]
    assert roles == ["user", "assistant", "user", "assistant"]


def models_and_health(target: Target) -> None:
    with target.llm() as llm:
        assert target.listed in llm.list_available_models()
        assert llm.model_info().id == target.listed
        report = llm.health()
    assert report["status"] is True
    assert report["error"] is None
    assert target.listed in report["models"]


CASES: Final[dict[str, Callable[[Target], Any]]] = {
    name: case
    for name, case in inspect.getmembers(sys.modules[__name__], inspect.isfunction)
    if case.__module__ == __name__ and not name.startswith("_") and "target" in inspect.signature(case).parameters
}
"""All of them, by name."""
