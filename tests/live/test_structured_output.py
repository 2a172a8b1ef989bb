"""Answers as instances, from a real server."""

from __future__ import annotations

import enum

import pydantic
import pytest

from abstractcore import ConstraintViolationError, TruncatedOutputError
from abstractcore.providers import VLLMProvider


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Lid(pydantic.BaseModel):
    tight: bool


class Box(pydantic.BaseModel):
    size: Size
    count: int = pydantic.Field(ge=1, le=9)
    lid: Lid | None


class Tree(pydantic.BaseModel):
    size: Size
    kids: list[Tree]


class Choosy(pydantic.BaseModel):
    size: Size

    @pydantic.field_validator("size")
    @classmethod
    def never(cls, size: Size) -> Size:
        raise ValueError(f"{size.value} is not the size")


def test_the_answer_is_an_instance(llm: VLLMProvider) -> None:
    box = llm.generate("Describe a box.", response_model=Box, temperature=0, max_tokens=120)
    assert isinstance(box, Box)


@pytest.mark.parametrize("model", [Size, Lid | Size, list[Size], tuple[Size, bool]])
def test_any_type_will_do(llm: VLLMProvider, model: type) -> None:
    answer: object = llm.generate("Which size?", response_model=model, temperature=0, max_tokens=120)
    assert pydantic.TypeAdapter(model).validate_python(answer) == answer


def test_a_stream_shows_the_instance_grow(llm: VLLMProvider) -> None:
    *parts, last = llm.generate("Describe a box.", response_model=Box, temperature=0, max_tokens=120, stream=True)
    assert any(part.partial for part in parts)
    assert all(set(part.partial or {}) <= {"size", "count", "lid"} for part in parts)
    assert isinstance(last.parsed, Box)


def test_a_recursive_class_is_taken(llm: VLLMProvider) -> None:
    """The model may go on for ever: then what is known so far must fit."""
    seen = []
    try:
        for chunk in llm.generate("A tree", response_model=Tree, temperature=0, max_tokens=60, stream=True):
            seen.append(chunk.partial)
    except TruncatedOutputError:
        assert set(seen[-1]) <= {"size", "kids"}
    else:
        assert isinstance(chunk.parsed, Tree)


def test_what_validators_refuse_is_asked_again_and_then_an_error(llm: VLLMProvider) -> None:
    with pytest.raises(ConstraintViolationError, match="asked 2 times") as caught:
        llm.generate("Which size?", response_model=Choosy, max_retries=1, temperature=0, max_tokens=60)
    assert "is not the size" in str(caught.value)


async def test_the_async_twin_does_the_same(llm: VLLMProvider) -> None:
    assert isinstance(await llm.agenerate("Which size?", response_model=Size, temperature=0, max_tokens=60), Size)
