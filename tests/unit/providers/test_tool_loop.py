"""The loop of a model and its tools."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
import pydantic
import pytest

from abstractcore import (
    ConfigurationError,
    GenerateResponse,
    Message,
    StepLimitError,
    ToolCallError,
    UnsupportedFeatureError,
    VLLMProvider,
)
from abstractcore.testing import FakeServer, Reply
from abstractcore.types import Usage

CHAT = "POST /v1/chat/completions"
COUNTS = {"prompt_tokens": 10, "completion_tokens": 5}


def text(content: str) -> Reply:
    return reply({"content": content}, "stop")


def calls(*wanted: tuple[str, Any]) -> Reply:
    rows = [
        {"id": f"c{index}", "function": {"name": name, "arguments": msgspec.json.encode(arguments).decode()}}
        for index, (name, arguments) in enumerate(wanted)
    ]
    return reply({"content": None, "tool_calls": rows}, "tool_calls")


def reply(message: dict[str, Any], finish: str) -> Reply:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return Reply.json({"id": "r", "model": "m", "choices": [choice], "usage": COUNTS})


def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


def fail(why: str) -> str:
    raise LookupError(why)


async def slow(word: str) -> str:
    await asyncio.sleep(0)
    return word.upper()


class Total(pydantic.BaseModel):
    total: int


def run(*replies: Reply, tools: Any = (add,), **options: Any) -> tuple[GenerateResponse, FakeServer]:
    server = FakeServer({CHAT: list(replies)})
    llm = VLLMProvider("m", base_url="http://loop.test", **server.transports)
    return llm.run_tools("How much?", tools=tools, **options), server


def arun(*replies: Reply, tools: Any = (add,), **options: Any) -> tuple[GenerateResponse, FakeServer]:
    server = FakeServer({CHAT: list(replies)})
    llm = VLLMProvider("m", base_url="http://loop.test", **server.transports)
    return asyncio.run(llm.arun_tools("How much?", tools=tools, **options)), server


both = pytest.mark.parametrize("go", [run, arun])


@both
def test_calls_are_run_and_their_results_told(go: Any) -> None:
    response, server = go(calls(("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})), text("3 and 7"))
    assert response.content == "3 and 7"
    _user, said, first, second = server.sent[-1]["messages"]
    assert [call["id"] for call in said["tool_calls"]] == ["c0", "c1"]
    assert (first["role"], first["tool_call_id"], first["content"]) == ("tool", "c0", "3")
    assert (second["tool_call_id"], second["content"]) == ("c1", "7")


@both
def test_the_response_tells_the_whole_story(go: Any) -> None:
    response, _ = go(calls(("add", {"a": 1, "b": 2})), text("3"))
    assert [message.role for message in response.metadata["transcript"]] == ["user", "assistant", "tool", "assistant"]
    assert response.metadata["steps"] == 2
    assert response.metadata["total_usage"] == Usage(20, 10)


def test_history_and_system_prompt_are_kept() -> None:
    history = [Message("user", "Hi"), {"role": "assistant", "content": "Hello"}]
    _, server = run(calls(("add", {"a": 1, "b": 2})), text("3"), messages=history, system_prompt="Be brief.")
    roles = [message["role"] for message in server.sent[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "tool"]
    assert len(history) == 2


def test_a_choice_holds_for_the_first_request_only() -> None:
    _, server = run(calls(("add", {"a": 1, "b": 2})), text("3"), tool_choice="required")
    assert [body["tool_choice"] for body in server.sent] == ["required", "auto"]


@both
def test_the_error_of_a_tool_is_told_to_the_model(go: Any) -> None:
    _, server = go(calls(("fail", {"why": "no such row"})), text("Sorry"), tools=[fail])
    assert server.sent[-1]["messages"][-1]["content"] == "Error: LookupError: no such row"


@both
def test_the_error_of_a_tool_is_raised_if_so_wished(go: Any) -> None:
    with pytest.raises(LookupError, match="no such row"):
        go(calls(("fail", {"why": "no such row"})), tools=[fail], on_tool_error="raise")


@both
def test_a_broken_call_is_told_to_the_model(go: Any) -> None:
    response, server = go(calls(("add", {"a": 1}), ("add", {"a": 1, "b": 2})), text("ok"))
    first, second = server.sent[-1]["messages"][-2:]
    assert first["content"].startswith("Error: the arguments of add break its schema")
    assert second["content"].startswith("Error: not run")
    assert response.metadata["steps"] == 2


def test_a_broken_call_is_raised_if_so_wished() -> None:
    with pytest.raises(ToolCallError):
        run(calls(("add", {"a": 1})), on_tool_error="raise")


@both
def test_there_is_a_limit_of_steps(go: Any) -> None:
    with pytest.raises(StepLimitError, match="after 3 steps") as caught:
        go(calls(("add", {"a": 1, "b": 2})), max_steps=3)
    assert len(caught.value.messages) == 7


@both
def test_the_final_answer_is_held_to_the_model(go: Any) -> None:
    response, server = go(
        calls(("add", {"a": 1, "b": 2})), text("It is three."), text('{"total": 3}'), response_model=Total
    )
    assert response.parsed == Total(total=3)
    assert ["response_format" in body for body in server.sent] == [False, False, True]
    assert server.sent[-1]["tool_choice"] == "none"
    assert response.metadata["steps"] == 3


def test_a_constraint_among_the_defaults_holds_for_the_final_answer_too() -> None:
    server = FakeServer({CHAT: [calls(("add", {"a": 1, "b": 2})), text("three"), text('{"total": 3}')]})
    llm = VLLMProvider("m", base_url="http://loop.test", guided_json=Total, **server.transports)
    assert llm.run_tools("How much?", tools=[add]).content == '{"total": 3}'


def test_async_tools_are_awaited_and_others_run_beside_the_loop() -> None:
    seen: list[int] = []

    def where() -> int:
        seen.append(threading.get_ident())
        return 1

    response, server = arun(calls(("slow", {"word": "a"}), ("where", {})), text("A"), tools=[slow, where])
    assert [message["content"] for message in server.sent[-1]["messages"][-2:]] == ["A", "1"]
    assert seen[0] != threading.get_ident()
    assert response.content == "A"


def test_an_async_tool_needs_the_async_loop() -> None:
    with pytest.raises(ConfigurationError, match="'slow' is async"):
        run(text("x"), tools=[slow])


def test_results_are_json_unless_they_are_text() -> None:
    def total() -> Total:
        return Total(total=3)

    def rows() -> Any:
        return {"at": {1}, "what": object}

    def said() -> str:
        return 'a "b"'

    _, server = run(calls(("total", {}), ("rows", {}), ("said", {})), text("x"), tools=[total, rows, said])
    contents = [message["content"] for message in server.sent[-1]["messages"][-3:]]
    assert contents == ['{"total":3}', '{"at":[1],"what":"<class \'object\'>"}', 'a "b"']


def test_a_tool_that_ends_an_iteration_does_not_end_the_loop() -> None:
    def empty() -> Any:
        return next(iter(()))

    _, server = run(calls(("empty", {})), text("x"), tools=[empty])
    assert server.sent[-1]["messages"][-1]["content"].startswith("Error: StopIteration")
    with pytest.raises(StopIteration):
        run(calls(("empty", {})), text("x"), tools=[empty], on_tool_error="raise")


def test_calls_without_an_id_get_one() -> None:
    message = {"tool_calls": [{"function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}]}
    _, server = run(reply(message, "tool_calls"), text("3"))
    said, told = server.sent[-1]["messages"][-2:]
    assert said["tool_calls"][0]["id"] == told["tool_call_id"]
    assert told["tool_call_id"]


@pytest.mark.parametrize(
    "options",
    [
        {"tools": []},
        {"tools": [{"name": "no_function"}]},
        {"max_steps": 0},
        {"on_tool_error": "ignore"},
        {"n": 2},
        {"tool_choice": "none"},
    ],
)
def test_what_makes_no_loop_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        run(text("x"), **options)


def test_errors_of_the_server_are_not_told_to_the_model() -> None:
    with pytest.raises(UnsupportedFeatureError):
        run(text("x"), extra_body={"unheard_of": 1})
