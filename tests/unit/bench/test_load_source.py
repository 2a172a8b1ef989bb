"""What the benches measure with: the source sends what vLLM sent, and the load notices what is not as it should be."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.load_source import CHAT, Load, recordings, source

STREAM = {"stream": True, "stream_options": {"include_usage": True}}
HELD = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}}


class Source(NamedTuple):
    """A running source, and what it was made from."""

    port: int
    recorded: dict[str, bytes]
    cache: Path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    if shutil.which("cc") is None:
        pytest.skip("the load source is built with cc, which is not there")
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(cache))
        recorded = {path.stem: path.read_bytes() for path in recordings().iterdir()}
        with source() as port:
            yield Source(port, recorded, cache)


@pytest.fixture(autouse=True)
def _built(running: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(running.cache))


def ask(port: int, body: dict[str, Any], path: str = CHAT, method: str = "POST") -> bytes:
    """All that comes back on a connection that the server closes after its answer."""
    sent = json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(sent)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 10) as link:
        link.sendall(head.encode() + sent)
        return b"".join(iter(lambda: link.recv(65536), b""))


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("chat", CHAT, {}),
        ("chat_stream", CHAT, STREAM),
        ("chat_json", CHAT, HELD),
        ("chat_json_stream", CHAT, {**STREAM, **HELD}),
        ("completion", "/v1/completions", {}),
        ("completion_stream", "/v1/completions", STREAM),
    ],
)
def test_the_source_sends_what_vllm_sent(
    running: Source, loopback: None, name: str, path: str, body: dict[str, Any]
) -> None:
    assert ask(running.port, body, path) == running.recorded[name]


@pytest.mark.parametrize(
    ("name", "path"),
    [("models", "/v1/models"), ("openapi", "/openapi.json"), ("version", "/version"), ("not_found", "/nowhere")],
)
def test_the_source_shows_the_pages_of_vllm(running: Source, loopback: None, name: str, path: str) -> None:
    assert ask(running.port, {}, path, "GET") == running.recorded[name]


@pytest.mark.parametrize("tokens", [1, 2, 255, 1000])
@pytest.mark.parametrize("batch", [1, 7, 4000])
def test_a_stream_has_as_many_tokens_as_it_is_told(running: Source, loopback: None, tokens: int, batch: int) -> None:
    got = ask(running.port, {"stream": True, "user": f"chunks={tokens},batch={batch}"})
    assert got.count(b'"content":"') == tokens + 1  # the first chunk has the role and an empty text
    assert got.count(b'"finish_reason":"length"') == 1
    assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert b'"usage"' not in got  # nobody asked for it


@pytest.mark.parametrize(
    ("option", "tokens", "error", "done"),
    [
        ("error=2", 2, True, True),
        ("error=0", None, True, True),
        ("cut=3", 3, False, False),
        ("done=0", 5, False, False),
    ],
)
def test_a_stream_breaks_as_it_is_told(
    running: Source, loopback: None, option: str, tokens: int | None, *, error: bool, done: bool
) -> None:
    got = ask(running.port, {"stream": True, "user": f"chunks=5,{option}"})
    assert got.count(b'"content":"') == (0 if tokens is None else tokens + 1)
    assert (b'data: {"error"' in got) == error
    assert (b"[DONE]" in got) == done


def test_a_reset_is_a_reset(running: Source, loopback: None) -> None:
    with pytest.raises(ConnectionResetError):
        ask(running.port, {"stream": True, "user": "chunks=5,reset=2"})


def test_tokens_come_at_the_pace_that_was_asked_for(running: Source, loopback: None) -> None:
    began = time.monotonic()
    ask(running.port, {"stream": True, "user": "chunks=5,spacing=20"})
    assert time.monotonic() - began >= 0.08


def test_a_refusal_has_the_status_that_was_asked_for(running: Source, loopback: None) -> None:
    got = ask(running.port, {"user": "status=503"})
    assert got.startswith(b"HTTP/1.1 503 ")
    assert got.partition(b"\r\n\r\n")[2] == running.recorded["refusal"].partition(b"\r\n\r\n")[2]


def test_the_load_takes_right_answers_for_right(running: Source) -> None:
    found = Load(running.port, {"stream": True, "user": "chunks=40"}, requests=200, connections=7).result()
    assert (found["right"], found["wrong"], found["refused"], found["broken"]) == (200, 0, 0, 0)
    assert found["same_bytes"] == 200
    assert found["connects"] == 7


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ("chunks=6", "wrong"),
        ("chunks=5,status=503", "refused"),
        ("chunks=5,reset=3", "broken"),
        ("chunks=5,cut=3", "broken"),
    ],
)
def test_the_load_notices_what_is_wrong(running: Source, options: str, kind: str) -> None:
    expected = Load(running.port, {"stream": True, "user": "chunks=5"}).result()["text"]
    found = Load(running.port, {"stream": True, "user": options}, requests=3, text=expected).result()
    assert found[kind] == 3
    assert found["right"] == 0


def test_a_client_that_leaves_ends_its_stream(running: Source, loopback: None) -> None:
    def counts() -> dict[str, int]:
        return dict(json.loads(ask(running.port, {}, "/source", "GET").partition(b"\r\n\r\n")[2]))

    aborted = counts()["aborted"]
    body = json.dumps({"stream": True, "user": "chunks=100000,spacing=5"}).encode()
    with socket.create_connection(("127.0.0.1", running.port), 10) as link:
        link.sendall(f"POST {CHAT} HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        assert link.recv(15) == b"HTTP/1.1 200 OK"
        assert counts()["open"] == 1
    until = time.monotonic() + 5
    while counts()["open"] and time.monotonic() < until:
        time.sleep(0.01)
    assert counts()["aborted"] == aborted + 1
