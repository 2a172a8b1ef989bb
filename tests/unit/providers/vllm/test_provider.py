"""The vLLM provider as users hold it, on a server that answers from a script or from recordings."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import msgspec
import pytest

from abstractcore import (
    AbstractCoreError,
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    ConstraintViolationError,
    ContextLengthError,
    GenerateResponse,
    ModelNotFoundError,
    ProviderAPIError,
    ProviderError,
    StreamInterruptedError,
    UnsupportedFeatureError,
    VLLMProvider,
    create_llm,
)
from abstractcore.providers.vllm import server as server_plans
from abstractcore.testing import FakeServer, Reply
from tests.recorded_server import ASKED, MODEL, replaying
from tests.recordings import recorded, recorded_stream

CHAT = "POST /v1/chat/completions"
KEY = "sesame-open-7"
REGEX = "[0-9]{3}"


def said(text: str, **more: Any) -> Reply:
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop", **more}
    return Reply.json(
        {"id": "r1", "model": "m", "choices": [choice], "usage": {"prompt_tokens": 2, "completion_tokens": 3}}
    )


def part(text: str, finish_reason: str | None = None) -> dict[str, Any]:
    return {
        "id": "r1",
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}],
    }


def version(number: str) -> Reply:
    return Reply.json({"version": number})


def schema(*fields: str) -> Reply:
    names = ("model", "messages", "stream", "stream_options", "response_format", "max_completion_tokens", *fields)
    return Reply.json(
        {"components": {"schemas": {"ChatCompletionRequest": {"properties": {name: {} for name in names}}}}}
    )


def fake(routes: dict[str, Any], **settings: Any) -> tuple[FakeServer, VLLMProvider]:
    server = FakeServer(routes)
    return server, VLLMProvider("m", **{"base_url": "http://gpu:8000", "api_key": KEY, **settings, **server.transports})


# --- making one ------------------------------------------------------------------------------------------------------


def test_making_one_touches_nothing() -> None:
    """The network guard of the unit tests would raise."""
    llm = create_llm("vllm", model="m", base_url="http://gpu:8000")
    assert (llm.provider, llm.model, llm.base_url, llm.api_key) == ("vllm", "m", "http://gpu:8000/v1", "EMPTY")  # type: ignore[attr-defined]
    assert isinstance(llm, VLLMProvider)


def test_the_factory_and_the_class_make_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", "http://env:1")
    monkeypatch.setenv("VLLM_API_KEY", "k")
    for llm in (create_llm("vllm", "m"), create_llm("vllm/m"), VLLMProvider("m"), VLLMProvider(model="m")):
        assert isinstance(llm, VLLMProvider)
        assert (llm.model, llm.base_url, llm.api_key) == ("m", "http://env:1/v1", "k")
    assert VLLMProvider(base_url="http://arg:2").base_url == "http://arg:2/v1"


def test_a_name_with_slashes_is_a_model() -> None:
    assert create_llm("vllm/Qwen/Qwen3-8B").model == "Qwen/Qwen3-8B"


@pytest.mark.parametrize("name", ["vlm", "gpt-4", ""])
def test_an_unknown_provider_names_the_known(name: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no provider"):
        create_llm(name)


def test_an_unknown_setting_is_told() -> None:
    with pytest.raises(TypeError, match="temprature"):
        create_llm("vllm", temprature=1)


def test_defaults_hold_for_all_calls_and_options_beat_them() -> None:
    server, llm = fake({CHAT: said("x")}, temperature=0.1, max_tokens=5)
    llm.generate("a")
    llm.generate("a", temperature=0.9)
    assert [(body["temperature"], body["max_completion_tokens"]) for body in server.sent] == [(0.1, 5), (0.9, 5)]


# --- answers ---------------------------------------------------------------------------------------------------------


def without_times(answer: GenerateResponse) -> GenerateResponse:
    answer.gen_time = None
    answer.metadata.pop("timings", None)
    return answer


@pytest.mark.parametrize(
    "options",
    [{}, {"guided_regex": "[0-9]{3}-[A-Z]{2}"}, {"guided_choice": ["alpha", "beta"]}, {"n": 2, "temperature": 0.8}],
)
@pytest.mark.parametrize("release", ["0.8.5", "0.10.2", "0.32.0"])
def test_sync_and_async_give_the_same(release: str, options: dict[str, Any]) -> None:
    given = {**ASKED, **options}
    replayed, again = replaying(release), replaying(release)
    one = VLLMProvider(MODEL, base_url="http://x", **replayed.transports).generate(**given)
    server_plans._known.clear()
    other = asyncio.run(VLLMProvider(MODEL, base_url="http://x", **again.transports).agenerate(**given))
    assert without_times(one) == without_times(other)
    assert [call.body for call in replayed.calls] == [call.body for call in again.calls]
    assert replayed.paths() == again.paths()


def test_an_answer_says_what_there_is_to_say() -> None:
    _, llm = fake({CHAT: said("hello")})
    answer = llm.generate("hi")
    assert (answer.content, answer.model, answer.finish_reason) == ("hello", "m", "stop")
    assert answer.usage
    assert answer.usage.total_tokens == 5
    assert answer.metadata["request_id"] == "r1"
    assert answer.raw_response["id"] == "r1"
    assert answer.gen_time is not None
    assert answer.metadata["timings"]["tokens_per_second"] > 0


def test_a_plain_request_needs_no_negotiation() -> None:
    server, llm = fake({CHAT: said("x")})
    llm.generate("a", temperature=0.5, top_p=0.9, stop=["x"], seed=3, n=1, logprobs=2, max_output_tokens=9)
    assert server.paths() == [CHAT]


def test_the_model_is_found_when_none_is_named() -> None:
    server, _ = fake({CHAT: said("x"), "GET /v1/models": Reply.json({"data": [{"id": "m", "root": "m"}]})})
    llm = VLLMProvider(base_url="http://x", **server.transports)
    llm.generate("a")
    llm.generate("b")
    assert llm.model == "m"
    assert server.paths() == ["GET /v1/models", CHAT, CHAT]


def test_several_models_are_listed_when_none_is_named() -> None:
    rows = [{"id": "a", "root": "a"}, {"id": "b", "root": "b"}]
    server, _ = fake({"GET /v1/models": Reply.json({"data": rows})})
    llm = VLLMProvider(base_url="http://x", **server.transports)
    with pytest.raises(ModelNotFoundError, match="serves several") as caught:
        llm.generate("x")
    assert caught.value.available == ("a", "b")
    assert caught.value.hint == "served here: a, b"


# --- streams ---------------------------------------------------------------------------------------------------------

STREAMED = Reply.events(
    [part("1"), part("2"), part("3", "stop"), {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 3}}]
)


def test_a_stream_gives_its_parts_and_then_what_there_is_to_say() -> None:
    server, llm = fake({CHAT: STREAMED, "GET /version": version("0.32.0")})
    *parts, last = llm.generate("x", stream=True, guided_regex=REGEX)
    assert [chunk.content for chunk in parts] == ["1", "2", "3"]
    assert all(chunk.finish_reason is None for chunk in parts)
    assert (last.content, last.finish_reason) == ("", "stop")
    assert last.usage
    assert last.usage.output_tokens == 3
    assert last.metadata["constraint"]["proved"]
    assert last.metadata["timings"]["time_to_first_token"] >= 0
    assert server.sent[-1]["stream_options"] == {"include_usage": True}


def test_sync_and_async_streams_give_the_same() -> None:
    async def chunks(llm: VLLMProvider) -> list[GenerateResponse]:
        return [chunk async for chunk in await llm.agenerate("x", stream=True)]

    (_, one), (_, other) = fake({CHAT: STREAMED}), fake({CHAT: STREAMED})
    assert [without_times(chunk) for chunk in one.generate("x", stream=True)] == [
        without_times(chunk) for chunk in asyncio.run(chunks(other))
    ]


def test_closing_a_stream_aborts_the_request() -> None:
    server, llm = fake({CHAT: STREAMED})
    with llm.generate("x", stream=True) as stream:
        assert next(stream).content == "1"
        assert server.aborted == []
    assert len(server.aborted) == 1
    stream = llm.generate("x", stream=True)
    next(stream)
    del stream
    assert len(server.aborted) == 2


def test_a_stream_read_to_its_end_aborts_nothing() -> None:
    server, llm = fake({CHAT: STREAMED})
    list(llm.generate("x", stream=True))
    assert server.aborted == []


def test_nothing_is_sent_before_a_stream_is_read() -> None:
    server, llm = fake({CHAT: STREAMED})
    llm.generate("x", stream=True)
    assert server.calls == []


def collect(stream: Any) -> list[str]:
    return [chunk.content for chunk in stream]


@pytest.mark.parametrize(
    ("reply", "words", "partial"),
    [
        (Reply.events([part("ab")], done=False), "without a finish reason", "ab"),
        (Reply.events([part("ab")]), "without a finish reason", "ab"),
        (Reply.events([part("ab"), {"error": {"message": "out of memory", "code": 500}}]), "out of memory", "ab"),
        (Reply.events([part("ab")], done=False, fault=ConnectionFailedError("cut off")), "cut off", "ab"),
        (Reply((b"data: {", b"nonsense}\n\n"), 200, {"content-type": "text/event-stream"}), "not in the protocol", ""),
        (said("a whole answer"), "no event stream", ""),
        (
            Reply(recorded_stream("error").chunks, 200, {"content-type": "text/event-stream"}),
            "Internal server error",
            "",
        ),
    ],
    ids=["cut clean", "only [DONE]", "error event", "cut", "malformed", "no stream", "recorded error"],
)
def test_a_stream_that_ends_badly_is_no_answer(reply: Reply, words: str, partial: str) -> None:
    _, llm = fake({CHAT: reply})
    with pytest.raises(StreamInterruptedError, match=words) as caught:
        collect(llm.generate("x", stream=True))
    assert caught.value.partial == partial


def test_a_refused_stream_has_the_servers_reason() -> None:
    found = recorded("0.32.0", "stream too long")
    server, llm = fake({CHAT: Reply((found.body,), found.status, found.headers)})
    server.route("POST /tokenize", Reply.json({"count": 3000, "max_model_len": 2048}))
    with pytest.raises(ContextLengthError, match="the prompt has 3000 tokens"):
        collect(llm.generate("x", stream=True))


def test_a_stream_that_departs_from_its_constraint_raises_at_its_end() -> None:
    _, llm = fake({CHAT: Reply.events([part("Sure!"), part("", "stop")]), "GET /version": version("0.32.0")})
    seen: list[str] = []
    stream = llm.generate("x", stream=True, guided_regex=REGEX)
    with pytest.raises(ConstraintViolationError) as caught:
        seen.extend(chunk.content for chunk in stream)
    assert caught.value.text == "Sure!"


# --- negotiation -----------------------------------------------------------------------------------------------------


def test_a_server_is_asked_once() -> None:
    server, llm = fake(
        {CHAT: said("123"), "GET /version": version("0.10.2"), "GET /openapi.json": schema("guided_regex")}
    )
    for _ in range(3):
        llm.generate("x", guided_regex=REGEX)
    VLLMProvider("m", base_url="http://gpu:8000", api_key=KEY, **server.transports).generate("x", guided_regex=REGEX)
    assert server.paths() == ["GET /version", "GET /openapi.json", *[CHAT] * 4]


def test_after_a_while_it_is_asked_whether_it_is_still_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    server, llm = fake(
        {CHAT: said("123"), "GET /version": version("0.10.2"), "GET /openapi.json": schema("guided_regex")}
    )
    llm.generate("x", guided_regex=REGEX)
    monkeypatch.setattr(server_plans, "RECHECK_SECONDS", -1.0)
    llm.generate("x", guided_regex=REGEX)
    assert server.paths()[3:] == ["GET /version", CHAT]
    server.route("GET /version", version("0.32.0"))
    server.route("GET /openapi.json", schema("structured_outputs"))
    llm.generate("x", guided_regex=REGEX)
    assert server.paths()[5:] == ["GET /version", "GET /openapi.json", CHAT]
    assert "structured_outputs" in server.sent[-1]


def obeying(name: str) -> Any:
    def answer(call: Any) -> Reply:
        return said("123" if name in msgspec.json.decode(call.body) else "Sure! 123")

    return answer


def test_a_violation_is_sent_again_if_another_server_took_the_address() -> None:
    server, llm = fake({CHAT: obeying("guided_regex"), "GET /version": version("0.10.2")})
    llm.generate("x", guided_regex=REGEX)
    server.route("GET /version", version("0.32.0"))
    server.route(CHAT, obeying("structured_outputs"))
    answer = llm.generate("x", guided_regex=REGEX)
    assert answer.content == "123"
    assert answer.metadata["constraint"]["spelling"] == "structured_outputs.regex"
    assert answer.metadata["server_version"] == "0.32.0"


def test_a_violation_of_the_same_server_is_not_sent_again() -> None:
    server, llm = fake({CHAT: obeying("nothing"), "GET /version": version("0.32.0")})
    with pytest.raises(ConstraintViolationError) as caught:
        llm.generate("x", guided_regex=REGEX)
    assert server.paths().count(CHAT) == 1
    assert (caught.value.text, caught.value.spelling) == ("Sure! 123", "structured_outputs.regex")


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_server_that_only_starts_is_not_remembered_as_hidden(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    starting = Reply.json({}, status)
    server, llm = fake({CHAT: said("x"), "GET /version": starting, "GET /openapi.json": starting})
    with pytest.raises(UnsupportedFeatureError, match="hides its request schema"):
        llm.generate("x", extra_body={"min_tokens": 2})
    server.route("GET /version", version("0.32.0"))
    server.route("GET /openapi.json", schema("min_tokens"))
    llm.generate("x", extra_body={"min_tokens": 2})
    assert server.sent[-1]["min_tokens"] == 2


@pytest.mark.parametrize(
    "page",
    [
        Reply.json({"detail": "Not Found"}, 404),
        Reply((b"<html>login</html>",)),
        Reply.json({"error": "Unauthorized"}, 401),
    ],
)
def test_a_proxy_that_hides_the_schema_but_not_the_version(page: Reply) -> None:
    server, llm = fake({CHAT: said("123"), "GET /version": version("0.10.2"), "GET /openapi.json": page})
    llm.generate("x", guided_regex=REGEX)
    assert server.sent[-1]["guided_regex"] == REGEX
    assert "structured_outputs" not in server.sent[-1]


def test_a_server_that_is_no_vllm_is_refused_what_it_would_ignore() -> None:
    """It has OpenAI's schema and neither spelling."""
    server, llm = fake({CHAT: said("123"), "GET /openapi.json": schema()})
    with pytest.raises(UnsupportedFeatureError, match="neither structured_outputs nor guided_"):
        llm.generate("x", guided_regex=REGEX)
    server.route(CHAT, said('{"a": 1}'))
    assert llm.generate("x", guided_json={"type": "object"}).metadata["constraint"]["spelling"] == "response_format"


