"""Where a request goes: addresses, proxies and what is left out of them."""

from __future__ import annotations

import pytest

from abstractcore.errors import ConfigurationError
from abstractcore.transport.route import Origin, Route, Router

PROXY = {"http_proxy": "http://proxy:3128", "https_proxy": "proxy:3129"}


def find(url: str, **environ: str) -> Route:
    return Router(environ).find(url)


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "named"),
    [
        ("http://localhost:8000/v1/models", "localhost", 8000, "/v1/models", "localhost:8000"),
        ("http://localhost", "localhost", 80, "/", "localhost"),
        ("http://LocalHost:80/a?b=c&d", "localhost", 80, "/a?b=c&d", "localhost"),
        ("https://api.test/v1", "api.test", 443, "/v1", "api.test"),
        ("https://api.test:80/v1", "api.test", 80, "/v1", "api.test:80"),
        ("http://[::1]:8000/", "::1", 8000, "/", "[::1]:8000"),
        ("http://bücher.test/é b/%2F?q=ü", "xn--bcher-kva.test", 80, "/%C3%A9%20b/%2F?q=%C3%BC", "xn--bcher-kva.test"),
    ],
)
def test_an_address(url: str, host: str, port: int, target: str, named: str) -> None:
    route = find(url)
    assert (route.origin.host, route.origin.port, route.target, route.host) == (host, port, target, named)
    assert route.origin.tls == (host if url.startswith("https") else None)


def test_a_unix_socket() -> None:
    route = find("http+unix://%2Frun%2Fvllm%20a.sock/v1/models?x=1", http_proxy="http://proxy:1")
    assert route.origin == Origin("", 0, unix="/run/vllm a.sock")
    assert (route.target, route.host) == ("/v1/models?x=1", "localhost")


def test_credentials_go_into_a_header_and_nowhere_else() -> None:
    route = find("http://us%40er:p%3Ass@host/path?key=secret")
    assert repr(route) == "Route('http://host/path')"
    assert route.shown == "http://host/path"
    assert route.headers({"X": "y"}) == {"X": "y", "Authorization": "Basic dXNAZXI6cDpzcw=="}
    assert route.headers({"authorization": "Bearer k"}) == {"authorization": "Bearer k"}


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://host/", "http://", "http:///path", "http://user:pass@/", "http://h:port/", "", "//h/"],
)
def test_an_address_that_makes_no_sense(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find(url)
    assert "pass" not in str(caught.value)


def test_a_plain_proxy_is_connected_to_in_place_of_the_server() -> None:
    route = find("http://host:8000/v1?a=b", **PROXY)
    assert route.origin == Origin("proxy", 3128)
    assert (route.target, route.host) == ("http://host:8000/v1?a=b", "host:8000")
    assert route.via == " through the proxy proxy:3128"


def test_a_proxy_for_tls_is_tunnelled_through() -> None:
    route = find("https://host/v1", **PROXY)
    assert route.origin == Origin("proxy", 3129, tls="host", tunnel="host:443")
    assert (route.target, route.host) == ("/v1", "host")


@pytest.mark.parametrize("host", ["localhost", "api.localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_this_machine_is_never_reached_through_a_proxy(host: str) -> None:
    assert find(f"http://{host}/", **PROXY).origin.host != "proxy"


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("*", "host", True),
        ("host", "host", True),
        ("HOST", "host", True),
        ("host", "sub.host", True),
        (".host", "sub.host", True),
        (".host", "host", True),
        ("host", "otherhost", False),
        ("a.test, host ,b.test", "host", True),
        ("host:8000", "host:8000", True),
        ("host:8000", "host:8001", False),
        ("host", "host:8001", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "host", False),
        ("fd00::/8", "[fd00::1]", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("", "host", False),
        (",", "host", False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, direct: bool) -> None:
    for variable in ("no_proxy", "NO_PROXY"):
        route = find(f"http://{host}/", **PROXY, **{variable: no_proxy})
        assert (route.origin.host != "proxy") == direct


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({"HTTP_PROXY": "http://a:1"}, "http://h/", "a"),
        ({"HTTP_PROXY": "http://a:1", "http_proxy": "http://b:1"}, "http://h/", "b"),
        ({"HTTP_PROXY": "http://a:1", "REQUEST_METHOD": "GET"}, "http://h/", "h"),
        ({"http_proxy": "http://a:1"}, "https://h/", "h"),
        ({"HTTPS_PROXY": "http://a:1"}, "https://h/", "a"),
        ({"ALL_PROXY": "http://a:1"}, "https://h/", "a"),
        ({"all_proxy": "http://a:1"}, "http://h/", "a"),
        ({"all_proxy": "http://a:1", "http_proxy": "b:1"}, "http://h/", "b"),
        ({"http_proxy": ""}, "http://h/", "h"),
    ],
)
def test_which_variable_counts(environ: dict[str, str], url: str, proxy: str) -> None:
    assert find(url, **environ).origin.host == proxy


def test_a_proxy_of_another_kind_is_refused_only_where_it_would_be_used() -> None:
    environ = {"ALL_PROXY": "socks5://user:secret@proxy:1080", "NO_PROXY": "near"}
    assert find("http://near/", **environ).origin.host == "near"
    assert find("http://localhost/", **environ).origin.host == "localhost"
    with pytest.raises(ConfigurationError, match="socks5") as caught:
        find("http://far/", **environ)
    assert "secret" not in str(caught.value)


def test_routes_are_kept_but_not_without_end() -> None:
    router = Router({})
    assert router.find("http://h/1") is router.find("http://h/1")
    for number in range(2000):
        assert router.find(f"http://h/{number}").target == f"/{number}"
