"""The HuggingFace provider: models in this process, by transformers, or by llama.cpp for GGUF files."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from ...settings import resolve
from ..request import GenerateDefaults
from .engine import Engine
from .folder_provider import FolderProvider
from .gguf import GGUFProvider, is_gguf
from .transformers_engine import TransformersEngine

if TYPE_CHECKING:
    from ...transport import AsyncTransport, Transport


class HuggingFaceProvider(FolderProvider):
    """A model in this process, by transformers. Making one touches nothing: the model is loaded on first use.

    Args:
        model: A folder, or a hub id; from the hub only what isn't in its cache is fetched. For the path of a GGUF file,
            or ``local``, this gives a ``GGUFProvider``, which takes other settings.
        device: ``cuda``, ``cuda:1``, ``mps`` or ``cpu``; the best one that there is when left out.
        dtype: ``bfloat16``, ``float16`` or ``float32``; the checkpoint's own when left out, but bfloat16 in place of
            float16 on a CPU.
        trust_remote_code: Run the Python code that comes with the model. Without it such a model is refused.
        load_options: Arguments for transformers' ``from_pretrained``, such as ``attn_implementation``.
        transport: Replaces the engine in sync calls, for tests.
        async_transport: Replaces the engine in async calls, for tests.
        defaults: Default options of ``generate``.

    Raises:
        TypeError: A default is no option of ``generate``.
    """

    provider = "huggingface"

    def __new__(cls, model: str | None = None, **settings: Any) -> Any:
        """A provider for the kind of model that the name stands for."""
        if cls is HuggingFaceProvider and is_gguf(model):
            return GGUFProvider(model, **settings)
        return super().__new__(cls)

    def __init__(
        self,
        model: str | None = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
        trust_remote_code: bool = False,
        load_options: Mapping[str, Any] | None = None,
        transport: Transport | None = None,
        async_transport: AsyncTransport | None = None,
        **defaults: Unpack[GenerateDefaults],
    ) -> None:
        self._device, self._dtype, self._trust = device, dtype, trust_remote_code
        self._load_options = dict(load_options or {})
        super().__init__(model, transport=transport, async_transport=async_transport, **defaults)

    def _engine_key(self) -> Hashable:
        options = tuple((name, repr(value)) for name, value in sorted(self._load_options.items()))
        return (self.provider, self.model, self._device, self._dtype, self._trust, options)

    def _make_engine(self) -> Engine:
        return TransformersEngine(
            self.model or "",
            device=self._device,
            dtype=self._dtype,
            options=self._load_options,
            trust_remote_code=self._trust,
            token=resolve("huggingface.token").value,
        )
