"""The configuration that is in force, and where each part of it comes from: default, setting, file or flag."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from ..errors import ConfigurationError
from ..settings import resolve
from .config import GatewayConfig, config_of

WIDTH: Final = 56


class Given(NamedTuple):
    """What a flag says."""

    path: tuple[str, ...]
    """Where it would stand in a file, such as ``("backends", "vllm", "base_url")``."""
    value: Any
    """An empty table is made only where there is none."""
    origin: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration."""

    config: GatewayConfig
    origins: Mapping[tuple[str, ...], str]
    """Of what is no default."""

    def text(self) -> str:
        """All of it as a TOML file that says the same, each line with its origin."""
        return "\n".join(_lines(msgspec.to_builtins(self.config), self.origins, ())) + "\n"


def load(file: Path | None, flags: Iterable[Given] = ()) -> Loaded:
    """Puts a configuration together: a flag beats the file, the file beats the settings (``ABSTRACTCORE_HOST`` ...).

    Raises:
        ConfigurationError: The file can't be read, or something makes no sense; names the place.
    """
    data = _read(file) if file else {}
    origins = dict.fromkeys(_leaves(data, ()), str(file))
    for path, value, origin in _settings():
        if path[0] not in data:
            data[path[0]], origins[path] = value, origin
    for path, value, flag in flags:
        _put(data, path, value)
        origins[path] = flag
    config = config_of(data, str(file) if file else "the command line")
    return Loaded(config, origins)


def _settings() -> Iterator[Given]:
    """What the environment and the settings files say of the gateway."""
    for name in ("host", "port", "keys", "allow_open"):
        found = resolve(f"serve.{name}")
        if found.origin == "default" or found.value is None:
            continue
        value: str | int | bool = found.value
        if name == "port":
            if not found.value.isdigit():
                raise ConfigurationError(f"{found.origin} is {found.value!r}, which is no port")
            value = int(found.value)
        elif name == "allow_open":
            value = True
        yield Given((name,), value, found.origin)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # no TOML, no UTF-8, a number too long, too deep
        raise ConfigurationError(f"{file} can't be read", why=str(error)) from error


def _leaves(data: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name)


def _put(data: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        inner = data.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigurationError(f"{name} is no table, so {'.'.join(path)} can't be in it")
        data = inner
    if value != {}:
        data[path[-1]] = value
    else:
        data.setdefault(path[-1], {})


def _lines(data: Mapping[str, Any], origins: Mapping[tuple[str, ...], str], path: tuple[str, ...]) -> Iterator[str]:
    for name, value in data.items():
        if not isinstance(value, dict):
            origin = origins.get((*path, name), "default")
            line = f"# {_key(name)}: not set" if value is None else f"{_key(name)} = {_toml(value)}"
            yield f"{line:<{WIDTH}} # {origin}" if value is not None else f"{line:<{WIDTH}} ({origin})"
    for name, value in data.items():
        if isinstance(value, dict) and value:
            if not all(isinstance(inner, dict) for inner in value.values()):
                yield from ("", f"[{'.'.join(map(_key, (*path, name)))}]")
            yield from _lines(value, origins, (*path, name))


def _key(name: str) -> str:
    is_bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if is_bare else _toml(name)


def _toml(value: Any) -> str:
    """A value as TOML; what JSON writes is the same for all that stands in a configuration."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return msgspec.json.encode(_hidden(value) if isinstance(value, str) else value).decode()


def _hidden(text: str) -> str:
    """Without the password of an address."""
    scheme, mark, rest = text.partition("://")
    user, at, host = rest.rpartition("@")
    name, colon, password = user.partition(":")
    return f"{scheme}{mark}{name}:(hidden){at}{host}" if mark and colon and password else text
