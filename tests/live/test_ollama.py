"""The Ollama provider over a real socket, against recorded answers of a real Ollama and a real llama.cpp behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from abstractcore import (
    ConnectionFailedError,
    ConstraintViolationError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    StreamInterruptedError,
    TruncatedOutputError,
    UnsupportedFeatureError,
)
from abstractcore.providers.ollama import OllamaProvider
from abstractcore.testing import Recorder, Replay
from tests.live import ollama_double
from tests.live.conftest import unused_port

QUESTION = "What is the capital of France?"
HELLO = "Write a short greeting to Ada."
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
CLOSED = {**SCHEMA, "additionalProperties": False}


@pytest.fixture(scope="module")
def double() -> Iterator[ollama_double.Double]:
    with ollama_double.running("--num-ctx", "512") as found:
        yield found


@pytest.fixture
def llm(double: ollama_double.Double) -> Iterator[OllamaProvider]:
    with OllamaProvider("smollm2", base_url=double.url, temperature=0, seed=1) as provider:
        yield provider


# --- the double is one ------------------------------------------------------------------------------------------------

CLIENT = """
import json, sys
import ollama
client = ollama.Client(host=sys.argv[1])
ask = {"model": "smollm2", "messages": [{"role": "user", "content": sys.argv[2]}]}
options = {"temperature": 0, "num_predict": 12, "seed": 1}
found = {"models": [each.model for each in client.list().models]}
shown = client.show("smollm2")
found["capabilities"], found["family"] = shown.capabilities, shown.details.family
whole = client.chat(**ask, options=options)
found["answer"] = [whole.message.content, whole.done, whole.done_reason, whole.prompt_eval_count > 0]
found["stream"] = "".join(part.message.content for part in client.chat(**ask, options=options, stream=True))
found["generated"] = client.generate("smollm2", "Once", raw=True, options={"num_predict": 3}).eval_count
schema = {"type": "string", "enum": ["Paris", "Rome"]}  # no place in it where white space may go on and on
found["json"] = client.chat(**ask, options={"num_predict": 60}, format=schema).message.content
logged = client.chat(**ask, options={"num_predict": 2}, logprobs=True, top_logprobs=2).logprobs
found["logprobs"] = [len(each.top_logprobs) for each in logged]
found["loaded"] = [each.model for each in client.ps().models]
found["errors"] = []
for call in (
    lambda: client.chat("nope", ask["messages"]),
    lambda: client.chat(**ask, tools=[{"type": "function", "function": {"name": "f"}}]),
    lambda: client.chat(**ask, think=True),
    lambda: client.embed("smollm2", "a"),
):
    try:
        call()
    except ollama.ResponseError as error:
        found["errors"].append([error.status_code, error.error])
