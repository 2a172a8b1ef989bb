"""Structural tags: what follows them, what could still, and what no text can show."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore import InvalidConstraintError, StructuralTag

NUMBER = {"type": "json_schema", "json_schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}
CALL = {"type": "tag", "begin": "<f>", "content": NUMBER, "end": "</f>"}
TEXT = {"type": "any_text"}


def const(value: str) -> dict[str, Any]:
    return {"type": "const_string", "value": value}


def regex(pattern: str) -> dict[str, Any]:
    return {"type": "regex", "pattern": pattern}


def calls(**options: Any) -> dict[str, Any]:
    return {"type": "triggered_tags", "triggers": ["<f"], "tags": [CALL], **options}


def listed(**options: Any) -> dict[str, Any]:
    return {"type": "tags_with_separator", "tags": [CALL], "separator": ",", **options}


ONE = '<f>{"n": 1}</f>'
CASES: list[tuple[dict[str, Any], list[str], list[str]]] = [
    (const("hello"), ["hello"], ["hell", "hello!", ""]),
    (regex("[0-9]{2}"), ["12"], ["1", "123", "ab"]),
    ({"type": "grammar", "grammar": 'root ::= "a" root | "b"'}, ["aab", "b"], ["aa", "ba"]),
    (NUMBER, ['{"n": 1}', ' {"n":1}', "{}"], ['{"n": "x"}', "{", "[]", '{"n": NaN}', ""]),
    (TEXT, ["", "any\nthing"], []),
    ({**TEXT, "excludes": ["no"]}, ["yes n o", "n"], ["a no b"]),
    ({**TEXT, "max_chars": 2}, ["ab"], ["abc"]),
    ({"type": "sequence", "elements": [const("a"), regex("b*"), const("bc")]}, ["abc", "abbbc"], ["ac", "abcb"]),
    ({"type": "or", "elements": [const("a"), const("ab")]}, ["a", "ab"], ["b", "abb"]),
    (CALL, [ONE, '<f>{"n":2}</f>'], ['<f>{"n": "x"}</f>', '{"n": 1}', '<f>{"n": 1}']),
    ({**CALL, "end": ["</f>", ";"]}, [ONE, '<f>{"n": 1};'], ['<f>{"n": 1}.']),
    ({"type": "tag", "begin": "<t>", "content": TEXT, "end": "</t>"}, ["<t>a</b></t>"], ["<t>a", "<t>a</t>b"]),
    ({"type": "optional", "content": const("a")}, ["", "a"], ["aa"]),
    ({"type": "star", "content": const("ab")}, ["", "ab", "abab"], ["aba"]),
    ({"type": "plus", "content": const("ab")}, ["ab", "abab"], ["", "aba"]),
    ({"type": "repeat", "min": 2, "max": 3, "content": const("a")}, ["aa", "aaa"], ["a", "aaaa"]),
    (
        {"type": "repeat", "min": 2, "max": -1, "content": {"type": "optional", "content": const("a")}},
        ["", "aaa"],
        ["b"],
    ),
    (calls(), ["", "just text", f"before {ONE} between {ONE} after", "a < b"], ["a <f", "<f>no</f>", f"{ONE}<f>"]),
    (calls(at_least_one=True), [ONE, f"a{ONE}b"], ["", "text"]),
    (calls(stop_after_first=True), [ONE, f"a{ONE}", "text"], [f"{ONE}b", ONE + ONE]),
    (calls(excludes=["bad"]), ["good"], ["a bad one", f"{ONE} bad"]),
    (listed(), ["", ONE, f"{ONE},{ONE}"], [f"{ONE},", f"{ONE} {ONE}", "a"]),
    (listed(at_least_one=True), [ONE], [""]),
    (listed(stop_after_first=True), [ONE], [f"{ONE},{ONE}"]),
]


@pytest.mark.parametrize(("form", "right", "wrong"), CASES, ids=lambda value: str(value)[:40])
def test_a_text_follows_or_does_not(form: dict[str, Any], right: list[str], wrong: list[str]) -> None:
    tag = StructuralTag(form)
    tag.check()
    assert tag.unprovable is None
    assert [tag.prove(text).holds for text in right] == [True] * len(right)
    assert [tag.prove(text).holds for text in wrong] == [False] * len(wrong)


@pytest.mark.parametrize(("form", "right", "wrong"), CASES, ids=lambda value: str(value)[:40])
def test_every_beginning_of_a_right_text_may_become_one(
    form: dict[str, Any], right: list[str], wrong: list[str]
) -> None:
    tag = StructuralTag(form)
    for text in right:
        assert [cut for cut in range(len(text)) if not tag.begins(text[:cut]).holds] == []


def test_a_beginning_that_leads_nowhere_is_known() -> None:
    assert not StructuralTag(const("hello")).begins("help").holds
    assert not StructuralTag(calls()).begins("<f>[").holds or not StructuralTag(calls()).prove("<f>[").holds
    assert not StructuralTag(CALL).begins("<g>").holds
    assert not StructuralTag(listed()).begins("text").holds


def test_a_text_is_complete_when_nothing_can_follow() -> None:
    assert StructuralTag(CALL).complete(ONE)
    assert StructuralTag(regex("[0-9]{2}")).complete("12")
    assert not StructuralTag(regex("[0-9]+")).complete("12")
    assert not StructuralTag(calls()).complete(ONE), "free text may follow"
    assert StructuralTag(calls(stop_after_first=True)).complete(ONE)
    assert not StructuralTag(listed()).complete(ONE)
    assert not StructuralTag({"type": "json_schema", "json_schema": {"type": "integer"}}).complete("12")


def test_a_cut_text_is_trimmed_to_what_stands() -> None:
    assert StructuralTag(calls()).trim(f'a {ONE} b <f>{{"n"') == f"a {ONE} b <"
    assert StructuralTag(CALL).trim("<f>") is None


@given(before=st.text(alphabet="ab<f>/", max_size=12), number=st.integers())
def test_free_text_around_a_call_is_anything_without_a_trigger(before: str, number: int) -> None:
    text = f'{before}<f>{{"n": {number}}}</f>'
    assert StructuralTag(calls(at_least_one=True)).prove(text).holds == ("<f" not in before)


def test_the_older_form_means_the_same() -> None:
    structures = [{"begin": "<f>", "schema": NUMBER["json_schema"], "end": "</f>"}]
    tag = StructuralTag({"structures": structures, "triggers": ["<f"]})
    tag.check()
    assert tag.is_legacy
    assert tag.prove(f"text {ONE} text").holds
    assert not tag.prove("text <f>{").holds


@pytest.mark.parametrize(
    ("form", "named"),
    [
        ({"type": "token", "token": 5}, "token"),
        ({"type": "sequence", "elements": [const("a"), {"type": "any_tokens"}]}, "any_tokens"),
        ({**TEXT, "max_tokens": 5}, "max_tokens"),
        ({**NUMBER, "style": "qwen_xml"}, "a style of JSON"),
        ({**NUMBER, "any_order": True}, "any_order"),
        ({**CALL, "begin": {"type": "token", "token": 5}}, "a begin that is a token"),
    ],
)
def test_what_a_text_does_not_show_is_named(form: dict[str, Any], named: str) -> None:
    tag = StructuralTag(form)
    assert tag.unprovable == named
    proof = tag.prove("anything")
    assert (proof.holds, proof.checker) == (True, "none")
    assert named in (proof.why or "")


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("{", "not JSON"),
        ([], "a dict with a format"),
        ({"kind": "x"}, "a dict with a format"),
        ({"type": "const_string"}, None),
        (regex("("), "regex does not compile"),
        ({"type": "json_schema", "json_schema": {"type": "nothing"}}, "json does not compile"),
        ({"type": "tag", "begin": "a", "end": "b"}, "a part lacks 'content'"),
        ({"type": "json_schema"}, "a part lacks 'json_schema'"),
        (calls(triggers=["<g"]), "begins with none of its triggers"),
        ({"structures": [{"begin": "<f>"}], "triggers": ["<f"]}, "a part lacks 'end'"),
    ],
)
def test_a_broken_tag_is_refused(tag: Any, message: str | None) -> None:
    with pytest.raises(InvalidConstraintError, match=message):
        StructuralTag(tag).check()


def test_it_compares_by_value() -> None:
    assert StructuralTag(const("a")) == StructuralTag('{"format": {"type": "const_string", "value": "a"}}')
    assert StructuralTag(const("a")) != StructuralTag(const("b"))
