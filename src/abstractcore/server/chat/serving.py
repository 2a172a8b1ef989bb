"""Answers requests for chat and text completions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import Raw
from msgspec.json import encode

from ...errors import ModelNotFoundError
from ...providers.request import build_request
from ..asgi import EVENTS
from ..choice import conversation_of
from ..failover import on_a_replica
from ..fields import CHAT, TEXT
from ..relay import complete_choices
from ..watch import Tokens, Watch
from .options import Asked, asked_of
from .protocol import Wanted, check_fields, read
from .render import Renderer

if TYPE_CHECKING:
    from ...types import GenerateResponse
    from ..asgi import Request
    from ..backend import Replica
    from ..catalog import Target
    from ..gateway import Gateway

__all__ = ["CHAT", "TEXT", "completions"]


async def completions(gateway: Gateway, request: Request) -> None:
    """Either endpoint, by the request's path."""
    wanted = read(await request.body(gateway.config.limits.max_body_bytes), request.path)
    request.model = wanted.model
    target = await gateway.resolve(request, wanted.model)
    several = len(target.backend.replicas) > 1
    key = conversation_of(wanted.fields, target.model) if several else None
    try:
        await on_a_replica(request, target, key, partial(_answer, gateway, request, wanted, target))
    except ModelNotFoundError as error:
        if request.status or error.available:
            raise
        raise await gateway.missing(request, wanted.model) from error


async def _answer(gateway: Gateway, request: Request, wanted: Wanted, target: Target, replica: Replica) -> None:
    salt = replica.salts.get(target.model or "")
    if salt is not None:
        wanted.fields.setdefault("cache_salt", Raw(encode(salt)))
    surface = gateway.surfaces.fresh(replica, wanted.path) or await gateway.surfaces.find(replica, wanted.path)
    if not wanted.fields.keys() <= surface.passable:
        wanted.drop_idle()
        check_fields(wanted.fields, surface.known, hidden=surface.hidden)
        if not wanted.fields.keys() <= surface.passable:
            await _prove(gateway, request, wanted, target, replica)
            return
    await _pass_on(gateway, request, wanted, target, replica)


async def _pass_on(gateway: Gateway, request: Request, wanted: Wanted, target: Target, replica: Replica) -> None:
    assert replica.endpoint is not None, "only replicas that speak OpenAI's protocol are relayed to"
    model = target.model or await _only_model(replica)
    adapter = model if _is_adapter(replica, model) else None
    if adapter is not None:
        wanted.add(replica.provider.own_fields(adapter, replica.endpoint))
    body = wanted.with_model(model)
    if not wanted.stream:
        check = complete_choices(wanted.choices, adapter, partial(_tell, request))
        await gateway.relay.answer(request, replica.endpoint, wanted.path, body, check)
        return
    watch = Watch(wanted.choices, adapter)
    try:
        await gateway.relay.stream(request, replica.endpoint, wanted.path, body, watch)
    finally:
        if watch.tokens is not None:
            _tell(request, watch.tokens)


def _tell(request: Request, tokens: Tokens) -> None:
    request.usage = tokens.prompt_tokens, tokens.completion_tokens or 0


def _is_adapter(replica: Replica, model: str) -> bool:
    return any(row.id == model and row.parent is not None for row in replica.models)


async def _only_model(replica: Replica) -> str:
    return replica.provider.model or (await replica.provider.amodel_info()).id


async def _prove(gateway: Gateway, request: Request, wanted: Wanted, target: Target, replica: Replica) -> None:
    asked = await gateway.compiling.read(wanted.fields, partial(asked_of, wanted, target.model), _compile)
    asked.options["timeout"] = gateway.timeouts
    renderer = Renderer(request.id, wanted.model, chat=wanted.path == CHAT, include_usage=asked.include_usage)
    if not wanted.stream:
        response = await replica.provider.arespond(asked.prompt, **asked.options)
        _count(request, response)
        await request.json(renderer.whole(response))
        return
    async with await replica.provider.agenerate(asked.prompt, stream=True, **asked.options) as stream:
        held = b""  # until the answer begins
        async for chunk in stream:
            held += renderer.chunk(chunk)
            if not request.status:
                if not _speaks(chunk):
                    continue
                await request.begin(200, (EVENTS,))
            await request.write(held)
            held = b""
            if chunk.finish_reason is not None:
                _count(request, chunk)
    await request.end()


def _compile(asked: Asked) -> None:
    build_request(asked.prompt, asked.options)


def _speaks(chunk: GenerateResponse) -> bool:
    """Whether there is any of the answer in a chunk."""
    return bool(chunk.content or chunk.reasoning or chunk.tool_calls or chunk.finish_reason)


def _count(request: Request, response: GenerateResponse) -> None:
    """Tells the metrics what an answer took, and that its constraint was held."""
    if response.usage is not None:
        request.usage = response.usage.input_tokens, response.usage.output_tokens
    if "constraint" in response.metadata:
        request.proof = bool(response.metadata["constraint"].get("proved"))