print(json.dumps(found))
"""


@pytest.mark.parametrize("question", [QUESTION, HELLO], ids=["recorded", "generated"])
def test_the_official_client_takes_it_for_an_ollama(double: ollama_double.Double, question: str) -> None:
    argv = [ollama_double.python(), "-c", CLIENT, double.url, question]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    text, is_done, reason, counted = found["answer"]
    assert (is_done, reason in ("stop", "length"), counted) == (True, True, True)
    assert text == found["stream"]
    assert json.loads(found["json"]) in {"Paris", "Rome"}
    assert found | {"answer": 0, "stream": 0, "json": 0} == {
        "models": ["smollm2:latest"],
        "capabilities": ["completion"],
        "family": "llama",
        "answer": 0,
        "stream": 0,
        "generated": 3,
        "json": 0,
        "logprobs": [2, 2],
        "loaded": ["smollm2:latest"],
        "errors": [
            [404, "model 'nope' not found"],
            [400, "registry.ollama.ai/library/smollm2:latest does not support tools"],
            [400, '"smollm2" does not support thinking'],
            [501, "This server does not support embeddings. Start it with `--embeddings`"],
        ],
    }


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_the_recorded_answer_both_ways(llm: OllamaProvider) -> None:
    for answer in (
        llm.generate(QUESTION, max_output_tokens=12),
        await llm.agenerate(QUESTION, max_output_tokens=12),
    ):
        assert answer.content == "The capital of France is Paris."
        assert (answer.finish_reason, answer.input_tokens, answer.output_tokens) == ("stop", 16, 8)


async def test_streams_give_what_whole_answers_give(llm: OllamaProvider) -> None:
    options: dict[str, Any] = {"max_output_tokens": 16}
    whole = llm.generate(HELLO, **options)
    for chunks in (
        list(llm.generate(HELLO, stream=True, **options)),
        [chunk async for chunk in await llm.agenerate(HELLO, stream=True, **options)],
    ):
        assert "".join(chunk.content for chunk in chunks) == whole.content
        assert len(chunks) > 3
        assert chunks[-1].usage == whole.usage
        assert chunks[-1].finish_reason == whole.finish_reason


def test_stop_length_and_log_probabilities(llm: OllamaProvider) -> None:
    whole = llm.generate(HELLO, max_output_tokens=16, logprobs=2)
    assert (whole.finish_reason, whole.output_tokens) == ("length", 16)
    assert whole.logprobs is not None
    assert all(len(token.top) == 2 for token in whole.logprobs)
    word = whole.content.split()[2]
    stopped = llm.generate(HELLO, max_output_tokens=16, stop=word)
    assert (stopped.content, stopped.finish_reason) == (whole.content.partition(word)[0], "stop")


def test_a_raw_prompt_goes_on(llm: OllamaProvider) -> None:
    answer = llm.generate("Once upon a", raw_prompt=True, max_output_tokens=3)
    assert (answer.input_tokens or 0) < 6


def test_closing_a_stream_frees_the_model(llm: OllamaProvider) -> None:
    with llm.generate("Count to a thousand.", stream=True) as stream:
        next(stream)
    assert llm.generate(HELLO, max_output_tokens=2).output_tokens == 2


# --- constraints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"guided_json": CLOSED},
        {"guided_choice": ["positive", "negative"]},
        {"guided_regex": "[0-9]{3}-[0-9]{2}"},
        {"guided_json": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}},
    ],
    ids=["json", "choice", "regex", "array"],
)
async def test_constraints_are_kept_and_proved(llm: OllamaProvider, options: dict[str, Any]) -> None:
    whole = llm.generate("How was your day?", max_output_tokens=120, **options)
    *_, last = [
        chunk async for chunk in await llm.agenerate("How was your day?", max_output_tokens=120, stream=True, **options)
    ]
    assert whole.metadata["constraint"]["proved"] is True
    assert last.metadata["constraint"]["proved"] is True


def test_a_schema_that_the_server_can_not_read_is_caught(llm: OllamaProvider) -> None:
    """It answers 200 and free text; here the text is held against the schema."""
    schema = {"type": "object", "required": ["zebra"], "properties": {"zebra": {"not": {"type": "null"}}}}
    try:
        answer = llm.generate(HELLO, guided_json=schema, max_output_tokens=40)
    except (ConstraintViolationError, TruncatedOutputError):
        return
    assert "zebra" in json.loads(answer.content)


def test_a_constrained_answer_that_is_cut_is_none(llm: OllamaProvider) -> None:
    with pytest.raises(TruncatedOutputError):
        llm.generate(HELLO, guided_json=SCHEMA, max_output_tokens=2)


# --- errors ----------------------------------------------------------------------------------------------------------


def test_errors_by_their_kind(llm: OllamaProvider) -> None:
    with pytest.raises(ModelNotFoundError, match="nope") as missing:
        llm.generate(HELLO, model="nope")
    assert missing.value.hint == "ollama pull nope    (it has: smollm2:latest)"
    with pytest.raises(InvalidRequestError, match="float32"):
        llm.generate(HELLO, temperature="hot")  # type: ignore[call-overload]
    with pytest.raises(UnsupportedFeatureError, match="tools"):
        llm.generate(HELLO, tools=[{"type": "function", "function": {"name": "f"}}])
    with pytest.raises(UnsupportedFeatureError, match="thinking"):
        llm.generate(HELLO, thinking=True)
    with pytest.raises(UnsupportedFeatureError, match="embeddings"):
        llm.embed("a")


@pytest.mark.parametrize("streams", [False, True])
def test_a_prompt_that_is_too_long_is_refused_and_not_shortened(llm: OllamaProvider, streams: bool) -> None:
    prompt = "word " * 1000
    with pytest.raises(ContextLengthError, match=r"1[0-9]{3} tokens.*512 tokens"):
        list(llm.generate(prompt, stream=True)) if streams else llm.generate(prompt)
    shortened = llm.generate(prompt, max_output_tokens=2, extra_body={"truncate": True, "shift": True})
    assert (shortened.input_tokens or 0) < 512


def test_an_answer_that_reaches_the_end_of_the_context_is_cut_there(llm: OllamaProvider) -> None:
    answer = llm.generate("word " * 480 + "Go on.", guided_json=None)
    assert answer.total_tokens is not None
    assert answer.total_tokens <= 512


def test_a_longer_context_can_be_asked_for(llm: OllamaProvider) -> None:
    assert llm.model_info().context_length == 512
    answer = llm.generate("word " * 600, max_output_tokens=2, extra_body={"num_ctx": 1024})
    assert (answer.input_tokens or 0) > 600
    assert llm.model_info().context_length == 1024


def test_a_runner_that_is_killed(llm: OllamaProvider, double: ollama_double.Double) -> None:
    with llm.generate("Count to a thousand, one number a line.", stream=True) as stream:
        first = next(stream).content
        runner = double.runner()
        assert runner is not None
        os.kill(runner, signal.SIGKILL)
        with pytest.raises(StreamInterruptedError, match="unexpected EOF") as failure:
            list(stream)
    assert failure.value.partial.startswith(first)
    assert llm.generate(HELLO, max_output_tokens=2).output_tokens == 2


def test_a_server_that_is_not_there() -> None:
    llm = OllamaProvider("smollm2", base_url=f"127.0.0.1:{unused_port()}")
    with pytest.raises(ConnectionFailedError, match="no ollama server"):
        llm.generate(HELLO)
    assert llm.health()["status"] is False


def test_a_model_is_unloaded(llm: OllamaProvider, double: ollama_double.Double) -> None:
    llm.generate(HELLO, max_output_tokens=1)
    assert double.runner() is not None
    llm.unload()
    assert double.runner() is None


# --- recorded over the network ----------------------------------------------------------------------------------------


async def test_what_was_recorded_over_the_network_comes_again(double: ollama_double.Double, tmp_path: Path) -> None:
    async def ask(llm: OllamaProvider) -> list[Any]:
        stream = await llm.agenerate(HELLO, stream=True, max_output_tokens=8, seed=1, temperature=0)
        with pytest.raises(ModelNotFoundError) as missing:
            llm.generate(HELLO, model="nope")
        return [
            llm.generate(HELLO, max_output_tokens=8, seed=1, temperature=0).raw_response,
            [chunk.content async for chunk in stream],
            str(missing.value).partition("://")[0],
        ]

    with Recorder(tmp_path / "a.jsonl") as recorder:
        first = await ask(OllamaProvider("smollm2", base_url=double.url, **recorder.transports))
    replay = Replay(tmp_path / "a.jsonl")
    assert await ask(OllamaProvider("smollm2", **replay.transports)) == first
    assert replay.unasked == []
