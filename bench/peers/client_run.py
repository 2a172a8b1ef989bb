"""What the measured clients have in common: orders come in on stdin, one JSON a line, and what was seen goes out.

A client is a class with three methods; it is made in a running event loop, for one server.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

PROMPT = "List the numbers from one to ten."
MODEL = "smollm2"
KEY = "none"
MESSAGES = [{"role": "user", "content": PROMPT}]

Seen = tuple[str, int, int]
"""Text, tokens of the prompt, tokens of the answer."""


class Client(Protocol):
    """One client of one server."""

    def __init__(self, base_url: str) -> None: ...

    async def request(self) -> Seen: ...

    async def stream(self) -> Seen: ...


class BlockingClient(Protocol):
    """The same without an event loop."""

    def __init__(self, base_url: str) -> None: ...

    def request(self) -> Seen: ...

    def stream(self) -> Seen: ...


def run(make: Callable[[str], Client]) -> None:
    """Obeys orders until stdin ends."""
    import asyncio

    asyncio.run(_obey(make))


async def _obey(make: Callable[[str], Client]) -> None:
    from asyncio import gather

    clients: dict[str, Client] = {}
    for line in sys.stdin:
        order = json.loads(line)
        url = order["url"]
        client = clients.get(url) or clients.setdefault(url, make(url))
        spent, right = [], 0
        for _ in range(order["slices"]):
            gc.collect()
            began = time.process_time_ns()
            right += sum(await gather(*(_some(client, order) for _ in range(order["at_once"]))))
            spent.append(time.process_time_ns() - began)
        _tell(spent, right)


async def _some(client: Client, order: dict[str, Any]) -> int:
    ask, expected = getattr(client, order["ask"]), tuple(order["expected"])
    right = 0
    for _ in range(order["each"]):
        right += await ask() == expected
    return right


def run_blocking(make: Callable[[str], BlockingClient]) -> None:
    """The same with threads in place of tasks, and without asyncio."""
    from concurrent.futures import ThreadPoolExecutor

    clients: dict[str, BlockingClient] = {}
    with ThreadPoolExecutor(64) as pool:
        for line in sys.stdin:
            order = json.loads(line)
            url = order["url"]
            client = clients.get(url) or clients.setdefault(url, make(url))
            spent, right = [], 0
            for _ in range(order["slices"]):
                gc.collect()
                began = time.process_time_ns()
                if order["at_once"] == 1:
                    right += _some_blocking(client, order)
                else:
                    right += sum(pool.map(_some_blocking, [client] * order["at_once"], [order] * order["at_once"]))
                spent.append(time.process_time_ns() - began)
            _tell(spent, right)


def _some_blocking(client: BlockingClient, order: dict[str, Any]) -> int:
    ask, expected = getattr(client, order["ask"]), tuple(order["expected"])
    right = 0
    for _ in range(order["each"]):
        right += ask() == expected
    return right


def _tell(spent: list[int], right: int) -> None:
    print(json.dumps({"cpu_ns": spent, "right": right}), flush=True)
