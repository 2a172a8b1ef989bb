"""The steps through the library, on servers that keep their promises and on one that does not."""

from __future__ import annotations

from abstractcore.providers import VLLMProvider
from abstractcore.selftest.library import LIBRARY
from abstractcore.selftest.step import Outcome, Verdict, perform
from abstractcore.selftest.subject import Subject
from abstractcore.testing import EchoProvider, FakeServer, Reply


def outcomes(subject: Subject) -> dict[str, Outcome]:
    return {outcome.id: outcome for outcome in perform(LIBRARY, subject)}


def test_a_provider_without_adapters_or_beams_is_not_blamed_for_that() -> None:
    found = outcomes(Subject(EchoProvider()))
    assert found["library.plain"].verdict is Verdict.PASSED
    assert found["library.adapters"].verdict is Verdict.NOT_TRIED


def test_a_server_that_ignores_constraints_fails_each_of_them() -> None:
    choice = {"index": 0, "message": {"content": "whatever I like"}, "finish_reason": "stop"}
    models = {"data": [{"id": "m", "max_model_len": 2048}]}
    names = ("model", "messages", "structured_outputs", "max_completion_tokens", "temperature")
    fields: dict[str, dict[str, str]] = {name: {} for name in names}
    schema = {"components": {"schemas": {"ChatCompletionRequest": {"properties": fields}}}}
    server = FakeServer(
        {
            "GET /v1/models": Reply.json(models),
            "GET /version": Reply.json({"version": "0.32.0"}),
            "GET /openapi.json": Reply.json(schema),
            "POST /v1/chat/completions": Reply.json({"id": "x", "model": "m", "choices": [choice]}),
        }
    )
    found = outcomes(Subject(VLLMProvider(**server.transports)))
    for kind in ("regex", "grammar", "choice"):
        assert found[f"library.{kind}"].verdict is Verdict.FAILED, kind
    assert found["library.broken"].verdict is Verdict.PASSED
    assert found["library.unknown"].verdict is Verdict.PASSED
