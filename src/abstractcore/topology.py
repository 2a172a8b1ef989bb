"""Which address leads from a client to a server, by where the two run; and what a failed connection says about that.

Pure: ``reach`` decides by the topology alone, ``cause`` by the facts in ``Here``, which ``here`` gathers. The table was
verified between real containers (``tests/container/test_topology.py``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

HOST: Final = "host"
NONE: Final = "none"
DEFAULT_BRIDGE: Final = "bridge"
SHARED: Final = "container:"
"""Begins the network of a container that uses another one's: ``container:vllm-server``."""
GATEWAYS: Final[Mapping[str, str]] = {"docker": "172.17.0.1", "podman": "10.88.0.1"}
"""The host's address on the default bridge, unless the engine is configured otherwise."""
HOST_NAMES: Final[Mapping[str, str]] = {"docker": "host.docker.internal", "podman": "host.containers.internal"}
"""By which a container calls its host; Docker on Linux knows it only when ``--add-host`` says so."""
ROOT = Path("/")
"""Where the facts about this process are looked up."""

Engine: TypeAlias = Literal["docker", "podman"]
Failure: TypeAlias = Literal["refused", "unknown-host", "timeout", "closed"]


@dataclass(frozen=True, slots=True)
class Published:
    """A port of the host that leads to the server's."""

    host_port: int
    address: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a server runs and listens."""

    network: str
    """``host`` (also a process outside containers), ``none``, ``bridge`` (the default one), or a user network."""
    port: int = 8000
    bind: str = "0.0.0.0"  # noqa: S104 - what a server does that is told nothing else
    """The address that it listens on."""
    names: tuple[str, ...] = ()
    """Its name and aliases on a user network."""
    published: tuple[Published, ...] = ()
    socket: str | None = None
    """Path of its Unix socket, where client and server see it alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Where a client runs."""

    network: str
    """As of the server; or ``container:NAME``, which shares the network of a container."""
    host_gateway: bool = False
    """Whether it was started with ``--add-host host.docker.internal:host-gateway``."""
    engine: Engine = "docker"


@dataclass(frozen=True, slots=True)
class Reach:
    """The address that leads from a client to a server, or why there is none."""

    base_url: str | None
    """For ``VLLM_BASE_URL``; ``None`` when no address works."""
    why: str
    """One sentence."""
    cures: tuple[str, ...] = ()
    """What would make an address work."""
    through_proxy: bool = False
    """Whether Docker's userland proxy copies every byte, which costs more than all the rest of Docker's networking."""


def reach(server: Server, client: Client, *, gateway: str | None = None) -> Reach:
    """The address that leads from ``client`` to ``server``.

    Args:
        server: Where the server is.
        client: Where the client is.
        gateway: The host's address on the default bridge; the engine's usual one when left out.
    """
    gateway = gateway or GATEWAYS[client.engine]
    if server.socket is not None:
        return Reach(f"unix://{server.socket}", "a Unix socket in a folder that both mount needs no network")
    if NONE in (server.network, client.network):
        who = "server" if server.network == NONE else "client"
        cure = "serve on a Unix socket in a shared folder: --uds /run/vllm/vllm.sock"
        return Reach(None, f"the {who} has no network", (cure, "put both on one user network"))
    if client.network.startswith(SHARED):
        return _inside(server, client)
    if client.network == server.network == HOST:
        return Reach(_url(_dialled(server.bind), server.port), "both are on the host's network")
    if client.network == HOST:
        return _published(server)
    if server.network == HOST:
        return _host_server(server, client, gateway)
    return _between_containers(server, client, gateway)


def _inside(server: Server, client: Client) -> Reach:
    if client.network.removeprefix(SHARED) in server.names:
        return Reach(_url(_dialled(server.bind), server.port), "the client shares the server's network")
    return Reach(None, f"the client's network is that of {client.network.removeprefix(SHARED)!r}", (_ONE_NETWORK,))


def _published(server: Server) -> Reach:
    """From the host into a container."""
    if _is_loopback(server.bind):
        return _own_loopback(server)
    if not server.published:
        cures = (f"publish the port on loopback: -p 127.0.0.1:{server.port}:{server.port}", "run the client beside it")
        return Reach(None, "the server's port is not published, so only containers of its network reach it", cures)
    port = server.published[0]
    address = "127.0.0.1" if _is_any(port.address) or _is_loopback(port.address) else port.address
    why = f"port {server.port} of the container is published as {port.host_port}"
    return Reach(_url(address, port.host_port), why, through_proxy=_is_loopback(address))


def _host_server(server: Server, client: Client, gateway: str) -> Reach:
    """From a bridge to the host's own network."""
    if _is_loopback(server.bind):
        cures = (f"let the server listen on the bridge: --host {gateway}", _ONE_NETWORK)
        return Reach(None, "the server listens on the host's loopback, which no bridge leads to", cures)
    return _to_host(server.bind, server.port, client, gateway, through_proxy=False)


