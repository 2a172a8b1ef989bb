"""The plans of backends that speak OpenAI's protocol, beside those for one request (``exchange``): what they serve."""

from __future__ import annotations

from typing import Final

from ..errors import ProviderAPIError, UnsupportedFeatureError
from ..types import ModelInfo
from ..wire.call import Plan
from ..wire.openai import read_embeddings, read_models
from .endpoint import Endpoint, checked
from .exchange import read


def models(endpoint: Endpoint) -> Plan[list[ModelInfo]]:
    """What the server serves."""
    call = endpoint.get(f"{endpoint.base_url}/models")
    answer = yield from checked(endpoint, call)
    return read(read_models, endpoint, call, answer)


_NO_SUCH_PATH: Final = (404, 405, 501)


def embed(endpoint: Endpoint, model: str, texts: list[str]) -> Plan[list[list[float]]]:
    """One vector for each text, in their order.

    Raises:
        UnsupportedFeatureError: The server gives no embeddings with this model.
    """
    call = endpoint.post(f"{endpoint.base_url}/embeddings", {"model": model, "input": texts})
    try:
        answer = yield from checked(endpoint, call, model=model)
    except ProviderAPIError as error:
        if error.status not in _NO_SUCH_PATH:
            raise
        raise UnsupportedFeatureError(
            f"the {endpoint.provider} server at {endpoint.base_url} gives no embeddings with {model!r}",
            feature="embeddings",
            provider=endpoint.provider,
            why=error.server_message or f"/embeddings answers {error.status}",
            alternatives=["name an embedding model: create_llm(..., model=...)"],
        ) from error
    vectors, _usage = read(read_embeddings, endpoint, call, answer, model=model)
    return vectors
