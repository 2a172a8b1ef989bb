"""A server for many clients at once: one event loop in a thread, that answers each prompt with the prompt itself.

What a prompt begins with tells what else to do: ``hold`` sends the first word and then nothing, ``never`` nothing,
``busy`` answers 503, ``reset`` breaks the connection.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from typing import Any, Final, Self

import msgspec

from tests.scripted_server import CHUNKED, END, PATIENCE, chunk, whole

_RESET: Final = struct.pack("ii", 1, 0)


def _event(document: dict[str, Any]) -> bytes:
    return chunk(b"data: " + msgspec.json.encode({"id": "x", "model": "m", **document}) + b"\n\n")


def _token(text: str | None, finish: str | None = None) -> bytes:
    delta = {} if text is None else {"content": text}
    return _event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


class _Link(asyncio.Protocol):
    """A connection."""

    def __init__(self, server: AnsweringServer) -> None:
        self._server = server
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections += 1
        self._server.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.open.discard(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, mark, body = self._received.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"), 0)
        if not mark or len(body) < length:
            return
        self._received = body[length:]
        asked = msgspec.json.decode(body[:length])
        self._server.requests += 1
        self._answer(asked["messages"][-1]["content"], stream=asked.get("stream", False))

    def _answer(self, prompt: str, *, stream: bool) -> None:
        what, write = prompt.partition(" ")[0], self._transport.write
        if what == "reset":
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
        elif what == "busy":
            write(whole(b"{}", status="503 Service Unavailable"))
        elif what == "never":
            return
        elif stream:
            first, *others = [f"{word} " for word in prompt.split()]
            write(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Type: text/event-stream\r\n\r\n") + _token(first))
            if what != "hold":
                write(b"".join(map(_token, others)) + _token(None, "stop") + chunk(b"data: [DONE]\n\n") + END)
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": prompt}, "finish_reason": "stop"}
            document = {"id": "x", "model": "m", "choices": [choice]}
            write(whole(msgspec.json.encode(document), "Content-Type: application/json"))


class AnsweringServer:
    """Runs from ``with`` to its end; counts what came."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0
        self.open: set[_Link] = set()
        """Connections that stand now."""
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Link(self), "127.0.0.1", 0, backlog=1024)
        )
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for link in list(self.open):
            link._transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()
