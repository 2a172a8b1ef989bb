"""What names the caller to a server, and how it is kept out of what errors say. Pure.

A server, or a proxy before it, may repeat in its refusal the key that it was sent. Its words go into errors, logs and
a gateway's answers, so the key is cut out of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

CARRIERS: Final = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key"})
"""Headers whose values are secrets, in lower case."""
HIDDEN: Final = "(hidden)"
_SHORTEST: Final = 8
"""Shorter values are words, such as ``EMPTY``: cutting them out would mangle what was said."""


def secrets_of(headers: Mapping[str, str]) -> list[str]:
    """The secrets among the headers of a request, without ``Bearer``."""
    values = (value.rpartition(" ")[2] for name, value in headers.items() if name.lower() in CARRIERS)
    return [value for value in values if len(value) >= _SHORTEST]


def without(text: str, secrets: Sequence[str]) -> str:
    """A text with secrets cut out, also where the text was cut within one."""
    for secret in secrets:
        before, *pieces = text.split(secret[:_SHORTEST])
        text = before + "".join(HIDDEN + _after(piece, secret[_SHORTEST:]) for piece in pieces)
    return text


def _after(text: str, rest: str) -> str:
    """What follows the rest of a secret, of which as much is there as was not cut off."""
    size = next((at for at, pair in enumerate(zip(text, rest, strict=False)) if pair[0] != pair[1]), len(rest))
    return text[size:]


def hide(error: BaseException, secrets: Sequence[str]) -> None:
    """Cuts secrets out of all that an error says, and what it was raised from."""
    if not secrets:
        return
    for one in _chain(error):
        one.args = tuple(without(arg, secrets) if isinstance(arg, str) else arg for arg in one.args)
        for name, value in vars(one).items():
            if isinstance(value, str):
                setattr(one, name, without(value, secrets))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    rest: list[BaseException | None] = [error]
    while rest:
        one = rest.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            rest += [one.__cause__, one.__context__]
