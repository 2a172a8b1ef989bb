"""Who listens on the ports of this machine, as the kernel's tables say."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from .checks import Listener

_PROC: Final = Path("/proc")
_TABLES: Final = ("net/tcp", "net/tcp6")
_LISTENS: Final = "0A"
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


def listeners(proc: Path = _PROC) -> tuple[Listener, ...]:
    """All TCP ports on which something listens; nothing where the kernel keeps no such tables."""
    rows = [row for table in _TABLES for row in _rows(proc / table)]
    owners = _owners(proc, {inode for _, _, inode in rows}) if rows else {}
    return tuple(Listener(address, port, owners.get(inode)) for address, port, inode in rows)


def _rows(table: Path) -> Iterator[tuple[str, int, str]]:
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        place, _, port = fields[1].partition(":")
        if fields[3] == _LISTENS:
            yield _address(place), int(port, 16), fields[9]


def _address(text: str) -> str:
    """The kernel writes addresses as numbers of 32 bits in its own byte order."""
    parts = [int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8)]
    found = ipaddress.ip_address(b"".join(parts))
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def _owners(proc: Path, inodes: set[str]) -> Mapping[str, str]:
    """Names and pids of the processes that hold sockets, as far as this user may look."""
    found: dict[str, str] = {}
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            for descriptor in (folder / "fd").iterdir():
                match = _SOCKET.fullmatch(str(descriptor.readlink()))
                if match and match[1] in inodes and match[1] not in found:
                    name = (folder / "comm").read_text(encoding="utf-8").strip()
                    found[match[1]] = f"{name} (pid {folder.name})"
        except OSError:
            continue  # another user's, or it has ended
    return found
