"""What a client in Python costs at the least: an asyncio protocol, httptools for the framing, msgspec for the JSON."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httptools
import msgspec
from client_run import MESSAGES, MODEL, Seen, run


class Message(msgspec.Struct):
    """What is said."""

    content: str | None = None


class Choice(msgspec.Struct):
    """One of the answers."""

    message: Message | None = None
    delta: Message | None = None
    finish_reason: str | None = None


class Usage(msgspec.Struct):
    """What it took."""

    prompt_tokens: int
    completion_tokens: int


class Answer(msgspec.Struct):
    """A whole answer, or a chunk."""

    choices: list[Choice]
    usage: Usage | None = None


DECODE = msgspec.json.Decoder(Answer).decode
ENCODE = msgspec.json.Encoder().encode


class Connection(asyncio.Protocol):
    """One connection: what has come of the body waits in ``parts`` until it is taken."""

    waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.loop = asyncio.get_running_loop()

    def ask(self, request: bytes) -> None:
        self.parts: list[bytes] = []
        self.complete = False
        self.parser = httptools.HttpResponseParser(self)
        self.transport.write(request)

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)

    def on_message_complete(self) -> None:
        self.complete = True

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def wait(self) -> None:
        self.waiter = self.loop.create_future()
        await self.waiter

    def take(self) -> bytes:
        parts, self.parts = self.parts, []
        return b"".join(parts)


class Floor:
    """A client with idle connections."""

    def __init__(self, base_url: str) -> None:
        place = urlsplit(base_url)
        self.address = place.hostname, place.port
        self.head = (
            f"POST {place.path}/chat/completions HTTP/1.1\r\nhost: {place.netloc}\r\n"
            "content-type: application/json\r\ncontent-length: "
        ).encode()
        self.idle: list[Connection] = []

    async def open(self, body: dict[str, Any]) -> Connection:
        sent = ENCODE(body)
        if self.idle:
            link = self.idle.pop()
        else:
            _, link = await asyncio.get_running_loop().create_connection(Connection, *self.address)
        link.ask(b"%b%d\r\n\r\n%b" % (self.head, len(sent), sent))
        return link

    async def request(self) -> Seen:
        link = await self.open({"model": MODEL, "messages": MESSAGES})
        while not link.complete:
            await link.wait()
        answer = DECODE(link.take())
        self.idle.append(link)
        return answer.choices[0].message.content, answer.usage.prompt_tokens, answer.usage.completion_tokens

    async def chunks(self) -> AsyncIterator[Answer]:
        body = {"model": MODEL, "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
        link = await self.open(body)
        rest = b""
        ready: deque[bytes] = deque()
        while True:
            if not link.parts and not link.complete:
                await link.wait()
            if link.parts:
                *events, rest = (rest + link.take()).split(b"\n\n")
                ready.extend(events)
            while ready:
                data = ready.popleft()[6:]
                if data != b"[DONE]":
                    yield DECODE(data)
            if link.complete and not link.parts:
                break
        self.idle.append(link)

    async def stream(self) -> Seen:
        texts, usage = [], None
        async for chunk in self.chunks():
            if chunk.choices:
                texts.append(chunk.choices[0].delta.content or "")
            if chunk.usage:
                usage = chunk.usage
        return "".join(texts), usage.prompt_tokens, usage.completion_tokens


run(Floor)
