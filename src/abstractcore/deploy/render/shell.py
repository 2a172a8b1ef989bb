"""Argument lists as lines that a person can paste into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def line(argv: Sequence[str]) -> str:
    """One command, broken in front of each flag."""
    parts: list[list[str]] = []
    for word in argv:
        is_full = bool(parts) and len(parts[-1]) == 2 and parts[-1][0].startswith("-")
        if not parts or word.startswith("-") or is_full:
            parts.append([])
        parts[-1].append(word)
    return " \\\n  ".join(shlex.join(part) for part in parts)


def script(commands: Sequence[Sequence[str]]) -> str:
    """Several commands, one after the other."""
    return "\n\n".join(line(argv) for argv in commands) + "\n"
