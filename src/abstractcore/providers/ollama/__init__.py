"""Ollama, by its own protocol."""

from .provider import OllamaProvider

__all__ = ["OllamaProvider"]
