"""Streams in Anthropic's protocol, read to a good end or not at all: on what a real server sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore import StreamInterruptedError, Usage
from abstractcore.types import GenerateResponse, ToolCall
from abstractcore.wire.anthropic_stream import AnthropicStreamReader
from abstractcore.wire.openai import Completion
from tests.recordings import recorded_stream
from tests.recordings.anthropic import cases

GOOD = {
    name: case.body for name, case in cases().items() if name.endswith(" streamed") and case.outcome == "answered"
} | {"another server": recorded_stream("messages").body}


def reader() -> AnthropicStreamReader:
    return AnthropicStreamReader(provider="anthropic", url="http://h/v1/messages")


def read(*reads: bytes) -> tuple[Completion, list[GenerateResponse]]:
    stream = reader()
    chunks = [chunk for data in reads for chunk in stream.feed(data)]
    return stream.finish(), chunks


def events(body: bytes) -> list[bytes]:
    return [event + b"\n\n" for event in body.split(b"\n\n") if event.strip()]


def documents(body: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: ")]


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def delta(index: int = 0, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta=fields)


START = event("message_start", message={"id": "m1", "model": "m", "usage": {"input_tokens": 5, "output_tokens": 1}})
TEXT = delta(type="text_delta", text="Hel")
ENDED = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7})
STOP = event("message_stop")


@pytest.mark.parametrize("name", GOOD)
def test_a_stream_is_read_whole(name: str) -> None:
    whole, chunks = read(*events(GOOD[name]))
    sent = documents(GOOD[name])
    deltas = [document["delta"] for document in sent if document["type"] == "content_block_delta"]
    text = "".join(delta.get("text", "") for delta in deltas)
    [answer] = whole.answers
    assert answer.content == "".join(chunk.content for chunk in chunks) == text
    assert answer.finish_reason in ("stop", "length", "tool_calls")
    counted = next(document for document in sent if document["type"] == "message_delta")["usage"]
    assert whole.usage == Usage(counted["input_tokens"], counted["output_tokens"])
    assert (whole.model, whole.response_id) == (sent[0]["message"]["model"], sent[0]["message"]["id"])


@pytest.mark.parametrize("name", ["tool required streamed", "tool named streamed"])
def test_a_call_is_put_together(name: str) -> None:
    [answer] = read(*events(GOOD[name]))[0].answers
    [call] = answer.tool_calls
    assert (call.name, call.raw_arguments) == ("weather", None)
    assert call.arguments["city"] in ("Paris", "Rome")
    assert answer.finish_reason == "tool_calls"


@given(st.sampled_from(sorted(GOOD)), st.lists(st.integers(1, 300), min_size=1))
def test_every_split_gives_the_same(name: str, sizes: list[int]) -> None:
    reads: list[bytes] = []
    rest = GOOD[name]
    while rest:
        size = sizes[len(reads) % len(sizes)]
        reads.append(rest[:size])
        rest = rest[size:]
    assert read(*reads) == read(*events(GOOD[name]))


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_a_stream_that_is_cut_anywhere_is_an_error(name: str, data: st.DataObject) -> None:
    body = GOOD[name].rstrip(b"\n")
    cut = body[: data.draw(st.integers(0, len(body)))]
    stream = reader()
    text = "".join(chunk.content for chunk in stream.feed(cut))
    with pytest.raises(StreamInterruptedError) as caught:
        stream.finish()
    assert caught.value.partial == text


def test_an_error_event_of_a_real_server_raises() -> None:
    with pytest.raises(StreamInterruptedError, match="reported an error inside the stream") as caught:
        read(cases()["broken grammar streamed"].body)
    assert caught.value.code == "internal_error"


@pytest.mark.parametrize(
    "failure",
    [
        event("error", error={"type": "overloaded_error", "message": "Overloaded"}),
        b'event: error\ndata: {"error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n',
        b'data: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n',
    ],
)
def test_an_error_event_keeps_the_text_so_far(failure: bytes) -> None:
    with pytest.raises(StreamInterruptedError, match="Overloaded") as caught:
        read(START, TEXT, failure)
    assert (caught.value.partial, caught.value.code) == ("Hel", "overloaded_error")


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ((START, TEXT), "no finish reason"),
        ((START, TEXT, STOP), "no finish reason"),
        ((START, TEXT, event("message_delta", delta={"stop_reason": None}), STOP), "no finish reason"),
        ((START, TEXT, ENDED), "no message_stop"),
        ((START, TEXT, ENDED, b"event: mess"), "unfinished event"),
    ],
)
def test_an_end_without_its_marks_is_an_error(parts: tuple[bytes, ...], why: str) -> None:
    with pytest.raises(StreamInterruptedError) as caught:
        read(*parts)
    assert why in (caught.value.why or "")
    assert caught.value.partial == "Hel"


def test_counts_come_in_parts() -> None:
    assert read(START, TEXT, ENDED, STOP)[0].usage == Usage(5, 7)


def test_reasoning_and_text_are_apart_and_pings_mean_nothing() -> None:
    whole, chunks = read(
        START,
        event("ping"),
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
        delta(type="thinking_delta", thinking="Hm."),
        delta(type="signature_delta", signature="c2ln"),
        event("content_block_stop", index=0),
        event("content_block_start", index=1, content_block={"type": "redacted_thinking", "data": "x"}),
        event("content_block_start", index=2, content_block={"type": "text", "text": ""}),
        delta(2, type="text_delta", text="Hello"),
        delta(2, type="citations_delta", citation={}),
        event("something_new", of={"the": "future"}),
        ENDED,
        STOP,
    )
    [answer] = whole.answers
    assert (answer.content, answer.reasoning) == ("Hello", "Hm.")
    assert answer.reasoning_blocks == [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "x"},
    ]
    assert [(chunk.content, chunk.reasoning) for chunk in chunks] == [("", "Hm."), ("Hello", None)]


def test_several_calls_with_and_without_arguments() -> None:
    def begin(index: int, **fields: Any) -> bytes:
        block = {"type": "tool_use", "id": f"c{index}", "name": f"f{index}", "input": {}, **fields}
        return event("content_block_start", index=index, content_block=block)

    [answer] = read(
        START,
        begin(0),
        delta(0, type="input_json_delta", partial_json=""),
        begin(1),
        delta(1, type="input_json_delta", partial_json='{"a":'),
        delta(1, type="input_json_delta", partial_json=" 1}"),
        begin(2, input={"b": 2}),
        begin(3),
        delta(3, type="input_json_delta", partial_json='{"a'),
        ENDED,
        STOP,
    )[0].answers
    assert answer.tool_calls == [
        ToolCall(name="f0", arguments={}, call_id="c0"),
        ToolCall(name="f1", arguments={"a": 1}, call_id="c1"),
        ToolCall(name="f2", arguments={"b": 2}, call_id="c2"),
        ToolCall(name="f3", arguments={}, call_id="c3", raw_arguments='{"a'),
    ]


@pytest.mark.parametrize("data", [b"data: {\n\n", b"data: []\n\n", b"data: {}\n\n", b'data: {"type": 1}\n\n'])
def test_an_event_that_is_not_in_the_protocol_is_an_error(data: bytes) -> None:
    with pytest.raises(StreamInterruptedError, match="not in the protocol"):
        read(START, data)


@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([START, TEXT, ENDED, STOP])), max_size=6))
def test_random_bytes_give_an_answer_or_our_error(reads: list[bytes]) -> None:
    try:
        whole, _ = read(*reads)
    except StreamInterruptedError:
        return
    assert whole.answers[0].finish_reason == "stop"


def test_an_event_that_is_nested_too_deeply_is_an_error() -> None:
    with pytest.raises(StreamInterruptedError, match="nested too deeply"):
        read(START, b'data: {"type": "ping", "error": ' + b"[" * 100_000 + b"\n\n")
