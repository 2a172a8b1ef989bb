"""The gateway from both sides: what clients ask of it, and what it passes on of its backends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

from abstractcore.constraint import JsonSchema
from abstractcore.errors import ConstraintViolationError, ProviderError
from abstractcore.server.embeddings.vectors import check
from abstractcore.server.messages.answer import counted as counted_message
from abstractcore.server.messages.answer import settled as settled_message
from abstractcore.server.messages.watch import MessageWatch
from abstractcore.server.passing import Backing
from abstractcore.server.promise import Promise
from abstractcore.server.responses.answer import settled as settled_response
from abstractcore.server.responses.watch import ResponseWatch
from abstractcore.server.watch import Watch
from abstractcore.testing import Reply
from abstractcore.types import GenerateRequest
from tests.asgi_client import Client, client_of, fake_vllm

from . import seeds
from .target import Target
from .wire import cut

BACKING: Final = Backing("vllm", None, "m")
REFUSED: Final = (ProviderError, ConstraintViolationError)
WHOLE: Final = Reply.json(
    {
        "id": "1",
        "model": "m",
        "choices": [{"index": 0, "message": {"content": "aaa"}, "text": "aaa", "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
)


def _promise() -> Promise:
    return Promise(GenerateRequest(messages=[], constraint=JsonSchema({"type": "object"})), "guided_json")


def _passed(data: bytes, make: Callable[[], Any]) -> None:
    """However a stream is cut, the same of it is passed on, and it fails or does not.

    But for an event that is no JSON, and of no account else: who passes it on unread does not see it.
    """
    random = Random(data)
    seen: list[tuple[bytes, bool]] = []
    unread = False
    for pieces in ([data], cut(data, random), cut(data, random)):
        watch, out = make(), b""
        for piece in pieces:
            if watch.failure is None:
                out += watch.feed(piece)
        out += watch.close() if watch.failure is None else b""
        seen.append((out, watch.failure is None))
        unread = unread or "not in the protocol" in str(watch.failure)
    assert unread or all(other == seen[0] for other in seen), seen
    assert data.startswith(seen[0][0]) or b"abstractcore" in seen[0][0], "it passes on what did not come"


class _Asked:
    """A gateway that is asked one thing after the other, in a loop of its own."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._made: list[tuple[asyncio.AbstractEventLoop, Client]] = []

    def __call__(self, data: bytes) -> None:
        if not self._made:
            paths = ("chat/completions", "completions", "messages", "responses", "embeddings", "tokenize")
            routes = {f"POST /v1/{path}": WHOLE for path in paths}
            self._made.append((asyncio.new_event_loop(), client_of(fake_vllm(routes))))
        [(loop, client)] = self._made
        got = loop.run_until_complete(client.post(self._path, data))
        assert got.ended
        assert got.status != 500, got.body
        if got.status >= 400 and got.headers.get("content-type", "").startswith("application/json"):
            assert got.json["error"], got.body


def _body(**fields: Any) -> bytes:
    return json.dumps({"model": "vllm/m", **fields}).encode()


_CHATS: Final = [
    _body(messages=[{"role": "user", "content": "hi"}], guided_regex="a+", max_tokens=5),
    _body(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}]}], n=2, stream=True),
    _body(messages=[{"role": "user", "content": "hi"}], structured_outputs={"json": {"type": "object"}}),
    _body(
        messages=[{"role": "user", "content": "hi"}],
        response_format={"type": "json_schema", "json_schema": {"schema": {}}},
    ),
    _body(
        messages=[{"role": "user", "content": "x"}],
        tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
    ),
    _body(prompt="x", use_beam_search=True, best_of=3),
]
_MESSAGES: Final = [
    _body(max_tokens=5, messages=[{"role": "user", "content": "hi"}], tools=[{"name": "f", "input_schema": {}}]),
    _body(
        max_tokens=5,
        messages=[{"role": "user", "content": "x"}],
        output_config={"format": {"type": "json_schema", "schema": {}}},
    ),
]
_RESPONSES: Final = [
    _body(input="hi", text={"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}}),
    _body(input=[{"role": "user", "content": "x"}], tools=[{"type": "function", "name": "f", "parameters": {}}]),
]
_VECTORS: Final = [b'{"data":[{"embedding":[0.1,0.2]},{"embedding":"AAAAAAAAAAA="}]}', b'{"error":{"message":"x"}}']

TARGETS: Final = (
    Target(
        "chat-requests",
        "chats and completions that the gateway is asked",
        _Asked("/v1/chat/completions"),
        (),
        lambda: _CHATS,
        slow=True,
    ),
    Target("message-requests", "messages that it is asked", _Asked("/v1/messages"), (), lambda: _MESSAGES, slow=True),
    Target(
        "response-requests", "responses that it is asked", _Asked("/v1/responses"), (), lambda: _RESPONSES, slow=True
    ),
    Target(
        "check-requests",
        "constraints that it is asked to check",
        _Asked("/v1/constraints/check"),
        (),
        lambda: [
            b'{"guided_regex":"[0-9]+","text":"12"}',
            b'{"guided_json":{"type":"object"},"text":"{}"}',
            b'{"guided_grammar":"root ::= \\"a\\"","text":"a"}',
            b'{"guided_choice":["a"],"text":"a"}',
        ],
        slow=True,
    ),
    Target("passed-chat", "chat streams that it passes on", partial(_passed, make=Watch), (), seeds.openai_streams),
    Target(
        "passed-message",
        "streams of messages that it passes on",
        partial(_passed, make=partial(MessageWatch, None, BACKING)),
        (),
        seeds.event_streams,
    ),
    Target(
        "passed-response",
        "streams of responses that it passes on",
        partial(_passed, make=lambda: ResponseWatch(partial(settled_response, promise=None, backing=BACKING))),
        (),
        seeds.event_streams,
    ),
    Target(
        "message-answers",
        "messages of backends",
        partial(settled_message, promise=_promise(), backing=BACKING),
        REFUSED,
        lambda: seeds.anthropic_answers(stream=False),
    ),
    Target(
        "response-answers",
        "responses of backends",
        partial(settled_response, promise=_promise(), backing=BACKING),
        REFUSED,
        lambda: [body for body in seeds.openai_answers() if b'"output"' in body],
    ),
    Target("count-answers", "token counts of backends", counted_message, REFUSED, lambda: [b'{"input_tokens":3}']),
    Target(
        "vector-answers", "vectors of backends", partial(check, wanted=2, dimensions=None), REFUSED, lambda: _VECTORS
    ),
)
