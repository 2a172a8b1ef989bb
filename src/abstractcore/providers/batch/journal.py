"""The file that makes a batch resumable: a line for each finished item, written as it finishes.

A line is ``{"index", "digest", "model", "response" | "error"}``. A line cut by a crash, and failed items, leave the
file when it is opened again; so it never holds an index twice, and in the end holds each once.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from ...constraint import Constraint
from ...errors import AbstractCoreError, ConfigurationError, ProviderError
from ...types import GenerateRequest, GenerateResponse

if sys.platform != "win32":
    import fcntl


class Record(Struct, kw_only=True, omit_defaults=True):
    """One line."""

    index: int
    digest: str
    """Of prompt and options, so that a file of another batch is recognised."""
    model: str | None = None
    """The model that was asked for, if one was named."""
    response: GenerateResponse | None = None
    error: dict[str, Any] | None = None
    """``type``, ``message`` and what else is known; failed items are asked again, so nobody reads it back."""


_DECODER: Final = msgspec.json.Decoder(Record)
_BEGINNING: Final = b'{"index":'
_NOT_DIGESTED: Final = frozenset(
    {"timeout", "allow_unknown", "request_id", "priority", "check_length", "max_retries", "response_model"}
)
"""What may change between a run and its resumption: it doesn't change what is asked. A response model does by its
schema, which is in the constraint.
"""


class Journal:
    """An open file of a batch. Only one process can hold it.

    Args:
        path: The file; made if missing.

    Raises:
        ConfigurationError: It can't be opened, is no such file, is damaged, or another process uses it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise ConfigurationError(f"can't open {self.path} for writing", why=str(error)) from error
        try:
            self._check()
            self._keep: dict[int, bytes] = {}
            self._must_mend = False
            self.answered = self._read()
            """What earlier runs have answers to, by index. Failed items are asked again, so they are forgotten."""
        except BaseException:
            os.close(self._fd)
            raise

    def begin(self) -> None:
        """Gets the file ready for more: only whole lines with an answer stay in it."""
        if self._must_mend:
            self._replace(self._keep.values())
        self._keep = {}

    def forget(self, index: int) -> None:
        """Before ``begin``: the item is to be asked again."""
        del self.answered[index], self._keep[index]
        self._must_mend = True

    def write(self, record: Record) -> None:
        """Adds a line; it is the operating system's when this returns, so the death of the process can't take it."""
        response = record.response and structs.replace(record.response, raw_body=None, parsed=None)
        line = memoryview(msgspec.json.encode(structs.replace(record, response=response)) + b"\n")
        while line:
            line = line[os.write(self._fd, line) :]

    def close(self) -> None:
        """Has the disk store it all, and lets the file go."""
        os.fsync(self._fd)
        os.close(self._fd)

    def refuse(self, why: str) -> ConfigurationError:
        """The error for a file that doesn't belong to this batch."""
        return ConfigurationError(
            f"{self.path} is the file of another batch; nothing was sent, and the file is as it was",
            why=why,
            hint="resume with the same prompts, options and model, or give another file",
        )

    def _check(self) -> None:
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise ConfigurationError(f"{self.path} is no regular file, so nothing can be read back from it")
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = os.path.samestat(os.fstat(self._fd), self.path.stat())
        except BlockingIOError:
            is_ours = False
        if not is_ours:
            raise ConfigurationError(
                f"another process is running the batch of {self.path}", hint="wait for it, or give another file"
            )

    def _read(self) -> dict[int, Record]:
        *lines, tail = self.path.read_bytes().split(b"\n")
        answered: dict[int, Record] = {}
        for number, line in enumerate([*lines, tail] if tail else lines, start=1):
            try:
                record = _DECODER.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                if number > len(lines) and (line.startswith(_BEGINNING) or _BEGINNING.startswith(line)):
                    break  # cut by a crash
                raise ConfigurationError(
                    f"{self.path} can't be resumed: line {number} is none of a batch's",
                    why=str(error),
                    hint="give another file, or remove that line: its item is asked again",
                ) from error
            if record.response is not None:
                answered[record.index] = record
                self._keep[record.index] = line
        self._must_mend = bool(tail) or len(self._keep) < len(lines)
        return answered

    def _replace(self, lines: Iterable[bytes]) -> None:
        """Puts a file with these lines in the old one's place: at once, or not at all."""
        fresh = self.path.with_name(f"{self.path.name}.tmp")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, stat.S_IMODE(os.fstat(self._fd).st_mode))
        with os.fdopen(os.dup(fd), "wb") as file:
            file.writelines(line + b"\n" for line in lines)
            file.flush()
            os.fsync(fd)
        if sys.platform != "win32":
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.replace(self.path)
        os.close(self._fd)
        self._fd = fd


def describe(error: AbstractCoreError) -> dict[str, Any]:
    """An error as data."""
    facts: dict[str, Any] = {
        "type": type(error).__name__, "message": error.message, "why": error.why, "hint": error.hint,
    }  # fmt: skip
    if isinstance(error, ProviderError):
        facts |= {"status": error.status, "code": error.code, "request_id": error.request_id}
    else:
        facts["text"] = getattr(error, "text", None)
    return {name: value for name, value in facts.items() if value is not None}


_EMPTY: Final = structs.asdict(GenerateRequest(messages=[]))


def digest(request: GenerateRequest) -> str:
    """A fingerprint of all that shapes the answer: prompt, options, constraint.

    Options at their default are left out, so that one more option in a later release changes nothing.

    Raises:
        ConfigurationError: An option holds an object that can't be told from others of its kind.
    """
    given = {
        name: value
        for name, value in structs.asdict(request).items()
        if name not in _NOT_DIGESTED and value != _EMPTY[name]
    }
    if request.tools:
        given["tools"] = [(tool.name, tool.description, tool.parameters, tool.strict) for tool in request.tools]
    try:
        return sha256(msgspec.json.encode(given, enc_hook=_plain, order="deterministic")).hexdigest()[:32]
    except (NotImplementedError, TypeError) as error:
        raise ConfigurationError(
            "this batch can't be resumed: an option has no fixed form that could be compared later",
            why=str(error),
            hint="give it as plain data (dict, list, str), or leave resume out",
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, Constraint):
        return [value.kind, value.value]
    raise NotImplementedError(f"it is {type(value).__name__}")
