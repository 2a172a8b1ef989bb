"""Streams of lines, read to a good end or not at all: on what a real Ollama sent."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore import StreamInterruptedError, ToolCall
from abstractcore.types import GenerateResponse, Usage
from abstractcore.wire.ndjson import MAX_LINE_BYTES
from abstractcore.wire.ollama_stream import OllamaStreamReader
from abstractcore.wire.openai import Completion
from tests.recordings import ollama_exchanges

RECORDED = ollama_exchanges()
STREAM = RECORDED["chat-stream"].body
KILLED = RECORDED["runner-killed-mid-stream"].body


def reader() -> OllamaStreamReader:
    return OllamaStreamReader(provider="ollama", url="http://h/api/chat")


def read(*reads: bytes) -> tuple[Completion, list[GenerateResponse]]:
    stream = reader()
    chunks = [chunk for data in reads for chunk in stream.feed(data)]
    return stream.finish(), chunks


def lines(*documents: Any) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def said(content: str = "", **more: Any) -> dict[str, Any]:
    return {"model": "m", "message": {"role": "assistant", "content": content, **more}, "done": False}


END = {**said(), "done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2}


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def test_the_recorded_stream() -> None:
    whole, chunks = read(STREAM)
    (answer,) = whole.answers
    assert answer.content == "The capital of France is Paris." == "".join(chunk.content for chunk in chunks)
    assert [chunk.content for chunk in chunks][:3] == ["The", " capital", " of"]
    assert (answer.finish_reason, whole.usage, whole.model) == ("stop", Usage(16, 8), "smollm2")


@given(st.lists(st.integers(min_value=0), max_size=12))
def test_any_cut_gives_the_same_chunks(places: list[int]) -> None:
    assert read(*cut(STREAM, places)) == read(STREAM)


@given(st.lists(st.integers(min_value=0), max_size=6))
def test_a_runner_that_dies_interrupts_however_it_is_cut(places: list[int]) -> None:
    stream = reader()
    chunks = [chunk for data in cut(KILLED, places) for chunk in stream.feed(data)]
    assert "".join(chunk.content for chunk in chunks) == " toys", "what came before it is handed out"
    with pytest.raises(StreamInterruptedError, match="unexpected EOF") as failure:
        stream.finish()
    assert failure.value.partial == " toys"
    assert failure.value.server_message == "an error was encountered while running the model: unexpected EOF"


@given(st.integers(0, len(STREAM) - 1))
def test_a_beginning_is_never_a_whole_answer(size: int) -> None:
    with pytest.raises(StreamInterruptedError):
        read(STREAM[:size])


@given(st.binary(max_size=60), st.integers(0, STREAM.count(b"\n")))
def test_garbage_between_the_lines_interrupts_or_changes_nothing(garbage: bytes, at: int) -> None:
    whole = STREAM.splitlines(keepends=True)
    try:
        got, _ = read(*whole[:at], garbage + b"\n", *whole[at:])
    except StreamInterruptedError:
        return
    assert got.answers[0].content == "The capital of France is Paris."


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        (lines(said("a")), "without a finish reason"),
        (lines(said("a"), {**END, "done": False}), "without a finish reason"),
        (lines(said("a")) + json.dumps(END).encode(), "ended inside an event"),
        (lines({**END, "done_reason": "load"}), "nothing was generated"),
        (lines({"status": "pulling manifest"}), "not in the protocol"),
        (lines(said("a"), {"error": {"message": "boom", "code": 500}}), "boom"),
        (b"x" * (MAX_LINE_BYTES + 1), "stream line"),
    ],
)
def test_what_is_no_good_end(stream: bytes, problem: str) -> None:
    with pytest.raises(StreamInterruptedError, match=problem):
        read(stream)


def test_a_server_that_gives_no_reason_is_done_all_the_same() -> None:
    end = {name: value for name, value in END.items() if name != "done_reason"}
    assert read(lines(said("a"), end))[0].answers[0].finish_reason == "stop"


def test_calls_without_ids_stay_apart() -> None:
    def calling(name: str, **arguments: int) -> dict[str, Any]:
        return said(tool_calls=[{"function": {"name": name, "arguments": arguments}}])

    whole, _ = read(lines(calling("f", a=1), calling("f", a=2), END))
    (answer,) = whole.answers
    assert answer.tool_calls == [ToolCall(name="f", arguments={"a": 1}), ToolCall(name="f", arguments={"a": 2})]
    assert answer.finish_reason == "tool_calls"


def test_reasoning_comes_beside_the_text() -> None:
    whole, chunks = read(lines(said(thinking="Let me "), said(thinking="see."), said("Yes."), END))
    assert (whole.answers[0].reasoning, whole.answers[0].content) == ("Let me see.", "Yes.")
    assert [chunk.reasoning for chunk in chunks] == ["Let me ", "see.", None]


def test_a_stream_of_a_raw_prompt() -> None:
    first = {"model": "m", "response": "a", "done": False}
    last = {"model": "m", "response": "", "done": True, "done_reason": "length", "eval_count": 1}
    whole, _ = read(lines(first, last))
    assert (whole.answers[0].content, whole.answers[0].finish_reason, whole.usage) == ("a", "length", Usage(0, 1))
