"""The Ollama provider as users hold it, on a server that answers from recordings or from a script."""

from __future__ import annotations

import json
from typing import Any

import pytest

from abstractcore import (
    ConfigurationError,
    ConnectionFailedError,
    ConstraintViolationError,
    ContextLengthError,
    InvalidConstraintError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderAPIError,
    ServerNotReadyError,
    StreamInterruptedError,
    ToolCall,
    ToolCallError,
    TruncatedOutputError,
    UnsupportedFeatureError,
    create_llm,
)
from abstractcore.providers.ollama import OllamaProvider
from abstractcore.providers.ollama.address import address_of
from abstractcore.providers.promises import KnobWarning
from abstractcore.testing import FakeServer, Reply
from tests.recordings import ollama_exchanges

RECORDED = ollama_exchanges()
QUESTION = "What is the capital of France?"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ROUTES = {
    "GET /api/version": "version",
    "GET /api/tags": "tags",
    "GET /api/ps": "ps-loaded",
    "POST /api/show": "show",
}
TOO_LONG = {
    "code": 400,
    "message": "the request exceeds the available context size, try increasing it",
    "type": "exceed_context_size_error",
    "n_prompt_tokens": 6009,
    "n_ctx": 4096,
}


def reply(name: str) -> Reply:
    found = RECORDED[name]
    return Reply((found.body,), found.status, found.headers)


def said(content: str = "", *, tokens: tuple[int, int] = (3, 2), done_reason: str = "stop", **more: Any) -> Reply:
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    counts = {"prompt_eval_count": tokens[0], "eval_count": tokens[1]}
    return Reply.json({"model": "m", "message": message, "done": True, "done_reason": done_reason, **counts, **more})


def streamed(*texts: str, **more: Any) -> Reply:
    last = json.loads(said(**more).chunks[0])
    parts = [{"model": "m", "message": {"role": "assistant", "content": text}, "done": False} for text in texts]
    return Reply.lines([*parts, last])


def refused(error: Any, status: int = 400) -> Reply:
    return Reply.json({"error": error}, status)


def fake(chat: Any = None, model: Any = "smollm2", **more: Any) -> tuple[FakeServer, OllamaProvider]:
    routes: dict[str, Any] = {route: reply(name) for route, name in ROUTES.items()}
    settings = {name: more.pop(name) for name in list(more) if not name.startswith(("GET ", "POST "))}
    server = FakeServer({**routes, "POST /api/chat": chat or reply("chat"), **more})
    return server, OllamaProvider(model, **settings, **server.transports)


# --- where it is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("http://localhost:11434", "http://localhost:11434"),
        ("http://localhost:11434/", "http://localhost:11434"),
        ("http://localhost:11434/api", "http://localhost:11434"),
        ("http://localhost:11434/v1", "http://localhost:11434"),
        ("gpu", "http://gpu:11434"),
        ("gpu:8080", "http://gpu:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("http://0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:11434"),
        ("[::]:8080", "http://[::1]:8080"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("https://gpu", "https://gpu"),
        ("http://gpu", "http://gpu"),
        ("https://gpu/ollama/", "https://gpu/ollama"),
        ("https://gpu/ollama/api", "https://gpu/ollama"),
        ("ollama.com", "https://ollama.com"),
        ("  gpu  ", "http://gpu:11434"),
        ("unix:///run/ollama.sock", "http+unix://%2Frun%2Follama.sock"),
    ],
)
def test_an_address_in_all_its_forms(written: str, address: str) -> None:
    assert address_of(written) == address


@pytest.mark.parametrize("written", ["gpu:port", "ftp://gpu", "http://user@gpu", "http://gpu?x=1"])
def test_what_is_no_address(written: str) -> None:
    with pytest.raises(ConfigurationError, match="not the address"):
        address_of(written)


def test_the_environment_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OllamaProvider().base_url == "http://localhost:11434"
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0:1")
    assert OllamaProvider().base_url == "http://127.0.0.1:1"
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://gpu:2")
    assert OllamaProvider().base_url == "http://gpu:2"
    made = create_llm("ollama", "llama3.2:3b", base_url="box")
    assert (made.model, made.base_url) == ("llama3.2:3b", "http://box:11434")  # type: ignore[attr-defined]


