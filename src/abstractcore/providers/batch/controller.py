"""How many requests to keep in flight, decided from what a server says of its load. Pure."""

from __future__ import annotations

from math import ceil
from typing import Final, NamedTuple

START: Final = 16
"""In flight before the server has said anything, and for good if it never does."""
CAP: Final = 256


class Load(NamedTuple):
    """What a server is doing, for all its clients together."""

    running: int
    """Requests that it generates for."""
    waiting: int
    """Requests that it holds back, because as many run as fit."""


def next_concurrency(load: Load, current: int, cap: int = CAP) -> int:
    """How many requests to keep in flight from now on.

    A server that holds requests back is full. More would only queue, fewer would leave seats empty, so the queue is
    kept short: one for eight that run, at least one. Our part is scaled by the same factor as the whole, which leaves
    other clients theirs. As long as nothing waits there is room and the number doubles, but not if the server runs
    clearly fewer than we sent: then something else is the bottleneck. One look may mislead, so it at most halves.

    Args:
        load: What the server says.
        current: How many we keep in flight now.
        cap: The most to allow.
    """
    if load.waiting > 0:
        queue = max(1, load.running // 8)
        wanted = ceil(current * (load.running + queue) / (load.running + load.waiting))
    elif load.running * 4 >= current * 3:
        wanted = current * 2
    else:
        wanted = current
    return max(1, (current + 1) // 2, min(wanted, current * 2, cap)) if current <= cap else cap