def test_a_newer_version_says_so() -> None:
    _, llm = fake(
        {CHAT: said("123"), "GET /version": version("0.99.0"), "GET /openapi.json": schema("structured_outputs")}
    )
    note = llm.generate("x", guided_regex=REGEX).metadata["note"]
    assert note.startswith("vLLM 0.99.0 is newer than this library knows")


# --- fields by hand --------------------------------------------------------------------------------------------------

UNKNOWN: list[dict[str, Any]] = [
    {"extra_body": {"guided_regex": "a"}}, {"nonsense": 1}, {"structured_output": {"regex": "a"}}, {"best_off": 2},
]  # fmt: skip


@pytest.mark.parametrize("release", ["0.8.5", "0.11.0", "0.32.0"])
@pytest.mark.parametrize("extra", UNKNOWN, ids=lambda extra: next(iter(extra)))
def test_a_field_that_the_server_would_ignore_raises_before_anything_is_sent(
    release: str, extra: dict[str, Any]
) -> None:
    server = replaying(release)
    llm = VLLMProvider(MODEL, base_url="http://x", **server.transports)
    with pytest.raises(UnsupportedFeatureError, match="answer 200 and ignore it") as caught:
        llm.generate("x", extra_body=extra)
    assert caught.value.feature == next(iter(extra))
    assert caught.value.server_version
    assert CHAT not in server.paths()


