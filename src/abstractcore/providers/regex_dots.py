"""The dot of a regex, written so that it means the same to every engine."""

from __future__ import annotations

import re
from typing import Final


def explicit_dots(pattern: str) -> str:
    r"""Replaces each ``.`` of a regex by ``[^\n]``, which is what it means.

    xgrammar, vLLM's default engine, lets a dot match line feeds too (seen on 0.32.0: ``x.{3}y`` gave ``"xxx\ny"``).
    Patterns with the inline flag ``s``, or that take flags away, are left alone: the dot may have that very meaning.
    """
    if _DOT_FLAG.search(pattern):
        return pattern
    out: list[str] = []
    depth = 0  # of character classes, which may stand inside each other
    for piece in _PIECES.findall(pattern):
        if piece == "." and not depth:
            out.append(r"[^\n]")
            continue
        if piece[0] == "[":
            depth += 1
        elif piece == "]" and depth:
            depth -= 1
        out.append(piece)
    return "".join(out)


_DOT_FLAG: Final = re.compile(r"\(\?[imsxuUR]*[s-]")
_PIECES: Final = re.compile(r"\\.|\[\^?\]?|.", re.DOTALL)
"""An escape, the begin of a class (a bracket that comes first in it is one of its members), or a character."""
