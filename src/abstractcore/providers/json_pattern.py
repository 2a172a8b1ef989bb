r"""A regex as the ``pattern`` of a JSON string, in the part of the syntax that the engines behind it agree on.

llama.cpp knows no ``\d``, ``\w``, ``\s`` and no needless escapes, and ignores a pattern that has one in silence; its
dot and its negated classes match the quote, which ends the JSON string too early. (Seen on its server: ``^\d{4}$`` gave
``"A date"``, ``^x.y$`` an error 500.) So what is sent says less than the regex and, as far as ASCII goes, never more;
answers are proved against the regex itself.
"""

from __future__ import annotations

import re
from typing import Final

_DIGITS: Final = "0-9"
_WORD: Final = "0-9A-Za-z_"
_UNSAFE: Final = r'"\\\x00-\x1f'
"""Characters that stand in a JSON string only in an escaped form."""
_OUTSIDE: Final = {
    ".": f"[^{_UNSAFE}]",
    r"\d": f"[{_DIGITS}]",
    r"\w": f"[{_WORD}]",
    r"\s": " ",
    r"\D": f"[^{_DIGITS}{_UNSAFE}]",
    r"\W": f"[^{_WORD}{_UNSAFE}]",
    r"\S": f"[^ {_UNSAFE}]",
}
_INSIDE: Final = {r"\d": _DIGITS, r"\w": _WORD, r"\s": " "}
_NEEDED: Final = frozenset(r"\.+*?()|[]{}^$")
"""Characters that an escape takes the meaning from; the same inside of a class are fewer."""
_NEEDED_INSIDE: Final = frozenset(r"\[]^-")
_VERBOSE: Final = re.compile(r"\(\?[a-zA-Z]*x")
_PIECES: Final = re.compile(r"\\.|\[\^?\]?|.", re.DOTALL)
"""An escape, the begin of a class (a bracket that comes first in it is one of its members), or a character."""


def json_pattern(regex: str) -> str:
    """The regex, anchored, as the ``pattern`` of a JSON Schema."""
    return f"^(?:{regex if _VERBOSE.search(regex) else _agreed(regex)})$"


def _agreed(regex: str) -> str:
    out: list[str] = []
    depth = 0  # of character classes, which may stand inside each other
    negated = False
    for piece in _PIECES.findall(regex):
        if not depth:
            if piece[0] == "[":
                depth, negated = 1, piece.startswith("[^")
            out.append(_OUTSIDE.get(piece) or _plain(piece, _NEEDED))
            continue
        if piece[0] == "[":
            depth += 1
        elif piece == "]":
            depth -= 1
            if not depth and negated:
                out.append(_UNSAFE)
        out.append(_INSIDE.get(piece) or _plain(piece, _NEEDED_INSIDE))
    return "".join(out)


def _plain(piece: str, needed: frozenset[str]) -> str:
    """Without an escape that changes nothing."""
    needless = len(piece) == 2 and piece[0] == "\\" and not piece[1].isalnum() and piece[1] not in needed
    return piece[1] if needless else piece
