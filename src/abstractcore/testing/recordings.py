"""Real exchanges kept in a file, and answered from it later: tests that saw a real server once and need none since.

A file has one JSON document a line, one for each exchange. Of the request it holds method, path and body; of the
answer status, body, the pieces in which a stream was read, and the few headers that mean something. It never holds a
key: request headers are not written, and the key that was sent is hidden wherever else it stands.
"""

from __future__ import annotations

import os
import threading
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Mapping
from itertools import accumulate, pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import msgspec

from .. import errors
from ..errors import ConfigurationError, ProviderError
from ..wire.call import Answer, Call, ReadWithin
from .fake_server import FakeAsyncTransport, FakeTransport, Reply

if TYPE_CHECKING:
    from ..transport import AsyncExchange, AsyncTransport, Exchange, Transport

HIDDEN: Final = "(hidden)"
"""What stands in place of a secret."""
_HEADERS: Final = frozenset({"content-type", "location", "request-id", "retry-after", "x-request-id"})
_FAULT_FIELDS: Final = ("delivered", "refused", "phase", "why", "hint")


class UnrecordedRequestError(AssertionError):
    """A request that the recording has no answer to. No ``ProviderError``: code under test must not handle it."""


class Exchanged(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One recorded exchange."""

    method: str
    path: str
    """With the query, without the server's address."""
    sent: Any = None
    """The JSON body of the request."""
    status: int = 0
    """0 if no answer came."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: str = ""
    encoding: str = "utf-8"
    """``base64`` for a body that is no text."""
    sizes: list[int] | None = None
    """The sizes of the pieces in which a stream was read."""
    fault: dict[str, Any] | None = None
    """The error that came in place of an answer, or of the end of a stream."""
    left: bool = False
    """The stream was closed before its end, so its end is not known."""

    @property
    def chunks(self) -> list[bytes]:
        """The body in its pieces."""
        data = b64decode(self.body) if self.encoding == "base64" else self.body.encode()
        if self.sizes is None:
            return [data]
        return [data[start:end] for start, end in pairwise([0, *accumulate(self.sizes)])]

    def name(self) -> str:
        """``METHOD /path``."""
        return f"{self.method} {self.path}"


class Recorder:
    """Passes requests on to a real server, and writes what was exchanged to a file.

    Args:
        path: The file; an existing one is replaced.
        secrets: Texts that must not be written, besides the keys that are sent. In an answer they are hidden where
            they stand in one piece, which in a stream they may not.
        transport: Where sync calls go; by default to the network.
        async_transport: Where async calls go; by default to the network.
        append: Keep what is in the file, and write behind it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        secrets: Iterable[str] = (),
        transport: Transport | None = None,
        async_transport: AsyncTransport | None = None,
        append: bool = False,
    ) -> None:
        self._file = Path(path).open("ab" if append else "wb")  # noqa: SIM115 - open as long as the recorder
        self._lock = threading.Lock()
        self._secrets = tuple(secrets)
        self._transport = transport
        self._async_transport = async_transport
        self.count = 0
        """Exchanges written so far."""

    @property
    def transports(self) -> dict[str, Any]:
        """What a provider takes in place of the network: ``transport`` and ``async_transport``."""
        return {"transport": _RecordingTransport(self), "async_transport": _RecordingAsyncTransport(self)}

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def sync_transport(self) -> Transport:
        """Where sync calls go."""
        if self._transport is None:
            from ..transport.http_sync import HttpTransport

            self._transport = HttpTransport()
        return self._transport

    def async_transport(self) -> AsyncTransport:
        """Where async calls go."""
        if self._async_transport is None:
            from ..transport.http_async import AsyncHttpTransport

            self._async_transport = AsyncHttpTransport()
        return self._async_transport

    def close_idle(self) -> None:
        """Closes idle connections."""
        for transport in (self._transport, self._async_transport):
            if transport is not None:
                transport.close()

    def write(
        self,
        call: Call,
        answer: Answer | None,
        chunks: Iterable[bytes],
        fault: ProviderError | None = None,
        *,
        left: bool = False,
    ) -> None:
        """Writes one exchange."""
        secrets = (*self._secrets, *_keys_of(call))
        pieces = [_hide(chunk, secrets) for chunk in chunks]
        body, encoding = _text(b"".join(pieces))
        exchanged = Exchanged(
            method=call.method,
            path=_path(call),
            sent=_hidden(_sent(call), secrets),
            status=answer.status if answer else 0,
            headers={name: value for name, value in answer.headers.items() if name in _HEADERS} if answer else {},
            body=body,
            encoding=encoding,
            sizes=[len(piece) for piece in pieces] if call.stream and answer else None,
            fault=_hidden(_fault_as_json(fault), secrets) if fault else None,
            left=left,
        )
        line = msgspec.json.encode(exchanged) + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()
            self.count += 1


