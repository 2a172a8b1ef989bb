"""LMStudioProvider as its user sees it: its own lists of models, its own names, and that the right model answers."""

from __future__ import annotations

from typing import Any

import pytest

from abstractcore import (
    AuthenticationError,
    ConnectionFailedError,
    ConstraintViolationError,
    ModelNotFoundError,
    UnsupportedFeatureError,
)
from abstractcore.providers import LMStudioProvider
from abstractcore.testing import FakeServer, Reply

CHAT = "POST /v1/chat/completions"
UNKNOWN_PATH = Reply.json({"error": "Unexpected endpoint or method."})


def answer(content: str | None, model: str = "qwen/qwen3-4b", **message: Any) -> Reply:
    choice = {"index": 0, "message": {"content": content, **message}, "finish_reason": "stop"}
    return Reply.json({"id": "r", "model": model, "choices": [choice]})


def row(key: str, *, loaded: int | None = None, kind: str = "llm") -> dict[str, Any]:
    instances = [{"id": key, "config": {"context_length": loaded}}] if loaded else []
    return {"type": kind, "key": key, "loaded_instances": instances, "max_context_length": 32768}


def lmstudio(model: str | None = None, *, reply: Any = None, **config: Any) -> tuple[LMStudioProvider, FakeServer]:
    rows = [row("google/gemma-3-4b"), row("qwen/qwen3-4b", loaded=4096), row("nomic", loaded=2048, kind="embedding")]
    server = FakeServer({"GET /api/v1/models": Reply.json({"models": rows}), CHAT: reply or answer("Hi.")})
    return LMStudioProvider(model, **config, **server.transports), server


def test_the_loaded_model_is_asked_when_none_is_named() -> None:
    llm, server = lmstudio()
    assert llm.base_url == "http://localhost:1234/v1"
    llm.generate("x", max_output_tokens=5)
    assert server.sent == [
        {"model": "qwen/qwen3-4b", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
    ]  # fmt: skip


def test_what_it_says_about_its_models() -> None:
    llm, _ = lmstudio()
    assert llm.list_available_models() == ["google/gemma-3-4b", "nomic", "qwen/qwen3-4b"]
    assert (llm.model_info().context_length, llm.model_info().loaded) == (4096, True)
    assert (llm.model_info("google/gemma-3-4b").context_length, llm.model_info("nomic").capabilities) == (
        32768, ("embeddings",)
    )  # fmt: skip


@pytest.mark.parametrize("missing", [UNKNOWN_PATH, Reply.json({"detail": "Not Found"}, 404)])
def test_older_versions_are_asked_by_older_paths(missing: Reply) -> None:
    llm, server = lmstudio()
    server.route("GET /api/v1/models", missing)
    server.route("GET /api/v0/models", Reply.json({"data": [{"id": "phi", "state": "loaded"}]}))
    assert llm.model_info().loaded
    server.route("GET /api/v0/models", missing)
    server.route("GET /v1/models", Reply.json({"data": [{"id": "phi"}]}))
    assert llm.list_available_models() == ["phi"]


def test_a_token_is_sent_and_a_missing_one_named(monkeypatch: pytest.MonkeyPatch) -> None:
    llm, server = lmstudio()
    server.route("GET /api/v1/models", Reply.json({"error": {"message": "token required"}}, 401))
    with pytest.raises(AuthenticationError) as caught:
        llm.list_available_models()
    assert "LMSTUDIO_API_KEY" in (caught.value.hint or "")
    monkeypatch.setenv("LM_API_TOKEN", "t")
    llm, server = lmstudio()
    llm.list_available_models()
    assert server.calls[0].headers["authorization"] == "Bearer t"


def test_a_server_that_is_down_gets_the_command_that_starts_it() -> None:
    refused = ConnectionFailedError("cannot connect: Connection refused")
    refused.refused = True
    llm, server = lmstudio("m")
    server.route(CHAT, refused)
    with pytest.raises(ConnectionFailedError, match="no lmstudio server answers") as caught:
        llm.generate("x")
    assert caught.value.hint == "start its server: lms server start"


# --- constraints and tools -------------------------------------------------------------------------------------------


def test_a_schema_goes_as_it_is() -> None:
    schema = {"type": "array", "items": {"type": "integer"}}
    llm, server = lmstudio("qwen/qwen3-4b", reply=answer("[1]"))
    assert llm.generate("x", guided_json=schema).content == "[1]"
    assert server.sent[0]["response_format"] == {
        "type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }  # fmt: skip


def test_a_choice_is_a_json_string_and_read_back() -> None:
    llm, server = lmstudio("qwen/qwen3-4b", reply=answer('"red"'))
    response = llm.generate("x", guided_choice=["red", "blue"])
    assert response.content == "red"
    assert server.sent[0]["response_format"]["json_schema"]["schema"] == {"type": "string", "enum": ["red", "blue"]}
    assert "guided_choice" in response.metadata["emulated"]


@pytest.mark.parametrize(
    "options", [{"guided_json": {"type": "array"}}, {"guided_choice": ["a"]}, {"guided_regex": "a"}]
)
def test_an_answer_that_ignores_the_constraint_is_caught(options: dict[str, Any]) -> None:
    with pytest.raises(ConstraintViolationError):
        lmstudio("qwen/qwen3-4b", reply=answer("Of course!"))[0].generate("x", **options)


@pytest.mark.parametrize(
    "options", [{"guided_grammar": 'root ::= "a"'}, {"n": 2}, {"logprobs": True}, {"thinking": True}]
)
def test_what_it_can_not_do_is_refused(options: dict[str, Any]) -> None:
    llm, server = lmstudio("m")
    with pytest.raises(UnsupportedFeatureError):
        llm.generate("x", **options)
    assert server.calls == []


def test_a_named_tool_is_the_only_one_that_is_told() -> None:
    def one(x: int) -> None:
        """One."""

    def two(x: int) -> None:
        """Two."""

    calls = [{"id": "c", "function": {"name": "two", "arguments": '{"x": 1}'}}]
    llm, server = lmstudio("qwen/qwen3-4b", reply=answer(None, tool_calls=calls))
    response = llm.generate("x", tools=[one, two], tool_choice="two")
    assert response.tool_calls[0].arguments == {"x": 1}
    assert [known["function"]["name"] for known in server.sent[0]["tools"]] == ["two"]
    assert server.sent[0]["tool_choice"] == "required"
    assert "strict" not in server.sent[0]["tools"][0]["function"]
    assert "only this tool" in response.metadata["emulated"]["tool_choice"]


# --- who answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answered", ["qwen/qwen3-4b", "qwen/qwen3-4b:2", "qwen/qwen3-4b@q4_k_m", "an-alias"])
def test_an_instance_of_the_model_may_answer(answered: str) -> None:
    llm, _ = lmstudio("qwen/qwen3-4b", reply=answer("Hi.", answered))
    assert llm.generate("x").content == "Hi."


def test_what_is_loaded_does_not_answer_for_a_model_that_is_not_there() -> None:
    llm, _ = lmstudio("qwen/qwen3-4")
    with pytest.raises(ModelNotFoundError, match="'qwen/qwen3-4' was asked, but 'qwen/qwen3-4b' answered") as caught:
        llm.generate("x")
    assert caught.value.available[0] == "qwen/qwen3-4b"


def test_nor_for_another_one_that_is_there() -> None:
    with pytest.raises(ModelNotFoundError, match="'qwen/qwen3-4b' answered"):
        lmstudio("google/gemma-3-4b")[0].generate("x")
