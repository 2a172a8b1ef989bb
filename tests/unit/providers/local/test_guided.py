"""Constraints as grammars that hold an answer, and the proof that means the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llguidance import LLTokenizer

from abstractcore.constraint import Choice, Constraint, Grammar, JsonSchema, Regex
from abstractcore.errors import InvalidConstraintError, UnsupportedFeatureError
from abstractcore.providers.local.engine import EngineError
from abstractcore.providers.local.guided import Guide, check, grammar_of

END = 261


@pytest.fixture(scope="module")
def vocabulary() -> LLTokenizer:
    return LLTokenizer("byte")


def allowed(guide: Guide) -> set[int]:
    mask = guide.mask()
    return {token for token in range(262) if mask[token // 8] >> token % 8 & 1}


def follow(vocabulary: LLTokenizer, constraint: Constraint, text: str) -> tuple[bool, bool]:
    """Whether the guide lets a text be written and ended, and whether nothing could follow."""
    guide, over = Guide(vocabulary, grammar_of(constraint)), False
    for byte in text.encode():
        if over or byte not in allowed(guide):
            return False, over
        over = guide.advance(byte)
    return over or END in allowed(guide), over


@pytest.mark.parametrize(
    ("constraint", "text", "over"),
    [
        (Regex(r"[a-c]{2}"), "ab", True),
        (Regex(r"[a-c]+"), "ab", False),
        (Regex("ü."), "üx", True),
        (Choice(["yes", "yes!"]), "yes", False),
        (Choice(["yes", "yes!"]), "yes!", True),
        (Grammar('root ::= "a" [0-9]'), "a1", True),
        (Grammar('start: "a" /[0-9]/'), "a1", True),
        (JsonSchema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}), '{"n": 1}', True),
        (JsonSchema(True), "[1, {}]", True),
    ],
    ids=repr,
)
def test_every_kind_is_held(vocabulary: LLTokenizer, constraint: Constraint, text: str, over: bool) -> None:
    check(constraint, "huggingface")
    assert follow(vocabulary, constraint, text) == (True, over)
    assert constraint.prove(text).holds


@pytest.mark.parametrize("text", ["x\ny", "x\u2028y", "xéy", "x y"])
def test_a_dot_means_to_the_guide_what_it_means_to_the_proof(vocabulary: LLTokenizer, text: str) -> None:
    constraint = Regex("x.y")
    assert follow(vocabulary, constraint, text)[0] == constraint.prove(text).holds == (text != "x\ny")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(options=st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4))
def test_a_choice_holds_whatever_its_options_are_made_of(vocabulary: LLTokenizer, options: list[str]) -> None:
    constraint = Choice([option.encode("utf-8", "ignore").decode() or "x" for option in options])
    for option in constraint.options:
        assert follow(vocabulary, constraint, option)[0]
    assert not follow(vocabulary, constraint, constraint.options[0] + "\x7f#")[0]


def test_white_space_in_json_comes_to_an_end(vocabulary: LLTokenizer) -> None:
    constraint = JsonSchema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    pretty = json.dumps({"n": 1}, indent=4)
    assert follow(vocabulary, constraint, pretty)[0]
    assert not follow(vocabulary, constraint, '{"n":' + " " * 30 + "1}")[0]


@pytest.mark.parametrize(
    "schema", [{"type": "array", "uniqueItems": True}, {"not": {"type": "string"}}, {"if": {"type": "string"}}]
)
def test_what_the_engine_can_not_hold_is_refused_before_a_model_is_loaded(schema: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFeatureError, match=next(name for name in schema if name != "type")):
        check(JsonSchema(schema), "mlx")


def test_a_schema_that_nothing_satisfies_is_refused() -> None:
    with pytest.raises(InvalidConstraintError, match="nothing can satisfy"):
        check(JsonSchema(False), "mlx")


def test_a_token_that_was_not_allowed_is_an_error(vocabulary: LLTokenizer) -> None:
    guide = Guide(vocabulary, grammar_of(Regex("a+")))
    with pytest.raises(EngineError, match="can't be followed"):
        guide.advance(ord("b"))


def test_a_grammar_that_does_not_compile_is_an_error(vocabulary: LLTokenizer) -> None:
    with pytest.raises(EngineError, match="does not compile"):
        Guide(vocabulary, 'start: "a')
