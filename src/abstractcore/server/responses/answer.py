"""A response as the backend gave it: whether it is complete, and what is proved of it. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from ...errors import ProviderAPIError
from ...types import Alternative, ToolCall, Usage
from ...wire.failure import UNREADABLE
from ..passing import Backing
from ..promise import Promise, spliced

PENDING: Final = ("queued", "in_progress")


class _Part(Struct):
    type: str = ""
    text: str | None = None


class _Item(Struct):
    type: str
    content: list[_Part] | None = None
    name: str = ""
    arguments: str | None = None
    call_id: str | None = None


class _Reason(Struct):
    reason: str | None = None


class _Error(Struct):
    message: str | None = None
    code: str | int | None = None


class _Usage(Struct):
    input_tokens: int = 0
    output_tokens: int = 0


class Response(Struct):
    """The parts of a response that say how it ended, and what it says."""

    status: str
    output: list[_Item]
    incomplete_details: _Reason | None = None
    error: _Error | None = None
    usage: _Usage | None = None
    model: str | None = None

    def answers(self) -> list[Alternative]:
        """Its messages, with all its calls in the first; at least one, if only of an empty text."""
        messages = [item for item in self.output if item.type == "message"]
        texts = ["".join(part.text or "" for part in _texts(item)) for item in messages] or [""]
        calls = [_call(item) for item in self.output if item.type == "function_call"]
        refused = any(part.type == "refusal" for item in messages for part in item.content or ())
        finish = "refusal" if refused else self._finish()
        rows = [Alternative(index=index, content=text, finish_reason=finish) for index, text in enumerate(texts)]
        rows[0].tool_calls = calls
        return rows

    def _finish(self) -> str:
        if self.status != "incomplete":
            return "stop"
        reason = self.incomplete_details.reason if self.incomplete_details else None
        return "content_filter" if reason == "content_filter" else "length"

    def counted(self) -> Usage | None:
        """Its tokens."""
        return Usage(self.usage.input_tokens, self.usage.output_tokens) if self.usage else None


_DECODER: Final = msgspec.json.Decoder(Response)


def _texts(item: _Item) -> list[_Part]:
    return [part for part in item.content or () if part.type == "output_text"]


def _call(item: _Item) -> ToolCall:
    try:
        arguments = msgspec.json.decode(item.arguments or "", type=dict[str, Any])
    except UNREADABLE:
        return ToolCall(name=item.name, arguments={}, call_id=item.call_id, raw_arguments=item.arguments or "")
    return ToolCall(name=item.name, arguments=arguments, call_id=item.call_id)


def read(body: bytes) -> Response:
    """Reads a response.

    Raises:
        ProviderAPIError: It is none.
    """
    try:
        return _DECODER.decode(body)
    except UNREADABLE as error:
        why = f"{error}; it begins {body[:80]!r}"
        raise ProviderAPIError("the backend's answer is no response", why=why) from error


def settled(body: bytes, promise: Promise | None, backing: Backing, *, pending: bool = False) -> bytes:
    """A response that came to its end, with the proof of what it promises.

    Args:
        body: As it came.
        promise: What it is held to.
        backing: Who gave it.
        pending: It need not have ended.

    Raises:
        ProviderAPIError: It did not end well.
        ConstraintViolationError: A promise is broken.
    """
    response = read(body)
    if response.status in ("completed", "incomplete"):
        backing.check_model(response.model)
        said = promise.settle(response.answers(), response.counted()) if promise else {}
        backing.tell(response.counted(), said)
        return spliced(body, said)
    if pending and response.status in (*PENDING, "cancelled"):
        return body
    why = response.error.message if response.error else f"its status is {response.status!r}"
    raise ProviderAPIError("the backend's response did not end well", why=why)
