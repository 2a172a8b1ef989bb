"""The gateway as a process: what it writes, and how it stops."""

from __future__ import annotations

import re
import signal
import socket
import threading
from pathlib import Path

import msgspec

from tests.gateway_process import serving
from tests.recordings import openapi
from tests.scripted_server import CHUNKED, PATIENCE, Peer, ScriptedServer, chunk, whole

BODY = b'{"model":"vllm/m","messages":[{"role":"user","content":"very private"}],"stream":true}'
FIRST = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def ask(port: int, *headers: str) -> socket.socket:
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: localhost", f"Content-Length: {len(BODY)}", *headers]
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    sock.sendall("\r\n".join((*lines, "", "")).encode() + BODY)
    return sock


def read_until(sock: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        part = sock.recv(65536)
        assert part, f"the connection ended after {data!r}"
        data += part
    return data


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while part := sock.recv(65536):
        data += part
    return data


class Upstream(ScriptedServer):
    """A vLLM whose streams stop after their first token, until they are let go."""

    def __init__(self) -> None:
        self.release = threading.Event()
        super().__init__(self._play_vllm)

    def _play_vllm(self, peer: Peer) -> None:
        while True:
            request = peer.request()
            if request.method == "GET":
                known = {"/version": {"version": "0.32.0"}, "/openapi.json": openapi("0.32.0")}
                peer.send(whole(msgspec.json.encode(known.get(request.target, {"data": []}))))
                continue
            peer.send(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Type: text/event-stream\r\n\r\n"), chunk(FIRST))
            self.release.wait(PATIENCE)
            peer.send(chunk(LAST), b"0\r\n\r\n")


def test_a_stop_lets_answers_end_then_tells_those_that_are_still_open(tmp_path: Path, loopback: None) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text("grace_seconds = 1\n")
    with (
        Upstream() as upstream,
        serving(tmp_path, "--config", str(config), "--backend", f"vllm={upstream.url}") as gateway,
    ):
        with ask(gateway.port, "X-Request-Id: first") as first:
            read_until(first, b"Hi")
            gateway.process.send_signal(signal.SIGTERM)
            rest = read_all(first)
        assert b"gateway_stopping" in rest
        assert b"[DONE]" not in rest
        assert rest.endswith(b"0\r\n\r\n")
        assert gateway.process.wait(PATIENCE) == 0
        upstream.release.set()
        log = gateway.log.read_text()
    assert re.search(r"^POST /v1/chat/completions 200! \d+\.\dms vllm/m - first$", log, re.MULTILINE)
    assert "private" not in log


def talk(sock: socket.socket, request: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer to a request on an open connection."""
    sock.sendall(request)
    head, _, body = read_until(sock, b"\r\n\r\n").partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length and not request.startswith(b"HEAD"):
        body += sock.recv(65536)
    return head, body


def http_as_clients_speak_it(port: int) -> None:
    """All on one connection, which is kept."""
    post = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        head, body = talk(sock, b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (head[:12], body) == (b"HTTP/1.1 200", b"")
        head, body = talk(sock, post + b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n3\r\n: }\r\n0\r\n\r\n')
        assert (head[:12], b"(byte 6)" in body) == (b"HTTP/1.1 400", True)
        head, _ = talk(sock, post + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert head == b"HTTP/1.1 100 Continue"
        head, body = talk(sock, b"{}")
        assert (head[:12], b"names no model" in body) == (b"HTTP/1.1 400", True)


def test_a_stop_waits_for_an_answer_that_ends_in_time(tmp_path: Path, loopback: None) -> None:
    with Upstream() as upstream, serving(tmp_path, "--quiet", "--backend", f"vllm={upstream.url}") as gateway:
        http_as_clients_speak_it(gateway.port)
        with ask(gateway.port) as sock:
            read_until(sock, b"Hi")
            gateway.process.send_signal(signal.SIGTERM)
            upstream.release.set()
            assert LAST in read_all(sock)
        assert gateway.process.wait(PATIENCE) == 0
        assert "POST" not in gateway.log.read_text()
