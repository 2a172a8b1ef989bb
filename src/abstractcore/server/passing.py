"""Passes a request on to the server that can take it, in the protocol that it came in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from ..errors import ModelNotFoundError, ProviderAPIError, UnsupportedFeatureError
from ..providers.documented import DOCUMENTED
from ..providers.proof import LIGHT, is_heavy
from ..types import Usage
from .chat.protocol import read_fields, typed
from .choice import conversation_of
from .failover import on_a_replica
from .relay import Check, StreamWatch

if TYPE_CHECKING:
    from ..providers.endpoint import Endpoint
    from .asgi import Request
    from .backend import Replica
    from .catalog import Target
    from .gateway import Gateway
    from .promise import Promise


class Asked(NamedTuple):
    """A request, each field still as the client wrote it."""

    fields: dict[str, msgspec.Raw]
    model: str
    stream: bool


async def read(gateway: Gateway, request: Request, reader: msgspec.json.Decoder[Any]) -> Asked:
    """Reads a request whose type names a model, and perhaps wants a stream.

    Raises:
        GatewayError: It is no JSON object, names no model, or a field has the wrong type; says where.
    """
    body = await request.body(gateway.config.limits.max_body_bytes)
    fields = read_fields(body)
    known = typed(body, reader)
    request.model = known.model
    return Asked(fields, known.model, bool(getattr(known, "stream", None)))


Tell = Callable[[Usage | None, Mapping[str, Any]], None]


def _tell_nobody(usage: Usage | None, said: Mapping[str, Any]) -> None:
    pass


class Backing(NamedTuple):
    """What is known of the server that gets a request."""

    provider: str
    known: frozenset[str] | None
    """Fields that it reads; ``None`` if nobody says."""
    model: str
    cloud: bool = False
    """It is the cloud whose protocol this is: it does all that the protocol has."""
    adapter: str | None = None
    """The model, if it is an adapter: the answer must name it."""
    tell: Tell = _tell_nobody
    """Hears of the tokens of an answer, and of its proof."""

    def check_model(self, answered: str | None) -> None:
        """Holds the name of the model that answered against the adapter that was asked.

        Raises:
            ProviderAPIError: Another one answered.
        """
        if self.adapter is not None and answered != self.adapter:
            raise ProviderAPIError(f"the adapter {self.adapter!r} was asked, but {answered!r} answered")


class Passage(NamedTuple):
    """A request as it is passed on."""

    body: bytes
    check: Check
    """Of a whole answer."""
    watch: StreamWatch | None = None
    """Of a streamed one."""
    promise: Promise | None = None
    """What the answer is held to."""

    @property
    def slow_from(self) -> int | None:
        """Bytes of an answer from which on its proof may hold others up; ``None`` where nothing is proved."""
        if self.promise is None:
            return None
        return 0 if is_heavy((), self.promise.request.constraint) else LIGHT


Prepare = Callable[[Backing], Passage]
"""Decides what is sent to one server, and what its answer is held to. Pure."""
Otherwise = Callable[["Request", Asked, "Target", "Replica"], Awaitable[None]]
NO_SUCH_PATH: Final = (404, 405, 501)


async def pass_on(
    gateway: Gateway,
    request: Request,
    asked: Asked,
    prepare: Prepare,
    *,
    headers: Mapping[str, str] | None = None,
    otherwise: Otherwise | None = None,
) -> None:
    """Answers a request by a server that has its path.

    Args:
        gateway: The gateway.
        request: The client's.
        asked: What was read of it.
        prepare: Decides for one server.
        headers: That go with it.
        otherwise: Answers by a server that speaks another protocol.

    Raises:
        UnsupportedFeatureError: The backend has no such path.
        AbstractCoreError: It is refused, or the backend did not deliver.
    """
    target = await gateway.resolve(request, asked.model)
    several = len(target.backend.replicas) > 1
    key = conversation_of(asked.fields, target.model) if several else None
    attempt = partial(_attempt, gateway, request, asked, target, prepare, headers, otherwise)
    try:
        await on_a_replica(request, target, key, attempt)
    except ModelNotFoundError as error:
        if request.status or error.available:
            raise
        raise await gateway.missing(request, asked.model) from error


async def _attempt(  # noqa: PLR0917 - bound in pass_on
    gateway: Gateway,
    request: Request,
    asked: Asked,
    target: Target,
    prepare: Prepare,
    headers: Mapping[str, str] | None,
    otherwise: Otherwise | None,
    replica: Replica,
) -> None:
    path = request.path
    if otherwise is not None and not replica.provider.endpoints_at(path):
        await otherwise(request, asked, target, replica)
        return
    endpoint = endpoint_at(replica, path)
    # A server that hides what it reads gets what the protocol's documentation lists.
    known = await replica.provider.aknown_fields(path, endpoint) or DOCUMENTED.get(path)
    model = target.model or await only_model(replica)
    name = replica.provider.provider
    cloud = bool(getattr(replica.provider, "at_home", False)) and name in ("openai", "anthropic")
    is_adapter = any(row.id == model and row.parent is not None for row in replica.models)
    if is_adapter and known and "cache_salt" in known and model in replica.salts:
        asked.fields.setdefault("cache_salt", msgspec.Raw(msgspec.json.encode(replica.salts[model])))
    backing = Backing(name, known, model, cloud, model if is_adapter else None, partial(_tell, request))
    passage = await gateway.compiling.read(asked.fields, partial(prepare, backing))
    try:
        if asked.stream and passage.watch is not None:
            await gateway.relay.stream(
                request, endpoint, path, passage.body, passage.watch, headers=headers, slow=passage.slow_from == 0
            )
        else:
            await gateway.relay.answer(
                request, endpoint, path, passage.body, passage.check, headers=headers, slow_from=passage.slow_from
            )
    except ProviderAPIError as error:
        if error.status not in NO_SUCH_PATH:
            raise
        raise no_such_path(replica, path, f"it answers {error.status} to {path}") from error


def _tell(request: Request, usage: Usage | None, said: Mapping[str, Any]) -> None:
    if usage is not None:
        request.usage = usage.input_tokens, usage.output_tokens
    if "constraint" in said:
        request.proof = bool(said["constraint"].get("proved"))


def endpoint_at(replica: Replica, path: str) -> Endpoint:
    """Where a server takes requests for a path.

    Raises:
        UnsupportedFeatureError: It does not speak that protocol.
    """
    endpoint = next(iter(replica.provider.endpoints_at(path)), None)
    if endpoint is None:
        raise no_such_path(replica, path, "it speaks another protocol")
    return endpoint


def no_such_path(replica: Replica, path: str, why: str) -> UnsupportedFeatureError:
    """The error for a path that a backend does not have."""
    provider = replica.provider.provider
    alternatives, hint = _INSTEAD.get(path.removeprefix("/v1").split("/")[1], ((), None))
    error = UnsupportedFeatureError(
        f"{provider} has no {path} for this model", feature=path, provider=provider, why=why, alternatives=alternatives
    )
    error.hint = (hint if provider == "vllm" else None) or error.hint
    return error


_CHAT = ("POST /v1/chat/completions, which every backend answers",)
_INSTEAD: Mapping[str, tuple[tuple[str, ...], str | None]] = {
    "responses": ((*_CHAT, "a model of vllm or openai"), None),
    "messages": ((*_CHAT, "a model of vllm or anthropic"), None),
    "embeddings": (
        ("a model that makes embeddings",),
        "vllm serve intfloat/e5-small --runner pooling    (any chat model: add --convert embed)",
    ),
    "rerank": (("a model of vllm that ranks",), "vllm serve BAAI/bge-reranker-v2-m3 --runner pooling"),
    "score": (("a model of vllm that scores",), "vllm serve BAAI/bge-reranker-v2-m3 --runner pooling"),
    "tokenize": (("a model of vllm",), None),
    "detokenize": (("a model of vllm",), None),
}
"""What would work, by the path's first part."""


async def only_model(replica: Replica) -> str:
    """The model that is meant where a request names none."""
    return replica.provider.model or (await replica.provider.amodel_info()).id
