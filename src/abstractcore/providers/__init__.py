"""The backends. Classes are loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Provider
    from .base import Provider as BaseProvider
    from .registry import (
        ProviderInfo,
        ProviderRegistry,
        create_provider,
        get_provider_info,
        get_provider_registry,
        is_provider_available,
        list_available_providers,
    )
    from .vllm import VLLMProvider

__all__ = [
    "AnthropicProvider",
    "BaseProvider",
    "HuggingFaceProvider",
    "LMStudioProvider",
    "MLXProvider",
    "OllamaProvider",
    "OpenAIProvider",
    "Provider",
    "ProviderInfo",
    "ProviderRegistry",
    "VLLMProvider",
    "create_provider",
    "get_provider_info",
    "get_provider_registry",
    "is_provider_available",
    "list_available_providers",
]

_BASE = ("Provider", "BaseProvider")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _BASE:
        from .base import Provider

        return Provider
    from . import registry

    if name.endswith("Provider"):
        return next(row for row in registry.BUILT_IN if row.import_path.endswith(f":{name}")).provider_class
    return getattr(registry, name)
