"""Requests that are passed on as they are, and answers that come back byte for byte, watched but not remade."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from ..errors import (
    AbstractCoreError,
    ConnectionFailedError,
    ProviderAPIError,
    ProviderError,
    RequestTimeoutError,
    StreamInterruptedError,
)
from ..providers.endpoint import explained, failed
from ..transport.aio import beside
from ..transport.http_async import AsyncHttpTransport
from ..wire.call import Call, ReadWithin, Timeouts
from ..wire.failure import UNREADABLE, read_failure
from .asgi import EVENTS, JSON, Request
from .watch import UNFINISHED, Tokens

if TYPE_CHECKING:
    from ..providers.endpoint import Endpoint
    from ..transport import AsyncExchange, AsyncTransport
    from ..wire.failure import Failure

_COLON: Final = ord(":")
MOST_HELD: Final = 256 * 1024
"""Bytes of a stream that are kept back until there is some of the answer in it; responses begin with their request."""
Check = Callable[[bytes], bytes]
"""Raises if a whole answer is not complete; gives what is passed on."""


class StreamWatch(Protocol):
    """Follows a stream that is passed on, in the protocol that it has."""

    failure: Failure | AbstractCoreError | None
    """What went wrong; nothing that comes after it is passed on."""
    done: bool
    """The stream has said all that it must, and that it ends: what becomes of the connection is no matter any more."""

    def feed(self, data: bytes) -> bytes:
        """Takes bytes as they came, and gives those that may be passed on: whole events."""

    def speaks(self, data: bytes) -> bool:
        """Whether whole events, as ``feed`` gave them, hold any of the answer: not comments, roles and names alone."""

    def close(self) -> bytes:
        """The body has ended as HTTP says it must; gives what is still to be passed on."""

    def event(self, error: AbstractCoreError) -> bytes:
        """The last event of a stream that failed."""


class Relay:
    """Passes requests on.

    Args:
        timeouts: Limits of each.
        transport: Replaces the network, for tests.
    """

    def __init__(self, timeouts: Timeouts, transport: AsyncTransport | None = None) -> None:
        self._transport = transport or AsyncHttpTransport()
        self._timeouts = timeouts

    async def answer(
        self,
        request: Request,
        endpoint: Endpoint,
        path: str,
        body: bytes | None,
        check: Check,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        slow_from: int | None = None,
    ) -> None:
        """Passes on a request with one whole answer.

        Args:
            request: The client's.
            endpoint: Where it goes.
            path: Below the endpoint's root.
            body: As it is sent.
            check: Of the answer.
            method: Of the request.
            headers: Sent besides the endpoint's own.
            slow_from: Bytes of an answer from which on its check may take long, so that others don't wait for it.

        Raises:
            ProviderError: The backend did not deliver.
        """
        call = self._call(endpoint, path, body, {**(headers or {}), "x-request-id": request.id}, method)
        exchange = await self._open(endpoint, call)
        exchange.close()
        answer = exchange.answer
        if not 200 <= answer.status < 300:
            raise failed(endpoint, call, answer, answer.body)
        slow = slow_from is not None and len(answer.body) >= slow_from
        data = await beside(partial(check, answer.body)) if slow else check(answer.body)
        await request.answer(answer.status, data, JSON)

    async def stream(
        self,
        request: Request,
        endpoint: Endpoint,
        path: str,
        body: bytes,
        watch: StreamWatch,
        *,
        headers: Mapping[str, str] | None = None,
        slow: bool = False,
    ) -> None:
        """Passes on a request with a streamed answer.

        Nothing is sent before there is some of the answer itself, so that until then another server may answer. With
        ``slow`` others don't wait while the stream is looked at.

        Raises:
            ProviderError: The backend did not deliver all of it; what is already out, if ``request.status`` says that
                anything is, is no whole answer.
        """
        call = self._call(endpoint, path, body, {**(headers or {}), "x-request-id": request.id}, stream=True)
        request.farewell = watch.event
        exchange = await self._open(endpoint, call)
        try:
            if not 200 <= exchange.answer.status < 300:
                raise failed(endpoint, call, exchange.answer, await _rest(exchange))
            if not exchange.answer.headers.get("content-type", "").startswith("text/event-stream"):
                raise await _no_stream(endpoint, call, exchange)
            await self._copy(request, exchange, endpoint, watch, slow=slow)
        except (ConnectionFailedError, RequestTimeoutError) as error:
            if not watch.done:
                raise _broken(endpoint, error.message) from error
            await request.end()
        finally:
            exchange.close()

    async def fetch(self, endpoint: Endpoint, path: str, limits: Timeouts) -> bytes:
        """A small answer that the gateway itself wants to know.

        Raises:
            ProviderError: The backend did not deliver.
        """
        call = Call("GET", endpoint.root + path, endpoint.headers, timeouts=limits)
        exchange = await self._open(endpoint, call)
        exchange.close()
        if not 200 <= exchange.answer.status < 300:
            raise failed(endpoint, call, exchange.answer, exchange.answer.body)
        return exchange.answer.body

    async def _copy(
        self, request: Request, exchange: AsyncExchange, endpoint: Endpoint, watch: StreamWatch, *, slow: bool
    ) -> None:
        read, feed, write = exchange.read, watch.feed, request.write
        held = b""  # until the answer begins
        silence: _Silence | None = None
        while data := await (read() if silence is None else read(silence.rest())):
            if data[0] != _COLON or b"\ndata:" in data:
                silence = None
            elif silence is None:  # comments keep a connection alive, but are no answer
                silence = _Silence(self._timeouts, begun=request.status != 0)
            data = await beside(partial(feed, data)) if slow else feed(data)
            if data:
                if not request.status:
                    held += data
                    if watch.speaks(data) or len(held) > MOST_HELD:
                        data = held
                        await request.begin(200, (EVENTS,))
                if request.status:
                    await write(data)
            if watch.failure is not None:
                break
        else:
            data = watch.close()
        if watch.failure is not None:
            raise _error_of(endpoint, watch.failure)
        if not request.status:
            data = held + data
            await request.begin(200, (EVENTS,))
        await request.end(data)

    def _call(
        self,
        endpoint: Endpoint,
        path: str,
        body: bytes | None,
        more: Mapping[str, str],
        method: str = "POST",
        *,
        stream: bool = False,
    ) -> Call:
        headers = {**endpoint.headers, **more}
        if body is not None:
            headers["content-type"] = "application/json"
        return Call(method, endpoint.root + path, headers, body, stream=stream, timeouts=self._timeouts)

    async def _open(self, endpoint: Endpoint, call: Call) -> AsyncExchange:
        try:
            return await self._transport.open(call)
        except ConnectionFailedError as error:
            raise explained(endpoint, error) from error.__cause__
        except RequestTimeoutError as error:
            raise explained(endpoint, error) from error.__cause__

    def close(self) -> None:
        """Closes idle connections."""
        self._transport.close()


class _Silence:
    """How long a stream that sends comments and nothing else is listened to.

    Args:
        timeouts: As of any stream.
        begun: Whether some of the answer has come.
    """

    def __init__(self, timeouts: Timeouts, *, begun: bool) -> None:
        self._phase = "idle" if begun else "first_byte"
        seconds = timeouts.idle if begun else timeouts.first_byte
        self._until = inf if seconds is None else monotonic() + seconds

    def rest(self) -> ReadWithin | None:
        """What is left of it."""
        return None if self._until == inf else ReadWithin(max(0.0, self._until - monotonic()), self._phase)


async def _rest(exchange: AsyncExchange) -> bytes:
    parts = []
    while data := await exchange.read():
        parts.append(data)
    return b"".join(parts)


async def _no_stream(endpoint: Endpoint, call: Call, exchange: AsyncExchange) -> ProviderError:
    """The error for a success answer that is no stream: a failure in disguise, or something else altogether."""
    answer, body = exchange.answer, await _rest(exchange)
    if read_failure(body).shaped:
        return failed(endpoint, call, answer, body)
    kind = answer.headers.get("content-type")
    return ProviderAPIError(
        f"{endpoint.provider}: a stream was asked for, but the answer is none",
        provider=endpoint.provider,
        url=call.url,
        status=answer.status,
        why=f"its content type is {kind!r}; it begins {body[:80].decode('utf-8', 'replace')!r}",
    )


def _broken(endpoint: Endpoint, message: str) -> ProviderError:
    return StreamInterruptedError(
        f"{endpoint.provider}: the stream broke: {message}", provider=endpoint.provider, server_message=message
    )


def _error_of(endpoint: Endpoint, failure: Failure | AbstractCoreError) -> AbstractCoreError:
    if isinstance(failure, AbstractCoreError):
        return failure
    error = _broken(endpoint, failure.message)
    error.status = failure.status
    return error


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Tokens | None = None
    model: str | None = None
    error: Any = None
    object: str | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


def complete_choices(count: int, adapter: str | None = None, told: Callable[[Tokens], None] | None = None) -> Check:
    """The check of a chat or text completion: all choices are there, and each came to an end.

    Args:
        count: How many choices there must be.
        adapter: The adapter that was asked for: the answer must name it.
        told: Gets the token counts, where the answer tells them.
    """

    def check(data: bytes) -> bytes:
        try:
            answer = _ANSWER.decode(data)
            if not data.isascii():
                data.decode()  # nobody else looks at the text
        except UNREADABLE as error:
            raise ProviderAPIError("the backend's answer is not in the protocol", why=str(error)) from error
        if answer.error is not None or answer.object == "error":
            failure = read_failure(data)
            raise ProviderAPIError(f"the backend answered 200 with an error: {failure.message}", status=failure.status)
        ended = {choice.index for choice in answer.choices or () if choice.finish_reason not in UNFINISHED}
        if len(ended) < count:
            raise ProviderAPIError(
                "the backend's answer is not complete", why=f"{count - len(ended)} of {count} choices did not end"
            )
        if adapter is not None and answer.model != adapter:
            raise ProviderAPIError(f"the adapter {adapter!r} was asked, but {answer.model!r} answered")
        if told is not None and answer.usage is not None:
            told(answer.usage)
        return data

    return check
