"""Constraints from outside: each compiles and is held against a text, or is refused; none hangs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from abstractcore.constraint import Choice, Constraint, Grammar, JsonSchema, Regex
from abstractcore.errors import InvalidConstraintError
from abstractcore.providers.emulation import as_schema, unwrap
from abstractcore.structural_tag import StructuralTag
from abstractcore.structured import read_partial

from .target import Target

TEXTS: Final = ("", "a", "aaaaaaaaaaaaaaaaaaaaaaaa!", '{"n": 1}', "2024-01-01", '[[[{"a": "b"}]]]', "\u20ac\U0001f600")


def held(make: Callable[[str], Constraint]) -> Callable[[bytes], None]:
    """Compiles what an input says, and holds texts against it: its verdicts must not contradict each other."""

    def run(data: bytes) -> None:
        constraint = make(data.decode("utf-8", "replace"))
        constraint.check()
        for text in TEXTS:
            proof = constraint.prove(text)
            assert proof.holds or proof.why
            kept = constraint.trim(text)
            if kept is not None and proof.checker != "none":
                assert text.startswith(kept)
                assert constraint.prove(kept).holds, (constraint, kept)
            if proof.holds and proof.checker == "llguidance":
                assert kept == text, (constraint, text)
            if constraint.complete(text):
                assert proof.holds, (constraint, text)
        as_schema(constraint, objects_only=True)

    return run


def _partial(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    read_partial(text)
    form = as_schema(Choice(["a", "b"]), objects_only=True)
    assert form is not None
    assert isinstance(unwrap(text, form), str)


def _choices(text: str) -> Constraint:
    return Choice(text.split("|"))


def _schema(text: str) -> Constraint:
    return JsonSchema(text)


def _tags() -> list[bytes]:
    tool = {
        "type": "tag",
        "begin": "<f>",
        "content": {"type": "json_schema", "json_schema": {"type": "object"}},
        "end": "</f>",
    }
    formats: list[dict[str, Any]] = [
        {"type": "triggered_tags", "triggers": ["<f>"], "tags": [tool], "at_least_one": True},
        {"type": "sequence", "elements": [{"type": "const_string", "value": "a"}, {"type": "regex", "pattern": "a*"}]},
        {"type": "tags_with_separator", "tags": [tool], "separator": ",", "at_least_one": False},
        {"type": "star", "content": {"type": "or", "elements": [tool, {"type": "any_text", "excludes": ["b"]}]}},
        {"type": "repeat", "content": {"type": "const_string", "value": "a"}, "min": 2, "max": 5},
    ]  # fmt: skip
    return [json.dumps({"type": "structural_tag", "format": each}).encode() for each in formats]


_LOOP: Final = (
    b'{"$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"type":"string"},{"type":"array","items":{"$ref":"#/$defs/a"}}]}}}'
)
_REFUSED: Final = (InvalidConstraintError,)
TARGETS: Final = (
    Target(
        "regex",
        "regular expressions",
        held(Regex),
        _REFUSED,
        lambda: [
            rb"\d{4}-\d{2}-\d{2}",
            rb"(a+)+!",
            rb"[a-z]+@[a-z]+\.(com|org)",
            rb"(?i)yes|no",
            rb"\p{L}{1,20}",
            rb"(a{50}){50}",
        ],
        (
            b"{1000}",
            b"{0,}",
            b"(?:",
            b")",
            b"|",
            b"*",
            b"+",
            b"?",
            b"\\p{L}",
            b"\\b",
            b"(?=a)",
            b"[^\\x00-\\x7f]",
            b"{9999}",
        ),
        slow=True,
    ),
    Target(
        "grammar",
        "grammars",
        held(Grammar),
        _REFUSED,
        lambda: [
            b'root ::= [0-9] " + " [0-9]',
            b'root ::= item+\nitem ::= "a" | "(" root ")"',
            b'start: "a" start "b" | ""',
            b"start: X+\nX: /[a-z]/",
            b'start: start start | "a"',
        ],
        (b"::=", b"|", b"(", b")*", b"root", b"start: ", b"\n", b"%import common.WS", b"/(a+)+/", b"{1,1000}"),
        slow=True,
    ),
    Target(
        "json-schema",
        "JSON Schemas",
        held(_schema),
        _REFUSED,
        lambda: [
            b'{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}',
            _LOOP,
            b'{"enum":["a","b",1]}',
            b'{"type":"string","pattern":"^(a+)+$","format":"date"}',
            b'{"oneOf":[{"const":1},{"minimum":0}],"unevaluatedProperties":false}',
        ],
        (
            b'"$ref":"#"',
            b'"$ref":"http://x"',
            b'"$dynamicRef":"#a"',
            b'"pattern":"(a*)*b"',
            b'"multipleOf":1e-300',
            b'"$id":"urn:x"',
        ),
        slow=True,
    ),
    Target("structural-tag", "structural tags", held(StructuralTag), _REFUSED, _tags, slow=True),
    Target("choice", "choices", held(_choices), _REFUSED, lambda: [b"yes|no", b"a|ab|abc"]),
    Target(
        "unfinished",
        "JSON that has not ended, or stands in other JSON",
        _partial,
        (),
        lambda: [b'{"answer": "a', b'{"a":[1,2', b'"\\ud83d\\ude', b'{"answer":"a"}'],
    ),
)
