"""A real vLLM 0.10.2, which obeys only ``guided_*`` and ignores ``structured_outputs`` with 200 and free text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from abstractcore import (
    ConstraintViolationError,
    ContextLengthError,
    ModelNotFoundError,
    TruncatedOutputError,
    UnsupportedFeatureError,
    VLLMProvider,
)
from abstractcore.providers.vllm import dialect
from tests.live.conftest import LiveServer
from tests.live.hiding import Hiding

SCHEMA = {
    "type": "object",
    "properties": {"n": {"enum": [1, 2, 3]}},
    "required": ["n"],
    "additionalProperties": False,
}
CONSTRAINTS: list[tuple[dict[str, Any], str]] = [
    ({"guided_regex": r"[0-9]{3}-[A-Z]{2}"}, r"[0-9]{3}-[A-Z]{2}"),
    ({"guided_choice": ["alpha", "beta"]}, "alpha|beta"),
    ({"guided_grammar": 'root ::= "yes" | "no"'}, "yes|no"),
    ({"guided_json": SCHEMA}, r"\{.*\}"),
]
EACH = pytest.mark.parametrize(("constraint", "expected"), CONSTRAINTS, ids=[next(iter(row[0])) for row in CONSTRAINTS])


@pytest.fixture
def old(old_vllm: LiveServer) -> Iterator[VLLMProvider]:
    with VLLMProvider(old_vllm.model, base_url=old_vllm.base_url) as provider:
        yield provider


def test_it_is_what_it_is_taken_for(old: VLLMProvider) -> None:
    assert str(old.server_version()).startswith("0.10.2")
    assert old.model_info().context_length == 2048
    assert old.generate("Hello", max_output_tokens=4).content


@EACH
@pytest.mark.parametrize("raw", [False, True], ids=["chat", "raw"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_same_call_is_obeyed_and_proved(
    old: VLLMProvider, constraint: dict[str, Any], expected: str, raw: bool, stream: bool
) -> None:
    answer: Any = old.generate("Answer me.", raw_prompt=raw, max_output_tokens=200, stream=stream, **constraint)
    chunks = list(answer) if stream else [answer]
    assert re.fullmatch(expected, "".join(chunk.content for chunk in chunks), re.DOTALL)
    [name] = constraint
    proof = chunks[-1].metadata["constraint"]
    assert proof["proved"]
    assert proof["spelling"] == ("response_format" if name == "guided_json" and not raw else name)


async def test_async_too(old_vllm: LiveServer) -> None:
    async with VLLMProvider(old_vllm.model, base_url=old_vllm.base_url) as llm:
        answer = await llm.agenerate("x", guided_choice=["alpha", "beta"])
    assert answer.content in ("alpha", "beta")


@pytest.mark.parametrize("stream", [False, True])
def test_the_new_spelling_forced_upon_it_is_noticed(
    old: VLLMProvider, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect.Dialect, "spelling", lambda self, surface: "structured_outputs")
    # Else the field is refused for not being in the schema.
    old_as_told = VLLMProvider(old.model, base_url=old.base_url, allow_unknown=True)
    with pytest.raises(ConstraintViolationError) as caught:
        consume(old_as_told.generate("x", guided_regex="[0-9]{3}-[A-Z]{2}", max_output_tokens=12, stream=stream))
    assert not isinstance(caught.value, TruncatedOutputError)
    assert caught.value.spelling == "structured_outputs.regex"


def consume(answer: Any) -> None:
    list(answer)


@pytest.mark.parametrize("by_hand", [{"guided_regex": "[0-9]{4}"}, {"structured_outputs": {"regex": "[0-9]{4}"}}])
def test_a_constraint_by_hand_is_negotiated(old: VLLMProvider, by_hand: dict[str, Any]) -> None:
    answer = old.generate("x", extra_body=by_hand)
    assert re.fullmatch("[0-9]{4}", answer.content)
    assert answer.metadata["constraint"]["spelling"] == "guided_regex"


@pytest.mark.parametrize("extra", [{"extra_body": {"guided_regex": "a"}}, {"thinking_token_budget": 3}])
def test_what_it_would_ignore_is_not_sent(old: VLLMProvider, extra: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFeatureError, match=r"server version 0\.10\.2"):
        old.generate("x", extra_body=extra)


def test_hidden_behind_a_proxy_it_is_asked_for_one_token(old_vllm: LiveServer) -> None:
    llm = VLLMProvider(old_vllm.model, base_url=old_vllm.base_url, api_key="hidden", transport=Hiding(404))
    answer = llm.generate("x", guided_regex="[0-9]{3}")
    assert re.fullmatch("[0-9]{3}", answer.content)
    assert "as one token showed" in answer.metadata["note"]


def test_its_errors_are_read(old_vllm: LiveServer, old: VLLMProvider) -> None:
    with pytest.raises(ModelNotFoundError) as missing:
        VLLMProvider("nope", base_url=old_vllm.base_url).generate("x")
    assert old_vllm.model in missing.value.available
    with pytest.raises(ContextLengthError, match=r"the prompt has \d+ tokens"):
        old.generate("hello " * 3000)


def test_json_of_a_class(old: VLLMProvider) -> None:
    answer = old.generate("x", guided_json=json.dumps(SCHEMA), max_output_tokens=200)
    assert json.loads(answer.content)["n"] in (1, 2, 3)
