"""Answers as instances, over the plans of a provider."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pydantic
import pytest

from abstractcore import (
    ConfigurationError,
    ConstraintViolationError,
    InvalidConstraintError,
    StreamInterruptedError,
    TruncatedOutputError,
    VLLMProvider,
)
from abstractcore.errors import ConnectionFailedError
from abstractcore.testing import FakeServer, Reply

CHAT = "POST /v1/chat/completions"


class Point(pydantic.BaseModel):
    x: int
    label: str = ""

    @pydantic.field_validator("x")
    @classmethod
    def even(cls, x: int) -> int:
        if x % 2:
            raise ValueError("x must be even")
        return x


def answer(text: str, finish: str = "stop") -> Reply:
    message = {"index": 0, "message": {"content": text}, "finish_reason": finish}
    return Reply.json({"id": "r", "model": "m", "choices": [message], "usage": {"completion_tokens": 5}})


def chunks(*texts: str, **more: Any) -> Reply:
    documents: list[Any] = [
        {"id": "r", "model": "m", "choices": [{"index": 0, "delta": {"content": text}}]} for text in texts
    ]
    documents.append({"id": "r", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return Reply.events(documents if not more else documents[:-1], **more)


def provider(*replies: Reply) -> tuple[VLLMProvider, FakeServer]:
    server = FakeServer({CHAT: list(replies)})
    return VLLMProvider("m", base_url="http://structured.test", **server.transports), server


def test_the_answer_is_an_instance() -> None:
    llm, server = provider(answer('{"x": 2}'))
    point = llm.generate("A point", response_model=Point)
    assert point == Point(x=2)
    sent = server.sent[-1]["response_format"]["json_schema"]["schema"]
    assert sent == Point.model_json_schema()


def test_the_async_twin_does_the_same() -> None:
    llm, _ = provider(answer('{"x": 3}'), answer('{"x": 2}'))
    assert asyncio.run(llm.agenerate("A point", response_model=Point)) == Point(x=2)


def test_what_only_validators_refuse_is_asked_again_with_the_reason() -> None:
    llm, server = provider(answer('{"x": 3}'), answer('{"x": 4}'))
    assert llm.generate("A point", response_model=Point) == Point(x=4)
    said, asked = server.sent[-1]["messages"][-2:]
    assert said == {"role": "assistant", "content": '{"x": 3}'}
    assert asked["role"] == "user"
    assert "at /x: Value error, x must be even" in asked["content"]


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_the_last_refused_answer_is_an_error_with_its_text(retries: int) -> None:
    llm, server = provider(answer('{"x": 3}'))
    with pytest.raises(ConstraintViolationError, match="but not the validators") as caught:
        llm.generate("A point", response_model=Point, max_retries=retries)
    assert caught.value.text == '{"x": 3}'
    assert "x must be even" in str(caught.value)
    assert server.paths().count(CHAT) == retries + 1


def completion(text: str) -> Reply:
    return Reply.json({"id": "r", "model": "m", "choices": [{"index": 0, "text": text, "finish_reason": "stop"}]})


@pytest.mark.parametrize(("options", "asked"), [({"temperature": 0}, 1), ({"seed": 3}, 1), ({"temperature": 0.5}, 3)])
def test_a_raw_prompt_is_asked_again_only_if_the_answer_may_differ(options: dict[str, Any], asked: int) -> None:
    version = Reply.json({"version": "0.32.0"})
    server = FakeServer({"GET /version": version, "POST /v1/completions": completion('{"x": 3}')})
    llm = VLLMProvider("m", base_url="http://structured.test", **server.transports)
    with pytest.raises(ConstraintViolationError, match="but not the validators"):
        llm.generate("Point: ", response_model=Point, raw_prompt=True, **options)
    assert server.paths().count("POST /v1/completions") == asked


def test_what_breaks_the_schema_is_not_asked_again() -> None:
    llm, server = provider(answer('{"x": "two"}'))
    with pytest.raises(ConstraintViolationError, match="does not satisfy the json"):
        llm.generate("A point", response_model=Point)
    assert server.paths().count(CHAT) == 1


def test_a_cut_answer_is_an_error() -> None:
    llm, _ = provider(answer('{"x": ', "length"))
    with pytest.raises(TruncatedOutputError):
        llm.generate("A point", response_model=Point, max_tokens=5)


def test_a_stream_shows_what_is_known_and_ends_with_the_instance() -> None:
    llm, _ = provider(chunks('{"x": 1', '2, "la', 'bel": "lef', 't"}'))
    *parts, last = llm.generate("A point", response_model=Point, stream=True)
    assert [part.partial for part in parts] == [{}, {"x": 12}, {"x": 12, "label": "lef"}, {"x": 12, "label": "left"}]
    assert (last.parsed, last.finish_reason) == (Point(x=12, label="left"), "stop")
    assert all(part.parsed is None for part in parts)


def test_an_async_stream_does_the_same() -> None:
    async def run() -> Any:
        llm, _ = provider(chunks('{"x": 2}'))
        return [chunk async for chunk in await llm.agenerate("A point", response_model=Point, stream=True)]

    assert asyncio.run(run())[-1].parsed == Point(x=2)


def test_a_stream_can_not_be_asked_again() -> None:
    llm, server = provider(chunks('{"x": 3}'))
    with pytest.raises(ConstraintViolationError, match="but not the validators"):
        list(llm.generate("A point", response_model=Point, stream=True))
    assert server.paths().count(CHAT) == 1


def test_a_stream_that_breaks_is_the_same_error_as_without_a_model() -> None:
    fault = ConnectionFailedError("reset")
    llm, _ = provider(chunks('{"x": ', done=False, fault=fault))
    with pytest.raises(StreamInterruptedError) as caught:
        list(llm.generate("A point", response_model=Point, stream=True))
    assert caught.value.partial == '{"x": '


def test_a_closed_stream_is_aborted() -> None:
    llm, server = provider(chunks('{"x": ', "2}"))
    with llm.generate("A point", response_model=Point, stream=True) as stream:
        next(stream)
    assert len(server.aborted) == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"guided_json": {}}, InvalidConstraintError),
        ({"guided_regex": "a"}, InvalidConstraintError),
        ({"n": 2}, ConfigurationError),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    llm, server = provider(answer("{}"))
    with pytest.raises(error):
        llm.generate("A point", response_model=Point, **options)
    assert not server.calls


def test_a_response_model_may_be_any_type() -> None:
    llm, server = provider(answer("[1, 2]"))
    assert llm.generate("Numbers", response_model=list[int]) == [1, 2]
    assert server.sent[-1]["response_format"]["json_schema"]["schema"]["type"] == "array"
    assert msgspec.json.encode(server.sent[-1])
