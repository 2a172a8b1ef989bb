"""Endpoints about the gateway itself and its backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import __version__
from ..providers.status import AVAILABLE, NO_MODELS, state_of
from .guard import may_use

if TYPE_CHECKING:
    from ..errors import AbstractCoreError
    from .asgi import Request
    from .backend import Backend
    from .catalog import Listing
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
    rows = [_row(request, backend, listings[name]) for name, backend in gateway.backends.items()]
    await request.json({"providers": rows})


def _row(request: Request, backend: Backend, listing: Listing) -> dict[str, Any]:
    return {
        "name": backend.name,
        "provider": backend.provider_name,
        "status": _state(backend, listing),
        "models": [row.id for row in listing.models if may_use(request, f"{backend.name}/{row.id}")],
        "error": _message(listing.error),
        "hint": listing.error.hint if listing.error else None,
        "replicas": len(backend.replicas),
        "capabilities": {str(what): str(how) for what, how in backend.fleet.capabilities().items()},
    }


def _state(backend: Backend, listing: Listing) -> str:
    if listing.error is None:
        return AVAILABLE if listing.models else NO_MODELS
    return state_of(listing.error, backend.provider_name, backend.fleet)


def _message(error: AbstractCoreError | None) -> str | None:
    return error.message if error else None
