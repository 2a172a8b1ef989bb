"""What Docker's networking costs: a request, a new connection and a streamed chunk on each path between two places.

    python bench/docker_tax.py [--image python:3-slim] [--rounds 40] [--out bench/results]

One server and one client, a few lines of blocking sockets each, run in containers; Docker is all that differs. A round
measures every path, in random order, and a path's ratio is taken to the host network of the same round, so that what
else the machine does meanwhile hits all of them. A new connection looks its server up anew, where it has a name. Python
costs the same everywhere: it makes ratios smaller than those of bare sockets, and leaves the added microseconds as they
are. Without ``--image``, one is made from this machine's own
Python, as the tests do. Writes ``docker_tax.md``, ``docker_tax.svg`` and ``docker_tax.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from docker_tax_page import KINDS, figure, table

ROOT = Path(__file__).parents[1]
SERVER = """\
import socket, struct, sys, threading, time
def serve(link):
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with link:
        while asked := link.recv(4096):
            if asked[:1] == b"r":
                link.sendall(bytes(400))
                continue
            for _ in range(struct.unpack("!xH", asked[:3])[0]):
                time.sleep(0.001)
                link.sendall(struct.pack("!q", time.monotonic_ns()) + bytes(192))
with socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64) as listener:
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""
CLIENT = """\
import json, socket, struct, sys, time
place, requests, connections, chunks = (sys.argv[1], int(sys.argv[2])), *map(int, sys.argv[3:])
def connect():
    link = socket.create_connection(place, 10)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link
def take(link, size):
    data = b""
    while len(data) < size:
        more = link.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data
def ask(link):
    link.sendall(b"r" * 200)
    take(link, 400)
now = time.monotonic_ns
for line in sys.stdin:
    found = {"request": [], "connection": [], "chunk": []}
    with connect() as link:
        ask(link)
        for _ in range(requests):
            began = now(); ask(link); found["request"].append(now() - began)
    for _ in range(connections):
        began = now()
        with connect() as link:
            ask(link)
            found["connection"].append(now() - began)
    with connect() as link:
        link.sendall(struct.pack("!cH", b"s", chunks))
        for _ in range(chunks):
            sent = struct.unpack("!q", take(link, 200)[:8])[0]
            found["chunk"].append(now() - sent)
    print(json.dumps(found), flush=True)
"""


@dataclass
class Place:
    """One path: where the client is, and what it calls."""

    name: str
    network: str
    host: str
    port: int
    options: tuple[str, ...] = ()
    client: subprocess.Popen[str] | None = field(default=None, repr=False)
    rounds: list[dict[str, list[int]]] = field(default_factory=list, repr=False)


