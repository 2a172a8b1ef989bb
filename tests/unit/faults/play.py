"""What a broken server does, as a list of steps, and the server that does it on a real socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, TypeAlias

import msgspec

from abstractcore.errors import AbstractCoreError
from abstractcore.wire.call import Timeouts
from tests.scripted_server import CHUNKED, END, Peer, PeerGoneError, chunk, head, whole

TEXT: Final = "Hello world"
KEY: Final = "sk-never-to-be-seen-4711"
"""What the client calls itself by."""


PATIENT: Final = Timeouts(connect=5.0, first_byte=5.0, idle=5.0, total=10.0)


class Act(Enum):
    """What a server does beside sending bytes."""

    READ = auto()
    """Wait for the request."""
    STALL = auto()
    """Do nothing until the client is gone."""
    RESET = auto()
    """Break the connection with RST."""
    CLOSE = auto()
    """Close the connection."""
    TRICKLE = auto()
    """Send the byte ``:`` again and again, slowly, until the client is gone."""
    PING = auto()
    """Send a comment event again and again, as a chunk, until the client is gone."""


Step: TypeAlias = bytes | Act
Steps: TypeAlias = Sequence[Step]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way in which a server breaks, and what the caller must get.

    Args:
        name: Its name in tests and in the table.
        breaks: What goes wrong, in words.
        plain: What the server does to a plain request; each list is the answer to one attempt, the last one repeats.
        stream: The same for a stream; by default as for a plain one.
        both: The error; ``None`` if a complete answer comes all the same.
        plain_gives: The error for a plain request, where it is another one.
        stream_gives: The same for a stream.
        partial: The text that a stream hands out before its error.
        limits: Time limits of the call.
        refused: No server listens at all.
    """

    name: str
    breaks: str
    plain: Sequence[Steps] = ()
    stream: Sequence[Steps] | None = None
    both: type[AbstractCoreError] | None = None
    plain_gives: type[AbstractCoreError] | None = None
    stream_gives: type[AbstractCoreError] | None = None
    partial: str = ""
    limits: Timeouts = PATIENT
    refused: bool = False

    def attempts(self, *, stream: bool) -> Sequence[Steps]:
        """What the server does to each attempt."""
        return self.stream if stream and self.stream is not None else self.plain

    def gives(self, *, stream: bool) -> type[AbstractCoreError] | None:
        """The error that the caller gets."""
        return (self.stream_gives if stream else self.plain_gives) or self.both


def script(attempts: Sequence[Steps]) -> Callable[[Peer], None]:
    """A script for a scripted server; requests are counted over all connections."""
    lock = threading.Lock()
    played = 0

    def next_steps() -> Steps:
        nonlocal played
        with lock:
            steps = attempts[min(played, len(attempts) - 1)]
            played += 1
            return steps

    def run(peer: Peer) -> None:
        while True:
            steps = next_steps()
            for step in steps:
                if _do(peer, step):
                    return
            if steps[0] is not Act.READ:
                return

    return run


def _do(peer: Peer, step: Step) -> bool:
    """Does one step; says whether the connection is over."""
    if isinstance(step, bytes):
        peer.send(step)
    elif step is Act.READ:
        peer.request()
    elif step is Act.STALL:
        peer.wait_gone()
        return True
    elif step in (Act.TRICKLE, Act.PING):
        pause = threading.Event()
        try:
            while not pause.wait(0.02):
                peer.send(b":" if step is Act.TRICKLE else chunk(b": ping\n\n"))
        except PeerGoneError:
            return True
    elif step is Act.RESET:
        peer.reset()
        return True
    else:
        return True
    return False


def body(**changes: Any) -> bytes:
    """A whole chat completion; ``choice`` and ``message`` change parts of it."""
    message = {"role": "assistant", "content": TEXT, **changes.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": "stop", **changes.pop("choice", {})}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    return msgspec.json.encode({"id": "x", "model": "m", "choices": [choice], "usage": usage, **changes})


def event(content: str | None = None, finish: str | None = None, **changes: Any) -> bytes:
    """One event of a stream."""
    delta = {} if content is None else {"content": content}
    document = {"id": "x", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **changes}
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


ERROR: Final = b'{"error": {"message": "EngineCore died", "type": "InternalServerError", "code": 500}}'
REPEATING: Final = ERROR.replace(b"died", b"died of the key " + KEY.encode())
"""A server whose words quote what it was sent."""
ERROR_EVENT: Final = b"data: " + ERROR + b"\n\n"
DONE: Final = b"data: [DONE]\n\n"
HELLO: Final = event("Hello")
WORLD: Final = event(" world")
STOP: Final = event(finish="stop")
EVENTS: Final = head("Transfer-Encoding: chunked", "Content-Type: text/event-stream")
GOOD: Final[Steps] = (Act.READ, whole(body(), "Content-Type: application/json"))
GOOD_STREAM: Final[Steps] = (Act.READ, EVENTS, *(chunk(part) for part in (HELLO, WORLD, STOP, DONE)), END)


def answers(*parts: bytes, status: str = "200 OK", headers: Sequence[str] = ()) -> list[Steps]:
    """One whole answer to every attempt."""
    return [(Act.READ, whole(b"".join(parts), "Content-Type: application/json", *headers, status=status))]


def streams(*events: bytes, end: Step = END) -> list[Steps]:
    """One stream for every attempt, an event a chunk."""
    return [(Act.READ, EVENTS, *(chunk(part) for part in events), end)]


__all__ = ["CHUNKED", "END", "chunk", "head", "whole"]
