"""How long a gateway takes to see that a replica is dead or frozen, and to refuse what is too much.

    python bench/gateway_faults.py [--short] [--times 5] [--out bench/results]

One gateway with two load sources as replicas, under a load of whole answers. A replica is killed, or stopped with
SIGSTOP, and started again; its time until the gateway's ``/metrics`` shows it as down, and the requests that failed
meanwhile, are noted. Then the gateway's places are taken, and further requests are sent: how long their refusal takes.
Writes ``gateway_faults.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gateways import MODEL, free_port
from load_source import Load, built, recordings

ROOT = Path(__file__).parents[1]
ASKED = {"model": f"vllm/{MODEL}", "messages": [{"role": "user", "content": "List the numbers from one to ten."}]}
CONFIG = """
[backends.vllm]
base_url = [{urls}]

[limits]
max_in_flight = {places}
"""
PLACES = 64
GOALS = {"dead": 1.0, "frozen": 10.0, "shed": 0.1}
"""Seconds."""


class Replica:
    """A load source on a port of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    def start(self) -> None:
        """Starts it, where it was before."""
        argv = [str(built("source")), str(recordings()), str(self.port)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def kill(self) -> None:
        """Ends it without a word."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Its connections stay open, and nothing comes."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self.process.send_signal(signal.SIGCONT)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="each fault")
    parser.add_argument("--short", action="store_true", help="each fault twice")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    given = parser.parse_args()
    times = 2 if given.short else given.times
    replicas = [Replica(), Replica()]
    try:
        with _gateway(replicas) as port:
            found: dict[str, Any] = {
                "dead": [_out(port, replicas[at % 2], Replica.kill, Replica.start) for at in range(times)],
                "frozen": [_out(port, replicas[at % 2], Replica.freeze, Replica.thaw) for at in range(times)],
                "shed": _shed(port),
            }
    finally:
        for replica in replicas:
            replica.thaw()
            replica.kill()
    found["load"] = round(os.getloadavg()[0], 1)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "gateway_faults.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for name in ("dead", "frozen"):
        seconds, failed = ([row[key] for row in found[name]] for key in ("seconds", "failed"))
        print(
            f"{name}: out after {statistics.median(seconds):.2f} s, {max(seconds):.2f} at most (goal {GOALS[name]:g}); "
            f"{sum(failed)} of {sum(row['sent'] for row in found[name])} requests failed"
        )
    shed = found["shed"]
    print(f"refused: {shed['refused']} of {shed['sent']}, with {shed['status']} and Retry-After {shed['retry_after']}, "
          f"after {shed['ms']:.1f} ms (slowest of a hundred; goal {1e3 * GOALS['shed']:g})")  # fmt: skip


def _out(
    port: int, replica: Replica, fail: Callable[[Replica], None], mend: Callable[[Replica], None]
) -> dict[str, Any]:
    """One fault under load: the time until the replica gets no requests, and what became of the requests."""
    _until(lambda: _up(port, replica), "it is up")
    body = {**ASKED, "max_tokens": 16, "user": "delay=20"}
    load = Load(port, body, connections=16, requests=1_000_000, seconds=12, pause=5)
    time.sleep(1)
    began = time.monotonic()
    fail(replica)
    try:
        _until(lambda: not _up(port, replica), "it is down")
        seconds = time.monotonic() - began
    finally:
        mend(replica)
    _until(lambda: _up(port, replica), "it is up again")
    seen = load.result()
    failed = seen["refused"] + seen["broken"] + seen["wrong"]  # those that are open at its end count as nothing
    return {"seconds": seconds, "sent": seen["sent"], "failed": failed}


def _shed(port: int) -> dict[str, Any]:
    """All places are taken; what then becomes of a hundred requests."""
    taken = Load(port, {**ASKED, "stream": True, "max_tokens": 400, "user": "chunks=400,spacing=50"},
                 connections=PLACES, requests=PLACES, seconds=30)  # fmt: skip
    time.sleep(1.5)
    took, statuses, after = [], [], ""
    for _ in range(100):
        data = json.dumps({**ASKED, "max_tokens": 16}).encode()
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        request = urllib.request.Request(url, data, {"content-type": "application/json"})
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310 - on this machine
                statuses.append(answer.status)
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
            after = error.headers.get("retry-after", "")
        took.append(time.monotonic() - began)
    taken.stop()
    refused = [status for status in statuses if status in (429, 503)]
    return {"sent": 100, "refused": len(refused), "status": max(refused, default=0), "retry_after": after,
            "ms": 1e3 * max(took)}  # fmt: skip


def _up(port: int, replica: Replica) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        page = answer.read().decode()
    [row] = [
        row for row in page.splitlines() if row.startswith("abstractcore_replica_up{") and f":{replica.port}" in row
    ]
    return float(row.rpartition(" ")[2]) == 1.0


def _until(true: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 60
    while not true():
        if time.monotonic() > until:
            sys.exit(f"not within 60 s: {what}")
        time.sleep(0.02)


@contextmanager
def _gateway(replicas: list[Replica]) -> Iterator[int]:
    with TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        urls = ", ".join(f'"http://127.0.0.1:{replica.port}"' for replica in replicas)
        (folder / "gateway.toml").write_text(CONFIG.format(urls=urls, places=PLACES), encoding="utf-8")
        argv = [sys.executable, "-m", "abstractcore", "serve", "--port", str(port), "--quiet"]
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*argv, "--config", str(folder / "gateway.toml")], env=env, stdout=log, stderr=log
            )
        try:
            _until(lambda: _listens(port), f"the gateway listens: {(folder / 'log').read_text(encoding='utf-8')}")
            yield port
        finally:
            process.terminate()
            process.wait(30)


def _listens(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


if __name__ == "__main__":
    main()
