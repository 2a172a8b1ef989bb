"""Who may come in: names, origins, keys, limits; in that order, and before a body is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import origin
from .errors import GatewayError
from .keys import Key, Keyring
from .limits import Gate

if TYPE_CHECKING:
    from .asgi import Request
    from .config import GatewayConfig
    from .metrics import Metrics
    from .route import Route


class Guard:
    """Lets requests in, or not.

    Args:
        config: What the operator wants.
        metrics: Where refusals are counted.

    Raises:
        ConfigurationError: The file of keys can't be read, or is open to others.
    """

    def __init__(self, config: GatewayConfig, metrics: Metrics) -> None:
        self.keyring = Keyring(Path(config.keys).expanduser()) if config.keys else None
        self.gate = Gate(config.limits)
        self._metrics = metrics
        self._origins = frozenset(config.cors_origins)
        self._hosts = frozenset(name.lower() for name in config.hosts)
        self._open_metrics = config.open_metrics

    async def greet(self, request: Request, methods: tuple[str, ...]) -> bool:
        """Looks at where a request comes from.

        Returns:
            Whether it was a browser's question before the request proper, and is answered.

        Raises:
            GatewayError: It comes from a page, or to a name, that it may not come from or to.
        """
        given = request.scope["headers"]
        headers = dict(given)
        if len(headers) < len(given):
            origin.check_once(given)
        asked, host = headers.get(b"origin"), headers.get(b"host")
        if asked is None and (self.keyring is not None or host is None):
            return False
        page, name = asked.decode("latin-1") if asked else None, host.decode("latin-1") if host else None
        request.extra = origin.cors(page, self._origins)
        if self.keyring is None:
            origin.check_host(name, self._hosts)
        if request.method == "OPTIONS" and methods:
            found = origin.preflight(headers, methods, self._origins)
            if found is not None:
                await request.answer(204, b"", *found)
                return True
        if self.keyring is None:
            origin.check_origin(page, name, self._origins)
        return False

    def enter(self, request: Request, route: Route) -> bool:
        """Looks at who sends a request, and whether there is room for it.

        Returns:
            Whether it takes a place: ``leave`` must follow.

        Raises:
            GatewayError: It may not come in.
        """
        if self.keyring is not None:
            request.key = self._key(request, self.keyring, is_open=self._is_open(route))
        if route.method != "POST":
            return False
        try:
            request.extra += self.gate.enter(request.key)
        except GatewayError as error:
            self._metrics.shed(error.code)
            raise
        return True

    def leave(self, request: Request) -> None:
        """A request that took a place is over."""
        self.gate.leave(request.key)

    def knows(self, request: Request) -> bool:
        """Whether whoever sent a request to an open endpoint may see what is behind the gateway."""
        return self.keyring is None or request.key is not None

    def _is_open(self, route: Route) -> bool:
        return route.open or (self._open_metrics and route.path == "/metrics")

    def _key(self, request: Request, keyring: Keyring, *, is_open: bool) -> Key | None:
        secret = presented(request)
        if is_open and secret is None:
            return None
        if secret is None:
            raise GatewayError(
                "this gateway asks for a key",
                status=401,
                code="missing_key",
                hint="send it as Authorization: Bearer KEY (OpenAI's clients: api_key=), or as x-api-key",
            )
        key = keyring.find(secret)
        if key is not None and not key.has_expired():
            return key
        if is_open:
            return None
        if key is not None:
            raise GatewayError(
                f"the key {key.name!r} has expired", status=401, code="key_expired", hint="ask the operator for another"
            )
        raise GatewayError(
            "the gateway does not know this key",
            status=401,
            code="invalid_key",
            hint="ask the operator for one (abstractcore keys add NAME); keys of backends are not for clients",
        )


def presented(request: Request) -> str | None:
    """The key that a request carries: in OpenAI's header, or in Anthropic's."""
    given = request.header(b"authorization")
    if given is not None:
        scheme, _, secret = given.partition(" ")
        if scheme.lower() == "bearer" and secret.strip():
            return secret.strip()
    return request.header(b"x-api-key") or None


def require_adapters(request: Request) -> None:
    """Refuses keys that may not load and unload adapters.

    Raises:
        GatewayError: The key is such a one.
    """
    if request.key is not None and not request.key.adapters:
        raise GatewayError(
            f"the key {request.key.name!r} may not load or unload adapters",
            status=403,
            code="adapters_not_allowed",
            hint="the operator can make a key that may: abstractcore keys add NAME --adapters",
        )


def visible(request: Request, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a list of models that whoever sent a request may use."""
    key = request.key
    if key is None or not key.models:
        return rows
    return [
        {**row, "adapters": [name for name in row["adapters"] if key.may_use(name)]}
        for row in rows
        if key.may_use(row["id"], row.get("alias_of", ""), *row["aliases"])
    ]


def may_use(request: Request, name: str) -> bool:
    """Whether whoever sent a request may use a model."""
    return request.key is None or request.key.may_use(name)
