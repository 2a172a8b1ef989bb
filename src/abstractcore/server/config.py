"""What an operator configures: backends, aliases, keys, limits. From TOML and the command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from ..errors import ConfigurationError

DEFAULT_PORT: Final = 8080
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/*\s]+")
_SECRETS: Final = ("api_key", "key", "token", "password", "secret")

T = TypeVar("T")
Count: TypeAlias = Annotated[int, Meta(ge=1)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0)]


class BackendConfig(Struct, kw_only=True, forbid_unknown_fields=True):
    """One backend: a provider, and where its servers are."""

    provider: str | None = None
    """Name of the provider; the backend's own name by default."""
    base_url: str | list[str] | None = None
    """One address, or those of replicas; the provider's own setting by default."""
    api_key_file: str | None = None
    """File with the key of these servers; the provider's own setting by default."""
    model: str | None = None
    """What to ask where a request names only the backend."""
    allow_adapters: bool = False
    """Whether clients may load and unload adapters."""
    adapter_folders: list[str] = field(default_factory=list)
    """Folders on the servers below which adapters may be loaded; needed where ``allow_adapters`` is set."""
    max_in_flight: Count = 4096
    """Requests at a time on one replica; where all have as many, further ones are answered 503 at once."""
    max_waiting: Count = 1024
    """The same for requests that wait in the server, by its own count."""
    health_checks: bool = True
    """Whether replicas are looked at all the time, and those that don't answer get no requests. Clouds never are."""
    data_plane: Literal["vllm-router"] | None = None
    """What spreads requests over the replicas: the gateway itself, or a router that it starts."""
    patience_seconds: Seconds | None = None
    """A server that generates nothing for so long, though it is asked to, is given up: by default after 5 seconds
    where there are replicas to go on, and after 60 where there is none."""


class Limits(Struct, kw_only=True, forbid_unknown_fields=True):
    """What one client, or all of them, may take."""

    max_body_bytes: Count = 32 * 1024 * 1024
    """Of a request, pictures included."""
    max_head_bytes: Count = 64 * 1024
    """Of the head of a request: its first line and its headers."""
    request_seconds: Seconds = 60.0
    """Until a request has come as a whole."""
    max_in_flight: Count = 4096
    """Requests at a time; further ones are answered 503 at once."""
    max_in_flight_per_key: Count | None = None
    """The same for each key; further ones are answered 429 at once."""
    first_byte_seconds: Seconds = 600.0
    """From the request to the first byte of the backend's answer."""
    idle_seconds: Seconds = 120.0
    """Between two parts of a stream, and for a client that takes nothing of what it is sent."""
    total_seconds: Seconds | None = None
    """For a whole answer."""


class GatewayConfig(Struct, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    host: str = "127.0.0.1"
    """Address to serve on; beyond this machine only with keys, or where ``allow_open`` says so."""
    port: Annotated[int, Meta(ge=0, le=65535)] = DEFAULT_PORT
    """Port to serve on; 0 for any that is free."""
    keys: str | None = None
    """File with the keys of clients (``abstractcore keys``)."""
    allow_open: bool = False
    """Serve without keys on addresses other than loopback."""
    open_metrics: bool = False
    """Answer ``/metrics`` without a key, for a Prometheus that has none."""
    cors_origins: list[str] = field(default_factory=list)
    """Origins whose pages may call, such as ``https://chat.example.org``; none by default."""
    hosts: list[str] = field(default_factory=list)
    """Names under which clients without keys may call, beside addresses, ``localhost`` and names without dots."""
    backends: dict[str, BackendConfig] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    """Short names for ``backend/model``."""
    limits: Limits = field(default_factory=Limits)
    grace_seconds: Annotated[int, Meta(ge=0)] = 30
    """For open answers, once the gateway is told to stop."""
    quiet: bool = False
    """Write no line for each request."""


def config_of(data: Mapping[str, Any], origin: str) -> GatewayConfig:
    """The configuration that a TOML file, or flags, hold.

    Args:
        data: As TOML is read.
        origin: Where it comes from, for errors.

    Raises:
        ConfigurationError: Something in it makes no sense; names the place.
    """
    rest = dict(data)
    rows = rest.pop("backends", {})
    if not isinstance(rows, dict):
        raise ConfigurationError(f"{origin}: backends must be tables", hint="[backends.vllm]")
    config = _read(rest, GatewayConfig, origin, "")
    config.backends = {name: _read(row, BackendConfig, origin, f"backends.{name}") for name, row in rows.items()}
    return config


def _read(data: Any, kind: type[T], origin: str, place: str) -> T:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), kind, origin, place) from error


_UNKNOWN: Final = re.compile(r"Object contains unknown field `([^`]*)`(?: - at `\$\.?(.*)`)?")
_WRONG: Final = re.compile(r"(.*) - at `\$\.?(.*)`$")


def _misfit(text: str, kind: type, origin: str, place: str) -> ConfigurationError:
    if unknown := _UNKNOWN.fullmatch(text):
        name = unknown[1]
        inner = {"limits": Limits}.get(unknown[2] or "", kind)
        near = difflib.get_close_matches(name, inner.__struct_fields__, 1, 0.5)  # type: ignore[attr-defined]
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(inner.__struct_fields__)}"  # type: ignore[attr-defined]
        if name in _SECRETS:
            hint = "a key stands in a file of its own: api_key_file names it"
        where = ".".join(part for part in (place, unknown[2], name) if part)
        return ConfigurationError(f"{origin}: there is no setting {where!r}", hint=hint)
    wrong = _WRONG.fullmatch(text)
    what, inside = (wrong[1], wrong[2]) if wrong else (text, "")
    where = ".".join(part for part in (place, inside) if part)
    return ConfigurationError(f"{origin}: {where or 'it'} does not fit: {what.replace('`', '')}")


def check_config(config: GatewayConfig) -> None:
    """Refuses what would be unsafe, or can't be meant.

    Raises:
        ConfigurationError: Addresses beyond loopback are served to everybody, or a name or origin makes no sense.
    """
    if config.host not in LOOPBACK and not config.keys and not config.allow_open:
        raise ConfigurationError(
            f"the gateway would serve {config.host} without keys: anybody who reaches it could use the models",
            hint="abstractcore keys add NAME, then abstractcore serve --keys; or --allow-open if the network is closed",
        )
    for origin in config.cors_origins:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"{origin!r} in cors_origins is no origin",
                why="each page that may call is named exactly; there are no patterns",
                hint="write it as browsers do: https://chat.example.org, without a path",
            )
    for name, row in config.backends.items():
        _check_adapters(name, row)
    for alias in config.aliases:
        if alias.partition("/")[0] in config.backends:
            raise ConfigurationError(
                f"the alias {alias!r} looks like a model of the backend {alias.partition('/')[0]!r}",
                hint="take a name that is no backend's",
            )


def _check_adapters(name: str, row: BackendConfig) -> None:
    if not row.allow_adapters:
        return
    if not row.adapter_folders:
        raise ConfigurationError(
            f"clients could have the servers of {name!r} load any folder that is there",
            why="allow_adapters is set, and adapter_folders is empty",
            hint=f'adapter_folders = ["/models/adapters"] below [backends.{name}]',
        )
    for folder in row.adapter_folders:
        if not folder.startswith("/"):
            raise ConfigurationError(
                f"{folder!r} in adapter_folders of {name!r} is not absolute", why="the folder is one of the servers"
            )
