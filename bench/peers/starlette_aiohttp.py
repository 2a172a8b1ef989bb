"""A gateway on Starlette, aiohttp to the server, as many are made; uvicorn starlette_aiohttp:app."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

UPSTREAM = os.environ["UPSTREAM"]
session: aiohttp.ClientSession | None = None


async def forward(request: Request) -> Response:
    """Hands a request on, and the answer back."""
    global session
    if session is None:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
        )
    body = await request.body()
    headers = {"content-type": "application/json"}
    answer = await session.request(request.method, UPSTREAM + request.url.path, data=body, headers=headers)
    if not answer.content_type.startswith("text/event-stream"):
        return Response(await answer.read(), answer.status, media_type=answer.content_type)

    async def blocks() -> AsyncIterator[bytes]:
        async with answer:
            async for block in answer.content.iter_any():
                yield block

    return StreamingResponse(blocks(), answer.status, media_type="text/event-stream")


app = Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST"])])