class _Kept:
    """What has passed of one exchange."""

    def __init__(self, recorder: Recorder, call: Call, answer: Answer) -> None:
        self._recorder = recorder
        self._call = call
        self.answer = answer
        self._chunks: list[bytes] = []
        self._open = call.stream
        if not call.stream:
            recorder.write(call, answer, [answer.body])

    def keep(self, data: bytes) -> bytes:
        if data:
            self._chunks.append(data)
        else:
            self.end()
        return data

    def end(self, fault: ProviderError | None = None, *, left: bool = False) -> None:
        if self._open:
            self._open = False
            self._recorder.write(self._call, self.answer, self._chunks, fault, left=left)


class _RecordedExchange(_Kept):
    def __init__(self, recorder: Recorder, call: Call, inner: Exchange) -> None:
        super().__init__(recorder, call, inner.answer)
        self._inner = inner

    def read(self, within: ReadWithin | None = None) -> bytes:
        try:
            return self.keep(self._inner.read())
        except ProviderError as error:
            self.end(error)
            raise

    def close(self) -> None:
        self.end(left=True)
        self._inner.close()


class _RecordedAsyncExchange(_Kept):
    def __init__(self, recorder: Recorder, call: Call, inner: AsyncExchange) -> None:
        super().__init__(recorder, call, inner.answer)
        self._inner = inner

    async def read(self, within: ReadWithin | None = None) -> bytes:
        try:
            return self.keep(await self._inner.read())
        except ProviderError as error:
            self.end(error)
            raise

    def close(self) -> None:
        self.end(left=True)
        self._inner.close()


class _RecordingTransport:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def open(self, call: Call) -> _RecordedExchange:
        try:
            inner = self._recorder.sync_transport().open(call)
        except ProviderError as error:
            self._recorder.write(call, None, (), error)
            raise
        return _RecordedExchange(self._recorder, call, inner)

    def close(self) -> None:
        self._recorder.close_idle()


class _RecordingAsyncTransport:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def open(self, call: Call) -> _RecordedAsyncExchange:
        try:
            inner = await self._recorder.async_transport().open(call)
        except ProviderError as error:
            self._recorder.write(call, None, (), error)
            raise
        return _RecordedAsyncExchange(self._recorder, call, inner)

    def close(self) -> None:
        self._recorder.close_idle()


