"""What many streams at once cost the client, and how exactly it keeps time: deliveries, cancels, deadlines.

    python bench/streams.py [--short] [--only many,cost,sequence,cancels,tokens,deadlines] [--out bench/results]

Each part runs in a process of its own, against the load source (recorded answers of vLLM) or, where moments are
compared, against ``peers/clocked.py``, whose tokens are the times at which they were written. Prints each figure beside
what is wanted of it and writes ``streams.md`` and ``streams.json``. Exit status 1 if one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from load_source import source

ROOT: Final = Path(__file__).parents[1]
HERE: Final = Path(__file__).parent
COUNTS: Final = {"many": (5000, 1000), "cost": (5000, 1000), "sequence": (100, 100), "cancels": (50, 10),
                 "tokens": (50, 10), "deadlines": (20, 3)}  # fmt: skip
"""How many streams or repeats each part has, and how many with ``--short``."""
CLOCKED: Final = ("cancels", "tokens", "deadlines")
ROUNDS: Final = (15, 5)


@dataclass(frozen=True)
class Row:
    """A figure, and what it must be at most."""

    what: str
    value: float
    limit: float
    unit: str = ""
    more: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is not above its limit."""
        return self.value <= self.limit


def main() -> None:
    """Measures, prints the table, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="1,000 streams, fewer repeats")
    parser.add_argument("--only", default=",".join(COUNTS))
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    given = parser.parse_args()
    _allow_files()
    began, load = time.monotonic(), os.getloadavg()[0]
    found: dict[str, Any] = {}
    with source() as port, clocked() as clock:
        for name in given.only.split(","):
            url = f"http://127.0.0.1:{clock if name in CLOCKED else port}/v1"
            count = COUNTS[name][given.short]
            found[name] = cost(url, count, ROUNDS[given.short]) if name == "cost" else part(name, url, count)
            print(f"{name} done, {time.monotonic() - began:.0f} s", file=sys.stderr)
    rows = [row for name, one in found.items() for row in ROWS[name](one)]
    facts = {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "seconds": round(time.monotonic() - began),
        "short": given.short,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    for suffix, text in (("md", table(rows, facts)), ("json", json.dumps([facts, found], indent=1))):
        (given.out / f"streams.{suffix}").write_text(text.rstrip() + "\n", encoding="utf-8")
    print(table(rows, facts))
    sys.exit(not all(row.holds for row in rows))


def _allow_files() -> None:
    """As many open files as the system lets this process and its children have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def clocked() -> Iterator[int]:
    """The port of a running ``clocked.py``."""
    with subprocess.Popen(
        [sys.executable, HERE / "peers" / "clocked.py"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def part(name: str, url: str, count: int) -> dict[str, Any]:
    """Runs a part in a process of its own."""
    done = subprocess.run(_argv(name, url, count), stdout=subprocess.PIPE, text=True, check=True, timeout=900)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _argv(name: str, url: str, count: int) -> list[str]:
    program = "stream_clock.py" if name in CLOCKED else "stream_parts.py"
    return [sys.executable, str(HERE / program), name, url, str(count)]


def cost(url: str, count: int, rounds: int) -> dict[str, Any]:
    """Requests beside ten open streams and beside many, by turns in two processes."""
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen(_argv("cost", url, 10), **pipes) as few,
        subprocess.Popen(_argv("cost", url, count), **pipes) as many,
    ):
        for process in (few, many):
            assert process.stdout.readline() == "ready\n"
        pairs = []
        for _ in range(rounds + 1):
            pair = []
            for process in (few, many):
                process.stdin.write("go\n")
                process.stdin.flush()
                pair.append(float(process.stdout.readline()))
            pairs.append(pair)
        for process in (few, many):
            process.stdin.close()
            process.stdout.read()
    pairs = pairs[1:]
    return {
        "open": count,
        "us_at_10": statistics.median(few for few, _ in pairs),
        "us_at_many": statistics.median(many for _, many in pairs),
        "ratio": statistics.median(many / few for few, many in pairs),
    }


def _many(found: dict[str, Any]) -> list[Row]:
    count = found["streams"]
    words = "; ".join(f"{number} times {problem}" for problem, number in found["failures"].items())
    seconds = (
        f"{found['open_at_source']} still being sent when the last one had begun; {found['seconds']:.1f} s, "
        f"{found['ideal']:.1f} s at the source's pace"
    )
    return [
        Row(f"{count} streams at once: failed", found["failed"], 0, more=words or seconds),
        Row(
            f"{count} streams at once: memory for each", found["kib_per_stream"], 40, "KiB",
            f"peak {found['peak_mib']:.0f} MiB, {found['us_per_chunk']:.0f} µs CPU a token",
        ),
    ]  # fmt: skip


def _cost(found: dict[str, Any]) -> list[Row]:
    more = f"{found['us_at_many']:.0f} µs CPU and {found['us_at_10']:.0f} µs"
    return [Row(f"a request beside {found['open']} open streams, times one beside 10", found["ratio"], 1.5, more=more)]


def _sequence(found: dict[str, Any]) -> list[Row]:
    words = {"sync": "blocking", "async": "asynchronous"}
    return [Row(f"{found['streams']} streams one by one, {words[way]}: connections", found[way], 1) for way in words]


def _cancels(found: dict[str, Any]) -> list[Row]:
    unseen = sum(one["unseen"] for one in found.values())
    return [
        *(
            Row(f"from giving up to the server's seeing it, {way}", one["max_ms"], 50, "ms", _middle(one))
            for way, one in found.items()
        ),
        Row("given up and never seen by the server", unseen, 0),
    ]


def _tokens(found: dict[str, Any]) -> list[Row]:
    words = {"first": "the first token", "later": "the tokens after it"}
    return [
        Row(f"from the server's write to the caller, {words[which]}", one["p50_ms"], 5, "ms", _middle(one))
        for which, one in found.items()
    ]


def _deadlines(found: dict[str, Any]) -> list[Row]:
    return [
        Row(
            f"time limit overrun: {name}", one["max_ms"], max(250.0, 50 * one["limit_s"]), "ms",
            f"limit {one['limit_s']:g} s; {_middle(one)}",
        )
        for name, one in found.items()
    ]  # fmt: skip


def _middle(one: dict[str, float]) -> str:
    return f"median {one['p50_ms']:.2f} ms, most {one['max_ms']:.1f} ms of {one['n']}"


ROWS: Final = {"many": _many, "cost": _cost, "sequence": _sequence, "cancels": _cancels, "tokens": _tokens,
               "deadlines": _deadlines}  # fmt: skip


def table(rows: list[Row], facts: dict[str, Any]) -> str:
    """Markdown."""
    lines = ["| figure | measured | at most | | |", "|---|---|---|---|---|"]
    for row in rows:
        measured, limit = (f"{_number(value)} {row.unit}".strip() for value in (row.value, row.limit))
        lines.append(f"| {row.what} | {measured} | {limit} | {'holds' if row.holds else '**missed**'} | {row.more} |")
    said = (
        f"Linux {facts['kernel']}, Python {facts['python']}, {facts['cpus']} CPUs, load {facts['load'][0]} before and "
        f"{facts['load'][1]} after, {facts['seconds']} s. Made by `bench/streams.py{' --short' * facts['short']}`; the "
        "client, the server and whatever else ran shared these CPUs."
    )
    return "\n".join([*lines, "", said])


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) or value >= 100 else f"{value:.2f}"


if __name__ == "__main__":
    main()
