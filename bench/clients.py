"""What a client costs: ours and others side by side, at one load source, as CPU time and ratios.

    python bench/clients.py [--short] [--only floor,abstractcore,openai] [--out bench/results]

Each client is a process of its own. A round measures each cell of each of them, in random order and one at a time, in
slices of 20 ms: what else the machine does meanwhile hits all of them, and the smallest figure of all slices counts.
CPU time is that of the client's process, user and system, all threads. Each answer is compared with what the source
sends, text and token counts; one that differs counts as wrong. Others are installed from PyPI, each into an environment
of its own below ~/.cache/abstractcore/bench; what can't be installed or started is left out. Then fresh processes show
what each costs to import, to make, and to ask once. Writes ``clients.md``, ``clients.svg`` and ``clients.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from client_imports import measure
from client_kinds import KINDS, Client, running
from client_page import figure, page
from load_source import CHAT, source

ROOT = Path(__file__).parents[1]
TOKENS = 256
PACE_MS = 3
SLICE = 0.02
"""Seconds of CPU time after which a client looks at the clock: the calmest of many short slices count."""
WARM_UP = 8


@dataclass(frozen=True)
class Cell:
    """One way to use a client.

    Args:
        ask: ``request`` or ``stream``.
        options: Those of the load source.
        at_once: Concurrent requests.
        units: What CPU time is divided by, for each request: itself, or the tokens of its stream.
        limit: Most requests of a round, for each of those at once.
    """

    ask: str
    options: str = ""
    at_once: int = 1
    units: int = 1
    limit: int = 5000


CELLS = {
    "request": Cell("request"),
    "requests": Cell("request", at_once=16),
    "burst": Cell("stream", f"chunks={TOKENS},batch=100000", units=TOKENS),
    "paced": Cell("stream", f"chunks={TOKENS},spacing={PACE_MS}", units=TOKENS, limit=1),
}


def main() -> None:
    """Measures, prints the tables, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.2, help="of CPU time, for a client and cell of a round")
    parser.add_argument("--imports", type=int, default=9, help="rounds of fresh processes")
    parser.add_argument("--short", action="store_true", help="5 rounds of half of the work, 3 of fresh processes")
    parser.add_argument("--only", default=",".join(KINDS), help="names with commas between")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    given = parser.parse_args()
    if given.short:
        given.rounds, given.seconds, given.imports = 5, given.seconds / 2, 3
    names = [name for name in KINDS if name in given.only.split(",")]
    began, load = time.monotonic(), os.getloadavg()[0]
    with orders() as each, running(names, each["request"]) as clients:
        for number in range(given.rounds + 1):
            _round(clients, each, given.seconds if number else 0)
            print(f"\rround {number} of {given.rounds}", end="", file=sys.stderr)
        print(file=sys.stderr)
        fresh = measure([one.kind for one in clients], each["request"], given.imports)
    facts = {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "seconds": round(time.monotonic() - began),
        "rounds": given.rounds,
        "tokens": TOKENS,
        "pace_ms": PACE_MS,
    }
    found = {"facts": facts, "clients": [_row(one) for one in clients], "imports": fresh}
    given.out.mkdir(parents=True, exist_ok=True)
    for name, text in (("md", page(found)), ("svg", figure(found)), ("json", json.dumps(found, indent=1))):
        (given.out / f"clients.{name}").write_text(text.rstrip() + "\n", encoding="utf-8")
    print(page(found))


@contextmanager
def orders() -> Iterator[dict[str, dict[str, Any]]]:
    """What a client is told for each cell; a source runs for each kind of answer."""
    with ExitStack() as stack:
        told = {}
        for name, cell in CELLS.items():
            port = stack.enter_context(source(cell.options))
            expected = _streamed(port) if cell.ask == "stream" else _whole(port)
            assert expected[2] == TOKENS, expected
            told[name] = {"url": f"http://127.0.0.1:{port}/v1", "ask": cell.ask, "at_once": cell.at_once,
                          "each": 1, "slices": 1, "expected": expected}  # fmt: skip
        yield told


def _whole(port: int) -> tuple[str, int, int]:
    """Text and token counts of what the source sends, read without any of the clients."""
    answer = json.loads(_fetched(port, {}))
    return answer["choices"][0]["message"]["content"], *_counts(answer["usage"])


def _streamed(port: int) -> tuple[str, int, int]:
    body = {"stream": True, "stream_options": {"include_usage": True}}
    events = [line[6:] for line in _fetched(port, body).split("\n") if line.startswith("data: {")]
    chunks = [json.loads(event) for event in events]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    return text, *_counts(chunks[-1]["usage"])


def _counts(usage: dict[str, int]) -> tuple[int, int]:
    return usage["prompt_tokens"], usage["completion_tokens"]


def _fetched(port: int, body: dict[str, Any]) -> str:
    link = HTTPConnection("127.0.0.1", port)
    link.request("POST", CHAT, json.dumps(body))
    text = link.getresponse().read().decode()
    link.close()
    return text


def _round(clients: list[Client], told: dict[str, dict[str, Any]], seconds: float) -> None:
    """One round; with ``seconds`` 0 the one that warms up and finds out how many requests the later ones have."""
    work = [(one, name) for one in clients for name in told]
    for one, name in random.sample(work, len(work)):
        cell = CELLS[name]
        each = one.each.get(name) if seconds else min(WARM_UP, cell.limit)
        slices = max(1, int(seconds / SLICE)) if cell.limit > 1 else 1
        found = one.obey({**told[name], "each": each, "slices": slices})
        count = each * cell.at_once
        one.wrong += count * slices - found["right"]
        if seconds:
            one.found.setdefault(name, []).extend(spent / count / cell.units / 1e3 for spent in found["cpu_ns"])
        else:
            one.each[name] = max(1, min(int(SLICE * 1e9 / found["cpu_ns"][0] * each), cell.limit))


def _row(one: Client) -> dict[str, Any]:
    cells = {name: {"us": min(values), "quartiles": _quartiles(values)} for name, values in one.found.items()}
    return {"client": one.name, "version": one.version, "wrong": one.wrong, **cells}


def _quartiles(values: list[float]) -> list[float]:
    return statistics.quantiles(values, n=4) if len(values) > 1 else values * 3


if __name__ == "__main__":
    main()
