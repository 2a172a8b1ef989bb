"""Keys of clients: who may use the gateway, which models, and how often.

The file holds no key, only its SHA-256. A slow hash guards what people think up; these keys are 256 random bits, which
nobody can try out however fast the hash is, and each request would pay for a slow one.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from ..errors import ConfigurationError
from ..settings import read_private, user_file
from .errors import GatewayError

SCHEMA: Final = "abstractcore.keys/1"
NAME: Final = r"^[\w.@-]{1,64}$"
PREFIX: Final = "ac-"
"""Of each key, so that a scanner for secrets can find one that was pasted somewhere."""
REREAD_SECONDS: Final = 1.0
"""For so long at most a change of the file goes unseen."""

Positive = Annotated[int, Meta(ge=1)]


class Key(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key, as the file holds it."""

    name: Annotated[str, Meta(pattern=NAME)]
    """Whose it is."""
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    """Of the key itself, which is nowhere."""
    created: datetime
    models: tuple[str, ...] = ()
    """Patterns (``*``, ``?``, ``[...]``) of ``backend/model`` and of aliases; where there is none, it may use all."""
    rate: Positive | None = None
    """Requests a minute."""
    in_flight: Positive | None = None
    """Requests at a time."""
    adapters: bool = False
    """Whether it may load and unload adapters."""
    expires: datetime | None = None

    def __repr__(self) -> str:
        return f"Key({self.name!r})"

    def may_use(self, *names: str) -> bool:
        """Whether it is good for a model that has these names."""
        return not self.models or any(fnmatchcase(name, pattern) for name in names for pattern in self.models)

    def has_expired(self, now: datetime | None = None) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= (now or datetime.now(UTC))


class _File(Struct, kw_only=True, forbid_unknown_fields=True):
    schema: str = SCHEMA
    keys: list[Key] = []


def default_path() -> Path:
    """Where keys are unless a file is named: beside the user's settings."""
    return user_file().with_name("keys.json")


def read_keys(path: Path) -> list[Key]:
    """Reads a file of keys.

    Raises:
        ConfigurationError: It can't be read, is open to others, or is no file of keys.
    """
    text = read_private(path, f"the file of keys {path}")
    try:
        found = msgspec.json.decode(text, type=_File)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} is no file of keys", why=str(error), hint="abstractcore keys add NAME makes one"
        ) from error
    if found.schema != SCHEMA:
        raise ConfigurationError(f"{path} is no file of keys", why=f"its schema is {found.schema!r}, not {SCHEMA!r}")
    names = [key.name for key in found.keys]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(f"{path} names {', '.join(sorted(twice))} more than once")
    return found.keys


def write_keys(path: Path, keys: Iterable[Key]) -> None:
    """Writes a file of keys, mode 0600, whole or not at all.

    Raises:
        ConfigurationError: The folder does not let us.
    """
    data = msgspec.json.format(msgspec.json.encode(_File(keys=list(keys))), indent=2)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigurationError(f"{path} can't be written", why=str(error)) from error


def locked_file(path: Path) -> AbstractContextManager[int]:
    """Keeps other commands from changing the file while a block runs."""
    from ..deploy.lock import locked

    return locked(path.with_name(f".{path.name}.lock"))


def make_key() -> tuple[str, str]:
    """A new key, and the hash that stands for it in the file."""
    made = PREFIX + secrets.token_urlsafe(32)
    return made, sha256(made.encode()).hexdigest()


class Keyring:
    """The keys of a file, read again when it changes.

    A file that was good and is not any more refuses everybody: a key that was taken away must not go on working
    because of a slip of the pen beside it.

    Args:
        path: The file.

    Raises:
        ConfigurationError: It is missing, open to others, or no file of keys.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[tuple[bytes, Key]] = []
        self._broken: ConfigurationError | None = None
        self._checked = monotonic()
        self._seen = _signature(path)
        self._take(read_keys(path))

    def __len__(self) -> int:
        return len(self._rows)

    def _take(self, keys: Iterable[Key]) -> None:
        self._rows = [(bytes.fromhex(key.sha256), key) for key in keys]

    def refresh(self) -> None:
        """Reads the file again if it has changed."""
        self._checked = monotonic()
        seen = _signature(self.path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._take(read_keys(self.path))
            self._broken = None
        except ConfigurationError as error:
            self._broken = error

    def find(self, secret: str) -> Key | None:
        """The key that a client presented, if it is one; every candidate is compared, in constant time.

        Raises:
            GatewayError: The file can't be read any more.
        """
        if monotonic() - self._checked >= REREAD_SECONDS:
            self.refresh()
        if self._broken is not None:
            raise GatewayError(
                "the gateway can't read its file of keys",
                status=503,
                code="keys_unreadable",
                hint="the operator finds the reason with: abstractcore serve --check",
            )
        digest = sha256(secret.encode("utf-8", "surrogatepass")).digest()
        found = None
        for candidate, key in self._rows:
            if hmac.compare_digest(candidate, digest):
                found = key
        return found


def _signature(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino, stat.S_IMODE(status.st_mode)
