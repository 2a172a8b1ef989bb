"""What only blocking sockets can get wrong: threads, fork, Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from abstractcore.errors import ConnectionFailedError
from abstractcore.transport import HttpTransport
from abstractcore.wire.call import Call
from tests.scripted_server import CHUNKED, END, PATIENCE, Peer, chunk, whole

from .conftest import Serve, read_all


def keep_answering(peer: Peer) -> None:
    while True:
        target = peer.request().target.encode()
        peer.send(CHUNKED, chunk(target), END)


def test_threads_share_a_transport(serve: Serve) -> None:
    server = serve(keep_answering)
    transport = HttpTransport(environ={})
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait(PATIENCE)
        for turn in range(25):
            path = f"/{number}/{turn}"
            assert read_all(transport.open(Call("GET", server.url + path, stream=True))) == path.encode()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert server.connections <= 8
    transport.close()


def test_closing_from_another_thread_ends_a_read(serve: Serve) -> None:
    asked = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        asked.set()
        peer.wait_gone()

    exchange = HttpTransport(environ={}).open(Call("GET", serve(script).url, stream=True))
    assert asked.wait(PATIENCE)
    failures: list[ConnectionFailedError] = []

    def read() -> None:
        with pytest.raises(ConnectionFailedError, match="closed on this side") as caught:
            exchange.read()
        failures.append(caught.value)

    reader = threading.Thread(target=read)
    reader.start()
    exchange.close()
    reader.join(PATIENCE)
    assert failures


def test_a_closed_transport_leaves_no_idle_connection(serve: Serve) -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(whole(b"ok"))
        peer.wait_gone()
        gone.set()

    server = serve(script)
    transport = HttpTransport(environ={})
    transport.open(Call("GET", server.url))
    assert not gone.is_set()
    transport.close()
    assert gone.wait(PATIENCE)
    assert transport.open(Call("GET", server.url)).answer.body == b"ok"
    transport.close()


FORK = """
import os, sys
from abstractcore.transport import HttpTransport
from abstractcore.wire.call import Call

url = sys.argv[1]
transport = HttpTransport(environ={})
transport.open(Call("GET", url + "/pooled"))
stream = transport.open(Call("GET", url + "/stream", stream=True))
first = stream.read()
finished = transport.open(Call("GET", url + "/finished", stream=True))
while finished.read():
    pass
child = os.fork()
if child == 0:
    del stream, finished
    assert transport.open(Call("GET", url + "/child")).answer.body == b"ok"
    transport.close()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert transport.open(Call("GET", url + "/parent")).answer.body == b"ok"
transport.open(Call("GET", url + "/go-on"))
assert (first, stream.read(), stream.read()) == (b"one", b"two", b"")
"""


def test_a_forked_child_leaves_its_parents_connections_alone(serve: Serve) -> None:
    seen: list[tuple[int, str]] = []
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        while True:
            target = peer.request().target
            seen.append((peer.number, target))
            if target == "/stream":
                peer.send(CHUNKED, chunk(b"one"))
                assert go_on.wait(PATIENCE)
                peer.send(chunk(b"two"), END)
                continue
            if target == "/go-on":
                go_on.set()
            peer.send(whole(b"ok"))

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK, serve(script).url],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert seen == [(1, "/pooled"), (1, "/stream"), (2, "/finished"), (3, "/child"), (2, "/parent"), (2, "/go-on")]


INTERRUPTED = """
import sys, threading, time
from abstractcore.transport import HttpTransport
from abstractcore.wire.call import Call

def announce(main):
    places = [None]
    while len(places) < 5:
        frame = sys._current_frames()[main]
        place = (frame.f_code.co_name, frame.f_lineno)
        places = [*places, place] if place == places[-1] else [place]
        time.sleep(0.02)
    print("blocked in", place[0], flush=True)

exchange = HttpTransport(environ={}).open(Call("GET", sys.argv[1], stream=True))
assert exchange.read() == b"started"
threading.Thread(target=announce, args=[threading.get_ident()], daemon=True).start()
try:
    exchange.read()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.readline()
"""


def test_ctrl_c_ends_a_blocking_read_and_aborts_the_request(serve: Serve) -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED, chunk(b"started"))
        peer.wait_gone()
        gone.set()

    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, serve(script).url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "blocked in _receive\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert gone.wait(PATIENCE)  # while the process still lives
        process.communicate("\n", timeout=PATIENCE)
    assert process.returncode == 0
