"""The Anthropic provider as users hold it, on what a real server answered to it."""

from __future__ import annotations

import json
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore import (
    AbstractCoreError,
    AuthenticationError,
    ConfigurationError,
    ConstraintViolationError,
    ContextLengthError,
    GenerateResponse,
    ModelNotFoundError,
    ProviderAPIError,
    ProviderError,
    RateLimitError,
    ServerOverloadedError,
    StreamInterruptedError,
    UnsupportedFeatureError,
    create_llm,
)
from abstractcore.providers.anthropic import AnthropicProvider
from abstractcore.testing import FakeServer, Reply
from tests.recordings.anthropic import Case, cases, provider

ASK = "POST /v1/messages"
COUNT = "POST /v1/messages/count_tokens"
MODELS = "GET /v1/models"


def message(text: str = "Hi", **changes: Any) -> Reply:
    content = [{"type": "text", "text": text}]
    whole = {"type": "message", "id": "m1", "model": "m", "stop_reason": "end_turn", "content": content, **changes}
    return Reply.json(whole)


def failure(kind: str, status: int, **headers: str) -> Reply:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": "Words."}}).encode()
    return Reply((body,), status, {"content-type": "application/json", **headers})


def llm_on(*answers: Any, **routes: Any) -> tuple[AnthropicProvider, FakeServer]:
    named = {"count": COUNT, "models": MODELS}
    server = FakeServer({ASK: list(answers), **{named[name]: route for name, route in routes.items()}})
    return AnthropicProvider("m", base_url="http://h", **server.transports), server


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, so that the cloud may be asked."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sesame")


# --- what passed between it and a real server ------------------------------------------------------------------------


def ask(case: Case) -> tuple[GenerateResponse | None, str, FakeServer]:
    server = case.server()
    llm = provider(server)
    try:
        given = llm.generate(**case.options)
        answer = given if isinstance(given, GenerateResponse) else list(given)[-1]
    except AbstractCoreError as error:
        return None, type(error).__name__, server
    return answer, "answered", server


GENERATED = {name: case for name, case in cases().items() if name not in ("models", "count")}


@pytest.mark.filterwarnings("ignore::abstractcore.providers.promises.KnobWarning")
@pytest.mark.parametrize("name", GENERATED)
def test_it_sends_what_was_recorded_and_ends_as_it_did(name: str) -> None:
    case = GENERATED[name]
    answer, outcome, server = ask(case)
    assert outcome == case.outcome
    assert server.sent == [exchange["body"] for exchange in case.exchanges if exchange["body"]]
    assert [call.headers["anthropic-version"] for call in server.calls] == ["2023-06-01"] * len(case.exchanges)
    if answer is not None:
        assert answer.usage is not None
        assert answer.usage.output_tokens > 0


@pytest.mark.parametrize("name", ["choice", "choice streamed", "regex", "json", "json array", "json streamed"])
def test_constraints_are_kept_and_proved(name: str) -> None:
    case = GENERATED[name]
    given = provider(case.server()).generate(**case.options)
    chunks = [given] if isinstance(given, GenerateResponse) else list(given)
    proof = chunks[-1].metadata["constraint"]
    assert (proof["spelling"], proof["proved"]) == ("output_config.format", True)
    text = "".join(chunk.content for chunk in chunks)
    assert not text.startswith('{"value"'), "the wrapper is not the caller's"


def test_definitions_stay_where_references_look_for_them() -> None:
    schema = GENERATED["json array"].exchanges[0]["body"]["output_config"]["format"]["schema"]
    assert schema["properties"]["value"]["items"] == {"$ref": "#/$defs/c"}
    assert schema["$defs"]["c"] == {"enum": ["red"]}


def test_a_limit_that_nobody_gave_is_made_to_fit() -> None:
    answer, _, server = ask(GENERATED["no limit"])
    assert answer is not None
    limits = [body["max_tokens"] for body in server.sent if "max_tokens" in body]
    assert limits == [4096, 2048 - 37]
    assert answer.metadata["max_output_tokens"].startswith("2011: ")


def test_once_the_context_is_known_the_limit_is_half_of_it() -> None:
    case = GENERATED["no limit"]
    llm, server = llm_on(*case.server().routes[ASK], count=case.server().routes[COUNT], models=cases_models())
    llm.generate("Hi")
    llm.generate("Hi")
    assert [body["max_tokens"] for body in server.sent if "max_tokens" in body][2] == 1024


def cases_models() -> Reply:
    row = {"id": "m", "max_input_tokens": 2048}
    return Reply.json({"data": [row], "has_more": False})


