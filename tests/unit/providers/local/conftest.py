"""An engine that generates from a script, and a provider over it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from abstractcore.providers.local.engine import Delta, Engine, EngineError
from abstractcore.providers.local.provider import LocalProvider
from abstractcore.types import ModelInfo, Usage


class ScriptedEngine(Engine):
    """Says the words of its script; a word that is an exception is raised in its place."""

    def __init__(self, words: Sequence[str | Exception] = ("Hello", " there")) -> None:
        self.words = words
        self.loads = 0
        self.closes = 0
        self.closed = threading.Event()
        self.bodies: list[Mapping[str, Any]] = []
        self.threads: set[str] = set()
        self.started = threading.Event()
        self.seen_cancel = threading.Event()
        self.gate: threading.Event | None = None
        """Where set: awaited between the first word and the second."""
        self.load_error: Exception | None = None

    @property
    def description(self) -> str:
        return "a script"

    def load(self) -> None:
        if self.load_error:
            raise self.load_error
        self.loads += 1

    def models(self) -> list[ModelInfo]:
        return [ModelInfo(id="m", context_length=100)]

    def generate(self, body: Mapping[str, Any], cancelled: Callable[[], bool]) -> Iterator[Delta]:
        self.bodies.append(body)
        self.started.set()
        self.threads.add(threading.current_thread().name)
        for count, word in enumerate(self.words, 1):
            if isinstance(word, Exception):
                raise word
            if count == 2 and self.gate:
                assert self.gate.wait(10)
            if cancelled():
                self.seen_cancel.set()
                return
            yield Delta(word, usage=Usage(3, count))
        yield Delta(finish_reason="stop", usage=Usage(3, len(self.words)))

    def tokenize(self, body: Mapping[str, Any]) -> list[int]:
        if "messages" in body:
            return list(range(sum(len(message["content"].split()) for message in body["messages"])))
        return list(range(len(body["prompt"].split())))

    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        raise EngineError("no pooling here", status=501)

    def close(self) -> None:
        self.closes += 1
        self.closed.set()


class ScriptedProvider(LocalProvider):
    """A provider over one engine."""

    provider = "huggingface"

    def __init__(self, engine: Engine, **options: Any) -> None:
        self.scripted = engine
        super().__init__("m", **options)

    def _make_engine(self) -> Engine:
        return self.scripted

    def _engine_key(self) -> object:
        return id(self.scripted)


@pytest.fixture
def engine() -> ScriptedEngine:
    """An engine that says hello."""
    return ScriptedEngine()


@pytest.fixture
def llm(engine: ScriptedEngine) -> Iterator[ScriptedProvider]:
    """A provider over it."""
    with ScriptedProvider(engine) as provider:
        yield provider
