"""Answers requests about vectors and tokens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ...errors import ProviderAPIError, UnsupportedFeatureError
from ...wire.failure import UNREADABLE, read_failure
from ..chat.protocol import check_fields
from ..passing import Asked, Backing, Passage, pass_on, read
from ..relay import Check
from ..route import Route
from .types import DETOKENIZE, EMBEDDINGS, READERS, RERANK, SCORE, SPECS, TOKENIZE
from .vectors import check, count_of, render

if TYPE_CHECKING:
    from ..asgi import Request
    from ..backend import Replica
    from ..catalog import Target
    from ..gateway import Gateway

_OURS: Final = frozenset({"model", "input", "encoding_format", "user"})
"""Fields that are understood for backends that are asked in their own protocol; ``dimensions`` is not among them."""


async def embeddings(gateway: Gateway, request: Request) -> None:
    """A vector for each text."""
    asked = await read(gateway, request, READERS[EMBEDDINGS])
    await pass_on(gateway, request, asked, partial(_prepare, asked), otherwise=_embed)


async def other(gateway: Gateway, request: Request) -> None:
    """Scores, rankings, tokens: by the request's path."""
    asked = await read(gateway, request, READERS[request.path])
    await pass_on(gateway, request, asked, partial(_prepare_other, asked, _holds(*_HOLDS[request.path])))


def _prepare(asked: Asked, backing: Backing) -> Passage:
    if backing.known is not None:
        check_fields(asked.fields, backing.known)
    given = {name: msgspec.json.decode(asked.fields[name]) for name in ("input", "dimensions") if name in asked.fields}
    dimensions = given.get("dimensions")
    return Passage(_body(asked, backing), partial(check, wanted=count_of(given.get("input")), dimensions=dimensions))


def _prepare_other(asked: Asked, checked: Check, backing: Backing) -> Passage:
    if backing.known is not None:
        check_fields(asked.fields, backing.known)
    return Passage(_body(asked, backing), checked)


def _body(asked: Asked, backing: Backing) -> bytes:
    return msgspec.json.encode({**asked.fields, "model": backing.model})


async def _embed(request: Request, asked: Asked, target: Target, replica: Replica) -> None:
    """Embeds by the provider, on a backend of another protocol."""
    check_fields(asked.fields, _OURS)
    given = {name: msgspec.json.decode(raw) for name, raw in asked.fields.items()}
    texts = given.get("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UnsupportedFeatureError(
            f"{replica.provider.provider} can't embed token ids",
            feature="input",
            provider=replica.provider.provider,
            alternatives=["texts"],
        )
    vectors = await replica.provider.aembed(texts, model=target.model)
    await request.json(render(vectors, target.model or asked.model, given.get("encoding_format")))


_HOLDS: Final[dict[str, tuple[str, type[Any]]]] = {
    RERANK: ("results", list),
    SCORE: ("data", list),
    TOKENIZE: ("count", int),
    DETOKENIZE: ("prompt", str),
}
"""What an answer must hold, by path."""


def _holds(name: str, kind: type[Any]) -> Check:
    def checked(body: bytes) -> bytes:
        try:
            found = isinstance(msgspec.json.decode(body, type=dict[str, Any]).get(name), kind)
        except UNREADABLE:
            found = False
        if not found:
            raise ProviderAPIError(f"the backend's answer has no {name}", why=read_failure(body).message)
        return body

    return checked


ROUTES: Final = (
    Route("POST", EMBEDDINGS, embeddings, "Make a vector of each text.", spec=SPECS[EMBEDDINGS]),
    Route("POST", RERANK, other, "Rank documents by how they fit a query.", spec=SPECS[RERANK]),
    Route("POST", SCORE, other, "Score how texts fit.", spec=SPECS[SCORE]),
    Route("POST", TOKENIZE, other, "Show the tokens of a text or a chat.", spec=SPECS[TOKENIZE]),
    Route("POST", DETOKENIZE, other, "Show the text of tokens.", spec=SPECS[DETOKENIZE]),
)