def test_unknown_fields_are_sent_when_the_caller_insists() -> None:
    server, llm = fake({CHAT: said("x"), "GET /version": version("0.32.0"), "GET /openapi.json": schema()})
    llm.generate("x", extra_body={"nonsense": 1}, allow_unknown=True)
    assert server.sent[-1]["nonsense"] == 1


@pytest.mark.parametrize("release", ["0.10.2", "0.11.0", "0.12.0", "0.32.0"])
@pytest.mark.parametrize("name", ["guided_regex", "structured_outputs"])
def test_a_constraint_by_hand_is_negotiated_whatever_its_spelling(release: str, name: str) -> None:
    regex = "[0-9]{3}-[A-Z]{2}"
    by_hand = {"guided_regex": regex} if name == "guided_regex" else {"structured_outputs": {"regex": regex}}
    llm = VLLMProvider(MODEL, base_url="http://x", **replaying(release).transports)
    assert llm.generate(**ASKED, extra_body=by_hand).metadata["constraint"]["proved"]


@pytest.mark.parametrize(
    "extra",
    [{"response_format": {"type": "new"}, "structured_outputs": {"regex": "a", "whitespace_pattern": " "}}],
)
def test_a_request_that_would_wedge_the_server_is_never_sent(extra: dict[str, Any]) -> None:
    server = replaying("0.12.0")
    llm = VLLMProvider(MODEL, base_url="http://x", **server.transports)
    with pytest.raises(UnsupportedFeatureError, match="the engine hangs"):
        llm.generate("x", extra_body=extra, allow_unknown=True)
    assert CHAT not in server.paths()


