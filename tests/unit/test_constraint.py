"""Constraints compile, prove, complete and trim, without any server."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from abstractcore import AbstractCoreError, InvalidConstraintError
from abstractcore.constraint import Choice, Constraint, Grammar, JsonSchema, Regex

# Patterns that Python and Rust read alike.
PATTERNS = [
    r"[0-9]{3}-[A-Z]{2}",
    r"(yes|no|maybe)",
    r"(a|ab)(c|bcd)*",
    r"[^x\n]{0,12}x",
    r"é+ü?ß{2,3}",
    r"(?:[a-c]{1,3},)*[a-c]",
    r"",
    r"[一-龥]{1,4}。",
    r'"(?:[^"\\]|\\["\\/bfnrt])*"',
]
SEED_REGEX = r"def \w+\([^)]*\):\n(?:\s{4}.*\n)+"
NUMBERED = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["n"],
    "additionalProperties": False,
}


def members(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(re.compile(pattern), fullmatch=True)


matching = st.sampled_from(PATTERNS).flatmap(lambda pattern: st.tuples(st.just(pattern), members(pattern)))


# --- regex -----------------------------------------------------------------------------------------------------------


@given(matching)
def test_every_string_of_a_regexs_language_proves(pair: tuple[str, str]) -> None:
    pattern, text = pair
    assert Regex(pattern).prove(text).holds


@given(st.sampled_from(PATTERNS), st.text(alphabet="ab,cd0123-XYx yesno\né", max_size=8))
def test_a_regex_says_what_python_says(pattern: str, text: str) -> None:
    assert Regex(pattern).prove(text).holds == bool(re.fullmatch(pattern, text))


@given(matching, st.integers(0, 60))
def test_a_trimmed_text_is_the_longest_prefix_that_proves(pair: tuple[str, str], cut: int) -> None:
    pattern, text = pair
    constraint, partial = Regex(pattern), text[:cut]
    kept = constraint.trim(partial)
    proving = [partial[:end] for end in range(len(partial) + 1) if constraint.prove(partial[:end]).holds]
    assert kept == (proving[-1] if proving else None)


@given(matching, st.integers(0, 60))
def test_every_beginning_of_a_text_that_proves_is_known_as_one(pair: tuple[str, str], cut: int) -> None:
    pattern, text = pair
    assert Regex(pattern).begins(text[:cut]).holds


def test_what_can_not_become_the_regex_is_no_beginning() -> None:
    assert Regex("[0-9]{3}").begins("12").holds
    assert Regex("[0-9]{3}").begins("1x").why == "departs from the regex at character 1: 'x'"
    assert not Regex("[0-9]{3}").begins("1234").holds


@given(matching, st.text(alphabet="ab-X1,é", min_size=1, max_size=1))
def test_nothing_can_follow_a_complete_text(pair: tuple[str, str], more: str) -> None:
    pattern, text = pair
    if Regex(pattern).complete(text):
        assert Regex(pattern).prove(text).holds
        assert not Regex(pattern).prove(text + more).holds


def test_the_seeds_regex_never_completes_and_is_trimmed_to_whole_lines() -> None:
    constraint = Regex(SEED_REGEX)
    assert constraint.prove("def f(x):\n    return x\n").holds
    assert not constraint.complete("def f(x):\n    return x\n")
    assert constraint.trim("def f(x):\n    return x\n    retu") == "def f(x):\n    return x\n"
    assert constraint.trim("def f(x):\n    retu") is None


def test_a_departure_is_named_by_character() -> None:
    assert Regex("é{3}").prove("éé!x").why == "departs from the regex at character 2: '!x'"
    assert Regex("a{3}").prove("aa").why == "fits the regex so far, but ends before it is complete"


def test_an_empty_text() -> None:
    assert Regex("a*").prove("").holds
    assert not Regex("a*").complete("")
    assert Regex("").complete("")
    assert Regex("a+").trim("") is None
    assert Regex("a*").trim("b") == ""


def test_half_a_surrogate_pair_is_no_text_of_any_language() -> None:
    assert not Regex(".").prove("\ud800").holds
    assert not Regex(".").complete("\ud800")
    assert Regex(".*").trim("a\ud800") == "a"
    assert not JsonSchema({}).prove('"\ud800"').holds


def test_a_dot_is_no_line_feed() -> None:
    assert Regex("x.y").prove("x-y").holds
    assert not Regex("x.y").prove("x\ny").holds


@pytest.mark.parametrize(
    ("pattern", "cause"),
    [
        ("[0-9", "unclosed character class"),
        ("(a", "unclosed group"),
        (r"(?=a)b", "look-ahead"),
        (r"(a)\1", "backreferences are not supported"),
        ("(" * 300 + ")" * 300, "nested parentheses"),
    ],
)
def test_a_broken_regex_is_told_with_the_engines_words(pattern: str, cause: str) -> None:
    with pytest.raises(InvalidConstraintError, match="the regex does not compile") as caught:
        Regex(pattern).check()
    assert cause in caught.value.message
    assert "look-around" in str(caught.value.hint)


def test_matching_takes_linear_time() -> None:
    """Backtracking would need more steps than there are atoms."""
    assert not Regex("(a?){40}(a|aa)*!").prove("a" * 5_000).holds


def test_a_pattern_too_complex_to_be_checked_proves_nothing() -> None:
    proof = Regex("(?:[a-z]{0,200}x){100}").prove("abcx" * 2_000)
    assert not proof.holds
    assert proof.why == "the regex is too complex to be checked on this text"


# --- grammar ---------------------------------------------------------------------------------------------------------

SUM = 'root ::= number ("+" number)*\nnumber ::= [0-9]+'
LARK = 'start: NUMBER ("+" NUMBER)*\nNUMBER: /[0-9]+/'


@pytest.mark.parametrize("text", [SUM, LARK])
def test_a_grammar_in_either_notation(text: str) -> None:
    grammar = Grammar(text)
    grammar.check()
    assert grammar.prove("1+22+3").holds
    assert not grammar.prove("1+").holds
    assert not grammar.prove("1-2").holds
    assert grammar.trim("1+22+") == "1+22"
    assert not grammar.complete("1+22")
    assert Grammar('root ::= "yes" | "no"').complete("yes")


@given(st.lists(st.integers(0, 999).map(str), min_size=1, max_size=6), st.integers(0, 20))
def test_a_grammar_trims_to_a_sentence(numbers: list[str], cut: int) -> None:
    grammar, sentence = Grammar(SUM), "+".join(numbers)
    assert grammar.prove(sentence).holds
    kept = grammar.trim(sentence[:cut])
    assert kept is None if cut == 0 else kept == sentence[:cut].rstrip("+")


@pytest.mark.parametrize("text", ["", "nonsense", "root ::= missing", 'start: "a'])
def test_a_broken_grammar_is_told(text: str) -> None:
    with pytest.raises(InvalidConstraintError, match="the grammar does not compile") as caught:
        Grammar(text).check()
    assert caught.value.why
    assert "GBNF" in str(caught.value.hint)


# --- choice ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(min_size=1), min_size=1), st.data())
def test_each_option_of_a_choice_proves(options: list[str], data: st.DataObject) -> None:
    choice = Choice(options)
    choice.check()
    assert choice.prove(data.draw(st.sampled_from(options))).holds
    text = data.draw(st.text())
    assert choice.prove(text).holds == (text in options)


def test_a_choice_is_complete_when_no_longer_option_begins_with_it() -> None:
    assert Choice(["no", "yes"]).complete("no")
    assert not Choice(["no", "not at all"]).complete("no")
    assert not Choice(["no"]).complete("n")
    assert Choice(["no"]).trim("no!") is None


@pytest.mark.parametrize("options", [[], [""], ["a", ""], ["a", 3]])
def test_a_choice_without_sense_is_told(options: list[Any]) -> None:
    with pytest.raises(InvalidConstraintError, match="at least one option"):
        Choice(options).check()


def test_the_beginning_of_an_option() -> None:
    assert Choice(["no", "yes"]).begins("ye").holds
    assert Choice(["no", "yes"]).begins("").holds
    assert Choice(["no", "yes"]).begins("yo").why == "none of the 2 options begins with 'yo'"


def test_one_string_is_one_option() -> None:
    assert Choice("abc").options == ["abc"]


# --- json ------------------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(json_values)
def test_every_document_satisfies_the_empty_schema_and_its_own_constant(value: Any) -> None:
    text = json.dumps(value)
    assert JsonSchema({}).prove(text).holds
    assert JsonSchema({"const": value}).prove(text).holds


@given(json_values, st.integers(0, 50), st.booleans())
def test_every_beginning_of_a_document_is_known_as_one(value: Any, length: int, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=1)
    assert JsonSchema({}).begins(text[:length]).holds


@pytest.mark.parametrize("text", ["Sure! {", "{'n'", '{"n": 1} and', "[1,,", "```json"])
def test_what_is_no_json_is_no_beginning(text: str) -> None:
    assert "departs from the json at character" in str(JsonSchema({}).begins(text).why)


@given(json_values, st.integers(1, 50))
def test_a_cut_document_is_not_complete(value: Any, missing: int) -> None:
    text = json.dumps(value)
    assert not JsonSchema({}).complete(text[:-missing])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"n": 12}', "at /n: 12 is greater than the maximum of 9"),
        ('{"n": 1, "m": 2}', "at /: Additional properties are not allowed ('m' was unexpected)"),
        ("{}", 'at /: "n" is a required property'),
        ('{"n": 1', "not a JSON document: Input data was truncated"),
        ('{"n": 1} and more', "not a JSON document: JSON is malformed: trailing characters (byte 10)"),
        ("", "not a JSON document: Input data was truncated"),
    ],
)
def test_a_document_that_departs_says_where(text: str, why: str) -> None:
    proof = JsonSchema(NUMBERED).prove(text)
    assert not proof.holds
    assert proof.why == why


def test_a_number_at_the_end_may_go_on() -> None:
    assert JsonSchema({"type": "integer"}).prove("12").holds
    assert not JsonSchema({"type": "integer"}).complete("12")
    assert JsonSchema({"type": "array"}).complete("[12]")


def test_json_is_never_trimmed() -> None:
    assert JsonSchema({}).trim('{"n": 1} {') is None


def test_a_document_nested_without_end_is_no_crash() -> None:
    proof = JsonSchema({"type": "array"}).prove("[" * 100_000 + "]" * 100_000)
    assert not proof.holds


def test_a_schema_as_dict_string_or_class_is_the_same() -> None:
    class Number(BaseModel):
        n: int

    assert JsonSchema(json.dumps(NUMBERED)) == JsonSchema(NUMBERED)
    assert JsonSchema(Number).prove('{"n": 3}').holds
    assert not JsonSchema(Number).prove('{"n": "three"}').holds
    assert JsonSchema(True).prove("[1]").holds


def test_schemas_that_are_equal_to_python_are_told_apart() -> None:
    for const, fits, fails in ((True, "true", "1"), (1, "1", "true"), (True, "true", "1")):
        schema = JsonSchema({"const": const})
        assert schema.prove(fits).holds
        assert not schema.prove(fails).holds


def test_a_schema_that_was_changed_is_another_one() -> None:
    schema = {"const": "a"}
    constraint = JsonSchema(schema)
    assert constraint.prove('"a"').holds
    schema["const"] = "b"
    assert constraint.prove('"b"').holds
    assert not JsonSchema({"const": "a"}).prove('"b"').holds


def test_a_schema_may_refer_to_its_own_parts() -> None:
    tree = {"$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}}}, "$ref": "#/$defs/t"}
    JsonSchema(tree).check()
    assert JsonSchema(tree).prove("[[],[[]]]").holds
    assert not JsonSchema(tree).prove("[[1]]").holds


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "bogus"},
        {"pattern": "["},
        {"$ref": "#/$defs/missing"},
        {"$ref": "https://example.org/schema.json"},
        {"$schema": "https://example.org/own-meta-schema"},
        {"minimum": "3"},
        {1: 2},
    ],
)
def test_a_broken_schema_is_told_and_nothing_is_fetched(schema: dict[Any, Any]) -> None:
    with pytest.raises(InvalidConstraintError, match="the json does not compile") as caught:
        JsonSchema(schema).check()
    assert "error sending request" not in str(caught.value)


@pytest.mark.parametrize("schema", ["{", 3, None, ["type"], int])
def test_what_is_no_schema_is_told(schema: Any) -> None:
    with pytest.raises(InvalidConstraintError, match="guided_json"):
        JsonSchema(schema)


# --- all -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        (Regex("a"), Regex("a"), Regex("b")),
        (Choice(["a"]), Choice(["a"]), Choice(["b"])),
        (Grammar(SUM), Grammar(SUM), Grammar(LARK)),
        (JsonSchema(NUMBERED), JsonSchema(dict(NUMBERED)), JsonSchema({})),
        (Regex("a"), Regex("a"), Grammar("a")),
    ],
)
def test_constraints_compare_by_value(one: Constraint, same: Constraint, other: Constraint) -> None:
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert repr(one).startswith(f"{type(one).__name__}(")


def test_a_broken_constraint_is_one_of_our_errors() -> None:
    with pytest.raises(AbstractCoreError):
        Regex("(").check()


def test_a_constraint_that_is_asked_for_again_is_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    compile_ = Regex.new_matcher

    def counted(self: Regex) -> Any:
        compiled.append(self.pattern)
        return compile_(self)

    monkeypatch.setattr(Regex, "new_matcher", counted)
    for _ in range(50):
        assert Regex("once-[0-9]+").prove("once-1").holds
        assert not Regex("once-[0-9]+").prove("once-").holds
    assert compiled == ["once-[0-9]+"]


def test_texts_without_end_do_not_exhaust_a_constraint() -> None:
    constraint = Regex("(a|b)*a(a|b){22}")
    for number in range(60):
        text = f"{number * 7919 % (1 << 20):020b}".replace("0", "a").replace("1", "b") * 45
        held = constraint.prove(text)
        assert held.holds == (text[-23] == "a"), (number, held)
