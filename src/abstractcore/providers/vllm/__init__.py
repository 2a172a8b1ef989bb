"""vLLM: the provider and what it knows of its servers."""

from .provider import VLLMProvider

__all__ = ["VLLMProvider"]
