"""Several servers: the choice between them, and requests that go past one that is down."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore import AdapterError, ConnectionFailedError, StreamInterruptedError, VLLMProvider
from abstractcore.providers.vllm.replicas import SAMPLE_SECONDS, SKIP_SECONDS, choose
from abstractcore.wire.call import Answer, Call, ReadWithin

A, B = "http://a:8000", "http://b:8000"
METRICS = b'vllm:num_requests_running{engine="0"} %f\nvllm:num_requests_waiting{engine="0"} 0.0\n'


@pytest.mark.parametrize(
    ("loads", "failed_at", "last", "chosen"),
    [
        ([3, 1, 2], [None, None, None], 0, 1),
        ([1, 1], [None, None], 1, 1),
        ([1, 1], [None, None], 0, 0),
        ([2, 1], [None, None], 0, 1),
        ([9, 0], [None, 100.0], 1, 0),
        ([9, 0], [None, 100.0 - SKIP_SECONDS], 0, 1),
        ([0, 0], [99.0, 98.0], 0, 1),
    ],
)
def test_the_least_busy_of_those_that_can_be_reached(
    loads: list[float], failed_at: list[float | None], last: int, chosen: int
) -> None:
    assert choose(loads, failed_at, 100.0, last) == chosen


@given(
    st.lists(st.tuples(st.floats(0, 100), st.none() | st.floats(0, 100)), min_size=1, max_size=5),
    st.integers(-1, 5),
)
def test_there_is_always_a_choice_and_never_a_worse_one(rows: list[tuple[float, float | None]], last: int) -> None:
    loads, failed = [load for load, _ in rows], [at for _, at in rows]
    chosen = choose(loads, failed, 100.0, last)
    usable = [index for index, at in enumerate(failed) if at is None or 100.0 - at >= SKIP_SECONDS]
    assert chosen in (usable or range(len(rows)))
    assert not usable or loads[chosen] == min(loads[index] for index in usable)


# --- requests --------------------------------------------------------------------------------------------------------


@dataclass
class FakeServers:
    """Servers in place of the network: down or up, as busy as they say, with adapters."""

    busy: dict[str, float] = field(default_factory=lambda: {A: 0.0, B: 0.0})
    down: dict[str, bool] = field(default_factory=dict)
    """By address: whether a byte of an answer arrives before the connection breaks."""
    adapters: dict[str, dict[str, str]] = field(default_factory=lambda: {A: {}, B: {}})
    asked: list[str] = field(default_factory=list)
    """``address path`` of each request that was answered."""
    chunks: list[bytes | Exception] = field(default_factory=list)
    """What a stream gives."""

    def open(self, call: Call) -> FakeExchange:
        address, _, path = call.url.partition("/v1/") if "/v1/" in call.url else call.url.rpartition("/")
        if address in self.down:
            error = ConnectionFailedError(f"cannot connect to {address}", url=call.url)
            error.delivered = self.down[address]
            error.refused = not error.delivered
            raise error
        self.asked.append(f"{address} {path}")
        return FakeExchange(self.answer(address, path, call), list(self.chunks))

    def answer(self, address: str, path: str, call: Call) -> Answer:
        answers: Mapping[str, Callable[[], Any]] = {
            "models": lambda: {"data": [{"id": "m"}, *self.listed(address)]},
            "chat/completions": lambda: {
                "model": "m",
                "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}],
            },
            "health": dict,
            "version": lambda: {"version": "0.32.0"},
        }
        if path == "metrics":
            return Answer(200, {}, METRICS % self.busy[address])
        if path == "load_lora_adapter":
            wanted = json.loads(call.body or b"")
            self.adapters[address][wanted["lora_name"]] = wanted["lora_path"]
            return Answer(200, {}, b"Success")
        if path == "unload_lora_adapter":
            gone = self.adapters[address].pop(json.loads(call.body or b"")["lora_name"], None)
            error = b'{"error": {"message": "not found", "type": "NotFoundError"}}'
            return Answer(200, {}, b"Success") if gone else Answer(404, {}, error)
        if path not in answers:
            return Answer(404, {}, b'{"detail":"Not Found"}')
        kind = "text/event-stream" if call.stream else "application/json"
        return Answer(200, {"content-type": kind}, b"" if call.stream else json.dumps(answers[path]()).encode())

    def listed(self, address: str) -> list[dict[str, str]]:
        return [{"id": name, "root": path, "parent": "m"} for name, path in self.adapters[address].items()]

    def close(self) -> None:
        pass

    def chats(self) -> list[str]:
        return [entry.partition(" ")[0] for entry in self.asked if entry.endswith("chat/completions")]


@dataclass
class FakeExchange:
    answer: Answer
    chunks: list[bytes | Exception]

    def read(self, within: ReadWithin | None = None) -> bytes:
        chunk = self.chunks.pop(0) if self.chunks else b""
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def close(self) -> None:
        pass


@pytest.fixture
def servers() -> FakeServers:
    return FakeServers()


@pytest.fixture
def llm(servers: FakeServers) -> VLLMProvider:
    return VLLMProvider("m", base_url=[A, B], transport=servers)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the time."""
    now = [1000.0]
    monkeypatch.setattr("abstractcore.providers.vllm.replicas.time.monotonic", lambda: now[0])

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    return pass_by


def test_one_server_is_not_asked_how_busy_it_is(servers: FakeServers) -> None:
    VLLMProvider("m", base_url=A, transport=servers).generate("hi")
    assert servers.asked == [f"{A} chat/completions"]


