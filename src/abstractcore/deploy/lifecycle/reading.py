"""Whether the user of a container may read what is mounted into it, by owner and mode. No container is needed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MOST: Final = 20_000
"""Files that are looked at; a model has some dozens."""


@dataclass(frozen=True, slots=True)
class User:
    """Who a container's processes are, in the host's numbers."""

    uid: int
    gid: int
    may_all: bool = False
    """Root with its capabilities: modes don't matter."""


NOBODY: Final = User(-1, -1)
"""Someone who owns nothing here."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is wrong with a folder."""

    closed: tuple[str, ...] = ()
    """Files and folders that the user may not read."""
    dangling: tuple[str, ...] = ()
    """Links that lead out of it."""


def user_of(text: str, *, capable: bool) -> User | None:
    """Reads ``uid:gid``; ``None`` for a name, which only the image can resolve.

    Args:
        text: As in ``--user``; empty means root.
        capable: Whether the container keeps its capabilities.
    """
    uid, _, gid = (text or "0:0").partition(":")
    if not uid.isdigit() or not (gid or "0").isdigit():
        return None
    return User(int(uid), int(gid or 0), may_all=uid == "0" and capable)


def look(folder: Path, user: User) -> Found:
    """Looks at all files below a folder, or at one file."""
    if user.may_all:
        closed: tuple[str, ...] = ()
    else:
        closed = tuple(str(path) for path, status in _walk(folder) if not _may_read(status, user))
    return Found(closed, tuple(str(path) for path in _links_out(folder)))


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    yield folder, folder.stat()
    count = 0
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            count += 1
            if count > _MOST:
                return
            try:
                yield path, path.stat()
            except OSError:
                continue  # a link that leads nowhere is reported as such


def _may_read(status: os.stat_result, user: User) -> bool:
    wanted = 0o5 if stat.S_ISDIR(status.st_mode) else 0o4
    shift = 6 if status.st_uid == user.uid else 3 if status.st_gid == user.gid else 0
    return status.st_mode >> shift & wanted == wanted


def _links_out(folder: Path) -> Iterator[Path]:
    root = folder.resolve()
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                yield path
