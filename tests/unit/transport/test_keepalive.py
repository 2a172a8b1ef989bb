"""A peer that vanished without a word: the system looks after it, and a connection to it is not used twice."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
import uvloop

from abstractcore.errors import RequestTimeoutError
from abstractcore.transport import AsyncHttpTransport, HttpTransport
from abstractcore.wire.call import Call, Timeouts
from tests.scripted_server import PATIENCE, Peer, whole

from .conftest import Client, Serve

TCP_REPAIR = 19
"""Linux: a socket in this mode is closed without a word to its peer; takes a right that root has."""


def probes(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))


def keep_answering(peer: Peer) -> None:
    while True:
        peer.request()
        peer.send(whole(b"ok"))


def test_the_system_looks_after_a_blocking_connection(serve: Serve) -> None:
    server, transport = serve(keep_answering), HttpTransport(environ={})
    transport.open(Call("GET", server.url))
    (kept,) = transport._idle.values()
    assert probes(kept[0].sock)
    transport.close()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_the_system_looks_after_a_connection_of_a_loop(serve: Serve, run: object) -> None:
    server = serve(keep_answering)

    async def look() -> None:
        transport = AsyncHttpTransport(environ={})
        await transport.open(Call("GET", server.url))
        (pool,) = transport._pools.values()
        (connection,) = pool._all
        assert probes(connection.transport.get_extra_info("socket"))

    assert callable(run)
    run(look())


def test_a_kept_connection_that_fell_silent_fails_in_time_and_once(serve: Serve, client: Client) -> None:
    """To a client, a peer behind a dead router is one that never answers."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(whole(b"ok"))
        if peer.number == 1:
            peer.wait_gone()
        else:
            keep_answering(peer)

    server = serve(script)
    limits = Timeouts(connect=None, first_byte=0.1, idle=None, total=None)
    assert client.open(Call("GET", server.url)).answer.body == b"ok"
    with pytest.raises(RequestTimeoutError) as caught:
        client.open(Call("GET", server.url, timeouts=limits))
    assert caught.value.phase == "first_byte"
    assert client.open(Call("GET", server.url)).answer.body == b"ok"
    assert server.connections == 2


def vanish(sock: socket.socket) -> bool:
    """Closes a socket without a word; says whether this process may."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except OSError:
        return False
    sock.close()
    return True


def test_a_half_open_connection_is_replaced_unseen(serve: Serve, client: Client) -> None:
    """Its other end is gone and never said so, as after a power cut: the next request is what finds out."""
    gone = threading.Event()
    might = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(whole(b"ok"))
        if peer.number == 1:
            might.append(vanish(peer.sock))
            gone.set()
        else:
            keep_answering(peer)

    server = serve(script)
    assert client.open(Call("GET", server.url)).answer.body == b"ok"
    assert gone.wait(PATIENCE)
    if not might[0]:
        pytest.skip("to leave a connection half open takes the rights of root")
    assert client.open(Call("GET", server.url)).answer.body == b"ok"
    assert server.connections == 2
