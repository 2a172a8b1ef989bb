"""The backends. Classes are loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .anthropic import AnthropicProvider
    from .base import BaseProvider, Provider
    from .lmstudio import LMStudioProvider
    from .local.huggingface import HuggingFaceProvider
    from .local.mlx import MLXProvider
    from .ollama import OllamaProvider
    from .openai import OpenAIProvider
    from .openai_compatible import OpenAICompatible, OpenAICompatibleProvider
    from .promises import KnobWarning
    from .registry import (
        ProviderInfo,
        ProviderRegistry,
        create_provider,
        get_provider_info,
        get_provider_registry,
        is_provider_available,
        list_available_providers,
    )
    from .status import (
        get_all_providers_status,
        get_all_providers_with_models,
        get_available_models_for_provider,
        get_provider_status,
    )
    from .vllm import VLLMProvider

__all__ = [
    "AnthropicProvider",
    "BaseProvider",
    "HuggingFaceProvider",
    "KnobWarning",
    "LMStudioProvider",
    "MLXProvider",
    "OllamaProvider",
    "OpenAICompatible",
    "OpenAICompatibleProvider",
    "OpenAIProvider",
    "Provider",
    "ProviderInfo",
    "ProviderRegistry",
    "VLLMProvider",
    "create_provider",
    "get_all_providers_status",
    "get_all_providers_with_models",
    "get_available_models_for_provider",
    "get_provider_info",
    "get_provider_registry",
    "get_provider_status",
    "is_provider_available",
    "list_available_providers",
]

_MODULE_OF = {
    "BaseProvider": "base",
    "KnobWarning": "promises",
    "OpenAICompatible": "openai_compatible",
    "OpenAICompatibleProvider": "openai_compatible",
    "Provider": "base",
    "get_all_providers_status": "status",
    "get_all_providers_with_models": "status",
    "get_available_models_for_provider": "status",
    "get_provider_status": "status",
}
"""Where a name is defined, if it is neither a row's class nor in the registry."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from . import registry

    home = _MODULE_OF.get(name)
    if home is not None:
        return getattr(import_module(f".{home}", __name__), name)
    row = next((row for row in registry.BUILT_IN if row.import_path.endswith(f":{name}")), None)
    return getattr(registry, name) if row is None else row.provider_class


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
