from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from abstractcore.errors import ProviderAPIError
from abstractcore.wire.sse import Event, EventParser


def parse(*reads: bytes) -> list[Event]:
    parser = EventParser()
    return [event for read in reads for event in parser.feed(read)]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def feed_in_steps(parser: EventParser, stream: bytes, step: int) -> list[Event]:
    return [event for at in range(0, len(stream), step) for event in parser.feed(stream[at : at + step])]


def reference(stream: bytes) -> list[tuple[bytes, str, str]]:
    """The standard's algorithm, word by word, on the whole stream at once."""
    events = []
    data: list[bytes] = []
    kind = last_id = ""
    *lines, _unfinished = re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))
    for line in lines:
        if line == b"":
            if data:
                events.append((b"\n".join(data), kind or "message", last_id))
            data, kind = [], ""
        elif not line.startswith(b":"):
            field, _, value = line.partition(b":")
            value = value[1:] if value.startswith(b" ") else value
            if field == b"data":
                data.append(value)
            elif field == b"event":
                kind = value.decode("utf-8", "replace")
            elif field == b"id" and b"\0" not in value:
                last_id = value.decode("utf-8", "replace")
    return events


def as_tuples(events: list[Event]) -> list[tuple[bytes, str, str]]:
    return [(event.data, event.type, event.id) for event in events]


SOUP = st.lists(
    st.sampled_from(
        [
            b'data: {"a": 1}\n\n',
            b"data: ",
            b"data:",
            b"data",
            b"event: ",
            b"id: ",
            b"retry: 7",
            b": note",
            b"other: ",
            b"\n",
            b"\n\n",
            b"\r",
            b"\r\n",
            b"\r\n\r\n",
            b"\xef\xbb\xbf",
            b"\0",
            b" ",
            b"x",
            b'{"a": 1}',
            b"\xe2\x82\xac",
            b"\xff",
        ]
    ),
    max_size=40,
).map(b"".join)


@given(SOUP, st.lists(st.integers(0, 400), max_size=8))
@example(b"data: a\n\n", [])
@example(b"data: a\n\n\ndata: b\n\n\n", [])
@example(b"data: a\ndata: b\n\ndata: c\n\n", [])
@example(b"data: a\n\n\ndata: b", [])
def test_any_stream_in_any_reads_gives_what_the_standard_says(stream: bytes, places: list[int]) -> None:
    assert as_tuples(parse(*cut(stream, places))) == reference(stream)


@given(SOUP)
def test_single_bytes_give_what_the_standard_says(stream: bytes) -> None:
    assert as_tuples(parse(*cut(stream, range(len(stream))))) == reference(stream)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"data: YHOO\ndata: +2\ndata: 10\n\n", [(b"YHOO\n+2\n10", "message", "")], id="data-lines-join"),
        pytest.param(b"data\n\ndata\ndata\n\ndata:", [(b"", "message", ""), (b"\n", "message", "")], id="no-colon"),
        pytest.param(b"data:test\n\ndata: test\n\n", [(b"test", "message", "")] * 2, id="one-leading-space"),
        pytest.param(b"data:  two\n\n", [(b" two", "message", "")], id="only-one-space-goes"),
        pytest.param(b"event: add\ndata: 1\n\ndata: 2\n\n", [(b"1", "add", ""), (b"2", "message", "")], id="type"),
        pytest.param(b"event: add\n\n: note\n\nid: 3\n\n", [], id="no-data-no-event"),
        pytest.param(b"id: 1\n\ndata: a\n\ndata: b\n\n", [(b"a", "message", "1"), (b"b", "message", "1")], id="id"),
        pytest.param(b"id: 1\ndata\n\nid\ndata\n\n", [(b"", "message", "1"), (b"", "message", "")], id="id-emptied"),
        pytest.param(b"id: 1\nid: a\0b\ndata\n\n", [(b"", "message", "1")], id="id-with-null"),
        pytest.param(b"Data: x\n data: x\ndatum: x\ndata : x\n\n", [], id="unknown-fields"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [(b"a", "message", "")], id="byte-order-mark"),
        pytest.param(b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [(b"a", "message", "")], id="byte-order-mark-late"),
        pytest.param(b"data: a\r\rdata: b\r\n\r\n", [(b"a", "message", ""), (b"b", "message", "")], id="line-ends"),
    ],
)
def test_the_rules_of_the_standard(stream: bytes, expected: list[tuple[bytes, str, str]]) -> None:
    assert as_tuples(parse(stream)) == expected


def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a\r\n\r") == [Event(b"a")]
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: b\n\n") == [Event(b"b")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"retry: 1500", 1500),
        (b"retry: 15s", None),
        (b"retry: -1", None),
        (b"retry", None),
        (b"retry: " + b"9" * 5000, None),
    ],
)
def test_retry_takes_digits_only(line: bytes, expected: int | None) -> None:
    parser = EventParser()
    parser.feed(line + b"\n\n")
    assert parser.retry == expected


@pytest.mark.parametrize(
    ("stream", "left"),
    [
        (b"", b""),
        (b"data: a\n\n", b""),
        (b"data: a\r\n\r", b""),
        (b"data: a\n\n: note\n", b""),
        (b"data: a\n\ndata: b", b"data: b"),
        (b"data: a\n\ndata: b\n", b"data: b\n"),
        (b"data: a\n\nevent: b\ndat", b"event: b\ndat"),
        (b"\xef\xbb", b"\xef\xbb"),
    ],
)
def test_close_tells_what_never_ended(stream: bytes, left: bytes) -> None:
    parser = EventParser()
    parser.feed(stream)
    assert parser.close() == left


@pytest.mark.parametrize("end", [b"", b"\n\n", b"\ndata: x\n\n"])
@pytest.mark.parametrize("start", [b"", b"data: a\n\n", b"event: a\n"])
@pytest.mark.parametrize("step", [1, 7, 5000])
def test_an_event_over_the_cap_is_refused_however_it_is_cut(start: bytes, end: bytes, step: int) -> None:
    stream = start + b"data: " + b"x" * 1200 + end
    parser = EventParser(max_event_bytes=1000)
    with pytest.raises(ProviderAPIError, match=r"stream event of at least 1,\d{3} bytes; 1,000 are accepted"):
        feed_in_steps(parser, stream, step)


@pytest.mark.parametrize("step", [1, 7, 5000])
def test_many_small_events_and_comments_never_reach_the_cap(step: int) -> None:
    stream = b": still here\n" * 200 + b"data: small\n\n" * 200
    parser = EventParser(max_event_bytes=100)
    assert feed_in_steps(parser, stream, step) == [Event(b"small")] * 200
