"""What was typed before, for the arrow keys: a file that only its owner can read, without secrets."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ...settings import TABLE, resolve, state_dir

KEPT: Final = 1000
"""Lines that are kept; twice as many make the file be shortened."""
_KEY: Final = re.compile(
    r"\b(?:sk-|hf_|gh[pousr]_|glpat-|xox[abprs]-|AKIA|AIza)[\w-]{12,}|\bBearer\s+\S{12,}|-----BEGIN [A-Z ]*PRIVATE KEY"
)
"""How the keys of well-known services look."""
_LONG_ENOUGH: Final = 8
"""A shorter key, such as vLLM's EMPTY, is a word like others."""


def may_be_kept(text: str, secrets: Iterable[str]) -> bool:
    """Whether a line may go to the file: it begins with no space, and no key is in it."""
    return (
        bool(text.strip()) and not text[0].isspace() and not _KEY.search(text) and not any(s in text for s in secrets)
    )


def known_secrets() -> list[str]:
    """The keys in the settings."""
    values = [resolve(row.name).value for row in TABLE.values() if row.secret]
    return [value for value in values if value and len(value) >= _LONG_ENOUGH]


class Inputs:
    """The lines of earlier conversations, oldest first.

    Args:
        path: The file; one line of JSON for each line.
        secrets: What must not get into it.
    """

    def __init__(self, path: Path | None = None, secrets: Iterable[str] = ()) -> None:
        self.path = path or state_dir() / "chat-history.jsonl"
        self._secrets = list(secrets)

    def lines(self) -> list[str]:
        """The last ones.

        Raises:
            OSError: The file is there and can't be read.
        """
        try:
            rows = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        found = [line for row in rows if (line := _line(row)) is not None]
        if len(rows) > 2 * KEPT:
            self._write_anew(found[-KEPT:])
        return found[-KEPT:]

    def add(self, text: str) -> None:
        """Adds a line, unless it may not be kept.

        Raises:
            OSError: The file can't be written.
        """
        if not may_be_kept(text, self._secrets):
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if os.name == "posix" and os.fstat(descriptor).st_mode & 0o077:
                os.fchmod(descriptor, 0o600)
            file.write(_row(text))

    def _write_anew(self, lines: list[str]) -> None:
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}-")
        with os.fdopen(handle, "wb") as file:
            file.writelines(map(_row, lines))
        Path(name).replace(self.path)


def _row(text: str) -> bytes:
    return json.dumps(text).encode() + b"\n"


def _line(row: bytes) -> str | None:
    """What a row holds; ``None`` if it is broken."""
    try:
        line = json.loads(row)
    except ValueError:
        return None
    return line if isinstance(line, str) else None
