"""Streams read to a good end, or not at all: on what real servers sent."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore import StreamInterruptedError
from abstractcore.types import ToolCall, Usage
from abstractcore.wire.openai import Completion
from abstractcore.wire.openai_stream import OpenAIStreamReader
from abstractcore.wire.sse import MAX_EVENT_BYTES
from tests.recordings import VERSIONS, recorded, recorded_stream

URL = "http://h/v1/chat/completions"


class Stream(NamedTuple):
    """A recorded stream in its events."""

    events: tuple[bytes, ...]
    n: int

    @property
    def body(self) -> bytes:
        return b"".join(self.events)

    @property
    def documents(self) -> list[Any]:
        payloads = [event.removeprefix(b"data: ") for event in self.events]
        return [json.loads(payload) for payload in payloads if not payload.startswith(b"[DONE]")]


def in_events(body: bytes, n: int) -> Stream:
    return Stream(tuple(event + b"\n\n" for event in body.split(b"\n\n") if event), n)


def good_streams() -> dict[str, Stream]:
    """Streams of all versions that ended well."""
    found = {}
    names = ("stream plain", "stream include_usage", "stream continuous", "stream completions usage", "beam stream")
    for version in VERSIONS:
        for probe in names:
            exchange = recorded(version, probe)
            found[f"{version} {probe}"] = in_events(exchange.body, exchange.request.json().get("n", 1))
    for name in ("chat", "usage", "two_choices", "logprobs", "constrained", "beam", "completion"):
        stream = recorded_stream(name)
        found[f"0.32.0 {name}"] = in_events(stream.body, stream.request.json().get("n", 1))
    return found


GOOD = good_streams()


def read(reads: list[bytes], n: int = 1) -> tuple[Completion, list[str]]:
    """All of a stream, and the text of the chunks by choice."""
    reader = OpenAIStreamReader(provider="vllm", url=URL, n=n)
    chunks = [chunk for data in reads for chunk in reader.feed(data)]
    return reader.finish(), ["".join(chunk.content for chunk in chunks if chunk.index == index) for index in range(n)]


def text_of(document: Any, index: int) -> str:
    return "".join(
        (choice["delta"].get("content") or "") if "delta" in choice else choice["text"]
        for choice in document["choices"]
        if choice["index"] == index
    )


# --- a good end ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOOD)
def test_a_stream_is_read_whole(name: str) -> None:
    stream = GOOD[name]
    whole, texts = read(list(stream.events), stream.n)
    assert texts == ["".join(text_of(event, index) for event in stream.documents) for index in range(stream.n)]
    assert [one.content for one in whole.answers] == texts
    assert all(one.finish_reason in ("stop", "length") for one in whole.answers)
    assert whole.model == "smollm2"
    assert whole.response_id == stream.documents[0]["id"]
    last = stream.documents[-1].get("usage")
    assert whole.usage == (Usage(last["prompt_tokens"], last["completion_tokens"]) if last else None)


@given(st.sampled_from(sorted(GOOD)), st.lists(st.integers(1, 500), min_size=1))
def test_every_split_gives_the_same(name: str, sizes: list[int]) -> None:
    stream = GOOD[name]
    reads: list[bytes] = []
    rest = stream.body
    while rest:
        size = sizes[len(reads) % len(sizes)]
        reads.append(rest[:size])
        rest = rest[size:]
    assert read(reads, stream.n) == read(list(stream.events), stream.n)


def test_logprobs_are_collected() -> None:
    stream = GOOD["0.32.0 logprobs"]
    whole, [text] = read(list(stream.events))
    [answer] = whole.answers
    assert answer.logprobs
    assert "".join(token.token for token in answer.logprobs) == text
    assert all(len(token.top) == 2 for token in answer.logprobs)
    assert answer.score == pytest.approx(sum(token.logprob for token in answer.logprobs))


def test_the_time_of_the_first_text_is_taken() -> None:
    reader = OpenAIStreamReader(provider="vllm", url=URL)
    events = GOOD["0.32.0 chat"].events
    reader.feed(events[0])
    assert reader.first_at is None, "the first event has the role and no text"
    reader.feed(events[1])
    assert reader.first_at is not None


def delta(finish: str | None = None, **added: Any) -> bytes:
    return event({"id": "r1", "choices": [{"delta": added, "finish_reason": finish}]})


def event(document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def test_tool_calls_are_put_together() -> None:
    def part(index: int, arguments: str, **first: Any) -> bytes:
        function = {"arguments": arguments, **({"name": first["name"]} if first else {})}
        return delta(tool_calls=[{"index": index, "function": function, **({"id": first["id"]} if first else {})}])

    reads = [
        part(0, "", id="a", name="f"),
        part(0, '{"x"'),
        part(1, "", id="b", name="g"),
        part(0, ": 1}"),
        part(1, "{}"),
    ]
    whole, _ = read([*reads, delta(finish="tool_calls"), DONE])
    assert whole.answers[0].tool_calls == [
        ToolCall(name="f", arguments={"x": 1}, call_id="a"),
        ToolCall(name="g", arguments={}, call_id="b"),
    ]


def test_reasoning_is_kept_apart() -> None:
    for first, second in (
        (delta(reasoning="2+"), delta(reasoning="2")),
        (delta(reasoning_content="2+"), delta(reasoning_content="2")),
    ):
        whole, [text] = read([first, second, delta(content="4", finish="stop")])
        assert (text, whole.answers[0].reasoning) == ("4", "2+2")


# --- no good end -----------------------------------------------------------------------------------------------------


def finished_at(stream: Stream) -> int:
    """Number of events after which each choice has its finish reason."""
    open_choices = set(range(stream.n))
    for count, document in enumerate(stream.documents, start=1):
        open_choices -= {choice["index"] for choice in document["choices"] if choice.get("finish_reason")}
        if not open_choices:
            return count
    raise AssertionError("the recording is no good stream")


@pytest.mark.parametrize("name", GOOD)
def test_a_cut_between_events_is_no_answer_before_the_last_finish_reason(name: str) -> None:
    stream = GOOD[name]
    for count in range(finished_at(stream)):
        with pytest.raises(StreamInterruptedError, match="without a finish reason") as caught:
            read(list(stream.events[:count]), stream.n)
        assert caught.value.partial == "".join(text_of(document, 0) for document in stream.documents[:count])


@pytest.mark.parametrize("name", ["0.8.5 stream include_usage", "0.32.0 beam", "0.32.0 stream completions usage"])
def test_a_cut_inside_an_event_is_never_an_answer(name: str) -> None:
    stream = GOOD[name]
    boundaries = {sum(map(len, stream.events[:count])) for count in range(len(stream.events) + 1)}
    for place in set(range(len(stream.body))) - boundaries:
        with pytest.raises(StreamInterruptedError, match="ended inside an event") as caught:
            read([stream.body[:place]], stream.n)
        assert "".join(text_of(document, 0) for document in stream.documents).startswith(caught.value.partial)


@pytest.mark.parametrize("name", GOOD)
def test_done_without_a_finish_reason_is_no_answer(name: str) -> None:
    stream = GOOD[name]
    for count in range(finished_at(stream)):
        with pytest.raises(StreamInterruptedError) as caught:
            read([*stream.events[:count], DONE], stream.n)
        assert "the body ended after [DONE]" in str(caught.value.why)


def test_each_choice_must_finish() -> None:
    stream = GOOD["0.32.0 two_choices"]
    with pytest.raises(StreamInterruptedError, match="without a finish reason") as caught:
        read(list(stream.events), n=3)
    assert "choice 2 of 3" in str(caught.value.why)


def test_an_error_inside_a_real_stream_is_raised() -> None:
    stream = recorded_stream("error")
    assert stream.status == 200
    with pytest.raises(StreamInterruptedError, match="Internal server error") as caught:
        read(list(stream.chunks))
    error = caught.value
    assert (error.server_message, error.status, error.partial) == ("Internal server error", 500, "")


@pytest.mark.parametrize(
    "failure",
    [
        {"error": {"message": "out of memory", "type": "InternalServerError", "param": None, "code": 500}},
        {"object": "error", "message": "out of memory", "type": "InternalServerError", "param": None, "code": 500},
        {"error": "out of memory"},
    ],
)
@pytest.mark.parametrize("count", [0, 5, 18])
def test_an_error_event_makes_all_of_it_no_answer(failure: dict[str, Any], count: int) -> None:
    stream = GOOD["0.32.0 chat"]
    for reads in ([*stream.events[:count], event(failure), DONE], [b"".join([*stream.events[:count], event(failure)])]):
        with pytest.raises(StreamInterruptedError, match="out of memory") as caught:
            read(reads)
        assert caught.value.partial == "".join(text_of(document, 0) for document in stream.documents[:count])


def test_an_aborted_answer_is_no_answer() -> None:
    with pytest.raises(StreamInterruptedError, match="aborted") as caught:
        read([delta(content="half"), delta(finish="abort"), DONE])
    assert caught.value.partial == "half"


@pytest.mark.parametrize(
    "malformed",
    [b"data: {\n\n", b"data: 3\n\n", b"data: <html>\n\n", b'data: {"choices": 3}\n\n', b"data: \xff\n\n",
     b'data: {"choices": [{"delta": {"content": 7}}]}\n\n',
     b'data: {"choices": [{"delta": {}, "logprobs": {"content": [{}]}}]}\n\n'],
)  # fmt: skip
def test_a_malformed_event_is_no_answer(malformed: bytes) -> None:
    with pytest.raises(StreamInterruptedError, match="not in the protocol") as caught:
        read([delta(content="half"), malformed])
    assert caught.value.partial == "half"
    assert caught.value.request_id == "r1"


def test_an_event_without_end_is_no_answer() -> None:
    reader = OpenAIStreamReader(provider="vllm", url=URL)
    reader.feed(delta(content="half") + b"data: " + b"x" * (MAX_EVENT_BYTES - 6))
    reader.feed(b"x")
    with pytest.raises(StreamInterruptedError, match="accepted") as caught:
        reader.finish()
    assert caught.value.partial == "half"


def test_a_tool_call_cut_by_the_limit_is_kept_as_it_came() -> None:
    """Recorded: 64 tokens end inside the arguments. Whoever settles the answer refuses it."""
    whole, _ = read(list(recorded_stream("tool_call").chunks))
    (call,) = whole.answers[0].tool_calls
    assert (call.name, call.arguments) == ("get_n", {})
    assert (call.raw_arguments or "").startswith("-64")


def tool_delta(index: int, call_id: str | None, name: str | None, arguments: str) -> bytes:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    call = {"index": index, "function": function} | ({"id": call_id} if call_id else {})
    return delta(tool_calls=[call])


@pytest.mark.parametrize("indexes", [(0, 1), (1, 0), (0, 0)], ids=["in order", "other order", "all counted as 0"])
def test_parallel_tool_calls_are_told_apart(indexes: tuple[int, int]) -> None:
    first, second = indexes
    reads = [
        tool_delta(first, "c1", "add", '{"a"'),
        tool_delta(first, None, None, ": 1}"),
        tool_delta(second, "c2", "sub", '{"b": '),
        tool_delta(second, None, None, "2}"),
    ]
    whole, _ = read([*reads, delta(finish="tool_calls"), DONE])
    calls = {call.call_id: (call.name, call.arguments) for call in whole.answers[0].tool_calls}
    assert calls == {"c1": ("add", {"a": 1}), "c2": ("sub", {"b": 2})}
    order = [call.call_id for call in whole.answers[0].tool_calls]
    assert order == (["c2", "c1"] if indexes == (1, 0) else ["c1", "c2"])


def test_nothing_at_all_is_no_answer() -> None:
    with pytest.raises(StreamInterruptedError):
        read([])


@pytest.mark.parametrize("version", VERSIONS[-2:])
def test_a_stream_of_a_cut_tool_call_keeps_what_came(version: str) -> None:
    whole, _ = read([recorded(version, "tool_choice named stream").body])
    assert whole.answers[0].tool_calls[0].raw_arguments
