"""The router of a large fleet: its command line, and who is told what."""

from __future__ import annotations

from typing import Any

import pytest

from abstractcore.errors import ConfigurationError, ConnectionFailedError, MissingExtraError
from abstractcore.server import data_plane
from abstractcore.server.backend import Backend
from abstractcore.server.config import BackendConfig, config_of
from abstractcore.server.data_plane import FrontWatcher
from abstractcore.testing import FakeAsyncTransport, FakeServer, Reply
from abstractcore.types import ModelInfo

URLS = ["http://10.0.0.1:8000", "http://10.0.0.2:8000/v1"]


def routed() -> Backend:
    backend = Backend("vllm", BackendConfig(base_url=URLS, data_plane="vllm-router"))
    backend.set_front("http://127.0.0.1:30000")
    return backend


def test_the_command_line_names_all_replicas_and_listens_here_only() -> None:
    argv = data_plane.command_of(routed())
    assert argv[0] == "vllm-router"
    workers = argv.index("--worker-urls")
    assert argv[workers + 1 : workers + 3] == ("http://10.0.0.1:8000", "http://10.0.0.2:8000")
    assert argv[argv.index("--host") + 1] == argv[argv.index("--prometheus-host") + 1] == "127.0.0.1"


def test_a_router_that_is_not_installed_is_an_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_plane, "PROGRAM", "no-such-router")
    with pytest.raises(MissingExtraError) as caught:
        data_plane.find_program({"PATH": ""})
    assert 'pip install "abstractcore[router]"' in str(caught.value)


def test_only_vllm_has_a_router() -> None:
    with pytest.raises(ConfigurationError, match="routes to vLLM servers only"):
        Backend("ollama", BackendConfig(data_plane="vllm-router"))
    with pytest.raises(ConfigurationError, match=r"backends\.vllm\.data_plane"):
        config_of({"backends": {"vllm": {"data_plane": "haproxy"}}}, "gateway.toml")


def test_requests_go_through_the_router_and_to_the_replicas_where_it_fails() -> None:
    backend = routed()
    assert backend.take(None, None) is backend.front
    assert backend.front is not None
    assert backend.take(None, None, [backend.front]) in backend.replicas
    backend.front.vitals.fall(0.0, "it ended")
    assert backend.take(None, None) in backend.replicas


def test_an_adapter_that_not_all_replicas_have_goes_past_the_router() -> None:
    backend = routed()
    backend.replicas[0].models = [ModelInfo(id="m"), ModelInfo(id="sql", parent="m")]
    backend.replicas[1].models = [ModelInfo(id="m")]
    assert backend.take("m", None) is backend.front
    assert backend.take("sql", None) is backend.replicas[0]


async def test_the_router_is_told_which_replicas_get_no_requests() -> None:
    backend = routed()
    ok = Reply((b"ok",))
    router = FakeServer({"GET /readiness": ok, "POST /remove_worker": ok, "POST /add_worker": ok})
    assert backend.front is not None
    watcher = FrontWatcher(backend, backend.front, FakeAsyncTransport(router))
    await watcher.look()
    assert router.paths() == ["GET /readiness"]
    backend.replicas[1].vitals.fall(0.0, "it is frozen")
    await watcher.look()
    await watcher.look()
    backend.replicas[1].vitals.rise(1.0)
    await watcher.look()
    told = [call.url.rpartition("/")[2] for call in router.calls if call.method == "POST"]
    assert told == [f"{verb}_worker?url=http%3A%2F%2F10.0.0.2%3A8000" for verb in ("remove", "add")]


@pytest.mark.parametrize("outcome", [Reply(status=503), ConnectionFailedError("refused")])
async def test_a_router_that_is_not_ready_gets_no_requests(outcome: Any) -> None:
    backend = routed()
    assert backend.front is not None
    router = FakeServer({"GET /readiness": [outcome, Reply((b"ok",))]})
    watcher = FrontWatcher(backend, backend.front, FakeAsyncTransport(router))
    await watcher.look()
    assert not backend.front.up
    await watcher.look()
    assert backend.front.up
