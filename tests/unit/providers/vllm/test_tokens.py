"""Tokens that the server counts."""

from __future__ import annotations

from typing import Any

import pytest

from abstractcore import ContextLengthError, ProviderAPIError, UnsupportedFeatureError
from abstractcore.types import GenerateRequest
from abstractcore.wire.openai import request_body
from tests.recordings import VERSIONS, recorded
from tests.replay import Replay

every_version = pytest.mark.parametrize("version", VERSIONS)
CHAT = {"/tokenize": "tokenize chat", "/v1/chat/completions": "chat"}


@every_version
def test_a_text_becomes_tokens_and_back(version: str) -> None:
    server = Replay(version, {"/tokenize": "tokenize prompt", "/detokenize": "detokenize"})
    llm = server.provider()
    assert llm.tokenize("hello world") == [282, 78, 328, 319, 271, 78, 70]
    assert server.body == {"model": "smollm2", "prompt": "hello world", "add_special_tokens": True}
    assert llm.detokenize([28120, 905]) == " print"
    assert server.body == {"model": "smollm2", "tokens": [28120, 905]}


@every_version
def test_a_count_is_what_the_usage_will_say(version: str) -> None:
    server = Replay(version, CHAT)
    llm = server.provider()
    counted = llm.count_tokens("Give me a number.", temperature=0, max_tokens=16)
    assert server.body == recorded(version, "tokenize chat").request.json()
    assert counted == llm.generate("Give me a number.", temperature=0, max_tokens=16).input_tokens == 19


@every_version
def test_what_the_tokenizer_does_not_know_is_not_left_out_of_the_count(version: str) -> None:
    options: dict[str, Any] = {"extra_body": {"tools": [{"type": "function", "function": {"name": "f"}}]}}
    server = Replay(version, CHAT)
    if version == "0.8.5":
        with pytest.raises(UnsupportedFeatureError, match="count tokens with tools"):
            server.provider().count_tokens("Give me a number.", **options)
    else:
        server.provider().count_tokens("Give me a number.", **options)
        assert [known["function"]["name"] for known in server.body["tools"]] == ["f"]


@every_version
def test_a_prompt_that_does_not_fit_is_not_sent(version: str) -> None:
    server = Replay(version, CHAT)
    llm = server.provider(check_length=True)
    llm.generate("Give me a number.", max_tokens=2048 - 19)
    assert [path for path, _ in server.sent] == ["/tokenize", "/v1/chat/completions"]
    with pytest.raises(ContextLengthError, match="19 tokens and the answer may take 2030") as refusal:
        llm.generate("Give me a number.", max_tokens=2048 - 18)
    assert server.sent[-1][0] == "/tokenize"
    assert refusal.value.hint == "give max_output_tokens=2029 or less"


def test_a_server_without_a_tokenizer_says_so() -> None:
    with pytest.raises(ProviderAPIError, match="404"):
        Replay("0.32.0").provider().tokenize("a")


def test_all_that_makes_the_prompt_is_counted() -> None:
    from abstractcore.providers.vllm.tokens import counted

    request = GenerateRequest(messages=[], sampling={"temperature": 1}, extra_body={"chat_template_kwargs": {"a": 1}})
    assert counted(request_body(request, "m", stream=False)) == {
        "model": "m", "messages": [], "chat_template_kwargs": {"a": 1},
    }  # fmt: skip
