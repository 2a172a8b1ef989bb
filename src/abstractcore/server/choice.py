"""Which replica gets a request: that whose prefix cache knows the conversation, unless it is clearly busier. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from ..wire.failure import UNREADABLE

SLACK: Final = 4
"""So many requests more than twice those of the least busy replica make one clearly busier."""
PREFIX_BYTES: Final = 2048
"""Of each message, and of a text prompt, that make two requests the same conversation."""


class Standing(NamedTuple):
    """How one replica stands when a request comes."""

    name: str
    """The same from start to start, such as its address."""
    load: int
    """Requests that it works on or has waiting."""
    served: int
    """Requests that it got so far."""
    full: bool = False
    """It takes no more now."""


def choose(rows: Sequence[Standing], key: bytes | None) -> int | None:
    """Picks a replica.

    Args:
        rows: Those that may be asked.
        key: The same for all requests of one conversation; ``None`` if there is no telling.

    Returns:
        Its index: the conversation's home by rendezvous hashing, or the next one in its order if that is clearly busier
        than the least busy one; without a key the least busy one. ``None`` if all are full.
    """
    able = [index for index, row in enumerate(rows) if not row.full]
    if len(able) < 2:
        return able[0] if able else None
    least = min(able, key=lambda index: (rows[index].load, rows[index].served))
    if key is None:
        return least
    most = 2 * rows[least].load + SLACK
    near = [index for index in able if rows[index].load <= most]
    return max(near, key=lambda index: weight(key, rows[index].name))


def weight(key: bytes, name: str) -> bytes:
    """How much a conversation belongs to a replica; the greatest weight is its home."""
    return blake2b(name.encode(), key=key, digest_size=8).digest()


class _Turn(msgspec.Struct):
    role: str = ""


_TURNS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TURN: Final = msgspec.json.Decoder(_Turn)


def conversation_of(fields: Mapping[str, msgspec.Raw], model: str | None) -> bytes | None:
    """What stays the same while a conversation grows: its model, and its messages up to the first one of the user.

    Args:
        fields: A request for a chat or a text completion, as the client wrote it.
        model: What is asked.

    Returns:
        A key for ``choose``; ``None`` for a request that has neither messages nor a prompt.
    """
    digest = blake2b((model or "").encode(), digest_size=16)
    try:
        if "messages" in fields:
            for turn in _TURNS.decode(fields["messages"]):
                digest.update(bytes(turn)[:PREFIX_BYTES])
                if _TURN.decode(turn).role == "user":
                    break
        elif "prompt" in fields:
            digest.update(bytes(fields["prompt"])[:PREFIX_BYTES])
        else:
            return None
    except UNREADABLE:
        return None  # refused where requests are read
    return digest.digest()
