"""Backends that speak OpenAI's protocol: their common part, and the row by which one more is added.

::

    get_provider_registry().register_provider(
        OpenAICompatible(
            name="groq",
            display_name="Groq",
            description="Groq's cloud",
            base_url="https://api.groq.com/openai/v1",
            key_variable="GROQ_API_KEY",
        )
    )
    create_llm("groq", "llama-3.3-70b-versatile")
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Final

from msgspec import field

from ..capability import CAPABILITIES, KNOBS, Capability, support
from ..capability import Support as How
from ..settings import Setting, declare_settings
from . import openai_api
from .http_provider import HttpProvider
from .openai_shape import shape_constraint, shape_thinking, shape_tools
from .registry import ProviderInfo

if TYPE_CHECKING:
    from ..wire.call import Plan
    from .base import Provider
    from .draft import Draft

DOCUMENTED: Final = frozenset({
    "audio", "echo", "logit_bias", "metadata", "modalities", "moderation", "prediction", "prompt_cache_key",
    "prompt_cache_options", "prompt_cache_retention", "reasoning_effort", "safety_identifier", "service_tier", "store",
    "suffix", "user", "verbosity", "web_search_options",
})  # fmt: skip
"""Fields of OpenAI's requests, beyond those that options write."""


class OpenAICompatibleProvider(HttpProvider):
    """A backend that speaks OpenAI's protocol, and of which no more is known."""

    known_fields = DOCUMENTED
    objects_only: ClassVar[bool] = False
    """Its schemas must describe objects: other values are asked for inside of one."""
    strict_rules: ClassVar[bool] = False
    """Its strict mode takes only a part of JSON Schema; see ``wire.openai_strict``."""
    strict_tools: ClassVar[bool] = True
    """Tools may say ``strict``."""
    tools_by_name: ClassVar[bool] = True
    """``tool_choice`` may name a tool."""

    def _shape(self, draft: Draft) -> None:
        shape_constraint(draft, objects_only=self.objects_only, strict_rules=self.strict_rules)
        shape_tools(draft, strict=self.strict_tools, strict_rules=self.strict_rules, by_name=self.tools_by_name)
        shape_thinking(draft)

    def _plan_embed(self, texts: list[str], model: str | None = None) -> Plan[list[list[float]]]:
        if support(self.provider, Capability.EMBEDDINGS) is How.UNSUPPORTED:
            return (yield from super()._plan_embed(texts))
        self._check_key()
        model = yield from self._plan_model(model)
        return (yield from openai_api.embed(self._endpoint, model, texts)) if texts else []


class OpenAICompatible(ProviderInfo, frozen=True, kw_only=True, eq=False):
    """The row of a backend that speaks OpenAI's protocol and needs no code of its own."""

    capabilities: Mapping[Capability, How] | None = field(default_factory=lambda: CAPABILITIES["lmstudio"])
    knobs: frozenset[str] = KNOBS["openai"]
    import_path: str = "abstractcore.providers.openai_compatible:OpenAICompatibleProvider"
    base_url: str
    """Where it is, with the prefix of its paths."""
    prefix: str = "/v1"
    """What the base URL ends in."""
    key_variable: str | None = None
    """The environment variable of its key; without one it asks for none."""
    model: str | None = None
    """The model that is asked when none is named."""
    strict_rules: bool = False
    """Its strict mode follows OpenAI's rules for schemas."""

    def declare(self) -> None:
        super().declare()
        name, key = self.name, self.key_variable
        declare_settings(
            Setting(
                f"{name}.base_url", self.base_url, (f"{name.upper()}_BASE_URL",), f"Address of {self.display_name}."
            ),
            Setting(f"{name}.api_key", None, (key,) if key else (), f"Key of {self.display_name}.", secret=True),
        )

    @property
    def provider_class(self) -> type[Provider]:
        return _made(self)


@cache
def _made(row: OpenAICompatible) -> type[Provider]:
    fixed = {
        "__doc__": row.description,
        "provider": row.name,
        "prefix": row.prefix,
        "ready_path": f"{row.prefix}/models",
        "default_model": row.model,
        "needs_key": row.key_variable is not None,
        "objects_only": row.strict_rules,
        "strict_rules": row.strict_rules,
    }
    return type(f"{row.name.title()}Provider", (OpenAICompatibleProvider,), fixed)