def test_a_key_is_sent_only_where_there_is_one() -> None:
    server, llm = fake(api_key="sesame")
    llm.generate(QUESTION)
    assert server.calls[-1].headers["authorization"] == "Bearer sesame"
    server, llm = fake()
    llm.generate(QUESTION)
    assert "authorization" not in server.calls[-1].headers


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_a_recorded_answer_both_ways() -> None:
    server, llm = fake()
    for answer in (llm.generate(QUESTION), await llm.agenerate(QUESTION)):
        assert answer.content == "The capital of France is Paris."
        assert (answer.finish_reason, answer.input_tokens, answer.output_tokens) == ("stop", 16, 8)
        assert answer.raw_response["done_reason"] == "stop"
    assert server.paths() == ["POST /api/chat"] * 2


async def test_a_recorded_stream_both_ways() -> None:
    _, llm = fake(reply("chat-stream"))
    for chunks in (
        list(llm.generate(QUESTION, stream=True)),
        [chunk async for chunk in await llm.agenerate(QUESTION, stream=True)],
    ):
        assert "".join(chunk.content for chunk in chunks) == "The capital of France is Paris."
        assert (chunks[-1].finish_reason, chunks[-1].usage["total_tokens"]) == ("stop", 24)


def test_the_recorded_requests_are_asked_in_the_recorded_words() -> None:
    """But for what tells the server to shorten nothing."""
    server, llm = fake()
    for name, more in (("chat", {}), ("chat-length", {"max_output_tokens": 3}), ("chat-stop", {"stop": "capital"})):
        options: dict[str, Any] = {"temperature": 0, "seed": 1, "max_output_tokens": 12, **more}
        llm.generate(QUESTION, **options)
        asked = json.loads(RECORDED[name].request.body)
        assert server.sent[-1] == {**asked, "truncate": False, "shift": False}


def test_a_raw_prompt() -> None:
    server, llm = fake(**{"POST /api/generate": reply("generate")})
    assert llm.generate("The capital of France is", raw_prompt=True).content == "The capital of France is Paris."
    assert server.sent[-1]["raw"] is True


def test_the_only_model_is_found_out() -> None:
    server, llm = fake(model=None)
    llm.generate(QUESTION)
    assert server.sent[-1]["model"] == llm.model == "smollm2:latest"


def test_an_answer_without_an_end_is_none() -> None:
    """The server breaks off like this when a model repeats a token 30 times."""
    _, llm = fake(Reply.json({"model": "m", "message": {"content": "a a a"}, "done": False}))
    with pytest.raises(ProviderAPIError, match="not complete"):
        llm.generate(QUESTION)


def test_a_runner_that_dies_gives_what_had_arrived() -> None:
    _, llm = fake(reply("runner-killed-mid-stream"))
    with pytest.raises(StreamInterruptedError) as failure:
        list(llm.generate(QUESTION, stream=True))
    assert failure.value.partial == " toys"
    assert "unexpected EOF" in str(failure.value)


def test_closing_a_stream_aborts_it() -> None:
    server, llm = fake(reply("chat-stream"))
    with llm.generate(QUESTION, stream=True) as stream:
        next(stream)
    server, llm = fake(streamed("a", "b"))
    with llm.generate(QUESTION, stream=True) as stream:
        assert next(stream).content == "a"
    assert len(server.aborted) == 1


# --- errors ----------------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_there() -> None:
    _, llm = fake(reply("notfound"), model="smollm")
    with pytest.raises(ModelNotFoundError) as failure:
        llm.generate(QUESTION)
    assert failure.value.server_message == "model 'nope' not found"
    assert failure.value.available == ("smollm2:latest",)
    assert failure.value.hint == "ollama pull smollm    (it has: smollm2:latest)"


def test_a_server_that_is_not_there() -> None:
    down = ConnectionFailedError("connection refused")
    down.refused = True
    server, llm = fake(down, **{"GET /api/tags": down, "GET /api/version": down})
    with pytest.raises(ConnectionFailedError, match="no ollama server answers at http://localhost:11434") as failure:
        llm.generate(QUESTION)
    assert failure.value.hint == "ollama serve    (or start its app)"
    report = llm.health()
    assert (report["status"], report["provider"]) == (False, "ollama")
    with pytest.raises(ServerNotReadyError):
        llm.wait_until_ready(0)
    server.route("GET /api/version", reply("version"))
    llm.wait_until_ready(0)


def test_a_wrong_option_type_is_the_callers_fault_though_the_status_says_otherwise() -> None:
    _, llm = fake(reply("bad-option"))
    with pytest.raises(InvalidRequestError, match='option "temperature" must be of type float32') as failure:
        llm.generate(QUESTION, temperature="hot")  # type: ignore[call-overload]
    assert failure.value.param == "temperature"
    _, llm = fake(refused("boom", 500))
    with pytest.raises(ProviderAPIError, match="boom"):
        llm.generate(QUESTION, temperature=1)


