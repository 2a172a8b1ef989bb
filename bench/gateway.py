"""What a gateway costs: ours and others side by side, in front of one load source, as CPU time and ratios.

    python bench/gateway.py [--short] [--only abstractcore,vllm-router] [--also "litellm proxy"] [--out bench/results]

All gateways run at the same time; a round measures each cell of each of them, in random order, so that what else the
machine does meanwhile hits all of them. CPU time is that of the gateway's processes, all threads, as the kernel counts
it; ratios are taken within a round. The text of each answer is compared with what the source sends without a gateway
between, and an answer that differs counts as an error. Peers are installed from PyPI, each into an environment of its
own below ~/.cache/abstractcore/bench; what can't be installed or started is left out. Writes ``gateway.md``,
``gateway.svg`` and ``gateway.json``.
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
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway_page import figure, table
from gateways import KINDS, MODEL, Gateway, running
from load_source import Load, source
from processes import cpu_ns, forget_peak, memory_mib

ROOT = Path(__file__).parents[1]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array"}},
    "required": ["name", "age", "tags"],
}
ASKED = {"model": MODEL, "messages": [{"role": "user", "content": "List the numbers from one to ten."}]}
HELD = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
BASE = "vllm-router"


@dataclass(frozen=True)
class Cell:
    """One way to load a gateway.

    Args:
        body: The request.
        connections: At once.
        units: What CPU time is divided by, for each request: itself, or the tokens of its stream.
        requests: At most, in a round.
        pause: Milliseconds between two requests of a connection.
    """

    body: dict[str, object]
    connections: int
    units: int = 1
    requests: int = 20_000
    pause: int = 0


def _stream(tokens: int, more: str = "") -> dict[str, object]:
    return {**ASKED, "stream": True, "max_tokens": tokens, "user": f"chunks={tokens}{more}"}


CELLS = {
    "request": Cell({**ASKED, "max_tokens": 256}, 32),
    "proved": Cell({**ASKED, "max_tokens": 256, "response_format": HELD}, 32),
    "hot": Cell(_stream(256), 8, 256, 600),
    "paced": Cell(_stream(64, ",spacing=20"), 16, 64, 16),
    "rest": Cell(_stream(2), 1, requests=200, pause=3),
}


def main() -> None:
    """Measures, prints the table, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.8, help="of CPU time, for a gateway and cell of a round")
    parser.add_argument("--streams", type=int, default=2000, help="concurrent ones, beside the stalled clients")
    parser.add_argument("--short", action="store_true", help="3 rounds, a quarter of the work, 500 streams")
    parser.add_argument("--only", default="", help="names with commas between; all but litellm by default")
    parser.add_argument("--also", default="", help="further ones: litellm proxy (740 MB)")
    parser.add_argument("--cells", default=",".join([*CELLS, "many"]))
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    given = parser.parse_args()
    if given.short:
        given.rounds, given.seconds, given.streams = 3, given.seconds / 4, 500
    names = given.only.split(",") if given.only else [name for name in KINDS if name != "litellm proxy"]
    names += given.also.split(",") if given.also else []
    cells = {name: CELLS[name] for name in given.cells.split(",") if name in CELLS}
    began, load = time.monotonic(), os.getloadavg()[0]
    with source() as upstream, running(names, upstream, CELLS["request"].body) as gateways:
        texts = {name: str(_direct(upstream, cell)["text"]) for name, cell in cells.items()}
        for number in range(given.rounds + 1):
            _round(upstream, gateways, cells, texts, given.seconds if number else 0)
            print(f"\rround {number} of {given.rounds}", end="", file=sys.stderr)
        print(file=sys.stderr)
        many = {}
        if "many" in given.cells.split(","):
            many = {one.name: _many(upstream, one, given.streams) for one in gateways if not one.kind.answers}
        rows = [_row(one, gateways, many.get(one.name)) for one in gateways]
    facts = {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "seconds": round(time.monotonic() - began),
        "rounds": given.rounds,
        "streams": given.streams,
        "base": BASE if any(one["gateway"] == BASE for one in rows) else rows[0]["gateway"],
    }
    given.out.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("md", table(rows, facts)),
        ("svg", figure(rows, facts)),
        ("json", json.dumps([facts, rows], indent=1)),
    ):
        (given.out / f"gateway.{name}").write_text(text.rstrip() + "\n", encoding="utf-8")
    print(table(rows, facts))


def _direct(upstream: int, cell: Cell) -> dict[str, Any]:
    return Load(upstream, cell.body, requests=1).result()


# --- rounds ----------------------------------------------------------------------------------------------------------


