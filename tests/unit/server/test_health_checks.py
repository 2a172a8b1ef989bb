"""Replicas are looked at: what is dead or frozen gets no requests, what answers again does. On a clock of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from abstractcore.errors import ConnectionFailedError, RequestTimeoutError
from abstractcore.server.asgi import Request
from abstractcore.server.backend import Backend, Lease, Replica
from abstractcore.server.config import BackendConfig
from abstractcore.server.health_checks import Watcher, watchers
from abstractcore.server.vitals import State
from abstractcore.transport import AsyncHttpTransport
from abstractcore.wire.call import Answer, Call

URL = "http://replica.test"
METRICS = (
    "vllm:num_requests_running {running}\nvllm:num_requests_waiting {waiting}\nvllm:generation_tokens_total {tokens}"
)


@dataclass
class FakeEngine:
    """A vLLM whose engine can be dead, frozen or broken while its HTTP server answers."""

    listens: bool = True
    http_frozen: bool = False
    engine_frozen: bool = False
    health: int = 200
    completions: int = 200
    tokens: int = 0
    running: int = 0
    waiting: int = 0
    adapters: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    thaw: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, call: Call) -> Any:
        """Answers a request."""
        await asyncio.sleep(0)
        path = call.url.removeprefix(URL)
        self.asked.append(path)
        if not self.listens:
            error = ConnectionFailedError("cannot connect: connection refused")
            error.refused = True
            raise error
        if self.http_frozen:
            raise RequestTimeoutError("no answer")
        status, body = await self._answer(path, call)
        return _Exchange(Answer(status, {}, body))

    async def _answer(self, path: str, call: Call) -> tuple[int, bytes]:
        if path == "/health":
            return self.health, b""
        if path == "/metrics":
            text = METRICS.format(running=self.running, waiting=self.waiting, tokens=self.tokens)
            return 200, text.encode()
        if path == "/v1/models":
            rows = [{"id": "m"}, *({"id": name, "parent": "m", "root": at} for name, at in self.adapters.items())]
            return 200, msgspec.json.encode({"object": "list", "data": rows})
        if path == "/v1/load_lora_adapter":
            wanted = msgspec.json.decode(call.body or b"")
            self.adapters[wanted["lora_name"]] = wanted["lora_path"]
            return 200, b"ok"
        if path == "/v1/completions":
            if self.engine_frozen:
                await self.thaw.wait()
            self.tokens += 1
            return self.completions, b'{"error":{"message":"cannot schedule new futures after shutdown"}}'
        return 404, b'{"detail":"Not Found"}'

    def close(self) -> None:
        """Nothing is open."""


class _Exchange:
    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def read(self) -> bytes:
        return b""

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Bench:
    """A replica, who looks at it, and the clock."""

    engine: FakeEngine
    backend: Backend
    watcher: Watcher
    now: float = 1000.0

    @property
    def replica(self) -> Replica:
        """The one that is looked at."""
        return self.backend.replicas[0]

    def is_up(self) -> bool:
        """Whether it was found well."""
        return self.replica.vitals.state is State.UP

    def is_down(self) -> bool:
        """Whether it gets no requests."""
        return self.replica.vitals.state is State.DOWN

    async def pass_time(self, seconds: float) -> None:
        """Time goes on, with a look each half second."""
        until = self.now + seconds
        while self.now < until:
            self.now += 0.5
            await self.watcher.look()
            for _ in range(20):  # what was begun beside the look
                await asyncio.sleep(0)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    engine = FakeEngine()
    config = BackendConfig(base_url=[URL, "http://other.test"], allow_adapters=True)
    backend = Backend("vllm", config)
    provider: Any = backend.replicas[0].provider
    provider._async_transport = engine
    endpoint = backend.replicas[0].endpoint
    assert endpoint is not None
    watcher = Watcher(backend, backend.replicas[0], endpoint, engine, lambda: found.now)
    found = Bench(engine, backend, watcher)
    yield found
    watcher.close()


async def test_a_server_that_gives_a_token_is_up(bench: Bench) -> None:
    await bench.pass_time(0.5)
    assert bench.is_up()
    assert [row.id for row in bench.replica.models] == ["m"]


async def test_a_dead_server_is_out_at_the_next_look_and_back_when_it_answers(bench: Bench) -> None:
    await bench.pass_time(1)
    bench.engine.listens = False
    await bench.pass_time(0.5)
    assert bench.is_down()
    assert "connection refused" in (bench.replica.vitals.why or "")
    bench.engine.listens = True
    await bench.pass_time(1)
    assert bench.is_up()


@pytest.mark.parametrize("in_flight", [0, 1])
async def test_a_frozen_engine_is_out_within_ten_seconds_though_its_health_is_well(
    bench: Bench, in_flight: int
) -> None:
    await bench.pass_time(3)
    if in_flight:
        bench.replica.leases.add(lease())
    bench.engine.engine_frozen = True
    await bench.pass_time(9.5)
    assert bench.is_down()
    assert "frozen" in (bench.replica.vitals.why or "")


async def test_a_whole_server_that_is_frozen_is_out_within_ten_seconds(bench: Bench) -> None:
    await bench.pass_time(3)
    bench.engine.http_frozen = True
    await bench.pass_time(9.5)
    assert bench.is_down()


async def test_a_frozen_server_is_back_when_it_goes_on(bench: Bench) -> None:
    await bench.pass_time(1)
    bench.engine.engine_frozen = True
    await bench.pass_time(10)
    bench.engine.engine_frozen = False
    bench.engine.thaw.set()
    await bench.pass_time(0.5)
    assert bench.is_up()


async def test_what_a_frozen_server_works_on_is_given_up(bench: Bench) -> None:
    await bench.pass_time(1)
    waiting = lease()
    bench.replica.leases.add(waiting)
    bench.engine.engine_frozen = True
    await bench.pass_time(3)
    assert waiting.lost is None
    await bench.pass_time(7)
    assert "frozen" in (waiting.lost or "")


async def test_a_server_that_is_so_busy_that_a_token_has_to_wait_stays(bench: Bench) -> None:
    """Its figures move, so it lives: this is overload, not frost."""
    await bench.pass_time(1)
    bench.replica.leases.add(lease())
    bench.engine.engine_frozen = True
    bench.engine.running = 4
    for _ in range(40):
        bench.engine.tokens += 7
        await bench.pass_time(0.5)
    assert bench.is_up()


async def test_streams_that_go_on_are_a_sign_of_life(bench: Bench) -> None:
    await bench.pass_time(1)
    streaming = lease()
    bench.replica.leases.add(streaming)
    bench.engine.engine_frozen = True
    for _ in range(40):
        streaming.request.parts += 1
        await bench.pass_time(0.5)
    assert bench.is_up()


async def test_a_server_that_works_is_not_asked_for_tokens(bench: Bench) -> None:
    await bench.pass_time(1)
    bench.replica.leases.add(lease())
    before = bench.engine.asked.count("/v1/completions")
    for _ in range(40):
        bench.engine.tokens += 7
        await bench.pass_time(0.5)
    assert bench.engine.asked.count("/v1/completions") - before <= 1


async def test_an_engine_that_died_behind_its_http_server_is_out_at_once(bench: Bench) -> None:
    await bench.pass_time(1)
    bench.engine.health = 503
    await bench.pass_time(0.5)
    assert bench.is_down()


async def test_a_server_that_drains_gets_no_more_but_ends_its_streams(bench: Bench) -> None:
    """After SIGTERM vLLM's health stays 200, and new requests are answered 500."""
    await bench.pass_time(1)
    streaming = lease()
    bench.replica.leases.add(streaming)
    bench.engine.completions = 500
    bench.replica.vitals.suspect_until = 1e9  # a request has just failed
    for _ in range(30):
        streaming.request.parts += 1
        await bench.pass_time(0.5)
    assert bench.is_down()
    assert "cannot schedule new futures" in (bench.replica.vitals.why or "")
    assert streaming.lost is None


