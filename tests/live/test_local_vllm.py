"""A real server that was started here: what ready means, and what its log and processes tell."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from urllib.request import urlopen

from abstractcore.deploy import runtime, vllm_server
from abstractcore.deploy.vllm_server import LISTENING
from tests.live.conftest import LiveServer


def engine_of(server: LiveServer) -> int:
    """The process that computes: without it the HTTP server still answers."""
    for pid in runtime.server_members(server.own):
        if Path(f"/proc/{pid}/comm").read_text().startswith("VLLM::EngineCor"):
            return pid
    raise AssertionError("no engine process")


def test_the_log_of_a_ready_server_says_so(tiny_vllm: LiveServer) -> None:
    assert vllm_server.stage_of(vllm_server.read_log(tiny_vllm.log_path)) == LISTENING


def test_a_frozen_engine_is_not_ready_though_its_health_is_fine(tiny_vllm: LiveServer) -> None:
    assert vllm_server.answers(tiny_vllm.base_url, tiny_vllm.model)
    engine = engine_of(tiny_vllm)
    os.kill(engine, signal.SIGSTOP)
    try:
        with urlopen(tiny_vllm.base_url.replace("/v1", "/health"), timeout=10) as health:
            assert health.status == 200
        assert not vllm_server.answers(tiny_vllm.base_url, tiny_vllm.model, limit=2.0)
    finally:
        os.kill(engine, signal.SIGCONT)
    assert vllm_server.answers(tiny_vllm.base_url, tiny_vllm.model)


def test_a_server_that_serves_another_model_is_not_ready(tiny_vllm: LiveServer) -> None:
    assert not vllm_server.answers(tiny_vllm.base_url, "another-model", limit=10.0)
