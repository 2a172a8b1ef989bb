"""What is typed: something to say, or a command. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

QUOTES: Final = '"""'
"""Around a text of several lines."""
_COMMAND: Final = re.compile(r"/([A-Za-z?]+)(?:\s+(.*))?", re.DOTALL)
"""A path, such as /etc/hosts, is none: what follows the word is white space or the end."""


class Said(NamedTuple):
    """Something for the model."""

    text: str


class Order(NamedTuple):
    """A command, and all that follows it."""

    name: str
    argument: str


Line: TypeAlias = Said | Order


def read(line: str) -> Line | None:
    """What a line is; ``None`` if there is nothing on it.

    A line is all that was sent at once, line ends included. What begins with a space is never a command.
    """
    text = line.strip()
    if not text:
        return None
    if text.startswith(QUOTES):
        inner = text.removeprefix(QUOTES).removesuffix(QUOTES).removeprefix("\n").removesuffix("\n")
        return Said(inner) if inner.strip() else None
    found = None if line[0].isspace() else _COMMAND.fullmatch(text)
    return Order(found[1].lower(), (found[2] or "").strip()) if found else Said(text)


def is_open(line: str) -> bool:
    """Whether three quotes began a text that they have not ended yet."""
    text = line.strip()
    return text.startswith(QUOTES) and not (text.endswith(QUOTES) and len(text) >= 2 * len(QUOTES))
