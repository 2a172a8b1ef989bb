"""Answers as instances of a class: its schema, the reading of a finished answer and of an unfinished one. Pure.

Classes are pydantic's, or anything else that pydantic validates: lists, unions, enums, dataclasses. pydantic is the
caller's own and imported only here.
"""

from __future__ import annotations

import re
from typing import Any, Final

from .constraint import JsonSchema
from .errors import ConfigurationError, MissingExtraError

_TRAILING_NUMBER: Final = re.compile(r"(^|[:\[,])\s*[-+.\deE]+\Z")
"""The beginning of another number, maybe: 1 is no part of 12."""
_WHOLE_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


class ResponseModel:
    """What an answer is read by.

    Args:
        model: A pydantic class, or a type that pydantic's ``TypeAdapter`` takes.

    Raises:
        MissingExtraError: pydantic is not installed.
        ConfigurationError: The type has no JSON Schema.
    """

    def __init__(self, model: Any) -> None:
        try:
            from pydantic import TypeAdapter
            from pydantic.errors import PydanticUserError
        except ImportError as error:
            raise MissingExtraError("response_model needs pydantic", hint="pip install pydantic") from error
        self.name = getattr(model, "__name__", str(model))
        try:
            self._adapter: Any = TypeAdapter(model)
            self.constraint = JsonSchema(self._adapter.json_schema())
        except PydanticUserError as error:
            raise ConfigurationError(
                f"response_model {self.name} has no JSON Schema",
                why=str(error).splitlines()[0],
                hint="give a pydantic class, or a type that pydantic's TypeAdapter takes",
            ) from error

    def read(self, text: str) -> Any:
        """The instance that an answer stands for.

        Raises:
            ValueError: The model's own validators refuse it; says where and why.
        """
        from pydantic import ValidationError

        try:
            return self._adapter.validate_json(text)
        except ValidationError as error:
            faults = (
                f"at /{'/'.join(map(str, fault['loc']))}: {fault['msg']}"
                for fault in error.errors(include_url=False, include_context=False, include_input=False)
            )
            raise ValueError("; ".join(faults)) from error


def read_partial(text: str) -> Any:
    """The JSON in an unfinished text, without what can't be known yet; ``None`` while there is nothing.

    Strings show what has come of them; numbers, names and keys only show when something follows them.
    """
    from pydantic_core import from_json

    number = _TRAILING_NUMBER.search(text)
    if number and '"' not in _WHOLE_STRING.sub("", text):  # else it stands in a string that has not ended
        text = text[: number.end(1)]
    try:
        return from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return None
