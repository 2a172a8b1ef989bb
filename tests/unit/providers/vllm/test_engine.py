"""What callers are told of a server whose HTTP side lives while its engine is dead, frozen or busy."""

from __future__ import annotations

from typing import Any

import pytest

from abstractcore import (
    ConnectionFailedError,
    ProviderError,
    RequestTimeoutError,
    ServerNotReadyError,
    StreamInterruptedError,
    VLLMProvider,
)
from abstractcore.testing import FakeServer, Reply
from abstractcore.transport.failure import timed_out

CHAT = "POST /v1/chat/completions"
TOKEN = "POST /v1/completions"
HEALTH = "GET /health"
URL = "http://gpu:8000/v1/chat/completions"
DIED = {"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "code": 500}}
TEXT = {"id": "r", "model": "m", "choices": [{"index": 0, "delta": {"content": "Once"}, "finish_reason": None}]}


def fake(routes: dict[str, Any], model: str | None = "m") -> tuple[FakeServer, VLLMProvider]:
    server = FakeServer(routes)
    return server, VLLMProvider(model, base_url="http://gpu:8000", **server.transports)


def failing(llm: VLLMProvider, *, stream: bool) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        list(llm.generate("x", stream=stream))  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("stream", [False, True])
def test_a_dead_engine_is_named(stream: bool) -> None:
    reply = Reply.events([TEXT, DIED]) if stream else Reply.json(DIED, 500)
    server, llm = fake({CHAT: reply, HEALTH: Reply((b"",), 503)})
    error = failing(llm, stream=stream)
    assert "the engine of http://gpu:8000/v1 is dead (/health answers 503)" in str(error.hint)
    assert error.server_message == "EngineCore encountered an issue."
    assert isinstance(error, StreamInterruptedError) == stream
    assert HEALTH in server.paths()


@pytest.mark.parametrize("health", [Reply((b"",), 200), ConnectionFailedError("refused")])
def test_a_failure_of_which_health_knows_nothing_is_left_alone(health: Any) -> None:
    _, llm = fake({CHAT: Reply.json(DIED, 500), HEALTH: health})
    assert "dead" not in str(failing(llm, stream=False).hint)


def test_a_refusal_asks_nothing_more() -> None:
    server, llm = fake({CHAT: Reply.json({"error": {"message": "no", "code": 401}}, 401), HEALTH: Reply((b"",), 503)})
    failing(llm, stream=False)
    assert HEALTH not in server.paths()


@pytest.mark.parametrize("stream", [False, True])
def test_silence_says_where_to_look_and_asks_nobody(stream: bool) -> None:
    late = timed_out(URL, "first_byte", 2.0)
    server, llm = fake({CHAT: Reply.events([], done=False, fault=late) if stream else late})
    error = failing(llm, stream=stream)
    assert "sent nothing of an answer's body within 2 s" in error.message
    assert "engine frozen, which /health does not show: http://gpu:8000/metrics" in str(error.hint)
    assert server.paths() == [CHAT]


def test_a_connection_that_does_not_come_to_be_says_nothing_of_the_engine() -> None:
    _, llm = fake({CHAT: timed_out(URL, "connect", 2.0)})
    error = failing(llm, stream=False)
    assert isinstance(error, RequestTimeoutError)
    assert "frozen" not in str(error.hint)


def test_waiting_takes_a_token_and_not_only_health() -> None:
    server, llm = fake({HEALTH: Reply((b"",)), TOKEN: Reply.json({})})
    llm.wait_until_ready(0)
    assert server.paths() == [HEALTH, TOKEN]
    assert server.calls[-1].body == b'{"model":"m","prompt":"ping","max_tokens":1}'


def test_a_frozen_engine_is_not_ready() -> None:
    _, llm = fake({HEALTH: Reply((b"",)), TOKEN: timed_out(URL, "first_byte", 5.0)})
    with pytest.raises(ServerNotReadyError, match="generates nothing") as caught:
        llm.wait_until_ready(0)
    assert "/health answers 200, but a request for one token is not answered" in str(caught.value.why)
    assert "frozen" in str(caught.value.hint)


def test_a_server_without_tokens_is_ready_when_it_answers() -> None:
    """Such as one of embeddings, which refuses the request."""
    _, llm = fake({HEALTH: Reply((b"",)), TOKEN: Reply.json({"error": {"message": "no", "code": 400}}, 400)})
    llm.wait_until_ready(0)


def test_of_several_models_none_is_asked() -> None:
    rows = [{"id": name, "root": name, "parent": None} for name in ("a", "b")]
    server, llm = fake({HEALTH: Reply((b"",)), "GET /v1/models": Reply.json({"data": rows})}, model=None)
    llm.wait_until_ready(0)
    assert TOKEN not in server.paths()


async def test_the_twins() -> None:
    server, llm = fake({HEALTH: Reply((b"",)), TOKEN: Reply.json({}), CHAT: Reply.events([TEXT, DIED])})
    await llm.await_until_ready(0)
    server.route(HEALTH, Reply((b"",), 503))
    with pytest.raises(StreamInterruptedError, match="is dead") as caught:
        async for _ in await llm.agenerate("x", stream=True):
            pass
    assert caught.value.partial == "Once"
