"""The gateway in front of two real vLLM servers that are killed, frozen, drained and started again under load."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from abstractcore.deploy import local_vllm, runtime
from abstractcore.deploy.progress import Progress
from abstractcore.server.choice import conversation_of, weight
from abstractcore.settings import cache_dir
from tests.browser.gateway import RunningGateway, running

from .conftest import Shown, make, make_adapters, unused_port
from .fleet import NAME, Load, Server, fetch, servers, until

RESTART = 800.0
"""Seconds for one server to stop and start, which have limits of their own; a quiet machine needs about 60."""
ROUTER = "vllm-router==0.1.17"
CONFIG = """
[backends.vllm]
base_url = [{urls}]
allow_adapters = true
adapter_folders = ["{folder}"]
{more}
"""


@pytest.fixture(scope="module")
def model(environment: local_vllm.Environment, show: Shown) -> Path:
    path = cache_dir() / "models" / "tiny-qwen2"
    with show() as report:
        make(environment, path, ["model"], report)
        make_adapters(environment, path, report)
    return path


@pytest.fixture(scope="module")
def fleet(
    environment: local_vllm.Environment, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Server]]:
    folder = tmp_path_factory.mktemp("fleet")
    with servers(environment, model, [unused_port(), unused_port()], folder) as found:
        yield found


def config_of(fleet: list[Server], model: Path, more: str = "") -> str:
    urls = ", ".join(f'"{server.spec.base_url}"' for server in fleet)
    return CONFIG.format(urls=urls, folder=model.parent, more=more)


@pytest.fixture
def gateway(fleet: list[Server], model: Path, tmp_path: Path) -> Iterator[RunningGateway]:
    with running(config_of(fleet, model), tmp_path) as found:
        yield found


@pytest.fixture
def patient(fleet: list[Server], model: Path, tmp_path: Path) -> Iterator[RunningGateway]:
    """A gateway that takes no server for frozen that is only short of cores."""
    with running(config_of(fleet, model, "patience_seconds = 60"), tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def router(show: Shown) -> Path:
    """The folder that has vllm-router in it, which is in no environment of ours."""
    home = cache_dir() / "tools" / ROUTER.replace("==", "-")
    if not (home / "bin" / "vllm-router").exists():
        with show() as report:
            report(Progress("router", f"installing {ROUTER}"))
            env = local_vllm.child_env(os.environ)
            for argv in ([sys.executable, "-m", "venv", str(home)], [f"{home}/bin/pip", "install", "-q", ROUTER]):
                done = runtime.run(argv, env=env)
                assert done.code == 0, "\n".join(done.tail)
    return home / "bin"


async def both_up(gateway: RunningGateway, fleet: list[Server]) -> None:
    await until(lambda: all(server.is_up(gateway.url) for server in fleet), "both replicas are up")


def adapter(model: Path) -> dict[str, str]:
    return {"lora_name": "sql", "lora_path": str(model.with_name(f"{model.name}-lora-1"))}


def conversations_of(server: Server, fleet: list[Server], count: int) -> list[str]:
    """Messages that belong to one replica, so that no chance decides who gets them."""

    def home(text: str) -> Server:
        messages = msgspec.Raw(json.dumps([{"role": "user", "content": text}]).encode())
        key = conversation_of({"messages": messages}, NAME)
        assert key is not None
        return max(fleet, key=lambda replica: weight(key, replica.address))

    return list(itertools.islice((text for at in itertools.count() if home(text := f"s {at}") is server), count))


async def test_an_adapter_is_loaded_on_all_replicas_and_unloaded_again(
    gateway: RunningGateway, fleet: list[Server], model: Path
) -> None:
    await both_up(gateway, fleet)
    answer = gateway.post("/v1/load_lora_adapter", adapter(model))
    assert set(answer["replicas"]) == {server.address for server in fleet}
    assert [server.adapters() for server in fleet] == [["sql"], ["sql"]]
    rows = {row["id"]: row for row in gateway.get("/v1/models")["data"]}
    assert rows["vllm/sql"]["parent"] == f"vllm/{NAME}"
    asked = {"model": "vllm/sql", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    assert gateway.post("/v1/chat/completions", asked)["model"] == "sql"
    assert set(gateway.post("/v1/load_lora_adapter", adapter(model))["replicas"].values()) == {"was there"}
    gateway.post("/v1/unload_lora_adapter", {"lora_name": "sql"})
    assert [server.adapters() for server in fleet] == [[], []]


async def test_a_frozen_replica_gets_no_requests_and_loses_none(gateway: RunningGateway, fleet: list[Server]) -> None:
    await both_up(gateway, fleet)
    async with Load(gateway.url) as load:
        await load.more(20)
        fleet[0].freeze()
        try:
            seconds = await until(lambda: not fleet[0].is_up(gateway.url), "the frozen one is out", 30)
            print(f"a frozen replica was out after {seconds:.1f} s")
            assert fleet[1].is_up(gateway.url)
            await load.more(20)
        finally:
            fleet[0].thaw()
        await until(lambda: fleet[0].is_up(gateway.url), "it is back")
    assert not load.failures


async def test_a_router_is_told_of_a_frozen_replica_and_replaced_when_it_fails(
    fleet: list[Server], model: Path, router: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{router}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with running(config_of(fleet, model, 'data_plane = "vllm-router"'), tmp_path) as gateway:
        [record] = await asyncio.to_thread(lambda: list(tmp_path.rglob("router-vllm-*.json")))
        process = json.loads(record.read_text())

        def workers() -> int:
            count: int = json.loads(fetch(f"{process['note']['url']}/readiness"))["healthy_workers"]
            return count

        await both_up(gateway, fleet)
        async with Load(gateway.url) as load:
            await load.more(20)
            assert workers() == 2
            fleet[0].freeze()
            try:
                await until(lambda: workers() == 1, "the router knows that one is frozen", 30)
                await load.more(20)
            finally:
                fleet[0].thaw()
            await until(lambda: workers() == 2, "the router knows that it is back")
            os.killpg(process["pid"], signal.SIGKILL)
            await load.more(20)
        assert not load.failures


async def test_a_replica_is_killed_and_comes_back_with_its_adapters(
    patient: RunningGateway, fleet: list[Server], model: Path
) -> None:
    gateway = patient
    await both_up(gateway, fleet)
    gateway.post("/v1/load_lora_adapter", adapter(model))
    async with Load(gateway.url, workers=2) as load:
        await load.more(10)
        begun = {text: asyncio.Event() for server in fleet for text in conversations_of(server, fleet, 3)}
        streams = [asyncio.ensure_future(load.stream(text, event.set)) for text, event in begun.items()]
        await asyncio.gather(*(event.wait() for event in begun.values()))
        fleet[0].kill()
        seconds = await until(lambda: not fleet[0].is_up(gateway.url), "the dead one is out", 30)
        print(f"a dead replica was out after {seconds:.1f} s")
        await load.more(20)
        outcomes = await asyncio.gather(*streams)
    assert not load.failures, "plain requests are all answered"
    assert {outcome.status for outcome in outcomes} == {200}
    broken = [outcome for outcome in outcomes if not outcome.done]
    assert all(outcome.error["code"] == "upstream_stream_broken" for outcome in broken)
    assert len(broken) == 3, "those that were in flight on it"
    assert gateway.get("/ready")["ready"]
    await asyncio.to_thread(fleet[0].start)
    await until(lambda: fleet[0].is_up(gateway.url), "it is back")
    assert fleet[0].adapters() == ["sql"]


async def test_a_replica_is_stopped_and_started_again_and_no_request_fails(
    patient: RunningGateway, fleet: list[Server], model: Path
) -> None:
    """The other one was killed and started again before, so in the end each had its turn.

    All of a rolling restart, with many clients, is in the unit tests; a real server takes a minute and more for it.
    """
    gateway, server = patient, fleet[1]
    await both_up(gateway, fleet)
    gateway.post("/v1/load_lora_adapter", adapter(model))
    load = Load(gateway.url, model="vllm/sql", workers=2)
    try:
        async with asyncio.timeout(RESTART), load:
            await restart(server, gateway, load)
    except TimeoutError:
        up = [f"the gateway takes {row.address} for {'up' if row.is_up(gateway.url) else 'down'}" for row in fleet]
        pytest.fail("\n".join((f"not within {RESTART:g} s", *(row.state() for row in fleet), *up)))
    assert not load.failures
    assert server.adapters() == ["sql"]


async def restart(server: Server, gateway: RunningGateway, load: Load) -> None:
    """Stops a server as an operator does, while it generates, and starts it again."""
    await load.more(4)
    begun = [asyncio.Event() for _ in range(6)]
    texts = [f"{at}, while {server.address} stops" for at in range(len(begun))]
    streams = [asyncio.ensure_future(load.stream(text, at.set, 200)) for text, at in zip(texts, begun, strict=True)]
    await asyncio.gather(*(event.wait() for event in begun))
    await asyncio.to_thread(server.stop)
    await load.more(4)
    assert all(outcome.done for outcome in await asyncio.gather(*streams)), "what ran was ended in peace"
    await asyncio.to_thread(server.start)
    await until(lambda: server.is_up(gateway.url), "it is back")
