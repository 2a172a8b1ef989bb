"""The limits of a call hold for what is asked before it, and all of it shares the total."""

from __future__ import annotations

from typing import Any

import pytest

from abstractcore import ProviderError, RequestTimeoutError, VLLMProvider
from abstractcore.providers import LMStudioProvider
from abstractcore.testing import FakeServer, Reply
from abstractcore.transport.failure import timed_out
from abstractcore.wire.call import Timeouts

CHAT = "POST /v1/chat/completions"
MODELS = {"data": [{"id": "m", "root": "m", "parent": None}]}
URL = "http://gpu:8000"


@pytest.fixture
def server() -> FakeServer:
    late = timed_out(f"{URL}/x", "total", 1.0)
    return FakeServer({CHAT: late, "GET /v1/models": Reply.json(MODELS)})


@pytest.mark.parametrize("kind", [VLLMProvider, LMStudioProvider])
@pytest.mark.parametrize("options", [{}, {"guided_regex": "a+"}], ids=["", "guided"])
@pytest.mark.parametrize("stream", [False, True])
def test_no_request_of_a_call_may_take_longer_than_the_call(
    server: FakeServer, kind: Any, options: dict[str, Any], stream: bool
) -> None:
    llm = kind(base_url=URL, **server.transports)
    with pytest.raises(ProviderError):
        list(llm.generate("x", stream=stream, timeout=1.0, **options))
    assert len(server.calls) > 1, "the model is asked for first"
    assert all(call.timeouts.total is not None and call.timeouts.total <= 1.0 for call in server.calls)
    totals = [call.timeouts.total or 0.0 for call in server.calls]
    assert totals == sorted(totals, reverse=True), "what one has taken, the next does not have"


def test_each_limit_by_itself_holds_too(server: FakeServer) -> None:
    with VLLMProvider(base_url=URL, **server.transports) as llm, pytest.raises(RequestTimeoutError):
        llm.generate("x", timeout=Timeouts(connect=1.0, first_byte=2.0, idle=3.0))
    for call in server.calls:
        assert call.timeouts == Timeouts(connect=1.0, first_byte=2.0, idle=3.0)


def test_without_a_limit_each_request_keeps_its_own(server: FakeServer) -> None:
    with VLLMProvider(base_url=URL, **server.transports) as llm, pytest.raises(RequestTimeoutError):
        llm.generate("x", guided_regex="a+")
    limits = {call.url.rpartition("/")[2]: call.timeouts for call in server.calls}
    assert limits["openapi.json"].first_byte == 60.0
    assert limits["completions"] == Timeouts()


async def test_the_twin(server: FakeServer) -> None:
    async with VLLMProvider(base_url=URL, **server.transports) as llm:
        with pytest.raises(RequestTimeoutError):
            await llm.agenerate("x", timeout=1.0)
    assert all((call.timeouts.total or 9.0) <= 1.0 for call in server.calls)