# --- what goes wrong -------------------------------------------------------------------------------------------------


def refused() -> ConnectionFailedError:
    error = ConnectionFailedError("connection refused")
    error.refused = True
    return error


def test_a_server_that_is_down_is_named_with_the_way_on() -> None:
    _, llm = fake({CHAT: refused()})
    with pytest.raises(ConnectionFailedError) as caught:
        llm.generate("x")
    assert str(caught.value) == (
        "no vllm server answers at http://gpu:8000/v1\nwhy: connection refused\n"
        "try: vllm serve m    (without a GPU: abstractcore demo); "
        "if it still loads its model: wait_until_ready(600), or --wait 600"
    )


@pytest.mark.parametrize("release", ["0.8.5", "0.10.2", "0.32.0"])
def test_a_wrong_model_names_what_is_served(release: str) -> None:
    server = replaying(release)
    missing = recorded(release, "bad model")
    server.route(CHAT, Reply((missing.body,), missing.status, missing.headers))
    with pytest.raises(ModelNotFoundError) as caught:
        VLLMProvider("nope", base_url="http://x", **server.transports).generate("x")
    assert caught.value.available == ("smollm2",)
    assert caught.value.hint == "served here: smollm2"


@pytest.mark.parametrize("release", ["0.8.5", "0.10.2", "0.32.0"])
def test_a_prompt_too_long_is_told_in_tokens(release: str) -> None:
    server = replaying(release)
    long = recorded(release, "prompt too long chat")
    server.route(CHAT, Reply((long.body,), long.status, long.headers))
    server.route("POST /tokenize", Reply.json({"count": 3018, "max_model_len": 2048}))
    with pytest.raises(ContextLengthError, match="the prompt has 3018 tokens and the answer may take 16") as caught:
        VLLMProvider(MODEL, base_url="http://x", **server.transports).generate("x", max_output_tokens=16)
    assert caught.value.hint == "shorten the prompt by 971 tokens"
    assert caught.value.server_message


