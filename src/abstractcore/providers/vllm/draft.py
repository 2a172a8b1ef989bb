"""A request to a vLLM server on its way to being decided; the shapers of each feature work on it."""

from __future__ import annotations

from msgspec import field

from .. import draft
from .dialect import Dialect, Surface


class Draft(draft.Draft):
    """A request on its way to being decided."""

    provider: str = "vllm"
    dialect: Dialect = field(default_factory=Dialect)
    """What the server understands; unknown for requests that any server understands."""
    has_switch: bool | None = None
    """Whether the model's chat template can switch the reasoning; ``None`` if that is not known or not asked."""
    unparsed_model: str | None = None
    """Set if the server was found to read no tool calls: the model that it serves."""

    @property
    def server_version(self) -> str | None:
        return self.dialect.version

    @property
    def surface(self) -> Surface:
        """The endpoint that the request goes to."""
        return "chat" if self.request.raw_prompt is None else "completions"
