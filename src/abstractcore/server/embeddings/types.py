"""Requests and answers about vectors and tokens: requests are held against these types.

A field that stands in none of them may still be one that the backend reads: it is passed on unseen.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct
from msgspec.json import Decoder

from ..spec import Spec


class Named(Struct, kw_only=True, omit_defaults=True):
    """Any of these requests."""

    model: str
    """``backend/model``, an alias, or a bare name where only one backend has it."""


class EmbeddingRequest(Named, kw_only=True, omit_defaults=True):
    """Texts that want a vector each."""

    input: str | list[str | int | list[int]] | None = None
    """A text, several, or token ids where the backend takes them; vLLM also takes ``messages`` in its place."""
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    """Length of the vectors, for models whose vectors may be cut."""
    user: str | None = None


class RerankRequest(Named, kw_only=True, omit_defaults=True):
    """Documents to be put in the order in which they fit a query."""

    query: Any
    documents: Any
    top_n: int | None = None


class ScoreRequest(Named, kw_only=True, omit_defaults=True):
    """Pairs of texts to be scored."""

    text_1: Any = None
    text_2: Any = None
    queries: Any = None
    documents: Any = None


class TokenizeRequest(Named, kw_only=True, omit_defaults=True):
    """A text, or a chat, whose tokens are asked for."""

    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None


class DetokenizeRequest(Named, kw_only=True, omit_defaults=True):
    """Tokens whose text is asked for."""

    tokens: list[int]


class EmbeddingRow(Struct):
    """The vector of one text: numbers, or their bytes (float32, little-endian) in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingAnswer(Struct):
    """A vector for each text, in their order."""

    object: Literal["list"]
    model: str
    data: list[EmbeddingRow]
    usage: dict[str, Any] | None = None
    """``None`` where the backend does not count."""


EMBEDDINGS: Final = "/v1/embeddings"
RERANK: Final = "/v1/rerank"
SCORE: Final = "/v1/score"
TOKENIZE: Final = "/tokenize"
DETOKENIZE: Final = "/detokenize"
READERS: Final[dict[str, Decoder[Any]]] = {
    EMBEDDINGS: Decoder(EmbeddingRequest),
    RERANK: Decoder(RerankRequest),
    SCORE: Decoder(ScoreRequest),
    TOKENIZE: Decoder(TokenizeRequest),
    DETOKENIZE: Decoder(DetokenizeRequest),
}
_MODEL: Final = "vllm/smollm2"
SPECS: Final = {
    EMBEDDINGS: Spec(
        about="On every backend that makes embeddings. The answer holds a vector for each text, or is an error.",
        body=EmbeddingRequest,
        answer=EmbeddingAnswer,
        fails=(404,),
        examples={"two texts": {"model": _MODEL, "input": ["a cat", "a dog"]}},
    ),
    RERANK: Spec(
        about="vLLM's own, with a model that ranks.",
        body=RerankRequest,
        fails=(404,),
        examples={"two documents": {"model": _MODEL, "query": "a cat", "documents": ["a tiger", "a car"]}},
    ),
    SCORE: Spec(
        about="vLLM's own, with a model that scores.",
        body=ScoreRequest,
        fails=(404,),
        examples={"two pairs": {"model": _MODEL, "text_1": "a cat", "text_2": ["a tiger", "a car"]}},
    ),
    TOKENIZE: Spec(
        about="vLLM's own: the tokens of a text, or of a chat after its template.",
        body=TokenizeRequest,
        fails=(404,),
        examples={"a text": {"model": _MODEL, "prompt": "Name three colours."}},
    ),
    DETOKENIZE: Spec(
        about="vLLM's own.",
        body=DetokenizeRequest,
        fails=(404,),
        examples={"two tokens": {"model": _MODEL, "tokens": [28, 29]}},
    ),
}