def _between_containers(server: Server, client: Client, gateway: str) -> Reach:
    if _is_loopback(server.bind):
        return _own_loopback(server)
    together = client.network == server.network
    if together and server.network != DEFAULT_BRIDGE and server.names:
        return Reach(_url(server.names[0], server.port), f"both are on the network {server.network!r}")
    outside = [port for port in server.published if not _is_loopback(port.address)]
    if outside:
        return _to_host(outside[0].address, outside[0].host_port, client, gateway, through_proxy=True)
    if together:
        why = "the default bridge has no names" if server.network == DEFAULT_BRIDGE else "the server has no name there"
        return Reach(None, f"both are on the network {server.network!r}, but {why}", (_ONE_NETWORK,))
    apart = f"the server is on the network {server.network!r}, the client on {client.network!r}"
    if server.published:
        apart += ", and the published port listens on the host's loopback, which no bridge leads to"
    return Reach(None, apart, (_ONE_NETWORK,))


def _to_host(bind: str, port: int, client: Client, gateway: str, *, through_proxy: bool) -> Reach:
    """From a bridge to a port that listens on an address of the host."""
    if not _is_any(bind) and bind != gateway:
        return Reach(_url(bind, port), f"the host's address {bind} is reached from bridges", (), through_proxy)
    name = HOST_NAMES[client.engine]
    if client.engine == "docker" and not client.host_gateway:
        why = f"Docker on Linux gives a container no name for its host, and so no {name}"
        return Reach(None, why, (f"start the client with --add-host {name}:host-gateway", _ONE_NETWORK))
    return Reach(_url(name, port), f"{name} is the host, seen from a bridge", (), through_proxy)


def _own_loopback(server: Server) -> Reach:
    why = f"the server listens on {server.bind} inside its own container, where nobody else gets"
    return Reach(None, why, ("let it listen on all addresses of its container: --host 0.0.0.0",))


_ONE_NETWORK: Final = "put both on one user network (docker network create NAME) and call the server by its name"


@dataclass(frozen=True, slots=True)
class Here:
    """What a process can tell of where it runs."""

    in_container: bool = False
    own_network: bool = False
    """Whether its container has a network of its own, and so a loopback of its own."""
    container_dns: bool = False
    """Whether names of containers are resolved: so on user networks, not on the default bridge."""


def here(root: Path | None = None) -> Here:
    """Looks up where this process runs.

    Args:
        root: The root folder, for tests.
    """
    root = ROOT if root is None else root
    if not any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv")):
        return Here()
    try:
        resolver = (root / "etc/resolv.conf").read_text(encoding="utf-8")
    except OSError:
        resolver = ""
    names = any(mark in resolver for mark in ("nameserver 127.0.0.11", "search dns.podman"))
    return Here(True, _has_own_network(root / "sys/class/net"), names)


def _has_own_network(interfaces: Path) -> bool:
    """Whether every interface but loopback is one end of a pair, whose other end is elsewhere."""
    try:
        names = set(os.listdir(interfaces)) - {"lo"}  # noqa: PTH208 - names are all that is wanted
        if any(name.startswith(_BRIDGES) for name in names):
            return False
        return all(_number(interfaces / name / "iflink") != _number(interfaces / name / "ifindex") for name in names)
    except (OSError, ValueError):
        return True


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


