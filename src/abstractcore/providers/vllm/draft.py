"""A request on its way to being decided; the shapers of each feature work on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import UnsupportedFeatureError
from ...types import GenerateRequest
from ...wire.openai import Completion, request_body
from .dialect import Dialect, Surface


@dataclass(slots=True)
class Draft:
    """A request on its way to being decided."""

    request: GenerateRequest
    model: str
    dialect: Dialect = field(default_factory=Dialect)
    """What the server understands; unknown for requests that any server understands."""
    has_switch: bool | None = None
    """Whether the model's chat template can switch the reasoning; ``None`` if that is not known or not asked."""
    stream: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
    """What is added to the body, or replaces a part of it."""
    spelling: str = ""
    unparsed_model: str | None = None
    """Set if the server was found to read no tool calls: the model that it serves."""
    hold_text: bool = False
    """As in ``Job``."""
    metadata: dict[str, Any] = field(default_factory=dict)
    revise: list[Callable[[Completion], Completion]] = field(default_factory=list)
    """Run on the answer before its proof: each gives it on, changed or not, or raises for a broken promise."""

    @property
    def knobs(self) -> dict[str, str]:
        """Wishes that were sent and of which nothing shows whether they are obeyed; with the reason."""
        found: dict[str, str] = self.metadata.setdefault("knobs", {})
        return found

    @property
    def surface(self) -> Surface:
        """The endpoint that the request goes to."""
        return "chat" if self.request.raw_prompt is None else "completions"

    def body(self) -> dict[str, Any]:
        """The request body as it stands."""
        return {**request_body(self.request, self.model, stream=self.stream), **self.fields}

    def refuse(self, feature: str, *, why: str, alternatives: Sequence[str] = ()) -> UnsupportedFeatureError:
        """The error for a promise that this server can't keep."""
        version = self.dialect.version
        return UnsupportedFeatureError(
            f"vllm can't do {feature}" + (f" (server version {version})" if version else ""),
            feature=feature,
            provider="vllm",
            server_version=version,
            alternatives=alternatives,
            why=why,
        )
