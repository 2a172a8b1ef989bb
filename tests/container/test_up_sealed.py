"""``up`` in the sealed profile: a socket in place of a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.daemon import Docker
from tests.container.shell import Running, Shell, brought_up, document_of


@pytest.fixture(scope="module")
def sealed(shell: Shell, tiny_model: Path) -> Iterator[Running]:
    yield from brought_up(shell, tiny_model, "sealed")


def test_over_a_socket_the_client_gets_a_real_answer_without_any_network(docker: Docker, sealed: Running) -> None:
    assert sealed.document["base_url"] == "unix:///run/vllm/vllm.sock"
    assert sealed.document["completion"]["output_tokens"] > 0
    for name in sealed.document["containers"]:
        found = docker.inspect(name)
        assert found["HostConfig"]["NetworkMode"] == "none"
        assert found["HostConfig"]["ReadonlyRootfs"] is True
        assert found["HostConfig"]["CapDrop"] == ["ALL"]
        assert found["Config"]["User"] not in {"", "0", "0:0"}


def test_the_doctor_finds_nothing_broken(sealed: Running) -> None:
    found = sealed.examined()
    for check in ("container.flags", "container.secrets", "container.user", "container.privileges", "server.health",
                  "server.models", "server.regex", "client.url", "client.key_file"):  # fmt: skip
        assert found[check] == {"ok"}, check


def test_a_server_that_was_killed_takes_its_socket_again(docker: Docker, sealed: Running) -> None:
    docker("kill", sealed.server)  # its socket stays: the client still holds the volume
    docker("start", sealed.server)
    again = document_of(sealed.up("--json", "--timeout", "600"))
    assert again["completion"]["output_tokens"] > 0
