"""A request that one replica fails is answered by another one, as long as its client has got nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from abstractcore.errors import ConnectionFailedError
from abstractcore.server.app import App
from abstractcore.server.backend import Backend
from abstractcore.testing import FakeServer, Reply
from abstractcore.types import ModelInfo
from abstractcore.wire.call import Call
from tests.asgi_client import Client, Got, fake_vllm, gateway_of

from .test_chat import ASKED, CHAT, STREAM, completion
from .test_relay import ERROR

OVERLOADED = Reply.json({"error": {"message": "later"}}, 503)


def refused() -> ConnectionFailedError:
    error = ConnectionFailedError("cannot connect: connection refused")
    error.refused = True
    return error


def model(script: Any) -> FakeServer:
    return fake_vllm({"POST /v1/chat/completions": script})


def pair(first: Any, second: Any) -> tuple[Client, Backend, list[FakeServer]]:
    """A gateway with two replicas, of which the first one is asked first."""
    servers = [model(first), model(second)]
    gateway = gateway_of("vllm", *servers)
    backend = gateway.backends["vllm"]
    backend.replicas[1].served = 1_000_000
    return Client(App(gateway)), backend, servers


async def ask(client: Client, body: dict[str, Any] | None = None) -> Got:
    return await client.post(CHAT, {**ASKED, **(body or {})})


@pytest.fixture(autouse=True)
def no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The replica that was asked least comes first, so that tests know which one that is."""
    monkeypatch.setattr("abstractcore.server.chat.serving.conversation_of", lambda fields, model: None)


FAILING: dict[str, Any] = {
    "refused": refused(),
    "reset": ConnectionFailedError("the connection broke"),
    "500": Reply.json(ERROR, 500),
    "503": OVERLOADED,
    "429": Reply.json({"error": {"message": "later"}}, 429),
}


@pytest.mark.parametrize(
    "extra", [{}, {"stream": True}, {"guided_regex": "[A-Z].*"}], ids=["plain", "stream", "proved"]
)
@pytest.mark.parametrize("name", FAILING)
async def test_what_the_first_replica_fails_the_second_answers(name: str, extra: dict[str, Any]) -> None:
    good = Reply.events(STREAM) if extra.get("stream") else completion()
    client, _, servers = pair(FAILING[name], good)
    got = await ask(client, extra)
    assert (got.status, got.headers["abstractcore-attempts"]) == (200, "2")
    assert len(servers[0].sent) == len(servers[1].sent) == 1


@pytest.mark.parametrize(
    "broken",
    [
        Reply.events([ERROR]),
        Reply.events([], done=False),
        Reply.events([], done=False, fault=ConnectionFailedError("cut")),
    ],
    ids=["an error event", "an empty end", "cut"],
)
async def test_a_stream_that_breaks_before_its_first_event_starts_anew_elsewhere(broken: Reply) -> None:
    client, _, _ = pair(broken, Reply.events(STREAM))
    got = await ask(client, {"stream": True})
    assert got.body == b"".join(Reply.events(STREAM).chunks)


async def test_a_stream_that_has_begun_is_never_repeated() -> None:
    client, _, servers = pair(Reply.events(STREAM[:2], done=False, fault=ConnectionFailedError("cut")), completion())
    got = await ask(client, {"stream": True})
    assert got.events[-1]["error"]["code"] == "upstream_stream_broken"
    assert not servers[1].sent


async def test_a_request_that_is_wrong_is_sent_once() -> None:
    client, backend, servers = pair(Reply.json({"error": {"message": "bad"}}, 400), completion())
    assert (await ask(client)).status == 400
    assert not servers[1].sent
    assert not backend.replicas[0].vitals.suspected(0.0)


async def test_a_broken_promise_is_not_tried_elsewhere() -> None:
    client, _, servers = pair(completion(), completion())
    assert (await ask(client, {"guided_regex": "never"})).status == 422
    assert not servers[1].sent


async def test_a_replica_that_failed_comes_last_for_a_while() -> None:
    client, _, servers = pair([Reply.json(ERROR, 500), completion()], completion())
    assert [(await ask(client)).status for _ in range(3)] == [200] * 3
    assert (len(servers[0].sent), len(servers[1].sent)) == (1, 3)


async def test_a_replica_that_asks_for_a_rest_gets_it() -> None:
    resting = Reply((b"{}",), 503, {"retry-after": "30"})
    client, _, servers = pair(resting, [completion(), resting])
    assert [(await ask(client)).status for _ in range(2)] == [200, 503]
    got = await ask(client)
    assert (got.status, got.error["code"]) == (503, "overloaded")
    assert 28 <= int(got.headers["retry-after"]) <= 30
    assert (len(servers[0].sent), len(servers[1].sent)) == (1, 2), "the third request was sent to nobody"


