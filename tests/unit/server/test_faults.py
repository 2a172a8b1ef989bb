"""A replica breaks in any way, and another one lives: who was promised nothing yet is answered, nobody is lied to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import pytest
from msgspec.structs import replace

from abstractcore.server.app import App
from abstractcore.server.config import BackendConfig, GatewayConfig
from abstractcore.server.gateway import Gateway
from abstractcore.server.relay import Relay
from abstractcore.testing import FakeAsyncTransport, FakeServer, Reply
from abstractcore.transport.http_async import AsyncHttpTransport
from abstractcore.wire.call import Call, Timeouts
from tests.asgi_client import Client, Got, fake_vllm
from tests.scripted_server import ScriptedServer
from tests.unit.faults.play import DONE, PATIENT, STOP, TEXT, Fault, body, event, script

from .fault_table import FAULTS, WAYS, Gets, Way, gets

PATH: Final = "/v1/chat/completions"
ASKED: Final[dict[str, Any]] = {"model": "vllm/m", "messages": [{"role": "user", "content": "Hi"}]}
EVENTS: Final = (event(TEXT), STOP, DONE)
pytestmark = pytest.mark.usefixtures("loopback")


class Outcome:
    """What became of one request: what its client got, and what the living replica was asked."""

    def __init__(self, got: Got, other: FakeServer, leases: int) -> None:
        self.got = got
        self.other = other
        self.leases = leases
        self.lines = got.body.replace(b"\r\n", b"\n").split(b"\n")

    @property
    def text(self) -> str:
        """What a client that reads events as they come makes of a stream."""
        found = ""
        for line in self.lines:
            if line.startswith(b"data: {") and b'"error"' not in line:
                choice = Got(chunks=[line[6:]]).json["choices"][0]
                found += choice["delta"].get("content") or ""
        return found


class _Network:
    """The first replica's chats go to a real socket; what else is asked, and the other replica, is made up."""

    def __init__(self, address: str, fake: FakeServer, real: AsyncHttpTransport) -> None:
        self._address, self._fake, self._real = address, FakeAsyncTransport(fake), real

    async def open(self, call: Call) -> Any:
        if call.method == "POST" and call.url.startswith(self._address):
            return await self._real.open(call)
        return await self._fake.open(call)

    def close(self) -> None:
        """Nothing is open."""


def limits_of(fault: Fault) -> Timeouts:
    """The fault's own, four times as long: here many are at it side by side."""
    given = replace(fault.limits, idle=0.15) if fault.name == "huge-event" else fault.limits
    short = {name: 4 * value for name in ("first_byte", "idle", "total") if (value := getattr(given, name) or 9) < 1}
    return replace(given, **short)


async def ask(fault: Fault, way: Way, real: AsyncHttpTransport) -> Outcome:
    server = ScriptedServer(script(fault.attempts(stream=way.stream)) if not fault.refused else lambda peer: None)
    if fault.refused:
        server.close()
    good = Reply(EVENTS, 200, {"content-type": "text/event-stream"}) if way.stream else Reply((body(),))
    other = fake_vllm({f"POST {PATH}": good})
    backend = BackendConfig(base_url=[server.url, "http://other.test"])
    gateway = Gateway(GatewayConfig(backends={"vllm": backend}))
    network = _Network(f"{server.url}/", other, real)
    gateway.timeouts, gateway.relay = (limits := limits_of(fault)), Relay(limits, network)
    replicas = gateway.backends["vllm"].replicas
    for replica in replicas:
        replica.provider._async_transport = network
    fields = {**ASKED, "stream": way.stream, **({"guided_regex": "[A-Z].*"} if way.proved else {})}
    client = Client(App(gateway))
    for _ in range(2 if fault.name == "stale-connection" else 1):
        replicas[1].served = 1_000_000  # the first one is asked first
        got = await client.post(PATH, fields)
    await asyncio.to_thread(server.close)
    return Outcome(got, other, sum(len(replica.leases) for replica in replicas))


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[tuple[str, Way], Outcome]]:
    """All faults in all ways: those that wait for a limit side by side, then the others, one way after the other."""

    async def play() -> dict[tuple[str, Way], Outcome]:
        real = AsyncHttpTransport()
        found: dict[tuple[str, Way], Outcome] = {}
        waits = [fault for fault in FAULTS if limits_of(fault) != PATIENT]
        quick = [fault for fault in FAULTS if fault not in waits]
        for group in ([(fault, way) for fault in waits for way in WAYS], *([(f, way) for f in quick] for way in WAYS)):
            every = await asyncio.gather(*(ask(fault, way, real) for fault, way in group))
            found |= {(fault.name, way): outcome for (fault, way), outcome in zip(group, every, strict=True)}
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("abstractcore.server.chat.serving.conversation_of", lambda fields, model: None)
        yield asyncio.run(play())


@pytest.mark.parametrize("way", WAYS, ids=["plain", "proved", "stream", "proved stream"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault(fault: Fault, way: Way, outcomes: dict[tuple[str, Way], Outcome]) -> None:
    outcome, expected = outcomes[fault.name, way], gets(fault, way)
    got = outcome.got
    assert got.ended
    assert outcome.leases == 0
    asked = [path for path in outcome.other.paths() if path == f"POST {PATH}"]
    assert len(asked) == (expected is Gets.OTHER), "the living one is asked where the broken one gave nothing"
    assert got.headers.get("abstractcore-attempts") == ("2" if expected is Gets.OTHER else None)
    if expected in (Gets.ANSWER, Gets.OTHER):
        assert got.status == 200
        if not way.stream:
            assert got.json["choices"][0]["message"]["content"] == TEXT
            return
        assert b'"error"' not in got.body
        assert outcome.text == (TEXT + "x" if fault.name == "foreign-choice" else TEXT)
        if expected is Gets.OTHER and not way.proved:
            assert got.body == b"".join(EVENTS)
    elif expected is Gets.BROKEN:
        assert got.status == 200
        assert Got(chunks=[outcome.lines[-3].removeprefix(b"data: ")]).error["code"] == "upstream_stream_broken"
        assert b"data: [DONE]" not in got.body
        assert outcome.text.startswith(fault.partial)
    else:
        assert got.status == 504 if expected is Gets.LATE else 400 <= got.status < 500 or got.status == 502
        assert got.error["code"]


def test_each_fault_has_a_name_of_its_own() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(names) == len(set(names)) >= 80
