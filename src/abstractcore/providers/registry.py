"""The backends as rows of data: what there is, where its class is, and what it needs.

The seven that come with the package stand here. Other packages add theirs by an entry point of the group
``abstractcore.providers`` that names a ``ProviderInfo`` or a subclass of ``Provider``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field

from ..capability import CAPABILITIES, Capability, Support, declare
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .base import Provider

GROUP: Final = "abstractcore.providers"
"""The entry points by which other packages add providers."""


class ProviderInfo(Struct, frozen=True, kw_only=True, eq=False):
    """One row of the registry."""

    name: str
    display_name: str
    description: str
    import_path: str
    """Module and class, with a colon between them."""
    provider_type: str = "llm"
    local_provider: bool = False
    """Runs on this machine unless told otherwise: no account, no bill."""
    in_process: bool = False
    """The model runs in this process: there is no address."""
    requires: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The packages of each extra; one complete extra is enough."""

    capabilities: Mapping[Capability, Support] | None = None
    """What it can do, for backends that ``capability.CAPABILITIES`` has no row of."""
    knobs: frozenset[str] = frozenset()
    """Its sampling parameters, likewise."""

    def declare(self) -> None:
        """Adds what the row says of its backend to the tables that the code obeys."""
        if self.capabilities is not None:
            declare(self.name, self.capabilities, self.knobs)

    @property
    def provider_class(self) -> type[Provider]:
        """The class; its module is imported when asked for."""
        module, _, name = self.import_path.partition(":")
        found: type[Provider] = getattr(import_module(module), name)
        return found

    @property
    def default_model(self) -> str | None:
        """The model that is asked when none is named; ``None`` if it is found out from the server."""
        return self.provider_class.default_model

    @property
    def authentication_required(self) -> bool:
        """Whether it answers nobody without a key."""
        return self.provider_class.needs_key

    @property
    def supported_features(self) -> list[str]:
        """What it can do, by the names of ``Capability``."""
        row = CAPABILITIES.get(self.name, {})
        return [str(capability) for capability, how in row.items() if how is not Support.UNSUPPORTED]

    @property
    def installation_extras(self) -> str | None:
        """The extra that installs what it needs; ``None`` if the package alone is enough."""
        return next(iter(self.requires), None)


BUILT_IN: Final = (
    ProviderInfo(
        name="openai",
        display_name="OpenAI",
        description="OpenAI's cloud, and any server that speaks its protocol",
        import_path="abstractcore.providers.openai:OpenAIProvider",
    ),
    ProviderInfo(
        name="anthropic",
        display_name="Anthropic",
        description="Anthropic's cloud, and any server that speaks its protocol",
        import_path="abstractcore.providers.anthropic:AnthropicProvider",
    ),
    ProviderInfo(
        name="ollama",
        display_name="Ollama",
        description="Models that Ollama runs on this machine",
        import_path="abstractcore.providers.ollama:OllamaProvider",
        local_provider=True,
    ),
    ProviderInfo(
        name="lmstudio",
        display_name="LM Studio",
        description="Models that LM Studio runs on this machine",
        import_path="abstractcore.providers.lmstudio:LMStudioProvider",
        local_provider=True,
    ),
    ProviderInfo(
        name="mlx",
        display_name="MLX",
        description="Models in this process, by Apple's MLX",
        import_path="abstractcore.providers.local.mlx:MLXProvider",
        local_provider=True,
        in_process=True,
        requires={"mlx": ("mlx", "mlx_lm")},
    ),
    ProviderInfo(
        name="huggingface",
        display_name="HuggingFace",
        description="Models in this process, by transformers, or by llama.cpp for GGUF files",
        import_path="abstractcore.providers.local.huggingface:HuggingFaceProvider",
        local_provider=True,
        in_process=True,
        requires={"huggingface": ("torch", "transformers"), "local": ("xllamacpp",)},
    ),
    ProviderInfo(
        name="vllm",
        display_name="vLLM",
        description="A vLLM server: guided decoding, LoRA adapters, beam search, high throughput",
        import_path="abstractcore.providers.vllm:VLLMProvider",
        local_provider=True,
    ),
)
"""The order is part of the interface."""


