"""``--allow``: the promises of a profile that a user may give up, one by one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from ..errors import ConfigurationError
from .options import LaunchOptions

_UNITS: Final = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_SIZE: Final = re.compile(r"(\d{1,15})\s*([kmg]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
SIZES: Final = ("memlock", "stack", "shm")
WORDS: Final = {"ipc": "private", "user": "root", "caps": "default", "new-privileges": "yes"}
"""What each of them may be given up for."""
UNSET: Final = "unset"
"""Of a limit: left as the engine of containers has it."""


def parse_size(text: str) -> int:
    """Bytes, from ``8MiB``, ``16g`` or ``65536``.

    Raises:
        ConfigurationError: It is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(f"{text!r} is no size", hint="write it like 8MiB, 16g or 65536")
    return int(match[1]) * _UNITS[match[2].lower()]


@dataclass(frozen=True, slots=True)
class Given:
    """What was given up, and so what is left."""

    options: LaunchOptions

    def memlock(self, promised: int) -> int | None:
        """The limit of locked memory; ``None`` to leave it alone."""
        return self._limit("memlock", promised)

    def stack(self, promised: int) -> int | None:
        """The limit of the stack; ``None`` to leave it alone."""
        return self._limit("stack", promised)

    def shm(self, promised: int) -> int:
        """Bytes of /dev/shm where it is the container's own; the engine's default of 64 MiB when unset."""
        size = self._limit("shm", promised)
        return 64 * 2**20 if size is None else size

    def _limit(self, name: str, promised: int) -> int | None:
        text = self.options.allow.get(name)
        if text is None:
            return promised
        return None if text == UNSET else parse_size(text)

    @property
    def ipc(self) -> Literal["host", "private"]:
        """Of the host profile."""
        return "private" if "ipc" in self.options.allow else "host"

    def user(self, promised: str) -> str:
        """Who the processes are."""
        return "0:0" if "user" in self.options.allow else promised

    @property
    def cap_drop(self) -> tuple[str, ...]:
        """The capabilities that are taken away."""
        return () if "caps" in self.options.allow else ("ALL",)

    @property
    def security_opt(self) -> tuple[str, ...]:
        """What stops a process from gaining rights."""
        return () if "new-privileges" in self.options.allow else ("no-new-privileges",)


def given_up(options: LaunchOptions) -> Given:
    """Reads what is given up.

    Raises:
        ConfigurationError: There is no such promise, or it can't be given up for that.
    """
    for name, value in options.allow.items():
        if name in SIZES:
            if value != UNSET:
                parse_size(value)
        elif WORDS.get(name) != value:
            known = ", ".join([f"{size}=SIZE|{UNSET}" for size in SIZES] + [f"{key}={to}" for key, to in WORDS.items()])
            raise ConfigurationError(f"--allow {name}={value} gives up nothing that is promised", hint=known)
    return Given(options)
