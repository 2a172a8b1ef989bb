"""What real servers refuse, and what users are told."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from abstractcore import (
    ConnectionFailedError,
    ContextLengthError,
    InvalidConstraintError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderError,
    ServerNotReadyError,
    StreamInterruptedError,
    VLLMProvider,
)
from tests.live.conftest import LiveServer, unused_port


def ask(llm: VLLMProvider, stream: bool, **options: Any) -> Any:
    answer: Any = llm.generate("x", stream=stream, **options)
    return list(answer) if stream else answer


EITHER_WAY = pytest.mark.parametrize("stream", [False, True])


@EITHER_WAY
def test_a_wrong_model_names_those_that_are_served(vllm: LiveServer, stream: bool) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        ask(VLLMProvider("nope", base_url=vllm.base_url), stream)
    assert vllm.model in caught.value.available
    assert "does not exist" in str(caught.value.server_message)


@EITHER_WAY
def test_a_prompt_too_long_is_told_in_tokens(llm: VLLMProvider, stream: bool) -> None:
    with pytest.raises(ContextLengthError, match=r"the prompt has \d{4} tokens") as caught:
        ask(llm, stream, messages=[{"role": "user", "content": "hello " * 3000}])
    assert "holds 2048 in all" in caught.value.message
    assert "shorten the prompt" in str(caught.value.hint)
    assert caught.value.server_message


@EITHER_WAY
def test_an_answer_too_long_is_told_with_the_room_there_is(llm: VLLMProvider, stream: bool) -> None:
    with pytest.raises(ContextLengthError) as caught:
        ask(llm, stream, max_output_tokens=5000)
    room = int(str(caught.value.hint).split("=")[1].split()[0])
    assert ask(llm, stream=False, max_output_tokens=room, stop=["e", "a", "o"])


@EITHER_WAY
def test_a_constraint_that_the_server_refuses_has_its_words(llm: VLLMProvider, stream: bool) -> None:
    """Valid JSON Schema that the server's engine can't generate from; in a stream it says so in its first event."""
    with pytest.raises(StreamInterruptedError if stream else InvalidRequestError) as caught:
        ask(llm, stream, guided_json={"type": "array", "uniqueItems": True}, max_output_tokens=20)
    assert "uniqueItems" in str(caught.value.server_message)
    assert caught.value.status == 400


@EITHER_WAY
def test_a_constraint_on_which_the_server_fails_says_what_may_help(llm: VLLMProvider, stream: bool) -> None:
    """A flag that this library's engine knows and the server's doesn't: it answers 500."""
    with pytest.raises(ProviderError, match="Internal server error") as caught:
        ask(llm, stream, guided_regex="(?i)yes|no", max_output_tokens=4)
    assert "grammar engine" in str(caught.value.hint)


@pytest.mark.parametrize(
    "constraint",
    [
        {"guided_regex": "[0-9"},
        {"guided_json": {"type": "nope"}},
        {"guided_grammar": "nonsense"},
        {"guided_choice": []},
    ],
    ids=lambda constraint: next(iter(constraint)),
)
def test_a_broken_constraint_is_told_before_anything_is_sent(constraint: dict[str, Any]) -> None:
    with pytest.raises(InvalidConstraintError, match="does not compile"):
        VLLMProvider("m", base_url="http://127.0.0.1:9").generate("x", **constraint)


@EITHER_WAY
def test_a_value_out_of_range_has_the_servers_words(llm: VLLMProvider, stream: bool) -> None:
    with pytest.raises(InvalidRequestError, match="top_p") as caught:
        ask(llm, stream, top_p=7.0)
    assert caught.value.status == 400


@EITHER_WAY
def test_nobody_there(stream: bool) -> None:
    port = unused_port()
    with pytest.raises(ConnectionFailedError, match=f"no vllm server answers at http://127.0.0.1:{port}/v1") as caught:
        ask(VLLMProvider("m", base_url=f"127.0.0.1:{port}"), stream)
    assert "vllm serve m" in str(caught.value.hint)


def test_a_server_that_never_gets_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        llm = VLLMProvider("m", base_url=f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ServerNotReadyError, match="was not ready within 0 s"):
            llm.wait_until_ready(0)


def test_the_wrong_address_of_the_right_server(vllm: LiveServer) -> None:
    llm = VLLMProvider("m", base_url=vllm.base_url.removesuffix("/v1") + "/api")
    assert not llm.validate_config()
    assert "404" in llm.health()["error"]
