"""A model behind a real socket whose answers are written by the test: as a stream, in OpenAI's protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.scripted_server import CHUNKED, END, Peer, Request, ScriptedServer, chunk, whole


@dataclass
class FakeModel:
    """What it says, and what it was asked."""

    parts: Sequence[str] = ("Hello.",)
    """The answer, in the pieces in which it is streamed."""
    name: str = "scripted"
    failure: Any = None
    """An error that it answers chats with, if there is one."""
    asked: list[Any] = field(default_factory=list)
    """Bodies of the chats."""
    base_url: str = ""

    def play(self, peer: Peer) -> None:
        """Answers all requests of a connection."""
        while True:
            try:
                request = peer.request()
            except TimeoutError:  # the gateway keeps the connection for later
                continue
            self._answer(peer, request)

    def _answer(self, peer: Peer, request: Request) -> None:
        if request.target.endswith("/models"):
            row = {"id": self.name, "object": "model", "created": 0, "owned_by": "test", "max_model_len": 4096}
            peer.send(_json({"object": "list", "data": [row]}))
        elif request.target.endswith("/chat/completions"):
            body = json.loads(request.body)
            self.asked.append(body)
            if self.failure:
                peer.send(_json({"error": self.failure}, status="400 Bad Request"))
            elif body.get("stream"):
                peer.send(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Type: text/event-stream\r\n\r\n"))
                for event in self._events():
                    peer.send(chunk(b"data: " + event + b"\n\n"))
                peer.send(END)
            else:
                message = {"role": "assistant", "content": "".join(self.parts)}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                peer.send(_json(_completion("chat.completion", [choice], usage=_USAGE)))
        else:
            peer.send(whole(b'{"detail":"Not Found"}', "Content-Type: application/json", status="404 Not Found"))

    def _events(self) -> Iterator[bytes]:
        for part in self.parts:
            choice = {"index": 0, "delta": {"role": "assistant", "content": part}, "finish_reason": None}
            yield json.dumps(_completion("chat.completion.chunk", [choice])).encode()
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        yield json.dumps(_completion("chat.completion.chunk", [last])).encode()
        yield json.dumps(_completion("chat.completion.chunk", [], usage=_USAGE)).encode()
        yield b"[DONE]"


_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def _completion(kind: str, choices: list[Any], **more: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": "scripted", "choices": choices, **more}


def _json(document: Any, status: str = "200 OK") -> bytes:
    return whole(json.dumps(document).encode(), "Content-Type: application/json", status=status)


@contextmanager
def answering() -> Iterator[FakeModel]:
    """A fake model that answers while the block runs."""
    model = FakeModel()
    with ScriptedServer(model.play) as server:
        model.base_url = f"{server.url}/v1"
        yield model
