"""The fake server does what its page says; other tests stand on it."""

from __future__ import annotations

import pytest

from abstractcore.errors import ConnectionFailedError
from abstractcore.testing import FakeAsyncTransport, FakeServer, FakeTransport, Reply
from abstractcore.wire.call import Call

GET = Call("GET", "http://h/a")
STREAM = Call("POST", "http://h/a", body=b'{"x": 1}', stream=True)


def test_a_route_is_used_up_and_its_last_answer_stays() -> None:
    server = FakeServer({"GET /a": [Reply.json(1), Reply.json(2)]})
    way = FakeTransport(server)
    assert [way.open(GET).answer.body for _ in range(3)] == [b"1", b"2", b"2"]
    server.route("GET /a", Reply.json(3))
    assert way.open(GET).answer.body == b"3"


def test_what_has_no_route_is_not_found() -> None:
    answer = FakeTransport(FakeServer({})).open(GET).answer
    assert (answer.status, answer.body) == (404, b'{"detail":"Not Found"}')


def test_a_request_may_decide_its_answer_or_get_none() -> None:
    server = FakeServer({"GET /a": lambda call: Reply.json(call.url), "POST /a": ConnectionFailedError("cut")})
    assert FakeTransport(server).open(GET).answer.body == b'"http://h/a"'
    with pytest.raises(ConnectionFailedError, match="cut"):
        FakeTransport(server).open(STREAM)
    assert server.paths() == ["GET /a", "POST /a"]
    assert server.sent == [{"x": 1}]


def test_a_stream_comes_in_its_chunks_and_an_early_end_is_counted() -> None:
    server = FakeServer({"POST /a": Reply.events([1, 2])})
    way = FakeTransport(server)
    exchange = way.open(STREAM)
    assert exchange.answer.body == b""
    assert [exchange.read() for _ in range(4)] == [b"data: 1\n\n", b"data: 2\n\n", b"data: [DONE]\n\n", b""]
    exchange.close()
    assert server.aborted == []
    way.open(STREAM).close()
    assert server.aborted == [STREAM]


def test_a_fault_comes_after_the_chunks() -> None:
    server = FakeServer({"POST /a": Reply.events([1], done=False, fault=ConnectionFailedError("cut"))})
    exchange = FakeTransport(server).open(STREAM)
    assert exchange.read() == b"data: 1\n\n"
    with pytest.raises(ConnectionFailedError):
        exchange.read()


async def test_the_same_from_an_event_loop() -> None:
    server = FakeServer({"POST /a": Reply.events([1])})
    exchange = await FakeAsyncTransport(server).open(STREAM)
    assert [await exchange.read() for _ in range(3)] == [b"data: 1\n\n", b"data: [DONE]\n\n", b""]
