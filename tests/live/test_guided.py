"""Constraints on a real server: obeyed, proved, and noticed where they are not."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from abstractcore import (
    ConstraintViolationError,
    TruncatedOutputError,
    UnsupportedFeatureError,
    VLLMProvider,
    create_llm,
)
from abstractcore.providers.vllm import dialect
from abstractcore.providers.vllm import server as server_plans
from tests.live.conftest import LiveServer
from tests.live.hiding import Hiding

COLOUR = {"enum": ["red", "green", "blue"]}  # leaves no room for blanks, which small models like too much
CONSTRAINTS: list[tuple[dict[str, Any], str]] = [
    ({"guided_regex": r"[0-9]{3}-[A-Z]{2}"}, r"[0-9]{3}-[A-Z]{2}"),
    ({"guided_choice": ["alpha", "beta"]}, "alpha|beta"),
    ({"guided_grammar": 'root ::= [0-9] " + " [0-9]'}, r"[0-9] \+ [0-9]"),
    ({"guided_json": COLOUR}, '"(red|green|blue)"'),
]
EACH = pytest.mark.parametrize(("constraint", "expected"), CONSTRAINTS, ids=[next(iter(row[0])) for row in CONSTRAINTS])
PROMPT: dict[str, Any] = {"prompt": "Answer me.", "max_output_tokens": 40}


@EACH
@pytest.mark.parametrize("raw", [False, True], ids=["chat", "raw"])
def test_an_answer_is_obeyed_and_proved(
    llm: VLLMProvider, constraint: dict[str, Any], expected: str, raw: bool
) -> None:
    answer = llm.generate(**PROMPT, raw_prompt=raw, **constraint)
    assert re.fullmatch(expected, answer.content, re.DOTALL)
    proof = answer.metadata["constraint"]
    assert proof["proved"]
    is_json_chat = "guided_json" in constraint and not raw
    assert proof["spelling"].startswith("response_format" if is_json_chat else "structured_outputs.")


@EACH
def test_a_stream_is_obeyed_and_proved_at_its_end(llm: VLLMProvider, constraint: dict[str, Any], expected: str) -> None:
    *parts, last = llm.generate(**PROMPT, stream=True, **constraint)
    assert re.fullmatch(expected, "".join(part.content for part in parts), re.DOTALL)
    assert last.metadata["constraint"]["proved"]


@EACH
async def test_async_is_obeyed_and_proved(vllm: LiveServer, constraint: dict[str, Any], expected: str) -> None:
    async with VLLMProvider(base_url=vllm.base_url) as llm:
        answer = await llm.agenerate(**PROMPT, **constraint)
        parts = [chunk async for chunk in await llm.agenerate(**PROMPT, stream=True, **constraint)]
    for text in (answer.content, "".join(part.content for part in parts)):
        assert re.fullmatch(expected, text, re.DOTALL)


def test_the_published_snippets_unchanged(vllm: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls as users paste them. Neither ends by itself, so the provider is made with a limit."""
    monkeypatch.setenv("VLLM_BASE_URL", vllm.base_url)
    monkeypatch.setenv("VLLM_API_KEY", "EMPTY")
    llm = create_llm("vllm", model=vllm.model, max_output_tokens=50, on_cut="trim")
    assert function(llm)
    assert list_of_strings(llm)


def function(llm: Any) -> bool:
    """Whether the answer is one, or begins like one where the limit came before its first line."""
    try:
        response = llm.generate("Write a Python function", guided_regex=r"def \w+\([^)]*\):\n(?:\s{4}.*\n)+")
    except TruncatedOutputError as cut:
        return cut.partial.startswith("def ")
    return bool(re.fullmatch(r"def \w+\([^)]*\):\n(?:\s{4}.*\n)+", response.content))


def list_of_strings(llm: Any) -> bool:
    """Whether the answer is one, or begins like one where the limit cut it."""
    try:
        response = llm.generate("List 3 colors", guided_json={"type": "array", "items": {"type": "string"}})
    except TruncatedOutputError as cut:
        return cut.partial.lstrip().startswith("[")
    return all(isinstance(item, str) for item in json.loads(response.content))


