"""Settings, and where each one came from.

Order, later beats earlier: default, ``/etc/abstractcore/config.toml``, the user's ``config.toml``, the project's
``abstractcore.toml``, the environment, an explicit argument. An empty environment variable counts as unset. A secret
may also stand in a file that its variable with ``_FILE`` names, such as ``VLLM_API_KEY_FILE``, as in containers.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from .errors import ConfigurationError

SYSTEM_FILE: Final = Path("/etc/abstractcore/config.toml")
PROJECT_FILE: Final = Path("abstractcore.toml")
_USER_OF_AN_ADDRESS: Final = re.compile(r"(?<=://)[^/@\s,]+@")


class Setting(Struct, frozen=True):
    """One row of the settings table."""

    name: str
    """Dotted, as in the TOML files: ``vllm.base_url``."""
    default: str | None
    env: tuple[str, ...]
    """Environment variables, the first that is set wins."""
    doc: str
    secret: bool = False


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("default.provider", "vllm", ("ABSTRACTCORE_PROVIDER",), "Provider of the command line when none is named."),
    Setting("default.model", None, ("ABSTRACTCORE_MODEL",), "Model of the command line when none is named."),
    Setting("default.yes", None, ("ABSTRACTCORE_YES",), "Anything here agrees to the download of the small model."),
    Setting(
        "vllm.base_url",
        "http://localhost:8000/v1",
        ("VLLM_BASE_URL",),
        "Address of the vLLM server; several with commas between them.",
    ),
    Setting("vllm.api_key", "EMPTY", ("VLLM_API_KEY",), "Key of the vLLM server.", secret=True),
    Setting("openai.base_url", "https://api.openai.com/v1", ("OPENAI_BASE_URL",), "Address of the OpenAI server."),
    Setting("openai.api_key", None, ("OPENAI_API_KEY",), "Key of the OpenAI server.", secret=True),
    Setting(
        "anthropic.base_url", "https://api.anthropic.com", ("ANTHROPIC_BASE_URL",), "Address of the Anthropic server."
    ),
    Setting("anthropic.api_key", None, ("ANTHROPIC_API_KEY",), "Key of the Anthropic server.", secret=True),
    Setting(
        "ollama.base_url",
        "http://localhost:11434",
        ("OLLAMA_BASE_URL", "OLLAMA_HOST"),
        "Address of the Ollama server.",
    ),
    Setting("ollama.api_key", None, ("OLLAMA_API_KEY",), "Key of the Ollama server.", secret=True),
    Setting(
        "lmstudio.base_url", "http://localhost:1234/v1", ("LMSTUDIO_BASE_URL",), "Address of the LM Studio server."
    ),
    Setting(
        "lmstudio.api_key", None, ("LMSTUDIO_API_KEY", "LM_API_TOKEN"), "Key of the LM Studio server.", secret=True
    ),
    Setting(
        "huggingface.token", None, ("HF_TOKEN", "HUGGINGFACE_TOKEN"), "Token for the Hugging Face hub.", secret=True
    ),
    Setting("serve.host", "127.0.0.1", ("ABSTRACTCORE_HOST",), "Address that the gateway serves on."),
    Setting("serve.port", "8080", ("ABSTRACTCORE_PORT",), "Port that the gateway serves on."),
    Setting("serve.keys", None, ("ABSTRACTCORE_KEYS",), "File with the keys of the gateway's clients."),
    Setting(
        "serve.allow_open", None, ("ABSTRACTCORE_ALLOW_OPEN",), "Anything here lets the gateway serve without keys."
    ),
    Setting("cache.dir", None, ("ABSTRACTCORE_CACHE",), "Folder for downloaded servers and models."),
)
TABLE: Final[dict[str, Setting]] = {row.name: row for row in SETTINGS}
"""By name; providers of other packages add theirs."""


def declare_settings(*rows: Setting) -> None:
    """Adds the settings of a provider that comes from another package."""
    TABLE.update({row.name: row for row in rows})


class Value(Struct, frozen=True):
    """A setting's value and its origin."""

    name: str
    value: str | None
    origin: str
    """``argument``, the environment variable's name, ``FILE``, or ``default``."""

    def __repr__(self) -> str:
        return f"Value({self.name!r}, {self.shown()!r}, {self.origin!r})"

    def shown(self) -> str:
        """The value as it may be printed: secrets are hidden."""
        if self.value is None:
            return "(not set)"
        if TABLE[self.name].secret and self.value != TABLE[self.name].default:
            return "(hidden)"
        return _USER_OF_AN_ADDRESS.sub("(hidden)@", self.value)


