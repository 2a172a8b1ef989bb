"""``up`` in the private profile: a network of its own, nothing published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.daemon import Docker
from tests.container.shell import Running, Shell, brought_up


@pytest.fixture(scope="module")
def private(shell: Shell, tiny_model: Path) -> Iterator[Running]:
    yield from brought_up(shell, tiny_model, "private")


def test_the_client_on_the_private_network_gets_a_real_answer(docker: Docker, private: Running) -> None:
    assert private.document["base_url"] == "http://vllm-server:8000/v1"
    assert private.document["completion"]["output_tokens"] > 0
    found = docker.inspect(private.server)
    assert found["HostConfig"]["PortBindings"] == {}
    assert found["HostConfig"]["IpcMode"] == "private"
    size = "import os; s = os.statvfs('/dev/shm'); print(s.f_blocks * s.f_frsize)"
    assert int(docker("exec", private.server, "python3", "-c", size)) == found["HostConfig"]["ShmSize"] >= 2**28


def test_the_doctor_finds_nothing_broken(private: Running) -> None:
    found = private.examined()
    for check in ("container.flags", "container.secrets", "container.user", "container.privileges", "server.health",
                  "server.models", "server.regex", "client.url", "client.key_file"):  # fmt: skip
        assert found[check] == {"ok"}, check


def test_a_container_that_is_gone_is_missed(docker: Docker, private: Running) -> None:
    docker("rm", "--force", private.client)
    status = private.shell("status", *private.project)
    assert status.returncode == 3
    assert "missing" in status.stdout
