"""Whether a streamed message that is passed on came to its end, and keeps what it promises. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ...errors import AbstractCoreError, ProviderAPIError
from ...wire.anthropic import WireUsage
from ...wire.anthropic_stream import AnthropicStreamReader
from ...wire.failure import UNREADABLE, Failure
from ..errors import envelope
from ..event_watch import EventWatch, event_bytes
from ..passing import Backing
from ..promise import Promise, spliced

_STOP_REASON: Final = re.compile(rb'"stop_reason": ?"(\w+)"')


class _Start(msgspec.Struct):
    model: str | None = None
    usage: WireUsage | None = None


class _Event(msgspec.Struct):
    message: _Start = msgspec.field(default_factory=_Start)
    usage: WireUsage | None = None


_EVENT: Final = msgspec.json.Decoder(_Event)


class MessageWatch(EventWatch):
    """Follows one stream. What ends it is passed on only after the whole message is proved.

    Args:
        promise: What the message is held to.
        backing: Who gives it.
    """

    marks = re.compile(rb"^event: ?(?:error|message_start|message_delta|message_stop)\b", re.MULTILINE)
    prelude = frozenset({"message_start", "content_block_start", "ping"})

    def __init__(self, promise: Promise | None, backing: Backing) -> None:
        super().__init__(careful=promise is not None)
        self._promise = promise
        self._backing = backing
        self._reader = AnthropicStreamReader(provider=backing.provider, url="") if promise else None
        self._usage: WireUsage | None = None
        self._stopped = False
        self._held: list[tuple[bytes, bytes]] = []
        """Events that say how the message ended, and their data."""

    def take(self, name: str, payload: bytes, event: bytes) -> bytes:
        if self._reader is not None:
            self._reader.feed(event)
        if name in ("message_start", "message_delta"):
            self._look(name, payload)
        if name == "message_stop":
            return self._ended(event)
        if self._promise is not None and (name == "message_delta" or self._held):
            self._held.append((event, payload if name == "message_delta" else b""))
            return b""
        return event

    def _look(self, name: str, payload: bytes) -> None:
        try:
            known = _EVENT.decode(payload)
        except UNREADABLE as error:
            raise ProviderAPIError(f"the event {name} is not in the protocol", why=str(error)) from error
        usage = known.usage or known.message.usage
        self._usage = usage.after(self._usage) if usage else self._usage
        if name == "message_start":
            self._backing.check_model(known.message.model)
        else:
            reason = _STOP_REASON.search(payload)
            self._stopped = self._stopped or (reason is not None and reason[1] != b"abort")

    def _ended(self, event: bytes) -> bytes:
        if not self._stopped:
            self.failure = Failure("the message has no stop reason")
            return b""
        self.done = True
        usage = self._usage.counted() if self._usage else None
        if self._promise is None or self._reader is None:
            self._backing.tell(usage, {})
            return event
        completion = self._reader.finish()
        said = self._promise.settle(completion.answers, completion.usage)
        self._backing.tell(usage, said)
        held = [
            event_bytes("message_delta", spliced(payload, said)) if payload else each for each, payload in self._held
        ]
        return b"".join((*held, event))

    def event(self, error: AbstractCoreError) -> bytes:
        """Anthropic's own form."""
        return event_bytes("error", envelope(error, "/v1/messages"))
