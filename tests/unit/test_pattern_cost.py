"""How long patterns become, and that what nobody could wait for is refused before anything is sent."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abstractcore.constraint import Choice, Constraint, Grammar, JsonSchema, Regex
from abstractcore.errors import InvalidConstraintError
from abstractcore.pattern_cost import grammar_size, regex_size, schema_size

HANGS = 20.0
"""Seconds. What is refused takes a tenth of one on a quiet machine; without the limits it was minutes and more."""


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        ("a{3}", 3),
        ("(a{50}){50}", 2500),
        ("((a{100}){100}){100}", 1_000_000),
        (r"\d{4}-\d{2}-\d{2}", 10),
        (r"\p{L}{1,5}x{3,}", 8),
        ("[a-z]{1,20}@[^]{9}]{2}", 23),
        ("[[:alpha:]]{7}", 7),
        (r"\{9\}", 3),
        ("(?:ab|c){3}", 9),
        ("x{1000000000000000000000}", 10**12),
        ("a)b{1000}){1000}", 1_001_000),
    ],
)
def test_the_size_of_a_regex(pattern: str, size: int) -> None:
    assert regex_size(pattern) == size


def test_a_comment_hides_no_repetition() -> None:
    assert regex_size("(?x)(a{1000} # (\n b){1000}") >= 1_000_000


def test_a_terminal_counts_where_it_is_used() -> None:
    assert grammar_size('start: T2\nT0: /a{100}/\nT1: T0{100}\nT2: (T1 "abc"){1,50}') >= 500_000
    assert grammar_size('start: a\na: a a | "x{1000}" // {1000}\n') < 20


def test_the_patterns_of_a_schema_count_together() -> None:
    schema = {"properties": {"pattern": {"pattern": "a{50}"}}, "patternProperties": {"b{20}": {"items": [{}]}}}
    assert schema_size(schema) == 70


@given(st.recursive(st.sampled_from("ab."), lambda inner: st.tuples(inner, inner, st.integers(1, 4)), max_leaves=8))
def test_the_size_is_that_of_the_pattern_written_out(tree: Any) -> None:
    def both(node: Any) -> tuple[str, int]:
        if isinstance(node, str):
            return node, 1
        (left, one), (right, other), count = both(node[0]), both(node[1]), node[2]
        return f"(?:{left}{right}){{{count}}}", (one + other) * count

    pattern, size = both(tree)
    assert regex_size(pattern) == size


def _rows(count: int, row: Any) -> str:
    return json.dumps([row] * count)


MANY_PATTERNS = JsonSchema({"items": [{"pattern": rf"\p{{L}}{{{200 + i}}}"} for i in range(300)]})
OBJECTS = JsonSchema({"items": {"enum": [{"a": i} for i in range(5000)]}})
WAYS = JsonSchema({"items": {"oneOf": [{"const": i} for i in range(1000)]}})
HOSTILE: list[tuple[str, Constraint, str]] = [
    ("repetitions within each other", Regex("(((a{100}){100}){100}){100}"), "aa"),
    ("a huge repetition", Regex("X{99999999}w"), "ab"),
    ("a repetition in a grammar", Grammar('start: ("a"{1,1000}){1,1000}'), "aa"),
    ("terminals of terminals", Grammar("start: C\nA: /a{1000}/\nB: A{1000}\nC: B{1000}"), "aa"),
    ("rules without end", Grammar("\n".join(f'r{i} ::= "a" r{i + 1}' for i in range(10_000))), "aa"),
    ("a pattern in a schema", JsonSchema({"pattern": "^((a{100}){100}){100}$"}), '"a"'),
    (
        "many patterns in a schema",
        MANY_PATTERNS,
        "[]",
    ),
]


@pytest.mark.parametrize(("constraint", "text"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_what_would_take_minutes_to_compile_is_refused(constraint: Constraint, text: str) -> None:
    started = time.monotonic()
    with pytest.raises(InvalidConstraintError) as refused:
        constraint.check()
    assert time.monotonic() - started < HANGS
    assert refused.value.why
    assert refused.value.hint


DEAR: list[tuple[str, Constraint, str]] = [
    ("a grammar of cubic time", Grammar('start: start start | "a"'), "a" * 3000),
    ("a regex of many ways", Regex(r"(\p{L}{1,100}){1,100}!"), "a" * 3000),
    ("objects compared one by one", OBJECTS, _rows(5000, {"a": 0})),
    ("a thousand ways for each value", WAYS, _rows(9999, 5)),
    ("patterns for each name", JsonSchema({"patternProperties": {f"^a.*{i}$": {} for i in range(300)}}),
     json.dumps({f"aaaa{i}": 1 for i in range(3000)})),
]  # fmt: skip


@pytest.mark.parametrize(("constraint", "text"), [row[1:] for row in DEAR], ids=[row[0] for row in DEAR])
def test_what_would_take_long_to_prove_is_no_proof(constraint: Constraint, text: str) -> None:
    constraint.check()
    started = time.monotonic()
    proof = constraint.prove(text)
    assert time.monotonic() - started < HANGS
    assert not proof.holds
    assert proof.why is not None
    assert "too co" in proof.why  # too complex, too costly: it does not say that the text is wrong


@pytest.mark.parametrize("pattern", [r"(\p{L}{1,100}){1,100}!", "[a-z]{0,5000}[a-m]{0,5000}!"])
def test_a_text_that_is_given_up_takes_no_other_with_it(pattern: str) -> None:
    constraint = Regex(pattern)
    for use in (constraint.prove, constraint.begins, constraint.complete, constraint.trim):
        use("ab" * 3000)
        assert constraint.prove("a!").holds


def test_an_answer_that_fails_everywhere_is_refused_at_its_first_fault() -> None:
    constraint = JsonSchema({"items": {"anyOf": [{"const": i} for i in range(90)]}})
    started = time.monotonic()
    # Of 2,000 rows a list of all faults took half a minute.
    assert "at /0" in str(constraint.prove(_rows(150, 999)).why)
    assert time.monotonic() - started < HANGS


def test_a_pattern_that_looks_back_is_given_up() -> None:
    constraint = JsonSchema({"items": {"anyOf": [{"pattern": r"^(a*)*\1b$"}, {"type": "string"}]}})
    started = time.monotonic()
    assert constraint.prove(_rows(500, "a" * 300 + "!")).holds
    assert time.monotonic() - started < HANGS


@pytest.mark.parametrize(
    ("constraint", "text"),
    [
        (JsonSchema({"type": "array", "items": {"type": "integer"}}), _rows(100_000, 1)),
        (JsonSchema({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"type": "integer"}}}}), _rows(100_000, 1)),
        (Regex(r"[\s\S]*"), "ab c\n" * 20_000),
        (Choice([f"w{i}" for i in range(10_000)]), "w9999"),
    ],
    ids=["numbers", "references", "text", "choices"],
)
def test_what_is_only_long_is_proved(constraint: Constraint, text: str) -> None:
    constraint.check()
    assert constraint.prove(text).holds


# --- verdicts beside those of others ---------------------------------------------------------------------------------

LEAVES = st.sampled_from(["a", "b", "[ab]", "[^a]", ".", "(?:a|bc)", ""])
PATTERNS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,3}"])).map(lambda two: f"(?:{two[0]}){two[1]}"),
    ),
    max_leaves=5,
)


@settings(max_examples=150)
@given(PATTERNS, st.lists(st.text("abc", max_size=6), min_size=3, max_size=5))
def test_a_regex_is_proved_as_python_matches_it(pattern: str, texts: list[str]) -> None:
    for text in texts:
        assert Regex(pattern).prove(text).holds == (re.fullmatch(pattern, text) is not None), (pattern, text)


@settings(max_examples=60)
@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=5), st.text("ab", max_size=4))
def test_a_choice_is_proved_as_it_is_written(options: list[str], text: str) -> None:
    choice = Choice(options)
    assert choice.prove(text).holds == (text in options)
    assert choice.begins(text).holds == any(option.startswith(text) for option in options)


NAMES = st.sampled_from("ab")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "bb"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=5,
)
SCHEMAS = st.recursive(
    st.sampled_from([{}, {"type": "string"}, {"type": "integer"}, {"type": "null"}, {"minimum": 1}, False])
    | st.lists(VALUES, min_size=1, max_size=3).map(lambda options: {"enum": options}),
    lambda inner: st.one_of(
        st.dictionaries(NAMES, inner, max_size=2).map(lambda each: {"properties": each, "additionalProperties": False}),
        inner.map(lambda one: {"type": "array", "items": one, "maxItems": 2}),
        st.lists(inner, min_size=1, max_size=3).flatmap(
            lambda parts: st.sampled_from(["anyOf", "allOf", "oneOf"]).map(lambda keyword: {keyword: parts})
        ),
        inner.map(lambda one: {"not": one}),
        st.lists(NAMES, max_size=2, unique=True).map(lambda names: {"required": names, "type": "object"}),
    ),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=150)
@given(SCHEMAS, st.lists(VALUES, min_size=3, max_size=5))
def test_a_schema_is_proved_as_another_validator_reads_it(schema: Any, documents: list[Any]) -> None:
    for document in documents:
        expected = jsonschema.Draft202012Validator(schema).is_valid(document)
        assert JsonSchema(schema).prove(json.dumps(document)).holds == expected, (schema, document)
