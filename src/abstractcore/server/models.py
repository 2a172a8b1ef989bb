"""Endpoints about models."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from .guard import visible

if TYPE_CHECKING:
    from .asgi import Request
    from .gateway import Gateway


async def list_models(gateway: Gateway, request: Request) -> None:
    """All models; with ``?provider=NAME`` those of one."""
    wanted = parse_qs(request.query.decode("latin-1")).get("provider", [None])[0]
    await request.json({"object": "list", "data": visible(request, await gateway.catalog.rows(wanted))})


async def show_model(gateway: Gateway, request: Request) -> None:
    """One model, by any of its names."""
    name = request.path.removeprefix("/v1/models/")
    target = await gateway.resolve(request, name)
    rows = visible(request, await gateway.catalog.rows(target.backend.name))
    full = f"{target.backend.name}/{target.model}"
    for row in rows:
        if row["id"] == full or target.model is None:
            await request.json(row)
            return
    raise await gateway.missing(request, name)
