"""LMStudioProvider against llama.cpp's own HTTP server, which is LM Studio's engine for GGUF files.

What LM Studio has beside it (its own lists of models, tokens, loading on demand) can't be had here: the unit tests hold
that against its documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from abstractcore import (
    ContextLengthError,
    ModelNotFoundError,
    ToolCallError,
    TruncatedOutputError,
    UnsupportedFeatureError,
)
from abstractcore.providers import LMStudioProvider
from tests.live import llama_server
from tests.live.llama_server import NAME


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server with the small model."""
    with llama_server.running() as url:
        yield url


@pytest.fixture
def llm(address: str) -> Iterator[LMStudioProvider]:
    with LMStudioProvider(base_url=address, temperature=0, seed=1) as provider:
        yield provider


def test_the_model_is_found_out_and_answers(llm: LMStudioProvider) -> None:
    llm.wait_until_ready(20)
    response = llm.generate("What is the capital of France?", max_output_tokens=12, repetition_penalty=1.1, top_k=5)
    assert response.content
    assert (response.model, llm.model) == (NAME, NAME)
    assert response.usage
    assert response.usage.output_tokens <= 12  # max_tokens is the name that it knows
    assert llm.list_available_models() == [NAME]
    assert llm.health()["status"]


async def test_a_stream_says_what_the_whole_says(llm: LMStudioProvider) -> None:
    whole = llm.generate("Count to five.", max_output_tokens=16)
    chunks = list(llm.generate("Count to five.", max_output_tokens=16, stream=True))
    assert "".join(chunk.content for chunk in chunks) == whole.content
    assert chunks[-1].usage
    stream = await llm.agenerate("Count to five.", max_output_tokens=16, stream=True)
    assert "".join([chunk.content async for chunk in stream]) == whole.content


def test_a_schema_is_kept(llm: LMStudioProvider) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "maximum": 99}},
        "required": ["name"],
    }
    response = llm.generate("A person as JSON.", guided_json=schema, max_output_tokens=120)
    assert msgspec.json.decode(response.content).keys() <= {"name", "age"}
    assert response.metadata["constraint"]["proved"]
    several = {"type": "array", "items": {"enum": ["red", "green"]}, "minItems": 2, "maxItems": 2}
    assert len(msgspec.json.decode(llm.generate("Two colors", guided_json=several, max_output_tokens=60).content)) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"guided_choice": ["red", "blue"]},
        {"guided_regex": r"\d{4}-\d\d"},
        {"guided_regex": r"x.y|[^,]{3}\@\w{2}z"},
        {"guided_regex": r"[\w.\-]{3}\s\S"},
        {"guided_regex": r"a\nb"},
    ],
    ids=lambda options: str(*options.values()),
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_choice_and_a_regex_by_schema(llm: LMStudioProvider, options: dict[str, Any], stream: bool) -> None:
    """llama.cpp ignores a pattern with what it doesn't know: these are sent in a form that it does."""
    answer: Any = llm.generate("Say something.", max_output_tokens=60, stream=stream, **options)
    chunks = list(answer) if stream else [answer]
    assert "".join(chunk.content for chunk in chunks)
    assert chunks[-1].metadata["constraint"]["proved"]
    assert chunks[-1].metadata["emulated"]


def test_a_cut_answer_is_no_answer(llm: LMStudioProvider) -> None:
    with pytest.raises(TruncatedOutputError) as caught:
        llm.generate("A number", guided_regex="[0-9]{60}", max_output_tokens=20)
    assert caught.value.partial.isdigit()


def test_a_call_that_is_required_and_does_not_come_is_an_error(llm: LMStudioProvider) -> None:
    """This model's template has no tools, so the server answers 200 with text."""

    def weather(city: str) -> str:
        """The weather in a city."""
        return city

    with pytest.raises((ToolCallError, TruncatedOutputError)):
        llm.generate("Weather in Paris?", tools=[weather], tool_choice="required", max_output_tokens=60)


def test_errors_say_what_is_wrong(llm: LMStudioProvider) -> None:
    with pytest.raises(ModelNotFoundError, match="'smollm3' was asked, but 'smollm2' answered") as missing:
        llm.generate("x", model="smollm3", max_output_tokens=3)
    assert missing.value.available == (NAME,)
    with pytest.raises(ContextLengthError, match="2048"):
        llm.generate("word " * 4000)
    with pytest.raises(UnsupportedFeatureError, match="gives no embeddings"):
        llm.embed("x")
    with pytest.raises(UnsupportedFeatureError, match="guided_grammar"):
        llm.generate("x", guided_grammar='root ::= "a"')
