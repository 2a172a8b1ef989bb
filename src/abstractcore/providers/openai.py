"""OpenAI's cloud, and any server that speaks its protocol."""

from __future__ import annotations

from .openai_compatible import OpenAICompatibleProvider


class OpenAIProvider(OpenAICompatibleProvider):
    """OpenAI's cloud, or another server that speaks its protocol. Making one never touches the network.

    Args:
        model: The model to ask; ``gpt-5.4-mini`` when left out, at another address what is served there.
        base_url: The server's address; else ``OPENAI_BASE_URL``, else OpenAI's own.
        api_key: The key; else ``OPENAI_API_KEY``. Another server than OpenAI's may do without.
        transport: Replaces the network in sync calls, for tests.
        async_transport: Replaces the network in async calls, for tests.
        defaults: Default options of ``generate``.

    Raises:
        ConfigurationError: The address is none.
        TypeError: A default is no option of ``generate``.
    """

    provider = "openai"
    default_model = "gpt-5.4-mini"
    needs_key = True
    objects_only = True
    strict_rules = True
