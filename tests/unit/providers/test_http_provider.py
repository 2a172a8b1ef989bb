"""What every backend behind an address does alike: the model that is asked, health, waiting, limits of a listing."""

from __future__ import annotations

import pytest

from abstractcore import ModelNotFoundError, ServerNotReadyError
from abstractcore.errors import ConnectionFailedError, RequestTimeoutError
from abstractcore.providers import OpenAIProvider
from abstractcore.testing import FakeServer, Reply
from abstractcore.wire.call import Timeouts

MODELS = "GET /v1/models"


def provider(*replies: Reply | ConnectionFailedError | RequestTimeoutError) -> tuple[OpenAIProvider, FakeServer]:
    server = FakeServer({MODELS: list(replies)})
    return OpenAIProvider(base_url="http://h.test", **server.transports), server


def refused() -> ConnectionFailedError:
    error = ConnectionFailedError("cannot connect: Connection refused")
    error.refused = True
    return error


def served(*names: str) -> Reply:
    return Reply.json({"data": [{"id": name} for name in names]})


def test_several_models_are_listed_when_none_is_named() -> None:
    llm, _ = provider(served("a", "b"))
    with pytest.raises(ModelNotFoundError, match="no model was named, and openai has several") as caught:
        llm.generate("x")
    assert caught.value.available == ("a", "b")


def test_the_only_one_is_remembered() -> None:
    llm, server = provider(served("a"))
    choice = {"message": {"content": "Hi."}, "finish_reason": "stop"}
    server.route("POST /v1/chat/completions", Reply.json({"choices": [choice]}))
    llm.generate("x")
    llm.generate("x")
    assert llm.model == "a"
    assert server.paths().count(MODELS) == 1


def test_about_a_model_that_is_not_there_the_nearest_are_told() -> None:
    with pytest.raises(ModelNotFoundError, match="no model 'lama'") as caught:
        provider(served("qwen", "llama"))[0].model_info("lama")
    assert caught.value.available[0] == "llama"


def test_health_never_raises() -> None:
    llm, _ = provider(served("b", "a"), RequestTimeoutError("too slow"))
    assert llm.health().items() >= {"status": True, "models": ["a", "b"], "model_count": 2, "error": None}.items()
    sick = llm.health()
    assert (sick["status"], sick["models"]) == (False, [])
    assert "too slow" in sick["error"]


def test_a_limit_on_a_listing_holds_for_its_requests() -> None:
    llm, server = provider(served("b", "a"))
    assert [row.id for row in llm.list_models(timeout=2.0)] == ["a", "b"]
    llm.health(timeout=3.0)
    llm.list_models()
    two, three, none = (call.timeouts for call in server.calls)
    assert (two, three, none) == (Timeouts(2.0, 2.0, 2.0, 2.0), Timeouts(3.0, 3.0, 3.0, 3.0), Timeouts())


def test_a_limited_listing_is_still_repeated_where_that_is_safe() -> None:
    llm, server = provider(ConnectionFailedError("reset"), served("a"))
    assert llm.list_models(timeout=2.0)[0].id == "a"
    assert len(server.calls) == 2


def test_waiting_ends_when_it_answers_or_the_time_is_over() -> None:
    llm, server = provider(refused(), served("a"))
    llm.wait_until_ready(5)
    assert len(server.calls) == 2
    llm, _ = provider(refused())
    with pytest.raises(ServerNotReadyError, match="was not ready within 0 s") as caught:
        llm.wait_until_ready(0)
    assert "Connection refused" in (caught.value.why or "")


async def test_the_twin_of_a_listing() -> None:
    llm, server = provider(served("b", "a"))
    assert [row.id for row in await llm.alist_models(timeout=2.0)] == ["a", "b"]
    assert server.calls[0].timeouts.total == 2.0