async def test_all_that_a_replica_had_in_hand_when_it_failed_is_answered_by_the_other() -> None:
    """More than the budget has: the requests were there at the same time, and moving them makes no outage worse."""
    began, go_on = asyncio.Event(), asyncio.Event()
    client, backend, servers = pair(Reply.json(ERROR, 500), completion())
    backend.replicas[1].vitals.fall(0.0, "it is down, so that all go to the first one")
    hold(backend, began, go_on)
    running = [asyncio.ensure_future(ask(client)) for _ in range(60)]
    await began.wait()
    await asyncio.sleep(0.05)
    assert backend.replicas[0].in_flight == 60
    backend.replicas[1].vitals.rise(0.0)
    go_on.set()
    assert [(await task).status for task in running] == [200] * 60
    assert len(servers[0].sent) == 60


async def test_repetitions_end_with_the_budget() -> None:
    client, backend, servers = pair(Reply.json(ERROR, 500), Reply.json(ERROR, 500))
    for _ in range(200):
        assert (await ask(client)).status == 502
    assert len(servers[0].sent) + len(servers[1].sent) <= 200 + 10 + 20
    assert backend.budget.spent <= 30


async def test_when_no_replica_is_left_the_refusal_comes_at_once_with_the_reason() -> None:
    client, backend, servers = pair(completion(), completion())
    for replica in backend.replicas:
        replica.vitals.fall(0.0, "it is frozen")
    got = await ask(client)
    assert (got.status, got.error["code"], got.headers["retry-after"]) == (503, "upstream_down", "2")
    assert "it is frozen" in got.error["why"]
    assert not servers[0].calls


async def test_what_is_more_than_all_replicas_may_take_is_shed_at_once() -> None:
    began, go_on = asyncio.Event(), asyncio.Event()
    client, backend, _ = pair(completion(), completion())
    backend.config.max_in_flight = 1
    hold(backend, began, go_on)
    running = [asyncio.ensure_future(ask(client)) for _ in range(2)]
    await began.wait()
    await asyncio.sleep(0)
    got = await ask(client)
    assert (got.status, got.error["code"]) == (503, "overloaded")
    assert "retry-after" in got.headers
    go_on.set()
    assert [(await task).status for task in running] == [200, 200]


async def test_a_request_is_taken_from_a_replica_that_is_given_up_while_it_waits() -> None:
    began = asyncio.Event()
    client, backend, servers = pair(completion(), completion())
    hold(backend, began, asyncio.Event(), only=backend.replicas[0].name)
    running = asyncio.ensure_future(ask(client))
    await began.wait()
    backend.replicas[0].vitals.fall(0.0, "it is frozen")
    backend.replicas[0].cut("it is frozen")
    got = await running
    assert (got.status, got.headers["abstractcore-attempts"]) == (200, "2")
    assert len(servers[1].sent) == 1
    assert not backend.replicas[0].leases


async def test_a_client_that_leaves_is_not_taken_for_a_replica_that_was_given_up() -> None:
    began, leave = asyncio.Event(), asyncio.Event()
    client, backend, servers = pair(completion(), completion())
    hold(backend, began, asyncio.Event())
    body = [b'{"model":"vllm/m","messages":[{"role":"user","content":"Hi"}]}']
    running = asyncio.ensure_future(client.send("POST", CHAT, body, leave=leave))
    await began.wait()
    leave.set()
    await running
    assert not servers[0].sent
    assert not servers[1].sent
    assert not backend.replicas[0].leases


async def test_an_adapter_is_asked_only_where_it_is() -> None:
    client, backend, servers = pair(completion(model="sql"), completion(model="sql"))
    backend.replicas[0].models = [ModelInfo(id="m")]
    backend.replicas[1].models = [ModelInfo(id="m"), ModelInfo(id="sql", parent="m")]
    assert [(await ask(client, {"model": "vllm/sql"})).status for _ in range(3)] == [200] * 3
    assert not servers[0].sent


async def test_an_adapter_that_one_replica_lost_is_asked_on_the_other() -> None:
    gone = Reply.json({"error": {"message": "The model `sql` does not exist.", "code": 404}}, 404)
    client, backend, servers = pair(gone, completion(model="sql"))
    for replica in backend.replicas:
        replica.models = [ModelInfo(id="m"), ModelInfo(id="sql", parent="m")]
    assert [(await ask(client, {"model": "vllm/sql"})).status for _ in range(3)] == [200] * 3
    assert len(servers[0].sent) == 1, "it is not asked for it again"


def hold(backend: Backend, began: asyncio.Event, go_on: asyncio.Event, only: str = "") -> None:
    """Has requests wait on their way to a replica."""
    for replica in backend.replicas:
        if only and replica.name != only:
            continue
        provider = replica.provider
        inner = provider._async_transport
        assert inner is not None
        provider._async_transport = _Slow(inner, began, go_on)


class _Slow:
    """The way to a server that takes a request only when it is told to."""

    def __init__(self, inner: Any, began: asyncio.Event, go_on: asyncio.Event) -> None:
        self._inner, self._began, self._go_on = inner, began, go_on

    async def open(self, call: Call) -> Any:
        self._began.set()
        await self._go_on.wait()
        return await self._inner.open(call)

    def close(self) -> None:
        """Nothing is open."""
