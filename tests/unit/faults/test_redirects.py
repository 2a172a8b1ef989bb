"""A redirect is told, never followed: not one byte of a key or a prompt reaches a second server."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
import trustme

from abstractcore import create_llm
from abstractcore.deploy.model_files import hub_plan
from abstractcore.errors import ConfigurationError, ProviderError
from abstractcore.providers import Provider
from abstractcore.transport import HttpTransport, SyncDriver
from tests.scripted_server import Peer, ScriptedServer, whole

from .play import KEY
from .spoken import everything_logged, said_by

PROMPT: Final = "a private question"
STATUSES: Final = {301: "Moved Permanently", 302: "Found", 303: "See Other", 307: "Temporary", 308: "Permanent"}
OVER_HTTP: Final = ("openai", "anthropic", "ollama", "lmstudio", "vllm")
pytestmark = pytest.mark.usefixtures("loopback")


def sync(llm: Provider) -> None:
    llm.generate(PROMPT)


def stream(llm: Provider) -> None:
    list(llm.generate(PROMPT, stream=True))


def listed(llm: Provider) -> None:
    llm.list_available_models()


def aplain(llm: Provider) -> None:
    asyncio.run(llm.agenerate(PROMPT))


class Second:
    """Takes whatever comes, answers as the first would have, and keeps the bytes."""

    def __init__(self) -> None:
        self.seen = b""

    def play(self, peer: Peer) -> None:
        while data := peer.sock.recv(65536):
            self.seen += data
            peer.send(whole(b'{"object": "list", "data": []}', "Content-Type: application/json"))


class First:
    """Sends everybody away."""

    target = ""
    status = 0

    def play(self, peer: Peer) -> None:
        while True:
            path = peer.request().target
            words = f"{self.status} {STATUSES[self.status]}"
            peer.send(whole(b"", f"Location: {self.target}{path}", status=words))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def second() -> Iterator[tuple[ScriptedServer, Second]]:
    seen = Second()
    with ScriptedServer(seen.play) as server:
        yield server, seen


WHERE: Final[dict[str, tuple[bool, str]]] = {
    "other port": (False, "http://127.0.0.1:{port}"),
    "other host": (False, "http://localhost:{port}"),
    "https to http": (True, "http://127.0.0.1:{port}"),
    "without a scheme": (False, "//127.0.0.1:{port}"),
}


@pytest.mark.parametrize(("tls", "target"), WHERE.values(), ids=WHERE)
@pytest.mark.parametrize("provider", OVER_HTTP)
def test_nothing_reaches_a_second_server(
    provider: str, target: str, second: tuple[ScriptedServer, Second], secure: ssl.SSLContext, *, tls: bool
) -> None:
    server, seen = second
    first, spoken = First(), ""
    first.target = target.format(port=server.port)
    with ExitStack() as stack:
        log = stack.enter_context(everything_logged())
        address = stack.enter_context(ScriptedServer(first.play, tls=secure if tls else None)).url
        llm = stack.enter_context(create_llm(provider, "m", base_url=address, api_key=KEY))
        for first.status, way in itertools.product(STATUSES, (sync, stream, aplain, listed)):
            with pytest.raises(ProviderError) as caught:
                way(llm)
            assert caught.value.status == first.status
            assert first.target in str(caught.value.hint), "whoever runs it is told where it went"
            spoken += said_by(caught.value)
        spoken += log.getvalue()
    assert (seen.seen, server.connections) == (b"", 0)
    assert KEY not in spoken
    assert PROMPT not in spoken


def test_the_token_of_the_hub_stays_with_the_hub(second: tuple[ScriptedServer, Second]) -> None:
    """Its files lie elsewhere, so its redirects are followed, but without the token."""
    server, seen = second
    first = First()
    with ScriptedServer(first.play) as hub:
        for first.status, name in itertools.product(STATUSES, ("127.0.0.1", "localhost")):
            first.target = f"http://{name}:{server.port}"
            with pytest.raises(ConfigurationError, match="no index") as caught:
                SyncDriver(HttpTransport()).run(hub_plan("acme/tiny", {"HF_TOKEN": KEY, "HF_ENDPOINT": hub.url}))
            assert KEY not in said_by(caught.value)
    assert b"GET /acme/tiny/resolve/main/config.json" in seen.seen
    assert KEY.encode() not in seen.seen
    assert b"authorization" not in seen.seen.lower()