def user_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's settings file: ``$XDG_CONFIG_HOME/abstractcore/config.toml``, by default below ``~/.config``."""
    base = environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "abstractcore" / "config.toml"


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder for heavy parts (servers, models); it may be deleted at any time and is rebuilt when missing."""
    chosen = resolve("cache.dir", environ=environ).value
    if chosen:
        return Path(chosen).expanduser()
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "abstractcore"


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder for what must last: the keys of the servers that were started here."""
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "abstractcore"


def resolve(
    name: str,
    argument: str | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    files: tuple[Path, ...] | None = None,
) -> Value:
    """Finds a setting's value and origin.

    Args:
        name: A name from ``SETTINGS``.
        argument: The explicit value; it always wins.
        environ: The environment.
        files: Settings files, strongest first; the standard places when left out.

    Raises:
        ConfigurationError: A settings file is not valid TOML, or holds something other than a string for this name.
        KeyError: There is no such setting.
    """
    row = TABLE[name]
    if argument is not None:
        return Value(name, argument, "argument")
    for variable in row.env:
        if environ.get(variable):
            return Value(name, environ[variable], variable)
        if row.secret and environ.get(f"{variable}_FILE"):
            return Value(name, _read_secret(f"{variable}_FILE", Path(environ[f"{variable}_FILE"])), f"{variable}_FILE")
    for path in (PROJECT_FILE, user_file(environ), SYSTEM_FILE) if files is None else files:
        found = _lookup(path, name)
        if found is not None:
            return Value(name, found, str(path))
    return Value(name, row.default, "default")


def _lookup(path: Path, name: str) -> str | None:
    try:
        if not path.exists():
            return None
    except PermissionError as error:
        raise _unreadable(path, error) from error
    import tomllib

    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            document = tomllib.load(file)
    except (OSError, ValueError, RecursionError) as error:  # no TOML, no UTF-8, a number too long, too deep
        raise _unreadable(path, error) from error
    held = next((row.name for row in TABLE.values() if row.secret and _within(document, row.name) is not None), None)
    if held is not None:
        _check_mode(mode, path, f"the settings file {path} holds {held} and")
    node = _within(document, name)
    if node is not None and not isinstance(node, str):
        raise ConfigurationError(f"{name} in {path} must be a string", why=f"it is {type(node).__name__}")
    return node


def _within(node: Any, name: str) -> Any:
    """What a document has under a dotted name; ``None`` if nothing."""
    for part in name.split("."):
        if not isinstance(node, dict) or part not in node:
            return None
        node = node[part]
    return node


def _read_secret(variable: str, path: Path) -> str:
    return read_private(path, f"the file that {variable} names")


def read_private(path: Path, what: str) -> str:
    """The text of a file that only its owner may read.

    Args:
        path: The file.
        what: What errors call it.

    Raises:
        ConfigurationError: It can't be read, is open to others, or empty.
    """
    try:
        with path.open(encoding="utf-8") as file:
            _check_mode(os.fstat(file.fileno()).st_mode, path, what)
            text = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{what} can't be read", why=str(error)) from error
    if not text:
        raise ConfigurationError(f"{what} is empty", why=str(path))
    return text


def _check_mode(mode: int, path: Path, what: str) -> None:
    """Refuses a file with secrets that others may read or write; Windows keeps who may in other places.

    Raises:
        ConfigurationError: It is such a file.
    """
    if os.name == "posix" and mode & 0o077:
        raise ConfigurationError(
            f"{what} is open to others", why=f"{path} has the mode {stat.S_IMODE(mode):o}", hint=f"chmod 600 {path}"
        )


def _unreadable(path: Path, cause: Exception) -> ConfigurationError:
    return ConfigurationError(f"the settings file {path} can't be read", why=str(cause), hint=f"mend or remove {path}")
