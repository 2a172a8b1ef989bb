"""Which process listens on a port, as far as Linux lets this user see it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

PROC: Final = Path("/proc")
_LISTENING: Final = "0A"


class Holder(NamedTuple):
    """A process."""

    pid: int
    command: str


def holder_of(port: int, proc: Path = PROC) -> Holder | None:
    """The process that listens on a port; ``None`` if there is none, or it is another user's."""
    sockets = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _inodes(proc / "net" / table, port)}
    if not sockets:
        return None
    for folder in proc.glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in sockets for link in (folder / "fd").iterdir()):
                words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
                return Holder(int(folder.name), " ".join(words).strip()[:200])
        except OSError:  # another user's, or just ended
            continue
    return None


def _inodes(table: Path, port: int) -> list[str]:
    try:
        rows = [line.split() for line in table.read_text("ascii").splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port]


def explain(port: int) -> tuple[str, str]:
    """Why a port can't be had, and what to do, in words."""
    other = f"abstractcore serve --port {port + 1 if port < 65535 else 0}"
    holder = holder_of(port)
    if holder is None:
        return "another process listens on it, of another user or in another container", f"{other}; or: ss -ltnp"
    if holder.pid == os.getpid():
        return "this very process listens on it", other
    return f"the process {holder.pid} listens on it: {holder.command}", f"{other}; or stop it: kill {holder.pid}"
