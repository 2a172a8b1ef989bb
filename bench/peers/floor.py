"""What a gateway in Python costs at the least: two asyncio protocols that hand bytes on, and httptools to see the ends.

python floor.py PORT UPSTREAM_PORT
"""

from __future__ import annotations

import asyncio
import sys

import httptools
import uvloop

PORT, UPSTREAM = int(sys.argv[1]), int(sys.argv[2])
IDLE: list[Upstream] = []


class Upstream(asyncio.Protocol):
    """A connection to the server; hands what comes to the client that waits for it."""

    client: Client | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def take(self, client: Client, request: bytes) -> None:
        self.client, self.parser = client, httptools.HttpResponseParser(self)
        self.transport.write(request)

    def on_message_complete(self) -> None:
        self.whole = True

    def data_received(self, data: bytes) -> None:
        self.whole = False
        self.parser.feed_data(data)
        client = self.client
        client.transport.write(data)
        if self.whole:
            client.upstream = self.client = None
            IDLE.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in IDLE:
            IDLE.remove(self)
        if self.client:
            self.client.transport.abort()


class Client(asyncio.Protocol):
    """A connection of a client."""

    upstream: Upstream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.raw, self.parser = b"", httptools.HttpRequestParser(self)

    def on_message_complete(self) -> None:
        request, self.raw = self.raw, b""
        if IDLE:
            self.upstream = IDLE.pop()
            self.upstream.take(self, request)
        else:
            self.task = asyncio.ensure_future(self.dial(request))

    async def dial(self, request: bytes) -> None:
        _, self.upstream = await asyncio.get_running_loop().create_connection(Upstream, "127.0.0.1", UPSTREAM)
        self.upstream.take(self, request)

    def data_received(self, data: bytes) -> None:
        self.raw += data
        self.parser.feed_data(data)

    def pause_writing(self) -> None:
        if self.upstream:
            self.upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.upstream:
            self.upstream.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.upstream:
            self.upstream.client = None
            self.upstream.transport.abort()


async def main() -> None:
    """Serves until it is stopped."""
    server = await asyncio.get_running_loop().create_server(Client, "127.0.0.1", PORT, backlog=4096)
    await server.serve_forever()


uvloop.run(main())
