"""The gateway's parts, put together from its configuration; every handler gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..providers import get_provider_info, list_available_providers
from ..wire.call import Timeouts
from .backend import Backend
from .catalog import Catalog, Target
from .config import BackendConfig, GatewayConfig
from .relay import Relay

if TYPE_CHECKING:
    from .asgi import Request


class Gateway:
    """All that handlers need.

    Args:
        config: What the operator wants.

    Raises:
        ConfigurationError: A backend makes no sense.
    """

    def __init__(self, config: GatewayConfig) -> None:
        self.config = config
        rows = config.backends or default_backends()
        self.backends = {name: Backend(name, row) for name, row in rows.items()}
        self.catalog = Catalog(self.backends, config.aliases)
        limits = config.limits
        self.timeouts = Timeouts(
            first_byte=limits.first_byte_seconds, idle=limits.idle_seconds, total=limits.total_seconds
        )
        self.relay = Relay(self.timeouts)

    async def resolve(self, request: Request, model: str) -> Target:
        """Where a request for a model goes.

        Raises:
            ModelNotFoundError: Nowhere.
        """
        return await self.catalog.resolve(model)

    def close(self) -> None:
        """Closes idle connections."""
        self.relay.close()
        for backend in self.backends.values():
            backend.close()


def default_backends() -> dict[str, BackendConfig]:
    """Every provider that answers over HTTP, each where its settings say: for a gateway that was told of none."""
    return {name: BackendConfig() for name in list_available_providers() if not get_provider_info(name).in_process}