@pytest.mark.parametrize(("name", "words"), [("limit too high", "may take 3000"), ("too long", "more tokens than fit")])
def test_what_does_not_fit_says_so_with_figures(name: str, words: str) -> None:
    case = GENERATED[name]
    with pytest.raises(ContextLengthError, match=words) as caught:
        provider(case.server()).generate(**case.options)
    assert "2048" in caught.value.message
    assert caught.value.server_message


def test_the_nearest_names_are_said_of_a_model_that_is_missing() -> None:
    case = GENERATED["wrong model"]
    with pytest.raises(ModelNotFoundError) as caught:
        provider(case.server()).generate(**case.options)
    assert caught.value.available == ("smollm2",)


def test_tokens_are_counted_by_the_server() -> None:
    case = cases()["count"]
    server = case.server()
    assert provider(server).count_tokens(case.options["prompt"]) == 37
    assert server.sent == [case.exchanges[0]["body"]]


def test_length_is_checked_before_anything_is_generated() -> None:
    llm, server = llm_on(message(), count=Reply.json({"input_tokens": 2000}), models=cases_models())
    with pytest.raises(ContextLengthError, match="give max_output_tokens=48 or less"):
        llm.generate("Hi", check_length=True, max_tokens=100)
    assert ASK not in server.paths()
    assert llm.generate("Hi", check_length=True, max_tokens=48).content == "Hi"


async def test_async_is_the_same() -> None:
    case = GENERATED["tool named streamed"]
    stream = await provider(case.server()).agenerate(**case.options)
    *_, last = [chunk async for chunk in stream]
    assert last.tool_calls[0].name == "weather"
    assert await provider(cases()["count"].server()).acount_tokens("x") == 37


# --- addresses and keys ----------------------------------------------------------------------------------------------


def test_the_cloud_needs_a_key_and_says_where_it_goes() -> None:
    with pytest.raises(AuthenticationError, match="needs a key") as caught:
        create_llm("anthropic").generate("Hi")
    assert "ANTHROPIC_API_KEY" in str(caught.value)


@pytest.mark.usefixtures("home")
def test_the_cloud_has_a_model_of_its_own_and_gets_the_key_as_it_wants_it() -> None:
    server = FakeServer({ASK: message()})
    llm = AnthropicProvider(**server.transports)
    assert (llm.base_url, llm.model) == ("https://api.anthropic.com/v1", AnthropicProvider.default_model)
    llm.generate("Hi")
    headers = server.calls[0].headers
    assert headers["x-api-key"] == "sesame"
    assert "authorization" not in headers


@pytest.mark.parametrize("address", ["http://h", "http://h/v1", "h/"])
def test_another_server_gets_it_both_ways_and_serves_what_it_serves(address: str) -> None:
    server = FakeServer({ASK: message(), MODELS: cases_models()})
    llm = AnthropicProvider(base_url=address, api_key="sesame", **server.transports)
    assert llm.generate("Hi").content == "Hi"
    assert llm.model == "m"
    assert server.calls[-1].url == "http://h/v1/messages"
    assert server.calls[-1].headers["authorization"] == "Bearer sesame"


# --- what is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "thinking", "config"),
    [
        (True, {"type": "adaptive"}, None),
        (False, {"type": "disabled"}, None),
        (2048, {"type": "enabled", "budget_tokens": 2048}, None),
        ("high", {"type": "adaptive"}, {"effort": "high"}),
    ],
)
def test_thinking(given: Any, thinking: Any, config: Any) -> None:
    llm, server = llm_on(message())
    llm.generate("Hi", thinking=given)
    [body] = server.sent
    assert (body["thinking"], body.get("output_config")) == (thinking, config)
    assert body["max_tokens"] > (given if isinstance(given, int) else 0)


def test_effort_and_format_share_their_field_with_what_extra_body_says() -> None:
    llm, server = llm_on(message("{}"))
    extra = {"output_config": {"task_budget": 1}}
    llm.generate("Hi", thinking="low", guided_json={"type": "object", "properties": {}}, extra_body=extra)
    config = server.sent[0]["output_config"]
    assert {"task_budget", "effort", "format"} == set(config)


def test_reasoning_that_was_switched_off_and_came_is_said() -> None:
    thought = {"type": "thinking", "thinking": "Hm."}
    llm, _ = llm_on(message(content=[thought, {"type": "text", "text": "Hi"}]))
    answer = llm.generate("Hi", thinking=False)
    assert answer.reasoning == "Hm."
    assert "all the same" in answer.metadata["knobs"]["thinking"]


def test_budgets_that_can_not_be_are_refused_before_anything_is_sent() -> None:
    llm, server = llm_on(message())
    with pytest.raises(UnsupportedFeatureError, match="thinking=100"):
        llm.generate("Hi", thinking=100)
    with pytest.raises(ConfigurationError, match="leaves nothing for the answer"):
        llm.generate("Hi", thinking=2000, max_tokens=2000)
    assert server.sent == []


