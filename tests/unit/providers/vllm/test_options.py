"""thinking, chat_template_kwargs, priority and logprobs on each release."""

from __future__ import annotations

from typing import Any

import pytest

from abstractcore import ConfigurationError, InvalidRequestError, UnsupportedFeatureError
from abstractcore.providers.vllm import thinking
from abstractcore.testing import FakeServer, Reply
from abstractcore.vllm_facts import facts_for
from tests.recordings import VERSIONS, openapi
from tests.replay import Replay

CHAT = "/v1/chat/completions"
every_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(autouse=True)
def _forgotten() -> None:
    thinking._known.clear()


def ask(server: Replay, **options: Any) -> Any:
    return server.provider().generate("Give me a number.", max_tokens=16, **options)


@every_version
@pytest.mark.parametrize("wanted", [True, False])
def test_a_template_without_the_switch_is_found_out(version: str, wanted: bool) -> None:
    server = Replay(version, {CHAT: "chat", "/tokenize": "tokenize chat"})
    with pytest.raises(UnsupportedFeatureError, match=f"thinking={wanted} with smollm2") as refusal:
        ask(server, thinking=wanted)
    assert "same prompt" in str(refusal.value)
    assert [path for path, _ in server.sent] == ["/tokenize", "/tokenize"]


def switchable() -> FakeServer:
    """A template with the switch; none of the recorded models has one."""

    def tokenize(call: Any) -> Reply:
        length = 9 if b'"enable_thinking":true' in call.body else 13
        return Reply.json({"count": length, "max_model_len": 99, "tokens": list(range(length))})

    return FakeServer(
        {
            "GET /version": Reply.json({"version": "0.32.0"}),
            "GET /openapi.json": Reply.json(openapi("0.32.0")),
            "POST /tokenize": tokenize,
            "POST /v1/chat/completions": Reply.json(
                {"model": "m", "choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}
            ),
        }
    )


def test_a_template_with_the_switch_is_told_and_asked_only_once() -> None:
    from abstractcore.providers import VLLMProvider

    server = switchable()
    llm = VLLMProvider("m", base_url="http://switchable.test", **server.transports)
    for wanted in (True, False):
        response = llm.generate("a", thinking=wanted, chat_template_kwargs={"style": "x"})
        assert server.sent[-1]["chat_template_kwargs"] == {
            "enable_thinking": wanted, "thinking": wanted, "style": "x",
        }  # fmt: skip
        assert "knobs" not in response.metadata
    assert server.paths().count("POST /tokenize") == 2


def test_a_server_that_does_not_tokenize_is_told_all_the_same_and_the_answer_says_so() -> None:
    server = Replay("0.32.0", {CHAT: "chat_template_kwargs"})
    response = ask(server, thinking=False)
    assert server.body["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False}
    assert "did not say" in response.metadata["knobs"]["thinking"]


@every_version
def test_a_limit_on_thinking_goes_to_servers_that_know_it(version: str) -> None:
    server = Replay(version, {CHAT: "thinking_token_budget"})
    if facts_for(version)[0].thinking_token_budget:
        with pytest.raises(InvalidRequestError, match="--reasoning-parser"):
            ask(server, thinking=5)
        assert server.sent[0][1]["thinking_token_budget"] == 5
    else:
        with pytest.raises(UnsupportedFeatureError, match="thinking with a limit"):
            ask(server, thinking=5)
        assert server.sent == []


@every_version
def test_an_effort_goes_to_servers_that_know_it(version: str) -> None:
    server = Replay(version, {CHAT: "reasoning_effort"})
    if version == "0.8.5":
        with pytest.raises(UnsupportedFeatureError, match="thinking with an effort"):
            ask(server, thinking="low")
    else:
        assert "up to the model" in ask(server, thinking="low").metadata["knobs"]["thinking"]
        assert server.body["reasoning_effort"] == "low"


@every_version
def test_template_variables_reach_the_template(version: str) -> None:
    server = Replay(version, {CHAT: "chat_template_kwargs"})
    ask(server, chat_template_kwargs={"enable_thinking": False})
    assert server.body["chat_template_kwargs"] == {"enable_thinking": False}


@every_version
def test_a_priority_is_sent_and_said_to_be_a_wish(version: str) -> None:
    server = Replay(version, {CHAT: "priority"})
    if facts_for(version)[0].priority == "refused":
        with pytest.raises(InvalidRequestError, match="priority"):
            ask(server, priority=5)
    else:
        assert "--scheduling-policy priority" in ask(server, priority=5).metadata["knobs"]["priority"]
    assert server.sent[0][1]["priority"] == 5


@every_version
def test_more_log_probabilities_than_a_server_gives_are_refused_before_they_are_sent(version: str) -> None:
    server = Replay(version, {CHAT: "top_logprobs 50"})
    with pytest.raises(UnsupportedFeatureError, match="logprobs=50"):
        ask(server, logprobs=50)
    assert server.sent == []
    with pytest.raises(InvalidRequestError):
        ask(server, logprobs=50, allow_unknown=True)
    assert server.sent[0][1]["top_logprobs"] == 50


@pytest.mark.parametrize("option", [{"thinking": True}, {"chat_template_kwargs": {"a": 1}}])
def test_a_raw_prompt_has_no_template(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="raw_prompt leaves out"):
        ask(Replay("0.32.0"), raw_prompt=True, **option)
