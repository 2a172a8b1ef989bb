"""Options of generate become one request, or a clear refusal."""

from __future__ import annotations

from typing import Any

import pytest

from abstractcore import ConfigurationError, InvalidConstraintError
from abstractcore.constraint import Choice, Grammar, JsonSchema, Regex
from abstractcore.providers.request import GUIDED, GenerateOptions, build_request, timeouts_of
from abstractcore.structural_tag import StructuralTag
from abstractcore.types import GenerateRequest, Message
from abstractcore.wire.call import Timeouts


def made(prompt: str | None = "hi", /, **options: Any) -> GenerateRequest:
    return build_request(prompt, options)


def test_a_prompt_alone() -> None:
    request = made()
    assert request == GenerateRequest(messages=[{"role": "user", "content": "hi"}])


def test_messages_come_before_the_prompt() -> None:
    request = made(messages=[Message("user", "a"), {"role": "assistant", "content": "b"}], system_prompt="s")
    assert [(row["role"], row["content"]) for row in request.messages] == [
        ("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "hi"),
    ]  # fmt: skip


def test_every_option_has_its_place() -> None:
    request = made(
        temperature=0.5, top_p=0.9, top_k=3, min_p=0.1, presence_penalty=1, frequency_penalty=1,
        repetition_penalty=1.1, seed=4, stop=["x"], n=2, max_tokens=5, logprobs=2, model="m", on_cut="trim",
        extra_body={"x": 1}, allow_unknown=True, timeout=3, guided_regex="a",
    )  # fmt: skip
    assert request.sampling == {
        "temperature": 0.5, "top_p": 0.9, "top_k": 3, "min_p": 0.1, "presence_penalty": 1, "frequency_penalty": 1,
        "repetition_penalty": 1.1, "seed": 4, "stop": ["x"],
    }  # fmt: skip
    assert (request.n, request.max_output_tokens, request.logprobs, request.model) == (2, 5, 2, "m")
    assert (request.on_cut, request.extra_body, request.allow_unknown) == ("trim", {"x": 1}, True)
    assert request.constraint == Regex("a")


def test_none_is_the_same_as_left_out() -> None:
    assert build_request("hi", dict.fromkeys(GenerateOptions.__annotations__)) == made()


@pytest.mark.parametrize(("given", "kept"), [(None, None), (False, None), (True, 0), (0, 0), (3, 3)])
def test_logprobs(given: Any, kept: int | None) -> None:
    assert made(logprobs=given).logprobs == kept


def test_a_raw_prompt_has_no_messages() -> None:
    request = made(raw_prompt=True)
    assert (request.raw_prompt, request.messages) == ("hi", [])


@pytest.mark.parametrize(
    ("name", "value", "constraint"),
    [
        ("guided_json", {"type": "array"}, JsonSchema({"type": "array"})),
        ("guided_json", '{"type": "array"}', JsonSchema({"type": "array"})),
        ("guided_regex", "a+", Regex("a+")),
        ("guided_grammar", 'root ::= "a"', Grammar('root ::= "a"')),
        ("guided_choice", ["a", "b"], Choice(["a", "b"])),
        (
            "guided_structural_tag",
            {"type": "const_string", "value": "a"},
            StructuralTag({"type": "const_string", "value": "a"}),
        ),
    ],
)
def test_a_constraint(name: str, value: Any, constraint: Any) -> None:
    assert made(**{name: value}).constraint == constraint


def test_all_constraints_are_tried_above() -> None:
    named = {"guided_json", "guided_regex", "guided_grammar", "guided_choice", "guided_structural_tag"}
    assert set(GUIDED) == named


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": None}, "nothing to answer"),
        ({"raw_prompt": True, "system_prompt": "s"}, "raw_prompt takes a prompt and nothing else"),
        ({"raw_prompt": True, "messages": [Message("user", "a")]}, "raw_prompt takes a prompt and nothing else"),
        ({"raw_prompt": True, "prompt": None}, "raw_prompt takes a prompt and nothing else"),
        ({"max_tokens": 3, "max_output_tokens": 4}, r"differ: \[3, 4\]"),
        ({"max_tokens": 0}, "at least 1; it is 0"),
        ({"n": 0}, "n must be at least 1"),
        ({"n": 2, "temperature": 0}, "the same answer 2 times"),
        ({"on_cut": "drop"}, "'raise' or 'trim'"),
    ],
)
def test_what_makes_no_sense_is_told(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        made(options.pop("prompt", "hi"), **options)


def test_one_limit_under_both_names_is_fine() -> None:
    assert made(max_tokens=3, max_output_tokens=3).max_output_tokens == 3


def test_two_constraints_are_told() -> None:
    with pytest.raises(InvalidConstraintError, match="guided_json and guided_regex were given"):
        made(guided_json={}, guided_regex="a")


@pytest.mark.parametrize(
    "options",
    [{"guided_regex": "("}, {"guided_json": {"type": "nope"}}, {"guided_grammar": ""}, {"guided_choice": []}],
)
def test_a_constraint_that_does_not_compile_is_told_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConstraintError, match="does not compile"):
        made(**options)


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(TypeError, match="unknown option 'temprature'; did you mean 'temperature'"):
        made(temprature=1)
    with pytest.raises(TypeError, match="extra_body"):
        made(zzz=1)


def test_the_callers_own_fields_are_not_changed() -> None:
    mine = {"min_tokens": 3}
    made(extra_body=mine).extra_body["x"] = 1
    assert mine == {"min_tokens": 3}


def test_time_limits() -> None:
    default = Timeouts(connect=1, first_byte=2, idle=3, total=None)
    assert timeouts_of(made(), default) == default
    assert timeouts_of(made(timeout=5), default) == Timeouts(1, 2, 3, 5.0)
    assert timeouts_of(made(timeout=Timeouts(idle=9)), default) == Timeouts(idle=9)
