"""The backends as rows of data: what there is, where its class is, and what it needs.

The seven that come with the package stand here. Other packages add theirs by an entry point of the group
``abstractcore.providers`` that names a ``ProviderInfo`` or a subclass of ``Provider``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ..capability import CAPABILITIES, Support
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from .base import Provider

GROUP: Final = "abstractcore.providers"
"""The entry points by which other packages add providers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInfo:
    """One row of the registry."""

    name: str
    display_name: str
    description: str
    import_path: str
    """Module and class, with a colon between them."""
    provider_type: str = "llm"
    local_provider: bool = False
    """Runs on this machine unless told otherwise: no account, no bill."""
    requires: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The packages of each extra; one complete extra is enough."""

    @property
    def provider_class(self) -> type[Provider]:
        """The class; its module is imported when asked for."""
        module, _, name = self.import_path.partition(":")
        found: type[Provider] = getattr(import_module(module), name)
        return found

    @property
    def default_model(self) -> str | None:
        """The model that is asked when none is named; ``None`` if it is found out from the server."""
        return self.provider_class.default_model

    @property
    def authentication_required(self) -> bool:
        """Whether it answers nobody without a key."""
        return self.provider_class.needs_key

    @property
    def supported_features(self) -> list[str]:
        """What it can do, by the names of ``Capability``."""
        row = CAPABILITIES.get(self.name, {})
        return [str(capability) for capability, how in row.items() if how is not Support.UNSUPPORTED]

    @property
    def installation_extras(self) -> str | None:
        """The extra that installs what it needs; ``None`` if the package alone is enough."""
        return next(iter(self.requires), None)


BUILT_IN: Final = (
    ProviderInfo(
        name="openai",
        display_name="OpenAI",
        description="OpenAI's cloud, and any server that speaks its protocol",
        import_path="abstractcore.providers.openai:OpenAIProvider",
    ),
    ProviderInfo(
        name="anthropic",
        display_name="Anthropic",
        description="Anthropic's cloud, and any server that speaks its protocol",
        import_path="abstractcore.providers.anthropic:AnthropicProvider",
    ),
    ProviderInfo(
        name="ollama",
        display_name="Ollama",
        description="Models that Ollama runs on this machine",
        import_path="abstractcore.providers.ollama:OllamaProvider",
        local_provider=True,
    ),
    ProviderInfo(
        name="lmstudio",
        display_name="LM Studio",
        description="Models that LM Studio runs on this machine",
        import_path="abstractcore.providers.lmstudio:LMStudioProvider",
        local_provider=True,
    ),
    ProviderInfo(
        name="mlx",
        display_name="MLX",
        description="Models in this process, by Apple's MLX",
        import_path="abstractcore.providers.local.mlx:MLXProvider",
        local_provider=True,
        requires={"mlx": ("mlx", "mlx_lm")},
    ),
    ProviderInfo(
        name="huggingface",
        display_name="HuggingFace",
        description="Models in this process, by transformers, or by llama.cpp for GGUF files",
        import_path="abstractcore.providers.local.huggingface:HuggingFaceProvider",
        local_provider=True,
        requires={"huggingface": ("torch", "transformers"), "local": ("xllamacpp",)},
    ),
    ProviderInfo(
        name="vllm",
        display_name="vLLM",
        description="A vLLM server: guided decoding, LoRA adapters, beam search, high throughput",
        import_path="abstractcore.providers.vllm:VLLMProvider",
        local_provider=True,
    ),
)
"""The order is part of the interface."""


class ProviderRegistry:
    """The rows by name: those of this package first, then those of others, in the order of their names.

    Args:
        rows: The rows that are there from the start.
    """

    def __init__(self, rows: Iterable[ProviderInfo] = BUILT_IN) -> None:
        self._rows = {row.name: row for row in rows}

    def list_provider_names(self) -> list[str]:
        """All names, in order."""
        return list(self._rows)

    def list_available_providers(self) -> list[str]:
        """The same."""
        return self.list_provider_names()

    def is_provider_available(self, name: str) -> bool:
        """Whether there is a provider of this name."""
        return name in self._rows

    def get_provider_info(self, name: str) -> ProviderInfo:
        """The row of a provider.

        Raises:
            ConfigurationError: There is none of this name.
        """
        row = self._rows.get(name)
        if row is None:
            raise self._unknown(name)
        return row

    def get_provider_class(self, name: str) -> type[Provider]:
        """The class of a provider."""
        return self.get_provider_info(name).provider_class

    def create_provider_instance(self, name: str, model: str | None = None, **config: Any) -> Provider:
        """Makes a provider, without touching the network.

        Raises:
            ConfigurationError: There is no such provider, or a setting makes no sense.
            TypeError: A setting is unknown.
        """
        return self.get_provider_class(name)(model, **config)

    def _unknown(self, name: str) -> ConfigurationError:
        import difflib

        names = self.list_provider_names()
        near = difflib.get_close_matches(name.lower(), names, 1) or names
        return ConfigurationError(
            f"there is no provider {name!r}",
            why=f"the providers are: {', '.join(names)}",
            hint=f"create_llm({near[0]!r}, ...)",
        )


_registry: ProviderRegistry | None = None


def get_provider_registry() -> ProviderRegistry:
    """The registry of this process."""
    global _registry  # noqa: PLW0603 - made when first asked for
    if _registry is None:
        _registry = ProviderRegistry()
    return _registry


def list_available_providers() -> list[str]:
    """The names of all providers, in order."""
    return get_provider_registry().list_available_providers()


def get_provider_info(name: str) -> ProviderInfo:
    """The row of a provider.

    Raises:
        ConfigurationError: There is none of this name.
    """
    return get_provider_registry().get_provider_info(name)


def is_provider_available(name: str) -> bool:
    """Whether there is a provider of this name."""
    return get_provider_registry().is_provider_available(name)


def create_provider(name: str, model: str | None = None, **config: Any) -> Provider:
    """Makes a provider, without touching the network.

    Raises:
        ConfigurationError: There is no such provider, or a setting makes no sense.
        TypeError: A setting is unknown.
    """
    return get_provider_registry().create_provider_instance(name, model, **config)
