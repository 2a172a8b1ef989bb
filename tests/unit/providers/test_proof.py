"""A finished answer against its constraint: proved, trimmed or refused."""

from __future__ import annotations

from typing import Any

import pytest

from abstractcore import ConstraintViolationError, TruncatedOutputError
from abstractcore.constraint import Choice, Constraint, Grammar, JsonSchema, Regex
from abstractcore.providers.proof import settle
from abstractcore.types import Alternative, GenerateRequest

SENTENCES = Regex(r"(?:[a-z]+\. ?)+")


def settled(
    text: str, constraint: Constraint, finish_reason: str = "length", **options: Any
) -> tuple[str, dict[str, Any]]:
    answer = Alternative(index=0, content=text, finish_reason=finish_reason)
    record = settle(answer, GenerateRequest(messages=[], constraint=constraint, **options), "spelled so")
    return answer.content, record


def test_an_answer_that_holds_is_proved() -> None:
    text, record = settled("a. b.", SENTENCES, "stop")
    assert text == "a. b."
    assert record == {"kind": "regex", "spelling": "spelled so", "proved": True, "checker": "llguidance"}


def test_an_answer_that_departs_is_a_violation() -> None:
    with pytest.raises(ConstraintViolationError, match="does not satisfy the regex") as caught:
        settled("a! b.", SENTENCES, "stop")
    error = caught.value
    assert not isinstance(error, TruncatedOutputError)
    assert (error.text, error.constraint, error.spelling) == ("a! b.", SENTENCES, "spelled so")
    assert "departs from the regex at character 1: '! b.'" in str(error)


@pytest.mark.parametrize(("limit", "name"), [(5, "max_output_tokens=5"), (None, "the model's context")])
def test_a_cut_answer_is_trimmed_on_request_and_says_so(limit: int | None, name: str) -> None:
    text, record = settled("a. b. c", SENTENCES, on_cut="trim", max_output_tokens=limit)
    assert text == "a. b. "
    assert (record["trimmed"], record["cut_by"], record["cut_text"]) == (True, name, "c")


def test_a_cut_answer_raises_if_the_caller_set_the_limit() -> None:
    with pytest.raises(TruncatedOutputError, match="max_output_tokens=5 cut the answer") as caught:
        settled("a. b. c", SENTENCES, max_output_tokens=5)
    assert caught.value.partial == "a. b. c"
    assert "on_cut='trim'" in str(caught.value.hint)


def test_a_cut_answer_is_trimmed_if_the_models_context_was_the_limit() -> None:
    assert settled("a. b. c", SENTENCES)[0] == "a. b. "


def test_a_cut_answer_raises_if_no_part_of_it_holds() -> None:
    with pytest.raises(TruncatedOutputError):
        settled("abc", SENTENCES, on_cut="trim")


@pytest.mark.parametrize("on_cut", ["trim", "raise", None])
@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("a. Sure! Here", SENTENCES),
        ("12 is my", Grammar('root ::= [0-9]+ ("+" [0-9]+)*')),
        ("Sure, here is the JSON: {", JsonSchema({})),
        ("I think ye", Choice(["yes", "no"])),
    ],
)
def test_a_cut_answer_that_departs_is_no_cut_but_a_violation(text: str, constraint: Constraint, on_cut: Any) -> None:
    """A server that ignores the constraint must not pass by way of a trim."""
    with pytest.raises(ConstraintViolationError, match="does not satisfy") as caught:
        settled(text, constraint, on_cut=on_cut)
    assert not isinstance(caught.value, TruncatedOutputError)


@pytest.mark.parametrize("constraint", [Regex("[0-9]{3}"), Choice(["123"]), Grammar("root ::= [0-9] [0-9] [0-9]")])
def test_an_answer_that_was_complete_at_the_limit_is_no_cut(constraint: Constraint) -> None:
    text, record = settled("123", constraint, max_output_tokens=3)
    assert text == "123"
    assert "trimmed" not in record


def test_json_and_choices_are_never_trimmed() -> None:
    for constraint, text in ((JsonSchema({}), '{"a": 1'), (Choice(["yes", "yesterday"]), "yes")):
        with pytest.raises(TruncatedOutputError) as caught:
            settled(text, constraint, on_cut="trim")
        assert "on_cut" not in str(caught.value.hint)


def test_a_cut_inside_a_character_is_a_cut() -> None:
    with pytest.raises(TruncatedOutputError):
        settled("ab\N{REPLACEMENT CHARACTER}", Regex("[a-zé]{9}"), max_output_tokens=3)
