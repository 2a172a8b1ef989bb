"""From a host's name to its addresses, within a time limit: the system's own lookup has none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from typing import Any, TypeAlias

Addresses: TypeAlias = Sequence[tuple[int, int, int, str, Any]]


def addresses(host: str, port: int, seconds: float | None) -> Addresses:
    """The addresses of a host, for blocking code.

    Args:
        host: A name or an address.
        port: Its port.
        seconds: How long it may take; ``None`` for as long as it takes.

    Raises:
        TimeoutError: It took longer. The lookup goes on in a thread that nobody waits for.
        OSError: There is no such host.
    """
    if seconds is None or host == "localhost" or ":" in host or host.replace(".", "").isdigit():
        return _look_up(host, port)
    found: list[Addresses | OSError] = []

    def work() -> None:
        try:
            found.append(_look_up(host, port))
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=work, name=f"lookup of {host}", daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise TimeoutError("timed out")
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


def _look_up(host: str, port: int) -> Addresses:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
