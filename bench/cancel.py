"""How soon a real vLLM is free again after a stream is given up: the time until it runs no request.

    python bench/cancel.py [--short] [--base-url http://127.0.0.1:8000/v1] [--out bench/results]

Starts a vLLM on the CPU with a small real chat model (fetched when missing, about 1 GB), or uses the one that is named,
which must be at rest. Streams are given up in four ways by turns: closed, left by ``break``, an async one closed, a
task cancelled. From then on ``/metrics`` is read without a pause until ``vllm:num_requests_running`` is 0, so that an
answer of it is the resolution; it is given too. These are milliseconds of this machine and of this model, whose step is
part of each: they compare with no other machine. Writes ``cancel.md`` and ``cancel.json``; exit status 1 if the slowest
took longer than 300 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from abstractcore import VLLMProvider
from abstractcore.cli.progress import ProgressLine
from abstractcore.deploy import local_vllm, runtime, small_model, vllm_server
from abstractcore.settings import cache_dir
from abstractcore.vllm_facts import RUNNING_METRIC
from abstractcore.wire.prometheus import read_totals

ROOT: Final = Path(__file__).parents[1]
LIMIT_MS: Final = 300.0
PATIENCE: Final = 60.0
LONG: Final[dict[str, Any]] = {
    "prompt": "Tell me a very long story.",
    "max_output_tokens": 1500,
    "extra_body": {"ignore_eos": True},
}


def main() -> None:
    """Measures, prints the table, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="12 cancels in place of 100")
    parser.add_argument("--base-url", help="a vLLM that runs already, and has nothing to do")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with server(given.base_url) as url:
        found = measured(url, 12 if given.short else 100)
    facts = {
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "limit_ms": LIMIT_MS,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    for suffix, text in (("md", table(found, facts)), ("json", json.dumps([facts, found], indent=1))):
        (given.out / f"cancel.{suffix}").write_text(text.rstrip() + "\n", encoding="utf-8")
    print(table(found, facts))
    sys.exit(max(max(found[name]) for name in WAYS) > LIMIT_MS)


@contextmanager
def server(base_url: str | None) -> Iterator[str]:
    """The address of a vLLM; one of its own while the block runs, if none is named."""
    if base_url:
        yield base_url
        return
    environment = local_vllm.choose((), cache_dir())
    with ProgressLine(sys.stderr) as line, tempfile.TemporaryDirectory() as folder:
        local_vllm.install(environment, line)
        model = small_model.ensure_model(small_model.SMOLLM2, environment.python, cache_dir(), line)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        spec = vllm_server.small_server(environment, model, name="smollm2", port=port)
        log, pid_file = Path(folder, "server.log"), Path(folder, "server.json")
        process = vllm_server.start(spec, log=log, pid_file=pid_file, report=line)
        try:
            yield spec.base_url
        finally:
            runtime.stop_server(process, grace=5.0)


class Running:
    """Asks a server how many requests it runs, on one connection."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=PATIENCE)
        self.asking_ms: list[float] = []

    def __call__(self) -> float:
        """How many there are now."""
        began = time.perf_counter()
        try:
            totals = read_totals(self._ask())
        except (http.client.HTTPException, ConnectionError):  # the server closes what was idle for seconds
            self._connection.close()
            totals = read_totals(self._ask())
        self.asking_ms.append((time.perf_counter() - began) * 1e3)
        return totals[RUNNING_METRIC]

    def _ask(self) -> bytes:
        self._connection.request("GET", "/metrics")
        return self._connection.getresponse().read()

    def comes_to(self, count: int) -> float:
        """Asks until there are so many; gives the time of that answer.

        Raises:
            TimeoutError: There never were.
        """
        until = time.perf_counter() + PATIENCE
        while self() != count:
            if time.perf_counter() > until:
                raise TimeoutError(f"the server does not come to run {count} requests; is it at rest otherwise?")
        return time.perf_counter()


def measured(url: str, count: int) -> dict[str, list[float]]:
    """Milliseconds from giving up a stream until the server runs none, for each way; and of asking it."""
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    running = Running(url)
    with VLLMProvider(base_url=url) as llm:
        list(llm.generate("Hi", max_output_tokens=2, stream=True))
        running.comes_to(0)
        for turn in range(count):
            name = list(WAYS)[turn % len(WAYS)]
            given_up_at = WAYS[name](llm, running)
            found[name].append((running.comes_to(0) - given_up_at) * 1e3)
    return {**found, "asking": running.asking_ms}


def closed(llm: VLLMProvider, running: Running) -> float:
    """A stream is closed."""
    stream: Any = llm.generate(**LONG, stream=True)
    next(stream)
    running.comes_to(1)
    at = time.perf_counter()
    stream.close()
    return at


def left(llm: VLLMProvider, running: Running) -> float:
    """The loop over a stream is left, and with it the last reference."""
    parts: Any = llm.generate(**LONG, stream=True)
    at = 0.0
    for _ in parts:
        running.comes_to(1)
        at = time.perf_counter()
        break
    del parts
    return at


def async_closed(llm: VLLMProvider, running: Running) -> float:
    """An async stream is closed."""

    async def run() -> float:
        stream: Any = await llm.agenerate(**LONG, stream=True)
        await anext(stream)
        running.comes_to(1)
        at = time.perf_counter()
        await stream.aclose()
        return at

    return asyncio.run(run())


def cancelled(llm: VLLMProvider, running: Running) -> float:
    """The task that reads a stream is cancelled while it waits for the next token."""

    async def run() -> float:
        begun = asyncio.Event()

        async def read() -> None:
            async for _ in await llm.agenerate(**LONG, stream=True):
                begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        await asyncio.to_thread(running.comes_to, 1)
        at = time.perf_counter()
        task.cancel()
        await asyncio.wait([task])
        return at

    return asyncio.run(run())


WAYS: Final[Mapping[str, Callable[[VLLMProvider, Running], float]]] = {
    "closed": closed,
    "left by break": left,
    "async, closed": async_closed,
    "task cancelled": cancelled,
}


def table(found: Mapping[str, list[float]], facts: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    rows = [*((name, found[name]) for name in WAYS), ("all", [one for name in WAYS for one in found[name]])]
    asking, (before, after) = found["asking"], facts["load"]
    note = (
        f"Until `vllm:num_requests_running` is 0; at most {LIMIT_MS:.0f} ms are wanted. Reading `/metrics`, the "
        f"resolution: median {statistics.median(asking):.0f} ms, slowest {max(asking):.0f} ms. Milliseconds of this "
        f"machine ({facts['cpus']} cores, load {before} before, {after} after), which compare with no other."
    )
    lines = [
        "| A stream is given up | streams | median, ms | slowest, ms |",
        "|---|---|---|---|",
        *(f"| {name} | {len(row)} | {statistics.median(row):.0f} | {max(row):.0f} |" for name, row in rows),
    ]
    return "\n".join([*lines, "", note])


if __name__ == "__main__":
    main()
