"""Tools on a real server. SmolLM2's template knows none, so its calls keep to the schema and mean nothing."""

from __future__ import annotations

import enum
from typing import Any, Literal

import pydantic
import pytest

from abstractcore import TruncatedOutputError
from abstractcore.providers import VLLMProvider
from abstractcore.providers.vllm import server
from tests.live.conftest import LiveServer


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"


def weather(city: Literal["Paris", "Rome"], unit: Unit = Unit.C) -> str:
    """The weather.

    Args:
        city: Where.
        unit: Of the temperature.
    """
    return f"12 degrees {unit.value} in {city}"


class Report(pydantic.BaseModel):
    city: Literal["Paris", "Rome"]
    warm: bool


@pytest.mark.parametrize("choice", ["required", "weather"])
def test_a_call_keeps_to_the_schema(llm: VLLMProvider, choice: str) -> None:
    response = llm.generate("Weather in Paris?", tools=[weather], tool_choice=choice, temperature=0, max_tokens=120)
    call = response.tool_calls[0]
    assert call.name == "weather"
    assert call.arguments["city"] in ("Paris", "Rome")
    assert response.content == ""


def test_a_streamed_call_comes_whole_in_the_last_chunk(llm: VLLMProvider) -> None:
    *_, last = llm.generate(
        "Weather in Rome?", tools=[weather], tool_choice="weather", temperature=0, max_tokens=120, stream=True
    )
    assert last.tool_calls[0].arguments["city"] in ("Paris", "Rome")


@pytest.mark.parametrize("choice", ["required", "weather"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_call_is_an_error(llm: VLLMProvider, choice: str, stream: bool) -> None:
    options: Any = {"tools": [weather], "tool_choice": choice, "max_tokens": 5}
    with pytest.raises(TruncatedOutputError):
        list(llm.generate("Weather in Paris?", stream=True, **options)) if stream else llm.generate("Hi", **options)


def test_a_call_is_emulated_as_constrained_json(llm: VLLMProvider) -> None:
    llm.server_version()
    server.remember_unparsed(llm._endpoint, "SmolLM2")
    try:
        response = llm.generate(
            "Weather in Paris?", tools=[weather], tool_choice="required", temperature=0, max_tokens=160
        )
    finally:
        server.forget(llm._endpoint)
    assert response.tool_calls[0].arguments["city"] in ("Paris", "Rome")
    assert "tool_choice" in response.metadata["emulated"]


def test_tools_are_run_and_the_answer_is_an_instance(llm: VLLMProvider) -> None:
    response = llm.run_tools(
        "Weather in Paris?",
        tools=[weather],
        tool_choice="required",
        response_model=Report,
        temperature=0,
        max_tokens=160,
    )
    assert isinstance(response.parsed, Report)
    assert "tool" in [message.role for message in response.metadata["transcript"]]
    assert response.metadata["total_usage"].output_tokens > 0


def test_a_constraint_binds_beside_tools_that_may_not_be_called(tiny_vllm: LiveServer) -> None:
    with VLLMProvider(tiny_vllm.model, base_url=tiny_vllm.base_url) as llm:
        response = llm.generate("Yes?", tools=[weather], tool_choice="none", guided_choice=["yes", "no"], max_tokens=8)
    assert response.content in ("yes", "no")


async def test_the_async_loop_awaits_its_tools(llm: VLLMProvider) -> None:
    async def forecast(city: Literal["Paris", "Rome"]) -> str:
        """The forecast."""
        return f"rain in {city}"

    response = await llm.arun_tools(
        "Rain in Rome?", tools=[forecast], tool_choice="required", temperature=0, max_tokens=120
    )
    told = [message.content for message in response.metadata["transcript"] if message.role == "tool"]
    assert told[0] in ("rain in Paris", "rain in Rome")
