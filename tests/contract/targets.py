"""The backends of the contract, each with the small model that stands behind it in the live tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from abstractcore import InvalidRequestError, create_llm
from abstractcore.providers import Provider
from abstractcore.providers.vllm import server
from tests.contract.target import Target


@dataclass(frozen=True)
class Backend:
    """What is the same whether a backend is there or recorded."""

    provider: str
    model: str = "smollm2"
    listed: str | None = None
    context: int = 2048
    bad: Mapping[str, Any] = field(default_factory=lambda: {"temperature": -3})
    refusal: type[Exception] = InvalidRequestError
    lacks: Mapping[str, str] = field(default_factory=dict)

    def target(self, transports: Callable[[], Mapping[str, Any]], **config: Any) -> Target:
        """The backend behind these transports; nothing that was learned of it before is remembered."""
        server._known.clear()

        def make(model: str, **options: Any) -> Provider:
            return create_llm(self.provider, model=model, **{**config, **options})

        return Target(
            self.provider,
            self.model,
            make,
            transports,
            listed=self.listed or self.model,
            context=self.context,
            bad=self.bad,
            refusal=self.refusal,
            lacks=self.lacks,
        )


BACKENDS: Final[Mapping[str, Backend]] = {
    row.provider: row
    for row in (
        Backend("openai"),
        Backend("anthropic"),
        Backend("vllm"),
        Backend(
            "ollama",
            listed="smollm2:latest",
            context=512,
            bad={"extra_body": {"num_ctx": "many"}},
            lacks={"tool_required": "the small model's template has no place for tools, and Ollama refuses them"},
        ),
    )
}
