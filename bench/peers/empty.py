"""No gateway: a recorded answer from memory, to tell what uvicorn itself costs; uvicorn empty:app."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_HEAD, _, BODY = Path(os.environ["ANSWER"]).read_bytes().partition(b"\r\n\r\n")
HEADERS = [(b"content-length", b"%d" % len(BODY)), (b"content-type", b"application/json")]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Reads the request and answers."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
