"""Each feature on each of eight real releases: what we send is what was recorded to be obeyed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from abstractcore import ConstraintViolationError, TruncatedOutputError, VLLMProvider
from abstractcore.testing import FakeServer, Reply
from abstractcore.vllm_facts import facts_for, hazard_in, parse_version
from tests.recorded_server import ASKED, COMPLETED, MODEL, replaying
from tests.recordings import VERSIONS, recorded, schema_properties

EVERY_VERSION = pytest.mark.parametrize("version", VERSIONS)
REGEX = "[0-9]{3}-[A-Z]{2}"
GRAMMAR = 'root ::= "yes" | "no"'
CHOICE = ["alpha", "beta"]
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["n"],
    "additionalProperties": False,
}
CONSTRAINTS: list[dict[str, Any]] = [
    {"guided_regex": REGEX}, {"guided_choice": CHOICE}, {"guided_grammar": GRAMMAR},
]  # fmt: skip


def provider(server: FakeServer) -> VLLMProvider:
    return VLLMProvider(MODEL, base_url="http://recorded:8000/v1", **server.transports)


def generated(server: FakeServer) -> list[Any]:
    """The bodies of the requests that made the server generate."""
    return [json.loads(call.body or b"") for call in server.calls if call.url.endswith("/completions")]


def era(version: str) -> str:
    return facts_for(version)[0].constraints[0]


# --- each feature is sent as the release obeys it --------------------------------------------------------------------


@EVERY_VERSION
@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=lambda constraint: next(iter(constraint)))
def test_a_constraint_on_a_chat_is_obeyed_and_proved(version: str, constraint: dict[str, Any]) -> None:
    server = replaying(version)
    answer = provider(server).generate(**ASKED, **constraint)
    [kind] = (name.removeprefix("guided_") for name in constraint)
    spelling = f"guided_{kind}" if era(version) == "guided" else f"structured_outputs.{kind}"
    proof = answer.metadata["constraint"]
    assert (proof["kind"], proof["spelling"], proof["proved"]) == (kind, spelling, True)
    assert answer.metadata["server_version"].startswith(version)
    assert "note" not in answer.metadata


@EVERY_VERSION
def test_a_regex_on_a_completion_is_obeyed_and_proved(version: str) -> None:
    server = replaying(version)
    answer = provider(server).generate(**COMPLETED, guided_regex=REGEX)
    assert answer.metadata["constraint"]["proved"]
    [sent] = generated(server)
    assert (era(version) == "guided") == ("guided_regex" in sent) == ("structured_outputs" not in sent)


@EVERY_VERSION
def test_json_on_a_chat_is_obeyed(version: str) -> None:
    """The recorded answers end at 16 tokens, inside the document: it is begun as the schema wants, and never passed."""
    server = replaying(version)
    with pytest.raises(TruncatedOutputError) as caught:
        provider(server).generate(**ASKED, guided_json=SCHEMA)
    assert caught.value.spelling == "response_format"
    assert caught.value.partial.startswith("{")
    assert not recorded(version, "chat").json()["choices"][0]["message"]["content"].startswith("{")


@EVERY_VERSION
@pytest.mark.parametrize(
    "options",
    [
        {}, {"guided_json": SCHEMA}, *CONSTRAINTS, {"n": 2, "temperature": 0.5}, {"logprobs": 2},
        {"guided_regex": REGEX, "raw_prompt": True}, {"guided_json": SCHEMA, "raw_prompt": True},
        {"stop": ["x"], "top_p": 0.9, "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1},
        {"extra_body": {"min_tokens": 2, "ignore_eos": True}}, {"raw_prompt": True, "logprobs": 0},
    ],
    ids=lambda options: "+".join(options) or "plain",
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_sent_is_in_the_releases_own_schema_and_no_hazard(
    version: str, options: dict[str, Any], stream: bool
) -> None:
    server = replaying(version)
    server.route("POST /v1/chat/completions", halt)
    server.route("POST /v1/completions", halt)
    with pytest.raises(SentError):
        ask(provider(server), options, stream=stream)
    [sent] = generated(server)
    path = server.calls[-1].url.removeprefix("http://recorded:8000")
    schema = "ChatCompletionRequest" if path == "/v1/chat/completions" else "CompletionRequest"
    assert sent.keys() <= schema_properties(version, schema)
    assert hazard_in(parse_version(version), path, sent) is None
    assert sum(name in sent for name in ("response_format", "structured_outputs")) + sum(
        name.startswith("guided_") for name in sent
    ) == any(name.startswith("guided_") for name in options)


def ask(llm: VLLMProvider, options: dict[str, Any], *, stream: bool) -> None:
    answer: Any = llm.generate("x", stream=stream, **options)
    if stream:
        next(answer)  # nothing is sent before


class SentError(Exception):
    """The request got as far as the server."""


def halt(call: Any) -> Any:
    raise SentError


# --- what hides its schema or its version ----------------------------------------------------------------------------


@EVERY_VERSION
def test_a_release_that_hides_its_schema_is_known_by_its_version(version: str) -> None:
    server = replaying(version, hidden=["GET /openapi.json"])
    answer = provider(server).generate(**ASKED, guided_regex=REGEX)
    assert answer.metadata["constraint"]["proved"]
    assert generated(server) == [{**generated(replayed(version))[0]}]


def replayed(version: str) -> FakeServer:
    server = replaying(version)
    provider(server).generate(**ASKED, guided_regex=REGEX)
    return server


@EVERY_VERSION
def test_a_release_that_hides_its_version_is_known_by_its_schema(version: str) -> None:
    server = replaying(version, hidden=["GET /version"])
    answer = provider(server).generate(**ASKED, guided_regex=REGEX)
    assert answer.metadata["constraint"]["proved"]
    assert answer.metadata["server_version"] is None


@pytest.mark.parametrize("version", ["0.10.2", "0.32.0"])
@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=lambda constraint: next(iter(constraint)))
def test_a_release_that_hides_both_gets_both_spellings(version: str, constraint: dict[str, Any]) -> None:
    """Recorded with both spellings in one request, 12 tokens and no seed; the token before it was not."""
    server = replaying(version, hidden=["GET /version", "GET /openapi.json"])
    [chats] = server.routes["POST /v1/chat/completions"]
    tilde = Reply.json({"choices": [{"message": {"content": "~"}, "finish_reason": "length"}]})
    server.route("POST /v1/chat/completions", [tilde, chats])
    asked = {name: value for name, value in ASKED.items() if name != "seed"} | {"max_output_tokens": 12}
    answer = provider(server).generate(**asked, **constraint)
    [kind] = (name.removeprefix("guided_") for name in constraint)
    assert answer.metadata["constraint"]["spelling"] == f"structured_outputs.{kind} + guided_{kind}"
    assert "both spellings" in answer.metadata["note"]


@EVERY_VERSION
def test_the_wrong_spelling_is_noticed_on_every_release(version: str) -> None:
    """A server taken for another release: it answers 200 and free text, which is no answer here."""
    other = "0.32.0" if era(version) == "guided" else "0.10.2"
    server = replaying(version, hidden=["GET /openapi.json"])
    server.routes["GET /version"] = replaying(other).routes["GET /version"]
    llm = provider(server)
    if version == "0.11.0":  # the one release that obeys both
        assert llm.generate(**ASKED, guided_regex=REGEX).metadata["constraint"]["proved"]
        return
    with pytest.raises(ConstraintViolationError, match="does not satisfy the regex") as caught:
        llm.generate(**ASKED, guided_regex=REGEX)
    assert caught.value.text == recorded(version, "chat").json()["choices"][0]["message"]["content"]
