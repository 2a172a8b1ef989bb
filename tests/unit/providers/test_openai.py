"""OpenAIProvider as its user sees it: what is sent, what is proved, what is refused and with which words."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from abstractcore import (
    AuthenticationError,
    ConstraintViolationError,
    ContextLengthError,
    ModelNotFoundError,
    ToolCallError,
    TruncatedOutputError,
    UnsupportedFeatureError,
)
from abstractcore.providers import OpenAIProvider, promises
from abstractcore.testing import FakeServer, Reply

CHAT = "POST /v1/chat/completions"


def answer(content: str | None, finish: str = "stop", **message: Any) -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 2, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1}}
    return Reply.json({"id": "r", "model": "gpt-2026-01-01", "choices": [choice], "usage": usage})


def error(status: int, code: str, message: str = "no") -> Reply:
    return Reply.json({"error": {"message": message, "type": "invalid_request_error", "code": code}}, status)


def openai(replies: Any = None, **config: Any) -> tuple[OpenAIProvider, FakeServer]:
    server = FakeServer({CHAT: answer("Hi.") if replies is None else replies})
    models = [{"id": name} for name in ("gpt-5.4", "gpt-5.4-mini", "o3")]
    server.route("GET /v1/models", Reply.json({"data": models}))
    return OpenAIProvider("gpt", **{"api_key": "k", **config, **server.transports}), server


# --- the address and the key -----------------------------------------------------------------------------------------


def test_without_a_key_nothing_is_sent_and_the_variable_is_named() -> None:
    server = FakeServer({})
    llm = OpenAIProvider(**server.transports)
    for ask in (lambda: llm.generate("x"), lambda: llm.embed("x"), llm.list_available_models):
        with pytest.raises(AuthenticationError, match="there is none") as caught:
            ask()
        assert "OPENAI_API_KEY" in (caught.value.hint or "")
    assert server.calls == []
    assert (llm.model, llm.base_url) == ("gpt-5.4-mini", "https://api.openai.com/v1")


def test_another_server_needs_no_key_and_says_what_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://box:9000")
    server = FakeServer({CHAT: answer("Hi."), "GET /v1/models": Reply.json({"data": [{"id": "own"}]})})
    llm = OpenAIProvider(**server.transports)
    assert llm.generate("x").content == "Hi."
    assert server.sent[-1]["model"] == "own"
    assert server.calls[-1].url == "http://box:9000/v1/chat/completions"
    assert "authorization" not in server.calls[-1].headers


def test_a_refused_key_is_named_by_its_origin_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    server = FakeServer({CHAT: error(401, "invalid_api_key", "Incorrect API key provided")})
    with pytest.raises(AuthenticationError, match="Incorrect API key") as caught:
        OpenAIProvider("gpt", **server.transports).generate("x")
    assert "came from OPENAI_API_KEY" in (caught.value.hint or "")
    assert "sk-secret" not in str(caught.value)
    assert server.calls[0].headers["authorization"] == "Bearer sk-secret"


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_options_go_out_under_openais_names() -> None:
    llm, server = openai()
    llm.generate(
        "x",
        system_prompt="s",
        max_output_tokens=5,
        seed=1,
        stop=["."],
        temperature=0.5,
        n=1,
        logprobs=2,
        thinking="low",
    )
    assert server.sent == [
        {
            "model": "gpt",
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "x"}],
            "max_completion_tokens": 5,
            "seed": 1,
            "stop": ["."],
            "temperature": 0.5,
            "logprobs": True,
            "top_logprobs": 2,
            "reasoning_effort": "low",
        }
    ]


def test_a_raw_prompt_goes_to_completions() -> None:
    server = FakeServer({"POST /v1/completions": Reply.json({"choices": [{"text": "b", "finish_reason": "stop"}]})})
    llm = OpenAIProvider("gpt", api_key="k", **server.transports)
    assert llm.generate("a", raw_prompt=True, max_output_tokens=3).content == "b"
    assert server.sent == [{"model": "gpt", "prompt": "a", "max_tokens": 3}]
    with pytest.raises(UnsupportedFeatureError, match="raw_prompt with guided_regex"):
        llm.generate("a", raw_prompt=True, guided_regex="b")


@pytest.mark.parametrize(("thinking", "effort"), [(True, "medium"), (False, "none"), ("high", "high")])
def test_thinking_is_an_effort(thinking: bool | str, effort: str) -> None:
    llm, server = openai()
    llm.generate("x", thinking=thinking)
    assert server.sent[0]["reasoning_effort"] == effort


@pytest.mark.parametrize(
    ("options", "feature"),
    [
        ({"guided_grammar": 'root ::= "a"'}, "guided_grammar"),
        ({"thinking": 100}, "thinking=100"),
        ({"use_beam_search": True, "n": 2}, "use_beam_search"),
        ({"best_of": 2}, "best_of"),
        ({"chat_template_kwargs": {"a": 1}}, "chat_template_kwargs"),
        ({"check_length": True}, "check_length"),
        ({"extra_body": {"logit_biass": {}}}, "logit_biass"),
        ({"extra_body": {"guided_regex": "a"}}, "guided_regex"),
    ],
)
def test_what_it_can_not_do_is_refused_before_anything_is_sent(options: dict[str, Any], feature: str) -> None:
    llm, server = openai()
    with pytest.raises(UnsupportedFeatureError) as caught:
        llm.generate("x", **options)
    assert caught.value.feature == feature
    assert caught.value.hint
    assert server.calls == []


def test_an_unknown_field_gets_the_nearest_and_may_be_sent_all_the_same() -> None:
    llm, server = openai()
    with pytest.raises(UnsupportedFeatureError, match="did you mean 'service_tier'"):
        llm.generate("x", extra_body={"servicetier": "flex"})
    llm.generate("x", extra_body={"service_tier": "flex"})
    llm.generate("x", extra_body={"top_a": 1}, allow_unknown=True)
    assert server.sent[0]["service_tier"] == "flex"
    assert server.sent[1]["top_a"] == 1


def test_a_knob_that_it_lacks_is_left_out_said_and_warned_about_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promises, "_warned", set())
    llm, server = openai()
    with pytest.warns(promises.KnobWarning, match="openai has no top_k"):
        response = llm.generate("x", top_k=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        llm.generate("x", top_k=3)
    assert "top_k" not in server.sent[0]
    assert "left out" in response.metadata["knobs"]["top_k"]


# --- constraints -----------------------------------------------------------------------------------------------------

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
}


def test_a_choice_is_asked_for_in_an_object_and_read_back() -> None:
    llm, server = openai(answer('{"value": "red"}'))
    response = llm.generate("x", guided_choice=["red", "blue"])
    assert response.content == "red"
    sent = server.sent[0]["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert sent["schema"]["properties"] == {"value": {"type": "string", "enum": ["red", "blue"]}}
    assert response.metadata["constraint"]["proved"]
    assert "guided_choice" in response.metadata["emulated"]


def test_a_regex_likewise_and_in_a_stream() -> None:
    parts = ['{"val', 'ue":"20', '26"}']
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": {"content": part}}]} for part in parts]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    llm, server = openai(Reply.events(chunks))
    assert "".join(chunk.content for chunk in llm.generate("x", guided_regex=r"\d{4}", stream=True)) == "2026"
    schema = server.sent[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["value"] == {"type": "string", "pattern": "^(?:[0-9]{4})$"}


def test_an_optional_property_is_asked_for_as_null_and_taken_out() -> None:
    llm, server = openai(answer('{"name": "Ann", "age": null}'))
    response = llm.generate("x", guided_json=PERSON)
    assert response.content == '{"name":"Ann"}'
    sent = server.sent[0]["response_format"]["json_schema"]
    assert (sent["strict"], sent["schema"]["required"]) == (True, ["name", "age"])
    assert "optional properties" in response.metadata["emulated"]


def test_a_schema_without_a_strict_form_is_proved_all_the_same_and_the_reason_said() -> None:
    llm, server = openai([answer('{"a": 1}'), answer("[1]")])
    response = llm.generate("x", guided_json={"type": "object"})
    assert server.sent[0]["response_format"]["json_schema"] == {
        "name": "answer", "schema": {"type": "object"}, "strict": False,
    }  # fmt: skip
    assert "properties of any name" in response.metadata["knobs"]["strict"]
    with pytest.raises(ConstraintViolationError):
        llm.generate("x", guided_json={"type": "object"})


@pytest.mark.parametrize(
    "options",
    [
        {"guided_json": PERSON},
        {"guided_choice": ["red"]},
        {"guided_regex": "r.d"},
        {"guided_json": {"type": "array", "items": {"type": "integer"}}},
    ],
)
def test_an_answer_that_ignores_the_constraint_is_caught(options: dict[str, Any]) -> None:
    llm, _ = openai(answer("Sure, here you are!"))
    with pytest.raises(ConstraintViolationError) as caught:
        llm.generate("x", **options)
    assert caught.value.text == "Sure, here you are!"


def test_an_answer_that_was_cut_is_no_answer() -> None:
    llm, _ = openai(answer('{"value": "r', "length"))
    with pytest.raises(TruncatedOutputError) as caught:
        llm.generate("x", guided_choice=["red"], max_output_tokens=3)
    assert caught.value.partial == "r"


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_refusal_is_an_answer_of_its_own_kind() -> None:
    response = openai(answer(None, refusal="I can't help with that."))[0].generate("x")
    assert (response.content, response.finish_reason) == ("I can't help with that.", "refusal")


def test_a_refusal_in_a_stream() -> None:
    deltas: list[dict[str, Any]] = [{"refusal": "I can't "}, {"refusal": "help."}, {}]
    chunks = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}]} for delta in deltas
    ]
    found = list(
        openai(Reply.events([{"choices": [], "prompt_filter_results": []}, *chunks]))[0].generate("x", stream=True)
    )
    assert "".join(chunk.content for chunk in found) == "I can't help."
    assert found[-1].finish_reason == "refusal"


@pytest.mark.parametrize(
    "reply",
    [
        answer(None, refusal="red"),  # the words fit the constraint by chance: still no answer
        answer("red", "content_filter"),
    ],
)
def test_a_refusal_satisfies_no_constraint(reply: Reply) -> None:
    with pytest.raises(ConstraintViolationError, match="declined to answer"):
        openai(reply)[0].generate("x", guided_regex="red")


# --- tools -----------------------------------------------------------------------------------------------------------


def weather(city: str, days: int = 1) -> str:
    """The weather."""
    return f"{city} {days}"


def free(settings: dict[str, int]) -> str:
    """Takes anything."""
    return str(settings)


def call(name: str, arguments: str) -> list[dict[str, Any]]:
    return [{"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}]


def test_tools_are_strict_and_arguments_left_out_come_as_null() -> None:
    llm, server = openai(answer(None, "tool_calls", tool_calls=call("weather", '{"city": "Rome", "days": null}')))
    response = llm.generate("x", tools=[weather], tool_choice="weather", parallel_tool_calls=False)
    assert [(each.name, each.arguments) for each in response.tool_calls] == [("weather", {"city": "Rome"})]
    body = server.sent[0]
    assert body["tools"][0]["function"]["strict"] is True
    assert body["tools"][0]["function"]["parameters"]["required"] == ["city", "days"]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert body["parallel_tool_calls"] is False


def test_a_tool_without_a_strict_form_is_checked_here() -> None:
    llm, server = openai(answer(None, "tool_calls", tool_calls=call("free", '{"settings": {"a": "b"}}')))
    with pytest.raises(ToolCallError, match="break its schema"):
        llm.generate("x", tools=[free])
    assert server.sent[0]["tools"][0]["function"]["strict"] is False


def test_a_required_call_that_does_not_come_is_an_error() -> None:
    with pytest.raises(ToolCallError, match="there is no call"):
        openai(answer("Sunny."))[0].generate("x", tools=[weather], tool_choice="required")


def test_tools_beside_a_constraint_are_refused() -> None:
    llm, server = openai()
    with pytest.raises(UnsupportedFeatureError, match="tools beside guided_json"):
        llm.generate("x", tools=[weather], guided_json=PERSON)
    assert server.calls == []


# --- errors and the rest ---------------------------------------------------------------------------------------------


def test_a_model_that_is_not_there_gets_the_nearest() -> None:
    llm, _ = openai(error(404, "model_not_found", "The model `gpt-5.4-mni` does not exist"))
    with pytest.raises(ModelNotFoundError) as caught:
        llm.generate("x", model="gpt-5.4-mni")
    assert caught.value.available[:2] == ("gpt-5.4-mini", "gpt-5.4")
    assert "gpt-5.4-mini" in (caught.value.hint or "")


def test_too_long_is_told_by_its_code() -> None:
    with pytest.raises(ContextLengthError):
        openai(error(400, "context_length_exceeded"))[0].generate("x")


def test_embeddings_in_the_order_of_the_texts() -> None:
    llm, server = openai()
    rows = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    server.route("POST /v1/embeddings", Reply.json({"data": rows}))
    assert llm.embed(["a", "b"]) == [[1.0], [2.0]]
    assert llm.embed([]) == []
    assert server.sent == [{"model": "gpt", "input": ["a", "b"]}]


def test_a_server_without_embeddings_says_so() -> None:
    with pytest.raises(UnsupportedFeatureError, match="gives no embeddings with 'gpt'"):
        openai()[0].embed("x")


async def test_the_async_twin_keeps_the_same_promises() -> None:
    llm, _ = openai([answer('{"value": "red"}'), answer("green")])
    assert (await llm.agenerate("x", guided_choice=["red"])).content == "red"
    with pytest.raises(ConstraintViolationError):
        await llm.agenerate("x", guided_choice=["red"])
