"""What only a process of its own can show: no file descriptor left, forks, the end of the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.answering_server import AnsweringServer
from tests.scripted_server import PATIENCE

pytestmark = pytest.mark.usefixtures("loopback")
SOURCES = Path(__file__).parents[3] / "src"


@pytest.fixture(scope="module")
def server() -> Iterator[AnsweringServer]:
    with AnsweringServer() as running:
        yield running


def start(program: str, server: AnsweringServer) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(SOURCES)}
    argv = [sys.executable, "-c", program, server.url]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, what it said and what it complained about."""
    out, err = process.communicate(timeout=3 * PATIENCE)
    return process.returncode, out, err


FILES = """
import asyncio, os, resource, sys
from abstractcore import ConnectionFailedError, VLLMProvider

resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
llm = VLLMProvider("m", base_url=sys.argv[1])
held = []

def fill():
    try:
        while True:
            held.append(os.dup(0))
    except OSError:
        pass

def give_back():
    while held:
        os.close(held.pop())

def check(error):
    assert error.local and not error.refused, error
    assert "no file descriptor is left" in error.message, error
    assert "Too many open files" in error.why and "ulimit" in error.hint, error

assert llm.generate("warm up").content == "warm up"
kept = llm.generate("hold on", stream=True)  # takes the connection
next(kept)
fill()
try:
    llm.generate("one")
except ConnectionFailedError as error:
    check(error)
else:
    sys.exit("an answer without a socket")
give_back()
assert llm.generate("two").content == "two"
kept.close()

async def main():
    assert (await llm.agenerate("warm up")).content == "warm up"
    kept = await llm.agenerate("hold on", stream=True)
    await anext(kept)
    fill()
    found = await asyncio.gather(*(llm.agenerate("one") for _ in range(5)), return_exceptions=True)
    give_back()
    for error in found:
        check(error)
    await kept.aclose()
    assert (await llm.agenerate("two")).content == "two"
    fill()
    found = await asyncio.gather(llm.agenerate("three"), return_exceptions=True)  # the connection that is kept will do
    give_back()
    assert found[0].content == "three", found

asyncio.run(main())
print("recovered")
"""


def test_file_descriptors_run_out_and_come_back(server: AnsweringServer) -> None:
    assert ended(start(FILES, server)) == (0, "recovered\n", "")


FORK = """
import asyncio, os, sys
from abstractcore import AbstractCoreError, StreamInterruptedError, VLLMProvider

llm = VLLMProvider("m", base_url=sys.argv[1])

def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    return child

def ok(child):
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

def refused(error):
    assert "belongs to the parent process" in str(error), error
    assert error.partial == "hold ", error.partial

# Blocking: an idle connection and an open stream are the parent's.
assert llm.generate("warm up").content == "warm up"
stream = llm.generate("hold on", stream=True)
next(stream)
assert llm.generate("idle now").content == "idle now"

def child():
    for number in range(20):
        assert llm.generate(f"child {number}").content == f"child {number}"
    try:
        next(stream)
    except StreamInterruptedError as error:
        refused(error)
    else:
        raise AssertionError("the child read the parent's stream")

pid = in_child(child)
for number in range(20):
    assert llm.generate(f"parent {number}").content == f"parent {number}"
ok(pid)
stream.close()

# In an event loop.
async def main():
    stream = await llm.agenerate("hold on", stream=True)
    await anext(stream)
    assert (await llm.agenerate("idle now")).content == "idle now"

    async def ask(who):
        got = await asyncio.gather(*(llm.agenerate(f"{who} {number}") for number in range(20)))
        assert [one.content for one in got] == [f"{who} {number}" for number in range(20)]

    async def read():
        try:
            await anext(stream)
        except AbstractCoreError as error:
            refused(error)
        else:
            raise AssertionError("the child read the parent's stream")

    def child():
        asyncio.run(ask("child"))
        asyncio.run(read())

    pid = in_child(child)
    await ask("parent")
    ok(pid)
    waiting = asyncio.ensure_future(anext(stream))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done, "the child broke the parent's stream"
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

asyncio.run(main())
print("both went on")
"""


def test_after_a_fork_child_and_parent_both_go_on(server: AnsweringServer) -> None:
    assert ended(start(FORK, server)) == (0, "both went on\n", "")


BLOCKING = """
import sys, threading
from abstractcore import VLLMProvider

llm = VLLMProvider("m", base_url=sys.argv[1])

def begun():
    stream = llm.generate("hold on", stream=True)
    next(stream)
    return stream

kept = begun()
cycle = [begun()]
cycle.append(cycle)
threading.Thread(target=next, args=(begun(), None), daemon=True).start()
for part in llm.generate("hold on", stream=True):
    sys.exit(3)
"""
LOOPS = """
import asyncio, sys, threading
from abstractcore import VLLMProvider

llm = VLLMProvider("m", base_url=sys.argv[1])
kept = []

async def begin():
    stream = await llm.agenerate("hold on", stream=True)
    kept.append(stream)
    await anext(stream)
    return stream

async def read(started):
    async for part in await llm.agenerate("hold on", stream=True):
        started.set()

async def leave_a_task():
    await begin()
    started = asyncio.Event()
    kept.append(asyncio.create_task(read(started)))
    await started.wait()

asyncio.run(leave_a_task())
started = threading.Event()
threading.Thread(target=lambda: asyncio.run(read(started)), daemon=True).start()
assert started.wait(20)
loop = asyncio.new_event_loop()
loop.run_until_complete(begin())  # nobody closes this loop
"""


def test_the_interpreter_ends_quietly_with_open_streams(server: AnsweringServer) -> None:
    """Streams that are kept, that lie in a cycle, that a thread or a task reads, whose loop nobody closes."""
    processes = [start(program, server) for program in (BLOCKING, LOOPS)]
    assert [ended(process) for process in processes] == [(3, "", ""), (0, "", "")]
