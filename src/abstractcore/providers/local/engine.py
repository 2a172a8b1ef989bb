"""What an engine in this process is: it loads a model, generates from requests in OpenAI's form, and lets go of it.

An engine knows nothing of threads, streams or JSON: ``host`` calls it from one thread, ``answers`` writes what it
yields. What goes wrong it says by ``EngineError``, which callers see as a server's error answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

from msgspec import Struct

from ...types import ModelInfo, TokenLogprob, Usage
from ...wire.openai import ToolCallDelta


class Delta(Struct):
    """What a generation adds to one of its choices. A choice ends with the delta that has a finish reason."""

    text: str = ""
    index: int = 0
    finish_reason: str | None = None
    """``stop``, ``length`` or ``tool_calls``."""
    usage: Usage | None = None
    """The counts so far, of all choices together; the last ones count."""
    reasoning: str | None = None
    tool_calls: Sequence[ToolCallDelta] = ()
    logprobs: Sequence[TokenLogprob] = ()


class EngineError(Exception):
    """A request that an engine refuses or fails on; becomes an error answer in OpenAI's form.

    Args:
        message: What is wrong, in the engine's own words.
        status: As a server would answer: 400 for a bad request, 404 for an unknown model, 500 for a failure.
        code: Machine-readable, such as ``context_length_exceeded``.
        param: The request field at fault.
    """

    def __init__(self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param


def too_long(prompt_tokens: int, wanted: int, context: int) -> EngineError:
    """The error for a prompt that does not fit; ``wanted`` counts the tokens that the answer must have room for."""
    room = f" and {wanted} are wanted for the answer" if wanted > 1 else ""
    return EngineError(
        f"the prompt has {prompt_tokens} tokens{room}, but the model's context holds {context}",
        code="context_length_exceeded",
    )


class Engine(ABC):
    """A model in this process. Making one touches nothing: no file, no package, no memory.

    All methods but ``models`` run in the engine's own thread, one at a time unless ``parallel`` says otherwise.
    """

    parallel: ClassVar[int] = 1
    """How many requests it can work on at once."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What generates, for people: ``llama.cpp b11549``. Asked only after loading."""

    @abstractmethod
    def load(self) -> None:
        """Loads the model; called once, before the first use.

        Raises:
            EngineError: The model isn't there, or can't be loaded.
            MissingExtraError: A package is missing.
        """

    @abstractmethod
    def models(self) -> list[ModelInfo]:
        """The model and its adapters, without loading it; called in any thread, at any time."""

    @abstractmethod
    def generate(self, body: Mapping[str, Any], cancelled: Callable[[], bool]) -> Iterator[Delta]:
        """Generates for a request in OpenAI's form: of a chat if it has ``messages``, else of ``prompt``.

        A constraint stands in ``structured_outputs`` as ``{kind: value}`` with the kinds ``json``, ``regex``,
        ``choice`` and ``grammar``. What is wrong with a request is raised before the first delta.

        Args:
            body: The request. Its model is one of ``models``.
            cancelled: Asked between two tokens; true when nobody waits for more.

        Raises:
            EngineError: The request is refused, or the generation failed.
        """

    @abstractmethod
    def close(self) -> None:
        """Lets go of all memory; ``load`` may be called again."""

    def tokenize(self, body: Mapping[str, Any]) -> list[int]:
        """The tokens of the prompt that ``generate`` would make of a request."""
        self._lacks("count tokens")

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""
        self._lacks("turn tokens into text")

    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """One vector for each text, and how many tokens were read."""
        self._lacks("make embeddings")

    def load_adapter(self, name: str, path: str) -> None:
        """Loads a LoRA adapter; it is asked by its name, as a model, and listed by ``models``."""
        self._lacks("load adapters")

    def unload_adapter(self, name: str) -> None:
        """Lets go of an adapter."""
        self._lacks("load adapters")

    def _lacks(self, what: str) -> NoReturn:
        raise EngineError(f"this engine can't {what}", status=404)
