from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from abstractcore.deploy.supervisor import KEY_VARIABLE, MODULE, SUPERVISOR

TELLS = "import os, sys; print(sys.argv[1:], os.environ.get('VLLM_API_KEY'), flush=True); sys.exit({code})"


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """The file of a module that stands where vLLM's server does."""
    path = tmp_path.joinpath(*MODULE.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True)
    return path


def start(server: Path, *arguments: str, key: Path | None = None) -> subprocess.Popen[str]:
    environment = {"PYTHONPATH": str(server.parents[3]), **({KEY_VARIABLE: str(key)} if key else {})}
    argv = [sys.executable, "-c", SUPERVISOR, *arguments]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_key_comes_from_its_file_and_arguments_stay_as_they_are(server: Path, tmp_path: Path) -> None:
    server.write_text(TELLS.format(code=0))
    key = tmp_path / "key"
    key.write_text("s3cret\n")
    odd = ["--model", 'it\'s $(touch x); `y` "z"', "--json", '{"a": [1]}']
    process = start(server, *odd, key=key)
    out, _ = process.communicate(timeout=30)
    assert out == f"{odd} s3cret\n"
    assert isinstance(process.args, list)
    assert all("s3cret" not in str(word) for word in process.args)


def test_the_socket_of_an_earlier_server_is_gone_before_the_next_starts(server: Path, tmp_path: Path) -> None:
    server.write_text("import os, sys; print(os.path.exists(sys.argv[2]))")
    socket = tmp_path / "vllm.sock"
    socket.touch()
    assert start(server, "--uds", str(socket)).communicate(timeout=30)[0] == "False\n"


def test_a_server_without_a_key_file_gets_no_key(server: Path) -> None:
    server.write_text(TELLS.format(code=3))
    process = start(server)
    assert process.communicate(timeout=30)[0] == "[] None\n"
    assert process.returncode == 3


def test_an_empty_key_stops_the_start(server: Path, tmp_path: Path) -> None:
    server.write_text(TELLS.format(code=0))
    key = tmp_path / "key"
    key.write_text("\n")
    process = start(server, key=key)
    out, err = process.communicate(timeout=30)
    assert (out, process.returncode) == ("", 1)
    assert f"{key} is empty" in err


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("raise SystemExit(0)", 1),  # as vLLM does when its engine has died
        ("raise SystemExit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", 137),
    ],
)
def test_what_was_not_asked_for_is_a_failure(server: Path, ending: str, code: int) -> None:
    server.write_text(ending)
    process = start(server)
    process.communicate(timeout=30)
    assert process.returncode == code


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_reaches_the_server_and_is_told_from_a_failure(server: Path, asked: signal.Signals) -> None:
    server.write_text(
        "import os, signal, sys\n"
        "def end(number, frame):\n    os.write(1, b'drained\\n')\n    sys.exit(0)\n"
        f"signal.signal({int(asked)}, end)\nos.write(1, b'ready\\n')\nwhile True: signal.pause()\n"
    )
    with start(server) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(asked)
        out, _ = process.communicate(timeout=30)
    assert out == "drained\n"
    assert process.returncode == 128 + asked


def test_no_engine_outlives_its_server(server: Path) -> None:
    server.write_text(
        "import os, signal\n"
        "if os.fork() == 0:\n    print('engine', flush=True)\n    signal.pause()\n"
        "os.read(0, 1)\nos.kill(os.getpid(), 9)\n"
    )
    argv = [sys.executable, "-c", SUPERVISOR]
    environment = {**os.environ, "PYTHONPATH": str(server.parents[3])}
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"engine\n"
        process.stdin.write(b"x")
        process.stdin.flush()
        # The engine holds the pipe as long as it lives: an end of it means that nobody is left.
        assert process.stdout.read() == b""
        assert process.wait(timeout=30) == 137
