"""Answers requests for chat and text completions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import AbstractCoreError
from ..asgi import EVENTS, ClientLeftError
from ..choice import conversation_of
from ..errors import GatewayError, event
from ..failover import on_a_replica
from ..relay import complete_choices
from ..watch import Watch
from .protocol import OURS, Wanted, check_fields, options_of, read
from .render import Renderer

if TYPE_CHECKING:
    from ..asgi import Request
    from ..backend import Replica
    from ..catalog import Target
    from ..gateway import Gateway

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"


async def completions(gateway: Gateway, request: Request) -> None:
    """Either endpoint, by the request's path."""
    wanted = read(await request.body(gateway.config.limits.max_body_bytes))
    target = await gateway.resolve(request, wanted.model)
    several = len(target.backend.replicas) > 1
    key = conversation_of(wanted.fields, target.model) if several else None
    await on_a_replica(request, target, key, partial(_answer, gateway, request, wanted, target))


async def _answer(gateway: Gateway, request: Request, wanted: Wanted, target: Target, replica: Replica) -> None:
    known = await _known_fields(replica, request.path)
    if known is not None:
        check_fields(wanted.fields.keys(), known | OURS)
    if known is None or replica.endpoint is None or wanted.promises:
        await _prove(request, wanted, target, replica)
    else:
        await _pass_on(gateway, request, wanted, target, replica)


async def _known_fields(replica: Replica, path: str) -> frozenset[str] | None:
    if replica.endpoint is None:
        return None
    return await replica.provider.aknown_fields(path, replica.endpoint)


async def _pass_on(gateway: Gateway, request: Request, wanted: Wanted, target: Target, replica: Replica) -> None:
    assert replica.endpoint is not None, "only replicas that speak OpenAI's protocol are relayed to"
    body = wanted.with_model(target.model or await _only_model(replica))
    if wanted.stream:
        await gateway.relay.stream(request, replica.endpoint, request.path, body, Watch(wanted.n))
    else:
        await gateway.relay.answer(request, replica.endpoint, request.path, body, complete_choices(wanted.n))


async def _only_model(replica: Replica) -> str:
    return replica.provider.model or (await replica.provider.amodel_info()).id


async def _prove(request: Request, wanted: Wanted, target: Target, replica: Replica) -> None:
    chat = request.path == CHAT
    prompt, options = options_of(wanted, target.model, chat=chat)
    usage = _include_usage(wanted)
    renderer = Renderer(request.id, wanted.model, chat=chat, include_usage=usage)
    if wanted.stream:
        await _prove_stream(request, replica, prompt, options, renderer)
        return
    import asyncio

    task = asyncio.ensure_future(replica.provider.arespond(prompt, **options))
    leaving = request.on_leave(task.cancel)
    try:
        response = await task
    except asyncio.CancelledError:
        if leaving.done():
            raise ClientLeftError from None
        raise
    finally:
        leaving.cancel()
        task.cancel()
    await request.json(renderer.whole(response))


def _include_usage(wanted: Wanted) -> bool:
    import msgspec

    options = msgspec.json.decode(wanted.fields.get("stream_options") or b"null")
    return bool(isinstance(options, dict) and options.get("include_usage"))


async def _prove_stream(
    request: Request, replica: Replica, prompt: str | None, options: dict[str, Any], renderer: Renderer
) -> None:
    stream = await replica.provider.agenerate(prompt, stream=True, **options)
    leaving = request.on_leave(stream.close)
    try:
        async for chunk in stream:
            if not request.status:
                await request.begin(200, (EVENTS,))
            await request.write(renderer.chunk(chunk))
        if leaving.done():
            raise ClientLeftError
        await request.end()
    except AbstractCoreError as error:
        if leaving.done():
            raise ClientLeftError from None
        if not request.status:
            raise
        await request.end(event(error))
    finally:
        leaving.cancel()
        stream.close()


__all__ = ["CHAT", "TEXT", "GatewayError", "completions"]
