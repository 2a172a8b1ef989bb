"""A client, blocking and asynchronous, under good answers, faults and cancels for half an hour: does anything pile up?

    python bench/soak.py [--minutes 30] [--short] [--out bench/results]
    python bench/soak.py --url http://localhost:8000/v1 --model NAME      # a real vLLM instead of the load source

Rounds of some seconds: threads and an event loop send requests of all kinds (``soak_mix.py``), then all of them come to
rest, and memory, file descriptors, threads, tasks and Python objects are counted. The verdict is the line through the
memory at rest, the first third left out as warm-up: it may rise by one MiB in 30 minutes, nothing else may rise at all,
and no request may end otherwise than it must. Writes ``soak.json`` and prints one line; with ``--trace`` also which
lines of code allocated what stayed. Exit status 1 if it isn't flat.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import random
import sys
import threading
import time
import tracemalloc
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from load_source import source
from processes import memory_mib
from soak_mix import Case, Tally, aask, ask, real, scripted

from abstractcore import VLLMProvider
from abstractcore.transport.retry import RetryPolicy
from abstractcore.vllm_facts import RUNNING_METRIC
from abstractcore.wire.prometheus import read_totals

ROOT: Final = Path(__file__).parents[1]
THREADS: Final = 2
TASKS: Final = 8
LIMIT_MIB: Final = 1.0
"""By which memory at rest may rise in 30 minutes."""
SHORTEST: Final = 600.0
"""Seconds below which memory is not judged: the allocator still warms up."""


def main() -> None:
    """Soaks, prints the verdict and writes the samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--short", action="store_true", help="two minutes; the verdict means little then")
    parser.add_argument("--url", help="a real vLLM; the load source when left out")
    parser.add_argument("--model", help="its model; the one that it serves when left out")
    parser.add_argument("--round", type=float, default=10, help="seconds between two counts")
    parser.add_argument("--pause", type=float, default=0.03, help="seconds between two requests of a worker")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trace", action="store_true", help="tell what stayed allocated, and where")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    given = parser.parse_args()
    if given.short:
        given.minutes, given.round = 2, 3
    with server(given.url) as url:
        llm = VLLMProvider(given.model, base_url=url, retry=RetryPolicy(base=0.02))
        cases = real() if given.url else scripted(llm)
        found = asyncio.run(Soak(llm, cases, url, given).run())
    given.out.mkdir(parents=True, exist_ok=True)
    name = "soak_vllm.json" if given.url else "soak.json"
    (given.out / name).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(found["said"])
    sys.exit(not found["flat"])


@contextmanager
def server(url: str | None) -> Iterator[str]:
    """The address to ask."""
    if url:
        yield url
        return
    with source() as port:
        yield f"http://127.0.0.1:{port}/v1"


