"""Requests and answers over real sockets, the same for both transports."""

from __future__ import annotations

import gzip
import threading
from pathlib import Path

import pytest

from abstractcore.errors import ConnectionFailedError, ProviderAPIError
from abstractcore.transport import deadline
from abstractcore.wire.call import Call
from tests.scripted_server import CHUNKED, END, PATIENCE, Peer, ScriptedServer, chunk, head, whole

from .conftest import Client, Serve, read_all

KEY = "Bearer secret-key"


def get(server: ScriptedServer, path: str = "/v1/models") -> Call:
    return Call("GET", server.url + path, {"Authorization": KEY})


def stream(server: ScriptedServer, path: str = "/v1/chat/completions") -> Call:
    return Call("POST", server.url + path, {"Authorization": KEY}, b"{}", stream=True)


def test_a_whole_answer(serve: Serve, client: Client) -> None:
    def script(peer: Peer) -> None:
        request = peer.request()
        assert (request.method, request.target, request.body) == ("POST", "/v1/x?y=1", b"{}")
        assert request.headers["authorization"] == KEY
        assert request.headers["host"] == f"127.0.0.1:{server.port}"
        peer.send(whole(b"teapot", "X-Request-Id: 7", status="418 Teapot"))
        peer.wait_gone()

    server = serve(script)
    exchange = client.open(Call("POST", server.url + "/v1/x?y=1", {"Authorization": KEY}, b"{}"))
    answer = exchange.answer
    assert (answer.status, answer.body, answer.headers["x-request-id"]) == (418, b"teapot", "7")
    assert answer.elapsed > 0
    exchange.close()


def test_each_event_is_handed_out_before_the_next_one_is_sent(serve: Serve, client: Client) -> None:
    """The server waits for the client's sign, so a single buffered event would stop both for ever."""
    seen = [threading.Event() for _ in range(5)]

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        for number, event in enumerate(seen):
            peer.send(chunk(b"data: %d\n\n" % number))
            assert event.wait(PATIENCE)
        peer.send(END)
        peer.wait_gone()

    exchange = client.open(stream(serve(script)))
    assert exchange.answer.body == b""
    for number, event in enumerate(seen):
        assert exchange.read() == b"data: %d\n\n" % number
        event.set()
    assert exchange.read() == b""
    assert exchange.read() == b""


def keep_answering(peer: Peer) -> None:
    """Streams and whole answers on one connection, for as long as the client wants."""
    while True:
        request = peer.request()
        if request.method == "POST":
            peer.send(CHUNKED, chunk(b"one"), chunk(b"two"), END)
        else:
            peer.send(whole(b"ok"))


def test_a_hundred_streams_take_one_connection(serve: Serve, client: Client) -> None:
    server = serve(keep_answering)
    for _ in range(100):
        assert read_all(client.open(stream(server))) == b"onetwo"
    assert server.connections == 1


def test_whole_answers_and_streams_share_a_connection(serve: Serve, client: Client) -> None:
    server = serve(keep_answering)
    for _ in range(5):
        assert client.open(get(server)).answer.body == b"ok"
        assert read_all(client.open(stream(server))) == b"onetwo"
    assert server.connections == 1


def test_requests_at_the_same_time_take_connections_of_their_own(serve: Serve, client: Client) -> None:
    server = serve(keep_answering)
    exchanges = [client.open(stream(server)) for _ in range(3)]
    assert [read_all(exchange) for exchange in exchanges] == [b"onetwo"] * 3
    assert server.connections == 3
    for _ in range(3):
        read_all(client.open(stream(server)))
    assert server.connections == 3


