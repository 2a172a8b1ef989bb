"""Responses, messages, vectors and tokens: what is sent to the backend, and what its answer is held to."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from abstractcore.testing import FakeServer, Reply
from tests.asgi_client import Got, client_of, fake_vllm
from tests.recordings import gateway_stream, recorded_pooling

RESPONSES, MESSAGES, EMBEDDINGS = "/v1/responses", "/v1/messages", "/v1/embeddings"
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
FORMAT = {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}
STRICT = {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}}
CUT: dict[str, Any] = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
CONFIG = {"format": {"type": "json_schema", "schema": SCHEMA}}
TOOL = {"type": "function", "name": "get_n", "parameters": SCHEMA}
USAGE = {"input_tokens": 5, "output_tokens": 3}


def response(text: str = '{"n": 1}', *calls: str, status: str = "completed", **more: Any) -> Reply:
    said = [{"type": "message", "content": [{"type": "output_text", "text": text}]}] if text else []
    called = [{"type": "function_call", "name": "get_n", "arguments": call, "call_id": "c"} for call in calls]
    return Reply.json(
        {"id": "resp_1", "status": status, "output": [*said, *called], "model": "m", "usage": USAGE, **more}
    )


def message(text: str = '{"n": 1}', *calls: Any, stop: str | None = "end_turn") -> Reply:
    said = [{"type": "text", "text": text}] if text else []
    called = [{"type": "tool_use", "id": "t", "name": "get_n", "input": call} for call in calls]
    return Reply.json(
        {
            "id": "msg_1",
            "type": "message",
            "content": [*said, *called],
            "model": "m",
            "stop_reason": stop,
            "usage": USAGE,
        }
    )


async def respond(answer: Reply, version: str = "0.32.0", **more: Any) -> tuple[Got, FakeServer]:
    server = fake_vllm({f"POST {RESPONSES}": answer}, version)
    return await client_of(server).post(RESPONSES, {"model": "vllm/m", "input": "Hi", **more}), server


async def tell(answer: Reply, **more: Any) -> tuple[Got, FakeServer]:
    server = fake_vllm({f"POST {MESSAGES}": answer})
    asked = {"model": "vllm/m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **more}
    return await client_of(server).post(MESSAGES, asked), server


async def test_what_promises_nothing_comes_back_byte_for_byte() -> None:
    for ask in (respond, tell):
        answer = response() if ask is respond else message()
        got, server = await ask(answer)
        assert (got.status, got.body) == (200, b"".join(answer.chunks))
        assert server.sent[-1]["model"] == "m"


@pytest.mark.parametrize("name", ["response", "message"])
async def test_streams_come_back_byte_for_byte(name: str) -> None:
    _, chunks, _ = gateway_stream(name)
    reply = Reply(chunks, headers={"content-type": "text/event-stream"})
    got, _ = await (respond if name == "response" else tell)(reply, stream=True)
    assert (got.status, got.body, got.ended) == (200, b"".join(chunks), True)


@pytest.mark.parametrize(
    ("version", "given", "sent"),
    [
        ("0.32.0", {"text": FORMAT}, {"text": FORMAT}),
        ("0.32.0", {"guided_json": SCHEMA}, {"structured_outputs": {"json": SCHEMA}}),
        ("0.32.0", {"structured_outputs": {"json": SCHEMA}}, {"structured_outputs": {"json": SCHEMA}}),
        ("0.10.2", {"guided_json": SCHEMA}, {"text": STRICT}),
    ],
)  # fmt: skip
async def test_constraints_of_a_response_are_spelled_as_the_server_reads_them(
    version: str, given: dict[str, Any], sent: dict[str, Any]
) -> None:
    got, server = await respond(response(), version, **given)
    assert got.status == 200, got.json
    assert got.json["abstractcore"]["constraint"]["proved"]
    assert server.sent[-1] == {"model": "m", "input": "Hi", **sent}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"output_config": CONFIG}, CONFIG),
        ({"output_format": CONFIG["format"]}, CONFIG),
        ({"guided_json": SCHEMA, "output_config": {"effort": "low"}}, {"effort": "low", **CONFIG}),
    ],
)
async def test_schemas_of_a_message_are_spelled_as_the_server_reads_them(given: Any, sent: Any) -> None:
    got, server = await tell(message(), **given)
    assert got.json["abstractcore"]["constraint"]["spelling"] == "output_config.format"
    assert server.sent[-1]["output_config"] == sent
    assert not {"output_format", "guided_json"} & server.sent[-1].keys()


@pytest.mark.parametrize(
    ("answer", "given", "code"),
    [
        (response("no"), {"text": FORMAT}, "constraint_violation"),
        (response(""), {"text": FORMAT}, "constraint_violation"),
        (response('{"n"', **CUT), {"text": FORMAT}, "truncated"),
        (response("", '"x"'), {"tools": [TOOL]}, "tool_call_invalid"),
        (response("", '{"n": "x"}'), {"tools": [TOOL]}, "tool_call_invalid"),
        (response("Well"), {"tools": [TOOL], "tool_choice": "required"}, "tool_call_invalid"),
        (response("", '{"n": 1}', '{"n": 2}'), {"tools": [TOOL], "parallel_tool_calls": False}, "tool_call_invalid"),
        (response("", '{"n": 1}'), {"tools": [TOOL], "tool_choice": "none"}, "tool_call_invalid"),
        (response(status="failed", error={"message": "no luck"}), {}, "upstream_error"),
        (response(status="in_progress"), {}, "upstream_error"),
        (Reply.json({"output": 5}), {}, "upstream_error"),
    ],
)  # fmt: skip
async def test_responses_that_are_not_what_was_asked_for(answer: Reply, given: dict[str, Any], code: str) -> None:
    got, _ = await respond(answer, **given)
    assert got.status == (502 if code == "upstream_error" else 422)
    assert got.error["code"] == code


@pytest.mark.parametrize(
    ("answer", "given", "status", "kind"),
    [
        (message("no"), {"output_config": CONFIG}, 422, "invalid_request_error"),
        (message('{"n"', stop="max_tokens"), {"output_config": CONFIG}, 422, "invalid_request_error"),
        (message("", {"n": "x"}), {"tools": [{"name": "get_n", "input_schema": SCHEMA}]}, 422, "invalid_request_error"),
        (message(stop=None), {}, 502, "api_error"),
        (Reply.json({"type": "x"}), {}, 502, "api_error"),
    ],
)
async def test_messages_that_are_not_what_was_asked_for(answer: Reply, given: Any, status: int, kind: str) -> None:
    got, _ = await tell(answer, **given)
    assert (got.status, got.json["type"], got.error["type"]) == (status, "error", kind)


@pytest.mark.parametrize("schema", [True, {"strict": False}])
async def test_arguments_are_held_to_their_schema_on_the_server_too(schema: Any) -> None:
    own = {} if schema is True else schema
    got, server = await respond(response("", '{"n": 1}'), tools=[{**TOOL, **own}])
    assert server.sent[-1]["tools"][0]["strict"] is (schema is True)
    assert got.json["abstractcore"]["tools"] == {"calls": 1, "proved": True}
    _, server = await tell(message("", {"n": 1}), tools=[{"name": "get_n", "input_schema": SCHEMA, **own}])
    assert server.sent[-1]["tools"][0]["strict"] is (schema is True)


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ({"messages": []}, "unknown_field", "give input"),
        ({"max_tokens": 5}, "unknown_field", "give max_output_tokens"),
        ({"response_format": {}}, "unknown_field", "give text"),
        ({"guided_rgex": "a"}, "unknown_field", "guided_regex"),
        ({"tools": [{"type": "web_search"}]}, "unsupported_feature", "function"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "unsupported_feature", "required"),
        ({"text": {"format": {"type": "grammar"}}}, "unsupported_feature", "json_schema"),
        ({"text": FORMAT, "background": True}, "unsupported_feature", "leave background out"),
        ({"text": FORMAT, "guided_regex": "a"}, "invalid_constraint", ""),
        ({"guided_regex": "a("}, "invalid_constraint", "mend"),
        ({"structured_outputs": {"nonsense": 1}}, "invalid_constraint", "regex"),
        ({"tools": [{"type": "function"}]}, "invalid_type", ""),
        ({"tools": 5}, "invalid_type", ""),
        ({"text": {"format": 5}}, "invalid_type", ""),
        ({"max_output_tokens": 0}, "invalid_type", ""),
    ],
)
async def test_responses_that_nobody_would_obey(given: dict[str, Any], code: str, says: str) -> None:
    got, server = await respond(response(), **given)
    assert (got.status, got.error["code"]) == (400, code)
    assert says in got.error.get("hint", "")
    assert f"POST {RESPONSES}" not in server.paths()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"temprature": 1}, "unknown_field"),
        ({"guided_regex": "a"}, "unsupported_feature"),
        ({"output_config": {"format": {"type": "text", "schema": {}}}}, "invalid_type"),
        ({"tool_choice": {"type": "some"}}, "invalid_type"),
        ({"max_tokens": 0}, "invalid_type"),
        ({"messages": 5}, "invalid_type"),
    ],
)
async def test_messages_that_nobody_would_obey(given: dict[str, Any], code: str) -> None:
    got, server = await tell(message(), **given)
    assert (got.status, got.json["type"], got.error["code"]) == (400, "error", code)
    assert got.error["type"] == "invalid_request_error"
    assert f"POST {MESSAGES}" not in server.paths()


async def test_a_backend_that_has_no_such_path() -> None:
    none = Reply.json({"detail": "Not Found"}, status=404)
    for path, body in (
        (RESPONSES, {"model": "vllm/m", "input": "Hi"}),
        (EMBEDDINGS, {"model": "vllm/m", "input": "Hi"}),
        ("/v1/rerank", {"model": "vllm/m", "query": "a", "documents": ["b"]}),
    ):
        got = await client_of(fake_vllm({f"POST {path}": none})).post(path, body)
        assert (got.status, got.error["code"]) == (400, "unsupported_feature")
        assert got.error["hint"]
    got = await client_of(FakeServer({}), provider="openai").post(
        MESSAGES, {"model": "openai/m", "max_tokens": 1, "messages": []}
    )
    assert (got.status, got.error["code"]) == (400, "unsupported_feature")


async def test_headers_of_the_protocol_go_on_and_the_clients_key_does_not() -> None:
    server = fake_vllm({f"POST {MESSAGES}": message()})
    asked = {"model": "vllm/m", "max_tokens": 9, "messages": []}
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "x", "x-api-key": "secret"}
    await client_of(server).post(MESSAGES, asked, headers)
    sent = server.calls[-1].headers
    assert (sent["anthropic-version"], sent["anthropic-beta"]) == ("2023-06-01", "x")
    assert "secret" not in str(sent)


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_responses_that_a_replica_keeps(method: str) -> None:
    kept = response()
    path = f"{RESPONSES}/resp_1" + ("/cancel" if method == "POST" else "")
    routes = {f"GET {RESPONSES}/resp_1": kept, f"{method} {path}": kept}
    missing = Reply.json({"error": {"message": "not found", "code": 404}}, status=404)
    client = client_of(fake_vllm({f"GET {RESPONSES}/resp_1": missing}), fake_vllm(routes))
    got = await client.send(method, path)
    assert (got.status, got.json["id"]) == (200, "resp_1")
    got = await client.send("GET", f"{RESPONSES}/resp_2")
    assert (got.status, got.error["code"]) == (404, "not_found")
    got = await client.send("GET", f"{RESPONSES}/resp_1?stream=true")
    assert got.status == 501
    for wrong in ("resp_1/cancel", "resp_1/nonsense", "a%20b"):
        assert (await client.send("GET", f"{RESPONSES}/{wrong}")).status == 404


def vectors(*rows: Any) -> Reply:
    data = [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(rows)]
    return Reply.json({"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}})


@pytest.mark.parametrize(
    ("rows", "given", "fine"),
    [
        ([[0.5, 1.0]], {"input": "a"}, True),
        ([[0.5], [1.0]], {"input": ["a", "b"]}, True),
        ([[0.5]], {"input": [1, 2, 3]}, True),
        ([[0.5], [1.0]], {"input": [[1], [2, 3]]}, True),
        ([base64.b64encode(struct.pack("<2f", 1, 2)).decode()], {"input": "a", "dimensions": 2}, True),
        ([[0.5]], {"input": ["a", "b"]}, False),
        ([[0.5], [1.0, 2.0]], {"input": ["a", "b"]}, False),
        ([[]], {"input": "a"}, False),
        ([[0.5, 1.0]], {"input": "a", "dimensions": 8}, False),
        (["!"], {"input": "a"}, False),
        (["AAA="], {"input": "a"}, False),
    ],
)
async def test_a_vector_for_each_text(rows: list[Any], given: dict[str, Any], fine: bool) -> None:
    server = fake_vllm({f"POST {EMBEDDINGS}": vectors(*rows)})
    got = await client_of(server).post(EMBEDDINGS, {"model": "vllm/m", **given})
    assert got.status == (200 if fine else 502)
    assert fine or got.error["code"] == "upstream_error"


async def test_an_old_servers_error_with_status_200() -> None:
    disguised = Reply.json({"object": "error", "error": {"message": "the model does not support Embeddings API"}})
    got = await client_of(fake_vllm({f"POST {EMBEDDINGS}": disguised})).post(EMBEDDINGS, {"model": "m", "input": "a"})
    assert got.status == 502
    assert "does not support" in got.error["why"]


async def test_vectors_of_a_backend_of_another_protocol() -> None:
    served = {
        "GET /api/tags": Reply.json({"models": [{"name": "e", "model": "e"}]}),
        "POST /api/embed": Reply.json({"model": "e", "embeddings": [[0.5, 2.0], [1.0, 4.0]]}),
    }
    asked = {"model": "ollama/e", "input": ["a", "b"]}
    server = FakeServer(served)
    got = await client_of(server, provider="ollama").post(EMBEDDINGS, asked)
    assert [row["embedding"] for row in got.json["data"]] == [[0.5, 2.0], [1.0, 4.0]]
    assert server.sent[-1]["model"] == "e"
    client = client_of(FakeServer(served), provider="ollama")
    got = await client.post(EMBEDDINGS, {**asked, "encoding_format": "base64"})
    assert struct.unpack("<2f", base64.b64decode(got.json["data"][1]["embedding"])) == (1.0, 4.0)
    for wrong, code in (({"dimensions": 2}, "unknown_field"), ({"input": [1, 2]}, "unsupported_feature")):
        got = await client.post(EMBEDDINGS, {**asked, **wrong})
        assert (got.status, got.error["code"]) == (400, code)


@pytest.mark.parametrize(
    ("path", "probe", "body"),
    [
        ("/v1/score", "score", {"text_1": "hello", "text_2": ["other", "hello"]}),
        ("/v1/rerank", "rerank", {"query": "hello", "documents": ["other", "hello"]}),
        ("/tokenize", "tokenize prompt", {"prompt": "hello world"}),
        (EMBEDDINGS, "embeddings", {"input": ["hello", "world"]}),
    ],
)
async def test_what_a_real_server_answered_is_passed_on(path: str, probe: str, body: dict[str, Any]) -> None:
    answer = recorded_pooling(probe)
    document = recorded_pooling("GET /openapi.json")
    routes = {f"POST {path}": Reply((answer.body,)), "GET /openapi.json": Reply((document.body,))}
    server = fake_vllm(routes)
    got = await client_of(server).post(path, {"model": "vllm/m", **body})
    assert (got.status, got.body) == (200, answer.body)
    got = await client_of(fake_vllm(routes)).post(path, {"model": "vllm/m", **body, "nonsense": 1})
    assert (got.status, got.error["code"]) == (400, "unknown_field")
    got = await client_of(fake_vllm({**routes, f"POST {path}": Reply.json({})})).post(path, {"model": "m", **body})
    assert got.status == 502
