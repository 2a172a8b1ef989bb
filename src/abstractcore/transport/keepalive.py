"""Has the system notice that the other side of a connection is gone without a word.

A machine that lost its power, or a router that forgot the connection, sends nothing any more, and neither does a client
that waits for its first token. Without probes only the time limit would end that; with them it ends within a minute,
and routers on the way see that the connection is in use.
"""

from __future__ import annotations

import socket
from typing import Final

_FIRST_AFTER: Final = 30
"""Seconds of silence before the first probe."""
_EVERY: Final = 10
"""Seconds between two probes that were not answered."""
_MOST: Final = 3
"""Probes without an answer after which the connection is broken."""
_UNACKNOWLEDGED_MS: Final = 1000 * (_FIRST_AFTER + _EVERY * _MOST)
"""For how long sent bytes may stay unacknowledged."""


def keep_alive(sock: socket.socket) -> None:
    """Turn probes on for a TCP socket, as far as the system has them."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", _FIRST_AFTER),
            ("TCP_KEEPINTVL", _EVERY),
            ("TCP_KEEPCNT", _MOST),
            ("TCP_USER_TIMEOUT", _UNACKNOWLEDGED_MS),
        ):
            option = getattr(socket, name, None)
            if option is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
    except OSError:
        pass  # the connection broke meanwhile, which its reader will see; or the system has no probes