@pytest.mark.parametrize(
    "options",
    [
        {"guided_grammar": 'root ::= "a"'},
        {"n": 2},
        {"logprobs": True},
        {"use_beam_search": True, "best_of": 2},
        {"raw_prompt": True},
        {"guided_json": True},
        {"extra_body": {"output_config": {"format": {"type": "json_schema"}}}},
        {"extra_body": {"guided_regex": "a"}},
        {"tools": [{"name": "f"}], "guided_choice": ["a"]},
    ],
)
def test_promises_that_can_not_be_kept_are_refused(options: Any) -> None:
    llm, server = llm_on(message())
    with pytest.raises(UnsupportedFeatureError):
        llm.generate("Hi", **options)
    assert server.sent == []


def test_a_constraint_that_the_server_ignores_is_caught() -> None:
    llm, _ = llm_on(message("Well, red."))
    with pytest.raises(ConstraintViolationError):
        llm.generate("Colour?", guided_choice=["red", "green"])


def test_a_class_gives_an_instance_and_a_closed_schema() -> None:
    class Colour(pydantic.BaseModel):
        name: str

    llm, server = llm_on(message('{"name": "red"}'))
    assert llm.generate("Colour?", response_model=Colour) == Colour(name="red")
    assert server.sent[0]["output_config"]["format"]["schema"]["additionalProperties"] is False


def test_the_loop_of_tools_tells_the_results() -> None:
    def weather(city: str) -> str:
        return f"12 degrees in {city}"

    used = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}}
    llm, server = llm_on(message(content=[used], stop_reason="tool_use"), message("12."))
    assert llm.run_tools("Weather?", tools=[weather]).content == "12."
    told = {"type": "tool_result", "tool_use_id": "t1", "content": "12 degrees in Rome"}
    assert server.sent[1]["messages"][1:] == [
        {"role": "assistant", "content": [used]},
        {"role": "user", "content": [told]},
    ]


# --- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        ("authentication_error", 401, AuthenticationError),
        ("permission_error", 403, AuthenticationError),
        ("not_found_error", 404, ModelNotFoundError),
        ("rate_limit_error", 429, RateLimitError),
        ("api_error", 500, ProviderAPIError),
        ("overloaded_error", 529, ServerOverloadedError),
    ],
)
def test_errors_are_told_apart(kind: str, status: int, error: type[ProviderError]) -> None:
    llm, _ = llm_on(failure(kind, status, **{"retry-after": "60", "request-id": "req_1"}))
    with pytest.raises(error, match="Words") as caught:
        llm.generate("Hi", max_tokens=4)
    assert (caught.value.code, caught.value.request_id) == (kind, "req_1")


def test_an_overloaded_server_is_asked_again() -> None:
    llm, server = llm_on(failure("overloaded_error", 529, **{"retry-after": "0"}), message())
    assert llm.generate("Hi").content == "Hi"
    assert len(server.sent) == 2


def test_models_come_in_pages() -> None:
    def page(name: str, **more: Any) -> Reply:
        return Reply.json({"data": [{"id": name, "type": "model", "max_input_tokens": 9}], "last_id": name, **more})

    llm, server = llm_on(message(), models=[page("b", has_more=True), page("a", has_more=False)])
    assert llm.list_available_models() == ["a", "b"]
    assert [call.url.partition("?")[2] for call in server.calls] == ["limit=1000", "limit=1000&after_id=b"]


def test_an_alias_is_not_on_the_list_and_found_all_the_same() -> None:
    server = FakeServer(
        {MODELS: cases_models(), f"{MODELS}/alias": Reply.json({"id": "dated", "max_input_tokens": 200_000})}
    )
    llm = AnthropicProvider("alias", base_url="http://h", **server.transports)
    assert llm.model_info().context_length == 200_000
    assert llm.validate_config()
    with pytest.raises(ModelNotFoundError) as caught:
        llm.model_info("nobody")
    assert caught.value.available == ("m",)


@given(st.binary(max_size=200), st.sampled_from([200, 400, 500]), st.booleans())
def test_random_answers_give_our_errors(body: bytes, status: int, stream: bool) -> None:
    kind = "text/event-stream" if stream else "application/json"
    llm, _ = llm_on(Reply((body,), status, {"content-type": kind}))
    with pytest.raises(ProviderError) as caught:
        list(llm.generate("Hi", stream=True)) if stream else llm.generate("Hi")
    assert isinstance(caught.value, StreamInterruptedError) or not stream or status != 200


def test_json_that_is_nested_too_deeply_gives_our_error() -> None:
    deep = b'{"type": "message", "content": ' + b"[" * 100_000
    for status in (200, 400):
        llm, _ = llm_on(Reply((deep,), status, {"content-type": "application/json"}))
        with pytest.raises(ProviderError):
            llm.generate("Hi")
