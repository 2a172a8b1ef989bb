"""What a model is told of a function, and what the function gets back."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

import jsonschema_rs
import msgspec
import pydantic
import pytest

from abstractcore import ConfigurationError
from abstractcore.signature import name_of, read_docstring, read_signature


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"


@dataclass
class Place:
    city: str
    country: str = "fr"


class Order(pydantic.BaseModel):
    item: str
    count: int = pydantic.Field(ge=1)
    parts: list[Order] = []


def weather(city: str, unit: Unit = Unit.C, days: int = 1, *, at: Place | None = None) -> str:
    """The weather of a place.

    Looks at the sky.

    Args:
        city: The city, in the
            local language.
        unit (Unit): Of the temperature.
        days: How many.

    Returns:
        A sentence.
    """
    return f"{city} {unit} {days} {at}"


def test_the_schema_has_types_defaults_and_descriptions() -> None:
    schema = read_signature(weather).schema
    assert schema["properties"]["city"] == {"type": "string", "description": "The city, in the local language."}
    assert schema["properties"]["days"] == {"type": "integer", "default": 1, "description": "How many."}
    assert schema["properties"]["unit"]["description"] == "Of the temperature."
    assert schema["required"] == ["city"]
    assert schema["additionalProperties"] is False
    assert "Place" in schema["$defs"]


def test_the_summary_is_what_stands_before_the_sections() -> None:
    assert read_signature(weather).summary == "The weather of a place.\n\nLooks at the sky."


def test_arguments_come_back_in_the_types_of_the_function() -> None:
    signature = read_signature(weather)
    given = {"city": "Paris", "unit": "fahrenheit", "at": {"city": "Nice"}}
    assert jsonschema_rs.is_valid(signature.schema, given)
    assert signature.convert(given) == {"city": "Paris", "unit": Unit.F, "at": Place("Nice")}


def test_what_is_not_given_is_left_to_the_function() -> None:
    assert read_signature(weather).convert({"city": "Paris"}) == {"city": "Paris"}


def order(wanted: Order, when: date, tags: list[Literal["a", "b"]] = []) -> Any:  # noqa: B006 - as users write it
    """Orders.

    :param wanted: What to order.
    :param date when: The day.
    """
    return wanted, when, tags


def test_pydantic_models_are_parameters() -> None:
    signature = read_signature(order)
    given = {"wanted": {"item": "tea", "count": 2, "parts": [{"item": "pot", "count": 1}]}, "when": "2026-11-21"}
    assert jsonschema_rs.is_valid(signature.schema, given)
    assert not jsonschema_rs.is_valid(signature.schema, {**given, "wanted": {"item": "tea", "count": 0}})
    assert not jsonschema_rs.is_valid(signature.schema, {**given, "more": 1})
    converted = signature.convert(given)
    assert converted["wanted"].parts == [Order(item="pot", count=1)]
    assert converted["when"] == date(2026, 11, 21)
    assert signature.schema["properties"]["when"]["description"] == "The day."


def nothing() -> None: ...


def untyped(first, second=None): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201


def described(x: Annotated[int, msgspec.Meta(description="kept", ge=3)]) -> None:
    """Takes.

    Args:
        x: Not this one.
    """


def mutable(rows: list[int] = [1, 2], seen: set[str] = {"a"}) -> None: ...  # noqa: B006


def test_functions_of_all_kinds_have_schemas() -> None:
    assert read_signature(nothing).schema["properties"] == {}
    assert read_signature(untyped).schema["required"] == ["first"]
    assert read_signature(described).schema["properties"]["x"]["description"] == "kept"
    assert read_signature(mutable).convert({"seen": ["b"]}) == {"seen": {"b"}}
    assert read_signature(Place("x").__eq__).schema["required"] == ["other"]


def positional(x: int, /) -> None: ...


def many(*rows: int) -> None: ...


def keywords(**options: int) -> None: ...


class Opaque: ...


def opaque(x: Opaque) -> None: ...


def with_both(x: Opaque, y: Order) -> None: ...


def unknown(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("function", [positional, many, keywords, opaque, with_both, unknown])
def test_a_function_that_no_model_could_call_is_refused(function: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"the function {function.__name__} can't be a tool"):
        read_signature(function)


def test_a_partial_is_a_function_too() -> None:
    signature = read_signature(functools.partial(weather, "Paris", unit=Unit.F))
    assert set(signature.schema["properties"]) == {"unit", "days", "at"}
    assert signature.summary.startswith("The weather")
    assert name_of(functools.partial(weather)) == "weather"


def test_an_object_that_can_be_called_is_a_function_too() -> None:
    class Counter:
        def __call__(self, step: int) -> int:
            """Counts."""
            return step

    assert read_signature(Counter()).schema["required"] == ["step"]
    assert read_signature(Counter()).summary == "Counts."


def test_a_docstring_without_sections_is_all_summary() -> None:
    assert read_docstring("One line.") == ("One line.", {})
    assert read_docstring("") == ("", {})
