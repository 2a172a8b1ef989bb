"""The key of a backend is the operator's: no client sees it, also where the backend repeats it in its words."""

from __future__ import annotations

from typing import Final

import pytest

from abstractcore.testing import Reply
from tests.asgi_client import client_of, fake_vllm

from .test_chat import ASKED, CHAT, STREAM

KEY: Final = "sk-of-the-operator-0815"
REFUSAL: Final = {"error": {"message": f"no such key: {KEY}", "type": KEY, "code": 401}}
REPLIES: Final = {
    "refused": Reply.json(REFUSAL, 401),
    "refused in plain text": Reply((f"who is {KEY}?".encode(),), 403),
    "an error with status 200": Reply.json(REFUSAL),
    "a page": Reply((f"<html>{KEY}".encode(),), 200, {"content-type": "text/html"}),
    "a page that is cut within it": Reply((b"<" + b"x" * 70 + KEY.encode(),), 200, {"content-type": "text/html"}),
    "in the first event": Reply.events([REFUSAL]),
    "in a later event": Reply.events([*STREAM[:2], REFUSAL]),
}


@pytest.mark.parametrize("name", REPLIES)
async def test_a_key_that_the_backend_repeats_goes_no_further(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    server = fake_vllm({"POST /v1/chat/completions": REPLIES[name], "POST /v1/messages": REPLIES[name]})
    client = client_of(server)
    answers = []
    for stream in (False, True):
        asked = {**ASKED, "stream": stream}
        answers += [
            await client.post(CHAT, asked),
            await client.post(CHAT, {**asked, "guided_regex": ".*"}),
            await client.post("/v1/messages", {**asked, "max_tokens": 5}),
        ]
    for got in answers:
        assert got.status != 200 or b"error" in got.body.split(b"data: ")[-1], "an answer was made of it"
    answers += [await client.get(path) for path in ("/v1/models", "/health", "/metrics", "/openapi.json")]
    assert KEY in str([call.headers for call in server.calls]), "it was sent"
    assert KEY[:12] not in f"{[(got.headers, got.body) for got in answers]}{capsys.readouterr()}"
