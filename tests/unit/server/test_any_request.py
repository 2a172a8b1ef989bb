"""Whatever a client sends, it is an answer or a refusal: never a fault of the gateway."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abstractcore.server.fields import CHAT, OPTIONS_OF, TEXT
from abstractcore.testing import FakeServer, Reply
from tests.asgi_client import client_of, fake_vllm

WHOLE = Reply.json(
    {
        "id": "1",
        "model": "m",
        "choices": [{"index": 0, "message": {"content": "aaa"}, "text": "aaa", "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
)
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
NAMES = ("type", "function", "name", "schema", "json_schema", "regex", "json", "choice", "role", "content", "arguments")
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
LIKELY: dict[str, list[Any]] = {
    "messages": [[{"role": "user", "content": "hi"}], [{"role": "x"}], []],
    "prompt": ["hi", ["a"], [1, 2]],
    "tools": [[TOOL], [TOOL, TOOL], [{"type": "function", "function": {"name": "b", "parameters": {"type": 5}}}]],
    "tool_choice": ["auto", "required", "none", {"type": "function", "function": {"name": "add"}}],
    "response_format": [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}}],
    "structured_outputs": [{"regex": "a"}, {"json": 5}, {"choice": "a"}, {"grammar": "x"}, {"structural_tag": "x"}],
    "n": [1, 2],
    "best_of": [1, 3],
    "stream": [True],
    "use_beam_search": [True],
    "guided_json": ["{}", {}, True],
    "stream_options": [{"include_usage": True}],
}


@st.composite
def bodies(draw: st.DrawFn, path: str) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(OPTIONS_OF[path] - {"model"})), max_size=4, unique=True))
    names.append("messages" if path == CHAT else "prompt")
    return {name: draw(st.sampled_from(LIKELY[name]) | ANY if name in LIKELY else ANY) for name in names}


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("provider", ["vllm", "openai", "anthropic", "ollama"])
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
async def test_no_request_meets_a_fault(provider: str, path: str, data: st.DataObject) -> None:
    routes = {f"POST {CHAT}": WHOLE, f"POST {TEXT}": WHOLE}
    server = fake_vllm(routes) if provider == "vllm" else FakeServer(routes)
    client = client_of(server, provider=provider)
    body = msgspec.json.encode({"model": f"{provider}/m", **data.draw(bodies(path))})
    got = await client.post(path, body)
    assert got.status != 500, (got.body, body)
    assert got.ended


@settings(max_examples=50)
@given(body=st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
async def test_no_body_meets_a_fault(body: bytes) -> None:
    got = await client_of(fake_vllm({})).post(CHAT, body)
    assert got.status == 400
    assert got.error["message"]


@pytest.mark.parametrize("field", ["model", "field", "twice"])
async def test_a_name_of_a_megabyte_is_neither_compared_nor_sent_back(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compared(word: str, *_: object) -> list[str]:
        assert len(word) < 1000
        return []

    monkeypatch.setattr("difflib.get_close_matches", compared)
    name = b"x" * 1_000_000
    body = {
        "model": b'{"model": "%s", "messages": []}' % name,
        "field": b'{"model": "m", "messages": [], "%s": 1}' % name,
        "twice": b'{"model": "m", "messages": [], "%s": 1, "%s": 2}' % (name, name),
    }[field]
    got = await client_of(fake_vllm({})).post(CHAT, body)
    assert got.status in (400, 404)
    assert len(got.body) < 2000