def test_tools_of_a_model_without_are_refused_by_its_own_description() -> None:
    server, llm = fake(reply("tools-unsupported"))
    with pytest.raises(UnsupportedFeatureError, match="tools with smollm2") as failure:
        llm.generate(QUESTION, tools=[weather])
    assert "does not support tools" in (failure.value.why or "")
    assert "ollama show" in (failure.value.hint or "")
    server.route("POST /api/show", Reply.json({"capabilities": ["completion", "tools"]}))
    with pytest.raises(InvalidRequestError):
        llm.generate(QUESTION, tools=[weather])


def test_thinking_of_a_model_without() -> None:
    _, llm = fake(refused('"smollm2" does not support thinking'))
    with pytest.raises(UnsupportedFeatureError, match="thinking"):
        llm.generate(QUESTION, thinking=True)


def test_other_refusals_stay_what_they_are() -> None:
    _, llm = fake(reply("badjson"))
    with pytest.raises(InvalidRequestError, match="cannot unmarshal"):
        llm.generate(QUESTION)


# --- length ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    "words", [json.dumps({"error": TOO_LONG}), "the input length exceeds the context length"], ids=["typed", "plain"]
)
def test_a_prompt_that_is_too_long_is_refused(words: str, streams: bool) -> None:
    _, llm = fake(refused(words))
    with pytest.raises(ContextLengthError, match="fit into the model's context") as failure:
        list(llm.generate("word " * 6000, stream=True)) if streams else llm.generate("word " * 6000)
    assert failure.value.status == 400


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("version", "tokens", "fits"),
    [
        ("0.99.0-src", (4096, 0), True),
        ("0.12.6", (4000, 96), True),
        ("0.12.6", (4000, 97), False),  # it dropped what came before, though it was told not to
        ("0.12.5", (4096, 12), False),
        ("0.12.5", (4095, 1), False),
        ("0.12.5", (4000, 96), True),
        ("0.12.5", (2050, 12), True),
    ],
)
def test_the_counts_are_held_against_the_context(
    version: str, tokens: tuple[int, int], fits: bool, streams: bool
) -> None:
    answer = streamed("a", tokens=tokens) if streams else said("a", tokens=tokens)
    _, llm = fake(answer, **{"GET /api/version": Reply.json({"version": version})})
    if fits:
        llm.generate("word", stream=False) if not streams else list(llm.generate("word", stream=True))
        return
    with pytest.raises(ContextLengthError, match="not one to the whole prompt"):
        list(llm.generate("word", stream=True)) if streams else llm.generate("word")


def test_a_context_that_was_asked_for_is_held_to_as_well() -> None:
    server, llm = fake(said("a", tokens=(500, 20)), extra_body={"num_ctx": 512})
    with pytest.raises(ContextLengthError, match="512"):
        llm.generate("word")
    assert server.paths() == ["POST /api/chat"]
    assert llm.generate("word", extra_body={"num_ctx": 512, "shift": True}).content == "a"


def test_an_old_server_is_not_trusted_with_a_long_prompt() -> None:
    _, llm = fake(said("a"), **{"GET /api/version": Reply.json({"version": "0.6.5"})})
    with pytest.warns(KnobWarning, match="0.6.5 may leave out"):
        answer = llm.generate("word " * 600)
    assert "in silence" in answer.metadata["knobs"]["truncate"]
    assert "knobs" not in llm.generate("word " * 600, extra_body={"truncate": True}).metadata
    _, llm = fake(said("a"), **{"GET /api/version": Reply.json({"detail": "Not Found"}, 404)})
    with pytest.warns(KnobWarning, match="hides its version"):
        llm.generate("word " * 600)


def test_a_new_server_is_asked_for_its_version_once() -> None:
    server, llm = fake(said("a"))
    for _ in range(2):
        assert "knobs" not in llm.generate("word " * 600).metadata
    assert server.paths() == ["GET /api/version", "POST /api/chat", "POST /api/chat"]


def test_short_answers_cost_no_further_request() -> None:
    server, llm = fake(said("a", tokens=(1000, 1000)))
    llm.generate("word")
    assert server.paths() == ["POST /api/chat"]


# --- constraints -----------------------------------------------------------------------------------------------------


