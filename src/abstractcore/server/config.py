"""What an operator configures: backends, aliases, keys, limits. From TOML and the command line."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct, field

from ..errors import ConfigurationError
from ..settings import resolve

DEFAULT_PORT: Final = 8080
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


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
    """Folders on the servers below which adapters may be loaded; empty: any path, from those who may."""
    max_in_flight: int = 4096
    """Requests at a time on one replica; where all have as many, further ones are answered 503 at once."""
    max_waiting: int = 1024
    """The same for requests that wait in the server, by its own count."""
    health_checks: bool = True
    """Whether replicas are looked at all the time, and those that don't answer get no requests. Clouds never are."""
    data_plane: Literal["vllm-router"] | None = None
    """What spreads requests over the replicas: the gateway itself, or a router that it starts."""
    patience_seconds: float | None = None
    """A server that generates nothing for so long, though it is asked to, is given up: by default after 5 seconds
    where there are replicas to go on, and after 60 where there is none."""


class Limits(Struct, kw_only=True, forbid_unknown_fields=True):
    """What one client, or all of them, may take."""

    max_body_bytes: int = 32 * 1024 * 1024
    """Of a request, pictures included."""
    max_head_bytes: int = 64 * 1024
    """Of a request's headers, about."""
    request_seconds: float = 60.0
    """Until a request has come as a whole."""
    max_in_flight: int = 4096
    """Requests at a time; further ones are answered 503 at once."""
    max_in_flight_per_key: int | None = None
    """The same for each key; further ones are answered 429 at once."""
    first_byte_seconds: float = 600.0
    """From the request to the first byte of the backend's answer."""
    idle_seconds: float = 120.0
    """Between two parts of a stream."""
    total_seconds: float | None = None
    """For a whole answer."""


class GatewayConfig(Struct, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
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
    grace_seconds: int = 30
    """For open answers, once the gateway is told to stop."""
    quiet: bool = False
    """Write no line for each request."""


def read_config(path: Path | None) -> GatewayConfig:
    """Reads a configuration file; what it does not say is taken from the settings (``serve.host`` and the like).

    Raises:
        ConfigurationError: It can't be read, or something in it makes no sense; names the place.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8")) if path else {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} can't be read", why=str(error)) from error
    return config_of(_from_settings() | data, str(path or "the settings"))


def _from_settings() -> dict[str, Any]:
    given = {name: resolve(f"serve.{name}") for name in ("host", "port", "keys", "allow_open")}
    data: dict[str, Any] = {name: row.value for name, row in given.items() if row.value}
    if not data["port"].isdigit():
        raise ConfigurationError(f"{given['port'].origin} is {data['port']!r}, which is no port")
    return data | {"port": int(data["port"]), "allow_open": "allow_open" in data}


def config_of(data: dict[str, Any], origin: str) -> GatewayConfig:
    """The same from what a TOML file holds."""
    try:
        return msgspec.convert(data, GatewayConfig)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{origin}: {error}", hint=_nearest(str(error))) from error


def _nearest(message: str) -> str | None:
    name = message.split("`")[1] if message.count("`") >= 2 else ""
    known = [*GatewayConfig.__struct_fields__, *BackendConfig.__struct_fields__, *Limits.__struct_fields__]
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near and "unknown field" in message else None


def check_config(config: GatewayConfig) -> None:
    """Refuses what would be unsafe.

    Raises:
        ConfigurationError: Addresses beyond loopback are served to everybody.
    """
    if config.host not in LOOPBACK and not config.keys and not config.allow_open:
        raise ConfigurationError(
            f"the gateway would serve {config.host} without keys: anybody who reaches it could use the models",
            hint="abstractcore keys add NAME, or --allow-open if the network is closed",
        )