class ProviderRegistry:
    """The rows by name: those of this package first, then those that were added, then those of other packages.

    Args:
        rows: The rows that are there from the start.
    """

    def __init__(self, rows: Iterable[ProviderInfo] = BUILT_IN) -> None:
        self._rows = {row.name: row for row in rows}
        self._found: dict[str, EntryPoint] | None = None

    def register_provider(self, row: ProviderInfo) -> None:
        """Adds a row, or replaces it.

        Raises:
            ConfigurationError: It has the name of a provider of this package.
        """
        if any(row.name == known.name for known in BUILT_IN):
            raise ConfigurationError(f"{row.name!r} is a provider of abstractcore itself", hint="give it another name")
        row.declare()
        self._rows[row.name] = row

    def list_provider_names(self) -> list[str]:
        """All names, in order; packages of others are not loaded."""
        return [*self._rows, *(name for name in self._elsewhere() if name not in self._rows)]

    list_available_providers = list_provider_names

    def is_provider_available(self, name: str) -> bool:
        """Whether there is a provider of this name."""
        return name in self._rows or name in self._elsewhere()

    def get_provider_info(self, name: str) -> ProviderInfo:
        """The row of a provider.

        Raises:
            ConfigurationError: There is none of this name, or the package that adds it is broken.
        """
        if name not in self._rows:
            entry = self._elsewhere().get(name)
            if entry is None:
                raise self._unknown(name)
            self.register_provider(_load(entry))
        return self._rows[name]

    def get_provider_class(self, name: str) -> type[Provider]:
        """The class of a provider."""
        return self.get_provider_info(name).provider_class

    def create_provider_instance(self, name: str, model: str | None = None, **config: Any) -> Provider:
        """Makes a provider, without touching the network.

        Raises:
            ConfigurationError: There is no such provider, or a setting makes no sense.
            TypeError: A setting is unknown.
        """
        return self.get_provider_class(name)(model, **config)

    def _elsewhere(self) -> Mapping[str, EntryPoint]:
        """What other packages add; looked for once, and only where a name is not one of ours."""
        if self._found is None:
            from importlib.metadata import entry_points

            entries = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
            self._found = {entry.name: entry for entry in entries}
        return self._found

    def _unknown(self, name: str) -> ConfigurationError:
        import difflib

        names = self.list_provider_names()
        near = difflib.get_close_matches(name.lower(), names, 1)
        return ConfigurationError(
            f"there is no provider {name!r}",
            why=f"the providers are: {', '.join(names)}",
            hint=f"did you mean {near[0]!r}?" if near else "abstractcore providers",
        )


def _load(entry: EntryPoint) -> ProviderInfo:
    """The row that an entry point stands for.

    Raises:
        ConfigurationError: It can't be loaded, or is no provider.
    """
    from .base import Provider

    package = entry.dist.name if entry.dist else "a package"
    try:
        found = entry.load()
    except Exception as error:  # whatever a package raises while it is imported
        raise ConfigurationError(
            f"the provider {entry.name!r} that {package} adds can't be loaded",
            why=f"{entry.value}: {type(error).__name__}: {error}",
            hint=f"mend or remove it: pip uninstall {package}",
        ) from error
    if isinstance(found, type) and issubclass(found, Provider) and found.provider == entry.name:
        summary = (found.__doc__ or found.__name__).strip().partition("\n")[0]
        return ProviderInfo(name=entry.name, display_name=entry.name, description=summary, import_path=entry.value)
    if isinstance(found, ProviderInfo) and found.name == entry.name:
        return found
    raise ConfigurationError(
        f"what {package} adds as {entry.name!r} is no provider of this name",
        why=f"{entry.value} is {found!r}",
        hint="an entry point names a ProviderInfo, or a subclass of Provider, with its own name",
    )


_registry: ProviderRegistry | None = None


def get_provider_registry() -> ProviderRegistry:
    """The registry of this process."""
    global _registry  # noqa: PLW0603 - made when first asked for
    if _registry is None:
        _registry = ProviderRegistry()
    return _registry


def list_available_providers() -> list[str]:
    """The names of all providers, in order."""
    return get_provider_registry().list_available_providers()


def get_provider_info(name: str) -> ProviderInfo:
    """The row of a provider.

    Raises:
        ConfigurationError: There is none of this name.
    """
    return get_provider_registry().get_provider_info(name)


def is_provider_available(name: str) -> bool:
    """Whether there is a provider of this name."""
    return get_provider_registry().is_provider_available(name)


def create_provider(name: str, model: str | None = None, **config: Any) -> Provider:
    """Makes a provider, without touching the network.

    Raises:
        ConfigurationError: There is no such provider, or a setting makes no sense.
        TypeError: A setting is unknown.
    """
    return get_provider_registry().create_provider_instance(name, model, **config)
