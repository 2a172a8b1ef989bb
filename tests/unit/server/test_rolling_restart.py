"""Replicas are stopped and started again, one after the other, under load: no request fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import msgspec
import pytest

from abstractcore.server import backend, health_checks
from abstractcore.server.app import App
from abstractcore.server.config import BackendConfig, GatewayConfig
from abstractcore.server.gateway import Gateway
from tests.asgi_client import Client, Got
from tests.recordings import openapi
from tests.scripted_server import CHUNKED, END, chunk, whole
from tests.unit.faults.play import DONE, STOP, TEXT, body, event

PATH: Final = "/v1/chat/completions"
STREAMS: Final = CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Type: text/event-stream\r\n\r\n")
REFUSED: Final = {"error": {"message": "cannot schedule new futures after shutdown", "code": 500}}
CLIENTS: Final = 8
PATIENCE: Final = 20.0


@dataclass(eq=False)
class Replica:
    """A server that stops as a real vLLM does with ``--shutdown-timeout``, and forgets its adapters.

    What runs is ended in peace, ``/health`` stays 200, new requests are answered 500; then nothing listens.
    """

    port: int = 0
    drains: bool = False
    running: int = 0
    tokens: int = 0
    served: int = 0
    adapters: dict[str, str] = field(default_factory=dict)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self.drains, self.served, self.adapters = False, 0, {}
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def drain(self) -> None:
        """Told to stop: what runs is ended, and then it is gone."""
        self.drains = True
        await until(lambda: not self.running, lambda: f"{self.running} requests end")
        await self.stop()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                size = next((int(line[15:]) for line in head.lower().split("\r\n") if "content-length:" in line), 0)
                asked = msgspec.json.decode(await reader.readexactly(size) or b"{}")
                await self._answer(head.split(" ")[1], asked, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, path: str, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if path.startswith("/v1/") and path.endswith("completions"):
            await self._generate(path, asked, writer)
            return
        if path == "/v1/load_lora_adapter":
            self.adapters[asked["lora_name"]] = asked["lora_path"]
        metrics = f"vllm:num_requests_running {self.running}\nvllm:generation_tokens_total {self.tokens}\n"
        every: dict[str, Any] = {
            "/version": {"version": "0.32.0"},
            "/openapi.json": openapi("0.32.0"),
            "/v1/models": {"data": [{"id": "m"}, *({"id": name, "parent": "m", "root": root} for name, root in
                                                   self.adapters.items())]},
        }  # fmt: skip
        writer.write(whole(metrics.encode() if path == "/metrics" else msgspec.json.encode(every.get(path, {}))))

    async def _generate(self, path: str, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if self.drains:
            writer.write(whole(msgspec.json.encode(REFUSED), status="500 Internal Server Error"))
            return
        self.running += 1
        try:
            if not asked.get("stream"):
                await asyncio.sleep(0.02)
                writer.write(whole(body(model=asked["model"])))
            else:
                writer.write(STREAMS)
                for part in (event("Hello", model="sql"), *[event("")] * 5, event(" world"), STOP, DONE):
                    writer.write(chunk(part))
                    await asyncio.sleep(0.02)
                writer.write(END)
            self.tokens += 1
            self.served += path == PATH
        finally:
            self.running -= 1


@asynccontextmanager
async def fleet(count: int) -> AsyncIterator[list[Replica]]:
    replicas = [Replica() for _ in range(count)]
    for replica in replicas:
        await replica.start()
    try:
        yield replicas
    finally:
        for replica in replicas:
            await replica.stop()


async def until(true: Callable[[], bool], what: Callable[[], str]) -> None:
    """Waits until something is so; says what is missing if that does not come."""
    ends = monotonic() + PATIENCE
    while not true():
        assert monotonic() < ends, f"not within {PATIENCE:g} s: {what()}"
        await asyncio.sleep(0.005)


@dataclass
class Load:
    """Clients that ask again and again: chats by turns whole and streamed, of an adapter, some of them proved."""

    client: Client
    answers: list[tuple[bool, Got]] = field(default_factory=list)
    stopped: bool = False

    async def work(self, number: int) -> None:
        turn = 0
        while not self.stopped:
            turn += 1
            stream = (number + turn) % 2 == 0
            asked: dict[str, Any] = {"model": "vllm/sql", "stream": stream}
            asked["messages"] = [{"role": "user", "content": f"{number}, {turn}"}]
            if number == 0:
                asked["guided_regex"] = "[A-Z].*"
            self.answers.append((stream, await self.client.post(PATH, asked)))

    def failures(self) -> list[Got]:
        return [got for stream, got in self.answers if not _is_whole(got, stream=stream)]


def _is_whole(got: Got, *, stream: bool) -> bool:
    if got.status != 200:
        return False
    return got.body.endswith(DONE) if stream else got.json["choices"][0]["message"]["content"] == TEXT


async def restart(replica: Replica, row: backend.Replica, load: Load) -> None:
    """Stops and starts one replica, and holds what the gateway makes of it meanwhile."""
    await until(lambda: replica.served > 5, lambda: f"{row.name} answers: {row.vitals}")
    await replica.drain()
    await until(lambda: not row.up, lambda: f"{row.name} gets no requests: {row.vitals}")
    wanted = len(load.answers) + 20
    await until(lambda: len(load.answers) > wanted, lambda: f"the other one answers all: {load.answers[-3:]}")
    await replica.start()
    await until(lambda: replica.served > 5, lambda: f"{row.name} answers again: {row.vitals}")
    assert replica.adapters == {"sql": "/a/sql"}, "it got its adapter before it got requests"


async def test_a_rolling_restart_fails_no_request(loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TICK", "SAMPLE"):
        monkeypatch.setattr(health_checks, name, 0.02)
    async with fleet(2) as replicas:
        urls = [f"http://127.0.0.1:{replica.port}" for replica in replicas]
        config = BackendConfig(base_url=urls, allow_adapters=True, adapter_folders=["/a"])
        gateway = Gateway(GatewayConfig(backends={"vllm": config}))
        rows = gateway.backends["vllm"].replicas
        gateway.start()
        load = Load(Client(App(gateway)))
        try:
            asked = {"lora_name": "sql", "lora_path": "/a/sql"}
            assert (await load.client.post("/v1/load_lora_adapter", asked)).status == 200
            workers = [asyncio.ensure_future(load.work(number)) for number in range(CLIENTS)]
            for replica, row in zip(replicas, rows, strict=True):
                await restart(replica, row, load)
            load.stopped = True
            await asyncio.wait_for(asyncio.gather(*workers), PATIENCE)
        finally:
            gateway.close()
    assert not load.failures()
    assert len(load.answers) > 100
