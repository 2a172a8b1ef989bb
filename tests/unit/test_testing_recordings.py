"""What a recorder writes, a replay answers; and no key is ever in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abstractcore import (
    ConfigurationError,
    ConnectionFailedError,
    ModelNotFoundError,
    RequestTimeoutError,
    StreamInterruptedError,
)
from abstractcore.providers.ollama import OllamaProvider
from abstractcore.testing import FakeServer, Recorder, Replay, Reply, UnrecordedRequestError, read_recording
from abstractcore.wire.call import Call
from tests.recordings import ollama_exchanges

RECORDED = ollama_exchanges()
QUESTION = "What is the capital of France?"
KEY = "sesame-open-7"


def reply(name: str) -> Reply:
    found = RECORDED[name]
    return Reply((found.body,), found.status, found.headers)


def lines(*texts: str, fault: Any = None) -> Reply:
    parts = [{"model": "m", "message": {"content": text}, "done": False} for text in texts]
    return Reply.lines([*parts, {"message": {"content": ""}, "done": True}], fault=fault)


def recording(path: Path, chat: Any, **options: Any) -> tuple[Recorder, OllamaProvider]:
    routes = {"POST /api/chat": chat, "GET /api/tags": reply("tags")}
    recorder = Recorder(path, **options, **FakeServer(routes).transports)
    return recorder, OllamaProvider("smollm2", base_url="http://real:1", api_key=KEY, **recorder.transports)


def replaying(path: Path, **options: Any) -> tuple[Replay, OllamaProvider]:
    replay = Replay(path, **options)
    return replay, OllamaProvider("smollm2", base_url="http://elsewhere:2", **replay.transports)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


async def test_answers_come_again_both_ways(file: Path) -> None:
    with recording(file, reply("chat"))[0] as recorder:
        llm = OllamaProvider("smollm2", **recorder.transports)
        first = llm.generate(QUESTION)
        again = await llm.agenerate(QUESTION, seed=1)
        assert recorder.count == 2
    replay, llm = replaying(file)
    assert replay.unasked == ["POST /api/chat"] * 2
    assert llm.generate(QUESTION).raw_response == first.raw_response
    assert (await llm.agenerate(QUESTION, seed=1)).raw_response == again.raw_response
    assert (await llm.agenerate(QUESTION)).content == llm.generate(QUESTION).content
    assert replay.unasked == []


async def test_a_stream_comes_again_in_its_pieces(file: Path) -> None:
    with recording(file, lines("a", "ü", "c"))[0] as recorder:
        llm = OllamaProvider("smollm2", **recorder.transports)
        whole = [chunk.content for chunk in llm.generate(QUESTION, stream=True)]
        [_ async for _ in await llm.agenerate(QUESTION, stream=True, seed=1)]
    _, llm = replaying(file)
    assert [chunk.content for chunk in llm.generate(QUESTION, stream=True)] == whole == ["a", "ü", "c", ""]
    assert [chunk.content async for chunk in await llm.agenerate(QUESTION, stream=True, seed=1)] == whole
    assert [len(exchanged.chunks) for exchanged in read_recording(file)] == [4, 4]


def test_the_same_request_is_answered_in_its_order_and_the_last_answer_stays(file: Path) -> None:
    recorder, llm = recording(file, [reply("chat"), reply("chat-length")])
    with recorder:
        texts = [llm.generate(QUESTION).content for _ in range(2)]
    _, llm = replaying(file)
    assert [llm.generate(QUESTION).content for _ in range(3)] == [*texts, texts[-1]]


def test_failures_come_again(file: Path) -> None:
    refused = ConnectionFailedError("refused")
    refused.refused = True
    late = RequestTimeoutError("nothing for 5 s")
    late.phase = "idle"
    steps = [refused, lines("a", fault=late), reply("notfound")]
    recorder, llm = recording(file, steps)

    def fail(llm: OllamaProvider) -> list[str]:
        with pytest.raises(ConnectionFailedError, match="no ollama server answers") as down:
            llm.generate("1")
        with pytest.raises(StreamInterruptedError, match="nothing for 5 s") as cut:
            list(llm.generate("2", stream=True))
        with pytest.raises(ModelNotFoundError) as missing:
            llm.generate("3")
        return [down.value.message.rpartition(" at ")[0], cut.value.partial, missing.value.hint or ""]

    with recorder:
        first = fail(llm)
    assert fail(replaying(file)[1]) == first


def test_a_stream_that_was_left_has_no_end(file: Path) -> None:
    recorder, llm = recording(file, lines("a", "b"))
    with recorder, llm.generate(QUESTION, stream=True) as stream:
        assert next(stream).content == "a"
    replay, llm = replaying(file)
    with llm.generate(QUESTION, stream=True) as stream:
        assert next(stream).content == "a"
    assert len(replay.aborted) == 1
    with pytest.raises(UnrecordedRequestError, match="closed before its end"):
        list(llm.generate(QUESTION, stream=True))


def test_no_key_and_no_secret_is_written(file: Path) -> None:
    answer = Reply.json({"model": "m", "message": {"content": f"{KEY} and Käse"}, "done": True})
    chunks = Reply(answer.chunks, 200, {**answer.headers, "set-cookie": KEY})
    recorder, llm = recording(file, chunks, secrets=["Käse"])
    with recorder:
        llm.generate(f"my key is {KEY}, my password Käse")
        llm.generate("again", system_prompt='say "Käse"')
    text = file.read_text(encoding="utf-8")
    assert KEY not in text
    assert "Käse" not in text
    assert "authorization" not in text.lower()
    assert "cookie" not in text
    replay = Replay(file, secrets=["Käse"])
    llm = OllamaProvider("smollm2", api_key=KEY, **replay.transports)
    assert llm.generate(f"my key is {KEY}, my password Käse").content == "(hidden) and (hidden)"


def test_an_unknown_request_is_told_from_the_nearest(file: Path) -> None:
    recorder, llm = recording(file, reply("chat"))
    with recorder:
        llm.generate(QUESTION, seed=1)
        llm.generate("Something else", temperature=0.5, max_output_tokens=3)
    _, llm = replaying(file)
    with pytest.raises(UnrecordedRequestError) as failure:
        llm.generate(QUESTION, seed=2)
    assert "/options/seed: recorded 1, sent 2" in str(failure.value)
    assert "temperature" not in str(failure.value)
    with pytest.raises(UnrecordedRequestError, match=r"has no GET /api/tags; it has: POST /api/chat"):
        llm.list_available_models()


def test_fields_that_make_no_difference(file: Path) -> None:
    recorder, llm = recording(file, reply("chat"))
    with recorder:
        llm.generate(QUESTION, extra_body={"keep_alive": "1m"})
    _, llm = replaying(file, ignore={"keep_alive"})
    assert llm.generate(QUESTION).content == llm.generate(QUESTION, extra_body={"keep_alive": 5}).content


def test_a_recording_grows_where_that_is_wished(file: Path) -> None:
    for append in (False, True, True):
        recorder, llm = recording(file, reply("chat"), append=append)
        with recorder:
            llm.generate(QUESTION)
    assert len(read_recording(file)) == 3


def test_what_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Hello")
    for path in (tmp_path / "a.txt", tmp_path / "none.jsonl"):
        with pytest.raises(ConfigurationError, match="is no recording"):
            Replay(path)


@settings(max_examples=40)
@given(pieces=st.lists(st.binary(min_size=1, max_size=20), max_size=6))
def test_any_bytes_come_again(folder: Path, pieces: list[bytes]) -> None:
    file = folder / "a.jsonl"
    call = Call("POST", "http://h/a?b=c", body=b"\xff", stream=True)
    with Recorder(file, **FakeServer({"POST /a": Reply(pieces)}).transports) as recorder:
        exchange = recorder.transports["transport"].open(call)
        while exchange.read():
            pass
        exchange.close()
    (exchanged,) = read_recording(file)
    assert exchanged.chunks == pieces
    assert json.loads(file.read_text())["path"] == "/a?b=c"
    answered = Replay(file).transports["transport"].open(call)
    assert b"".join(iter(answered.read, b"")) == b"".join(pieces)
