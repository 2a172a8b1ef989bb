"""Conversations as JSON: written so that a file is whole or as it was before, read with every fault named."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from ..errors import SessionError
from ..types import Message

VERSION: Final = "session-archive/v1"


class Head(Struct):
    """What there is to know of a conversation besides its messages."""

    provider: str | None = None
    model: str | None = None
    system_prompt: str | None = None
    summary: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    tools: list[str] = field(default_factory=list)
    """Names; functions can't be saved."""


class Archive(Struct):
    """A saved conversation."""

    schema_version: str
    session: Head
    messages: list[Message]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it.

        Raises:
            SessionError: Something in it is no JSON.
        """
        try:
            messages = [_message(message) for message in self.messages]
            document = {"schema_version": self.schema_version, "session": _said(self.session), "messages": messages}
            plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            raise SessionError(
                "the session can't be saved",
                why=str(error),
                hint="options that are no JSON, such as classes, belong to the single call",
            ) from error
        return plain


def read(document: Mapping[str, Any], where: str = "the document") -> Archive:
    """Reads a saved conversation; what it has beyond what is known here is left aside.

    Raises:
        SessionError: It is no session, or one of a newer kind.
    """
    version = document.get("schema_version") if isinstance(document, Mapping) else None
    if version != VERSION:
        raise SessionError(
            f"{where} is not a saved session that can be read here",
            why=f"its schema_version is {version!r}; known is {VERSION!r}",
            hint="a newer abstractcore may have written it: pip install -U abstractcore"
            if str(version).startswith("session-archive/")
            else None,
        )
    try:
        return msgspec.convert(document, Archive)
    except msgspec.ValidationError as error:
        raise SessionError(f"{where} is not a saved session", why=str(error)) from error


def load(path: str | os.PathLike[str]) -> Archive:
    """Reads a file.

    Raises:
        SessionError: It can't be read, or is no saved session.
    """
    try:
        document = msgspec.json.decode(Path(path).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SessionError(f"{os.fspath(path)!r} can't be read as a saved session", why=str(error)) from error
    return read(document, repr(os.fspath(path)))


def save(path: str | os.PathLike[str], document: Mapping[str, Any]) -> None:
    """Writes a file that only its owner can read; at no time is there half a file.

    Raises:
        SessionError: It can't be written.
    """
    target = Path(path)
    data = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SessionError(f"the session can't be saved to {os.fspath(path)!r}", why=str(error)) from error


def _message(message: Message) -> dict[str, Any]:
    calls = {"tool_calls": [_said(call) for call in message.tool_calls]} if message.tool_calls else {}
    return {**_said(message), **calls}


def _said(record: Struct) -> dict[str, Any]:
    """The fields that say something."""
    return {name: value for name, value in msgspec.structs.asdict(record).items() if value is not None}
