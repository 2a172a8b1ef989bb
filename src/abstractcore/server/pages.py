"""Endpoints of what a browser shows: the chat page, the API explorer, and their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import static
from .errors import GatewayError

if TYPE_CHECKING:
    from .asgi import Request
    from .gateway import Gateway


async def show(_: Gateway, request: Request) -> None:
    """Answers with a page or a file."""
    found = static.find(request.path, request.scope["headers"])
    if found is None:
        raise GatewayError(f"there is nothing at {request.path}", status=404, code="not_found")
    await request.begin(found.status, found.headers)
    await request.end(found.body)
