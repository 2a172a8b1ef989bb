"""The pages as the application answers them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from abstractcore.server.app import App
from abstractcore.server.config import GatewayConfig
from abstractcore.server.gateway import Gateway
from abstractcore.server.static import find

Headers = list[tuple[bytes, bytes]]


async def ask(path: str, headers: Headers | None = None, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers or [],
        "client": ("127.0.0.1", 1),
    }
    await App(Gateway(GatewayConfig()))(scope, receive, send)
    start, *parts = sent
    return start["status"], dict(start["headers"]), b"".join(part["body"] for part in parts)


@pytest.mark.parametrize("path", ["/docs", "/static/vendor/vendor.js"])
async def test_a_page_and_its_files_need_no_key(path: str) -> None:
    found = find(path, [])
    assert found
    status, headers, body = await ask(path)
    assert (status, body) == (200, found.body)
    assert headers.items() >= dict(found.headers).items()
    assert b"x-request-id" in headers


async def test_a_browser_that_has_it_hears_so() -> None:
    _, headers, _ = await ask("/docs")
    status, _, body = await ask("/docs", [(b"if-none-match", headers[b"etag"])])
    assert (status, body) == (304, b"")


@pytest.mark.parametrize("path", ["/static/nothing.js", "/static/../app.py", "/static/"])
async def test_what_is_not_there_is_said_in_the_envelope(path: str) -> None:
    status, _, body = await ask(path)
    assert status == 404
    assert msgspec.json.decode(body)["error"]["code"] == "not_found"


async def test_a_page_takes_nothing() -> None:
    status, _, _ = await ask("/docs", method="POST")
    assert status == 405
