"""Constraints are looked at while they are written."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from abstractcore.server import checking
from tests.asgi_client import client_of, fake_vllm

PATH = "/v1/constraints/check"


async def checked(body: Any) -> tuple[int, Any]:
    got = await client_of(fake_vllm({})).post(PATH, body)
    return got.status, got.json


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"guided_regex": "a+"}, "regex"),
        ({"guided_json": {"type": "object"}}, "json"),
        ({"guided_json": '{"type": "object"}'}, "json"),
        ({"guided_choice": ["a", "b"]}, "choice"),
        ({"guided_grammar": 'root ::= "a"'}, "grammar"),
        (
            {"guided_structural_tag": {"type": "structural_tag", "format": {"type": "const_string", "value": "x"}}},
            "structural_tag",
        ),
        ({"structured_outputs": {"regex": "a+"}}, "regex"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}, "json"),
        ({"guided_json_object": True}, "json"),
    ],
)
async def test_constraints_of_all_kinds_and_spellings(body: dict[str, Any], kind: str) -> None:
    assert await checked(body) == (200, {"valid": True, "kind": kind})


@pytest.mark.parametrize(("text", "holds"), [("123-AB", True), ("123-A", False), ("", False)])
async def test_a_text_is_held_against_it(text: str, holds: bool) -> None:
    status, answer = await checked({"guided_regex": "[0-9]{3}-[A-Z]{2}", "text": text})
    assert (status, answer["valid"], answer["satisfied"]) == (200, True, holds)
    assert ("why" in answer) is not holds


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"guided_regex": "a("}, "the regex does not compile: unclosed group"),
        ({"guided_json": {"type": "nope"}}, "the json does not compile"),
        ({"guided_choice": []}, "the choice does not compile"),
        ({"guided_grammar": "x"}, "the grammar does not compile"),
        ({"guided_regex": "a", "guided_choice": ["a"]}, "several constraints"),
        ({"guided_json": "{"}, "not JSON"),
    ],
)
async def test_what_is_wrong_is_said(body: dict[str, Any], message: str) -> None:
    status, answer = await checked(body)
    assert (status, answer["valid"]) == (200, False)
    assert message in answer["message"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_field"),
        ({"guided_rgex": "a"}, "unknown_field"),
        ({"guided_regex": 5}, "invalid_type"),
        ({"guided_regex": "a" * 200_000}, "request_too_large"),
        ([], "invalid_type"),
    ],
)
async def test_requests_that_are_none(body: Any, code: str) -> None:
    status, answer = await checked(body)
    assert status in (400, 413)
    assert answer["error"]["code"] == code


async def test_what_takes_too_long_is_given_up_and_few_are_at_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()

    def slow(given: dict[str, Any], text: str | None) -> checking.CheckAnswer:
        free.wait(30)
        return checking.CheckAnswer(valid=True)

    monkeypatch.setattr(checking, "checked", slow)
    monkeypatch.setattr(checking, "MOST_SECONDS", 0.01)
    try:
        for _ in range(checking.MOST_AT_ONCE):
            status, answer = await checked({"guided_regex": "a"})
            assert (status, answer["valid"]) == (200, False)
            assert "longer than" in answer["message"]
        status, answer = await checked({"guided_regex": "a"})
        assert (status, answer["error"]["code"]) == (503, "overloaded")
    finally:
        free.set()
