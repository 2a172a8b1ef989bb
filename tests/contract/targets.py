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

    name: str
    """As the tests call it."""
    provider: str = ""
    """By default the same."""
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
            return create_llm(self.provider or self.name, model=model, **{**config, **options})

        return Target(
            self.provider or self.name,
            self.model,
            make,
            transports,
            listed=self.listed or self.model,
            context=self.context,
            bad=self.bad,
            refusal=self.refusal,
            lacks=self.lacks,
        )


FOLDER: Final = "./SmolLM2-135M-Instruct"
"""Below the folder of models, where the tests of in-process backends run; so no recording holds a machine's path."""

BACKENDS: Final[Mapping[str, Backend]] = {
    row.name: row
    for row in (
        Backend("openai"),
        Backend("anthropic"),
        Backend("vllm"),
        Backend(
            "lmstudio",
            bad={"extra_body": {"top_k": "many"}, "allow_unknown": True},
            lacks={
                "tool_required": "llama.cpp asks no call of a model whose template has no tools; the answer is refused"
            },
        ),
        Backend(
            "ollama",
            listed="smollm2:latest",
            context=512,
            bad={"extra_body": {"num_ctx": "many"}},
            lacks={"tool_required": "the small model's template has no place for tools, and Ollama refuses them"},
        ),
        Backend(
            "huggingface", model=FOLDER, context=8192, bad={"extra_body": {"top_k": "many"}, "allow_unknown": True}
        ),
        Backend("mlx", model=FOLDER, context=8192, bad={"extra_body": {"top_k": "many"}, "allow_unknown": True}),
    )
}
