"""The MLX provider: models in this process, on Apple's chips and on other CPUs."""

from __future__ import annotations

from collections.abc import Hashable

from ...settings import resolve
from .engine import Engine
from .folder_provider import FolderProvider
from .mlx_engine import MLXEngine


class MLXProvider(FolderProvider):
    """A model in this process, by mlx-lm. Making one touches nothing: the model is loaded on first use.

    Args:
        model: A folder, or a hub id: one converted for MLX, or a checkpoint in safetensors as it is. From the hub only
            what isn't in its cache is fetched.
        transport: Replaces the engine in sync calls, for tests.
        async_transport: Replaces the engine in async calls, for tests.
        defaults: Default options of ``generate``.

    Raises:
        TypeError: A default is no option of ``generate``.
    """

    provider = "mlx"

    def _engine_key(self) -> Hashable:
        return (self.provider, self.model)

    def _make_engine(self) -> Engine:
        return MLXEngine(self.model or "", token=resolve("huggingface.token").value)
