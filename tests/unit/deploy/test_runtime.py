"""Processes are started in a group of their own, found again, and stopped without leaving one behind."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from abstractcore.deploy import runtime
from abstractcore.errors import DeployError

Start: TypeAlias = Callable[[str], runtime.ServerProcess]

ENV = dict(os.environ)

FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to be")


def runs(pid: int) -> bool:
    return runtime._find(pid) is not None


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers and stops what a failed test left running."""
    started: list[runtime.ServerProcess] = []

    def go(code: str) -> runtime.ServerProcess:
        log, pid_file = tmp_path / "server.log", tmp_path / "server.json"
        server = runtime.start_server(python(code), env=ENV, log=log, pid_file=pid_file, note={"port": "1"})
        started.append(server)
        until(lambda: bool(log.read_text()))
        return server

    yield go
    for server in started:
        runtime.stop_server(server, grace=0.1)


def test_a_command_gives_its_lines_as_they_come() -> None:
    lines: list[str] = []
    done = runtime.run(python("print('one'); print('zwei äöü'); raise SystemExit(3)"), env=ENV, on_line=lines.append)
    assert lines == ["one", "zwei äöü"]
    assert (done.code, done.tail) == (3, ("one", "zwei äöü"))


def test_carriage_returns_end_lines_and_the_last_needs_no_end() -> None:
    done = runtime.run(python(r"print('10%\r20%\r\nrest', end='')"), env=ENV)
    assert done.tail == ("10%", "20%", "rest")


def test_standard_error_is_part_of_the_output() -> None:
    assert runtime.run(python("import sys; sys.stderr.write('oh no')"), env=ENV).tail == ("oh no",)


def test_a_quiet_command_still_ticks() -> None:
    ticks: list[int] = []
    runtime.run(python("import time; time.sleep(0.3)"), env=ENV, on_tick=lambda: ticks.append(1), tick=0.02)
    assert ticks


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(DeployError, match="/no/such/program"):
        runtime.run(["/no/such/program"], env=ENV)


def test_an_interrupt_stops_the_whole_group() -> None:
    family: list[int] = []

    def interrupted(line: str) -> None:
        family.extend(map(int, line.split()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runtime.run(python(FAMILY), env=ENV, on_line=interrupted)
    assert len(family) == 2
    assert not any(map(runs, family))


def test_a_command_past_its_limit_is_stopped() -> None:
    family: list[int] = []
    with pytest.raises(DeployError, match="within 0 s"):
        runtime.run(
            python(FAMILY), env=ENV, on_line=lambda line: family.extend(map(int, line.split())), tick=0.01, limit=0.3
        )
    assert not any(map(runs, family))


def test_a_command_keeps_the_descriptors_it_is_given(tmp_path: Path) -> None:
    with (tmp_path / "held").open("wb") as file:
        done = runtime.run(python(f"import os; os.fstat({file.fileno()})"), env=ENV, hold=[file.fileno()])
        assert done.code == 0
        assert runtime.run(python(f"import os; os.fstat({file.fileno()})"), env=ENV).code == 1


def test_a_server_is_found_again_and_stopped_with_its_children(start: Start, tmp_path: Path) -> None:
    server = start(FAMILY)
    family = [int(pid) for pid in Path(server.log).read_text().split()]
    found = runtime.find_server(tmp_path / "server.json")
    assert found is not None
    assert found == server
    assert found.note == {"port": "1"}
    assert runtime.is_alive(found)
    assert set(runtime.server_members(found)) == set(family)
    runtime.stop_server(found)
    assert not any(map(runs, family))
    assert not runtime.is_alive(found)
    assert runtime.find_server(tmp_path / "server.json") is None


def test_children_that_outlive_their_leader_are_found_and_stopped(start: Start, tmp_path: Path) -> None:
    server = start(FAMILY)
    _, child = (int(pid) for pid in Path(server.log).read_text().split())
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not runtime.is_alive(server))
    assert runtime.server_members(server) == (child,)
    assert runtime.find_server(tmp_path / "server.json") == server
    runtime.stop_server(server)
    assert not runs(child)


def test_a_server_that_ignores_the_polite_signal_is_killed(start: Start) -> None:
    server = start(STUBBORN)
    runtime.stop_server(server, grace=0.1)
    assert not runs(server.pid)


def test_a_recycled_pid_is_left_alone(start: Start, tmp_path: Path) -> None:
    stranger = start("print('up', flush=True); import time; time.sleep(60)")
    fields = json.loads((tmp_path / "server.json").read_text()) | {"started": "1"}
    (tmp_path / "old.json").write_text(json.dumps(fields))
    assert runtime.find_server(tmp_path / "old.json") is None
    old = runtime.ServerProcess(stranger.pid, "1", "/tmp/old.log")
    runtime.stop_server(old)
    assert not runtime.is_alive(old)
    assert runtime.is_alive(stranger)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "started": "1", "log": "l", "note": {}}'])
def test_a_broken_pid_file_names_no_server(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)
    assert runtime.find_server(tmp_path / "server.json") is None


def test_no_pid_file_names_no_server(tmp_path: Path) -> None:
    assert runtime.find_server(tmp_path / "server.json") is None


def test_a_server_survives_an_interrupt_of_this_process_group(start: Start) -> None:
    server = start("print('up', flush=True); import time; time.sleep(60)")
    assert os.getpgid(server.pid) == server.pid != os.getpgid(0)
    assert os.getsid(server.pid) == server.pid


def test_many_lines_arrive_whole_while_the_reader_is_slow() -> None:
    seen: list[str] = []
    slow = threading.Event()

    def take(line: str) -> None:
        seen.append(line)
        if len(seen) % 500 == 0:
            slow.wait(0.01)

    runtime.run(python("for i in range(3000): print('x' * 50, i)"), env=ENV, on_line=take)
    assert seen == [f"{'x' * 50} {i}" for i in range(3000)]


def test_without_proc_the_process_table_comes_from_ps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_HAS_PROC", False)
    me = runtime._find(os.getpid())
    assert me is not None
    assert me.group == os.getpgid(0)
    assert me.started
