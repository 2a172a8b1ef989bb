"""The parameters of a Python function: as JSON Schema for a model, and back from JSON to what the function takes.

msgspec does both; where a type hint names a pydantic model, pydantic does. Descriptions come from the docstring.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import Any, Final, get_args, get_type_hints

import msgspec

from .errors import ConfigurationError

_MISSING: Final = inspect.Parameter.empty
_SECTION: Final = re.compile(r"(\w+(?: \w+)?):$")
_ENTRY: Final = re.compile(r"[*]{0,2}(\w+)(?: \([^)]*\))?: +(.*)")
_SPHINX: Final = re.compile(r":param (?:[^:]*\s)?(\w+): *(.*)")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes.

    Args:
        schema: JSON Schema of an object with one property for each parameter; no others are allowed.
        convert: Makes keyword arguments of the function's own types from such an object.
        summary: What the function's docstring says before its sections.
    """

    schema: dict[str, Any]
    convert: Callable[[Mapping[str, Any]], dict[str, Any]]
    summary: str


def read_signature(function: Callable[..., Any]) -> Signature:
    """The signature of a function as a model is told of it.

    Raises:
        ConfigurationError: A parameter can't be given by name, or its type can't be written as JSON Schema.
    """
    name = name_of(function)
    fields = _fields(function, name)
    summary, descriptions = read_docstring(inspect.getdoc(_written(function)) or "")
    try:
        with_pydantic = any(_names_pydantic(hint) for hint, _ in fields.values())
        schema, convert = (_by_pydantic if with_pydantic else _by_msgspec)(name, fields)
    except _type_errors() as error:
        raise ConfigurationError(
            f"the function {name} can't be a tool: a parameter's type has no JSON Schema",
            why=str(error).splitlines()[0],
            hint="use plain types, Literal, Enum, dataclasses, msgspec structs or pydantic models; or pass a schema",
        ) from error
    for parameter, description in descriptions.items():
        if parameter in schema["properties"]:
            schema["properties"][parameter] = _described(schema["properties"][parameter], description)
    return Signature(schema, convert, summary)


def name_of(function: Callable[..., Any]) -> str:
    """The name under which a function, or the class of a callable object, was written."""
    inner = _unwrapped(function)
    return str(getattr(inner, "__name__", type(inner).__name__))


def _unwrapped(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _written(function: Callable[..., Any]) -> Callable[..., Any]:
    """What holds the type hints and the docstring."""
    inner = _unwrapped(function)
    written: Callable[..., Any] = inner if inspect.isroutine(inner) else type(inner).__call__
    return written


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Splits a docstring into what stands before its sections and the descriptions of its parameters.

    Args:
        text: Without indentation, as ``inspect.getdoc`` gives it; in Google's style or Sphinx'.
    """
    summary: list[str] = []
    entries: dict[str, list[str]] = {}
    section, current = "", ""
    for line in text.splitlines():
        heading = _SECTION.fullmatch(line)
        field_list = _SPHINX.fullmatch(line)
        entry = _ENTRY.fullmatch(line.strip()) if _depth(line) in (2, 4) else None
        if heading:
            section, current = heading[1], ""
        elif field_list:
            section, current = "Args", field_list[1]
            entries[current] = [field_list[2]]
        elif line.startswith(":"):
            section = "other"
        elif not section:
            summary.append(line)
        elif section in ("Args", "Arguments", "Parameters") and line.strip():
            if entry:
                current = entry[1]
                entries[current] = [entry[2]]
            elif current:
                entries[current].append(line.strip())
    return "\n".join(summary).strip(), {name: " ".join(lines).strip() for name, lines in entries.items()}


_Fields = dict[str, tuple[Any, Any]]
"""Type hint and default by name of the parameter."""


def _fields(function: Callable[..., Any], name: str) -> _Fields:
    try:
        hints = get_type_hints(_written(function), include_extras=True)
        parameters = inspect.signature(function).parameters.values()
    except (NameError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"the function {name} can't be a tool: its type hints can't be read",
            why=str(error),
            hint="define the types at module level, or pass a schema",
        ) from error
    for parameter in parameters:
        if parameter.kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            raise ConfigurationError(
                f"the function {name} can't be a tool: its parameter {parameter.name} can't be given by name",
                hint="wrap it in a function whose parameters all have names",
            )
    return {parameter.name: (hints.get(parameter.name, Any), parameter.default) for parameter in parameters}


def _by_msgspec(name: str, fields: _Fields) -> tuple[dict[str, Any], Callable[[Mapping[str, Any]], dict[str, Any]]]:
    members: list[Any] = [
        (key, hint) if default is _MISSING else (key, hint, _safe_default(default))
        for key, (hint, default) in fields.items()
    ]
    arguments = msgspec.defstruct(name, members, kw_only=True, forbid_unknown_fields=True)
    (root,), components = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
    schema: dict[str, Any] = components.pop(root["$ref"].removeprefix("#/$defs/"))
    schema.pop("title", None)
    if components:
        schema["$defs"] = components

    def convert(given: Mapping[str, Any]) -> dict[str, Any]:
        made = msgspec.convert(given, arguments)
        return {key: getattr(made, key) for key in given}

    return schema, convert


def _safe_default(default: Any) -> Any:
    """The default in a form that msgspec takes; its schema shows what JSON can show."""
    if default is None or isinstance(default, bool | int | float | str | bytes | tuple | frozenset):
        return default
    return msgspec.field(default_factory=lambda: default)


def _by_pydantic(name: str, fields: _Fields) -> tuple[dict[str, Any], Callable[[Mapping[str, Any]], dict[str, Any]]]:
    from pydantic import ConfigDict, TypeAdapter

    members = [(key, hint, _dataclass_field(default)) for key, (hint, default) in fields.items()]
    arguments = make_dataclass(name, members, kw_only=True)
    arguments.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    adapter: TypeAdapter[Any] = TypeAdapter(arguments)
    schema = adapter.json_schema()
    schema.pop("title", None)

    def convert(given: Mapping[str, Any]) -> dict[str, Any]:
        made = adapter.validate_python(dict(given))
        return {key: getattr(made, key) for key in given}

    return schema, convert


def _dataclass_field(default: Any) -> Any:
    return field() if default is _MISSING else field(default_factory=lambda: default)


def _names_pydantic(hint: Any) -> bool:
    return hasattr(hint, "model_json_schema") or any(_names_pydantic(part) for part in get_args(hint))


def _type_errors() -> tuple[type[Exception], ...]:
    """What is raised for types without a schema; pydantic's own only if it was imported at all."""
    errors = sys.modules.get("pydantic.errors")
    return (TypeError, ValueError, errors.PydanticUserError) if errors else (TypeError, ValueError)


def _described(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return schema if "description" in schema else {**schema, "description": description}


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
