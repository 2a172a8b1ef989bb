"""Chats and text completions through the gateway: what is passed on, what is proved, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from abstractcore.testing import Reply
from abstractcore.wire.call import Call
from tests.asgi_client import client_of, fake_vllm

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "vllm/m", "messages": [{"role": "user", "content": "Hi"}]}


def answer(content: str = "Hello", *, finish: str | None = "stop", index: int = 0, **message: Any) -> dict[str, Any]:
    return {"index": index, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}


def completion(*choices: dict[str, Any], model: str = "m") -> Reply:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "usage": usage}
    return Reply.json({**body, "choices": list(choices) or [answer()]})


def delta(content: str | None = None, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    inner = {} if content is None else {"content": content}
    choice = {"index": index, "delta": {**inner, **more}, "logprobs": None, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


STREAM = [delta("", role="assistant"), delta("Hel"), delta("lo"), delta("", "stop")]


async def test_a_chat_with_nothing_to_check_goes_on_and_comes_back_byte_for_byte() -> None:
    server = fake_vllm({"POST /v1/chat/completions": completion()})
    got = await client_of(server).post(CHAT, {**ASKED, "min_tokens": 1, "user": "someone"})
    assert got.status == 200
    assert got.body == b"".join(completion().chunks)
    assert server.sent[-1] == {**ASKED, "model": "m", "min_tokens": 1, "user": "someone"}


async def test_a_stream_with_nothing_to_check_comes_back_byte_for_byte() -> None:
    reply = Reply.events(STREAM)
    got = await client_of(fake_vllm({"POST /v1/chat/completions": reply})).post(CHAT, {**ASKED, "stream": True})
    assert (got.status, got.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert got.body == b"".join(reply.chunks)
    assert got.ended


async def test_the_client_finds_its_own_request_id_again_and_the_backend_gets_it() -> None:
    server = fake_vllm({"POST /v1/chat/completions": completion()})
    got = await client_of(server).post(CHAT, ASKED, {"x-request-id": "mine-1"})
    assert got.headers["x-request-id"] == "mine-1"
    assert server.calls[-1].headers["x-request-id"] == "mine-1"


@pytest.mark.parametrize(
    ("version", "sent"),
    [("0.32.0", {"structured_outputs": {"regex": "a+"}}), ("0.10.2", {"guided_regex": "a+"})],
)
@pytest.mark.parametrize("spelled", [{"guided_regex": "a+"}, {"structured_outputs": {"regex": "a+"}}])
async def test_a_constraint_in_either_spelling_reaches_a_server_of_any_age_in_its_own(
    version: str, sent: dict[str, Any], spelled: dict[str, Any]
) -> None:
    server = fake_vllm({"POST /v1/chat/completions": completion(answer("aaa"))}, version)
    got = await client_of(server).post(CHAT, {**ASKED, **spelled})
    assert got.status == 200
    assert {name: server.sent[-1].get(name) for name in sent} == sent
    assert got.json["abstractcore"]["constraint"] == {
        "kind": "regex",
        "spelling": "structured_outputs.regex" if version == "0.32.0" else "guided_regex",
        "proved": True,
        "checker": "llguidance",
    }


async def test_an_answer_that_breaks_its_constraint_is_an_error_with_the_text() -> None:
    server = fake_vllm({"POST /v1/chat/completions": completion(answer("bbb"))})
    got = await client_of(server).post(CHAT, {**ASKED, "guided_regex": "a+"})
    assert (got.status, got.error["code"], got.error["partial"]) == (422, "constraint_violation", "bbb")


async def test_a_stream_that_breaks_its_constraint_ends_with_an_error_and_never_with_done() -> None:
    server = fake_vllm({"POST /v1/chat/completions": Reply.events(STREAM)})
    got = await client_of(server).post(CHAT, {**ASKED, "guided_regex": "a+", "stream": True})
    assert got.status == 200
    assert got.events[-1]["error"]["code"] == "constraint_violation"
    assert "[DONE]" not in got.events
    assert not any(choice["finish_reason"] for event in got.events[:-1] for choice in event["choices"])


@pytest.mark.parametrize(
    ("field", "hint"),
    [("temperatur", "temperature"), ("guided_regx", "guided_regex"), ("extra_body", "top level"), ("zzz", "leave it")],
)
async def test_a_field_that_nobody_obeys_is_refused_with_the_nearest_one(field: str, hint: str) -> None:
    server = fake_vllm({"POST /v1/chat/completions": completion()})
    got = await client_of(server).post(CHAT, {**ASKED, field: 1})
    assert (got.status, got.error["code"], got.error["param"]) == (400, "unknown_field", field)
    assert hint in got.error["hint"]
    assert not server.sent


async def test_a_server_that_hides_its_schema_gets_what_all_versions_read_and_nothing_else() -> None:
    server = fake_vllm({"POST /v1/chat/completions": completion()})
    del server.routes["GET /openapi.json"], server.routes["GET /version"]
    client = client_of(server)
    assert (await client.post(CHAT, {**ASKED, "min_tokens": 1})).status == 200
    got = await client.post(CHAT, {**ASKED, "min_token": 1})
    assert (got.status, got.error["hint"]) == (400, "did you mean 'min_tokens'?")
    assert "hides" in got.error["why"]


@pytest.mark.parametrize(
    "idle",
    [
        {"response_format": {"type": "text"}},
        {"tools": None, "tool_choice": None, "response_format": None, "structured_outputs": None},
        {"best_of": 1, "use_beam_search": False, "tools": []},
    ],
)
async def test_promises_that_promise_nothing_are_not_passed_on(idle: dict[str, Any]) -> None:
    server = fake_vllm({"POST /v1/chat/completions": completion()}, "0.11.0")
    got = await client_of(server).post(CHAT, {**ASKED, **idle})
    assert got.body == b"".join(completion().chunks)
    assert server.sent[-1] == {**ASKED, "model": "m"}


@pytest.mark.parametrize(
    "body",
    [
        {"structured_outputs": {}},
        {"structured_outputs": {"backend": "x"}},
        {"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}},
        {"response_format": {"type": "json_object"}, "guided_regex": "a"},
        {"guided_regex": "("},
    ],
)
async def test_what_kills_or_blocks_a_server_is_refused(body: dict[str, Any]) -> None:
    server = fake_vllm({"POST /v1/chat/completions": completion()}, "0.11.0")
    got = await client_of(server).post(CHAT, {**ASKED, **body})
    assert got.status == 400
    assert not server.sent


TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}


def call(arguments: str, name: str = "add") -> dict[str, Any]:
    return {"index": 0, "id": "call-1", "type": "function", "function": {"name": name, "arguments": arguments}}


async def test_tool_calls_are_held_to_their_schemas() -> None:
    good = completion(answer("", finish="tool_calls", tool_calls=[call('{"a": 1}')]))
    bad = completion(answer("", finish="tool_calls", tool_calls=[call('{"a": "x"}')]))
    client = client_of(fake_vllm({"POST /v1/chat/completions": [good, bad]}))
    got = await client.post(CHAT, {**ASKED, "tools": [TOOL], "tool_choice": "required"})
    message = got.json["choices"][0]["message"]
    assert message["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a":1}'}
    got = await client.post(CHAT, {**ASKED, "tools": [TOOL], "tool_choice": "required"})
    assert (got.status, got.error["code"]) == (422, "tool_call_invalid")


async def test_a_tool_call_in_a_stream_comes_in_the_form_that_clients_put_together() -> None:
    parts = [
        delta("", role="assistant"),
        delta(tool_calls=[{"index": 0, "id": "call-1", "type": "function", "function": {"name": "add"}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a":'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": " 1}"}}]),
        delta(finish="tool_calls"),
    ]
    server = fake_vllm({"POST /v1/chat/completions": Reply.events(parts)})
    got = await client_of(server).post(CHAT, {**ASKED, "tools": [TOOL], "stream": True})
    first, end, done = got.events
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert first["choices"][0]["delta"]["tool_calls"] == [call('{"a":1}')]
    assert (end["choices"][0]["finish_reason"], done) == ("tool_calls", "[DONE]")


async def test_the_usage_of_a_proved_stream_comes_only_if_it_was_asked_for() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    reply = Reply.events([*STREAM, {**delta(), "choices": [], "usage": usage}])
    client = client_of(fake_vllm({"POST /v1/chat/completions": reply}))
    body = {**ASKED, "guided_choice": ["Hello"], "stream": True}
    got = await client.post(CHAT, {**body, "stream_options": {"include_usage": True}})
    assert got.events[-1] == "[DONE]"
    assert got.events[-2]["choices"] == []
    assert got.events[-2]["usage"] == {**usage, "total_tokens": 5}
    assert got.events[-2]["abstractcore"]["constraint"]["proved"]
    got = await client.post(CHAT, body)
    assert all(event["choices"] and "usage" not in event for event in got.events[:-1])
    assert got.events[-2]["choices"][0]["finish_reason"] == "stop"
    assert got.events[-2]["abstractcore"]["constraint"]["proved"]


async def test_beams_are_choices_with_scores() -> None:
    beams = [
        {**answer(text, index=at), "logprobs": {"content": [{"token": text, "logprob": -at - 0.5}]}}
        for at, text in enumerate(["one", "two", "three"])
    ]
    server = fake_vllm({"POST /v1/chat/completions": completion(*beams)})
    got = await client_of(server).post(CHAT, {**ASKED, "use_beam_search": True, "best_of": 3})
    assert (server.sent[-1]["n"], server.sent[-1]["use_beam_search"]) == (3, True)
    assert "best_of" not in server.sent[-1]
    assert [choice["message"]["content"] for choice in got.json["choices"]] == ["one", "two", "three"]
    assert len(got.json["abstractcore"]["scores"]) == 3


async def test_logprobs_of_a_proved_answer_are_in_the_form_of_the_protocol() -> None:
    logprobs = {"content": [{"token": "é", "logprob": -0.5, "top_logprobs": [{"token": "é", "logprob": -0.5}]}]}
    server = fake_vllm({"POST /v1/chat/completions": completion({**answer("é"), "logprobs": logprobs})})
    body = {**ASKED, "guided_choice": ["é"], "logprobs": True, "top_logprobs": 1}
    got = await client_of(server).post(CHAT, body)
    token = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    assert got.json["choices"][0]["logprobs"] == {"content": [{**token, "top_logprobs": [token]}]}


async def test_several_answers_of_a_proved_stream_keep_their_places() -> None:
    parts = [
        delta("", role="assistant"), delta("", index=1, role="assistant"), delta("ab"), delta("ba", index=1),
        delta("", "stop", index=1), delta("", "stop"),
    ]  # fmt: skip
    server = fake_vllm({"POST /v1/chat/completions": Reply.events(parts)})
    got = await client_of(server).post(CHAT, {**ASKED, "guided_regex": "[ab]+", "n": 2, "stream": True})
    texts = {0: "", 1: ""}
    ends = {}
    for event in got.events[:-1]:
        [choice] = event["choices"]
        texts[choice["index"]] += choice["delta"].get("content", "")
        if choice["finish_reason"]:
            ends[choice["index"]] = choice["finish_reason"]
    assert (texts, ends) == ({0: "ab", 1: "ba"}, {0: "stop", 1: "stop"})


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b"", None, "it is empty"),
        (b"  ", None, "it is empty"),
        (b"{", None, "byte"),
        (b'{"model": "m", "messages": [}', None, "byte"),
        (b"[]", None, "Expected `object`"),
        (b'{"model": NaN}', None, "byte"),
        (b'{"model": "\\ud800"}', None, "surrogate"),
        (b'{"model": "\xff"}', None, "UTF-8"),
        (b'{"model": "m", "a": ' + b"[" * 5000 + b"]" * 5000 + b"}", None, "nested too deeply"),
        (b'{"model":"m","model":"n"}', "model", "twice"),
        (b'{"model": "m", "mod\\u0065l": "n"}', "model", "twice"),
        (b'{"messages": []}', "model", "names no model"),
        (b'{"model": 1}', "model", "Expected `str`"),
        (b'{"model": "vllm/m", "stream": "yes"}', "stream", "Expected `bool"),
        (b'{"model": "vllm/m", "messages": [], "n": 0}', "n", "between"),
        (b'{"model": "vllm/m", "n": ' + b"9" * 5000 + b"}", "n", "range"),
        (b'{"model": "vllm/m", "messages": 5, "guided_regex": "a"}', "messages", "Expected `array`"),
        (b'{"model": "vllm/m", "messages": [], "max_tokens": "9"}', "max_tokens", "Expected `int"),
        (b'{"model":"vllm/m","messages":[{"role":"user","content":[{"type":1}]}]}', "messages[0].content[0].type", "s"),
        (b'{"model":"vllm/m","messages":[{"content":"hi"}]}', "messages[0].role", "missing"),
        (b'{"model": "vllm/m", "messages": [{"role": 1}], "guided_regex": "a"}', "messages[0].role", "Expected `str`"),
        (b'{"model": "vllm/m", "messages": [], "guided_regex": "a"}', None, "nothing to answer"),
        (b'{"model": "vllm/m", "guided_regex": "a"}', "messages", "is missing"),
        (b'{"model": "vllm/m", "messages": [], "tools": 5}', "tools", "Expected `array"),
        (b'{"model": "vllm/m", "messages": [], "tools": [{}]}', "tools[0].function", "missing"),
        (b'{"model": "vllm/m", "messages": [], "response_format": "json"}', "response_format", "Expected"),
        (
            b'{"model":"vllm/m","messages":[],"response_format":{"type":"json_schema"}}',
            "response_format.json_schema", "missing",
        ),
        (b'{"model": "vllm/m", "messages": [], "guided_choice": 5}', "guided_choice", "Expected `array"),
        (b'{"model": "vllm/m", "messages": [], "guided_json": "{"}', None, "not JSON"),
        (b'{"model": "vllm/m", "messages": [], "guided_json": 1e999}', "guided_json", "range"),
        (b'{"model":"vllm/m","messages":[],"guided_regex":"a","logprobs":3}', "logprobs", "true or false"),
        (b'{"model":"vllm/m","messages":[],"guided_regex":"a","top_logprobs":3}', "top_logprobs", "needs"),
        (b'{"model":"vllm/m","messages":[],"guided_regex":"a","stream_options":{}}', None, "nothing to answer"),
        (
            b'{"model":"vllm/m","messages":[],"guided_regex":"a","stream_options":{"include_usage":true}}',
            "stream_options", "belongs to a stream",
        ),
        (
            b'{"model":"m","messages":[],"guided_regex":"a","stream":true,"stream_options":{"continuous_usage_stats":true}}',
            "stream_options.continuous_usage_stats", "can't",
        ),
        (b'{"model":"vllm/m","messages":[],"guided_regex":"a","echo":true}', "echo", "can't be used"),
    ],
)  # fmt: skip
async def test_what_is_no_request_is_refused_and_the_place_is_named(body: bytes, param: str | None, words: str) -> None:
    server = fake_vllm({"POST /v1/chat/completions": completion()})
    got = await client_of(server).post(CHAT, body)
    assert got.status == 400
    assert words in got.error["message"]
    assert got.error["param"] == param
    assert not server.sent


async def test_an_unknown_model_is_answered_with_the_list() -> None:
    missing = Reply.json({"error": {"message": "no such model", "type": "NotFoundError", "code": 404}}, 404)
    client = client_of(fake_vllm({"POST /v1/chat/completions": missing}, models=("base", "sql")))
    for name in ("vllm/bas", "bas"):
        got = await client.post(CHAT, {**ASKED, "model": name})
        assert (got.status, got.error["code"]) == (404, "model_not_found")
        assert "vllm/base" in got.error["hint"]


async def test_several_prompts_of_a_text_completion_are_counted(  # each has its own choices
) -> None:
    def text(index: int) -> dict[str, Any]:
        return {"index": index, "text": "x", "finish_reason": "length", "logprobs": None}

    def reply(call: Call) -> Reply:
        return Reply.json({"id": "1", "object": "text_completion", "model": "m", "choices": [text(0), text(1)]})

    client = client_of(fake_vllm({"POST /v1/completions": reply}))
    for prompt, status in (("a", 200), (["a", "b"], 200), ([1, 2, 3], 200), ([[1], [2]], 200), (["a", "b", "c"], 502)):
        got = await client.post("/v1/completions", {"model": "vllm/m", "prompt": prompt})
        assert got.status == status, prompt


async def test_several_prompts_are_refused_where_they_can_not_be_passed_on() -> None:
    client = client_of(fake_vllm({}))
    got = await client.post("/v1/completions", {"model": "vllm/m", "prompt": ["a", "b"], "guided_regex": "a"})
    assert (got.status, got.error["param"]) == (400, "prompt")
