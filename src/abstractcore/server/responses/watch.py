"""Whether a streamed response that is passed on came to its end, and keeps what it promises. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from ...errors import AbstractCoreError, ProviderAPIError
from ...wire.failure import UNREADABLE, Failure, read_failure
from ..errors import fields_of
from ..event_watch import EventWatch, event_bytes

Settle = Callable[[bytes], bytes]
"""Proves a whole response, and gives it with what it says of its proof."""
_BEFORE: Final = (
    "created", "queued", "in_progress", "output_item.added", "content_part.added", "reasoning_part.added",
    "reasoning_summary_part.added",
)  # fmt: skip
_LAST: Final = ("response.completed", "response.incomplete")


class _Closing(msgspec.Struct):
    response: msgspec.Raw


class ResponseWatch(EventWatch):
    """Follows one stream: its last event is passed on only after the response in it is proved.

    Args:
        settle: See ``answer.settled``.
    """

    marks = re.compile(rb"^event: ?(?:error|response\.(?:completed|incomplete|failed|cancelled))\b", re.MULTILINE)
    prelude = frozenset(f"response.{name}" for name in _BEFORE)

    def __init__(self, settle: Settle) -> None:
        super().__init__()
        self._settle = settle

    def take(self, name: str, payload: bytes, event: bytes) -> bytes:
        if name in ("response.failed", "response.cancelled"):
            self.failure = _failure(payload)
            return b""
        if name not in _LAST:
            return event
        try:
            response = bytes(msgspec.json.decode(payload, type=_Closing).response)
        except UNREADABLE as error:
            raise ProviderAPIError("the stream's last event is not in the protocol", why=str(error)) from error
        proved = self._settle(response)
        self.done = True
        return event if proved == response else event_bytes(name, payload.replace(response, proved, 1))

    def event(self, error: AbstractCoreError) -> bytes:
        """OpenAI's own form, and the envelope within: its SDK raises for that, and takes the form for an event."""
        fields = fields_of(error)
        own = {name: fields[name] for name in ("code", "message", "param")}
        said = {"type": "error", **own, "sequence_number": self.passed, "error": fields}
        return event_bytes("error", msgspec.json.encode(said))


def _failure(payload: bytes) -> Failure:
    try:
        response = msgspec.json.decode(payload, type=_Closing).response
    except UNREADABLE:
        return Failure("the response failed")
    failure = read_failure(bytes(response))
    return failure if failure.shaped else Failure("the response failed")