def main() -> None:
    """Measures, prints the table, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", help="any image with python3; made from this machine's files when left out")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--requests", type=int, default=150, help="a round and path")
    parser.add_argument("--connections", type=int, default=40, help="same")
    parser.add_argument("--chunks", type=int, default=150, help="same; they come one a millisecond")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    given = parser.parse_args()
    began, load = time.monotonic(), os.getloadavg()[0]
    with running(given.image or own_image(), given) as places:
        for number in range(given.rounds + 1):
            for place in random.sample(places, len(places)):
                found = measure(place)
                if number:  # the first round warms up
                    place.rounds.append(found)
            print(f"\rround {number} of {given.rounds}", end="", file=sys.stderr)
    print(file=sys.stderr)
    facts = {
        "docker": docker("version", "--format", "{{.Server.Version}}"),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "seconds": round(time.monotonic() - began),
        **{name: getattr(given, name) * given.rounds for name in ("requests", "connections", "chunks")},
        "rounds": given.rounds,
    }
    rows = [row(place, places[0]) for place in places]
    given.out.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("md", table(rows, facts)),
        ("svg", figure(rows)),
        ("json", json.dumps([facts, rows], indent=1)),
    ):
        (given.out / f"docker_tax.{name}").write_text(text.rstrip() + "\n", encoding="utf-8")
    print(table(rows, facts))


def measure(place: Place) -> dict[str, list[int]]:
    """One round of one path; times in nanoseconds."""
    assert place.client is not None
    assert place.client.stdin is not None
    assert place.client.stdout is not None
    place.client.stdin.write("round\n")
    place.client.stdin.flush()
    found: dict[str, list[int]] = json.loads(place.client.stdout.readline())
    return found


def row(place: Place, base: Place) -> dict[str, object]:
    """What a path costs: microseconds, and the ratio to the base in the same round."""
    found: dict[str, object] = {"path": place.name}
    for kind in KINDS:
        everything = [value / 1e3 for one in place.rounds for value in one[kind]]
        here, there = ([statistics.median(one[kind]) / 1e3 for one in some.rounds] for some in (place, base))
        ratios = [mine / its for mine, its in zip(here, there, strict=True)]
        added = [mine - its for mine, its in zip(here, there, strict=True)]
        found[kind] = {
            "median": statistics.median(everything),
            "p99": statistics.quantiles(everything, n=100)[98],
            "ratio": quartiles(ratios),
            "added": quartiles(added),
        }
    return found


def quartiles(values: Sequence[float]) -> list[float]:
    """Lower quartile, median, upper quartile."""
    return statistics.quantiles(values, n=4)


# --- containers ------------------------------------------------------------------------------------------------------


@contextmanager
def running(image: str, given: argparse.Namespace) -> Iterator[list[Place]]:
    """Servers and clients of all paths."""
    mark = f"docker-tax-{uuid4().hex[:8]}"
    with ExitStack() as stack:
        docker("network", "create", mark)
        stack.callback(docker, "network", "rm", mark)
        gateway = host_address(image)
        ports = {name: 18730 + number for number, name in enumerate(("host", "loopback", "gateway"))}

        def serve(bind: str, port: int, *options: str) -> str:
            name = f"{mark}-{port}"
            docker("run", "--detach", "--name", name, *options, image, "python3", "-c", SERVER, bind, str(port))
            stack.callback(docker, "rm", "--force", name)
            return name

        serve("0.0.0.0", ports["host"], "--network", "host")
        docked = serve(
            "0.0.0.0", 8000, "--network", mark,
            "--publish", f"127.0.0.1:{ports['loopback']}:8000", "--publish", f"{gateway}:{ports['gateway']}:8000",
        )  # fmt: skip
        via = ("--add-host", "host.docker.internal:host-gateway")
        places = [
            Place("host network", "host", "127.0.0.1", ports["host"]),
            Place("one user network, by address", mark, address_of(docked), 8000),
            Place("one user network, by name", mark, docked, 8000),
            Place("bridge to the host's network", mark, "host.docker.internal", ports["host"], via),
            Place("host to the bridge's address, published (NAT)", "host", gateway, ports["gateway"]),
            Place("host to 127.0.0.1, published (docker-proxy)", "host", "127.0.0.1", ports["loopback"]),
            Place("bridge to a published port (docker-proxy)", mark, "host.docker.internal", ports["gateway"], via),
        ]
        time.sleep(1)
        for place in places:
            place.client = start_client(image, place, given, stack.callback)
        yield places


def start_client(
    image: str, place: Place, given: argparse.Namespace, at_end: Callable[..., object]
) -> subprocess.Popen[str]:
    """A client that measures a round for each line on its standard input."""
    sizes = (str(given.requests), str(given.connections), str(given.chunks))
    argv = ["docker", "run", "--rm", "--interactive", "--network", place.network, *place.options, image]
    command = ["python3", "-c", CLIENT, place.host, str(place.port), *sizes]
    client = subprocess.Popen([*argv, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stop() -> None:
        client.communicate()

    at_end(stop)
    return client


def host_address(image: str) -> str:
    """The host's address on the default bridge."""
    hosts = docker("run", "--rm", "--add-host", "here:host-gateway", image, "cat", "/etc/hosts")
    return next(line.split()[0] for line in hosts.splitlines() if line.endswith("here"))


def address_of(name: str) -> str:
    """A container's address in its network."""
    return docker("container", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)


def docker(*arguments: str) -> str:
    """Runs a docker command that has to succeed."""
    return subprocess.run(["docker", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def own_image() -> str:
    """An image with this machine's own Python."""
    sys.path.insert(0, str(ROOT))
    from tests.container import daemon, images

    return images.python_base(daemon.Docker())


if __name__ == "__main__":
    main()
