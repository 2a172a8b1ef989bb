"""What a protocol for asking a language model consists of: five pure functions and a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from ..types import GenerateRequest
from .openai import Completion
from .stream import StreamReader


class Body(Protocol):
    """Writes the JSON of a request."""

    def __call__(self, request: GenerateRequest, model: str, *, stream: bool) -> dict[str, Any]: ...


class Path(Protocol):
    """Where a request goes, below the server's base URL."""

    def __call__(self, request: GenerateRequest) -> str: ...


class ReadCompletion(Protocol):
    """Reads a whole answer.

    Raises:
        msgspec.DecodeError: It is not in the protocol.
    """

    def __call__(self, body: bytes) -> Completion: ...


class MakeReader(Protocol):
    """Makes the reader of one stream."""

    def __call__(self, *, provider: str, url: str, n: int) -> StreamReader: ...


class CountChoices(Protocol):
    """How many choices a request asks for, by the fields that are sent."""

    def __call__(self, request: GenerateRequest, fields: Mapping[str, Any]) -> int: ...


class WireProtocol(Struct, frozen=True):
    """A protocol for asking a language model."""

    name: str
    """As it reads in an error: ``OpenAI's protocol``."""
    path: Path
    body: Body
    read: ReadCompletion
    reader: MakeReader
    content_type: str
    """How the content type of a stream begins."""
    choices: CountChoices
