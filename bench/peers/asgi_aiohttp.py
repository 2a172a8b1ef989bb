"""A gateway as an ASGI application without a framework, aiohttp to the server; uvicorn asgi_aiohttp:app."""

from __future__ import annotations

import os
from typing import Any

import aiohttp

UPSTREAM = os.environ["UPSTREAM"]
session: aiohttp.ClientSession | None = None
HOP = {b"transfer-encoding", b"connection", b"keep-alive"}


def client() -> aiohttp.ClientSession:
    """The one session, made in the running loop."""
    global session
    if session is None:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
        )
    return session


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Hands a request on, and the answer back."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = {"content-type": "application/json"}
    async with client().request(scope["method"], UPSTREAM + scope["path"], data=body, headers=headers) as answer:
        kept = [(name.lower(), value) for name, value in answer.raw_headers if name.lower() not in HOP]
        await send({"type": "http.response.start", "status": answer.status, "headers": kept})
        async for block in answer.content.iter_any():
            await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
