"""The OpenAPI document: a client generator, and a person, must be able to rely on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from abstractcore.server.chat.types import READERS
from abstractcore.server.keys import Key, write_keys
from abstractcore.server.openapi import document
from abstractcore.server.routes import ROUTES
from abstractcore.testing import Reply
from tests.asgi_client import client_of, fake_vllm

CHAT = "/v1/chat/completions"
DOCUMENT: dict[str, Any] = document(ROUTES, keys=False)


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def schema_at(pointer: dict[str, Any]) -> jsonschema_rs.Validator:
    """A validator for a schema of the document, with all that it refers to."""
    return jsonschema_rs.Draft202012Validator({**pointer, "components": DOCUMENT["components"]})


def test_every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() -> None:
    for reference in set(json.dumps(DOCUMENT).split('"$ref": "')[1:]):
        part: Any = DOCUMENT
        for name in reference.partition('"')[0].removeprefix("#/").split("/"):
            part = part[name]
    ids = [operation["operationId"] for _, operation in operations()]
    assert len(set(ids)) == len(ids)
    for _, operation in operations():
        assert operation["summary"]
        assert "200" in operation["responses"]


def test_everything_under_v1_is_described() -> None:
    missing = [route.path for route in ROUTES if route.path.startswith("/v1/") and route.spec is None]
    assert missing == []


@pytest.mark.parametrize("path", sorted(READERS))
def test_the_examples_fit_their_schema_and_the_gateway_reads_them(path: str) -> None:
    content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        assert schema_at(content["schema"]).is_valid(example["value"])
        READERS[path].decode(json.dumps(example["value"]))


def test_fields_say_what_they_are_for() -> None:
    fields = DOCUMENT["components"]["schemas"]["ChatRequest"]["properties"]
    assert "regular expression" in fields["guided_regex"]["description"]
    assert fields["n"]["anyOf"][0] | {"maximum": 1024} == {"type": "integer", "minimum": 1, "maximum": 1024}


@pytest.mark.parametrize("content", [{"body": b"{"}, {"body": b'{"model": "no"}'}, {"body": b'{"model": 5}'}])
async def test_failures_are_as_the_document_says(content: dict[str, bytes]) -> None:
    got = await client_of(fake_vllm({})).post(CHAT, content["body"])
    assert schema_at({"$ref": "#/components/schemas/Error"}).is_valid(got.json)
    assert str(got.status) in DOCUMENT["paths"][CHAT]["post"]["responses"]


@pytest.mark.parametrize("path", ["/v1/models", "/health", "/ready", "/providers"])
async def test_answers_are_as_the_document_says(path: str) -> None:
    got = await client_of(fake_vllm({}), aliases={"fast": "vllm/m"}).get(path)
    schema = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert list(schema_at(schema).iter_errors(got.json)) == []


async def test_a_proved_answer_is_as_the_document_says() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "aaa"}, "finish_reason": "stop"}
    reply = Reply.json({"model": "m", "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "guided_regex": "a+"}
    got = await client_of(fake_vllm({f"POST {CHAT}": reply})).post(CHAT, body)
    assert got.status == 200, got.body
    assert list(schema_at({"$ref": "#/components/schemas/ChatAnswer"}).iter_errors(got.json)) == []


async def test_keys_are_in_the_document_where_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_keys(path, [Key(name="a", sha256="0" * 64, created=datetime(2030, 1, 1, tzinfo=UTC))])
    guarded = (await client_of(fake_vllm({}), keys=str(path)).get("/openapi.json")).json
    assert {"key": []} in guarded["paths"][CHAT]["post"]["security"]
    assert {} in guarded["paths"]["/health"]["get"]["security"]
    assert "security" not in DOCUMENT["paths"][CHAT]["post"]
