"""Embeddings, scores and rankings, and models that can't make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from abstractcore import InvalidRequestError, ModelNotFoundError, UnsupportedFeatureError
from abstractcore.providers import VLLMProvider
from abstractcore.types import RankedDocument
from abstractcore.wire.pooling import read_ranking
from tests.recordings import VERSIONS
from tests.replay import PoolingReplay, Replay

PATHS = {"/v1/embeddings": "embeddings", "/v1/score": "score", "/v1/rerank": "rerank"}
ASK: list[Callable[[VLLMProvider], Any]] = [
    lambda llm: llm.embed(["hello", "world"]),
    lambda llm: llm.score("hello", ["other", "hello"]),
    lambda llm: llm.rerank("hello", ["other", "hello"]),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ask", ASK, ids=["embed", "score", "rerank"])
def test_a_model_that_generates_is_said_to_have_none(version: str, ask: Callable[[VLLMProvider], Any]) -> None:
    old = version in ("0.8.5", "0.10.2", "0.11.0", "0.12.0", "0.13.0")
    server = Replay(version, {"/v1/score": "score", "/v1/rerank": "v1 rerank", "/v1/embeddings": "embeddings"})
    with pytest.raises(UnsupportedFeatureError, match=r"gives no (embeddings|scores)") as refusal:
        ask(server.provider())
    assert "--runner pooling" in (refusal.value.hint or "")
    assert str(refusal.value.server_version).startswith(version)
    if old:
        assert "The model does not support" in str(refusal.value)
    else:
        assert server.sent == [], "the server's own description says that it can't"


def test_a_server_that_hides_its_description_is_asked() -> None:
    server = Replay("0.32.0", PATHS, hidden=True)
    with pytest.raises(UnsupportedFeatureError, match="gives no embeddings") as refusal:
        server.provider().embed("a")
    assert "answers 404" in str(refusal.value)


def test_embeddings_come_in_the_order_of_the_texts() -> None:
    server = PoolingReplay(PATHS)
    first, second = server.provider().embed(["hello", "world"])
    assert len(first) == len(second) == 128
    assert sum(x * x for x in first) == pytest.approx(1.0, abs=1e-4)
    assert first != second
    assert server.body == {"model": "smollm2", "input": ["hello", "world"]}


def test_scores_come_in_the_order_of_the_texts() -> None:
    assert PoolingReplay(PATHS).provider().score("hello", ["other", "hello"])[1] == pytest.approx(1.0, abs=1e-4)


def test_a_ranking_names_its_documents_best_first() -> None:
    best, other = PoolingReplay(PATHS).provider().rerank("hello", ["other", "hello"])
    assert best == RankedDocument(1, best.score, "hello")
    assert best.score == pytest.approx(1.0, abs=1e-4)
    assert best.score > other.score
    assert (other.index, other.document) == (0, "other")
    server = PoolingReplay({"/v1/rerank": "rerank top 1"})
    assert len(server.provider().rerank("hello", ["other", "hello"], top_n=1)) == 1
    assert server.body["top_n"] == 1


def test_a_ranking_of_what_was_not_sent_is_no_answer() -> None:
    with pytest.raises(msgspec.ValidationError, match="beyond the 1"):
        read_ranking(b'{"results":[{"index":1,"relevance_score":0.5}]}', ["a"])


def test_nothing_to_embed_asks_nothing() -> None:
    server = PoolingReplay({})
    llm = server.provider()
    assert (llm.embed([]), llm.score("a", []), llm.rerank("a", [])) == ([], [], [])
    assert server.sent == []


def test_other_refusals_stay_what_they_are() -> None:
    with pytest.raises(InvalidRequestError, match="maximum context length is 2048"):
        PoolingReplay({"/v1/embeddings": "too long"}).provider().embed("hello " * 3000)
    with pytest.raises(ModelNotFoundError, match="`nope` does not exist"):
        PoolingReplay({"/v1/embeddings": "bad model"}).provider().embed("hello")


def test_a_server_that_generates_nothing_is_said_to_do_so() -> None:
    with pytest.raises(UnsupportedFeatureError, match="generates no text") as refusal:
        PoolingReplay({"/v1/chat/completions": "chat"}).provider().generate("hello")
    assert "embed, score and rerank" in refusal.value.alternatives