@pytest.mark.parametrize(
    "answer",
    [
        whole(b"ok", "Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        whole(b"ok") + b"more than was announced",
    ],
)
def test_a_connection_that_cant_be_trusted_is_not_used_again(serve: Serve, client: Client, answer: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(answer)
        peer.wait_gone()

    server = serve(script)
    for _ in range(2):
        assert client.open(get(server)).answer.body == b"ok"
    assert server.connections == 2


def test_an_idle_connection_that_grew_old_is_not_used(
    serve: Serve, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("http_sync", "http_async"):
        monkeypatch.setattr(f"abstractcore.transport.{module}.KEEP_ALIVE", 0.0)
    server = serve(keep_answering)
    client.open(get(server))
    client.open(get(server))
    assert server.connections == 2


def test_a_connection_that_the_server_closed_while_idle_is_replaced(serve: Serve, client: Client) -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(whole(b"ok"))
        if peer.number == 1:
            peer.sock.close()
            closed.set()
        else:
            peer.wait_gone()

    server = serve(script)
    client.open(get(server))
    assert closed.wait(PATIENCE)
    assert client.open(stream(server)).answer.status == 200
    assert server.connections == 2


def close_under_the_second_request(peer: Peer) -> None:
    """What a server does whose keep-alive ends just as the next request is on its way."""
    peer.request()
    if peer.number == 1:
        peer.send(whole(b"first"))
        peer.request()
        peer.reset()
    else:
        peer.send(whole(b"second"))
        peer.wait_gone()


def test_a_stale_connection_is_replaced_once_and_unseen(serve: Serve, client: Client) -> None:
    server = serve(close_under_the_second_request)
    assert client.open(get(server)).answer.body == b"first"
    assert client.open(get(server)).answer.body == b"second"
    assert server.connections == 2


def test_a_request_that_the_server_may_have_worked_on_is_not_repeated(
    serve: Serve, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("http_sync", "http_async"):
        monkeypatch.setattr(f"abstractcore.transport.{module}.STALE_WITHIN", 0.0)
    server = serve(close_under_the_second_request)
    client.open(get(server))
    with pytest.raises(ConnectionFailedError) as caught:
        client.open(get(server))
    assert not caught.value.delivered
    assert server.connections == 1
    assert deadline.STALE_WITHIN > 0


def test_the_replacement_of_a_stale_connection_is_not_replaced_again(serve: Serve, client: Client) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        if peer.number == 1:
            peer.send(whole(b"first"))
            peer.request()
        peer.reset()

    server = serve(script)
    client.open(get(server))
    with pytest.raises(ConnectionFailedError):
        client.open(get(server))
    assert server.connections == 2


def test_closing_a_stream_is_seen_by_the_server(serve: Serve, client: Client) -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED, chunk(b"one"))
        peer.wait_gone()
        gone.set()

    server = serve(script)
    exchange = client.open(stream(server))
    assert exchange.read() == b"one"
    exchange.close()
    exchange.close()
    assert gone.wait(PATIENCE)
    with pytest.raises(ConnectionFailedError):
        exchange.read()


def test_closing_a_stream_that_has_ended_keeps_the_connection(serve: Serve, client: Client) -> None:
    server = serve(keep_answering)
    exchange = client.open(stream(server))
    assert read_all(exchange) == b"onetwo"
    exchange.close()
    client.open(get(server))
    assert server.connections == 1


def test_a_redirect_is_an_answer_like_any_other(serve: Serve, client: Client) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(whole(b"", "Location: /elsewhere", status="307 Temporary Redirect"))
        peer.wait_gone()

    server = serve(script)
    assert client.open(get(server)).answer.status == 307
    assert server.connections == 1


def test_head_has_no_body(serve: Serve, client: Client) -> None:
    def script(peer: Peer) -> None:
        assert peer.request().method == "HEAD"
        peer.send(head("Content-Length: 1000"))
        peer.wait_gone()

    answer = client.open(Call("HEAD", serve(script).url)).answer
    assert (answer.status, answer.body) == (200, b"")


def test_interim_answers_are_skipped_and_gzip_is_decoded(serve: Serve, client: Client) -> None:
    def script(peer: Peer) -> None:
        assert peer.request().headers["accept-encoding"] == "identity"
        peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n", whole(gzip.compress(b"hello"), "Content-Encoding: gzip"))
        peer.wait_gone()

    assert client.open(get(serve(script))).answer.body == b"hello"


def test_a_large_request_and_a_large_answer(serve: Serve, client: Client) -> None:
    big = bytes(range(256)) * 20_000

    def script(peer: Peer) -> None:
        peer.send(whole(peer.request().body))
        peer.wait_gone()

    assert client.open(Call("POST", serve(script).url, {}, big)).answer.body == big


def test_an_answer_that_comes_before_the_request_is_read_counts(serve: Serve, client: Client) -> None:
    def script(peer: Peer) -> None:
        peer.send(whole(b"too large", "Connection: close", status="413 Too Large"))
        peer.wait_gone()

    answer = client.open(Call("POST", serve(script).url, {}, bytes(100_000))).answer
    assert (answer.status, answer.body) == (413, b"too large")


def test_a_unix_socket(serve: Serve, client: Client, tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        request = peer.request()
        assert (request.target, request.headers["host"]) == ("/v1/models", "localhost")
        peer.send(whole(b"ok"))
        peer.wait_gone()

    server = serve(script, unix=str(tmp_path / "server.sock"))
    assert client.open(get(server)).answer.body == b"ok"
    with pytest.raises(ConnectionFailedError, match="No such file") as caught:
        client.open(Call("GET", f"http+unix://{str(tmp_path).replace('/', '%2F')}%2Fnone.sock/x"))
    assert caught.value.refused


def test_a_refused_connection_says_so(serve: Serve, client: Client) -> None:
    server = serve(keep_answering)
    server.close()
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(ConnectionFailedError, match="Connection refused") as caught:
            client.open(Call("GET", f"http://user:pass@{host}:{server.port}/v1/models?key=1", {"Authorization": KEY}))
        error = caught.value
        assert error.refused
        assert not error.delivered
        assert error.url == f"http://{host}:{server.port}/v1/models"
        assert error.url in str(error)
        assert "Errno" not in str(error)
        assert "pass" not in str(error)


def test_a_connection_that_opens_and_closes_at_once(serve: Serve, client: Client) -> None:
    """A published container port does this while nothing listens behind it."""
    with pytest.raises(ConnectionFailedError) as caught:
        client.open(get(serve(lambda peer: None)))
    assert not caught.value.delivered
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("sent", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000])
def test_a_server_that_does_not_speak_http(serve: Serve, client: Client, sent: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(sent)
        peer.wait_gone()

    with pytest.raises(ProviderAPIError, match=r"did not answer in HTTP/1\.1"):
        client.open(get(serve(script)))


def test_a_server_that_speaks_first(serve: Serve, client: Client) -> None:
    def script(peer: Peer) -> None:
        peer.send(b"220 mail.example ESMTP\r\n")
        peer.wait_gone()

    with pytest.raises(ProviderAPIError, match=r"did not answer in HTTP/1\.1"):
        client.open(get(serve(script)))


BREAKS = {
    "before the answer": (b"", None, False),
    "within the head": (b"HTTP/1.1 200 OK\r\nContent-", None, True),
    "after the head": (CHUNKED, b"", True),
    "within a chunk": (CHUNKED + b"5\r\nhel", b"hel", True),
    "between chunks": (CHUNKED + chunk(b"hello"), b"hello", True),
    "before the last line": (CHUNKED + chunk(b"hello") + b"0\r\n", b"hello", True),
    "within a length": (head("Content-Length: 10") + b"hello", b"hello", True),
    "in broken framing": (CHUNKED + chunk(b"hello") + b"not a chunk\r\n", b"hello", True),
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("where", BREAKS)
def test_a_broken_answer_is_never_a_complete_one(serve: Serve, client: Client, where: str, how: str) -> None:
    sent, body, delivered = BREAKS[where]
    received = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(sent)
        if how == "reset":
            assert received.wait(PATIENCE)  # a reset throws away what was not read
            peer.reset()

    call = stream(serve(script))
    if body is None:
        received.set()
        with pytest.raises(ConnectionFailedError) as caught:
            client.open(call)
        assert caught.value.delivered == delivered or how == "reset"
        return
    exchange = client.open(call)
    got = b""
    while len(got) < len(body):
        got += exchange.read()
    received.set()
    assert got == body
    for _ in range(2):
        with pytest.raises(ConnectionFailedError, match="broke within the answer") as caught:
            exchange.read()
        assert caught.value.delivered


def test_a_stream_cut_after_any_byte_is_an_error(serve: Serve, client: Client) -> None:
    answer = CHUNKED + chunk(b"data: 1\n\n") + chunk(b"data: 2\n\n") + END

    def script(peer: Peer) -> None:
        cut = int(peer.request().target[1:])
        peer.send(answer[:cut])

    server = serve(script)
    for cut in range(len(CHUNKED), len(answer)):
        exchange = client.open(stream(server, f"/{cut}"))
        with pytest.raises(ConnectionFailedError):
            read_all(exchange)
    assert read_all(client.open(stream(server, f"/{len(answer)}"))) == b"data: 1\n\ndata: 2\n\n"


def test_a_head_that_comes_byte_by_byte(serve: Serve, client: Client) -> None:
    answer = whole(b"ok", "X-Header: value")

    def script(peer: Peer) -> None:
        peer.request()
        for at in range(len(answer)):
            peer.send(answer[at : at + 1])
        peer.wait_gone()

    got = client.open(get(serve(script))).answer
    assert (got.body, got.headers["x-header"]) == (b"ok", "value")


def test_a_body_that_ends_with_the_connection(serve: Serve, client: Client) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(head(), b"all of it")

    assert read_all(client.open(stream(serve(script)))) == b"all of it"
