"""A language model without a framework: 256 bytes as tokens, and scores that follow a script."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from llguidance import LLTokenizer

from abstractcore.providers.local.folder_provider import FolderProvider
from abstractcore.providers.local.lora import AdapterFiles, check_fit
from abstractcore.providers.local.token_engine import LanguageModel, TokenEngine
from abstractcore.providers.local.tokenizer import ModelTokenizer

END = 261
"""Of llguidance's byte vocabulary."""
SHAPES = {"model.layers.0.q": (4, 6)}


class PlainScores:
    """Scores as a list."""

    def __init__(self, values: Iterable[float]) -> None:
        self.values = list(values)

    def allowed(self, mask: bytes) -> Self:
        return type(self)(
            value if mask[token // 8] >> token % 8 & 1 else -math.inf for token, value in enumerate(self.values)
        )

    def at(self, tokens: Sequence[int]) -> list[float]:
        return [self.values[token] for token in tokens]

    def replaced(self, tokens: Sequence[int], values: Sequence[float]) -> Self:
        new = list(self.values)
        for token, value in zip(tokens, values, strict=True):
            new[token] = value
        return type(self)(new)

    def best(self, count: int) -> list[tuple[int, float]]:
        return sorted(enumerate(self.values), key=lambda pair: (-pair[1], pair[0]))[:count]

    def log_total(self, temperature: float) -> float:
        return math.log(math.fsum(math.exp(value / temperature) for value in self.values))


class ByteTokenizer:
    """What transformers calls a tokenizer, for bytes."""

    eos_token_id = END
    chat_template = "one"

    def __call__(self, text: str) -> SimpleNamespace:
        return SimpleNamespace(input_ids=list(text.encode()))

    def apply_chat_template(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> list[int]:
        extra = "".join(f"[{name}={value}]" for name, value in options.items() if name.startswith("enable_"))
        return list("".join(f"{each['role']}:{each['content']}\n" for each in messages).encode() + extra.encode())

    def decode(self, tokens: Sequence[int], *, skip_special_tokens: bool, **options: Any) -> str:
        ending = "" if skip_special_tokens or END not in tokens else "<end>"
        return bytes(token for token in tokens if token < 256).decode("utf-8", "replace") + ending


class ByteModelTokenizer(ModelTokenizer):
    """Guided by llguidance's own byte vocabulary."""

    @cached_property
    def for_guiding(self) -> LLTokenizer:
        return LLTokenizer("byte")


class ScriptedDecoder:
    """Wants to say a script, and then to end."""

    def __init__(self, script: bytes, after: Callable[[], None]) -> None:
        self._wanted = iter([*script, END])
        self._after = after

    def read(self, tokens: Sequence[int]) -> PlainScores:
        self._after()
        values = [0.0] * 262
        values[next(self._wanted, END)] = 12.0
        return PlainScores(values)


class PlainModel(LanguageModel):
    """Says one thing by itself, and another with each adapter."""

    description = "plain lists"

    def __init__(self, script: str, after: Callable[[], None]) -> None:
        self.tokenizer = ByteModelTokenizer(ByteTokenizer(), 262, frozenset({END}))
        self.empty_cache = lambda: None
        self._script, self._after = script, after

    def decoder(self, adapter: str | None) -> ScriptedDecoder:
        said = self._script if adapter is None else f"{adapter} speaks"
        return ScriptedDecoder(said.encode(), self._after)

    def add_adapter(self, name: str, files: AdapterFiles) -> None:
        check_fit(name, files, "plain", SHAPES)

    def drop_adapter(self, name: str) -> None:
        pass


class PlainEngine(TokenEngine):
    """Opens a folder with nothing but a configuration."""

    provider = "huggingface"

    def __init__(self, name: str, script: str, after: Callable[[], None]) -> None:
        super().__init__(name)
        self.script, self.after = script, after

    def _open(self, folder: Path, config: Mapping[str, Any], ends: frozenset[int]) -> LanguageModel:
        return PlainModel(self.script, self.after)


class PlainProvider(FolderProvider):
    """The provider over it."""

    provider = "huggingface"

    def __init__(
        self, folder: Path, script: str = "Hello, wörld!", after: Callable[[], None] = lambda: None, **options: Any
    ) -> None:
        self.script, self.after = script, after
        super().__init__(str(folder), **options)

    def _engine_key(self) -> object:
        return id(self)

    def _make_engine(self) -> TokenEngine:
        return PlainEngine(self.model or "", self.script, self.after)
