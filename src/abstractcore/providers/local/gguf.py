"""GGUF files in this process: what ``create_llm("huggingface", model="model.gguf")`` gives."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ...errors import ConfigurationError
from ..draft import Draft
from ..request import GenerateDefaults
from . import guided, small_gguf
from .engine import Engine
from .gguf_engine import GgufEngine, Options
from .provider import LocalProvider

if TYPE_CHECKING:
    from ...transport import AsyncTransport, Transport


def is_gguf(model: str | None) -> bool:
    """Whether a model's name stands for a GGUF file: a path that ends so, or ``local``."""
    return model is not None and (model == small_gguf.NAME or model.lower().endswith(".gguf"))


class GGUFProvider(LocalProvider):
    """A GGUF file in this process, by llama.cpp. Making one touches nothing: the model is loaded on first use.

    Args:
        model: Path of the file; ``local`` for the small model that abstractcore gets by itself.
        context_length: Tokens of prompt and answer together; by default what the model was trained for, 8192 at most.
        threads: Threads for generating; the best number for the model's size when left out.
        gpu_layers: Layers that go to a GPU, where llama.cpp was built for one; all that fit when left out.
        parallel: Requests that are worked on at once; each takes the memory of one context.
        fetch: Gets the small model when ``local`` is asked and it isn't there; gives the path of its file.
        transport: Replaces the engine in sync calls, for tests.
        async_transport: Replaces the engine in async calls, for tests.
        defaults: Default options of ``generate``.

    Raises:
        ConfigurationError: A number makes no sense.
        TypeError: A default is no option of ``generate``.
    """

    provider = "huggingface"
    engine = "gguf"

    def __init__(
        self,
        model: str | None = None,
        *,
        context_length: int | None = None,
        threads: int | None = None,
        gpu_layers: int | None = None,
        parallel: int = 1,
        fetch: Callable[[], Path] | None = None,
        transport: Transport | None = None,
        async_transport: AsyncTransport | None = None,
        **defaults: Unpack[GenerateDefaults],
    ) -> None:
        for name, value in (("context_length", context_length), ("threads", threads), ("parallel", parallel)):
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} must be at least 1; it is {value}")
        self._options = Options(context_length, threads, gpu_layers, parallel)
        self._fetch = fetch
        super().__init__(model or small_gguf.NAME, transport=transport, async_transport=async_transport, **defaults)

    @property
    def path(self) -> Path:
        """The file, with the home folder in place of ``~``."""
        name = self.model or small_gguf.NAME
        return small_gguf.path() if name == small_gguf.NAME else Path(name).expanduser().absolute()

    def _engine_key(self) -> Hashable:
        return (self.provider, self.model, self.path, self._options)

    def _make_engine(self) -> Engine:
        name = self.model or small_gguf.NAME
        find = (lambda: small_gguf.find(self._fetch)) if name == small_gguf.NAME else None
        return GgufEngine(name, self.path, self._options, find)

    def _shape(self, draft: Draft) -> None:
        super()._shape(draft)
        if draft.request.constraint is not None:
            guided.check(draft.request.constraint, self.provider)
        if draft.request.chat_template_kwargs:
            draft.fields["chat_template_kwargs"] = draft.request.chat_template_kwargs
