"""Checks of the client's container: whether the server can be reached from there, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from .. import topology
from ..deploy.inspected import Inspected
from ..topology import Cause, Failure, Here, cause
from .check import Check
from .facts import Facts, Json
from .finding import Finding, Fix, error, ok, unknown, warning

_DEFAULT: Final = "http://localhost:8000/v1"


def _url(facts: Facts) -> Iterator[Finding]:
    client = facts.client
    if client is None or facts.subject.client is None:
        return
    name = facts.subject.client
    given = client.environment.get("VLLM_BASE_URL")
    url = given or _DEFAULT
    if not given:
        yield warning(
            "VLLM_BASE_URL is not set",
            expected="the server's address as the client sees it",
            why=f"the client asks {_DEFAULT}, which inside a container is the container itself",
            cure="abstractcore render compose MODEL shows the right one",
            subject=name,
        )
    if url.startswith(("unix:", "http+unix:")):
        yield ok(f"reached by a socket: {url}", name)
        return
    root = url.removesuffix("/").removesuffix("/v1")
    try:
        found = facts.inside(name, url=f"{root}/health")["reach"]
    except LookupError as problem:
        yield unknown(str(problem), subject=name)
        return
    failed = found.get("failed")
    if failed is None:
        yield ok(f"{url} answers {found['status']}, connected in {found['connect_ms']:.1f} ms", name)
        return
    known = _explain(url, found, client)
    yield error(
        f"{url}: {_STEPS[failed]}: {found['error']}",
        expected="200 on /health",
        why=known.message,
        cure=known.hint,
        subject=name,
        fix=_join(facts, url),
    )


def _join(facts: Facts, url: str) -> Fix | None:
    """Puts the client on the server's network, where that is all that is missing."""
    server, client, engine = facts.server, facts.client, facts.engine
    if (
        server is None
        or client is None
        or engine is None
        or urlsplit(url).hostname not in (server.name, *server.aliases)
    ):
        return None
    shared = (topology.HOST, topology.NONE, "default", topology.DEFAULT_BRIDGE)
    if server.network in shared or client.network in shared[:2] or server.network in client.networks:
        return None
    words = ("network", "connect", server.network, client.name)
    return Fix(" ".join((engine.name, *words)), lambda: engine.do(*words))


_STEPS: Final[Mapping[str, str]] = {
    "name": "the name can't be resolved",
    "connection": "nothing can be connected to",
    "answer": "there is a connection, but no answer",
}


def _explain(url: str, found: Json, client: Inspected) -> Cause:
    """Why an address does not work from inside a container, and what would."""
    own = client.network != topology.HOST and not client.network.startswith(topology.SHARED)
    names = own and client.network not in ("default", topology.DEFAULT_BRIDGE, topology.NONE)
    where = Here(in_container=True, own_network=own, container_dns=names)
    known = cause(url, _failure(found), where)
    return known or Cause(
        "nothing answers at this address", "abstractcore render compose MODEL shows the one that fits"
    )


def _failure(found: Json) -> Failure:
    if found["failed"] == "name":
        return "unknown-host"
    if found["failed"] == "answer":
        return "closed"
    return "timeout" if "timed out" in found["error"] else "refused"


def _copied(facts: Facts) -> Iterator[Finding]:
    """Docker's userland proxy copies every byte of what comes over loopback or from a container to the host."""
    if facts.server is None or facts.client is None or not facts.server.ports:
        return
    parts = urlsplit(facts.client.environment.get("VLLM_BASE_URL", _DEFAULT))
    if parts.port not in {port.host for port in facts.server.ports} or parts.hostname == facts.server.name:
        return
    yield warning(
        f"{parts.netloc} is a published port",
        expected="one network for both, and the server called by its name",
        why="Docker's proxy copies every byte: per request about 30 to 80 us more, per connection 160 to 480 us",
        cure=f"docker network connect {facts.server.network} {facts.client.name}, and "
        f"VLLM_BASE_URL=http://{facts.server.name}:8000/v1",
        subject=facts.client.name,
    )


def _proxy(facts: Facts) -> Iterator[Finding]:
    client = facts.client
    if client is None or facts.subject.client is None:
        return
    variables = {name.lower(): value for name, value in client.environment.items()}
    proxies = [name for name in ("http_proxy", "all_proxy") if variables.get(name)]
    if not proxies:
        return
    host = urlsplit(variables.get("vllm_base_url", _DEFAULT)).hostname or ""
    excepted = [entry.strip().lstrip(".") for entry in variables.get("no_proxy", "").split(",")]
    if "*" in excepted or any(host == entry or host.endswith(f".{entry}") for entry in excepted if entry):
        yield ok(f"{proxies[0]} is set, and no_proxy excepts {host}", facts.subject.client)
        return
    yield error(
        f"{proxies[0]} is set, and no_proxy does not name {host}",
        expected=f"no_proxy={host}",
        why="the proxy is asked for a name that only this network knows",
        cure=f"start the client with -e no_proxy={host},localhost,127.0.0.1",
        subject=facts.subject.client,
    )


def _key_file(facts: Facts) -> Iterator[Finding]:
    """The file of the key, where this user can see it."""
    path = facts.key_path
    if path is None:
        return
    mode = path.stat().st_mode & 0o777
    if not mode & 0o077:
        yield ok("the key's file is open to its owner alone")
        return
    yield error(
        f"the key's file has the mode {mode:o}: {path}",
        expected="600",
        why="others can read the key, and the client refuses such a file",
        cure=f"chmod 600 {path}",
        fix=Fix(f"chmod 600 {path}", lambda: path.chmod(0o600)),
    )


def _nccl(facts: Facts) -> Iterator[Finding]:
    if facts.client is None:
        return
    if "NCCL_P2P_DISABLE" in facts.client.environment:
        yield warning(
            "NCCL_P2P_DISABLE is set in the client",
            expected="it is set in the server, if anywhere",
            why="NCCL reads it in the processes that own the GPUs; here it does nothing",
            cure="abstractcore up MODEL --p2p off",
            subject=facts.subject.client or "",
        )


CHECKS: Final = (
    Check("client.url", "the server is reached from the client's container", _url),
    Check("client.docker_proxy", "no byte is copied on the way", _copied),
    Check("client.proxy", "no proxy stands in the way", _proxy),
    Check("client.key_file", "the key is kept from others", _key_file),
    Check("client.nccl", "NCCL's settings are where NCCL reads them", _nccl),
)
