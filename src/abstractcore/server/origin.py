"""Which web pages may use the gateway, and under which names it may be called. Pure.

A gateway without keys trusts whoever can reach it, and every web page that a browser on the same machine shows can:
by a plain POST, or by a host name of its own that suddenly means 127.0.0.1 (DNS rebinding), which makes the browser
take the gateway for the page's own server. Hence, where there are no keys, a request from a page must come from this
gateway's own pages or from an origin that the operator named, and the name in ``Host`` must be one that no stranger's
name server can give away: an IP address, ``localhost``, a name without dots, or one that the operator named. With keys
neither is needed: a page has no key to send, and the gateway knows no cookies.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from typing import Final

from .asgi import Headers
from .errors import GatewayError

_EXPOSED: Final = (
    b"retry-after, x-request-id, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests"
)
PREFLIGHT_SECONDS: Final = b"600"


def check_once(headers: Headers) -> None:
    """Refuses a request that says twice where it comes from or goes to: which of them counts is anybody's guess.

    Raises:
        GatewayError: It does.
    """
    names = [name for name, _ in headers]
    for name in (b"host", b"origin", b"authorization", b"x-api-key"):
        if names.count(name) > 1:
            raise GatewayError(f"the header {name.decode()} is there twice", code="duplicate_header")


def check_host(host: str | None, known: Collection[str]) -> None:
    """Refuses a name that could be a stranger's.

    Args:
        host: The header; browsers always send it.
        known: Names that the operator gave.

    Raises:
        GatewayError: It is one.
    """
    if host is None:
        return
    name = _name(host)
    if is_own_name(name) or name in known:
        return
    raise GatewayError(
        f"this gateway has no keys, and answers only to names that are its own: {name!r} is none",
        status=403,
        code="host_not_allowed",
        why="a web page could reach it under a name of the page's own (DNS rebinding)",
        hint=f'the operator can add --host-name {name}, or "hosts" in the configuration, or keys',
    )


def is_own_name(name: str) -> bool:
    """Whether no name server of a stranger can say where this name leads."""
    if "." not in name and ":" not in name:
        return True
    if name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    host = host.strip().lower().rstrip(".")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def check_origin(origin: str | None, host: str | None, allowed: Collection[str]) -> None:
    """Refuses requests that a page of another origin sent.

    Raises:
        GatewayError: It did.
    """
    if origin is None or origin in allowed or (host and origin.partition("://")[2].lower() == host.lower()):
        return
    raise GatewayError(
        f"this gateway has no keys, and takes no requests from pages of {origin}",
        status=403,
        code="origin_not_allowed",
        why="any web page could use it otherwise",
        hint=f'the operator can add --cors-origin {origin}, or "cors_origins" in the configuration',
    )


def cors(origin: str | None, allowed: Collection[str]) -> Headers:
    """Headers that let a page read an answer, if it may; never for credentials, of which there are none."""
    if not allowed:
        return []
    vary = (b"vary", b"Origin")
    if origin is None or origin not in allowed:
        return [vary]
    return [
        (b"access-control-allow-origin", origin.encode("latin-1", "replace")),
        (b"access-control-expose-headers", _EXPOSED),
        vary,
    ]


def preflight(headers: Mapping[bytes, bytes], methods: Collection[str], allowed: Collection[str]) -> Headers | None:
    """The answer to a browser that asks before it sends; ``None`` if this is no such question.

    Raises:
        GatewayError: The page may not.
    """
    origin = headers.get(b"origin")
    if origin is None or b"access-control-request-method" not in headers:
        return None
    if origin.decode("latin-1") not in allowed:
        raise GatewayError(
            f"pages of {origin.decode('latin-1')} may not use this gateway",
            status=403,
            code="origin_not_allowed",
            hint=f'the operator can add --cors-origin {origin.decode("latin-1")}, or "cors_origins"',
        )
    asked = headers.get(b"access-control-request-headers", b"authorization, content-type")
    return [
        (b"access-control-allow-methods", ", ".join(methods).encode()),
        (b"access-control-allow-headers", asked),
        (b"access-control-max-age", PREFLIGHT_SECONDS),
    ]
