"""Time limits: each phase ends the request with an error that names it. Servers wait for a sign, so nothing sleeps."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop

from abstractcore.errors import RequestTimeoutError
from abstractcore.transport import AsyncHttpTransport, HttpTransport
from abstractcore.wire.call import Call, Timeouts
from tests.scripted_server import CHUNKED, END, PATIENCE, Peer, chunk, whole

from .conftest import Client, ClientFactory, Serve, read_all

SHORT = 0.05
AMPLE = 1.0  # for limits that must not run out before the server has done its part, also on a busy machine
UNLIMITED: dict[str, None] = {"connect": None, "first_byte": None, "idle": None, "total": None}


def limits(**seconds: float) -> Timeouts:
    """These limits and no others."""
    given: dict[str, Any] = {**UNLIMITED, **seconds}
    return Timeouts(**given)


def sends(*parts: bytes) -> Any:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(*parts)
        peer.wait_gone()

    return script


@pytest.mark.parametrize("stream", [False, True])
def test_no_answer_at_all(serve: Serve, client: Client, stream: bool) -> None:
    server = serve(sends())
    with pytest.raises(RequestTimeoutError, match=r"nothing .* within 0\.05 s") as caught:
        client.open(Call("POST", server.url, {}, b"{}", stream, limits(first_byte=SHORT)))
    assert caught.value.phase == "first_byte"
    assert caught.value.url == f"{server.url}"


def test_the_head_alone_is_not_a_first_byte(serve: Serve, client: Client) -> None:
    server = serve(sends(CHUNKED))
    with pytest.raises(RequestTimeoutError) as caught:
        client.open(Call("GET", server.url, timeouts=limits(first_byte=SHORT)))
    assert caught.value.phase == "first_byte"
    exchange = client.open(Call("GET", server.url, stream=True, timeouts=limits(first_byte=AMPLE)))
    for _ in range(2):
        with pytest.raises(RequestTimeoutError) as caught:
            exchange.read()
        assert caught.value.phase == "first_byte"


def test_silence_within_a_body(serve: Serve, client: Client) -> None:
    server = serve(sends(CHUNKED, chunk(b"one")))
    call = Call("GET", server.url, stream=True, timeouts=limits(first_byte=10.0, idle=SHORT))
    exchange = client.open(call)
    assert exchange.read() == b"one"
    with pytest.raises(RequestTimeoutError, match="fell silent") as caught:
        exchange.read()
    assert caught.value.phase == "idle"
    with pytest.raises(RequestTimeoutError) as caught:
        client.open(Call("GET", server.url, timeouts=limits(first_byte=10.0, idle=SHORT)))
    assert caught.value.phase == "idle"


def test_the_total_counts_although_bytes_keep_coming(serve: Serve, client: Client) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        while True:
            peer.send(chunk(b"more" * 1000))

    server = serve(script)
    exchange = client.open(
        Call("GET", server.url, stream=True, timeouts=limits(first_byte=10.0, idle=10.0, total=AMPLE))
    )
    with pytest.raises(RequestTimeoutError) as caught:
        read_all(exchange)
    assert caught.value.phase == "total"
    with pytest.raises(RequestTimeoutError) as caught:
        client.open(Call("GET", server.url, timeouts=limits(first_byte=10.0, idle=10.0, total=AMPLE)))
    assert caught.value.phase == "total"


def test_the_total_counts_before_the_answer_too(serve: Serve, client: Client) -> None:
    with pytest.raises(RequestTimeoutError) as caught:
        client.open(Call("GET", serve(sends()).url, timeouts=limits(first_byte=10.0, total=SHORT)))
    assert caught.value.phase == "total"


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue of connections is full, so that the next one waits."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for sock in waiting:
            sock.close()


@pytest.mark.parametrize(("given", "phase"), [({"connect": SHORT}, "connect"), ({"total": SHORT}, "total")])
def test_no_connection(full_port: int, client: Client, given: dict[str, float], phase: str) -> None:
    with pytest.raises(RequestTimeoutError) as caught:
        client.open(Call("GET", f"http://127.0.0.1:{full_port}/", timeouts=limits(**given)))
    assert caught.value.phase == phase


def test_tls_is_part_of_connecting(serve: Serve, client: Client) -> None:
    server = serve(lambda peer: peer.wait_gone())
    with pytest.raises(RequestTimeoutError) as caught:
        client.open(Call("GET", f"https://127.0.0.1:{server.port}/", timeouts=limits(connect=SHORT)))
    assert caught.value.phase == "connect"


def test_the_proxy_is_part_of_connecting(serve: Serve, new_client: ClientFactory) -> None:
    proxy = serve(lambda peer: peer.wait_gone())
    with pytest.raises(RequestTimeoutError) as caught:
        new_client(https_proxy=proxy.url).open(Call("GET", "https://api.test/", timeouts=limits(connect=SHORT)))
    assert caught.value.phase == "connect"


def test_a_request_that_the_server_does_not_take_in(serve: Serve, client: Client) -> None:
    never = threading.Event()

    def script(peer: Peer) -> None:
        assert never.wait(PATIENCE)

    server = serve(script)
    with pytest.raises(RequestTimeoutError) as caught:
        client.open(Call("POST", server.url, {}, bytes(20_000_000), timeouts=limits(first_byte=0.2)))
    never.set()
    assert caught.value.phase == "first_byte"


def test_without_limits_an_answer_still_comes(serve: Serve, client: Client) -> None:
    server = serve(sends(CHUNKED, chunk(b"one"), END))
    assert read_all(client.open(Call("GET", server.url, stream=True, timeouts=limits()))) == b"one"


def test_limits_of_one_request_do_not_outlive_it(serve: Serve, client: Client) -> None:
    """The second request shares the connection, and its answer comes only after the first one's limits."""
    silent = serve(sends())
    other = HttpTransport(environ={})

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(whole(b"first"))
        peer.request()
        with pytest.raises(RequestTimeoutError):
            other.open(Call("GET", silent.url, timeouts=limits(first_byte=5 * SHORT)))
        peer.send(whole(b"second"))
        peer.wait_gone()

    server = serve(script)
    short = limits(first_byte=4 * SHORT, idle=4 * SHORT, total=4 * SHORT)
    for _ in range(20):
        try:
            answer = client.open(Call("GET", server.url, timeouts=short)).answer
        except RequestTimeoutError:  # a busy machine
            continue
        break
    connections = server.connections
    assert answer.body == b"first"
    assert client.open(Call("GET", server.url, timeouts=limits())).answer.body == b"second"
    assert server.connections == connections


