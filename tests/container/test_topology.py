"""The table of addresses between real containers: what ``reach`` gives works, and where it gives none, none works.

Server and client run in the client image; the server is a few lines that answer like vLLM's list of models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from abstractcore.topology import Client, Published, Server, reach
from tests.container.conftest import Containers
from tests.container.daemon import Docker
from tests.live.conftest import unused_port

CODE: Final = Path(__file__).with_name("tiny_server.py").read_text(encoding="utf-8")
PROXY: Final = ("--env", "http_proxy=http://127.0.0.1:9")
GATEWAY_OPTION: Final = ("--add-host", "host.docker.internal:host-gateway")
TRY_ALL: Final = """\
import sys
from abstractcore import create_llm
from abstractcore.errors import ProviderError
for url in sys.argv[1:]:
    try:
        print(url, create_llm("vllm", base_url=url).list_available_models())
    except ProviderError:
        pass
"""


@dataclass(frozen=True)
class World:
    """Servers in every kind of place, all running."""

    network: str
    other: str
    gateway: str
    servers: dict[str, Server]

    def client(self, kind: str) -> Client:
        """A client's place by the name that the tests use."""
        network, _, gateway = kind.partition("+")
        named = {"llm": self.network, "other": self.other, "inside": f"container:{self.servers['private'].names[0]}"}
        return Client(network=named.get(network, network), host_gateway=bool(gateway))


@pytest.fixture(scope="module")
def world(docker: Docker, client_image: str) -> Iterator[World]:
    made = Containers(docker)
    try:
        yield _build_world(docker, made, client_image)
    finally:
        made.remove()


def _build_world(docker: Docker, made: Containers, image: str) -> World:
    # Not every daemon names it when its default network is inspected; this is how containers learn it.
    hosts = docker("run", "--rm", *GATEWAY_OPTION, image, "cat", "/etc/hosts")
    gateway = next(line.split()[0] for line in hosts.splitlines() if line.endswith("host.docker.internal"))
    network, other = made.network(), made.network()
    made.claim_volume(network)  # for the socket; it bears the network's name
    ports = {"host": unused_port(), "open-host": unused_port(), "any-host": unused_port()}
    published = tuple(Published(unused_port(), address) for address in ("127.0.0.1", gateway))
    bind = {"host": "127.0.0.1", "open-host": gateway, "any-host": "0.0.0.0"}
    servers = {name: Server(network="host", bind=bind[name], port=port) for name, port in ports.items()}
    servers |= {
        "private": Server(network=network),
        "loopback": Server(network=network, bind="127.0.0.1"),
        "published": Server(network=network, published=published[:1]),
        "on-gateway": Server(network="bridge", published=published[1:]),
        "none": Server(network="none"),
        "sealed": Server(network="none", socket="/run/vllm/vllm.sock"),
    }
    for name, server in servers.items():
        options = [
            part for port in server.published for part in ("-p", f"{port.address}:{port.host_port}:{server.port}")
        ]
        where = [server.bind, str(server.port)] if server.socket is None else [server.socket]
        if server.socket is not None:
            options += ["--volume", f"{network}:/run/vllm", "--user", "0:0"]
        running = made.start(
            image, "python3", "-c", CODE, *where, options=("--network", server.network, "--no-healthcheck", *options)
        )
        servers[name] = replace(server, names=(running,))
    return World(network, other, gateway, servers)


def _asked(docker: Docker, world: World, image: str, client: Client, *command: str) -> str:
    """What a client in its place says."""
    gateway = GATEWAY_OPTION if client.host_gateway else ()
    volume = ("--volume", f"{world.network}:/run/vllm", "--user", "0:0")
    done = docker.run("run", "--rm", "--network", client.network, *gateway, *volume, image, *command)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("server", "client"),
    [
        ("host", "host"),
        ("open-host", "host"),
        ("any-host", "host"),
        ("open-host", "llm+gateway"),
        ("any-host", "bridge+gateway"),
        ("private", "llm"),
        ("published", "llm"),
        ("private", "inside"),
        ("published", "host"),
        ("on-gateway", "host"),
        ("on-gateway", "bridge+gateway"),
        ("on-gateway", "llm+gateway"),
        ("sealed", "none"),
        ("sealed", "llm"),
    ],
)
def test_the_address_that_is_given_works(
    docker: Docker, world: World, client_image: str, server: str, client: str
) -> None:
    place = world.client(client)
    base_url = reach(world.servers[server], place, gateway=world.gateway).base_url
    assert base_url is not None
    said = _asked(docker, world, client_image, place, "abstractcore", "models", "--wait", "30", "--base-url", base_url)
    assert said.split() == ["tiny", "2048", "tokens"]


