"""Answers as instances, whole and unfinished."""

from __future__ import annotations

import enum
import json
import sys
from typing import Any

import pydantic
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from abstractcore import ConfigurationError, MissingExtraError
from abstractcore.structured import ResponseModel, read_partial


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Node(pydantic.BaseModel):
    name: str
    kids: list[Node] = []


class Cat(pydantic.BaseModel):
    meows: bool


class Dog(pydantic.BaseModel):
    barks: bool
    likes: Cat | None = None


@pytest.mark.parametrize(
    ("model", "text", "instance"),
    [
        (Cat, '{"meows": true}', Cat(meows=True)),
        (Cat | Dog, '{"barks": true, "likes": {"meows": true}}', Dog(barks=True, likes=Cat(meows=True))),
        (list[Colour], '["red", "blue"]', [Colour.RED, Colour.BLUE]),
        (Node, '{"name": "a", "kids": [{"name": "b"}]}', Node(name="a", kids=[Node(name="b")])),
        (tuple[int, str], '[1, "x"]', (1, "x")),
        (int | None, "null", None),
    ],
)
def test_types_of_all_kinds_have_a_schema_and_are_read(model: Any, text: str, instance: Any) -> None:
    response_model = ResponseModel(model)
    response_model.constraint.check()
    assert response_model.constraint.prove(text).holds
    assert response_model.read(text) == instance


def test_what_validators_refuse_is_named() -> None:
    class Even(pydantic.BaseModel):
        rows: list[int]

        @pydantic.field_validator("rows")
        @classmethod
        def even(cls, rows: list[int]) -> list[int]:
            if any(row % 2 for row in rows):
                raise ValueError("all must be even")
            return rows

    response_model = ResponseModel(Even)
    assert response_model.constraint.prove('{"rows": [1]}').holds
    with pytest.raises(ValueError, match=r"at /rows: Value error, all must be even"):
        response_model.read('{"rows": [1]}')


def test_a_type_without_schema_is_refused() -> None:
    class Opaque: ...

    with pytest.raises(ConfigurationError, match="has no JSON Schema"):
        ResponseModel(Opaque)


def test_without_pydantic_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(MissingExtraError, match="needs pydantic"):
        ResponseModel(int)


documents = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


texts = st.text(max_size=12)


def is_part(part: Any, whole: Any) -> bool:
    """Whether nothing in a part says other than the whole does."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and is_part(value, whole[key]) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(map(is_part, part, whole))
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    return type(part) is type(whole) and bool(part == whole)


@given(documents, st.sampled_from([None, 1]), st.booleans(), st.data())
def test_an_unfinished_text_shows_a_part_of_the_document(
    document: Any, indent: int | None, ascii_only: bool, data: st.DataObject
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    is_number = isinstance(document, int | float) and not isinstance(document, bool)
    assert read_partial(text) == (None if is_number else document), "a number may be the beginning of a longer one"
    part = read_partial(text[: data.draw(st.integers(0, len(text)))])
    assert part is None or is_part(part, document)


@given(st.dictionaries(st.text(max_size=5), texts | st.lists(texts, max_size=3), max_size=3))
@example({"": ", 0"})
@example({"a": ['"', ": -1.5e3"]})
def test_a_growing_text_shows_more_and_more(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    seen: Any = {}
    for end in range(1, len(text) + 1):
        part = read_partial(text[:end])
        assert is_part(seen, part)
        seen = part
    assert seen == document


@pytest.mark.parametrize("text", ["", " ", "{not", "Sure! {"])
def test_what_is_no_json_shows_nothing(text: str) -> None:
    assert read_partial(text) is None