def test_a_wrong_key_names_where_it_came_from_and_never_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    found = recorded("0.32.0", "badkey chat")
    server = FakeServer({CHAT: Reply((found.body,), found.status, found.headers)})
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    for llm, origin in (
        (VLLMProvider("m", base_url="http://x", **server.transports), "VLLM_API_KEY"),
        (VLLMProvider("m", base_url="http://x", api_key=KEY, **server.transports), "argument"),
    ):
        with pytest.raises(AuthenticationError) as caught:
            llm.generate("x")
        assert f"the key came from {origin}" in str(caught.value)
    assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"


FAULTS: list[Any] = [
    refused(), ConnectionFailedError("reset"), Reply.json({"error": "Unauthorized"}, 401), Reply.json({}, 500),
    Reply.json({"error": {"message": "no", "code": 400}}, 400), Reply((b"<html>",)), said("x", finish_reason="abort"),
    Reply.json({"detail": "Not Found"}, 404),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=range(len(FAULTS)))
def test_no_error_and_no_repr_shows_the_key(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    _, llm = fake({CHAT: fault})
    assert KEY not in repr(llm)
    shown = ""
    try:
        llm.generate("x")
    except AbstractCoreError as error:
        shown = "".join(map(str, (error, repr(error), vars(error), error.__cause__, error.__context__)))
    assert KEY not in shown


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_fails_on_a_constraint_is_suspected_of_not_knowing_it(stream: bool) -> None:
    failure = {"error": {"message": "Internal server error", "code": 500}}
    reply = Reply.events([failure]) if stream else Reply.json(failure, 500)
    _, llm = fake({CHAT: reply, "GET /version": version("0.32.0")})
    with pytest.raises(ProviderError, match="Internal server error") as caught:
        collect(llm.generate("x", stream=stream, guided_regex="(?i)yes"))
    assert "without flags such as (?i)" in str(caught.value.hint)
    with pytest.raises(ProviderError) as plain:
        collect(llm.generate("x", stream=stream))
    assert "grammar engine" not in str(plain.value.hint)


@pytest.mark.parametrize(
    ("reply", "options", "why"),
    [
        (said("half", finish_reason="abort"), {}, "the server aborted the request"),
        (said("half", finish_reason=None), {}, "a choice has no finish reason"),
        (said("one"), {"n": 2}, "it has 1 of 2 choices"),
    ],
)
def test_an_answer_that_is_not_complete_is_no_answer(reply: Reply, options: dict[str, Any], why: str) -> None:
    _, llm = fake({CHAT: reply})
    with pytest.raises(ProviderAPIError, match=why) as caught:
        llm.generate("x", **options)
    assert caught.value.request_id == "r1"


# --- the rest of the surface -----------------------------------------------------------------------------------------


def test_health_never_raises() -> None:
    models = Reply.json({"data": [{"id": "m"}, {"id": "a", "parent": "m"}]})
    _, well = fake({"GET /health": Reply(), "GET /v1/models": models})
    report = well.health()
    assert (report["status"], report["models"], report["model_count"], report["error"]) == (True, ["a", "m"], 2, None)
    _, down = fake({"GET /health": refused()})
    assert down.health()["status"] is False
    assert "no vllm server answers" in down.health()["error"]
    _, ill = fake({"GET /health": Reply.json({}, 500)})
    assert ill.health()["error"] == "/health answers 500"


def test_settings_are_validated_by_asking() -> None:
    _, right = fake({"GET /v1/models": Reply.json({"data": [{"id": "m"}]})})
    _, wrong = fake({"GET /v1/models": Reply.json({"data": [{"id": "other"}]})})
    assert right.validate_config()
    assert not wrong.validate_config()


def test_the_version_and_the_models_are_told() -> None:
    llm = VLLMProvider(MODEL, base_url="http://x", **replaying("0.11.0").transports)
    assert llm.server_version() == "0.11.0.post2"
    assert llm.list_available_models() == ["smollm2"]
    assert llm.model_info().context_length == 2048


def test_an_adapter_has_the_context_of_its_base() -> None:
    server = FakeServer({"GET /v1/models": Reply((recorded("0.32.0", "lora models").body,))})
    llm = VLLMProvider(MODEL, base_url="http://x", **server.transports)
    info = llm.model_info("sqlx")
    assert (info.parent, info.context_length) == ("smollm2", 2048)


def test_capabilities_are_told() -> None:
    names = VLLMProvider("m").get_capabilities()
    assert {"chat", "streaming", "guided_decoding", "guided_json", "structured_output"} <= set(names)


def test_closing_closes_the_transports_and_the_provider_stays_usable() -> None:
    server, llm = fake({CHAT: said("x")})
    with llm:
        llm.generate("x")
    assert server.closed == 2
    assert llm.generate("x").content == "x"


def test_every_method_has_an_async_twin() -> None:
    names = {name for name, value in inspect.getmembers(VLLMProvider, callable) if not name.startswith("_")}
    asks_nobody = {"capabilities", "get_capabilities", "close", "endpoints_at", "own_fields", "unload"}
    lonely = {
        name
        for name in names - asks_nobody
        if not inspect.iscoroutinefunction(getattr(VLLMProvider, name))
        and not inspect.isasyncgenfunction(getattr(VLLMProvider, name))
        and f"a{name}" not in names
    }
    assert lonely == set()
