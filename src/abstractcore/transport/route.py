"""From a URL and the environment to where a request goes. Pure, but for reading CA files into an ``SSLContext``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from msgspec import Struct

from ..errors import ConfigurationError
from ..wire.http1 import request_bytes
from . import files

if TYPE_CHECKING:
    from ssl import SSLContext

_PORTS: Final = {"http": 80, "https": 443}
_SAFE: Final = "/%:=&?~#+!$,;'@()*[]"
_CACHED: Final = 512


class Origin(Struct, frozen=True):
    """What must be equal for two requests to share a connection."""

    host: str
    """Where to connect: the server, or the proxy."""
    port: int
    unix: str | None = None
    """Path of a Unix socket; then ``host`` and ``port`` mean nothing."""
    tls: str | None = None
    """Host name to check the certificate against; ``None`` without TLS."""
    tunnel: str | None = None
    """``host:port`` to reach with ``CONNECT`` through the proxy at ``host``."""
    proxy_authorization: str | None = None
    """For ``CONNECT``; a plain proxy gets it with each request."""

    def __repr__(self) -> str:
        return f"Origin({self.unix or self.host!r}, {self.port})"


class Route(Struct, frozen=True):
    """Where one request goes, and how its head names the target."""

    origin: Origin
    target: str
    """Origin form, or absolute form for a plain proxy."""
    host: str
    """Value of the ``Host`` header."""
    shown: str
    """The URL as errors may show it: without credentials and query."""
    extra_headers: Mapping[str, str]
    """``Authorization`` from the URL's user part, ``Proxy-Authorization`` from the proxy's."""

    def __repr__(self) -> str:
        return f"Route({self.shown!r})"

    @property
    def proxy(self) -> str | None:
        """``host:port`` of the proxy, if there is one."""
        proxied = self.origin.tunnel is not None or not self.target.startswith("/")
        return f"{_bracketed(self.origin.host)}:{self.origin.port}" if proxied else None

    @property
    def via(self) -> str:
        """Words for an error message that name the proxy, if there is one."""
        return f" through the proxy {self.proxy}" if self.proxy else ""

    def headers(self, given: Mapping[str, str]) -> Mapping[str, str]:
        """The headers of a call, with those of the route unless the call has its own."""
        if not self.extra_headers:
            return given
        names = {name.lower() for name in given}
        return {**given, **{name: value for name, value in self.extra_headers.items() if name.lower() not in names}}


class Router:
    """Finds routes with the proxies and CA files that one environment names.

    ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` count in both cases, the lower one first; requests
    to this machine never go through a proxy. ``SSL_CERT_FILE`` or ``REQUESTS_CA_BUNDLE`` (a file or a folder) replace
    the system's certificate authorities.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._routes: dict[str, Route] = {}
        self._context: SSLContext | None = None

    def find(self, url: str) -> Route:
        """The route to a URL.

        Raises:
            ConfigurationError: The URL or the proxy for it makes no sense, or is of a kind that isn't supported.
        """
        route = self._routes.get(url)
        if route is None:
            if len(self._routes) >= _CACHED:
                self._routes.clear()
            route = self._routes[url] = _find(url, self._environ)
        return route

    def ssl_context(self) -> SSLContext:
        """The TLS settings of all connections, made when first needed."""
        context = self._context
        if context is None:
            context = _ssl_context(self._environ)
            if files.are_left():  # else it may know no authority at all, without having said so
                self._context = context
        return context


def tunnel_request(origin: Origin) -> bytes:
    """What asks a proxy to connect through to ``origin.tunnel``."""
    tunnel = origin.tunnel or ""
    secret = origin.proxy_authorization
    headers = {} if secret is None else {"Proxy-Authorization": secret}
    return request_bytes("CONNECT", tunnel, tunnel, headers, None)


def check_tunnel(status: int) -> None:
    """Raise ``OSError`` if the proxy's answer to ``tunnel_request`` is a refusal."""
    if not 200 <= status < 300:
        raise OSError(f"the proxy refused to connect, with status {status}")


def _find(url: str, environ: Mapping[str, str]) -> Route:
    parts = _split(url)
    target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    extra = {}
    if "@" in parts.netloc:
        extra["Authorization"] = _basic(parts)
    bare = parts.netloc.rpartition("@")[2]
    shown = f"{parts.scheme}://{bare}{parts.path}"
    if parts.scheme == "http+unix":
        path = unquote(bare)
        return Route(Origin("", 0, unix=path), target, "localhost", shown, extra)

    tls = parts.scheme == "https"
    host, port = _address(parts, url)
    named = _bracketed(host) if port == _PORTS[parts.scheme] else f"{_bracketed(host)}:{port}"
    proxy = _proxy_for(parts.scheme, host, port, environ)
    if proxy is None:
        return Route(Origin(host, port, tls=host if tls else None), target, named, shown, extra)

    proxy_parts = _split_proxy(proxy)
    proxy_host, proxy_port = _address(proxy_parts, "the proxy's address")
    authorization = _basic(proxy_parts) if "@" in proxy_parts.netloc else None
    if tls:
        tunnel = f"{_bracketed(host)}:{port}"
        return Route(Origin(proxy_host, proxy_port, None, host, tunnel, authorization), target, named, shown, extra)
    if authorization is not None:
        extra["Proxy-Authorization"] = authorization
    return Route(Origin(proxy_host, proxy_port), f"http://{named}{target}", named, shown, extra)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError("the server's address can't be read", why=str(error)) from None
    if parts.scheme not in ("http", "https", "http+unix") or not parts.netloc.rpartition("@")[2]:
        raise ConfigurationError(
            f"the server's address {_without_user(url)!r} is not a URL we can use",
            hint="write it as http://host:port/path, https://host/path or http+unix://%2Fpath%2Fto.sock/path",
        )
    return parts


def _address(parts: SplitResult, what: str) -> tuple[str, int]:
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"the port in {_without_user(what)!r} makes no sense", why=str(error)) from None
    host = parts.hostname
    if not host:
        raise ConfigurationError(f"there is no host in {_without_user(what)!r}")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise ConfigurationError(f"the host in {_without_user(what)!r} makes no sense", why=str(error)) from None
    return host, _PORTS[parts.scheme] if port is None else port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _without_user(url: str) -> str:
    """The URL with what stands before an ``@`` cut out, even if it can't be parsed."""
    scheme, mark, rest = url.rpartition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def _basic(parts: SplitResult) -> str:
    from base64 import b64encode

    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return "Basic " + b64encode(pair.encode()).decode("ascii")


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""


def _proxy_for(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> str | None:
    """The proxy's URL for a request, or ``None``."""
    proxy = environ.get("http_proxy", "") if scheme == "http" else _variable(environ, "https_proxy")
    # Under CGI the upper-case name holds a header that the visitor chose.
    if scheme == "http" and not proxy and "REQUEST_METHOD" not in environ:
        proxy = environ.get("HTTP_PROXY", "")
    proxy = proxy or _variable(environ, "all_proxy")
    if not proxy or _is_loopback(host) or _is_excluded(host, port, _variable(environ, "no_proxy")):
        return None
    return proxy


def _split_proxy(proxy: str) -> SplitResult:
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    except ValueError as error:
        raise ConfigurationError(
            f"the proxy {_without_user(proxy)!r} makes no sense",
            why=str(error),
            hint="correct HTTP_PROXY or HTTPS_PROXY",
        ) from None
    if parts.scheme != "http":
        raise ConfigurationError(
            f"a proxy of the kind {parts.scheme}:// is not supported",
            why=f"the environment names {_without_user(proxy)}",
            hint="name an http:// proxy in HTTP_PROXY or HTTPS_PROXY, or list the server in NO_PROXY",
        )
    return parts


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost") or host == "::1" or host.startswith("127.")


def _is_excluded(host: str, port: int, no_proxy: str) -> bool:
    """Whether ``NO_PROXY`` lists a host: ``*``, a name with all below it, an address, a network, each with a port."""
    names = {host, f"{_bracketed(host)}:{port}"}
    for raw in no_proxy.lower().split(","):
        entry = raw.strip().lstrip(".")
        if entry == "*":
            return True
        if entry and any(name == entry or name.endswith(f".{entry}") for name in names):
            return True
        if "/" in entry and _in_network(host, entry):
            return True
    return False


def _in_network(host: str, network: str) -> bool:
    from ipaddress import ip_address, ip_network

    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def _ssl_context(environ: Mapping[str, str]) -> SSLContext:
    import ssl

    path = environ.get("SSL_CERT_FILE") or environ.get("REQUESTS_CA_BUNDLE")
    try:
        if not path:
            context = ssl.create_default_context()
        elif os.path.isdir(path):  # noqa: PTH112 - pathlib is not loaded for this
            context = ssl.create_default_context(capath=path)
        else:
            context = ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"the certificate authorities in {path} can't be read",
            why=str(error),
            hint="correct SSL_CERT_FILE or REQUESTS_CA_BUNDLE",
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    return context
