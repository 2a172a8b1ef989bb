"""``create_llm``: from a provider's name to a provider."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .errors import ConfigurationError

if TYPE_CHECKING:
    from .providers import Provider

PROVIDERS: Final[Mapping[str, tuple[str, str]]] = {"vllm": ("abstractcore.providers.vllm", "VLLMProvider")}
"""Module and class of each provider."""


def create_llm(provider: str, model: str | None = None, **config: Any) -> Provider:
    """Makes a provider, without touching the network.

    Args:
        provider: A provider's name, or ``provider/model`` in one string.
        model: The model to ask.
        config: The provider's own settings (``base_url``, ``api_key``) and default options of ``generate``.

    Raises:
        ConfigurationError: There is no such provider, or a setting makes no sense.
        TypeError: A setting is unknown.
    """
    name, _, rest = provider.partition("/")
    if rest and model is not None:
        raise ConfigurationError(f"{provider!r} names a model already, and model={model!r} another")
    if name not in PROVIDERS:
        import difflib

        near = difflib.get_close_matches(name, PROVIDERS, 1)
        raise ConfigurationError(
            f"there is no provider {name!r}",
            why=f"the providers are: {', '.join(PROVIDERS)}",
            hint=f"create_llm({(near or list(PROVIDERS))[0]!r}, ...)",
        )
    module, class_name = PROVIDERS[name]
    made: Provider = getattr(import_module(module), class_name)(rest or model, **config)
    return made
