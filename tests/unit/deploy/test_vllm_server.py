"""The command line of a server, its start, and what its log says when it fails."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from abstractcore.deploy import runtime, vllm_server
from abstractcore.deploy.local_vllm import choose
from abstractcore.deploy.nvidia_smi import Gpu
from abstractcore.deploy.progress import Progress
from abstractcore.deploy.vllm_server import LISTENING, ServerSpec, died, read_log, ready_plan, small_server, stage_of
from abstractcore.errors import DeployError
from abstractcore.wire.call import Answer, Call
from tests.conftest import TESTS

LOGS = TESTS / "recordings" / "vllm-logs"


def value_of(spec: ServerSpec, flag: str) -> str:
    argv = spec.argv()
    return argv[argv.index(flag) + 1]


def test_the_cpu_server_listens_on_this_machine_only_and_stays_small(tmp_path: Path) -> None:
    spec = small_server(choose((), tmp_path), Path("/m"), name="small", port=8001, args=("--enable-lora",))
    assert spec.argv()[1:3] == ("-m", "vllm.entrypoints.openai.api_server")
    assert value_of(spec, "--host") == "127.0.0.1"
    assert value_of(spec, "--port") == "8001"
    assert value_of(spec, "--served-model-name") == "small"
    assert spec.argv()[-1] == "--enable-lora"
    assert spec.base_url == "http://127.0.0.1:8001/v1"
    env = spec.environ({"PATH": "/bin", "PYTHONDONTWRITEBYTECODE": "1"})
    assert env["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert env["HF_HUB_OFFLINE"] == "1"
    assert "PYTHONDONTWRITEBYTECODE" not in env


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), "half"), ((8, 9), "bfloat16")])
def test_the_gpu_server_takes_a_part_of_the_gpu(tmp_path: Path, capability: tuple[int, int], dtype: str) -> None:
    environment = choose([Gpu(2, "a GPU", capability, 16384, 16000)], tmp_path)
    spec = small_server(environment, Path("/m"), name="small", port=8001)
    assert value_of(spec, "--gpu-memory-utilization") == "0.250"
    assert value_of(spec, "--dtype") == dtype
    assert spec.environ({})["CUDA_VISIBLE_DEVICES"] == "2"


# --- readiness -------------------------------------------------------------------------------------------------------


def test_ready_means_a_token() -> None:
    plan = ready_plan("http://h:1/v1", "m")
    health = next(plan)
    assert isinstance(health, Call)
    assert (health.method, health.url) == ("GET", "http://h:1/health")
    token = plan.send(Answer(200, {}))
    assert isinstance(token, Call)
    assert (token.method, token.url) == ("POST", "http://h:1/v1/completions")
    assert b'"max_tokens": 1' in (token.body or b"")
    assert token.timeouts.total is not None
    with pytest.raises(StopIteration) as done:
        plan.send(Answer(200, {}))
    assert done.value.value is True


@pytest.mark.parametrize("answers", [[503], [200, 500]], ids=["health", "token"])
def test_any_failure_means_not_ready(answers: list[int]) -> None:
    plan = ready_plan("http://h:1/v1", "m")
    next(plan)
    for status in answers[:-1]:
        plan.send(Answer(status, {}))
    with pytest.raises(StopIteration) as done:
        plan.send(Answer(answers[-1], {}))
    assert done.value.value is False


# --- logs of real servers --------------------------------------------------------------------------------------------


def test_the_log_tells_how_far_the_start_has_come() -> None:
    log = read_log(LOGS / "started.log")
    stages = list(dict.fromkeys(stage_of(log[:count]) for count in range(len(log) + 1)))
    assert stages == [
        "importing vLLM",
        "reading the model's configuration",
        "starting the engine",
        "starting the worker",
        "loading the weights",
        "preparing the cache",
        "warming up",
        "starting the HTTP server",
        LISTENING,
    ]


@pytest.mark.parametrize(
    ("name", "message", "why", "hint"),
    [
        ("port-taken", "the port is taken", "OSError: [Errno 98] Address already in use", "--port"),
        ("small-shm", "/dev/shm is too small", "160 MiB required, 64 MiB free", "/dev/shm"),
        ("no-weights", "no weights", "Cannot find any model weights", "delete the model's folder"),
        ("cut-weights", "damaged", "SafetensorError: Error while deserializing header", "delete the model's folder"),
        ("too-much-cache", "not enough memory", "is less than requested memory", "memory"),
        ("bad-argument", "vLLM ended", "disable_any_whitespace is only supported for xgrammar", "the whole log"),
    ],
)
def test_a_failed_start_names_its_first_cause(name: str, message: str, why: str, hint: str) -> None:
    error = died(read_log(LOGS / f"{name}.log"), "/logs/server.log")
    assert message in error.message
    assert why in (error.why or "")
    assert hint in (error.hint or "")
    assert "/logs/server.log" in (error.hint or "")
    assert error.log_tail


def test_a_server_that_said_nothing_may_have_been_killed() -> None:
    assert "killed" in (died([], "log").why or "")


# --- starting one: a small server in place of vLLM -------------------------------------------------------------------

STAND_IN = """
import http.server, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
{before}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"])); self.do_GET()
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler)
print("INFO:     Application startup complete.", flush=True)
server.serve_forever()
"""


@pytest.fixture
def spec(tmp_path: Path, loopback: None) -> Iterator[ServerSpec]:
    import socket
    import sys

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    yield ServerSpec(Path(sys.executable), Path("/m"), "small", port, env={"PYTHONPATH": str(tmp_path)})
    server = runtime.find_server(tmp_path / "server.json")
    if server:
        runtime.stop_server(server, grace=0.1)


def stand_in(folder: Path, before: str = "") -> None:
    package = folder / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    (package / "api_server.py").write_text(STAND_IN.format(before=textwrap.dedent(before)))


def group_of(log: Path) -> tuple[int, ...]:
    return tuple(row.pid for row in runtime._table() if runtime._writes_to(row.pid, str(log)))


def test_start_returns_when_the_server_answers(tmp_path: Path, spec: ServerSpec) -> None:
    stand_in(tmp_path)
    seen: list[Progress] = []
    log, pid_file = tmp_path / "server.log", tmp_path / "server.json"
    server = vllm_server.start(spec, log=log, pid_file=pid_file, report=seen.append)
    assert vllm_server.answers(spec.base_url, "small", limit=10)
    assert runtime.find_server(pid_file) == server
    assert server.note == {"base_url": spec.base_url, "model": "small"}
    assert {report.phase for report in seen} == {"load", "ready"}
    runtime.stop_server(server)
    assert group_of(log) == ()


def test_a_server_that_ends_takes_its_children_along(tmp_path: Path, spec: ServerSpec) -> None:
    stand_in(tmp_path, "print('RuntimeError: no luck', flush=True); sys.exit(0)")
    log, pid_file = tmp_path / "server.log", tmp_path / "server.json"
    with pytest.raises(DeployError) as caught:
        vllm_server.start(spec, log=log, pid_file=pid_file)
    assert caught.value.why == "RuntimeError: no luck"
    assert group_of(log) == ()
    assert not pid_file.exists()


def test_a_server_that_never_gets_ready_is_stopped(tmp_path: Path, spec: ServerSpec) -> None:
    stand_in(tmp_path, "print('Starting to load model /m', flush=True); time.sleep(60)")
    log, pid_file = tmp_path / "server.log", tmp_path / "server.json"
    with pytest.raises(DeployError, match="not ready in time") as caught:
        vllm_server.start(spec, log=log, pid_file=pid_file, limit=1.0)
    assert "it got as far as" in (caught.value.why or "")
    assert group_of(log) == ()


def test_a_server_that_listens_but_never_answers_is_stopped(
    tmp_path: Path, spec: ServerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path)
    monkeypatch.setattr(vllm_server, "_FIRST_TOKEN", 0.2)
    monkeypatch.setattr(vllm_server, "answers", lambda *_: False)
    log, pid_file = tmp_path / "server.log", tmp_path / "server.json"
    with pytest.raises(DeployError) as caught:
        vllm_server.start(spec, log=log, pid_file=pid_file)
    assert "no token" in (caught.value.why or "")
    assert group_of(log) == ()


def test_an_interrupted_start_leaves_no_process(tmp_path: Path, spec: ServerSpec) -> None:
    stand_in(tmp_path, "time.sleep(60)")

    def interrupted(_: Progress) -> None:
        raise KeyboardInterrupt

    log, pid_file = tmp_path / "server.log", tmp_path / "server.json"
    with pytest.raises(KeyboardInterrupt):
        vllm_server.start(spec, log=log, pid_file=pid_file, report=interrupted)
    assert group_of(log) == ()
    assert not pid_file.exists()
