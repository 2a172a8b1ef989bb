"""What ``abstractcore serve`` says when it starts: where it is, what is open, and which backends answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from ..server.config import LOOPBACK, GatewayConfig
from ..server.keys import default_path

if TYPE_CHECKING:
    from ..server.catalog import Listing
    from ..server.gateway import Gateway

WIDTH: Final = 10


class Greeting:
    """Says it on stderr.

    Args:
        config: What is in force.
    """

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self._task: asyncio.Task[None] | None = None

    def __call__(self, url: str, gateway: Gateway) -> None:
        """The gateway listens."""
        click.echo(f"listening on {url}", err=True)
        if self._config.quiet:
            return
        for line in opening(url, gateway):
            click.echo(line, err=True)
        self._task = asyncio.ensure_future(self._tell(gateway))

    async def _tell(self, gateway: Gateway) -> None:
        listings = await gateway.catalog.listings()
        for name, listing in listings.items():
            click.echo(backend_line(name, listing, is_asked=bool(self._config.backends)), err=True)


def opening(url: str, gateway: Gateway) -> Iterator[str]:
    """Where it is, and for whom."""
    yield _row("page", f"{url}/")
    yield _row("clients", f"{url}/v1  (base_url of OpenAI's clients)")
    yield _row("endpoints", f"{url}/docs")
    config, keyring = gateway.config, gateway.guard.keyring
    if keyring is not None:
        yield _row("keys", f"{len(keyring)} in {keyring.path}")
        if not len(keyring):
            yield _row("", f"nobody can use it yet: abstractcore keys add NAME --file {keyring.path}")
    else:
        who = "programs on this machine" if config.host in LOOPBACK else f"whoever reaches {config.host}"
        yield _row("keys", f"none: open to {who}; pages of others are refused")
        if default_path().exists():
            yield _row("", f"there are keys in {default_path()}: --keys asks for them")
    if config.cors_origins:
        yield _row("pages of", ", ".join(config.cors_origins))


def backend_line(name: str, listing: Listing, *, is_asked: bool) -> str:
    """What a backend has, or why it does not answer."""
    if listing.error is not None:
        why = listing.error.message if is_asked else "does not answer"
        return _row(name, why)
    bases = [row.id for row in listing.models if row.parent is None]
    adapters = len(listing.models) - len(bases)
    text = ", ".join(bases[:5]) + (f" and {len(bases) - 5} more" if len(bases) > 5 else "")
    more = f", {adapters} adapter{'s' if adapters > 1 else ''}" if adapters else ""
    return _row(name, (text or "no models") + more)


def _row(label: str, text: str) -> str:
    return f"  {label:<{WIDTH}} {text}"
