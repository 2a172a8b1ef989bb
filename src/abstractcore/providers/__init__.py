"""The backends. Classes are loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Provider
    from .vllm import VLLMProvider

__all__ = ["Provider", "VLLMProvider"]


def __getattr__(name: str) -> Any:
    if name == "VLLMProvider":
        from .vllm import VLLMProvider

        return VLLMProvider
    if name == "Provider":
        from .base import Provider

        return Provider
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
