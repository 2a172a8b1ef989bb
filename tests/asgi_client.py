"""A client of the gateway without a socket: it speaks ASGI with the application, as uvicorn does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from abstractcore.server.app import App
from abstractcore.server.config import BackendConfig, GatewayConfig
from abstractcore.server.gateway import Gateway
from abstractcore.testing import FakeAsyncTransport, FakeServer, Reply
from tests.recordings import openapi

PATIENCE: Final = 10.0
"""Seconds after which a test that waits for the gateway has failed."""
_numbers: Final = itertools.count(1)


@dataclass
class Got:
    """An answer."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    """The body, in the pieces in which it was sent."""
    ended: bool = False
    """Whether its last part came."""

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        """The body as plain data."""
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> Any:
        """What the envelope says."""
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        """The events of a stream, decoded; ``[DONE]`` as it is, comments left out."""
        payloads = [event.removeprefix(b"data: ") for event in self.body.split(b"\n\n") if event[:1] == b"d"]
        return ["[DONE]" if payload == b"[DONE]" else msgspec.json.decode(payload) for payload in payloads]


class Client:
    """Sends requests to an application.

    Args:
        app: The application.
        headers: Sent with every request.
    """

    def __init__(self, app: App, headers: Mapping[str, str] | None = None) -> None:
        self.app = app
        self._headers = dict(headers or {})

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Got:
        """Asks for something."""
        return await self.send("GET", path, headers=headers)

    async def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Got:
        """Posts JSON; bytes go as they are."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self.send("POST", path, [data], headers)

    async def send(
        self,
        method: str,
        path: str,
        parts: list[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        leave: asyncio.Event | None = None,
        got: Got | None = None,
    ) -> Got:
        """Sends a request and waits until it is handled.

        Args:
            method: HTTP's.
            path: With a query, if there is one.
            parts: The body, in pieces.
            headers: Of this request.
            leave: When it is set, the client goes away.
            got: Filled as the answer comes, for those who look while it does.
        """
        got = got or Got()
        leave = leave or asyncio.Event()
        inbox = list(parts or [b""])

        async def receive() -> dict[str, Any]:
            if inbox:
                return {"type": "http.request", "body": inbox.pop(0), "more_body": bool(inbox)}
            await leave.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            await asyncio.sleep(0)
            if message["type"] == "http.response.start":
                assert not got.status, "the answer began twice"
                got.status = message["status"]
                got.headers = {name.decode(): value.decode() for name, value in message["headers"]}
                return
            assert not got.ended, "the answer goes on after its end"
            if message.get("body"):
                got.chunks.append(message["body"])
            got.ended = not message.get("more_body", False)

        every = {"host": "localhost", **self._headers, **(headers or {})}
        raw_path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": raw_path,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in every.items()],
        }
        await asyncio.wait_for(self.app(scope, receive, send), PATIENCE)
        return got


def fake_vllm(routes: Mapping[str, Any], version: str = "0.32.0", models: tuple[str, ...] = ("m",)) -> FakeServer:
    """A vLLM of some version: it describes itself as a recorded one does, and answers from a script."""
    rows = [{"id": name, "object": "model", "max_model_len": 2048} for name in models]
    return FakeServer(
        {
            "GET /version": Reply.json({"version": version}),
            "GET /openapi.json": Reply.json(openapi(version)),
            "GET /v1/models": Reply.json({"object": "list", "data": rows}),
            **routes,
        }
    )


def gateway_of(provider: str = "vllm", *servers: FakeServer, **config: Any) -> Gateway:
    """A gateway with one backend, whose replicas are fake servers."""
    # What is learned of a server is remembered by its address.
    urls = [f"http://fake-{next(_numbers)}.test" for _ in servers]
    gateway = Gateway(GatewayConfig(backends={provider: BackendConfig(base_url=urls)}, **config))
    every = dict(zip(urls, servers, strict=True))
    transport = _Switch(every)
    gateway.relay._transport = transport
    [backend] = gateway.backends.values()
    for replica in backend.replicas:
        replica.provider._async_transport = transport
    return gateway


class _Switch:
    """The way to several servers."""

    def __init__(self, servers: Mapping[str, FakeServer]) -> None:
        self._ways = {url: FakeAsyncTransport(server) for url, server in servers.items()}

    async def open(self, call: Any) -> Any:
        await asyncio.sleep(0)
        return await next(way for url, way in self._ways.items() if call.url.startswith(url)).open(call)

    def close(self) -> None:
        """Nothing is open."""


def client_of(*servers: FakeServer, provider: str = "vllm", **config: Any) -> Client:
    """A client of a gateway in front of fake servers."""
    return Client(App(gateway_of(provider, *servers, **config)))
