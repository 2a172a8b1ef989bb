"""How a backend may break while its answer is passed on, or proved: nothing passes as complete that is not."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest

from abstractcore.errors import ConnectionFailedError, RequestTimeoutError
from abstractcore.server.app import App
from abstractcore.server.config import BackendConfig, GatewayConfig, Limits
from abstractcore.server.gateway import Gateway
from abstractcore.testing import Reply
from tests.asgi_client import Client, Got, client_of, fake_vllm
from tests.scripted_server import Peer, ScriptedServer, chunk, head, whole

from .test_chat import ASKED, CHAT, STREAM, answer, completion, delta

EVENTS = {"content-type": "text/event-stream"}
ERROR = {"error": {"message": "boom", "type": "InternalServerError", "code": 500}}
CUT = ConnectionFailedError("the connection broke")
STALL = RequestTimeoutError("the server fell silent")

BROKEN_STREAMS: dict[str, Reply] = {
    "error event, then [DONE]": Reply.events([*STREAM[:2], ERROR]),
    "error event, its name not first": Reply.events([*STREAM[:2], {"id": "1", "error": {"message": "boom"}}]),
    "error event of an old vllm": Reply.events([*STREAM[:2], {"object": "error", "message": "boom"}]),
    "error event that is a text": Reply.events([*STREAM[:2], {"error": "boom"}]),
    "clean end without a finish reason": Reply.events(STREAM[:3], done=False),
    "[DONE] without a finish reason": Reply.events(STREAM[:3]),
    "aborted": Reply.events([*STREAM[:3], delta("", "abort")]),
    "cut": Reply.events(STREAM[:3], done=False, fault=CUT),
    "cut after the finish reason": Reply.events(STREAM, done=False, fault=CUT),
    "stalled": Reply.events(STREAM[:3], done=False, fault=STALL),
    "ends within an event": Reply((*Reply.events(STREAM[:2], done=False).chunks, b'data: {"ch'), 200, EVENTS),
    "one choice of two": Reply.events([delta("a"), delta("", "stop"), delta("b", index=1)]),
    "a choice ends twice, the other never": Reply.events([delta("", "stop"), delta("", "stop"), delta("b", index=1)]),
    "no JSON": Reply((*Reply.events(STREAM[:2], done=False).chunks, b'data: {"finish_reason":"stop"\n\n'), 200, EVENTS),
}  # fmt: skip


@pytest.mark.parametrize("proved", [False, True], ids=["passed on", "proved"])
@pytest.mark.parametrize("name", BROKEN_STREAMS)
async def test_a_stream_that_breaks_ends_with_an_error_and_never_with_done(name: str, *, proved: bool) -> None:
    server = fake_vllm({"POST /v1/chat/completions": BROKEN_STREAMS[name]})
    body = {**ASKED, "stream": True, "n": 2 if "choice" in name else 1, **({"guided_regex": ".*"} if proved else {})}
    got = await client_of(server).post(CHAT, body)
    assert got.ended
    error = got.error if got.status != 200 else got.events[-1]["error"]
    assert error["code"] == "upstream_stream_broken"
    assert b"data: [DONE]" not in got.body


BEFORE: dict[str, tuple[Any, int, str]] = {
    "refused": (ConnectionFailedError("cannot connect"), 503, "upstream_down"),
    "reset before the head": (ConnectionFailedError("the connection broke"), 503, "upstream_down"),
    "silent": (RequestTimeoutError("sent nothing"), 504, "upstream_timeout"),
    "loading": (Reply(status=503, headers={"retry-after": "7"}), 503, "overloaded"),
    "too many": (Reply(status=429, headers={"retry-after": "7"}), 429, "rate_limited"),
    "bad gateway": (Reply((b"<html>",), 502), 502, "upstream_error"),
    "internal error": (Reply.json(ERROR, 500), 502, "upstream_error"),
    "our key is refused": (Reply.json({"error": "Unauthorized"}, 401), 502, "upstream_refused_our_key"),
    "too long": (Reply.json({"error": {"message": "x", "param": "input_tokens"}}, 400), 400, "context_length_exceeded"),
    "redirect": (Reply(status=307, headers={"location": "http://other.test"}), 502, "upstream_error"),
    "a page": (Reply((b"<html>",), 200, {"content-type": "text/html"}), 502, "upstream_error"),
    "an error with status 200": (Reply.json(ERROR), 502, "upstream_error"),
    "an old error with status 200": (Reply.json({"object": "error", "message": "x"}), 502, "upstream_error"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("name", BEFORE)
async def test_a_failure_before_the_first_byte_is_a_status(name: str, *, stream: bool) -> None:
    outcome, status, code = BEFORE[name]
    server = fake_vllm({"POST /v1/chat/completions": outcome})
    got = await client_of(server).post(CHAT, {**ASKED, "stream": stream})
    assert (got.status, got.error["code"]) == (status, code)
    if status in (429, 503):
        assert got.headers["retry-after"] == ("7" if isinstance(outcome, Reply) else "2")


@pytest.mark.parametrize(
    "reply",
    [
        completion(answer(finish=None)),
        completion(answer(finish="abort")),
        completion({"index": 0}),
        Reply.json({"choices": []}),
        Reply.json({}),
        Reply.json([]),
        Reply((b'{"choices": [{"finish_reason": "stop"',), 200),
        Reply((b"[" * 5000,), 200),
    ],
)
async def test_a_whole_answer_that_is_not_whole_is_no_answer(reply: Reply) -> None:
    got = await client_of(fake_vllm({"POST /v1/chat/completions": reply})).post(CHAT, ASKED)
    assert (got.status, got.error["code"]) == (502, "upstream_error")


async def test_a_cut_after_the_end_was_said_is_no_failure() -> None:
    reply = Reply.events(STREAM, fault=CUT)
    got = await client_of(fake_vllm({"POST /v1/chat/completions": reply})).post(CHAT, {**ASKED, "stream": True})
    assert got.body == b"".join(reply.chunks)
    assert got.ended


async def test_an_error_in_the_first_event_is_a_status() -> None:
    reply = Reply.events([ERROR])
    got = await client_of(fake_vllm({"POST /v1/chat/completions": reply})).post(CHAT, {**ASKED, "stream": True})
    assert (got.status, got.error["code"]) == (502, "upstream_stream_broken")


class _Endless:
    """A transport whose answers never go on, and which tells when they are closed."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.waiting = asyncio.Event()
        self.aborted = asyncio.Event()

    async def open(self, call: Any) -> Any:
        if not call.url.endswith("/completions"):
            return await self.inner.open(call)
        exchange = await self.inner.open(call)
        endless = self

        async def wait() -> bytes:
            endless.waiting.set()
            try:
                await asyncio.Event().wait()
            finally:
                endless.aborted.set()
            return b""

        if not call.stream:
            await wait()
        exchange.read = wait
        return exchange

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("proved", [False, True], ids=["passed on", "proved"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_client_that_leaves_before_the_first_token_ends_the_generation(*, stream: bool, proved: bool) -> None:
    client = client_of(fake_vllm({"POST /v1/chat/completions": Reply.events(STREAM)}))
    gateway = client.app.gateway
    endless = _Endless(gateway.relay._transport)
    gateway.relay._transport = endless
    gateway.backends["vllm"].replicas[0].provider._async_transport = endless
    leave, got = asyncio.Event(), Got()
    body = {**ASKED, "stream": stream, **({"guided_regex": ".*"} if proved else {})}
    sending = asyncio.ensure_future(client.send("POST", CHAT, [msgspec.json.encode(body)], leave=leave, got=got))
    await asyncio.wait_for(endless.waiting.wait(), 5)
    leave.set()
    await asyncio.wait_for(endless.aborted.wait(), 5)
    await asyncio.wait_for(sending, 5)
    assert got.status == 0
    assert gateway.backends["vllm"].replicas[0].in_flight == 0


async def test_a_fault_of_the_gateway_itself_shows_nothing_of_its_inside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = client_of(fake_vllm({}))

    def broken() -> None:
        raise ValueError("tpmorp terces"[::-1])

    monkeypatch.setattr(client.app.gateway.catalog, "resolve", lambda model: broken())
    got = await client.post(CHAT, ASKED, {"x-request-id": "mine"})
    assert (got.status, got.error["code"]) == (500, "internal_error")
    assert "ValueError" not in got.body.decode()
    log = capsys.readouterr().err
    assert "mine: ValueError" in log
    assert "secret prompt" not in log


def rows(*names: str) -> Reply:
    data = [{"id": name, "object": "model", "parent": None if name == "m" else "m"} for name in names]
    return Reply.json({"object": "list", "data": data})


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_an_answer_of_another_model_is_no_answer_of_the_adapter(*, stream: bool) -> None:
    def named(model: str) -> Reply:
        return Reply.events([{**event, "model": model} for event in STREAM]) if stream else completion(model=model)

    server = fake_vllm({"POST /v1/chat/completions": [named("sql"), named("m")], "GET /v1/models": rows("m", "sql")})
    client = client_of(server)
    await client.get("/v1/models")  # so that the gateway knows which is an adapter
    body = {**ASKED, "model": "vllm/sql", "stream": stream}
    assert (await client.post(CHAT, body)).body == b"".join(named("sql").chunks)
    got = await client.post(CHAT, body)
    assert got.status == 502
    assert "adapter" in got.error["message"]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_tokens_of_answers_that_are_passed_on_are_counted(*, stream: bool) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    events = Reply.events([*STREAM, {**delta(), "choices": [], "usage": usage}])
    client = client_of(fake_vllm({"POST /v1/chat/completions": events if stream else completion()}))
    await client.post(CHAT, {**ASKED, "stream": stream})
    page = (await client.get("/metrics")).body.decode()
    assert 'abstractcore_tokens_total{backend="vllm",direction="input"} 3' in page
    assert 'abstractcore_tokens_total{backend="vllm",direction="output"} 2' in page


async def test_a_server_that_sends_comments_only_is_silent(loopback: None) -> None:
    def script(peer: Peer) -> None:
        while True:
            request = peer.request()
            if request.method == "GET":
                peer.send(whole(b'{"version": "0.32.0", "data": []}'))
                continue
            peer.send(head("Transfer-Encoding: chunked", "Content-Type: text/event-stream"))
            while True:
                peer.send(chunk(b": ping\n\n"))
                time.sleep(0.02)

    with ScriptedServer(script) as server:
        gateway = Gateway(
            GatewayConfig(
                backends={"vllm": BackendConfig(base_url=server.url)},
                limits=Limits(first_byte_seconds=0.3, idle_seconds=0.3),
            )
        )
        got = await Client(App(gateway)).post(CHAT, {**ASKED, "stream": True})
        gateway.close()
    assert (got.status, got.error["code"]) == (502, "upstream_stream_broken")
