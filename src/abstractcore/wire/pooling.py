"""Scores and rankings of vLLM's pooling endpoints, and its tokenizer's answers. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct, field

from ..types import RankedDocument


class _Score(Struct):
    index: int
    score: float


class _Scores(Struct):
    data: list[_Score]


class _Rank(Struct):
    index: int
    relevance_score: float


class _Ranks(Struct):
    results: list[_Rank]


class TokenCount(Struct):
    """What ``/tokenize`` answers."""

    count: int
    max_model_len: int
    tokens: list[int] = field(default_factory=list)


class _Text(Struct):
    prompt: str


def read_scores(body: bytes) -> list[float]:
    """Reads ``/v1/score``, in the order of the texts.

    Raises:
        msgspec.DecodeError: The body is not such an answer.
    """
    rows = msgspec.json.decode(body, type=_Scores).data
    return [row.score for row in sorted(rows, key=lambda row: row.index)]


def read_ranking(body: bytes, documents: Sequence[str]) -> list[RankedDocument]:
    """Reads ``/v1/rerank``, best first.

    Raises:
        msgspec.DecodeError: The body is not such an answer, or ranks a document that was not sent.
    """
    rows = msgspec.json.decode(body, type=_Ranks).results
    if any(not 0 <= row.index < len(documents) for row in rows):
        raise msgspec.ValidationError(f"it ranks a document beyond the {len(documents)} that were sent")
    best = sorted(rows, key=lambda row: -row.relevance_score)
    return [RankedDocument(row.index, row.relevance_score, documents[row.index]) for row in best]


def read_count(body: bytes) -> TokenCount:
    """Reads ``/tokenize``.

    Raises:
        msgspec.DecodeError: The body is not such an answer.
    """
    return msgspec.json.decode(body, type=TokenCount)


def read_text(body: bytes) -> str:
    """Reads ``/detokenize``.

    Raises:
        msgspec.DecodeError: The body is not such an answer.
    """
    return msgspec.json.decode(body, type=_Text).prompt
