"""A watched stream passes unchanged wherever it is cut, and comes to the verdict of the client that reads it all."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.errors import ProviderError
from abstractcore.server.watch import MOST, Watch
from abstractcore.wire.openai_stream import OpenAIStreamReader
from tests.recordings import recorded_stream, stream_names

STREAMS: Final = {
    name: recorded_stream(name) for name in stream_names() if recorded_stream(name).request.path.endswith("completions")
}


def choices_of(name: str) -> int:
    return int(msgspec.json.decode(STREAMS[name].request.body).get("n", 1))


def watched(data: bytes, cuts: list[int], choices: int = 1) -> tuple[bytes, Watch]:
    watch = Watch(choices)
    out = []
    marks = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(marks):
        if watch.failure is None and start < end:
            out.append(watch.feed(data[start:end]))
    if watch.failure is None:
        out.append(watch.close())
    return b"".join(out), watch


def ends_well(data: bytes, choices: int) -> bool:
    """What a client says that reads all of it."""
    reader = OpenAIStreamReader(provider="x", url="x", n=choices)
    try:
        reader.feed(data)
        reader.finish()
    except ProviderError:
        return False
    return True


CUTS = st.lists(st.integers(0, 1 << 20), max_size=30)


@given(name=st.sampled_from(sorted(STREAMS)), cuts=CUTS, ends=st.sampled_from([b"\n", b"\r\n"]))
def test_a_recorded_stream_passes_unchanged_wherever_it_is_cut(name: str, cuts: list[int], ends: bytes) -> None:
    data = STREAMS[name].body.replace(b"\n", ends)
    out, watch = watched(data, cuts, choices_of(name))
    assert (watch.failure is None) == ends_well(data, choices_of(name)) == (name != "error")
    assert data.startswith(out)
    if watch.failure is None:
        assert out == data
        assert watch.done


@given(name=st.sampled_from(sorted(STREAMS)), cuts=CUTS, length=st.integers(0, 1 << 20))
def test_a_stream_that_ends_too_soon_has_failed_and_never_says_done(name: str, cuts: list[int], length: int) -> None:
    whole = STREAMS[name].body
    data = whole[: length % len(whole)]
    out, watch = watched(data, cuts, choices_of(name))
    if watch.failure is not None:
        assert b"data: [DONE]" not in out
        assert not watch.done
    else:  # only what a client takes for complete too
        assert ends_well(data, choices_of(name)) or data.endswith((b"[DONE]", b"[DONE]\n"))


def chunk(text: str, finish: str | None = None, index: int = 0) -> bytes:
    choice: dict[str, Any] = {"index": index, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + msgspec.json.encode({"choices": [choice]}) + b"\n\n"


LOOKS_ALIKE = [
    "data: [DONE]\n\n", "[DONE]", '"finish_reason":"stop"', '"error"', '{"error": {"message": "x"}}',
    '\n\ndata: {"error":{}}\n\n', '"object":"error"', "\\", '"',
]  # fmt: skip


@given(texts=st.lists(st.sampled_from(LOOKS_ALIKE) | st.text(), max_size=6), cuts=CUTS)
def test_a_text_that_looks_like_the_protocol_is_a_text(texts: list[str], cuts: list[int]) -> None:
    data = b"".join(map(chunk, texts)) + chunk("", "stop") + b"data: [DONE]\n\n"
    out, watch = watched(data, cuts)
    assert (out, watch.failure) == (data, None)
    out, watch = watched(b"".join(map(chunk, texts)), cuts)
    assert watch.failure is not None


@given(cuts=CUTS)
def test_every_choice_must_end_itself(cuts: list[int]) -> None:
    data = chunk("a", "stop", 0) + chunk("", "stop", 0) + chunk("b", None, 1) + b"data: [DONE]\n\n"
    out, watch = watched(data, cuts, choices=2)
    assert watch.failure is not None
    assert b"[DONE]" not in out


def test_comments_and_other_fields_pass() -> None:
    data = b": ping\n\nretry: 5\n\nid: 1\n" + chunk("a", "stop") + b": bye\n\n"
    assert watched(data, [3, 12, 30])[0] == data


def test_an_event_of_any_size_is_not_kept() -> None:
    watch = Watch()
    watch.feed(b"data: " + bytes(MOST))
    assert watch.failure is not None


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_last_event_without_its_blank_line_counts_if_it_is_the_end(end: bytes) -> None:
    data = chunk("a", "stop") + b"data: [DONE]" + end
    out, watch = watched(data, [])
    assert (out, watch.failure) == (data, None)
    _, watch = watched(chunk("a", "stop") + chunk("b").rstrip() + end, [])
    assert watch.failure is not None
