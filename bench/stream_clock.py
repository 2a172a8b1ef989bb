"""Those parts of ``streams.py`` that keep time, each in its own process: stream_clock.py NAME URL COUNT. Prints JSON.

URL is that of ``peers/clocked.py``.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from stream_parts import provider, read, told

from abstractcore import VLLMProvider
from abstractcore.errors import ProviderError, RequestTimeoutError
from abstractcore.wire.call import Timeouts


def _closed(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/closed") as answer:  # noqa: S310 - our own source
        found: dict[str, Any] = json.load(answer)
        return found


async def cancels(url: str, count: int) -> dict[str, Any]:
    """From giving a stream up to its server seeing that, in four ways."""
    given_up: dict[str, int] = {}

    async def by_task(llm: VLLMProvider, name: str) -> None:
        task = asyncio.create_task(read(llm, **told(id=name, chunks=1000, spacing=20)))
        await asyncio.sleep(0.06)
        given_up[name] = time.monotonic_ns()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def by_closing(llm: VLLMProvider, name: str) -> None:
        stream = await llm.agenerate("x", stream=True, **told(id=name, chunks=1000, spacing=20))
        await anext(stream)
        given_up[name] = time.monotonic_ns()
        await stream.aclose()

    async def by_plain_task(llm: VLLMProvider, name: str) -> None:
        task = asyncio.create_task(llm.agenerate("x", **told(id=name, silent=1)))
        await asyncio.sleep(0.06)
        given_up[name] = time.monotonic_ns()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def blocking(llm: VLLMProvider, name: str) -> None:
        stream = llm.generate("x", stream=True, **told(id=name, chunks=1000, spacing=20))
        next(stream)
        given_up[name] = time.monotonic_ns()
        stream.close()

    ways: dict[str, Callable[[VLLMProvider, str], Awaitable[None] | None]] = {
        "task cancelled": by_task, "async close": by_closing, "plain cancelled": by_plain_task, "sync close": blocking,
    }  # fmt: skip
    found = {}
    async with provider(url) as llm:
        for way, give_up in ways.items():
            for number in range(count):
                done = give_up(llm, f"{way} {number}")
                if done is not None:
                    await done
        await asyncio.sleep(0.3)
        told_by_server = await asyncio.to_thread(_closed, url)
    asked, closed = set(told_by_server["asked"]), told_by_server["closed"]
    for way in ways:
        names = [f"{way} {number}" for number in range(count)]
        found[way] = _spread([(closed[name] - given_up[name]) / 1e6 for name in names if name in closed])
        found[way]["unseen"] = sum(name in asked and name not in closed for name in names)
    return found


async def tokens(url: str, count: int) -> dict[str, Any]:
    """From the server's write of a token to its delivery: the first one, and the later ones."""
    first: list[float] = []
    later: list[float] = []
    async with provider(url) as llm:
        for number in range(2 * count):
            options = told(chunks=6, spacing=20, first=20)
            if number % 2:
                stream = await llm.agenerate("x", stream=True, **options)
                got = [(time.monotonic_ns(), part.content) async for part in stream]
            else:
                got = [(time.monotonic_ns(), part.content) for part in llm.generate("x", stream=True, **options)]
            delays = [(at - int(text)) / 1e6 for at, text in got if text]
            assert len(delays) == 6, f"{len(delays)} of 6 tokens"
            first.append(delays[0])
            later += delays[1:]
    return {"first": _spread(first), "later": _spread(later)}


LIMITS: Final = {
    "first token": (Timeouts(5, 0.4, 30, 30), {"first": 60_000}, "first_byte", 0.4),
    "first token, comments": (Timeouts(5, 0.4, 30, 30), {"first": 60_000, "ping": 20}, "first_byte", 0.4),
    "stall": (Timeouts(5, 30, 0.4, 30), {"stall": 3}, "idle", 0.4),
    "stall, comments": (Timeouts(5, 30, 0.4, 30), {"stall": 3, "ping": 20}, "idle", 0.4),
    "total": (Timeouts(5, 30, 30, 0.6), {"chunks": 10_000, "spacing": 20}, "total", 0.6),
    "plain, first byte": (Timeouts(5, 0.4, 30, 30), {"silent": 1}, "first_byte", 0.4),
    "plain, stall": (Timeouts(5, 30, 0.4, 30), {"stall": 1}, "idle", 0.4),
    "plain, total": (Timeouts(5, 30, 30, 0.6), {"silent": 1}, "total", 0.6),
}
"""For each: the limits, what the server does, the phase that must run out, and its seconds."""


async def deadlines(url: str, count: int) -> dict[str, Any]:
    """By how much each time limit is overrun, blocking and asynchronous; a stall counts from the last token."""
    found: dict[str, Any] = {}
    async with provider(url) as llm:
        for name, (limits, options, phase, seconds) in LIMITS.items():
            asked = {"timeout": limits, "stream": not name.startswith("plain"), **told(**options)}
            for way, run in (("sync", _sync), ("async", _async)):
                overruns = []
                for _ in range(count):
                    began = time.monotonic()
                    moved, caught = await run(llm, asked)
                    since = moved if phase == "idle" and moved else began
                    overruns.append((time.monotonic() - since - seconds) * 1e3)
                    cause = caught if isinstance(caught, RequestTimeoutError) else getattr(caught, "__cause__", None)
                    assert isinstance(cause, RequestTimeoutError), f"{name}: {caught!r}"
                    assert cause.phase == phase, f"{name}: {cause.phase} ran out"
                found[f"{name}, {way}"] = {"limit_s": seconds, **_spread(overruns)}
        found["stall of 500 at once, async"] = {"limit_s": 2.0, **_spread(await _stalls(llm, 500))}
    return found


async def _sync(llm: VLLMProvider, asked: dict[str, Any]) -> tuple[float, ProviderError | None]:
    """When the last token came, and what ended the call."""
    moved = 0.0
    try:
        answer: Any = llm.generate("x", **asked)
        if asked["stream"]:
            for _part in answer:
                moved = time.monotonic()
    except ProviderError as error:
        return moved, error
    return moved, None


async def _async(llm: VLLMProvider, asked: dict[str, Any]) -> tuple[float, ProviderError | None]:
    moved = 0.0
    try:
        answer: Any = await llm.agenerate("x", **asked)
        if asked["stream"]:
            async for _part in answer:
                moved = time.monotonic()
    except ProviderError as error:
        return moved, error
    return moved, None


async def _stalls(llm: VLLMProvider, count: int) -> list[float]:
    async def one() -> float:
        stream = await llm.agenerate("x", stream=True, timeout=Timeouts(5, 30, 2.0, 60), **told(stall=3))
        at = 0.0
        try:
            async for _part in stream:
                at = time.monotonic()
        except ProviderError:
            pass
        return (time.monotonic() - at - 2.0) * 1e3

    return list(await asyncio.gather(*(one() for _ in range(count))))


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "n": len(ordered),
        "p50_ms": statistics.median(ordered),
        "p99_ms": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "max_ms": ordered[-1],
    }


PARTS: Final = {part.__name__: part for part in (cancels, tokens, deadlines)}

if __name__ == "__main__":
    json.dump(asyncio.run(PARTS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))), sys.stdout)
