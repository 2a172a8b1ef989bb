"""Models in this process by transformers and torch, with adapters by peft."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from ..extras import need
from .engine import EngineError
from .lora import AdapterFiles, check_fit
from .token_engine import LanguageModel, TokenEngine
from .tokenizer import ModelTokenizer


class TransformersEngine(TokenEngine):
    """A model folder or hub id, by transformers.

    Args:
        name: The model.
        device: ``cuda``, ``cuda:1``, ``mps`` or ``cpu``; the best one that there is when left out.
        dtype: ``bfloat16``, ``float16`` or ``float32``; that of the checkpoint when left out, but bfloat16 where
            float16 would be slow.
        options: Arguments for ``from_pretrained``, such as ``quantization_config`` or ``attn_implementation``.
        trust_remote_code: Run the Python code that comes with the model.
        token: For the hub.
    """

    provider = "huggingface"

    def __init__(
        self,
        name: str,
        *,
        device: str | None = None,
        dtype: str | None = None,
        options: Mapping[str, Any] | None = None,
        trust_remote_code: bool = False,
        token: str | None = None,
    ) -> None:
        super().__init__(name, token=token)
        self._device = device
        self._dtype = dtype
        self._options = dict(options or {})
        self._trust = trust_remote_code

    def _open(self, folder: Path, config: Mapping[str, Any], ends: frozenset[int]) -> LanguageModel:
        if config.get("auto_map") and not self._trust:
            raise EngineError(
                f"the model {self._name!r} brings Python code of its own, which is not run unasked; if you trust it: "
                "trust_remote_code=True",
                code="remote_code",
            )
        torch, transformers = need("torch", self.provider), need("transformers", self.provider)
        device = self._device or _best_device(torch)
        dtype = _dtype(torch, self._dtype, config, device)
        try:
            with _quiet_loading(transformers):
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=self._trust)
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    folder,
                    **{"dtype": dtype, "trust_remote_code": self._trust, "use_safetensors": True} | self._options,
                )
        except (OSError, ValueError, ImportError, RuntimeError) as error:  # what from_pretrained raises
            raise EngineError(f"the model {self._name!r} can't be loaded: {error}", status=500) from error
        if getattr(model, "hf_device_map", None) is None:
            model = model.to(device)
        model.eval()
        versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
        return _Model(torch, model, ModelTokenizer(tokenizer, _vocabulary(model), ends), self._name, versions)


class _Model(LanguageModel):
    def __init__(self, torch: Any, model: Any, tokenizer: ModelTokenizer, name: str, versions: str) -> None:
        self._torch, self._plain, self._name = torch, model, name
        self._peft: Any = None
        """The model with its adapters around it, once there are any."""
        self._slots: dict[str, str] = {}
        """Names of adapters to the names that peft has for them, which may hold no dots."""
        self._numbers = itertools.count()
        self.tokenizer = tokenizer
        self.empty_cache = torch.cuda.empty_cache  # does nothing where there is no GPU
        dtype = str(model.dtype).removeprefix("torch.")
        self.description = f"{versions}, {model.device}, {dtype}"

    def decoder(self, adapter: str | None) -> _Decoder:
        if self._peft is not None:
            if adapter is None:
                self._peft.base_model.disable_adapter_layers()
            else:
                self._peft.base_model.enable_adapter_layers()
                self._peft.set_adapter(self._slots[adapter])
        return _Decoder(self._torch, self._plain)

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, int]]:
        found = {}
        for name, module in self._plain.named_modules():
            if hasattr(module, "in_features"):
                found[name] = (int(module.in_features), int(module.out_features))
            elif hasattr(module, "nf"):  # GPT-2's own linear layer
                found[name] = (int(module.weight.shape[0]), int(module.nf))
        return found

    def add_adapter(self, name: str, files: AdapterFiles) -> None:
        check_fit(name, files, self._name, self._shapes)  # by the names before peft wraps the modules
        peft = need("peft", "huggingface")
        slot = f"adapter_{next(self._numbers)}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # peft's words about names that were checked above
                if self._peft is None:
                    self._peft = peft.PeftModel.from_pretrained(self._plain, files.folder, adapter_name=slot).eval()
                else:
                    self._peft.load_adapter(files.folder, slot)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise EngineError(f"the adapter {name!r} can't be loaded: {error}") from error
        self._slots[name] = slot

    def drop_adapter(self, name: str) -> None:
        slot = self._slots.pop(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the adapter that is active from now on: each request says which
            if self._slots:
                self._peft.delete_adapter(slot)
            else:  # peft keeps at least one: take the wrapping off instead
                self._plain, self._peft = self._peft.unload(), None


class _Decoder:
    """Reads one text; what it has read is kept as keys and values."""

    def __init__(self, torch: Any, model: Any) -> None:
        import inspect

        self._torch, self._model = torch, model
        self._kept: dict[str, Any] = {}
        lists = inspect.signature(model.forward).parameters
        self._options = {"logits_to_keep": 1} if "logits_to_keep" in lists else {}

    def read(self, tokens: Sequence[int]) -> TorchScores:
        torch = self._torch
        with torch.inference_mode():
            ids = torch.tensor([list(tokens)], device=self._model.device)
            out = self._model(input_ids=ids, use_cache=True, **self._options, **self._kept)
            self._kept = {name: out[name] for name in ("past_key_values", "cache_params", "state") if name in out}
            return TorchScores(torch, out.logits[0, -1].float())


class TorchScores:
    """Scores as a torch vector."""

    def __init__(self, torch: Any, vector: Any) -> None:
        self._torch, self._vector = torch, vector

    def allowed(self, mask: bytes) -> Self:
        torch, vector = self._torch, self._vector
        packed = torch.frombuffer(bytearray(mask), dtype=torch.uint8).to(vector.device)
        bits = (packed[:, None] >> torch.arange(8, device=vector.device, dtype=torch.uint8)) & 1
        return type(self)(torch, vector.masked_fill(bits.view(-1)[: len(vector)] == 0, float("-inf")))

    def at(self, tokens: Sequence[int]) -> list[float]:
        return [float(value) for value in self._vector[list(tokens)].tolist()]

    def replaced(self, tokens: Sequence[int], values: Sequence[float]) -> Self:
        vector = self._vector.clone()
        vector[list(tokens)] = self._torch.tensor(values, dtype=vector.dtype, device=vector.device)
        return type(self)(self._torch, vector)

    def best(self, count: int) -> list[tuple[int, float]]:
        if count == 1:  # of equal ones the first, which topk doesn't promise
            token = int(self._vector.argmax())
            return [(token, float(self._vector[token]))]
        values, tokens = self._vector.topk(min(count, len(self._vector)))
        return list(zip(tokens.tolist(), values.tolist(), strict=True))

    def log_total(self, temperature: float) -> float:
        return float((self._vector / temperature).logsumexp(-1))


def _vocabulary(model: Any) -> int:
    """How many scores the model gives."""
    return int(model.get_output_embeddings().weight.shape[0])


def _best_device(torch: Any) -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(torch: Any, wanted: str | None, config: Mapping[str, Any], device: str) -> Any:
    """The number format: the checkpoint's own, unless the device is bad at it."""
    named = wanted or config.get("dtype") or config.get("torch_dtype") or "float32"
    found = getattr(torch, named, None)
    if not isinstance(found, torch.dtype):
        raise EngineError(f"there is no number format {named!r}; there is bfloat16, float16, float32")
    if wanted is None and found is torch.float16 and device == "cpu":
        return torch.bfloat16
    if wanted is None and found is torch.bfloat16 and device.startswith("cuda") and not torch.cuda.is_bf16_supported():
        return torch.float16
    return found


@contextmanager
def _quiet_loading(transformers: Any) -> Iterator[None]:
    """Without progress bars on a terminal that is not ours."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
