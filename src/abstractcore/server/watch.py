"""Whether a stream that is passed on unread ended well: each choice has a finish reason, no event is an error. Pure.

Bytes are searched, and only the few events that matter are parsed, and those that don't look as a server writes them: a
quotation mark inside of a model's text is always escaped, so a quoted name that a colon follows is only ever the
protocol's own.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from ..errors import AbstractCoreError
from ..wire.failure import UNREADABLE, Failure, read_failure
from .errors import event

_END: Final = b"\n\n"
_ENDS: Final = (_END, b"\r\n\r\n", b"\r\r")
"""The blank line after an event, in each form of line end that the standard allows."""
_EVENT: Final = re.compile(rb"(?:\r\n|\r(?!\n)|\n){2,}")
_BETWEEN: Final = b"}\n\ndata: {"
_LINE: Final = re.compile(rb"\r\n|\r|\n")
_DONE: Final = b"[DONE]"
_LAST: Final = b"data: [DONE]\n\n"
_MARKS: Final = (b'"finish_reason":"', b'"error"', b'"usage":{', b'"finish_reason": "')
"""What stands in JSON objects that matter. All others are passed on unread."""
UNFINISHED: Final = (None, "abort", "error")
"""Finish reasons that are none, or by which vLLM says that it gave the request up."""
MOST: Final = 4 * 1024 * 1024
"""Bytes of one event."""


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None


class Tokens(msgspec.Struct):
    """Token counts, as the backend tells them."""

    prompt_tokens: int = 0
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Tokens | None = None
    error: Any = None
    object: str | None = None


class _Saying(msgspec.Struct):
    delta: dict[str, Any] | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Said(msgspec.Struct):
    choices: list[_Saying] | None = None


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_SAID: Final = msgspec.json.Decoder(_Said)


class Watch:
    """Follows the bytes of one stream.

    Args:
        choices: How many choices must finish.
        adapter: The adapter that was asked for: the stream must name it.
    """

    __slots__ = ("_carry", "_choices", "_finished", "_unnamed", "done", "failure", "tokens")

    def __init__(self, choices: int = 1, adapter: str | None = None) -> None:
        self._choices = choices
        self._unnamed = None if adapter is None else naming(adapter)
        self.tokens: Tokens | None = None
        """What the stream took, where it says so."""
        self._carry = bytearray()
        self._finished: set[int] = set()
        self.failure: Failure | AbstractCoreError | None = None
        """What went wrong; nothing that comes after it is passed on."""
        self.done = False
        """All choices have finished and the stream has said that it ends: the connection may do what it likes."""

    def feed(self, data: bytes) -> bytes:
        """Takes bytes as they came.

        Returns:
            What may be passed on: whole events, up to the first that is an error.
        """
        if self._carry or not data.endswith(_END):
            data = self._whole_events(data)
        if self._unnamed is not None and b"data:" in data:
            if not self._unnamed.search(data):
                self.failure = Failure("another model than the adapter that was asked for answered")
                return b""
            self._unnamed = None
        if not _is_plain(data):
            return self._look(data, _suspects(data))
        for mark in _MARKS:
            if mark in data:
                return self._look(data, _marked(data))
        return data

    def speaks(self, data: bytes) -> bool:
        """Whether whole events hold any of the answer, or its end: not comments and roles alone."""
        return any(_speaks(b"\n".join(_data_lines(event))) for event in _EVENT.split(data))

    def _whole_events(self, data: bytes) -> bytes:
        """Keeps the begin of an event that is not complete, and gives what is."""
        carry = self._carry
        start = max(0, len(carry) - 3)  # a blank line may be cut anywhere
        carry += data
        ends = [at + len(end) for end in _ENDS if (at := carry.rfind(end, start)) >= 0]
        cut = max(ends, default=0)
        if not cut:
            if len(carry) > MOST:
                self.failure = Failure(f"an event of the stream is larger than {MOST} bytes")
            return b""
        whole = bytes(memoryview(carry)[:cut])
        self._carry = carry[cut:]
        return whole

    def _look(self, data: bytes, events: list[tuple[int, int]]) -> bytes:
        """Reads events: those that matter, and those with a text that looks like it."""
        for at, end in events:
            body = b"\n".join(_data_lines(data[at:end]))
            if body == _DONE:
                self.failure = self._missing()
                self.done = self.failure is None
            elif body:
                self._read(body)
            if self.failure is not None:
                return data[:at]
        return data

    def _read(self, body: bytes) -> None:
        try:
            chunk = _CHUNK.decode(body)
            body.decode()  # nobody else looks at the text
        except UNREADABLE as error:
            self.failure = Failure(f"an event of the stream is not in the protocol: {error}")
            return
        if chunk.error is not None or chunk.object == "error":
            self.failure = read_failure(body)
            return
        self.tokens = chunk.usage or self.tokens
        for choice in chunk.choices or ():
            reason = choice.finish_reason
            if reason not in UNFINISHED:
                self._finished.add(choice.index)
            elif reason is not None:
                self.failure = Failure(f"the server gave the request up: its finish reason is {reason!r}")

    def close(self) -> bytes:
        """The body has ended as HTTP says it must.

        Returns:
            What is still to be passed on.
        """
        rest, self._carry = bytes(self._carry), bytearray()
        if self.failure is None and rest.strip():
            if b"".join(_data_lines(rest)) == _DONE:  # without its blank line; some servers end so
                self._look(rest + _END, _every(rest + _END))
            else:
                self.failure = Failure("the stream ended in the middle of an event")
        self.failure = self.failure or self._missing()
        return b"" if self.failure else rest

    def _missing(self) -> Failure | None:
        missing = self._choices - len(self._finished)
        if missing <= 0:
            return None
        return Failure(f"the stream ended, but {missing} of {self._choices} choices have no finish reason")

    def event(self, error: AbstractCoreError) -> bytes:
        """The last event of a stream that failed."""
        return event(error)


def naming(adapter: str) -> re.Pattern[bytes]:
    """What an answer of an adapter has in it."""
    return re.compile(rb'"model": ?' + re.escape(msgspec.json.encode(adapter)) + rb"[,}]")


def _speaks(body: bytes) -> bool:
    if not body:
        return False
    try:
        said = _SAID.decode(body)
    except UNREADABLE:
        return True
    return any(
        each.finish_reason is not None
        or bool(each.text)
        or any(value for name, value in (each.delta or {}).items() if name != "role")
        for each in said.choices or ()
    )


def _is_plain(data: bytes) -> bool:
    """Whether these are JSON objects, each in an event of one line, as far as one sees without reading them."""
    if data[:7] != b"data: {" or data[-3:] != b"}\n\n" or not (data.isascii() or _is_text(data)):
        return False
    return data.find(b"\n") == len(data) - 2 or data.count(b"\n") == 2 * data.count(_BETWEEN) + 2


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _suspects(data: bytes) -> list[tuple[int, int]]:
    """Where the events begin and end that must be read: all, unless only the last one is no JSON object."""
    before = data.removesuffix(_LAST)
    if len(before) == len(data) or not (_is_plain(before) or not before):
        return _every(data)
    return [*_marked(before), (len(before), len(data))]


def _every(data: bytes) -> list[tuple[int, int]]:
    """Where the events begin and end."""
    ends = [match.end() for match in _EVENT.finditer(data)]
    return list(zip([0, *ends], ends, strict=False))


def _marked(data: bytes) -> list[tuple[int, int]]:
    """Where the events with a mark in them begin and end, in their order."""
    found = set()
    for mark in _MARKS:
        at = data.find(mark)
        while at >= 0:
            end = data.find(_END, at) + len(_END)
            before = data.rfind(_END, 0, at)
            found.add((before + len(_END) if before >= 0 else 0, end))
            at = data.find(mark, end)
    return sorted(found)


def _data_lines(text: bytes) -> list[bytes]:
    return [line[5:].removeprefix(b" ") for line in _LINE.split(text) if line.startswith(b"data:")]
