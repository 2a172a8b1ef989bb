"""HTTP/1.1 framing: every answer reads the same however its bytes are cut."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.wire import http1
from abstractcore.wire.http1 import FramingError, ResponseReader, TruncatedError, request_bytes

BODY = b'{"greeting": "hello"}' * 5


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


def answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + status, *headers, b"", b"")) + body


ANSWERS = {
    "content-length": answer(BODY, b"Content-Type: a/b", b"Content-Length: %d" % len(BODY)),
    "chunked": answer(chunked(BODY[:7], BODY[7:9], BODY[9:]), b"Content-Type: a/b", b"Transfer-Encoding: chunked"),
    "trailers": answer(
        chunked(BODY)[:-2] + b"X-Trailer: 1\r\n\r\n", b"Content-Type: a/b", b"Transfer-Encoding: chunked"
    ),
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    + answer(BODY, b"Content-Type: a/b", b"Content-Length: %d" % len(BODY)),
    "gzip": answer(
        chunked(gzip.compress(BODY)), b"Content-Type: a/b", b"Content-Encoding: gzip", b"Transfer-Encoding: chunked"
    ),
}


def read(pieces: Iterable[bytes], method: str = "GET") -> tuple[ResponseReader, bytes]:
    reader = ResponseReader(method)
    body = []
    for piece in pieces:
        reader.feed(piece)
        body.append(reader.take())
    return reader, b"".join(body)


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_reads_the_same_wherever_it_is_cut_in_two(kind: str) -> None:
    data = ANSWERS[kind]
    for at in range(len(data) + 1):
        reader, body = read([data[:at], data[at:]])
        assert (reader.status, reader.headers["content-type"], body) == (200, "a/b", BODY), at
        assert "x-trailer" not in reader.headers
        assert "link" not in reader.headers
        assert reader.complete
        assert reader.keep_alive


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(0, 400), max_size=12))
def test_a_chunked_body_reads_the_same_however_it_is_cut(parts: list[bytes], cuts: list[int]) -> None:
    data = answer(chunked(*parts), b"Transfer-Encoding: chunked")
    marks = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    reader, body = read(data[start:end] for start, end in pairwise(marks))
    assert body == b"".join(parts)
    assert reader.complete


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_cut_at_any_byte_is_told_from_a_clean_end(kind: str) -> None:
    data = ANSWERS[kind]
    for at in range(len(data)):
        reader, body = read([data[:at]])
        assert not reader.complete, at
        assert BODY.startswith(body)
        with pytest.raises(TruncatedError):
            reader.eof()
    reader, _ = read([data])
    reader.eof()
    assert not reader.keep_alive


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    reader, body = read([answer(b"all of ", b"X: y"), b"it"])
    assert not reader.complete
    reader.eof()
    assert (body, reader.complete, reader.keep_alive) == (b"all of it", True, False)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_an_answer_that_has_no_body_is_complete_with_its_head(status: bytes) -> None:
    reader, body = read([answer(b"", b"X: y", status=status)])
    assert (body, reader.complete, reader.keep_alive) == (b"", True, True)


def test_the_answer_to_head_has_no_body_whatever_its_length_says() -> None:
    reader, body = read([answer(b"", b"Content-Length: 10", b"Content-Encoding: gzip")], "HEAD")
    assert (body, reader.complete) == (b"", True)


@pytest.mark.parametrize(
    ("data", "keeps"),
    [
        (answer(b"ok", b"Content-Length: 2"), True),
        (answer(b"ok", b"Content-Length: 2", b"Connection: close"), False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", True),
        (answer(b"ok", b"Content-Length: 2") + b"HTTP/1.1 200 OK\r\n", False),
        (answer(b"ok", b"Content-Length: 2") + b"rubbish", False),
    ],
)
def test_a_connection_is_kept_only_after_a_clean_answer(data: bytes, keeps: bool) -> None:
    reader, body = read([data])
    assert (body, reader.complete, reader.keep_alive) == (b"ok", True, keeps)


def test_data_that_follows_later_spoils_the_connection() -> None:
    reader, body = read([answer(b"ok", b"Content-Length: 2"), b"more"])
    assert (body, reader.complete, reader.keep_alive) == (b"ok", True, False)


def test_header_names_are_lower_case_and_repeated_ones_are_joined() -> None:
    reader, _ = read([answer(b"", b"X-One: a", b"x-one:  b ", b"Content-Length: 0", "X-Two: é".encode("latin-1"))])
    assert reader.headers == {"x-one": "a, b", "content-length": "0", "x-two": "é"}


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02F",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        answer(b"", b"Content-Length: two"),
        answer(b"zz\r\n", b"Transfer-Encoding: chunked"),
        answer(b"", b"Content-Length: 2", b"Transfer-Encoding: chunked"),
        answer(b"", b"Upgrade: websocket", b"Connection: Upgrade", status=b"101 Switching Protocols"),
        answer(b"", b"Content-Encoding: br"),
        answer(b"not gzip", b"Content-Encoding: gzip", b"Content-Length: 8"),
    ],
)
def test_what_is_not_http_is_an_error(data: bytes) -> None:
    with pytest.raises(FramingError) as caught:
        read([data])
    assert not isinstance(caught.value, TruncatedError)


@pytest.mark.parametrize("size", [1024, 1 << 20])
def test_a_head_that_never_ends_is_an_error(size: int) -> None:
    endless = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 100) for i in range(10_000))
    with pytest.raises(FramingError, match="larger than 65536"):
        read(endless[at : at + size] for at in range(0, len(endless), size))


def test_interim_answers_without_end_are_an_error() -> None:
    with pytest.raises(FramingError, match="larger than 65536"):
        read(b"HTTP/1.1 100 Continue\r\n\r\n" for _ in range(10_000))


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        (b"gzip", gzip.compress(BODY, mtime=0)),
        (b"x-gzip", gzip.compress(BODY[:9], mtime=0) + gzip.compress(BODY[9:], mtime=0)),
        (b"deflate", zlib.compress(BODY)),
        (b"deflate", raw_deflate(BODY)),
        (b"Identity", BODY),
    ],
)
def test_bodies_that_come_compressed_all_the_same_are_decoded(coding: bytes, data: bytes) -> None:
    head = answer(b"", b"Content-Encoding: " + coding, b"Content-Length: %d" % len(data))
    reader, body = read([head, *(data[at : at + 1] for at in range(len(data)))])
    assert (body, reader.complete, reader.keep_alive) == (BODY, True, True)


def test_a_compressed_stream_is_handed_out_as_it_comes() -> None:
    stream = zlib.compressobj(wbits=31)
    first = stream.compress(b"event 1") + stream.flush(zlib.Z_SYNC_FLUSH)
    _, body = read([answer(b"", b"Content-Encoding: gzip", b"Transfer-Encoding: chunked"), chunked(first)[:-5]])
    assert body == b"event 1"


def test_a_compressed_body_that_ends_too_early_is_truncated() -> None:
    data = gzip.compress(BODY)[:-9]
    with pytest.raises(TruncatedError):
        read([answer(data, b"Content-Encoding: gzip", b"Content-Length: %d" % len(data))])
    reader, _ = read([answer(data, b"Content-Encoding: gzip")])
    with pytest.raises(TruncatedError):
        reader.eof()


def test_a_body_that_explodes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "MAX_INFLATED", 100_000)
    for size, fits in ((100_000, True), (100_001, False)):
        data = gzip.compress(bytes(size))
        whole = answer(data, b"Content-Encoding: gzip", b"Content-Length: %d" % len(data))
        if fits:
            assert len(read([whole])[1]) == size
        else:
            with pytest.raises(FramingError, match="expand"):
                read([whole])


def test_a_request_carries_what_the_server_needs() -> None:
    request = request_bytes("POST", "/v1/x?y=1", "host:1", {"Authorization": "Bearer k", "X": "é"}, b"{}")
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /v1/x?y=1 HTTP/1.1",
        b"Authorization: Bearer k",
        "X: é".encode("latin-1"),
        b"Host: host:1",
        b"Accept-Encoding: identity",
        b"Content-Length: 2",
    ]
    assert body == b"{}"


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("GET", None, None), ("POST", None, b"0"), ("POST", b"", b"0"), ("DELETE", b"x", b"1")],
)
def test_a_length_is_announced_when_a_body_may_be_expected(
    method: str, body: bytes | None, length: bytes | None
) -> None:
    request = request_bytes(method, "/", "h", {}, body)
    assert request.endswith(b"\r\n\r\n" + (body or b""))
    assert (b"Content-Length: " + length in request) if length else (b"Content-Length" not in request)


def test_the_callers_own_host_and_encoding_count() -> None:
    request = request_bytes("GET", "/", "h", {"host": "other", "ACCEPT-encoding": "gzip"}, None)
    assert request == b"GET / HTTP/1.1\r\nhost: other\r\nACCEPT-encoding: gzip\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/", {"X": "secret\r\nY: z"}),
        ("GET", "/", {"X": "secret\nY: z"}),
        ("GET", "/", {"X": "secret\r"}),
        ("GET", "/", {"X": "secret\0"}),
        ("GET", "/", {"X": "secret€"}),
        ("GET", "/", {"X\r\nY": "secret"}),
        ("GET", "/", {"X Y": "secret"}),
        ("GET", "/", {"X:": "secret"}),
        ("GET", "/", {"": "secret"}),
        ("GET", "/", {"Content-Length": "0"}),
        ("POST", "/", {"transfer-encoding": "chunked"}),
        ("GET", "/ HTTP/1.1\r\nX: y", {}),
        ("GET", "/a b", {}),
        ("GET", "/é", {}),
        ("GET", "", {}),
        ("GET /", "", {}),
        ("G\r\nT", "/", {}),
    ],
)
def test_a_request_that_would_break_the_framing_is_refused(method: str, target: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"request|header") as caught:
        request_bytes(method, target, "h", headers, None)
    assert "secret" not in str(caught.value)
