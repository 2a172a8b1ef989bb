"""Topology: the address that works, and what a failed connection means. Real containers confirm both."""

from __future__ import annotations

from pathlib import Path

import pytest

from abstractcore.errors import ConnectionFailedError, RequestTimeoutError
from abstractcore.providers.endpoint import Endpoint, explained
from abstractcore.topology import Cause, Client, Failure, Here, Published, Server, cause, here, reach

HOST = Server(network="host", bind="127.0.0.1")
OPEN_HOST = Server(network="host", bind="172.17.0.1")
PRIVATE = Server(network="llm", names=("vllm-server",))
ON_LOOPBACK = Server(network="llm", names=("vllm-server",), published=(Published(9000),))
ON_GATEWAY = Server(network="bridge", published=(Published(9000, "172.17.0.1"),))


@pytest.mark.parametrize(
    ("server", "client", "base_url"),
    [
        (HOST, Client(network="host"), "http://localhost:8000/v1"),
        (OPEN_HOST, Client(network="host"), "http://172.17.0.1:8000/v1"),
        (OPEN_HOST, Client(network="bridge", host_gateway=True), "http://host.docker.internal:8000/v1"),
        (OPEN_HOST, Client(network="llm", host_gateway=True), "http://host.docker.internal:8000/v1"),
        (Server(network="host"), Client(network="bridge", engine="podman"), "http://host.containers.internal:8000/v1"),
        (Server(network="host", bind="10.0.0.5"), Client(network="bridge"), "http://10.0.0.5:8000/v1"),
        (PRIVATE, Client(network="llm"), "http://vllm-server:8000/v1"),
        (ON_LOOPBACK, Client(network="llm"), "http://vllm-server:8000/v1"),
        (PRIVATE, Client(network="container:vllm-server"), "http://localhost:8000/v1"),
        (ON_LOOPBACK, Client(network="host"), "http://127.0.0.1:9000/v1"),
        (ON_GATEWAY, Client(network="llm", host_gateway=True), "http://host.docker.internal:9000/v1"),
        (ON_GATEWAY, Client(network="bridge", host_gateway=True), "http://host.docker.internal:9000/v1"),
        (Server(network="none", socket="/run/v.sock"), Client(network="none"), "unix:///run/v.sock"),
        (Server(network="host", bind="fd00::5"), Client(network="host"), "http://[fd00::5]:8000/v1"),
    ],
)
def test_the_address_that_works(server: Server, client: Client, base_url: str) -> None:
    assert reach(server, client).base_url == base_url


@pytest.mark.parametrize(
    ("server", "client", "why", "cure"),
    [
        (HOST, Client(network="bridge", host_gateway=True), "loopback", "--host 172.17.0.1"),
        (OPEN_HOST, Client(network="llm"), "host.docker.internal", "--add-host host.docker.internal:host-gateway"),
        (PRIVATE, Client(network="host"), "not published", "-p 127.0.0.1:8000:8000"),
        (PRIVATE, Client(network="other"), "'llm', the client on 'other'", "one user network"),
        (PRIVATE, Client(network="container:other"), "'other'", "one user network"),
        (ON_LOOPBACK, Client(network="other", host_gateway=True), "host's loopback", "one user network"),
        (Server(network="bridge", names=("vllm-server",)), Client(network="bridge"), "no names", "one user network"),
        (Server(network="llm", bind="127.0.0.1", names=("s",)), Client(network="llm"), "own container", "0.0.0.0"),
        (Server(network="none"), Client(network="llm"), "server has no network", "--uds"),
        (PRIVATE, Client(network="none"), "client has no network", "--uds"),
    ],
)
def test_where_no_address_works_there_is_a_reason_and_a_cure(
    server: Server, client: Client, why: str, cure: str
) -> None:
    found = reach(server, client)
    assert found.base_url is None
    assert why in found.why
    assert cure in " ".join(found.cures)


def test_paths_through_the_userland_proxy_are_known() -> None:
    assert reach(ON_LOOPBACK, Client(network="host")).through_proxy
    assert reach(ON_GATEWAY, Client(network="bridge", host_gateway=True)).through_proxy
    assert not reach(PRIVATE, Client(network="llm")).through_proxy
    assert not reach(OPEN_HOST, Client(network="bridge", host_gateway=True)).through_proxy


PLAIN = Here()
DEFAULT = Here(in_container=True, own_network=True)
USER = Here(in_container=True, own_network=True, container_dns=True)