def test_a_pattern_without_end_is_cut_and_trimmed_and_said_so(llm: VLLMProvider) -> None:
    lines = r"(?:[a-z]{1,6}\n)+"
    asked: dict[str, Any] = {"guided_regex": lines, "max_output_tokens": 14, "extra_body": {"min_tokens": 14}}
    answer = llm.generate("Count.", **asked, on_cut="trim")
    assert re.fullmatch(lines, answer.content)
    assert answer.metadata["constraint"]["trimmed"]
    with pytest.raises(TruncatedOutputError) as caught:
        llm.generate("Count.", **asked)
    assert caught.value.partial


def take_for(monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    """Has every server taken for one that wants this spelling, whatever it says of itself."""
    monkeypatch.setattr(dialect.Dialect, "spelling", lambda self, surface: spelling)


@EACH
@pytest.mark.parametrize("stream", [False, True])
def test_the_proof_works(
    llm: VLLMProvider, constraint: dict[str, Any], expected: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is sent the old spelling, which it ignores with 200 and free text: that is no answer."""
    take_for(monkeypatch, "guided")
    with pytest.raises(ConstraintViolationError) as caught:
        consume(
            llm.generate(
                "Once upon a time",
                raw_prompt=True,
                max_output_tokens=8,
                stream=stream,
                allow_unknown=True,  # else the field is refused for not being in the schema
                **constraint,
            )
        )
    assert not isinstance(caught.value, TruncatedOutputError)
    assert str(caught.value.spelling).startswith("guided_")


def consume(answer: Any) -> None:
    list(answer)


@pytest.mark.parametrize(
    "extra",
    [{"extra_body": {"guided_regex": "[0-9]"}}, {"guided_nonsense": 1}, {"structured_outputs_": {"regex": "a"}}],
)
def test_what_the_server_would_ignore_is_not_sent(llm: VLLMProvider, extra: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFeatureError, match="would answer 200 and ignore it"):
        llm.generate("x", extra_body=extra)


@pytest.mark.parametrize("by_hand", [{"guided_regex": "[0-9]{4}"}, {"structured_outputs": {"regex": "[0-9]{4}"}}])
def test_a_constraint_by_hand_is_negotiated(llm: VLLMProvider, by_hand: dict[str, Any]) -> None:
    answer = llm.generate(**PROMPT, extra_body=by_hand)
    assert re.fullmatch("[0-9]{4}", answer.content)
    assert answer.metadata["constraint"]["spelling"] == "structured_outputs.regex"


@pytest.mark.parametrize("status", [404, 401, 200])
def test_a_server_that_hides_itself_is_asked_for_one_token(vllm: LiveServer, status: int) -> None:
    hiding = Hiding(status)
    llm = VLLMProvider(vllm.model, base_url=vllm.base_url, api_key=f"hidden-{status}", transport=hiding)
    answer = llm.generate(**PROMPT, guided_regex="[0-9]{3}")
    assert re.fullmatch("[0-9]{3}", answer.content)
    assert "as one token showed" in answer.metadata["note"]
    assert answer.metadata["constraint"]["spelling"] == "structured_outputs.regex + guided_regex"


def test_a_server_behind_a_gateway_that_drops_the_fields_is_refused_before_it_generates(vllm: LiveServer) -> None:
    gateway = Hiding(404, drops=("structured_outputs", "guided_choice", "guided_regex"))
    llm = VLLMProvider(vllm.model, base_url=vllm.base_url, api_key="dropped", transport=gateway)
    with pytest.raises(UnsupportedFeatureError, match="came back unbound"):
        llm.generate(**PROMPT, guided_regex="[0-9]{3}")
    assert gateway.generated == 1


def test_what_was_learned_is_forgotten_after_a_violation(llm: VLLMProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server was upgraded behind our back: the first violation asks it anew, and the answer is right."""
    endpoint = llm._endpoint
    server_plans._known[server_plans._key(endpoint)] = server_plans._Known(
        dialect.read_dialect("0.10.2", None), float("inf")
    )
    answer = llm.generate(**PROMPT, guided_regex="[0-9]{3}")
    assert answer.metadata["constraint"]["spelling"] == "structured_outputs.regex"
