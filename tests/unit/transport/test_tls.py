"""TLS with a certificate authority of our own."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from abstractcore.errors import ConfigurationError, ConnectionFailedError
from abstractcore.wire.call import Call
from tests.scripted_server import CHUNKED, END, Peer, ScriptedServer, chunk, whole

from .conftest import ClientFactory, Serve, read_all


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(made)
    return made


def keep_answering(peer: Peer) -> None:
    while True:
        if peer.request().method == "POST":
            peer.send(CHUNKED, chunk(b"one"), END)
        else:
            peer.send(whole(b"ok"))


def secure(serve: Serve, authority: trustme.CA, name: str = "127.0.0.1") -> ScriptedServer:
    return serve(keep_answering, tls=context(authority, name))


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_an_authority_from_the_environment(
    serve: Serve, new_client: ClientFactory, authority: trustme.CA, bundle: str, variable: str
) -> None:
    server = secure(serve, authority)
    client = new_client(**{variable: bundle})
    for _ in range(20):
        assert client.open(Call("GET", server.url)).answer.body == b"ok"
        assert read_all(client.open(Call("POST", server.url, {}, b"{}", stream=True))) == b"one"
    assert server.connections == 1


def test_a_certificate_of_an_unknown_authority(serve: Serve, new_client: ClientFactory, authority: trustme.CA) -> None:
    server = secure(serve, authority)
    with pytest.raises(ConnectionFailedError, match=r"TLS with .* failed: unable to get local issuer") as caught:
        new_client().open(Call("GET", server.url))
    assert not caught.value.delivered


def test_a_certificate_for_another_name(
    serve: Serve, new_client: ClientFactory, authority: trustme.CA, bundle: str
) -> None:
    server = secure(serve, authority, "other.test")
    with pytest.raises(ConnectionFailedError, match=r"TLS with .* failed: .*127\.0\.0\.1"):
        new_client(SSL_CERT_FILE=bundle).open(Call("GET", server.url))


def test_tls_with_a_server_that_has_none(serve: Serve, new_client: ClientFactory) -> None:
    def script(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.wait_gone()

    server = serve(script)
    with pytest.raises(ConnectionFailedError, match=r"TLS with .* failed: .*(?i:wrong.version.number)"):
        new_client().open(Call("GET", f"https://127.0.0.1:{server.port}"))


def test_a_tls_stream_that_breaks_is_an_error(
    serve: Serve, new_client: ClientFactory, authority: trustme.CA, bundle: str
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED, chunk(b"one"))

    server = serve(script, tls=context(authority, "127.0.0.1"))
    exchange = new_client(SSL_CERT_FILE=bundle).open(Call("GET", server.url, stream=True))
    assert exchange.read() == b"one"
    with pytest.raises(ConnectionFailedError) as caught:
        exchange.read()
    assert caught.value.delivered


def test_authorities_that_cant_be_read(new_client: ClientFactory, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", Path(__file__)):
        with pytest.raises(ConfigurationError, match="can't be read") as caught:
            new_client(SSL_CERT_FILE=str(path)).open(Call("GET", "https://127.0.0.1:1"))
        assert "SSL_CERT_FILE" in str(caught.value)


def test_a_tunnel_through_a_proxy(serve: Serve, new_client: ClientFactory, authority: trustme.CA, bundle: str) -> None:
    inside = context(authority, "api.test")

    def script(peer: Peer) -> None:
        request = peer.request()
        assert (request.method, request.target) == ("CONNECT", "api.test:443")
        assert request.headers["host"] == "api.test:443"
        assert request.headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"
        assert "authorization" not in request.headers
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        peer.start_tls(inside)
        for _ in range(2):
            request = peer.request()
            assert (request.target, request.headers["host"]) == ("/v1/models", "api.test")
            assert "proxy-authorization" not in request.headers
            peer.send(whole(b"ok"))
        peer.wait_gone()

    proxy = serve(script)
    client = new_client(HTTPS_PROXY=f"http://user:p%40ss@127.0.0.1:{proxy.port}", SSL_CERT_FILE=bundle)
    for _ in range(2):
        answer = client.open(Call("GET", "https://api.test/v1/models", {"Authorization": "Bearer k"})).answer
        assert answer.body == b"ok"
    assert proxy.connections == 1


def test_a_proxy_that_refuses(serve: Serve, new_client: ClientFactory) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        peer.wait_gone()

    proxy = serve(script)
    with pytest.raises(ConnectionFailedError, match=rf"through the proxy 127\.0\.0\.1:{proxy.port}.*407") as caught:
        new_client(https_proxy=f"http://user:secret@127.0.0.1:{proxy.port}").open(Call("GET", "https://api.test/x"))
    assert "secret" not in str(caught.value)
    assert caught.value.url == "https://api.test/x"


def test_a_plain_proxy_gets_the_whole_address(serve: Serve, new_client: ClientFactory) -> None:
    def script(peer: Peer) -> None:
        request = peer.request()
        assert request.target == "http://models.test:8000/v1/models?all=1"
        assert request.headers["host"] == "models.test:8000"
        assert request.headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"
        assert request.headers["authorization"] == "Bearer k"
        peer.send(whole(b"ok"))
        peer.wait_gone()

    proxy = serve(script)
    client = new_client(http_proxy=f"http://user:p%40ss@127.0.0.1:{proxy.port}")
    call = Call("GET", "http://models.test:8000/v1/models?all=1", {"Authorization": "Bearer k"})
    assert client.open(call).answer.body == b"ok"
