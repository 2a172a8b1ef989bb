"""What was started under a project's name, kept beside its key, so that ``diff`` and ``down`` know what was planned."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec

from ...errors import ConfigurationError
from ..container import LABEL, Deployment

SCHEMA: Final = "abstractcore.deployment/1"
_NAME: Final = "deployment.json"


def plan_of(deployment: Deployment) -> str:
    """The digest of all that its containers are made of."""
    return deployment.server.labels[f"{LABEL}.plan"]


def save(folder: Path, deployment: Deployment, engine: str) -> None:
    """Keeps a deployment.

    Args:
        folder: That of the project.
        deployment: What was started.
        engine: ``docker`` or ``podman``.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = folder / f"{_NAME}.new"
    document = {"schema": SCHEMA, "engine": engine, "deployment": as_data(deployment)}
    scratch.write_bytes(msgspec.json.encode(document))
    scratch.replace(folder / _NAME)


def load(folder: Path) -> Deployment | None:
    """What was started, as far as it is known here.

    Raises:
        ConfigurationError: The file is damaged.
    """
    path = folder / _NAME
    try:
        return from_data(msgspec.json.decode(path.read_bytes())["deployment"])
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} can't be read", why=str(error), hint=f"rm {path}") from error


def as_data(deployment: Deployment) -> dict[str, Any]:
    """A deployment as JSON knows it."""
    found: dict[str, Any] = msgspec.to_builtins(deployment, enc_hook=_encode)
    return found


def from_data(data: Any) -> Deployment:
    """The way back.

    Raises:
        msgspec.ValidationError: It is no deployment.
    """
    return msgspec.convert(data, Deployment, dec_hook=_decode)


def forget(folder: Path) -> None:
    """Removes what is kept."""
    (folder / _NAME).unlink(missing_ok=True)


def _encode(value: Any) -> Any:
    if isinstance(value, PurePosixPath):
        return str(value)
    raise NotImplementedError(type(value))


def _decode(kind: type, value: Any) -> Any:
    if kind is PurePosixPath:
        return PurePosixPath(value)
    raise NotImplementedError(kind)
