"""What engines share whose models give scores for the next token: requests read, choices made one after another."""

from __future__ import annotations

import gc
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ...constraint import Constraint
from ...errors import InvalidConstraintError
from ...types import ModelInfo, Usage
from ..request import GUIDED
from . import checkpoint
from .decoding import Choice, Decoder, Wish
from .engine import Delta, Engine, EngineError
from .guided import Guide, grammar_of
from .lora import AdapterFiles, read_adapter
from .tokenizer import ModelTokenizer


class LanguageModel(ABC):
    """A loaded model."""

    tokenizer: ModelTokenizer
    description: str
    """What computes it, for people."""
    empty_cache: Callable[[], None]
    """Gives back memory that the framework keeps for later; called when the model is gone."""

    @abstractmethod
    def decoder(self, adapter: str | None) -> Decoder:
        """A fresh reader of one text, by the model alone or with an adapter."""

    def add_adapter(self, name: str, files: AdapterFiles) -> None:
        """Loads an adapter.

        Raises:
            EngineError: It does not fit.
        """
        raise EngineError("this engine can't load adapters", status=404)

    def drop_adapter(self, name: str) -> None:
        """Lets go of an adapter that was loaded."""
        raise EngineError("this engine can't load adapters", status=404)

    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """One vector for each text, and how many tokens were read."""
        raise EngineError("this engine can't make embeddings", status=404)


class TokenEngine(Engine):
    """A model folder, opened by a framework.

    Args:
        name: The model: a folder, or a hub id.
        token: For the hub.
    """

    provider: ClassVar[str]

    def __init__(self, name: str, *, token: str | None = None) -> None:
        self._name = name
        self._token = token
        self._model: LanguageModel | None = None
        self._adapters: dict[str, AdapterFiles] = {}
        self._defaults: dict[str, Any] = {}
        self._context: int | None = None

    @abstractmethod
    def _open(self, folder: Path, config: Mapping[str, Any], ends: frozenset[int]) -> LanguageModel:
        """Loads the model in a folder.

        Raises:
            EngineError: It can't be.
            MissingExtraError: A package is missing.
        """

    @property
    def description(self) -> str:
        return self._loaded.description

    @property
    def _loaded(self) -> LanguageModel:
        if self._model is None:
            raise EngineError("the model is not loaded", status=500)
        return self._model

    def load(self) -> None:
        folder = checkpoint.fetch(self._name, self.provider, self._token)
        config = checkpoint.read_json(folder, "config.json")
        if not config:
            raise checkpoint.missing(self._name, f"{folder} has no config.json")
        generation = checkpoint.read_json(folder, "generation_config.json")
        self._context = checkpoint.context_length(config)
        self._defaults = checkpoint.sampling_defaults(generation)
        self._model = self._open(folder, config, checkpoint.end_tokens(config, generation))

    def close(self) -> None:
        empty_cache = self._model.empty_cache if self._model else None
        self._model = None
        self._adapters = {}
        gc.collect()  # modules and their hooks refer to each other
        if empty_cache:
            empty_cache()
            _trim()

    def models(self) -> list[ModelInfo]:
        folder = checkpoint.find(self._name)
        if folder is None:  # not fetched yet, or nowhere
            return []
        context = checkpoint.context_length(checkpoint.read_json(folder, "config.json"))
        adapters = dict(self._adapters)
        base = ModelInfo(
            id=self._name,
            context_length=context,
            root=str(folder),
            owned_by=self.provider,
            adapters=tuple(adapters),
        )
        return [
            base,
            *(
                ModelInfo(id=name, context_length=context, parent=self._name, root=str(files.folder))
                for name, files in adapters.items()
            ),
        ]

    def generate(self, body: Mapping[str, Any], cancelled: Callable[[], bool]) -> Iterator[Delta]:
        model = self._loaded
        prompt = self.tokenize(body)
        wish = Wish.of(body, len(prompt), self._context, self._defaults)
        grammar = _grammar(body)
        guide = Guide(model.tokenizer.for_guiding, grammar) if grammar else None
        generated = 0
        for index in range(body.get("n") or 1):
            if index and grammar:
                guide = Guide(model.tokenizer.for_guiding, grammar)
            choice = Choice(self._decoder(body), model.tokenizer, prompt, wish, guide=guide, index=index)
            for delta in choice.deltas(cancelled):
                if delta.finish_reason:
                    generated += choice.generated
                    delta.usage = Usage(len(prompt), generated)
                yield delta

    def _decoder(self, body: Mapping[str, Any]) -> Decoder:
        name = body.get("model")
        return self._loaded.decoder(name if name in self._adapters else None)

    def tokenize(self, body: Mapping[str, Any]) -> list[int]:
        tokens = self._loaded.tokenizer.encode(body)
        if not tokens:
            raise EngineError("the prompt has no tokens: give it at least one character", param="prompt")
        return tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        return self._loaded.tokenizer.decode(tokens)

    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        vectors, count = self._loaded.embed(texts)
        return vectors, Usage(count, 0)

    def load_adapter(self, name: str, path: str) -> None:
        if name == self._name:
            raise EngineError(f"{name!r} is the name of the base model; an adapter needs another one")
        files = read_adapter(name, path)
        there = self._adapters.get(name)
        if there is not None:
            if there.folder == files.folder:
                raise EngineError(f"the adapter {name!r} is loaded already", code="already_loaded")
            raise EngineError(f"the name {name!r} is taken by the adapter in {there.folder}", code="name_taken")
        self._loaded.add_adapter(name, files)
        self._adapters[name] = files

    def unload_adapter(self, name: str) -> None:
        if name not in self._adapters:
            raise EngineError(f"the adapter {name!r} is not loaded", status=404)
        self._loaded.drop_adapter(name)
        del self._adapters[name]


def _trim() -> None:
    """Has the C library give freed memory back to the system; glibc keeps hundreds of megabytes otherwise."""
    if sys.platform == "linux":
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
        if trim is not None:
            trim(0)


def _grammar(body: Mapping[str, Any]) -> str | None:
    """The grammar of the constraint in a request.

    Raises:
        EngineError: It is none, or of a kind that nobody knows.
    """
    outputs = body.get("structured_outputs")
    if not outputs:
        return None
    (kind, value), *others = outputs.items()
    make = GUIDED.get(f"guided_{kind}")
    if others or make is None:
        raise EngineError("structured_outputs holds one of json, regex, choice, grammar", param="structured_outputs")
    constraint: Constraint = make(value)
    try:
        return grammar_of(constraint)
    except (InvalidConstraintError, ValueError) as error:
        raise EngineError(str(error), param="structured_outputs") from error
