"""What a gateway with two replicas makes of each fault of the first one: one row each, in four ways."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from abstractcore.errors import (
    AuthenticationError,
    ConnectionFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderAPIError,
    RequestTimeoutError,
    StreamInterruptedError,
)
from tests.unit.faults.play import DONE, END, ERROR, ERROR_EVENT, EVENTS, STOP, Act, Fault, Step, answers, chunk, event
from tests.unit.faults.table import FAULTS as OF_CLIENTS
from tests.unit.faults.table import IDLE, SHORT


class Gets(Enum):
    """What a client of the gateway gets."""

    ANSWER = "the answer"
    """Of the first replica."""
    OTHER = "the answer, from another replica"
    BROKEN = "an error event, never `[DONE]`"
    REFUSED = "the refusal"
    LATE = "504"


class Way(NamedTuple):
    """How it is asked."""

    stream: bool
    proved: bool


WAYS: Final = [Way(stream, proved) for stream in (False, True) for proved in (False, True)]
ROLE: Final = event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
COMMENT: Final = b": still here\n\n"
_BODY: Final = [(Act.READ, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{")]


def _before(name: str, breaks: str, *steps: bytes | Act) -> Fault:
    """A stream that breaks when it has begun and said nothing; a plain request is cut in its body."""
    parts: list[Step] = [chunk(step) if isinstance(step, bytes) else step for step in steps]
    return Fault(
        name=name,
        breaks=f"a stream {breaks} before its first word; a plain answer breaks off",
        plain=[(*_BODY[0], Act.RESET)],
        stream=[(Act.READ, EVENTS, *parts, *(() if isinstance(steps[-1], Act) else (END,)))],
        limits=IDLE,
        plain_gives=ConnectionFailedError,
        stream_gives=StreamInterruptedError,
    )


OWN: Final = (
    _before("role-then-cut", "is closed after the role that begins it,", ROLE, Act.CLOSE),
    _before("role-then-reset", "is reset after the role that begins it,", ROLE, Act.RESET),
    _before("role-then-error", "tells of an error after the role that begins it,", ROLE, ERROR_EVENT, DONE),
    _before("role-then-abort", "is aborted after the role that begins it,", ROLE, event(finish="abort"), DONE),
    _before("role-then-end", "ends cleanly after the role that begins it,", ROLE, DONE),
    _before("role-then-silence", "falls silent after the role that begins it,", ROLE, Act.STALL),
    _before("comment-then-cut", "is closed after a comment,", COMMENT, Act.CLOSE),
    _before("comment-then-reset", "is reset after a comment,", COMMENT, Act.RESET),
    _before("comment-then-error", "tells of an error after a comment,", COMMENT, ERROR_EVENT, DONE),
    _before("comments-and-role-then-reset", "is reset after comments and a role,", COMMENT, ROLE, COMMENT, Act.RESET),
    Fault(
        name="pings-only",
        breaks="keep-alive comments come, and nothing else",
        plain=[(*_BODY[0], Act.STALL)],
        stream=[(Act.READ, EVENTS, Act.PING)],
        limits=SHORT,
        plain_gives=ConnectionFailedError,
        stream_gives=StreamInterruptedError,
    ),
    Fault(
        name="role-then-well",
        breaks="a role, a pause, and then the answer",
        plain=answers(ERROR, status="500 Internal Server Error"),
        stream=[(Act.READ, EVENTS, chunk(ROLE + COMMENT), chunk(event("Hello world")), chunk(STOP + DONE), END)],
        plain_gives=ProviderAPIError,
    ),
)
FAULTS: Final = (*OF_CLIENTS, *OWN)
_REFUSALS: Final = (InvalidRequestError, AuthenticationError, ModelNotFoundError)
_SPECIAL: Final = {
    # Of a compressed stream only the last bytes are missing, after the stream has said that it is complete.
    ("broken-gzip", Way(stream=True, proved=False)): Gets.ANSWER,
    # What is passed on goes out as it came, whatever else a server adds to it.
    ("foreign-choice", Way(stream=True, proved=False)): Gets.ANSWER,
    # The body of an answer that has begun stops coming: not the request takes too long, but the server fails.
    ("stalled", Way(stream=False, proved=False)): Gets.OTHER,
    ("stalled", Way(stream=False, proved=True)): Gets.OTHER,
    ("slow-loris-without-total", Way(stream=False, proved=False)): Gets.OTHER,
    ("slow-loris-without-total", Way(stream=False, proved=True)): Gets.OTHER,
}


def gets(fault: Fault, way: Way) -> Gets:
    """What the client gets."""
    special = _SPECIAL.get((fault.name, way))
    if special is not None:
        return special
    error = fault.gives(stream=way.stream)
    if error is None:
        return Gets.OTHER if "-then-well" in fault.name and fault not in OWN else Gets.ANSWER
    if issubclass(error, _REFUSALS):
        return Gets.REFUSED
    if way.stream and fault.partial:
        return Gets.BROKEN
    return Gets.LATE if error is RequestTimeoutError else Gets.OTHER
