"""Many prompts: results in order, failures apart, never more in flight or taken from the input than needed."""

from __future__ import annotations

import asyncio
import gc
import io
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from abstractcore.errors import (
    ConfigurationError,
    ConnectionFailedError,
    ConstraintViolationError,
    ContextLengthError,
    InvalidConstraintError,
    InvalidRequestError,
)
from abstractcore.providers import VLLMProvider
from abstractcore.providers.batch import BatchProgress
from abstractcore.providers.batch.prompts import Prompt
from abstractcore.types import Message
from tests.unit.providers.batch.conftest import FakeServer, refused, until

QUIET: dict[str, Any] = {"progress": False}


def test_results_are_in_the_order_of_the_prompts(llm: VLLMProvider, server: FakeServer) -> None:
    server.delay = lambda prompt: 0.002 * (10 - int(prompt[1:]))
    result = llm.generate_batch([f"p{i}" for i in range(10)], concurrency=10, **QUIET)
    assert [item.index for item in result] == list(range(10))
    assert [item.response.content for item in result.items if item.response] == [f"P{i}" for i in range(10)]
    assert len(result) == 10
    assert result[3].ok
    assert (result.input_tokens, result.output_tokens) == (20, 30)
    assert result.tokens_per_second > 0


def test_one_failure_does_not_touch_the_rest(llm: VLLMProvider, server: FakeServer) -> None:
    failures: dict[str, int | Exception] = {"b": 400, "c": refused()}
    server.fail = failures.get
    result = llm.generate_batch(["a", "b", "c", "d"], concurrency=2, **QUIET)
    assert [item.index for item in result.failures] == [1, 2]
    assert isinstance(result[1].error, InvalidRequestError)
    assert "no b" in str(result[1].error)
    assert isinstance(result[2].error, ConnectionFailedError)
    assert [item.response and item.response.content for item in result] == ["A", None, None, "D"]


def test_every_form_of_item(llm: VLLMProvider, server: FakeServer) -> None:
    prompts: list[Prompt] = [
        "text",
        [Message("system", "short"), {"role": "user", "content": "chat"}],
        {"prompt": "own", "max_tokens": 7, "temperature": 0.5},
        {"messages": [{"role": "user", "content": "history"}], "prompt": "next"},
    ]
    result = llm.generate_batch(prompts, concurrency=1, max_output_tokens=3, **QUIET)
    assert not result.failures
    assert [len(body["messages"]) for body in server.bodies] == [1, 2, 1, 2]
    assert [body["max_completion_tokens"] for body in server.bodies] == [3, 3, 7, 3]
    assert server.bodies[2]["temperature"] == 0.5


def test_a_constraint_of_an_item_takes_the_place_of_the_batch_s(llm: VLLMProvider, server: FakeServer) -> None:
    prompts: list[Prompt] = [{"prompt": "yes", "guided_choice": ["YES"]}, "12", "no"]
    result = llm.generate_batch(prompts, guided_regex="[0-9]+", **QUIET)
    assert [item.response.metadata["constraint"]["kind"] for item in result if item.response] == ["choice", "regex"]
    assert isinstance(result[2].error, ConstraintViolationError)
    assert result[2].error.text == "NO"


def test_an_item_that_makes_no_sense_fails_alone(llm: VLLMProvider, server: FakeServer) -> None:
    result = llm.generate_batch(["a", {}, {"prompt": "b", "guided_regex": "("}, []], **QUIET)
    assert [type(item.error) for item in result.failures] == [
        ConfigurationError, InvalidConstraintError, ConfigurationError,
    ]  # fmt: skip
    assert server.prompts == {"a": 1}


