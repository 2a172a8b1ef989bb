"""The ASGI application: finds the handler, and turns errors into answers."""

from __future__ import annotations

import difflib
from typing import Final

from ..errors import AbstractCoreError
from .asgi import JSON, ClientLeftError, Receive, Request, Scope, Send
from .errors import GatewayError, envelope, headers_of, status_of
from .gateway import Gateway
from .routes import ROUTES, Table

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
        try:
            await self._answer(request)
        except ClientLeftError:
            pass
        except AbstractCoreError as error:
            await _fail(request, error)

    async def _answer(self, request: Request) -> None:
        route, methods = _TABLE.find(request.method, request.path)
        if route is None:
            raise _no_route(request, methods)
        await route.handler(self.gateway, request)

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
    status, _ = status_of(error)
    await request.answer(status, envelope(error, request.path), JSON, *headers_of(error).items())


def _no_route(request: Request, methods: tuple[str, ...]) -> GatewayError:
    if methods:
        return GatewayError(
            f"{request.path} does not take {request.method}",
            status=405,
            code="method_not_allowed",
            hint=f"it takes {' and '.join(methods)}",
        )
    near = difflib.get_close_matches(request.path, [route.path for route in ROUTES], 1)
    return GatewayError(
        f"there is nothing at {request.path}",
        status=404,
        code="not_found",
        hint=f"did you mean {near[0]}?" if near else "GET /docs lists what there is",
    )
