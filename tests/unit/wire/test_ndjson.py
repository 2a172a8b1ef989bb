from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.errors import ProviderAPIError
from abstractcore.wire.ndjson import LineParser


@given(st.lists(st.sampled_from([b'{"a": 1}', b"\n", b"\r\n", b" ", b"x"]), max_size=30).map(b"".join), st.data())
def test_any_cut_gives_the_same_lines(stream: bytes, draw: st.DataObject) -> None:
    *whole, last = stream.split(b"\n")
    parser = LineParser()
    lines = []
    rest = stream
    while rest:
        size = draw.draw(st.integers(1, len(rest)))
        lines += parser.feed(rest[:size])
        rest = rest[size:]
    assert lines == [line.rstrip() for line in whole if line.strip()]
    assert parser.close() == last.strip()


@pytest.mark.parametrize("step", [1, 7, 5000])
@pytest.mark.parametrize("end", [b"", b"\n", b"\n{}\n"])
def test_a_line_over_the_cap_is_refused_however_it_is_cut(step: int, end: bytes) -> None:
    stream = b"{}\n" + b"x" * 1200 + end
    parser = LineParser(max_line_bytes=1000)
    with pytest.raises(ProviderAPIError, match=r"stream line of at least 1,\d{3} bytes; 1,000 are accepted"):
        [parser.feed(stream[at : at + step]) for at in range(0, len(stream), step)]
