"""A backend as the gateway sees it: its servers, and which of them gets the next request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..factory import create_llm
from ..providers import Provider, get_provider_info, is_provider_available
from ..providers.endpoint import Endpoint
from .config import BackendConfig


@dataclass(slots=True)
class Replica:
    """One server of a backend.

    Args:
        provider: Talks to this server alone.
        endpoint: Where requests in OpenAI's protocol can be passed on as they are; ``None`` if it speaks another.
    """

    provider: Provider
    endpoint: Endpoint | None
    in_flight: int = 0
    """Requests of ours that it works on."""
    up: bool = True
    """Whether it gets requests."""

    @property
    def name(self) -> str:
        """Its address without what may be secret in it, or the provider's name; for metrics."""
        address = getattr(self.provider, "base_url", None)
        parts = urlsplit(address) if isinstance(address, str) else None
        return parts.netloc.rpartition("@")[2] if parts and parts.netloc else self.provider.provider


class Backend:
    """One or several servers with the same models.

    Args:
        name: What clients call it.
        config: Where it is.

    Raises:
        ConfigurationError: There is no such provider, or a setting makes no sense.
    """

    def __init__(self, name: str, config: BackendConfig) -> None:
        self.name = name
        self.config = config
        self.provider_name = config.provider or name
        if not is_provider_available(self.provider_name):
            raise ConfigurationError(
                f"the backend {name!r} names no provider", hint=f'write provider = "vllm" below [backends.{name}]'
            )
        settings: dict[str, Any] = {}
        if config.api_key_file:
            settings["api_key"] = Path(config.api_key_file).expanduser().read_text("utf-8").strip()
        self.in_process = get_provider_info(self.provider_name).in_process
        urls = [config.base_url] if isinstance(config.base_url, str) else config.base_url or []
        self.fleet = self._make(urls, settings)
        """One provider for all servers: what concerns all of them, such as adapters, goes through it."""
        self.replicas = [self._replica([url], settings) for url in urls] or [self._replica([], settings)]

    def _make(self, urls: list[str], settings: dict[str, Any]) -> Provider:
        address = {"base_url": urls[0] if len(urls) == 1 else urls} if urls else {}
        return create_llm(self.provider_name, self.config.model, **address, **settings)

    def _replica(self, urls: list[str], settings: dict[str, Any]) -> Replica:
        provider = self.fleet if not urls else self._make(urls, settings)
        return Replica(provider, next(iter(provider.openai_endpoints), None))

    def choose(self) -> Replica:
        """The server that gets the next request: the least busy one."""
        return min(self.replicas, key=lambda replica: replica.in_flight)

    def close(self) -> None:
        """Closes idle connections."""
        for replica in self.replicas:
            replica.provider.close()
        self.fleet.close()