def test_json_by_its_schema() -> None:
    server, llm = fake(reply("chat-format"))
    answer = llm.generate(QUESTION, guided_json=SCHEMA)
    assert json.loads(answer.content)["city"] == "Paris"
    assert server.sent[-1]["format"] == SCHEMA
    assert answer.metadata["constraint"]["proved"] is True
    assert answer.metadata["constraint"]["spelling"] == "format"


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("options", "schema", "text"),
    [
        ({"guided_choice": ["yes", "no"]}, {"type": "string", "enum": ["yes", "no"]}, "yes"),
        ({"guided_regex": "[0-9]{3}"}, {"type": "string", "pattern": "^(?:[0-9]{3})$"}, "123"),
    ],
)
def test_choice_and_regex_by_schema(options: dict[str, Any], schema: Any, text: str, streams: bool) -> None:
    quoted = json.dumps(text)
    server, llm = fake(streamed(quoted[:2], quoted[2:]) if streams else said(quoted))
    if streams:
        chunks = list(llm.generate(QUESTION, stream=True, **options))
        assert "".join(chunk.content for chunk in chunks) == text
        metadata = chunks[-1].metadata
    else:
        answer = llm.generate(QUESTION, **options)
        assert answer.content == text
        metadata = answer.metadata
    assert server.sent[-1]["format"] == schema
    assert next(iter(options)) in metadata["emulated"]
    assert metadata["constraint"]["proved"] is True


def test_a_constraint_that_the_server_ignored_is_caught() -> None:
    _, llm = fake(reply("chat"))
    with pytest.raises(ConstraintViolationError, match="does not satisfy the json"):
        llm.generate(QUESTION, guided_json=SCHEMA)
    with pytest.raises(ConstraintViolationError):
        llm.generate(QUESTION, guided_choice=["yes", "no"])
    _, llm = fake(reply("chat-stream"))
    with pytest.raises(ConstraintViolationError):
        list(llm.generate(QUESTION, guided_regex="[0-9]+", stream=True))


def test_a_constrained_answer_that_was_cut_is_none() -> None:
    _, llm = fake(said('{"city": "Par', done_reason="length"))
    with pytest.raises(TruncatedOutputError) as failure:
        llm.generate(QUESTION, guided_json=SCHEMA, max_output_tokens=5)
    assert failure.value.partial == '{"city": "Par'


def test_what_the_server_would_ignore_is_never_sent() -> None:
    server, llm = fake()
    for options in (
        {"guided_grammar": 'root ::= "a"'},
        {"guided_json": True},
        {"n": 2},
        {"use_beam_search": True, "best_of": 3},
        {"check_length": True},
        {"chat_template_kwargs": {"a": 1}},
        {"thinking": 100},
        {"thinking": "hard"},
        {"tools": [weather], "guided_json": SCHEMA},
        {"extra_body": {"format": SCHEMA}},
        {"extra_body": {"num_ctxx": 1}},
        {"extra_body": {"options": {"nosuch": 1}}},
        {"extra_body": {"grammar": 'root ::= "a"'}},
    ):
        with pytest.raises(UnsupportedFeatureError):
            llm.generate(QUESTION, **options)
    with pytest.raises(InvalidConstraintError):
        llm.generate(QUESTION, guided_json={"type": "strnig"})
    with pytest.raises(ConfigurationError):
        llm.generate(QUESTION, extra_body={"options": 5})
    with pytest.raises(ConfigurationError):
        llm.generate(QUESTION, raw_prompt=True, thinking=True)
    assert server.calls == []
    llm.generate(QUESTION, extra_body={"options": {"nosuch": 1}}, allow_unknown=True)
    assert server.sent[-1]["options"] == {"nosuch": 1}


@pytest.mark.parametrize("wanted", [True, False, "low"])
def test_thinking(wanted: bool | str) -> None:
    server, llm = fake(said("Yes.", message={"thinking": "Let me see."}))
    assert llm.generate(QUESTION, thinking=wanted).reasoning == "Let me see."
    assert server.sent[-1]["think"] == wanted


def test_log_probabilities_that_do_not_come_are_missed() -> None:
    given = [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1.0}]}]
    _, llm = fake(said("a", logprobs=given))
    answer = llm.generate(QUESTION, logprobs=1)
    assert answer.logprobs is not None
    assert answer.logprobs[0].top == {"b": -1.0}
    _, llm = fake(reply("chat"))
    with pytest.raises(UnsupportedFeatureError, match="logprobs"):
        llm.generate(QUESTION, logprobs=True)