@pytest.mark.parametrize(
    ("prompts", "options", "error"),
    [
        ("one prompt", {}, TypeError),
        ({"prompt": "one"}, {}, TypeError),
        (["a"], {"max_token": 1}, TypeError),
        (["a"], {"stream": True}, TypeError),
        (["a"], {"guided_regex": "("}, InvalidConstraintError),
        (["a"], {"n": 0}, ConfigurationError),
        (["a"], {"concurrency": 0}, ConfigurationError),
        ([7], {}, TypeError),
        ([{"prompt": "a", "max_token": 1}], {}, TypeError),
    ],
)
def test_mistakes_of_the_program_are_raised(
    llm: VLLMProvider, server: FakeServer, prompts: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        llm.generate_batch(prompts, **QUIET, **options)
    assert not server.prompts


def test_an_unknown_option_of_an_item_names_the_item(llm: VLLMProvider) -> None:
    with pytest.raises(TypeError, match=r"prompt 1: unknown option 'max_token'; did you mean 'max_tokens'"):
        llm.generate_batch(["a", {"prompt": "b", "max_token": 1}], **QUIET)


async def test_prompts_are_taken_as_there_is_room_and_refilled_one_by_one(
    llm: VLLMProvider, server: FakeServer
) -> None:
    taken: list[int] = []

    def prompts() -> Iterator[str]:
        for number in range(100):
            taken.append(number)
            yield f"p{number}"

    server.hold.clear()
    server.gates["p0"] = asyncio.Event()
    running = asyncio.create_task(llm.agenerate_batch(prompts(), concurrency=4, **QUIET))
    await until(lambda: server.in_flight == 4)
    assert taken == [0, 1, 2, 3]
    server.gates["p0"].set()
    await until(lambda: server.prompts["p4"])
    assert taken == [0, 1, 2, 3, 4]
    assert server.in_flight == 4
    server.hold.set()
    result = await running
    assert len(result) == 100
    assert server.most == 4
    assert set(server.prompts.values()) == {1}


async def test_concurrency_follows_the_server(
    llm: VLLMProvider, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abstractcore.providers.batch.engine._FIRST_LOOK", 0.0)
    monkeypatch.setattr("abstractcore.providers.batch.engine._LOOKS", (0.0, 0.0))
    server.metrics = lambda: (
        f'vllm:num_requests_running{{engine="0"}} {min(40, server.in_flight)}.0\n'
        f'vllm:num_requests_waiting{{engine="0"}} {max(0, server.in_flight - 40)}.0\n'
    )
    server.hold.clear()
    running = asyncio.create_task(llm.agenerate_batch((f"p{i}" for i in range(1000)), **QUIET))
    await until(lambda: server.in_flight == 16)
    await until(lambda: server.in_flight == 64)
    server.hold.set()
    result = await running
    assert len(result) == 1000
    assert result.concurrency == 64


async def test_a_server_that_refuses_for_its_load_gets_less(
    llm: VLLMProvider, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abstractcore.providers.batch.engine._FIRST_LOOK", 0.0)
    monkeypatch.setattr("abstractcore.providers.endpoint.RetryPolicy.after_answer", lambda *given: None)
    server.metrics = lambda: 'vllm:num_requests_running{e="0"} 0.0\nvllm:num_requests_waiting{e="0"} 0.0\n'
    server.hold.clear()
    for number in range(3):
        server.gates[f"p{number}"] = asyncio.Event()
    server.fail = lambda prompt: 429 if prompt in server.gates else None
    running = asyncio.create_task(llm.agenerate_batch([f"p{i}" for i in range(60)], **QUIET))
    await until(lambda: server.in_flight == 16)
    for _ in range(50):
        await asyncio.sleep(0)  # it looks at the load
    for gate in server.gates.values():
        gate.set()
    await until(lambda: server.in_flight == 13)
    for _ in range(50):
        await asyncio.sleep(0)
    assert server.in_flight == 13  # 16 allowed before, 2 now: nobody takes the place of those that were refused
    server.hold.set()
    assert len((await running).failures) == 3


def test_a_silent_server_gets_sixteen_at_once(llm: VLLMProvider, server: FakeServer) -> None:
    server.delay = lambda prompt: 0.001
    result = llm.generate_batch([f"p{i}" for i in range(64)], **QUIET)
    assert result.concurrency == server.most == 16


async def test_cancelling_aborts_what_is_in_flight(llm: VLLMProvider, server: FakeServer) -> None:
    server.hold.clear()
    running = asyncio.create_task(llm.agenerate_batch([f"p{i}" for i in range(50)], concurrency=5, **QUIET))
    await until(lambda: server.in_flight == 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (server.in_flight, server.aborted) == (0, 5)
    assert server.prompts.total() == 5


def test_ctrl_c_ends_it_and_what_is_in_flight(llm: VLLMProvider, server: FakeServer) -> None:
    server.gates = {f"p{i}": asyncio.Event() for i in range(1, 50)}

    def interrupt(progress: BatchProgress) -> None:
        if progress.done:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        llm.generate_batch([f"p{i}" for i in range(50)], concurrency=5, progress=interrupt)
    assert server.in_flight == 0
    assert server.aborted >= 4


def test_ctrl_c_ends_it_where_a_loop_is_running_already(llm: VLLMProvider, server: FakeServer) -> None:
    server.gates = {f"p{i}": asyncio.Event() for i in range(1, 50)}

    def interrupt(progress: BatchProgress) -> None:
        if progress.done:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    async def cell() -> None:
        llm.generate_batch([f"p{i}" for i in range(50)], concurrency=5, progress=interrupt)

    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(cell())
    finally:
        loop.close()
    assert server.in_flight == 0
    assert server.aborted >= 4


async def test_an_exception_that_is_no_answer_s_failure_ends_the_batch(llm: VLLMProvider, server: FakeServer) -> None:
    def prompts() -> Iterator[str]:
        yield from ["a", "b", "c"]
        raise ZeroDivisionError("the caller's generator")

    with pytest.raises(ZeroDivisionError, match="the caller's generator"):
        await llm.agenerate_batch(prompts(), concurrency=2, **QUIET)
    assert server.in_flight == 0


async def test_it_works_where_a_loop_is_running_already(llm: VLLMProvider) -> None:
    assert llm.generate_batch(["a"], **QUIET)[0].ok  # as in a notebook: blocking, inside a loop


def test_no_prompts_no_items(llm: VLLMProvider) -> None:
    assert llm.generate_batch([], **QUIET).items == []


def test_progress_is_told_after_each_item(llm: VLLMProvider, server: FakeServer) -> None:
    server.fail = lambda prompt: 400 if prompt == "b" else None
    seen: list[BatchProgress] = []
    llm.generate_batch(["a", "b", "c"], concurrency=1, progress=seen.append)
    assert [(p.done, p.failed, p.total, p.output_tokens) for p in seen] == [
        (0, 0, 3, 0), (1, 0, 3, 3), (2, 1, 3, 3), (3, 1, 3, 6),
    ]  # fmt: skip
    assert seen[0].seconds_left is None
    assert seen[-1].seconds_left == 0


def test_nothing_is_printed_off_a_terminal_unless_asked_for(
    llm: VLLMProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    llm.generate_batch(["a"])
    assert capsys.readouterr() == ("", "")
    llm.generate_batch(["a"], progress=True)
    assert "1/1" in capsys.readouterr().err


def test_a_terminal_gets_the_bar(llm: VLLMProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    llm.generate_batch(["a", "b"])
    assert "2/2" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")


def test_failures_hold_no_frames(llm: VLLMProvider, server: FakeServer) -> None:
    server.fail = lambda prompt: 400
    result = llm.generate_batch(["a"], **QUIET)
    gc.collect()
    error = result[0].error
    assert error is not None
    assert error.__traceback__ is None
    assert not isinstance(error, ContextLengthError)