async def test_a_server_that_comes_back_gets_its_adapters_before_it_gets_requests(bench: Bench) -> None:
    bench.engine.adapters = {"sql": "/adapters/sql"}
    await bench.pass_time(6)
    bench.backend.adapters["added"] = "/adapters/added"
    bench.engine.listens = False
    await bench.pass_time(1)
    bench.engine.adapters = {}
    bench.engine.listens = True
    await bench.pass_time(2)
    assert bench.is_up()
    assert bench.engine.adapters == {"sql": "/adapters/sql", "added": "/adapters/added"}
    assert bench.replica.serves("sql")
    assert bench.replica.serves("added")


async def test_no_adapters_are_loaded_where_the_operator_does_not_allow_it(bench: Bench) -> None:
    bench.backend.config.allow_adapters = False
    bench.engine.adapters = {"sql": "/adapters/sql"}
    await bench.pass_time(6)
    bench.engine.listens = False
    await bench.pass_time(1)
    bench.engine.adapters, bench.engine.listens = {}, True
    await bench.pass_time(2)
    assert bench.is_up()
    assert not bench.engine.adapters


async def test_its_own_count_of_requests_makes_a_server_busy_and_full(bench: Bench) -> None:
    bench.engine.running, bench.engine.waiting = 8, 30
    await bench.pass_time(2)
    assert bench.replica.load == 38
    bench.backend.config.max_waiting = 30
    other = bench.backend.replicas[1]
    other.vitals.fall(0.0, "down")
    with pytest.raises(Exception, match="more requests than it may take"):
        bench.backend.take(None, None)


@pytest.mark.parametrize(
    ("provider", "config", "count"),
    [
        ("vllm", BackendConfig(base_url=[URL, "http://other.test"]), 2),
        ("vllm", BackendConfig(base_url=URL, health_checks=False), 0),
        ("openai", BackendConfig(), 0),
        ("anthropic", BackendConfig(), 0),
    ],
)
def test_only_own_servers_are_looked_at(provider: str, config: BackendConfig, count: int) -> None:
    assert len(watchers(Backend(provider, config), AsyncHttpTransport())) == count


def lease() -> Any:
    """A request that a replica works on."""
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    request: Any = Request(scope, None, None)  # type: ignore[arg-type]
    return Lease(request, lambda: None)
