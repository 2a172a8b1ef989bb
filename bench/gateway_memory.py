"""What stays in a gateway's memory: rounds of concurrent streams, a fifth of them left half-way.

    python bench/gateway_memory.py [--short] [--rounds 12] [--streams 1000] [--trace] [--out bench/results]

One gateway, started as people start it, in front of the load source. After each round, when nothing is open any more,
its resident memory is read, then its free memory is given back to the system (malloc_trim) and it is read again: what
the allocator keeps for the next round falls away, what is referred to stays. A first third of the rounds warms up;
growth is the median of the others, by 10,000 streams: a leak is in each round, a new high-water mark in one.
``--trace`` names the lines whose allocations grew. Writes ``gateway_memory.json``.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gateways import KEY, KINDS, MODEL, free_port
from load_source import Load, source
from processes import cpu_ns, memory_mib

ROOT = Path(__file__).parents[1]
HEADERS = (f"authorization: Bearer {KEY}",)
ASKED = {"model": f"vllm/{MODEL}", "messages": [{"role": "user", "content": "List the numbers from one to ten."}]}
HELD = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
GOAL_MIB = 1.0
"""By 10,000 streams."""
SHOWN = 12
IDLE_SECONDS = 5.0
"""After which the gateway closes its connections to the source."""
_LIBC = ctypes.CDLL(None)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--streams", type=int, default=1000, help="at once, in each round")
    parser.add_argument("--short", action="store_true", help="7 rounds")
    parser.add_argument("--trace", action="store_true", help="name the lines whose allocations grew; slow")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    given = parser.parse_args()
    if given.short:
        given.rounds = 7
    with source() as upstream, _gateway(upstream, trace=given.trace) as (process, port, folder):
        rows = []
        for number in range(given.rounds):
            if number == given.rounds // 3:
                _settle(process.pid)
                _ask(process, folder)  # from here on growth counts
            rows.append(_round(process, port, folder, upstream, given.streams))
            print(_line(number, rows[-1]), file=sys.stderr)
        found = _found(rows[given.rounds // 3 :])
        text = (folder / "grown").read_text(encoding="utf-8") if given.trace else ""
    facts = {"streams": given.streams, "rounds": rows, **found, "load": round(os.getloadavg()[0], 1)}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "gateway_memory.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(
        f"growth by 10,000 streams: {found['growth']:+.2f} MiB (goal at most {GOAL_MIB:g}); from the first round "
        f"to the last {found['referred_in_all']:+.1f}, {found['resident_in_all']:+.1f} with what the allocator keeps; "
        f"{found['count']:.0f} streams, {found['errors']:.0f} errors, {found['left_open']:.0f} connections left open"
    )
    print(text, end="")


def _found(rows: list[dict[str, float]]) -> dict[str, float]:
    """Growth by 10,000 streams, by the median of the rounds: a leak is in each, a new high-water mark in one."""
    steps = [after["referred"] - before["referred"] for before, after in itertools.pairwise(rows)]
    return {
        "growth": statistics.median(steps) * 10_000 / rows[0]["streams"],
        **{f"{name}_in_all": rows[-1][name] - rows[0][name] for name in ("resident", "referred")},
        "count": sum(row["streams"] for row in rows),
        "errors": sum(row["errors"] for row in rows),
        "left_open": rows[-1]["left_open"],
    }


def _line(number: int, row: dict[str, float]) -> str:
    return (
        f"round {number + 1}: {row['streams']:.0f} streams, {row['errors']:.0f} errors, "
        f"{row['resident']:.1f} MiB resident, {row['referred']:.1f} after malloc_trim"
    )


def _round(process: subprocess.Popen[bytes], port: int, folder: Path, upstream: int, streams: int) -> dict[str, float]:
    """Concurrent streams: most read to their end, a fifth left half-way, a twentieth proved."""
    held = max(1, streams // 20)
    left = streams // 5
    whole = streams - left - held
    cut = Load(port, _stream(400, 50), HEADERS, connections=left, requests=left, seconds=60)
    proved = Load(port, {**ASKED, "stream": True, "max_tokens": 64, "response_format": HELD}, HEADERS,
                  connections=held, requests=held, seconds=60)  # fmt: skip
    read = Load(port, _stream(20, 100), HEADERS, connections=whole, requests=whole, seconds=60)
    time.sleep(1.5)
    cut.stop()
    wrong = whole - int(read.result()["right"]) + held - int(proved.result()["right"])
    deadline = time.monotonic() + 5
    while (left_open := _counts(upstream)["open"]) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(IDLE_SECONDS)
    Load(port, _stream(2, 0), HEADERS, requests=1).result()  # has connections closed that were idle for too long
    _settle(process.pid)
    resident = memory_mib(process.pid)
    _ask(process, folder)
    return {"streams": streams, "errors": wrong, "resident": resident, "referred": memory_mib(process.pid),
            "left_open": left_open}  # fmt: skip


def _stream(tokens: int, spacing: int) -> dict[str, object]:
    return {**ASKED, "stream": True, "max_tokens": tokens, "user": f"chunks={tokens},spacing={spacing}"}


def _counts(upstream: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{upstream}/source") as answer:
        found: dict[str, int] = json.load(answer)
        return found


def _settle(pid: int) -> None:
    """Waits until the gateway has nothing more to do."""
    for _ in range(100):
        cpu = cpu_ns(pid)
        time.sleep(0.1)
        if cpu_ns(pid) - cpu < 3_000_000:
            return


# --- the gateway's process -------------------------------------------------------------------------------------------


@contextmanager
def _gateway(upstream: int, *, trace: bool) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """The gateway, as the other bench starts it, in a process that gives memory back when it is asked to."""
    with TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        command = KINDS["abstractcore"].argv(folder, port, upstream, folder)
        inner = command[command.index("abstractcore") + 1 :]
        argv = [sys.executable, __file__, "--gateway", str(folder), str(int(trace)), *inner]
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
        try:
            _wait(process, port, folder / "log")
            yield process, port, folder
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    sys.exit(f"the gateway does not answer:\n{log.read_text(encoding='utf-8', errors='replace')}")


def _ask(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Has the gateway collect its garbage and give back what is free."""
    mark = folder / "given-back"
    mark.unlink(missing_ok=True)
    process.send_signal(signal.SIGUSR1)
    until = time.monotonic() + 60
    while not mark.exists() and time.monotonic() < until:
        time.sleep(0.02)


def serve(folder: Path, arguments: list[str], *, trace: bool) -> None:
    """Runs the gateway in this process, until it is killed."""
    from abstractcore.cli.main import main as command

    first: list[Any] = []

    def give_back(*_: object) -> None:
        gc.collect()
        if trace:
            now = tracemalloc.take_snapshot()
            if not first:
                first.append(now)
            grown = now.compare_to(first[0], "lineno")[:SHOWN]
            (folder / "grown").write_text("".join(f"{row}\n" for row in grown), encoding="utf-8")
        _LIBC.malloc_trim(0)
        (folder / "given-back").touch()

    if trace:
        tracemalloc.start()
    signal.signal(signal.SIGUSR1, give_back)
    sys.argv = ["abstractcore", *arguments]
    command()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--gateway"]:
        serve(Path(sys.argv[2]), sys.argv[4:], trace=sys.argv[3] == "1")
    else:
        main()
