"""The ASGI application: finds the handler, and turns errors into answers."""

from __future__ import annotations

import asyncio
import difflib
from typing import Final

from ..errors import AbstractCoreError
from ..wire.credentials import hide
from .asgi import JSON, ClientLeftError, Receive, Request, Scope, Send
from .config import Limits
from .errors import LONGEST_NAME, GatewayError, envelope, headers_of, status_of
from .gateway import Gateway
from .log import AccessLog, report_fault
from .route import Route
from .routes import ROUTES, Table

_TABLE: Final = Table()


class App:
    """The gateway as an ASGI application.

    Args:
        gateway: Its parts.
        log: Where each request is noted.
    """

    def __init__(self, gateway: Gateway, log: AccessLog | None = None) -> None:
        self.gateway = gateway
        self._log = log
        gateway.routes = ROUTES

    @property
    def limits(self) -> Limits:
        """What the server in front of this has to hold requests to."""
        return self.gateway.config.limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send)
        route, methods = _TABLE.find(request.method, request.path)
        try:
            await self._answer(request, route, methods)
        except AbstractCoreError as error:
            hide(error, self.gateway.secrets)
            await _fail(request, error)
        except ClientLeftError:
            request.left = True
        except asyncio.CancelledError:
            # Either the client left, or the server stops and the time for open answers is over.
            if not request.left:
                await _fail(request, _stopping())
        except Exception as error:  # noqa: BLE001 - the last resort: a fault of ours, of which no client sees the inside
            report_fault(request, error)
            await _fail(request, _fault(request))
        finally:
            request.close()
            self.gateway.metrics.done(request, route, left=request.left)
            if self._log is not None:
                self._log.note(request)

    async def _answer(self, request: Request, route: Route | None, methods: tuple[str, ...]) -> None:
        guard = self.gateway.guard
        if await guard.greet(request, methods):
            return
        if route is None:
            raise _no_route(request, methods)
        if not guard.enter(request, route):
            await route.handler(self.gateway, request)
            return
        try:
            await route.handler(self.gateway, request)
        finally:
            guard.leave(request)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.gateway.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                self.gateway.close()
                if self._log is not None:
                    self._log.flush()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _fail(request: Request, error: AbstractCoreError) -> None:
    """Answers with an error: with its status, or, where a stream has begun, with its last event."""
    request.failure = error
    if request.status:
        if request.streamed and not request.ended:
            await request.end(request.farewell(error))
        return
    status, _ = status_of(error)
    await request.answer(status, envelope(error, request.path), JSON, *headers_of(error).items())


def _stopping() -> GatewayError:
    return GatewayError(
        "the gateway stops, and its time for open answers is over",
        status=503,
        code="gateway_stopping",
        hint="ask again: another one may have taken its place",
    )


def _fault(request: Request) -> GatewayError:
    return GatewayError(
        "the gateway has a fault: it could not handle this request",
        status=500,
        code="internal_error",
        hint=f"its log tells more of {request.id}",
    )


def _no_route(request: Request, methods: tuple[str, ...]) -> GatewayError:
    if methods:
        return GatewayError(
            f"{request.path} does not take {request.method}",
            status=405,
            code="method_not_allowed",
            headers=[(b"allow", ", ".join(methods).encode())],
            hint=f"it takes {' and '.join(methods)}",
        )
    near = difflib.get_close_matches(request.path[:LONGEST_NAME], [route.path for route in ROUTES], 1)
    return GatewayError(
        f"there is nothing at {request.path}",
        status=404,
        code="not_found",
        hint=f"did you mean {near[0]}?" if near else "GET /docs lists what there is",
    )