@pytest.mark.parametrize(
    ("server", "client"),
    [
        ("host", "llm+gateway"),
        ("host", "bridge+gateway"),
        ("open-host", "bridge"),
        ("private", "host"),
        ("private", "other+gateway"),
        ("published", "other+gateway"),
        ("private", "bridge+gateway"),
        ("loopback", "llm"),
        ("none", "llm"),
        ("private", "none"),
    ],
)
def test_where_none_is_given_no_address_works(
    docker: Docker, world: World, client_image: str, server: str, client: str
) -> None:
    there, place = world.servers[server], world.client(client)
    assert reach(there, place, gateway=world.gateway).base_url is None
    ports = {there.port, *(port.host_port for port in there.published)}
    hosts = ("localhost", *there.names, "host.docker.internal")
    tempting = [f"http://{host}:{port}/v1" for host in hosts for port in ports]
    assert _asked(docker, world, client_image, place, "python3", "-c", TRY_ALL, *tempting) == ""


@dataclass(frozen=True)
class Wrong:
    """What goes into wrong addresses."""

    docker: Docker
    image: str
    ports: dict[str, str]


@pytest.fixture(scope="module")
def wrong(docker: Docker, world: World, client_image: str) -> Iterator[Wrong]:
    made, dead = Containers(docker), unused_port()
    try:
        made.start(client_image, "sleep", "600", options=("-p", f"127.0.0.1:{dead}:8000"))
        published = world.servers["published"].published[0].host_port
        ports = {"dead": dead, "port": published, "host": world.servers["host"].port}
        yield Wrong(docker, client_image, {name: str(port) for name, port in ports.items()})
    finally:
        made.remove()


@pytest.mark.parametrize(
    ("client", "base_url", "options", "cause"),
    [
        ("llm", "http://localhost:8000/v1", (), "localhost inside this container is the container itself"),
        ("bridge", "http://{private}:8000/v1", (), "this container is on the default bridge"),
        ("other", "http://{private}:8000/v1", (), "no container called '{private}' is on a network of this container"),
        ("llm", "http://{published}:{port}/v1", (), "{published} is there, but nothing listens on its port {port}"),
        ("llm", "http://host.docker.internal:8000/v1", (), "this container does not know host.docker.internal"),
        ("llm", "http://host.docker.internal:{host}/v1", GATEWAY_OPTION, "the host takes no connections from"),
        ("llm", "http://{private}:8000/v1", PROXY, "http://{private}:8000/v1 was asked of the proxy 127.0.0.1:9"),
        ("host", "http://127.0.0.1:{dead}/v1", (), "port {dead} of 127.0.0.1 is open, but closed at once"),
        ("host", "http://{private}:8000/v1", (), "this machine does not know the name '{private}'"),
    ],
)  # fmt: skip
def test_a_client_with_a_wrong_address_says_the_cause_first(
    world: World, wrong: Wrong, *, client: str, base_url: str, options: tuple[str, ...], cause: str
) -> None:
    facts = {**{name: server.names[0] for name, server in world.servers.items()}, **wrong.ports}
    place = ("--network", world.client(client).network, "--env", f"VLLM_BASE_URL={base_url.format(**facts)}")
    done = wrong.docker.run("run", "--rm", *place, *options, wrong.image, "abstractcore", "models")
    assert done.returncode == 4
    assert done.stderr.splitlines()[0].startswith(f"error: {cause.format(**facts)}")
    assert "try: " in done.stderr
