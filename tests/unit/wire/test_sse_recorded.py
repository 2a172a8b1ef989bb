"""The event-stream parser on what real servers sent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.wire.sse import Event, EventParser
from tests.recordings import VERSIONS, probe_names, recorded, recorded_stream, stream_names

RECORDED = [
    (version, probe)
    for version in VERSIONS
    for probe in probe_names(version)
    if recorded(version, probe).headers.get("content-type", "").startswith("text/event-stream")
]


def parse(reads: list[bytes]) -> tuple[list[Event], bytes]:
    parser = EventParser()
    return [event for read in reads for event in parser.feed(read)], parser.close()


@pytest.mark.parametrize("name", stream_names())
def test_each_http_chunk_is_one_event(name: str) -> None:
    chunks = recorded_stream(name).chunks
    parser = EventParser()
    events = [parser.feed(chunk) for chunk in chunks]
    assert [len(found) for found in events] == [1] * len(chunks)
    assert parser.close() == b""


@pytest.mark.parametrize(("version", "probe"), RECORDED)
def test_every_recorded_stream_is_json_and_ends_clean(version: str, probe: str) -> None:
    events, left = parse([recorded(version, probe).body])
    documents = [json.loads(event.data) for event in events if event.data != b"[DONE]"]
    assert documents
    assert all(isinstance(document, dict) for document in documents)
    assert left == b""


def test_event_names_are_read() -> None:
    events, _ = parse(list(recorded_stream("messages").chunks))
    assert [event.type for event in events] == [json.loads(event.data)["type"] for event in events]


@given(st.sampled_from(stream_names()), st.lists(st.integers(min_value=1, max_value=700), min_size=1))
def test_any_split_of_a_real_stream_gives_the_same_events(name: str, sizes: list[int]) -> None:
    stream = recorded_stream(name)
    reads: list[bytes] = []
    rest = stream.body
    while rest:
        size = sizes[len(reads) % len(sizes)]
        reads.append(rest[:size])
        rest = rest[size:]
    assert parse(reads) == parse(list(stream.chunks))


@given(st.sampled_from(stream_names()), st.integers(min_value=0))
def test_a_cut_is_told_wherever_it_falls(name: str, place: int) -> None:
    stream = recorded_stream(name)
    edges = {sum(map(len, stream.chunks[:index])) for index in range(len(stream.chunks) + 1)}
    at = place % (len(stream.body) + 1)
    _, left = parse([stream.body[:at]])
    assert (left == b"") == (at in edges)
