"""Tools against what real servers answered: with a parser of tool calls, without one, and of an older release."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from abstractcore import (
    ConfigurationError,
    ContextLengthError,
    GenerateResponse,
    InvalidRequestError,
    ToolCallError,
    ToolDefinition,
    TruncatedOutputError,
    UnsupportedFeatureError,
    VLLMProvider,
)
from abstractcore.providers.vllm import server as known_servers
from abstractcore.providers.vllm.dialect import Dialect, read_dialect
from abstractcore.providers.vllm.tools import knows_strict
from abstractcore.testing import FakeServer, Reply
from abstractcore.wire.call import Call
from tests.recordings import VERSIONS, Recording, openapi, recorded, tool_exchange
from tests.replay import Replay

CHAT = "/v1/chat/completions"
GET_N = recorded("0.32.0", "tool_choice auto").request.json()["tools"]
TOOLS = tool_exchange("0.32.0", "auto").request.json()["tools"]
WEATHER = {"city": "Paris"}
MODEL = {"0.10.2": "tiny", "0.32.0": "smollm2"}


def reply(found: Recording) -> Reply:
    return Reply((found.body,), found.status, found.headers)


def served(recordings: str, choose: Callable[[dict[str, Any]], str]) -> FakeServer:
    """A server of the tool recordings.

    Args:
        recordings: Which.
        choose: The name of the exchange that answers a body.
    """
    version = recordings.split("-", maxsplit=1)[0]

    def answer(call: Call) -> Reply:
        return reply(tool_exchange(recordings, choose(msgspec.json.decode(call.body or b""))))

    return FakeServer(
        {
            "GET /version": reply(recorded(version, "GET /version")),
            "GET /openapi.json": Reply.json(openapi(version)),
            "GET /v1/models": Reply.json(
                {"data": [{"id": MODEL[version], "root": "/models/SmolLM2-135M-Instruct", "max_model_len": 1024}]}
            ),
            f"POST {CHAT}": answer,
        }
    )


@pytest.fixture(autouse=True)
def _strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test meets its server for the first time."""
    monkeypatch.setattr(known_servers, "_known", {})


def provider(server: FakeServer) -> VLLMProvider:
    return VLLMProvider(base_url="http://tools.test", **server.transports)


def ask(server: FakeServer, **options: Any) -> Any:
    return provider(server).generate("What is the weather in Paris?", tools=TOOLS, **options)


def stream(server: FakeServer, **options: Any) -> list[GenerateResponse]:
    return list(ask(server, stream=True, **options))


# --- what is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_strict_is_sent_where_the_server_knows_it(version: str) -> None:
    dialect = read_dialect(version, msgspec.json.encode(openapi(version)))
    assert knows_strict(dialect) is (version in ("0.24.0", "0.32.0"))
    assert knows_strict(Dialect(version, "version")) is knows_strict(dialect)


def test_tools_and_choice_are_sent_as_the_protocol_has_them() -> None:
    server = served("0.32.0", lambda _body: "required strict")
    ask(server, tool_choice="required", parallel_tool_calls=False)
    body = server.sent[-1]
    strict = [{**known, "function": {**known["function"], "strict": True}} for known in TOOLS]
    assert (body["tools"], body["tool_choice"], body["parallel_tool_calls"]) == (strict, "required", False)


