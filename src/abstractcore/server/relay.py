"""Requests that are passed on as they are, and answers that come back byte for byte, watched but not remade."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

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
from ..transport.http_async import AsyncHttpTransport
from ..wire.call import Call, Timeouts
from .asgi import EVENTS, JSON, ClientLeftError, Request

if TYPE_CHECKING:
    from ..providers.endpoint import Endpoint
    from ..transport.http_async import AsyncHttpExchange
    from ..wire.failure import Failure

Check = Callable[[bytes], bytes]
"""Raises if a whole answer is not complete; gives what is passed on."""


class StreamWatch(Protocol):
    """Follows a stream that is passed on, in the protocol that it has."""

    failure: Failure | AbstractCoreError | None
    """What went wrong; nothing that comes after it is passed on."""

    def feed(self, data: bytes) -> bytes:
        """Takes bytes as they came, and gives those that may be passed on: whole events."""

    def close(self) -> bytes:
        """The body has ended as HTTP says it must; gives what is still to be passed on."""

    def event(self, error: AbstractCoreError) -> bytes:
        """The last event of a stream that failed."""


class Relay:
    """Passes requests on.

    Args:
        timeouts: Limits of each.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self._transport = AsyncHttpTransport()
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

        Raises:
            ProviderError: The backend did not deliver.
            ClientLeftError: The client went away; the backend was told.
        """
        call = self._call(endpoint, path, body, {**(headers or {}), "x-request-id": request.id}, method)
        exchange = await self._open(endpoint, call)
        leaving = request.on_leave(exchange.close)
        try:
            data = await _rest(exchange)
            if not 200 <= exchange.answer.status < 300:
                raise failed(endpoint, call, exchange.answer, data)
            await request.answer(exchange.answer.status, check(data), JSON)
        except ConnectionFailedError as error:
            if leaving.done():
                raise ClientLeftError from None
            raise explained(endpoint, error) from error.__cause__
        finally:
            leaving.cancel()
            exchange.close()

    async def stream(
        self,
        request: Request,
        endpoint: Endpoint,
        path: str,
        body: bytes,
        watch: StreamWatch,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Passes on a request with a streamed answer.

        Raises:
            ProviderError: The backend did not deliver, and nothing has been sent to the client yet.
            ClientLeftError: The client went away; the backend was told.
        """
        call = self._call(endpoint, path, body, {**(headers or {}), "x-request-id": request.id})
        request.farewell = watch.event
        exchange = await self._open(endpoint, call)
        leaving = request.on_leave(exchange.close)
        try:
            if not 200 <= exchange.answer.status < 300:
                raise failed(endpoint, call, exchange.answer, await _rest(exchange))
            await self._copy(request, exchange, endpoint, watch)
        except (ConnectionFailedError, RequestTimeoutError) as error:
            if leaving.done():
                raise ClientLeftError from None
            if not request.status:
                raise
            await request.end(watch.event(_broken(endpoint, error.message)))
        finally:
            leaving.cancel()
            exchange.close()

    async def _copy(
        self, request: Request, exchange: AsyncHttpExchange, endpoint: Endpoint, watch: StreamWatch
    ) -> None:
        while watch.failure is None and (data := await exchange.read()):
            data = watch.feed(data)
            if data:
                if not request.status:
                    await request.begin(200, (EVENTS,))
                await request.write(data)
        rest = b"" if watch.failure else watch.close()
        if watch.failure is None:
            await request.end(rest)
            return
        error = _error_of(endpoint, watch.failure)
        if not request.status:
            raise error
        await request.end(watch.event(error))

    def _call(
        self, endpoint: Endpoint, path: str, body: bytes | None, more: Mapping[str, str], method: str = "POST"
    ) -> Call:
        headers = {**endpoint.headers, **more}
        if body is not None:
            headers["content-type"] = "application/json"
        return Call(method, endpoint.root + path, headers, body, stream=True, timeouts=self._timeouts)

    async def _open(self, endpoint: Endpoint, call: Call) -> AsyncHttpExchange:
        try:
            return await self._transport.open(call)
        except ConnectionFailedError as error:
            raise explained(endpoint, error) from error.__cause__
        except RequestTimeoutError as error:
            raise explained(endpoint, error) from error.__cause__

    def close(self) -> None:
        """Closes idle connections."""
        self._transport.close()


async def _rest(exchange: AsyncHttpExchange) -> bytes:
    parts = []
    while data := await exchange.read():
        parts.append(data)
    return b"".join(parts)


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
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] = []


_ANSWER = msgspec.json.Decoder(_Answer)


def complete_choices(count: int) -> Check:
    """The check of a chat or text completion: all choices are there, and each came to an end."""

    def check(data: bytes) -> bytes:
        try:
            choices = _ANSWER.decode(data).choices
        except msgspec.DecodeError as error:
            raise ProviderAPIError("the backend's answer is not in the protocol", why=str(error)) from error
        ended = [choice for choice in choices if choice.finish_reason not in (None, "abort")]
        if len(ended) < count:
            raise ProviderAPIError(
                "the backend's answer is not complete", why=f"{count - len(ended)} of {count} choices did not end"
            )
        return data

    return check
