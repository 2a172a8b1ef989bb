"""Looking up a name is part of connecting: a name server that doesn't answer holds nobody up for longer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from abstractcore.errors import ConnectionFailedError, RequestTimeoutError
from abstractcore.wire.call import Call, Timeouts
from tests.scripted_server import PATIENCE, Peer, whole

from .conftest import Client, Serve

SHORT = Timeouts(connect=0.1, first_byte=None, idle=None, total=None)


@pytest.fixture
def silent_names(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A name server that answers when the test is over, and before the client's loop ends: it waits for lookups."""
    over = threading.Event()

    def look_up(*_: object, **__: object) -> Any:
        over.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield
    over.set()


@pytest.mark.usefixtures("silent_names")
@pytest.mark.parametrize(("limits", "phase"), [(SHORT, "connect"), (Timeouts(None, None, None, 0.1), "total")])
def test_a_lookup_without_end(client: Client, limits: Timeouts, phase: str) -> None:
    with pytest.raises(RequestTimeoutError) as caught:
        client.open(Call("GET", "http://models.test/", timeouts=limits))
    assert caught.value.phase == phase


def test_a_name_that_there_is_not(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(ConnectionFailedError, match="Name or service not known") as caught:
        client.open(Call("GET", "http://models.test/", timeouts=SHORT))
    assert caught.value.refused


def test_a_name_that_there_is(serve: Serve, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def script(peer: Peer) -> None:
        assert peer.request().headers["host"] == f"models.test:{server.port}"
        peer.send(whole(b"ok"))
        peer.wait_gone()

    server = serve(script)
    look_up = socket.getaddrinfo

    def known(_: object, *rest: Any, **named: Any) -> Any:
        return look_up("127.0.0.1", *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    assert client.open(Call("GET", f"http://models.test:{server.port}/")).answer.body == b"ok"