class Soak:
    """Rounds of requests, and what is left after each of them."""

    def __init__(self, llm: VLLMProvider, cases: list[Case], url: str, given: argparse.Namespace) -> None:
        self._llm, self._cases, self._url, self._given = llm, cases, url, given
        self._tally = Tally()
        self._samples: list[dict[str, float]] = []
        self._peaks = {"files": 0, "tasks": 0, "memory_mib": 0.0}

    async def run(self) -> dict[str, Any]:
        """All rounds, and the verdict."""
        began = time.monotonic()
        until = began + self._given.minutes * 60
        number = 0
        before: tracemalloc.Snapshot | None = None
        while time.monotonic() < until:
            number += 1
            await self._round(number, min(until, time.monotonic() + self._given.round))
            self._samples.append({"at": time.monotonic() - began, **await self._at_rest()})
            print(f"\r{_shown(self._samples[-1])}  {self._tally.total} requests ", end="", file=sys.stderr, flush=True)
            if self._given.trace and not before and time.monotonic() - began > self._given.minutes * 20:
                tracemalloc.start(12)
                before = tracemalloc.take_snapshot()
        print(file=sys.stderr)
        if before:
            for line in tracemalloc.take_snapshot().compare_to(before, "lineno")[:25]:
                print(line, file=sys.stderr)
        return self._verdict(time.monotonic() - began)

    async def _round(self, number: int, until: float) -> None:
        """Workers of both kinds until then; every fifth round one more event loop in a thread of its own."""

        def block(seed: int) -> None:
            chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
            while time.monotonic() < until:
                ask(self._llm, chance.choice(self._cases), self._tally)
                time.sleep(self._given.pause)

        async def work(seed: int) -> None:
            chance = random.Random(seed)  # noqa: S311
            while time.monotonic() < until:
                await aask(self._llm, chance.choice(self._cases), self._tally, chance)
                await asyncio.sleep(self._given.pause)

        seed = self._given.seed * 1_000_000 + number * 1000
        threads = [threading.Thread(target=block, args=(seed + index,)) for index in range(THREADS)]
        if number % 5 == 0:
            threads.append(threading.Thread(target=lambda: asyncio.run(work(seed + 900))))
        for thread in threads:
            thread.start()
        tasks = [asyncio.create_task(work(seed + 100 + index)) for index in range(TASKS)]
        while time.monotonic() < until:
            self._peaks["files"] = max(self._peaks["files"], _files())
            self._peaks["tasks"] = max(self._peaks["tasks"], len(asyncio.all_tasks()))
            self._peaks["memory_mib"] = max(self._peaks["memory_mib"], memory_mib(os.getpid()))
            await asyncio.sleep(0.5)
        await asyncio.gather(*tasks)
        while any(thread.is_alive() for thread in threads):  # noqa: ASYNC110 - threads set no event of this loop
            await asyncio.sleep(0.02)

    async def _at_rest(self) -> dict[str, float]:
        """What is left when nobody asks anything."""
        self._llm.close()
        await asyncio.sleep(0.2)
        gc.collect()
        found: dict[str, float] = {
            "memory_mib": memory_mib(os.getpid()),
            "files": _files(),
            "threads": threading.active_count(),
            "tasks": len(asyncio.all_tasks()),
            "objects": len(gc.get_objects()),
            "requests": self._tally.total,
        }
        if self._given.url:
            found["running_at_server"] = await self._running()
        return found

    async def _running(self) -> float:
        """What the server still runs, two seconds after the last request at the latest."""
        for _ in range(20):
            running = await asyncio.to_thread(_running_at, self._url)
            if not running:
                break
            await asyncio.sleep(0.1)
        return running

    def _verdict(self, seconds: float) -> dict[str, Any]:
        settled = self._samples[len(self._samples) // 3 :]
        requests = settled[-1]["requests"] - settled[0]["requests"]
        rise = _slope([row["at"] for row in settled], [row["memory_mib"] for row in settled]) * 1800
        piled_up = [
            name
            for name in ("files", "threads", "tasks", "objects", "running_at_server")
            if name in settled[0] and _piles_up([row[name] for row in settled])
        ]
        short = seconds < SHORTEST
        flat = (short or rise <= LIMIT_MIB) and not piled_up and not self._tally.wrong
        first, last = settled[0], settled[-1]
        counts = ", ".join(
            f"{name} {first[name]:.0f} -> {last[name]:.0f}" for name in ("files", "threads", "tasks", "objects")
        )
        said = (
            f"{'flat' if flat else 'NOT FLAT'}: {self._tally.total} requests in {seconds / 60:.1f} min, "
            f"{sum(self._tally.wrong.values())} ended wrongly; memory at rest {first['memory_mib']:.1f} -> "
            f"{last['memory_mib']:.1f} MiB, {'too short to judge' if short else f'{rise:+.2f} MiB in 30 min'}; {counts}"
        )
        return {
            "said": said,
            "flat": flat,
            "piled_up": piled_up,
            "rise_mib_in_30_min": rise,
            "rise_bytes_a_request": rise / 1800 * (last["at"] - first["at"]) * 2**20 / max(requests, 1),
            "minutes": seconds / 60,
            "requests": self._tally.done,
            "wrong": self._tally.wrong,
            "peaks": self._peaks,
            "load": os.getloadavg()[0],
            "python": platform.python_version(),
            "kernel": platform.release(),
            "server": "vLLM" if self._given.url else "the load source",
            "samples": self._samples,
        }


def _files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _running_at(url: str) -> float:
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/metrics", timeout=10) as answer:  # noqa: S310 - as asked
        return read_totals(answer.read())[RUNNING_METRIC]


def _piles_up(values: list[float]) -> bool:
    """Whether the least of the second half is above the most of the first: noise goes up and down, a leak only up."""
    middle = len(values) // 2
    return middle > 0 and min(values[middle:]) > max(values[:middle])


def _slope(times: list[float], values: list[float]) -> float:
    """The rise of the line of least squares, in a second."""
    count = len(times)
    if count < 2:
        return 0.0
    at, value = sum(times) / count, sum(values) / count
    spread = sum((one - at) ** 2 for one in times)
    return sum((one - at) * (other - value) for one, other in zip(times, values, strict=True)) / spread


def _shown(sample: dict[str, float]) -> str:
    return (
        f"{sample['at'] / 60:5.1f} min  {sample['memory_mib']:.1f} MiB  {sample['files']:.0f} files  "
        f"{sample['threads']:.0f} threads  {sample['tasks']:.0f} tasks  {sample['objects']:.0f} objects"
    )


if __name__ == "__main__":
    main()