def _round(
    upstream: int, gateways: list[Gateway], cells: dict[str, Cell], texts: dict[str, str], seconds: float
) -> None:
    """One round; with ``seconds`` 0 the one that warms up and finds out how many requests the later ones have."""
    if "rest" in cells:
        cell = cells["rest"]
        direct = Load(upstream, cell.body, requests=cell.requests, pause=cell.pause).result()["first_us"]["50"]
    work = [(one, name) for one in gateways for name in cells if not one.kind.answers or name == "request"]
    for one, name in random.sample(work, len(work)):
        cell = cells[name]
        count = one.counts.get(name, min(4 * cell.connections, cell.requests)) if seconds else 2 * cell.connections
        cpu = cpu_ns(one.pid)
        load = Load(
            one.port, cell.body, one.headers,
            requests=count, connections=cell.connections, pause=cell.pause, text=int(texts[name]), seconds=120,
        )  # fmt: skip
        found = load.result()
        spent = cpu_ns(one.pid) - cpu
        if not seconds:
            continue
        one.counts[name] = _sized(cell, spent / count, seconds)
        if name == "rest":
            one.found.setdefault("rest", []).append(found["first_us"]["50"] - direct)
            one.found.setdefault("rest_cpu", []).append(spent / count / 1e3)
        else:
            one.found.setdefault(name, []).append(spent / count / cell.units / 1e3)
        one.found.setdefault("errors", []).append(count - found["right"])
        one.found.setdefault(f"{name}_same", []).append(found["same_bytes"] / count)
        one.found.setdefault(f"{name}_rate", []).append(count * cell.units / found["seconds"])


def _sized(cell: Cell, cost_ns: float, seconds: float) -> int:
    """Requests for so many seconds of CPU time."""
    if cell.requests <= 200:
        return cell.requests
    wanted = int(seconds * 1e9 / cost_ns) // cell.connections * cell.connections
    return max(2 * cell.connections, min(wanted, cell.requests))


# --- many streams ----------------------------------------------------------------------------------------------------


def _many(upstream: int, one: Gateway, streams: int) -> dict[str, float]:
    """Concurrent streams with two stalled clients among them, to which the source would send 90 MB each."""
    tokens = 40
    _settle(one)
    forget_peak(one.pid)
    before, cpu = memory_mib(one.pid), cpu_ns(one.pid)
    stalled = Load(one.port, _stream(400_000), one.headers, stall=1, connections=2, seconds=40)
    time.sleep(1)
    _settle(one)  # it takes in no more, or all
    with_stalled = memory_mib(one.pid)
    load = Load(
        one.port, _stream(tokens, ",spacing=250"), one.headers,
        connections=streams, requests=streams, seconds=60,
    )  # fmt: skip
    found = load.result()
    peak, spent = memory_mib(one.pid, "VmHWM"), cpu_ns(one.pid) - cpu
    stalled.stop()
    deadline = time.monotonic() + 3
    while _counts(upstream)["open"] and time.monotonic() < deadline:
        time.sleep(0.05)
    _settle(one)
    return {
        "errors": streams - found["right"],
        "seconds": found["seconds"],
        "ideal": (tokens - 1) * 0.25,
        "before": before,
        "stalled": with_stalled - before,
        "peak": peak,
        "per_stream_kib": (peak - with_stalled) * 1024 / streams,
        "after": memory_mib(one.pid),
        "cpu_per_chunk": spent / streams / tokens / 1e3,
        "left_open": _counts(upstream)["open"],
    }


def _settle(one: Gateway) -> None:
    """Waits until a gateway has nothing more to do."""
    for _ in range(200):
        cpu = cpu_ns(one.pid)
        time.sleep(0.1)
        if cpu_ns(one.pid) - cpu < 2_000_000:
            return


def _counts(upstream: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{upstream}/source") as answer:
        found: dict[str, int] = json.load(answer)
        return found


# --- results ---------------------------------------------------------------------------------------------------------


def _row(one: Gateway, gateways: list[Gateway], many: dict[str, float] | None) -> dict[str, Any]:
    base = next((other for other in gateways if other.name == BASE), gateways[0])
    row: dict[str, Any] = {"gateway": one.name, "version": one.version, "errors": sum(one.found["errors"])}
    for name in (*CELLS, "rest_cpu"):
        if values := one.found.get(name):
            row[name] = {"us": _spread(values)}
            if theirs := base.found.get(name):
                row[name]["ratio"] = _spread([mine / its for mine, its in zip(values, theirs, strict=True)])
    if "request" in one.found and "proved" in one.found:
        pairs = zip(one.found["proved"], one.found["request"], strict=True)
        row["proof"] = _spread([proved / plain for proved, plain in pairs])
    row["same_bytes"] = {name: min(one.found[f"{name}_same"]) for name in CELLS if f"{name}_same" in one.found}
    row["rate"] = {name: max(one.found[f"{name}_rate"]) for name in CELLS if f"{name}_rate" in one.found}
    if many:
        row["many"] = many
    return row


def _spread(values: list[float]) -> list[float]:
    """Lower quartile, median, upper quartile."""
    return statistics.quantiles(values, n=4) if len(values) > 1 else values * 3


if __name__ == "__main__":
    main()
