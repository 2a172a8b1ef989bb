"""An engine in this process keeps the same contract as a server: plans, checks, errors, cancelling, sync and async."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from abstractcore.errors import (
    ConfigurationError,
    ConnectionFailedError,
    ConstraintViolationError,
    ContextLengthError,
    InvalidRequestError,
    MissingExtraError,
    ModelNotFoundError,
    ProviderAPIError,
    RequestTimeoutError,
    ServerNotReadyError,
    StreamInterruptedError,
)
from abstractcore.providers.local.engine import EngineError, too_long

from .conftest import ScriptedEngine, ScriptedProvider


def test_an_answer_has_text_counts_and_finish_reason(llm: ScriptedProvider) -> None:
    answer = llm.generate("Hi", max_output_tokens=5)
    assert (answer.content, answer.finish_reason, answer.model) == ("Hello there", "stop", "m")
    assert (answer.input_tokens, answer.output_tokens) == (3, 2)


def test_nothing_is_loaded_before_the_first_use(engine: ScriptedEngine) -> None:
    llm = ScriptedProvider(engine)
    assert llm.list_available_models() == ["m"]
    assert llm.model_info().context_length == 100
    assert llm.health()["status"]
    assert engine.loads == 0
    llm.generate("Hi")
    llm.generate("Hi")
    assert engine.loads == 1


def test_a_stream_gives_chunks_and_a_last_one_with_the_counts(llm: ScriptedProvider) -> None:
    *chunks, last = llm.generate("Hi", stream=True)
    assert "".join(chunk.content for chunk in chunks) == "Hello there"
    assert last.finish_reason == "stop"
    assert last.usage is not None
    assert last.usage.total_tokens == 5


async def test_async_gives_the_same(llm: ScriptedProvider) -> None:
    assert (await llm.agenerate("Hi")).content == "Hello there"
    stream = await llm.agenerate("Hi", stream=True)
    assert "".join([chunk.content async for chunk in stream]) == "Hello there"


async def test_the_event_loop_runs_on_while_a_model_generates(llm: ScriptedProvider, engine: ScriptedEngine) -> None:
    engine.gate = threading.Event()
    answer = asyncio.create_task(llm.agenerate("Hi"))
    await asyncio.sleep(0)
    assert not answer.done()
    engine.gate.set()  # only a running loop gets here
    assert (await answer).content == "Hello there"


def test_closing_a_stream_cancels_the_generation(llm: ScriptedProvider, engine: ScriptedEngine) -> None:
    engine.gate = threading.Event()
    with llm.generate("Hi", stream=True) as stream:
        assert next(stream).content == "Hello"
    engine.gate.set()
    assert engine.seen_cancel.wait(10)
    engine.gate = None
    assert llm.generate("Hi").content == "Hello there"


async def test_cancelling_a_task_cancels_the_generation(llm: ScriptedProvider, engine: ScriptedEngine) -> None:
    engine.gate = threading.Event()
    task = asyncio.create_task(llm.agenerate("Hi"))
    assert await asyncio.to_thread(engine.started.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    engine.gate.set()
    assert await asyncio.to_thread(engine.seen_cancel.wait, 10)


def test_a_request_that_waits_in_the_queue_is_dropped_when_nobody_wants_it(
    llm: ScriptedProvider, engine: ScriptedEngine
) -> None:
    engine.gate = threading.Event()
    running = llm.generate("first", stream=True)
    assert next(running).content == "Hello"
    with pytest.raises(RequestTimeoutError):
        llm.generate("second", timeout=0.01)
    engine.gate.set()
    assert [chunk.finish_reason for chunk in running][-1] == "stop"
    llm.generate("third")
    assert [body["messages"][0]["content"] for body in engine.bodies] == ["first", "third"]


def test_many_threads_share_one_engine_thread(llm: ScriptedProvider, engine: ScriptedEngine) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(llm.generate("Hi").content)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["Hello there"] * 8
    assert len(engine.threads) == 1


@pytest.mark.parametrize(
    ("raised", "expected", "words"),
    [
        (too_long(120, 16, 100), ContextLengthError, "the prompt has 120 tokens"),
        (EngineError("unknown token in grammar"), InvalidRequestError, "unknown token in grammar"),
        (RuntimeError("out of memory"), ProviderAPIError, "RuntimeError: out of memory"),
        (MissingExtraError("x is missing"), MissingExtraError, "x is missing"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_an_engine_raises_is_the_error_that_a_server_would_cause(
    engine: ScriptedEngine, raised: Exception, expected: type[Exception], words: str, *, stream: bool
) -> None:
    engine.words = [raised]
    with ScriptedProvider(engine) as llm, pytest.raises(expected, match=words):
        list(llm.generate("Hi", stream=True) if stream else [llm.generate("Hi")])


def test_an_error_within_a_stream_keeps_the_partial_text(llm: ScriptedProvider, engine: ScriptedEngine) -> None:
    engine.words = ["Hello", RuntimeError("the device is gone")]
    with pytest.raises(StreamInterruptedError, match="the device is gone") as caught:
        list(llm.generate("Hi", stream=True))
    assert caught.value.partial == "Hello"


def test_a_failed_load_is_tried_again_by_the_next_request(llm: ScriptedProvider, engine: ScriptedEngine) -> None:
    engine.load_error = EngineError("no such file", status=500)
    with pytest.raises(ProviderAPIError, match="no such file"):
        llm.generate("Hi")
    engine.load_error = None
    assert llm.generate("Hi").content == "Hello there"


def test_another_model_is_refused_with_what_there_is(llm: ScriptedProvider) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        llm.generate("Hi", model="nope")
    assert caught.value.available == ("m",)


def test_a_constraint_is_sent_in_one_spelling_and_proved(llm: ScriptedProvider, engine: ScriptedEngine) -> None:
    answer = llm.generate("Hi", guided_regex="Hello \\w+")
    assert engine.bodies[-1]["structured_outputs"] == {"regex": "Hello \\w+"}
    assert answer.metadata["constraint"]["proved"]
    with pytest.raises(ConstraintViolationError):
        llm.generate("Hi", guided_choice=["yes", "no"])


def test_tokens_are_counted_with_the_engine(llm: ScriptedProvider) -> None:
    assert llm.count_tokens("one two three") == 3
    assert llm.tokenize("one two") == [0, 1]
    with pytest.raises(ContextLengthError, match="99 are wanted"):
        llm.generate("one two", check_length=True, max_output_tokens=99)


def test_unload_frees_the_model_and_the_next_request_loads_it_again(engine: ScriptedEngine) -> None:
    llm = ScriptedProvider(engine)
    llm.generate("Hi")
    llm.unload()
    assert engine.closes == 1
    assert llm.generate("Hi").content == "Hello there"
    assert engine.loads == 2


def test_providers_of_one_model_share_it_until_the_last_lets_go(engine: ScriptedEngine) -> None:
    one, two = ScriptedProvider(engine), ScriptedProvider(engine)
    one.generate("Hi")
    two.generate("Hi")
    assert engine.loads == 1
    one.unload()
    assert engine.closes == 0
    two.unload()
    assert engine.closes == 1


def test_a_forgotten_provider_frees_its_model(engine: ScriptedEngine) -> None:
    llm = ScriptedProvider(engine)
    llm.generate("Hi")
    del llm
    gc.collect()
    assert engine.closed.wait(10)


def test_a_thread_is_used_again_and_never_ends(engine: ScriptedEngine) -> None:
    """One that ends takes native destructors along, which abort an interpreter on its way out."""
    for _ in range(3):
        llm = ScriptedProvider(engine)
        llm.generate("Hi")
        llm.unload()
    alive = {thread.name for thread in threading.enumerate()}
    assert engine.threads <= alive


def test_unloading_ends_what_runs_with_an_error(engine: ScriptedEngine) -> None:
    engine.gate = threading.Event()
    llm = ScriptedProvider(engine)
    stream = llm.generate("Hi", stream=True)
    next(stream)
    threading.Timer(0.01, engine.gate.set).start()
    llm.unload()
    with pytest.raises((StreamInterruptedError, ConnectionFailedError), match="unloaded"):
        list(stream)


def test_waiting_loads_the_model(llm: ScriptedProvider, engine: ScriptedEngine) -> None:
    llm.wait_until_ready(10)
    assert engine.loads == 1


def test_waiting_ends_in_time(llm: ScriptedProvider, engine: ScriptedEngine) -> None:
    engine.gate = threading.Event()
    with llm.generate("Hi", stream=True) as stream:
        next(stream)
        with pytest.raises(ServerNotReadyError):
            llm.wait_until_ready(0.01)
        engine.gate.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # newer Pythons warn of forks with threads
def test_a_forked_child_is_told_and_a_new_provider_works_there(llm: ScriptedProvider, engine: ScriptedEngine) -> None:
    llm.generate("Hi")
    child = os.fork()
    if not child:
        code = 1
        try:
            try:
                llm.generate("Hi")
            except ConfigurationError:
                code = 0 if ScriptedProvider(ScriptedEngine()).generate("Hi").content == "Hello there" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_interpreter_ends_while_a_model_generates(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """
import itertools, time
from tests.unit.providers.local.conftest import ScriptedEngine, ScriptedProvider

class Endless(ScriptedEngine):
    def generate(self, body, cancelled):
        from abstractcore.providers.local.engine import Delta
        for count in itertools.count():
            if cancelled():
                return
            time.sleep(0.001)
            yield Delta("x")
    def close(self):
        print("closed", flush=True)

stream = ScriptedProvider(Endless()).generate("Hi", stream=True)
print(next(stream).content, flush=True)
"""
    )
    done = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["x", "closed"], "")


def test_blocking_use_imports_no_event_loop() -> None:
    program = "import sys; import abstractcore.providers.local.provider; assert 'asyncio' not in sys.modules"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=env)
