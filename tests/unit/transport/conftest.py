"""Scripted servers, and one blocking face for both transports: what holds for one is tested on the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Protocol

import pytest

from abstractcore.transport import AsyncHttpTransport, HttpTransport
from abstractcore.transport.http_async import AsyncHttpExchange
from abstractcore.wire.call import Answer, Call
from tests.scripted_server import Script, ScriptedServer


class Serve(Protocol):
    """Starts a server that plays a script; it is closed, and its script's assertions count, when the test ends."""

    def __call__(self, script: Script, **options: Any) -> ScriptedServer: ...


@pytest.fixture
def serve() -> Generator[Serve]:
    servers: list[ScriptedServer] = []

    def start(script: Script, **options: Any) -> ScriptedServer:
        server = ScriptedServer(script, **options)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


class Exchange(Protocol):
    """An open exchange of either kind."""

    @property
    def answer(self) -> Answer: ...
    def read(self) -> bytes: ...
    def close(self) -> None: ...


class Client(Protocol):
    """A transport of either kind."""

    def open(self, call: Call) -> Exchange: ...
    def close(self) -> None: ...


class _AsyncExchange:
    """Lets the loop run whenever something is asked for."""

    def __init__(self, exchange: AsyncHttpExchange, runner: asyncio.Runner) -> None:
        self._exchange = exchange
        self._runner = runner
        self.answer = exchange.answer

    def read(self) -> bytes:
        return self._runner.run(self._exchange.read())

    def close(self) -> None:
        async def close() -> None:
            self._exchange.close()

        self._runner.run(close())


class _AsyncClient:
    def __init__(self, environ: dict[str, str]) -> None:
        self._runner = asyncio.Runner()
        self._transport = AsyncHttpTransport(environ=environ)

    def open(self, call: Call) -> _AsyncExchange:
        return _AsyncExchange(self._runner.run(self._transport.open(call)), self._runner)

    def close(self) -> None:
        self._runner.close()


ClientFactory = Callable[..., Client]


@pytest.fixture(params=["sync", "async"])
def new_client(request: pytest.FixtureRequest) -> Generator[ClientFactory]:
    """Makes clients that see an environment of their own."""
    clients: list[Client] = []

    def new(**environ: str) -> Client:
        client: Client = HttpTransport(environ=environ) if request.param == "sync" else _AsyncClient(environ)
        clients.append(client)
        return client

    yield new
    for client in clients:
        client.close()


@pytest.fixture
def client(new_client: ClientFactory) -> Client:
    return new_client()


def read_all(exchange: Exchange) -> bytes:
    """The rest of a streamed answer."""
    parts = []
    while data := exchange.read():
        parts.append(data)
    return b"".join(parts)
