"""Streams that are passed on: every byte as it came, up to what shows that the stream failed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.server.watch import Watch


def event(text: str, reason: str = "null", end: bytes = b"\n\n") -> bytes:
    """An event as vLLM writes it."""
    choice = f'{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{reason}}}'
    return f'data: {{"id":"c","object":"chat.completion.chunk","choices":[{choice}]}}'.encode() + end


LAST = event("", '"stop"')
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error": {"message": "broken", "code": 500}}\n\n'
TEXTS = ["a", "[DONE]", r"\"error\"", r"\"finish_reason\":\"abort\"", r"\n\n", "data: "]


def passed(data: bytes, cuts: list[int]) -> tuple[bytes, Watch]:
    """What is passed on of a stream that comes in pieces."""
    watch, places = Watch(), sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
    out = b""
    for start, end in pairwise(places):
        if watch.failure is None:
            out += watch.feed(data[start:end])
    return out + (watch.close() if watch.failure is None else b""), watch


@given(st.lists(st.sampled_from(TEXTS), max_size=6), st.lists(st.integers(0, 10_000), max_size=6))
def test_a_whole_stream_is_passed_on_as_it_came_however_it_is_cut(texts: list[str], cuts: list[int]) -> None:
    data = b"".join(map(event, texts)) + LAST + DONE
    out, watch = passed(data, cuts)
    assert (out, watch.failure, watch.done) == (data, None, True)


@given(
    st.lists(st.sampled_from(TEXTS), max_size=6),
    st.sampled_from([ERROR, event("x", '"abort"'), b'data: {"object":"error","message":"broken"}\n\n', DONE]),
    st.lists(st.integers(0, 10_000), max_size=6),
)
def test_nothing_is_passed_on_from_the_event_that_shows_a_failure(
    texts: list[str], failure: bytes, cuts: list[int]
) -> None:
    before = b"".join(map(event, texts))
    out, watch = passed(before + failure + event("more") + LAST + DONE, cuts)
    assert out == before
    assert watch.failure is not None


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\n\n\n"])
def test_events_may_end_in_any_form_of_blank_line(end: bytes) -> None:
    good = event("a", end=end) + event("", '"stop"', end)
    out, watch = passed(good + b"data: [DONE]" + end, [])
    assert (out, watch.failure, watch.done) == (good + b"data: [DONE]" + end, None, True)
    out, watch = passed(event("a", end=end) + b'data: {"error": {"message": "broken"}}' + end + good, [])
    assert out.rstrip() == event("a", end=end).rstrip()
    assert watch.failure is not None


def test_a_stream_without_a_finish_reason_is_not_complete() -> None:
    out, watch = passed(event("a"), [])
    assert out == event("a")
    assert watch.failure is not None