_BRIDGES: Final = ("docker", "br-", "veth", "podman", "cni")
"""A container host has interfaces whose names begin so; a container has not."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a connection failed."""

    message: str
    hint: str


def cause(base_url: str, failure: Failure, where: Here, *, proxy: str | None = None) -> Cause | None:
    """What a failed connection says about the topology; ``None`` when nothing is wrong with that.

    Args:
        base_url: The address that was tried.
        failure: How it failed.
        where: Where this process runs.
        proxy: The HTTP proxy that was asked instead of the server, if any.
    """
    parts = urlsplit(base_url)
    host, port = parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80)
    if parts.scheme == "http+unix":
        return None
    if proxy is not None:
        return Cause(
            f"{base_url} was asked of the proxy {proxy}, which the environment names, and that failed",
            f"reach it directly: export no_proxy={host},localhost",
        )
    if failure == "closed":
        return _closed(host, port)
    if _is_loopback(host):
        return _loopback(host, port, where)
    if host in HOST_NAMES.values():
        return _host_name(host, port, failure, where)
    if "." not in host and ":" not in host:
        return _container_name(host, port, failure, where)
    return None


def _closed(host: str, port: int) -> Cause | None:
    if not _is_loopback(host) and host not in HOST_NAMES.values():
        return None
    return Cause(
        f"port {port} of {host} is open, but closed at once: no server behind it answers (yet)",
        "a published port of a container takes connections before its server listens; wait, or read its log",
    )


def _loopback(host: str, port: int, where: Here) -> Cause | None:
    if not where.own_network:
        return None
    return Cause(
        f"{host} inside this container is the container itself, and nothing listens there on port {port}",
        f"a server in another container: put both on one user network and use http://vllm-server:{port}/v1; "
        f"a server on the host: start this container with --add-host host.docker.internal:host-gateway and use "
        f"http://host.docker.internal:{port}/v1",
    )


def _host_name(host: str, port: int, failure: Failure, where: Here) -> Cause:
    if failure != "unknown-host":
        gateway = next(GATEWAYS[engine] for engine, name in HOST_NAMES.items() if name == host)
        return Cause(
            f"the host takes no connections from containers on port {port}",
            f"the server may listen on 127.0.0.1 only: let it listen on the bridge with --host {gateway}, "
            f"or {_ONE_NETWORK}",
        )
    if not where.own_network:
        return Cause(
            f"{host} is a name for the host inside of containers, and this process runs on the host's network",
            f"use http://localhost:{port}/v1",
        )
    return Cause(
        f"this container does not know {host}",
        f"start it with --add-host {host}:host-gateway (compose: extra_hosts: ['{host}:host-gateway'])",
    )


def _container_name(host: str, port: int, failure: Failure, where: Here) -> Cause | None:
    if failure == "refused" and where.container_dns:
        return Cause(
            f"{host} is there, but nothing listens on its port {port}",
            "between containers the server's own port counts (vLLM: 8000), not the published one; "
            "or the server still loads its model: read its log",
        )
    if failure != "unknown-host":
        return None
    if not where.own_network:
        return Cause(
            f"this machine does not know the name {host!r}",
            "a container's name is known only to containers of its own network: publish its port "
            "(-p 127.0.0.1:8000:8000) and use http://127.0.0.1:8000/v1, or run in its network",
        )
    if where.container_dns:
        return Cause(
            f"no container called {host!r} is on a network of this container",
            f"docker network connect NETWORK {host}, or correct the name; one that has stopped has no name either",
        )
    return Cause(
        f"this container is on the default bridge, where the name {host!r} and all others mean nothing",
        _ONE_NETWORK,
    )


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


def _dialled(bind: str) -> str:
    """The address to call for one to listen on, on the same machine."""
    return "localhost" if _is_any(bind) or _is_loopback(bind) else bind


def _is_any(bind: str) -> bool:
    return bind in ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
