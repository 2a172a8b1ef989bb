"""Endpoints about the gateway itself and its backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import __version__
from .guard import may_use

if TYPE_CHECKING:
    from ..errors import AbstractCoreError
    from .asgi import Request
    from .gateway import Gateway


async def health(_: Gateway, request: Request) -> None:
    """The process runs."""
    await request.json({"status": "ok", "version": __version__})


async def ready(gateway: Gateway, request: Request) -> None:
    """Whether a request could be answered now."""
    listings = await gateway.catalog.listings()
    ups = {name: any(row.up for row in backend.replicas) for name, backend in gateway.backends.items()}
    able = [name for name, listing in listings.items() if listing.models and ups[name]]
    reasons = {name: _message(row.error) for name, row in listings.items() if row.error}
    reasons |= {name: gateway.backends[name].replicas[0].vitals.why for name, is_up in ups.items() if not is_up}
    status = 200 if able else 503
    # Names and addresses of what is inside are not for everybody who may ask.
    insides = {"backends": able, "errors": reasons} if gateway.guard.knows(request) else {}
    await request.json({"ready": bool(able), **insides}, status)


async def providers(gateway: Gateway, request: Request) -> None:
    """What each backend is and has."""
    listings = await gateway.catalog.listings()
    rows = [
        {
            "name": name,
            "provider": backend.provider_name,
            "status": "available" if listings[name].models else "unreachable" if listings[name].error else "no models",
            "models": [row.id for row in listings[name].models if may_use(request, f"{name}/{row.id}")],
            "error": _message(listings[name].error),
            "replicas": len(backend.replicas),
            "capabilities": {str(what): str(how) for what, how in backend.fleet.capabilities().items()},
        }
        for name, backend in gateway.backends.items()
    ]
    await request.json({"providers": rows})


def _message(error: AbstractCoreError | None) -> str | None:
    return error.message if error else None
