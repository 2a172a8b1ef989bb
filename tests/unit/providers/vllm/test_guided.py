"""How a constraint is written for a server, and what of a hand-written request is one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore import InvalidConstraintError
from abstractcore.constraint import Choice, Constraint, Grammar, JsonSchema, Regex
from abstractcore.providers.vllm.dialect import Dialect, Surface, read_dialect
from abstractcore.providers.vllm.guided import explicit_dots, lift, write

NEW, OLD, NOTHING_KNOWN = read_dialect("0.32.0", None), read_dialect("0.10.2", None), read_dialect(None, None)
OTHER_CONSTRAINTS = [Regex("a+"), Choice(["a", "b"]), Grammar('root ::= "a"')]


# --- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("constraint", OTHER_CONSTRAINTS, ids=lambda constraint: constraint.kind)
@pytest.mark.parametrize("surface", ["chat", "completions"])
def test_each_era_has_its_spelling(constraint: Constraint, surface: Surface) -> None:
    kind, value = constraint.kind, constraint.value
    new, old = {"structured_outputs": {kind: value}}, {f"guided_{kind}": value}
    assert write(constraint, surface, NEW) == (new, f"structured_outputs.{kind}")
    assert write(constraint, surface, OLD) == (old, f"guided_{kind}")
    assert write(constraint, surface, NOTHING_KNOWN) == (new | old, f"structured_outputs.{kind} + guided_{kind}")


@pytest.mark.parametrize("dialect", [NEW, OLD, NOTHING_KNOWN])
def test_json_on_chats_is_the_same_everywhere(dialect: Dialect) -> None:
    schema = {"type": "array"}
    assert write(JsonSchema(schema), "chat", dialect) == (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}},
        "response_format",
    )


def test_json_on_completions_is_spelled_like_the_others() -> None:
    schema = {"type": "array"}
    assert write(JsonSchema(schema), "completions", OLD) == ({"guided_json": schema}, "guided_json")
    assert write(JsonSchema(schema), "completions", NEW) == (
        {"structured_outputs": {"json": schema}},
        "structured_outputs.json",
    )


def test_a_server_that_obeys_no_spelling_gets_none() -> None:
    assert write(Regex("a"), "chat", Dialect(assumed=None)) is None


def test_the_schema_that_allows_all_is_written_as_an_object() -> None:
    written = write(JsonSchema(True), "completions", OLD)
    assert written
    assert written.fields == {"guided_json": {}}


# --- dots ------------------------------------------------------------------------------------------------------------

atoms = st.sampled_from([".", r"\.", "[.]", r"[^.]", r"[\].]", "a", r"\\", r"\n", "[^a]", r"\[", "é", r"\s"])
patterns = st.lists(
    st.tuples(atoms, st.sampled_from(["", "?", "*", "+", "{1,2}"])).map("".join), min_size=1, max_size=6
).map("".join)


@given(patterns, st.text(alphabet=".a\\\n[]é ", max_size=6))
def test_explicit_dots_change_no_language(pattern: str, text: str) -> None:
    assert bool(re.fullmatch(pattern, text)) == bool(re.fullmatch(explicit_dots(pattern), text))


@given(patterns, st.text(alphabet=".a\\\n[]é ", max_size=6))
def test_explicit_dots_leave_no_dot_that_a_flag_could_change(pattern: str, text: str) -> None:
    made = explicit_dots(pattern)
    assert bool(re.fullmatch(made, text)) == bool(re.fullmatch(made, text, re.DOTALL))


@pytest.mark.parametrize(
    ("pattern", "sent"),
    [
        ("x.{3}y", r"x[^\n]{3}y"),
        (r"1\.5.", r"1\.5[^\n]"),
        (r"[.\]].", r"[.\]][^\n]"),
        (r"\\.", r"\\[^\n]"),
        ("(?s)a.b", "(?s)a.b"),
        ("(?s:a.b).", "(?s:a.b)."),
        ("(?:a.)", r"(?:a[^\n])"),
        ("(?i)a.", r"(?i)a[^\n]"),
        ("(?ims)a.", "(?ims)a."),
        ("[[:alpha:].].", r"[[:alpha:].][^\n]"),
        ("[a-z&&[^.]].", r"[a-z&&[^.]][^\n]"),
        ("[].].", r"[].][^\n]"),
        ("[^].].", r"[^].][^\n]"),
    ],
)
def test_dots_are_sent_explicitly(pattern: str, sent: str) -> None:
    assert explicit_dots(pattern) == sent
    assert Regex(sent).prove("x") == Regex(pattern).prove("x")


# --- written by hand -------------------------------------------------------------------------------------------------

SCHEMA = {"type": "object", "required": ["a"]}


@pytest.mark.parametrize(
    ("written", "constraint"),
    [
        ({"structured_outputs": {"regex": "a"}}, Regex("a")),
        ({"structured_outputs": {"json": SCHEMA}}, JsonSchema(SCHEMA)),
        ({"structured_outputs": {"json_object": True}}, JsonSchema({"type": "object"})),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}, JsonSchema(SCHEMA)),
        ({"response_format": {"type": "json_object"}}, JsonSchema({"type": "object"})),
        ({"guided_regex": "a"}, Regex("a")),
        ({"guided_choice": ["a"]}, Choice(["a"])),
        ({"guided_json_object": True}, JsonSchema({"type": "object"})),
    ],
)
def test_a_constraint_written_by_hand_is_one_like_any_other(written: dict[str, Any], constraint: Constraint) -> None:
    assert lift({**written, "min_tokens": 1}) == (constraint, {"min_tokens": 1})


def test_the_format_that_kills_an_engine_is_left_out() -> None:
    assert lift({"response_format": {"type": "text"}}) == (None, {})


@pytest.mark.parametrize(
    "written",
    [
        {"structured_outputs": {"regex": "a", "whitespace_pattern": " "}},
        {"structured_outputs": {}},
        {"structured_outputs": "a"},
        {"response_format": "json"},
    ],
)
def test_what_can_not_be_proved_stays_as_it_is(written: dict[str, Any]) -> None:
    assert lift(written) == (None, written)


@pytest.mark.parametrize(
    "written", [{"structured_outputs": {"structural_tag": "{}"}}, {"response_format": {"type": "structural_tag"}}]
)
def test_a_structural_tag_without_content_is_refused(written: dict[str, Any]) -> None:
    with pytest.raises(InvalidConstraintError, match="structural tag"):
        lift(written)


@pytest.mark.parametrize(
    "written",
    [
        {"structured_outputs": {"regex": "a", "choice": ["a"]}},
        {"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}},
        {"structured_outputs": {"regex": "a"}, "guided_regex": "b"},
    ],
)
def test_two_constraints_by_hand_are_told(written: dict[str, Any]) -> None:
    with pytest.raises(InvalidConstraintError, match="several constraints"):
        lift(written)


def test_one_constraint_in_two_spellings_is_one() -> None:
    constraint, rest = lift({"structured_outputs": {"regex": "a"}, "guided_regex": "a", "min_tokens": 1})
    assert constraint == Regex("a")
    assert rest == {"min_tokens": 1}


@pytest.mark.parametrize(
    "written",
    [
        {"structured_outputs": {"regex": "("}},
        {"guided_regex": "("},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nope"}}}},
    ],
)
def test_a_broken_constraint_by_hand_is_told(written: dict[str, Any]) -> None:
    with pytest.raises(InvalidConstraintError, match="does not compile"):
        lift(written)


def test_the_callers_fields_are_not_changed() -> None:
    mine = {"structured_outputs": {"regex": "a"}}
    lift(mine)
    assert mine == {"structured_outputs": {"regex": "a"}}
