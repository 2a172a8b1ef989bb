"""What the self-test tries: a provider, the adapters that it may load, and the gateway once it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..providers import Provider


@dataclass(slots=True)
class Subject:
    """What is tried.

    Args:
        llm: The provider.
        model: The model that it asks, once that is known.
        adapters: Paths of LoRA adapters that may be loaded, by name.
        gateway: Address of the gateway, once it runs.
    """

    llm: Provider
    model: str = ""
    adapters: Mapping[str, str] = field(default_factory=dict)
    gateway: str | None = None

    @property
    def gateway_model(self) -> str:
        """The model's name at the gateway."""
        return f"{self.llm.provider}/{self.model}"
