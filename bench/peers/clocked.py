"""A server that tells the time: each token of its streams is the moment at which it was written.

python clocked.py

Prints its port. Speaks as much of vLLM's protocol as a chat needs. What a request wants is in its field ``user``, as
"name=value" with commas between: ``id`` a name for it, ``chunks`` tokens (3), ``spacing`` milliseconds between two
writes (0), ``first`` milliseconds before the first token, ``stall`` tokens after which no more come, ``ping``
milliseconds between comments, ``silent`` not even a head. ``GET /closed`` tells which requests came, and when the
connection of each that was left open was closed. Times are nanoseconds of the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import time

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = '{"id":"x","object":"chat.completion.chunk","created":0,"model":"smollm2","choices":[%s]%s}'
CHOICE = '{"index":0,"delta":{"content":"%s"},"logprobs":null,"finish_reason":%s}'
USAGE = ',"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}'
CLOSED: dict[str, int] = {}
ASKED: list[str] = []
PREFACE = b'{"id":"x","model":"smollm2",'


def framed(data: bytes) -> bytes:
    """A chunk of HTTP."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(document: str) -> bytes:
    """A chunk with one event."""
    return framed(f"data: {document}\n\n".encode())


class Link(asyncio.Protocol):
    """A connection, and the answer that is on its way over it."""

    def __init__(self) -> None:
        self.received = b""
        self.asked: dict[str, str] = {}
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.loop = asyncio.get_running_loop()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.asked:
            CLOSED[self.asked.get("id", "")] = time.monotonic_ns()
        if self.timer:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, mark, body = self.received.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"), 0)
        if not mark or len(body) < length:
            return
        self.received = body[length:]
        if head.startswith(b"GET"):
            self._whole(json.dumps({"asked": ASKED, "closed": CLOSED}).encode())
            return
        document = json.loads(body[:length])
        pairs = (pair.split("=") for pair in document.get("user", "").split(",") if pair)
        self.asked = dict(pairs) or {"id": ""}
        if "id" in self.asked:
            ASKED.append(self.asked["id"])
        if "silent" in self.asked:
            return
        if document.get("stream"):
            self.transport.write(HEAD)
            self.sent = 0
            self.timer = self.loop.call_later(self._ms("first", 0), self._next)
            self._ping()
        elif "stall" in self.asked:
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n" + PREFACE)
        else:
            choice = CHOICE.replace("delta", "message") % (time.monotonic_ns(), '"stop"')
            self.asked = {}
            self._whole((EVENT % (choice, USAGE)).encode())

    def _ms(self, name: str, default: float) -> float:
        return float(self.asked.get(name, default)) / 1e3

    def _whole(self, body: bytes) -> None:
        kind = b"content-type: application/json\r\n"
        self.transport.write(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (kind, len(body), body))

    def _next(self) -> None:
        if self.sent == int(self.asked.get("stall", -1)):
            return
        if self.sent == int(self.asked.get("chunks", 3)):
            self.asked = {}
            finish = EVENT % (CHOICE % ("", '"stop"'), "")
            self.transport.write(event(finish) + event(EVENT % ("", USAGE)) + event("[DONE]") + b"0\r\n\r\n")
            return
        self.sent += 1
        self.transport.write(event(EVENT % (CHOICE % (f"{time.monotonic_ns()} ", "null"), "")))
        self.timer = self.loop.call_later(self._ms("spacing", 0), self._next)

    def _ping(self) -> None:
        if self.asked and "ping" in self.asked and not self.transport.is_closing():
            self.transport.write(framed(b": ping\n\n"))
            self.loop.call_later(self._ms("ping", 20), self._ping)


async def main() -> None:
    """Serves until it is stopped."""
    server = await asyncio.get_running_loop().create_server(Link, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
