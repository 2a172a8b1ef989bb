"""The key that server and client share: a file that only their user may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ...errors import ConfigurationError
from .reading import user_of


def ensure_key(path: Path, user: str | None, *, is_rootless: bool = False) -> bool:
    """Makes the file if it is missing, with a key of 256 bits.

    Args:
        path: The file.
        user: ``uid:gid`` of the containers, who has to own it; root when ``None``.
        is_rootless: The engine's root is the caller.

    Returns:
        Whether it was made now.

    Raises:
        ConfigurationError: The file that is there is open to others, empty, or another user's.
    """
    owner = None if is_rootless else user_of(user or "", capable=True)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        _check(path, owner.uid if owner else None)
        return False
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
        if owner and os.geteuid() == 0:
            os.fchown(file.fileno(), owner.uid, owner.gid)
    return True


def _check(path: Path, uid: int | None) -> None:
    status = path.stat()
    if status.st_mode & 0o077:
        raise ConfigurationError(
            f"the key file {path} is open to others",
            why=f"its mode is {status.st_mode & 0o777:o}",
            hint=f"chmod 600 {path}",
        )
    if uid is not None and uid != status.st_uid:
        raise ConfigurationError(
            f"the containers may not read the key file {path}",
            why=f"they run as uid {uid}, it belongs to uid {status.st_uid}",
            hint=f"chown {uid} {path}",
        )
    if status.st_size == 0:
        raise ConfigurationError(f"the key file {path} is empty", hint=f"rm {path} (a new one is made)")