def test_the_least_busy_server_is_asked(servers: FakeServers, llm: VLLMProvider) -> None:
    servers.busy[A] = 5.0
    llm.generate("hi")
    assert servers.chats() == [B]
    assert llm.base_url == f"{A}/v1"


def test_figures_count_for_a_second(servers: FakeServers, llm: VLLMProvider, clock: Callable[[float], None]) -> None:
    llm.generate("hi")
    servers.busy[A] = 5.0
    llm.generate("hi")
    clock(SAMPLE_SECONDS)
    llm.generate("hi")
    assert servers.chats() == [A, A, B]
    assert [entry for entry in servers.asked if entry.endswith("metrics")] == [f"{A} metrics", f"{B} metrics"] * 2


def test_requests_under_way_count_at_once(servers: FakeServers, llm: VLLMProvider) -> None:
    servers.chunks = [event("first"), event("second", finish="stop")]
    one, two = llm.generate("hi", stream=True), llm.generate("hi", stream=True)
    next(one)
    next(two)
    assert servers.chats() == [A, B]
    one.close()
    llm.generate("hi")
    assert servers.chats() == [A, B, A]


def test_a_server_that_is_down_is_passed_over(
    servers: FakeServers, llm: VLLMProvider, clock: Callable[[float], None]
) -> None:
    servers.down[A] = False
    assert llm.generate("hi").content == "hi"
    assert servers.chats() == [B]
    del servers.down[A]
    servers.busy[B] = 3.0
    clock(SKIP_SECONDS - 0.1)
    llm.generate("hi")
    clock(0.2)
    clock(SAMPLE_SECONDS)
    llm.generate("hi")
    assert servers.chats() == [B, B, A]


def test_a_server_that_goes_down_between_the_figures_is_passed_over(
    servers: FakeServers, llm: VLLMProvider, clock: Callable[[float], None]
) -> None:
    llm.generate("hi")
    servers.down[A] = False
    assert llm.generate("hi").content == "hi"
    assert servers.chats() == [A, B]


def test_all_down_names_all(servers: FakeServers, llm: VLLMProvider) -> None:
    servers.down = {A: False, B: False}
    with pytest.raises(ConnectionFailedError, match=f"none of the 2 replicas answers: {A}/v1, {B}/v1"):
        llm.generate("hi")


def test_an_answer_that_began_is_not_repeated_elsewhere(
    servers: FakeServers, llm: VLLMProvider, clock: Callable[[float], None]
) -> None:
    llm.generate("hi")
    servers.down[A] = True
    with pytest.raises(ConnectionFailedError, match="cannot connect"):
        llm.generate("hi")
    assert servers.chats() == [A]


def test_a_stream_that_broke_is_not_repeated_elsewhere(servers: FakeServers, llm: VLLMProvider) -> None:
    broken = ConnectionFailedError("the connection broke")
    servers.chunks = [event("first"), broken]
    texts = []
    with pytest.raises(StreamInterruptedError) as caught:
        texts += [chunk.content for chunk in llm.generate("hi", stream=True)]
    assert caught.value.partial == "first"
    assert servers.chats() == [A]


def test_a_stream_goes_to_another_server_before_it_began(servers: FakeServers, llm: VLLMProvider) -> None:
    servers.down[A] = False
    servers.chunks = [event("first"), event("", finish="stop")]
    assert [chunk.content for chunk in llm.generate("hi", stream=True)] == ["first", ""]
    assert servers.chats() == [B]


def test_a_stream_that_is_given_up_counts_no_more(servers: FakeServers, llm: VLLMProvider) -> None:
    servers.chunks = [event("first"), event("second", finish="stop")]
    with llm.generate("hi", stream=True) as stream:
        next(stream)
    llm.generate("hi")
    assert servers.chats() == [A, A]


def test_adapters_are_loaded_on_each(servers: FakeServers, llm: VLLMProvider) -> None:
    assert llm.load_adapter("sql", "/sql") == "Adapter 'sql' loaded successfully"
    assert servers.adapters == {A: {"sql": "/sql"}, B: {"sql": "/sql"}}
    assert llm.list_adapters() == ["sql"]
    assert llm.unload_adapter("sql") == "Adapter 'sql' unloaded successfully"
    assert llm.list_adapters() == []


def test_a_replica_without_the_adapter_is_named_and_repaired(servers: FakeServers, llm: VLLMProvider) -> None:
    servers.adapters[A]["sql"] = "/sql"
    (sql,) = llm.list_adapters()
    assert sql.missing_on == (f"{B}/v1",)
    assert llm.ensure_adapters({"sql": "/sql"}) == ["sql"]
    assert llm.ensure_adapters({"sql": "/sql"}) == []
    assert llm.list_adapters()[0].missing_on == ()


def test_the_replica_that_did_not_load_is_named(servers: FakeServers, llm: VLLMProvider) -> None:
    servers.down[A] = False
    with pytest.raises(AdapterError, match=f"1 of 2 replicas failed: {A}/v1"):
        llm.load_adapter("sql", "/sql")
    assert servers.adapters[B] == {"sql": "/sql"}


def test_health_tells_of_each(servers: FakeServers, llm: VLLMProvider) -> None:
    servers.down[A] = False
    report = llm.health()
    assert report["status"]
    assert report["models"] == ["m"]
    assert "cannot connect" in report["replicas"][f"{A}/v1"]
    assert report["replicas"][f"{B}/v1"] is None


def event(text: str, *, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"model": "m", "choices": [choice]}).encode() + b"\n\n"
