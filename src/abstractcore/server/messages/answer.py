"""A message as the backend gave it: whether it is complete, and what is proved of it. Pure."""

from __future__ import annotations

from ...errors import ProviderAPIError
from ...wire.anthropic import read_count, read_message
from ...wire.failure import UNREADABLE
from ..passing import Backing
from ..promise import Promise, spliced


def settled(body: bytes, promise: Promise | None, backing: Backing) -> bytes:
    """A message that came to its end, with the proof of what it promises.

    Raises:
        ProviderAPIError: It is none, or it did not come to an end.
        ConstraintViolationError: A promise is broken.
    """
    try:
        completion = read_message(body)
    except UNREADABLE as error:
        why = f"{error}; it begins {body[:80]!r}"
        raise ProviderAPIError("the backend's answer is no message", why=why) from error
    if completion.answers[0].finish_reason in (None, "abort"):
        raise ProviderAPIError("the backend's message did not come to an end", why="it has no stop reason")
    backing.check_model(completion.model)
    said = promise.settle(completion.answers, completion.usage) if promise else {}
    backing.tell(completion.usage, said)
    return spliced(body, said)


def counted(body: bytes) -> bytes:
    """A number of tokens.

    Raises:
        ProviderAPIError: It is none.
    """
    try:
        read_count(body)
    except UNREADABLE as error:
        raise ProviderAPIError("the backend's answer is no number of tokens", why=str(error)) from error
    return body