@pytest.mark.parametrize(
    ("base_url", "failure", "where", "message", "hint"),
    [
        ("http://localhost:8000/v1", "refused", USER, "is the container itself", "http://vllm-server:8000/v1"),
        ("http://127.0.0.1:8000/v1", "refused", DEFAULT, "is the container itself", "host-gateway"),
        ("http://host.docker.internal:8000/v1", "unknown-host", DEFAULT, "does not know", "--add-host"),
        ("http://host.docker.internal:8000/v1", "unknown-host", PLAIN, "inside of containers", "http://localhost:8000"),
        ("http://host.docker.internal:8000/v1", "refused", USER, "no connections from containers", "--host 172.17.0.1"),
        ("http://host.docker.internal:8000/v1", "timeout", USER, "no connections from containers", "--host 172.17.0.1"),
        ("http://host.containers.internal:8000/v1", "refused", USER, "no connections", "--host 10.88.0.1"),
        ("http://vllm-server:9000/v1", "refused", USER, "nothing listens on its port 9000", "not the published one"),
        ("http://vllm-server:8000/v1", "unknown-host", USER, "no container called", "docker network connect"),
        ("http://vllm-server:8000/v1", "unknown-host", DEFAULT, "default bridge", "docker network create"),
        ("http://vllm-server:8000/v1", "unknown-host", PLAIN, "does not know the name", "-p 127.0.0.1:8000:8000"),
        ("http://127.0.0.1:8000/v1", "closed", PLAIN, "closed at once", "before its server listens"),
    ],
)
def test_a_failed_connection_is_explained(
    base_url: str, failure: Failure, where: Here, message: str, hint: str
) -> None:
    found = cause(base_url, failure, where)
    assert found is not None
    assert message in found.message
    assert hint in found.hint


@pytest.mark.parametrize(
    ("base_url", "failure", "where"),
    [
        ("http://localhost:8000/v1", "refused", PLAIN),
        ("http://gpu-box:8000/v1", "refused", PLAIN),
        ("https://api.example.com/v1", "unknown-host", USER),
        ("http://10.0.0.5:8000/v1", "timeout", USER),
        ("http+unix://%2Frun%2Fvllm.sock/v1", "refused", USER),
        ("http://api.example.com/v1", "closed", PLAIN),
    ],
)
def test_where_the_topology_is_not_to_blame_nothing_is_claimed(base_url: str, failure: Failure, where: Here) -> None:
    assert cause(base_url, failure, where) is None


def test_a_proxy_of_the_environment_comes_first() -> None:
    found = cause("http://vllm-server:8000/v1", "refused", USER, proxy="squid:3128")
    assert found == Cause(
        "http://vllm-server:8000/v1 was asked of the proxy squid:3128, which the environment names, and that failed",
        "reach it directly: export no_proxy=vllm-server,localhost",
    )


def test_the_facts_about_this_process(tmp_path: Path) -> None:
    assert here(tmp_path) == PLAIN
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").write_text("nameserver 127.0.0.11\n")
    eth0 = tmp_path / "sys/class/net/eth0"
    eth0.mkdir(parents=True)
    (eth0 / "ifindex").write_text("2\n")
    (eth0 / "iflink").write_text("7\n")
    assert here(tmp_path) == PLAIN
    (tmp_path / ".dockerenv").touch()
    assert here(tmp_path) == USER
    (tmp_path / "etc/resolv.conf").write_text("nameserver 9.9.9.9\n")
    assert here(tmp_path) == DEFAULT
    (tmp_path / "etc/resolv.conf").write_text("search dns.podman\nnameserver 10.89.0.1\n")
    assert here(tmp_path) == USER
    (tmp_path / "etc/resolv.conf").write_text("nameserver 9.9.9.9\n")
    (eth0 / "iflink").write_text("2\n")  # a network card: this is the host's network
    assert here(tmp_path) == Here(in_container=True)
    (eth0 / "iflink").write_text("7\n")
    (tmp_path / "sys/class/net/docker0").mkdir()
    assert here(tmp_path) == Here(in_container=True)


def test_an_error_begins_with_the_cause_and_keeps_the_systems_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("abstractcore.topology.ROOT", tmp_path)
    (tmp_path / ".dockerenv").touch()
    error = ConnectionFailedError("cannot connect: Connection refused", url="http://localhost:8000/v1/models")
    error.refused = True
    lines = str(explained(Endpoint("vllm", "http://localhost:8000/v1"), error)).splitlines()
    assert lines[0].startswith("localhost inside this container is the container itself")
    assert lines[1] == "why: cannot connect: Connection refused"


def test_a_proxy_that_fails_is_named_with_the_variable_that_cures_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:secret@squid:3128")
    error = RequestTimeoutError("no connection within 10 s", url="http://vllm-server:8000/v1/models")
    text = str(explained(Endpoint("vllm", "http://vllm-server:8000/v1"), error))
    assert "the proxy squid:3128" in text
    assert "no_proxy=vllm-server" in text
    assert "secret" not in text