def test_strict_is_not_sent_where_the_server_would_show_it_to_the_model() -> None:
    server = served("0.10.2", lambda _body: "named strict")
    ask(server, tool_choice="weather")
    assert server.sent[-1]["tools"] == TOOLS
    assert server.sent[-1]["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


def test_tools_in_extra_body_are_tools_like_any_other() -> None:
    server = served("0.32.0", lambda _body: "required strict")
    extra = {"tools": TOOLS, "tool_choice": "required"}
    response = provider(server).generate("Hi", extra_body=extra)
    assert response.tool_calls[0].arguments == {"a": 1}
    assert server.sent[-1]["tool_choice"] == "required"


@pytest.mark.parametrize(
    "options",
    [
        {"tool_choice": "required"},
        {"parallel_tool_calls": True},
        {"tools": TOOLS, "tool_choice": "nope"},
        {"tools": TOOLS, "raw_prompt": True},
    ],
)
def test_options_that_make_no_sense_are_refused_before_sending(options: dict[str, Any]) -> None:
    server = FakeServer({})
    with pytest.raises(ConfigurationError):
        provider(server).generate("Hi", **options)
    assert not server.calls


@pytest.mark.parametrize("choice", ["auto", "required", "weather"])
def test_a_constraint_leaves_no_room_for_a_call(choice: str) -> None:
    server = served("0.32.0", lambda _body: "auto")
    with pytest.raises(UnsupportedFeatureError, match="beside guided_choice") as caught:
        ask(server, tool_choice=choice, guided_choice=["x", "y"])
    assert "tool_choice='none'" in caught.value.alternatives
    assert not server.sent


@pytest.mark.parametrize("recordings", ["0.10.2", "0.32.0", "0.32.0-no-parser"])
def test_beside_none_a_constraint_binds(recordings: str) -> None:
    server = served(recordings, lambda _body: "none with format")
    response = ask(server, tool_choice="none", guided_json={"enum": ["x", "y"]})
    assert response.content in ('"x"', '"y"')
    assert response.metadata["constraint"]["proved"]
    assert server.sent[-1]["tool_choice"] == "none"


def test_what_servers_do_with_a_constraint_beside_a_choice_is_why_it_is_refused() -> None:
    """The recordings behind the refusal: with auto the constraint wins, with required the call."""
    for recordings in ("0.10.2", "0.32.0"):
        auto = tool_exchange(recordings, "auto with format").json()["choices"][0]["message"]
        assert auto["content"] in ('"x"', '"y"')
        assert not auto.get("tool_calls")
        required = tool_exchange(recordings, "required with format").json()["choices"][0]["message"]
        assert required["tool_calls"]


def test_a_beam_search_takes_no_tools() -> None:
    with pytest.raises(UnsupportedFeatureError, match="tools with use_beam_search"):
        ask(served("0.32.0", lambda _body: "auto"), use_beam_search=True, n=2)


# --- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recordings", ["0.10.2", "0.32.0"])
@pytest.mark.parametrize(("choice", "name"), [("required", "required"), ("weather", "named")])
def test_calls_are_read_whole_and_streamed(recordings: str, choice: str, name: str) -> None:
    def choose(body: dict[str, Any]) -> str:
        return f"{name} stream" if body.get("stream") else f"{name} strict"

    whole = ask(served(recordings, choose), tool_choice=choice)
    chunks = stream(served(recordings, choose), tool_choice=choice)
    for response in (whole, chunks[-1]):
        (call,) = response.tool_calls
        assert (call.name, call.arguments) in [("weather", WEATHER), ("weather", {"city": "Rome"}), ("digit", {"a": 1})]
        assert choice in (call.name, "required")
        assert call.call_id
        assert response.has_tool_calls()
    assert all(not chunk.tool_calls for chunk in chunks[:-1])


def test_a_stream_of_a_required_call_that_breaks_is_asked_again_whole() -> None:
    """0.10.2 fails to read its own unfinished JSON: an error inside the stream."""
    server = served("0.10.2", lambda body: "required stream" if body.get("stream") else "required strict")
    (last,) = stream(server, tool_choice="required")
    assert last.tool_calls[0].name == "weather"
    assert "without a stream" in last.metadata["emulated"]["stream"]


@pytest.mark.parametrize("recordings", ["0.10.2", "0.32.0"])
@pytest.mark.parametrize(("choice", "name"), [("required", "required"), ("weather", "named")])
@pytest.mark.parametrize("streams", [False, True])
def test_a_call_cut_by_the_limit_is_no_call(recordings: str, choice: str, name: str, streams: bool) -> None:
    """Recorded: 400, text, an error event, a finish reason 'tool_calls'; all of them are the same thing."""

    def choose(body: dict[str, Any]) -> str:
        return f"{name} cut stream" if body.get("stream") else f"{name} cut"

    limit = 5 if name == "required" else 4
    with pytest.raises(TruncatedOutputError, match="before its tool call was complete"):
        (stream if streams else ask)(served(recordings, choose), tool_choice=choice, max_tokens=limit)


@pytest.mark.parametrize("version", VERSIONS[1:])
@pytest.mark.parametrize(
    ("probe", "choice"),
    [("tool_choice required", "required"), ("tool_choice get_n", "get_n"), ("parallel_tool_calls", "required")],
)
def test_a_cut_call_is_the_same_error_on_every_version(version: str, probe: str, choice: str) -> None:
    server = Replay(version, {CHAT: probe})
    accepts = recorded(version, "tool_choice required stream")

    def open_stream(call: Call) -> Any:
        found = Replay(version, {CHAT: "tool_choice required stream" if call.stream else probe})
        server.sent += found.sent
        return found.open(call)

    assert accepts.status == 200
    llm = server.provider()
    llm._transport.open = open_stream  # type: ignore[union-attr, method-assign]
    with pytest.raises(TruncatedOutputError, match="tool call was complete"):
        llm.generate("Give me a number.", tools=GET_N, tool_choice=choice, max_tokens=64)


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_a_model_that_wants_no_tool_just_answers(version: str) -> None:
    response = Replay(version, {CHAT: "tool_choice auto"}).provider().generate("Give me a number.", tools=GET_N)
    assert response.content == "\n" * 64
    assert response.tool_calls == []


def completion(**message: Any) -> bytes:
    choice = {"index": 0, "finish_reason": message.pop("finish_reason", "stop"), "message": message}
    return msgspec.json.encode({"id": "r", "model": "smollm2", "choices": [choice], "usage": {"completion_tokens": 9}})


def called(*calls: tuple[str, str]) -> dict[str, Any]:
    rows = [
        {"id": f"c{index}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for index, (name, arguments) in enumerate(calls)
    ]
    return {"content": None, "tool_calls": rows, "finish_reason": "tool_calls"}


PARIS = ("weather", '{"city": "Paris"}')


@pytest.mark.parametrize(
    ("message", "options", "error", "why"),
    [
        (called(("nope", "{}")), {}, ToolCallError, "it calls 'nope'"),
        (called(("weather", '{"city": "Oslo"}')), {}, ToolCallError, "at /city"),
        (called(("weather", '"gabenwelter"')), {}, ToolCallError, "not a JSON object"),
        (called(("weather", '{"city":')), {}, ToolCallError, "not a JSON object"),
        (called(("weather", '{"city":')), {"max_tokens": 9}, TruncatedOutputError, "not a JSON object"),
        (called(PARIS) | {"finish_reason": "length"}, {}, TruncatedOutputError, "a further call may be missing"),
        (called(PARIS, PARIS), {"parallel_tool_calls": False}, ToolCallError, "there are 2 calls"),
        (called(("digit", '{"a": 1}')), {"tool_choice": "weather"}, ToolCallError, "but digit is called"),
        (called(PARIS), {"tool_choice": "none"}, ToolCallError, "there are calls"),
        ({"content": "Sunny."}, {"tool_choice": "required"}, ToolCallError, "there is no call"),
        ({"content": "<tool_call>\n{broken"}, {}, ToolCallError, "begins with '<tool_call>'"),
        (
            {"content": "Well. <tool_call>\n{", "finish_reason": "length"},
            {},
            TruncatedOutputError,
            "the finish reason is 'length'",
        ),
    ],
)
def test_calls_that_are_not_what_was_asked_for_are_refused(
    message: dict[str, Any], options: dict[str, Any], error: type[ToolCallError], why: str
) -> None:
    server = served("0.32.0", lambda _body: "auto")
    server.route(f"POST {CHAT}", Reply((completion(**message),)))
    with pytest.raises(error) as caught:
        ask(server, **options)
    assert why in str(caught.value)
    assert type(caught.value) is error


def test_the_error_has_the_calls() -> None:
    server = served("0.32.0", lambda _body: "auto")
    server.route(f"POST {CHAT}", Reply((completion(**called(PARIS, ("nope", "{}"))),)))
    with pytest.raises(ToolCallError) as caught:
        ask(server)
    assert [call.name for call in caught.value.calls] == ["weather", "nope"]


def test_text_about_tool_calls_is_text() -> None:
    server = served("0.32.0", lambda _body: "auto")
    server.route(f"POST {CHAT}", Reply((completion(content="One writes <tool_call> first."),)))
    assert ask(server).content == "One writes <tool_call> first."


# --- a server without a parser ---------------------------------------------------------------------------------------


def no_parser(body: dict[str, Any]) -> str:
    """The exchange of the server without a parser that answers a body."""
    choice = body.get("tool_choice", "none")
    if "response_format" in body:
        cut = body.get("max_completion_tokens") == 5
        return "none with call" + (" cut" if cut else " stream" if body.get("stream") else "")
    if choice == "none":
        return "none with format"
    return "named strict" if isinstance(choice, dict) else f"{choice}"


@pytest.mark.parametrize("choice", ["required", "weather"])
def test_a_call_is_emulated_where_the_server_reads_none(choice: str) -> None:
    server = served("0.32.0-no-parser", no_parser)
    response = ask(server, tool_choice=choice)
    (call,) = response.tool_calls
    assert (call.name, call.arguments, response.content) == ("weather", WEATHER, "")
    assert response.finish_reason == "tool_calls"
    assert call.call_id
    assert response.metadata["emulated"]["tool_choice"].startswith(f"{choice}: the call was asked for as JSON")
    body = server.sent[-1]
    assert body["tool_choice"] == "none"
    assert len(body["tools"]) == 2, "the model still reads of them"


def test_an_emulated_call_may_be_to_the_named_tool_only() -> None:
    server = served("0.32.0-no-parser", no_parser)
    ask(server, tool_choice="weather")
    schema = server.sent[-1]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["name"] == {"const": "weather"}


def test_an_emulated_call_is_not_handed_out_as_text() -> None:
    (last,) = stream(served("0.32.0-no-parser", no_parser), tool_choice="required")
    assert last.tool_calls[0].arguments == WEATHER
    assert (last.content, last.finish_reason) == ("", "tool_calls")


def test_an_emulated_call_that_is_cut_is_no_call() -> None:
    with pytest.raises(TruncatedOutputError, match="before its tool call was complete"):
        ask(served("0.32.0-no-parser", no_parser), tool_choice="required", max_tokens=5)


@pytest.mark.parametrize("streams", [False, True])
def test_auto_needs_a_parser_and_the_error_names_the_flags(streams: bool) -> None:
    with pytest.raises(UnsupportedFeatureError) as caught:
        (stream if streams else ask)(served("0.32.0-no-parser", no_parser))
    assert "--enable-auto-tool-choice --tool-call-parser hermes" in str(caught.value)
    assert caught.value.server_version == "0.32.0"


def test_what_was_found_out_is_not_asked_again() -> None:
    server = served("0.32.0-no-parser", no_parser)
    llm = provider(server)
    llm.generate("Weather?", tools=TOOLS, tool_choice="required")
    before = len(server.calls)
    llm.generate("Weather?", tools=TOOLS, tool_choice="weather")
    assert len(server.calls) == before + 1


def test_several_emulated_calls_are_an_array() -> None:
    server = served("0.32.0-no-parser", no_parser)
    ask(server, tool_choice="required", parallel_tool_calls=True)
    assert server.sent[-1]["response_format"]["json_schema"]["schema"]["type"] == "array"


def test_the_async_twin_does_the_same() -> None:
    llm = provider(served("0.32.0-no-parser", no_parser))
    response = asyncio.run(llm.agenerate("Weather?", tools=TOOLS, tool_choice="required"))
    assert response.tool_calls[0].arguments == WEATHER


def test_a_refusal_for_another_reason_stays_what_it_is() -> None:
    """The server refuses the very request, but takes a simple one with a tool: the parser is not to blame."""
    server = served("0.32.0", lambda _body: "auto")
    refused = Reply.json({"error": {"message": "bad schema", "type": "BadRequestError", "code": 400}}, 400)

    def answer(call: Call) -> Reply:
        return refused if b"weather" in (call.body or b"") else reply(tool_exchange("0.32.0", "named stream"))

    server.route(f"POST {CHAT}", answer)
    with pytest.raises(InvalidRequestError, match="bad schema"):
        ask(server, tool_choice="required")


def test_a_prompt_that_is_too_long_is_not_taken_for_a_missing_parser() -> None:
    server = served("0.32.0-no-parser", lambda _body: "required")
    server.route("POST /tokenize", Reply.json({"count": 2000, "max_model_len": 1024}))
    with pytest.raises(ContextLengthError):
        ask(server, tool_choice="required")


def test_a_definition_with_strict_off_is_sent_so() -> None:
    loose = ToolDefinition.from_openai({**TOOLS[0]["function"], "strict": False})
    server = served("0.32.0", lambda _body: "named strict")
    provider(server).generate("Weather?", tools=[loose], tool_choice="required")
    assert server.sent[-1]["tools"][0]["function"]["strict"] is False


def test_without_strict_a_server_breaks_the_schema() -> None:
    """Recorded: the same request, once with strict and once without, which gave a string in place of an object."""
    loose, strict = tool_exchange("0.32.0", "required"), tool_exchange("0.32.0", "required strict")
    assert '"arguments": "djerry' in loose.json()["choices"][0]["message"]["content"]
    (call,) = strict.json()["choices"][0]["message"]["tool_calls"]
    assert msgspec.json.decode(call["function"]["arguments"]) == {"a": 1}
