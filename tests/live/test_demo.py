"""The demo as a user runs it: the real command, a real vLLM, and no process left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from abstractcore.deploy import local_vllm, runtime, small_model
from abstractcore.settings import cache_dir
from tests.live.conftest import Shown, unused_port


@pytest.fixture
def state(environment: local_vllm.Environment, show: Shown, tmp_path: Path) -> Iterator[Path]:
    """A folder for the state of a demo that has its parts, and nothing else; its server is stopped in the end."""
    with show() as report:
        small_model.ensure_model(small_model.SMOLLM2, environment.python, cache_dir(), report)
    yield tmp_path / "state"
    server = runtime.find_server(tmp_path / "state" / "abstractcore" / "demo.json")
    if server:
        runtime.stop_server(server, grace=1.0)


def command(state: Path, *arguments: str) -> subprocess.Popen[str]:
    """Starts ``abstractcore demo``, away from the settings of this machine."""
    away = {"XDG_STATE_HOME": str(state), "XDG_CONFIG_HOME": str(state), "ABSTRACTCORE_CACHE": str(cache_dir())}
    env = {name: value for name, value in os.environ.items() if not name.startswith("VLLM_")}
    argv = [sys.executable, "-m", "abstractcore", "demo", *arguments]
    return subprocess.Popen(argv, env=env | away, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def demo(state: Path, *arguments: str) -> tuple[str, str]:
    """Runs it to its end; standard output and standard error."""
    with command(state, *arguments) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    return out, err


def writers(state: Path) -> list[int]:
    """The processes that write the demo's log."""
    log = str(state / "abstractcore" / "demo.log")
    return [row.pid for row in runtime._table() if runtime._writes_to(row.pid, log)]


def test_the_demo_answers_proves_stays_and_stops(state: Path) -> None:
    port = unused_port()
    out, err = demo(state, "--cpu", "--port", str(port))
    assert "Paris" in out
    assert "# proved by jsonschema-rs" in out
    assert "# proved by llguidance" in out
    assert "abstractcore demo --stop" in out
    assert f"export VLLM_BASE_URL=http://127.0.0.1:{port}/v1" in out
    assert "load" in err
    assert len(writers(state)) > 1

    out, err = demo(state, "--cpu", "--json")
    assert err.startswith("using the server at")
    document = json.loads(out)
    assert document["started"] is False
    assert document["base_url"] == f"http://127.0.0.1:{port}/v1"
    plain, colours, function = document["answers"]
    assert plain["constraint"] is None
    assert len(json.loads(colours["content"])) == 3
    assert colours["constraint"]["proved"] is True
    assert function["content"].startswith("def ")
    assert function["constraint"]["proved"] is True

    _, err = demo(state, "--stop")
    assert str(document["pid"]) in err
    assert writers(state) == []
    _, err = demo(state, "--stop")
    assert "no demo server" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_start_leaves_no_process(state: Path, number: signal.Signals) -> None:
    with command(state, "--cpu", "--port", str(unused_port())) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("load")
        first_children = wait_for(lambda: writers(state))
        process.send_signal(number)
        _, err = process.communicate()
    assert first_children
    assert process.returncode == 130
    assert "interrupted" in err
    assert writers(state) == []
    assert not (state / "abstractcore" / "demo.json").exists()


def test_a_taken_port_is_said_at_once(state: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with command(state, "--cpu", "--port", str(port)) as process:
            _, err = process.communicate()
    assert process.returncode == 1
    assert f"why: port {port} is in use" in err
    assert "try: name a free one with --port" in err


def wait_for(found: Callable[[], list[int]]) -> list[int]:
    """Waits until the server process is there."""
    import time

    for _ in range(600):
        if pids := found():
            return pids
        time.sleep(0.05)
    return []
