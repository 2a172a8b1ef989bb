"""Embeddings, scores and rankings: what a server with a pooling model does in place of generating."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from ...errors import ProviderAPIError, ProviderError, UnsupportedFeatureError
from ...types import RankedDocument
from ...wire.call import Plan
from ...wire.openai import read_embeddings
from ...wire.pooling import read_ranking, read_scores
from .. import exchange
from ..endpoint import Endpoint, checked
from . import server
from .methods import ServerMethods

T = TypeVar("T")
_SERVE: Final[Mapping[str, str]] = {
    "embeddings": "vllm serve intfloat/e5-small --runner pooling    (any chat model: add --convert embed)",
    "scores": "vllm serve BAAI/bge-reranker-v2-m3 --runner pooling    (an embedding model scores by similarity)",
}
_CHAT: Final = "/v1/chat/completions"


class PoolingMethods(ServerMethods):
    """The part of the vLLM provider that embeds, scores and ranks."""

    def score(self, text: str, texts: str | Sequence[str]) -> list[float]:
        """How well each of some texts fits a text: a reranker's score, or an embedding model's similarity.

        Args:
            text: Such as a question.
            texts: Such as passages that may answer it.

        Returns:
            A number for each of ``texts``, in their order; higher fits better.

        Raises:
            UnsupportedFeatureError: The served model gives no scores; nothing was sent where the server says so itself.
        """
        return self._run(self._plan_score(text, texts))

    async def ascore(self, text: str, texts: str | Sequence[str]) -> list[float]:
        """Like ``score``."""
        return await self._arun(self._plan_score(text, texts))

    def rerank(self, query: str, documents: Sequence[str], *, top_n: int | None = None) -> list[RankedDocument]:
        """Documents in the order in which they fit a query, best first.

        Args:
            query: What is looked for.
            documents: Where to look.
            top_n: How many of the best to give; all by default.

        Raises:
            UnsupportedFeatureError: The served model gives no scores.
        """
        return self._run(self._plan_rerank(query, list(documents), top_n))

    async def arerank(self, query: str, documents: Sequence[str], *, top_n: int | None = None) -> list[RankedDocument]:
        """Like ``rerank``."""
        return await self._arun(self._plan_rerank(query, list(documents), top_n))

    def _plan_embed(self, texts: list[str], model: str | None = None) -> Plan[list[list[float]]]:
        if not texts:
            return []
        vectors, _usage = yield from self._plan_pooled("/v1/embeddings", {"input": texts}, read_embeddings, model)
        return vectors

    def _plan_score(self, text: str, texts: str | Sequence[str]) -> Plan[list[float]]:
        others = [texts] if isinstance(texts, str) else list(texts)
        if not others:
            return []
        return (yield from self._plan_pooled("/v1/score", {"text_1": text, "text_2": others}, read_scores))

    def _plan_rerank(self, query: str, documents: list[str], top_n: int | None) -> Plan[list[RankedDocument]]:
        if not documents:
            return []
        body: dict[str, Any] = {"query": query, "documents": documents}
        if top_n is not None:
            body["top_n"] = top_n
        return (yield from self._plan_pooled("/v1/rerank", body, partial(read_ranking, documents=documents)))

    def _plan_pooled(
        self, path: str, body: Mapping[str, Any], reader: Callable[[bytes], T], model: str | None = None
    ) -> Plan[T]:
        def at(endpoint: Endpoint) -> Plan[T]:
            name = yield from self._plan_model(endpoint, model)
            return (yield from self._explained(endpoint, pooled(endpoint, path, {"model": name, **body}, reader)))

        return self._replicas.run(at)


def pooled(endpoint: Endpoint, path: str, body: Mapping[str, Any], reader: Callable[[bytes], T]) -> Plan[T]:
    """Asks a pooling endpoint, and tells a model that can't do it from a request that went wrong.

    Servers from 0.16 on have the path only if the model can; older ones answer with status 200 and an error.

    Raises:
        UnsupportedFeatureError: The model can't do it.
        ProviderError: The request went wrong.
    """
    dialect = yield from server.learn(endpoint)
    if dialect.paths and path not in dialect.paths:
        raise _refusal(endpoint, path, dialect.version, f"the server has no {path}: it serves a model that can't do it")
    call = endpoint.post(endpoint.root + path, body)
    try:
        answer = yield from checked(endpoint, call, model=str(body["model"]))
    except ProviderAPIError as error:
        if error.status != 404:
            raise
        raise _refusal(endpoint, path, dialect.version, f"{path} answers 404") from error
    try:
        return exchange.read(reader, endpoint, call, answer, model=str(body["model"]))
    except ProviderError as error:
        if error.server_message is None:
            raise
        raise _refusal(endpoint, path, dialect.version, error.server_message) from error


def _refusal(endpoint: Endpoint, path: str, version: str | None, why: str) -> UnsupportedFeatureError:
    feature = "embeddings" if path.endswith("/embeddings") else "scores"
    return UnsupportedFeatureError(
        f"the model that the {endpoint.provider} server at {endpoint.base_url} serves gives no {feature}"
        + (f" (server version {version})" if version else ""),
        feature=feature,
        provider=endpoint.provider,
        server_version=version,
        why=why,
        hint=_SERVE[feature],
    )


def explain_no_chat(endpoint: Endpoint, error: ProviderAPIError) -> Plan[Exception]:
    """The reason for a 404 where a chat should be: a server with a pooling model has no such path."""
    dialect = yield from server.learn(endpoint)
    if error.status != 404 or not dialect.paths or _CHAT in dialect.paths:
        return error
    return UnsupportedFeatureError(
        f"the model that the {endpoint.provider} server at {endpoint.base_url} serves generates no text",
        feature="chat",
        provider=endpoint.provider,
        server_version=dialect.version,
        alternatives=["embed, score and rerank", "a server without --runner pooling"],
        why=f"the server has no {_CHAT}",
    )
