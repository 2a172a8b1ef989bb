"""The self-test as a user runs it: the real command, a real vLLM, a gateway in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.live.conftest import LiveServer, unused_port

ROOT: Final = Path(__file__).parents[2]


def run(*arguments: str, script: bool = False) -> subprocess.CompletedProcess[str]:
    program = [str(ROOT / "scripts" / "test-gpu.py")] if script else ["-m", "abstractcore", "check"]
    argv = [sys.executable, *program, *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    document = json.loads(done.stdout)
    assert document["schema"] == "abstractcore.check/1"
    return {row["id"]: row for row in document["outcomes"]}


def test_all_that_is_promised_works_on_a_real_server(vllm: LiveServer) -> None:
    adapters = [f"--adapter={name}-check={path}" for name, path in vllm.adapters.items()]
    done = run("--base-url", vllm.base_url, "--json", f"--port={unused_port()}", *adapters)
    found = outcomes(done)
    wrong = {name: row for name, row in found.items() if row["verdict"] != "passed"}
    assert not wrong
    assert done.returncode == 0
    assert "library.adapters" in found
    assert "gateway.sdk" in found
    with urlopen(f"{vllm.base_url}/models", timeout=10) as answer:
        served = [row["id"] for row in json.load(answer)["data"]]
    assert not [name for name in served if name.endswith("-check")], "what it loaded, it unloads"


def test_the_script_of_old_works_without_a_terminal(vllm: LiveServer) -> None:
    done = run("--base-url", vllm.base_url, "--no-gateway", script=True)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d+ passed, 1 not tried$", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_leaves_the_gateway_until_it_is_told_to_stop(vllm: LiveServer, number: int) -> None:
    port = unused_port()
    argv = [sys.executable, "-m", "abstractcore", "check", "--base-url", vllm.base_url, f"--port={port}", "--keep"]
    env = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        watchdog = threading.Timer(240, process.kill)
        watchdog.start()
        assert process.stdout is not None
        lines = []
        for line in process.stdout:  # ends with the process, if it ends too early
            lines.append(line.strip())
            if sum(line.startswith("curl ") for line in lines) == 4:
                break
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            assert answer.status == 200
        first = subprocess.run(["bash", "-c", lines[-1]], capture_output=True, text=True, timeout=60)
        assert json.loads(first.stdout)["abstractcore"]["constraint"]["proved"], "what it prints can be pasted"
        process.send_signal(number)
        process.communicate(timeout=60)
        watchdog.cancel()
    assert process.returncode == 0
    with pytest.raises(URLError):
        urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