class Replay:
    """Answers requests as a recorded server did, and nothing that it was not asked.

    Requests are told apart by method, path and body. The answers to a request that was recorded several times are used
    up one by one, and the last one stays.

    Args:
        path: A file that ``Recorder`` wrote.
        secrets: The texts that were hidden when it was written, so that requests with them are known again.
        ignore: Top-level fields of a request's body that make no difference.

    Raises:
        ConfigurationError: It is no such file.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, secrets: Iterable[str] = (), ignore: Collection[str] = ()
    ) -> None:
        self._path = Path(path)
        self._secrets = tuple(secrets)
        self._ignore = frozenset(ignore)
        self._left: dict[bytes, list[Exchanged]] = {}
        self._asked: set[bytes] = set()
        self.calls: list[Call] = []
        """All requests, in order."""
        self.aborted: list[Call] = []
        """Streams that were closed before their end."""
        self.closed = 0
        """How often idle connections were closed."""
        for exchanged in read_recording(path):
            self._left.setdefault(self._key(exchanged.name(), exchanged.sent), []).append(exchanged)

    @property
    def transports(self) -> dict[str, Any]:
        """What a provider takes in place of the network: ``transport`` and ``async_transport``."""
        return {"transport": FakeTransport(self), "async_transport": FakeAsyncTransport(self)}

    @property
    def unasked(self) -> list[str]:
        """``METHOD /path`` of the recorded requests that nobody made."""
        return [found[0].name() for key, found in self._left.items() if key not in self._asked]

    def answer(self, call: Call) -> Reply:
        """The recorded answer.

        Raises:
            ProviderError: What was recorded in place of an answer.
            UnrecordedRequestError: There is none.
        """
        self.calls.append(call)
        sent = _hidden(_sent(call), (*self._secrets, *_keys_of(call)))
        name = f"{call.method} {_path(call)}"
        key = self._key(name, sent)
        found = self._left.get(key)
        if not found:
            raise self._unrecorded(name, sent)
        self._asked.add(key)
        exchanged = found.pop(0) if len(found) > 1 else found[0]
        if exchanged.fault is not None and not exchanged.status:
            raise _fault_of(exchanged.fault)
        end: Exception | None = _fault_of(exchanged.fault) if exchanged.fault else None
        if exchanged.left:
            end = UnrecordedRequestError(f"{self._path}: this stream was closed before its end when it was recorded")
        return Reply(exchanged.chunks, exchanged.status, exchanged.headers, end)

    def _key(self, name: str, sent: Any) -> bytes:
        if isinstance(sent, dict):
            sent = {field: value for field, value in sent.items() if field not in self._ignore}
        return name.encode() + b" " + msgspec.json.encode(sent, order="deterministic")

    def _unrecorded(self, name: str, sent: Any) -> UnrecordedRequestError:
        same = [found[0] for found in self._left.values() if found[0].name() == name]
        names = sorted({found[0].name() for found in self._left.values()})
        if not same:
            return UnrecordedRequestError(f"{self._path} has no {name}; it has: {', '.join(names) or 'nothing'}")
        faults = min((list(_differences(each.sent, sent)) for each in same), key=len)
        shown = "\n".join(f"  {fault}" for fault in faults[:8])
        return UnrecordedRequestError(
            f"{self._path} has no answer to this {name}; the most similar of {len(same)} requests differs in:\n"
            f"{shown}\n"
            "record it again with Recorder, or pass ignore=... for fields that make no difference"
        )


def read_recording(path: str | os.PathLike[str]) -> list[Exchanged]:
    """The exchanges of a file that ``Recorder`` wrote, in the order in which they ended.

    Raises:
        ConfigurationError: It is no such file.
    """
    try:
        lines = Path(path).read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Exchanged) for line in lines if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{os.fspath(path)} is no recording", why=str(error), hint="make one with abstractcore.testing.Recorder"
        ) from error


def _path(call: Call) -> str:
    parts = urlsplit(call.url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _sent(call: Call) -> Any:
    if call.body is None:
        return None
    try:
        return msgspec.json.decode(call.body)
    except msgspec.DecodeError:
        return {"base64": b64encode(call.body).decode()}


def _keys_of(call: Call) -> list[str]:
    """The credentials that a request carries; what servers without keys are sent is none."""
    values = (
        value for name, value in call.headers.items() if name.lower() in ("authorization", "x-api-key", "api-key")
    )
    keys = (value.rpartition(" ")[2] for value in values)
    return [key for key in keys if key not in ("", "EMPTY")]


def _hidden(value: Any, secrets: Collection[str]) -> Any:
    """A JSON value without secrets."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, HIDDEN)
        return value
    if isinstance(value, Mapping):
        return {_hidden(name, secrets): _hidden(item, secrets) for name, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item, secrets) for item in value]
    return value


def _hide(data: bytes, secrets: Iterable[str]) -> bytes:
    for secret in secrets:
        for form in (secret.encode(), msgspec.json.encode(secret)[1:-1]):
            data = data.replace(form, HIDDEN.encode())
    return data


def _text(data: bytes) -> tuple[str, str]:
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return b64encode(data).decode(), "base64"


def _fault_as_json(fault: ProviderError) -> dict[str, Any]:
    fields = {name: getattr(fault, name, None) for name in _FAULT_FIELDS}
    named = {name: value for name, value in fields.items() if value not in (None, False)}
    return {"type": type(fault).__name__, "message": fault.message, **named}


def _fault_of(recorded: Mapping[str, Any]) -> ProviderError:
    error: ProviderError = getattr(errors, recorded["type"])(recorded["message"])
    for name in _FAULT_FIELDS:
        if name in recorded:
            setattr(error, name, recorded[name])
    return error


def _differences(recorded: Any, sent: Any, at: str = "") -> Iterable[str]:
    """Where two JSON values differ, in words."""
    if isinstance(recorded, dict) and isinstance(sent, dict):
        for name in sorted({*recorded, *sent}):
            yield from _differences(recorded.get(name, _NOTHING), sent.get(name, _NOTHING), f"{at}/{name}")
    elif isinstance(recorded, list) and isinstance(sent, list) and len(recorded) == len(sent):
        for index, (one, other) in enumerate(zip(recorded, sent, strict=True)):
            yield from _differences(one, other, f"{at}/{index}")
    elif recorded != sent:
        yield f"{at or '/'}: recorded {_shown(recorded)}, sent {_shown(sent)}"


_NOTHING: Final = object()


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."
