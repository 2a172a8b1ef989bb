"""Models in this process by MLX and mlx-lm: on Apple's chips, and on other CPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from ..extras import need
from . import checkpoint
from .engine import EngineError
from .lora import WEIGHTS, AdapterFiles, check_fit
from .token_engine import LanguageModel, TokenEngine
from .tokenizer import ModelTokenizer

_PREFILL: Final = 2048
"""Tokens of a prompt that are read at a time."""


class MLXEngine(TokenEngine):
    """A model folder or hub id, by mlx-lm: one converted for MLX, or a checkpoint in safetensors as it is."""

    provider = "mlx"

    def _open(self, folder: Path, config: Mapping[str, Any], ends: frozenset[int]) -> LanguageModel:
        if config.get("model_file") or config.get("auto_map"):
            raise EngineError(
                f"the model {self._name!r} brings Python code of its own, which is not run", code="remote_code"
            )
        mx = need("mlx.core", self.provider)
        with _limits_kept():
            loading = need("mlx_lm.utils", self.provider)
        transformers = need("transformers", self.provider)
        overrides = checkpoint.rope_overrides(config)
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            model, _ = loading.load_model(folder, model_config=overrides)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:  # what load_model raises
            raise EngineError(f"the model {self._name!r} can't be loaded by mlx-lm: {error}", status=500) from error
        return _Model(mx, model, tokenizer, ends, self._name)


class _Model(LanguageModel):
    def __init__(self, mx: Any, model: Any, tokenizer: Any, ends: frozenset[int], name: str) -> None:
        from importlib.metadata import version

        self._mx, self._model, self._name = mx, model, name
        self._adapters: dict[str, dict[str, Any]] = {}
        """The modules that each adapter puts in place of the model's own, by their paths."""
        self._active: str | None = None
        self._linear = {path: part for path, part in model.named_modules() if type(part).__name__.endswith("Linear")}
        self.empty_cache = mx.clear_cache
        first = mx.array([[0]])
        self.tokenizer = ModelTokenizer(tokenizer, int(model(first).shape[-1]), ends)
        self.description = f"mlx-lm {version('mlx-lm')}, mlx {version('mlx')}, {mx.default_device()}"

    def decoder(self, adapter: str | None) -> _Decoder:
        if adapter != self._active:
            self._swap(adapter)
        return _Decoder(self._mx, self._model)

    def _swap(self, adapter: str | None) -> None:
        """Puts the modules of an adapter in place of those that are in use."""
        from mlx.utils import tree_unflatten

        before = self._adapters.get(self._active or "", {})
        modules = {path: self._linear[path] for path in before} | self._adapters.get(adapter or "", {})
        self._model.update_modules(tree_unflatten(list(modules.items())))
        self._active = adapter

    def add_adapter(self, name: str, files: AdapterFiles) -> None:
        shapes = {path: _shape(module) for path, module in self._linear.items()}
        check_fit(name, files, self._name, shapes)
        extra = [tensor for tensor in files.shapes if ".lora_A.weight" not in tensor and ".lora_B.weight" not in tensor]
        if files.config.get("use_dora") or extra:
            raise EngineError(
                f"the adapter {name!r} holds more than LoRA matrices ({', '.join(extra[:3]) or 'DoRA'}), "
                "which the mlx provider can't apply"
            )
        self._adapters[name] = self._wrapped(files)

    def _wrapped(self, files: AdapterFiles) -> dict[str, Any]:
        """The model's modules with an adapter added. PEFT has the transposed matrices of mlx-lm."""
        lora = need("mlx_lm.tuner.lora", "mlx")
        tensors = self._mx.load(str(files.folder / WEIGHTS))
        by_module = {tensor.removeprefix("base_model.model."): value for tensor, value in tensors.items()}
        wrapped = {}
        for path in files.modules():
            layer = lora.LoRALinear.from_base(self._linear[path], r=int(files.config["r"]), scale=files.scale)
            layer.lora_a = by_module[f"{path}.lora_A.weight"].T
            layer.lora_b = by_module[f"{path}.lora_B.weight"].T
            layer.eval()
            wrapped[path] = layer
        return wrapped

    def drop_adapter(self, name: str) -> None:
        if self._active == name:
            self._swap(None)
        del self._adapters[name]


@contextmanager
def _limits_kept() -> Iterator[None]:
    """Keeps mlx-lm from lowering, for the whole process and for good, how many files may be open, as it is imported."""
    import resource

    real = resource.setrlimit
    resource.setrlimit = lambda *_: None
    try:
        yield
    finally:
        resource.setrlimit = real


def _shape(module: Any) -> tuple[int, int]:
    outputs, inputs = module.weight.shape
    return (inputs * 32 // module.bits if hasattr(module, "bits") else inputs, outputs)


class _Decoder:
    """Reads one text; what it has read is kept as keys and values."""

    def __init__(self, mx: Any, model: Any) -> None:
        from mlx_lm.models.cache import make_prompt_cache

        self._mx, self._model = mx, model
        self._cache = make_prompt_cache(model)

    def read(self, tokens: Sequence[int]) -> MLXScores:
        mx = self._mx
        tokens = list(tokens)
        while len(tokens) > _PREFILL:
            self._model(mx.array([tokens[:_PREFILL]]), cache=self._cache)
            mx.eval([part.state for part in self._cache])
            tokens = tokens[_PREFILL:]
        vector = self._model(mx.array([tokens]), cache=self._cache)[0, -1].astype(mx.float32)
        mx.eval(vector)
        return MLXScores(mx, vector)


class MLXScores:
    """Scores as an MLX vector."""

    def __init__(self, mx_core: Any, vector: Any) -> None:
        self._mx, self._vector = mx_core, vector

    def allowed(self, mask: bytes) -> Self:
        mx, vector = self._mx, self._vector
        packed = mx.array(memoryview(mask))
        bits = mx.bitwise_and(mx.right_shift(packed[:, None], mx.arange(8, dtype=mx.uint8)), 1)
        kept = bits.reshape(-1)[: vector.size] == 1
        return type(self)(mx, mx.where(kept, vector, -mx.inf))

    def at(self, tokens: Sequence[int]) -> list[float]:
        return [float(value) for value in self._vector[self._mx.array(list(tokens))].tolist()]

    def replaced(self, tokens: Sequence[int], values: Sequence[float]) -> Self:
        vector = self._mx.array(self._vector)
        vector[self._mx.array(list(tokens))] = self._mx.array(list(values), dtype=vector.dtype)
        return type(self)(self._mx, vector)

    def best(self, count: int) -> list[tuple[int, float]]:
        vector, mx = self._vector, self._mx
        if count == 1:
            token = int(mx.argmax(vector))
            return [(token, float(vector[token]))]
        count = min(count, vector.size)
        tokens = mx.argpartition(-vector, count - 1)[:count] if count < vector.size else mx.arange(count)
        pairs = zip(tokens.tolist(), vector[tokens].tolist(), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))

    def log_total(self, temperature: float) -> float:
        return float(self._mx.logsumexp(self._vector / temperature))