# --- tools -----------------------------------------------------------------------------------------------------------


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def calling(**arguments: Any) -> Reply:
    return said(message={"tool_calls": [{"function": {"name": "weather", "arguments": arguments}}]})


def test_a_tool_is_called_and_its_result_told() -> None:
    server, llm = fake([calling(city="Paris"), said("It is sunny.")])
    answer = llm.run_tools("Weather?", tools=[weather])
    assert answer.content == "It is sunny."
    assert server.sent[0]["tools"][0]["function"]["name"] == "weather"
    _, asked, told = server.sent[1]["messages"]
    assert asked["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"city": "Paris"}}
    assert (told["role"], told["content"], told["tool_name"]) == ("tool", "sunny in Paris", "weather")


def test_a_call_that_breaks_its_schema_is_refused() -> None:
    _, llm = fake(calling(town="Paris"))
    with pytest.raises(ToolCallError, match="not what was asked for"):
        llm.generate("Weather?", tools=[weather])


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("choice", ["required", "weather"])
def test_a_call_that_is_due_is_asked_for_by_schema(choice: str, streams: bool) -> None:
    text = json.dumps({"name": "weather", "arguments": {"city": "Paris"}})
    server, llm = fake(streamed(text[:9], text[9:]) if streams else said(text))
    if streams:
        *_, answer = llm.generate("Weather?", tools=[weather], tool_choice=choice, stream=True)
    else:
        answer = llm.generate("Weather?", tools=[weather], tool_choice=choice)
    assert answer.tool_calls == [ToolCall(name="weather", arguments={"city": "Paris"}, call_id="call-0")]
    assert (answer.content, answer.finish_reason) == ("", "tool_calls")
    assert server.sent[-1]["format"]["properties"]["name"] == {"const": "weather"}
    assert "tool_choice" in answer.metadata["emulated"]


def test_a_call_that_is_due_and_does_not_come_is_missed() -> None:
    _, llm = fake(reply("chat"))
    with pytest.raises(ToolCallError, match="not what was asked for"):
        llm.generate("Weather?", tools=[weather], tool_choice="required")


def test_tools_that_may_not_be_called_are_not_told() -> None:
    server, llm = fake()
    llm.generate("Weather?", tools=[weather], tool_choice="none")
    assert "tools" not in server.sent[-1]


# --- what it has -----------------------------------------------------------------------------------------------------


async def test_models_and_what_they_hold() -> None:
    server, llm = fake()
    assert llm.list_available_models() == ["smollm2:latest"]
    assert llm.model_info().context_length == 4096
    server.route("GET /api/ps", reply("ps-empty"))
    assert llm.model_info("smollm2:latest").context_length == 8192
    assert (await llm.aserver_version(), llm.server_version()) == ("0.99.0-src", "0.99.0-src")
    assert server.paths().count("GET /api/version") == 1
    assert llm.validate_config()
    with pytest.raises(ModelNotFoundError, match="no model 'smol'"):
        llm.model_info("smol")
    report = await llm.ahealth()
    assert (report["status"], report["models"]) == (True, ["smollm2:latest"])


def test_names_without_tags_as_some_proxies_give_them() -> None:
    _, llm = fake(**{"GET /api/tags": Reply.json({"models": [{"name": "cloud/smollm2"}]})})
    assert llm.model_info("cloud/smollm2").id == "cloud/smollm2"


async def test_a_model_is_unloaded() -> None:
    server, llm = fake(reply("unload"))
    llm.unload()
    await llm.aunload()
    assert server.sent == [{"model": "smollm2", "messages": [], "keep_alive": 0}] * 2


def test_embeddings() -> None:
    vectors = [[1.0, 0.0], [0.0, 1.0]]
    server, llm = fake(**{"POST /api/embed": Reply.json({"model": "m", "embeddings": vectors})})
    assert llm.embed(["a", "b"]) == vectors
    assert server.sent == [{"model": "smollm2", "input": ["a", "b"], "truncate": False}]
    assert llm.embed([]) == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused("this model makes none", 501), UnsupportedFeatureError),
        (refused("the input length exceeds the context length"), ContextLengthError),
        (refused("invalid input type"), InvalidRequestError),
        (refused("model 'smollm2' not found", 404), ModelNotFoundError),
        (refused("boom", 500), ProviderAPIError),
    ],
)
def test_embeddings_that_there_are_none_of(answer: Reply, error: type[Exception]) -> None:
    _, llm = fake(**{"POST /api/embed": answer})
    with pytest.raises(error):
        llm.embed("a")
