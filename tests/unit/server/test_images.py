"""An image by URL: the gateway fetches nothing; the backend gets the address as it is, if it takes one."""

from __future__ import annotations

import pytest

from abstractcore.testing import FakeServer, Reply
from tests.asgi_client import client_of, fake_vllm

from .test_chat import CHAT, answer, completion

URLS = (
    "http://169.254.169.254/latest/meta-data", "http://127.0.0.1:9/x.png", "https://host.example/x.png",
    "file:///etc/passwd", "/etc/passwd", "data:image/png;base64,iVBORw0KGgo=",
)  # fmt: skip


def asking(model: str, url: str) -> dict[str, object]:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": model, "messages": [{"role": "user", "content": parts}]}


@pytest.mark.parametrize("constraint", [{}, {"guided_regex": "a+"}], ids=["passed on", "proved"])
async def test_vllm_gets_the_address_as_it_is(constraint: dict[str, str]) -> None:
    """Any connection would be refused by the tests' own guard, and the test would fail."""
    server = fake_vllm({f"POST {CHAT}": completion(answer("aaa"))})
    client = client_of(server)
    for url in URLS:
        got = await client.post(CHAT, {**asking("m", url), **constraint})
        assert got.status == 200
        assert server.sent[-1]["messages"][0]["content"][1] == {"type": "image_url", "image_url": {"url": url}}


async def test_a_backend_that_takes_no_address_gets_none() -> None:
    server = FakeServer({"POST /api/chat": Reply.json({"message": {"content": "x"}, "done": True})})
    client = client_of(server, provider="ollama")
    for url in URLS[:5]:
        got = await client.post(CHAT, asking("ollama/m", url))
        assert got.status == 400
        assert b"root:" not in got.body
    assert not [call for call in server.calls if call.url.endswith("/api/chat")]