@pytest.mark.parametrize("first", [b"{", b" "], ids=["content", "white space"])
def test_bytes_that_trickle_buy_a_whole_answer_no_time(serve: Serve, client: Client, first: bytes) -> None:
    """One limit is for its start, the other for silence after it; white space is no start."""
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED, chunk(first))
        while not gone.wait(SHORT / 5):
            peer.send(chunk(b" "))

    server = serve(script)
    phase, seconds = (
        ("idle", {"first_byte": 10.0, "idle": 0.2}) if first.strip() else ("first_byte", {"first_byte": 0.2})
    )
    with pytest.raises(RequestTimeoutError) as caught:
        client.open(Call("GET", server.url, timeouts=limits(**seconds)))
    gone.set()
    assert caught.value.phase == phase


def test_a_whole_answer_that_comes_slowly_but_steadily_is_read(serve: Serve, client: Client) -> None:
    never = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        for _ in range(8):
            peer.send(chunk(bytes(2048)))
            never.wait(0.05)
        peer.send(END)
        peer.wait_gone()

    exchange = client.open(Call("GET", serve(script).url, timeouts=limits(first_byte=10.0, idle=0.3)))
    assert len(exchange.answer.body) == 8 * 2048


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_what_came_while_the_loop_was_held_up_is_read(serve: Serve, run: Any) -> None:
    """A caller that blocks its loop for longer than a limit is not told that the server was silent."""
    go_on, sent = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED, chunk(b"one"))
        assert go_on.wait(PATIENCE)
        peer.send(chunk(b"two"))
        sent.set()
        peer.wait_gone()

    async def main() -> None:
        call = Call("GET", serve(script).url, stream=True, timeouts=limits(first_byte=10.0, idle=SHORT))
        exchange = await AsyncHttpTransport(environ={}).open(call)
        assert await exchange.read() == b"one"
        reading = asyncio.create_task(exchange.read())
        await asyncio.sleep(0)
        go_on.set()
        assert sent.wait(PATIENCE)
        threading.Event().wait(2 * SHORT)
        assert await reading == b"two"

    run(main())
