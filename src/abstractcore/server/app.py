"""The ASGI application: finds the handler, and turns errors into answers."""

from __future__ import annotations

import difflib
from typing import Final

from ..errors import AbstractCoreError
from .asgi import JSON, ClientLeftError, Receive, Request, Scope, Send
from .errors import GatewayError, envelope, headers_of, status_of
from .gateway import Gateway
from .routes import ROUTES, Route, Table

_TABLE: Final = Table()


class App:
    """The gateway as an ASGI application.

    Args:
        gateway: Its parts.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send)
        route, methods = _TABLE.find(request.method, request.path)
        left = False
        try:
            await self._answer(request, route, methods)
        except ClientLeftError:
            left = True
        except AbstractCoreError as error:
            await _fail(request, error)
        except Exception:
            await _fail(request, GatewayError("the gateway itself failed", status=500, code="internal_error"))
            raise  # uvicorn writes it to the log
        finally:
            self.gateway.metrics.done(request, route, left=left)

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
                await send({"type": "lifespan.startup.complete"})
            else:
                self.gateway.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _fail(request: Request, error: AbstractCoreError) -> None:
    request.failure = error
    if request.status:  # the answer has begun: closing the connection before its end is all that is left to say
        return
    status, _ = status_of(error)
    await request.answer(status, envelope(error, request.path), JSON, *headers_of(error).items())


def _no_route(request: Request, methods: tuple[str, ...]) -> GatewayError:
    if methods:
        return GatewayError(
            f"{request.path} does not take {request.method}",
            status=405,
            code="method_not_allowed",
            headers=[(b"allow", ", ".join(methods).encode())],
            hint=f"it takes {' and '.join(methods)}",
        )
    near = difflib.get_close_matches(request.path, [route.path for route in ROUTES], 1)
    return GatewayError(
        f"there is nothing at {request.path}",
        status=404,
        code="not_found",
        hint=f"did you mean {near[0]}?" if near else "GET /docs lists what there is",
    )
