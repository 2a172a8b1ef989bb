"""Endpoints about models."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from .guard import may_use

if TYPE_CHECKING:
    from .asgi import Request
    from .gateway import Gateway


async def list_models(gateway: Gateway, request: Request) -> None:
    """All models; with ``?provider=NAME`` those of one."""
    wanted = parse_qs(request.query.decode("latin-1")).get("provider", [None])[0]
    rows = [row for row in await gateway.catalog.rows(wanted) if may_use(request, row["id"], *row["aliases"])]
    await request.json({"object": "list", "data": rows})


async def show_model(gateway: Gateway, request: Request) -> None:
    """One model, by any of its names."""
    name = unquote(request.path.removeprefix("/v1/models/"))
    target = await gateway.resolve(request, name)
    rows = await gateway.catalog.rows(target.backend.name)
    full = f"{target.backend.name}/{target.model}"
    for row in rows:
        if row["id"] == full or target.model is None:
            await request.json(row)
            return
    raise await gateway.catalog.missing(name)
