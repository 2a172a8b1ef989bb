"""``abstractcore doctor`` on real containers that it did not start, badly configured ones among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from abstractcore.cli.main import cli
from tests.container import images
from tests.container.conftest import Containers
from tests.container.daemon import Docker

SERVE = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{}")
http.server.HTTPServer(("0.0.0.0", 8000), Answer).serve_forever()
"""


@pytest.fixture(scope="module")
def python(docker: Docker) -> str:
    """An image with Python, in which a web server or a client can stand for the real ones."""
    return images.python_base(docker)


def examined(*arguments: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit code, and the findings by check."""
    done = CliRunner().invoke(cli, ["doctor", "--json", *arguments], catch_exceptions=False)
    document = json.loads(done.stdout)
    assert document["schema"] == "abstractcore.doctor/1"
    found: dict[str, list[dict[str, Any]]] = {}
    for row in document["findings"]:
        found.setdefault(row["id"], []).append(row)
    return done.exit_code, found


def verdicts(found: dict[str, list[dict[str, Any]]], check: str) -> set[str]:
    return {row["verdict"] for row in found.get(check, [])}


def test_a_badly_started_pair(docker: Docker, containers: Containers, python: str, tmp_path: Path) -> None:
    weights = tmp_path / "model"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"weights")
    (weights / "model.safetensors").chmod(0o600)
    weights.chmod(0o755)
    tmp_path.chmod(0o755)
    network = containers.network()
    bad = (
        "--network", network, "--publish", "0.0.0.0:0:8000", "--user", "1234:1234",
        "--volume", f"{weights}:/models/m:ro", "--tmpfs", "/tmp:noexec",
        "--env", "NCCL_P2P_DISABLE=true", "--env", "VLLM_SERVER_DEV_MODE=1", "--env", "HF_TOKEN=hf_secret",
        "--restart", "on-failure:3", "--health-cmd", "curl http://localhost:8000/v1/models",
    )  # fmt: skip
    server = containers.start(python, "python3", "-c", SERVE, "--model", "/models/m", options=bad)
    client = containers.start(
        python, "sleep", "600", options=("--env", "VLLM_BASE_URL=http://vllm-server:8000/v1", "--env", "http_proxy=p:1")
    )
    code, found = examined("--server", server, "--client", client)
    assert code == 3
    for check, verdict, text in [
        ("container.shm", "warning", "64 MiB"),
        ("container.noexec", "error", "/tmp"),
        ("container.weights", "error", "model.safetensors: Permission denied"),
        ("container.nccl", "error", "'true'"),
        ("container.development", "error", "VLLM_SERVER_DEV_MODE"),
        ("container.exposure", "error", "0.0.0.0:"),
        ("container.secrets", "warning", "HF_TOKEN"),
        ("container.restart", "warning", "on failure"),
        ("container.healthcheck", "warning", "/v1/models"),
        ("client.url", "error", "the name can't be resolved"),
        ("client.proxy", "error", "no_proxy"),
    ]:
        assert [row for row in found[check] if row["verdict"] == verdict and text in row["measured"]], found[check]
    assert "default bridge" in found["client.url"][0]["why"]
    assert "hf_secret" not in json.dumps(found)
    assert {row["subject"] for row in found["container.user"] if row["verdict"] == "warning"} == {client}


def test_the_way_from_the_client_is_tried_in_its_own_container(
    containers: Containers, python: str, docker: Docker
) -> None:
    network = containers.network()
    server = containers.start(python, "python3", "-c", SERVE, options=("--network", network))
    docker.wait_for_port(server, 8000)
    for host, verdict in ((server, "ok"), ("localhost", "error")):
        client = containers.start(
            python,
            "sleep",
            "600",
            options=("--network", network, "--env", f"VLLM_BASE_URL=http://{host}:8000/v1"),
        )
        _, found = examined("--server", server, "--client", client, "--only", "client.url,server.health")
        assert verdicts(found, "client.url") == {verdict}, found
        assert verdicts(found, "server.health") == {"ok"}, found
    assert "the container itself" in found["client.url"][0]["why"]


def test_a_container_that_is_not_there_or_has_ended(containers: Containers, python: str, docker: Docker) -> None:
    code, found = examined("--server", "abstractcore-test-none", "--only", "container")
    assert code == 3
    assert "no container" in found["container.running"][0]["measured"]
    ended = containers.start(python, "python3", "-c", "import sys; sys.exit(7)")
    docker.wait(ended, "exited", limit=30)
    _, found = examined("--server", ended, "--only", "container.running")
    assert "exit code 7" in found["container.running"][0]["measured"]


def test_repairs_are_shown_and_done(containers: Containers, python: str, docker: Docker) -> None:
    network = containers.network()
    options = ("--network", network, "--restart", "on-failure", "--network-alias", "vllm-server")
    server = containers.start(python, "python3", "-c", SERVE, options=options)
    docker.wait_for_port(server, 8000)
    url = ("--env", "VLLM_BASE_URL=http://vllm-server:8000/v1")
    client = containers.start(python, "sleep", "600", options=("--network", containers.network(), *url))
    which = ("--server", server, "--client", client, "--only", "container.restart,client.url")
    done = CliRunner().invoke(cli, ["doctor", "--fix", "--yes", *which])
    assert done.exit_code == 3  # what it found before it mended
    assert f"done: docker network connect {network} {client}" in done.stderr
    code, found = examined(*which)
    assert code == 0
    assert verdicts(found, "container.restart") == verdicts(found, "client.url") == {"ok"}


def test_no_daemon_is_a_finding(monkeypatch: pytest.MonkeyPatch, docker: Docker, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    code, found = examined("--only", "host.daemon")
    assert code == 3
    assert "no Docker daemon answers" in found["host.daemon"][0]["measured"]
